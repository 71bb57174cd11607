#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ONNX models: ONNX's own tests, damaged files, and a model that PyTorch wrote
runs and learns as in PyTorch.

usage: test-onnx.py path/to/partime path/to/onnx-conformance
"""

import collections
import os
import re
import subprocess
import sys
import tempfile
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
import debian  # noqa: E402
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import torch
    import safetensors_io

FOLDERS = ("node", "pytorch-operator", "pytorch-converted", "simple")
# of libonnx-testdata 1.12: fewer would be a reader that lost something
EXPECTED = 651
DAMAGED = ("pytorch-converted/test_Conv2d_groups",
           "pytorch-converted/test_BatchNorm2d_eval",
           "node/test_resize_upsample_scales_linear",
           "node/test_shape_start_1_end_negative_1",
           "node/test_reshape_reordered_all_dims",
           "node/test_slice_neg_steps",
           "node/test_expand_dim_changed",
           "node/test_sce_NCd1d2d3_sum_weight_high_ii_expanded",
           "node/test_layer_normalization_4d_axis2_expanded",
           "node/test_range_float_type_positive_delta_expanded")
N_DAMAGED, FRAMES, SIZE = 2000, 12, (8, 12)


class Net(torch.nn.Module):
    """Two branches, so that a cut has to carry both."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.conv3 = torch.nn.Conv2d(8, 1, 1)

    def forward(self, x):
        a = torch.relu(self.bn(self.conv1(x)))
        b = torch.max_pool2d(a, 2)
        b = torch.nn.functional.leaky_relu(self.conv2(b), 0.1)
        b = torch.nn.functional.interpolate(b, scale_factor=2)
        return self.conv3(torch.cat([b, a], 1))


class Elementwise(torch.nn.Module):
    """Operands of several shapes, some of which learn."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.scale = torch.nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.position = torch.nn.Parameter(torch.rand(1, 4, *SIZE) - 0.5)
        self.columns = torch.nn.Parameter(torch.rand(SIZE[1]) + 1)
        self.prelu = torch.nn.PReLU(4)
        self.conv2 = torch.nn.Conv2d(4, 1, 1)

    def forward(self, x):
        a = torch.nn.functional.hardswish(self.conv1(x))
        a = self.prelu(a * self.scale + self.position)
        gate = torch.sigmoid(torch.nn.functional.adaptive_avg_pool2d(a, 1))
        b = torch.nn.functional.softplus(a * gate) / self.columns
        b = torch.maximum(b, 1 - a) ** 2
        return self.conv2(torch.sqrt(b + 0.5) - x)


class Heads(torch.nn.Module):
    """Outputs from within, also of what would be one layer without, and a
    branch that only one of them needs."""

    NAMES = "y", "normed", "branch", "plain", "active"

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.bn = torch.nn.BatchNorm2d(4)
        self.conv2 = torch.nn.Conv2d(4, 4, 3, padding=1)
        self.conv3 = torch.nn.Conv2d(4, 1, 1)
        self.head = torch.nn.Linear(4, 3)

    def forward(self, x):
        a = self.bn(self.conv1(x))
        b = self.conv2(torch.relu(a))
        c = b * torch.sigmoid(b)
        head = self.head(c.mean((2, 3)))
        return self.conv3(c), a, torch.softmax(head, 1), b, c


class Masked(torch.nn.Module):
    """Comparisons, choices by them, parts that are overwritten, whole numbers,
    and a product of constants."""

    def __init__(self):
        super().__init__()
        self.conv1 = torch.nn.Conv2d(1, 4, 3, padding=1)
        self.conv2 = torch.nn.Conv2d(4, 1, 3, padding=1)
        self.register_buffer("rows", torch.randn(SIZE[0], 3))
        self.register_buffer("columns", torch.randn(3, SIZE[1]))

    def forward(self, x):
        y = self.conv1(x) + self.rows @ self.columns
        y = torch.where(y > 0.1, y, 0.2 * torch.atan(y))
        peak = torch.max_pool2d(y, 3, 1, 1) == y
        y = y * 0.5 + y * peak.float()
        y = y.masked_fill((y < -0.2) & ~peak, -0.5)
        z = y.clone()
        z[:, 1:3, :, 2:7] = torch.tanh(y[:, 0:2, :, 3:8])
        steps = (10 * torch.maximum(y, z)).to(torch.int64)
        size = (10 * torch.sigmoid(y)).to(torch.int64) + 1
        steps = torch.div(steps, size, rounding_mode="trunc")
        return self.conv2(z + 0.1 * steps.to(torch.float32))


def find_data():
    """The folder of ONNX's tests."""
    return debian.find("libonnx-testdata", "libonnx-testdata/data")


def summarise(lines):
    """How many models each operator's refusal costs, most first."""
    found = collections.Counter()
    for line in lines:
        if line.startswith("refused"):
            name = re.search(r'of operator "(\w+)"', line)
            found[name.group(1) if name else line.split(": ", 1)[-1][:60]] += 1
    return ", ".join(f"{name} {n}" for name, n in found.most_common())


def check_conformance(tap, program, data):
    done = subprocess.run([program] + [os.path.join(data, f) for f in FOLDERS],
                          capture_output=True, text=True, check=False,
                          timeout=300)
    lines = done.stdout.splitlines()
    tap.say("\n".join(line for line in lines))
    tap.say("refused, by operator: " + summarise(lines))
    counts = dict((word, int(n)) for n, word in
                  (part.split() for part in lines[-1].split(", ")))
    tap.check(done.returncode == 0 and counts["failed"] == 0
              and counts["passed"] >= EXPECTED,
              f"ONNX's own tests: {lines[-1]}")


