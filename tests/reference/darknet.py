# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A second reading of darknet's networks, in PyTorch: sections, weights from
random numbers, and what comes out."""

import struct

import numpy as np
import torch
import torch.nn.functional as F

ACTIVATIONS = {
    "linear": lambda x: x,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "relu": F.relu,
    "logistic": torch.sigmoid,
    "tanh": torch.tanh,
    "swish": F.silu,
    "mish": F.mish,
    "elu": F.elu,
}


def read(text):
    sections = []
    for line in text.splitlines():
        line = "".join(line.split())
        if line.startswith("["):
            sections.append((line[1:-1], {}))
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            sections[-1][1].setdefault(key, value)
    return sections


class Darknet:
    """Draws its weights in the order in which a file has them; they are left
    in self.numbers."""

    def __init__(self, text, seed):
        self.sections = read(text)
        self.rng = np.random.default_rng(seed)
        self.numbers = []
        self.layers = []

    def draw(self, *shape, low=-1.0, high=1.0):
        x = self.rng.uniform(low, high, shape).astype(np.float32)
        self.numbers.append(x.ravel())
        return torch.from_numpy(x)

    def draw_norm(self, n):
        return {"scale": self.draw(n), "mean": self.draw(n),
                "variance": self.draw(n, low=0.1, high=2.0)}

    def save(self, path, version):
        """The header of that version, then all numbers."""
        seen = struct.pack("<q" if version >= (0, 2) else "<i", 32000)
        with open(path, "wb") as f:
            f.write(struct.pack("<iii", *version, 0) + seen)
            for x in self.numbers:
                f.write(x.astype("<f4").tobytes())

    @staticmethod
    def normalise(x, norm):
        shape = [1, -1] + [1] * (x.dim() - 2)
        x = (x - norm["mean"].view(shape)) / (
            torch.sqrt(norm["variance"]).view(shape) + 1e-6)
        return x * norm["scale"].view(shape)

    def conv(self, o, x, w):
        n, size = int(o["filters"]), int(o["size"])
        groups = int(o.get("groups", 1))
        if not w:
            w["bias"] = self.draw(n)
            if int(o.get("batch_normalize", 0)):
                w["norm"] = self.draw_norm(n)
            w["kernel"] = self.draw(n, x.shape[1] // groups, size, size)
        pad = size // 2 if int(o.get("pad", 0)) else int(o.get("padding", 0))
        y = F.conv2d(x, w["kernel"], None, int(o.get("stride", 1)), pad, 1,
                     groups)
        if "norm" in w:
            y = self.normalise(y, w["norm"])
        y = y + w["bias"].view(1, -1, 1, 1)
        return ACTIVATIONS[o.get("activation", "logistic")](y)

    def connected(self, o, x, w):
        x = x.flatten(1)
        n = int(o["output"])
        if not w:
            w["bias"] = self.draw(n)
            w["matrix"] = self.draw(n, x.shape[1])
            if int(o.get("batch_normalize", 0)):
                w["norm"] = self.draw_norm(n)
        y = x @ w["matrix"].T
        if "norm" in w:
            y = self.normalise(y, w["norm"])
        return ACTIVATIONS[o.get("activation", "logistic")](y + w["bias"])

    @staticmethod
    def maxpool(o, x):
        """Minus infinity around, as much as its windows reach."""
        stride = int(o.get("stride", 1))
        size = int(o.get("size", stride))
        padding = int(o.get("padding", size - 1))
        around = []
        for n in (x.shape[3], x.shape[2]):
            windows = (n + padding - size) // stride + 1
            begin = padding // 2
            around += [begin, (windows - 1) * stride + size - n - begin]
        return F.max_pool2d(F.pad(x, around, value=-np.inf), size, stride)

    def route(self, o, outputs):
        groups = int(o.get("groups", 1))
        part = int(o.get("group_id", 0))
        numbers = [int(k) for k in o["layers"].split(",")]
        chosen = [outputs[k if k >= 0 else len(outputs) + k] for k in numbers]
        return torch.cat([x.chunk(groups, 1)[part] for x in chosen], 1)

    def shortcut(self, o, outputs):
        y = outputs[-1]
        for k in (int(k) for k in o["from"].split(",")):
            y = y + outputs[k if k >= 0 else len(outputs) + k]
        return ACTIVATIONS[o.get("activation", "linear")](y)

    def run(self, frame):
        """What comes out for (C, H, W): heads give their input."""
        x = torch.from_numpy(frame[None])
        outputs, heads = [], []
        for i, (name, o) in enumerate(self.sections[1:]):
            if len(self.layers) == i:
                self.layers.append({})
            x = outputs[-1] if outputs else x
            if name == "convolutional":
                x = self.conv(o, x, self.layers[i])
            elif name == "connected":
                x = self.connected(o, x, self.layers[i])
            elif name == "maxpool":
                x = self.maxpool(o, x)
            elif name == "avgpool":
                x = x.mean((2, 3), keepdim=True)
            elif name == "upsample":
                x = F.interpolate(x, scale_factor=int(o.get("stride", 2)))
            elif name == "route":
                x = self.route(o, outputs)
            elif name == "shortcut":
                x = self.shortcut(o, outputs)
            elif name == "softmax":
                x = F.softmax(x.flatten(1), 1)
            elif name in ("yolo", "region"):
                heads.append(x)
            outputs.append(x)
        if len(heads) > 1:
            x = torch.cat([h.flatten(1) for h in heads], 1)
        return x.detach().numpy()[0]
