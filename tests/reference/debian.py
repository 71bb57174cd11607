# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Data out of Debian's packages, kept in the cache without installing them."""

import os
import subprocess

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def find(package, path):
    """Where a file or folder of the package lies whose path ends so; "" if
    neither the cache nor the network has it."""
    script = ". pipelines/install-deps.sh\n" \
        "root=$partime_cache/$0\n" \
        "[ -d \"$root\" ] || download_package \"$0\" >&2\n" \
        "find \"$root\" -path \"*/$1\" | head -n 1"
    done = subprocess.run(["sh", "-c", script, package, path], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    return done.stdout.strip()
