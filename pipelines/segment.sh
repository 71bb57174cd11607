#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Learn which pixels are the object: a camera flies around a toy castle, and a
# depth camera beside it makes the labels. Depth of the first 30 frames, a few
# times over; then 10 frames come that it has not learned from.
#
# usage: pipelines/segment.sh ['' [FOLDER]]
#   the data are the sequence Castle-simu, out of the Debian package
#   visp-images-data
#
# Leaves in FOLDER (segment): segment.mkv (the frames with what was found in
# red), stats.json and test.json (lines of statistics), segment.png (three of the
# frames, and how it learned), segment.safetensors (what was learned). Prints the
# intersection over union on the frames not learned from.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in
  -h|--help) usage "$0"; exit 0 ;;
  "") ;;
  *) echo "error: found $1, expected no input: only Castle-simu has labels" >&2
    exit 1 ;;
esac
prepare || exit 1
first=$(package_file visp-images-data Image_0001.pgm) || exit 1
castle=$(dirname "$(dirname "$first")")
folder=${2:-segment}
open_folder "$folder" || exit 1

# label FILE: a depth picture (u16, in 30.518 um; 0: nothing) as the camera of
# the frames sees it, at half the size. That camera is 5 cm to the left: what is
# at depth Z lies 700 px x 0.05 m / Z further to the right (ViSP's
# testGenericTracker: depth_M_color[0][3] = -0.05). 0 nothing, 1 object, 255
# at the left edge, where the depth camera cannot look.
label () {
  tail -c +9 "$1" | od -An -v -tu2 -w1280 | awk '
    NR % 2 == 1 {
      last = -1
      for (i = 1; i <= NF; i++) {
        if (!$i) { last = -1; continue }
        shift = 1146864 / $i
        if (shift > most) most = shift
        to = int (i - 1 + shift + 0.5)
        from = last >= 0 && to - last <= 6 ? last + 1 : to
        for (x = from; x <= to && x < 640; x++) object[NR, x] = 1
        last = to
      }
    }
    END {
      for (row = 1; row < NR; row += 2) {
        line = ""
        for (x = 0; x < 640; x += 2)
          line = line (x < most ? 2 : object[row, x] ? 1 : 0)
        printf "%s", line
      }
    }' | LC_ALL=C tr 012 '\000\001\377'
}

# unpack FIRST LAST: frames and labels, raw.
unpack () {
  : >"$work/frames"
  : >"$work/labels"
  for i in $(seq -f %04g "$1" "$2"); do
    tail -c +16 "$castle/Images/Image_$i.pgm" >>"$work/frames" \
      && label "$castle/Depth/Depth_$i.bin" >>"$work/labels" || return 1
  done
}

# pass TIMES OPTION...: that often through what is unpacked; $end is where
# frames go.
pass () {
  times=$1
  shift
  launch multifilesrc location="$work/frames" loop=true num-buffers="$times" \
    ! rawvideoparse format=gray8 width=640 height=480 framerate=25/1 \
    "$(limit)" ! queue ! videoconvert ! video/x-raw,format=RGB ! p. \
    multifilesrc location="$work/labels" loop=true num-buffers="$times" \
    ! rawvideoparse format=gray8 width=320 height=240 framerate=25/1 \
    "$(limit)" ! queue ! p.label \
    partimefilter name=p model="$root/pipelines/networks/segment.cfg" "$@" \
    "$end"
}

rm -f "$folder/segment.safetensors" "$folder/stats.json" "$folder/test.json"
echo "== labels out of depth"
unpack 1 30 || exit 1
echo "== learning; Ctrl-C ends it"
end="! fakesink"
pass "${PASSES:-20}" overlay=false stats-interval=100000000 \
  checkpoint-location="$folder/segment.safetensors" \
  stats-location="$folder/stats.json" || exit 1
echo "== frames not learned from"
unpack 31 40 || exit 1
stills=25/1
end=$(record "$folder/segment.mkv")
pass 1 learn=false weights="$folder/segment.safetensors" \
  stats-location="$folder/test.json" || exit 1
# shellcheck disable=SC2046
"$partime" plot "$folder/stats.json" $(stills_at 0 0.5 1) \
  -o "$folder/segment.png" || exit 1

echo "== done: $folder/segment.mkv, segment.png, stats.json, segment.safetensors"
echo "mean intersection over union, not learned from: $(newest_measured "$folder/test.json" miou total)"
