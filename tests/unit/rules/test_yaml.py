"""Rule files: positions kept, everything wrong said at once, nothing dangerous composed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX, RULE_YAML_DEPTH_MAX
from cuptime.rules.positions import offsets, position_in
from cuptime.rules.yaml import merged, read_rules

GOOD = """\
# a comment
rules:
  - name: high_credit_early_dispatch
    condition: "user.credit_score >= 90 && order.time_slot == 'morning'"
    action: "assign_rider_priority: 1"        # a smaller number is a higher priority
  - name: block
    id: b-1
    description: 午后
    priority: 3
    enabled: false
    valid_from: 2026-11-24T09:00:00+08:00
    valid_to: "2026-11-25T00:00:00Z"
    tags: [a, b]
    condition: |
      order.quantity > 3
        && user.tier == "gold"
    action:
      refuse: 不行
  - name: folded
    condition: >-
      order.quantity > 3
      && user.tier == "gold"

      || true
    action: "tag: big"
  - name: quoted
    condition: 'user.tier == ''gold''
       && order.quantity > 1'
    action: {tag: 'x'}
  - name: escaped
    condition: "user.tier == \\"\\u5496\\" \\
                && true"
    action: tag: x
"""


def codes(source: str) -> list[tuple[str, int, int]]:
    return [(fault.code, fault.line, fault.column) for fault in read_rules(source).faults]


def test_a_good_file_is_read_whole() -> None:
    file = read_rules(GOOD.replace("action: tag: x", 'action: "tag: x"'), "morning.yaml")
    assert file.faults == []
    first, block, folded, quoted, escaped = file.rules
    assert first.rule_id == "high_credit_early_dispatch"
    assert [(use.name, use.text) for use in first.actions] == [("assign_rider_priority", "1")]
    assert (block.rule_id, block.priority, block.enabled, block.tags) == ("b-1", 3, False, ("a", "b"))
    assert (block.valid_from_ms, block.valid_to_ms) == (1_795_482_000_000, 1_795_564_800_000)
    assert [(use.name, use.text) for use in block.actions] == [("refuse", "不行")]
    assert folded.condition.value == 'order.quantity > 3 && user.tier == "gold"\n|| true'
    assert quoted.condition.value == "user.tier == 'gold' && order.quantity > 1"
    assert escaped.condition.value == 'user.tier == "咖" && true'


@pytest.mark.parametrize("name", ["high_credit_early_dispatch", "b-1", "folded", "quoted"])
def test_each_character_of_a_condition_is_found_in_the_file(name: str) -> None:
    """Whatever the style of the scalar: the file has the same character there (a fold stands for its line break)."""
    file = read_rules(GOOD.replace("action: tag: x", 'action: "tag: x"'))
    rule = next(rule for rule in file.rules if rule.rule_id == name)
    lines = GOOD.split("\n")
    for offset, char in enumerate(rule.condition.value):
        line, column = position_in(file.source, rule.condition, offset)
        found = (lines[line - 1] + "\n")[column - 1]
        assert found == char or (char == " " and found == "\n"), (offset, char)


def test_a_fault_behind_escapes_is_found() -> None:
    source = 'rules:\n  - name: n\n    condition: "\\u5496 \\"x\\" && bad"\n    action: "tag: x"\n'
    scalar = read_rules(source).rules[0].condition
    line, column = position_in(source, scalar, scalar.value.index("bad"))
    assert source.split("\n")[line - 1][column - 1 :].startswith("bad")


def test_all_faults_at_once_in_the_order_of_the_file() -> None:
    source = """\
rules:
  - name: c
    enabled: maybe
    priorty: 3
    condition: "true"
    action: nonsense
  - condition: ""
    action: "tag: x"
  - name: "not / ok!"
    priority: 1.5
    valid_from: 2026-11-24
    valid_to: yesterday
    tags: x
    condition: [a]
  - just text
