"""The rule engine of the Rust core as Python sees it: compile, match, explain, and say what is wrong and where.

The language itself is proved in `rust_core/rules/tests`; here a plain Python evaluator is the oracle of whole sets.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuptime._core import RuleCompileError, RuleSet, cel_eval

NOW_MS = 1_795_392_000_000
SCHEMA = [
    ("user.credit_score", "int"),
    ("order.time_slot", "string"),
    ("order.ice_level", "string?"),
    ("group.fill", "double"),
    ("user.is_new", "bool"),
    ("order.tags", "list(string)"),
]

RuleTuple = tuple[str, str, int, int, bool, int | None, int | None, str, str, list[tuple[str, str]]]


def rule(rule_id: str, condition: str, priority: int = 1, *, enabled: bool = True) -> RuleTuple:
    effects = [("assign_rider_priority", "1")]
    return (rule_id, rule_id, 0, priority, enabled, None, None, condition, "skip", effects)


def row(**changes: object) -> dict[str, object]:
    facts: dict[str, object] = {"user.credit_score": 93, "order.time_slot": "morning", "user.is_new": False}
    return facts | {name.replace("__", "."): value for name, value in changes.items()}


def matching(rules: RuleSet, facts: dict[str, object], mode: str = "collect") -> list[str]:
    ids = rules.rule_ids()
    return [ids[rank] for rank in rules.evaluate([facts], NOW_MS, mode)[0]]


def test_the_rule_of_the_specification_matches() -> None:
    rules = RuleSet.compile(
        [rule("early", "user.credit_score >= 90 && order.time_slot == 'morning'")], SCHEMA
    )
    assert rules.evaluate([row(), row(user__credit_score=89)], NOW_MS, "first") == [[0], []]
    assert rules.counters() == [("early", 2, 1, 0)]


def test_rank_is_priority_then_id() -> None:
    rules = RuleSet.compile([rule("b", "true", 5), rule("z", "true", -1), rule("a", "true", 5)], SCHEMA)
    assert matching(rules, row()) == ["z", "a", "b"]
    assert matching(rules, row(), "first") == ["z"]
    assert rules.source_indices() == [1, 2, 0]
    assert len(rules) == 3


def test_every_mistake_of_every_rule_is_reported_with_its_place() -> None:
    condition = "user.credit_scor > 1\n  && order.time_slot > 5\n  && '咖啡' == nobody"
    with pytest.raises(RuleCompileError) as caught:
        RuleSet.compile([rule("good", "true"), rule("bad", condition), rule("worse", "1 +")], SCHEMA)
    places = [(code, index, line, column) for code, index, _, line, column, _, _ in caught.value.diagnostics]
    assert places == [
        ("unknown_name", 1, 1, 1),
        ("no_overload", 1, 2, 6),
        ("unknown_name", 1, 3, 14),
        ("syntax", 2, 1, 4),
    ]
    code, index, offset, _, _, message, hint = caught.value.diagnostics[0]
    assert (message, hint) == ("nothing is called user.credit_scor", "did you mean user.credit_score?")
    assert condition.encode()[caught.value.diagnostics[2][2] :] == b"nobody"
    assert (code, index, offset) == ("unknown_name", 1, 0)
    assert "and 3 more" in str(caught.value)


def test_what_is_not_supported_yet_is_refused_not_guessed() -> None:
    for condition in ("Order{} == null", "order.tags.sortBy(t, size(t)) == []"):
        with pytest.raises(RuleCompileError) as caught:
            RuleSet.compile([rule("r", condition)], SCHEMA)
        assert caught.value.diagnostics[0][0] == "unsupported", condition


def test_a_schema_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(RuleCompileError) as caught:
        RuleSet.compile([], [("order", "int"), ("order.id", "int")])
    assert [diagnostic[0] for diagnostic in caught.value.diagnostics] == ["bad_schema"]
    with pytest.raises(ValueError, match="integer"):
        RuleSet.compile([], [("order.id", "integer")])


def test_absence_is_a_fault_that_is_counted_or_null_where_allowed() -> None:
    rules = RuleSet.compile([rule("a", "group.fill > 0.5"), rule("b", "order.ice_level == null")], SCHEMA)
    assert matching(rules, row()) == ["b"]
    assert rules.counters() == [("a", 1, 0, 1), ("b", 1, 1, 0)]


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"order.id": 1}, ValueError),
        ({"user.credit_score": "93"}, TypeError),
        ({"user.credit_score": True}, TypeError),
        ({"user.credit_score": 2**63}, TypeError),
        ({"order.time_slot": 5}, TypeError),
        ({"order.tags": "hot"}, TypeError),
        ({"user.is_new": 1}, TypeError),
    ],
)
def test_a_row_of_another_form_is_refused(facts: dict[str, object], error: type[Exception]) -> None:
    rules = RuleSet.compile([rule("r", "true")], SCHEMA)
    with pytest.raises(error):
        rules.evaluate([facts], NOW_MS, "collect")
    with pytest.raises(error):
        rules.explain(facts, NOW_MS)


def test_a_mode_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="collect"):
        RuleSet.compile([], SCHEMA).evaluate([], NOW_MS, "all")


def test_an_explanation_tells_what_decided() -> None:
    condition = "user.credit_score >= 90 && order.time_slot in ['noon']"
    rules = RuleSet.compile(
        [
            rule("a", condition),
            rule("b", "10 / (user.credit_score - 93) > 0"),
            rule("c", "'hot' in order.tags"),
            rule("d", "true", enabled=False),
        ],
        SCHEMA,
    )
    verdicts = rules.explain(row(order__tags=["hot"]), NOW_MS)
    assert verdicts == [
        (0, "not_matched", "order.time_slot in ['noon']", 27, "order.time_slot = 'morning'", "in ['noon']"),
        (1, "error", "divide_by_zero", 0, "divide by zero in 10 / (user.credit_score - 93)", ""),
        (2, "matched", "", 0, "", ""),
        (3, "inactive", "", 0, "", ""),
    ]


def test_the_digest_is_of_content_not_of_order() -> None:
    one, other = rule("a", "true"), rule("b", "false")
    digest = RuleSet.compile([one, other], SCHEMA).digest
    assert RuleSet.compile([other, one], SCHEMA).digest == digest
    assert RuleSet.compile([one], SCHEMA).digest != digest
    assert len(digest) == 64


def test_hostile_conditions_are_diagnostics() -> None:
    for condition in (
        "(" * 10_000,
        "[" * 10_000,
        "!" * 10_000,
        "a." * 8_000 + "b",
        "x" * 100_000,
        "\x00",
        "'\\",
    ):
        with pytest.raises(RuleCompileError) as caught:
            RuleSet.compile([rule("r", condition)], SCHEMA)
        assert caught.value.diagnostics


def test_threads_share_a_set() -> None:
    rules = RuleSet.compile([rule(f"r{i:02}", f"user.credit_score > {i}") for i in range(50)], SCHEMA)
    rows = [row(user__credit_score=score) for score in range(60)]
    wanted = [list(range(min(score, 50))) for score in range(60)]
    answers: list[list[list[int]]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(rules.evaluate(rows, NOW_MS, "collect")))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "an evaluation did not end within 60 s"
    assert answers == [wanted] * 4
    assert all(count == (f"r{i:02}", 240, 4 * (59 - i), 0) for i, count in enumerate(rules.counters()))


Facts = dict[str, Any]
Predicate = Callable[[Facts], bool]

_SLOTS = ["morning", "noon", "咖啡"]
_SCORES = st.integers(84, 96)


def _leaves() -> st.SearchStrategy[tuple[str, Predicate]]:
    score = st.builds(
        lambda op, v: (
            f"user.credit_score {op[0]} {v}",
            lambda f: bool(op[1](f["user.credit_score"], v)),
        ),
        st.sampled_from(
            [(">=", int.__ge__), ("<", int.__lt__), ("==", int.__eq__), ("!=", int.__ne__), (">", int.__gt__)]
        ),
        _SCORES,
    )
    slot = st.lists(st.sampled_from(_SLOTS), max_size=2).map(
        lambda slots: (f"order.time_slot in {slots!r}", lambda f: f["order.time_slot"] in slots)
    )
    new = st.just(("user.is_new", lambda f: bool(f["user.is_new"])))
    return st.one_of(score, slot, new)


def _either(a: tuple[str, Predicate], b: tuple[str, Predicate]) -> tuple[str, Predicate]:
    return (f"({a[0]} || {b[0]})", lambda f: a[1](f) or b[1](f))


def _both(a: tuple[str, Predicate], b: tuple[str, Predicate]) -> tuple[str, Predicate]:
    return (f"({a[0]} && {b[0]})", lambda f: a[1](f) and b[1](f))


def _negated(a: tuple[str, Predicate]) -> tuple[str, Predicate]:
    return (f"!({a[0]})", lambda f: not a[1](f))


_CONDITIONS = st.recursive(
    _leaves(),
    lambda inner: st.one_of(
        st.builds(_both, inner, inner), st.builds(_either, inner, inner), inner.map(_negated)
    ),
    max_leaves=6,
)
_FACTS = st.fixed_dictionaries(
    {"user.credit_score": _SCORES, "order.time_slot": st.sampled_from(_SLOTS), "user.is_new": st.booleans()}
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(_CONDITIONS, st.integers(-2, 2)), max_size=12),
    st.lists(_FACTS, min_size=1, max_size=8),
)
def test_whole_sets_agree_with_a_plain_evaluator(
    conditions: list[tuple[tuple[str, Predicate], int]], facts: list[Facts]
) -> None:
    rules = RuleSet.compile(
        [rule(f"r{i:02}", text, priority) for i, ((text, _), priority) in enumerate(conditions)], SCHEMA
    )
    ranked = sorted(range(len(conditions)), key=lambda i: (conditions[i][1], i))
    wanted = [[rank for rank, i in enumerate(ranked) if conditions[i][0][1](f)] for f in facts]
    assert rules.source_indices() == ranked
    assert rules.evaluate(facts, NOW_MS, "collect") == wanted
    assert rules.evaluate(facts, NOW_MS, "first") == [matches[:1] for matches in wanted]
    for f, matches in zip(facts, wanted, strict=True):
        outcomes = [outcome for _, outcome, *_ in rules.explain(f, NOW_MS)]
        assert [rank for rank, outcome in enumerate(outcomes) if outcome == "matched"] == matches


def test_an_expression_by_itself_gives_values_types_faults_and_diagnostics() -> None:
    env: dict[str, object] = {
        "x": "INT64",
        "f": {"overloads": [{"params": ["INT64"], "result": "STRING", "member": False}]},
    }
    bindings: dict[str, object] = {"x": {"int": "41"}}
    assert cel_eval("x + 1", env, bindings, "", True, True) == ("value", {"int": 42})
    assert cel_eval("f(x)", env, bindings, "", True, False) == ("type", "string")
    assert cel_eval("x / 0", env, bindings, "", True, True) == ("error", "divide_by_zero")
    assert cel_eval("y || true", env, bindings, "", False, True) == ("value", {"bool": True})
    kind, diagnostics = cel_eval("y || true", env, bindings, "", True, True)
    assert kind == "diagnostics"
    assert isinstance(diagnostics, list)
    assert diagnostics[0][0] == "unknown_name"


def packed_columns(rows: list[dict[str, Any]]) -> dict[str, object]:
    """Rows as the columns `evaluate_columns` takes; None in a text is a number beyond the list."""
    texts = sorted({text for row in rows if (text := row["order.time_slot"]) is not None})
    codes = [texts.index(slot) if (slot := row["order.time_slot"]) is not None else 2**31 for row in rows]
    return {
        "user.credit_score": array("q", [row["user.credit_score"] for row in rows]).tobytes(),
        "group.fill": array("d", [row["group.fill"] for row in rows]).tobytes(),
        "user.is_new": bytes(row["user.is_new"] for row in rows),
        "order.time_slot": (array("I", codes).tobytes(), texts),
    }


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "user.credit_score": st.integers(80, 100),
                "group.fill": st.floats(0, 1),
                "user.is_new": st.booleans(),
                "order.time_slot": st.sampled_from(["morning", "noon", "茶", None]),
            }
        ),
        max_size=20,
    ),
    st.sampled_from(["first", "collect"]),
)
def test_a_batch_of_columns_is_its_rows_one_by_one(rows: list[dict[str, Any]], mode: str) -> None:
    conditions = [
        f"user.credit_score >= {score} && order.time_slot {sign} '{slot}' || group.fill > 0.{score % 10}"
        for score in range(80, 100)
        for sign, slot in (("==", "morning"), ("!=", "茶"))
    ]
    rules = RuleSet.compile(
        [rule(f"r{i:02}", text, i % 3) for i, text in enumerate([*conditions, "user.is_new"])], SCHEMA
    )
    starts, ranks = (
        memoryview(part).cast("I")
        for part in rules.evaluate_columns(packed_columns(rows), len(rows), NOW_MS, mode)
    )
    got = [list(ranks[starts[i] : starts[i + 1]]) for i in range(len(rows))]
    assert got == rules.evaluate(rows, NOW_MS, mode)


def test_columns_that_do_not_fit_are_refused() -> None:
    rules = RuleSet.compile([rule("r", "user.is_new")], SCHEMA)
    with pytest.raises(ValueError, match="8 bytes for each of 2 rows"):
        rules.evaluate_columns({"user.credit_score": bytes(15)}, 2, NOW_MS, "first")
    with pytest.raises(ValueError, match="the schema has no"):
        rules.evaluate_columns({"user.credit": bytes(16)}, 2, NOW_MS, "first")
    with pytest.raises(TypeError, match="not for columns"):
        rules.evaluate_columns({"order.tags": bytes(16)}, 2, NOW_MS, "first")
    with pytest.raises(ValueError, match="mode"):
        rules.evaluate_columns({}, 2, NOW_MS, "all")
    assert rules.evaluate_columns({}, 0, NOW_MS, "first") == (bytes(4), b"")
