"""Three ways to one answer: our index, our scan, and Google's C++ CEL, on conditions and facts made at random.

`cel-expr-python` is Google's implementation behind a Python door; it is a referee in tests and nothing else. Pairs of a
rule and an order are counted: some thousands in each run, a million with `make rules-campaign`.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

from cuptime._core import RuleSet

google = pytest.importorskip("cel_expr_python.cel", reason="cel-expr-python has no wheel for this machine")

SCHEMA = [("o.i", "int"), ("o.d", "double"), ("o.b", "bool"), ("o.s", "string"), ("o.t", "string")]
TYPES = {"int": "INT", "double": "DOUBLE", "bool": "BOOL", "string": "STRING"}
WORDS = ["", "a", "ab", "b", "咖啡", "ba"]
WHOLE = [-(2**63), -1, 0, 1, 7, 2**63 - 1]
DOUBLES = [-1.5, 0.0, 7.0, 1e300, float("inf"), float("nan")]
RULES, ROWS = 40, 8
PAIRS = int(os.environ.get("CUPTIME_RULE_PAIRS", "16000"))


def leaf(made: random.Random) -> str:
    relation = made.choice(["==", "!=", "<", "<=", ">", ">="])
    word, slot = made.choice(WORDS), made.choice(["o.s", "o.t"])
    return made.choice(
        [
            f"o.i {relation} {made.choice(WHOLE)}",
            f"{made.choice(WHOLE)} {relation} o.i",
            f"o.d {relation} {made.choice(['-1.5', '0.0', '-0.0', '7.0', '1e300'])}",
            f"{slot} {relation} '{word}'",
            f"{slot} in ['{word}', '{made.choice(WORDS)}']",
            f"o.i in [{made.choice(WHOLE)}, 7]",
            f"{slot}.{made.choice(['startsWith', 'endsWith', 'contains', 'matches'])}('{word}')",
            "o.b",
            "o.b == false",
            "10 / o.i > 1",
            "o.i + 1 > o.i",
            "o.s + o.t == 'aab'",
            "size(o.s) > 1",
            "[o.s, o.t].exists(x, x == 'ab')",
            "[1, 2, 7].all(x, x > o.i)",
            "dyn(o.i) < o.d",
            "true",
        ]
    )


def condition(made: random.Random, depth: int = 3) -> str:
    shape = made.random()
    if depth == 0 or shape < 0.3:
        return leaf(made)
    inner = [condition(made, depth - 1) for _ in range(made.choice([2, 2, 3]))]
    if shape < 0.55:
        return f"({' && '.join(inner)})"
    if shape < 0.8:
        return f"({' || '.join(inner)})"
    if shape < 0.92:
        return f"!({inner[0]})"
    return f"({inner[0]} ? {inner[1]} : {inner[-1]})"


def facts(made: random.Random) -> dict[str, Any]:
    values: dict[str, list[Any]] = {
        "o.i": WHOLE,
        "o.d": DOUBLES,
        "o.b": [True, False],
        "o.s": WORDS,
        "o.t": WORDS,
    }
    return {name: made.choice(choices) for name, choices in values.items() if made.random() < 0.85}


def test_the_index_the_scan_and_google_give_the_same_matches() -> None:
    made = random.Random(20_261_124)
    env = google.NewEnv(variables={name: getattr(google.Type, TYPES[kind]) for name, kind in SCHEMA})
    pairs = faults = hits = 0
    while pairs < PAIRS:
        conditions = [condition(made) for _ in range(RULES)]
        rules = [
            (f"r{i:02}", "", 0, i % 3, True, None, None, text, "skip", [("tag", "x")])
            for i, text in enumerate(conditions)
        ]
        indexed = RuleSet.compile(rules, SCHEMA)
        # Sets of a few rules are scanned.
        scanned = [RuleSet.compile([rule], SCHEMA) for rule in rules]
        programs = [env.compile(text) for text in conditions]
        sources = indexed.source_indices()
        for row in (facts(made) for _ in range(ROWS)):
            by_index = {sources[rank] for rank in indexed.evaluate([row], 0, "collect")[0]}
            first = [sources[rank] for rank in indexed.evaluate([row], 0, "first")[0]]
            by_scan = {i for i, one in enumerate(scanned) if one.evaluate([row], 0, "collect")[0]}
            answers = [program.eval(data=row) for program in programs]
            by_google = {
                i for i, answer in enumerate(answers) if answer.type().name() == "BOOL" and answer.value()
            }
            differ = [conditions[i] for i in (by_index ^ by_google) | (by_scan ^ by_google)]
            assert not differ, (row, differ)
            assert first == [min(by_index, key=lambda i: (i % 3, i))] if by_index else not first
            faults += sum(answer.type().name() == "ERROR" for answer in answers)
            hits += len(by_google)
            pairs += RULES
        counted = sum(errors for *_, errors in indexed.counters())
        assert counted <= 2 * RULES * ROWS
    # The sample is worth something only when all three answers are common in it.
    assert faults > pairs / 50
    assert hits > pairs / 10
