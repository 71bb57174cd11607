#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which test programs go to the machine with the GPU, and how they run there:
those of the suite "cuda", and those of the engine, on the CPU and where the
environment says on the GPU.

usage: plan.py BUILD    prints JSON: name, program (its path here), env"""

import json
import pathlib
import subprocess
import sys

ENGINE = ('test-device', 'test-guard', 'test-checkpoint', 'test-pipeline',
          'test-while-running')
# where the engine's tests, which run on the CPU, run as well
STAGES = {'PARTIME_TEST_STAGES': 'cuda:0,cuda:0'}
# of this machine; run.sh has its own
PATHS = ('PARTIME_MODULE_DIR', 'LD_LIBRARY_PATH')


def is_cuda(test):
    return any(suite.split(':')[-1] == 'cuda' for suite in test['suite'])


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    found = json.loads(subprocess.run(
        ['meson', 'introspect', str(build), '--tests'], check=True,
        stdout=subprocess.PIPE).stdout)
    plan = []
    for test in found:
        name = test['name'].split(':')[-1].strip()
        program = pathlib.Path(test['cmd'][0])
        if build not in program.parents or (
                not is_cuda(test) and name not in ENGINE):
            continue
        own = {'name': name, 'program': str(program),
               'env': {key: value for key, value in test['env'].items()
                       if key not in PATHS}}
        plan.append(own)
        if name in ENGINE[1:]:
            plan.append(own | {'name': f'{name}-cuda',
                               'env': own['env'] | STAGES})
    if all(test['name'] in ENGINE for test in plan):
        sys.exit(f'error: {build} has no tests of the suite "cuda"')
    # what is about the GPU first
    plan.sort(key=lambda test: test['name'] in ENGINE)
    json.dump(plan, sys.stdout, indent=1)


if __name__ == '__main__':
    main()
