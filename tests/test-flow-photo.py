#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Optical flow, learned while it runs, against exact ground truth: a view
that pans and turns over a photo. Prints the mean end-point error (px) in
sixths of the run.

usage: test-flow-photo.py path/to/partime
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap  # noqa: E402

try:
    import numpy as np
    from PIL import Image
    import rig as rigs
except ImportError as missing:
    print(f"1..0 # SKIP {missing}")
    sys.exit(0)

WIDTH, HEIGHT, FRAMES = 128, 96, 600
NETWORK = os.path.join(HERE, "..", "pipelines", "networks", "flow.cfg")


def find_photo():
    """Path of the photo, out of a package; None with the reason."""
    done = subprocess.run(
        ["sh", "-c", ". pipelines/install-deps.sh && "
         "package_file opencv-doc aloeL.jpg"], cwd=os.path.join(HERE, ".."),
        text=True, capture_output=True, check=False)
    reason = (done.stderr.strip().splitlines() or ["no reason"])[-1]
    return done.stdout.strip() if done.returncode == 0 else None, reason


def blur(x):
    """3x3 mean."""
    p = np.pad(x, 1, mode="edge")
    h, w = x.shape
    return sum(p[i:i + h, j:j + w] for i in range(3) for j in range(3)) / 9


def sample(photo, x, y):
    """Bilinear."""
    i, j = np.floor(y).astype(int), np.floor(x).astype(int)
    b, a = y - i, x - j
    return ((photo[i, j] * (1 - a) + photo[i, j + 1] * a) * (1 - b)
            + (photo[i + 1, j] * (1 - a) + photo[i + 1, j + 1] * a) * b)


def views():
    """Centre and angle of the view for each frame: slow sums of sines, so
    that velocity changes smoothly."""
    t = np.arange(FRAMES)
    x = 320 + 110 * np.sin(t / 67) + 15 * np.sin(t / 31 + 1)
    y = 277 + 90 * np.sin(t / 53 + 2) + 12 * np.sin(t / 37)
    return x, y, .1 * np.sin(t / 41)


def grid(view, t, px, py):
    """Where pixel (px, py) of frame t reads the photo."""
    x, y, angle = (v[t] for v in view)
    c, s = np.cos(angle), np.sin(angle)
    dx, dy = px - (WIDTH - 1) / 2, py - (HEIGHT - 1) / 2
    return x + c * dx - s * dy, y + s * dx + c * dy


def inverse(view, t, qx, qy):
    """Which pixel of frame t reads the photo at (qx, qy)."""
    x, y, angle = (v[t] for v in view)
    c, s = np.cos(angle), np.sin(angle)
    return ((WIDTH - 1) / 2 + c * (qx - x) + s * (qy - y),
            (HEIGHT - 1) / 2 - s * (qx - x) + c * (qy - y))


def make_stream(path):
    """Frames (T, 1, H, W), and for each the flow (T, 2, H, W) from the
    frame before to it, on the grid of the frame before."""
    photo = np.asarray(Image.open(path).convert("L").resize(
        (641, 555), Image.BOX), float) / 255
    photo = blur(photo)
    py, px = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    view = views()
    frames = np.zeros((FRAMES, 1, HEIGHT, WIDTH), np.float32)
    flow = np.zeros((FRAMES, 2, HEIGHT, WIDTH), np.float32)
    for t in range(FRAMES):
        frames[t, 0] = sample(photo, *grid(view, t, px, py))
        if t > 0:
            nx, ny = inverse(view, t, *grid(view, t - 1, px, py))
            flow[t] = nx - px, ny - py
    return frames, flow


def check_truth(tap, frames, flow):
    """The recipe itself: warping a frame back gives the one before."""
    t, m = 100, 8
    py, px = np.mgrid[m:HEIGHT - m, m:WIDTH - m].astype(float)
    fx, fy = flow[t, :, m:-m, m:-m]
    back = sample(frames[t, 0], px + fx, py + fy)
    still = np.abs(frames[t, 0] - frames[t - 1, 0]).mean()
    left = np.abs(back - frames[t - 1, 0, m:-m, m:-m]).mean()
    size = np.hypot(flow[:, 0], flow[:, 1])
    tap.say(f"|flow| mean {size.mean():.2f}, at most {size.max():.2f} px; "
            f"frames differ by {still:.4f}, warped by {left:.4f}")
    tap.check(left < .2 * still and size.max() < 4, "the ground truth is one")


def errors(outputs, flow):
    """Mean end-point error of each sixth."""
    epe = np.hypot(outputs[:, 0] - flow[:, 0], outputs[:, 1] - flow[:, 1])
    return [float(part.mean()) for part in np.array_split(
        epe.mean((1, 2))[1:], 6)]


def main():
    tap = Tap()
    photo, reason = find_photo()
    if photo is None:
        tap.skip("flow on a photo", reason)
        tap.end()
    frames, flow = make_stream(photo)
    check_truth(tap, frames, flow)
    found = {"zero": errors(np.zeros_like(flow), flow)}
    devices = "cpu:0,cpu:1" if os.cpu_count() > 1 else "cpu:0"
    with tempfile.TemporaryDirectory() as folder:
        rig = rigs.Rig(sys.argv[1], folder)
        size = [f"network.width={WIDTH}", f"network.height={HEIGHT}"]
        sized = rig.write_network("flow.cfg", resized(size))
        first = rig.init(sized)
        for name, mode, stages in (
                ("exact", "exact", "-1"), ("partime 2", "partime", "3,-1"),
                ("partime 4", "partime", "2,3,3,-1"),
                ("partime 9", "partime", "1,1,1,1,1,2,2,2,-1")):
            used = "cpu:0" if stages == "-1" else devices
            outputs = rig.learn(sized, [
                f"learning.mode={mode}", f"pipeline.stages={stages}",
                f"pipeline.devices={used}"], frames, first)[1]
            found[name] = errors(outputs, flow)
    for name, sixths in found.items():
        tap.say(f"{name:10}" + " ".join(f"{e:6.2f}" for e in sixths))
    last = {k: (v[4] + v[5]) / 2 for k, v in found.items()}
    # one run from one seed: bounds leave room for another
    tap.check(last["exact"] < .25 * last["zero"], "exact learns")
    tap.check(last["partime 2"] <= 1.25 * last["exact"] + .05,
              "two stages learn as well as exact")
    tap.check(last["partime 4"] < .75 * last["zero"],
              "four stages see motion")
    tap.check(last["partime 9"] < last["zero"],
              "nine stages are better than no flow")
    tap.end()


def resized(settings):
    """The text of the network file with other sizes."""
    wanted = dict(s.split("network.", 1)[1].split("=") for s in settings)
    lines = []
    with open(NETWORK, encoding="utf-8") as f:
        for line in f:
            key = line.split("=", 1)[0]
            lines.append(f"{key}={wanted[key]}\n" if key in wanted else line)
    return "".join(lines)


main()
