"""Rules and orders that every engine can be asked about: a rule is an alternative of conjunctions of plain tests."""

from __future__ import annotations

import random
from array import array
from typing import Any, Final

SCHEMA: Final = [
    ("order_slot", "string"),
    ("user_tier", "string"),
    ("user_city", "string"),
    ("shop_code", "string"),
    ("order_kind", "string"),
    ("user_credit", "int"),
    ("order_cents", "int"),
    ("order_quantity", "int"),
    ("order_distance_m", "double"),
]
SLOTS: Final = ["morning", "noon", "evening", "night"]
TIERS: Final = ["new", "bronze", "silver", "gold", "black"]
KINDS: Final = ["COFFEE", "TEA", "JUICE"]
ORDERS: Final = 1_000
SHAPES: Final = ("mixed", "equality", "ranges")

Row = dict[str, Any]
Test = tuple[str, str, Any]
"""(fact, operator, literal); the operator is `==`, `>=`, `<` or `in`."""
Rule = list[list[Test]]
"""One of the conjunctions must hold."""


def made_rules(shape: str, count: int) -> list[Rule]:
    """`equality`: few hits. `ranges`: a ninth of all rules hit. `mixed`: what a campus has, some in forty hit. The same
    shapes and proportions as those of the native bench."""
    return [_rule(shape, i) for i in range(count)]


def _rule(shape: str, i: int) -> Rule:
    slot, tier, kind = SLOTS[i % 4], TIERS[i // 3 % 5], KINDS[i // 7 % 3]
    shop, city = i * 7 % 200, i * 3 % 20
    at = [("order_slot", "==", slot)]
    if shape == "equality":
        return [
            [("user_tier", "==", tier), ("user_city", "==", f"c{city}"), ("shop_code", "==", f"s{shop}"), *at]
        ]
    if shape == "ranges":
        return [[("user_credit", ">=", 600 + i * 13 % 400), *at]]
    kind_of = i * 37 % 20
    if kind_of <= 5:
        return [[("user_credit", ">=", 800 + i * 13 % 200), *at]]
    if kind_of <= 10:
        cents = ("order_cents", ">=", i * 17 % 100 * 100)
        return [[("user_tier", "==", tier), ("user_city", "==", f"c{city}"), cents]]
    if kind_of <= 14:
        shops = [f"s{shop}", f"s{(shop + 11) % 200}", f"s{(shop + 57) % 200}"]
        return [[("shop_code", "in", shops), *at]]
    if kind_of <= 17:
        cups = [("order_quantity", ">=", i % 10), ("order_quantity", "<", i % 10 + 3)]
        return [[*cups, ("order_kind", "==", kind), ("order_distance_m", "<", float(i % 30 * 100))]]
    here: Test = ("shop_code", "==", f"s{shop}")
    return [[("user_tier", "==", tier), here], [("user_credit", ">=", 800 + i * 13 % 200), here]]


def made_rows() -> list[Row]:
    made = random.Random(7)
    return [
        {
            "order_slot": made.choice(SLOTS),
            "user_tier": made.choice(TIERS),
            "user_city": f"c{made.randrange(20)}",
            "shop_code": f"s{made.randrange(200)}",
            "order_kind": made.choice(KINDS),
            "user_credit": made.randrange(550, 1_000),
            "order_cents": made.randrange(10_000),
            "order_quantity": made.randrange(14),
            "order_distance_m": float(made.randrange(3_000)),
        }
        for _ in range(ORDERS)
    ]


def cel(rule: Rule) -> str:
    """The rule in CEL."""
    both = [" && ".join(f"{fact} {op} {_literal(value)}" for fact, op, value in tests) for tests in rule]
    return both[0] if len(both) == 1 else " || ".join(f"({one})" for one in both)


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_literal(one) for one in value) + "]"
    return f"'{value}'" if isinstance(value, str) else str(value)


def columns(rows: list[Row]) -> dict[str, object]:
    """The rows as our batches take them."""
    packed: dict[str, object] = {}
    for name, kind in SCHEMA:
        cells = [row[name] for row in rows]
        if kind == "string":
            texts: dict[str, int] = {}
            codes = array("I", [texts.setdefault(cell, len(texts)) for cell in cells])
            packed[name] = (codes.tobytes(), list(texts))
        else:
            packed[name] = array("d" if kind == "double" else "q", cells).tobytes()
    return packed
