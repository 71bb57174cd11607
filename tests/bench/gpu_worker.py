# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that answer each line with a line, none of them for ever."""

import os
import select
import statistics
import subprocess
import time

SAMPLE = 0.15


class Failed(Exception):
    pass


class Left:
    """Time that runs out."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def seconds(self):
        return max(0, self.end - time.monotonic())

    def part(self, seconds):
        return Left(min(seconds, self.seconds()))


class Worker:
    def __init__(self, argv, env):
        self.process = subprocess.Popen(
            list(map(str, argv)), text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, env=os.environ | env)

    def ask(self, words, seconds):
        pipe = self.process.stdout
        try:
            print(*words, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Failed(f'it died ({self.process.wait()})') from None
        if not select.select([pipe], [], [], max(1, seconds))[0]:
            self.close()
            raise Failed(f'no answer to {words[0]} in {seconds:.0f} s')
        answer = pipe.readline().strip()
        if not answer:
            raise Failed(f'it died ({self.process.wait()})')
        if not answer.startswith('ok'):
            raise Failed(answer.removeprefix('error '))
        return answer[3:]

    def finish(self, seconds):
        """Its last words, such as a trace, are worth waiting for."""
        try:
            self.process.communicate(timeout=max(1, seconds))
        except subprocess.TimeoutExpired:
            self.close()

    def close(self):
        self.process.kill()
        self.process.wait()


class Pool:
    """Workers by name, started when first asked and after they died."""

    def __init__(self, kinds):
        self.kinds, self.workers = kinds, {}

    def start(self, key, env):
        argv, own = self.kinds[key[0]]
        try:
            return Worker(argv, own | env)
        except OSError as error:
            raise Failed(str(error)) from None

    def ask(self, key, words, seconds):
        worker = self.workers.get(key)
        if worker is None or worker.process.poll() is not None:
            worker = self.workers[key] = self.start(key, {})
        return worker.ask(words, seconds)

    def forget(self, key):
        """What it holds of a row."""
        if key in self.workers:
            try:
                self.workers[key].ask(['drop'], 10)
            except Failed:
                self.workers[key].close()

    def close(self):
        for worker in self.workers.values():
            worker.close()


class Contender:
    """One line of a row."""

    def __init__(self, name, group, pool, key, load, run):
        self.name, self.group, self.pool, self.key = name, group, pool, key
        self.load, self.run = load, run
        self.stages, self.cut, self.n = 0, '', 1
        self.samples, self.error, self.note = [], '', ''

    def attempt(self, what, left):
        if self.error:
            return
        if left.seconds() <= 0:
            self.error = '' if self.samples else 'not run: no time left'
            return
        try:
            getattr(self, what)(left.seconds())
        except Failed as failure:
            self.error = f'not run: {failure}'

    def once(self, seconds):
        return float(self.pool.ask(self.key, [*self.run, self.n], seconds))

    def prepare(self, seconds):
        """Loads it and chooses how many frames make a sample."""
        start = time.monotonic()
        answer = self.pool.ask(self.key, self.load, seconds)
        if self.group == 'ours':
            self.cut = answer
        self.note = f'(ready in {time.monotonic() - start:.1f} s)'
        self.n = 10
        while (took := self.once(seconds)) < SAMPLE / 4 and self.n < 1e6:
            self.n *= 4
        self.n = max(3, round(self.n * SAMPLE / took))

    def sample(self, seconds):
        self.samples.append(self.once(seconds) / self.n * 1e3)

    def median(self):
        return statistics.median(self.samples) if self.samples else None

    def traced(self):
        """Worth a run of its own to see its kernels."""
        return self.stages in (1, 4) or self.group == 'torch'

    def summary(self):
        return {'name': self.name, 'group': self.group, 'ms': self.median(),
                'samples': self.samples, 'cut': self.cut,
                'note': self.error or self.note}
