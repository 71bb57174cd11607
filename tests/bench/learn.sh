#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Proof that it learns, in every mode, cut into 1, 2, 4 and 9 stages:
#   ./tests/bench/learn.sh [--quick] [--row NAME]... [--seeds N]
# Builds for release in build-bench, prints tables and whether the goals are
# reached, leaves learning.csv and learning.png there. --quick: one seed, under
# ten minutes; else three seeds, under an hour. Rows: photo castle fashion next
# anomaly.
set -eu

cd "$(dirname "$0")/../.."
. pipelines/install-deps.sh

install_deps build run test || exit 1
if [ -n "$(missing_packages python3-matplotlib)" ]; then
  as_root apt-get -q -q -y install --no-install-recommends python3-matplotlib
fi

if [ ! -f build-bench/build.ninja ]; then
  echo "== setting up build-bench"
  meson setup build-bench -Dbuildtype=release >/dev/null
fi
echo "== building"
ninja -C build-bench lib/cli/partime >build-bench/build.log || {
  cat build-bench/build.log
  exit 1
}
OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 \
  tests/bench/learn.py build-bench/lib/cli/partime --out build-bench "$@"
