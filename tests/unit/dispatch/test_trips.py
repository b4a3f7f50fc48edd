"""Trips: bundles, what is sent and what waits behind, estimates as the core has them."""

from __future__ import annotations

import random
from typing import Any

import pytest
from msgspec.structs import replace

from cuptime.core import Dispatcher
from cuptime.dispatch.bundles import as_one, bundles
from cuptime.dispatch.estimates import Carrier, Standing, estimate
from cuptime.dispatch.horizon import MINUTE_MS, Horizon, group_buy, meal_delivery, whole_terms
from cuptime.dispatch.rolling import ask, together
from cuptime.dispatch.trips import Look, improve_trips

NOW_MS = 1_000 * MINUTE_MS
MEALS = meal_delivery(4 * MINUTE_MS, 4 * MINUTE_MS, 40 * MINUTE_MS)
SHOPS = {1: (0.0, 0.0), 2: (2_000.0, 0.0)}


def order(order_id: int, **changes: Any) -> Standing:
    one = Standing(
        order_id, order_id, (600.0, 0.0), 0, 1, 1, -100, 100, 50, NOW_MS + 5 * MINUTE_MS,
        NOW_MS + 30 * MINUTE_MS, NOW_MS + 80 * MINUTE_MS, 1, 1, NOW_MS + 6 * MINUTE_MS, NOW_MS + MINUTE_MS,
    )  # fmt: skip
    return replace(one, **changes)


def rider(rider_id: int, x_m: float = 0.0, **changes: Any) -> Carrier:
    return replace(Carrier(rider_id, (x_m, 0.0), NOW_MS, NOW_MS + 600 * MINUTE_MS, 300.0), **changes)


def solver(riders: list[Carrier]) -> Dispatcher:
    made = Dispatcher()
    made.upsert_shops(
        [(i, x, y, 0, 1 << 60, False, 1_000, 1_000, 7, [(0, 1_000)]) for i, (x, y) in SHOPS.items()]
    )
    made.upsert_riders(
        [
            (r.rider_id, *r.place, r.free_ms, r.until_ms, 100, -100, 100, r.speed_m_per_min, r.on_duty)
            for r in riders
        ]
    )
    return made


def look(riders: list[Carrier], horizon: Horizon = MEALS) -> Look:
    terms = whole_terms(horizon, Dispatcher.policy_defaults())
    return Look({r.rider_id: r for r in riders}, SHOPS, NOW_MS, NOW_MS + MINUTE_MS, horizon, terms)


@pytest.mark.parametrize("horizon", [MEALS, group_buy(1e7, 1e7)])
def test_estimates_are_those_of_the_core(horizon: Horizon) -> None:
    chance = random.Random(3)
    terms = whole_terms(horizon, Dispatcher.policy_defaults())
    for _ in range(200):
        one = rider(1, chance.uniform(-5_000, 5_000), free_ms=NOW_MS + chance.randint(-5, 20) * MINUTE_MS)
        wish = order(
            1,
            door=(chance.uniform(-4_000, 4_000), chance.uniform(-4_000, 4_000)),
            temperature=chance.randint(0, 2),
        )
        (decided,) = solver([one]).decide([ask(wish, NOW_MS, horizon)], NOW_MS, dict(terms))[0]
        mine = estimate(wish, one, SHOPS[decided[1]], NOW_MS, terms)
        assert (mine.cost, mine.approach_m, mine.delivery_m) == (decided[6], decided[7], decided[8])
        assert abs(mine.pickup_ms - decided[3]) <= 1
        assert abs(mine.dropoff_ms - decided[4]) <= 1


def test_riders_in_plenty_make_no_bundles() -> None:
    orders = [order(n) for n in range(1, 5)]
    assert bundles(orders, [NOW_MS] * 4, SHOPS, 300.0, NOW_MS, 4) == [(one,) for one in orders]


