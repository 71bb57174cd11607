# SPDX-FileCopyrightText: partimefilter contributors
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The one place that knows which Debian packages there must be. To be sourced:
#   . pipelines/install-deps.sh
#   install_deps build run      # groups; installs only what is missing

deps_build="meson ninja-build gcc libc6-dev pkg-config libglib2.0-dev
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libdnnl-dev
  libjson-glib-dev libcairo2-dev libonnx-dev libprotobuf-c-dev
  protobuf-c-compiler"
deps_run="gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good
  gstreamer1.0-libav"
deps_test="g++ python3 python3-gi gir1.2-gstreamer-1.0 python3-numpy python3-torch python3-pil procps"
deps_fuzz="clang libclang-rt-dev libomp-dev"

as_root () {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo "$@"
  else
    echo "error: '$*' needs root: run this as root, or install sudo" >&2
    return 1
  fi
}

# Prints those of its arguments that are not installed.
missing_packages () {
  for package in "$@"; do
    case "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" in
      *"install ok installed") ;;
      *) echo "$package" ;;
    esac
  done
}

# Package lists can be old, or not there yet; they are fetched once.
update_lists () {
  [ -z "${lists_updated:-}" ] || return 0
  echo "== package lists: apt-get update"
  as_root apt-get -q -q update || return 1
  lists_updated=yes
}

install_deps () {
  wanted=""
  for group in "$@"; do
    eval "wanted=\"\$wanted \$deps_$group\""
  done
  # shellcheck disable=SC2086
  missing=$(missing_packages $wanted | tr '\n' ' ')
  if [ -z "$missing" ]; then
    echo "== packages: all there"
    return 0
  fi
  echo "== packages: installing $missing"
  update_lists || return 1
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -q -y \
    -o Dpkg::Use-Pty=0 install --no-install-recommends $missing >&2 || {
    echo "error: apt-get could not install $missing" >&2
    return 1
  }
}

partime_cache=${XDG_CACHE_HOME:-$HOME/.cache}/partimefilter

# package_file PACKAGE NAME: leaves a file out of a package's data in the
# cache, without installing the package, and prints its path.
package_file () {
  folder=$partime_cache/$1
  found=$(unpacked_file "$folder" "$2")
  if [ -z "$found" ]; then
    echo "== $2: out of the package $1" >&2
    download_package "$1" >&2 || return 1
    found=$(unpacked_file "$folder" "$2")
  fi
  [ -n "$found" ] || {
    echo "error: the package $1 has no $2" >&2
    return 1
  }
  echo "$found"
}

# unpacked_file FOLDER NAME: its path; packed ones are unpacked first.
unpacked_file () {
  packed=$(find "$1" -name "$2.gz" -type f 2>/dev/null | head -n 1)
  [ -z "$packed" ] || gunzip "$packed" || return 1
  find "$1" -name "$2" -type f 2>/dev/null | head -n 1
}

# Unpacks a package below the cache; half a download leaves nothing there.
download_package () {
  part=$partime_cache/$1.part
  rm -rf "$part"
  mkdir -p "$part" || return 1
  (cd "$part" && apt-get -q -q download "$1" 2>/dev/null) || {
    update_lists && (cd "$part" && apt-get -q -q download "$1")
  } || {
    echo "error: apt-get could not download $1" >&2
    return 1
  }
  dpkg -x "$part"/*.deb "$part" && rm -f "$part"/*.deb \
    && rm -rf "$partime_cache/$1" && mv "$part" "$partime_cache/$1"
}
