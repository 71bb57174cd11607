#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mistakes in the use of `partime learn`: told before anything is learned.

usage: test-learn.py path/to/partime
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import safetensors_io

NETWORK = """[network]
width=4
height=4
channels=1
[a]
type=conv2d
filters=1
kernel=3
padding=1
[learning]
loss=mse
target=labels
[pipeline]
devices=cpu:0
stages=1
"""


def main():
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        network = os.path.join(folder, "net.cfg")
        frames = os.path.join(folder, "frames.safetensors")
        out = os.path.join(folder, "out.safetensors")
        with open(network, "w", encoding="utf-8") as file:
            file.write(NETWORK)
        safetensors_io.save(frames, {"frames": np.ones((3, 1, 4, 4),
                                                       np.float32)})
        for words, code, says in (
                (["-t", frames, "-o", out], 0, []),
                (["-s", "learning.mode=off"], 0, []),
                ([], 1, ["--targets", "labels", "mse"]),
                (["-t", frames, "-o", folder + "/none/x"], 1,
                 ["--out", "/none/x", "no folder"]),
                (["-t", frames, "-O", folder + "/none/x"], 1,
                 ["--outputs", "/none/x", "no folder"])):
            done = subprocess.run(
                [sys.argv[1], "learn", network, "-f", frames, *words],
                capture_output=True, text=True, check=False, timeout=60)
            said = done.stderr.strip()
            tap.check(done.returncode == code and bool(said) == bool(says)
                      and all(word in said for word in says)
                      and bool(done.stdout) == (code == 0),
                      f"learn {' '.join(words).replace(folder, '')}: {said}"
                      .replace(folder, ""))
    tap.end()


if __name__ == "__main__":
    main()
