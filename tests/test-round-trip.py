#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""There and back: a PyTorch model's state_dict as safetensors learns 100 frames
here and goes back, and is what PyTorch makes of it by learning them itself.
And through ONNX: what was learned, exported and read again computes, and goes
on learning, as it did.

usage: test-round-trip.py path/to/partime
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import torch
    import safetensors_io

CLI = sys.argv[1]
FRAMES, MORE, SIZE, CLASSES = 100, 20, (12, 16), 5
TOLERANCE = 1e-3

NETWORK = f"""[network]
width={SIZE[1]}
height={SIZE[0]}
channels=3
[conv1]
type=conv2d
filters=8
kernel=3
padding=1
bias=false
[bn1]
type=batch-norm
activation=relu
[pool]
type=max-pool2d
kernel=2
[conv2]
type=conv2d
filters=8
kernel=3
padding=1
groups=2
activation=leaky-relu
negative_slope=0.1
[up]
type=upsample
scale=2
mode=bilinear
[both]
type=concat
inputs=up;bn1
[conv3]
type=conv2d
filters=4
kernel=3
stride=2
padding=1
activation=tanh
[flat]
type=flatten
[fc]
type=linear
units={CLASSES}
[learning]
mode=exact
loss=cross-entropy
target=labels
optimizer=%s
[output]
kind=classes
"""


class Net(torch.nn.Module):
    """The same; batch-norm over the frame at hand. Before it there is no bias:
    its gradient is rounding and nothing else, which Adam would scale up."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(8)
        self.conv2 = torch.nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.conv3 = torch.nn.Conv2d(16, 4, 3, stride=2, padding=1)
        self.fc = torch.nn.Linear(4 * SIZE[0] * SIZE[1] // 4, CLASSES)

    def forward(self, x):
        a = torch.relu(self.bn1(self.conv1(x)))
        b = torch.nn.functional.leaky_relu(
            self.conv2(torch.max_pool2d(a, 2)), 0.1)
        b = torch.nn.functional.interpolate(
            b, scale_factor=2, mode="bilinear", align_corners=False)
        c = torch.tanh(self.conv3(torch.cat([b, a], 1)))
        return self.fc(c.flatten(1))


OPTIMIZERS = {
    "adam lr=1e-3": lambda p: torch.optim.Adam(p, lr=1e-3),
    "sgd lr=1e-2 momentum=0.9":
        lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
}


def partime(*words):
    done = subprocess.run([CLI, *words], capture_output=True, text=True,
                          check=False, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"partime {' '.join(words)}: {done.stderr}")


def to_arrays(state):
    """Without PyTorch's counters of batches, which are no weights."""
    return {k: v.numpy().copy() for k, v in state.items()
            if not k.endswith("num_batches_tracked")}


