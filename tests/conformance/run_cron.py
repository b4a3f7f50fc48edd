"""Runs cron suites against the core: `python tests/conformance/run_cron.py PATH...`

A suite is JSON lines in the form of the conformance folder's README, each case run under its suite's own dialect and
that dialect's own DST policy. A path is a file or a folder (all its `*.jsonl`). Every case that fails is listed by its
id; the last line is `N passed, N failed`. A case that raises anything unforeseen has failed, and so has a line that is
no case.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from cuptime.core import Cron, CronParseError, CronZone, cron_names
from cuptime.schedules.cron_text import CronText, read_text
from cuptime.schedules.words import WordsError, words_to_cron
from cuptime.schedules.zone_files import ZoneError, zone_of

OWN_POLICY = dict(cron_names()[0])
KINDS = ("accept", "reject", "next", "prev", "never", "match", "nomatch", "equal", "notequal", "nl")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


@dataclass(frozen=True)
class CaseResult:
    """What became of one case; `why` is empty when it passed."""

    case_id: str
    suite: str
    why: str


def _zone(name: str) -> CronZone:
    if name.startswith("fixed"):
        sign = -1 if name[5] == "-" else 1
        hours, minutes = name[6:].split(":")
        return CronZone.fixed(sign * (int(hours) * 3600 + int(minutes) * 60))
    return zone_of(name)


def _ms(text: str) -> int:
    """UTC ms of an instant in ISO 8601; times without zone are UTC."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - _EPOCH) // _MS


def _shown(at_ms: int | None) -> str | None:
    return None if at_ms is None else (_EPOCH + at_ms * _MS).isoformat()


def _cron(case: dict[str, Any], suite: str, expression: str) -> Cron:
    """Raises CronParseError; a zone in front (`TZ=…`) that is not known is one."""
    text = read_text(expression) if expression.startswith(("TZ=", "CRON_TZ=")) else CronText(expression)
    try:
        zone = _zone(text.time_zone or case.get("tz", "UTC"))
    except ZoneError as fault:
        raise CronParseError(str(fault.args[0]), "time_zone", 0, "", "") from fault
    return Cron(
        text.body,
        zone,
        dialect=suite,
        dst=OWN_POLICY[suite],
        fields=case.get("fields", 0) if suite == "cronos" else 0,
    )


def _meant(expression: str) -> str:
    """fugit's writing in ours: a zone at the end, 24 for midnight, `a/n` open at the end."""
    fields, zone = expression.split(), ""
    if fields[-1][0].isalpha() and len(fields) > 5:
        zone = fields.pop()
    hour = len(fields) - 4
    fields[hour] = "0" if fields[hour] == "24" else fields[hour]
    return (f"CRON_TZ={zone} " if zone else "") + " ".join(fields)


def _words(case: dict[str, Any]) -> str:
    try:
        found = words_to_cron(case["text"], date(2026, 11, 23))
    except WordsError as refusal:
        return f"not understood: {refusal.args[0]}"
    ours, theirs = read_text(found), read_text(_meant(case["expr"]))
    ours_cron = Cron(ours.body, zone_of(ours.time_zone or "UTC"))
    # Only `10/1`, `3/5` and their like need another dialect, whose day fields differ in nothing that the suite has.
    dialect = "robfig" if re.search(r"(?:^| )\d+/\d", theirs.body) else "ocps"
    theirs_cron = Cron(theirs.body, zone_of(theirs.time_zone or "UTC"), dialect=dialect)
    same = ours_cron.same_times(theirs_cron) and ours.time_zone == theirs.time_zone
    return "" if same else f"{found}, not {case['expr']}"


