#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What partime export writes: ONNX Runtime computes the same from it, it reads
as the same network again, and weights are weights only. What partime info says
is so. Mistakes are told.

usage: test-export.py path/to/partime path/to/test-onnx-export
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402
import own_python  # noqa: E402

with needed():
    import numpy as np
    import safetensors_io

NETWORKS = os.path.join(HERE, "..", "pipelines", "networks")
CLI, SAMPLES = sys.argv[1:3]
TOLERANCE, N_FRAMES = 1e-5, 6
# opset 20 and its operators


def partime(*words, code=0):
    done = subprocess.run([CLI, *words], capture_output=True, text=True,
                          check=False, timeout=120)
    if done.returncode != code:
        raise RuntimeError(f"partime {' '.join(words)}: {done.stderr}")
    return done.stdout + done.stderr


def run_elsewhere(python, models):
    """What run_onnx.py says of each of them."""
    done = subprocess.run(
        [python, os.path.join(HERE, "reference", "run_onnx.py"), *models],
        capture_output=True, text=True, check=False, timeout=300)
    lines = done.stdout.splitlines()
    if len(lines) != len(models):
        raise RuntimeError(f"run_onnx.py: {done.stderr[-500:]}")
    return [json.loads(line) for line in lines]


def judge(tap, answer, name):
    error = answer.get("error", np.inf)
    return tap.check(error < TOLERANCE, f"{name}: "
                     + answer.get("wrong", f"off by {error:.1e}"))


def check_samples(tap, python, folder):
    done = subprocess.run([SAMPLES, folder], capture_output=True, text=True,
                          check=True, timeout=120)
    lines = [line.split(" ", 1) for line in done.stdout.splitlines()]
    answers = run_elsewhere(python, [f"{folder}/{n}.onnx" for n, _ in lines])
    for (_, sample), answer in zip(lines, answers):
        judge(tap, answer, sample)


def check_samples_again(tap, folder):
    """Those of a picture, read by partime: the same, or refused. What makes
    pictures of another number is no network here."""
    done = subprocess.run([SAMPLES, folder], capture_output=True, text=True,
                          check=True, timeout=120)
    same, refused, wrong = 0, [], []
    for line in done.stdout.splitlines():
        number, sample = line.split(" ", 1)
        base = os.path.join(folder, number)
        numbers = safetensors_io.load(base + ".safetensors")
        if len(numbers) > 2 or numbers["x0"].ndim != 4 or \
                numbers["x0"].shape[0] != 1 or numbers["y"].shape[0] != 1:
            continue
        safetensors_io.save(base + "-in.safetensors",
                            {"frames": numbers["x0"]})
        try:
            found = run_here(base + ".onnx", base + "-in.safetensors",
                             base + "-out.safetensors")
            good = np.allclose(found, numbers["y"], rtol=0, equal_nan=True,
                               atol=TOLERANCE * max(1, np.nanmax(np.abs(found))))
            same += good
            wrong += [] if good else [sample]
        except RuntimeError as reason:
            refused.append(sample)
            tap.say(f"{sample}: {str(reason)[-300:].strip()}")
    tap.check(same > 0 and not wrong, f"read again: {same} are the same, "
              f"{len(refused)} refused, wrong: {wrong}")


def get_setting(path, key, missing):
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip().startswith(key + "="):
                return line.strip().split("=", 1)[1]
    return missing


def get_last_layer(path):
    with open(path, encoding="utf-8") as file:
        groups = [line.strip()[1:-1] for line in file if line[0] == "["]
    return [group for group in groups if group not in (
        "network", "learning", "pipeline", "output")][-1]


def run_here(model, frames, out, *words):
    partime("learn", model, "-f", frames, "-O", out, "-s", "learning.mode=off",
            "-s", "pipeline.devices=cpu:0", "-s", "pipeline.stages=1", *words)
    return safetensors_io.load(out)["outputs"]


def export_network(path, folder):
    """Writes NAME.onnx, and beside it what the network sees and computes."""
    base = os.path.join(folder, os.path.basename(path)[:-len(".cfg")])
    n = int(get_setting(path, "frames", "1"))
    ahead = 1 if get_setting(path, "target", "") == "next" else 0
    shape = [int(get_setting(path, key, "3"))
             for key in ("channels", "height", "width")]
    rng = np.random.default_rng(4)
    frames = rng.standard_normal((N_FRAMES, *shape)).astype(np.float32)
    safetensors_io.save(base + "-in.safetensors", {"frames": frames})
    partime("init", path, base + "-w.safetensors", "--seed", "9")
    partime("export", path, "-w", base + "-w.safetensors", base + ".onnx")
    outputs = run_here(path, base + "-in.safetensors", base + "-out.safetensors",
                       "-w", base + "-w.safetensors")
    first = n - 1 + ahead
    stacks = np.stack([frames[t - first:t - ahead + 1].reshape(-1, *shape[1:])
                       for t in range(first, N_FRAMES)])
    safetensors_io.save(base + ".safetensors",
                        {"frames": stacks, "y": outputs[first:]})
    return base, outputs


