"""The dispatcher of the Rust core as Python sees it: columns, reasons, holds, refusals.

That its plans are the cheapest is proved in `rust_core/dispatch/tests` and `tests/conformance/test_dispatch_oracle.py`.
"""

from __future__ import annotations

import random
import struct
import threading
from typing import Any, NamedTuple

import pytest

from cuptime._core import Dispatcher

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
NEVER_MS = 2**61
HOT, AMBIENT, COLD = 0, 1, 2
TEA, JUICE = 1, 2


class Order(NamedTuple):
    order_id: int = 1
    group_id: int = 10_000
    x_m: float = 0.0
    y_m: float = 0.0
    sku: int = TEA
    quantity: int = 1
    temperature: int = AMBIENT
    need_min_c: int = -40
    need_max_c: int = 100
    priority: int = 50
    ready_ms: int = NOW_MS + 18 * MINUTE_MS
    target_ms: int = NEVER_MS
    deadline_ms: int = NEVER_MS
    allowed_shops: list[int] = []  # noqa: RUF012 - never changed
    lost: list[tuple[int, int]] = []  # noqa: RUF012 - never changed


class Shop(NamedTuple):
    shop_id: int = 7
    x_m: float = 300.0
    y_m: float = 400.0
    open_from_ms: int = 0
    open_until_ms: int = NEVER_MS
    paused: bool = False
    capacity_free: int = 10
    fridge_free: int = 5
    offers_mask: int = 7
    stock: list[tuple[int, int]] = [(TEA, 20), (JUICE, 20)]  # noqa: RUF012 - never changed


class Rider(NamedTuple):
    rider_id: int = 70
    x_m: float = 300.0
    y_m: float = 0.0
    available_from_ms: int = 0
    available_until_ms: int = NEVER_MS
    load_free: int = 5
    min_c: int = -5
    max_c: int = 75
    speed_m_per_min: float = 250.0
    on_duty: bool = True


class Decision(NamedTuple):
    order_id: int
    shop_id: int
    rider_id: int
    pickup_ms: int
    dropoff_ms: int
    rider_free_ms: int
    cost: int
    approach_m: int
    delivery_m: int
    reasons: list[tuple[int, int, int, int, int, int]]
    alternatives: list[tuple[int, int, int]]

    def named_reasons(self) -> dict[str, tuple[int, int, int, int, int]]:
        names = Dispatcher.reason_names()
        return {names[code]: tuple(rest) for code, *rest in self.reasons}  # type: ignore[misc]


def park(shops: list[Shop] | None = None, riders: list[Rider] | None = None) -> Dispatcher:
    dispatcher = Dispatcher()
    dispatcher.upsert_shops([tuple(shop) for shop in ([Shop()] if shops is None else shops)])
    dispatcher.upsert_riders([tuple(rider) for rider in ([Rider()] if riders is None else riders)])
    return dispatcher


def decided(dispatcher: Dispatcher, *orders: Order, **policy: float) -> list[Decision]:
    columns = [tuple(order) for order in orders]
    decisions, _, gap_bound, _, _ = dispatcher.decide(columns, NOW_MS, policy)
    assert gap_bound == 0
    assert dispatcher.validate(columns, NOW_MS, policy) == []
    return [Decision(*decision) for decision in decisions]


def test_an_assignment_tells_times_metres_and_cost() -> None:
    ready_ms = NOW_MS + MINUTE_MS
    [decision] = decided(
        park(),
        Order(ready_ms=ready_ms, target_ms=ready_ms + 150_000),
        pickup_before_ms=30_000,
        pickup_after_ms=10_000,
        dropoff_before_ms=20_000,
        dropoff_after_ms=5_000,
        late_m_per_s=10,
        wait_m_per_s=3,
    )
    # 400 m at 250 m/min is 96 s, 30 s to park: taken 126 s from now, 66 s after it was ready.
    pickup_ms = NOW_MS + 126_000
    dropoff_ms = pickup_ms + 10_000 + 120_000 + 20_000
    late_s = (dropoff_ms - ready_ms - 150_000) // 1_000
    assert decision[:9] == (
        *(1, 7, 70, pickup_ms, dropoff_ms, dropoff_ms + 5_000),
        *(400 + 500 + 3 * 66 + 10 * late_s, 400, 500),
    )
    assert decision.reasons == []
    assert decision.alternatives == []


