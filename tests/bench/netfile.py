# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads a network file: its layers, their shapes and their work."""

import configparser

RESERVED = ('network', 'learning', 'pipeline', 'output')


class Layer:
    def __init__(self, name, options, inputs, shapes):
        self.name = name
        self.kind = options['type']
        self.options = options
        self.inputs = inputs
        self.shapes = shapes
        self.output = self.infer()

    def number(self, key, default):
        return int(self.options.get(key, default))

    def infer(self):
        """The output's (C, H, W)."""
        c, h, w = self.shapes[0]
        if self.kind in ('conv2d', 'max-pool2d'):
            k, p = self.number('kernel', 1), self.number('padding', 0)
            s = self.number('stride', 1 if self.kind == 'conv2d' else k)
            return (self.number('filters', c), (h + 2 * p - k) // s + 1,
                    (w + 2 * p - k) // s + 1)
        if self.kind == 'global-avg-pool':
            return (c, 1, 1)
        if self.kind == 'flatten':
            return (c * h * w, 1, 1)
        if self.kind == 'linear':
            return (self.number('units', 0), 1, 1)
        if self.kind in ('batch-norm', 'relu', 'sigmoid', 'add'):
            return (c, h, w)
        raise ValueError(f'{self.name}: no shape known for {self.kind}')

    def flops(self):
        """Of the forward pass, a multiply and an add counted as two."""
        c = self.shapes[0][0]
        out, h, w = self.output
        if self.kind == 'conv2d':
            return 2 * out * h * w * c * self.number('kernel', 1) ** 2
        if self.kind == 'linear':
            return 2 * out * c
        return 0


class Net:
    def __init__(self, path):
        parser = configparser.ConfigParser(interpolation=None)
        parser.optionxform = str
        parser.read(path)
        net = parser['network']
        self.input = (int(net['channels']), int(net['height']),
                      int(net['width']))
        self.lr = float(parser['learning']['optimizer'].split('lr=')[1])
        self.layers, shapes, above = [], {None: self.input}, None
        for name in parser.sections():
            if name in RESERVED:
                continue
            options = dict(parser[name])
            inputs = options.get('inputs')
            inputs = inputs.split(';') if inputs else [above]
            layer = Layer(name, options, inputs, [shapes[i] for i in inputs])
            shapes[name] = layer.output
            self.layers.append(layer)
            above = name

    def flops(self):
        return sum(layer.flops() for layer in self.layers)
