#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the benchmarks: things compared take turns in one sitting, with the
machine's own limits (peak FLOP/s, bytes read from memory) among them.

Each contender is a process of its own, asleep (SIGSTOP) while it is not its
turn, so that none spins on another's time. A sample during which other
programs, or the host, took more than 3 % of a core is thrown away."""

import argparse
import csv
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import time

from netfile import Net
from plot import plot

HERE = pathlib.Path(__file__).resolve().parent
OTHERS = 0.03
TICK = os.sysconf('SC_CLK_TCK')


class Failed(Exception):
    pass


class Worker:
    """A program that answers each line with a line."""

    def __init__(self, argv, cores, env=None):
        self.process = subprocess.Popen(
            ['taskset', '-c', cores, *map(str, argv)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | (env or {}))

    def ask(self, *words):
        try:
            self.process.send_signal(signal.SIGCONT)
            print(*words, file=self.process.stdin, flush=True)
            answer = self.process.stdout.readline().strip()
        except BrokenPipeError:
            answer = ''
        if not answer.startswith('ok'):
            raise Failed(answer or f'it died ({self.process.wait()})')
        self.process.send_signal(signal.SIGSTOP)
        return answer[3:]

    def cpu_seconds(self):
        """Of all its threads; the clock id is the kernel's for a process."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def close(self):
        self.process.kill()
        self.process.wait()


def machine_seconds():
    """CPU time of everything, and what the host took."""
    with open('/proc/stat', encoding='ascii') as stat:
        ticks = [int(word) for word in stat.readline().split()[1:]]
    user, nice, system, _idle, _wait, irq, soft, steal = ticks[:8]
    return (user + nice + system + irq + soft + steal) / TICK


class Contender:
    """One column of a row: a worker, how to sample it, its clean samples."""

    unit = 'ms'

    def __init__(self, name, worker, scale=1e3):
        self.name, self.worker, self.scale = name, worker, scale
        self.samples, self.dirty, self.n, self.error = [], 0, 1, ''
        self.note = ''

    def prepare(self, seconds):
        """Chooses how many frames make a sample."""
        took, self.n = self.once(), 1
        while took < seconds / 4 and self.n < 1e6:
            self.n = max(2 * self.n,
                         int(self.n * seconds / 2 / max(took, 1e-5)))
            took = self.once()
        # a pipeline's step wants more than one
        self.n = max(3, round(self.n * seconds / took))

    def once(self):
        return float(self.worker.ask('run', self.n))

    def value(self):
        return self.once() / self.n * self.scale

    def sample(self):
        machine, own = machine_seconds(), self.worker.cpu_seconds()
        start = time.monotonic()
        value = self.value()
        wall = time.monotonic() - start
        others = (machine_seconds() - machine
                  - (self.worker.cpu_seconds() - own))
        # the clock of /proc/stat moves in ticks
        if others > OTHERS * wall + 1 / TICK:
            self.dirty += 1
        else:
            self.samples.append(value)

    def median(self):
        return statistics.median(self.samples) if self.samples else None


class Peak(Contender):
    unit = 'GF/s'

    def __init__(self, name, worker, cores):
        super().__init__(name, worker)
        self.cores, self.seconds = cores, 1

    def prepare(self, seconds):
        self.seconds = seconds

    def value(self):
        return float(self.worker.ask('run', self.cores, self.seconds)) * 1e-9


class Reading(Peak):
    unit = 'GB/s'

    def value(self):
        return float(self.worker.ask('read', self.cores, self.seconds)) * 1e-9


class Latency(Contender):
    unit = 'us'

    def __init__(self, name, worker, gap):
        super().__init__(name, worker)
        self.gap = gap

    def prepare(self, seconds):
        self.n = max(100, min(2000, int(seconds * 1e6 / (self.gap + 50))))

    def value(self):
        return float(self.worker.ask('latency', self.n, self.gap))


