# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graphs of real networks that come with the onnx package, whose weights
are constants in place of what was learned, with random weights. To be run by
the Python of own_python.py.

usage: light_models.py FOLDER NAME...    writes FOLDER/NAME.onnx
"""

import os
import sys

import numpy as np
import onnx
from onnx import numpy_helper

LIGHT = os.path.join(os.path.dirname(onnx.__file__), "backend", "test", "data",
                     "light")


def fill(name, shape, reader, rng):
    """Numbers that keep the size of what flows through: He's for matrices and
    kernels; for a batch norm a scale near 1, a mean near 0."""
    if len(shape) >= 2:
        fan_in = np.prod(shape[1:])
        return rng.standard_normal(shape) * np.sqrt(2 / fan_in)
    if reader.op_type == "BatchNormalization":
        spread = rng.uniform(0.8, 1.2, shape)
        place = list(reader.input).index(name)
        return spread if place in (1, 4) else 0.1 * (spread - 1)
    if reader.op_type == "Unsqueeze" and "_w" in name:
        return rng.uniform(0.8, 1.2, shape)
    return rng.uniform(-0.1, 0.1, shape)


def drop_softmax(graph):
    """What random weights say is so loud that only one class would be left."""
    last = graph.node[-1]
    if last.op_type == "Softmax":
        graph.output[0].name = last.input[0]
        graph.node.remove(last)


def main():
    folder, names = sys.argv[1], sys.argv[2:]
    for name in names:
        rng = np.random.default_rng(5)
        model = onnx.load(os.path.join(LIGHT, f"light_{name}.onnx"))
        graph = model.graph
        sizes = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        readers = {i: node for node in graph.node for i in node.input}
        for node in [n for n in graph.node if n.op_type == "ConstantOfShape"]:
            output = node.output[0]
            shape = tuple(sizes[node.input[0]])
            numbers = fill(output, shape, readers[output], rng)
            graph.initializer.append(numpy_helper.from_array(
                np.asarray(numbers, np.float32), output))
            graph.node.remove(node)
        used = {i for n in graph.node for i in n.input}
        for kind in (graph.initializer, graph.input):
            for unused in [t for t in kind if t.name not in used]:
                kind.remove(unused)
        drop_softmax(graph)
        # older ones want each initializer to be an input as well
        model.ir_version = max(model.ir_version, 4)
        onnx.save(model, os.path.join(folder, name + ".onnx"))


if __name__ == "__main__":
    main()
