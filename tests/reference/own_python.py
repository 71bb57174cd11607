# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A Python of its own with packages that Debian does not have, kept in the
cache: what they bring along must not meet Debian's NumPy and PyTorch."""

import os
import shutil
import subprocess
import sys
import tempfile

CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or
                     os.path.expanduser("~/.cache"), "partimefilter")
SECONDS = 240
# what reads, checks and runs ONNX models
ONNX = ("onnx>=1.16", "onnxruntime>=1.18")


def run(*words, seconds=SECONDS):
    done = subprocess.run(words, capture_output=True, text=True, check=False,
                          timeout=seconds)
    if done.returncode != 0:
        said = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
        raise RuntimeError(f"{' '.join(words[-4:])}: {said[-1]}")


def find(name, *packages, seconds=SECONDS):
    """Returns (path of python, "") or ("", why not). What is there once stays:
    the folder takes its name only when it is whole."""
    folder = os.path.join(CACHE, "python-" + name)
    python = os.path.join(folder, "bin", "python3")
    if os.path.exists(os.path.join(folder, "whole")):
        return python, ""
    try:
        os.makedirs(CACHE, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", folder)
        run(python, "-m", "pip", "install", "--quiet",
            "--disable-pip-version-check", *packages, seconds=seconds)
        with tempfile.NamedTemporaryFile("w", dir=folder,
                                         delete=False) as file:
            file.write("\n".join(packages))
        os.rename(file.name, os.path.join(folder, "whole"))
        return python, ""
    except (OSError, RuntimeError, subprocess.TimeoutExpired) as reason:
        return "", f"no {' and '.join(packages)}: {reason}"
