#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Refuses includes that point up. Prints one line for each that does."""

import pathlib
import re
import sys

# folder of lib/: the folders it may include, besides itself
ARROWS = {
    'core': {'include'},
    'device': {'core', 'include'},
    'transport': {'device', 'core', 'include'},
    'layers': {'device', 'core', 'include'},
    'losses': {'device', 'core', 'include'},
    'optimizers': {'device', 'core', 'include'},
    'network': {'layers', 'core', 'include'},
    'formats': {'network', 'core', 'include'},
    'engine': {'formats', 'network', 'layers', 'transport', 'losses',
               'optimizers', 'device', 'core', 'include'},
    'cli': {'formats', 'core', 'include'},
    'include': set(),
}
# What these may see of device.
DOORS = {folder: {'device/op.h'} for folder in
         ('layers', 'losses', 'optimizers')}
# headers of others: the folders that may see them
VENDORS = {
    r'oneapi/|dnnl': {'device/cpu'},
    r'cuda|cudnn|cublas|nccl': {'device/cuda', 'transport'},
    r'json-glib': {'formats'},
    r'onnx\.pb-c|protobuf-c': {'formats'},
    r'mpi\.h': {'transport'},
    r'gst/': set(),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^">]+)[">]', re.MULTILINE)


def complaints_of_lib(path, inside, name, quoted):
    folder = inside.parts[0]
    for pattern, allowed in VENDORS.items():
        if re.match(pattern, name) and not any(
                str(inside).startswith(place + '/') for place in allowed):
            yield f'a vendor\'s header outside {sorted(allowed) or "gst-plugin"}'
    if not quoted and not name.startswith('partime/'):
        return
    target = name.split('/')[0]
    if target == 'partime':
        target = 'include'
    if target not in ARROWS:
        yield 'expected a path from lib/, such as "core/tensor.h"'
    elif target != folder and target not in ARROWS[folder]:
        yield f'{folder} may only see {sorted(ARROWS[folder])}'
    elif target == 'device' and folder in DOORS and name not in DOORS[folder]:
        yield f'{folder} may only see {sorted(DOORS[folder])} of device'
    elif (target == 'device' and name.count('/') > 1
          and inside.parts[:2] != tuple(name.split('/')[:2])):
        yield 'a backend\'s own header outside of its folder'


def complaints_of_plugin(path, inside, name, quoted):
    if quoted and name.split('/')[0] in ARROWS:
        yield 'the plugin may only see include/partime'


def main():
    root = pathlib.Path(__file__).resolve().parent.parent
    found = files = 0
    for top, check in (('lib', complaints_of_lib),
                       ('gst-plugin', complaints_of_plugin)):
        for path in sorted((root / top).rglob('*')):
            if path.suffix not in ('.c', '.h', '.cu'):
                continue
            files += 1
            inside = path.relative_to(root / top)
            for mark, name in INCLUDE.findall(path.read_text()):
                for text in check(path, inside, name, mark == '"'):
                    print(f'{path.relative_to(root)}: {name}: {text}')
                    found += 1
    print(f'{files} files, {found} includes that point the wrong way')
    return 1 if found or not files else 0


if __name__ == '__main__':
    sys.exit(main())