"""
    faults = read_rules(source, "f.yaml").faults
    assert [(fault.code, fault.line, fault.column) for fault in faults] == [
        ("BAD_VALUE", 3, 14),
        ("UNKNOWN_KEY", 4, 5),
        ("BAD_ACTION", 6, 13),
        ("MISSING_KEY", 7, 5),
        ("BAD_VALUE", 7, 16),
        ("MISSING_KEY", 9, 5),
        ("BAD_VALUE", 9, 11),
        ("BAD_VALUE", 10, 15),
        ("BAD_VALUE", 11, 17),
        ("BAD_VALUE", 12, 15),
        ("BAD_VALUE", 13, 11),
        ("BAD_VALUE", 14, 5),
        ("BAD_VALUE", 15, 5),
    ]
    assert faults[1].hint == "did you mean `priority`?"
    assert str(faults[0]).startswith("f.yaml:3:14: BAD_VALUE [c]: `enabled` must be true or false")


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        ("", "MISSING_KEY", 1, 1),
        ("# nothing\n", "MISSING_KEY", 1, 1),
        ("[]", "BAD_VALUE", 1, 1),
        ("rules: 3", "BAD_VALUE", 1, 8),
        ("rules: []\nfoo: 1", "UNKNOWN_KEY", 2, 1),
        ("rules: [a: b: c", "YAML_SYNTAX", 1, 13),
        ("rules:\n  - &a x\n  - *a\n", "YAML_ALIAS", 2, 5),
        ("rules: !!python/object:os.system x", "YAML_TAG", 1, 8),
        ("rules: !foo []", "YAML_TAG", 1, 8),
        ("a: 1\na: 2", "DUPLICATE_KEY", 2, 1),
        ("rules:\n  - name: x\n    name: y\n", "DUPLICATE_KEY", 3, 5),
        ("rules: []\n---\nrules: []", "YAML_DOCUMENTS", 2, 1),
        ("? [a]\n: b", "BAD_VALUE", 1, 3),
        ("rules: \x07", "YAML_SYNTAX", 1, 8),
        ("rules:\n\t- x", "YAML_SYNTAX", 2, 1),
        ("\ufeffrules: 3", "BAD_VALUE", 1, 8),
        ("rules: \ud800", "YAML_SYNTAX", 1, 1),
    ],
)
def test_what_is_not_a_rule_file_says_where(source: str, code: str, line: int, column: int) -> None:
    assert codes(source)[0] == (code, line, column)


def test_an_explicitly_empty_rule_set_is_good_and_a_null_one_too() -> None:
    assert codes("rules: []") == []
    assert codes("rules:\n") == []


@pytest.mark.parametrize(
    "bomb",
    [
        "[" * 200_000,
        "{a: " * 200_000,
        "- " * 200_000 + "x",
        "? " * 200_000,
        "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(40)),
        '"' * 500_000,
    ],
    ids=["brackets", "braces", "dashes", "questions", "aliases", "quotes"],
)
def test_bombs_are_defused(bomb: str) -> None:
    began = time.perf_counter()
    faults = read_rules(bomb).faults
    assert faults
    # Not a figure, only the difference between linear and hopeless.
    assert time.perf_counter() - began < 20


def test_the_depth_that_is_allowed_is_read() -> None:
    deep = "rules:\n" + "[" * (RULE_YAML_DEPTH_MAX - 1) + "]" * (RULE_YAML_DEPTH_MAX - 1)
    assert "LIMIT_DEPTH" not in [code for code, _, _ in codes(deep)]
    assert "LIMIT_DEPTH" in [code for code, _, _ in codes("rules:\n [" + deep.split("\n")[1] + "]")]


def test_more_bytes_than_allowed_are_not_parsed() -> None:
    assert codes("rules: [] #" + "é" * (RULE_SOURCE_BYTES_MAX // 2)) == [("LIMIT_BYTES", 1, 1)]


def test_rules_of_two_files_share_one_space_of_ids() -> None:
    one = 'rules:\n  - {name: a, condition: "true", action: "tag: x"}\n'
    whole = merged([read_rules(one, "1.yaml"), read_rules(one, "2.yaml")])
    assert len(whole.pairs) == 2
    assert [(fault.code, fault.file, fault.hint) for fault in whole.faults] == [
        ("DUPLICATE_RULE", "2.yaml", "first at 1.yaml:2; give it another `id`")
    ]


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused_and_never_raises(source: str) -> None:
    file = read_rules(source)
    assert file.faults or not file.rules
    for fault in file.faults:
        assert fault.line >= 1
        assert fault.column >= 1


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=30), max_size=5)
)
def test_quoted_scalars_of_any_text_map_back(parts: list[str]) -> None:
    text = " ".join(part.strip() for part in parts)
    single = "rules:\n  - condition: '" + text.replace("'", "''") + "'\n"
    double = 'rules:\n  - condition: "' + text.replace("\\", "\\\\").replace('"', '\\"') + '"\n'
    for quote, source in (("'", single), ('"', double)):
        raw = source[source.index(quote) : source.rindex(quote) + 1]
        places = offsets(raw, quote, text)
        assert places is not None
        escaped = quote == '"'
        kept = "".join(raw[at + 1] if escaped and raw[at] == "\\" else raw[at] for at in places)
        assert kept == text
