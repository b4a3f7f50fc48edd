#!/usr/bin/env bash
# Says what the machine lacks before anything is built, with the command that brings it. As root in CI it brings it itself.
set -euo pipefail
python=${1:-python3}
packages=()
missing=()

need() { # program, Debian package, what for
  command -v "$1" >/dev/null 2>&1 && return
  packages+=("$2")
  missing+=("$1 ($3): apt-get install $2")
}
need "$python" python3 "runs the service"
# A compiler without the C library's start files is there and cannot link: so it is tried.
if ! cc -x c -o /dev/null - <<<'int main(void) { return 0; }' >/dev/null 2>&1; then
  packages+=(gcc libc6-dev)
  missing+=("a working C compiler (links the Rust core): apt-get install gcc libc6-dev")
fi
need flock util-linux "keeps two builds apart"
need git git "buf and the house rules read the repository"
if command -v "$python" >/dev/null 2>&1 && ! "$python" -c 'import venv, ensurepip' >/dev/null 2>&1; then
  packages+=(python3-venv)
  missing+=("the venv module of $python: apt-get install python3-venv")
fi

if ((${#packages[@]})) && [[ ${CI:-} && $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
  echo "== installing ${packages[*]}"
  DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" </dev/null
  missing=()
fi
if ! command -v cargo >/dev/null 2>&1; then
  missing+=("cargo (Rust 1.83 or later, builds the core): see rustup, the Rust installer")
fi
if command -v "$python" >/dev/null 2>&1 && ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  missing+=("$python is $("$python" -V 2>&1); Python 3.11 or later is needed: make PYTHON=python3.12 ...")
fi
if ((${#missing[@]})); then
  printf 'Missing on this machine:\n' >&2
  printf '  - %s\n' "${missing[@]}" >&2
  exit 1
fi
