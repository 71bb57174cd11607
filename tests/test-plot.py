#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Statistics as JSON lines, held against the messages and against numpy, and
the pictures that `partime plot` makes of them.

usage: test-plot.py path/to/partime path/to/libgstpartimefilter.so
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import warnings
import xml.etree.ElementTree as ET

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    import numpy as np
    from PIL import Image

NETWORK = """
[network]
width=16
height=12
channels=1
mean=0.5
std=0.25
[out]
type=conv2d
filters=1
kernel=1
[learning]
loss=mse
target=input
optimizer=sgd lr=1e-2
[pipeline]
devices=cpu:0
stages=1
[output]
kind=image
"""
GREEN, RED, GREY = (26, 153, 77), (204, 51, 38), (107, 115, 128)


class Run:
    """One pipeline's life; what came out and what was said."""

    def __init__(self, options, frames=150):
        self.line = Gst.parse_launch(
            f"videotestsrc num-buffers={frames} pattern=snow ! "
            "video/x-raw,format=GRAY8,width=16,height=12,framerate=50/1 ! "
            f"tee name=t ! queue ! partimefilter overlay=false {options} ! "
            "appsink name=out sync=false wait-on-eos=false "
            "t. ! queue ! appsink name=in sync=false wait-on-eos=false")
        self.told, self.warnings, self.error = [], [], None
        self.preroll = self.line.set_state(Gst.State.PAUSED)
        self.line.set_state(Gst.State.PLAYING)
        self.listen()
        self.frames = [self.take("in"), self.take("out")]
        self.line.set_state(Gst.State.NULL)

    def listen(self):
        bus = self.line.get_bus()
        while self.error is None:
            message = bus.timed_pop(20 * Gst.SECOND)
            if message is None:
                raise RuntimeError("no end of the stream after 20 s")
            if message.type == Gst.MessageType.ERROR:
                self.error = message.parse_error()[0].message
            elif message.type == Gst.MessageType.WARNING:
                self.warnings.append(message.parse_warning()[0].message)
            elif message.has_name("partime-learning"):
                self.told.append(message.get_structure())
            elif message.type == Gst.MessageType.EOS:
                return

    def take(self, name):
        sink, found = self.line.get_by_name(name), []
        while self.error is None:
            sample = sink.emit("try-pull-sample", 0)
            if sample is None:
                break
            found.append(sample.get_buffer())
        return found


