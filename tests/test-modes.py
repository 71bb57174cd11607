#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The engine against a plain model of the modes, frame by frame.

usage: test-modes.py path/to/partime
"""

import math
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import torch
    import torch.nn.functional as F
    import modes
    import rig as rigs

FRAMES = 50
# weights after 50 steps in float32 against double precision
TOLERANCE = 1e-3
OPTIMIZERS = ["adam lr=2e-3", "sgd lr=5e-2 momentum=0.9 nesterov=true",
              "rmsprop lr=1e-3", "adamw lr=2e-3 weight_decay=0.1",
              "sgd lr=5e-2"]
MODES = ["off", "exact", "partime", "delayed"]


def plain_training(tap):
    """The model's exact mode, cut in three, is the usual training loop."""
    groups = modes.read_network_text(rigs.CHAIN, [
        "learning.mode=exact", "pipeline.stages=2,2,-1",
        "learning.optimizer=adam lr=2e-3"])
    weights = random_weights(groups)
    frames = rigs.smooth_stream(20, (1, 16, 16), 3)
    model = modes.Model(groups, weights)
    model.run(frames)
    p = {k: torch.tensor(v, dtype=torch.float64, requires_grad=True)
         for k, v in weights.items()}
    optimizer = torch.optim.Adam(p.values(), lr=2e-3)
    x = torch.tensor(frames, dtype=torch.float64)
    for t in range(20):
        h = torch.stack([x[max(t - 1, 0), 0], x[t, 0]])[None]
        h = F.leaky_relu(F.conv2d(h, p["c1.weight"], p["c1.bias"], 2, 2), .1)
        h = torch.tanh(F.conv2d(h, p["c2.weight"], p["c2.bias"], 1, 1))
        h = F.leaky_relu(F.conv2d(h, p["c3.weight"], p["c3.bias"], 1, 1), .1)
        h = F.interpolate(h, scale_factor=2, mode="bilinear",
                          align_corners=False)
        h = F.leaky_relu(F.conv2d(h, p["c4.weight"], p["c4.bias"], 1, 1), .1)
        h = F.conv2d(h, p["c5.weight"], p["c5.bias"], 1, 1)
        optimizer.zero_grad()
        F.mse_loss(h, x[t][None]).backward()
        optimizer.step()
    error = rigs.relative(model.get_weights(),
                          {k: v.detach().numpy() for k, v in p.items()})
    tap.say(f"plain training: {error:.1e}")
    tap.check(error < 1e-12, "the model, exact, is plain training")


def by_hand(tap, mode):
    """y = a b c x with one number per stage, in Python's own floats."""
    text = "[network]\nwidth=1\nheight=1\nchannels=1\n" + "".join(
        f"[{n}]\ntype=conv2d\nfilters=1\nkernel=1\nbias=false\n"
        for n in "abc")
    groups = modes.read_network_text(text + "[learning]\nloss=mse\n", [
        f"learning.mode={mode}", "learning.optimizer=sgd lr=0.1",
        "learning.staleness=none", "pipeline.stages=1,1,-1"])
    first = {f"{n}.weight": [[[[v]]]] for n, v in zip("abc", (.5, -.7, .9))}
    x = [math.sin(.3 * f) + 1.2 for f in range(12)]
    a, b, c = .5, -.7, .9
    kept, to_a, to_b = [], {}, {}
    for f in range(12):
        # the step of each stage: forward, then what is due
        ha = a * x[f]
        old_a = (x[f], a) if mode == "partime" else (
            (x[f - 4], kept[f - 4][0]) if f >= 4 else None)
        if f - 2 in to_a:
            a -= .1 * to_a[f - 2] * old_a[0]
        hb, b_then = b * ha, b
        if f - 2 in to_b:
            h, w = (ha, b) if mode == "partime" else kept[f - 2][1:3]
            to_a[f] = to_b[f - 2] * w
            b -= .1 * to_b[f - 2] * h
        g = 2 * (c * hb - x[f])
        to_b[f] = g * c
        c -= .1 * g * hb
        kept.append((0, ha, b_then))
    model = modes.Model(groups, first)
    model.run(torch.tensor(x, dtype=torch.float64).reshape(-1, 1, 1, 1))
    got = [v.item() for v in model.get_weights().values()]
    error = max(abs(p - q) for p, q in zip(got, (a, b, c)))
    tap.say(f"{mode} by hand: {got} against {[a, b, c]}")
    tap.check(error < 1e-12 and abs(a - .5) > 1e-3,
              f"the model, {mode}, is the scheme worked out by hand")


