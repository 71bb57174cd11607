#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""PyTorch on a GPU, on a network file, as a worker: commands on stdin, answers
on stdout. What is compared takes turns, so several are kept side by side.

load SLOT KIND FILE off|learn PRECISION    eager, graph, compile, or partime:N,
                 the authors' own in N stages; answers the seconds that took
run SLOT N       answers the seconds that N frames took
drop             forgets all slots
about            what there is, as JSON
matmul PRECISION answers FLOP/s of a large product
copy             answers bytes/s, read and written, of a large copy
link             answers bytes/s to a second GPU, or without one from the host

A frame and its target come from pinned host memory and the output goes back
there, as they do with us."""

import argparse
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time
import types

import torch
import torch.nn.functional as F

from netfile import Net
from peer import Model, make_module

PRECISIONS = ('fp32', 'tf32', 'bf16')


class Place:
    """The GPU; or, to rehearse, the CPU."""

    def __init__(self, name):
        self.device = torch.device(name)
        self.cuda = self.device.type == 'cuda'

    def wait(self):
        if self.cuda:
            torch.cuda.synchronize()

    def pinned(self, tensor):
        return tensor.pin_memory() if self.cuda else tensor

    def set_precision(self, precision):
        if precision not in PRECISIONS:
            raise ValueError(f'precision {precision}, expected one of '
                             + ', '.join(PRECISIONS))
        torch.backends.cuda.matmul.allow_tf32 = precision != 'fp32'
        torch.backends.cudnn.allow_tf32 = precision != 'fp32'
        torch.backends.cudnn.benchmark = True

    def autocast(self, precision):
        """Its cache of weights would outlive a captured step."""
        if precision != 'bf16':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16,
                              cache_enabled=False)


class Frames:
    """What comes and goes with each frame."""

    def __init__(self, place, shape, output):
        self.host = place.pinned(torch.rand(1, *shape))
        self.x = self.host.to(place.device,
                              memory_format=torch.channels_last)
        self.target_host = place.pinned(torch.rand(output))
        self.target = self.target_host.to(place.device)
        self.y_host = place.pinned(torch.empty(output))

    def upload(self, learn):
        self.x.copy_(self.host, non_blocking=True)
        if learn:
            self.target.copy_(self.target_host, non_blocking=True)

    def download(self, y):
        self.y_host.copy_(y.detach(), non_blocking=True)


class Eager:
    def __init__(self, place, net, learn, precision):
        torch.manual_seed(1)
        self.place, self.learn, self.precision = place, learn, precision
        self.model = Model(net).to(place.device,
                                   memory_format=torch.channels_last)
        shape = (1, *net.layers[-1].output)
        if net.layers[-1].kind in ('linear', 'flatten'):
            shape = shape[:2]
        self.frames = Frames(place, net.input, shape)
        self.optimizer = self.make_optimizer(net.lr) if learn else None
        self.forward = self.model

    def make_optimizer(self, rate):
        fast = {'fused': True, 'capturable': True} if self.place.cuda else {}
        return torch.optim.Adam(self.model.parameters(), rate, **fast)

    def work(self):
        """All but the copies from and to the host."""
        with torch.set_grad_enabled(self.learn):
            with self.place.autocast(self.precision):
                y = self.forward(self.frames.x)
                if self.learn:
                    loss = F.mse_loss(y, self.frames.target.to(y.dtype))
            if self.learn:
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
        return y

    def step(self):
        self.frames.upload(self.learn)
        self.frames.download(self.work())

    def run(self, n):
        self.place.wait()
        start = time.perf_counter()
        for _ in range(n):
            self.step()
        self.place.wait()
        return time.perf_counter() - start


class Graph(Eager):
    """The whole step captured, as PyTorch's manual shows it; where the copies
    do not let themselves be captured, all but them."""

    def __init__(self, *args):
        super().__init__(*args)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                super().step()
        torch.cuda.current_stream().wait_stream(side)
        try:
            self.capture(super().step)
            self.whole = True
        except RuntimeError as error:
            print('not captured whole:', error, file=sys.stderr)
            self.y = self.capture(self.work)
            self.whole = False

    def capture(self, work):
        if self.learn:
            self.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            return work()

    def step(self):
        if self.whole:
            self.graph.replay()
            return
        self.frames.upload(self.learn)
        self.graph.replay()
        self.frames.download(self.y)


class Compiled(Eager):
    def __init__(self, *args):
        super().__init__(*args)
        self.forward = torch.compile(self.model, mode='max-autotune')

    def step(self):
        torch.compiler.cudagraph_mark_step_begin()
        super().step()


def sequential(net):
    """A chain as PyTorch's Sequential."""
    parts = []
    for layer in net.layers:
        parts.append(make_module(layer))
        activation = layer.options.get('activation')
        if activation:
            parts.append({'relu': torch.nn.ReLU,
                          'sigmoid': torch.nn.Sigmoid}[activation]())
    return torch.nn.Sequential(*parts)


def authors_resnet(net):
    """Theirs, of as many blocks in each of the four groups."""
    from extras.networks import build_resnet
    ends = [layer.name for layer in net.layers if layer.kind == 'add']
    blocks = [sum(name.startswith(f'g{group}b') for name in ends)
              for group in range(1, 5)]
    return build_resnet(blocks, num_classes=net.layers[-1].output[0])


