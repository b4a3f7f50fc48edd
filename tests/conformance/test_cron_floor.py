"""The floor under the cron engine: every case of every outside suite passes under its own dialect.

A case that cannot hold is listed here with its argument, as in `docs/cron.md`; today nothing is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.run_cron import CaseResult, read_cases, run_case, suite_of

# Case id -> why another answer is right here.
ARGUED: dict[str, str] = {}


@pytest.fixture(scope="module")
def results(shared_conformance: Path) -> list[CaseResult]:
    folder = shared_conformance / "cron"
    if not folder.is_dir():
        pytest.skip(f"no cron suites in {folder}: set CUPTIME_CONFORMANCE")
    found = [run_case(*case) for case in read_cases([folder])]
    assert found, f"{folder} has no cases"
    return found


def test_every_case_holds_under_its_dialect(results: list[CaseResult]) -> None:
    assert {r.case_id: r.why for r in results if r.why and r.case_id not in ARGUED} == {}


def test_the_arguments_name_only_cases_that_still_differ(results: list[CaseResult]) -> None:
    differs = {r.case_id for r in results if r.why}
    assert ARGUED.keys() - differs == set()


def test_the_runner_itself_tells_right_from_wrong() -> None:
    case = {
        "kind": "next",
        "expr": "0 9 * * *",
        "tz": "Asia/Shanghai",
        "from": "2026-11-23T00:00:00+08:00",
        "expect": "2026-11-23T09:00:00+08:00",
    }
    assert run_case(case, "ocps", "own").why == ""
    assert run_case(case | {"expect": "2026-11-23T09:01:00+08:00"}, "ocps", "own").why
    assert run_case(case | {"expect": None}, "ocps", "own").why
    assert run_case(case | {"kind": "reject"}, "ocps", "own").why == "it is accepted"
    assert run_case(case | {"kind": "accept", "expr": "60 * * * *"}, "ocps", "own").why
    assert run_case(case | {"tz": "Asia/Beijing"}, "ocps", "own").why
    assert run_case({"kind": "never", "expr": "0 0 1 * *"}, "cronos", "own").why == "it fires"
    equal = {"kind": "equal", "expr": "0-59 * * * *", "expr2": "* * * * *"}
    assert run_case(equal, "cronos", "own").why == ""
    assert run_case(equal | {"expr2": "0 * * * *"}, "cronos", "own").why


def test_a_suite_that_is_no_suite_fails_case_by_case(tmp_path: Path) -> None:
    fires = '"from": "2026-11-23T00:00:00Z", "expect": "2026-11-23T09:00:00Z"'
    lines = [
        '{"kind": "next"', "[1]", '"x"', "{}", "\\xff", '{"kind": "what", "expr": "* * * * *"}',
        '{"kind": "next", "expr": 5, "from": "2026", "expect": 1}',
        '{"suite": "nosuch", "kind": "accept", "expr": "* * * * *"}',
        '{"kind": "next", "expr": "* * * * *", "from": "yesterday"}', '{"kind": "next", "expr": "* * * * *"}',
        '{"kind": "next", "expr": "0 9 * * *", "tz": "fixed+aa:bb", ' + fires + "}",
        '{"id": "good", "kind": "next", "expr": "0 9 * * *", ' + fires + "}", "",
    ]  # fmt: skip
    file = tmp_path / "extra.jsonl"
    file.write_bytes("\n".join(lines).encode() + b"\xff\xfe\n")
    results = [run_case(*case) for case in read_cases([file])]
    assert [result.case_id for result in results if not result.why] == ["good"]
    assert len(results) == len(lines)
    assert [run_case(*case).why for case in read_cases([tmp_path / "absent.jsonl"])] == [
        "the file cannot be read: No such file or directory"
    ]


@pytest.mark.parametrize(
    ("name", "case", "suite"),
    [
        ("cronos.jsonl", {}, "cronos"),
        ("cronos-more.jsonl", {}, "cronos"),
        ("extra.jsonl", {"suite": "quartz"}, "quartz"),
        ("extra.jsonl", {"dialect": "vixie"}, "vixie"),
        ("extra.jsonl", {"level": "1.0"}, "ocps"),
        ("extra.jsonl", {"fields": 6}, "cronos"),
        ("extra.jsonl", {"kind": "nomatch"}, "robfig"),
        ("fugit-nat.jsonl", {"kind": "nl"}, "fugit-nat"),
        ("extra.jsonl", {"kind": "next"}, "ocps"),
    ],
)
def test_the_dialect_of_a_case(name: str, case: dict[str, object], suite: str) -> None:
    assert suite_of(case, Path(name)) == suite
