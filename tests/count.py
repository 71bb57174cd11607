#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts what every test program said, one by one, and names what failed or
was skipped. A program that crashed, hung or lost count is one more failure.

usage: count.py testlog.json [PROGRAM.tap ...]
"""

import json
import re
import sys

LINE = re.compile(r"\s*(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*)(?:#\s*(.*))?")


class Count:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []

    def line(self, program, text):
        """One line of TAP; whether it was a failure."""
        found = LINE.fullmatch(text)
        if not found:
            return False
        bad, _, name, note = found.groups()
        name = f"{program}: {name.strip()}"
        if (note or "").upper().startswith("SKIP"):
            self.skipped.append(f"{name}: {note[4:].strip()}")
        elif bad and not (note or "").upper()[:4] == "TO" "DO":
            self.failed.append(name)
            return True
        else:
            self.passed += 1
        return False

    def program(self, name, output, result):
        """@result: as meson calls it, OK, FAIL, TIMEOUT, ERROR, SKIP ..."""
        failures, lines = 0, output.splitlines()
        for text in lines:
            failures += self.line(name, text)
        none = [t for t in lines if re.match(r"1\.\.0\b", t)]
        if none:
            self.skipped.append(name + ": " + none[0].partition("#")[2]
                                .replace("SKIP", "", 1).strip())
        elif result in ("SKIP",):
            self.skipped.append(name)
        if result not in ("OK", "SKIP", "EXPECTEDFAIL") and not failures:
            self.failed.append(f"{name}: ended with {result}")


def main():
    count = Count()
    with open(sys.argv[1], encoding="utf-8") as log:
        for line in log:
            test = json.loads(line)
            count.program(test["name"].split("/")[-1].split(":")[-1].strip(),
                          test.get("stdout", ""), test["result"])
    for path in sys.argv[2:]:
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
