#!/usr/bin/python3
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
"""partime convert: darknet's networks compute what they computed there, by a
second reading in PyTorch and by Debian's darknet. Mistakes are told by line.

usage: test-darknet.py path/to/partime
"""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "reference"))
from tap import Tap, needed  # noqa: E402

with needed():
    import numpy as np
    import torch
    import darknet
    import safetensors_io

CLI = sys.argv[1]
N_FRAMES, TOLERANCE = 3, 1e-5


def net(width, height, channels=3):
    return f"[net]\n# learning\nbatch=1\nsubdivisions=1\nwidth={width}\n" \
        f"height={height}\nchannels = {channels}\nmomentum=0.9\n" \
        "learning_rate=0.001\n\n"


def conv(filters, size, **more):
    keys = {"batch_normalize": 1, "filters": filters, "size": size,
            "stride": 1, "pad": 1, "activation": "leaky", **more}
    return "[convolutional]\n" + "".join(
        f"{k}={v}\n" for k, v in keys.items() if v is not None) + "\n"


POOL = "[maxpool]\nsize=2\nstride=2\n\n"
# name: text, whether Debian's darknet knows all of it, kinds it needs here
NETWORKS = {
    "backbone": (
        net(32, 24) + conv(8, 3) + POOL + conv(16, 3) +
        conv(8, 1, activation="relu") + conv(16, 3, activation="linear") +
        "[shortcut]\nfrom=-3\nactivation=leaky\n\n" + POOL +
        conv(8, 3, batch_normalize=0, activation="logistic") +
        "[upsample]\nstride=2\n\n[route]\nlayers = -1, 5\n\n" +
        conv(6, 3, groups=2, activation="tanh", batch_normalize=None) +
        "[route]\nlayers=-1\n\n" +
        conv(4, 1, batch_normalize=None, activation="linear"), True, ()),
    "classifier": (
        net(28, 28, 1) + conv(8, 3, stride=2) +
        "[maxpool]\nsize=3\nstride=1\n\n" + conv(12, 5, pad=0, padding=1) +
        "[avgpool]\n\n[softmax]\ngroups=1\n\n[cost]\ntype=sse\n", True, ()),
    "dense": (
        net(12, 8, 2) + conv(4, 3, activation="relu") +
        "[connected]\noutput=20\nbatch_normalize=1\nactivation=leaky\n\n"
        "[dropout]\nprobability=.4\n\n"
        "[connected]\noutput=10\nactivation=linear\n\n"
        "[softmax]\n\n", True, ()),
    "spp": (
        net(16, 16) + conv(8, 3) + "[maxpool]\nstride=1\nsize=5\n\n"
        "[route]\nlayers=-2\n\n[maxpool]\nstride=1\nsize=9\n\n"
        "[route]\nlayers=-1,-3,-4\n\n" + conv(4, 1), True, ()),
    "csp": (
        net(16, 16) + conv(8, 3, activation="swish") +
        "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n\n" +
        conv(4, 3, activation="swish") + "[route]\nlayers=-1,-2\n\n" +
        conv(8, 1, activation="mish"), False, ("mish",)),
    "groups": (
        net(16, 16) + conv(8, 3, activation="swish") +
        "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n\n" +
        conv(4, 3, activation="swish", batch_normalize=0) +
        "[route]\nlayers=-1,-2\n\n" + conv(8, 1), False, ()),
    "heads": (
        net(32, 32) + conv(8, 3) + POOL + conv(8, 3) + POOL +
        conv(18, 1, batch_normalize=0, activation="linear") +
        "[yolo]\nmask=3,4,5\nanchors=1,2, 3,4\nclasses=1\nnum=6\n\n"
        "[route]\nlayers=-3\n\n[upsample]\nstride=2\n\n"
        "[route]\nlayers=-1,1\n\n" +
        conv(18, 1, batch_normalize=0, activation="linear") +
        "[yolo]\nmask=0,1,2\nclasses=1\n", False, ()),
    # windows that reach further on one side
    "tiny": (
        net(27, 21) + conv(8, 3) + POOL + conv(8, 3) +
        "[maxpool]\nsize=2\nstride=1\n\n" + conv(4, 1), True, ("sides",)),
}


def partime(*words):
    return subprocess.run([CLI, *words], capture_output=True, text=True,
                          check=False, timeout=60)


def find_darknet():
    """Debian's libdarknet.so, out of its package, or why not."""
    script = ". ../pipelines/install-deps.sh\n" \
        "package_file darknet libdarknet.so"
    done = subprocess.run(["sh", "-c", script], cwd=HERE, capture_output=True,
                          text=True, check=False)
    if done.returncode != 0:
        return "", (done.stderr.strip().splitlines() or ["no package"])[-1]
    path = done.stdout.strip()
    loads = subprocess.run(
        [sys.executable, "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])",
         path], capture_output=True, text=True, check=False)
    said = (loads.stderr.strip().splitlines() or [""])[-1]
    return ("", said) if loads.returncode != 0 else (path, "")


def run_here(folder, base):
    out = base + "-out.safetensors"
    done = partime("learn", base + "-net.cfg", "-w",
                   base + "-net.safetensors", "-f",
                   folder + "/frames.safetensors", "-O", out, "-s",
                   "pipeline.devices=cpu:0")
    if done.returncode != 0:
        return None, done.stderr.strip()
    return safetensors_io.load(out)["outputs"], ""


