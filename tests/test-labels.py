#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is learned from labels, by each of the ways an application has to give
them: weights after a stream of which some frames have labels, against the same
steps in double precision.

usage: test-labels.py path/to/partime path/to/libgstpartimefilter.so
"""

import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import GObject, Gst
    import numpy as np
    from safetensors_io import load

CLASSES, RATE, FRAMES, TIME = 5, 0.2, 80, 40 * 10 ** 6
NETWORK = f"""
[network]
width=4
height=3
channels=1
mean=0.5
std=0.25
[flat]
type=flatten
[scores]
type=linear
units={CLASSES}
[learning]
loss=cross-entropy
optimizer=sgd lr={RATE}
mode=exact
[pipeline]
devices=cpu:0
stages=1
[output]
kind=raw
"""
NAMES = ["ant", "bee", "cat", "dog", "eel"]


def learn(weights, frames, labels):
    """softmax regression, a step for each frame that has a label."""
    w = weights["scores.weight"].astype(np.float64)
    b = weights["scores.bias"].astype(np.float64)
    for frame, label in zip(frames, labels):
        if label is None:
            continue
        x = (frame.reshape(-1) / 255 - 0.5) / 0.25
        y = w @ x + b
        slope = np.exp(y - y.max())
        slope /= slope.sum()
        slope[label] -= 1
        w -= RATE * np.outer(slope, x)
        b -= RATE * slope
    return w, b


def buffer(data, number):
    made = Gst.Buffer.new_wrapped(data)
    made.pts, made.duration = number * TIME, TIME
    return made


def fields(label, number):
    """The three forms of a GstPartimeLabel, taking turns."""
    made = Gst.Structure.new_empty("GstPartimeLabel")
    if number % 3 == 0:
        made.set_value("class", label)
    elif number % 3 == 1:
        caps = Gst.Caps.from_string("text/x-raw,format=utf8")
        made.set_value("sample", Gst.Sample.new(
            buffer(NAMES[label].encode(), number), caps, None, None))
    else:
        scores = np.full(CLASSES, -1, np.float32)
        scores[label] = 2
        info = Gst.Structure.from_string(
            f"tensor, name=(string)x, dims=(int)<1, {CLASSES}>")[0]
        made.set_value("tensor", Gst.Sample.new(
            buffer(scores.tobytes(), number), None, None, info))
    return made


class Run:
    """One stream. way: pad, text, event or event-pts. (PyGObject copies the
    structure of a meta: C can write to it, Python cannot.)"""

    def __init__(self, options, way, folder):
        self.way = way
        self.saved = os.path.join(folder, way + ".safetensors")
        pad = {"pad": "video/x-raw,format=GRAY8,width=1,height=1,"
                      "framerate=25/1",
               "text": "text/x-raw,format=utf8"}.get(way)
        labels = (f"appsrc name=labels format=time caps={pad} ! filter.label "
                  if pad else "")
        self.line = Gst.parse_launch(
            labels + "appsrc name=frames format=time "
            "caps=video/x-raw,format=GRAY8,width=4,height=3,framerate=25/1 ! "
            f"partimefilter name=filter {options} "
            f"checkpoint-location={self.saved} ! fakesink")
        self.frames = self.line.get_by_name("frames")
        self.labels = self.line.get_by_name("labels") if pad else None

    def give(self, frame, label, number):
        made = buffer(frame.tobytes(), number)
        if label is not None and self.way == "pad":
            self.labels.emit("push-buffer", buffer(bytes([label]), number))
        elif label is not None and self.way == "text":
            self.labels.emit("push-buffer",
                             buffer(NAMES[label].encode(), number))
        elif label is not None:
            given = fields(label, number)
            if self.way == "event-pts":
                given.set_value("pts", GObject.Value(GObject.TYPE_UINT64,
                                                     made.pts))
            self.frames.send_event(Gst.Event.new_custom(
                Gst.EventType.CUSTOM_DOWNSTREAM, given))
        self.frames.emit("push-buffer", made)

    def run(self, frames, labels):
        """Weights and statistics at the end."""
        self.line.set_state(Gst.State.PLAYING)
        for number, (frame, label) in enumerate(zip(frames, labels)):
            self.give(frame, label, number)
        self.frames.emit("end-of-stream")
        if self.labels:
            self.labels.emit("end-of-stream")
        message = self.line.get_bus().timed_pop_filtered(
            20 * Gst.SECOND, Gst.MessageType.ERROR | Gst.MessageType.EOS)
        if message is None:
            raise RuntimeError("no end of the stream after 20 s")
        if message.type == Gst.MessageType.ERROR:
            raise RuntimeError(message.parse_error()[0].message)
        stats = self.line.get_by_name("filter").get_property("stats")
        self.line.set_state(Gst.State.NULL)
        return load(self.saved), stats


def error(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def check(tap, options, weights, folder):
    draw = np.random.default_rng(3)
    frames = draw.integers(0, 256, (FRAMES, 3, 4), np.uint8)
    labels = [int(draw.integers(CLASSES)) if draw.random() < 0.4 else None
              for _ in frames]
    n = sum(label is not None for label in labels)
    w, b = learn(load(weights), frames, labels)
    tap.check(error(load(weights)["scores.weight"], w) > 0.1,
              "there is something to learn")
    for way in "pad", "text", "event", "event-pts":
        found, stats = Run(options, way, folder).run(frames, labels)
        off = max(error(found["scores.weight"], w),
                  error(found["scores.bias"], b))
        # single precision, some 30 steps
        tap.check(off < 1e-5, f"{way}: weights as by hand ({off:.1e})")
        counts = [stats.get_uint64(name)[1] for name in
                  ("labels", "unlabelled", "late-labels", "bad-labels",
                   "updates")]
        tap.check(counts == [n, FRAMES - n, 0, 0, n], f"{way}: {n} frames of "
                  f"{FRAMES} had a label ({counts})")


def main():
    os.environ["GST_PLUGIN_PATH"] = os.path.dirname(sys.argv[2])
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GST_REGISTRY"] = os.path.join(folder, "registry.bin")
        Gst.init(None)
        network = os.path.join(folder, "net.cfg")
        weights = os.path.join(folder, "first.safetensors")
        names = os.path.join(folder, "names.txt")
        with open(network, "w", encoding="utf-8") as file:
            file.write(NETWORK)
        with open(names, "w", encoding="utf-8") as file:
            file.write("\n".join(NAMES) + "\n")
        if os.spawnl(os.P_WAIT, sys.argv[1], "partime", "init", network,
                     weights) != 0:
            raise RuntimeError("partime init failed")
        check(tap, f"model={network} weights={weights} labels-file={names}",
              weights, folder)
    tap.end()


if __name__ == "__main__":
    main()
