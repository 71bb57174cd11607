#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Learn classes from labels: 60000 pictures of clothes pass once, each with its
# class on the label pad, and are then forgotten. Then 10000 that were never
# seen are classified without learning.
#
# usage: pipelines/classify.sh ['' [FOLDER]]
#   the data are Fashion-MNIST, out of the Debian package dataset-fashion-mnist
#
# Leaves in FOLDER (classify): stats.json and test.json (lines of statistics),
# classify.png (how it learned), classify.safetensors (what was learned). Prints
# the accuracy on the pictures never seen.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in
  -h|--help) usage "$0"; exit 0 ;;
  "") ;;
  *) echo "error: found $1, expected no input: only Fashion-MNIST has labels" >&2
    exit 1 ;;
esac
prepare || exit 1
folder=${2:-classify}
open_folder "$folder" || exit 1

# unpack PART: pictures and classes without their headers.
unpack () {
  pictures=$(package_file dataset-fashion-mnist "$1-images-idx3-ubyte") \
    && classes=$(package_file dataset-fashion-mnist "$1-labels-idx1-ubyte") \
    && tail -c +17 "$pictures" >"$work/pictures" \
    && tail -c +9 "$classes" >"$work/classes"
}

# pass OPTION...: once through what is unpacked.
pass () {
  launch filesrc location="$work/pictures" \
    ! rawvideoparse format=gray8 width=28 height=28 framerate=100/1 \
    "$(limit)" ! queue ! p. \
    filesrc location="$work/classes" ! rawvideoparse format=gray8 width=1 \
    height=1 plane-strides="<1>" frame-size=1 framerate=100/1 "$(limit)" \
    ! queue max-size-buffers=1000 ! p.label \
    partimefilter name=p model="$root/pipelines/networks/classify.cfg" \
    overlay=false stats-interval=250000000 "$@" ! fakesink
}

rm -f "$folder/classify.safetensors" "$folder/stats.json" "$folder/test.json"
echo "== learning; Ctrl-C ends it"
unpack train && pass checkpoint-location="$folder/classify.safetensors" \
  stats-location="$folder/stats.json" || exit 1
echo "== classifying what it has not seen"
unpack t10k && pass weights="$folder/classify.safetensors" learn=false \
  stats-location="$folder/test.json" || exit 1
"$partime" plot "$folder/stats.json" -o "$folder/classify.png" || exit 1

echo "== done: $folder/classify.png, stats.json, test.json, classify.safetensors"
echo "accuracy while learning, newest 100: $(newest_measured "$folder/stats.json" accuracy recent)"
echo "accuracy on pictures never seen: $(newest_measured "$folder/test.json" accuracy total)"
