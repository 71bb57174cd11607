# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A view that pans and turns over a photo, with its exact optical flow."""

import os
import subprocess

import numpy as np
from PIL import Image

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
WIDTH, HEIGHT, FRAMES = 128, 96, 600
CHAIN = os.path.join(ROOT, "tests", "bench", "networks", "flow-chain.cfg")
FLOW = os.path.join(ROOT, "pipelines", "networks", "flow.cfg")


def find_file(package, name):
    """Path of a file out of a Debian package, and the reason if there is
    none."""
    done = subprocess.run(
        ["sh", "-c", f". pipelines/install-deps.sh && package_file {package} "
         f"{name}"], cwd=ROOT, text=True, capture_output=True, check=False)
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


def distances(outputs, flow):
    """Mean end-point error of each frame but the first, which has none."""
    epe = np.hypot(outputs[:, 0] - flow[:, 0], outputs[:, 1] - flow[:, 1])
    return epe.mean((1, 2))[1:]


def errors(outputs, flow):
    """Mean end-point error of each sixth."""
    return [float(part.mean())
            for part in np.array_split(distances(outputs, flow), 6)]


def resized(width, height, network=CHAIN):
    """The text of a network file with another size of frames."""
    wanted = {"width": width, "height": height}
    lines = []
    with open(network, encoding="utf-8") as f:
        for line in f:
            key = line.split("=", 1)[0]
            lines.append(f"{key}={wanted[key]}\n" if key in wanted else line)
    return "".join(lines)
