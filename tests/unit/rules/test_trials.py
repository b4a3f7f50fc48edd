"""Tests that stand beside the rules: they keep a set from being live, and say why they fail."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cuptime.app.core_parts import rule_tools
from cuptime.app.rules_check import caret
from cuptime.rules.chinese import MEANINGS
from cuptime.rules.compiled import Built, build
from cuptime.rules.compiled import warnings as all_warnings
from cuptime.rules.diagnostic import CODES, Diagnostic

TOOLS = rule_tools()


def warnings(built: Built) -> list[Diagnostic]:
    return all_warnings(built, TOOLS.actions)


RULES = """\
rules:
  - name: gold
    condition: "user.tier == 'gold' && order.quantity >= 2"
    action: "assign_rider_priority: 1"
  - name: late
    valid_from: "2026-11-24T00:00:00Z"
    condition: "true"
    action: "tag: late"
tests:
  - name: two cups for gold
    order: {quantity: 2}
    user: {tier: gold}
    matches: [gold]
  - name: one cup
    order:
      quantity: 1
    user:
      tier: gold
    at: "2026-11-25T00:00:00+08:00"
    matches: [late]
"""


def test_good_tests_let_the_set_be_and_say_what_they_cover() -> None:
    built = build(TOOLS, [("a.yaml", RULES)])
    assert (built.faults, built.trials.passed, built.trials.covered) == ([], 2, 2)
    # Of several files one document is kept; its tests are the same tests.
    both = build(TOOLS, [("a.yaml", RULES), ("b.yaml", RULES.replace("name: gold", "name: g").replace("[gold]", "[g]")
                 .replace("name: late", "name: l").replace("[late]", "[l]"))])  # fmt: skip
    assert [fault.code for fault in both.faults] == ["TEST_FAILED"] * 4


def test_the_document_kept_of_several_files_has_their_tests() -> None:
    other = "rules:\n  - name: small\n    condition: order.quantity < 0\n    action: 'tag: small'\n"
    built = build(TOOLS, [("a.yaml", RULES), ("b.yaml", other)])
    assert built.faults == []
    again = build(TOOLS, [("", built.source)])
    assert (again.faults, again.trials.passed) == ([], 2)
    assert again.compiled is not None
    assert built.compiled is not None
    assert again.compiled.digest == built.compiled.digest


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "words"),
    [
        ("matches: [gold]", "matches: []", "TEST_FAILED", 10, "`gold` matches, and the test does not list it"),
        ("{quantity: 2}", "{quantity: 1}", "TEST_FAILED", 13, "order.quantity >= 2: order.quantity = 1"),
        ("{quantity: 2}", "{}", "TEST_FAILED", 13, "`gold` does not match: error"),
        ("matches: [late]", "matches: [latte]", "TEST_FAILED", 20, "no rule has the id `latte`"),
        ("at: \"2026-11-25", "at: \"2026-11-23", "TEST_FAILED", 20, "`late` does not match: inactive"),
        ("{quantity: 2}", "{quantity: two}", "BAD_VALUE", 11, "order.quantity must be int"),
        ("{quantity: 2}", "{quantityy: 2}", "BAD_VALUE", 11, "nothing is called order.quantityy"),
        ("    matches: [gold]\n", "", "MISSING_KEY", 10, "no list `matches`"),
        ("    matches: [gold]", "    match: [gold]", "UNKNOWN_KEY", 10, "unknown key `match` in a test"),
        ("tests:\n", "tests: 3\nother:\n", "BAD_VALUE", 9, "`tests` is a list"),
        ("+08:00", "", "BAD_VALUE", 19, "an instant with its time zone"),
    ],
)  # fmt: skip
def test_a_failing_test_keeps_the_set_from_being_live(
    old: str, new: str, code: str, line: int, words: str
) -> None:
    assert old in RULES
    built = build(TOOLS, [("a.yaml", RULES.replace(old, new))])
    assert built.compiled is None
    found = {(fault.code, fault.line) for fault in built.faults if words in fault.message}
    assert found == {(code, line)}, [str(fault) for fault in built.faults]


def test_a_caret_stands_below_its_column_also_behind_wide_characters() -> None:
    assert caret("a: 1\nb: 2\n", 2, 4) == ["    b: 2", "       ^"]
    assert caret("备注: x", 1, 5) == ["    备注: x", "          ^"]
    assert caret("x" * 500, 1, 5) == caret("x", 9, 1) == []


def test_what_is_odd_is_told_with_its_place_and_hinders_nothing() -> None:
    source = """\
rules:
  - name: high
    condition: "user.credit_score >= 90"
    action: "assign_rider_priority: 1"
  - name: higher
    condition: "user.credit_score > 95 && user.tier == 'gold'"
    action: "assign_rider_priority: 2"
  - name: marked
    condition: "user.credit_score > 95"
    action: "tag: marked"
  - name: nobody
    condition: "order.quantity > 3 && order.quantity < 4"
    action: "tag: nobody"
  - name: again
    condition: "user.credit_score   >= 90"
    action: "assign_rider_priority: 1"
"""
    built = build(TOOLS, [("a.yaml", source)])
    assert built.faults == []
    told = [(found.code, found.rule, found.line, found.column) for found in warnings(built)]
    # By rank, `again` comes before `high`: equal priority, then the identifier.
    assert told == [
        ("DUPLICATE", "high", 3, 16),
        ("SHADOWED", "higher", 6, 16),
        ("NEVER_TRUE", "nobody", 12, 16),
    ]


def test_unchanged_conditions_are_taken_over_and_the_set_is_the_same() -> None:
    first = build(TOOLS, [("a.yaml", RULES)])
    after = build(TOOLS, [("a.yaml", RULES)], first.compiled)
    assert after.faults == []
    assert first.compiled is not None
    assert after.compiled is not None
    assert after.compiled.digest == first.compiled.digest
    assert after.trials.passed == 2


def test_every_code_has_its_chinese_meaning() -> None:
    rust = Path(__file__).parents[3] / "rust_core" / "rules" / "src" / "diagnostic.rs"
    catalogue = rust.read_text(encoding="utf-8").partition("codes! {")[2].partition("\n}")[0]
    of_the_core = {code.upper() for code in re.findall(r'= "([a-z_]+)",', catalogue)}
    assert len(of_the_core) > 15
    assert set(MEANINGS) == of_the_core | CODES
    fault = Diagnostic("UNKNOWN_NAME", "a.yaml", 1, 2, "r", "nothing is called x")
    assert str(fault) == "a.yaml:1:2: UNKNOWN_NAME [r]: nothing is called x"
    assert fault.told(MEANINGS) == "a.yaml:1:2: UNKNOWN_NAME [r]: 没有这个名字: nothing is called x"
