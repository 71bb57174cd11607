#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Benchmarks on one GPU, beside PyTorch and the authors' own PARTIME: the same
networks and precision, in turns, in one sitting. In order of weight, until the
time is spent; what was left out is said. Without a GPU the table is printed,
too: "not run".

Times are of a frame, medians; frames come from the host's memory and outputs
go back there. "learn" is forward, backward and Adam."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from gpu_limits import Limits, predict
from gpu_trace import kernel_times
from gpu_worker import Contender, Failed, Left, Pool
from netfile import Net

HERE = pathlib.Path(__file__).resolve().parent
STAGES = (1, 2, 4, 8)
PRECISIONS = ('fp32', 'tf32', 'bf16')
# least of these first
NETS = (('experiment-a', 'resnet50-224', 'conv20-64x64x16'),
        ('experiment-c', 'conv20-32x32x16', 'experiment-b',
         'conv20-64x64x64'),
        ('experiment-a-1024', 'experiment-c-1024', 'experiment-b-1024'))
REHEARSAL = (('conv20-32x32x16', 'conv20-16x16x8'),)


class Row:
    def __init__(self, net, mode, precision):
        self.net, self.mode, self.precision = net, mode, precision
        self.contenders, self.why, self.flops = [], '', 0

    @property
    def name(self):
        return f'{self.net} {self.mode} {self.precision}'

    def best(self, group):
        found = [c for c in self.contenders if c.group == group and c.samples]
        return min(found, key=Contender.median, default=None)

    def summary(self):
        return {'net': self.net, 'mode': self.mode, 'precision':
                self.precision, 'flops': self.flops, 'not run': self.why,
                'contenders': [c.summary() for c in self.contenders]}


def rows(tiers, wanted):
    """The first networks in all precisions come before the last in any."""
    found = [Row(net, mode, precision)
             for tier in tiers for precision in PRECISIONS for net in tier
             for mode in ('learn', 'forward')]
    return [row for row in found
            if not wanted or any(part in row.name for part in wanted)]


def has_gpu():
    return any(pathlib.Path(name).exists()
               for name in ('/dev/nvidiactl', '/dev/dxg'))


