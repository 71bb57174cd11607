#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The quick start's network on the quick start's clip: does it find the
walkers, from any first weights, while it sees each frame once? Held against
what OpenCV makes of the same frames (data/walkers.npz), in thirds of the clip.

usage: test-flow-walkers.py path/to/partime [--seeds N] [--network FILE]
"""

import argparse
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import rig as rigs
    from moving_photo import ROOT, find_file

WIDTH, HEIGHT, CELL = 192, 144, 4
COLUMNS = ["direction", "end point", "walkers", "still"]
ALIKE = np.cos(np.pi / 4)


def read_clip(path, folder):
    """Luma as the network file has it: less 0.4, over 0.1."""
    raw = os.path.join(folder, "luma")
    subprocess.run(
        ["gst-launch-1.0", "-q", "filesrc", f"location={path}", "!",
         "decodebin", "!", "videoconvert", "!", "videoscale", "!",
         f"video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT}", "!",
         "filesink", f"location={raw}"], check=True)
    luma = np.fromfile(raw, np.uint8).reshape(-1, 1, HEIGHT, WIDTH)
    return ((luma / 255 - .4) / .1).astype(np.float32)


def in_cells(flow):
    n = len(flow)
    return flow.reshape(n, 2, HEIGHT // CELL, CELL, WIDTH // CELL, CELL
                        ).mean((3, 5))


def alike(one, other, least):
    """Within 45 degrees, and the second at least so long."""
    length = np.hypot(*other)
    return ((one * other).sum(0) > ALIKE * np.hypot(*one) * length) & (
        length > least)


def walkers_found(truth, found, labels):
    """Of each moving thing, whether its mean vector is right."""
    hits = []
    for t, picture in enumerate(labels):
        for k in range(1, picture.max() + 1):
            here = picture == k
            if here.any():
                hits.append(alike(truth[t][:, here].mean(1),
                                  found[t][:, here].mean(1), .3))
    return np.mean(hits)


def measure(found, seen):
    """Of each third: share of moving cells (over 1 px) whose direction is
    right, their end-point error over that of no flow, share of walkers, and
    of still cells that are coloured (over 0.5 px)."""
    rows = []
    for part in np.array_split(np.arange(len(found)), 3):
        truth, flow = seen["farneback"][part], found[part]
        size = np.hypot(truth[:, 0], truth[:, 1])
        moving = size > 1
        still = (size < .2) & (np.hypot(*seen["dis"][part].swapaxes(0, 1))
                               < .2)
        a, b = (x.swapaxes(0, 1)[:, moving] for x in (truth, flow))
        rows.append([alike(a, b, .25).mean(),
                     np.hypot(*(a - b)).mean() / size[moving].mean(),
                     walkers_found(truth, flow, seen["walkers"][part]),
                     (np.hypot(*flow.swapaxes(0, 1))[still] > .5).mean()])
    return np.array(rows)


def load_reference():
    with np.load(os.path.join(HERE, "data", "walkers.npz")) as data:
        seen = dict(data)
    for name in ("farneback", "dis"):
        seen[name] = seen[name] / np.float32(16)
    return seen


def learn_all(tap, options, clip, seen, folder):
    rig = rigs.Rig(options.partime, folder)
    devices = "cpu:0,cpu:1" if os.cpu_count() > 1 else "cpu:0"
    frames, rows = read_clip(clip, folder), []
    for seed in range(options.seeds):
        first = rig.init(options.network, seed)
        outputs = rig.learn(options.network, [f"pipeline.devices={devices}"],
                            frames, first)[1]
        rows.append(measure(in_cells(outputs[seen["frames"]]), seen))
        show(tap, f"seed {seed}", rows[-1])
    return np.array(rows)


def show(tap, name, thirds):
    tap.say(f"{name:12}" + " |".join(
        "".join(f"{x:10.3f}" for x in third) for third in thirds))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("partime")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--network", default=os.path.join(
        ROOT, "pipelines", "networks", "flow.cfg"))
    options = parser.parse_args()
    tap = Tap()
    clip, reason = find_file("opencv-doc", "vtest.avi")
    if clip is None:
        tap.skip("walkers", reason)
        tap.end()
    seen = load_reference()
    tap.say("against OpenCV's Farneback, by thirds of the clip")
    tap.say(" " * 12 + " |".join(3 * ["".join(f"{c:>10}" for c in COLUMNS)]))
    show(tap, "OpenCV's DIS", measure(seen["dis"], seen))
    with tempfile.TemporaryDirectory() as folder:
        rows = learn_all(tap, options, clip, seen, folder)
    show(tap, "median", np.median(rows, 0))
    direction, _, walkers, still = np.moveaxis(rows, 2, 0)
    # the bounds leave room for other processors, whose last bits send a run
    # elsewhere
    tap.check(walkers[:, 0].min() > .5,
              "half of the walkers in the first third, from any seed")
    tap.check(walkers[:, 1:].min() > .65 and direction[:, 1:].min() > .65,
              "two thirds of them later, and the way they go")
    tap.check(still[:, 1:].max() < .005, "what is still stays so")
    tap.end()


main()
