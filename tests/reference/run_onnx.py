# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs models elsewhere: onnx.checker, then ONNX Runtime on the inputs of a
.safetensors file beside each. To be run by the Python of own_python.py.

usage: run_onnx.py FILE.onnx...

One JSON line a model: what is wrong, the largest difference from "y", and of
outputs after the first from "y.NAME", over max (1, largest of y), and what the
model says of itself.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

import safetensors_io


def compare(found, expected):
    if found.shape != expected.shape:
        raise ValueError(f"shape {found.shape}, not {expected.shape}")
    scale = max(1, np.nanmax(np.abs(expected), initial=0))
    error = np.abs(found - expected)
    error[np.isnan(found) & np.isnan(expected)] = 0
    return float(error.max(initial=0) / scale)


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
        runs = [session.run(None, {names[0]: x[None]})
                for x in numbers["frames"]]
    else:
        runs = [session.run(None, {n: numbers[n] for n in names})]
    outputs = [y.name for y in session.get_outputs()]
    expected = [numbers["y"]] + [numbers["y." + n] for n in outputs[1:]]
    errors = [compare(np.concatenate(found), y)
              for found, y in zip(zip(*runs), expected)]
    return {"error": max(errors), "inputs": names, "outputs": outputs,
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
