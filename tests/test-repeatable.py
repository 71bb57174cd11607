#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same stream gives the same bits, whatever else the machine does.

usage: test-repeatable.py path/to/partime
"""

import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import rig as rigs

BURN = [sys.executable, "-c", "while True: pass"]


def same(a, b):
    """Weights, outputs and losses, bit for bit."""
    return all(a[0][k].tobytes() == b[0][k].tobytes() for k in a[0]) and \
        a[1].tobytes() == b[1].tobytes() and a[2].tobytes() == b[2].tobytes()


def busy_run(run):
    """With a process that never waits on every core."""
    burners = [subprocess.Popen(BURN) for _ in range(os.cpu_count())]
    try:
        return run()
    finally:
        for burner in burners:
            burner.kill()
            burner.wait()


def main():
    tap = Tap()
    frames = rigs.smooth_stream(150, (1, 16, 16), 21)
    with tempfile.TemporaryDirectory() as folder:
        rig = rigs.Rig(sys.argv[1], folder)
        network = rig.write_network("chain.cfg", rigs.CHAIN)
        first = rig.init(network)
        for mode in ("partime", "delayed"):
            for n in (2, 3):
                settings = [f"learning.mode={mode}",
                            "learning.optimizer=adam lr=2e-3",
                            "pipeline.devices=cpu:0,cpu:1"
                            if os.cpu_count() > 1 else
                            "pipeline.devices=cpu:0",
                            "pipeline.stages=" + rigs.CUTS["CHAIN"][n]]

                def run():
                    return rig.learn(network, settings, frames, first)

                calm = run()
                tap.check(same(calm, run()), f"{mode}, {n} stages, again")
                tap.check(same(calm, busy_run(run)),
                          f"{mode}, {n} stages, on a busy machine")
    tap.end()


main()
