#!/bin/sh
# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# On a machine with a GPU: all tests of a bundle, then its benchmarks, in
# bounded time. Needs python3; the benchmarks compare with its torch.
# Last line: N passed, N failed, N skipped
#
# usage: run.sh [--seconds N] [--only PART]... [--out FOLDER]
#               [--partime FOLDER] [--compile SECONDS] [--row NAME]...

set -u
here=$(cd "$(dirname "$0")" && pwd) || exit 1
PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}
export PATH

command -v python3 >/dev/null || {
  echo "error: there is no python3" >&2
  exit 1
}
for file in "$here"/lib/*.gz "$here"/tests/*.gz; do
  [ ! -f "$file" ] || gunzip "$file" || exit 1
done

# CUDA's libraries: the wheels of python3's torch, or the toolkit.
wheels=$(python3 - <<'END'
import glob
try:
    import nvidia
    print(':'.join(path for folder in nvidia.__path__
                   for path in sorted(glob.glob(folder + '/*/lib'))))
except ImportError:
    pass
END
)
PARTIME_CUDA_LIBS=${wheels:+$wheels:}/usr/local/cuda/lib64
# for our programs alone: python has libraries of its own
PARTIME_LIBS=$here/lib:$PARTIME_CUDA_LIBS${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export PARTIME_CUDA_LIBS PARTIME_LIBS PYTHONDONTWRITEBYTECODE=1
exec python3 "$here/suite.py" "$@"
