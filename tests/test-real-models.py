#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Models that people use, in several stages, against ONNX Runtime: PP-OCRv4
with what it has learned on pictures with text, and the graphs of well-known
networks with random weights.

usage: test-real-models.py path/to/partime path/to/libgstpartimefilter.so
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import debian  # noqa: E402
import own_python  # noqa: E402
from tap import Tap, needed  # noqa: E402

with needed():
    import gi
    gi.require_version("Gst", "1.0")
    from gi.repository import Gst
    import numpy as np
    from PIL import Image
    import safetensors_io

OCR = "rapidocr-onnxruntime==1.4.4"
# name: file in the package, size of the picture, what it is for
OCR_MODELS = {
    "detector": ("ch_PP-OCRv4_det_infer", (320, 640)),
    "angle": ("ch_ppocr_mobile_v2.0_cls_infer", (48, 192)),
    "reader": ("ch_PP-OCRv4_rec_infer", (48, 320)),
}
LIGHT = ("resnet50", "squeezenet", "densenet121", "inception_v1",
         "inception_v2", "shufflenet", "vgg19")
STAGES = ("1", "2", "4")
# the issue's own, of the largest output
TOLERANCE = 1e-4


def fetch_ocr(python, folder):
    """Leaves the package's models in the folder; returns why not, or ""."""
    kept = os.path.join(own_python.CACHE, "rapidocr")
    if not os.path.isdir(kept):
        done = subprocess.run(
            [python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest",
             folder, OCR], capture_output=True, text=True, check=False)
        wheels = [f for f in os.listdir(folder) if f.endswith(".whl")]
        if done.returncode != 0 or not wheels:
            return (done.stderr.strip().splitlines() or ["nothing"])[-1]
        part = tempfile.mkdtemp(dir=own_python.CACHE)
        with zipfile.ZipFile(os.path.join(folder, wheels[0])) as wheel:
            for name in wheel.namelist():
                if name.endswith(".onnx"):
                    with wheel.open(name) as source, open(os.path.join(
                            part, os.path.basename(name)), "wb") as target:
                        shutil.copyfileobj(source, target)
        os.rename(part, kept)
    for name, (file, _) in OCR_MODELS.items():
        os.symlink(os.path.join(kept, file + ".onnx"),
                   os.path.join(folder, name + ".onnx"))
    return ""


