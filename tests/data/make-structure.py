#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes structure.safetensors: what PyTorch says of the layers that move,
select and resample elements. Made as make-layers.py is."""

import importlib.util
import os

import torch

spec = importlib.util.spec_from_file_location("layers", os.path.join(
    os.path.dirname(os.path.abspath(__file__)), "make-layers.py"))
layers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(layers)

LAYERS = """
reshape in=1x3x4x5 shape=1;60
reshape in=1x6x5x2 shape=0;-1;3;5
reshape in=2x3x4 shape=1;6;2;2
reshape in=1x6x5x7 shape=1;5;6;7
reshape in=2x6 shape=3;4
reshape in=1x12x2x2 shape=1;2;6;2;2
reshape in=1x2x3x2x2 shape=-1;2;2
reshape in=1x8 shape=1;2;1;2;1;2
transpose in=1x3x4x5 perm=0;2;3;1
transpose in=1x3x4x5 perm=0;1;-1;-2
transpose in=2x3x4 perm=2;0;1
transpose in=5x4 perm=1;0
transpose in=2x3x4x2x3 perm=4;0;3;1;2
transpose in=2x2x3x2x2x3 perm=0;3;1;4;2;5
transpose in=1x17x19 perm=0;2;1
"""


def ints(options, key, default=None):
    text = options.get(key, default)
    return [int(n) for n in text.split(";")] if text is not None else None


def reshape(xs, o, weights):
    shape = ints(o, "shape")
    return xs[0].reshape([xs[0].shape[i] if n == 0 else n
                          for i, n in enumerate(shape)])


layers.KINDS = {
    "reshape": reshape,
    "transpose": lambda xs, o, w: xs[0].permute(ints(o, "perm")),
}

if __name__ == "__main__":
    layers.make(LAYERS, "structure.safetensors")
