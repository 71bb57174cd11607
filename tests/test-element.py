#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The element as an application in another language meets it: metadata,
statistics, messages and signals through introspection.

usage: test-element.py path/to/partime path/to/libgstpartimefilter.so
"""

import os
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import gi
    gi.require_version("Gst", "1.0")
    gi.require_version("GstController", "1.0")
    from gi.repository import Gst, GstController
    import numpy as np
    from safetensors_io import load

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
optimizer=sgd lr=1e-3
[pipeline]
devices=cpu:0
stages=1
[output]
kind=image
"""


class Stream:
    """Frames of noise through the element, one pipeline's life long."""

    def __init__(self, options, frames=20, live=False):
        self.line = Gst.parse_launch(
            f"videotestsrc name=source num-buffers={frames} pattern=snow "
            f"is-live={str(live).lower()} ! "
            "video/x-raw,format=GRAY8,width=16,height=12,framerate=50/1 ! "
            f"tee name=t ! queue ! partimefilter name=filter overlay=false "
            f"{options} ! appsink name=out sync=false wait-on-eos=false "
            "t. ! queue ! appsink name=in sync=false wait-on-eos=false")
        self.filter = self.line.get_by_name("filter")
        self.messages = []

    def run(self):
        """Pairs of what went in and what came out."""
        try:
            return self.play()
        finally:
            self.line.set_state(Gst.State.NULL)

    def play(self):
        self.line.set_state(Gst.State.PLAYING)
        bus = self.line.get_bus()
        while True:
            message = bus.timed_pop(20 * Gst.SECOND)
            if message is None:
                raise RuntimeError("no end of the stream after 20 s")
            if message.type == Gst.MessageType.ERROR:
                raise RuntimeError(message.parse_error()[0].message)
            if message.type == Gst.MessageType.EOS:
                break
            if message.type == Gst.MessageType.ELEMENT:
                self.messages.append(message.get_structure())
        return list(zip(self.take("in"), self.take("out")))

    def take(self, name):
        sink, found = self.line.get_by_name(name), []
        while True:
            sample = sink.emit("try-pull-sample", 0)
            if sample is None:
                return found
            found.append(sample.get_buffer())

    def named(self, name):
        return [m for m in self.messages if m.get_name() == name]


def pixels(buffer):
    data = buffer.extract_dup(0, buffer.get_size())
    return np.frombuffer(data, np.uint8).reshape(12, 16)


def check_meta(tap, network, weights):
    """out = w (v / 255 - mean) / std + b, on each frame its own."""
    pairs = Stream(f"model={network} weights={weights} learning-mode=off").run()
    values = load(weights)
    w, b = values["out.weight"].item(), values["out.bias"].item()
    tap.check(len(pairs) == 20, "as many frames out as in")
    worst, numbers, shapes = 0, [], set()
    for before, after in pairs:
        fields = after.get_custom_meta("GstPartimeMeta").get_structure()
        tensors = fields.get_array("tensors")[1]
        sample = tensors.get_nth(tensors.n_values - 1)
        data = sample.get_buffer()
        found = np.frombuffer(data.extract_dup(0, data.get_size()),
                              np.float32).reshape(12, 16)
        wanted = w * (pixels(before) / 255 - 0.5) / 0.25 + b
        worst = max(worst, np.abs(found - wanted).max())
        numbers.append(fields.get_uint64("frame")[1])
        shapes.add(sample.get_info().to_string())
        if fields.get_uint64("pts")[1] != before.pts != after.pts:
            tap.check(False, f"time of frame {numbers[-1]}")
    tap.check(worst < 1e-5, f"tensors are the network's output ({worst:.1e})")
    tap.check(numbers == list(range(20)), "frames are numbered")
    tap.check(shapes == {"tensor, name=(string)output, "
                         "dims=(int)< 1, 1, 12, 16 >;"},
              "a tensor says its name and shape")


