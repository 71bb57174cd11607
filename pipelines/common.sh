# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What the ready pipelines share. To be sourced, with $root set:
#   . "$root/pipelines/common.sh"

. "$root/pipelines/install-deps.sh"

# build: the element, if it is not there or old.
build () (
  cd "$root" || exit 1
  [ -f build/build.ninja ] || meson setup build >/dev/null || exit 1
  echo "== building"
  ninja -C build >build/compile.log || { cat build/compile.log; exit 1; }
)

# prepare: packages, the element, and where GStreamer finds it. Tests name a
# build of their own with PARTIME_BUILD.
prepare () {
  if [ -z "${PARTIME_BUILD:-}" ]; then
    install_deps build run || return 1
    build || { echo "error: it does not build" >&2; return 1; }
    PARTIME_BUILD=$root/build
  fi
  partime=$PARTIME_BUILD/lib/cli/partime
  GST_PLUGIN_PATH="$PARTIME_BUILD/gst-plugin${GST_PLUGIN_PATH:+:$GST_PLUGIN_PATH}"
  GST_REGISTRY="$PARTIME_BUILD/gst-registry.bin"
  export GST_PLUGIN_PATH GST_REGISTRY
}

# usage FILE: the comment at its top, from line 4 to the first empty line.
usage () {
  sed -n '5,/^$/s/^# \{0,1\}//p' "$1"
}

# source_of FILE | DEVICE | URI: the start of a pipeline that plays it.
source_of () {
  case "$1" in
    /dev/*) echo "v4l2src device=$1" ;;
    *://*) echo "uridecodebin uri=$1" ;;
    *) [ -f "$1" ] || { echo "error: there is no file $1" >&2; return 1; }
      echo "filesrc location=$1 ! decodebin" ;;
  esac
}

# limit: of how many frames, for tests: FRAMES=120 pipelines/NAME.sh
limit () {
  [ -z "${FRAMES:-}" ] || echo "! identity eos-after=$FRAMES"
}

# open_folder FOLDER: makes it; $work is a scratch folder until the end.
open_folder () {
  mkdir -p "$1" && work=$(mktemp -d) || return 1
  trap 'rm -rf "$work"' EXIT
}

# launch DESCRIPTION...: runs a pipeline; what it says goes to $work/log, its
# learning as a live line to the terminal, its losses to $work/loss.tsv.
launch () {
  terminal=0
  [ ! -t 1 ] || terminal=1
  # a camera's first Ctrl-C is for gst-launch, which ends the files well
  trap : INT
  {
    # shellcheck disable=SC2068
    gst-launch-1.0 -e -m $@ 2>&1
    echo "status $?"
  } | tee "$work/log" | awk -v terminal=$terminal -v losses="$work/loss.tsv" \
    -f "$root/pipelines/live-line.awk"
  [ "$(tail -n 1 "$work/log")" = "status 0" ] && return 0
  grep -v "partime-learning\|^Got message\|^status" "$work/log" >&2
  echo "error: the pipeline failed" >&2
  return 1
}

# The end of a pipeline that writes a video, and one frame in four seconds (or
# at $stills frames a second) as pictures for picture().
# One thread: two of them spin, which starves the rest on a busy machine.
# record VIDEO
record () {
  echo "! videoconvert ! tee name=t
    t. ! queue ! vp8enc deadline=1 cpu-used=8 threads=1 target-bitrate=2000000
    ! matroskamux ! filesink location=$1
    t. ! queue ! videorate drop-only=true ! video/x-raw,framerate=${stills:-1/4}
    ! videoconvert ! pngenc compression-level=1
    ! multifilesink location=$work/frame-%05d.png"
}

# stills_at PART...: file names of frames of record(), each at a part of the
# run from 0 to 1, as options of partime plot.
stills_at () {
  find "$work" -name 'frame-*.png' | sort | awk -v parts="$*" '
    { f[NR] = $0 }
    END {
      n = split (parts, at, " ")
      for (i = 1; i <= n && NR; i++)
        print "-f", f[1 + int ((NR - 1) * at[i] + 0.5)]
    }'
}

# scores: "frame<TAB>score" out of $work/log, of [output] kind=error.
scores () {
  sed -n 's/.*partime-score, frame=(guint64)\([0-9]*\),.*score=(double)\([-+.0-9e]*\);.*/\1\t\2/p' "$work/log"
}

# auc FIRST SECOND: how often a number of the file FIRST is above one of SECOND:
# the area under the ROC curve.
auc () {
  awk 'NR == FNR { a[++n] = $1; next } { b[++m] = $1 }
    END {
      for (i = 1; i <= n; i++)
        for (j = 1; j <= m; j++)
          wins += a[i] > b[j] ? 1 : a[i] == b[j] ? 0.5 : 0
      if (n * m == 0)
        exit 1
      printf "%.3f\n", wins / (n * m)
    }' "$1" "$2"
}

# measured FILE NAME FIELD: "frame value" out of each line of a file of
# stats-location: newest, recent (of 100 frames) or total of a measure.
measured () {
  sed -n 's/.*"frame" *: *\([0-9]*\),.*"'"$2"'" *: *{[^}]*"'"$3"'" *: *\([-+.0-9e]*\).*/\1 \2/p' "$1"
}

# newest_measured FILE NAME FIELD: the last of these.
newest_measured () {
  measured "$@" | awk '{ last = $2 } END { if (last == "") print "nan"; else printf "%.4f\n", last }'
}

# psnr_from FILE NAME PART: the PSNR of all frames from a part of the run on
# (2/3: 0.6667), out of its totals.
psnr_from () {
  measured "$1" "$2" total | awk -v part="$3" '
    { frame[NR] = $1; sum[NR] = $1 * 10 ^ (-$2 / 10) }
    END {
      for (i = 1; i < NR && frame[i] < part * frame[NR]; i++)
        ;
      if (frame[NR] > frame[i])
        printf "%.2f\n", -10 / log (10) * log ((sum[NR] - sum[i]) / \
          (frame[NR] - frame[i]))
    }'
}

# psnr_of FILE OTHER: of two files of as many bytes, from two thirds on.
psnr_of () {
  size=$(wc -c <"$1")
  tail -c "$((size / 3))" "$1" >"$work/one"
  tail -c "$((size / 3))" "$2" >"$work/other"
  # cmp says each byte that differs, in octal
  cmp -l "$work/one" "$work/other" | awk -v n="$((size / 3))" '
    BEGIN { for (i = 0; i < 256; i++) value[sprintf ("%o", i)] = i }
    { d = value[$2] - value[$3]; sum += d * d }
    END { printf "%.2f\n", -10 / log (10) * log (sum / n / 255 / 255) }'
}

# plot_scores SCORES OPTION...: partime plot of "frame<TAB>score".
plot_scores () {
  awk '{ printf "{\"frame\":%d,\"measures\":{\"score\":{\"unit\":\"\"," \
    "\"higher-is-better\":false,\"newest\":%g,\"recent\":%g}}}\n", $1, $2, $2 }' \
    "$1" >"$work/scores.json"
  shift
  "$partime" plot "$work/scores.json" "$@"
}
