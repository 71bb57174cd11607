# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ONNX's test cases of one node as numbers, for a Python that has no onnx. To
be run by the Python of own_python.py.

usage: onnx_cases.py OUT FOLDER...    writes OUT/NAME.json and .safetensors
"""

import json
import os
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

import safetensors_io


def read(folder, kind, i):
    path = os.path.join(folder, "test_data_set_0", f"{kind}_{i}.pb")
    if not os.path.exists(path):
        return None
    with open(path, "rb") as file:
        array = numpy_helper.to_array(
            onnx.TensorProto.FromString(file.read()))
    whole = array.dtype.kind in "iub"
    return array.astype(np.int64 if whole else np.float32)


def main():
    out = sys.argv[1]
    for folder in sys.argv[2:]:
        node = onnx.load(os.path.join(folder, "model.onnx")).graph.node[0]
        arrays = {f"{kind}{i}": read(folder, kind, i)
                  for kind in ("input", "output") for i in range(12)}
        base = os.path.join(out, os.path.basename(folder.rstrip("/")))
        safetensors_io.save(base + ".safetensors", {
            k: v for k, v in arrays.items() if v is not None})
        options = {a.name: helper.get_attribute_value(a)
                   for a in node.attribute}
        with open(base + ".json", "w", encoding="utf-8") as file:
            json.dump({"op": node.op_type, "with": {
                k: v.decode() if isinstance(v, bytes) else v
                for k, v in options.items()}}, file)


if __name__ == "__main__":
    main()
