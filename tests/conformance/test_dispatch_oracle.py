"""The dispatcher against OR-Tools: equal integers on pure flows, and on limits across classes what CP-SAT proves.

The oracle shares nothing with the core but the definition: who may carry what, and the cost of a pair, are computed
here again from the columns; then SimpleMinCostFlow or CP-SAT finds the least total.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest

from cuptime._core import Dispatcher

min_cost_flow = pytest.importorskip("ortools.graph.python.min_cost_flow", reason="ortools is not installed")
cp_model = pytest.importorskip("ortools.sat.python.cp_model", reason="ortools is not installed")

NOW_MS = 1_700_000_000_000
MINUTE_MS = 60_000
NEVER_MS = 2**61
HOT, AMBIENT, COLD = 0, 1, 2
RANGES = {HOT: (55, 100), AMBIENT: (-40, 100), COLD: (-40, 8)}
# Wide enough that nothing is cut to the nearest few: the oracle sees what the core sees.
EVERYBODY = {"max_shops_per_order": 10_000.0, "max_riders_per_shop": 10_000.0}
CP_SAT_SECONDS_MAX = 60.0

Shop = tuple[int, float, float, int, int, bool, int, int, int, list[tuple[int, int]]]
Rider = tuple[int, float, float, int, int, int, int, int, float, bool]
Order = tuple[
    int, int, float, float, int, int, int, int, int, int, int, int, int, list[int], list[tuple[int, int]]
]


def nearest_whole(value: float) -> int:
    """Half goes up; `round` would send it to the even neighbour."""
    return math.floor(value + 0.5)


@dataclass
class Town:
    """One random instance, and what each pair in it would cost."""

    shops: list[Shop]
    riders: list[Rider]
    orders: list[Order]
    policy: dict[str, float] = field(default_factory=dict)

    def dispatcher(self) -> Dispatcher:
        dispatcher = Dispatcher()
        dispatcher.upsert_shops(self.shops)
        dispatcher.upsert_riders(self.riders)
        return dispatcher

    def setting(self, name: str) -> float:
        return {**Dispatcher.policy_defaults(), **self.policy}[name]

    def price(self, order: Order) -> int:
        return int(self.setting("unassigned_base_m") + self.setting("unassigned_step_m") * (100 - order[9]))

    def delivery_m(self, order: Order, shop: Shop) -> float:
        return math.dist(order[2:4], shop[1:3])

    def shop_takes(self, order: Order, shop: Shop) -> bool:
        cups = dict(shop[9]).get(order[4], 0)
        return (
            self.delivery_m(order, shop) <= self.setting("delivery_radius_m")
            and not shop[5]
            and shop[3] <= order[10] <= shop[4]
            and bool(shop[8] >> order[6] & 1)
            and cups >= order[5]
            and shop[6] > 0
            and (order[6] != COLD or shop[7] > 0)
        )

    def pair_cost(self, order: Order, shop: Shop, rider: Rider) -> int | None:
        """The cost of the pair, None when it may not be."""
        approach_m = math.dist(rider[1:3], shop[1:3])
        if not self.shop_takes(order, shop) or approach_m > self.setting("radius_m"):
            return None
        if not rider[9] or rider[5] < 1 or order[7] > rider[7] or order[8] < rider[6]:
            return None
        delivery_m = self.delivery_m(order, shop)
        speed = rider[8]
        arrival_ms = max(NOW_MS, rider[3]) + nearest_whole(approach_m * MINUTE_MS / speed)
        pickup_ms = max(order[10], arrival_ms)
        dropoff_ms = pickup_ms + nearest_whole(delivery_m * MINUTE_MS / speed)
        if dropoff_ms > rider[4] or dropoff_ms > order[12]:
            return None
        late_ms = max(0, dropoff_ms - order[11])
        wait_ms = pickup_ms - order[10]
        way = self.setting("delivery_weight")
        if order[6] == COLD:
            way += self.setting("cold_delivery_weight")
        return (
            int(self.setting("approach_weight")) * nearest_whole(approach_m)
            + int(way) * nearest_whole(delivery_m)
            + int(self.setting("wait_m_per_s")) * wait_ms // 1_000
            + int(self.setting("late_m_per_s")) * late_ms // 1_000
        )


def one_class(draw: random.Random, orders: int, shops: int, riders: int, load: float) -> Town:
    """All orders alike but for place and priority; `load` is wanted over possible."""
    side_m = draw.choice((2_000.0, 4_000.0, 6_000.0))
    capacity = max(1, math.ceil(orders / shops / load))
    seats = max(1, math.ceil(orders / riders / load))
    cups = draw.choice((10**6, 2 * capacity))

    def place() -> tuple[float, float]:
        return draw.uniform(0, side_m), draw.uniform(0, side_m)

    temperature = draw.choice((HOT, AMBIENT, COLD))
    fridge = draw.choice((10**6, capacity))
    kind = (5, 2, temperature, *RANGES[temperature])
    return Town(
        [
            (100 + n, *place(), 0, NEVER_MS, False, draw.randint(0, 2 * capacity), fridge, 7, [(5, cups)])
            for n in range(shops)
        ],
        [
            (
                900 + n,
                *place(),
                0,
                NEVER_MS,
                draw.randint(0, 2 * seats),
                -40,
                100,
                250.0,
                draw.random() < 0.95,
            )
            for n in range(riders)
        ],
        [
            (n, 10_000, *place(), *kind, draw.choice((1, 40, 100)), NOW_MS, NEVER_MS, NEVER_MS, [], [])
            for n in range(orders)
        ],
        {**EVERYBODY, "unassigned_base_m": draw.choice((3_000.0, 1e9)), "unassigned_step_m": 100.0},
    )


def several_classes(draw: random.Random, orders: int, shops: int, riders: int) -> Town:
    """Everything differs: temperature, SKU, cups, times, speeds, vehicles; and everything is short."""
    tight = max(1, orders // shops)

    def place() -> tuple[float, float]:
        return draw.uniform(0, 3_000), draw.uniform(0, 3_000)

    def shop(number: int) -> Shop:
        stock = [(sku, draw.randint(0, 3 * tight)) for sku in range(2)]
        room = draw.randint(1, tight + 1)
        return (100 + number, *place(), 0, NEVER_MS, False, room, draw.randint(0, tight), 7, stock)

    def rider(number: int) -> Rider:
        coldest, warmest = draw.choice(((-5, 20), (10, 75), (-5, 75)))
        until_ms = NOW_MS + draw.randint(15, 80) * MINUTE_MS
        seats = draw.randint(1, max(1, orders // riders))
        speed = draw.choice((150.0, 250.0, 350.0))
        return (900 + number, *place(), NOW_MS, until_ms, seats, coldest, warmest, speed, True)

    def order(number: int) -> Order:
        temperature = draw.choice((HOT, AMBIENT, COLD))
        ready_ms = NOW_MS + draw.choice((0, 8, 18)) * MINUTE_MS
        target_ms = ready_ms + draw.randint(4, 20) * MINUTE_MS
        kind = (draw.randrange(2), draw.choice((1, 1, 2, 3)), temperature, *RANGES[temperature])
        deadline_ms = target_ms + draw.randint(0, 20) * MINUTE_MS
        priority = draw.choice((1, 50, 100))
        return (number, 10_000, *place(), *kind, priority, ready_ms, target_ms, deadline_ms, [], [])

    prices = {"unassigned_base_m": draw.choice((20_000.0, 1e6)), "unassigned_step_m": 1_000.0}
    weights = {"late_m_per_s": 20.0, "wait_m_per_s": draw.choice((0.0, 3.0))}
    return Town(
        [shop(number) for number in range(shops)],
        [rider(number) for number in range(riders)],
        [order(number) for number in range(orders)],
        {**EVERYBODY, **prices, **weights},
    )


def least_flow_cost(town: Town) -> int:
    """The optimum of a town of one class: order -> shop -> rider -> sink."""
    flow = min_cost_flow.SimpleMinCostFlow()
    orders, shops = len(town.orders), len(town.shops)
    enters, leaves, rides = orders, orders + shops, orders + 2 * shops
    sink = rides + len(town.riders)
    for at, order in enumerate(town.orders):
        flow.set_node_supply(at, 1)
        flow.add_arc_with_capacity_and_unit_cost(at, sink, 1, town.price(order))
        for number, shop in enumerate(town.shops):
            if town.shop_takes(order, shop):
                weight = 2 if order[6] == COLD else 1
                cost = weight * nearest_whole(town.delivery_m(order, shop))
                flow.add_arc_with_capacity_and_unit_cost(at, enters + number, 1, cost)
    flow.set_node_supply(sink, -orders)
    sample = town.orders[0]
    for number, shop in enumerate(town.shops):
        room = min(shop[6], dict(shop[9])[5] // sample[5], shop[7] if sample[6] == COLD else shop[6])
        flow.add_arc_with_capacity_and_unit_cost(enters + number, leaves + number, room, 0)
        for at, rider in enumerate(town.riders):
            approach_m = math.dist(rider[1:3], shop[1:3])
            if rider[9] and approach_m <= town.setting("radius_m"):
                flow.add_arc_with_capacity_and_unit_cost(
                    leaves + number, rides + at, orders, nearest_whole(approach_m)
                )
    for at, rider in enumerate(town.riders):
        flow.add_arc_with_capacity_and_unit_cost(rides + at, sink, rider[5], 0)
    assert flow.solve() == flow.OPTIMAL
    return int(flow.optimal_cost())


def proved_range(town: Town) -> tuple[int, int]:
    """(bound, best) by CP-SAT; equal when it proved the optimum."""
    model = cp_model.CpModel()
    chosen: dict[tuple[int, int, int], object] = {}
    cost = []
    for o, order in enumerate(town.orders):
        left = model.new_bool_var("")
        ways = [left]
        cost.append(town.price(order) * left)
        for s, shop in enumerate(town.shops):
            for r, rider in enumerate(town.riders):
                pair = town.pair_cost(order, shop, rider)
                if pair is not None:
                    chosen[o, s, r] = way = model.new_bool_var("")
                    ways.append(way)
                    cost.append(pair * way)
        model.add_exactly_one(ways)
    for s, shop in enumerate(town.shops):
        here = [(town.orders[o], way) for (o, at, _), way in chosen.items() if at == s]
        model.add(sum(way for _, way in here) <= max(0, shop[6]))
        model.add(sum(way for order, way in here if order[6] == COLD) <= max(0, shop[7]))
        for sku, cups in shop[9]:
            model.add(sum(order[5] * way for order, way in here if order[4] == sku) <= cups)
    for r, rider in enumerate(town.riders):
        model.add(sum(way for (_, _, at), way in chosen.items() if at == r) <= rider[5])
    model.minimize(sum(cost))
    solver = cp_model.CpSolver()
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = CP_SAT_SECONDS_MAX
    assert solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE)
    return math.ceil(solver.best_objective_bound - 1e-6), round(solver.objective_value)


@pytest.mark.parametrize("seed", range(8))
def test_one_class_costs_the_same_integer_as_min_cost_flow(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(40):
        orders, shops, riders = draw.randint(1, 90), draw.randint(1, 12), draw.randint(1, 30)
        town = one_class(draw, orders, shops, riders, draw.choice((0.5, 0.9, 1.1)))
        decisions, total_cost, gap_bound, _, truncated = town.dispatcher().decide(
            town.orders, NOW_MS, town.policy
        )
        assert (gap_bound, truncated, len(decisions)) == (0, 0, orders)
        assert total_cost == least_flow_cost(town)
        assert town.dispatcher().validate(town.orders, NOW_MS, town.policy) == []


@pytest.mark.parametrize("load", [0.85, 1.05])
def test_a_large_batch_costs_the_same_integer_as_min_cost_flow(load: float) -> None:
    town = one_class(random.Random(7), 1_000, 70, 125, load)
    _, total_cost, gap_bound, _, _ = town.dispatcher().decide(town.orders, NOW_MS, town.policy)
    assert gap_bound == 0
    assert total_cost == least_flow_cost(town)


@pytest.mark.parametrize("seed", range(6))
def test_several_classes_cost_the_same_integer_as_cp_sat(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(12):
        town = several_classes(draw, draw.randint(2, 16), draw.randint(1, 4), draw.randint(1, 6))
        _, total_cost, gap_bound, _, truncated = town.dispatcher().decide(town.orders, NOW_MS, town.policy)
        bound, best = proved_range(town)
        assert bound == best, "the oracle did not finish"
        assert (gap_bound, truncated) == (0, 0)
        assert total_cost == best
        assert town.dispatcher().validate(town.orders, NOW_MS, town.policy) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pivot_budget", [0.0, 300.0, 30_000.0])
def test_the_gap_is_never_understated(seed: int, pivot_budget: float) -> None:
    town = several_classes(random.Random(100 + seed), 40, 5, 14)
    policy = {**town.policy, "pivot_budget": pivot_budget}
    _, total_cost, gap_bound, _, _ = town.dispatcher().decide(town.orders, NOW_MS, policy)
    bound, best = proved_range(town)
    assert bound <= total_cost
    assert total_cost - gap_bound <= best
    assert town.dispatcher().validate(town.orders, NOW_MS, policy) == []
