# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model with all that folds: behind convolutions, transposed ones and
matrices batch-norms, and chains of Mul, Div, Add and Sub per channel. To be run
by the Python of own_python.py.

usage: scaled_model.py FILE.onnx
"""

import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIDE = 9


class Graph:
    def __init__(self):
        self.rng = np.random.default_rng(3)
        self.nodes, self.constants, self.last = [], [], "x"

    def constant(self, *shape, low=-1.0):
        name = f"c{len(self.constants)}"
        numbers = self.rng.uniform(low, 1.5, shape).astype(np.float32)
        self.constants.append(numpy_helper.from_array(numbers, name))
        return name

    def add(self, op, *others, **options):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(
            op, [self.last, *others], [name], name, **options))
        self.last = name

    def norm(self, channels):
        self.add("BatchNormalization", *(self.constant(channels)
                                         for _ in range(3)),
                 self.constant(channels, low=0.2))

    def chain(self, *shape):
        """(Sub takes its constant from what comes in.)"""
        self.add("Mul", self.constant(*shape))
        self.add("Add", self.constant(*shape))
        self.add("Div", self.constant(1, low=0.5))
        self.add("Sub", self.constant(*shape))
        self.add("Relu")


def make():
    g = Graph()
    g.add("Conv", g.constant(6, 3, 3, 3), pads=[1, 1, 1, 1])
    g.norm(6)
    g.chain(6, 1, 1)
    g.add("Conv", g.constant(8, 3, 3, 3), g.constant(8), group=2)
    g.chain(1, 8, 1, 1)
    g.add("ConvTranspose", g.constant(8, 2, 2, 2), g.constant(4), group=2,
          strides=[2, 2])
    g.norm(4)
    g.add("Relu")
    g.add("Flatten")
    g.add("Gemm", g.constant(20, 4 * 14 * 14), g.constant(20), transB=1)
    g.norm(20)
    g.chain(20)
    g.add("MatMul", g.constant(20, 10))
    g.norm(10)
    return helper.make_model(
        helper.make_graph(
            g.nodes, "scaled", [helper.make_tensor_value_info(
                "x", onnx.TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
            [helper.make_tensor_value_info(
                g.last, onnx.TensorProto.FLOAT, (1, 10))], g.constants),
        opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


if __name__ == "__main__":
    onnx.save(make(), sys.argv[1])