def random_weights(groups, seed=5):
    """First weights of CHAIN without the command."""
    generator = torch.Generator().manual_seed(seed)
    weights, channels = {}, 2
    for name, options in groups:
        if options.get("type") == "conv2d":
            k, n = int(options["kernel"]), int(options["filters"])
            r = torch.rand((n, channels, k, k), generator=generator)
            weights[name + ".weight"] = ((r - .5) / k).numpy()
            weights[name + ".bias"] = torch.zeros(n).numpy()
            channels = n
    return weights


class Comparison:
    """One network on one stream: engine and model, any settings."""

    def __init__(self, tap, rig, name):
        self.tap, self.rig, self.name = tap, rig, name
        self.file = rig.write_network(name + ".cfg", rigs.NETWORKS[name])
        self.first = rig.init(self.file)
        channels, side = {"CHAIN": (1, (16, 16)), "SKIPS": (2, (8, 12)),
                          "LABELS": (3, (12, 12))}[name]
        self.frames = rigs.smooth_stream(FRAMES, (channels, *side), 11)
        self.targets = None
        if name == "LABELS":
            self.targets = rigs.smooth_stream(FRAMES, (4, 1, 1), 12)[..., 0, 0]

    def settings(self, mode, n, optimizer, extra=()):
        devices = ",".join(f"cpu:{k}" for k in range(min(n, os.cpu_count())))
        return [f"learning.mode={mode}", f"learning.optimizer={optimizer}",
                "pipeline.stages=" + rigs.CUTS[self.name][n],
                f"pipeline.devices={devices}", *extra]

    def run(self, settings):
        return self.rig.learn(self.file, settings, self.frames, self.first,
                              self.targets)

    def plain(self, settings, delay=2):
        return self.rig.model(self.file, settings, self.frames, self.first,
                              self.targets, delay)

    def compare(self, mode, n, optimizer, extra=()):
        settings = self.settings(mode, n, optimizer, extra)
        label = " ".join([self.name.lower(), mode, str(n), optimizer, *extra])
        try:
            weights, outputs, losses = self.run(settings)
        except RuntimeError as error:
            self.tap.say(error)
            return self.tap.check(False, label)
        wanted, wanted_outputs, wanted_losses = self.plain(settings)
        moved = rigs.relative(self.first, wanted)
        apart = rigs.relative(weights, wanted)
        output = rigs.relative(outputs, wanted_outputs)
        same = all(math.isnan(a) == math.isnan(b)
                   for a, b in zip(losses, wanted_losses))
        self.tap.say(f"weights {apart:.1e}, outputs {output:.1e} "
                     f"(the stream moved the weights by {moved:.1e})")
        # and the part of it that was learned
        good = apart < TOLERANCE and output < TOLERANCE and same and (
            mode == "off" or apart < 1e-2 * moved)
        return self.tap.check(good, label)


def all_modes(tap, rig):
    turn = 0
    for name in rigs.NETWORKS:
        case = Comparison(tap, rig, name)
        for n in (1, 2, 3, 5):
            for mode in MODES:
                case.compare(mode, n, OPTIMIZERS[turn % len(OPTIMIZERS)])
                turn += 1


def settings_of_learning(tap, rig):
    case = Comparison(tap, rig, "SKIPS")
    for optimizer in OPTIMIZERS:
        case.compare("partime", 3, optimizer, ["learning.warmup=10"])
    for staleness in ("none", "sqrt", "inverse"):
        for mode in ("partime", "delayed"):
            case.compare(mode, 3, "adam lr=1e-3", [
                f"learning.staleness={staleness}", "learning.warmup=0"])
    for mode in MODES[1:]:
        case.compare(mode, 3, "adam lr=2e-3", ["learning.interval=3"])
        case.compare(mode, 3, "sgd lr=5e-2", ["learning.target=input"])


def losses(tap, rig):
    """Each loss of images, from the settings' text to the weights."""
    case = Comparison(tap, rig, "SKIPS")
    for loss in ("l1", "charbonnier eps=0.01",
                 "ssim window=5 data_range=2 alpha=0.7",
                 "bce pos_weight=0.5;2", "optical-flow smoothness=0.2"):
        target = "pair" if loss.startswith("optical") else "input"
        case.compare("delayed", 3, "sgd lr=5e-3", [
            f"learning.loss={loss}", f"learning.target={target}"])


