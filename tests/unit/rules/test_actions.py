"""Actions are typed: every parameter is read or refused at its place, and what a plug-in offers is one of them."""

from __future__ import annotations

import pytest

from cuptime.app.core_parts import rule_tools
from cuptime.rules.actions import ActionReader, ActionRegistry, ActionType, Kind, Parameter
from cuptime.rules.built_in import built_in
from cuptime.rules.diagnostic import Diagnostic
from cuptime.rules.yaml import read_rules

TOOLS = rule_tools()
EVERY_KIND = ActionType(
    "try_all",
    "one parameter of each kind",
    "各种参数",
    (
        Parameter("ids", Kind.IDS),
        Parameter("whole", Kind.WHOLE, 1, 9, required=False),
        Parameter("number", Kind.NUMBER, 0.5, 2, required=False),
        Parameter("text", Kind.TEXT, 1, 5, required=False),
        Parameter("choice", Kind.CHOICE, choices=("hot", "cold"), required=False),
        Parameter("span", Kind.DURATION, 0, 3_600_000, required=False),
    ),
    lambda given: [("tag", repr(sorted(given.items())))],
)


def read(action: str) -> tuple[list[tuple[str, str]], list[Diagnostic]]:
    """Effects and faults of one rule with this action, as it stands behind the key."""
    source = f"rules:\n  - name: n\n    condition: 'true'\n    action: {action}\n"
    file = read_rules(source, "f.yaml")
    registry = built_in()
    registry.register(EVERY_KIND)
    reader = ActionReader(registry, TOOLS.check_effect, file.name, source, file.faults)
    effects = [effect for rule in file.rules for _, effect in reader.effects(rule.rule_id, rule.actions)]
    return effects, file.faults


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ('"try_all: 7, 8"', "[('ids', [7, 8])]"),
        ("{try_all: [7, 8]}", "[('ids', [7, 8])]"),
        ("{try_all: {ids: 7}}", "[('ids', [7])]"),
        ("{try_all: {ids: [7], whole: '9', number: 0.5}}", "[('ids', [7]), ('number', 0.5), ('whole', 9)]"),
        (
            "{try_all: {ids: [7], text: 咖啡, choice: cold, span: 1h}}",
            "[('choice', 'cold'), ('ids', [7]), ('span', 3600000), ('text', '咖啡')]",
        ),
        ("{try_all: {ids: [7], span: 1m30s5ms}}", "[('ids', [7]), ('span', 90005)]"),
    ],
)
def test_parameters_of_every_kind_are_read(action: str, given: str) -> None:
    assert read(action) == ([("tag", given)], [])


def test_a_rule_may_have_several_actions() -> None:
    effects, faults = read("{assign_rider_priority: 3, tag: vip}")
    assert (effects, faults) == ([("assign_rider_priority", "3"), ("tag", "vip")], [])


@pytest.mark.parametrize(
    ("action", "column", "words"),
    [
        ('"try_all: 7, x"', 23, 'must be 1 to 100 numbers, with commas between, not "x"'),
        ('"try_all: 7, 7"', 23, 'not "7"'),
        ("{try_all: [7, x]}", 27, 'not "x"'),
        ("{try_all: [7, [8]]}", 27, "a list or mapping"),
        ("{try_all: []}", 23, "0 numbers"),
        ("{try_all: {whole: 3}}", 14, "try_all needs `ids`"),
        ("{try_all: {ids: 1, whole: 10}}", 39, 'a whole number from 1 to 9, not "10"'),
        ("{try_all: {ids: 1, number: 2.5}}", 40, "a number from 0.5 to 2"),
        ("{try_all: {ids: 1, number: nan}}", 40, "a number from 0.5 to 2"),
        ("{try_all: {ids: 1, text: sixsix}}", 38, "1 to 5 characters"),
        ("{try_all: {ids: 1, choice: clod}}", 40, "did you mean `cold`?"),
        ("{try_all: {ids: 1, span: 2h}}", 38, "a duration from 0ms to 1h, as 10m"),
        ("{try_all: {ids: 1, span: soon}}", 38, "a duration from 0ms to 1h, as 10m"),
        ("{try_all: {ids: 1, hole: 1}}", 32, "did you mean `whole`?"),
        ("{assign_rider_priority: [1]}", 37, 'not "a list or mapping"'),
        ("{tag: {txt: x}}", 20, "did you mean `text`?"),
        ("{}", 13, "a mapping of at most 8 of them"),
        ("[tag]", 13, "a mapping of at most 8 of them"),
    ],
)
def test_what_cannot_be_read_is_refused_at_its_place(action: str, column: int, words: str) -> None:
    effects, faults = read(action)
    assert effects == []
    assert (faults[0].code, faults[0].line, faults[0].column) == ("BAD_ACTION", 4, column)
    assert words in str(faults[0])


def test_all_faults_of_an_action_at_once() -> None:
    _, faults = read("{try_all: {whole: 0, number: 9, choice: x}, tga: y}")
    assert [fault.code for fault in faults] == ["BAD_ACTION"] * 4 + ["UNKNOWN_ACTION"]


@pytest.mark.parametrize(
    "action",
    [
        ActionType("tag", "", "", (Parameter("a", Kind.TEXT),), lambda given: []),
        ActionType("Bad name", "", "", (Parameter("a", Kind.TEXT),), lambda given: []),
        ActionType("none", "", "", (), lambda given: []),
        ActionType("twice", "", "", (Parameter("a", Kind.TEXT),) * 2, lambda given: []),
    ],
)
def test_a_type_that_cannot_be_is_not_registered(action: ActionType) -> None:
    registry = built_in()
    with pytest.raises(ValueError, match=action.name):
        registry.register(action)


def test_a_plug_in_that_fails_or_asks_for_what_is_not_there_is_a_fault_of_the_rule() -> None:
    def broken(given: object) -> list[tuple[str, str]]:
        raise KeyError("level")

    for effects, words in ((broken, "KeyError"), (lambda given: [("explode", "1")], "no action is called")):
        registry = ActionRegistry([ActionType("vip", "", "", (Parameter("a", Kind.TEXT),), effects)])  # type: ignore[arg-type]
        source = "rules:\n  - name: n\n    condition: 'true'\n    action: 'vip: x'\n"
        file = read_rules(source)
        reader = ActionReader(registry, TOOLS.check_effect, "", source)
        assert reader.effects("n", file.rules[0].actions) == []
        assert [(fault.code, fault.line, fault.column) for fault in reader.faults] == [("BAD_ACTION", 4, 13)]
        assert words in reader.faults[0].message
