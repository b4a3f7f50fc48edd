"""`cuptime rules check` as a linter: exit codes, JSON, cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuptime.app.rules_check import check
from cuptime.rules.chinese import MEANINGS
from tests.unit.rules.test_book import rule


def test_exit_codes_tell_good_bad_and_nothing_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    assert check([tmp_path]) == 2
    assert check([file]) == 2
    file.write_text(rule())
    assert check([file]) == check([tmp_path], strict=True) == 0
    file.write_text(rule(condition="user.credit_score > 5 && user.credit_score < 3"))
    assert (check([file]), check([file], strict=True)) == (0, 1)
    file.write_text(rule(condition="user.teir == 'x'"))
    assert check([file]) == 1


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
