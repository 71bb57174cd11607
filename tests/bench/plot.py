# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table as a picture: frames per second, PyTorch on one thread = 1."""

import matplotlib

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402

COLOURS = {'1x1': '#9ecae1', '1x2': '#4292c6', '2x1': '#08519c',
           'auto': '#31a354', 'torch 1': '#fdae6b', 'torch 2': '#e6550d'}


def bars(axes, row):
    """One group: speeds over PyTorch's on one thread."""
    base = row.find('torch 1') or row.find('1x1')
    names = [n for n in COLOURS if row.find(n)]
    axes.bar(names, [base / row.find(n) for n in names],
             color=[COLOURS[n] for n in names])
    for i, name in enumerate(names):
        axes.text(i, base / row.find(name), f'{row.find(name):.3g}',
                  ha='center', va='bottom', fontsize=7)
    axes.axhline(1, color='grey', linewidth=.5)
    axes.set_title(row.name, fontsize=9)
    axes.tick_params(labelsize=7)


def plot(rows, machine, path):
    rows = [row for row in rows if row.find('torch 1') or row.find('1x1')]
    if not rows:
        return
    columns = 2 if len(rows) > 1 else 1
    lines = -(-len(rows) // columns)
    figure, grid = pyplot.subplots(lines, columns, squeeze=False,
                                   figsize=(5 * columns, 2.4 * lines + .6))
    for axes in grid.flat[len(rows):]:
        axes.set_visible(False)
    for axes, row in zip(grid.flat, rows):
        bars(axes, row)
    figure.suptitle('Speed over PyTorch on one thread; on the bars: ms a '
                    f'frame\nstages x threads on {machine}', fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
