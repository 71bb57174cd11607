#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts what every test program said, one by one, and names what failed or
was skipped. A program that crashed, hung or lost count is one more failure.

usage: count.py STATUS testlog.json [PROGRAM.tap ...]
  STATUS  what meson test ended with
"""

import json
import re
import sys

LINE = re.compile(r"\s*(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*)(?:#\s*(.*))?")
PLAN = re.compile(r"1\.\.(\d+)\s*(?:#\s*(?:SKIP)?\s*(.*))?", re.IGNORECASE)
GOOD = ("OK", "SKIP", "EXPECTEDFAIL")


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def line(self, program, found):
        """One result in TAP; whether it was a failure."""
        bad, _, name, note = found.groups()
        name = f"{program}: {name.strip()}"
        if (note or "").upper().startswith("SKIP"):
            self.skipped.append(f"{name}: {note[4:].strip()}")
        elif bad:
            self.failed.append(name)
            return True
        else:
            self.passed += 1
        return False

    def program(self, name, output, result):
        """@result: as meson calls it, OK, FAIL, TIMEOUT, ERROR, SKIP ..."""
        lines = output.splitlines()
        results = [m for m in map(LINE.fullmatch, lines) if m]
        plans = [m for m in map(PLAN.fullmatch, lines) if m]
        if not results and not plans:
            self.whole(name, result)
            return
        failures = sum([self.line(name, found) for found in results])
        planned = int(plans[0][1]) if plans else None
        if planned == 0:
            self.skipped.append(f"{name}: {plans[0][2] or ''}")
        if result == "TIMEOUT" or result not in GOOD and not failures:
            self.failed.append(f"{name}: ended with {result}")
        elif planned != len(results) and not failures:
            self.failed.append(f"{name}: {len(results)} results, "
                               f"expected {planned or 'a plan'}")

    def whole(self, name, result):
        """A program that does not speak TAP is one test."""
        if result == "SKIP":
            self.skipped.append(name)
        elif result in GOOD:
            self.passed += 1
        else:
            self.failed.append(f"{name}: ended with {result}")


def main():
    count = Count()
    with open(sys.argv[2], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            count.program(test["name"].split("/")[-1].split(":")[-1].strip(),
                          test.get("stdout", ""), test["result"])
    if sys.argv[1] != "0" and not count.failed:
        count.failed.append(f"meson test: ended with status {sys.argv[1]}")
    for path in sys.argv[3:]:
        with open(path, encoding="utf-8") as extra:
            count.program(path.split("/")[-1].rsplit(".", 1)[0],
                          extra.read(), "OK")
    for title, names in (("skipped", count.skipped), ("FAILED",
                                                      count.failed)):
        for name in names:
            print(f"{title}: {name}")
    print(f"{count.passed} passed, {len(count.failed)} failed, "
          f"{len(count.skipped)} skipped")
    sys.exit(1 if count.failed or not count.passed else 0)


main()
