#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes eltwise.safetensors: what PyTorch says of activations and of layers of
two operands. Made as make-layers.py is."""

import importlib.util
import os

import torch
import torch.nn.functional as F

spec = importlib.util.spec_from_file_location("layers", os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "make-layers.py"))
layers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(layers)

LAYERS = """
linear in=1x6 units=9 activation=relu6
linear in=1x6 units=9 activation=hard-swish
linear in=1x6 units=9 activation=mish
conv2d in=1x3x6x5 filters=2 kernel=3 activation=hard-swish
conv2d in=1x16x6x5 filters=16 kernel=3 padding=1 activation=relu6
conv2d in=1x8x6x5 filters=16 kernel=1 activation=mish
relu in=3x1x2x3x5
sigmoid in=3x1x2x3x5
tanh in=3x1x2x3x5
silu in=3x1x2x3x5
relu6 in=1x3x5x4
relu6 in=1x7
relu6 in=3x1x2x3x5
hard-swish in=1x3x5x4
hard-swish in=1x7
hard-swish in=3x1x2x3x5
mish in=1x3x5x4
mish in=1x7
mish in=3x1x2x3x5
elu in=1x3x5x4
elu in=3x5 alpha=0.4
selu in=1x3x5x4
selu in=1x7
selu in=3x1x2x3x5
celu in=1x3x5x4
celu in=3x5 alpha=0.4
softplus in=1x3x5x4
softplus in=3x5 beta=2.5 threshold=1
softsign in=1x3x5x4
softsign in=1x7
softsign in=3x1x2x3x5
hard-sigmoid in=1x3x5x4
hard-sigmoid in=3x5 alpha=0.4 beta=0.3
hard-tanh in=1x3x5x4
hard-tanh in=3x5 min_val=-0.5 max_val=0.3
clip in=1x3x5x4 min=-0.5 max=0.3
clip in=3x5 min=0.1
threshold in=1x3x5x4 threshold=0.4
threshold in=3x5 threshold=-0.2 value=3
shrink in=1x3x5x4
shrink in=3x5 lambd=0.3 bias=0.3
exp in=1x3x5x4
exp in=1x7
exp in=3x1x2x3x5
log in=1x3x5x4
log in=1x7
log in=3x1x2x3x5
sqrt in=1x3x5x4
sqrt in=1x7
sqrt in=3x1x2x3x5
reciprocal in=1x3x5x4
reciprocal in=1x7
reciprocal in=3x1x2x3x5
abs in=1x3x5x4
abs in=1x7
abs in=3x1x2x3x5
neg in=1x3x5x4
neg in=1x7
neg in=3x1x2x3x5
erf in=1x3x5x4
erf in=1x7
erf in=3x1x2x3x5
sin in=1x3x5x4
sin in=1x7
sin in=3x1x2x3x5
cos in=1x3x5x4
cos in=1x7
cos in=3x1x2x3x5
floor in=1x3x5x4
floor in=1x7
floor in=3x1x2x3x5
ceil in=1x3x5x4
ceil in=1x7
ceil in=3x1x2x3x5
round in=1x3x5x4
round in=1x7
round in=3x1x2x3x5
sign in=1x3x5x4
sign in=1x7
sign in=3x1x2x3x5
sub in=1x3x4x5,1x3x4x5
sub in=2x3x4,4
sub in=1x3x4x5 other=3;1;1 reverse=true
sub in=1x3x4x5 other=1 value=0.5
mul in=1x3x4x5,1x3x4x5
mul in=1x3x4x5,1x3x1x1
mul in=1x3x4x5,1x1x4x5
mul in=2x3x4x5,4x5
mul in=1x6,2x3x1
mul in=1x3x4x5 other=3;1;1
mul in=1x3x4x5 other=1 value=0.5
mul in=2x3x4x5x2 other=2;1;4;5;1
mul in=1x70x3x2 other=70;1;1
div in=1x3x4x5,1x3x4x5
div in=1x3x4x5,1x3x1x5
div in=2x5 other=5 reverse=true
div in=2x5 other=1 reverse=true learned=true
pow in=1x3x4x5,1x3x4x5
pow in=1x3x4x5 other=1 value=2
pow in=3x4,3x1
pow in=1x6 other=6
pow in=3x4 other=1 reverse=true learned=true
min in=1x3x4x5,1x3x4x5
min in=1x3x4x5,1x3x1x1
min in=1x6 other=1 learned=true
max in=1x3x4x5,1x3x4x5
max in=1x3x4x5,4x1
max in=1x3x4x5 other=3;1;1
add in=2x3x1,2x3x1,2x3x1
add in=1x3x4x5,1x1x4x1
add in=1x3x4x5 other=3;1;1 activation=relu
add in=1x3x4x5 other=1 value=0.5
prelu in=1x3x4x5
prelu in=1x3x4x5 num_parameters=3
prelu in=2x4 num_parameters=4
prelu in=2x3x4 shape=3;1
tan in=1x3x5x4
tan in=1x7
tan in=3x1x2x3x5
asin in=1x3x5x4
asin in=1x7
asin in=3x1x2x3x5
acos in=1x3x5x4
acos in=1x7
acos in=3x1x2x3x5
atan in=1x3x5x4
atan in=1x7
atan in=3x1x2x3x5
sinh in=1x3x5x4
sinh in=1x7
sinh in=3x1x2x3x5
cosh in=1x3x5x4
cosh in=1x7
cosh in=3x1x2x3x5
asinh in=1x3x5x4
asinh in=1x7
asinh in=3x1x2x3x5
acosh in=1x3x5x4
acosh in=1x7
acosh in=3x1x2x3x5
atanh in=1x3x5x4
atanh in=1x7
atanh in=3x1x2x3x5
trunc in=1x3x5x4
trunc in=1x7
trunc in=3x1x2x3x5
mask in=1x3x4x5,1x3x4x5
mask in=1x3x4x5,4x5
mask in=2x5 other=5 learned=false
eq in=1x3x4x5,1x3x4x5
eq in=2x5 other=1
lt in=1x3x4x5,1x3x4x5
lt in=1x3x4x5 other=1 value=0.2
lt in=2x5 other=5 value=-0.2 learned=false reverse=true
le in=1x3x4x5,4x1
le in=2x3x4 other=1 value=0.2
"""


def number(options, key, default):
    return float(options.get(key, default))


def hard_sigmoid(x, o):
    if not o:
        return F.hardsigmoid(x)
    return torch.clamp(number(o, "alpha", 0) * x + number(o, "beta", 0), 0, 1)


def shrink(x, o):
    lambd, bias = number(o, "lambd", 0.5), number(o, "bias", 0)
    if bias == 0:
        return F.hardshrink(x, lambd)
    assert bias == lambd
    return F.softshrink(x, lambd)


def clip(x, o):
    low, high = o.get("min"), o.get("max")
    return torch.clamp(x, low and float(low), high and float(high))


UNARY = {
    "relu": lambda x, o: F.relu(x),
    "leaky-relu": lambda x, o: F.leaky_relu(
        x, number(o, "negative_slope", 0.01)),
    "sigmoid": lambda x, o: torch.sigmoid(x),
    "tanh": lambda x, o: torch.tanh(x),
    "silu": lambda x, o: F.silu(x),
    "relu6": lambda x, o: F.relu6(x),
    "hard-swish": lambda x, o: F.hardswish(x),
    "mish": lambda x, o: F.mish(x),
    "elu": lambda x, o: F.elu(x, number(o, "alpha", 1)),
    "selu": lambda x, o: F.selu(x),
    "celu": lambda x, o: F.celu(x, number(o, "alpha", 1)),
    "softplus": lambda x, o: F.softplus(
        x, number(o, "beta", 1), number(o, "threshold", 20)),
    "softsign": lambda x, o: F.softsign(x),
    "hard-sigmoid": hard_sigmoid,
    "hard-tanh": lambda x, o: F.hardtanh(
        x, number(o, "min_val", -1), number(o, "max_val", 1)),
    "clip": clip,
    "threshold": lambda x, o: F.threshold(
        x, number(o, "threshold", 0), number(o, "value", 0)),
    "shrink": shrink,
    "exp": lambda x, o: torch.exp(x),
    "log": lambda x, o: torch.log(x),
    "sqrt": lambda x, o: torch.sqrt(x),
    "reciprocal": lambda x, o: torch.reciprocal(x),
    "abs": lambda x, o: torch.abs(x),
    "neg": lambda x, o: torch.neg(x),
    "erf": lambda x, o: torch.erf(x),
    "sin": lambda x, o: torch.sin(x),
    "cos": lambda x, o: torch.cos(x),
    "tan": lambda x, o: torch.tan(x),
    "asin": lambda x, o: torch.asin(x),
    "acos": lambda x, o: torch.acos(x),
    "atan": lambda x, o: torch.atan(x),
    "sinh": lambda x, o: torch.sinh(x),
    "cosh": lambda x, o: torch.cosh(x),
    "asinh": lambda x, o: torch.asinh(x),
    "acosh": lambda x, o: torch.acosh(x),
    "atanh": lambda x, o: torch.atanh(x),
    "floor": lambda x, o: torch.floor(x),
    "ceil": lambda x, o: torch.ceil(x),
    "round": lambda x, o: torch.round(x),
    "sign": lambda x, o: torch.sign(x),
    "trunc": lambda x, o: torch.trunc(x),
}
BINARY = {
    "add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div,
    "pow": torch.pow, "min": torch.minimum, "max": torch.maximum,
    "mask": lambda a, b: torch.where(b != 0, a, 0 * b),
    "eq": lambda a, b: compare(torch.eq, a, b),
    "lt": lambda a, b: compare(torch.lt, a, b),
    "le": lambda a, b: compare(torch.le, a, b),
}
POSITIVE = ("log", "sqrt")


def compare(function, a, b):
    """0 or 1 with gradients, which are 0."""
    return function(a, b).double() + 0 * (a + b)


def away(x, positive):
    """Moves x from 0, where it is divided by or has no logarithm."""
    with torch.no_grad():
        size = (x.abs() * 0.5 + 0.5).float().double()
        x.copy_(size if positive else torch.where(x < 0, -size, size))


def unary(kind, xs, o):
    if kind in POSITIVE or kind == "reciprocal":
        away(xs[0], kind in POSITIVE)
    if kind in ("tan", "asin", "acos", "atanh", "acosh"):
        with torch.no_grad():       # where they have a finite slope
            x = torch.tanh(xs[0]) * 0.9 + (2 if kind == "acosh" else 0)
            xs[0].copy_(x.float().double())
    if kind == "relu6":
        with torch.no_grad():
            xs[0].copy_((xs[0] * 5).float().double())
    return UNARY[kind](xs[0], o)


def binary(kind, xs, o, weights):
    a, b = xs[0], xs[-1]
    if len(xs) > 2:
        return layers.activate(sum(xs[1:], xs[0]), o)
    if len(xs) == 1:
        shape = [int(n) for n in o["other"].split(";")]
        learned = o.get("learned", "true" if max(shape) > 1 else "false")
        b = weights["other"] = layers.normal(*shape)
        if "value" in o:
            b.data[:] = float(o["value"])
        if o.get("reverse") == "true":
            a, b = b, a
        if learned == "false":
            weights["other"].requires_grad_(False)
            weights["after.other"] = weights["other"]
    if kind == "div":
        away(b, False)
    if kind == "pow":
        away(a, True)
    if kind == "mask":
        with torch.no_grad():
            b.copy_(torch.where(b.abs() < 0.5, torch.zeros_like(b), b))
    if kind in ("min", "max", "eq", "le"):
        with torch.no_grad():       # some ties
            far = a.abs() > 1
            a.copy_(torch.where(far, torch.ones_like(a), a))
            b.copy_(torch.where(b.abs() > 1, torch.ones_like(b), b))
    return layers.activate(BINARY[kind](a, b), o)


def prelu(xs, o, weights):
    shape = [int(n) for n in o.get("shape", o.get(
        "num_parameters", "1")).split(";")]
    weight = weights["weight"] = layers.normal(*shape)
    if "shape" in o:
        return torch.where(xs[0] > 0, xs[0], weight * xs[0])
    return F.prelu(xs[0], weight)


layers.KINDS = {
    "linear": layers.linear,
    "conv2d": layers.conv2d,
    **{kind: lambda xs, o, w, kind=kind: unary(kind, xs, o) for kind in UNARY},
    **{kind: lambda xs, o, w, kind=kind: binary(kind, xs, o, w)
       for kind in BINARY},
    "prelu": prelu,
}

if __name__ == "__main__":
    layers.make(LAYERS, "eltwise.safetensors")