def test_bundles_hold_every_order_once_and_only_of_one_shop() -> None:
    chance = random.Random(5)
    orders = [
        order(n, shop_id=chance.randint(1, 2), door=(chance.uniform(0, 3_000), chance.uniform(0, 3_000)),
              ready_ms=NOW_MS + chance.randint(0, 15) * MINUTE_MS)
        for n in range(1, 30)
    ]  # fmt: skip
    made = bundles(orders, [NOW_MS], SHOPS, 300.0, NOW_MS, 4)
    assert sorted(one.order_id for bundle in made for one in bundle) == list(range(1, 30))
    assert max(len(bundle) for bundle in made) > 1
    for bundle in made:
        assert len({one.shop_id for one in bundle}) == 1
        ready = [one.ready_ms for one in bundle]
        assert max(ready) - min(ready) <= 8 * MINUTE_MS


def test_a_bundle_is_ready_with_its_last_and_due_with_its_most_urgent() -> None:
    far = order(2, door=(600.0, 900.0), ready_ms=NOW_MS + 9 * MINUTE_MS, deadline_ms=NOW_MS + 40 * MINUTE_MS)
    one = as_one((order(1), far), 300.0, look([rider(1)]).terms)
    assert one.ready_ms == far.ready_ms
    assert one.deadline_ms == far.deadline_ms - 3 * MINUTE_MS - 4 * MINUTE_MS


def test_who_must_leave_is_committed_and_what_has_no_match_waits() -> None:
    riders = [rider(1, -600.0)]
    first, second = (
        order(1, ready_ms=NOW_MS),
        order(2, shop_id=2, ready_ms=NOW_MS, deadline_ms=NOW_MS + 90 * MINUTE_MS),
    )
    plan = improve_trips(solver(riders), [first, second], look(riders))
    by_id = {move.order.order_id: move for move in plan.moves}
    assert by_id[1].why == "BROUGHT_FORWARD"
    assert by_id[1].commit_ms == NOW_MS
    assert by_id[2].why == "POSTPONED"
    assert by_id[2].commit_ms >= NOW_MS + MEALS.postpone_ms
    assert by_id[2].estimate.pickup_ms > by_id[2].commit_ms


def test_what_is_ready_at_the_shop_is_taken_along() -> None:
    riders = [rider(1)]
    orders = [order(1, ready_ms=NOW_MS), order(2, ready_ms=NOW_MS, door=(700.0, 0.0))]
    plan = improve_trips(solver(riders), orders, look(riders))
    assert {move.commit_ms for move in plan.moves} == {NOW_MS}
    dropoffs = [move.estimate.dropoff_ms for move in plan.moves]
    assert dropoffs[0] != dropoffs[1]


def test_nobody_is_unassigned_and_riders_have_one_trip() -> None:
    chance = random.Random(9)
    for _ in range(20):
        riders = [rider(n, chance.uniform(-3_000, 3_000)) for n in range(1, 5)]
        orders = [
            order(n, shop_id=chance.randint(1, 2), rider_id=chance.randint(1, 4),
                  ready_ms=NOW_MS + chance.randint(-3, 25) * MINUTE_MS, door=(chance.uniform(0, 3_000), 0.0))
            for n in range(1, 12)
        ]  # fmt: skip
        plan = improve_trips(solver(riders), orders, look(riders))
        sent: dict[int, set[int]] = {}
        for move in plan.moves:
            assert move.shop_id == move.order.shop_id
            assert move.rider_id in {1, 2, 3, 4}
            if move.commit_ms <= NOW_MS:
                sent.setdefault(move.rider_id, set()).add(move.shop_id)
        assert all(len(shops) == 1 for shops in sent.values())
        assert len({move.order.order_id for move in plan.moves}) == len(plan.moves)


def test_parts_that_share_a_name_stand_together() -> None:
    assert together([("a", "b"), ("c",), ("b", "d"), ("e", "c"), ("f",)]) == [[0, 2], [1, 3], [4]]