def read(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def tensor(buffer):
    fields = buffer.get_custom_meta("GstPartimeMeta").get_structure()
    tensors = fields.get_array("tensors")[1]
    data = tensors.get_nth(0).get_buffer()
    return np.frombuffer(data.extract_dup(0, data.get_size()), np.float32)


def pixels(buffer):
    data = buffer.extract_dup(0, buffer.get_size())
    return np.frombuffer(data, np.uint8).astype(np.float64) / 255


def check_round_trip(tap, network, path):
    run = Run(f"model={network} stats-location={path} stats-interval=1000000")
    lines = read(path)
    tap.check(len(lines) == len(run.told) > 1 and
              lines[-1]["frame"] == 150, "a line for each message, the last of "
              f"all frames ({len(lines)} lines)")
    differ = []
    for line, told in zip(lines, run.told):
        psnr = told.get_value("measures").get_value("psnr")
        stages = told.get_array("stages")[1]
        stage = stages.get_nth(0)
        pairs = [(told.get_value(name), line[name])
                 for name in ("updates", "fps", "pts", "time", "loss")]
        pairs.append((psnr.get_value("recent"),
                      line["measures"]["psnr"]["recent"]))
        pairs.append((stage.get_value("forward-ms"),
                      line["stages"][0]["forward-ms"]))
        differ += [pair for pair in pairs if pair[0] != pair[1]]
    tap.check(not differ, f"a line says what its message says {differ[:3]}")
    last = lines[-1]
    tap.check({"time", "loss", "mean-loss", "learning-rate", "skipped",
               "latency"} <= set(last) and "age" in last["stages"][0],
              "nothing is missing")
    errors = [np.mean((0.25 * tensor(after) + 0.5 - pixels(before)) ** 2)
              for before, after in zip(*run.frames)]
    found = last["measures"]["psnr"]
    wanted = {"newest": errors[-1], "recent": np.mean(errors[-100:]),
              "total": np.mean(errors)}
    worst = max(abs(found[k] + 10 * math.log10(v)) for k, v in wanted.items())
    tap.check(worst < 1e-4 and found["unit"] == "dB",
              f"psnr is numpy's, of pixels from 0 to 1 ({worst:.1e} dB)")
    loss = last["measures"]["loss"]["total"]
    tap.check(abs(loss / (np.mean(errors) / 0.25 ** 2) - 1) < 1e-5,
              "so is the mean loss")


def check_files(tap, network, path):
    old = len(read(path))
    with open(path, "a", encoding="utf-8") as file:
        file.write('{"frame": 1, "cut o')
    Run(f"model={network} stats-location={path} stats-interval=0")
    with open(path, encoding="utf-8") as file:
        lines = file.read().split("\n")
    tap.check(len(lines) == old + 3 and json.loads(lines[-2])["frame"] == 150
              and lines[-1] == "", "a second run is added; with no interval "
              "that is the line at EOS")
    run = Run(f"model={network} stats-location=/nowhere/x.jsonl")
    tap.check(run.preroll == Gst.StateChangeReturn.FAILURE and run.error ==
              "stats-location=/nowhere/x.jsonl: cannot open it: No such file "
              "or directory", "a file that cannot be is an error on the way to "
              "PAUSED")
    run = Run(f"model={network} stats-location=/dev/full stats-interval=1")
    tap.check(len(run.frames[1]) == 150 and run.error is None
              and len(run.told) > 10 and run.warnings == [
                  "stats-location=/dev/full: cannot write to it: No space left "
                  "on device"], "a full disk is told of once")


def check_little_room(tap, network, path):
    """Room for five lines of about 840 bytes, and half of one more."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4700, limit[1]))
    try:
        run = Run(f"model={network} stats-location={path} stats-interval=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    lines = read(path)
    tap.check(2 < len(lines) < 10 and len(run.warnings) == 1
              and len(run.frames[1]) == 150 and os.path.getsize(path) < 4700,
              f"no part of a line stays where it ends ({len(lines)} lines)")


# -- pictures --

def decode(path):
    """Height x width x 3 of a PNG."""
    with Image.open(path) as image:
        if image.format != "PNG":
            raise ValueError(f"{path}: {image.format}")
        return np.asarray(image.convert("RGB")).astype(np.int32)


def write(path, losses, start=0):
    with open(path, "a", encoding="utf-8") as file:
        for k, loss in enumerate(losses):
            m = {"loss": {"recent": loss, "newest": loss * 1.1, "unit": "",
                          "higher-is-better": False},
                 "epe": {"recent": 2 * loss, "unit": "px",
                         "higher-is-better": False}}
            file.write(json.dumps({
                "frame": start + 10 * (k + 1), "updates": 9 * k, "fps": 30.0,
                "measures": m, "stages": [{"forward-ms": 2, "update-ms": 1}]
                * 2}) + "\n")


def plot(cli, *words):
    done = subprocess.run([cli, "plot", *words], capture_output=True,
                          text=True, check=False, timeout=60)
    return done.returncode, done.stderr.strip()


def has(image, colour):
    """Whether a place of at least 20 pixels is of that colour."""
    return (np.abs(image - np.array(colour)).max(axis=2) <= 1).sum() > 20


def check_pictures(tap, cli, folder):
    falling = [math.exp(-k / 20) + 0.1 for k in range(100)]
    cases = {"falling": (falling, GREEN), "rising": (falling[::-1], RED),
             "steady": ([1 + 0.1 * (k % 3) for k in range(100)], GREY)}
    for name, (losses, colour) in cases.items():
        path = os.path.join(folder, name)
        write(path, losses)
        code, said = plot(cli, path, "-o", path + ".png")
        if not tap.check(code == 0, f"a plot of a {name} loss {said}"):
            continue
        image = decode(path + ".png")
        drawn = (image.min(axis=2) < 200).mean()
        tap.check(image.shape[1] == 1200 and 600 < image.shape[0] < 1100
                  and 0.005 < drawn < 0.5, f"is a picture ({drawn:.1%} ink)")
        signs = [has(image[:80, :60], c) for c in (GREEN, RED, GREY)]
        tap.check(signs == [c == colour for c in (GREEN, RED, GREY)],
                  "and says so at a glance")
    path = os.path.join(folder, "falling")
    code, said = plot(cli, path, "-o", path + ".svg")
    root = ET.parse(path + ".svg").getroot()
    tap.check(code == 0 and root.tag.endswith("svg")
              and root.get("width", "").startswith("1200")
              and len(list(root.iter())) > 100, "SVG is well formed")
    write(path, falling)
    code, said = plot(cli, path, path, "-o", path + ".png")
    tap.check(code == 1, "two files are one too many")
    code, said = plot(cli, path, "-o", path + ".png")
    tap.check(code == 0 and not said, "two runs in a file are drawn")
    path = os.path.join(folder, "table")
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{10 * k}\t{v}\n" for k, v in enumerate(falling))
    code, said = plot(cli, path, "-f", os.path.join(folder, "steady.png"),
                      "-o", path + ".png")
    tap.check(code == 0 and decode(path + ".png").shape[0] > 900,
              "a table of losses below a picture")


def check_mistakes(tap, cli, folder):
    good = '{"frame": 1, "loss": 2}\n{"frame": 2, "loss": 1}\n'
    cases = {
        "": "found no whole line",
        '{"frame": 1': "found no whole line",
        good + '{"frame": 3, "lo\n{"frame": 4}\n': "line 3: found",
        good + '{"frame": 3, "lo\n': "line 3: found",
        good + "[1]\n" + good.replace("1", "7"): "line 3: found",
        good + '{"frame": "3"}\n{"frame": 4}\n': "line 3: found",
        '{"loss": 2}\n': "line 1: found",
        "[network]\nwidth=16\n": "line 1: found \"[network]",
        "\x89PNG\x00\x01": "line 1: found",
        "1\t2\n2;3\n": "line 2: found \"2;3\"",
    }
    for number, (text, wanted) in enumerate(cases.items()):
        path = os.path.join(folder, f"mistake{number}")
        with open(path, "w", encoding="latin-1") as file:
            file.write(text)
        code, said = plot(cli, path, "-o", path + ".png")
        tap.check(code == 1 and path in said and wanted in said
                  and "expected" in said and said.count("\n") == 0
                  and not os.path.exists(path + ".png"),
                  f"mistake {number}: {said.replace(path, 'FILE')!r}")
    for number, text in enumerate((good + '{"frame": 3, "lo',
                                   good + '{"frame": 3, "lo\n' + good)):
        path = os.path.join(folder, f"torn{number}")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        code, said = plot(cli, path, "-o", path + ".png")
        tap.check(code == 0, f"a line that a kill has torn does no harm {said}")
    path = os.path.join(folder, "torn0")
    code, said = plot(cli, path, "-o", path + ".gif")
    tap.check(code == 1 and ".png or .svg" in said, "no other kind of picture")
    for kind in ("png", "svg"):
        code, said = plot(cli, path, "-o", f"/nowhere/x.{kind}")
        tap.check(code == 1 and said == f"partime: /nowhere/x.{kind}: cannot "
                  "write it: No such file or directory", "nowhere to write to")
    code, said = plot(cli, folder)
    tap.check(code == 1 and "Is a directory" in said, "a folder is no file")


def main():
    # the only way to an array's items there is
    warnings.filterwarnings("ignore", message=".*ValueArray.get_nth")
    os.environ["GST_PLUGIN_PATH"] = os.path.dirname(sys.argv[2])
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GST_REGISTRY"] = os.path.join(folder, "registry.bin")
        Gst.init(None)
        network = os.path.join(folder, "net.cfg")
        with open(network, "w", encoding="utf-8") as file:
            file.write(NETWORK)
        path = os.path.join(folder, "run.jsonl")
        check_round_trip(tap, network, path)
        code, said = plot(sys.argv[1], path, "-o", path + ".png")
        tap.check(code == 0, f"its plot {said}")
        check_files(tap, network, path)
        check_little_room(tap, network, path + "2")
        check_pictures(tap, sys.argv[1], folder)
        check_mistakes(tap, sys.argv[1], folder)
    tap.end()


if __name__ == "__main__":
    main()
