#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes one folder that runs on a machine with a GPU, whatever else that lacks:
# library, plugin, command, CUDA module, tests, benchmarks, GStreamer.
#
# usage: tests/gpu/bundle.sh [FOLDER]    default: build-gpu/bundle
#
# There: FOLDER/run.sh; README.md says more.

set -u
cd "$(dirname "$0")/../.." || exit 1
. pipelines/install-deps.sh

[ "${1:-}" != --help ] || { sed -n '5,10s/^# \{0,1\}//p' "$0"; exit 0; }
out=${1:-build-gpu/bundle}
build=build-gpu/build
root=build-gpu/root
limit=50000000
# of GStreamer: what gst-launch-1.0 needs for a pipeline of test pictures
plugins="coreelements videotestsrc videoconvertscale videorate app"

fail () {
  echo "error: $1" >&2
  exit 1
}

# compile: for release and all GPUs, installed below $root: what lies there
# looks for libraries nowhere on this machine.
compile () {
  PATH=$PATH:/usr/local/cuda/bin
  if [ ! -f $build/build.ninja ]; then
    meson setup $build -Dbuildtype=release -Dcuda=enabled -Dprefix=/usr \
      -Dlibdir=lib >build-gpu/setup.log || {
      cat build-gpu/setup.log
      fail "the CUDA module needs nvcc and cuDNN"
    }
  fi
  echo "== building in $build"
  ninja -C $build >build-gpu/compile.log || {
    cat build-gpu/compile.log
    fail "it does not build"
  }
  rm -rf $root
  meson install -C $build --no-rebuild --strip --destdir "$PWD/$root" \
    >build-gpu/install.log || fail "see build-gpu/install.log"
}

# Ours: bin, lib, lib/partime, lib/gstreamer, tests, bench.
copy_own () {
  installed=$root/usr
  mkdir -p "$out/bin" "$out/lib/partime" "$out/lib/gstreamer" "$out/tests" \
    "$out/bench" "$out/data" || fail "cannot write to $out"
  cp $installed/bin/partime "$out/bin/" \
    && cp -L $installed/lib/libpartime.so.0 "$out/lib/" \
    && cp $installed/lib/partime/*.so "$out/lib/partime/" \
    && cp $installed/lib/gstreamer-1.0/*.so "$out/lib/gstreamer/" \
    && cp tests/data/*.safetensors tests/data/*.json pipelines/networks/next-frame.cfg \
      "$out/data/" \
    && cp tests/gpu/run.sh tests/gpu/suite.py tests/gpu/README.md \
      tests/count.py "$out/" \
    && cp tests/bench/*.py "$out/bench/" \
    && strip -o "$out/bench/bench" $build/tests/bench/bench \
    || fail "something of our own is missing"
  if [ -f $build/tests/gpu/libgpu-trace.so ]; then
    strip -o "$out/bench/libgpu-trace.so" $build/tests/gpu/libgpu-trace.so
  else
    echo "note: no CUPTI here, kernel times will not be measured"
  fi
  /usr/bin/python3 tests/bench/make-nets.py "$out/bench/nets" \
    && /usr/bin/python3 tests/gpu/plan.py $build >"$out/plan.json" \
    || fail "no plan of the tests"
  sed -n 's/.*"program": "\(.*\)",*$/\1/p' "$out/plan.json" | sort -u |
    while read -r program; do
      strip -o "$out/tests/${program##*/}" "$program" || exit 1
    done || fail "a test program is missing"
  git describe --always --dirty >"$out/version" 2>/dev/null || :
}

# packaged PACKAGE PATH: leaves a package in the cache, without installing it,
# and prints where a file of it lies whose path ends so.
packaged () {
  found=$(find "$partime_cache/$1" -path "*/$2" 2>/dev/null | head -n 1)
  if [ -z "$found" ]; then
    download_package "$1" >&2 || return 1
    found=$(find "$partime_cache/$1" -path "*/$2" | head -n 1)
  fi
  [ -e "$found" ] || {
    echo "error: the package $1 has no $2" >&2
    return 1
  }
  echo "$found"
}

# Programs and plugins of GStreamer.
copy_gstreamer () {
  for name in gst-launch-1.0 gst-inspect-1.0; do
    file=$(packaged gstreamer1.0-tools bin/$name) || exit 1
    cp "$file" "$out/bin/"
  done
  file=$(packaged libgstreamer1.0-0 gst-plugin-scanner) || exit 1
  cp "$file" "$out/bin/"
  for name in $plugins; do
    package=gstreamer1.0-plugins-base
    [ "$name" != coreelements ] || package=libgstreamer1.0-0
    file=$(packaged $package "libgst$name.so") || exit 1
    cp "$file" "$out/lib/gstreamer/"
  done
}

# needs: names of the libraries that what is in $out needs, without those
# every machine has and those that come with CUDA and its driver.
needs () {
  find "$out/bin" "$out/lib" "$out/tests" "$out/bench" -type f |
    while read -r file; do readelf -d "$file" 2>/dev/null; done |
    sed -n 's/.*(NEEDED).*\[\(.*\)\].*/\1/p' | sort -u |
    grep -Ev '^(ld-linux.*|lib(c|m|dl|rt|pthread|gcc_s|stdc\+\+|cuda|cudart|cudnn.*|cublas.*|cupti|nvrtc)\.so.*)$'
}

# Each one out of the package it comes from, until nothing more is needed.
copy_libraries () {
  while :; do
    before=$(find "$out/lib" -type f | wc -l)
    for name in $(needs); do
      [ ! -f "$out/lib/$name" ] || continue
      package=$(dpkg -S "*/$name" 2>/dev/null |
        sed -n "s|^\([^:, ]*\).*/$name\$|\1|p" | head -n 1)
      [ -n "$package" ] || fail "no package here has $name"
      file=$(packaged "$package" "$name") || exit 1
      cp -L "$file" "$out/lib/$name"
      echo "$package" >>"$out/packages"
    done
    [ "$before" != "$(find "$out/lib" -type f | wc -l)" ] || break
  done
  sort -u -o "$out/packages" "$out/packages"
}

# The largest are packed, and the tests, each of which has the library within;
# run.sh unpacks them.
pack () {
  { find "$out/lib" -maxdepth 1 -type f -size +512k; find "$out/tests" -type f -name 'test-*'
  } | while read -r file; do
    gzip -9n "$file"
  done
}

check () {
  for name in $(needs); do
    [ -f "$out/lib/$name" ] || [ -f "$out/lib/$name.gz" ] \
      || fail "$name is missing"
  done
  size=$(du -sb "$out" | cut -f 1)
  echo "== $out: $((size / 1000000)) MB, $(find "$out" -type f | wc -l) files"
  [ "$size" -lt $limit ] || fail "more than $((limit / 1000000)) MB"
}

install_deps build run || exit 1
mkdir -p build-gpu && compile
[ ! -e "$out" ] || [ -f "$out/plan.json" ] || fail "$out is there already"
rm -rf "$out"
copy_own
copy_gstreamer
copy_libraries
pack
check
