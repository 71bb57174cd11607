#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes the network files of the benchmarks into a folder."""

import pathlib
import sys

LEARNING = """[learning]
mode={mode}
loss=mse
target=labels
# small, so that nothing saturates while it is timed
optimizer=adam lr=1e-6
warmup=0
interval={interval}
"""


class Net:
    """The text of a network file, layer by layer."""

    def __init__(self, width, height, channels=3, kind='raw', interval=1):
        self.kind, self.interval = kind, interval
        self.text = [f'[network]\nwidth={width}\nheight={height}\n'
                     f'channels={channels}\n']

    def layer(self, name, kind, **options):
        lines = [f'[{name}]', f'type={kind}']
        lines += [f'{key}={value}' for key, value in options.items()]
        self.text.append('\n'.join(lines) + '\n')
        return name

    def write(self, path):
        path.write_text('\n'.join(self.text + [
            LEARNING.format(mode='partime', interval=self.interval),
            f'[output]\nkind={self.kind}\n']))


def chain(size, widths, kernel, last='relu', kind='raw'):
    """Same-size convolutions, one per entry of widths."""
    net = Net(size, size, kind=kind)
    for i, filters in enumerate(widths):
        end = i == len(widths) - 1
        net.layer(f'conv{i + 1}', 'conv2d', filters=filters, kernel=kernel,
                  padding=kernel // 2, activation=last if end else 'relu')
    return net


def norm(net, name, side, **options):
    """One pixel has no statistics of its own."""
    return net.layer(name, 'batch-norm',
                     statistics='batch' if side > 1 else 'running', **options)


def bottleneck(net, name, above, side, width, stride, project):
    """ResNet's 1x1, 3x3, 1x1 block; the stride is on the 3x3."""
    short, out = above, (side + stride - 1) // stride
    if project:
        short = net.layer(f'{name}down', 'conv2d', filters=4 * width,
                          kernel=1, stride=stride, bias='false',
                          inputs=above)
        short = norm(net, f'{name}downnorm', out)
    net.layer(f'{name}conv1', 'conv2d', filters=width, kernel=1,
              bias='false', inputs=above)
    norm(net, f'{name}norm1', side, activation='relu')
    net.layer(f'{name}conv2', 'conv2d', filters=width, kernel=3,
              stride=stride, padding=1, bias='false')
    norm(net, f'{name}norm2', out, activation='relu')
    net.layer(f'{name}conv3', 'conv2d', filters=4 * width, kernel=1,
              bias='false')
    last = norm(net, f'{name}norm3', out)
    net.layer(f'{name}add', 'add', inputs=f'{last};{short}')
    return net.layer(f'{name}relu', 'relu'), out


def pooled(size, layers, every):
    """PARTIME's experiment B: in a chain of convolutions, every so many
    layers one is a pooling; the mean over the picture comes last."""
    net = Net(size, size)
    net.layer('conv1', 'conv2d', filters=32, kernel=5, padding=2,
              activation='relu')
    for i in range(layers - 3):
        if i % every == 0:
            net.layer(f'pool{i + 2}', 'max-pool2d', kernel=2, stride=2)
        else:
            net.layer(f'conv{i + 2}', 'conv2d', filters=32, kernel=5,
                      padding=2, activation='relu')
    net.layer(f'conv{layers}', 'conv2d', filters=1, kernel=5, padding=2,
              activation='sigmoid')
    net.layer('mean', 'global-avg-pool')
    return net


def folded_bottleneck(net, name, above, width, stride, project):
    """The same as models for inference have it: batch-norm is in the
    convolutions, and the last of them adds what comes in beside it."""
    short = above
    if project:
        short = net.layer(f'{name}down', 'conv2d', filters=4 * width,
                          kernel=1, stride=stride, inputs=above)
    net.layer(f'{name}conv1', 'conv2d', filters=width, kernel=1,
              activation='relu', inputs=above)
    last = net.layer(f'{name}conv2', 'conv2d', filters=width, kernel=3,
                     stride=stride, padding=1, activation='relu')
    return net.layer(f'{name}conv3', 'conv2d', filters=4 * width, kernel=1,
                     activation='relu', inputs=f'{last};{short}')


def folded_resnet(size, blocks):
    net = Net(size, size)
    net.layer('conv1', 'conv2d', filters=64, kernel=7, stride=2, padding=3,
              activation='relu')
    above = net.layer('pool1', 'max-pool2d', kernel=3, stride=2, padding=1)
    for group, blocks in enumerate(blocks):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            above = folded_bottleneck(net, f'g{group + 1}b{block + 1}', above,
                                      64 << group, stride, block == 0)
    net.layer('pool2', 'global-avg-pool')
    net.layer('flatten', 'flatten')
    net.layer('classes', 'linear', units=1000)
    return net


def scaled(size, filters, layers, apart, interval=1):
    """Convolutions whose channels are scaled and moved, in layers of their own
    or already in the convolution."""
    net = Net(size, size, channels=filters, interval=interval)
    for i in range(layers):
        if apart:
            net.layer(f'conv{i + 1}', 'conv2d', filters=filters, kernel=1,
                      bias='false')
            net.layer(f'norm{i + 1}', 'batch-norm', statistics='running')
            net.layer(f'scale{i + 1}', 'mul', other=f'{filters};1;1')
            net.layer(f'move{i + 1}', 'add', other=f'{filters};1;1',
                      activation='relu')
        else:
            net.layer(f'conv{i + 1}', 'conv2d', filters=filters, kernel=1,
                      activation='relu')
    return net


def resnet(size, blocks):
    """Of bottlenecks: 3, 4, 6, 3 of them make ResNet-50."""
    net = Net(size, size)
    net.layer('conv1', 'conv2d', filters=64, kernel=7, stride=2, padding=3,
              bias='false')
    norm(net, 'norm1', size // 2, activation='relu')
    above = net.layer('pool1', 'max-pool2d', kernel=3, stride=2, padding=1)
    side = size // 4
    for group, blocks in enumerate(blocks):
        for block in range(blocks):
            stride = 2 if group > 0 and block == 0 else 1
            above, side = bottleneck(net, f'g{group + 1}b{block + 1}', above,
                                     side, 64 << group, stride, block == 0)
    net.layer('pool2', 'global-avg-pool')
    net.layer('flatten', 'flatten')
    net.layer('classes', 'linear', units=1000)
    return net


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    nets = {
        # PARTIME (arXiv 2210.09147), experiment A
        'experiment-a': chain(256, [32] * 30 + [1], 5, 'sigmoid'),
        'conv20-64x64x16': chain(64, [16] * 20, 3),
        'conv20-32x32x16': chain(32, [16] * 20, 3),
        'conv20-16x16x8': chain(16, [8] * 20, 3),
        'resnet50-224': resnet(224, [3, 4, 6, 3]),
        'resnet50-32': resnet(32, [3, 4, 6, 3]),
        'resnet50-folded': folded_resnet(224, [3, 4, 6, 3]),
        'scaled': scaled(56, 64, 20, True),
        'scaled-apart': scaled(56, 64, 20, True, interval=1 << 30),
        'scaled-as-one': scaled(56, 64, 20, False),
        # equal layers, for devices that only take time
        'sim-2': chain(8, [3] * 2, 1),
        'sim-8': chain(8, [3] * 8, 1),
        'sim-64': chain(8, [3] * 64, 1),
        # for GPUs: the same in large, experiments B and C
        'experiment-a-1024': chain(1024, [32] * 30 + [1], 5, 'sigmoid'),
        'experiment-b': pooled(256, 300, 50),
        'experiment-b-1024': pooled(1024, 300, 50),
        'experiment-c': resnet(256, [3, 8, 36, 3]),
        'experiment-c-1024': resnet(1024, [3, 8, 36, 3]),
        'conv20-64x64x64': chain(64, [64] * 20, 3),
        # one element, so that only the host's part is left
        'element-8': chain(1, [1] * 8, 1),
        # little work, so that what is around it shows
        'small': chain(96, [8, 2], 3, kind='flow'),
    }
    for name, net in nets.items():
        net.write(folder / f'{name}.cfg')


if __name__ == '__main__':
    main()
