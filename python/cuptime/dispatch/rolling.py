"""Rolling horizon: all that is not committed is solved anew, again and again, and committed as late as one
responsibly can.

Deciding each group when it completes, for good, loses what a later order or a rider who moved would have made better:
in the measurements of the literature irrevocable decisions double what is not delivered. So the first decision is
provisional, and this module says what should take its place: who takes part, what the core's exact assignment gives,
which of it gains enough to be told to anybody, and when each assignment becomes a commitment. It has no clock and keeps
nothing; `improve.py` owns the orders, the gate and the ledger.

Two ways, by the policy (`horizon.py`):

- *loads*: a rider carries as many at once as the load allows, and each order is priced alone;
- *trips*: one order or bundle at a time. Each rider has at most one match at a time; what has none stands behind it, as
  a sequence with estimates, and is never committed before it is matched. After Reyes, Erera, Savelsbergh, Sahasrabudhe,
  O'Neil, "The Meal Delivery Routing Problem" (2018). See `trips.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, Protocol

from msgspec import Struct, field

from cuptime.dispatch.estimates import Carrier, Estimate, Place, Standing, Terms, estimate
from cuptime.dispatch.horizon import MINUTE_MS, Horizon

PRIORITIES: Final = 20
PRIORITY_STEP_MS: Final = 10 * MINUTE_MS

Why = Literal["IMPROVED", "TAKEN_ALONG", "POSTPONED", "BROUGHT_FORWARD"]


class Solver(Protocol):
    """The core's dispatcher, with the capacity of the orders that take part given back; see `_core.pyi`."""

    def decide(self, orders: Any, now_ms: int, policy: dict[str, float] | None = None) -> Any: ...


class Move(Struct, frozen=True):
    """What takes the place of an order's assignment. `gain_m` may be negative when it makes way for others; what moves
    together gains `together_m`."""

    order: Standing
    why: Why
    shop_id: int
    rider_id: int
    estimate: Estimate
    commit_ms: int
    gain_m: int
    together_m: int


class Plan(Struct):
    """The outcome of one look."""

    moves: list[Move] = field(default_factory=list)
    left_out: list[int] = field(default_factory=list)
    """Orders that the solver left without an assignment though they have one: take them out and look again."""


def ask(order: Standing, now_ms: int, horizon: Horizon) -> tuple[Any, ...]:
    """An order's row for the solver. From the moment its shop begins it stays there."""
    begun = now_ms >= order.ready_ms - horizon.shop_begins_before_ms
    return (
        order.order_id, order.group_id, *order.door, order.sku, order.quantity, order.temperature,
        order.need_min_c, order.need_max_c, urgency(order, now_ms) if horizon.urgent_first else order.priority,
        order.ready_ms, order.target_ms, order.deadline_ms, [order.shop_id] if begun else [], [],
    )  # fmt: skip


def urgency(order: Standing, now_ms: int) -> int:
    """The priority groups of the paper, finer: the less time is left, the higher."""
    return max(1, min(PRIORITIES, (order.deadline_ms - now_ms) // PRIORITY_STEP_MS + 1))


def improve_loads(
    solver: Solver,
    orders: Sequence[Standing],
    riders: Mapping[int, Carrier],
    shops: Mapping[int, Place],
    now_ms: int,
    horizon: Horizon,
    terms: Terms,
    percents: Callable[[int], tuple[int, int]] = lambda _: (100, 100),
) -> Plan:
    """All orders solved anew together; the moves are those that gain, in the smallest parts that can stand alone.
    `percents` says, once the solver has answered, how many hundredths the costs of an order count now and where it
    would go."""
    plan = Plan()
    taken: list[tuple[Standing, int, int, Estimate, int]] = []
    rows = [ask(order, now_ms, horizon) for order in orders]
    decisions = solver.decide(rows, now_ms, dict(terms))[0] if rows else []
    for order, decided in zip(orders, decisions, strict=True):
        shop_id, rider_id = decided[1], decided[2]
        if shop_id < 0:
            plan.left_out.append(order.order_id)
        elif (shop_id, rider_id) != (order.shop_id, order.rider_id):
            now = estimate(order, riders[order.rider_id], shops[order.shop_id], now_ms, terms)
            then = estimate(order, riders[rider_id], shops[shop_id], now_ms, terms)
            before, after = percents(order.order_id)
            gain_m = now.cost * before // 100 - then.cost * after // 100
            taken.append((order, shop_id, rider_id, then, gain_m))
    if plan.left_out:
        return plan
    ties = [
        (f"r{order.rider_id}", f"r{rider_id}", *_shop_ties(order.shop_id, shop_id))
        for order, shop_id, rider_id, _, _ in taken
    ]
    for part in together(ties):
        gain_m = sum(taken[at][4] for at in part)
        if gain_m < horizon.gain_min_m:
            continue
        for at in part:
            order, shop_id, rider_id, then, own_m = taken[at]
            plan.moves.append(Move(order, "IMPROVED", shop_id, rider_id, then, then.commit_ms, own_m, gain_m))
    plan.moves.sort(key=lambda move: move.order.order_id)
    return plan


def _shop_ties(before: int, after: int) -> tuple[str, ...]:
    return () if before == after else (f"s{before}", f"s{after}")


def together(ties: Sequence[Iterable[str]]) -> list[list[int]]:
    """Positions that share a name, directly or over others: one cannot be done without the rest. Sorted."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    for names in ties:
        first, *more = names
        for name in more:
            root[find(name)] = find(first)
    parts: dict[str, list[int]] = {}
    for at, names in enumerate(ties):
        parts.setdefault(find(next(iter(names))), []).append(at)
    return list(parts.values())