def distance(found, expected):
    if found is None or found.size != expected.size:
        return np.inf
    scale = max(1, np.abs(expected).max())
    return np.abs(found.reshape(expected.shape) - expected).max() / scale


def check_network(tap, folder, name, library):
    text, known, _ = NETWORKS[name]
    base = os.path.join(folder, name)
    with open(base + ".cfg", "w", encoding="utf-8") as file:
        file.write(text)
    model = darknet.Darknet(text, 5)
    _, about = model.sections[0]
    shape = [int(about[k]) for k in ("channels", "height", "width")]
    frames = np.random.default_rng(8).uniform(
        0, 1, (N_FRAMES, *shape)).astype(np.float32)
    safetensors_io.save(folder + "/frames.safetensors", {"frames": frames})
    expected = np.stack([model.run(frame) for frame in frames])
    for version in (0, 1), (0, 2):
        model.save(base + ".weights", version)
        done = partime("convert", base + ".cfg", base + ".weights",
                       base + "-net.cfg")
        found, said = (None, done.stderr.strip()) if done.returncode else \
            run_here(folder, base)
        error = distance(found, expected)
        tap.check(error < TOLERANCE, f"{name}, weights {version}: off by "
                  f"{error:.1e} {said.replace(folder, '')}")
    if name == "heads":
        tap.check("raw map" in done.stdout and "one row" in done.stdout,
                  f"heads: {done.stdout.strip().splitlines()[-1]}")
    if not known or not library:
        return
    subprocess.run(
        [sys.executable, os.path.join(HERE, "reference", "run_darknet.py"),
         library, base + ".cfg", base + ".weights",
         folder + "/frames.safetensors", base + "-their.safetensors",
         str(expected[0].size)], capture_output=True, check=False, timeout=60)
    theirs = safetensors_io.load(base + "-their.safetensors")["y"]
    error = distance(found, theirs)
    tap.check(error < TOLERANCE, f"{name}, by darknet: off by {error:.1e}")


def check_networks(tap, folder):
    library, reason = find_darknet()
    if not library:
        tap.skip("darknet itself", reason)
    kinds = partime("kinds").stdout
    there = {"mish": "\nmish:" in kinds, "sides": "top;left" in kinds}
    for name, (_, _, needs) in NETWORKS.items():
        missing = [need for need in needs if not there[need]]
        if missing:
            tap.skip(name, f"no layers here for {missing}")
        else:
            check_network(tap, folder, name, library)


# text, weights as bytes or None, what is said
MISTAKES = (
    (net(8, 8) + "[reorg]\nstride=2\n", None, ["line 11", "reorg", "route"]),
    (net(8, 8) + conv(4, 3) + "[route]\nlayers=-2\n", None,
     ["line 20", "-2", "above"]),
    (net(8, 8) + conv(4, 3, activation="wobble"), None,
     ["line 17", "wobble", "leaky"]),
    (net(8, 8) + conv(0, 3), None, ["line 13", "filters", "0"]),
    (net(8, 8) + conv(4, 3, xnor=1), None, ["line 18", "xnor"]),
    (net(8, 8) + conv(4, 3, antialiasing=1), None,
     ["line 18", "antialiasing"]),
    (net(8, 8) + conv(4, 3) + "[shortcut]\nfrom=0\n\n" + conv(8, 3) +
     "[shortcut]\nfrom=0\n", None, ["line 30", "one shape"]),
    (net(8, 8) + "what\n", None, ["line 11", "what", "key=value"]),
    ("width=3\n", None, ["line 1", "[section] first"]),
    ("", None, ["0 sections"]),
    ("[net]\nwidth=8\n\n" + conv(4, 3), None, ["line 1", "height"]),
    (conv(4, 3) + conv(4, 3), None, ["line 1", "[net]"]),
    (net(8, 8) + conv(65536, 1, batch_normalize=0) +
     conv(65536, 1025, batch_normalize=0), None, ["kernel", "1025"]),
    (net(8, 8) + conv(4, 3), b"", ["0 bytes", "124 numbers"]),
    (net(8, 8) + conv(4, 3), bytes(20), ["header of 16", "124 numbers"]),
    (net(8, 8) + conv(4, 3), bytes(16) + b"\xff" * 496, ["NaN"]),
    (net(65536, 65536) + conv(65536, 1), bytes(32),
     ["as a network file", "too many elements"]),
)


def check_mistakes(tap, folder):
    cfg, weights, out = (os.path.join(folder, name) for name in (
        "bad.cfg", "bad.weights", "bad-net.cfg"))
    for text, data, says in MISTAKES:
        with open(cfg, "w", encoding="utf-8") as file:
            file.write(text)
        words = [cfg]
        if data is not None:
            with open(weights, "wb") as file:
                file.write(data)
            words.append(weights)
        done = partime("convert", *words, out)
        said = done.stderr.strip()
        tap.check(done.returncode == 1 and not os.path.exists(out)
                  and all(word in said for word in says),
                  f"refused: {said}".replace(folder, ""))


def main():
    tap = Tap()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        check_networks(tap, folder)
        check_mistakes(tap, folder)
    tap.end()


if __name__ == "__main__":
    main()
