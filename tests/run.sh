#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Installs what is missing, builds, and runs every test. Last line:
#   N passed, N failed, N skipped
#
# usage: tests/run.sh [--asan | --tsan] [--also NAME.tap]... [TEST...]
#   --asan  address and undefined-behaviour sanitizers, in build-asan
#   --tsan  thread sanitizer, in build-tsan
#   --also  counts results of a test that ran before

set -u
cd "$(dirname "$0")/.." || exit 1
. pipelines/install-deps.sh

folder=build
options=""
also=""
suites=""
while [ $# -gt 0 ]; do
  case "$1" in
    # Python is not built for the sanitizers: its tests stay out
    --asan) folder=build-asan
      options="-Db_sanitize=address,undefined -Db_lundef=false -Dcuda=disabled"
      suites="--no-suite python --timeout-multiplier 3" ;;
    --tsan) folder=build-tsan
      options="-Db_sanitize=thread -Db_lundef=false -Dcuda=disabled"
      suites="--no-suite python --timeout-multiplier 3" ;;
    --also) also="$also $2"; shift ;;
    --help) sed -n '5,11s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "error: unknown option $1, expected --asan, --tsan or --also" >&2
      exit 2 ;;
    *) break ;;
  esac
  shift
done

fail () {
  echo "$1" >&2
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}

install_deps build run test fuzz || fail "error: the packages are not all there"
if [ ! -f $folder/build.ninja ]; then
  echo "== setting up $folder"
  # shellcheck disable=SC2086
  meson setup $folder $options >$folder.log 2>&1 || {
    cat $folder.log
    fail "error: meson could not set up $folder"
  }
  mv $folder.log $folder/setup.log
fi
echo "== building in $folder"
ninja -C $folder >$folder/compile.log 2>&1 || {
  cat $folder/compile.log
  fail "error: it does not build"
}
echo "== running the tests; what they say is in $folder/meson-logs/testlog.txt"
# OpenMP's own threads are not built for the thread sanitizer either
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:fast_unwind_on_malloc=0}"
export LSAN_OPTIONS="${LSAN_OPTIONS:-suppressions=$PWD/tests/lsan.supp:print_suppressions=0}"
[ $folder = build ] || export OMP_WAIT_POLICY=passive
export TSAN_OPTIONS="${TSAN_OPTIONS:-suppressions=$PWD/tests/tsan.supp:history_size=7}"
# they are slow: a shorter soak will do
[ $folder = build ] || export SOAK_FRAMES="${SOAK_FRAMES:-10000}"
# slices of GLib would hide who owned a piece of memory before
export G_SLICE=always-malloc
rm -f $folder/meson-logs/testlog.json
# shellcheck disable=SC2086
meson test -C $folder --no-rebuild --print-errorlogs $suites "$@"
status=$?
[ -f $folder/meson-logs/testlog.json ] || fail "error: no test ran"
# shellcheck disable=SC2086
/usr/bin/python3 tests/count.py $status $folder/meson-logs/testlog.json $also
