# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test results as the Test Anything Protocol, one line as each is known."""

import contextlib
import sys


@contextlib.contextmanager
def needed():
    """Around imports: what cannot be had skips the whole program."""
    try:
        yield
    except (ImportError, ValueError) as missing:
        print(f"1..0 # SKIP {missing}")
        sys.exit(0)


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0

    def check(self, good, name):
        self.count += 1
        self.failed += not good
        print(f"{'ok' if good else 'not ok'} {self.count} - {name}",
              flush=True)
        return good

    def skip(self, name, reason):
        self.count += 1
        print(f"ok {self.count} - {name} # SKIP {reason}", flush=True)

    def say(self, text):
        for line in str(text).splitlines():
            print("# " + line, flush=True)

    def end(self):
        print(f"1..{self.count}", flush=True)
        sys.exit(1 if self.failed else 0)
