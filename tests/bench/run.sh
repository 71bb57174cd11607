#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The benchmarks: ./tests/bench/run.sh [--quick] [--row NAME]...
# Builds for release in build-bench, prints a table, leaves bench.csv and
# bench.png there. Leave the machine alone meanwhile.
set -eu

cd "$(dirname "$0")/../.."

# PyTorch multiplies small matrices with whatever BLAS there is: give it the
# fast one, not the reference.
missing=
for package in meson ninja-build gcc pkg-config libglib2.0-dev \
    libjson-glib-dev libcairo2-dev libdnnl-dev libgstreamer1.0-dev \
    libgstreamer-plugins-base1.0-dev util-linux python3 python3-torch \
    libopenblas0-openmp python3-matplotlib; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
    grep -q 'install ok installed' || missing="$missing $package"
done
if [ -n "$missing" ]; then
  echo "Installing$missing"
  sudo=
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -q
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -q \
    --no-install-recommends $missing
fi

if [ ! -f build-bench/build.ninja ]; then
  echo "Setting up build-bench"
  meson setup build-bench -Dbuildtype=release >/dev/null
fi
echo "Building"
ninja -C build-bench lib/cli/partime tests/bench/bench tests/bench/element tests/bench/peak \
  gst-plugin/libgstpartimefilter.so >build-bench/build.log || {
  cat build-bench/build.log
  exit 1
}

# where torch and matplotlib are, whatever other Python comes first
/usr/bin/python3 tests/bench/make-nets.py build-bench/nets
exec /usr/bin/python3 tests/bench/run.py build-bench "$@"
