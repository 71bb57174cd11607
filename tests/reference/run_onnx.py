# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs models elsewhere: onnx.checker, then ONNX Runtime on the inputs of a
.safetensors file beside each. To be run by the Python of own_python.py.

usage: run_onnx.py FILE.onnx...

One JSON line a model: what is wrong, the largest difference from "y" over
max (1, largest of y), and what the model says of itself.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

import safetensors_io


def check(path):
    """Inputs beside the model are "x0", "x1"... or a stack of "frames", each
    of which is a run."""
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"])
    numbers = safetensors_io.load(path[:-len(".onnx")] + ".safetensors")
    names = [x.name for x in session.get_inputs()]
    if "frames" in numbers:
        found = np.concatenate([session.run(None, {names[0]: x[None]})[0]
                                for x in numbers["frames"]])
    else:
        found = session.run(None, {n: numbers[n] for n in names})[0]
    expected = numbers["y"]
    if found.shape != expected.shape:
        return {"wrong": f"shape {found.shape}, not {expected.shape}"}
    scale = max(1, np.nanmax(np.abs(expected), initial=0))
    error = np.abs(found - expected)
    error[np.isnan(found) & np.isnan(expected)] = 0
    return {"error": float(error.max(initial=0) / scale), "inputs": names,
            "outputs": [y.name for y in session.get_outputs()],
            "doc": model.doc_string,
            "settings": {p.key: p.value for p in model.metadata_props}}


def main():
    for path in sys.argv[1:]:
        try:
            print(json.dumps(check(path)))
        except Exception as wrong:  # whatever their libraries raise
            print(json.dumps({"wrong": f"{type(wrong).__name__}: {wrong}"}))


if __name__ == "__main__":
    main()
