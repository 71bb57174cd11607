#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ready pipeline next-frame on a short stretch; its PSNR worked out again
from the pictures that the network made.

usage: test-pipelines-next-frame.py path/to/build
"""

import json
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "reference"))
from tap import Tap  # noqa: E402
import ready  # noqa: E402

import numpy as np  # noqa: E402

FRAMES = 240
MODEL = os.path.join(ready.ROOT, "pipelines/networks/next-frame.cfg")
SIZE = "format=rgb width=192 height=144 framerate=10/1"


def psnr(a, b):
    return -10 * np.log10(np.mean((a - b) ** 2))


def read(path):
    return np.fromfile(path, np.uint8).reshape(-1, 144, 192, 3) / 255


def check_script(tap, runner):
    said = runner.run("next-frame", [
        "next-frame.mkv", "next-frame.png", "stats.json",
        "next-frame.safetensors"], FRAMES=str(FRAMES))
    if said is None:
        return False
    gain = ready.number(said, "in dB:")
    tap.say(f"last third of {FRAMES} frames: {gain:.2f} dB better than the "
            "frame before")
    # measured with seeds 0 to 4: 2.1 to 2.3 dB
    tap.check(gain > 1, "predictions beat the frame before")
    return True


def check_pictures(tap, runner):
    """The same clip, as small as the network sees it, so that nothing scales
    it again."""
    clip = ready.package_file("opencv-doc", "vtest.avi")
    frames, made = runner.path("frames.rgb"), runner.path("made.rgb")
    stats = runner.path("stats.json")
    runner.launch(
        f"filesrc location={clip} ! decodebin ! videoconvert ! videoscale !",
        "video/x-raw,format=RGB,width=192,height=144,pixel-aspect-ratio=1/1 !",
        f"identity eos-after={FRAMES} ! filesink location={frames}")
    runner.launch(
        f"filesrc location={frames} ! rawvideoparse {SIZE} ! partimefilter",
        f"model={MODEL} output=network stats-location={stats} !",
        f"filesink location={made}")
    truth, made = read(frames), read(made)
    tap.check(len(truth) == len(made) == FRAMES, "a picture for each frame")
    found = psnr(made[1:], truth[1:])
    repeat = psnr(truth[:-1], truth[1:])
    third = 2 * FRAMES // 3
    gain = psnr(made[third:], truth[third:]) - psnr(truth[third - 1:-1],
                                                    truth[third:])
    tap.say(f"all frames: predicted {found:.2f} dB, the frame before "
            f"{repeat:.2f} dB; better in the last third by {gain:.2f} dB")
    tap.check(gain > 1, "so do the pictures themselves")
    with open(stats, encoding="utf-8") as file:
        measures = json.loads(file.readlines()[-1])["measures"]
    tap.say(f"psnr in the statistics: {measures['psnr']['total']:.2f}")
    # pictures cannot be blacker than black, which makes them a little better
    tap.check(-.02 < found - measures["psnr"]["total"] < .3,
              "psnr in the statistics is that of the pictures")
    tap.check(abs(measures["psnr-repeat"]["total"] - repeat) < .01,
              "psnr-repeat is that of the frames")


def main():
    tap = Tap()
    with ready.Runner(tap, sys.argv[1]) as runner:
        if check_script(tap, runner):
            check_pictures(tap, runner)
    tap.end()


main()
