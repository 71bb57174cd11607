# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The streams of the learning benchmark, out of Debian packages."""

import gzip
import os
import struct
import subprocess

import numpy as np
from PIL import Image

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")


class Absent(Exception):
    """Data that is not there; says why."""


def package_file(package, name):
    """Path of a file out of a package."""
    done = subprocess.run(
        ["sh", "-c", f". pipelines/install-deps.sh && package_file {package} "
         f"{name}"], cwd=ROOT, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise Absent((done.stderr.strip().splitlines() or ["no reason"])[-1])
    return done.stdout.strip()


class Castle:
    """A rendered castle that a camera moves around: 40 frames, depth (0 is
    background) and camera for each, hence its flow."""

    FRAMES, SCALE, TO_METRES = 40, 4, 0.000030518
    FOCAL, CENTRE = 700, (320, 240)

    def __init__(self):
        self.folder = os.path.dirname(os.path.dirname(package_file(
            "visp-images-data", "Depth_0001.bin")))
        self.images = [self.read_image(i) for i in range(1, self.FRAMES + 1)]
        self.depth = [self.read_depth(i) for i in range(1, self.FRAMES + 1)]
        self.pose = [np.loadtxt(os.path.join(
            self.folder, "CameraPose", f"Camera_{i:03d}.txt")).reshape(4, 4)
            for i in range(1, self.FRAMES + 1)]

    def read_image(self, i):
        path = os.path.join(self.folder, "Images", f"Image_{i:04d}.pgm")
        with Image.open(path) as image:
            x = np.asarray(image.convert("L"), np.float32) / 255
        s = self.SCALE
        return x.reshape(x.shape[0] // s, s, -1, s).mean((1, 3))

    def read_depth(self, i):
        path = os.path.join(self.folder, "Depth", f"Depth_{i:04d}.bin")
        with open(path, "rb") as f:
            height, width = struct.unpack("<II", f.read(8))
            raw = np.frombuffer(f.read(), "<u2").reshape(height, width)
        return raw * self.TO_METRES

    def flow(self, i, j):
        """From frame i to frame j (from 0), full size, pixels; and where
        the object is in frame i."""
        z = self.depth[i]
        v, u = np.mgrid[:z.shape[0], :z.shape[1]].astype(float)
        x = np.stack(((u - self.CENTRE[0]) / self.FOCAL * z,
                      (v - self.CENTRE[1]) / self.FOCAL * z, z,
                      np.ones_like(z)))
        move = self.pose[j] @ np.linalg.inv(self.pose[i])
        x = np.tensordot(move, x, 1)
        seen = z > 0
        depth = np.where(seen, x[2], 1)
        return np.stack((x[0] / depth * self.FOCAL + self.CENTRE[0] - u,
                         x[1] / depth * self.FOCAL + self.CENTRE[1] - v)), seen

    def stream(self, loops):
        return np.tile(np.stack(self.images)[:, None], (loops, 1, 1, 1))

    def errors(self, outputs):
        """Mean end-point error on the object, in pixels of the full-size
        frames, of each pair in the last 40 @outputs, which are a loop;
        outputs of None: zero flow. The jump to the first has none."""
        found = []
        for i in range(self.FRAMES - 1):
            flow, seen = self.flow(i, i + 1)
            if outputs is not None:
                at = len(outputs) - self.FRAMES + i + 1
                flow = flow - self.SCALE * outputs[at].repeat(
                    self.SCALE, 1).repeat(self.SCALE, 2)
            found.append(np.hypot(*flow)[seen].mean())
        return np.array(found)
