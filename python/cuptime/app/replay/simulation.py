"""A day under a simulated clock: orders are placed, a dispatcher is asked each minute, riders move."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from cuptime.app.replay.day import Day, DayOrder
from cuptime.app.replay.evaluator import Trip
from cuptime.dispatch.rolling import (
    MINUTE_MS,
    NEVER_MS,
    FreeRider,
    Horizon,
    Match,
    Solver,
    WaitingOrder,
    due,
    match,
)
from cuptime.domain.clock import ManualClock

BUNDLE_MAX: Final = 4


@dataclass(slots=True)
class State:
    """What the dispatcher may know at one minute."""

    now_min: int
    waiting: dict[int, DayOrder]
    riders: dict[int, FreeRider]


class Dispatcher(Protocol):
    """Which orders are committed to which rider now: (rider id, order ids in the sequence of delivery)."""

    def commit(self, state: State) -> list[tuple[int, list[int]]]: ...


class Simulation:
    """Runs one day with one dispatcher."""

    def __init__(self, day: Day, dispatcher: Dispatcher, clock: ManualClock) -> None:
        self._day = day
        self._dispatcher = dispatcher
        self._clock = clock
        self._trips: list[Trip] = []
        self._state = State(
            0,
            {},
            {
                index: FreeRider(
                    index, rider.x_m, rider.y_m, rider.on_min * MINUTE_MS, rider.off_min * MINUTE_MS
                )
                for index, rider in enumerate(day.riders, start=1)
            },
        )

    def run(self, progress: Callable[[int, int], None] = lambda _now, _end: None) -> list[Trip]:
        """The plan. `progress` is told (minute, last minute)."""
        arrivals = sorted(enumerate(self._day.orders, start=1), key=lambda entry: entry[1].placed_min)
        end_min = max(order.placed_min for order in self._day.orders) + self._day.maximum_min
        self._clock.advance(arrivals[0][1].placed_min * MINUTE_MS)
        while (now_min := self._clock.now_ms() // MINUTE_MS) <= end_min:
            while arrivals and arrivals[0][1].placed_min <= now_min:
                order_id, order = arrivals.pop(0)
                self._state.waiting[order_id] = order
            self._drop_hopeless(now_min)
            self._state.now_min = now_min
            if self._state.waiting:
                for rider_id, order_ids in self._dispatcher.commit(self._state):
                    self._send(rider_id, order_ids, now_min)
            progress(now_min, end_min)
            self._clock.advance(MINUTE_MS)
        return self._trips

    def _drop_hopeless(self, now_min: int) -> None:
        """An order that can no longer come in time is given up, as the benchmark counts it."""
        gone = [
            i
            for i, order in self._state.waiting.items()
            if now_min > order.placed_min + self._day.maximum_min
        ]
        for order_id in gone:
            del self._state.waiting[order_id]

    def _send(self, rider_id: int, order_ids: Sequence[int], now_min: int) -> None:
        day = self._day
        orders = [self._state.waiting.pop(order_id) for order_id in order_ids]
        rider = self._state.riders[rider_id]
        shop = day.shops[orders[0].shop]
        leave = max(now_min, rider.free_ms // MINUTE_MS)
        half_pickup, half_dropoff = day.pickup_service_min // 2, day.dropoff_service_min // 2
        ready = max(order.ready_min for order in orders)
        pickup = max(leave + travel_min(day, (rider.x_m, rider.y_m), shop) + half_pickup, ready)
        at, now = shop, pickup + half_pickup
        dropoffs = []
        for order in orders:
            door = (order.x_m, order.y_m)
            dropoff = now + travel_min(day, at, door) + half_dropoff
            dropoffs.append(dropoff)
            at, now = door, dropoff + half_dropoff
        self._state.riders[rider_id] = replace(rider, x_m=at[0], y_m=at[1], free_ms=now * MINUTE_MS)
        names = tuple(order.name for order in orders)
        self._trips.append(Trip(day.riders[rider_id - 1].name, now_min, pickup, names, tuple(dropoffs)))


def travel_min(day: Day, a: tuple[float, float], b: tuple[float, float]) -> int:
    """Whole minutes, rounded up."""
    return math.ceil(math.dist(a, b) / day.speed_m_per_min)


class Greedy:
    """The baseline: each order, when placed, goes to the rider who can pick it up first, and stays there."""

    def __init__(self, day: Day) -> None:
        self._day = day

    def commit(self, state: State) -> list[tuple[int, list[int]]]:
        day = self._day
        free = dict(state.riders)
        chosen = []
        for order_id, order in state.waiting.items():
            shop = day.shops[order.shop]
            best: tuple[int, int, int] | None = None
            for rider in free.values():
                leave = max(state.now_min, rider.free_ms // MINUTE_MS)
                there = leave + travel_min(day, (rider.x_m, rider.y_m), shop) + day.pickup_service_min // 2
                pickup = max(there, order.ready_min)
                door = travel_min(day, shop, (order.x_m, order.y_m))
                if pickup * MINUTE_MS > rider.until_ms or pickup + door > order.placed_min + day.maximum_min:
                    continue
                if best is None or (pickup, there, rider.rider_id) < best:
                    best = (pickup, there, rider.rider_id)
            if best is None:
                continue
            rider_id = best[2]
            after = best[0] + day.pickup_service_min // 2 + travel_min(day, shop, (order.x_m, order.y_m))
            after += day.dropoff_service_min
            free[rider_id] = replace(free[rider_id], x_m=order.x_m, y_m=order.y_m, free_ms=after * MINUTE_MS)
            chosen.append((rider_id, [order_id]))
        return chosen


class Rolling:
    """Ours: the core's exact assignment over a rolling horizon, committed late, with orders taken along when a rider is
    at their shop anyway and it costs nobody more than a few minutes."""

    def __init__(self, day: Day, solver: Solver, horizon: Horizon | None = None) -> None:
        self._day = day
        self._solver = solver
        self._shops = {name: index for index, name in enumerate(day.shops, start=1)}
        self._horizon = horizon or Horizon(
            speed_m_per_min=day.speed_m_per_min,
            pickup_service_ms=day.pickup_service_min * MINUTE_MS,
            dropoff_service_ms=day.dropoff_service_min * MINUTE_MS,
        )
        solver.upsert_shops(
            [
                (self._shops[name], x, y, 0, NEVER_MS, False, 1_000_000, 1_000_000, 7, [(0, 1_000_000)])
                for name, (x, y) in day.shops.items()
            ]
        )

    def commit(self, state: State) -> list[tuple[int, list[int]]]:
        day, now_ms = self._day, state.now_min * MINUTE_MS
        waiting = [
            WaitingOrder(
                order_id,
                self._shops[order.shop],
                order.x_m,
                order.y_m,
                order.placed_min * MINUTE_MS,
                order.ready_min * MINUTE_MS,
                (order.placed_min + day.target_min) * MINUTE_MS,
                (order.placed_min + day.maximum_min) * MINUTE_MS,
            )
            for order_id, order in state.waiting.items()
        ]
        riders = [rider for rider in state.riders.values() if rider.until_ms >= now_ms]
        found = match(self._solver, waiting, riders, now_ms, self._horizon)
        committed: dict[int, list[int]] = {}
        taken: set[int] = set()
        matched = {one.order.order_id: one for one in found}
        for one in sorted(found, key=lambda one: (one.pickup_ms, one.order.order_id)):
            if one.order.order_id in taken or not due(one, now_ms, self._horizon):
                continue
            committed[one.rider.rider_id] = [one.order.order_id]
            taken.add(one.order.order_id)
            along = self._along(one, waiting, matched, taken)
            committed[one.rider.rider_id] += along
            taken.update(along)
        return list(committed.items())

    def _along(
        self, one: Match, waiting: Sequence[WaitingOrder], matched: dict[int, Match], taken: set[int]
    ) -> list[int]:
        """Orders of the same shop, ready by the pick-up, that nobody else would bring earlier."""
        day, horizon = self._day, self._horizon
        at = (one.order.x_m, one.order.y_m)
        now_ms = one.dropoff_ms + horizon.dropoff_service_ms // 2
        along: list[int] = []
        candidates = [
            order
            for order in waiting
            if order.order_id not in taken
            and order.shop_id == one.order.shop_id
            and order.ready_ms <= one.pickup_ms
        ]
        while len(along) + 1 < BUNDLE_MAX:
            best: tuple[int, WaitingOrder, int] | None = None
            for order in candidates:
                door = (order.x_m, order.y_m)
                dropoff_ms = now_ms + travel_min(day, at, door) * MINUTE_MS + horizon.dropoff_service_ms // 2
                own = matched.get(order.order_id)
                gain = (own.dropoff_ms if own else order.deadline_ms) - dropoff_ms
                if gain > 0 and dropoff_ms <= order.deadline_ms and (best is None or gain > best[0]):
                    best = (gain, order, dropoff_ms)
            if best is None:
                return along
            _, order, dropoff_ms = best
            candidates.remove(order)
            along.append(order.order_id)
            at, now_ms = (order.x_m, order.y_m), dropoff_ms + horizon.dropoff_service_ms // 2
        return along
