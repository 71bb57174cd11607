# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Safetensors with nothing but NumPy: eight bytes with the length of a JSON
header, the header, the data."""

import json
import struct

import numpy as np

DTYPES = {"F32": np.dtype("<f4"), "I32": np.dtype("<i4"),
          "I64": np.dtype("<i8"), "U8": np.dtype("u1")}


def load(path):
    """Returns a dict of name to array."""
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, about in header.items():
        if name != "__metadata__":
            begin, end = about["data_offsets"]
            out[name] = np.frombuffer(data[begin:end], DTYPES[about["dtype"]]
                                      ).reshape(about["shape"]).copy()
    return out


def save(path, tensors):
    """Writes a dict of name to array."""
    header, blobs, at = {}, [], 0
    for name, value in tensors.items():
        value = np.ascontiguousarray(value)
        kind = next(k for k, v in DTYPES.items() if v == value.dtype)
        header[name] = {"dtype": kind, "shape": list(value.shape),
                        "data_offsets": [at, at + value.nbytes]}
        blobs.append(value.tobytes())
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
