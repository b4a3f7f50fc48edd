#!/usr/bin/env bash
# Builds the Rust core in release mode and puts it at python/cuptime/_core.abi3.so. Called by `make ext`.
# Safe to run from several terminals: one build at a time, and the library is put in place by rename, so that a running
# process keeps the file it has mapped and an importing one sees the old or the new, never half.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-.venv/bin/python}
target_dir=${CARGO_TARGET_DIR:-target}
so=python/cuptime/_core.abi3.so
mkdir -p "$target_dir"

exec 9>"$target_dir/.ext.lock"
flock 9

# The library gets the time of the start of its build: a source saved during the build is newer and builds again.
started=$(mktemp "$target_dir/.ext.XXXXXX")
trap 'rm -f "$started"' EXIT
PYO3_PYTHON="$PWD/$python" cargo build --release ${CI:+--locked} -p cuptime-binding --features extension-module
case "$(uname -s)" in
  Darwin) built="$target_dir/release/lib_core.dylib" ;;
  *) built="$target_dir/release/lib_core.so" ;;
esac
cp "$built" "$so.new"
touch -r "$started" "$so.new"
mv -f "$so.new" "$so"
echo "ext: $so ($(wc -c <"$so") bytes)"