def make_frames(picture, size):
    """Two cuts of the picture, as PP-OCR wants them: -1 to 1."""
    height, width = size
    image = Image.open(picture).convert("RGB")
    cuts = (image.resize((width, height)),
            image.crop((0, 0, image.width // 2, image.height // 2))
            .resize((width, height)))
    frames = np.stack([np.asarray(cut, np.float32) for cut in cuts])
    return np.ascontiguousarray(
        ((frames / 255 - 0.5) / 0.5).transpose(0, 3, 1, 2))


def run_here(cli, folder, name, size, stages):
    """The output of our engine, beside the model; returns what went wrong."""
    model = os.path.join(folder, name + ".onnx")
    out = os.path.join(folder, "out.safetensors")
    done = subprocess.run(
        [cli, "learn", model, "-f", os.path.join(folder, name + ".frames"),
         "-O", out, "-s", "learning.mode=off", "-s", "pipeline.devices=cpu:0",
         "-s", "pipeline.stages=" + stages, "-s", "network.channels=3",
         "-s", f"network.height={size[0]}", "-s", f"network.width={size[1]}"],
        capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        return done.stderr.strip().replace(folder, "")[:400]
    frames = safetensors_io.load(os.path.join(folder, name + ".frames"))
    safetensors_io.save(
        os.path.join(folder, name + ".safetensors"),
        {"frames": frames["frames"],
         "y": safetensors_io.load(out)["outputs"]})
    return ""


def run_there(python, folder, name):
    """Compares with ONNX Runtime."""
    done = subprocess.run(
        [python, os.path.join(HERE, "reference", "run_onnx.py"),
         os.path.join(folder, name + ".onnx")],
        capture_output=True, text=True, check=False, timeout=300)
    if done.returncode != 0:
        return {"wrong": done.stderr.strip()[-400:]}
    return json.loads(done.stdout.splitlines()[-1])


def check(tap, cli, python, folder, name, size):
    # half a gigabyte need not be read three times
    for stages in STAGES if name != "vgg19" else ("2",):
        wrong = run_here(cli, folder, name, size, stages)
        found = {} if wrong else run_there(python, folder, name)
        wrong = wrong or found.get("wrong", "")
        error = found.get("error", np.inf)
        if wrong:
            tap.say(f"{name}, {stages}: {wrong}")
        tap.check(not wrong and error < TOLERANCE,
                  f"{name} in {stages} stages: {error:.1e} from ONNX Runtime")


# of lists of values, which have no other way
warnings.simplefilter("ignore", DeprecationWarning)


def run_element(model, sizes):
    """Two frames of each size through one element, which has not been told of
    any: what the network sees, and its output, by size."""
    Gst.init(None)
    os.environ["GST_PLUGIN_PATH"] = os.path.dirname(sys.argv[2])
    Gst.Registry.get().scan_path(os.path.dirname(sys.argv[2]))
    line = Gst.parse_launch(
        "appsrc name=in format=time ! partimefilter devices=cpu:0 overlay=false "
        f"model={model} learning-mode=off "
        "settings=settings,network.mean=0.5,network.std=0.5 ! "
        "appsink name=out sync=false")
    source, sink = line.get_by_name("in"), line.get_by_name("out")
    line.set_state(Gst.State.PLAYING)
    found = []
    try:
        for height, width, picture in sizes:
            source.set_property("caps", Gst.Caps.from_string(
                f"video/x-raw,format=RGB,width={width},height={height},"
                "framerate=25/1"))
            frames = make_frames(picture, (height, width))
            outputs = []
            for x in frames:
                pixels = np.round((x.transpose(1, 2, 0) + 1) * 127.5)
                source.emit("push-buffer", Gst.Buffer.new_wrapped(
                    pixels.astype(np.uint8).tobytes()))
                sample = sink.emit("try-pull-sample", 60 * Gst.SECOND)
                if sample is None:
                    error = line.get_bus().pop_filtered(Gst.MessageType.ERROR)
                    raise RuntimeError(error.parse_error()[0].message
                                       if error else "no frame in 60 s")
                meta = sample.get_buffer().get_custom_meta("GstPartimeMeta")
                tensors = meta.get_structure().get_array("tensors")[1]
                data = tensors.get_nth(0).get_buffer()
                outputs.append(np.frombuffer(data.extract_dup(
                    0, data.get_size()), np.float32))
            found.append((frames, np.stack(outputs)))
    finally:
        line.set_state(Gst.State.NULL)
    return found


def check_element(tap, python, folder, picture):
    """The sizes are those of the caps, the second while it plays."""
    model = os.path.join(folder, "detector.onnx")
    sizes = ((320, 640), (256, 480))
    try:
        runs = run_element(model, [(*size, picture) for size in sizes])
    except RuntimeError as wrong:
        tap.say(str(wrong))
        runs = ()
    for (height, width), (frames, y) in zip(sizes, runs):
        safetensors_io.save(
            os.path.join(folder, "detector.safetensors"),
            {"frames": frames, "y": y.reshape(-1, 1, height, width)})
        found = run_there(python, folder, "detector")
        if found.get("wrong"):
            tap.say(found["wrong"])
        error = found.get("error", np.inf)
        tap.check(error < TOLERANCE, f"detector on frames of {width}x{height} "
                  f"in the element: {error:.1e} from ONNX Runtime")
    tap.check(len(runs) == len(sizes), "each size of the caps is taken")


def main():
    cli = sys.argv[1]
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    if not python:
        print(f"1..0 # SKIP {reason}")
        return 0
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        # a photograph of text
        picture = debian.find("opencv-doc", "imageTextN.png")
        reason = fetch_ocr(python, folder) if picture else "no opencv-doc"
        if reason:
            tap.skip("PP-OCR", reason)
        sizes = {} if reason else {n: s for n, (_, s) in OCR_MODELS.items()}
        for name, size in sizes.items():
            safetensors_io.save(os.path.join(folder, name + ".frames"),
                                {"frames": make_frames(picture, size)})
            check(tap, cli, python, folder, name, size)
        if not reason:
            check_element(tap, python, folder, picture)
        rng = np.random.default_rng(2)
        noise = rng.standard_normal((2, 3, 224, 224)).astype(np.float32)
        for name in LIGHT:
            subprocess.run(
                [python, os.path.join(HERE, "reference", "light_models.py"),
                 folder, name], check=True, timeout=300)
            safetensors_io.save(os.path.join(folder, name + ".frames"),
                                {"frames": noise})
            check(tap, cli, python, folder, name, (224, 224))
            os.remove(os.path.join(folder, name + ".onnx"))
    tap.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
