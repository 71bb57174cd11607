#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Losses and optimizers against ONNX's own test data. SoftmaxCrossEntropyLoss
and NegativeLogLikelihoodLoss are the loss of a picture whose pixels are all
samples of the batch; Adam, Adagrad and Momentum are one step from the state
that the case gives.

usage: test-onnx-losses.py path/to/partime path/to/optimizer-step
"""

import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import debian  # noqa: E402
import own_python  # noqa: E402
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import safetensors_io

TOLERANCE = 1e-5
# what these begin with, and no other case
PATTERNS = ("sce", "nllloss", "ada", "momentum", "nesterov")
LOSSES = {"SoftmaxCrossEntropyLoss": "cross-entropy",
          "NegativeLogLikelihoodLoss": "nll"}
# what a case was made with, though its node does not say so
MEANT = {"test_adam_multiple": {"epsilon": 1e-2}}
NETWORK = """[network]
width={width}
height={height}
channels={classes}
[same]
type=conv2d
filters={classes}
kernel=1
bias=false
[learning]
mode=exact
target=labels
loss={loss}
optimizer=sgd lr=1e-9
[pipeline]
devices=cpu:0
stages=1
"""


def find_data():
    folder = debian.find("libonnx-testdata", "libonnx-testdata/data/node")
    return sorted(f for name in PATTERNS
                  for f in glob.glob(f"{folder}/test_{name}*")
                  if "expanded" not in f) if folder else []


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          timeout=60)
    if done.returncode != 0:
        raise RuntimeError((done.stderr + done.stdout).strip()[-300:])


def save(folder, **tensors):
    """A file for each; their paths."""
    paths = {k: os.path.join(folder, k + ".safetensors") for k in tensors}
    for name, tensor in tensors.items():
        safetensors_io.save(paths[name], tensor if isinstance(tensor, dict)
                            else {name: tensor})
    return paths


def our_loss(cli, folder, case, loss):
    """N and what follows C are the picture."""
    scores, labels = case["input0"], case["input1"]
    n, classes = scores.shape[:2]
    picture = np.moveaxis(scores.reshape(n, classes, -1), 1, 0)
    net, out = (os.path.join(folder, name)
                for name in ("net.cfg", "out.safetensors"))
    with open(net, "w", encoding="utf-8") as file:
        file.write(NETWORK.format(width=picture.shape[2], height=n,
                                  classes=classes, loss=loss))
    paths = save(folder, frames=picture[None],
                 targets=labels.reshape(1, 1, n, -1).astype(np.int32),
                 weights={"same.weight": np.eye(classes, dtype=np.float32)
                          .reshape(classes, classes, 1, 1)})
    run(cli, "learn", net, "-f", paths["frames"], "-t", paths["targets"],
        "-w", paths["weights"], "-O", out)
    return float(safetensors_io.load(out)["losses"].ravel()[0])


def check_loss(cli, folder, case, node):
    """A sum is that many means: of the weights of what counts. So is the sum
    of each one's loss."""
    options, text = node["with"], LOSSES[node["op"]]
    weight = case.get("input2", np.ones(case["input0"].shape[1]))
    counts = case["input1"] != options.get("ignore_index", -100)
    if "ignore_index" in options:
        text += f" ignore_index={options['ignore_index']}"
    if "input2" in case:
        text += " weight=" + ";".join(f"{w:.9g}" for w in weight)
    found = our_loss(cli, folder, case, text)
    if options.get("reduction", "mean") != "mean":
        found *= weight[case["input1"][counts]].sum()
    expected = case["output0"].astype(np.float64).sum()
    return (abs(found - expected) <= TOLERANCE * max(1, abs(expected)),
            f"{found:.6f}, expected {expected:.6f}")


# What an operator's options are in ours: (line, step, slots).

def adam(options, rate, t):
    """Steps so far that correct no bias any more are what ONNX does at 0. It
    adds eps to the root before that is corrected."""
    betas = options.get("alpha", 0.9), options.get("beta", 0.999)
    step = t or 10 ** 6
    eps = options.get("epsilon", 1e-6) / (1 - betas[1] ** step) ** 0.5
    return (f"adam lr={rate} betas={betas[0]};{betas[1]} eps={eps}", step,
            ("exp_avg", "exp_avg_sq"))


def adagrad(options, rate, t):
    return (f"adagrad lr={rate} lr_decay={options.get('decay_factor', 0.0)} "
            f"eps={options.get('epsilon', 1e-6)}", t + 1, ("sum",))


def momentum(options, rate, t):
    """At 0 nothing is dampened, but the buffer given counts: as after PyTorch's
    first step."""
    dampening = 1 - options["beta"] if t else 0
    nesterov = str(options["mode"] == "nesterov").lower()
    return (f"sgd lr={rate} momentum={options['alpha']} nesterov={nesterov} "
            f"dampening={dampening}", t + 2, ("momentum_buffer",))


OPTIMIZERS = {"Adam": adam, "Adagrad": adagrad, "Momentum": momentum}


def check_optimizer(program, folder, case, node):
    """After rate and count come all weights, all gradients, all slots, and so
    out again."""
    options, worst = node["with"], 0
    if options.get("norm_coefficient_post", 0) != 0:
        return None, "norm_coefficient_post: PyTorch has no such decay"
    text, step, slots = OPTIMIZERS[node["op"]](
        options, float(case["input0"]), int(case["input1"]))
    text += f" weight_decay={options.get('norm_coefficient', 0.0)}"
    names = ("w", "gradient") + slots
    n = sum(k.startswith("input") for k in case) - 2
    n //= len(names)
    for i in range(n):
        state = {name: case[f"input{2 + k * n + i}"]
                 for k, name in enumerate(names)}
        paths = save(folder, given=state)
        out = os.path.join(folder, "out.safetensors")
        run(program, text, str(step), paths["given"], out)
        found = safetensors_io.load(out)
        for k, name in enumerate(("w",) + slots):
            expected = case[f"output{k * n + i}"].astype(np.float64)
            worst = max(worst, np.linalg.norm(found[name] - expected)
                        / np.linalg.norm(expected))
    return worst <= TOLERANCE, f"{text}: relative error {worst:.1e}"


def main():
    cli, program = sys.argv[1:]
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    folders = find_data()
    if not python or not folders:
        print(f"1..0 # SKIP {reason or 'no libonnx-testdata'}")
        return
    tap = Tap()
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, os.path.join(HERE, "reference",
                                             "onnx_cases.py"), folder]
                       + folders, check=True, timeout=120)
        for path in sorted(glob.glob(folder + "/test_*.json")):
            with open(path, encoding="utf-8") as file:
                node = json.load(file)
            name = os.path.basename(path)[:-len(".json")]
            node["with"].update(MEANT.get(name, {}))
            case = safetensors_io.load(path[:-len("json")] + "safetensors")
            try:
                good, text = check_loss(cli, folder, case, node) \
                    if node["op"] in LOSSES else \
                    check_optimizer(program, folder, case, node)
            except RuntimeError as failed:
                good, text = False, str(failed)
            if good is None:
                tap.skip(name, text)
            else:
                tap.check(good, f"{name}: {text}")
    tap.end()


if __name__ == "__main__":
    main()
