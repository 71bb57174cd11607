#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Restore a picture: each frame of a video is compressed until it falls to
# blocks (JPEG, quality 8), a network makes a picture of it, and learns from
# the clean frame on its label pad.
#
# usage: pipelines/denoise.sh [FILE | DEVICE | URI [FOLDER]]
#   without: a surveillance clip out of the Debian package opencv-doc
#
# Leaves in FOLDER (denoise): denoise.mkv (the poor picture, the restored and
# the clean one), stats.json (lines of statistics), denoise.png (frames, and how
# it learned), denoise.safetensors (what was learned). Prints by how many dB the
# restored pictures of the last third are nearer to the clean ones than the
# poor ones are.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in -h|--help) usage "$0"; exit 0 ;; esac
prepare || exit 1
input=${1:-$(package_file opencv-doc vtest.avi)} || exit 1
source=$(source_of "$input") || exit 1
folder=${2:-denoise}
open_folder "$folder" || exit 1

rm -f "$folder/denoise.safetensors" "$folder/stats.json"
echo "== learning to restore; Ctrl-C ends it"
stills=1/2
few="videorate drop-only=true ! video/x-raw,framerate=1/3 ! filesink"
launch "$source" ! videoconvert "$(limit)" ! videoscale \
    ! video/x-raw,format=RGB,width=320,height=240,pixel-aspect-ratio=1/1 \
    ! tee name=clean \
  clean. ! queue ! videoconvert ! jpegenc quality=8 ! jpegdec ! videoconvert \
    ! video/x-raw,format=RGB ! tee name=poor \
  poor. ! queue ! p. clean. ! queue ! p.label \
  partimefilter name=p model="$root/pipelines/networks/denoise.cfg" \
    output=network checkpoint-location="$folder/denoise.safetensors" \
    stats-location="$folder/stats.json" stats-interval=100000000 \
    ! tee name=restored \
  poor. ! queue ! c.sink_0 restored. ! queue ! c.sink_1 \
  clean. ! queue ! c.sink_2 \
  poor. ! queue ! "$few" location="$work/poor.rgb" \
  restored. ! queue ! "$few" location="$work/restored.rgb" \
  clean. ! queue ! "$few" location="$work/clean.rgb" \
  compositor name=c sink_1::xpos=320 sink_2::xpos=640 \
    "$(record "$folder/denoise.mkv")" || exit 1
# shellcheck disable=SC2046
"$partime" plot "$folder/stats.json" $(stills_at 1) -o "$folder/denoise.png" \
  || exit 1

echo "== done: $folder/denoise.mkv, denoise.png, stats.json, denoise.safetensors"
restored=$(psnr_of "$work/restored.rgb" "$work/clean.rgb")
poor=$(psnr_of "$work/poor.rgb" "$work/clean.rgb")
echo "last third: restored $restored dB, compressed $poor dB"
awk "BEGIN { printf \"better than the compressed picture, in dB: %.2f\\n\", $restored - $poor }"
