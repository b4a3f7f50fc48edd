#!/usr/bin/env bash
# Builds the sdist and, from it, the wheel, into dist/ (or the folder given). From the sdist, so that a file which the
# sdist lacks is found here and not by whoever installs it. No network: build tools come from .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:-dist}" && cd "${1:-dist}" && pwd)
python=$PWD/.venv/bin/python
rm -f "$out"/cuptime-*.tar.gz "$out"/cuptime-*.whl

echo "== sdist"
PATH="$PWD/.venv/bin:$PATH" PYTHONPATH=build_backend "$python" -c \
  'import sys, backend; print(backend.build_sdist(sys.argv[1]))' "$out"

echo "== wheel"
# The sdist's build shares our target folder, so the crates are not compiled twice.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} PATH="$PWD/.venv/bin:$PATH" "$python" -m pip \
  --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation --no-input -w "$out" "$out"/cuptime-*.tar.gz
ls -l "$out"/cuptime-*
