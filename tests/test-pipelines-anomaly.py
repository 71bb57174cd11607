#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ready pipelines anomaly and defects: what they leave, and their numbers
worked out again from the scores.

usage: test-pipelines-anomaly.py path/to/build
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "reference"))
from tap import Tap  # noqa: E402
import ready  # noqa: E402

import numpy as np  # noqa: E402

# frames of motion.mov, by eye
STILL = [(4, 15), (31, 41), (212, 224)]
MOVES = [(44, 49), (72, 86), (98, 150), (155, 165), (180, 210)]
# of Megamind_bugy.avi: PSNR to Megamind.avi is below 28.5 dB, else above 30
BROKEN = [5, 10, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 71, 75, 80, 85, 90,
          95, 100, 115, 120]


def read_scores(path):
    table = np.loadtxt(path)
    return table[:, 0].astype(int), table[:, 1]


def auc(high, low):
    """By Mann and Whitney."""
    high, low = np.asarray(high)[:, None], np.asarray(low)[None]
    return float(((high > low) + .5 * (high == low)).mean())


def within(frames, ranges):
    return np.any([(frames >= a) & (frames <= b) for a, b in ranges], axis=0)


def check_anomaly(tap, runner):
    said = runner.run("anomaly", ["anomaly.mkv", "anomaly.png", "scores.tsv",
                                  "anomaly.safetensors"])
    if said is None:
        return
    frames, scores = read_scores(runner.path("anomaly", "scores.tsv"))
    tap.check(list(frames) == list(range(242)), "a score for each frame")
    still = scores[within(frames, STILL)]
    moves = scores[within(frames, MOVES)]
    ratio = moves.mean() / still.mean()
    area = auc(moves, still)
    tap.say(f"pen moves / nothing does: {ratio:.2f}, area {area:.3f}")
    # measured with seeds 0 to 4: 5.3 to 7.9, area 1.000 (median 6.9)
    tap.check(ratio > 3 and area > .97, "the score tells when the pen moves")
    tap.check(abs(ready.number(said, "nothing does:") - ratio) < .01,
              "the script says the same ratio")
    tap.check(abs(ready.number(said, "ROC curve:") - area) < .001,
              "the script says the same area")


def check_refused(tap, runner):
    """Only a frame's own result can be compared with it."""
    model = os.path.join(ready.ROOT, "pipelines/networks/anomaly.cfg")
    said = runner.fail("videotestsrc num-buffers=2 ! partimefilter "
                       f"model={model} timing=latest ! fakesink")
    tap.check("anomaly.cfg" in said and "kind: found error" in said
              and "timing=aligned" in said, "timing=latest is refused")


def check_defects(tap, runner):
    said = runner.run("defects", ["defects.mkv", "defects.png", "scores.tsv",
                                  "defects.safetensors"])
    if said is None:
        return
    frames, scores = read_scores(runner.path("defects", "scores.tsv"))
    tap.check(list(frames) == list(range(270)), "a score for each frame")
    bad = np.isin(frames, BROKEN)
    area = auc(scores[bad], scores[~bad])
    tap.say(f"area under the ROC curve {area:.3f}")
    # measured with seeds 0 to 4: 0.933 to 0.970, median 0.961
    tap.check(area > .9, "broken frames have the higher scores")
    tap.check(abs(ready.number(said, "ROC curve:") - area) < .001,
              "the script says the same area")


def main():
    tap = Tap()
    with ready.Runner(tap, sys.argv[1]) as runner:
        check_anomaly(tap, runner)
        check_refused(tap, runner)
        check_defects(tap, runner)
    tap.end()


main()
