"""The floor under the language: on the outside CEL suite no case gets a wrong answer, and none is refused.

What would be allowed to differ is listed here, each with its argument; today nothing is.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.run_cel import CaseResult, main, read_cases, run_case, same_value, type_text

# Case id -> why another answer is right here.
ARGUED: dict[str, str] = {}


@pytest.fixture(scope="module")
def results(shared_conformance: Path) -> list[CaseResult]:
    folder = shared_conformance / "cel"
    if not folder.is_dir():
        pytest.skip(f"no CEL suite in {folder}: set CUPTIME_CONFORMANCE")
    found = [run_case(case) for case in read_cases([folder])]
    assert found, f"{folder} has no cases"
    return found


def test_no_case_is_answered_wrongly(results: list[CaseResult]) -> None:
    wrong = {r.case_id: r.why for r in results if r.verdict == "wrong" and r.case_id not in ARGUED}
    assert wrong == {}


def test_no_case_is_refused(results: list[CaseResult]) -> None:
    assert {r.case_id: r.why for r in results if r.verdict == "unsupported"} == {}


def test_the_list_of_arguments_names_only_cases_that_still_differ(results: list[CaseResult]) -> None:
    verdicts = {r.case_id: r.verdict for r in results}
    assert {case for case in ARGUED if verdicts.get(case) != "wrong"} == set()


def test_the_runner_itself_tells_right_from_wrong() -> None:
    case = {"id": "own/1", "file": "own", "expr": "1 + 1", "expect": {"value": {"int": "2"}}}
    assert run_case(case).verdict == "passed"
    assert run_case(case | {"expect": {"value": {"int": "3"}}}).verdict == "wrong"
    assert run_case(case | {"expect": {"value": {"uint": "2"}}}).verdict == "wrong"
    assert run_case(case | {"expect": {"error": ["any"]}}).verdict == "wrong"
    assert run_case(case | {"expr": "Order{}", "expect": {"error": ["any"]}}).verdict == "unsupported"
    assert run_case(case | {"expr": "1 / 0", "expect": {"error": ["any"]}}).verdict == "passed"
    assert run_case(case | {"bindings": {"x": {"no": "such"}}, "env": {"x": "INT64"}}).verdict == "wrong"
    assert not same_value({"double": 0.0}, {"double": "-0.0"})
    assert same_value({"double": float("nan")}, {"double": "nan"})
    assert type_text({"map": ["STRING", {"list": "DYN"}]}) == "map(string, list(dyn))"


@pytest.mark.parametrize(
    ("expr", "declared", "bound", "expect"),
    [
        ("x.getMilliseconds()", "DURATION", {"duration": ["123", "321456789"]}, {"value": {"int": "123321"}}),
        ("-1 < x.getSeconds()", "DURATION", {"duration": [1, -500_000_000]}, {"value": {"bool": True}}),
        ("x.getHours('+02:00')", "TIMESTAMP", {"timestamp": [3_600, 0]}, {"value": {"int": "3"}}),
        (
            "x",
            {"message": "google.protobuf.Timestamp"},
            {"timestamp": ["7", 5]},
            {"value": {"timestamp": [7, 5]}},
        ),
        (
            "x",
            {"wrapper": "INT64"},
            {"null": None},
            {"deduced_type": {"wrapper": "INT64"}, "value": {"null": None}},
        ),
        ("x == int", {"type": "INT64"}, {"type": "int"}, {"value": {"bool": True}}),
        ("x.a[0]", {"message": "google.protobuf.Struct"}, {"map": []}, {"error": ["no such key"]}),
        ("x + 1", {"well_known": "DURATION"}, {"duration": ["1", "0"]}, {"error": ["no overload"]}),
    ],
)
def test_every_form_of_types_and_values_is_read(expr: str, declared: Any, bound: Any, expect: Any) -> None:
    case = {"id": "own/1", "file": "own", "expr": expr, "env": {"x": declared}, "bindings": {"x": bound}}
    assert run_case(case | {"expect": expect}).verdict == "passed"


def test_the_runner_names_every_failure_and_ends_with_the_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        {"id": "own/good", "file": "own", "expr": "1 + 1", "expect": {"value": {"int": "2"}}},
        {"id": "own/bad", "file": "own", "expr": "1 + 1", "expect": {"value": {"int": "3"}}},
        {"id": "own/none", "file": "other", "expr": "Order{}", "expect": {"value": {"int": "3"}}},
    ]
    suite = tmp_path / "own.jsonl"
    suite.write_text("".join(json.dumps(case) + "\n" for case in cases), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["run_cel.py", str(suite)])
    assert main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "wrong       own/bad: value {'int': 2}"
    assert lines[1].startswith("unsupported own/none: ")
    assert [line.split() for line in lines[3:5]] == [
        ["other", "1", "0", "1", "0"],
        ["own", "2", "1", "0", "1"],
    ]
    assert lines[-1] == "1 passed, 2 failed"