def test_a_rider_who_comes_later_starts_later_and_may_wait() -> None:
    rider = Rider(available_from_ms=NOW_MS + 10 * MINUTE_MS)
    [decision] = decided(park(riders=[rider]), Order(ready_ms=NOW_MS), idle_m_per_s=1)
    assert decision.pickup_ms == NOW_MS + 10 * MINUTE_MS + 96_000
    [early] = decided(park(), Order(ready_ms=NOW_MS + 10 * MINUTE_MS), idle_m_per_s=1)
    assert early.cost == 400 + 500 + (600 - 96)


IMPOSSIBLE: list[tuple[str, Order, Shop, Rider, dict[str, float], tuple[int, int, int, int]]] = [
    ("NO_SHOP_IN_RADIUS", Order(x_m=9_000.0), Shop(), Rider(), {}, (7, -1, 8_710, 3_000)),
    ("SHOP_CLOSED", Order(), Shop(paused=True), Rider(), {}, (7, -1, NOW_MS + 18 * MINUTE_MS, 0)),
    ("SHOP_CLOSED", Order(), Shop(open_until_ms=5), Rider(), {}, (7, -1, NOW_MS + 18 * MINUTE_MS, 5)),
    ("SHOP_DAILY_CAPACITY", Order(), Shop(capacity_free=0), Rider(), {}, (7, -1, 0, 1)),
    ("FRIDGE_SLOTS", Order(temperature=COLD), Shop(fridge_free=0), Rider(), {}, (7, -1, 0, 1)),
    ("SKU_NOT_OFFERED", Order(sku=9), Shop(), Rider(), {}, (7, -1, 0, 1)),
    ("SKU_NOT_OFFERED", Order(temperature=COLD), Shop(offers_mask=3), Rider(), {}, (7, -1, 0, 1)),
    ("SKU_STOCK", Order(quantity=3), Shop(stock=[(TEA, 2)]), Rider(), {}, (7, -1, 2, 3)),
    ("TEMPERATURE_RANGE", Order(need_max_c=8), Shop(), Rider(min_c=12), {}, (7, 70, 4, 0)),
    ("TEMPERATURE_RANGE", Order(need_min_c=55), Shop(), Rider(max_c=20), {}, (7, 70, 35, 0)),
    ("RIDER_OFF_WINDOW", Order(), Shop(), Rider(on_duty=False), {}, (7, 70, NOW_MS, 0)),
    (
        "RIDER_OFF_WINDOW",
        Order(ready_ms=NOW_MS + 5 * MINUTE_MS),
        Shop(),
        Rider(available_until_ms=NOW_MS + 6 * MINUTE_MS),
        {},
        (7, 70, NOW_MS + 7 * MINUTE_MS, NOW_MS + 6 * MINUTE_MS),
    ),
    ("RIDER_LOAD", Order(), Shop(), Rider(load_free=0), {}, (7, 70, 0, 1)),
    ("RIDER_RADIUS", Order(), Shop(), Rider(), {"radius_m": 350}, (7, 70, 400, 350)),
    (
        "DEADLINE",
        Order(ready_ms=NOW_MS + 5 * MINUTE_MS, deadline_ms=NOW_MS + 6 * MINUTE_MS),
        Shop(),
        Rider(),
        {},
        (7, 70, NOW_MS + 7 * MINUTE_MS, NOW_MS + 6 * MINUTE_MS),
    ),
    ("RESERVATION_LOST", Order(lost=[(7, 70)]), Shop(), Rider(), {}, (7, 70, 1, 0)),
    ("RESERVATION_LOST", Order(lost=[(7, -1)]), Shop(), Rider(), {}, (7, -1, 1, 0)),
    ("RESERVATION_LOST", Order(lost=[(-1, 70)]), Shop(), Rider(), {}, (7, 70, 1, 0)),
]


