"""`cuptime rules check` as a linter: exit codes, JSON, cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import pytest

from cuptime.app.rules_check import check, explain
from cuptime.app.rules_check import test as run_tests
from cuptime.rules.chinese import MEANINGS
from tests.unit.rules.test_book import rule


def test_exit_codes_tell_good_bad_and_nothing_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    assert check([tmp_path]) == 2
    assert check([file]) == run_tests([file]) == explain([file], [], 0) == 2
    file.write_text(rule())
    assert check([file]) == check([tmp_path], strict=True) == 0
    file.write_text(rule(condition="user.credit_score > 5 && user.credit_score < 3"))
    assert (check([file]), check([file], strict=True)) == (0, 1)
    file.write_text(rule(condition="user.teir == 'x'"))
    assert check([file]) == run_tests([file]) == explain([file], [], 0) == 1


def test_all_of_it_is_json_when_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        rule("odd", "1 / 0 > 2") + rule("dear", "user.tier.contains('x')").removeprefix("rules:\n")
    )
    assert check([file], as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["rules"], told["faults"]) == (True, 2, [])
    (warning,) = told["warnings"]
    assert (warning["code"], warning["line"], warning["column"], warning["rule"]) == (
        "ALWAYS_FAULT",
        3,
        16,
        "odd",
    )
    assert warning["meaning_zh"] == MEANINGS["ALWAYS_FAULT"]
    costs = told["cost_steps_by_rule"]
    # A tier has at most 64 characters, 256 bytes: four steps of reading.
    assert (told["cost_steps"], costs["dear"]) == (sum(costs.values()), 6)
    file.write_text(rule(condition="user.teir == 'x'"))
    assert check([file], as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["good"], told["digest"], told["cost_steps_by_rule"]) == (False, "", {})
    assert told["faults"][0]["hint"] == "did you mean user.tier?"


def test_what_could_cost_too_much_is_refused_where_it_multiplies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        rule(condition="lists.range(9000).all(x, lists.range(9000).exists(y, x == y + order.quantity))")
    )
    assert check([file], chinese=True) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"{file}:3:")
    assert f"LIMIT_COST [early]: {MEANINGS['LIMIT_COST']}" in told
    assert "at most 100000 are allowed" in told


EVERYTHING: Final = """\
hit_policy: frist
variables:
  broken: "1 +"
  reads: "variables.broken + 1"
  round: "variables.trip > 1"
  trip: "variables.round ? 1 : 2"
rules:
  - name: twice
    condition: "variables.reads > 1"
    action: {tag: x, asign_rider_priority: 5, weight: 99}
  - name: twice
    priorty: 3
    valid_from: 2027-01-01
    condition: 5
    action: 7
  - condition: "user.tier.startWith('a') && user.teir == 'x'"
    action: "refuse:"
  - name: window
    valid_from: "2027-02-01T00:00:00Z"
    valid_to: "2027-01-01T00:00:00Z"
    condition: >-
      user.tier == '金牌' &&
      user.tier.matches('(')
    action: "tag: x"
  - name: empty
    condition: ""
    action: "tag: x"
tests:
  - name: t
    order: {quantty: 3, quantity: many}
    matches: [windw]
"""


def test_all_faults_are_told_at_once_each_at_its_place_and_none_because_of_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(EVERYTHING, encoding="utf-8")
    assert check([file], as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["rules"] == 5
    assert [(fault["line"], fault["column"], fault["code"]) for fault in told["faults"]] == [
        (1, 13, "BAD_VALUE"),
        (3, 15, "SYNTAX"),
        (5, 11, "VARIABLE_CYCLE"),
        (10, 22, "UNKNOWN_ACTION"),
        (10, 55, "BAD_ACTION"),
        (11, 5, "DUPLICATE_RULE"),
        (12, 5, "UNKNOWN_KEY"),
        (13, 17, "BAD_VALUE"),
        (14, 16, "TYPE_MISMATCH"),
        (15, 13, "BAD_ACTION"),
        (16, 5, "MISSING_KEY"),
        (16, 17, "UNKNOWN_FUNCTION"),
        (16, 45, "UNKNOWN_NAME"),
        (17, 21, "BAD_ACTION"),
        (20, 15, "BAD_VALIDITY"),
        (23, 25, "BAD_REGEX"),
        (26, 16, "BAD_VALUE"),
        (30, 22, "BAD_VALUE"),
        (30, 35, "BAD_VALUE"),
        (31, 15, "TEST_FAILED"),
    ]
    hints = {fault["hint"] for fault in told["faults"]}
    assert {
        "did you mean `first`?",
        "did you mean `assign_rider_priority`?",
        "did you mean `priority`?",
        "did you mean startsWith()?",
        "did you mean user.tier?",
        "did you mean `order.quantity`?",
        "did you mean `window`?",
    } <= hints


def test_the_caret_stands_below_its_character_behind_wide_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(rule(condition="user.tier == '金牌' && user.teir == 'x'"), encoding="utf-8")
    assert check([file]) == 1
    _, shown, below = capsys.readouterr().err.splitlines()
    # Two characters before it are as wide as two.
    assert below.index("^") == shown.index("user.teir") + 2
