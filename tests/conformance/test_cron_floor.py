"""The floor under the cron engine: every case of every outside suite passes under its own dialect.

A case that cannot hold is listed here with its argument, as in `docs/cron.md`; today nothing is.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.run_cron import CaseResult, read_cases, run_case

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