def check_interval(tap, network, folder):
    """Half a second of a live stream, a checkpoint each 100 ms and at EOS."""
    path = os.path.join(folder, "saved.safetensors")
    stream = Stream(f"model={network} checkpoint-location={path} "
                    "checkpoint-interval=100000000 stats-interval=100000000",
                    frames=25, live=True)
    stream.run()
    saved = stream.named("partime-checkpoint")
    tap.check(3 <= len(saved) <= 6, f"checkpoints at the interval "
              f"({len(saved)} in half a second)")
    tap.check(all(m.get_boolean("ok")[1] and m.get_string("path") == path
                  for m in saved), "each says where, and that it went well")
    tap.check(saved[-1].get_uint64("frame")[1] == 25, "the last one is of all")
    told = stream.named("partime-learning")
    tap.check(len(told) >= 3 and told[-1].get_uint64("frames")[1] == 25
              and told[-1].get_uint64("updates")[1] == 25,
              "statistics come as messages")
    stats = Stream(f"model={network}").filter.get_property("stats")
    tap.check(stats.get_name() == "application/x-partime-stats",
              "statistics are a property, also before anything runs")


def check_settings(tap, network):
    """Settings without a property of their own; what is wrong is named."""
    stream = Stream(f"model={network} settings=\"settings, "
                    "learning.accumulate=4, learning.clip-norm=0.5, "
                    "out.lr_scale=0.1\"")
    stream.run()
    updates = stream.named("partime-learning")[-1].get_uint64("updates")[1]
    tap.check(updates == 5, f"20 frames, 4 to an update: {updates}")
    for text, says in (
            ("learning.acumulate=4", ["settings", "acumulate", "accumulate"]),
            ("learning.freeze=nobody", ["freeze", "nobody"]),
            ("learning.freeze=out", ["freeze", "out", "no layer"]),
            ("learning.schedule=step", ["schedule", "step_size"]),
            ("learning.schedule=(string)\\\"cosine T_max=0\\\"",
             ["schedule", "T_max", "0"]),
            ("learning.divergence-rate=2", ["divergence-rate", "2", "1"]),
            ("learning.replay=-1", ["replay", "-1"]),
            ("learning.clip-norm=much", ["clip-norm", "much"]),
            ("learning.orthogonal=1", ["orthogonal", "1"]),
            ("out.lr_scale=-1", ["out", "lr_scale", "-1"]),
            ("nonsense=1", ["settings", "nonsense", "group.key"])):
        try:
            Stream(f"model={network} settings=\"settings, {text}\"").run()
            found = "no error"
        except RuntimeError as error:
            found = str(error)
        tap.say(found)
        tap.check(all(word in found for word in says),
                  f"{text} is refused by name")


def check_controller(tap, network):
    """A learning rate that rises with the time of the frames: 20 ms each."""
    stream = Stream(f"model={network}")
    curve = GstController.InterpolationControlSource()
    curve.set_property("mode", GstController.InterpolationMode.LINEAR)
    curve.set(0, 0)
    curve.set(Gst.SECOND, 1e-3)
    stream.filter.add_control_binding(
        GstController.DirectControlBinding.new_absolute(
            stream.filter, "learning-rate", curve))
    stream.run()
    last = stream.named("partime-learning")[-1]
    rate = last.get_double("learning-rate")[1]
    # of frame 19, at 0.38 s
    tap.check(abs(rate - 0.38e-3) < 1e-9,
              f"a controlled learning rate reaches the stages: {rate:.2e}")


def check_resume(tap, network, folder):
    """100 frames at once, or 50, a checkpoint by signal, 50."""
    path = os.path.join(folder, "half.safetensors")
    stream = Stream(f"model={network} checkpoint-location={path} "
                    "checkpoint-keep=2", frames=30)
    stream.run()
    stream = Stream(f"model={network} checkpoint-location={path} "
                    "checkpoint-keep=2 resume-stream=true", frames=30)
    stream.run()
    saved = stream.named("partime-checkpoint")
    tap.check(len(saved) == 1 and saved[0].get_boolean("ok")[1],
              "resumed, and saved again")
    tap.check(os.path.exists(os.path.join(folder, "half.1.safetensors")),
              "the checkpoint before is kept")


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
        weights = os.path.join(folder, "first.safetensors")
        if os.spawnl(os.P_WAIT, sys.argv[1], "partime", "init", network,
                     weights) != 0:
            raise RuntimeError("partime init failed")
        check_meta(tap, network, weights)
        check_interval(tap, network, folder)
        check_settings(tap, network)
        check_controller(tap, network)
        check_resume(tap, network, folder)
    tap.end()


if __name__ == "__main__":
    main()
