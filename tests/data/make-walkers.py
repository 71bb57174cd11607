#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes walkers.npz: how OpenCV sees vtest.avi (Debian's opencv-doc) move,
every eighth frame against the one before, as means over 4x4 pixels of 192x144:

    frames     which (N)
    farneback  calcOpticalFlowFarneback, 1/16 px (N, 2, 36, 48)
    dis        DISOpticalFlow, medium, 1/16 px, likewise
    walkers    0, or which moving thing a cell belongs to (N, 36, 48)

Both are taken at 384x288. Made with OpenCV 5.0: make-walkers.py vtest.avi
"""

import os
import sys

import cv2
import numpy as np

SIZE, CELLS = (384, 288), (48, 36)
FIRST, STEP = 24, 8
LEAST, AREA = .7, 3     # of a moving thing, px and cells


def luma(path):
    video = cv2.VideoCapture(path)
    while True:
        found, frame = video.read()
        if not found:
            return
        yield cv2.resize(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), SIZE,
                         interpolation=cv2.INTER_AREA)


def in_cells(flow):
    """In pixels of 192x144."""
    return cv2.resize(flow, CELLS, interpolation=cv2.INTER_AREA
                      ).transpose(2, 0, 1) / 2


def things(flow):
    moving = (np.hypot(*flow) > LEAST).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(moving)
    labels[stats[labels, cv2.CC_STAT_AREA] < AREA] = 0
    return labels.astype(np.uint8)


def main():
    frames = list(luma(sys.argv[1]))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    at = list(range(FIRST, len(frames), STEP))
    pairs = [(frames[t - 1], frames[t]) for t in at]
    flows = {
        "farneback": [in_cells(cv2.calcOpticalFlowFarneback(
            *pair, None, .5, 4, 15, 3, 5, 1.1, 0)) for pair in pairs],
        "dis": [in_cells(dis.calc(*pair, None)) for pair in pairs]}
    np.savez_compressed(
        os.path.join(os.path.dirname(os.path.abspath(__file__)),
                     "walkers.npz"), frames=np.array(at, np.int16),
        walkers=np.stack([things(flow) for flow in flows["farneback"]]),
        **{name: np.clip(np.rint(np.stack(flow) * 16), -127, 127
                         ).astype(np.int8) for name, flow in flows.items()})


main()
