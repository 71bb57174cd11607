#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Predict the next frame of a video: a network sees three frames, says what the
# fourth will be, then sees it and learns.
#
# usage: pipelines/next-frame.sh [FILE | DEVICE | URI [FOLDER]]
#   without: a surveillance clip out of the Debian package opencv-doc
#
# Leaves in FOLDER (next-frame): next-frame.mkv (the video, with the prediction
# of each frame in its corner), stats.json (lines of statistics), next-frame.png
# (three frames, and how it learned), next-frame.safetensors (what was
# learned). Prints by how many dB the predictions of the last third are better
# than the frame before.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in -h|--help) usage "$0"; exit 0 ;; esac
prepare || exit 1
input=${1:-$(package_file opencv-doc vtest.avi)} || exit 1
source=$(source_of "$input") || exit 1
folder=${2:-next-frame}
open_folder "$folder" || exit 1

rm -f "$folder/next-frame.safetensors" "$folder/stats.json"
echo "== learning to predict; Ctrl-C ends it"
launch "$source" ! videoconvert "$(limit)" ! queue ! partimefilter \
  model="$root/pipelines/networks/next-frame.cfg" \
  checkpoint-location="$folder/next-frame.safetensors" \
  stats-location="$folder/stats.json" stats-interval=100000000 \
  "$(record "$folder/next-frame.mkv")" || exit 1
# shellcheck disable=SC2046
"$partime" plot "$folder/stats.json" $(stills_at 0.35 0.8 1) \
  -o "$folder/next-frame.png" || exit 1

echo "== done: $folder/next-frame.mkv, next-frame.png, stats.json, next-frame.safetensors"
psnr=$(psnr_from "$folder/stats.json" psnr 0.6667)
repeat=$(psnr_from "$folder/stats.json" psnr-repeat 0.6667)
echo "last third: prediction $psnr dB, the frame before $repeat dB"
awk "BEGIN { printf \"better than the frame before, in dB: %.2f\\n\", $psnr - $repeat }"
