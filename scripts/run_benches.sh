#!/usr/bin/env bash
# Runs benches one after the other, never two at once: criterion's for Rust, then every program in benches/, each of which
# prints its figures and writes them to benches/out/<name>.json. Names given choose: `make bench ARGS="wheel intake"`.
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p benches/out
failed=()

wanted() { # name
  ((${#only[@]} == 0)) || [[ " ${only[*]} " == *" $1 "* ]]
}

only=("$@")
echo "machine: $(nproc) cores, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2), load $(cut -d' ' -f1 /proc/loadavg)"
for crate in rust_core/*/; do
  name=$(basename "$crate")
  compgen -G "$crate/benches/*.rs" >/dev/null || continue
  wanted "$name" || continue
  echo "== $name (Rust)"
  cargo bench --quiet -p "cuptime-$name" || failed+=("$name")
done
for bench in benches/*.py; do
  grep -qs '^if __name__' "$bench" || continue
  name=$(basename "$bench" .py)
  name=${name#bench_}
  wanted "$name" || continue
  echo "== $name (Python)"
  PYTHONPATH=. .venv/bin/python "$bench" || failed+=("$name")
done
if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo "figures: benches/out/"