def check_again(tap, base, outputs):
    """The model read again: the same numbers, the same names of weights."""
    name = os.path.basename(base)
    again = run_here(base + ".onnx", base + "-in.safetensors",
                     base + "-again.safetensors")
    error = np.abs(again - outputs).max()
    partime("export", base + ".onnx", base + "-back.safetensors")
    back = safetensors_io.load(base + "-back.safetensors")
    weights = safetensors_io.load(base + "-w.safetensors")
    tap.check(error < 1e-6 and back.keys() == weights.keys() and
              all(np.array_equal(back[k], weights[k]) for k in back),
              f"{name}.onnx read again: off by {error:.1e}, "
              f"{len(back)} weights")


def check_networks(tap, python, folder):
    paths = sorted(glob.glob(os.path.join(NETWORKS, "*.cfg")))
    made = [export_network(path, folder) for path in paths]
    for base, outputs in made:
        check_again(tap, base, outputs)
    if not python:
        return
    answers = run_elsewhere(python, [base + ".onnx" for base, _ in made])
    for path, answer in zip(paths, answers):
        name = os.path.basename(path)
        if not judge(tap, answer, name):
            continue
        settings = {"partime.network." + key: get_setting(path, key, None)
                    for key in ("frames", "mean", "std")}
        settings["partime.output.kind"] = get_setting(path, "kind", None)
        settings["partime.learning.loss"] = get_setting(path, "loss", None)
        kept = answer["settings"]
        lost = [key for key, value in settings.items()
                if value not in (None, "1", "0") and key not in kept]
        tap.check(not lost and "mean=" in answer["doc"]
                  and answer["inputs"] == ["input"]
                  and answer["outputs"] == [get_last_layer(path)],
                  f"{name}: {len(kept)} settings, without {lost}; "
                  + answer["doc"][-60:])


NETWORK = """[network]
width=4
height=4
channels=1
[a]
type=conv2d
filters=2
kernel=3
"""


BRANCHES = NETWORK.replace("[network]", "[network]\noutput=c;b;a") + """[b]
type=global-avg-pool
[c]
type=conv2d
filters=1
kernel=1
inputs=a
"""


def check_outputs(tap, python, folder):
    """Several outputs: of the file, of the model read again, elsewhere."""
    net = os.path.join(folder, "branches.cfg")
    with open(net, "w", encoding="utf-8") as file:
        file.write(BRANCHES)
    rng = np.random.default_rng(5)
    frames = rng.standard_normal((N_FRAMES, 1, 4, 4)).astype(np.float32)
    base, said = export_branches(net, folder, frames)
    tap.check([line.split() for line in said.splitlines()[-3:]] == [
        ["output", name, name, shape] for name, shape in (
            ("c", "1x1x2x2"), ("b", "1x2x1x1"), ("a", "1x2x2x2"))],
        f"info of several outputs: {said.splitlines()[-3:]}")
    first, again = (safetensors_io.load(f"{base}-{name}.safetensors")
                    for name in ("out", "again"))
    tap.check(first.keys() == again.keys() == {
        "outputs", "outputs.a", "outputs.b", "losses"} and all(
            np.abs(first[k] - again[k]).max() < 1e-6
            for k in first if k != "losses"),
        f"several outputs read again: {' '.join(again)}")
    if python:
        answer = run_elsewhere(python, [base + ".onnx"])[0]
        judge(tap, answer, "several outputs")
        tap.check(answer.get("outputs") == ["c", "b", "a"],
                  f"they are called {answer.get('outputs')}")


def export_branches(net, folder, frames):
    base = os.path.join(folder, "branches")
    safetensors_io.save(base + "-in.safetensors", {"frames": frames})
    partime("export", net, base + ".onnx")
    for model, name in (net, "out"), (base + ".onnx", "again"):
        run_here(model, base + "-in.safetensors", f"{base}-{name}.safetensors")
    here = safetensors_io.load(base + "-out.safetensors")
    safetensors_io.save(base + ".safetensors", {
        "frames": frames, "y": here["outputs"], "y.a": here["outputs.a"],
        "y.b": here["outputs.b"]})
    return base, partime("info", "--no-measure", base + ".onnx")


def check_checkpoint(tap, folder):
    """Of a checkpoint only the weights go out."""
    net, first, whole, out = (os.path.join(folder, name) for name in (
        "net.cfg", "w.safetensors", "c.safetensors", "o.safetensors"))
    with open(net, "w", encoding="utf-8") as file:
        file.write(NETWORK)
    partime("init", net, first)
    weights = safetensors_io.load(first)
    safetensors_io.save(whole, {
        **weights, "optimizer.a.weight.exp_avg": weights["a.weight"],
        "stream.frames": np.zeros(3, np.float32)})
    partime("export", net, "-w", whole, out)
    back = safetensors_io.load(out)
    tap.check(back.keys() == weights.keys() and
              all(np.array_equal(back[k], weights[k]) for k in back),
              f"of a checkpoint: {' '.join(back)}")
    return net


