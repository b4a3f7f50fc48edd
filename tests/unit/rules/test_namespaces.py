"""What the rules of a namespace have in common: read with its places, merged over files, kept in one document."""

from __future__ import annotations

import pytest

from cuptime.app.core_parts import rule_tools
from cuptime.rules.chinese import MEANINGS
from cuptime.rules.compiled import build
from cuptime.rules.diagnostic import CODES
from cuptime.rules.namespaces import HitPolicy, OnError
from cuptime.rules.yaml import merged, read_rules

TOOLS = rule_tools()
CAMPUS = """\
namespace: campus
hit_policy: first
on_error: refuse
variables:
  morning: order.time_slot == 'morning'
rules:
  - name: early
    on_error: skip
    condition: "user.credit_score >= 90"
    action: "assign_rider_priority: 1"
tests:
  - name: a good customer
    user: {credit_score: 95}
    matches: [early]
"""
OTHERS = """\
rules:
  - name: early
    condition: "user.tier == 'gold'"
    action: {assign_rider_priority: {priority: 2}}
"""


def test_a_header_is_read() -> None:
    file = read_rules(CAMPUS)
    assert file.faults == []
    whole = merged([file])
    (space,) = whole.namespaces
    assert (space.name, space.hit_policy, space.on_error) == ("campus", HitPolicy.FIRST, OnError.REFUSE)
    ((_, morning),) = space.variables
    assert (morning.name, morning.expression.value) == ("morning", "order.time_slot == 'morning'")
    (early,) = file.rules
    assert (early.rule_id, early.local_id, early.on_error) == ("campus/early", "early", OnError.SKIP)


def test_files_of_two_namespaces_are_one_document_that_reads_the_same() -> None:
    built = build(TOOLS, [("a.yaml", CAMPUS), ("b.yaml", OTHERS)])
    assert built.faults == []
    assert built.compiled is not None
    assert sorted(built.compiled.rule_ids()) == ["campus/early", "early"]
    again = build(TOOLS, [("", built.source)])
    assert (again.faults, again.trials.passed) == ([], 1)
    assert again.compiled is not None
    assert again.compiled.digest == built.compiled.digest
    (first, second) = merged([read_rules(built.source)]).namespaces
    assert (first.name, first.hit_policy, first.on_error) == ("campus", HitPolicy.FIRST, OnError.REFUSE)
    assert [variable.name for _, variable in first.variables] == ["morning"]
    assert (second.name, second.hit_policy) == ("", HitPolicy.COLLECT)


def test_files_of_one_namespace_are_read_as_one() -> None:
    more = (
        CAMPUS.replace("name: early", "name: late").replace("[early]", "[late]").replace("morning:", "noon:")
    )
    whole = merged([read_rules(CAMPUS, "a.yaml"), read_rules(more, "b.yaml")])
    assert whole.faults == []
    (space,) = whole.namespaces
    assert [(file, variable.name) for file, variable in space.variables] == [
        ("a.yaml", "morning"),
        ("b.yaml", "noon"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "code", "line", "column", "words"),
    [
        ("namespace: campus", "namespace: Campus 1", "BAD_VALUE", 1, 12, "`namespace` is not a name"),
        ("hit_policy: first", "hit_policy: frist", "BAD_VALUE", 2, 13, "did you mean `first`?"),
        ("hit_policy: first", "hit_policy: [first]", "BAD_VALUE", 2, 13, "collect, first, unique"),
        ("on_error: refuse\n", "on_error: ignore\n", "BAD_VALUE", 3, 11, "skip, refuse, fail"),
        ("    on_error: skip", "    on_error: skpi", "BAD_VALUE", 8, 15, "did you mean `skip`?"),
        ("  morning:", "  Morning:", "BAD_VARIABLE", 5, 3, "cannot be a variable's name"),
        ("order.time_slot == 'morning'", "[a]", "BAD_VARIABLE", 5, 12, "not a CEL expression"),
        ("order.time_slot == 'morning'", "''", "BAD_VARIABLE", 5, 12, "not a CEL expression"),
        ("namespace: campus", "namspace: campus", "UNKNOWN_KEY", 1, 1, "did you mean `namespace`?"),
        ("    on_error: skip", "    hit_policy: first", "UNKNOWN_KEY", 8, 5, "at the top of the file"),
        ("rules:", "sets: []\nrules:", "CONTRADICTION", 1, 1, "beside `sets`"),
    ],
)
def test_what_is_wrong_in_a_header_is_said_with_its_place(
    old: str, new: str, code: str, line: int, column: int, words: str
) -> None:
    assert old in CAMPUS
    fault = build(TOOLS, [("a.yaml", CAMPUS.replace(old, new, 1))]).faults[0]
    assert (fault.code, fault.line, fault.column) == (code, line, column)
    assert words in str(fault)
    assert fault.code in CODES
    assert fault.code in MEANINGS


def test_files_of_one_namespace_may_not_contradict_each_other() -> None:
    other = CAMPUS.replace("first", "unique").replace("refuse", "fail").replace("name: early", "name: late")
    faults = merged([read_rules(CAMPUS, "a.yaml"), read_rules(other, "b.yaml")]).faults
    assert [(fault.code, fault.file, fault.line, fault.column) for fault in faults] == [
        ("CONTRADICTION", "b.yaml", 2, 13),
        ("CONTRADICTION", "b.yaml", 3, 11),
        ("DUPLICATE_VARIABLE", "b.yaml", 5, 3),
    ]
    assert "first at a.yaml:2" in str(faults[0]) or "a.yaml:2" in str(faults[0])


def test_a_test_speaks_of_its_own_namespace() -> None:
    other = CAMPUS.replace("matches: [early]", "matches: [campus/early]")
    assert build(TOOLS, [("a.yaml", other), ("b.yaml", OTHERS)]).faults == []
    stranger = OTHERS + "tests:\n  - matches: [campus/early]\n"
    (fault,) = build(TOOLS, [("a.yaml", CAMPUS), ("b.yaml", stranger)]).faults
    assert (fault.code, fault.file) == ("TEST_FAILED", "b.yaml")
    assert "no rule has the id `campus/early`" in fault.message
