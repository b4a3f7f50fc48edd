"""Tests that stand beside the rules: facts of an order, and the rules that must match it.

    tests:
      - name: a good customer in the morning
        order: {time_slot: morning, quantity: 2}
        user: {credit_score: 95, tier: silver}
        at: "2026-11-24T09:00:00+08:00"
        matches: [high_credit_early_dispatch]

They are run whenever the rules are loaded; one that fails keeps the whole set from being live. A fact that is left out
is absent. `at` is the instant that validity is judged at; without it the beginning of 2000 is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from msgspec import Struct, field

from cuptime.rules.diagnostic import Diagnostic, suggestion
from cuptime.rules.nodes import Scalar

KEYS: Final = ("name", "order", "user", "group", "shop", "rider", "at", "matches")
FACT_KEYS: Final = ("order", "user", "group", "shop", "rider")
TESTS_MAX: Final = 1_000
AT_DEFAULT_MS: Final = 946_684_800_000


class RuleTest(Struct, frozen=True):
    """One test: facts by dotted name as they were written, and the ids of the rules that must match, in any order."""

    name: str
    file: str
    namespace: str
    line: int
    column: int
    facts: dict[str, Scalar | list[Scalar]]
    at_ms: int
    matches: tuple[Scalar, ...]


class Outcome(Struct, frozen=True):
    """What the tests of a set came to. Covered: rules that matched in one test and did not in another."""

    faults: list[Diagnostic]
    passed: int
    covered: int
    uncovered: list[str] = field(default_factory=list)


class Evaluated(Protocol):
    """What a test asks of a compiled set."""

    def rule_ids(self) -> list[str]: ...
    def evaluate(self, rows: list[dict[str, object]], now_ms: int, mode: str) -> list[list[int]]: ...
    def explain(self, row: dict[str, object], now_ms: int) -> list[tuple[int, str, str, int, str, str]]: ...


Add = Callable[[str, Any, str, str], None]
"""(code, place with line and column, message, hint)."""


def trial_of(file: str, namespace: str, node: Any, pairs: Mapping[str, Any], add: Add) -> RuleTest | None:
    """One test from the keys of its mapping; `pairs` has scalars, lists of scalars, and mappings as dicts of those."""
    sound = True
    for key, value in pairs.items():
        if key not in KEYS:
            add("UNKNOWN_KEY", node, f"unknown key `{key}` in a test", suggestion(key, KEYS))
            sound = False
        elif key in FACT_KEYS and not isinstance(value, dict):
            add("BAD_VALUE", node, f"`{key}` of a test is a mapping of facts", "")
            sound = False
    facts = {
        f"{key}.{name}": value
        for key in FACT_KEYS
        if isinstance(pairs.get(key), dict)
        for name, value in pairs[key].items()
    }
    matches = pairs.get("matches")
    if not isinstance(matches, list):
        add("MISSING_KEY", node, "the test has no list `matches`", "`matches: []` when no rule must match")
        return None
    at_ms = _at_ms(pairs.get("at"), node, add)
    name = pairs.get("name")
    title = name.value if isinstance(name, Scalar) else f"the test on line {node.line}"
    if not sound or at_ms is None:
        return None
    return RuleTest(title, file, namespace, node.line, node.column, facts, at_ms, tuple(matches))


def _at_ms(value: Any, node: Any, add: Add) -> int | None:
    if value is None:
        return AT_DEFAULT_MS
    try:
        at = datetime.fromisoformat(value.value) if isinstance(value, Scalar) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        add(
            "BAD_VALUE",
            value if isinstance(value, Scalar) else node,
            "`at` must be an instant with its time zone",
            "",
        )
        return None
    return int(at.timestamp() * 1_000)


def facts_of(
    facts: Mapping[str, Scalar | list[Scalar]], schema: Sequence[tuple[str, str]]
) -> tuple[dict[str, object], list[tuple[Scalar | None, str, str]]]:
    """A row for the core, and what is wrong with the facts: (place, message, hint)."""
    types = {name: kind.removesuffix("?") for name, kind in schema}
    row: dict[str, object] = {}
    wrong: list[tuple[Scalar | None, str, str]] = []
    for name, value in facts.items():
        place = value if isinstance(value, Scalar) else (value[0] if value else None)
        kind = types.get(name)
        if kind is None:
            wrong.append((place, f"nothing is called {name}", suggestion(name, types)))
            continue
        try:
            row[name] = _fact(value, kind)
        except ValueError:
            wrong.append((place, f"{name} must be {kind}", ""))
    return row, wrong


def _fact(value: Scalar | list[Scalar], kind: str) -> object:
    """The Python value of a fact. Raises ValueError when it does not read as its type."""
    if kind == "list(string)":
        if isinstance(value, Scalar):
            raise ValueError
        return [entry.value for entry in value]
    if not isinstance(value, Scalar):
        raise ValueError
    if kind == "int":
        return int(value.value)
    if kind == "double":
        return float(value.value)
    if kind == "bool":
        return {"true": True, "false": False}[value.value] if value.value in ("true", "false") else _refuse()
    return value.value


def _refuse() -> bool:
    raise ValueError


class Asked(Struct, frozen=True):
    """A test as it is asked, or what is wrong with it whatever the rules say."""

    row: dict[str, object]
    mine: set[str]
    """The rules of its namespace."""
    wanted: dict[str, Scalar]
    faults: list[Diagnostic]


def read(test: RuleTest, schema: Sequence[tuple[str, str]], spaces: Mapping[str, str]) -> Asked:
    """`spaces` as for `run`."""
    row, wrong = facts_of(test.facts, schema)
    faults = [
        Diagnostic("BAD_VALUE", test.file, *_place(test, at), "", f"{test.name}: {message}", hint)
        for at, message, hint in wrong
    ]
    mine = {rule for rule, space in spaces.items() if space == test.namespace}
    prefix = f"{test.namespace}/" if test.namespace else ""
    wanted: dict[str, Scalar] = {}
    for entry in test.matches:
        rule = entry.value if entry.value in mine else prefix + entry.value
        wanted[rule] = entry
        if rule not in mine:
            message = f"{test.name}: no rule has the id `{entry.value}`"
            hint = suggestion(entry.value, sorted(known.removeprefix(prefix) for known in mine))
            faults.append(Diagnostic("TEST_FAILED", test.file, entry.line, entry.column, "", message, hint))
    return Asked(row, mine, wanted, faults)


def run(
    tests: Sequence[RuleTest],
    rules: Evaluated,
    schema: Sequence[tuple[str, str]],
    spaces: Mapping[str, str],
) -> Outcome:
    """Every test against a compiled set; `spaces` says the namespace of each rule id. A test speaks of the rules of its
    own namespace, by the ids they have in it."""
    ids = rules.rule_ids()
    faults: list[Diagnostic] = []
    hit: set[str] = set()
    missed: set[str] = set()
    passed = 0
    for test in tests:
        asked = read(test, schema, spaces)
        found = asked.faults
        if not found:
            got = {ids[rank] for rank in rules.evaluate([asked.row], test.at_ms, "policy")[0]} & asked.mine
            hit |= got
            missed |= asked.mine - got
            found = list(_differences(test, asked.wanted, got, rules, asked.row, ids))
        faults += found
        passed += not found
    covered = hit & missed
    return Outcome(faults, passed, len(covered), [rule for rule in ids if rule not in covered])


def _place(test: RuleTest, at: Scalar | None) -> tuple[int, int]:
    return (at.line, at.column) if at is not None else (test.line, test.column)


def _differences(
    test: RuleTest,
    wanted: Mapping[str, Scalar],
    got: set[str],
    rules: Evaluated,
    row: dict[str, object],
    ids: Sequence[str],
) -> Sequence[Diagnostic]:
    """What did not come out as the test says, each with the reason the core gives."""
    if set(wanted) == got:
        return []
    told = {
        ids[rank]: (outcome, text, found)
        for rank, outcome, text, _, found, _ in rules.explain(row, test.at_ms)
    }
    out = []
    for rule, entry in wanted.items():
        if rule not in got:
            outcome, text, found = told[rule]
            reason = f"{text}: {found}" if outcome == "not_matched" else f"{outcome} {found or text}".strip()
            if outcome == "shadowed":
                reason = f"shadowed by `{text}`"
            message = f"{test.name}: `{rule}` does not match: {reason}"
            out.append(Diagnostic("TEST_FAILED", test.file, entry.line, entry.column, rule, message))
    for rule in sorted(got - set(wanted)):
        message = f"{test.name}: `{rule}` matches, and the test does not list it"
        out.append(Diagnostic("TEST_FAILED", test.file, test.line, test.column, rule, message))
    return out