class Row:
    def __init__(self, name, flops=0):
        self.name, self.flops, self.contenders = name, flops, []

    def find(self, name):
        for contender in self.contenders:
            if contender.name == name and contender.samples:
                return contender.median()
        return None


def all_cores():
    return ','.join(map(str, sorted(os.sched_getaffinity(0))))


class Bench:
    def __init__(self, build, quick):
        self.build, self.quick = build, quick
        self.nets = build / 'nets'
        self.rounds = 3 if quick else 7
        self.seconds = 0.6 if quick else 1.5
        self.memory = []

    # contenders; each starts its worker and may raise Failed

    def ours(self, name, net, devices, stages, mode, cores=None, kind=None):
        worker = Worker([self.build / 'tests/bench/bench'],
                        cores or all_cores())
        contender = kind(worker) if kind else Contender(name, worker)
        contender.name = name
        try:
            worker.ask('load', self.nets / f'{net}.cfg', devices, stages,
                       mode)
        except Failed as failure:
            contender.error = str(failure)
        return contender

    def torch(self, threads, net, learn):
        env = {'OMP_NUM_THREADS': str(threads), 'OMP_PROC_BIND': 'true',
               'OMP_PLACES': 'cores', 'OMP_WAIT_POLICY': 'active'}
        worker = Worker(['/usr/bin/python3', HERE / 'peer.py'],
                        all_cores() if threads > 1 else '0', env)
        contender = Contender(f'torch {threads}', worker)
        try:
            contender.note = worker.ask('load', self.nets / f'{net}.cfg',
                                        'learn' if learn else 'off')
        except Failed as failure:
            contender.error = str(failure)
        return contender

    def limit(self, kind, name, cores):
        return kind(f'{name} {cores}', Worker(
            [self.build / 'tests/bench/peak'], all_cores()), cores)

    # rows

    def net_row(self, net, learn):
        flops = Net(self.nets / f'{net}.cfg').flops() * (3 if learn else 1)
        row = Row(f'{net} {"learn" if learn else "forward"}', flops)
        mode = 'partime' if learn else 'off'
        row.contenders = [
            self.ours('1x1', net, 'cpu:0', 1, mode, '0'),
            self.ours('1x2', net, 'cpu:0-1', 1, mode),
            self.ours('2x1', net, 'cpu:0,cpu:1', 2, mode),
            self.ours('auto', net, 'auto', 'auto', mode),
            self.torch(1, net, learn),
            self.torch(2, net, learn),
            self.limit(Peak, 'peak', 1), self.limit(Peak, 'peak', 2),
            self.limit(Reading, 'memory', 1),
            self.limit(Reading, 'memory', 2)]
        return row

    def sim_row(self, layers, learn):
        row = Row(f'sim {layers} {"learn" if learn else "forward"}')
        net, device = f'sim-{layers}', 'sim:2000'
        mode = 'partime' if learn else 'off'
        row.contenders = [
            self.ours('1 stage', net, device, 1, mode),
            self.ours(f'{layers} stages', net, f'{device}*{layers}', layers,
                      mode)]
        return row

    def handover_row(self):
        """Latency of one frame at a time: with no gap a consumer still spins
        when the next frame comes, after a long one it sleeps."""
        row = Row('hand-over')
        for text, gap in ('spinning', 0), ('sleeping', 5000):
            for stages in 1, 2:
                row.contenders.append(self.ours(
                    f'{stages} {text}', 'sim-2', f'sim:0*{stages}', stages,
                    'off', kind=lambda w, g=gap: Latency('', w, g)))
        return row

    def fold_row(self):
        """Layers that are one where nothing learns; as they are run where
        something may, though it does not; and written as one."""
        row = Row('folded')
        row.contenders = [
            self.ours('folded', 'scaled', 'cpu:0', 1, 'off', '0'),
            self.ours('apart', 'scaled-apart', 'cpu:0', 1, 'exact', '0'),
            self.ours('as one', 'scaled-as-one', 'cpu:0', 1, 'off', '0')]
        return row

    def element_row(self):
        row = Row('element')
        for kind in 'library', 'element', 'overlay':
            worker = Worker([self.build / 'tests/bench/element'], '0', {
                'GST_PLUGIN_PATH': str(self.build / 'gst-plugin'),
                'GST_REGISTRY': str(self.build / 'bench-registry.bin')})
            contender = Contender(kind, worker)
            row.contenders.append(contender)
            try:
                worker.ask('load', self.nets / 'small.cfg', kind)
            except Failed as failure:
                contender.error = str(failure)
        return row

    def rows(self):
        """Name and how to make it, in order."""
        for net in ('experiment-a', 'conv20-64x64x16', 'conv20-32x32x16',
                    'conv20-16x16x8', 'resnet50-224', 'resnet50-32'):
            for learn in False, True:
                yield (f'{net} {"learn" if learn else "forward"}',
                       lambda n=net, l=learn: self.net_row(n, l))
        for layers in 8, 64:
            for learn in False, True:
                yield (f'sim {layers} {"learn" if learn else "forward"}',
                       lambda n=layers, l=learn: self.sim_row(n, l))
        yield 'hand-over', self.handover_row
        yield 'folded', self.fold_row
        yield 'element', self.element_row

    # measuring

    def attempt(self, contender, what, *args):
        if contender.error:
            return
        try:
            getattr(contender, what)(*args)
        except Failed as failure:
            contender.error = str(failure)

    def wanted(self, row, took):
        """Who still lacks samples; slow rows make do with fewer."""
        enough = self.rounds if took < 120 else 3
        return [c for c in row.contenders
                if not c.error and len(c.samples) < enough]

    def measure(self, row):
        start = time.monotonic()
        for contender in row.contenders:
            self.attempt(contender, 'prepare', self.seconds)
        for _ in range(3 * self.rounds):
            for contender in self.wanted(row, time.monotonic() - start):
                self.attempt(contender, 'sample')
        self.take_memory(row)
        for contender in row.contenders:
            contender.worker.close()

    def take_memory(self, row):
        for contender in row.contenders:
            if contender.error or contender.name not in (
                    '1x1', '1x2', '2x1', 'auto'):
                continue
            for i, stage in enumerate(
                    contender.worker.ask('stages').split()):
                # a device's name may hold colons
                device, layers, threads, forward, backward, update, memory = (
                    stage.rsplit(':', 6))
                self.memory.append((
                    row.name, contender.name, i, device, layers, threads,
                    forward, backward, update, int(memory)))


