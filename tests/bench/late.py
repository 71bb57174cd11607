#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How late frames of a live stream are while checkpoints are taken or models
change: 320x240 at 30 frames a second through networks/flow-chain.cfg,
learning; alone, with a checkpoint every 250 ms, and with another model every
500 ms, once one of the same parameters and once another network.

usage: late.py path/to/folder/of/the/plugin [SECONDS]
"""

import os
import pathlib
import statistics
import sys
import tempfile
import time

import gi
gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
NETWORK = HERE / "networks/flow-chain.cfg"
RATE = 30


def run(seconds, options, models=()):
    """Milliseconds from a frame's time to its arrival, for each frame but
    those of the first second; how many checkpoints or models there were."""
    line = Gst.parse_launch(
        f"videotestsrc is-live=true pattern=ball num-buffers="
        f"{int(seconds * RATE)} ! "
        f"video/x-raw,format=I420,width=320,height=240,framerate={RATE}/1 ! "
        f"partimefilter name=filter model={NETWORK} {options} ! "
        "fakesink name=sink sync=false")
    late, done, last = [], 0, time.monotonic()

    def note(_pad, info):
        now = line.get_clock().get_time() - line.get_base_time()
        late.append((now - info.get_buffer().pts) / 1e6)
        return Gst.PadProbeReturn.OK

    pad = line.get_by_name("sink").get_static_pad("sink")
    pad.add_probe(Gst.PadProbeType.BUFFER, note)
    line.set_state(Gst.State.PLAYING)
    while True:
        message = line.get_bus().timed_pop(20 * Gst.MSECOND)
        if models and time.monotonic() > last + 0.5:
            line.get_by_name("filter").props.model = models[done % len(models)]
            last = time.monotonic()
        if message is None:
            continue
        if message.type == Gst.MessageType.ERROR:
            sys.exit(message.parse_error()[0].message)
        if message.type == Gst.MessageType.EOS:
            break
        structure = message.get_structure()
        done += structure is not None and structure.get_name() in (
            "partime-checkpoint", "partime-model-updated") and \
            structure.get_value("ok")
    line.set_state(Gst.State.NULL)
    if len(late) != int(seconds * RATE):
        sys.exit(f"{len(late)} frames came out of {int(seconds * RATE)}")
    return late[RATE:], done


def main():
    os.environ["GST_PLUGIN_PATH"] = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20
    Gst.init(None)
    period = 1000 / RATE
    print(f"{'':24}{'frames':>8}{'times':>7}{'median':>9}{'99 %':>9}"
          f"{'largest':>9} ms   over a period ({period:.1f} ms) later than "
          "the median")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "late.safetensors")
        same, other = (os.path.join(folder, name) for name in
                       ("same.cfg", "other.cfg"))
        text = NETWORK.read_text()
        pathlib.Path(same).write_text(text)
        pathlib.Path(other).write_text(text.replace("filters=16", "filters=12", 1))
        live = "is-updatable=true"
        for name, options, models in (
                ("nothing", "", ()),
                ("checkpoints", f"checkpoint-location={path} "
                 "checkpoint-interval=250000000", ()),
                ("same parameters", live, (same, str(NETWORK))),
                ("other network", live, (other, str(NETWORK)))):
            late, done = run(seconds, options, models)
            median = statistics.median(late)
            print(f"{name:24}{len(late):8}{done:7}{median:9.2f}"
                  f"{statistics.quantiles(late, n=100)[98]:9.2f}"
                  f"{max(late):9.2f}      "
                  f"{sum(x > median + period for x in late)}", flush=True)


if __name__ == "__main__":
    main()
