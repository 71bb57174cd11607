# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of whole streams share: networks, smooth streams, and runs
of the `partime` command."""

import os
import subprocess

import numpy as np

import modes
import safetensors_io

# Eight layers, strides and bilinear growth: no skips.
CHAIN = """
[network]
width=16
height=16
channels=1
frames=2
[c1]
type=conv2d
filters=6
kernel=5
stride=2
padding=2
activation=leaky-relu
negative_slope=0.1
[c2]
type=conv2d
filters=8
kernel=3
padding=1
activation=tanh
[c3]
type=conv2d
filters=8
kernel=3
padding=1
activation=leaky-relu
negative_slope=0.1
[up]
type=upsample
scale=2
mode=bilinear
[c4]
type=conv2d
filters=4
kernel=3
padding=1
activation=leaky-relu
negative_slope=0.1
[c5]
type=conv2d
filters=1
kernel=3
padding=1
[learning]
loss=mse
target=input
"""

# Tensors that are read several stages further down, one of them twice, and
# the network's input beside the last layer.
SKIPS = """
[network]
width=12
height=8
channels=2
[a]
type=conv2d
filters=4
kernel=3
padding=1
activation=tanh
[b]
type=conv2d
filters=4
kernel=3
padding=1
[c]
type=add
inputs=a;b
[d]
type=conv2d
filters=5
kernel=3
padding=1
activation=leaky-relu
[e]
type=concat
inputs=d;a;c
[f]
type=conv2d
filters=4
kernel=1
activation=tanh
[g]
type=concat
inputs=f;input
[h]
type=conv2d
filters=2
kernel=3
padding=1
[learning]
loss=mse
target=next
"""

# Statistics of the frame, pools, and targets from outside.
LABELS = """
[network]
width=12
height=12
channels=3
[a]
type=conv2d
filters=6
kernel=3
padding=1
bias=false
[norm]
type=batch-norm
activation=relu
[b]
type=conv2d
filters=6
kernel=3
stride=2
padding=1
activation=sigmoid
[flat]
type=flatten
[one]
type=linear
units=10
activation=tanh
[two]
type=linear
units=4
[learning]
loss=mse
target=labels
"""

CUTS = {
    "CHAIN": {1: "-1", 2: "3,-1", 3: "2,2,-1", 5: "1,1,1,1,-1"},
    "SKIPS": {1: "-1", 2: "4,-1", 3: "2,3,-1", 5: "1,2,1,2,-1"},
    "LABELS": {1: "-1", 2: "2,-1", 3: "1,2,-1", 5: "1,1,1,1,-1"},
}
NETWORKS = {"CHAIN": CHAIN, "SKIPS": SKIPS, "LABELS": LABELS}


def smooth_stream(n, shape, seed):
    """Sums of slow waves with random phases: neighbours in time and space
    are alike. Values around -1 to 1."""
    rng = np.random.default_rng(seed)
    c, h, w = shape
    t, y, x = (np.arange(k, dtype=float) for k in (n, h, w))
    out = np.zeros((n, c, h, w))
    for k in range(c):
        for _ in range(4):
            fy, fx = rng.uniform(-.8, .8, 2)
            speed, phase = rng.uniform(-.3, .3), rng.uniform(0, 6.28)
            out[:, k] += .4 * np.sin(speed * t[:, None, None]
                                     + fy * y[:, None] + fx * x + phase)
    return out.astype(np.float32)


def relative(a, b):
    """||a - b|| / ||b|| over two dicts of arrays, or two arrays."""
    if isinstance(a, dict):
        keys = sorted(b)
        a = np.concatenate([np.ravel(a[k]) for k in keys])
        b = np.concatenate([np.ravel(b[k]) for k in keys])
    a, b = np.asarray(a, float), np.asarray(b, float)
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


class Rig:
    """A scratch folder and the command under test."""

    def __init__(self, command, folder):
        self.command, self.folder = command, folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def write_network(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def init(self, network, seed=1):
        """First weights, by the command."""
        out = self.path("first.safetensors")
        self.call("init", network, out, "--seed", str(seed))
        return safetensors_io.load(out)

    def call(self, *arguments):
        done = subprocess.run([self.command, *arguments], text=True,
                              capture_output=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"partime {' '.join(arguments)}: exit "
                               f"{done.returncode}\n{done.stderr}")
        return done.stdout

    def learn(self, network, settings, frames, weights, targets=None):
        """Returns the weights after the stream, outputs and losses."""
        files = {"frames": frames, "targets": targets}
        arguments = ["learn", network, "--out", self.path("w.safetensors"),
                     "--outputs", self.path("o.safetensors")]
        for name, value in files.items():
            if value is not None:
                safetensors_io.save(self.path(name), {name: value})
                arguments += ["--" + name, self.path(name)]
        safetensors_io.save(self.path("in.safetensors"), weights)
        arguments += ["--weights", self.path("in.safetensors")]
        for setting in settings:
            arguments += ["--set", setting]
        self.call(*arguments)
        results = safetensors_io.load(self.path("o.safetensors"))
        return (safetensors_io.load(self.path("w.safetensors")),
                results["outputs"], results["losses"])

    def model(self, network, settings, frames, weights, targets=None,
              delay=2):
        """The same of the plain model."""
        model = modes.Model(modes.read_network(network, settings), weights,
                            delay)
        outputs, losses = model.run(frames, targets)
        return model.get_weights(), outputs, losses