def number(value):
    return '-' if value is None else f'{value:.4g}'


def show(row):
    peak = {1: row.find('peak 1'), 2: row.find('peak 2')}
    print(f'\n{row.name}' + (f'  ({row.flops / 1e9:.4g} GFLOP a frame)'
                             if row.flops else ''))
    for c in row.contenders:
        cores = 1 if c.name in ('1x1', 'torch 1') else 2
        median, share = c.median(), ''
        if median and row.flops and c.unit == 'ms' and peak[cores]:
            rate = row.flops / median * 1e-6
            share = f'{rate:8.1f} GF/s {100 * rate / peak[cores]:4.0f} %'
        spread = (f'{min(c.samples):.4g}-{max(c.samples):.4g}'
                  if c.samples else '')
        print(f'  {c.name:12}{number(median):>10} {c.unit:5}{share:23}'
              f' {spread:>21}  {len(c.samples)} clean of '
              f'{len(c.samples) + c.dirty}  {c.error or c.note}', flush=True)


def ratio(a, b):
    return a / b if a and b else None


def goals(row):
    """What was to be reached, and whether it was: (text, value, limit, sign);
    sign 1: at least, -1: at most."""
    found = []

    def want(text, value, limit, sign=1):
        if value is not None:
            found.append((row.name, text, value, limit,
                          sign * (value - limit) >= 0))

    one, pair = row.find('1x1'), row.find('2x1')
    peak = row.find('peak 1')
    if row.name.startswith('experiment-a') and one and peak:
        want('share of one core\'s peak', row.flops / one * 1e-6 / peak,
             .85 if row.name.endswith('learn') else .9)
    want('two stages over one', ratio(one, pair), 1.85)
    ours = [row.find(n) for n in ('1x1', '1x2', '2x1')]
    ours = [value for value in ours if value]
    if ours:
        want('auto over the best', ratio(row.find('auto'), min(ours)), 1.03,
             -1)
    for threads, name in (1, '1x1'), (2, 'auto'):
        want(f'PyTorch {threads} over {name}',
             ratio(row.find(f'torch {threads}'), row.find(name)), 1)
    for stages, limit in (8, 7.8), (64, 60):
        if row.name.endswith('learn'):
            # the first of n layers sends no gradient on: 3n - 1 equal parts
            limit *= (3 * stages - 1) / (3 * stages)
        want(f'{stages} stages over one',
             ratio(row.find('1 stage'), row.find(f'{stages} stages')), limit)
    if row.find('element') and row.find('library'):
        want('ms the element adds', row.find('element') - row.find('library'),
             .2, -1)
    return found


