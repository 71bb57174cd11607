#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Does it learn? Streams with a known truth, in every mode, cut into 1, 2, 4
and 9 stages of about equal work; medians of seeds. Where the stages run does
not matter to what they learn, so they share the cores there are."""

import argparse
import csv
import os
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "reference"))

import numpy as np  # noqa: E402

import learn_plot  # noqa: E402
import learn_rows  # noqa: E402
import rig as rigs  # noqa: E402
from learn_data import Absent  # noqa: E402

STAGES = (1, 2, 4, 9)


def read_work(text):
    """FLOP of each layer, from `partime info`."""
    lines = [line.split() for line in text.splitlines()[2:]]
    return [float(line[-1]) for line in lines if line and line[0] != "total"]


def cut(work, n):
    """Sizes of the n consecutive parts whose works' squares have the least
    sum, as text for stages=."""
    upto = np.concatenate(([0], np.cumsum(work)))
    best = {(0, 0): (0., [])}
    for s in range(1, n + 1):
        for end in range(s, len(work) + 1):
            best[s, end] = min(
                (best[s - 1, at][0] + (upto[end] - upto[at]) ** 2,
                 best[s - 1, at][1] + [end - at])
                for at in range(s - 1, end) if (s - 1, at) in best)
    return ",".join(str(size) for size in best[n, len(work)][1])


def contenders():
    """With one stage nothing is late and all modes are the same; exact is
    the same in any cut."""
    return [("exact", 1)] + [(mode, n) for mode in ("partime", "delayed")
                             for n in STAGES if n > 1]


class Bench:
    def __init__(self, command, folder, seeds, quick):
        self.rig = rigs.Rig(command, folder)
        self.seeds, self.quick = seeds, quick
        self.devices = "pipeline.devices=" + ",".join(
            f"cpu:{core}" for core in sorted(os.sched_getaffinity(0)))

    def run(self, row, key, settings, frames, first, labels=None):
        mode, n = key
        stages = cut(self.work, n)
        return self.rig.learn(
            self.net, [f"learning.mode={mode}", f"pipeline.stages={stages}",
                       self.devices] + row.settings + settings,
            frames, first, labels)[:2]

    def open(self, row):
        self.net = self.rig.write_network(row.name + ".cfg", row.text())
        self.work = read_work(self.rig.call("info", self.net))

    def measure(self, row, key, settings=()):
        """The median of the seeds of each column and of the curve, and the
        columns of each seed."""
        tables, curves = [], []
        for seed in self.seeds:
            if hasattr(row, "shuffle"):
                row.shuffle(seed)
            weights, outputs = self.run(row, key, list(settings), row.frames,
                                        self.rig.init(self.net, seed),
                                        row.labels)
            table, curve = row.measure(
                outputs, weights, lambda settings, frames, w: self.run(
                    row, ("off", 1), settings, frames, w)[1])
            tables.append(table)
            curves.append(curve)
        middle = {c: float(np.median([t[c] for t in tables]))
                  for c in row.columns}
        return middle, np.median(curves, 0), tables

    def check_exact(self, row):
        """Exact is exact in any cut."""
        first = self.rig.init(self.net, 0)
        one, *others = [self.run(row, ("exact", n), [], row.frames, first)[1]
                        for n in STAGES]
        return max(float(np.abs(other - one).max()) for other in others)


def label(key):
    return f"{key[0]}, {key[1]} stage{'s' if key[1] > 1 else ''}"


def show(name, columns, row):
    cells = [f"{columns[c]:12.3f}" if c in columns else f"{'':12}"
             for c in row.columns]
    print(f"{name:22}" + "".join(cells), flush=True)


def run_row(bench, row):
    """{key: (columns, curve, tables)}."""
    print(f"\n{row.title}: {row.unit} ({row.better} is better; medians of "
          f"{len(bench.seeds)} seed{'s' if len(bench.seeds) > 1 else ''})")
    print(f"{'':22}" + "".join(f"{c:>12}" for c in row.columns))
    for key, settings in row.own_best.items():
        row.baseline[learn_rows.OWN_BEST.format(*key)] = bench.measure(
            row, key, settings)[:2]
    for name, (columns, _) in row.baseline.items():
        show(name, columns, row)
    found = {}
    for key in contenders():
        found[key] = bench.measure(row, key)
        show(label(key), found[key][0], row)
    for n in STAGES[1:]:
        print(f"# {n} stages: layers {cut(bench.work, n)}")
    return found


def write_csv(path, results):
    with open(path, "w", newline="", encoding="utf-8") as f:
        out = csv.writer(f)
        out.writerow(["row", "what", "stages", "column", "median", "least",
                      "most"])
        for row, found in results:
            for name, (columns, _) in row.baseline.items():
                for column, value in columns.items():
                    out.writerow([row.name, name, "", column, f"{value:.4f}",
                                  "", ""])
            for (mode, n), (columns, _, tables) in found.items():
                for column, value in columns.items():
                    seeds = [t[column] for t in tables]
                    out.writerow([row.name, mode, n, column, f"{value:.4f}",
                                  f"{min(seeds):.4f}", f"{max(seeds):.4f}"])


def judge(row, found):
    """Prints the goals; how many were missed."""
    missed = 0
    for text, reached in row.goals({k: v[:2] for k, v in found.items()}):
        print(f"{'reached' if reached else 'MISSED '}  {text}")
        missed += not reached
    return missed


def main():
    names = [row.name for row in learn_rows.ROWS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", help="path of the partime command")
    parser.add_argument("--quick", action="store_true",
                        help="one seed, shorter loops: under ten minutes")
    parser.add_argument("--row", action="append", choices=names)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--out", default=".", help="folder of table and plot")
    options = parser.parse_args()
    seeds = range(options.seeds or (1 if options.quick else 3))
    results, missed, start = [], 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.command, folder, seeds, options.quick)
        for kind in learn_rows.ROWS:
            if options.row and kind.name not in options.row:
                continue
            row = kind()
            try:
                row.load(options.quick)
            except Absent as reason:
                print(f"\n{row.title}: left out, {reason}")
                continue
            bench.open(row)
            found = run_row(bench, row)
            if row.name == "photo":
                print("# exact with 2, 4 and 9 stages: outputs differ from "
                      f"those with 1 by {bench.check_exact(row):g}")
            missed += judge(row, found)
            results.append((row, found))
            write_csv(os.path.join(options.out, "learning.csv"), results)
            learn_plot.plot(results, os.path.join(options.out,
                                                  "learning.png"))
    print(f"\n{missed} goals missed; {time.monotonic() - start:.0f} s; "
          f"learning.csv and learning.png are in {options.out}")
    sys.exit(1 if missed else 0)


main()
