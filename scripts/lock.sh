#!/usr/bin/env bash
# Compiles requirements/*.in into hashed lock files: one resolution that holds for every supported Python on Linux, with no
# index address in it. Called by `make lock`; pass --upgrade to move to newer versions within the ranges.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
# runtime first: the others are constrained by it.
for name in runtime build test lint bench calendars; do
  echo "== $name"
  ../.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --custom-compile-command "make lock" "$@" -o "$name.txt" "$name.in"
done