POLICIES = [
    ["learning.accumulate=4"],
    ["learning.accumulate=3", "learning.clip-norm=0.05",
     "learning.orthogonal=0.8"],
    ["learning.clip-norm=0.02"],
    ["learning.orthogonal=0.9"],
    ["learning.freeze=a;d*"],
    ["learning.freeze=*c*;b", "b.lr_scale=3"],
    ["a.lr_scale=0.5", "b.lr_scale=3", "d.lr_scale=0"],
    ["learning.schedule=step step_size=7 gamma=0.5", "learning.warmup=5"],
    ["learning.schedule=cosine T_max=12 eta_min=1e-5"],
    ["learning.schedule=plateau window=3 patience=1 factor=0.5 "
     "threshold=0.2 cooldown=1 min_factor=0.2"],
    ["learning.schedule=cosine T_max=9 restarts=true",
     "learning.accumulate=2"],
]


def policies(tap, rig):
    """Every control of how it learns, in every mode."""
    case = Comparison(tap, rig, "SKIPS")
    optimizers = ["sgd lr=5e-2 momentum=0.9 nesterov=true weight_decay=1e-2",
                  "adam lr=2e-3", "adamw lr=2e-3 weight_decay=0.1",
                  "rmsprop lr=1e-3 momentum=0.5"]
    for turn, extra in enumerate(POLICIES):
        for k, mode in enumerate(MODES[1:]):
            case.compare(mode, (1, 3)[(turn + k) % 2],
                         optimizers[(turn + k) % len(optimizers)], extra)


def schedules(tap):
    """The model's closed forms against PyTorch's classes."""
    kinds = torch.optim.lr_scheduler
    for text, make in {
            "step step_size=7 gamma=0.5":
                lambda o: kinds.StepLR(o, 7, 0.5),
            "cosine T_max=12 eta_min=0.01":
                lambda o: kinds.CosineAnnealingLR(o, 12, 0.01),
            "cosine T_max=9 restarts=true":
                lambda o: kinds.CosineAnnealingWarmRestarts(o, 9)}.items():
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.3)
        schedule, worst = make(optimizer), 0
        for t in range(12 if "T_max=12" in text else 40):
            rate = optimizer.param_groups[0]["lr"]
            worst = max(worst, abs(rate - modes.scheduled(text, 0.3, t)))
            optimizer.step()
            schedule.step()
        tap.check(worst < 1e-12, f"{text} is PyTorch's ({worst:.0e})")


def one_stage(tap, rig):
    """With one stage nothing is late."""
    case = Comparison(tap, rig, "CHAIN")
    extra = ["learning.warmup=10"]
    runs = [case.run(case.settings(m, 1, "adam lr=2e-3", extra))
            for m in MODES[1:]]
    for mode, (weights, outputs, _) in zip(MODES[2:], runs[1:]):
        good = rigs.relative(weights, runs[0][0]) == 0 and \
            (outputs == runs[0][1]).all()
        tap.check(good, f"one stage, {mode} is exact, bit for bit")


def wrong_models(tap, rig):
    """The comparison sees a token that comes one frame early or late."""
    case = Comparison(tap, rig, "CHAIN")
    for mode in ("partime", "delayed"):
        settings = case.settings(mode, 3, "sgd lr=5e-2",
                                 ["learning.staleness=none",
                                  "learning.warmup=0"])
        weights = case.run(settings)[0]
        for delay in (1, 3):
            apart = rigs.relative(case.plain(settings, delay)[0], weights)
            tap.say(f"{mode} against a model with a delay of {delay}: "
                    f"{apart:.1e}")
            tap.check(apart > TOLERANCE,
                      f"{mode}, a model with a delay of {delay} is refused")


def main():
    tap = Tap()
    torch.set_num_threads(1)
    plain_training(tap)
    by_hand(tap, "partime")
    by_hand(tap, "delayed")
    schedules(tap)
    with tempfile.TemporaryDirectory() as folder:
        rig = rigs.Rig(sys.argv[1], folder)
        for part in (all_modes, settings_of_learning, policies, losses,
                     one_stage, wrong_models):
            part(tap, rig)
    tap.end()


main()
