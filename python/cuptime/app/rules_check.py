"""`cuptime rules check`, `test` and `explain`: what the server would say of rule files, without a server."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec.structs import asdict

from cuptime.app.core_parts import rule_tools
from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.chinese import MEANINGS
from cuptime.rules.compiled import Built, build, warnings
from cuptime.rules.diagnostic import Diagnostic
from cuptime.rules.nodes import Scalar
from cuptime.rules.reading import content_of, is_text, shown_name
from cuptime.rules.trials import facts_of

NOTHING_READ: Final = 2
"""The exit code when there is nothing that could be good or bad."""
CARET_COLUMNS_MAX = 200
"""Longer lines are not shown below their fault."""


def files_of(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        found.extend(sorted((*path.glob("*.yaml"), *path.glob("*.yml"))) if path.is_dir() else [path])
    return found


def sources_of(paths: Sequence[Path]) -> list[tuple[str, str]]:
    """(file name, YAML) of all files; empty when one cannot be read, which is then said."""
    sources = []
    for path in files_of(paths):
        if not is_text(str(path)):
            print(f"{shown_name(str(path))}: the name of the file is not UTF-8", file=sys.stderr)
            return []
        try:
            content = content_of(path, RULE_SOURCE_BYTES_MAX)
            if len(content) > RULE_SOURCE_BYTES_MAX:
                print(f"{path}: larger than {RULE_SOURCE_BYTES_MAX} bytes", file=sys.stderr)
                return []
            text = content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
            sources.append((str(path), text))
        except (OSError, UnicodeDecodeError) as error:
            print(f"{path}: cannot be read: {error}", file=sys.stderr)
            return []
    if not sources:
        print("no such files there; give *.yaml files or folders that have some", file=sys.stderr)
    return sources


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def caret(source: str, line: int, column: int) -> list[str]:
    """The line of a fault and a caret below its column; nothing when the line is too long to help."""
    lines = source.removeprefix("\ufeff").splitlines()
    if not 1 <= line <= len(lines) or len(lines[line - 1]) > CARET_COLUMNS_MAX:
        return []
    text = lines[line - 1].replace("\t", " ")
    return [f"    {text}", f"    {' ' * _width(text[: column - 1])}^"]


def tell(
    faults: Sequence[Diagnostic], sources: Sequence[tuple[str, str]], meanings: Mapping[str, str]
) -> None:
    texts = dict(sources)
    for fault in faults:
        print(fault.told(meanings), file=sys.stderr)
        for line in caret(texts.get(fault.file, ""), fault.line, fault.column):
            print(line, file=sys.stderr)


def _built(paths: Sequence[Path], *, chinese: bool = False) -> Built | None:
    """The rule set of some files, its faults told; None when there are no files."""
    meanings = MEANINGS if chinese else {}
    sources = sources_of(paths)
    if not sources:
        return None
    tools = rule_tools()
    built = build(tools, sources)
    odd = warnings(built, tools.actions)
    _summary(built, odd, sources, meanings)
    return built


def _summary(
    built: Built,
    odd: Sequence[Diagnostic],
    sources: Sequence[tuple[str, str]],
    meanings: Mapping[str, str],
) -> None:
    tell(built.faults, sources, meanings)
    for found in odd:
        print(f"warning: {found.told(meanings)}", file=sys.stderr)
    tests = built.trials.passed + sum(fault.code == "TEST_FAILED" for fault in built.trials.faults)
    tested = f", {built.trials.passed} tests passed" if tests else ""
    warned = f", {len(odd)} warnings" if odd else ""
    print(
        f"{len(sources)} files, {built.rule_count} rules, {len(built.faults)} faults{tested}{warned}{_cost(built)}"
    )


def _cost(built: Built) -> str:
    """What the rules can cost at most, and which can cost most."""
    costs = built.compiled.costs() if built.compiled is not None else []
    if not costs or built.compiled is None:
        return ""
    rule = built.compiled.rule_ids()[costs.index(max(costs))]
    return f"; at most {sum(costs)} steps an order, {max(costs)} of them for {rule}"


def check(
    paths: Sequence[Path], *, chinese: bool = False, strict: bool = False, as_json: bool = False
) -> int:
    """0 when all files together are a good rule set, 1 when not, 2 when a file cannot be read or there is none; with
    `strict` a warning is as bad as a fault. Each fault is told as `file:line:column: code: message`, or all as JSON."""
    sources = sources_of(paths)
    if not sources:
        return NOTHING_READ
    tools = rule_tools()
    built = build(tools, sources)
    odd = warnings(built, tools.actions)
    if as_json:
        print(json.dumps(_as_json(built, odd, len(sources)), ensure_ascii=False, indent=2))
    else:
        _summary(built, odd, sources, MEANINGS if chinese else {})
    return 1 if built.faults or (strict and odd) else 0


def _as_json(built: Built, odd: Sequence[Diagnostic], files: int) -> dict[str, Any]:
    compiled = built.compiled
    costs = dict(zip(compiled.rule_ids(), compiled.costs(), strict=True)) if compiled is not None else {}
    return {
        "good": compiled is not None,
        "files": files,
        "rules": built.rule_count,
        "digest": compiled.digest if compiled is not None else "",
        "faults": [_diagnostic(fault) for fault in built.faults],
        "warnings": [_diagnostic(found) for found in odd],
        "tests_passed": built.trials.passed,
        "uncovered": built.trials.uncovered,
        "cost_steps": sum(costs.values()),
        "cost_steps_by_rule": costs,
    }


def _diagnostic(fault: Diagnostic) -> dict[str, Any]:
    return {**asdict(fault), "meaning_zh": MEANINGS.get(fault.code, "")}


def test(paths: Sequence[Path]) -> int:
    """As `check`; also says which rules no test saw both matching and not matching."""
    built = _built(paths)
    if built is None:
        return NOTHING_READ
    if built.compiled is not None or built.trials.faults:
        print(
            f"covered: {built.trials.covered} of {built.rule_count} rules match in one test and not in another"
        )
        for rule in built.trials.uncovered:
            print(f"  not covered: {rule}")
    return 1 if built.faults else 0


def explain(paths: Sequence[Path], facts: Sequence[str], at_ms: int) -> int:
    """What each rule says of the facts given as `name=value`, in rank order."""
    built = _built(paths)
    if built is None:
        return NOTHING_READ
    if built.compiled is None:
        return 1
    written = {}
    for fact in facts:
        name, sign, value = fact.partition("=")
        if not sign:
            print(f"{fact!r} is not name=value", file=sys.stderr)
            return 1
        written[name.strip()] = Scalar(1, 1, value.strip(), "", 0, 0)
    row, wrong = facts_of(dict(written), rule_tools().schema)
    for _, message, hint in wrong:
        print(f"{message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    if wrong:
        return 1
    ids = built.compiled.rule_ids()
    for rank, outcome, text, _, found, wanted in built.compiled.explain(row, at_ms):
        why = f"  {found or text}".rstrip()
        if outcome == "not_matched":
            why = f"  {text}: {found}, wanted {wanted}"
        elif outcome == "shadowed":
            why = f"  by {text}"
        print(f"{ids[rank]:<40} {outcome:<12}{why}".rstrip())
    return 0
