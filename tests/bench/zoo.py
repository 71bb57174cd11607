#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Vision models of other people's packages, exported by PyTorch, in our engine
and in ONNX Runtime: which are taken, refused or wrong, and how long a frame
takes on one core. Sets up a Python of its own with several gigabytes.

usage: zoo.py BUILD [--dynamo] [--learn] [--no-times] [--folder F] [NAME]...

NAME is a pattern such as timm/*; all models without one.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
import own_python  # noqa: E402

PACKAGES = ("torch", "torchvision", "timm", "onnx", "onnxscript",
            "onnxruntime", "ultralytics", "segmentation-models-pytorch",
            "transformers")
OPSETS = (13, 14, 15, 16, 17, 18)
# how far from PyTorch in double precision, of the largest number of an output,
# or how many times as far as ONNX Runtime
TOLERANCE, MORE = 1e-4, 3
SECONDS = 300
# frames of one measurement last about as long
TURN, TURNS = 0.4, 3


# -- the model, elsewhere --


def export(name, model, dynamo):
    """Leaves the model, frames and what ONNX Runtime makes of them; returns
    the names of its outputs."""
    import numpy as np
    import onnxruntime
    import torch
    import safetensors_io
    import zoo_models
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    module, x = zoo_models.make(name)
    opset = OPSETS[sum(map(ord, name)) % len(OPSETS)]
    for opset in [] if dynamo else [opset, max(OPSETS)]:
        try:
            with torch.no_grad():
                torch.onnx.export(module, (x,), model, opset_version=opset,
                                  dynamo=False)
            break
        except torch.onnx.OnnxExporterError as reason:
            print(reason)
    else:
        opset = "dynamo"
        torch.onnx.export(module, (x,), model, dynamo=True,
                          external_data=False, verbose=False)
    session = open_session(model)
    frames = torch.cat([x, torch.randn_like(x) * 0.7]).numpy()
    names = [y.name for y in session.get_outputs()]
    feed = session.get_inputs()[0].name
    results = [session.run(None, {feed: frame[None]}) for frame in frames]
    truths = run_in_double(module, frames) or results
    there = []
    for i, (found, truth) in enumerate(zip(zip(*results), zip(*truths))):
        found, truth = np.stack(found), np.stack(truth)
        safetensors_io.save(model + f".{i}", {"y": truth.astype(np.float32)})
        there.append(find_error(found, truth))
    safetensors_io.save(model + ".frames", {"frames": frames})
    return {"outputs": names, "there": there,
            "opset": opset}


def run_in_double(module, frames):
    """What PyTorch says; None where the model insists on floats."""
    import torch
    try:
        module.double()
        with torch.no_grad():
            return [[y.numpy() for y in module(torch.from_numpy(
                frame[None]).double())] for frame in frames]
    except RuntimeError:
        return None


def find_error(found, expected):
    """Of the largest number."""
    import numpy as np
    if found.size != expected.size:
        return float("inf")
    return float(np.abs(found.ravel() - expected.ravel()).max()
                 / (np.abs(expected).max() or 1))


def open_session(model):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options,
                                        providers=["CPUExecutionProvider"])


def export_apart(name, model, dynamo):
    """In a process of its own: what happens there is not our end."""
    about = pathlib.Path(model + ".json")
    if about.exists():
        return json.loads(about.read_text(encoding="utf-8"))
    child = os.fork()
    if child == 0:
        signal.alarm(SECONDS)
        with open(model + ".log", "w", encoding="utf-8") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            try:
                found = export(name, model, dynamo)
            except BaseException as reason:
                words = str(reason).strip().splitlines() or [""]
                found = {"no": f"{type(reason).__name__}: {words[0]}"[:200]}
                import traceback
                traceback.print_exc()
            about.write_text(json.dumps(found), encoding="utf-8")
            os._exit(0)
    os.waitpid(child, 0)
    if not about.exists():
        return {"no": f"took more than {SECONDS} s, or crashed"}
    return json.loads(about.read_text(encoding="utf-8"))


# -- the model, here --


def run_here(cli, model, output, *more):
    """(outputs and losses, "") or (None, why not)."""
    import safetensors_io
    out = model + ".out"
    try:
        done = subprocess.run(
            [cli, "learn", model, "-f", model + ".frames", "-O", out,
             "-s", "network.output=" + output, "-s", "pipeline.devices=cpu:0",
             *more],
            capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return None, f"took more than {SECONDS} s"
    if done.returncode < 0:
        return None, f"signal {-done.returncode}"
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [""]
        return None, words[-1].replace(str(model), "")
    return safetensors_io.load(out), ""


def compare(cli, model, about):
    """(word, reason, error) of the worst output."""
    import numpy as np
    import safetensors_io
    worst = 0.0
    for i, output in enumerate(about["outputs"]):
        expected = safetensors_io.load(f"{model}.{i}")["y"]
        found, reason = run_here(cli, model, output, "-s", "learning.mode=off",
                                 "-s", "pipeline.stages=1")
        if not found:
            crashed = reason.startswith(("signal", "took"))
            return "wrong" if crashed else "refused", reason, np.nan
        found = found["outputs"]
        if found.size != expected.size:
            return "wrong", f"shape {found.shape}, not {expected.shape}", np.nan
        error = find_error(found, expected)
        # a random network may multiply what is rounded away
        if not error < max(TOLERANCE, MORE * about["there"][i]):
            return "wrong", f"{output}: {error:.1e}, ONNX Runtime " \
                f"{about['there'][i]:.1e}", error
        moved = find_error(expected[0], expected[1])
        if moved < 1e-3:
            print(f"note: {output} hardly hangs on the frame: {moved:.1e}")
        worst = max(worst, error)
    return "taken", "", worst


class Worker:
    """bench.c on the first core."""

    def __init__(self, build, model, output):
        config = pathlib.Path(model + ".cfg")
        config.write_text(f"[network]\noutput={output}\n", encoding="utf-8")
        self.process = subprocess.Popen(
            ["taskset", "-c", "0", build / "tests/bench/bench"],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.ask(f"load {model} cpu:0 1 off")

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if answer[:1] != ["ok"]:
            raise RuntimeError(" ".join(answer))
        return answer[1:]

    def run(self, n):
        return float(self.ask(f"run {n}")[0])

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def measure(build, model, about):
    """Milliseconds a frame of both, the best of turns they take."""
    import safetensors_io
    os.sched_setaffinity(0, {0})
    session = open_session(model)
    worker = Worker(build, model, about["outputs"][0])
    x = safetensors_io.load(model + ".frames")["frames"][:1]
    feed = {session.get_inputs()[0].name: x}

    def there(n):
        start = time.perf_counter()
        for _ in range(n):
            session.run(about["outputs"][:1], feed)
        return time.perf_counter() - start
    best = []
    for take in (worker.run, there):
        take(1)
        n = max(1, int(TURN / max(take(1), 1e-6)))
        best.append((take, n, []))
    for _ in range(TURNS):
        for take, n, found in best:
            found.append(take(n) / n)
    worker.close()
    os.sched_setaffinity(0, range(os.cpu_count()))
    return [1e3 * min(found) for _, _, found in best]


def learn(cli, model, about):
    """Whether the loss falls, in one stage and in two; "" if it does."""
    import numpy as np
    import safetensors_io
    expected = safetensors_io.load(model + ".0")["y"]
    frames = safetensors_io.load(model + ".frames")["frames"][:1]
    kept = pathlib.Path(model + ".frames").read_bytes()
    scale = float(np.abs(expected).max()) or 1
    goal = expected[:1] + 0.1 * scale * np.sign(expected[:1])
    n = 6
    try:
        safetensors_io.save(model + ".frames",
                            {"frames": np.repeat(frames, n, 0)})
        safetensors_io.save(model + ".goal", {
            "targets": np.repeat(goal[:1], n, 0).reshape(
                n, *goal.shape[1:])})
        for stages in ("1", "2"):
            found, reason = run_here(
                cli, model, about["outputs"][0], "-t", model + ".goal",
                "-s", "learning.mode=exact", "-s", "learning.loss=mse",
                "-s", "learning.target=labels",
                "-s", "learning.optimizer=adam lr=1e-4",
                "-s", "pipeline.stages=" + stages)
            if not found:
                return f"{stages} stages: {reason}"
            losses = found["losses"] if "losses" in found else found["loss"]
            if not np.isfinite(losses).all() or not losses[-1] < losses[0]:
                return f"{stages} stages: loss {losses[0]:.4g}, then " \
                    f"{losses[-1]:.4g}"
    finally:
        pathlib.Path(model + ".frames").write_bytes(kept)
    return ""


def show(row, times):
    name, word, reason, about, error = row
    text = f"{name:44} {about.get('opset', ''):>6} {word:8}"
    if word == "taken":
        text += f" {error:.0e}"
    if times:
        text += f"  {times[0]:8.2f} ms, ONNX Runtime {times[1]:8.2f}"
    print(text + ("  " + reason[:200] if reason else ""), flush=True)


def take(name, options, folder):
    model = str(folder / re.sub(r"[^\w.-]", "-", name)) + \
        ("-dynamo" if options.dynamo else "") + ".onnx"
    about = export_apart(name, model, options.dynamo)
    if "no" in about:
        return (name, "no", about["no"], about, 0), None
    word, reason, error = compare(options.cli, model, about)
    if word == "taken" and options.learn:
        reason = learn(options.cli, model, about)
        word = "stuck" if reason else word
    times = None
    if word == "taken" and options.times:
        times = measure(options.build, model, about)
    return (name, word, reason, about, error), times


def run_all(options, names, folder):
    import torch  # noqa: F401: once, for all that follow
    counts, slower = {}, 0
    for name in names:
        row, times = take(name, options, folder)
        show(row, times)
        counts[row[1]] = counts.get(row[1], 0) + 1
        slower += bool(times and times[0] > times[1])
        if not options.folder:
            for file in folder.iterdir():
                file.unlink()
    total = len(names) - counts.get("no", 0)
    print(f"{total} models: " + ", ".join(
        f"{counts.get(word, 0)} {word}"
        for word in ("taken", "refused", "wrong", "stuck"))
        + f"; {counts.get('no', 0)} more that PyTorch could not export"
        + (f"; {slower} slower than ONNX Runtime" if options.times else ""))
    return counts.get("wrong", 0) + counts.get("stuck", 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("names", nargs="*", default=["*"])
    parser.add_argument("--dynamo", action="store_true",
                        help="with PyTorch's newer exporter")
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--no-times", dest="times", action="store_false")
    parser.add_argument("--folder", type=pathlib.Path,
                        help="where models stay for the next time")
    options = parser.parse_intermixed_args()
    options.cli = options.build / "lib/cli/partime"
    python, reason = own_python.find("zoo", *PACKAGES, seconds=3600)
    if not python:
        sys.exit(f"error: {reason}")
    if not sys.executable.startswith(os.path.dirname(python)):
        os.execv(python, [python, __file__, *sys.argv[1:]])
    os.environ.update(YOLO_OFFLINE="true", HF_HUB_OFFLINE="1")
    import zoo_models
    names = [n for n in zoo_models.names()
             if any(fnmatch.fnmatch(n, p) for p in options.names)]
    if options.folder:
        options.folder.mkdir(exist_ok=True, parents=True)
        return run_all(options, names, options.folder) > 0
    with tempfile.TemporaryDirectory() as folder:
        return run_all(options, names, pathlib.Path(folder)) > 0


if __name__ == "__main__":
    sys.exit(main())
