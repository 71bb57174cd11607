#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes products.safetensors: what PyTorch says of products of matrices,
reductions and softmax. See make-layers.py.
"""

import importlib

import numpy as np
import torch

layers = importlib.import_module("make-layers")

MATMUL = """
in=4x5,5x3
in=5x4,5x3 trans_a=true alpha=0.5
in=4x5,3x5 trans_b=true
in=5x4,3x5 trans_a=true trans_b=true alpha=-2
in=7,7x3
in=2x4x7,7
in=6,6
in=3x4x5,3x5x2
in=3x4x5,5x2
in=4x5,3x5x2
in=1x3x4x5,1x3x6x5 trans_b=true alpha=0.447
in=2x3x5x4,2x1x5x6 trans_a=true
in=2x3x4x5,5x6
in=2x3x4x5,5
in=5,2x3x5x4
in=3x1x4x5,2x5x3
in=2x1x3x4x5,2x3x1x6x5 trans_b=true
in=2x1x3x2x4x5,1x3x1x2x5x4
in=1x8x17x16,1x8x16x17
"""

LINEAR = """
in=7x6 units=5
in=1x7x6 units=5 activation=relu
in=3x4x6 units=5 activation=gelu
in=1x3x4x6 units=5 activation=tanh
in=2x3x2x4x6 units=3 bias=false
"""

REDUCE = """
in=1x5x3x4 dim=2;3
in=1x5x3x4 dim=1 keepdim=true
in=1x5x3x4 dim=-1
in=2x3x4x5 dim=0;2
in=2x3x4x5x3 dim=1;3 keepdim=true
in=3x70 dim=1
in=70x3 dim=0
in=2x3x4
"""

ARG = """
in=1x5x3x4
in=1x5x3x4 dim=-1 keepdim=true
in=3x70 dim=1
in=70x3 dim=0 keepdim=true
in=2x3x4x5 dim=2 select_last_index=true
"""

SOFTMAX = """
in=1x10
in=1x5x3x4
in=1x5x3x4 dim=-1
in=1x8x5x19 dim=3
in=2x3x4x5x6 dim=2
in=7x150
in=3x5x70 dim=1
in=4x3 dim=0
"""


def matmul(xs, o, weights):
    a, b = (x.transpose(-1, -2) if o.get(f"trans_{name}") == "true" else x
            for x, name in zip(xs, "ab"))
    y = float(o.get("alpha", 1)) * torch.matmul(a, b)
    return y.reshape(1) if y.dim() == 0 else y


def linear(xs, o, weights):
    units = int(o["units"])
    weights["weight"] = layers.normal(units, xs[0].shape[-1], scale=0.4)
    if o.get("bias") != "false":
        weights["bias"] = layers.normal(units)
    return layers.activate(torch.nn.functional.linear(
        xs[0], weights["weight"], weights.get("bias")), o)


def prod(x, dim, keepdim):
    for axis in sorted((d % x.dim() for d in dim), reverse=True):
        x = torch.prod(x, axis, keepdim)
    return x


REDUCTIONS = {
    "reduce-sum": torch.sum,
    "reduce-mean": torch.mean,
    "reduce-max": torch.amax,
    "reduce-min": torch.amin,
    "reduce-prod": prod,
    "reduce-l1": lambda x, d, k: torch.linalg.vector_norm(x, 1, d, k),
    "reduce-l2": lambda x, d, k: torch.linalg.vector_norm(x, 2, d, k),
    "reduce-sum-square": lambda x, d, k: torch.sum(torch.square(x), d, k),
    "reduce-log-sum": lambda x, d, k: torch.log(torch.sum(x, d, k)),
    "reduce-log-sum-exp": torch.logsumexp,
}


def tie(x, dim):
    """The second largest becomes as large as the largest."""
    top = torch.amax(x, dim, True)
    second = torch.amax(torch.where(x == top, x - 1e9, x), dim, True)
    return torch.where(x == second, top, x)


def reduction(kind):
    def run(xs, o, weights):
        x = xs[0]
        dim = [int(d) for d in o["dim"].split(";")] if "dim" in o else list(
            range(x.dim()))
        if kind == "reduce-log-sum":
            x.data.abs_()
        if kind == "reduce-max":
            x.data = tie(x.data, dim)
        if kind == "reduce-min":
            x.data = -tie(-x.data, dim)
        if kind == "reduce-prod":
            x.data[torch.tensor(layers.random.random(x.shape) < 0.1)] = 0
        y = REDUCTIONS[kind](x, dim, o.get("keepdim") == "true")
        return y.reshape(1) if y.dim() == 0 else y
    return run


def arg(kind):
    def run(xs, o, weights):
        x = xs[0]
        x.data = torch.round(x.data)
        dim, keep = int(o.get("dim", 1)), o.get("keepdim") == "true"
        v = x.detach().numpy() * (1 if kind == "argmax" else -1)
        if o.get("select_last_index") == "true":
            at = v.shape[dim] - 1 - np.argmax(np.flip(v, dim), dim)
        else:
            at = np.argmax(v, dim)
        if keep:
            at = np.expand_dims(at, dim)
        # the gradient is zero
        return torch.tensor(at.astype(np.float64)) + 0 * x.sum()
    return run


KINDS = {
    "matmul": (MATMUL, matmul),
    "linear": (LINEAR, linear),
    **{kind: (REDUCE, reduction(kind)) for kind in REDUCTIONS},
    **{kind: (ARG, arg(kind)) for kind in ("argmax", "argmin")},
    "softmax": (SOFTMAX, lambda xs, o, w: torch.softmax(
        xs[0], int(o.get("dim", 1)))),
    "log-softmax": (SOFTMAX, lambda xs, o, w: torch.log_softmax(
        xs[0], int(o.get("dim", 1)))),
}

if __name__ == "__main__":
    for kind, (_, function) in KINDS.items():
        layers.KINDS[kind] = function
    lines = [f"{kind} {line}" for kind, (some, _) in KINDS.items()
             for line in some.split("\n") if line]
    layers.make("\n".join(line for line in lines if line not in layers.LAYERS),
                "products.safetensors")
