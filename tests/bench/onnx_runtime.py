# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ONNX Runtime, all its optimisations on, as a worker: commands on stdin,
answers on stdout. To be run by the Python of ../reference/own_python.py.

load MODEL.onnx 1x3xHxW    answers seconds to load it
run N                      answers the seconds that N frames took
"""

import os
import sys
import time

import numpy as np
import onnxruntime


def main():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    options.log_severity_level = 3
    session = feed = None
    for line in sys.stdin:
        words = line.split()
        start = time.perf_counter()
        if words[0] == "load":
            session = onnxruntime.InferenceSession(
                words[1], options, providers=["CPUExecutionProvider"])
            x = np.random.default_rng(1).random(
                [int(s) for s in words[2].split("x")], np.float32)
            feed = {session.get_inputs()[0].name: x}
        elif words[0] == "run":
            for _ in range(int(words[1])):
                session.run(None, feed)
        print("ok", time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    main()
