# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The four modes in plain, single-threaded PyTorch, frame by frame, written
from the table in the documentation of the modes and not from the engine.

Stage i, working on frame f:
  forward with the weights it has; then, if a token is due, backward through
    exact    its activations and weights of frame f, token sent on frame f
    partime  its activations and weights of frame f, token sent on frame f-2
    delayed  those of the frame the token is about, f-2(n-1-i), same token
  then its own update, and a token to the stage before.
The last stage's token is the gradient of its own loss on frame f.
"""

import fnmatch
import math

import torch
import torch.nn.functional as F

from losses import TARGETS, make_loss

INPUT = -1
RESERVED = ("network", "learning", "pipeline", "output")


def read_network(path, settings=()):
    with open(path, encoding="utf-8") as f:
        return read_network_text(f.read(), settings)


def read_network_text(text, settings=()):
    """Returns [(group, {key: value})] with "group.key=value" settings on
    top."""
    groups = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            groups.append((line[1:-1], {}))
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            groups[-1][1][key.strip()] = value.strip()
    for setting in settings:
        where, value = setting.split("=", 1)
        group, key = where.rsplit(".", 1)
        if group not in dict(groups):
            groups.append((group, {}))
        dict(groups)[group][key] = value
    return groups


def pair(text):
    numbers = [int(n) for n in text.replace(",", ";").split(";")]
    return tuple(numbers * 2 if len(numbers) == 1 else numbers)


def activate(x, options):
    name = options.get("activation", "none")
    if name == "leaky-relu":
        return F.leaky_relu(x, float(options.get("negative_slope", 0.01)))
    return x if name == "none" else ACTIVATIONS[name](x)


ACTIVATIONS = {"relu": F.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh,
               "gelu": F.gelu, "silu": F.silu}


def run_layer(options, x, w, learns):
    """@x: list of inputs, @w: dict of weights and buffers."""
    get = options.get
    kind = options["type"]
    if kind == "conv2d":
        y = F.conv2d(x[0], w["weight"], w.get("bias"),
                     pair(get("stride", "1")), pair(get("padding", "0")),
                     pair(get("dilation", "1")), int(get("groups", 1)))
    elif kind == "linear":
        y = F.linear(x[0], w["weight"], w.get("bias"))
    elif kind == "batch-norm":
        running = get("statistics", "batch") == "running"
        keep = {n: w[n].clone() for n in ("running_mean", "running_var")}
        y = F.batch_norm(x[0], keep["running_mean"], keep["running_var"],
                         w["weight"], w["bias"], not running,
                         float(get("momentum", 0.1)), float(get("eps", 1e-5)))
        if learns and not running:
            for n, v in keep.items():
                w[n].copy_(v)
    elif kind == "leaky-relu":
        y = F.leaky_relu(x[0], float(get("negative_slope", 0.01)))
    elif kind in ACTIVATIONS:
        y = ACTIVATIONS[kind](x[0])
    elif kind == "concat":
        y = torch.cat(x, 1)
    elif kind == "slice":
        y = x[0].narrow(1, int(get("start", "0")), int(get("length")))
    elif kind == "add":
        y = sum(x[1:], x[0])
    elif kind == "flatten":
        y = x[0].flatten(1)
    elif kind == "upsample":
        mode = get("mode", "nearest")
        corners = {} if mode == "nearest" else {"align_corners": False}
        y = F.interpolate(x[0], scale_factor=pair(get("scale")), mode=mode,
                          **corners)
    elif kind in ("max-pool2d", "avg-pool2d"):
        pool = F.max_pool2d if kind == "max-pool2d" else F.avg_pool2d
        y = pool(x[0], pair(get("kernel")),
                 pair(get("stride", get("kernel"))),
                 pair(get("padding", "0")))
    elif kind == "global-avg-pool":
        y = x[0].mean((2, 3), keepdim=True)
    elif kind == "softmax":
        y = F.softmax(x[0], 1)
    else:
        raise ValueError(f"layer type {kind}")
    return activate(y, options)


def words(text):
    """"adam lr=1e-3" as a name and a dict."""
    name, *rest = text.split()
    return name, dict(r.split("=", 1) for r in rest)


def scheduled(text, base, updates):
    """The rate of torch.optim.lr_scheduler's StepLR, CosineAnnealingLR and
    CosineAnnealingWarmRestarts after that many steps: closed forms that
    tests hold against the classes."""
    name, options = words(text)
    number = {k: float(v) for k, v in options.items() if k != "restarts"}
    if name == "step":
        return base * number.get("gamma", 0.1) ** (
            updates // int(number["step_size"]))
    if name == "cosine":
        top, least = number["T_max"], number.get("eta_min", 0)
        t = updates % top if options.get("restarts") == "true" else \
            min(updates, top)
        return least + (base - least) * (1 + math.cos(math.pi * t / top)) / 2
    return base


def make_optimizer(text, params):
    name, options = words(text)
    arguments = {}
    for key, value in options.items():
        if key == "betas":
            arguments[key] = tuple(float(v) for v in value.split(";"))
        elif value in ("true", "false"):
            arguments[key] = value == "true"
        else:
            arguments[key] = float(value)
    kind = {"sgd": torch.optim.SGD, "rmsprop": torch.optim.RMSprop,
            "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[name]
    if name == "sgd":
        arguments.setdefault("lr", 1e-2)
    return kind(params, **arguments)


class Plateau:
    """torch.optim.lr_scheduler.ReduceLROnPlateau, of the mean loss of each
    window of frames."""

    def __init__(self, text):
        name, options = words(text)
        self.on, self.losses = name == "plateau", []
        number = {k: float(v) for k, v in options.items() if self.on}
        self.window = int(number.get("window", 100))
        self.optimizer = torch.optim.SGD([torch.zeros(1)], lr=1)
        self.schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(
            self.optimizer, factor=number.get("factor", 0.1),
            patience=int(number.get("patience", 10)),
            threshold=number.get("threshold", 1e-4),
            cooldown=int(number.get("cooldown", 0)),
            min_lr=number.get("min_factor", 0), eps=0)

    def look(self, loss):
        """What rates are multiplied by."""
        self.losses.append(loss)
        if self.on and len(self.losses) == self.window:
            self.schedule.step(sum(self.losses) / self.window)
            self.losses = []
        return self.optimizer.param_groups[0]["lr"]


class Stage:
    """Layers first..last of the network, and time as this stage sees it."""

    def __init__(self, model, index, layers):
        self.model, self.index, self.layers = model, index, layers
        self.weights = {(k, n): v for k in layers
                        for n, v in model.weights[k].items()}
        self.learned = [key for key in self.weights
                        if not key[1].startswith("running_")
                        and model.lr_scale(key[0]) > 0]
        # a group of its own for each, since layers scale their rates
        self.optimizer = make_optimizer(
            model.optimizer, [{"params": [self.weights[k]]}
                              for k in self.learned]
        ) if self.learned else None
        self.rate = self.optimizer.param_groups[0]["lr"] if self.learned else 0
        self.updates = 0
        self.sums, self.n_summed = None, 0
        self.means = {}
        self.runs = {}           # frame: the graph of its forward pass
        self.sent = {}           # frame: token to the stage before

    def forward(self, f, wires, learns):
        """@wires: {layer index: tensor} from before. Returns what goes on."""
        # cut the graph here: what is before belongs to another stage
        inner = {k: v.detach().requires_grad_(k != INPUT)
                 for k, v in wires.items()}
        params = {key: (v.detach().clone().requires_grad_()
                        if key in self.learned else v)
                  for key, v in self.weights.items()}
        values = dict(inner)
        for k in self.layers:
            inputs, options = self.model.layers[k]
            own = {n: p for (j, n), p in params.items() if j == k}
            values[k] = run_layer(options, [values[i] for i in inputs], own,
                                  learns)
        out = {k: values[k] for k in self.model.crossing(self.layers[-1])}
        self.runs[f] = (inner, params, out)
        return out

    def backward(self, f, through, gradients, scale):
        """@gradients: {layer index: dL/dy}; @scale: of the rate, by the last
        stage. Updates; leaves a token."""
        inner, params, out = self.runs[through]
        keys = [k for k in out if k in gradients and out[k].requires_grad]
        froms = [v for k, v in inner.items() if k != INPUT]
        leaves = [params[key] for key in self.learned]
        found = torch.autograd.grad(
            [out[k] for k in keys], froms + leaves,
            [gradients[k] for k in keys], allow_unused=True,
            retain_graph=True) if froms + leaves else []
        found = [torch.zeros_like(v) if g is None else g
                 for g, v in zip(found, froms + leaves)]
        self.sent[f] = (dict(zip([k for k in inner if k != INPUT], found)),
                        scale)
        if self.learned:
            self.update(found[len(froms):], scale)

    def accumulate(self, gradients):
        """The mean of as many as make an update, or None before."""
        n = self.model.accumulate
        self.sums = gradients if self.sums is None else [
            a + b for a, b in zip(self.sums, gradients)]
        self.n_summed += 1
        if self.n_summed < n:
            return None
        found, self.sums, self.n_summed = self.sums, None, 0
        return [g / n for g in found]

    def project(self, key, g):
        """What of g is not along the running mean of the ones before."""
        momentum = self.model.orthogonal
        if momentum == 0:
            return g
        mean = self.means.get(key, torch.zeros_like(g))
        square = (mean * mean).sum()
        u = g - (g * mean).sum() / square * mean if square > 0 else g
        self.means[key] = momentum * mean + (1 - momentum) * g
        return u

    def update(self, gradients, scale):
        model = self.model
        gradients = self.accumulate(gradients)
        if gradients is None:
            return
        rate = scale * scheduled(model.schedule, self.rate, self.updates) / \
            model.divisor(self.index)
        if model.warmup > 0:
            rate *= min(1.0, (self.updates + 1) / model.warmup)
        for i, (key, g) in enumerate(zip(self.learned, gradients)):
            self.optimizer.param_groups[i]["lr"] = \
                rate * model.lr_scale(key[0])
            self.weights[key].grad = self.project(key, g)
        if model.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(
                [self.weights[k] for k in self.learned], model.clip_norm)
        self.optimizer.step()
        self.updates += 1


class Model:
    """A network over its stages. @weights: {"layer.weight": array}. @delay
    is the 2 of the table; tests change it to see themselves fail."""

    def __init__(self, groups, weights, delay=2, dtype=torch.float64):
        options = dict(groups)
        names = [g for g, _ in groups if g not in RESERVED]
        self.network = options["network"]
        self.dtype = dtype
        self.layers = []
        for k, name in enumerate(names):
            sources = options[name].get("inputs")
            inputs = [k - 1] if not sources else [
                INPUT if s == "input" else names.index(s)
                for s in sources.strip(";").split(";")]
            self.layers.append((inputs, options[name]))
        self.names = names
        self.weights = [
            {key[len(n) + 1:]: torch.tensor(v, dtype=dtype)
             for key, v in weights.items()
             if key.rsplit(".", 1)[0] == n} for n in names]
        learning = options.get("learning", {})
        self.mode = learning.get("mode", "partime")
        self.delay = 0 if self.mode == "exact" else delay
        self.optimizer = learning.get("optimizer", "adam")
        self.loss_text = learning.get("loss", "mse")
        self.loss = make_loss(self.loss_text)
        self.target = learning.get("target", "auto")
        self.interval = int(learning.get("interval", 1))
        self.accumulate = int(learning.get("accumulate", 1))
        self.clip_norm = float(learning.get("clip-norm", 0))
        self.orthogonal = float(learning.get("orthogonal", 0))
        self.schedule = learning.get("schedule", "constant")
        self.plateau = Plateau(self.schedule)
        self.freeze = [p for p in learning.get("freeze", "").split(";") if p]
        self.read_cut(options.get("pipeline", {}).get("stages", "-1"))
        self.read_staleness(learning)

    def read_cut(self, text):
        counts = [int(c) for c in text.replace(";", ",").split(",")]
        rest = len(self.layers) - sum(c for c in counts if c >= 0)
        counts = [rest if c < 0 else c for c in counts]
        assert sum(counts) == len(self.layers), text
        self.stages, at = [], 0
        for i, count in enumerate(counts):
            self.stages.append(Stage(self, i, list(range(at, at + count))))
            at += count

    def read_staleness(self, learning):
        self.staleness = learning.get("staleness", "auto")
        if self.staleness == "auto":
            self.staleness = "inverse" if self.mode == "partime" else "none"
        self.warmup = int(learning.get("warmup", -1))
        if self.warmup < 0:
            late = self.mode in ("partime", "delayed") and \
                len(self.stages) > 1 and self.staleness != "none"
            self.warmup = 100 if late else 0

    def lr_scale(self, k):
        if any(fnmatch.fnmatch(self.names[k], p) for p in self.freeze):
            return 0.0
        return float(self.layers[k][1].get("lr_scale", 1))

    def crossing(self, last):
        """What the stages after layer @last still read, or the output."""
        if last == len(self.layers) - 1:
            return [last]
        return sorted({i for inputs, _ in self.layers[last + 1:]
                       for i in inputs if i <= last})

    def age(self, i):
        return self.delay * (len(self.stages) - 1 - i)

    def divisor(self, i):
        age = 1 + self.age(i)
        return {"none": 1, "sqrt": age ** 0.5, "inverse": age}[self.staleness]

    def input_and_target(self, frames, f, label):
        """Newest frame last; before the first frame, the first again."""
        at = lambda t: frames[max(t, 0)][None]
        target = self.target
        if target == "auto":
            target = TARGETS.get(words(self.loss_text)[0], "input")
        lag = 1 if target == "next" else 0
        n = int(self.network.get("frames", 1))
        x = torch.cat([at(f - lag - (n - 1 - i)) for i in range(n)], 1)
        if target == "pair":
            wanted = torch.cat([at(f - 1), at(f)], 1) if f > 0 else None
        elif target == "next":
            wanted = at(f) if f > 0 else None
        else:
            wanted = label if target == "labels" else at(f)
        return x, wanted

    def step(self, f, x, wanted, learns):
        """One frame through all stages; returns the output and the loss."""
        wires, loss = {INPUT: x}, None
        n = len(self.stages)
        for i, stage in enumerate(self.stages):
            wires = stage.forward(f, wires, learns)
            if self.mode != "exact":
                loss = self.learn(i, f, wires, wanted, learns)
        output = wires[len(self.layers) - 1].detach().clone()
        if self.mode == "exact":
            # no stage updates before all have seen the frame
            for i in range(n - 1, -1, -1):
                found = self.learn(i, f, wires, wanted, learns)
                loss = found if i == n - 1 else loss
        for i, stage in enumerate(self.stages):
            old = f - self.age(i) - self.delay
            stage.runs.pop(old, None)
            stage.sent.pop(f - self.delay - 1, None)
        return output, loss

    def learn(self, i, f, out, wanted, learns):
        stage, last = self.stages[i], i == len(self.stages) - 1
        if self.mode == "off":
            return None
        if not last:
            token = self.stages[i + 1].sent.get(f - self.delay)
            if token is not None:
                through = f - self.age(i) if self.mode == "delayed" else f
                stage.backward(f, through, *token)
            return None
        if wanted is None:
            return None
        y = out[len(self.layers) - 1]
        leaf = y.detach().requires_grad_()
        loss = self.loss(leaf, wanted)
        if not learns:
            return float(loss)
        (g,) = torch.autograd.grad(loss, leaf)
        stage.backward(f, f, {len(self.layers) - 1: g},
                       self.plateau.look(float(loss)))
        return float(loss)

    def run(self, frames, labels=None):
        """@frames (T, C, H, W); returns outputs and losses. A token whose
        frame never comes is dropped."""
        frames = torch.as_tensor(frames).to(self.dtype)
        outputs, losses = [], []
        for f in range(len(frames)):
            label = None
            if labels is not None:
                label = torch.as_tensor(labels[f]).to(self.dtype)[None]
            x, wanted = self.input_and_target(frames, f, label)
            learns = self.mode != "off" and wanted is not None and \
                f % self.interval == 0
            output, loss = self.step(f, x, wanted, learns)
            outputs.append(output[0])
            losses.append(float("nan") if loss is None else loss)
        return torch.stack(outputs).numpy(), losses

    def get_weights(self):
        return {f"{self.names[k]}.{n}": v.detach().numpy()
                for k, own in enumerate(self.weights)
                for n, v in own.items()}
