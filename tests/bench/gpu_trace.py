# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long the GPU was at work for a frame: what gpu-trace.c wrote."""

import os
import pathlib
import tempfile
import time

from gpu_worker import Failed

# between what goes before and the frames that count, seconds
PAUSE = 0.5


def read(path):
    """(start, end) of each kernel, in order."""
    with open(path, encoding='ascii') as file:
        return sorted(tuple(map(int, line.split()[1:])) for line in file
                      if line.startswith('K '))


def after_pause(spans):
    """Those after the last long pause."""
    first, end = 0, None
    for i, span in enumerate(spans):
        if end is not None and span[0] - end > PAUSE / 2 * 1e9:
            first = i
        end = max(end or 0, span[1])
    return spans[first:]


def union(spans):
    """Nanoseconds in which at least one ran."""
    total, end = 0, 0
    for start, stop in spans:
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def kernel_times(contender, library, left):
    """ms a frame; None: CUPTI wrote nothing."""
    handle, path = tempfile.mkstemp(prefix='partime-trace-')
    os.close(handle)
    worker = None
    try:
        worker = contender.pool.start(contender.key, {
            'CUDA_INJECTION64_PATH': str(library), 'PARTIME_TRACE': path,
            'LD_LIBRARY_PATH': os.environ.get(
                'PARTIME_LIBS' if contender.group == 'ours'
                else 'PARTIME_CUDA_LIBS', '')})
        n = max(3, contender.n // 4)
        worker.ask(contender.load, left.seconds())
        worker.ask([*contender.run, 10], left.seconds())
        time.sleep(PAUSE)
        worker.ask([*contender.run, n], left.seconds())
        worker.finish(left.seconds())
        # our worker keeps its stages full around what it times
        frames = n + (1 + 4 * (contender.stages - 1)
                      if contender.group == 'ours' else 0)
        return union(after_pause(read(path))) / frames * 1e-6 or None
    except (Failed, ValueError):
        return None
    finally:
        if worker:
            worker.close()
        pathlib.Path(path).unlink(missing_ok=True)
