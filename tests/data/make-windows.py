#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes windows.safetensors: what PyTorch says of windows and norms.

The lines are those of each kind's samples in lib/layers, as in
make-layers.py. Made with PyTorch 1.13: python3 make-windows.py
"""

import importlib.util
import os

import numpy as np
import torch
import torch.nn.functional as F

HERE = os.path.dirname(os.path.abspath(__file__))
spec = importlib.util.spec_from_file_location(
    "make_layers", os.path.join(HERE, "make-layers.py"))
base = importlib.util.module_from_spec(spec)
spec.loader.exec_module(base)
base.random = np.random.default_rng(20261121)

LAYERS = """
conv2d in=1x5x7x9 filters=6 kernel=3;2 stride=2 padding=0;1;2;0 activation=relu
conv2d in=1x9x5x6 filters=2 kernel=3 padding=2;0;1;3
conv2d in=1x4x6x5 filters=4 kernel=3 stride=2 groups=4 padding=0;0;1;1
conv-transpose2d in=1x3x5x4 filters=4 kernel=3
conv-transpose2d in=1x4x5x6 filters=6 kernel=4 stride=2 padding=1 activation=relu
conv-transpose2d in=1x2x4x5 filters=3 kernel=3;2 stride=3;2 padding=1;0 output_padding=2;1 bias=false
conv-transpose2d in=1x6x5x4 filters=4 kernel=3 groups=2 dilation=2 padding=1 stride=2 output_padding=1 activation=gelu
conv-transpose2d in=1x4x5x5 filters=4 kernel=4 stride=2 padding=1 groups=4 activation=leaky-relu
conv-transpose2d in=1x4x4x5 filters=8 kernel=3 groups=4 padding=1
conv-transpose2d in=1x16x4x5 filters=1 kernel=2 stride=2 activation=sigmoid
conv-transpose2d in=1x8x4x5 filters=8 kernel=3 stride=2 padding=0;1;2;0 activation=silu
conv-transpose2d in=1x3x4x4 filters=2 kernel=3 dilation=2 stride=2;1 output_padding=1;0
max-pool2d in=1x3x8x7 kernel=3 stride=2 padding=1 ceil_mode=true
max-pool2d in=1x2x9x10 kernel=3;2 stride=2;1 dilation=2;3 padding=1
max-pool2d in=1x4x6x7 kernel=3 stride=2 padding=0;1;2;0
max-pool2d in=1x2x5x5 kernel=3 stride=1 padding=2
avg-pool2d in=1x3x8x7 kernel=3 stride=2 padding=1 ceil_mode=true
avg-pool2d in=1x5x8x7 kernel=3;4 stride=3 padding=1 ceil_mode=true count_include_pad=false
avg-pool2d in=1x4x6x7 kernel=3 stride=2 padding=0;1;2;0 ceil_mode=true
avg-pool2d in=1x4x6x7 kernel=3 stride=1 padding=2;0;1;1 count_include_pad=false
avg-pool2d in=1x3x9x8 kernel=2;3 stride=2 dilation=3;2 padding=1;1;2;0
global-max-pool in=1x5x4x7
global-max-pool in=1x16x3x3
lp-pool2d in=1x3x6x8 kernel=2
lp-pool2d in=1x2x7x9 kernel=3;2 stride=2 ceil_mode=true norm_type=4
lp-pool2d in=1x4x5x6 kernel=3 stride=1 padding=1;0;2;1
lp-pool2d in=1x2x7x6 kernel=2 dilation=2;3 stride=1 norm_type=3
global-lp-pool in=1x5x4x7
global-lp-pool in=1x8x3x3 norm_type=3
global-lp-pool in=1x3x4x3 norm_type=1
instance-norm in=1x3x5x4
instance-norm in=1x16x3x4 affine=true eps=1e-3
instance-norm in=2x3x7 affine=true
instance-norm in=2x3x2x3x4 affine=true
group-norm in=1x6x5x4 num_groups=3
group-norm in=1x8x3x4 num_groups=1 eps=1e-3
group-norm in=2x12x3x3 num_groups=2 affine=false
group-norm in=2x6x7 num_groups=2
group-norm in=3x8 num_groups=2
group-norm in=1x4x3x3 num_groups=4
layer-norm in=2x7x12
layer-norm in=1x10 eps=1e-3
layer-norm in=2x5x6 normalized_shape=5;6
layer-norm in=1x3x4x5 axis=1
layer-norm in=1x3x4x5 axis=2 bias=false
layer-norm in=2x3x4x5
layer-norm in=5x3x2 elementwise_affine=false axis=0
layer-norm in=2x3x2x3x4 axis=-3
layer-norm in=2x2x3x4 axis=0
layer-norm in=9
mean-variance-norm in=2x3x5x4
mean-variance-norm in=2x6x5x4 axes=1
mean-variance-norm in=2x3x4 axes=1 eps=1e-3
normalize in=1x6x3x4
normalize in=2x3x4 p=1
normalize in=1x3x4x5 dim=2
normalize in=2x7 dim=-1
normalize in=1x3x4x5 dim=3 p=1
normalize in=1x5x2x2 eps=1
lrn in=1x7x3x4 size=5 alpha=0.5
lrn in=1x4x3x3 size=4 alpha=1 beta=0.5 k=2
lrn in=2x5x6 size=3 alpha=2
lrn in=2x3x2x2 size=9 alpha=1
lrn in=3x6 size=2 alpha=1 beta=1
grid-sample in=1x3x5x6,1x4x7x2
grid-sample in=1x2x5x4,1x3x5x2 padding_mode=border align_corners=true
grid-sample in=1x2x4x5,1x5x3x2 padding_mode=reflection
grid-sample in=1x4x4x3,1x2x3x2 padding_mode=reflection align_corners=true
grid-sample in=1x2x5x6,1x4x3x2 mode=nearest
grid-sample in=1x3x4x4,1x3x3x2 mode=nearest padding_mode=reflection
grid-sample in=1x2x6x5,1x3x4x2 mode=bicubic
grid-sample in=1x3x5x5,1x2x3x2 mode=bicubic padding_mode=border
grid-sample in=1x2x4x6,1x4x2x2 mode=bicubic padding_mode=reflection align_corners=true
grid-sample in=1x2x4x6 height=3 width=5
lrn in=1x9x3x2 size=4 longer=after alpha=1
batch-norm in=1x6 statistics=running activation=relu
"""


def sides(o):
    """top, left, bottom, right"""
    numbers = [int(n) for n in o.get("padding", "0").split(";")]
    return (numbers * 4)[:4]


def pad(x, o, value=0.0):
    top, left, bottom, right = sides(o)
    return F.pad(x, (left, right, top, bottom), value=value)


def windows(x, o, value):
    """(C, windows, elements), padded with value, and their height, width.

    F.unfold is linear, so that autograd goes through it; a window that leaves
    the padded input (ceil_mode) meets more of value there.
    """
    kernel, dilation = base.pair(o, "kernel", 1), base.pair(o, "dilation", 1)
    stride = base.pair(o, "stride", 0) if "stride" in o else kernel
    s = sides(o)
    x, size = pad(x, o, value), []
    for i in range(2):
        room = x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1
        n = room // stride[i] + 1
        if o.get("ceil_mode") == "true":
            n = -(-room // stride[i]) + 1
            inside = x.shape[2 + i] - s[2 + i]
            n -= (n - 1) * stride[i] >= inside
        size.append(n)
    more = [max((size[i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1
                - x.shape[2 + i], 0) for i in range(2)]
    x = F.pad(x, (0, more[1], 0, more[0]), value=value)
    columns = F.unfold(x, kernel, dilation, 0, stride)
    wide = (x.shape[3] - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    columns = columns.reshape(x.shape[1], kernel[0] * kernel[1], -1, wide)
    return columns[:, :, :size[0], :size[1]], size


def conv2d(xs, o, weights):
    return plain_conv2d([pad(xs[0], o)], dict(o, padding="0"), weights)


def conv_transpose2d(xs, o, weights):
    """The padding is cut off what PyTorch makes without one."""
    groups, filters = int(o.get("groups", 1)), int(o["filters"])
    weights["weight"] = base.normal(
        xs[0].shape[1], filters // groups, *base.pair(o, "kernel", 1),
        scale=0.4)
    if o.get("bias") != "false":
        weights["bias"] = base.normal(filters)
    top, left, bottom, right = sides(o)
    even = (top, left) == (bottom, right)
    y = F.conv_transpose2d(
        xs[0], weights["weight"], weights.get("bias"),
        base.pair(o, "stride", 1), (top, left) if even else 0,
        base.pair(o, "output_padding", 0), groups, base.pair(o, "dilation", 1))
    if not even:
        y = y[:, :, top:y.shape[2] - bottom, left:y.shape[3] - right]
    return base.activate(y, o)


def max_pool(xs, o, weights):
    columns, _ = windows(xs[0], o, -1e30)
    return columns.amax(1)[None]


def avg_pool(xs, o, weights):
    columns, _ = windows(xs[0], o, 0.0)
    ones = torch.ones_like(xs[0])
    if o.get("count_include_pad") == "false":
        count, _ = windows(ones, o, 0.0)
    else:
        count, _ = windows(pad(ones, o, 1.0), dict(o, padding="0", ceil_mode=(
            "false")), 0.0)
        if o.get("ceil_mode") == "true":
            count = counted_to_the_padding(ones, o)
    return (columns.sum(1) / count.sum(1))[None]


def counted_to_the_padding(ones, o):
    """As ones padded with ones, but zero where ceil_mode leaves that."""
    columns, _ = windows(ones, o, 0.0)
    border, _ = windows(torch.zeros_like(ones), dict(o), 1.0)
    kernel = base.pair(o, "kernel", 1)
    stride = base.pair(o, "stride", 0) if "stride" in o else kernel
    padded = pad(ones, o, 1.0)
    keep = torch.zeros_like(columns)
    for y in range(columns.shape[2]):
        for x in range(columns.shape[3]):
            for k in range(columns.shape[1]):
                row = y * stride[0] + k // kernel[1]
                column = x * stride[1] + k % kernel[1]
                keep[:, k, y, x] = (row < padded.shape[2]
                                    and column < padded.shape[3])
    return (columns + border) * keep


def lp_pool(xs, o, weights):
    p = int(o.get("norm_type", 2))
    columns, _ = windows(xs[0].abs() ** p, o, 0.0)
    return (columns.sum(1) ** (1 / p))[None]


def global_lp_pool(xs, o, weights):
    return torch.linalg.vector_norm(
        xs[0], float(o.get("norm_type", 2)), (2, 3), keepdim=True)


def affine(weights, shape, bias=True):
    weights["weight"] = base.normal(*shape)
    if bias:
        weights["bias"] = base.normal(*shape)
    return weights["weight"], weights.get("bias")


def instance_norm(xs, o, weights):
    w, b = None, None
    if o.get("affine") == "true":
        w, b = affine(weights, xs[0].shape[1:2])
    return F.instance_norm(xs[0], None, None, w, b, True, 0.1,
                           float(o.get("eps", 1e-5)))


def group_norm(xs, o, weights):
    w, b = None, None
    if o.get("affine") != "false":
        w, b = affine(weights, xs[0].shape[1:2])
    return F.group_norm(xs[0], int(o["num_groups"]), w, b,
                        float(o.get("eps", 1e-5)))


def layer_norm(xs, o, weights):
    shape = xs[0].shape[int(o.get("axis", -1)):]
    if "normalized_shape" in o:
        shape = [int(n) for n in o["normalized_shape"].split(";")]
    w, b = None, None
    if o.get("elementwise_affine") != "false":
        w, b = affine(weights, shape, o.get("bias") != "false")
    return F.layer_norm(xs[0], list(shape), w, b, float(o.get("eps", 1e-5)))


def mean_variance_norm(xs, o, weights):
    axes = [int(n) for n in o.get("axes", "0;2;3").split(";")]
    variance, mean = torch.var_mean(xs[0], axes, unbiased=False, keepdim=True)
    return (xs[0] - mean) / (variance + float(o.get("eps", 1e-5))).sqrt()


def lrn(xs, o, weights):
    """Of rank 2, PyTorch wants an axis more; of the channels in the other
    order, what is before is after."""
    x = xs[0][:, :, None] if xs[0].dim() == 2 else xs[0]
    turn = [1] if o.get("longer") == "after" else []
    return F.local_response_norm(
        x.flip(turn), int(o["size"]), float(o.get("alpha", 1e-4)),
        float(o.get("beta", 0.75)), float(o.get("k", 1))).flip(turn).reshape(
            xs[0].shape)


def grid_sample(xs, o, weights):
    if len(xs) == 1:
        weights["grid"] = base.normal(
            int(o["height"]), int(o["width"]), 2).detach()
        weights["after.grid"] = weights["grid"]
    grid = xs[1] if len(xs) > 1 else weights["grid"][None]
    return F.grid_sample(xs[0], grid, o.get("mode", "bilinear"),
                         o.get("padding_mode", "zeros"),
                         o.get("align_corners") == "true")


def check_against_torch():
    """The loops above, where PyTorch has the pool itself."""
    x = torch.randn(1, 3, 8, 7, dtype=torch.float64)
    for ceil in (False, True):
        for include in (False, True):
            o = {"kernel": "3", "stride": "2", "padding": "1",
                 "ceil_mode": str(ceil).lower(),
                 "count_include_pad": str(include).lower()}
            assert torch.allclose(avg_pool([x], o, {}), F.avg_pool2d(
                x, 3, 2, 1, ceil, include))
            assert torch.allclose(max_pool([x], o, {}), F.max_pool2d(
                x, 3, 2, 1, ceil_mode=ceil))
    o = {"kernel": "3", "stride": "2", "padding": "1", "dilation": "2"}
    assert torch.allclose(
        max_pool([x], o, {}), F.max_pool2d(x, 3, 2, 1, 2))


plain_conv2d = base.KINDS["conv2d"]
base.KINDS.update({
    "conv2d": conv2d,
    "conv-transpose2d": conv_transpose2d,
    "max-pool2d": max_pool,
    "avg-pool2d": avg_pool,
    "global-max-pool": lambda xs, o, w: F.adaptive_max_pool2d(xs[0], 1),
    "lp-pool2d": lp_pool,
    "global-lp-pool": global_lp_pool,
    "instance-norm": instance_norm,
    "group-norm": group_norm,
    "layer-norm": layer_norm,
    "mean-variance-norm": mean_variance_norm,
    "normalize": lambda xs, o, w: F.normalize(
        xs[0], float(o.get("p", 2)), int(o.get("dim", 1)),
        float(o.get("eps", 1e-12))),
    "lrn": lrn,
    "grid-sample": grid_sample,
})

if __name__ == "__main__":
    check_against_torch()
    base.make(LAYERS, "windows.safetensors")