def _judge(case: dict[str, Any], suite: str) -> str:
    kind = case.get("kind", "nl" if "text" in case else None)
    if kind not in KINDS:
        return f"{kind!r} is no kind of case; those are {', '.join(KINDS)}"
    if kind == "nl":
        return _words(case)
    if suite not in OWN_POLICY:
        return f"{suite!r} is no dialect; those are {', '.join(OWN_POLICY)}"
    if kind == "reject":
        try:
            _cron(case, suite, case["expr"])
        except CronParseError:
            return ""
        return "it is accepted"
    try:
        cron = _cron(case, suite, case["expr"])
    except CronParseError as refusal:
        return f"it is refused: {refusal.args[0]}"
    if kind == "accept":
        return ""
    if kind in ("equal", "notequal"):
        same = cron.same_times(_cron(case, suite, case["expr2"]))
        return "" if same == (kind == "equal") else f"same_times is {same}"
    if kind == "never" and "from" not in case:
        return "" if cron.never() else "it fires"
    from_ms, inclusive = _ms(case["from"]), bool(case.get("incl"))
    if kind in ("match", "nomatch"):
        fires = cron.fires_at(from_ms)
        return "" if fires == (kind == "match") else f"fires_at is {fires}"
    if kind == "prev":
        found = cron.previous(from_ms + inclusive)
    else:
        found = cron.next_from(from_ms) if inclusive else cron.next(from_ms)
    wanted = case.get("expect")
    wanted_ms = None if wanted is None or kind == "never" else _ms(wanted)
    return "" if found == wanted_ms else f"{_shown(found)}, not {wanted}"


def suite_of(case: dict[str, Any], file: Path) -> str:
    """The dialect of a case: what it says; or its file's name, or the dialect that begins it; or what its form says."""
    named = case.get("dialect") or case.get("suite")
    if named:
        return str(named)
    if "level" in case:
        return "ocps"
    begins = [suite for suite in (*OWN_POLICY, "fugit") if file.stem.startswith(suite)]
    if begins:
        return file.stem if file.stem in OWN_POLICY or begins[0] == "fugit" else begins[0]
    if "text" in case:
        return file.stem
    if "fields" in case:
        return "cronos"
    return "robfig" if case.get("kind") in ("match", "nomatch") else "ocps"


def case_id(case: dict[str, Any], number: int, file: Path) -> str:
    """The case's own id; where it has none, its level, clause and line."""
    if "id" in case:
        return str(case["id"])
    return f"{file.name}:{number} {case.get('level', '')} {case.get('clause', '')} {case.get('expr', '')!r}"


def run_case(case: dict[str, Any], suite: str, name: str) -> CaseResult:
    """Judges one case; a crash, or a case that cannot be read, is a failure of the case and not of the run."""
    try:
        why = case["unreadable"] if "unreadable" in case else _judge(case, suite)
    except Exception as fault:
        why = f"{type(fault).__name__}: {fault}"
    return CaseResult(name, suite, why)


def _cases_of(file: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Cases and their lines. A line that is no JSON object is a case that cannot be read."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as fault:
        yield {"unreadable": f"the file cannot be read: {fault.strerror}"}, 0
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
        except (ValueError, RecursionError) as fault:
            yield {"unreadable": f"the line is no JSON: {fault}"}, number
            continue
        yield (case if isinstance(case, dict) else {"unreadable": "the line is no JSON object"}), number


def read_cases(paths: Iterable[Path]) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Case, suite and id of all cases of the files and folders, in a fixed order."""
    for path in paths:
        for file in sorted(path.glob("**/*.jsonl")) if path.is_dir() else [path]:
            for case, number in _cases_of(file):
                yield case, suite_of(case, file), case_id(case, number, file)


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
    if not any(True for _ in read_cases(arguments.paths)):
        sys.stderr.write("no cases: a suite is a file of JSON lines, or a folder with *.jsonl\n")
    results = [run_case(*case) for case in read_cases(arguments.paths)]
    lines = [f"FAILED {result.suite} {result.case_id}: {result.why}" for result in results if result.why]
    counts = {suite: Counter(bool(r.why) for r in results if r.suite == suite) for suite in OWN_POLICY}
    counts |= {r.suite: Counter(bool(x.why) for x in results if x.suite == r.suite) for r in results}
    for suite, count in counts.items():
        if count:
            lines.append(f"{suite:<12}{count[False]:>6} passed{count[True]:>6} failed")
    failed = sum(bool(result.why) for result in results)
    lines.append(f"{len(results) - failed} passed, {failed} failed")
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