class Authors:
    """github.com/sailab-code/partime, all stages on one GPU, its whole step
    captured. Its forward() waits for the frame."""

    def __init__(self, place, net, learn, precision, folder, stages):
        if not folder:
            raise ValueError('no copy of sailab-code/partime was named')
        sys.path.insert(0, str(folder))
        # a stray import of theirs
        sys.modules.setdefault('zmq', types.ModuleType('zmq')).device = None
        from partime.pipeline import Pipeline
        chain = all(len(layer.inputs) == 1 for layer in net.layers)
        model = (sequential(net) if chain else authors_resnet(net)).to(
            place.device, memory_format=torch.channels_last)
        self.frame = torch.rand(1, *net.input)
        with torch.no_grad(), place.autocast(precision):
            target = torch.rand_like(model(self.frame.to(place.device)))
        n = len(model)
        balance = [n // stages + (i < n % stages) for i in range(stages)]
        self.place = place
        with place.autocast(precision):
            self.pipeline = Pipeline(
                model, self.frame, balance, [0], True,
                (lambda y: F.mse_loss(y, target)) if learn else None,
                optimizer_settings=(torch.optim.Adam, {
                    'lr': net.lr, 'fused': True, 'capturable': True})
                if learn else None)

    def run(self, n):
        self.place.wait()
        start = time.perf_counter()
        for _ in range(n):
            self.pipeline.forward(self.frame)
        self.place.wait()
        return time.perf_counter() - start


def seconds_of(place, work, n):
    """Median of five."""
    times = []
    for _ in range(6):
        place.wait()
        start = time.perf_counter()
        for _ in range(n):
            work()
        place.wait()
        times.append((time.perf_counter() - start) / n)
    return statistics.median(times[1:])


class Bench:
    def __init__(self, device, partime):
        self.place, self.partime, self.slots = Place(device), partime, {}

    def load(self, slot, kind, path, mode, precision):
        start = time.perf_counter()
        net, learn = Net(path), mode == 'learn'
        self.place.set_precision(precision)
        if kind.startswith('partime:'):
            runner = Authors(self.place, net, learn, precision, self.partime,
                             int(kind.split(':')[1]))
        else:
            runner = {'eager': Eager, 'graph': Graph, 'compile': Compiled}[
                kind](self.place, net, learn, precision)
        runner.run(3)
        self.slots[slot] = runner, precision
        return time.perf_counter() - start

    def run(self, slot, n):
        runner, precision = self.slots[slot]
        self.place.set_precision(precision)
        return runner.run(int(n))

    def drop(self):
        self.slots.clear()
        if self.place.cuda:
            torch.cuda.empty_cache()
        return ''

    def about(self):
        found = {'torch': torch.__version__, 'cuda': torch.version.cuda,
                 'cudnn': torch.backends.cudnn.version(), 'gpus': 0}
        if self.place.cuda:
            about = torch.cuda.get_device_properties(0)
            found |= {'gpus': torch.cuda.device_count(), 'name': about.name,
                      'multiprocessors': about.multi_processor_count,
                      'capability': f'{about.major}.{about.minor}',
                      'memory': about.total_memory}
        return json.dumps(found)

    def matmul(self, precision):
        n = 8192 if self.place.cuda else 512
        kind = torch.bfloat16 if precision == 'bf16' else torch.float32
        self.place.set_precision(precision)
        a, b = (torch.randn(n, n, device=self.place.device, dtype=kind)
                for _ in range(2))
        out = torch.empty_like(a)
        return 2 * n ** 3 / seconds_of(
            self.place, lambda: torch.mm(a, b, out=out), 5)

    def copy(self):
        a = torch.randn((1 << 30) if self.place.cuda else 1 << 20,
                        device=self.place.device)
        b = torch.empty_like(a)
        return 8 * a.numel() / seconds_of(self.place, lambda: b.copy_(a), 5)

    def link(self):
        a = self.place.pinned(torch.randn(1 << 24))
        there = self.place.device
        if self.place.cuda and torch.cuda.device_count() > 1:
            a, there = a.to('cuda:0'), 'cuda:1'
        b = torch.empty_like(a, device=there)
        return 4 * a.numel() / seconds_of(
            self.place, lambda: b.copy_(a, non_blocking=True), 5)

    COMMANDS = ('load', 'run', 'drop', 'about', 'matmul', 'copy', 'link')

    def answer(self, words):
        if not words or words[0] not in self.COMMANDS:
            return 'error unknown command'
        try:
            return f'ok {getattr(self, words[0])(*words[1:])}'
        except Exception as error:  # the caller's table says what went wrong
            text = ' '.join(str(error).split())
            return f'error {type(error).__name__}: {text[:200]}'


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='cuda:0')
    parser.add_argument('--partime', type=pathlib.Path)
    args = parser.parse_args()
    # libraries print, too
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    bench = Bench(args.device, args.partime)
    for line in sys.stdin:
        print(bench.answer(line.split()), file=answers, flush=True)


if __name__ == '__main__':
    main()
