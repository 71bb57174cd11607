#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A block of self-attention, in a network file, and products and reductions in
an ONNX model: they run and learn as in PyTorch.

usage: test-attention.py path/to/partime [onnx]
"""

import os
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import torch
    import safetensors_io

FRAMES, SIZE, HEADS, FEATURES = 12, (12, 16), 2, 8

# patches of 4x4 pixels are tokens; each is seen by all others
NETWORK = """[network]
width=16
height=12
channels=1
[embed]
type=conv2d
filters=16
kernel=4
stride=4
[columns]
type=reshape
shape=1;16;12
[tokens]
type=transpose
perm=0;2;1
"""
HEAD = """[{name}]
type=linear
units=16
inputs=tokens
[{name}_split]
type=reshape
shape=1;12;2;8
[{name}_heads]
type=transpose
perm=0;2;1;3
"""
ATTENTION = """[scores]
type=matmul
inputs=q_heads;k_heads
trans_b=true
alpha=0.35355339059327373
[attention]
type=softmax
dim=-1
[mixed]
type=matmul
inputs=attention;v_heads
[joined]
type=transpose
perm=0;2;1;3
[flat]
type=reshape
shape=1;12;16
[proj]
type=linear
units=16
[sum]
type=add
inputs=tokens;proj
[hidden]
type=linear
units=32
activation=gelu
[pixels]
type=linear
units=16
[patches]
type=reshape
shape=1;3;4;4;4
[rows]
type=transpose
perm=0;1;3;2;4
[image]
type=reshape
shape=1;1;12;16
"""
LEARNING = """[learning]
mode=exact
loss=mse
target=labels
optimizer=sgd lr=0.5
[pipeline]
devices=cpu:0
[output]
kind=image
"""


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Conv2d(1, 16, 4, 4)
        for name in "q", "k", "v", "proj":
            setattr(self, name, torch.nn.Linear(16, 16))
        self.hidden = torch.nn.Linear(16, 32)
        self.pixels = torch.nn.Linear(32, 16)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens).reshape(1, 12, HEADS, FEATURES).transpose(
            1, 2) for layer in (self.q, self.k, self.v))
        attention = torch.softmax(q @ k.transpose(2, 3) / FEATURES ** 0.5, -1)
        mixed = (attention @ v).transpose(1, 2).reshape(1, 12, 16)
        y = torch.nn.functional.gelu(self.hidden(tokens + self.proj(mixed)))
        y = self.pixels(y).reshape(1, 3, 4, 4, 4).transpose(2, 3)
        return y.reshape(1, 1, *SIZE)


class Products(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(1, 4, (1, 5), padding=(2, 0))
        self.linear = torch.nn.Linear(16, 16)

    def forward(self, x):
        a = self.conv1(x)
        s = torch.softmax(a @ self.conv2(x), -1)
        c = s @ a
        c = self.linear(c.mean(1, keepdim=True)) + c.amax(1, keepdim=True)
        return c + torch.logsumexp(a, 1, keepdim=True)


def learn(net, frames, targets):
    """Outputs, in double precision."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    outputs = []
    for x, target in zip(frames, targets):
        y = net(torch.from_numpy(x[None]).double())
        outputs.append(y.detach().numpy()[0])
        loss = torch.nn.functional.mse_loss(
            y, torch.from_numpy(target[None]).double())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return np.stack(outputs)


def distance(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def run(folder, model, words):
    """What differs from PyTorch's outputs and weights, or what went wrong."""
    out, weights = folder + "/out.safetensors", folder + "/end.safetensors"
    done = subprocess.run(
        [sys.argv[1], "learn", model, "-O", out, "-o", weights,
         "-f", folder + "/frames.safetensors",
         "-t", folder + "/targets.safetensors", *words],
        capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        return None, None, done.stderr.replace(folder, "")
    return safetensors_io.load(out)["outputs"], safetensors_io.load(weights), ""


def check(tap, folder, model, words, expected, net):
    outputs, weights, said = run(folder, model, words)
    name = " ".join([os.path.basename(model)] + words).replace(folder, "")
    error = np.inf if said else distance(outputs, expected)
    tap.check(error < 1e-5, f"outputs, {name}: {error:.1e} {said}")
    for key, value in net.state_dict().items():
        # ONNX has no name for the weights of a linear layer of many rows
        if not said and key in weights:
            error = distance(weights[key], value.numpy())
            tap.check(error < 1e-4, f"{key}, {name}: {error:.1e}")


def check_attention(tap, folder, frames, targets):
    net = Attention()
    words = ["-w", folder + "/start.safetensors"]
    with open(folder + "/net.cfg", "w", encoding="utf-8") as file:
        file.write(NETWORK + "".join(HEAD.format(name=n) for n in "qkv")
                   + ATTENTION + LEARNING)
    safetensors_io.save(folder + "/start.safetensors", {
        key: value.numpy() for key, value in net.state_dict().items()})
    expected = learn(net.double(), frames, targets)
    for stages in "1", "3":
        check(tap, folder, folder + "/net.cfg",
              words + ["-s", f"pipeline.stages={stages}"], expected, net)


def check_model(tap, folder, frames, targets, net):
    model = f"{folder}/{type(net).__name__}.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.zeros(1, 1, *SIZE), model,
                          opset_version=13)
    with open(model + ".cfg", "w", encoding="utf-8") as file:
        file.write(LEARNING)
    expected = learn(net.double(), frames, targets)
    for stages in "1", "2":
        check(tap, folder, model, ["-s", f"pipeline.stages={stages}"],
              expected, net)


def main():
    tap = Tap()
    rng = np.random.default_rng(1)
    torch.manual_seed(1)
    frames, targets = rng.standard_normal((2, FRAMES, 1, *SIZE)).astype(
        np.float32)
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("frames", frames), ("targets", targets)):
            safetensors_io.save(f"{folder}/{name}.safetensors",
                                {"frames": data})
        check_attention(tap, folder, frames, targets)
        if "onnx" in sys.argv:
            check_model(tap, folder, frames, targets, Products())
            check_model(tap, folder, frames, targets, Attention())
        else:
            tap.skip("ONNX models", "built without ONNX")
    tap.end()


if __name__ == "__main__":
    main()
