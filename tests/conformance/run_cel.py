"""Runs CEL conformance suites against the core: `python tests/conformance/run_cel.py PATH...`

A suite is JSON lines in the form of the conformance folder's README: `expr`, `env`, `bindings`, `container`,
`disable_check`, `disable_macros`, `check_only`, and `expect`. A path is a file or a folder (all its `*.jsonl` with
expressions). Prints every case that did not pass by its id, with why, one row per suite file, and ends with `N passed,
N failed`. What is not supported counts as failed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cuptime._core import cel_eval

Verdict = Literal["passed", "unsupported", "wrong"]

_SPELLED_DOUBLES = {
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "inf": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
}
_TYPE_NAMES = {
    "INT64": "int",
    "UINT64": "uint",
    "DOUBLE": "double",
    "BOOL": "bool",
    "STRING": "string",
    "BYTES": "bytes",
    "DYN": "dyn",
    "NULL": "null",
    "TYPE": "type",
    "ANY": "dyn",
    "TIMESTAMP": "timestamp",
    "DURATION": "duration",
    "google.protobuf.Any": "dyn",
    "google.protobuf.Timestamp": "timestamp",
    "google.protobuf.Duration": "duration",
}


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; `why` says what was got when it did not pass."""

    case_id: str
    suite: str
    verdict: Verdict
    why: str


def _double(text: str) -> float:
    spelled = _SPELLED_DOUBLES.get(text)
    return float(text) if spelled is None else spelled


def _same_double(got: float, wanted: float) -> bool:
    if math.isnan(wanted):
        return math.isnan(got)
    return got == wanted and math.copysign(1.0, got) == math.copysign(1.0, wanted)


def same_value(got: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a value of the core is the suite's value: kinds must agree, maps in any order."""
    ((kind, plain),) = wanted.items()
    if set(got) != {kind}:
        return False
    mine = got[kind]
    if kind in {"int", "uint"}:
        return bool(mine == int(plain))
    if kind == "double":
        return _same_double(mine, _double(plain))
    if kind == "bytes":
        return bool(mine == bytes.fromhex(plain))
    if kind == "list":
        return len(mine) == len(plain) and all(same_value(g, w) for g, w in zip(mine, plain, strict=True))
    if kind == "map":
        return len(mine) == len(plain) and all(
            any(same_value(k, wk) and same_value(v, wv) for k, v in mine) for wk, wv in plain
        )
    if kind in {"timestamp", "duration"}:
        return tuple(mine) == tuple(int(part) for part in plain)
    return bool(mine == plain)


def type_text(form: Any) -> str:
    """A type of the suite as the core writes it."""
    if isinstance(form, str):
        return _TYPE_NAMES.get(form, form)
    if "list" in form:
        return f"list({type_text(form['list'])})"
    if "map" in form:
        key, value = form["map"]
        return f"map({type_text(key)}, {type_text(value)})"
    if "wrapper" in form:
        return f"{type_text(form['wrapper'])}?"
    if "type" in form:
        return "type"
    for key in ("primitive", "well_known", "message", "message_type"):
        if key in form:
            return type_text(form[key])
    if "abstract" in form:
        inner = ", ".join(type_text(part) for part in form.get("of", []))
        return f"{form['abstract']}({inner})" if inner else str(form["abstract"])
    return json.dumps(form, sort_keys=True)


def _judge(case: dict[str, Any], kind: str, got: Any) -> tuple[Verdict, str]:
    expect = case["expect"]
    if kind == "diagnostics":
        if any(code == "unsupported" for code, *_ in got):
            # A refusal by the compiler is no answer, even where any error would do.
            return "unsupported", "; ".join(message for code, *_, message, _ in got if code == "unsupported")
        if "error" in expect:
            return "passed", ""
        return "wrong", "; ".join(f"{code}: {message}" for code, *_, message, _ in got)
    if kind == "error":
        if "error" in expect:
            return "passed", ""
        return ("unsupported" if got == "unsupported" else "wrong"), f"fault {got}"
    if kind == "type":
        wanted = type_text(expect["deduced_type"])
        return ("passed", "") if got == wanted else ("wrong", f"type {got}, not {wanted}")
    if "value" in expect and expect["value"] is not None:
        return ("passed", "") if same_value(got, expect["value"]) else ("wrong", f"value {got}")
    return "wrong", f"value {got} where an error was expected"


def run_case(case: dict[str, Any]) -> CaseResult:
    """Compiles and evaluates one case. A panic or an unreadable form is a wrong answer, not a crash of the run."""
    verdict: Verdict
    try:
        arguments = (
            case["expr"],
            case.get("env", {}),
            case.get("bindings", {}),
            case.get("container", ""),
            not case.get("disable_check", False),
        )
        macros = not case.get("disable_macros", False)
        verdict, why = _judge(case, *cel_eval(*arguments, not case.get("check_only", False), macros))
        deduced = case["expect"].get("deduced_type")
        if verdict == "passed" and deduced is not None and not case.get("check_only"):
            verdict, why = _judge({"expect": {"deduced_type": deduced}}, *cel_eval(*arguments, False, macros))
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        verdict, why = "wrong", f"{type(error).__name__}: {error}"
    return CaseResult(case["id"], case["file"], verdict, why)


def read_cases(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """All cases of the files, and of the `*.jsonl` files of the folders, in a fixed order."""
    for path in paths:
        files = sorted(path.glob("**/*.jsonl")) if path.is_dir() else [path]
        for file in files:
            with file.open(encoding="utf-8") as lines:
                cases = [json.loads(line) for line in lines if line.strip()]
            yield from (case for case in cases if {"expr", "expect", "file"} <= case.keys() and _is_cel(case))


def _is_cel(case: dict[str, Any]) -> bool:
    return isinstance(case["expect"], dict) and bool(
        {"value", "error", "deduced_type"} & case["expect"].keys()
    )


def table(results: list[CaseResult]) -> list[str]:
    """One row per suite file, core files first, then the sums."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(result.suite, Counter())[result.verdict] += 1
    is_extension = {name: name.endswith("_ext") or name in {"optionals", "macros2"} for name in counts}

    def line(title: str, c: Counter[str]) -> str:
        return f"{title:<16}{c.total():>7}{c['passed']:>8}{c['unsupported']:>13}{c['wrong']:>7}"

    lines = [f"{'suite':<16}{'cases':>7}{'passed':>8}{'unsupported':>13}{'wrong':>7}"]
    lines += [
        line(name, counts[name]) for name in sorted(counts, key=lambda suite: (is_extension[suite], suite))
    ]
    for title, wanted in (("core", False), ("extensions", True)):
        total = sum((c for name, c in counts.items() if is_extension[name] == wanted), Counter[str]())
        if total.total():
            lines.append(f"{line(title, total)}  {100 * total['passed'] / total.total():.1f} %")
    return lines


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    arguments = parser.parse_args()
    missing = [str(path) for path in arguments.paths if not path.exists()]
    if missing:
        sys.stderr.write(f"no such suite: {', '.join(missing)}\n")
        return 2
    results = [run_case(case) for case in read_cases(arguments.paths)]
    failures = [f"{r.verdict:<12}{r.case_id}: {r.why}" for r in results if r.verdict != "passed"]
    lines = [*failures, *table(results)]
    passed = sum(result.verdict == "passed" for result in results)
    lines.append(f"{passed} passed, {len(results) - passed} failed")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
