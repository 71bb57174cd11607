#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""PyTorch on a network file, as a worker: commands on stdin, answers on
stdout. The environment sets threads and binding.

load FILE off|learn    builds it and keeps the fastest of its settings
run N                  answers the seconds that N frames took
"""

import sys
import time

import torch
import torch.nn.functional as F

from netfile import Net


class BatchNorm(torch.nn.Module):
    """nn.BatchNorm2d, with one place to say whose statistics it uses."""

    def __init__(self, channels, batch):
        super().__init__()
        self.batch = batch
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer('mean', torch.zeros(channels))
        self.register_buffer('var', torch.ones(channels))

    def forward(self, x):
        return torch.batch_norm(x, self.weight, self.bias, self.mean,
                                self.var, self.batch, 0.1, 1e-5, False)


def make_module(layer):
    c = layer.shapes[0][0]
    if layer.kind == 'conv2d':
        return torch.nn.Conv2d(
            c, layer.output[0], layer.number('kernel', 1),
            layer.number('stride', 1), layer.number('padding', 0),
            bias=layer.options.get('bias', 'true') == 'true')
    if layer.kind == 'linear':
        return torch.nn.Linear(c, layer.output[0])
    if layer.kind == 'batch-norm':
        return BatchNorm(c, layer.options['statistics'] == 'batch')
    if layer.kind == 'max-pool2d':
        return torch.nn.MaxPool2d(
            layer.number('kernel', 1), layer.number('stride', 1),
            layer.number('padding', 0))
    if layer.kind == 'global-avg-pool':
        return torch.nn.AdaptiveAvgPool2d(1)
    return {'flatten': torch.nn.Flatten, 'relu': torch.nn.ReLU,
            'add': torch.nn.Identity}[layer.kind]()


class Model(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.steps = []
        self.parts = torch.nn.ModuleList()
        for layer in net.layers:
            part = make_module(layer)
            self.parts.append(part)
            act = {'relu': torch.relu_, 'sigmoid': torch.sigmoid}.get(
                layer.options.get('activation'))
            self.steps.append((layer.name, layer.inputs, part,
                               layer.kind == 'add', act))
        # what nobody reads later is forgotten, as a Sequential would
        last = {i: n for n, step in enumerate(self.steps) for i in step[1]}
        self.dead = [[i for i in last if last[i] == n]
                     for n in range(len(self.steps))]

    def forward(self, x):
        values = {None: x}
        for n, (name, inputs, part, add, act) in enumerate(self.steps):
            if add:
                y = values[inputs[0]] + values[inputs[1]]
            else:
                y = part(values[inputs[0]])
            if act:
                y = act(y)
            for i in self.dead[n]:
                del values[i]
            values[name] = y
        return y


class Runner:
    def __init__(self, path, learn, channels_last=False, foreach=False):
        torch.manual_seed(1)
        net = Net(path)
        self.model = Model(net)
        self.x = torch.rand(1, *net.input)
        if channels_last:
            fmt = torch.channels_last
            self.model = self.model.to(memory_format=fmt)
            self.x = self.x.to(memory_format=fmt)
        self.learn = learn
        if learn:
            with torch.no_grad():
                self.target = torch.rand_like(self.model(self.x))
            self.optimizer = torch.optim.Adam(self.model.parameters(), net.lr,
                                              foreach=foreach)

    def frame(self):
        if not self.learn:
            with torch.inference_mode():
                return self.model(self.x)
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.mse_loss(self.model(self.x), self.target)
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self, n):
        start = time.perf_counter()
        for _ in range(n):
            self.frame()
        return time.perf_counter() - start


def time_settings(path, learn, **settings):
    """Seconds per frame, the better of a few."""
    runner = Runner(path, learn, **settings)
    once = max(runner.run(1), runner.run(1))
    n = max(1, min(50, int(0.3 / once)))
    return min(runner.run(n) / n for _ in range(2))


def choose(path, learn):
    best = {'channels_last': False}
    times = {v: time_settings(path, learn, channels_last=v)
             for v in (False, True)}
    best['channels_last'] = min(times, key=times.get)
    if learn:
        times = {v: time_settings(path, learn, **best, foreach=v)
                 for v in (False, True)}
        best['foreach'] = min(times, key=times.get)
    return best


def main():
    torch.set_flush_denormal(True)
    runner = None
    for line in sys.stdin:
        words = line.split()
        if words[0] == 'load':
            settings = choose(words[1], words[2] == 'learn')
            runner = Runner(words[1], words[2] == 'learn', **settings)
            runner.run(2)
            kept = [key for key, value in settings.items() if value]
            print('ok', ' '.join(kept) or 'plain', flush=True)
        elif words[0] == 'run':
            print('ok', runner.run(int(words[1])), flush=True)
        else:
            print('error unknown command', words[0], flush=True)


if __name__ == '__main__':
    main()
