"""`cuptime rules check`: the checks of the server, without a server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from cuptime.app.core_parts import rule_tools
from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.compiled import build


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found.extend(sorted((*path.glob("*.yaml"), *path.glob("*.yml"))) if path.is_dir() else [path])
    return found


def check(paths: Sequence[Path]) -> int:
    """0 when all files together are a good rule set; else 1, with every fault as `file:line:column: code: message`."""
    sources = []
    for path in _files(paths):
        try:
            if path.stat().st_size > RULE_SOURCE_BYTES_MAX:
                print(f"{path}: larger than {RULE_SOURCE_BYTES_MAX} bytes", file=sys.stderr)
                return 1
            sources.append((str(path), path.read_text(encoding="utf-8")))
        except (OSError, UnicodeDecodeError) as error:
            print(f"{path}: cannot be read: {error}", file=sys.stderr)
            return 1
    if not sources:
        print("no rule files there; give *.yaml files or folders that have some", file=sys.stderr)
        return 1
    built = build(rule_tools(), sources)
    for fault in built.faults:
        print(fault, file=sys.stderr)
    print(f"{len(sources)} files, {built.rule_count} rules, {len(built.faults)} faults")
    return 1 if built.faults else 0
