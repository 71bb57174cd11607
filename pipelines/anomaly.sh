#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Watch a scene and mark what was not to be expected in it: a network predicts
# each frame from the three before, learns from the error as it goes, and the
# error is drawn as a heat map.
#
# usage: pipelines/anomaly.sh [FILE | DEVICE | URI [FOLDER]]
#   without: a still table, then a pen that pushes a coin, out of the Debian
#   package node-opencv
#
# Leaves in FOLDER (anomaly): anomaly.mkv (the video with its heat map),
# scores.tsv (frame and score), anomaly.png (three frames and the score),
# anomaly.safetensors (what was learned). Prints how much higher the score is
# while the pen moves than while nothing does; of a video of yours, the frame
# of the highest score and how far it is above the median.

set -u
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/pipelines/common.sh"

case "${1:-}" in -h|--help) usage "$0"; exit 0 ;; esac
prepare || exit 1
input=${1:-$(package_file node-opencv motion.mov)} || exit 1
source=$(source_of "$input") || exit 1
folder=${2:-anomaly}
open_folder "$folder" || exit 1

rm -f "$folder/anomaly.safetensors"
echo "== learning what is usual; Ctrl-C ends it"
stills=5/1
launch "$source" ! videoconvert ! queue "$(limit)" ! partimefilter \
  model="$root/pipelines/networks/anomaly.cfg" \
  checkpoint-location="$folder/anomaly.safetensors" stats-interval=250000000 \
  "$(record "$folder/anomaly.mkv")" || exit 1
scores >"$folder/scores.tsv"
# shellcheck disable=SC2046
plot_scores "$folder/scores.tsv" $(stills_at 0.15 0.42 0.8) \
  -o "$folder/anomaly.png" || exit 1

# Frames of the package's clip, by eye: nothing moves on the table, or the pen
# and the coin do. What is neither (a hand at the edge) is left out.
echo "== done: $folder/anomaly.mkv, anomaly.png, scores.tsv, anomaly.safetensors"
if [ $# -eq 0 ] || [ "$(basename "$input")" = motion.mov ]; then
  awk -v still="4-15 31-41 212-224" \
    -v moves="44-49 72-86 98-150 155-165 180-210" -v work="$work" '
    function within (ranges, n, i, ends, parts) {
      n = split (ranges, parts, " ")
      for (i = 1; i <= n; i++) {
        split (parts[i], ends, "-")
        if ($1 >= ends[1] + 0 && $1 <= ends[2] + 0)
          return 1
      }
      return 0
    }
    within(still) { print $2 > (work "/still"); s += $2; n++ }
    within(moves) { print $2 > (work "/moves"); m += $2; k++ }
    END {
      if (n * k == 0) { print "error: the clip is too short" ; exit 1 }
      printf "score while the pen moves / while nothing does: %.2f\n",
        (m / k) / (s / n)
    }' "$folder/scores.tsv" || exit 1
  echo "area under the ROC curve: $(auc "$work/moves" "$work/still")"
else
  sort -k 2 -g "$folder/scores.tsv" | awk '
    { frame[NR] = $1; score[NR] = $2 }
    END { printf "highest score: frame %d, %.1f times the median\n", frame[NR],
      score[NR] / score[int ((NR + 1) / 2)] }'
fi
