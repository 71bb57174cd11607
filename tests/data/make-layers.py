#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes layers.safetensors: what PyTorch says of layers and optimizers.

The lines below are those of each kind's samples in lib/layers; the tests fail
if one is missing here. Inputs are float32, PyTorch computes in float64.
Made with PyTorch 1.13: python3 make-layers.py
"""

import json
import os
import struct

import numpy as np
import torch
import torch.nn.functional as F

LAYERS = """
relu in=1x3x5x4
relu in=1x7
leaky-relu in=1x3x5x4
leaky-relu in=1x7 negative_slope=0.2
sigmoid in=1x3x5x4
sigmoid in=1x7
tanh in=1x3x5x4
tanh in=1x7
gelu in=1x3x5x4
gelu in=1x7 approximate=tanh
silu in=1x3x5x4
silu in=1x7
conv2d in=1x3x7x6 filters=4 kernel=3
conv2d in=1x4x8x7 filters=8 kernel=3 padding=1 activation=relu
conv2d in=1x2x9x11 filters=5 kernel=5;3 stride=2;1 padding=2;1 bias=false
conv2d in=1x6x9x9 filters=4 kernel=3 groups=2 dilation=2 padding=2
conv2d in=1x4x6x5 filters=4 kernel=3 groups=4 padding=1 activation=leaky-relu negative_slope=0.1
conv2d in=1x3x6x5 filters=4 kernel=1 activation=gelu
conv2d in=1x3x6x5 filters=2 kernel=3 padding=1 activation=silu
conv2d in=1x16x6x5 filters=16 kernel=3 padding=1 activation=tanh
linear in=1x13 units=7
linear in=1x8 units=5 bias=false activation=sigmoid
linear in=1x6 units=9 activation=gelu-tanh
max-pool2d in=1x3x6x8 kernel=2
max-pool2d in=1x2x7x9 kernel=3 stride=2 padding=1
max-pool2d in=1x2x7x6 kernel=3;2 stride=1
avg-pool2d in=1x3x6x8 kernel=2
avg-pool2d in=1x2x7x9 kernel=3 stride=2 padding=1
avg-pool2d in=1x2x7x6 kernel=3;2 stride=1 padding=1 count_include_pad=false
global-avg-pool in=1x5x4x7
global-avg-pool in=1x16x3x3
upsample in=1x3x4x5 scale=2
upsample in=1x2x4x3 scale=2;3 mode=nearest
upsample in=1x3x4x5 scale=2 mode=bilinear
upsample in=1x2x3x1 scale=4;3 mode=bilinear
concat in=1x3x4x5,1x2x4x5
concat in=1x1x3x4,1x16x3x4,1x5x3x4
concat in=1x3,1x4
add in=1x3x4x5,1x3x4x5
add in=1x2x3x3,1x2x3x3,1x2x3x3 activation=relu
add in=1x6,1x6
flatten in=1x3x4x5
flatten in=1x16x1x1
flatten in=1x9
softmax in=1x10
softmax in=1x5x3x4
dropout in=1x4x3x3 p=0
batch-norm in=1x3x5x4
batch-norm in=1x16x3x4 eps=1e-3 momentum=0.3 activation=relu
batch-norm in=1x3x5x4 statistics=running
batch-norm in=1x4x1x1 statistics=running activation=relu
slice in=1x5x3x4 start=1 length=2
slice in=1x3x4x5 length=2
slice in=1x9x2x3 start=-3 length=3
slice in=1x7 start=-2 length=1
slice in=1x3x2x2 length=3
conv2d in=1x4x8x7,1x8x8x7 filters=8 kernel=3 padding=1 activation=relu
conv2d in=1x6x9x8,1x6x5x4 filters=6 kernel=3 stride=2 padding=1 groups=6
conv2d in=1x5x6x4,1x16x6x4 filters=16 kernel=1 activation=silu bias=false
"""

OPTIMIZERS = [
    "sgd",
    "sgd lr=0.1 momentum=0.9",
    "sgd lr=0.05 momentum=0.8 dampening=0.3 weight_decay=0.1",
    "sgd lr=0.05 momentum=0.9 weight_decay=0.01 nesterov=true",
    "rmsprop",
    "rmsprop lr=0.02 alpha=0.9 eps=1e-4 weight_decay=0.05",
    "rmsprop lr=0.003 momentum=0.9",
    "rmsprop lr=0.003 momentum=0.5 centered=true",
    "adam",
    "adam lr=0.02 betas=0.8;0.95 eps=1e-5 weight_decay=0.1",
    "adam lr=0.01 amsgrad=true",
    "adamw",
    "adamw lr=0.02 betas=0.8;0.95 weight_decay=0.3 amsgrad=true",
    "adagrad",
    "adagrad lr=0.1 lr_decay=0.2 weight_decay=0.1 eps=1e-3",
    "adagrad lr=0.1 initial_accumulator_value=0.5",
]
STEPS = 10
WEIGHTS = 37

random = np.random.default_rng(20260601)
tensors = {}


def put(name, array):
    if isinstance(array, torch.Tensor):
        array = array.detach().numpy()
    tensors[name] = np.ascontiguousarray(array, dtype=np.float32)


def normal(*shape, scale=1.0):
    """float32 numbers, held as float64."""
    x = (random.standard_normal(shape) * scale).astype(np.float32)
    return torch.tensor(x.astype(np.float64), requires_grad=True)


def parse(words):
    options = {}
    for word in words:
        key, value = word.split("=")
        options[key] = value
    return options


def pair(options, key, default):
    numbers = [int(n) for n in options.get(key, str(default)).split(";")]
    return (numbers * 2)[:2] if len(numbers) == 1 else numbers


def activate(x, options):
    return {
        "none": lambda: x,
        "relu": lambda: F.relu(x),
        "leaky-relu": lambda: F.leaky_relu(
            x, float(options.get("negative_slope", 0.01))),
        "sigmoid": lambda: torch.sigmoid(x),
        "tanh": lambda: torch.tanh(x),
        "gelu": lambda: F.gelu(x),
        "gelu-tanh": lambda: F.gelu(x, approximate="tanh"),
        "silu": lambda: F.silu(x),
        "relu6": lambda: F.relu6(x),
        "hard-swish": lambda: F.hardswish(x),
        "mish": lambda: F.mish(x),
    }[options.get("activation", "none")]()


def conv2d(xs, o, weights):
    groups = int(o.get("groups", 1))
    filters = int(o["filters"])
    weights["weight"] = normal(
        filters, xs[0].shape[1] // groups, *pair(o, "kernel", 1), scale=0.4)
    if o.get("bias") != "false":
        weights["bias"] = normal(filters)
    return activate(sum(xs[1:], F.conv2d(
        xs[0], weights["weight"], weights.get("bias"), pair(o, "stride", 1),
        pair(o, "padding", 0), pair(o, "dilation", 1), groups)), o)


def linear(xs, o, weights):
    units = int(o["units"])
    weights["weight"] = normal(units, xs[0].shape[1], scale=0.4)
    if o.get("bias") != "false":
        weights["bias"] = normal(units)
    return activate(F.linear(xs[0], weights["weight"], weights.get("bias")), o)


def batch_norm(xs, o, weights):
    c = xs[0].shape[1]
    running = o.get("statistics") == "running"
    kind = torch.nn.BatchNorm1d if xs[0].dim() == 2 else torch.nn.BatchNorm2d
    norm = kind(c, float(o.get("eps", 1e-5)),
                float(o.get("momentum", 0.1))).double()
    norm.train(not running)
    weights["weight"] = normal(c)
    weights["bias"] = normal(c)
    weights["running_mean"] = normal(c).detach()
    weights["running_var"] = (normal(c).detach().abs() + 0.5).float().double()
    norm.weight.data = weights["weight"].detach()
    norm.bias.data = weights["bias"].detach()
    norm.running_mean = weights["running_mean"].clone()
    norm.running_var = weights["running_var"].clone()
    weights["weight"], weights["bias"] = norm.weight, norm.bias
    y = activate(norm(xs[0]), o)
    weights["after.running_mean"] = norm.running_mean
    weights["after.running_var"] = norm.running_var
    return y


def pool(xs, o, mode):
    kernel = pair(o, "kernel", 1)
    stride = pair(o, "stride", 0) if "stride" in o else kernel
    padding = pair(o, "padding", 0)
    if mode == "max":
        return F.max_pool2d(xs[0], kernel, stride, padding)
    return F.avg_pool2d(xs[0], kernel, stride, padding, count_include_pad=o.get(
        "count_include_pad") != "false")


def upsample(xs, o, weights):
    return F.interpolate(xs[0], scale_factor=tuple(
        float(s) for s in pair(o, "scale", 1)), mode=o.get("mode", "nearest"))


KINDS = {
    "relu": lambda xs, o, w: F.relu(xs[0]),
    "leaky-relu": lambda xs, o, w: F.leaky_relu(
        xs[0], float(o.get("negative_slope", 0.01))),
    "sigmoid": lambda xs, o, w: torch.sigmoid(xs[0]),
    "tanh": lambda xs, o, w: torch.tanh(xs[0]),
    "gelu": lambda xs, o, w: F.gelu(
        xs[0], approximate=o.get("approximate", "none")),
    "silu": lambda xs, o, w: F.silu(xs[0]),
    "conv2d": conv2d,
    "linear": linear,
    "max-pool2d": lambda xs, o, w: pool(xs, o, "max"),
    "avg-pool2d": lambda xs, o, w: pool(xs, o, "avg"),
    "global-avg-pool": lambda xs, o, w: F.adaptive_avg_pool2d(xs[0], 1),
    "upsample": upsample,
    "concat": lambda xs, o, w: torch.cat(xs, dim=1),
    "add": lambda xs, o, w: activate(sum(xs[1:], xs[0]), o),
    "flatten": lambda xs, o, w: torch.flatten(xs[0], 1),
    "slice": lambda xs, o, w: xs[0].narrow(
        1, int(o.get("start", 0)), int(o["length"])),
    "softmax": lambda xs, o, w: F.softmax(xs[0], dim=1),
    "dropout": lambda xs, o, w: F.dropout(xs[0], float(o["p"])),
    "batch-norm": batch_norm,
}


def make_layer(line):
    kind, shapes, *words = line.split()
    xs = [normal(*(int(d) for d in shape.split("x")))
          for shape in shapes[len("in="):].split(",")]
    weights = {}
    y = KINDS[kind](xs, parse(words), weights)
    dy = normal(*y.shape).detach()
    y.backward(dy)
    for i, x in enumerate(xs):
        put(f"{line}:x{i}", x)
        put(f"{line}:dx{i}", x.grad)
    put(f"{line}:y", y)
    put(f"{line}:dy", dy)
    for name, weight in weights.items():
        put(f"{line}:{name}", weight)
        if weight.requires_grad:
            put(f"{line}:d.{name}", weight.grad)


def number(text):
    if text == "true":
        return True
    if ";" in text:
        return tuple(float(n) for n in text.split(";"))
    return float(text)


def make_optimizer(text):
    kind, *words = text.split()
    options = {"lr": 1e-2} if kind == "sgd" else {}
    options.update((k, number(v)) for k, v in parse(words).items())
    w = normal(WEIGHTS)
    put(f"optimizer {text}:w0", w)
    gradients = normal(STEPS, WEIGHTS).detach()
    put(f"optimizer {text}:gradients", gradients)
    optimizer = {
        "sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop,
        "adam": torch.optim.Adam, "adamw": torch.optim.AdamW,
        "adagrad": torch.optim.Adagrad,
    }[kind]([w], **options)
    for step in range(STEPS):
        w.grad = gradients[step].clone()
        optimizer.step()
        if step in (0, 1, STEPS - 1):
            put(f"optimizer {text}:w{step + 1}", w)
    for name, value in optimizer.state[w].items():
        if name != "step" and value is not None:
            put(f"optimizer {text}:{name}", value)


def write(path):
    header, at = {}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(array.astype("<f4").tobytes())


def make(layers, name, optimizers=()):
    for line in layers.split("\n"):
        if line:
            make_layer(line)
    for text in optimizers:
        make_optimizer(text)
    write(os.path.join(os.path.dirname(os.path.abspath(__file__)), name))


if __name__ == "__main__":
    make(LAYERS, "layers.safetensors", OPTIMIZERS)