@pytest.mark.parametrize(("code", "order", "shop", "rider", "policy", "found"), IMPOSSIBLE)
def test_each_limit_refuses_with_its_measure(
    code: str, order: Order, shop: Shop, rider: Rider, policy: dict[str, float], found: tuple[int, ...]
) -> None:
    [decision] = decided(park([shop], [rider]), order, **policy)
    assert (decision.shop_id, decision.rider_id, decision.cost) == (-1, -1, -1)
    assert decision.named_reasons() == {code: (*found, 1)}


def test_an_empty_park_says_that_nobody_is_there() -> None:
    [decision] = decided(park([], []), Order())
    assert decision.named_reasons() == {"NO_SHOP_IN_RADIUS": (-1, -1, -1, 3_000, 1)}
    [decision] = decided(park(riders=[]), Order())
    assert decision.named_reasons() == {"RIDER_RADIUS": (7, -1, -1, 3_000, 1)}


def test_the_lower_priority_is_outbid_at_a_price() -> None:
    dispatcher = park([Shop(capacity_free=1)])
    first, second = decided(dispatcher, Order(1, priority=60), Order(2, priority=10))
    assert (first.shop_id, second.shop_id) == (-1, 7)
    price = 1_000_000_000 + 40 * 10_000_000
    [reason] = first.named_reasons().items()
    # To serve it, the other would have to stay: fifty steps of priority more.
    assert reason == ("PRIORITY_OUTBID", (7, 70, price + 50 * 10_000_000, price, 1))


def test_an_assigned_order_knows_its_alternatives_and_what_they_cost() -> None:
    shops = [Shop(1, 0.0, 100.0), Shop(2, 0.0, 300.0), Shop(3, 0.0, 5_000.0)]
    riders = [Rider(10, 0.0, 100.0), Rider(20, 0.0, 300.0)]
    [decision] = decided(park(shops, riders), Order())
    assert (decision.shop_id, decision.rider_id, decision.cost) == (1, 10, 100)
    assert decision.alternatives == [(1, 20, 200), (2, 20, 200), (2, 10, 400)]


def test_a_whole_group_shares_what_is_there() -> None:
    shops = [Shop(1, 0.0, 100.0, capacity_free=3), Shop(2, 0.0, 800.0, stock=[(TEA, 4)])]
    riders = [Rider(10, 0.0, 100.0, load_free=2), Rider(20, 0.0, 800.0, load_free=4)]
    orders = [Order(n, quantity=2, priority=n) for n in range(1, 8)]
    decisions = decided(park(shops, riders), *orders)
    taken = [decision for decision in decisions if decision.shop_id != -1]
    assert [decision.order_id for decision in taken] == [1, 2, 3, 4, 5]
    assert sum(decision.shop_id == 1 for decision in taken) == 3
    assert sum(decision.shop_id == 2 for decision in taken) == 2


def test_only_allowed_shops_are_used() -> None:
    dispatcher = park([Shop(1), Shop(2, 0.0, 1_500.0)])
    [decision] = decided(dispatcher, Order(allowed_shops=[2]))
    assert decision.shop_id == 2
    [decision] = decided(dispatcher, Order(allowed_shops=[99]))
    assert decision.named_reasons() == {"NO_SHOP_IN_RADIUS": (-1, -1, -1, 3_000, 1)}


def test_the_window_may_end_at_pickup() -> None:
    rider = Rider(available_until_ms=NOW_MS + 6 * MINUTE_MS)
    order = Order(ready_ms=NOW_MS + 6 * MINUTE_MS)
    assert decided(park(riders=[rider]), order)[0].shop_id == -1
    assert decided(park(riders=[rider]), order, window_ends_at_pickup=1)[0].shop_id == 7