def learn_in_torch(net, optimizer, frames, labels):
    net.train()
    for x, label in zip(frames, labels):
        y = net(torch.from_numpy(x[None]))
        loss = torch.nn.functional.cross_entropy(
            y, torch.tensor([int(label)]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def distance(found, expected):
    """Of the weight that is furthest off, relative to its size."""
    return max(np.linalg.norm(found[k] - expected[k]) /
               max(np.linalg.norm(expected[k]), 1e-12) for k in expected)


def get_step(found, first):
    """How far all learned weights went, relative to their size."""
    keys = [k for k in first if "running" not in k]
    return np.sqrt(sum(np.sum((found[k] - first[k]) ** 2) for k in keys) /
                   sum(np.sum(first[k] ** 2) for k in keys))


def check_optimizer(tap, folder, words, make):
    frames = safetensors_io.load(folder + "/frames.safetensors")["frames"]
    labels = safetensors_io.load(folder + "/labels.safetensors")["labels"]
    torch.manual_seed(1)
    net = Net()
    first = to_arrays(net.state_dict())
    safetensors_io.save(folder + "/first.safetensors", first)
    with open(folder + "/net.cfg", "w", encoding="utf-8") as file:
        file.write(NETWORK % words)
    partime("learn", folder + "/net.cfg", "-w", folder + "/first.safetensors",
            "-f", folder + "/frames.safetensors",
            "-t", folder + "/labels.safetensors",
            "-o", folder + "/learned.safetensors",
            "-s", "pipeline.devices=cpu:0", "-s", "pipeline.stages=1")
    learned = safetensors_io.load(folder + "/learned.safetensors")

    back = Net()
    missing, extra = back.load_state_dict(
        {k: torch.from_numpy(v) for k, v in learned.items()}, strict=False)
    tap.check(not extra and all(k.endswith("num_batches_tracked")
                                for k in missing),
              f"{words}: load_state_dict takes it, without {extra}")
    learn_in_torch(net, make(net.parameters()), frames, labels)
    error = distance(to_arrays(back.state_dict()),
                     to_arrays(net.state_dict()))
    moved = get_step(learned, first)
    tap.check(error < TOLERANCE and moved > 10 * TOLERANCE,
              f"{words}: {len(frames)} frames moved weights by {moved:.2f}, "
              f"PyTorch and partime are {error:.1e} apart")
    net.eval()
    back.eval()
    with torch.no_grad():
        x = torch.from_numpy(frames[:4])
        error = (net(x) - back(x)).abs().max().item()
    tap.check(error < 1e-2, f"{words}: outputs are {error:.1e} apart")


# what ONNX has a word for: batch-norm over the frame would come back as
# instance-norm
ONNX = (NETWORK % "sgd lr=1e-2").replace(
    "activation=relu\n[pool]", "activation=relu\nstatistics=running\n[pool]")


def check_onnx(tap, folder):
    """Learn, export, read again: the same, and it goes on the same way."""
    net, onnx = folder + "/net.cfg", folder + "/net.onnx"
    weights = folder + "/learned.safetensors"
    with open(net, "w", encoding="utf-8") as file:
        file.write(ONNX)
    stream = ["-t", folder + "/labels.safetensors", "-f",
              folder + "/frames.safetensors", "-s", "pipeline.stages=1",
              "-s", "pipeline.devices=cpu:0"]
    partime("learn", net, "-w", folder + "/first.safetensors", "-o", weights,
            *stream)
    partime("export", net, "-w", weights, onnx)
    stream[1] = folder + "/more-labels.safetensors"
    stream[3] = folder + "/more-frames.safetensors"
    found = {}
    for name, model in ("here", [net, "-w", weights]), ("back", [onnx]):
        out = folder + f"/{name}.safetensors"
        partime("learn", *model, "-O", out, "-s", "learning.mode=off", *stream)
        found[name] = [safetensors_io.load(out)["outputs"]]
        partime("learn", *model, "-O", out, "-o", folder + "/w.safetensors",
                *stream)
        found[name] += [safetensors_io.load(out)["outputs"],
                        safetensors_io.load(folder + "/w.safetensors")]
    error = np.abs(found["here"][0] - found["back"][0]).max()
    tap.check(error < 1e-5, "learned, exported and read again: outputs are "
              f"{error:.1e} apart")
    error = max(np.abs(found["here"][1] - found["back"][1]).max(),
                distance(found["back"][2], found["here"][2]))
    moved = get_step(found["back"][2], safetensors_io.load(weights))
    tap.check(error < 1e-5 and moved > TOLERANCE,
              f"and learns on: weights moved by {moved:.2f}, {error:.1e} "
              "apart")


def main():
    tap = Tap()
    torch.set_num_threads(1)
    rng = np.random.default_rng(6)
    with tempfile.TemporaryDirectory() as folder:
        for name, n in ("", FRAMES), ("more-", MORE):
            frames = rng.standard_normal((n, 3, *SIZE)).astype(np.float32)
            labels = rng.integers(0, CLASSES, (n, 1)).astype(np.int32)
            safetensors_io.save(f"{folder}/{name}frames.safetensors",
                                {"frames": frames})
            safetensors_io.save(f"{folder}/{name}labels.safetensors",
                                {"labels": labels})
        for words, make in OPTIMIZERS.items():
            check_optimizer(tap, folder, words, make)
        check_onnx(tap, folder)
    tap.end()


if __name__ == "__main__":
    main()