def show_goals(rows):
    print('\ngoals')
    for row in rows:
        for name, text, value, limit, good in goals(row):
            print(f'  {"reached" if good else "MISSED ":8} {name:25} {text:28}'
                  f' {value:8.3f}  (goal {limit:.4g})')
        if row.find('overlay') and row.find('element'):
            print('           an overlay that is everywhere adds '
                  f'{row.find("overlay") - row.find("element"):.3f} ms')
        for text in 'spinning', 'sleeping':
            one, two = row.find(f'1 {text}'), row.find(f'2 {text}')
            if one and two:
                print(f'           a cut adds {two - one:.1f} us to a frame, '
                      f'its consumer {text}')


def show_memory(memory):
    print('\nstages: device, layers, threads, forward, backward, update us, '
          'memory MB')
    for row, name, i, *rest, size in memory:
        print(f'  {row:25} {name:5} {i} {" ".join(rest):44} {size / 1e6:9.2f}')


def write_csv(path, rows):
    with open(path, 'w', newline='', encoding='utf-8') as file:
        out = csv.writer(file)
        out.writerow(['row', 'contender', 'median', 'unit', 'min', 'max',
                      'clean', 'thrown away', 'gflop a frame', 'note'])
        for row in rows:
            for c in row.contenders:
                low, high = ((min(c.samples), max(c.samples))
                             if c.samples else ('', ''))
                out.writerow([row.name, c.name, c.median(), c.unit, low, high,
                              len(c.samples), c.dirty, row.flops / 1e9,
                              c.error or c.note])


def machine():
    with open('/proc/cpuinfo', encoding='utf-8') as file:
        model = next((line.split(':')[1].strip() for line in file
                      if line.startswith('model name')), 'unknown')
    return f'{model}, {len(os.sched_getaffinity(0))} cores'


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('build', type=pathlib.Path)
    parser.add_argument('--quick', action='store_true',
                        help='fewer and shorter samples')
    parser.add_argument('--row', action='append', default=[], metavar='NAME',
                        help='only rows whose name holds NAME; may be given '
                        'several times')
    args = parser.parse_args()
    bench = Bench(args.build.resolve(), args.quick)
    rows = []
    print(machine())
    for name, make in bench.rows():
        if args.row and not any(part in name for part in args.row):
            continue
        row = make()
        bench.measure(row)
        show(row)
        rows.append(row)
    if not rows:
        sys.exit('no row has such a name: ' + ', '.join(
            name for name, _ in bench.rows()))
    show_memory(bench.memory)
    show_goals(rows)
    write_csv(bench.build / 'bench.csv', rows)
    plot(rows, machine(), bench.build / 'bench.png')
    print(f'\nwritten: {bench.build}/bench.csv, {bench.build}/bench.png')


if __name__ == '__main__':
    main()
