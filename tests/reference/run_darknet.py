# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs a network in darknet itself, which may not survive it.

usage: run_darknet.py LIBDARKNET NET.cfg NET.weights FRAMES OUT N

FRAMES and OUT are safetensors; N is how many numbers come out for a frame.
"""

import ctypes
import sys

import numpy as np

import safetensors_io


def main():
    library, cfg, weights, frames, out, n = sys.argv[1:]
    lib = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
    lib.load_network.restype = ctypes.c_void_p
    lib.load_network.argtypes = [ctypes.c_char_p, ctypes.c_char_p,
                                 ctypes.c_int]
    lib.network_predict.restype = ctypes.POINTER(ctypes.c_float)
    lib.network_predict.argtypes = [ctypes.c_void_p,
                                    ctypes.POINTER(ctypes.c_float)]
    net = lib.load_network(cfg.encode(), weights.encode(), 0)
    found = []
    for frame in safetensors_io.load(frames)["frames"]:
        flat = np.ascontiguousarray(frame).ravel()
        y = lib.network_predict(
            net, flat.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
        found.append(np.ctypeslib.as_array(y, (int(n),)).copy())
    safetensors_io.save(out, {"y": np.stack(found)})


if __name__ == "__main__":
    main()
