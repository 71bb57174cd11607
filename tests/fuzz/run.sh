#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Fuzzes the readers of files with libFuzzer, under the address and
# undefined-behaviour sanitizers, in build-fuzz; what it learns stays in
# build-fuzz/corpus. Prints TAP; an input that crashes is left in
# build-fuzz/crashes: once fixed it belongs into tests/fuzz/kept.
#
# usage: tests/fuzz/run.sh [--seconds N] [--seed N] [NAME...]
#   --seconds  for each reader, 60 if not given
#   --seed     the same inputs each time, from the same corpus

set -u
cd "$(dirname "$0")/../.." || exit 1
. pipelines/install-deps.sh
seconds=60
seed=0
while [ $# -gt 0 ]; do
  case "$1" in
    --seconds) seconds=$2; shift ;;
    --seed) seed=$2; shift ;;
    --help) sed -n '5,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "error: unknown option $1, expected --seconds or --seed" >&2
      exit 2 ;;
    *) break ;;
  esac
  shift
done
build=$PWD/build-fuzz

fail () {
  echo "1..1"
  echo "not ok 1 - $1"
  exit 1
}

install_deps build fuzz >&2 || fail "the packages are not all there"
if [ ! -f "$build/build.ninja" ]; then
  CC=clang meson setup "$build" -Dfuzz=true -Db_sanitize=address,undefined \
    -Db_lundef=false -Dcuda=disabled -Dwerror=false \
    >"$build.log" 2>&1 || { cat "$build.log" >&2; fail "meson set up $build"; }
  mv "$build.log" "$build/setup.log"
fi
[ $# -gt 0 ] || set -- network darknet onnx safetensors checkpoint
targets=""
for name in "$@"; do targets="$targets tests/fuzz/fuzz-$name"; done
# shellcheck disable=SC2086
ninja -C "$build" $targets >"$build/compile.log" 2>&1 || {
  tail -n 30 "$build/compile.log" >&2
  fail "it builds"
}

# Leaves examples of what a reader expects in its corpus.
seed () {
  case "$1" in
    network) cp pipelines/networks/*.cfg "$2" ;;
    darknet) cp tests/fuzz/kept/darknet/* "$2" ;;
    onnx)
      root=$partime_cache/libonnx-testdata
      [ -d "$root" ] || download_package libonnx-testdata >&2
      find "$root" -name model.onnx -size -8k | while read -r model; do
        cp "$model" "$2/$(basename "$(dirname "$model")").onnx"
      done ;;
    safetensors | checkpoint)
      PARTIME_FUZZ_SEEDS=$2 "$build/tests/fuzz/fuzz-checkpoint" -runs=0 \
        >/dev/null 2>&1 ;;
  esac
}

export ASAN_OPTIONS="detect_leaks=1:allocator_may_return_null=1"
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1"
export LSAN_OPTIONS="suppressions=$PWD/tests/lsan.supp:print_suppressions=0"
export OMP_NUM_THREADS=1 G_SLICE=always-malloc
mkdir -p "$build/crashes"
echo "1..$#"
number=0
status=0
for name in "$@"; do
  number=$((number + 1))
  corpus=$build/corpus/$name
  if [ ! -d "$corpus" ]; then
    mkdir -p "$corpus"
    seed "$name" "$corpus"
  fi
  words=tests/fuzz/$name.dict
  # between two inputs its threads hold what then looks lost
  leaks=1
  [ "$name" != checkpoint ] || leaks=0
  "$build/tests/fuzz/fuzz-$name" -max_total_time="$seconds" -seed="$seed" \
    -rss_limit_mb=3000 -malloc_limit_mb=2500 -timeout=20 -max_len=16384 \
    -print_final_stats=1 -detect_leaks=$leaks $([ -f "$words" ] && echo "-dict=$words") \
    -artifact_prefix="$build/crashes/$name-" "$corpus" \
    "tests/fuzz/kept/$name" >"$build/$name.log" 2>&1
  if [ $? = 0 ]; then
    echo "ok $number - $name: $(sed -n 's/^stat::number_of_executed_units: //p' \
      "$build/$name.log") inputs"
  else
    status=1
    tail -n 60 "$build/$name.log" >&2
    echo "not ok $number - $name: see $build/$name.log"
  fi
done
exit $status
