# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the GPU can do at best, measured; and what several might do."""

import json

from gpu_worker import Failed


class Limits:
    def __init__(self):
        self.matmul, self.copy, self.link, self.about = {}, None, None, {}

    def measure(self, pool, precisions, left):
        def ask(*words):
            try:
                return pool.ask(('torch',), words, left.seconds())
            except Failed as failure:
                print(f'{words[0]}: not run: {failure}')
                return None

        self.about = json.loads(ask('about') or '{}')
        for precision in precisions:
            rate = ask('matmul', precision)
            if rate:
                self.matmul[precision] = float(rate)
        self.copy, self.link = (float(rate) if rate else None
                                for rate in (ask('copy'), ask('link')))
        pool.forget(('torch',))

    def show(self):
        print('machine: ' + ', '.join(
            f'{key} {value}' for key, value in self.about.items()))
        print('limits: a product of matrices '
              + ', '.join(f'{precision} {rate / 1e12:.1f} TFLOP/s'
                          for precision, rate in self.matmul.items())
              + (f'; a copy {self.copy / 1e9:.0f} GB/s'
                 if self.copy else '')
              + (f'; {self.link_name()} {self.link / 1e9:.1f} GB/s'
                 if self.link else ''), flush=True)

    def link_name(self):
        return ('GPU to GPU' if self.about.get('gpus', 0) > 1
                else 'host to GPU')

    def summary(self):
        return {'about': self.about, 'matmul FLOP/s': self.matmul,
                'copy B/s': self.copy, 'link B/s': self.link}


def spans(cut):
    """First layer and how many, of each stage: what the worker answered."""
    for stage in cut.split():
        layers = stage.rsplit(':', 6)[1]
        first, n = layers.split('+')
        yield int(first), int(n)


def predict(net, cut, one, link, learn):
    """ms a frame with each stage of @cut on a GPU of its own, and why: the
    slowest stage's share of the work of @one ms, then its output's way. A
    tensor that skips over stages is not counted."""
    total = net.flops()
    shares, sent = [], []
    for first, n in spans(cut):
        layers = net.layers[first:first + n]
        shares.append(sum(layer.flops() for layer in layers) / total)
        c, h, w = layers[-1].output
        sent.append(4 * c * h * w)
    way = max(sent[:-1]) / link * 1e3 * (2 if learn else 1) if link else 0
    return one * max(shares) + way, (
        f'(largest share {100 * max(shares):.0f} %, link {way:.3f} ms)')
