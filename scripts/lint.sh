#!/usr/bin/env bash
# Every static check, each with its time; all of them run even when one fails, and the list at the end says which did.
# `scripts/lint.sh mypy ruff` runs those two. Called by `make lint`, which has set everything up.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
export MYPYPATH=$PWD/python
failed=()
passed=()

check() { # name, then the command
  local name=$1 started=$SECONDS
  shift
  if ((${#only[@]})) && [[ " ${only[*]} " != *" $name "* ]]; then return; fi
  echo "== $name"
  if "$@"; then passed+=("$name $((SECONDS - started))s"); else failed+=("$name"); fi
}

imports() { # The banner is taken off; what is left says which contract holds.
  local report
  report=$("$bin/lint-imports" 2>&1) && { grep -E '^Contracts:|KEPT' <<<"$report"; return 0; }
  sed -n '/^Contracts$/,$p' <<<"$report" | grep . || echo "$report"
  return 1
}

breaking() { # Against the last release; else, on a branch, against where it left main; else there is nothing to break.
  local base
  base=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)
  if [[ -z $base ]]; then
    local main
    for main in origin/main main; do
      git rev-parse --quiet --verify "$main^{commit}" >/dev/null || continue
      base=$(git merge-base HEAD "$main" 2>/dev/null || true)
      [[ $base == "$(git rev-parse HEAD)" ]] && base=
      [[ -n $base ]] && break
    done
  fi
  if [[ -z $base ]]; then
    echo "nothing to compare with: no tag v* yet, and this commit is main itself"
    return 0
  fi
  if [[ -z $(git ls-tree --name-only "$base" proto) ]]; then
    echo "nothing to compare with: $base has no proto/"
    return 0
  fi
  echo "compared with $base"
  "$bin/buf" breaking proto --against ".git#ref=$base,subdir=proto" --config buf.yaml
}

clippy() {
  cargo clippy --workspace --all-targets --quiet ${CI:+--locked} -- -D warnings
}

only=("$@")
check ruff "$bin/ruff" check --quiet .
check format "$bin/ruff" format --check --quiet .
check mypy "$bin/mypy" --no-error-summary
check stubtest "$bin/python" -m mypy.stubtest cuptime._core --concise
check imports imports
check buf "$bin/buf" lint
check breaking breaking
check rustfmt cargo fmt --all --check
check clippy clippy

((${#passed[@]})) && { printf 'passed: '; printf '%s  ' "${passed[@]}"; echo; }
if ((${#failed[@]})); then
  echo "FAILED: ${failed[*]}"
  exit 1
fi
echo "lint: all checks passed"
