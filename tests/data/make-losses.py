#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes losses.safetensors: what PyTorch says of each loss and its gradient.

A line is a loss, "@", the shapes of output and target, and how they are made.
The tests fail if a kind of loss is missing here. Inputs are float32, PyTorch
computes in float64. Made with PyTorch 1.13: python3 make-losses.py
"""

import os
import sys

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "reference"))

from losses import make_loss  # noqa: E402
from safetensors_io import save  # noqa: E402

LINES = """
mse @ 1x2x5x4 1x2x5x4
l1 @ 1x2x5x4 1x2x5x4
charbonnier @ 1x2x5x4 1x2x5x4
charbonnier eps=0.1 @ 1x7 1x7
cross-entropy @ 1x9 1
cross-entropy @ 1x2x7x13 1x7x13
cross-entropy @ 1x21x9x11 1x9x11
cross-entropy @ 1x150x3x2 1x3x2
cross-entropy @ 1x10 1 certain
cross-entropy ignore_index=3 @ 1x5x6x4 1x6x4
cross-entropy ignore_index=255 @ 1x6x9x15 1x9x15 ignored
cross-entropy weight=1;2;0.5 @ 1x3x5x7 1x5x7
cross-entropy weight=1;2;0.5;0;3 ignore_index=1 @ 1x5x11x6 1x11x6
cross-entropy label_smoothing=0.1 @ 1x10 1
cross-entropy label_smoothing=0.2 ignore_index=255 @ 1x4x8x9 1x8x9 ignored
cross-entropy label_smoothing=0.3 weight=0.2;1;4 @ 1x3x9x8 1x9x8
cross-entropy gamma=2 @ 1x10 1
cross-entropy gamma=0.5 @ 1x7x6x11 1x6x11
cross-entropy gamma=2 weight=1;2;0.5 label_smoothing=0.1 @ 1x3x5x7 1x5x7
cross-entropy gamma=3 ignore_index=255 @ 1x4x8x9 1x8x9 ignored
bce @ 1x9 1x9 binary
bce @ 1x3x5x7 1x3x5x7 soft
bce @ 1x4x6x11 1x4x6x11 far
bce pos_weight=3 @ 1x1x9x8 1x1x9x8 binary
bce pos_weight=0.5;1;7 @ 1x3x5x7 1x3x5x7 soft
bce pos_weight=0.5;1;7;2;0 @ 1x5 1x5 binary
focal @ 1x9 1x9 binary
focal @ 1x3x5x7 1x3x5x7 soft
focal @ 1x4x6x11 1x4x6x11 far
focal alpha=-1 gamma=0 @ 1x2x5x3 1x2x5x3 binary
focal alpha=0.6 gamma=0 @ 1x2x5x3 1x2x5x3 binary
focal alpha=0.6 gamma=1.5 @ 1x2x5x3 1x2x5x3 soft
focal alpha=-1 gamma=0.7 @ 1x2x5x3 1x2x5x3 binary
ssim @ 1x1x11x11 1x1x11x11 image
ssim @ 1x3x13x17 1x3x13x17 image
ssim @ 1x2x24x12 1x2x24x12 near
ssim @ 1x1x19x23 1x1x19x23
ssim window=7 sigma=1 data_range=2 @ 1x5x9x10 1x5x9x10 image
ssim window=3 sigma=0.5 @ 1x2x3x4 1x2x3x4 image
ssim window=3 alpha=0.84 @ 1x3x8x7 1x3x8x7 image
ssim alpha=0 @ 1x2x11x13 1x2x11x13 image
optical-flow @ 1x2x6x7 1x2x6x7
optical-flow smoothness=0.5 eps=0.05 @ 1x2x5x8 1x6x5x8
optical-flow smoothness=0 @ 1x2x17x19 1x4x17x19
optical-flow @ 1x2x5x9 1x2x5x9 still
optical-flow smoothness=0 @ 1x2x5x9 1x6x5x9 whole
optical-flow smoothness=0.1 @ 1x2x9x17 1x2x9x17 away
nll @ 1x9 1
nll @ 1x21x9x11 1x9x11
nll ignore_index=255 @ 1x6x9x15 1x9x15 ignored
nll weight=1;2;0.5;0;3 ignore_index=1 @ 1x5x11x6 1x11x6
"""

random = np.random.default_rng(20261121)


def normal(shape):
    """float32 numbers, held as float64."""
    x = random.standard_normal(shape).astype(np.float32)
    return torch.tensor(x.astype(np.float64))


def image(shape):
    """Gray values of 0 to 255 over 255, smooth."""
    ys, xs = np.meshgrid(np.arange(shape[2]), np.arange(shape[3]),
                         indexing="ij")
    x = np.stack([0.5 + 0.3 * np.sin(0.5 * xs + c) + 0.1 * np.cos(0.7 * ys)
                  for c in range(shape[1])])[None]
    x = np.round(255 * np.clip(x + random.normal(0, 0.05, shape), 0, 1)) / 255
    return torch.tensor(x.astype(np.float32).astype(np.float64))


def binary(shape):
    return torch.tensor(random.integers(0, 2, shape).astype(np.float64))


def classes(c, shape, ignored):
    label = random.integers(0, c, shape)
    if ignored:
        label[random.random(shape) < 0.3] = 255
    return torch.tensor(label)


def flow(shape, how):
    """Flows that end exactly on a pixel, on the border or far outside. Sizes
    are a power of two plus one: then grid_sample's own scaling is exact."""
    if how == "still":
        return torch.zeros(shape, dtype=torch.float64)
    if how == "whole":
        return torch.tensor(random.integers(-3, 4, shape).astype(np.float64))
    return normal(shape) * 20


def make_inputs(kind, output, target, how):
    if kind in ("cross-entropy", "nll"):
        label = classes(output[1], target, how == "ignored")
        x = 2 * normal(output)
        if how == "certain":
            x[0, label] = 12
        return x, label
    if kind == "optical-flow" and how:
        return flow(output, how), normal(target)
    if how in ("image", "near"):
        t = image(target)
        x = t + 0.004 * normal(target) if how == "near" else image(target)
        return x.float().double(), t
    if how == "binary":
        return 2 * normal(output), binary(target)
    if how == "soft":
        return normal(output), normal(target).abs().clamp(0, 1)
    if how == "far":
        return 15 * normal(output), binary(target)
    return normal(output), normal(target)


def shape(text):
    return tuple(int(d) for d in text.split("x"))


def make(line, tensors):
    text, rest = line.split(" @ ")
    output, target, *how = rest.split()
    x, t = make_inputs(text.split()[0], shape(output), shape(target),
                       how[0] if how else "")
    x.requires_grad_()
    loss = make_loss(text)(x, t)
    loss.backward()
    for name, value in (("x", x), ("target", t), ("loss", loss.reshape(1)),
                        ("dx", x.grad)):
        tensors[f"{line}:{name}"] = value.detach().numpy().astype(np.float32)


def main():
    tensors = {}
    for line in LINES.strip().split("\n"):
        make(line, tensors)
    save(os.path.join(HERE, "losses.safetensors"), tensors)


main()
