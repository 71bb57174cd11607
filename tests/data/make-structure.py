#!/usr/bin/env python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes structure.safetensors: what PyTorch says of the layers that move,
select and resample elements. Made as make-layers.py is."""

import importlib.util
import os

import torch
import torch.nn.functional as F

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
slice in=1x3x4x7 axis=-1 start=1 length=3 step=2
slice in=2x3x5x4 axis=0;2;3 start=1;4;-1 length=1;3;4 step=1;-2;-1
slice in=3x8 axis=0 start=2 length=2 step=-2
index-select in=1x5x3x4 index=4;0;0;2
index-select in=1x3x4x5 axis=3 index=0;1;2;4;-2;0
index-select in=3x4x2 axis=0 index=1;1
index-select in=1x17x3 axis=1 index=16;3;4;5;6;7;8
pad in=1x3x4x5 pad=1;2;0;1
pad in=1x3x4x5 pad=1;2;0;1 value=-1.5
pad in=1x3x4x5 pad=2;-1;-1;3;1;0;0;0
pad in=1x3x4x5 pad=4;2;1;3 mode=reflect
pad in=1x3x4x5 pad=4;9;1;3 mode=replicate
pad in=1x3x4x5 pad=4;5;1;3 mode=circular
pad in=2x3x6 pad=5;4 mode=reflect
pad in=2x7 pad=0;0;1;2 value=0.5
expand in=1x3x1x5 shape=-1;3;4;5
expand in=1x1x4x5 shape=2;3;-1;-1
expand in=3x1 shape=2;2;3;4
expand in=1x6 shape=40;6
expand in=1x2x1x1 shape=1;2;30;17
pixel-shuffle in=1x8x3x2 upscale_factor=2
pixel-shuffle in=2x18x2x3 upscale_factor=3
pixel-shuffle in=1x12x2x3 upscale_factor=2 order=dcr
pixel-unshuffle in=1x2x4x6 downscale_factor=2
pixel-unshuffle in=2x1x6x3 downscale_factor=3
pixel-unshuffle in=1x3x4x2 downscale_factor=2 order=dcr
concat in=1x3x2x5,1x3x4x5 axis=2
concat in=1x3x4x2,1x3x4x5,1x3x4x1 axis=-1
concat in=2x3x2x2,1x3x2x2 axis=0
concat in=2x3x4,2x3x1 axis=2
resize in=1x3x4x5 size=9;3
resize in=1x3x4x5 scale=2.3;0.7 mode=linear
resize in=1x2x4x5 size=7;3 mode=linear coordinates=align_corners
resize in=1x4x6x5 scale=1.7;0.6 mode=cubic
resize in=1x2x4x5 size=3;8 mode=cubic coordinates=align_corners
resize in=1x3x9x8 size=4;3 mode=linear antialias=true exclude_outside=true
resize in=1x3x9x8 size=4;11 mode=cubic cubic_coeff_a=-0.5 antialias=true exclude_outside=true
resize in=1x3x4x5 size=6;11 coordinates=half_pixel nearest_mode=round_prefer_ceil
resize in=2x3x7 size=11 mode=linear
resize in=1x2x3x4x3 size=5;3;7 mode=linear
parameter in=1x3x4x5 shape=1;2;3;4
parameter in=1x7 shape=3;5
parameter in=1x7 shape=2;3;2 learned=false
"""


def ints(options, key, default=None):
    text = options.get(key, default)
    return [int(n) for n in text.split(";")] if text is not None else None


def reshape(xs, o, weights):
    shape = ints(o, "shape")
    return xs[0].reshape([xs[0].shape[i] if n == 0 else n
                          for i, n in enumerate(shape)])


def slices(xs, o, weights):
    axes = ints(o, "axis", "1")
    start, length, step = (ints(o, key, "1") for key in (
        "start", "length", "step"))
    y = xs[0]
    for axis, first, n, by in zip(axes, start, length,
                                  step * len(axes) if len(step) == 1
                                  else step):
        first %= y.shape[axis]
        places = torch.arange(first, first + n * by, by)
        y = y.index_select(axis, places)
    return y


def pad(xs, o, weights):
    mode = o.get("mode", "constant")
    value = {"value": float(o.get("value", 0))} if mode == "constant" else {}
    return F.pad(xs[0], ints(o, "pad"), mode, **value)


def index_select(xs, o, weights):
    axis = int(o.get("axis", 1))
    index = torch.tensor(ints(o, "index")) % xs[0].shape[axis]
    return xs[0].index_select(axis, index)


# of ONNX's DepthToSpace, mode DCR
def shuffle(xs, o, weights):
    r = int(o["upscale_factor"])
    if o.get("order", "crd") == "crd":
        return F.pixel_shuffle(xs[0], r)
    n, c, h, w = xs[0].shape
    y = xs[0].reshape(n, r, r, c // (r * r), h, w).permute(0, 3, 4, 1, 5, 2)
    return y.reshape(n, c // (r * r), h * r, w * r)


# of ONNX's SpaceToDepth
def unshuffle(xs, o, weights):
    r = int(o["downscale_factor"])
    if o.get("order", "crd") == "crd":
        return F.pixel_unshuffle(xs[0], r)
    n, c, h, w = xs[0].shape
    y = xs[0].reshape(n, c, h // r, r, w // r, r).permute(0, 3, 5, 1, 2, 4)
    return y.reshape(n, c * r * r, h // r, w // r)


def resize(xs, o, weights):
    mode, dims = o.get("mode", "nearest"), xs[0].dim() - 2
    names = {"linear": ["linear", "bilinear", "trilinear"][dims - 1],
             "cubic": "bicubic", "nearest": "nearest"}
    options = {}
    if mode != "nearest":
        options["align_corners"] = o.get("coordinates") == "align_corners"
        options["antialias"] = o.get("antialias") == "true"
    elif o.get("coordinates") == "half_pixel":
        names["nearest"] = "nearest-exact"
    if "size" in o:
        options["size"] = ints(o, "size")
    else:
        options["scale_factor"] = [float(s) for s in o["scale"].split(";")]
    return F.interpolate(xs[0], mode=names[mode], **options)


def parameter(xs, o, weights):
    weight = layers.normal(*ints(o, "shape"))
    if o.get("learned") == "false":
        weights["weight"] = weights["after.weight"] = weight.detach()
    else:
        weights["weight"] = weight
    return weight + 0 * xs[0].sum()


layers.KINDS = {
    "parameter": parameter,
    "slice": slices,
    "pad": pad,
    "index-select": index_select,
    "expand": lambda xs, o, w: xs[0].expand(ints(o, "shape")),
    "pixel-shuffle": shuffle,
    "pixel-unshuffle": unshuffle,
    "concat": lambda xs, o, w: torch.cat(xs, dim=int(o["axis"])),
    "resize": resize,
    "reshape": reshape,
    "transpose": lambda xs, o, w: xs[0].permute(ints(o, "perm")),
}

if __name__ == "__main__":
    layers.make(LAYERS, "structure.safetensors")
