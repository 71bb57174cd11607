# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An ONNX model as JSON and .safetensors, for a Python that has no onnx. To be
run by the Python of ../reference/own_python.py.

usage: onnx_dump.py MODEL.onnx OUT     writes OUT.json and OUT.safetensors
"""

import json
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

import pathlib
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent
                       / "reference"))
import safetensors_io  # noqa: E402


def plain(value):
    if isinstance(value, bytes):
        return value.decode()
    return list(value) if isinstance(value, (list, tuple)) else value


def main():
    model, out = sys.argv[1:3]
    graph = onnx.load(model).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    nodes = []
    for node in graph.node:
        options = {a.name: helper.get_attribute_value(a)
                   for a in node.attribute}
        if node.op_type == "Constant":
            constants[node.output[0]] = numpy_helper.to_array(options["value"])
        else:
            nodes.append({"op": node.op_type, "in": list(node.input),
                          "out": list(node.output),
                          "with": {k: plain(v) for k, v in options.items()}})
    kinds = {"f": np.float32, "i": np.int64, "b": np.int64, "u": np.int64}
    safetensors_io.save(out + ".safetensors", {
        k: np.asarray(v, kinds[v.dtype.kind]) for k, v in constants.items()})
    with open(out + ".json", "w", encoding="utf-8") as file:
        json.dump({"nodes": nodes, "output": graph.output[0].name,
                   "input": next(i.name for i in graph.input
                                 if i.name not in constants)}, file)


if __name__ == "__main__":
    main()