def test_deciding_takes_nothing_and_consuming_takes_all_or_nothing() -> None:
    dispatcher = park([Shop(capacity_free=2, fridge_free=1, stock=[(TEA, 5)])], [Rider(load_free=9)])
    before = dispatcher.counters()
    assert before == ([(7, 2, 1)], [(7, TEA, 5)], [(70, 9)])
    decided(dispatcher, Order(1, temperature=COLD), Order(2))
    assert dispatcher.counters() == before
    cold, warm = (7, 70, TEA, 2, True), (7, 70, TEA, 2, False)
    assert dispatcher.consume([cold, cold]) == ["", "FRIDGE_SLOTS"]
    assert dispatcher.counters() == ([(7, 1, 0)], [(7, TEA, 3)], [(70, 8)])
    assert dispatcher.consume([(7, 70, TEA, 4, False), (7, 70, JUICE, 1, False)]) == ["SKU_STOCK"] * 2
    assert dispatcher.consume([warm, warm]) == ["", "SHOP_DAILY_CAPACITY"]
    assert dispatcher.consume([(8, 70, TEA, 1, False), (7, 71, TEA, 1, False)]) == [
        "UNKNOWN_SHOP",
        "UNKNOWN_RIDER",
    ]
    dispatcher.release([warm, cold])
    assert dispatcher.counters() == before
    assert dispatcher.set_counters([(7, 1, 1)], [(7, JUICE, 3)], [(70, 0)]) == 0
    assert dispatcher.consume([warm]) == ["RIDER_LOAD"]
    assert dispatcher.counters() == ([(7, 1, 1)], [(7, TEA, 5), (7, JUICE, 3)], [(70, 0)])


def test_shops_and_riders_are_replaced_moved_and_removed() -> None:
    dispatcher = park([Shop(n, 100.0 * n) for n in range(1, 6)], [Rider(n, 100.0 * n) for n in range(10, 15)])
    dispatcher.upsert_shops([tuple(Shop(3, 9_000.0))])
    assert dispatcher.remove_shops([1, 5, 77]) == 2
    assert dispatcher.remove_riders([10, 12, 10]) == 2
    packed = struct.pack("<qddqdd", 13, 201.0, 400.0, 99, 0.0, 0.0)
    assert dispatcher.move_riders(packed) == 1
    shops, _, riders = dispatcher.counters()
    assert [shop[0] for shop in shops] == [2, 3, 4]
    assert [rider[0] for rider in riders] == [11, 13, 14]
    [decision] = decided(dispatcher, Order(x_m=200.0, y_m=400.0))
    assert (decision.shop_id, decision.rider_id, decision.approach_m, decision.delivery_m) == (2, 13, 1, 0)
    assert dispatcher.set_counters([(1, 1, 1)], [(5, TEA, 1)], [(10, 1), (11, 1)]) == 3


NOT_NUMBERS: list[dict[str, Any]] = [
    {"x_m": float("nan")},
    {"y_m": float("inf")},
    {"quantity": 0},
    {"quantity": -3},
    {"priority": 0},
    {"priority": 101},
    {"temperature": 3},
    {"ready_ms": 2**63 - 1},
]


@pytest.mark.parametrize("change", NOT_NUMBERS)
def test_an_order_outside_its_form_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="id 5"):
        park().decide([tuple(Order()), tuple(Order(5)._replace(**change))], NOW_MS)


