#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ready pipelines that learn from the label pad, on short stretches; what
they found is worked out again by other means.

usage: test-pipelines-labels.py path/to/build
"""

import gzip
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "reference"))
from tap import Tap  # noqa: E402
import ready  # noqa: E402

import numpy as np  # noqa: E402

NETWORKS = os.path.join(ready.ROOT, "pipelines/networks")


def read_idx(name, header):
    """A file of the package, packed or not."""
    path = ready.package_file("dataset-fashion-mnist", name)
    with open(path, "rb") as file:
        data = file.read()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return np.frombuffer(data, np.uint8, offset=header)


def check_classify(tap, runner):
    said = runner.run("classify", ["classify.png", "stats.json", "test.json",
                                   "classify.safetensors"], FRAMES="10000")
    if said is None:
        return
    accuracy = ready.number(said, "never seen:")
    # measured after 10000 pictures with seeds 0 to 4: 0.765 to
    # 0.813, median 0.790
    tap.check(accuracy > .72, f"classify is right in {accuracy:.4f}")
    try:
        import torch
        import torch.nn.functional as F
        import safetensors_io
    except ImportError as missing:
        tap.skip("classify in PyTorch", str(missing))
        return
    w = {k: torch.tensor(v) for k, v in safetensors_io.load(
        runner.path("classify", "classify.safetensors")).items()}
    pictures = read_idx("t10k-images-idx3-ubyte", 16).reshape(-1, 1, 28, 28)
    classes = read_idx("t10k-labels-idx1-ubyte", 8)
    x = torch.tensor((pictures / 255 - .29) / .35).float()
    for name in ("conv1", "conv2"):
        x = F.max_pool2d(F.relu(F.conv2d(
            x, w[name + ".weight"], w[name + ".bias"], padding=1)), 2)
    x = F.relu(F.linear(x.flatten(1), w["hidden.weight"], w["hidden.bias"]))
    x = F.linear(x, w["class.weight"], w["class.bias"])
    other = float((x.argmax(1).numpy() == classes).mean())
    # a picture or two may be on the edge
    tap.check(abs(other - accuracy) < 5e-4,
              f"so says PyTorch with the same weights: {other:.4f}")


def check_segment(tap, runner):
    said = runner.run("segment", ["segment.mkv", "segment.png", "stats.json",
                                  "test.json", "segment.safetensors"],
                      PASSES="10")
    if said is None:
        return
    iou = ready.number(said, "not learned from:")
    # measured after 10 passes with seeds 0 to 4: 0.927 to 0.957
    tap.check(iou > .8, f"segment reaches a mean IoU of {iou:.4f}")
    first = ready.package_file("visp-images-data", "Image_0001.pgm")
    frames = []
    for i in range(31, 41):
        with open(first.replace("0001", f"{i:04d}"), "rb") as file:
            frames.append(np.frombuffer(file.read()[15:], np.uint8))
    frames = np.stack(frames).reshape(-1, 480, 640)
    frames.tofile(runner.path("frames"))
    runner.launch(
        f"filesrc location={runner.path('frames')} ! rawvideoparse",
        "format=gray8 width=640 height=480 framerate=25/1 ! partimefilter",
        f"model={NETWORKS}/segment.cfg learning-mode=off output=network",
        f"weights={runner.path('segment', 'segment.safetensors')} !",
        f"filesink location={runner.path('found')}")
    found = np.fromfile(runner.path("found"), np.uint8).reshape(
        -1, 120, 160, 3)[..., 0] > 64
    # The background of these frames is the gray 64, nothing else is; where the
    # depth camera sees nothing, 141 px at the left, nothing was learned.
    truth = frames[:, 2::4, 2::4] != 64
    found, truth = found[..., 36:], truth[..., 36:]
    other = np.mean([(a & b).sum() / (a | b).sum()
                     for a, b in ((found, truth), (~found, ~truth))])
    tap.say(f"mean IoU by the gray of the background: {other:.4f}")
    tap.check(other > .8, "so it is by the gray of the background")


def check_denoise(tap, runner):
    said = runner.run("denoise", ["denoise.mkv", "denoise.png", "stats.json",
                                  "denoise.safetensors"], FRAMES="240")
    if said is None:
        return
    gain = ready.number(said, "in dB:")
    # measured after 240 frames with seeds 0 to 4: 0.64 to 0.89 dB
    tap.check(gain > .3, f"denoise: restored pictures are {gain:.2f} dB nearer")


def main():
    tap = Tap()
    with ready.Runner(tap, sys.argv[1]) as runner:
        check_classify(tap, runner)
        check_segment(tap, runner)
        check_denoise(tap, runner)
    tap.end()


main()
