#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Find the broken frames of a video: an auto-encoder learns a good clip in
# several passes, then judges another without learning from it.
#
# usage: [LEARN=GOOD_FILE] pipelines/defects.sh [FILE [FOLDER]]
#   FILE    the clip to judge; LEARN, the good one, is to be given with it
#   without: Megamind_bugy.avi of the Debian package opencv-doc, which is its
#   Megamind.avi with 21 frames broken
#
# Leaves in FOLDER (defects): defects.mkv (the clip with its heat map),
# scores.tsv (frame and score), defects.png (the scores), defects.safetensors
# (what was learned). Prints the area under the ROC curve of the broken frames;
# of clips of yours, the ten frames with the highest scores.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in -h|--help) usage "$0"; exit 0 ;; esac
prepare || exit 1
input=${1:-$(package_file opencv-doc Megamind_bugy.avi)} || exit 1
if [ $# -gt 0 ]; then
  good=${LEARN:?"names the good clip to learn"}
else
  good=$(package_file opencv-doc Megamind.avi) || exit 1
fi
source=$(source_of "$input") && good=$(source_of "$good") || exit 1
folder=${2:-defects}
open_folder "$folder" || exit 1
filter="partimefilter model=$root/pipelines/networks/defects.cfg
  checkpoint-location=$folder/defects.safetensors"

# Both clips are scaled in the same way: the good one is decoded once, then read
# again and again.
small="videoconvert ! videoscale
  ! video/x-raw,format=RGB,width=320,height=240,pixel-aspect-ratio=1/1"
echo "== reading the good clip"
# shellcheck disable=SC2046,SC2086
gst-launch-1.0 -q $good ! $small $(limit) \
  ! filesink location="$work/good.rgb" || exit 1

# learn PASSES RATE
learn () {
  launch multifilesrc location="$work/good.rgb" loop=true num-buffers="$1" \
    ! rawvideoparse format=rgb width=320 height=240 framerate=30/1 ! queue \
    ! "$filter" learning-rate="$2" overlay=false stats-interval=1000000000 \
    ! fakesink
}

rm -f "$folder/defects.safetensors"
echo "== learning it: ${PASSES:-60} passes, then a third as many slower ones"
learn "${PASSES:-60}" 2e-3 && learn $((${PASSES:-60} / 3)) 3e-4 || exit 1
echo "== judging the other"
stills=5/1
launch "$source" ! "$small" "$(limit)" ! queue ! "$filter" \
  learning-mode=off "$(record "$folder/defects.mkv")" || exit 1
scores >"$folder/scores.tsv"
plot_scores "$folder/scores.tsv" -o "$folder/defects.png" || exit 1

echo "== done: $folder/defects.mkv, defects.png, scores.tsv, defects.safetensors"
if [ $# -eq 0 ]; then
  # The frames at which the two clips of the package differ, by PSNR below 30.
  awk -v broken="5 10 20 25 30 35 40 45 50 55 60 65 71 75 80 85 90 95 100 115 120" \
    -v work="$work" '
    BEGIN { n = split (broken, list, " "); for (i = 1; i <= n; i++) b[list[i]] }
    { print $2 > (work "/" ($1 in b ? "broken" : "good")) }' \
    "$folder/scores.tsv"
  echo "area under the ROC curve: $(auc "$work/broken" "$work/good")"
else
  echo "highest scores: $(sort -k 2 -g -r "$folder/scores.tsv" | head -n 10 \
    | awk '{ print $1 }' | tr '\n' ' ')"
fi