class Bench:
    def __init__(self, args):
        self.args = args
        self.left = Left(args.seconds)
        self.gpu = has_gpu() or args.rehearse
        self.device = 'cpu:0' if args.rehearse else 'cuda:0'
        self.folder = tempfile.TemporaryDirectory(prefix='partime-nets-')
        peer = [sys.executable, HERE / 'gpu_peer.py', '--device',
                'cpu' if args.rehearse else 'cuda:0']
        if args.partime:
            peer += ['--partime', args.partime]
        self.pool = Pool({'ours': ([args.bench], self.our_environment()),
                          'torch': (peer, {}), 'compile': (peer, {}),
                          'authors': (peer, {})})
        self.precisions = self.find_precisions()
        self.limits = Limits()
        self.found = {}

    def our_environment(self):
        """Our libraries are for us alone: PyTorch has its own."""
        return {'LD_LIBRARY_PATH': os.environ.get('PARTIME_LIBS', '')}

    def find_precisions(self):
        """Those of [pipeline] precision=; fp32 alone if it has no such key."""
        try:
            said = subprocess.run(
                [self.args.command, 'kinds'], text=True, timeout=30,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=os.environ | self.our_environment()).stdout
        except (OSError, subprocess.SubprocessError):
            said = ''
        key = re.search(r'^\s+precision\s.*?\(([\w|]+)[;)]', said, re.M)
        return key[1].split('|') if key else None

    def net_file(self, net, precision):
        path = self.args.nets / f'{net}.cfg'
        if not self.precisions:
            return path
        own = pathlib.Path(self.folder.name) / f'{net}-{precision}.cfg'
        own.write_text(f'{path.read_text()}\n[pipeline]\n'
                       f'precision={precision}\n')
        return own

    # who is compared

    def ours(self, net, mode, precision, stages):
        learn = 'partime' if mode == 'learn' else 'off'
        contender = Contender(
            f'partime, {stages} stage{"s" * (stages > 1)}', 'ours',
            self.pool, ('ours', stages),
            ['load', self.net_file(net, precision),
             f'{self.device}*{stages}', stages, learn], ['run'])
        contender.stages = stages
        if precision != 'fp32' and precision not in (self.precisions or ()):
            contender.error = 'not run: [pipeline] has no such precision'
        return contender

    def torch(self, kind, worker, net, mode, precision, name):
        slot = kind.replace(':', '-')
        return Contender(name, worker, self.pool, (worker,),
                         ['load', slot, kind, self.args.nets / f'{net}.cfg',
                          'learn' if mode == 'learn' else 'off', precision],
                         ['run', slot])

    def contenders(self, row):
        which = row.net, row.mode, row.precision
        found = [self.ours(*which, n) for n in STAGES]
        found.append(self.torch('eager', 'torch', *which, 'PyTorch, eager'))
        if self.args.rehearse:
            return found
        found.append(self.torch('graph', 'torch', *which,
                                'PyTorch, CUDA graph'))
        if self.args.partime:
            for n in STAGES[:3]:
                found.append(self.torch(f'partime:{n}', 'authors', *which,
                                        f'authors\' PARTIME, {n}'))
        return found

    # measuring

    def measure(self, row):
        row.flops = Net(self.args.nets / f'{row.net}.cfg').flops() * (
            3 if row.mode == 'learn' else 1)
        row.contenders = self.contenders(row)
        end = self.left.part(self.args.row_seconds)
        for contender in row.contenders:
            contender.attempt('prepare', end)
        for _ in range(5):
            for contender in row.contenders:
                contender.attempt('sample', end)
        for key in (('torch',), ('authors',)):
            self.pool.forget(key)

    def run(self, todo):
        for row in todo:
            if not self.gpu:
                row.why = 'no GPU'
            elif self.left.seconds() < 15 + self.args.reserve:
                row.why = 'no time left'
            else:
                self.measure(row)
            show(row, self.limits)
            self.save(todo)

    def save(self, todo):
        """After each row: what there is survives what comes."""
        if self.args.json:
            self.args.json.write_text(json.dumps({
                'rehearsal': self.args.rehearse, 'gpu': self.gpu,
                'limits': self.limits.summary(), **self.found,
                'rows': [row.summary() for row in todo]}, indent=1))

    def measure_compiled(self, todo):
        """After the rows, since it takes long to compile; PyTorch's graph
        once more beside it."""
        print('\nPyTorch, compiled with max-autotune')
        for row in todo:
            if not self.gpu or self.left.seconds() < 30:
                print('  not run: ' + ('no time' if self.gpu else 'no GPU'))
                return
            which = row.net, row.mode, row.precision
            compiled = self.torch('compile', 'compile', *which,
                                  'PyTorch, max-autotune')
            graph = self.torch('graph', 'torch', *which, 'beside it, graph')
            for what in ['prepare'] + 5 * ['sample']:
                for contender in compiled, graph:
                    contender.attempt(what, self.left)
            for key in (('torch',), ('compile',)):
                self.pool.forget(key)
            row.contenders.append(compiled)
            print(f'  {row.name:34} {number(compiled.median())} ms, '
                  f'{graph.name} {number(graph.median())} ms  '
                  f'{compiled.error or compiled.note}', flush=True)

    def measure_limits(self):
        if not self.gpu:
            print('limits of the machine: not run: no GPU')
            return
        self.limits.measure(self.pool, PRECISIONS, self.left.part(60))
        self.limits.show()

    def measure_host(self):
        """A network of one element: what is left is the host's work."""
        print('\nhost: ms a frame of 8 layers of one element')
        found = {}
        for mode in 'forward', 'learn':
            times = []
            for n in STAGES:
                if not self.gpu:
                    break
                contender = self.ours('element-8', mode, 'fp32', n)
                end = self.left.part(10)
                for what in 'prepare', 'sample', 'sample', 'sample':
                    contender.attempt(what, end)
                times.append(contender.median())
            found[mode] = times
            if not times or None in (times[0], times[-1]):
                print(f'  {mode:8} not run: '
                      + (contender.error if times else 'no GPU'))
                continue
            per_stage = (times[-1] - times[0]) / (STAGES[-1] - STAGES[0])
            print(f'  {mode:8} ' + ', '.join(
                f'{n} stages {t:.4f}' for n, t in zip(STAGES, times) if t)
                + f'; a stage more costs {1e3 * per_stage:.1f} us')
        return found

    def measure_kernels(self, todo):
        """Kernel time over wall time, in runs of their own."""
        print('\nkernels: ms a frame in which the GPU was at work, over all '
              'ms a frame')
        library = HERE / 'libgpu-trace.so'
        found, why = [], 'no GPU' if not self.gpu else (
            '' if library.exists() else f'there is no {library.name}')
        for row in todo[:6]:
            for contender in row.contenders:
                if why or not contender.samples or not contender.traced():
                    continue
                if self.left.seconds() < 25 + self.args.compile:
                    print('  left out: no time')
                    return found
                busy = kernel_times(contender, library, self.left.part(40))
                wall = contender.median()
                print(f'  {row.name:34} {contender.name:22} ' + (
                    f'{busy:.4f} of {wall:.4f}  {100 * busy / wall:.0f} %'
                    if busy else 'not run: CUPTI said nothing'), flush=True)
                found.append({'row': row.name, 'name': contender.name,
                              'busy ms': busy, 'wall ms': wall})
        if why or not found:
            print(f'  not run: {why or "no row was measured"}')
        return found


