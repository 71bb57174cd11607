# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""PyTorch on what onnx_dump.py wrote, traced, frozen and optimised for
inference, as a worker: commands on stdin, answers on stdout.

load FILE 1x3xHxW      builds it; answers the output's largest number
run N                  answers the seconds that N frames took
"""

import json
import os
import pathlib
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent
                       / "reference"))
import safetensors_io  # noqa: E402


def pads(options):
    return tuple(options.get("pads", (0, 0, 0, 0)))


def conv(o, x, w, b=None):
    left = pads(o)
    if left[:2] != left[2:]:
        x, left = F.pad(x, (left[1], left[3], left[0], left[2])), (0, 0)
    return F.conv2d(x, w, b, o.get("strides", (1, 1)), left[:2],
                    o.get("dilations", (1, 1)), o.get("group", 1))


def pool(function, o, x, **more):
    return function(x, o["kernel_shape"], o.get("strides", (1, 1)),
                    pads(o)[:2], ceil_mode=bool(o.get("ceil_mode", 0)), **more)


def resize(o, x, *rest):
    scales = next(r for r in rest if r is not None and r.numel() == 4)
    return F.interpolate(x, scale_factor=tuple(scales[2:].tolist()),
                         mode=o["mode"])


def gemm(o, x, w, b=None):
    return F.linear(x, w if o.get("transB") else w.t(), b)


OPERATORS = {
    "Conv": conv,
    "ConvTranspose": lambda o, x, w, b=None: F.conv_transpose2d(
        x, w, b, o.get("strides", (1, 1)), pads(o)[:2]),
    "BatchNormalization": lambda o, x, w, b, m, v: F.batch_norm(
        x, m, v, w, b, eps=o.get("epsilon", 1e-5)),
    "Relu": lambda o, x: F.relu(x),
    "Sigmoid": lambda o, x: torch.sigmoid(x),
    "HardSigmoid": lambda o, x: (x * o["alpha"] + o["beta"]).clamp(0, 1),
    "Clip": lambda o, x, low, high: x.clamp(float(low), float(high)),
    "Add": lambda o, a, b: a + b,
    "Sum": lambda o, a, b: a + b,
    "Mul": lambda o, a, b: a * b,
    "Div": lambda o, a, b: a / b,
    "Concat": lambda o, *x: torch.cat(x, o["axis"]),
    "GlobalAveragePool": lambda o, x: x.mean((2, 3), keepdim=True),
    "MaxPool": lambda o, x: pool(F.max_pool2d, o, x),
    "AveragePool": lambda o, x: pool(
        F.avg_pool2d, o, x,
        count_include_pad=bool(o.get("count_include_pad", 0))),
    "Resize": resize,
    "Gemm": gemm,
    "Reshape": lambda o, x, shape: x.reshape(shape.tolist()),
    "Dropout": lambda o, x, *rest: x,
    "Transpose": lambda o, x: x.permute(o["perm"]),
    "Unsqueeze": lambda o, x: x.reshape([1 if i in o["axes"] else -1 for i in
                                         range(x.dim() + len(o["axes"]))]),
    "Softmax": lambda o, x: x.softmax(o.get("axis", 1)),
}


class Model(torch.nn.Module):
    def __init__(self, path):
        super().__init__()
        with open(path + ".json", encoding="utf-8") as file:
            self.graph = json.load(file)
        self.constants = {k: torch.from_numpy(v) for k, v in
                          safetensors_io.load(path + ".safetensors").items()}

    def forward(self, x):
        values = dict(self.constants, **{self.graph["input"]: x})
        for node in self.graph["nodes"]:
            inputs = [values[i] if i else None for i in node["in"]]
            values[node["out"][0]] = OPERATORS[node["op"]](node["with"],
                                                           *inputs)
        return values[self.graph["output"]]


def load(path, shape):
    x = torch.rand([int(s) for s in shape.split("x")],
                   generator=torch.Generator().manual_seed(1))
    x = x.contiguous(memory_format=torch.channels_last)
    def freeze():
        return torch.jit.freeze(torch.jit.trace(Model(path).eval(), x))

    try:
        model = torch.jit.optimize_for_inference(freeze())
        model(x)
    except RuntimeError:  # 1.13 stumbles over some graphs
        model = freeze()
    return model, x


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    model = x = None
    with torch.no_grad():
        for line in sys.stdin:
            words = line.split()
            if words[0] == "load":
                model, x = load(words[1], words[2])
                print("ok", float(model(x).max()), flush=True)
            elif words[0] == "run":
                start = time.perf_counter()
                for _ in range(int(words[1])):
                    model(x)
                print("ok", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
