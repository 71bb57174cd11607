# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The learning benchmark as a picture: a panel for each stream."""

import matplotlib

matplotlib.use("Agg")
import numpy as np  # noqa: E402
from matplotlib import pyplot  # noqa: E402

# colour is the mode, and darker is deeper
COLOURS = {("exact", 1): "black",
           ("partime", 2): "#fdae6b", ("partime", 4): "#f16913",
           ("partime", 9): "#8c2d04",
           ("delayed", 2): "#9ecae1", ("delayed", 4): "#4292c6",
           ("delayed", 9): "#08306b"}
LINES = {"exact": "-", "partime": "-", "delayed": "--"}


def draw_curve(axes, row, found):
    n = len(row.frames)
    for key, (_, curve, _) in found.items():
        x = (np.arange(len(curve)) + .5) * n / len(curve)
        if row.axis == "loop":
            x = np.arange(len(curve)) + 1
        axes.plot(x, curve, LINES[key[0]], color=COLOURS[key], linewidth=1.3)
    for name, (columns, curve) in row.baseline.items():
        if curve is None or len(curve) == 1:
            value = np.mean(list(columns.values())[-1:])
            if curve is None:
                continue
            axes.axhline(value, color="grey", linewidth=1, linestyle=":")
            axes.text(x[-1], value, name, fontsize=7, color="grey",
                      ha="right", va="bottom")
            continue
        axes.plot((np.arange(len(curve)) + .5) * n / len(curve), curve, ":",
                  color=next((colour for key, colour in COLOURS.items()
                              if name.startswith("{} {},".format(*key))),
                             "grey"),
                  linewidth=1.2, label=name)
        axes.legend(fontsize=7, frameon=False)
    axes.set_xlabel(row.axis, fontsize=8)
    if row.better == "less":
        axes.set_ylim(0)


def draw_bars(axes, row, found):
    """What has no course worth showing: the last column."""
    for i, (key, (columns, _, tables)) in enumerate(found.items()):
        column = row.columns[-1]
        seeds = [t[column] for t in tables]
        axes.bar(i, columns[column], color=COLOURS[key])
        axes.plot([i, i], [min(seeds), max(seeds)], color="grey", linewidth=2)
    axes.set_xticks(range(len(found)), [f"{mode}\n{n}" for mode, n in found],
                    fontsize=6)


def plot(results, path):
    columns = min(3, len(results) + 1)
    lines = -(-(len(results) + 1) // columns)
    figure, grid = pyplot.subplots(lines, columns, squeeze=False,
                                   figsize=(4.2 * columns, 3 * lines))
    panels = list(grid.flat)
    for axes, (row, found) in zip(panels, results):
        (draw_bars if row.name == "anomaly" else draw_curve)(axes, row, found)
        axes.set_title(row.title, fontsize=9)
        axes.set_ylabel(row.unit, fontsize=8)
        axes.tick_params(labelsize=7)
    for axes in panels[len(results):]:
        axes.set_axis_off()
    for key, colour in COLOURS.items():
        panels[len(results)].plot(
            [], [], LINES[key[0]], color=colour,
            label=f"{key[0]}, {key[1]} stage{'s' if key[1] > 1 else ''}")
    panels[len(results)].legend(loc="center", frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
