# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the scripts of pipelines/, in a folder of their own."""

import os
import re
import subprocess
import tempfile

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def number(text, before):
    """The number that follows @before in what a script said."""
    found = re.search(re.escape(before) + r"\s*([-+.0-9e]+)", text)
    return float(found.group(1)) if found else float("nan")


def package_file(package, name):
    """Path of a file of a Debian package's data."""
    return subprocess.run(
        ["sh", "-c", '. pipelines/install-deps.sh && package_file "$@"', "sh",
         package, name], cwd=ROOT, text=True, capture_output=True,
        check=True).stdout.strip()


class Runner:
    def __init__(self, tap, build):
        self.tap, self.build = tap, os.path.abspath(build)

    def __enter__(self):
        self.scratch = tempfile.TemporaryDirectory()
        return self

    def __exit__(self, *_):
        self.scratch.cleanup()

    def path(self, *parts):
        return os.path.join(self.scratch.name, *parts)

    def launch(self, *words):
        """gst-launch-1.0 with the element that is tested."""
        self.gst_launch(" ".join(words), check=True)

    def fail(self, words):
        """What gst-launch-1.0 says of a pipeline that cannot be."""
        done = self.gst_launch(words, capture_output=True, text=True)
        return done.stderr + done.stdout if done.returncode else ""

    def gst_launch(self, words, **options):
        env = dict(os.environ,
                   GST_PLUGIN_PATH=os.path.join(self.build, "gst-plugin"),
                   GST_REGISTRY=os.path.join(self.build, "gst-registry.bin"))
        return subprocess.run(["gst-launch-1.0", "-q", *words.split()],
                              env=env, timeout=300, **options)

    def run(self, name, files, **settings):
        """What pipelines/@name.sh says, having left @files in its folder;
        None if it could not be run. @settings: variables for it."""
        env = dict(os.environ, PARTIME_BUILD=self.build, **settings)
        done = subprocess.run(
            [os.path.join(ROOT, "pipelines", name + ".sh")], env=env,
            cwd=self.scratch.name, text=True, capture_output=True,
            timeout=600, check=False)
        if "could not download" in done.stderr:
            self.tap.skip(name, "its data cannot be fetched")
            return None
        if not self.tap.check(done.returncode == 0, f"{name} runs"):
            self.tap.say(done.stdout[-2000:] + done.stderr[-4000:])
            return None
        empty = [f for f in files if not os.path.exists(self.path(name, f))
                 or os.path.getsize(self.path(name, f)) == 0]
        self.tap.check(not empty, f"{name} leaves {', '.join(files)}")
        return done.stdout
