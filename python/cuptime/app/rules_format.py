"""`cuptime rules fmt`: rule files in their canonical form."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from cuptime import core
from cuptime.app.core_parts import rule_tools
from cuptime.app.rules_check import NOTHING_READ, sources_of, tell
from cuptime.rules.compiled import build
from cuptime.rules.layout import Unstable, formatted


def fmt(paths: Sequence[Path], *, check: bool = False) -> int:
    """Writes each file of a good set in its canonical form, whole or not at all; with `check` only says which would
    change. 0 when all are canonical (now), 1 when not or when anything is wrong (then nothing is written), 2 when a
    file cannot be read or there is none."""
    sources = sources_of(paths)
    if not sources:
        return NOTHING_READ
    faults = build(rule_tools(), sources).faults
    if faults:
        tell(faults, sources, {})
        print("nothing is written: mend the faults first", file=sys.stderr)
        return 1
    changed: list[tuple[Path, bytes]] = []
    for name, source in sources:
        try:
            text = formatted(source, core.canonical_condition).encode()
        except Unstable as error:
            print(f"{name}: {error}; nothing is written", file=sys.stderr)
            return 1
        if text != Path(name).read_bytes():
            changed.append((Path(name), text))
    for path, text in changed:
        if not check:
            try:
                _replace(path.resolve(), text)
            except OSError as error:
                print(f"{path}: cannot be written: {error}", file=sys.stderr)
                return 1
        print(f"{path}: {'would change' if check else 'formatted'}")
    print(f"{len(sources)} files, {len(changed)} {'to format' if check else 'formatted'}")
    return 1 if check and changed else 0


def _replace(path: Path, text: bytes) -> None:
    """The file has the old text or the new one, whatever happens between; the one beside it is none that is watched."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    try:
        unfinished.write_bytes(text)
        unfinished.chmod(path.stat().st_mode & 0o7777)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
