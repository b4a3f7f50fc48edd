"""The baseline of a replay: each order, when placed, goes to the rider who can pick it up first, and stays there.

It shares nothing with the service: it has its own day, in minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from cuptime.app.replay.day import Day, DayOrder
from cuptime.app.replay.evaluator import Trip


@dataclass(slots=True)
class _Rider:
    index: int
    place: tuple[float, float]
    free_min: int
    until_min: int


def travel_min(day: Day, a: tuple[float, float], b: tuple[float, float]) -> int:
    """Whole minutes, rounded up."""
    return math.ceil(math.dist(a, b) / day.speed_m_per_min)


def greedy(day: Day, progress: Callable[[int, int], None] = lambda _now, _end: None) -> list[Trip]:
    """The plan. `progress` is told (minute, last minute)."""
    riders = [_Rider(i, (r.x_m, r.y_m), r.on_min, r.off_min) for i, r in enumerate(day.riders)]
    orders = sorted(day.orders, key=lambda order: order.placed_min)
    end_min = max(order.placed_min for order in orders) + day.maximum_min
    waiting: list[DayOrder] = []
    trips: list[Trip] = []
    for now_min in range(orders[0].placed_min, end_min + 1):
        while orders and orders[0].placed_min <= now_min:
            waiting.append(orders.pop(0))
        left = []
        for order in waiting:
            if now_min > order.placed_min + day.maximum_min:
                continue
            trip = _sent(day, riders, order, now_min)
            if trip is None:
                left.append(order)
            else:
                trips.append(trip)
        waiting = left
        progress(now_min, end_min)
    return trips


def _sent(day: Day, riders: list[_Rider], order: DayOrder, now_min: int) -> Trip | None:
    shop, door = day.shops[order.shop], (order.x_m, order.y_m)
    ride = travel_min(day, shop, door)
    best: tuple[int, int, int] | None = None
    for rider in riders:
        leave = max(now_min, rider.free_min)
        there = leave + travel_min(day, rider.place, shop) + day.pickup_service_min // 2
        pickup = max(there, order.ready_min)
        if pickup > rider.until_min or pickup + ride > order.placed_min + day.maximum_min:
            continue
        if best is None or (pickup, there, rider.index) < best:
            best = (pickup, there, rider.index)
    if best is None:
        return None
    pickup, _, index = best
    dropoff = pickup + day.pickup_service_min // 2 + ride + day.dropoff_service_min // 2
    riders[index].place, riders[index].free_min = door, dropoff + day.dropoff_service_min // 2
    return Trip(day.riders[index].name, now_min, pickup, (order.name,), (dropoff,))