def check_damaged(tap, program, data):
    models = [os.path.join(data, name, "model.onnx") for name in DAMAGED]
    done = subprocess.run([program, "--fuzz", str(N_DAMAGED)] + models,
                          capture_output=True, text=True, check=False,
                          timeout=300)
    tap.say(done.stderr[-2000:])
    tap.check(done.returncode == 0, "damaged models: " +
              (done.stdout.splitlines() or [""])[-1])


def make_model(folder, name, kind=Net, names=("y",), **options):
    torch.manual_seed(3)
    net = kind().eval()
    if kind in (Net, Heads):
        net.bn.running_mean.uniform_(-0.5, 0.5)
        net.bn.running_var.uniform_(0.5, 2)
    path = os.path.join(folder, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, torch.zeros(1, 1, *SIZE), path,
                          input_names=["x"], output_names=list(names),
                          opset_version=13,
                          training=torch.onnx.TrainingMode.PRESERVE, **options)
    return net, path


def learn_in_torch(net, frames, targets):
    """All outputs; the first learns."""
    outputs = []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for x, target in zip(frames, targets):
        ys = net(torch.from_numpy(x[None]))
        ys = ys if isinstance(ys, tuple) else (ys,)
        outputs.append([y.detach().numpy()[0].copy() for y in ys])
        loss = torch.nn.functional.mse_loss(ys[0],
                                            torch.from_numpy(target[None]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [np.stack(of_one) for of_one in zip(*outputs)]


def run(cli, folder, model, *words):
    out = os.path.join(folder, "out.safetensors")
    done = subprocess.run(
        [cli, "learn", model, "-f", folder + "/frames.safetensors", "-O", out,
         "-s", "pipeline.devices=cpu:0", *words],
        capture_output=True, text=True, check=False, timeout=60)
    outputs = safetensors_io.load(out) if done.returncode == 0 else {}
    return outputs, done.stderr.strip().replace(folder, "")


def distance(found, expected, names):
    """The largest of all outputs."""
    found = [found.get("outputs." + name if i else "outputs")
             for i, name in enumerate(names)]
    if len(expected) != len(names) or any(y is None for y in found):
        return np.inf
    return max(np.abs(a - b).max() for a, b in zip(found, expected))


def check_learning(tap, cli, folder, kind):
    rng = np.random.default_rng(1)
    frames = rng.standard_normal((FRAMES, 1, *SIZE)).astype(np.float32)
    targets = rng.standard_normal((FRAMES, 1, *SIZE)).astype(np.float32)
    safetensors_io.save(folder + "/frames.safetensors", {"frames": frames})
    safetensors_io.save(folder + "/targets.safetensors", {"frames": targets})
    names = getattr(kind, "NAMES", ("y",))
    net, model = make_model(folder, kind.__name__ + ".onnx", kind, names)
    with torch.no_grad():
        expected = net(torch.from_numpy(frames))
    expected = [y.numpy() for y in (
        expected if isinstance(expected, tuple) else (expected,))]
    for stages in "1", "2":
        found, said = run(cli, folder, model, "-s", f"pipeline.stages={stages}")
        error = distance(found, expected, names)
        tap.check(error < 1e-4, f"{kind.__name__}: inference in {stages} "
                  f"stages: off by {error:.1e} {said}")
    with open(model + ".cfg", "w", encoding="utf-8") as file:
        file.write("[learning]\nmode=exact\nloss=mse\ntarget=labels\n"
                   "optimizer=sgd lr=0.05\n[output]\nkind=image\n")
    expected = learn_in_torch(net, frames, targets)
    for stages in "1", "2":
        found, said = run(cli, folder, model, "-s", f"pipeline.stages={stages}",
                          "-t", folder + "/targets.safetensors")
        error = distance(found, expected, names)
        tap.check(error < 1e-4, f"{kind.__name__}: learning in {stages} "
                  f"stages: off by {error:.1e} {said}")


def check_open_sizes(tap, cli, folder):
    net, model = make_model(folder, "open.onnx",
                          dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}})
    sizes = ["-s", "network.height=8", "-s", "network.width=12"]
    for words, code, says in (([], 1, ["dimension 2", "network.height"]),
                              (sizes, 0, ["1x4x8x12", "batch-norm"])):
        done = subprocess.run([cli, "info", model, *words], check=False,
                              capture_output=True, text=True, timeout=60)
        tap.check(done.returncode == code and
                  all(word in done.stderr + done.stdout for word in says),
                  f"open sizes, with {words}: "
                  + done.stderr.strip().replace(folder, ""))
    frames = safetensors_io.load(folder + "/frames.safetensors")["frames"]
    with torch.no_grad():
        expected = [net(torch.from_numpy(frames)).numpy()]
    found, said = run(cli, folder, model)
    error = distance(found, expected, ("y",))
    tap.check(error < 1e-4, "open sizes: those of the frames, off by "
              f"{error:.1e} {said}")


def main():
    tap = Tap()
    cli, program = sys.argv[1:3]
    torch.set_num_threads(1)
    data = find_data()
    if data:
        check_conformance(tap, program, data)
        check_damaged(tap, program, data)
    else:
        tap.skip("ONNX's own tests", "libonnx-testdata cannot be had")
    with tempfile.TemporaryDirectory() as folder:
        check_learning(tap, cli, folder, Net)
        check_learning(tap, cli, folder, Elementwise)
        check_learning(tap, cli, folder, Heads)
        check_learning(tap, cli, folder, Masked)
        check_open_sizes(tap, cli, folder)
    tap.end()


if __name__ == "__main__":
    main()
