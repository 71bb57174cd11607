#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refuses long files, long functions and files without their SPDX lines."""

import pathlib
import re
import statistics
import sys

MAX_FILE, MAX_FUNCTION = 600, 90
SPDX = ('SPDX-FileCopyrightText:', 'SPDX-License-Identifier:')
UNFINISHED = re.compile(r'\b(TODO|FIXME|XXX)\b')
FOLDERS = ('lib', 'gst-plugin', 'tests', 'pipelines')
SUFFIXES = ('.c', '.cpp', '.h', '.cu', '.py', '.sh', '.build', '.in')


def functions(lines):
    """(first line, length) of each body: from "{" to "}" in column one."""
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith('{'):
            start = number
        elif line.startswith('}') and start is not None:
            # "};" ends a table, "} Name;" a type
            if line.rstrip() == '}':
                yield start, number - start + 1
            start = None


def complaints(path, lines, lengths):
    head = '\n'.join(lines[:4])
    for mark in SPDX:
        if mark not in head:
            yield f'1: no {mark} line'
    if len(lines) > MAX_FILE:
        yield f'{len(lines)} lines, expected at most {MAX_FILE}'
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line) and path.name != 'check-style.py':
            yield f'{number}: unfinished: {line.strip()}'
    if path.suffix in ('.c', '.cpp', '.cu'):
        for start, length in functions(lines):
            lengths.append(length)
            if length > MAX_FUNCTION:
                yield f'{start}: a function of {length} lines, ' \
                    f'expected at most {MAX_FUNCTION}'


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found, files, lengths = 0, 0, []
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob('*')):
            if not path.is_file() or (path.suffix not in SUFFIXES
                                      and path.name != 'meson.build'):
                continue
            files += 1
            lines = path.read_text().splitlines()
            for text in complaints(path, lines, lengths):
                print(f'{path.relative_to(root)}:{text}')
                found += 1
    print(f'{files} files, {len(lengths)} functions, median '
          f'{statistics.median(lengths or [0]):g} lines; {found} complaints')
    return 1 if found or not files else 0


if __name__ == '__main__':
    sys.exit(main())
