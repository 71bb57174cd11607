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


# The network file's settings, but for frames that are not brought to a
# contrast of 1: smoothness in proportion, and a longer warm-up for depth.
SETTINGS = ["learning.loss=optical-flow smoothness=0.04",
            "learning.warmup=100"]
RUNS = {
    "exact": ["learning.mode=exact", "pipeline.stages=-1"],
    "partime 2": ["learning.mode=partime", "pipeline.stages=3,-1"],
    "partime 4": ["learning.mode=partime", "pipeline.stages=2,3,3,-1"],
    "partime 9": ["learning.mode=partime",
                  "pipeline.stages=1,1,1,1,1,2,2,2,-1"],
    # shown, not promised: at this rate it wants a smoother start
    "delayed 4": ["learning.mode=delayed", "pipeline.stages=2,3,3,-1"],
}
SEEDS = (0, 1, 2)


def learn_all(tap, frames, flow):
    """The errors of every run, each sixth the median of the seeds."""
    devices = "cpu:0,cpu:1" if os.cpu_count() > 1 else "cpu:0"
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        rig = rigs.Rig(sys.argv[1], folder)
        net = rig.write_network("flow.cfg", resized(
            [f"network.width={WIDTH}", f"network.height={HEIGHT}"]))
        for name, settings in RUNS.items():
            sixths = []
            for seed in SEEDS:
                first = rig.init(net, seed)
                outputs = rig.learn(net, SETTINGS + settings + [
                    f"pipeline.devices={devices}"], frames, first)[1]
                sixths.append(errors(outputs, flow))
            found[name] = np.median(sixths, axis=0)
            tap.say(f"{name:10}" + " ".join(f"{e:6.2f}" for e in found[name]))
    return found


def main():
    tap = Tap()
    photo, reason = find_photo()
    if photo is None:
        tap.skip("flow on a photo", reason)
        tap.end()
    frames, flow = make_stream(photo)
    check_truth(tap, frames, flow)
    zero = errors(np.zeros_like(flow), flow)
    tap.say("mean end-point error in px by sixths, medians of three seeds")
    tap.say(f"{'zero flow':10}" + " ".join(f"{e:6.2f}" for e in zero))
    found = learn_all(tap, frames, flow)
    last = {k: (v[4] + v[5]) / 2 for k, v in found.items()}
    # Measured: 0.9, 2.3 and 2.9 times exact; the bounds leave room for other
    # processors, whose last bits send a run elsewhere.
    tap.check(last["exact"] < .15 * (zero[4] + zero[5]) / 2, "exact learns")
    for name, factor in (("partime 2", 1.5), ("partime 4", 3.5),
                         ("partime 9", 5)):
        tap.check(last[name] <= factor * last["exact"],
                  f"{name} ends within {factor} times exact")
        tap.check(all(found[name][2:] < zero[2:]),
                  f"{name} is better than no flow from the third sixth on")
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