def test_what_is_refused_changes_nothing() -> None:
    dispatcher = park()
    before = dispatcher.counters()
    with pytest.raises(ValueError, match="not in the plane"):
        dispatcher.upsert_shops([tuple(Shop(8)), tuple(Shop(9, float("nan")))])
    with pytest.raises(ValueError, match="speed"):
        dispatcher.upsert_riders([tuple(Rider(80)), tuple(Rider(90, speed_m_per_min=0.0))])
    with pytest.raises(ValueError, match="not in the plane"):
        dispatcher.move_riders(struct.pack("<qdd", 70, float("nan"), 0.0))
    with pytest.raises(ValueError, match="24 bytes"):
        dispatcher.move_riders(b"\0" * 23)
    with pytest.raises(ValueError, match="quantity"):
        dispatcher.consume([(7, 70, TEA, 1, False), (7, 70, TEA, 0, False)])
    with pytest.raises(ValueError, match="twice"):
        dispatcher.decide([tuple(Order()), tuple(Order())], NOW_MS)
    with pytest.raises(ValueError, match="no colour"):
        dispatcher.decide([tuple(Order())], NOW_MS, {"colour": 1})
    with pytest.raises(ValueError, match="radius_m"):
        dispatcher.decide([tuple(Order())], NOW_MS, {"radius_m": float("nan")})
    with pytest.raises(ValueError, match="15 columns"):
        dispatcher.decide([tuple(Order())[:14]], NOW_MS)  # type: ignore[list-item]
    with pytest.raises((OverflowError, TypeError)):
        dispatcher.decide([tuple(Order(sku=-1))], NOW_MS)
    assert dispatcher.counters() == before


def test_wild_but_legal_numbers_do_not_overflow() -> None:
    shops = [Shop(1, 1e8, 1e8), Shop(2, -1e8, -1e8)]
    rider = Rider(70, -1e8, 1e8, available_from_ms=2**62, speed_m_per_min=1e-9)
    order = Order(ready_ms=-(2**62), target_ms=-(2**63), deadline_ms=2**63 - 1)
    wide = dict.fromkeys(("radius_m", "delivery_radius_m", "late_m_per_s", "wait_m_per_s"), 1e10)
    dispatcher = park(shops, [rider])
    [decision] = dispatcher.decide([tuple(order)], NOW_MS, wide)[0]
    assert decision[0] == 1


def random_town(seed: int) -> tuple[Dispatcher, list[Order]]:
    draw = random.Random(seed)
    shops = [Shop(n, draw.uniform(0, 3e3), draw.uniform(0, 3e3), capacity_free=4) for n in range(8)]
    riders = [
        Rider(n, draw.uniform(0, 3e3), draw.uniform(0, 3e3), min_c=draw.choice((-5, 15)), load_free=2)
        for n in range(20)
    ]
    orders = [
        Order(n, 10_000, draw.uniform(0, 3e3), draw.uniform(0, 3e3), need_max_c=draw.choice((8, 100)))
        for n in range(40)
    ]
    return park(shops, riders), orders


def test_the_sequence_of_orders_does_not_change_the_answer() -> None:
    dispatcher, orders = random_town(3)
    forward = {decision.order_id: decision for decision in decided(dispatcher, *orders)}
    random.Random(4).shuffle(orders)
    assert {decision.order_id: decision for decision in decided(dispatcher, *orders)} == forward


def test_threads_may_decide_and_change_side_by_side() -> None:
    dispatcher, orders = random_town(5)
    columns = [tuple(order) for order in orders]
    shop_ids = {shop[0] for shop in dispatcher.counters()[0]}
    before = dispatcher.counters()
    faults: list[str] = []

    def change(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(60):
            chosen = [row for row in dispatcher.decide(columns, NOW_MS)[0] if row[1] in shop_ids]
            holds = [(row[1], row[2], TEA, 1, False) for row in draw.sample(chosen, min(5, len(chosen)))]
            taken = dispatcher.consume(holds)
            shops, stock, riders = dispatcher.counters()
            if min(free for *_, free in [*stock, *riders]) < 0 or min(shop[1] for shop in shops) < 0:
                faults.append("more was taken than there was")
            dispatcher.release([hold for hold, refused in zip(holds, taken, strict=True) if not refused])

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert faults == []
    assert dispatcher.counters() == before


def test_every_policy_name_has_a_default_and_every_reason_a_name() -> None:
    defaults = Dispatcher.policy_defaults()
    assert defaults["radius_m"] == 3_000
    park().decide([tuple(Order())], NOW_MS, defaults)
    names = Dispatcher.reason_names()
    assert sorted(names) == list(range(1, 15))
    assert {case[0] for case in IMPOSSIBLE} | {"PRIORITY_OUTBID", "RULE_EXCLUDED"} == set(names.values())
