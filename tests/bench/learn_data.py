# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The streams of the learning benchmark, out of Debian packages."""

import gzip
import os
import struct
import subprocess

import numpy as np
from PIL import Image

import moving_photo

MEAN, STD = 0.286, 0.353        # of Fashion-MNIST's training images


class Absent(Exception):
    """Data that is not there; says why."""


def package_file(package, name):
    path, reason = moving_photo.find_file(package, name)
    if path is None:
        raise Absent(reason)
    return path


def photo():
    """Frames of the moving photo, and their flow."""
    return moving_photo.make_stream(package_file("opencv-doc", "aloeL.jpg"))


def read_idx(name, header):
    """The bytes after the header; another may have unpacked the file."""
    folder = os.path.dirname(package_file(
        "dataset-fashion-mnist", "t10k-labels-idx1-ubyte*"))
    path = os.path.join(folder, name)
    opener = open if os.path.exists(path) else gzip.open
    with opener(path if opener is open else path + ".gz", "rb") as f:
        return np.frombuffer(f.read()[header:], np.uint8)


def fashion(part):
    """Images (N, 1, 28, 28), normalised, and their classes; @part: train or
    t10k."""
    images = read_idx(f"{part}-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    images = ((images / np.float32(255) - np.float32(MEAN))
              / np.float32(STD))
    return images, read_idx(f"{part}-labels-idx1-ubyte", 8).astype(np.int32)


def clip(package, name, width, height):
    """Frames (T, 3, H, W) of a video, 0 to 1."""
    path = package_file(package, name)
    done = subprocess.run(
        ["gst-launch-1.0", "-q", "filesrc", f"location={path}", "!",
         "decodebin", "!", "videoconvert", "!", "videoscale", "!",
         f"video/x-raw,format=RGB,width={width},height={height},"
         "pixel-aspect-ratio=1/1", "!", "fdsink", "fd=1", "sync=false"],
        capture_output=True, check=False)
    size = 3 * width * height
    if done.returncode != 0 or len(done.stdout) % size or not done.stdout:
        raise Absent(f"{path}: {done.stderr.decode()[-300:]}")
    frames = np.frombuffer(done.stdout, np.uint8).reshape(
        -1, height, width, 3)
    return frames.transpose(0, 3, 1, 2) / np.float32(255)


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
        """Normalised."""
        frames = (np.stack(self.images)[:, None] - .37) / .2
        return np.tile(frames, (loops, 1, 1, 1)).astype(np.float32)

    def errors(self, outputs):
        """Mean end-point error on the object, in pixels of the full-size
        frames: (loops, 39 pairs of frames); the last loop at every pixel,
        the others at each output's middle. The jump from the last frame to
        the first has none. @outputs of None: zero flow, one loop."""
        s, n = self.SCALE, self.FRAMES
        if outputs is None:
            outputs = np.zeros((n, 2, 480 // s, 640 // s))
        loops = len(outputs) // n
        found = np.zeros((loops, n - 1))
        for i in range(n - 1):
            flow, seen = self.flow(i, i + 1)
            guess = s * outputs[i + 1::n]
            left = guess - flow[None, :, s // 2::s, s // 2::s]
            found[:, i] = np.hypot(left[:, 0], left[:, 1])[
                :, seen[s // 2::s, s // 2::s]].mean(1)
            left = guess[-1].repeat(s, 1).repeat(s, 2) - flow
            found[-1, i] = np.hypot(*left[:, seen]).mean()
        return found
