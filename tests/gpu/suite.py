#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What run.sh runs: tests of the operations and of the engine, the plugin,
compute-sanitizer, benchmarks. Each part has its share of the time, each
program an end; what was left out is said. Leaves report.txt and report.json."""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PARTS = ('tests', 'plugin', 'sanitizer', 'bench')
# of all the time, for those before the benchmarks, which take what is left
SHARES = {'tests': 0.4, 'plugin': 0.1, 'sanitizer': 0.25}
NO_GPU = 'no GPU: there is no /dev/nvidiactl'
VERSIONS = '''
import ctypes
for library, call in (("libcudart.so.13", "cudaDriverGetVersion"),
                      ("libcudart.so.13", "cudaRuntimeGetVersion"),
                      ("libcudnn_graph.so.9", "cudnnGetVersion")):
    try:
        function, number = getattr(ctypes.CDLL(library), call), ctypes.c_int()
        if call.startswith("cudnn"):
            number.value = function()
        else:
            function(ctypes.byref(number))
        print(call.removesuffix("GetVersion"), number.value)
    except OSError as error:
        print(call.removesuffix("GetVersion"), "not found:", error)
'''
GST = {
    'GST_PLUGIN_SYSTEM_PATH_1_0': '',
    'GST_PLUGIN_PATH_1_0': str(HERE / 'lib/gstreamer'),
    'GST_PLUGIN_SCANNER_1_0': str(HERE / 'bin/gst-plugin-scanner'),
    'GIO_MODULE_DIR': '/nonexistent'}


def environment(extra):
    """Of our programs."""
    return os.environ | {
        'LD_LIBRARY_PATH': os.environ['PARTIME_LIBS'],
        'PARTIME_MODULE_DIR': str(HERE / 'lib/partime'),
        'PARTIME_TEST_DATA': str(HERE / 'data')} | extra


def run(argv, seconds, env=None):
    """What it said, what it ended with (None: it ran out of time) and how
    long it took."""
    start = time.monotonic()
    try:
        with subprocess.Popen(list(map(str, argv)), env=env, text=True,
                              errors='replace', stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              start_new_session=True) as process:
            try:
                said, _ = process.communicate(timeout=max(1, seconds))
                status = process.returncode
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                said, _ = process.communicate()
                status = None
    except OSError as error:
        said, status = f'{error}\n', 127
    return said, status, time.monotonic() - start


class Suite:
    def __init__(self, args):
        self.args = args
        self.end = time.monotonic() + args.seconds
        self.part_end = self.end
        self.gpu = pathlib.Path('/dev/nvidiactl').exists()
        self.plan = json.loads((HERE / 'plan.json').read_text())
        self.results, self.left_out, self.versions = [], [], {}
        self.text = open(args.out / 'report.txt', 'w', encoding='utf-8')

    def say(self, text):
        print(text, flush=True)
        print(text, file=self.text, flush=True)

    def left(self):
        return min(self.part_end, self.end) - time.monotonic()

    def note(self, name, result, said, took=0):
        self.results.append({'name': name, 'result': result, 'stdout': said,
                             'seconds': round(took, 2)})
        self.say(f'  {result:8}{took:7.1f} s  {name}')
        if result in ('FAIL', 'TIMEOUT'):
            for line in said.splitlines()[-25:]:
                self.say(f'      {line}')

    def skip(self, name, why):
        self.results.append({'name': name, 'result': 'SKIP', 'seconds': 0,
                             'stdout': f'1..0 # SKIP {why}'})
        self.say(f'  SKIP               {name}: {why}')

    def test(self, name, argv, env, longest=120):
        """One program."""
        if self.left() < 3:
            self.left_out.append(name)
            self.skip(name, 'no time left')
            return None
        said, status, took = run(argv, min(longest, self.left()),
                                 environment(env))
        plan = [line for line in said.splitlines()
                if line.startswith('1..0')]
        if not self.gpu and 'loading shared libraries: libcu' in said:
            self.skip(name, 'no GPU, and none of CUDA\'s libraries')
        elif status == 0 and plan:
            self.skip(name, plan[0].partition('SKIP')[2].strip())
        else:
            self.note(name, 'OK' if status == 0 else 'TIMEOUT'
                      if status is None else 'FAIL', said, took)
        return status

    # the parts

    def about(self):
        try:
            self.versions['bundle'] = (HERE / 'version').read_text().strip()
        except OSError:
            pass
        said, status, _ = run(
            ['nvidia-smi', '--format=csv,noheader', '--query-gpu=name,'
             'driver_version,memory.total,clocks.sm,clocks.max.sm'], 20)
        self.versions['nvidia-smi'] = (said.strip() if status == 0 else
                                       'not found')
        said, _, _ = run([sys.executable, '-c', VERSIONS], 20,
                         os.environ | {'LD_LIBRARY_PATH':
                                       os.environ['PARTIME_CUDA_LIBS']})
        for line in said.splitlines():
            name, _, value = line.partition(' ')
            self.versions[name] = value
        said, status, _ = run([sys.executable, '-c', 'import torch; print('
                               'torch.__version__, torch.version.cuda)'], 60)
        self.versions['torch'] = (said.strip() if status == 0 else
                                  'not found')
        for name, value in self.versions.items():
            self.say(f'  {name}: {value}')
        self.say(f'  CUDA libraries: {os.environ["PARTIME_CUDA_LIBS"]}')

    def tests(self):
        for test in self.plan:
            program = pathlib.Path(test['program']).name
            if not self.gpu and 'cuda:0,' in test['env'].get(
                    'PARTIME_TEST_STAGES', ''):
                self.skip(test['name'], NO_GPU)
                continue
            self.test(test['name'], [HERE / 'tests' / program, '--tap'],
                      test['env'])

    def plugin(self):
        registry = self.args.out / 'registry.bin'
        registry.unlink(missing_ok=True)
        env = GST | {'GST_REGISTRY_1_0': str(registry)}
        self.test('gst-inspect', [HERE / 'bin/gst-inspect-1.0',
                                  'partimefilter'], env, 60)
        for name, devices, stages in (
                ('cpu', 'cpu:0', '1'), ('cuda', 'cuda:0', '1'),
                ('cuda-4-stages', 'cuda:0*4', '4'),
                ('cpu-and-cuda', 'cpu:0,cuda:0', '8,7')):
            if 'cuda' in name and not self.gpu:
                self.skip(f'gst-launch-{name}', NO_GPU)
                continue
            self.test(f'gst-launch-{name}', [
                HERE / 'bin/gst-launch-1.0', '-q', '-m', 'videotestsrc',
                'num-buffers=200', 'pattern=ball', '!',
                'video/x-raw,format=I420,width=320,height=240', '!',
                'partimefilter', f'model={HERE}/data/next-frame.cfg',
                f'devices={devices}', f'stages={stages}', '!',
                'videoconvert', '!', 'fakesink'], env, 60)
        registry.unlink(missing_ok=True)

    def sanitizer(self):
        """On the tests of operations; slow, so the small ones first."""
        tool = shutil.which('compute-sanitizer') or shutil.which(
            'compute-sanitizer', path='/usr/local/cuda/bin')
        why = NO_GPU if not self.gpu else None if tool else \
            'there is no compute-sanitizer'
        found = [t for t in self.plan
                 if t['env'].get('PARTIME_TEST_DEVICE') and 'engine' not in
                 t['name']]
        for test in found:
            program = HERE / 'tests' / pathlib.Path(test['program']).name
            for check in 'memcheck', 'racecheck':
                name = f'{check} {test["name"]}'
                if why:
                    self.skip(name, why)
                    continue
                self.sanitize(tool, check, name, program, test['env'])

    def sanitize(self, tool, check, name, program, env):
        """One test: it found nothing. A run that was cut short proves
        nothing, a device it does not work on neither."""
        if self.left() < 5:
            self.left_out.append(name)
            self.skip(name, 'no time left')
            return
        said, status, took = run(
            [tool, '--tool', check, '--error-exitcode', '99', program],
            min(60, self.left()), environment(env))
        if status is None:
            self.left_out.append(name)
            self.skip(name, f'no end in {took:.0f} s; until then '
                      + ('ERRORS' if '=========     ' in said else 'no error'))
        elif 'Device not supported' in said:
            self.skip(name, 'it does not support this device')
        else:
            # one result, whatever the program under it said
            kept = '\n'.join(line for line in said.splitlines()
                             if line.startswith('=====') or 'not ok' in line)
            self.note(name, 'OK' if status == 0 else 'FAIL',
                      kept.replace('not ok', 'NOT OK'), took)

    def bench(self):
        path = self.args.out / 'bench.json'
        path.unlink(missing_ok=True)
        argv = [sys.executable, HERE / 'bench/gpu.py', '--json', path,
                '--seconds', max(20, self.left() - 10),
                '--compile', self.args.compile]
        if self.args.partime:
            argv += ['--partime', self.args.partime]
        for row in self.args.row:
            argv += ['--row', row]
        said, status, took = run(argv, max(30, self.left()))
        self.say(said)
        if status == 0 and not self.gpu:
            self.skip('benchmarks', NO_GPU)
        else:
            self.note('benchmarks', 'OK' if status == 0 else
                      'TIMEOUT' if status is None else 'FAIL', '', took)

    def run(self):
        self.say('== machine')
        self.about()
        for part in PARTS:
            if self.args.only and part not in self.args.only:
                self.left_out.append(part)
                continue
            self.part_end = time.monotonic() + self.args.seconds * \
                SHARES.get(part, 1)
            self.say(f'== {part}, at most {self.left():.0f} s')
            getattr(self, part)()

    def finish(self):
        """Counts, as the other tests do."""
        self.say('== left out: ' + (', '.join(self.left_out) or 'nothing'))
        log = self.args.out / 'testlog.json'
        log.write_text('\n'.join(json.dumps(r) for r in self.results))
        said, status, _ = run([sys.executable, HERE / 'count.py', 0, log], 30)
        bench = self.args.out / 'bench.json'
        (self.args.out / 'report.json').write_text(json.dumps({
            'versions': self.versions, 'gpu': self.gpu,
            'left out': self.left_out, 'results': self.results,
            'count': said.strip().splitlines()[-1],
            'bench': json.loads(bench.read_text()) if bench.exists()
            else None}, indent=1))
        log.unlink()
        bench.unlink(missing_ok=True)
        self.say(said.rstrip())
        return status


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--seconds', type=float, default=450,
                        help='in all; default 450')
    parser.add_argument('--only', action='append', default=[], choices=PARTS)
    parser.add_argument('--out', type=pathlib.Path, default=pathlib.Path(),
                        help='where the reports go; default here')
    parser.add_argument('--partime', type=pathlib.Path, metavar='FOLDER',
                        help='a clone of github.com/sailab-code/partime')
    parser.add_argument('--compile', type=float, default=0,
                        metavar='SECONDS', help='for torch.compile')
    parser.add_argument('--row', action='append', default=[],
                        help='only benchmarks whose name holds this')
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    suite = Suite(args)
    suite.run()
    sys.exit(suite.finish())


if __name__ == '__main__':
    main()
