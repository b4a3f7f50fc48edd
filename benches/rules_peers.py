"""The rule matcher from Python beside its peers, in one run: ns per order, all rules that match, one thread.

    .venv/bin/python benches/rules_peers.py [rules ...]

Ours takes a batch as columns in one call. A peer is asked in the fastest way its door offers that gives all matches:
zen-engine a decision table with the policy `collect` through the static loader (its index); the others a loop over
compiled expressions, since they have no notion of a rule set. The same rules, the same orders, and each peer's
matches are compared with ours before anything is timed. Figures go to benches/out/rules_peers.json.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cuptime._core import RuleSet

SCHEMA = [("order_slot", "string"), ("user_tier", "string"), ("user_city", "string"), ("user_credit", "int")]
SLOTS, TIERS, CITIES = ["morning", "noon", "evening", "night"], ["new", "bronze", "silver", "gold"], 20
ORDERS = 1_000
SECONDS_MAX = 0.4
"""How long one figure is measured; the best of the rounds that fit counts."""

Row = dict[str, Any]
Rule = tuple[str, str, str, int | None]
Asked = Callable[[Row], set[int]]


def made_rules(shape: str, count: int) -> list[Rule]:
    """(slot, tier, city, least credit or None): pure equality, or equality of one and a range."""
    every = []
    for i in range(count):
        if shape == "equality":
            every.append((SLOTS[i % 4], TIERS[i // 4 % 4], f"c{i // 16 % 700}", None))
        else:
            every.append((SLOTS[i % 4], "", "", 600 + i * 13 % 400))
    return every


def made_rows() -> list[Row]:
    made = random.Random(7)
    return [
        {
            "order_slot": made.choice(SLOTS),
            "user_tier": made.choice(TIERS),
            "user_city": f"c{made.randrange(CITIES)}",
            "user_credit": made.randrange(550, 1_000),
        }
        for _ in range(ORDERS)
    ]


def cel(rule: Rule) -> str:
    slot, tier, city, credit = rule
    if credit is None:
        return f"order_slot == '{slot}' && user_tier == '{tier}' && user_city == '{city}'"
    return f"user_credit >= {credit} && order_slot == '{slot}'"


def columns(rows: list[Row]) -> dict[str, object]:
    packed: dict[str, object] = {"user_credit": array("q", [row["user_credit"] for row in rows]).tobytes()}
    for name in ("order_slot", "user_tier", "user_city"):
        texts: dict[str, int] = {}
        codes = array("I", [texts.setdefault(row[name], len(texts)) for row in rows])
        packed[name] = (codes.tobytes(), list(texts))
    return packed


def best_ns(work: Callable[[], object], orders: int) -> float:
    """Nanoseconds of one order, the best round."""
    best, ends = float("inf"), time.perf_counter() + SECONDS_MAX
    while True:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
        if time.perf_counter() > ends:
            return best * 1e9 / orders


def ours(rules: list[Rule], rows: list[Row]) -> tuple[Asked, dict[str, float]]:
    tuples = [
        (f"r{i:06}", "", 0, 1, True, None, None, cel(rule), "skip", [("tag", "x")])
        for i, rule in enumerate(rules)
    ]
    begun = time.perf_counter()
    compiled = RuleSet.compile(tuples, SCHEMA)
    load_ms = (time.perf_counter() - begun) * 1e3
    packed = columns(rows)
    figures = {
        "load_ms": load_ms,
        "batch, columns ready": best_ns(
            lambda: compiled.evaluate_columns(packed, ORDERS, 0, "collect"), ORDERS
        ),
        "batch, from dicts": best_ns(
            lambda: compiled.evaluate_columns(columns(rows), ORDERS, 0, "collect"), ORDERS
        ),
        "first, columns ready": best_ns(
            lambda: compiled.evaluate_columns(packed, ORDERS, 0, "first"), ORDERS
        ),
    }
    return lambda row: set(compiled.evaluate([row], 0, "collect")[0]), figures


def zen(rules: list[Rule], rows: list[Row]) -> tuple[Asked, Callable[[list[Row]], object]]:
    import zen as engine

    names = ["order_slot", "user_tier", "user_city", "user_credit"]
    inputs = [{"id": name, "type": "expression", "field": name, "name": name} for name in names]
    table = []
    for i, (slot, tier, city, credit) in enumerate(rules):
        quoted = [f'"{text}"' if text else "" for text in (slot, tier, city)]
        cells = [*quoted, "" if credit is None else f">= {credit}"]
        table.append({"_id": f"x{i}", **dict(zip(names, cells, strict=True)), "out": str(i)})
    content = {
        "hitPolicy": "collect",
        "inputs": inputs,
        "outputs": [{"id": "out", "type": "expression", "field": "out", "name": "out"}],
        "rules": table,
    }
    graph = {
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in", "position": {"x": 0, "y": 0}},
            {
                "id": "t",
                "type": "decisionTableNode",
                "name": "t",
                "position": {"x": 1, "y": 0},
                "content": content,
            },
            {"id": "end", "type": "outputNode", "name": "end", "position": {"x": 2, "y": 0}},
        ],
        "edges": [
            {"id": "e1", "sourceId": "in", "targetId": "t", "type": "edge"},
            {"id": "e2", "sourceId": "t", "targetId": "end", "type": "edge"},
        ],
    }
    loaded = engine.ZenEngine({"loader": {"type": "static", "content": {"rules": graph}}})
    ask = loaded.evaluate

    def one(row: Row) -> set[int]:
        return {int(entry["out"]) for entry in ask("rules", row)["result"]}

    return one, lambda some: [ask("rules", row) for row in some]


def datalogic(rules: list[Rule], rows: list[Row]) -> tuple[Asked, Callable[[list[Row]], object]]:
    import datalogic_py

    engine = datalogic_py.Engine()
    compiled = []
    for slot, tier, city, credit in rules:
        parts: list[Any] = [{"==": [{"var": "order_slot"}, slot]}]
        if credit is None:
            parts += [{"==": [{"var": "user_tier"}, tier]}, {"==": [{"var": "user_city"}, city]}]
        else:
            parts.insert(0, {">=": [{"var": "user_credit"}, credit]})
        compiled.append(engine.compile(json.dumps({"and": parts})))
    session = engine.session()

    def all_of(row: Row) -> list[bool]:
        handle = datalogic_py.DataHandle(json.dumps(row))
        return [answer == "true" for answer in session.evaluate_many(compiled, handle)]

    return (
        lambda row: {i for i, holds in enumerate(all_of(row)) if holds},
        lambda some: [all_of(row) for row in some],
    )


def common_expression(rules: list[Rule], rows: list[Row]) -> tuple[Asked, Callable[[list[Row]], object]]:
    import cel as rust_cel

    programs = [rust_cel.compile(cel(rule)) for rule in rules]

    def all_of(row: Row) -> list[bool]:
        context = rust_cel.Context(row)
        return [program.execute(context) for program in programs]

    return (
        lambda row: {i for i, holds in enumerate(all_of(row)) if holds},
        lambda some: [all_of(row) for row in some],
    )


def google(rules: list[Rule], rows: list[Row]) -> tuple[Asked, Callable[[list[Row]], object]]:
    from cel_expr_python import cel as google_cel

    types = {"string": google_cel.Type.STRING, "int": google_cel.Type.INT}
    env = google_cel.NewEnv(variables={name: types[kind] for name, kind in SCHEMA})
    programs = [env.compile(cel(rule)) for rule in rules]

    def all_of(row: Row) -> list[bool]:
        activation = env.Activation(row)
        return [program.eval(activation).value() for program in programs]

    return (
        lambda row: {i for i, holds in enumerate(all_of(row)) if holds},
        lambda some: [all_of(row) for row in some],
    )


PEERS = {
    "zen-engine": zen,
    "datalogic-py": datalogic,
    "common-expression-language": common_expression,
    "cel-expr-python": google,
}


def measured(shape: str, count: int) -> list[dict[str, Any]]:
    rules, rows = made_rules(shape, count), made_rows()
    ask, figures = ours(rules, rows)
    hits = sum(len(ask(row)) for row in rows) / ORDERS
    found = []
    for what, figure in figures.items():
        unit = "load_ms" if what == "load_ms" else "ns"
        found.append({"engine": f"ours, {what}", "shape": shape, "rules": count, unit: figure, "hits": hits})
    for name, make in PEERS.items():
        try:
            asked, several = make(rules, rows)
            for row in rows[:5]:
                if asked(row) != ask(row):
                    raise ValueError("its matches are not ours")
            # Linear peers are asked fewer orders, so that the whole run stays short.
            some = rows[: max(1, min(ORDERS, 200_000 // count))]
            figure: dict[str, Any] = {"ns": best_ns(lambda f=several, s=some: f(s), len(some))}
        except Exception as error:  # A peer that is not installed or refuses is a row of the table.
            figure = {"error": f"{type(error).__name__}: {str(error)[:80]}"}
        found.append({"engine": name, "shape": shape, "rules": count, **figure})
    return found


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [1, 10, 100, 1_000, 10_000]
    every: list[dict[str, Any]] = []
    print(f"{'engine':<30}{'shape':<10}{'rules':>7}{'ns/order':>14}{'1,000 orders ms':>17}{'hits/order':>12}")
    for shape in ("equality", "ranges"):
        for count in counts:
            for figure in measured(shape, count):
                every.append(figure)
                head = f"{figure['engine']:<30}{shape:<10}{count:>7}"
                if "ns" in figure:
                    hits = f"{figure['hits']:>12.2f}" if "hits" in figure else ""
                    print(
                        f"{head}{figure['ns']:>14,.0f}{figure['ns'] * ORDERS / 1e6:>17.3f}{hits}", flush=True
                    )
                elif "load_ms" in figure:
                    print(f"{head}{'load':>14}{figure['load_ms']:>17.3f}", flush=True)
                else:
                    print(f"{head}  {figure['error']}", flush=True)
    out = Path(os.environ.get("CUPTIME_BENCH_OUT", "benches/out"))
    out.mkdir(parents=True, exist_ok=True)
    (out / "rules_peers.json").write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