INFO = NETWORK.replace("=4", "=96").replace("filters=2", "filters=64") + \
    """[b]
type=max-pool2d
kernel=2
[learning]
loss=mse
target=labels
optimizer=sgd lr=0
[pipeline]
devices=cpu:0
stages=2
"""


def check_info(tap, folder):
    """Costs by their formulas; rates are there, and such as can be."""
    net = os.path.join(folder, "info.cfg")
    with open(net, "w", encoding="utf-8") as file:
        file.write(INFO)
    said = partime("info", "--no-measure", net)
    rows = {line.split()[0]: line.split() for line in said.splitlines()}
    # parameters, 2 x weights x pixels, bytes of weights, output, saved places
    a, b = 64 * 94 * 94, 64 * 47 * 47
    expected = {"a": [640, 2 * 9 * a, 640 * 4, a * 4, 0],
                "b": [0, 4 * b, 0, b * 4, b * 4]}
    for name, costs in expected.items():
        tap.check(rows[name][-5:] == [str(costs[0])] + [
            f"{x / 1e6:.3f}" for x in costs[1:]],
            f"info of {name}: {' '.join(rows[name])}")
    tap.check("measured" not in said, "info --no-measure runs nothing")
    said = partime("info", net)
    rates = {line.split(":")[0].split()[0]: float(line.split(": ")[1].split()[0])
             for line in said.splitlines() if "frames a second" in line}
    tap.check(rates.keys() == {"learning", "forward"}
              and 0 < rates["learning"] < rates["forward"] < 1e6
              and said.count("cut 1,1 (stages=2)") == 2
              and said.count("  stage 1 on cpu:0, ") == 2
              and "measured on noise" in said, f"info measures {rates}")
    said = partime("info", "-s", "learning.mode=off", "-s",
                   "pipeline.stages=auto", "-s", "pipeline.devices=auto", net)
    tap.check("learning: off" in said and "(stages=auto)" in said,
              "info of inference only, where to cut left open")


def check_mistakes(tap, folder, net):
    other = os.path.join(folder, "other.safetensors")
    safetensors_io.save(other, {"b.weight": np.zeros((1,), np.float32)})
    os.mkdir(folder + "/folder.onnx")
    with open(folder + "/garbage.onnx", "wb") as file:
        file.write(b"no model")
    o = folder + "/o.onnx"
    for words, says in (
            (["convert", net, folder + "/o.txt"], ["o.txt", ".cfg"]),
            (["convert", net, net], ["net.cfg", "another file"]),
            (["convert", net], ["found 1 argument", "OUT.cfg"]),
            (["export", folder + "/none.cfg", o], ["/none.cfg", "No such"]),
            (["export", net, folder + "/o.pt"],
             ["o.pt", ".onnx", ".safetensors"]),
            (["export", net], ["found 1 argument", "OUT.onnx"]),
            (["export", net, folder + "/none/o.onnx"],
             ["OUT", "/none/o.onnx", "no folder"]),
            (["export", net, folder + "/folder.onnx"],
             ["/folder.onnx", "cannot write", "directory"]),
            (["export", net, "-w", folder + "/none.safetensors", o],
             ["/none.safetensors", "No such"]),
            (["export", net, "-w", other, o],
             ["other.safetensors", "a.weight", "missing", "2x1x3x3"]),
            (["export", net, "-w", net, o], ["net.cfg"]),
            (["export", folder + "/garbage.onnx", o], ["garbage.onnx"]),
            (["export", net, "-s", "a.filters=0", o],
             ["[a]", "filters", "0", "from 1"]),
            (["info", folder + "/none.onnx"], ["/none.onnx", "No such"]),
            (["convert", folder + "/none.cfg", folder + "/o.cfg"],
             ["/none.cfg", "No such"])):
        done = subprocess.run([CLI, *words], capture_output=True, text=True,
                              check=False, timeout=60)
        said = done.stderr.strip()
        tap.check(done.returncode == 1 and not os.path.exists(o)
                  and all(word in said for word in says),
                  f"{' '.join(words)}: {said}".replace(folder, ""))
    done = subprocess.run([CLI, "exprt"], capture_output=True, text=True,
                          check=False, timeout=60)
    tap.check(done.returncode == 2 and "did you mean export" in done.stderr,
              f"exprt: {done.stderr.strip()}")
    said = partime("--help")
    tap.check(all(f"  {word} " in said for word in (
        "info", "export", "convert", "learn", "init")),
              "--help lists the commands")


def main():
    tap = Tap()
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    with tempfile.TemporaryDirectory() as folder:
        if python:
            check_samples(tap, python, folder)
        else:
            tap.skip("models in ONNX Runtime", reason)
        check_samples_again(tap, folder)
        check_networks(tap, python, folder)
        check_outputs(tap, python, folder)
        net = check_checkpoint(tap, folder)
        check_info(tap, folder)
        check_mistakes(tap, folder, net)
    tap.end()


if __name__ == "__main__":
    main()
