#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""ONNX models beside ONNX Runtime and PyTorch, taking turns in one sitting:
milliseconds a frame on one core and two, seconds to load, peak memory.

usage: onnx_rows.py BUILD [--quick] [--row NAME]...
"""

import argparse
import os
import pathlib
import subprocess
import sys

import run
from run import Contender, Failed, Peak, Row, Worker, all_cores

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "reference"))
import own_python  # noqa: E402

OCR = "rapidocr-onnxruntime==1.4.4"
# name: shape of the picture; PP-OCRv4's detector, then well-known graphs
ROWS = {"detector": "1x3x320x640", "resnet50": "1x3x224x224",
        "squeezenet": "1x3x224x224", "densenet121": "1x3x224x224",
        "shufflenet": "1x3x224x224"}


def make_model(python, folder, name):
    """Leaves FOLDER/NAME.onnx, with a key file for its open dimensions."""
    model = folder / (name + ".onnx")
    if not model.exists() and name == "detector":
        subprocess.run([python, "-m", "pip", "download", "--quiet",
                        "--no-deps", "--dest", folder, OCR], check=True)
        subprocess.run(["/usr/bin/python3", "-m", "zipfile", "-e",
                        next(folder.glob("rapidocr*.whl")), folder],
                       check=True)
        next(folder.glob("*/models/*det*.onnx")).rename(model)
    elif not model.exists():
        subprocess.run([python, HERE.parent / "reference/light_models.py",
                        folder, name], check=True)
    subprocess.run([python, HERE / "onnx_dump.py", model, folder / name],
                   check=True)
    _, channels, height, width = ROWS[name].split("x")
    (folder / (name + ".onnx.cfg")).write_text(
        f"[network]\nchannels={channels}\nheight={height}\nwidth={width}\n"
        "[learning]\nmode=off\n", encoding="utf-8")
    return model


class Models(run.Bench):
    def __init__(self, build, quick, python):
        super().__init__(build, quick)
        self.python = python
        self.folder = build / "models"
        self.folder.mkdir(exist_ok=True)

    def contender(self, name, argv, threads, *load):
        env = {"OMP_NUM_THREADS": str(threads), "OMP_PROC_BIND": "true",
               "OMP_PLACES": "cores", "OMP_WAIT_POLICY": "active"}
        worker = Worker(argv, all_cores() if threads > 1 else "0",
                        env if name.startswith("torch") else
                        {"OMP_NUM_THREADS": str(threads)})
        contender = Contender(name, worker)
        try:
            contender.note = worker.ask("load", *load)
        except Failed as failure:
            contender.error = str(failure)
        return contender

    def model_row(self, name):
        model = make_model(self.python, self.folder, name)
        bench = [self.build / "tests/bench/bench"]
        there = [self.python, HERE / "onnx_runtime.py"]
        torch = ["/usr/bin/python3", HERE / "onnx_torch.py"]
        row = Row(name)
        row.contenders = [
            self.contender("1x1", bench, 1, model, "cpu:0", 1, "off"),
            self.contender("2x1", bench, 2, model, "cpu:0,cpu:1", 2, "off"),
            self.contender("auto", bench, 2, model, "auto", "auto", "off"),
            self.contender("ort 1", there, 1, model, ROWS[name]),
            self.contender("ort 2", there, 2, model, ROWS[name]),
            self.contender("torch 1", torch, 1, self.folder / name,
                           ROWS[name]),
            self.contender("torch 2", torch, 2, self.folder / name,
                           ROWS[name]),
            self.limit(Peak, "peak", 1)]
        return row

    def take_memory(self, row):
        """Peak resident memory of each, in its note."""
        for contender in row.contenders:
            if contender.error:
                continue
            status = pathlib.Path(
                f"/proc/{contender.worker.process.pid}/status")
            for line in status.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM"):
                    peak = int(line.split()[1]) >> 10
                    contender.note = f"{peak} MiB  {contender.note}"


def show_loading(build, folder, names):
    """Seconds from nothing to the table of layers, of the whole process."""
    for name in names:
        model = folder / (name + ".onnx")
        took = []
        for _ in range(3):
            start = os.times()
            subprocess.run([build / "lib/cli/partime", "info", "--no-measure",
                            model], check=True, stdout=subprocess.DEVNULL)
            took.append(os.times().elapsed - start.elapsed)
        print(f"{name}: {model.stat().st_size >> 20} MiB read and checked in "
              f"{sorted(took)[1]:.2f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--row", action="append")
    options = parser.parse_args()
    python, reason = own_python.find("onnxruntime", *own_python.ONNX)
    if not python:
        sys.exit(f"error: {reason}")
    bench = Models(options.build, options.quick, python)
    names = options.row or list(ROWS)
    for name in names:
        row = bench.model_row(name)
        bench.measure(row)
        run.show(row)
    show_loading(options.build, bench.folder, names)


if __name__ == "__main__":
    main()
