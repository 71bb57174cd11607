#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Losses against ONNX's own test data: SoftmaxCrossEntropyLoss with class
weights and ignored labels, as the loss of a picture whose pixels are all
samples of the batch. (Those of NegativeLogLikelihoodLoss are no logarithms of
probabilities, which our loss makes itself.)

usage: test-onnx-losses.py path/to/partime
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import debian  # noqa: E402
import own_python  # noqa: E402
from tap import Tap  # noqa: E402

try:
    import numpy as np
except ImportError as missing:
    print(f"1..0 # SKIP {missing}")
    sys.exit(0)
import safetensors_io  # noqa: E402

TOLERANCE = 1e-5
NETWORK = """[network]
width={width}
height={height}
channels={classes}
[same]
type=conv2d
filters={classes}
kernel=1
bias=false
[learning]
mode=exact
target=labels
loss=cross-entropy {options}
optimizer=sgd lr=1e-9
[pipeline]
devices=cpu:0
stages=1
"""


def find_data():
    folder = debian.find("libonnx-testdata", "libonnx-testdata/data/node")
    return sorted(f for f in glob.glob(folder + "/test_sce_*")
                  if "expanded" not in f) if folder else []


def run(cli, folder, case, options):
    """Our loss of the case: N and what follows C are the picture."""
    scores, labels = case["input0"], case["input1"]
    n, classes = scores.shape[:2]
    picture = np.moveaxis(scores.reshape(n, classes, -1), 1, 0)
    words = []
    if "ignore_index" in options:
        words.append(f"ignore_index={options['ignore_index']}")
    if "input2" in case:
        words.append("weight=" + ",".join(f"{w:.9g}" for w in case["input2"]))
    path = os.path.join(folder, "net.cfg")
    with open(path, "w", encoding="utf-8") as file:
        file.write(NETWORK.format(
            width=picture.shape[2], height=n, classes=classes,
            options=" ".join(words).replace(",", ";")))
    names = {k: os.path.join(folder, k + ".safetensors")
             for k in ("frames", "targets", "weights", "out")}
    safetensors_io.save(names["frames"], {"frames": picture[None]})
    safetensors_io.save(names["targets"], {"targets": labels.reshape(
        1, 1, n, -1).astype(np.int32)})
    safetensors_io.save(names["weights"], {"same.weight": np.eye(
        classes, dtype=np.float32).reshape(classes, classes, 1, 1)})
    done = subprocess.run(
        [cli, "learn", path, "-f", names["frames"], "-t", names["targets"],
         "-w", names["weights"], "-O", names["out"]],
        capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        return done.stderr.strip()[-300:]
    return float(safetensors_io.load(names["out"])["losses"].ravel()[0])


def main():
    cli = sys.argv[1]
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    folders = find_data()
    if not python or not folders:
        print(f"1..0 # SKIP {reason or 'no libonnx-testdata'}")
        return
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, os.path.join(HERE, "reference",
                                             "onnx_cases.py"), folder]
                       + folders, check=True, timeout=120)
        for path in sorted(glob.glob(folder + "/test_sce_*.json")):
            with open(path, encoding="utf-8") as file:
                options = json.load(file)["with"]
            name = os.path.basename(path)[:-len(".json")]
            if options.get("reduction", "mean") != "mean":
                tap.skip(name, f"reduction={options['reduction']}; a stream "
                         "learns from the mean")
                continue
            case = safetensors_io.load(path[:-len("json")] + "safetensors")
            found = run(cli, folder, case, options)
            expected = float(case["output0"])
            good = isinstance(found, float) and \
                abs(found - expected) <= TOLERANCE * max(1, abs(expected))
            tap.check(good, f"{name}: {found}, expected {expected:.6f}")
    tap.end()


if __name__ == "__main__":
    main()
