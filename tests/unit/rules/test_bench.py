"""`cuptime rules bench`: it measures the rules it was given, on orders that they tell apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cuptime.app.rules_bench import bench
from tests.unit.rules.test_book import rule

EXAMPLES = Path(__file__).parents[3] / "examples" / "rules"


def test_figures_are_of_these_rules(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench([tmp_path]) == 2
    file = tmp_path / "a.yaml"
    file.write_text(rule(condition="user.teir == 'x'"))
    assert bench([file]) == 1
    file.write_text(rule(condition="order.quantity >= 7"))
    capsys.readouterr()
    assert bench([file], orders=2_000, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["rules"], told["orders"]) == (1, 2_000)
    # Drawn are 0, 1, 2 and 6, 7, 8: the rule matches two of six.
    for measured in told["modes"]:
        assert 0.25 < measured["hits_per_order"] < 0.42
        assert 0 < measured["ns_per_order"] < 1e9
        assert 0 < measured["scan_ns_per_order"] < 1e9
    first = [measured["hits_per_order"] for measured in told["modes"]]
    assert bench([file], orders=2_000, as_json=True) == 0
    again = json.loads(capsys.readouterr().out)["modes"]
    assert [measured["hits_per_order"] for measured in again] == first


def test_the_table_has_a_line_for_each_mode(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench([EXAMPLES], orders=500) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.startswith("11 rules, loaded in ")
    assert [row.split()[0] for row in rows[1:]] == ["first", "collect"]
