#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A model whose layers are one where nothing learns, in cuts that go between
them, against ONNX Runtime; and with learning, where none is folded.

usage: test-onnx-fold.py path/to/partime
"""

import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(HERE, "reference")
sys.path.insert(0, REFERENCE)
import own_python  # noqa: E402
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import safetensors_io

TOLERANCE = 1e-5
FRAMES = 3
# learning.mode, pipeline.stages
RUNS = (("off", "1"), ("off", "1,-1"), ("off", "3"), ("off", "auto"),
        ("exact", "1"))


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          timeout=120)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip()[-400:])
    return done.stdout


def check(cli, python, folder, mode, stages):
    """How far we are from ONNX Runtime; nothing changes at a rate of 0."""
    model, data, frames, targets, out = (
        os.path.join(folder, name) for name in (
            "m.onnx", "m.safetensors", "frames", "targets", "out"))
    words = [cli, "learn", model, "-f", frames, "-O", out]
    for setting in (f"learning.mode={mode}", f"pipeline.stages={stages}",
                    "pipeline.devices=cpu:0"):
        words += ["-s", setting]
    if mode != "off":
        words += ["-t", targets, "-s", "learning.target=labels",
                  "-s", "learning.loss=mse",
                  "-s", "learning.optimizer=sgd lr=0"]
    run(*words)
    safetensors_io.save(data, {
        "frames": safetensors_io.load(frames)["frames"],
        "y": safetensors_io.load(out)["outputs"].reshape(FRAMES, -1)})
    found = json.loads(run(python, os.path.join(REFERENCE, "run_onnx.py"),
                           model).splitlines()[-1])
    if "wrong" in found:
        raise RuntimeError(found["wrong"])
    return found["error"]


def main():
    cli = sys.argv[1]
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    if not python:
        print(f"1..0 # SKIP {reason}")
        return
    tap = Tap()
    rng = np.random.default_rng(4)
    with tempfile.TemporaryDirectory() as folder:
        run(python, os.path.join(REFERENCE, "scaled_model.py"),
            os.path.join(folder, "m.onnx"))
        for name, shape in (("frames", (FRAMES, 3, 9, 9)),
                            ("targets", (FRAMES, 1, 10))):
            safetensors_io.save(os.path.join(folder, name), {
                name: rng.standard_normal(shape).astype(np.float32)})
        for mode, stages in RUNS:
            try:
                error = check(cli, python, folder, mode, stages)
            except RuntimeError as wrong:
                tap.say(wrong)
                error = np.inf
            tap.check(error < TOLERANCE, f"mode={mode} stages={stages}: "
                      f"{error:.1e} from ONNX Runtime")
    tap.end()


if __name__ == "__main__":
    main()
