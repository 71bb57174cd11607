#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Watch a network learn optical flow from a video it has never seen.
#
# usage: pipelines/quickstart.sh [FILE | DEVICE | URI]
#   FILE    a video of your own
#   DEVICE  a camera: /dev/video0 (Ctrl-C ends it)
#   URI     anything GStreamer plays: rtsp://..., http://...
#   without: a surveillance clip out of the Debian package opencv-doc
#
# Leaves flow.mkv (the video with its flow drawn over it), flow.png (three
# frames and the loss), flow.safetensors (what was learned).

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in
  -h|--help) sed -n '5,15s/^# \{0,1\}//p' "$0"; exit 0 ;;
  /dev/*) source="v4l2src device=$1" ;;
  *://*) source="uridecodebin uri=$1" ;;
  "") source="" ;;
  *) [ -f "$1" ] || { echo "error: there is no file $1" >&2; exit 1; }
    source="filesrc location=$1" ;;
esac

install_deps build run || exit 1
build || { echo "error: it does not build" >&2; exit 1; }
if [ -z "$source" ]; then
  clip=$(package_file opencv-doc vtest.avi) || exit 1
  source="filesrc location=$clip"
fi
case "$source" in
  filesrc*) source="$source ! decodebin" ;;
esac

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
rm -f flow.safetensors
echo "== learning; Ctrl-C ends it"
export GST_PLUGIN_PATH="$root/build/gst-plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
export GST_REGISTRY="$root/build/gst-registry.bin"
[ -t 1 ] && terminal=1 || terminal=0
# a camera's first Ctrl-C is for gst-launch, which ends the files well
trap : INT

# shellcheck disable=SC2086
{
  gst-launch-1.0 -e -m $source ! videoconvert ! queue \
    ! partimefilter model="$root/pipelines/networks/flow.cfg" \
      checkpoint-location=flow.safetensors stats-interval=250000000 \
    ! videoconvert ! tee name=t \
    t. ! queue ! vp8enc deadline=1 cpu-used=8 threads=1 target-bitrate=2000000 \
    ! matroskamux ! filesink location=flow.mkv \
    t. ! queue ! videorate drop-only=true ! video/x-raw,framerate=1/4 \
    ! videoconvert ! pngenc compression-level=1 \
    ! multifilesink location="$work/frame-%05d.png" max-files=40 2>&1
  echo "status $?"
} | tee "$work/log" \
  | awk -v terminal=$terminal -v losses="$work/loss.tsv" \
    -f "$root/pipelines/live-line.awk"

if [ "$(tail -n 1 "$work/log")" != "status 0" ] || ! [ -s flow.mkv ]; then
  grep -v "partime-learning\|^Got message\|^status" "$work/log" >&2
  echo "error: the pipeline failed" >&2
  exit 1
fi
frames=$(find "$work" -name 'frame-*.png' | sort | awk '{ f[NR] = $0 }
  END { if (NR) print "-f", f[1 + int((NR - 1) * 0.35)],
    "-f", f[1 + int((NR - 1) * 0.8)], "-f", f[NR] }')
# shellcheck disable=SC2086
"$root/build/lib/cli/partime" plot "$work/loss.tsv" $frames -o flow.png \
  || exit 1
[ -s flow.safetensors ] || { echo "error: no flow.safetensors" >&2; exit 1; }
echo "== done: flow.mkv, flow.png, flow.safetensors"