def number(value):
    return '-' if value is None else f'{value:.4g}'


def show(row, limits):
    print(f'\n{row.name}' + (f'  ({row.flops / 1e9:.4g} GFLOP a frame)'
                             if row.flops else ''))
    if row.why:
        print(f'  not run: {row.why}', flush=True)
    graph = next((c.median() for c in row.contenders
                  if c.name == 'PyTorch, CUDA graph' and c.samples), None)
    peak = limits.matmul.get(row.precision)
    for c in row.contenders:
        ms, words = c.median(), c.error or c.note
        if ms is None:
            print(f'  {c.name:22} {words}')
            continue
        rate = row.flops / ms * 1e3
        print(f'  {c.name:22}{number(ms):>9} ms {1e3 / ms:9.1f} fps'
              f' {rate / 1e12:7.2f} TF/s'
              + (f' {100 * rate / peak:4.0f} %' if peak else '')
              + (f' {graph / ms:6.2f} x' if graph else '')
              + f'  {number(min(c.samples))}-{number(max(c.samples))}'
              f' of {len(c.samples)}  {words}', flush=True)


def show_ratios(todo):
    print('\nour best over theirs, frames a second')
    for row in todo:
        ours = row.best('ours')
        others = [(row.best(group), title) for group, title in (
            ('torch', 'PyTorch'), ('compile', 'PyTorch, compiled'),
            ('authors', 'authors\''))]
        said = [f'{other.median() / ours.median():.2f} x {title}'
                for other, title in others if ours and other]
        if said:
            print(f'  {row.name:34} {ours.name:20} {", ".join(said)}')


def show_predictions(bench, todo):
    print('\nn GPUs: a PREDICTION from the one-stage time, shares of the work '
          'and the link; not measured')
    found = []
    for row in todo:
        one = next((c.median() for c in row.contenders
                    if c.stages == 1 and c.samples), None)
        for contender in row.contenders:
            if not one or contender.stages < 2 or not contender.cut:
                continue
            net = Net(bench.args.nets / f'{row.net}.cfg')
            ms, text = predict(net, contender.cut, one, bench.limits.link,
                               row.mode == 'learn')
            print(f'  {row.name:34} {contender.stages} GPUs {number(ms)} ms, '
                  f'{one / ms:.2f} x  {text}')
            found.append({'row': row.name, 'gpus': contender.stages,
                          'predicted ms': ms})
    if not found:
        print('  none: nothing was measured')
    return found


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=300,
                        help='in all; default 300')
    parser.add_argument('--row-seconds', type=float, default=60)
    parser.add_argument('--row', action='append', default=[], metavar='NAME',
                        help='only rows whose name holds NAME')
    parser.add_argument('--partime', type=pathlib.Path, metavar='FOLDER',
                        help='a clone of github.com/sailab-code/partime')
    parser.add_argument('--compile', type=float, default=0, metavar='SECONDS',
                        help='of them, for torch.compile; default 0')
    parser.add_argument('--bench', type=pathlib.Path, default=HERE / 'bench')
    parser.add_argument('--command', type=pathlib.Path,
                        default=HERE.parent / 'bin/partime')
    parser.add_argument('--nets', type=pathlib.Path, default=HERE / 'nets')
    parser.add_argument('--json', type=pathlib.Path)
    parser.add_argument('--rehearse', action='store_true',
                        help='try the script on the CPU; numbers mean nothing')
    args = parser.parse_args()
    # kept back for what comes after the rows
    args.reserve = min(60, args.seconds / 4) + args.compile
    return args


def main():
    args = parse()
    todo = rows(REHEARSAL if args.rehearse else NETS, args.row)
    if args.rehearse:
        print('A REHEARSAL ON THE CPU: these numbers mean nothing')
    bench = Bench(args)
    print('a frame: ms, frames/s, TFLOP/s, share of the matrix product\'s, '
          'times PyTorch\'s CUDA graph, least and most of the samples')
    bench.measure_limits()
    bench.run(todo)
    run = [row for row in todo if row.contenders]
    bench.found['host ms'] = bench.measure_host()
    bench.found['kernels'] = bench.measure_kernels(run)
    if bench.args.compile:
        bench.measure_compiled(run)
    show_ratios(todo)
    bench.found['predictions'] = show_predictions(bench, todo)
    left_out = [row.name for row in todo if row.why]
    print(f'\nleft out: {len(left_out)} of {len(todo)} rows'
          + (f': {", ".join(left_out)}' if left_out and bench.gpu else ''))
    bench.pool.close()
    bench.save(todo)


if __name__ == '__main__':
    try:
        main()
    except Failed as failure:
        sys.exit(f'error: {failure}')
