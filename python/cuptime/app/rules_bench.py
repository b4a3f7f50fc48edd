"""`cuptime rules bench`: what an order costs against the rules of files, as served and by asking every rule."""

from __future__ import annotations

import json
import random
import re
import time
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from cuptime import core
from cuptime.app.core_parts import rule_tools
from cuptime.app.rules_check import NOTHING_READ, sources_of, tell
from cuptime.domain.clock import SystemClock
from cuptime.rules.compiled import Built, build

MODES: Final = ("first", "collect")
SECONDS_MAX: Final = 0.5
"""How long one figure is measured: the median of the rounds that fit counts, at least three."""
ROUNDS_MIN: Final = 3
_LITERAL: Final = re.compile(r"'((?:[^'\\]|\\.)*)'|(?<![\w.])(-?\d+(?:\.\d+)?)(?![\w.])")
Batch = tuple[dict[str, object], int]
"""Packed columns, and how many orders they have."""
_SPREAD: Final = 3
"""Texts and numbers that no rule names are so many for each kind of fact."""


def bench(paths: Sequence[Path], *, orders: int = 1_000, seed: int = 1, as_json: bool = False) -> int:
    """Prints nanoseconds an order; 0 when measured, 1 when the rules have faults, 2 when there are none to read."""
    sources = sources_of(paths)
    if not sources:
        return NOTHING_READ
    tools = rule_tools()
    begun = time.perf_counter()
    built = build(tools, sources)
    load_ms = (time.perf_counter() - begun) * 1e3
    if built.compiled is None or not isinstance(built.compiled, core.RuleSet):
        tell(built.faults, sources, {})
        return 1
    now_ms = SystemClock().now_ms()
    batch = made_columns(built, tools.schema, orders, seed), orders
    measured = [_measured(built.compiled, mode, now_ms, batch) for mode in MODES]
    told: dict[str, Any] = {
        "rules": built.rule_count,
        "orders": orders,
        "seed": seed,
        "load_ms": round(load_ms, 2),
        "modes": measured,
    }
    if as_json:
        print(json.dumps(told, indent=2))
        return 0
    print(
        f"{told['rules']} rules, loaded in {load_ms:.1f} ms; {orders} generated orders (seed {seed}), one thread"
    )
    print(f"{'':<8}{'ns/order':>12}{'every rule':>14}{'times':>8}{'hits/order':>12}")
    for row in measured:
        print(
            f"{row['mode']:<8}{row['ns_per_order']:>12,.0f}{row['scan_ns_per_order']:>14,.0f}"
            f"{row['scan_ns_per_order'] / row['ns_per_order']:>8.1f}{row['hits_per_order']:>12.2f}"
        )
    return 0


def _measured(rules: core.RuleSet, mode: str, now_ms: int, batch: Batch) -> dict[str, Any]:
    """One mode, after both ways gave the same answers. Packing is not measured, taking the columns in is."""
    answers = rules.evaluate_columns(*batch, now_ms, mode)
    if answers != rules.evaluate_columns(*batch, now_ms, mode, scan=True):
        raise AssertionError("the index and every rule in turn do not agree; please report these rules")
    orders = batch[1]
    return {
        "mode": mode,
        "ns_per_order": _median_ns(lambda: rules.evaluate_columns(*batch, now_ms, mode), orders),
        "scan_ns_per_order": _median_ns(
            lambda: rules.evaluate_columns(*batch, now_ms, mode, scan=True), orders
        ),
        "hits_per_order": len(answers[1]) / 4 / orders,
    }


def _median_ns(work: Callable[[], object], orders: int) -> float:
    rounds: list[float] = []
    ends = time.perf_counter() + SECONDS_MAX
    while len(rounds) < ROUNDS_MIN or time.perf_counter() < ends:
        begun = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - begun)
    return sorted(rounds)[len(rounds) // 2] * 1e9 / orders


def made_columns(
    built: Built, schema: Sequence[tuple[str, str]], orders: int, seed: int
) -> dict[str, object]:
    """The facts that the rules name, for so many orders, packed: each drawn evenly from the literals that conditions
    have, those numbers more or less one, and a few that no rule names. The same seed, the same orders."""
    conditions = [rule.condition.value for _, rule in built.pairs]
    conditions += [variable.expression.value for space in built.namespaces for _, variable in space.variables]
    texts: set[str] = {f"other {n}" for n in range(_SPREAD)}
    numbers: set[float] = {float(n) for n in range(_SPREAD)}
    for condition in conditions:
        for text, number in _LITERAL.findall(core.canonical_condition(condition) or condition):
            if number:
                numbers.update(float(number) + step for step in (-1, 0, 1))
            else:
                texts.add(text)
    choose = random.Random(seed)
    words, values = sorted(texts), sorted(numbers)
    whole = sorted({int(value) for value in values if abs(value) < 2**62})
    packed: dict[str, object] = {}
    for name, kind in schema:
        if not any(name in condition for condition in conditions):
            continue
        if kind.startswith("string"):
            packed[name] = (array("I", choose.choices(range(len(words)), k=orders)).tobytes(), words)
        elif kind.startswith("int"):
            packed[name] = array("q", choose.choices(whole, k=orders)).tobytes()
        elif kind.startswith("double"):
            packed[name] = array("d", choose.choices(values, k=orders)).tobytes()
    return packed
