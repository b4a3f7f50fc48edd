"""Judges a plan for a day. It shares no code with what made the plan: it has its own travel times and walks every
rider's day from the shift's start.

The rules are those of the published benchmark: travel in whole minutes, rounded up; half of each service before the
hand-over and half after; no pick-up after the shift; nothing assigned before it was placed or picked up before it was
ready; each order at most once. Measures as published by Reyes et al. (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cuptime.app.replay.day import Day


@dataclass(frozen=True, slots=True)
class Trip:
    """One assignment: a rider takes `orders` from one shop, in this sequence. Minutes."""

    rider: str
    assigned_min: int
    pickup_min: int
    orders: tuple[str, ...]
    dropoffs_min: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """What a plan is worth. Minutes."""

    orders: int
    undelivered: int
    click_to_door: float
    click_to_door_p90: float
    overage: float
    ready_to_pickup: float
    orders_per_bundle: float

    @property
    def undelivered_percent(self) -> float:
        return 100.0 * self.undelivered / self.orders if self.orders else 0.0


class Infeasible(Exception):
    """The plan breaks a rule; the message lists what and where."""


def evaluate(day: Day, trips: Sequence[Trip]) -> Score:
    """Raises Infeasible."""
    orders = {order.name: order for order in day.orders}
    riders = {rider.name: rider for rider in day.riders}
    faults: list[str] = []
    served: dict[str, int] = {}
    pickups: dict[str, int] = {}
    by_rider: dict[str, list[Trip]] = {}
    for trip in trips:
        by_rider.setdefault(trip.rider, []).append(trip)
    for name, own in by_rider.items():
        if name not in riders:
            faults.append(f"there is no rider {name}")
            continue
        rider = riders[name]
        at, free_min = (rider.x_m, rider.y_m), float(rider.on_min)
        for trip in sorted(own, key=lambda trip: trip.pickup_min):
            at, free_min = _walk(day, orders, trip, at, free_min, rider.off_min, faults)
            for order, dropoff in zip(trip.orders, trip.dropoffs_min, strict=True):
                if order in served:
                    faults.append(f"{order} is delivered twice")
                served[order] = dropoff
                pickups[order] = trip.pickup_min
    if faults:
        raise Infeasible(
            "; ".join(faults[:10]) + (f"; and {len(faults) - 10} more" if len(faults) > 10 else "")
        )
    return _score(day, served, pickups, len(trips))


def _minutes(day: Day, a: tuple[float, float], b: tuple[float, float]) -> int:
    return math.ceil(math.dist(a, b) / day.speed_m_per_min)


def _walk(  # type: ignore[no-untyped-def]
    day: Day, orders, trip: Trip, at: tuple[float, float], free_min: float, off_min: int, faults: list[str]
) -> tuple[tuple[float, float], float]:
    """One trip; where and when the rider is free after it."""
    known = [orders[name] for name in trip.orders if name in orders]
    if not known or len(known) != len(trip.orders) or len(trip.dropoffs_min) != len(trip.orders):
        faults.append(f"a trip of {trip.rider} names orders that are not of this day")
        return at, free_min
    shops = {order.shop for order in known}
    if len(shops) != 1:
        faults.append(f"a trip of {trip.rider} picks up at {sorted(shops)} at once")
    shop = day.shops[known[0].shop]
    for order in known:
        if trip.assigned_min < order.placed_min:
            faults.append(f"{order.name} is assigned at {trip.assigned_min} and placed at {order.placed_min}")
        if trip.pickup_min < order.ready_min:
            faults.append(f"{order.name} is picked up at {trip.pickup_min} and ready at {order.ready_min}")
    leave = max(free_min, trip.assigned_min)
    earliest = leave + _minutes(day, at, shop) + day.pickup_service_min / 2
    if trip.pickup_min < earliest:
        faults.append(f"{trip.rider} picks up at {trip.pickup_min} and can be there at {earliest}")
    if trip.pickup_min > off_min:
        faults.append(f"{trip.rider} picks up at {trip.pickup_min}, after the shift ends at {off_min}")
    at, now = shop, trip.pickup_min + day.pickup_service_min / 2
    for order, dropoff in zip(known, trip.dropoffs_min, strict=True):
        door = (order.x_m, order.y_m)
        earliest = now + _minutes(day, at, door) + day.dropoff_service_min / 2
        if dropoff < earliest:
            faults.append(f"{order.name} is dropped off at {dropoff} and {trip.rider} is there at {earliest}")
        at, now = door, dropoff + day.dropoff_service_min / 2
    return at, now


def _score(day: Day, served: dict[str, int], pickups: dict[str, int], trips: int) -> Score:
    click_to_door = []
    overage = []
    ready_to_pickup = []
    for order in day.orders:
        if order.name not in served or served[order.name] - order.placed_min > day.maximum_min:
            continue
        minutes = served[order.name] - order.placed_min
        click_to_door.append(minutes)
        overage.append(max(0, minutes - day.target_min))
        ready_to_pickup.append(pickups[order.name] - order.ready_min)
    delivered = len(click_to_door)
    ordered = sorted(click_to_door)

    def mean(values: list[int]) -> float:
        return sum(values) / len(values) if values else 0.0

    return Score(
        orders=len(day.orders),
        undelivered=len(day.orders) - delivered,
        click_to_door=mean(click_to_door),
        click_to_door_p90=float(ordered[math.ceil(0.9 * delivered) - 1]) if ordered else 0.0,
        overage=mean(overage),
        ready_to_pickup=mean(ready_to_pickup),
        orders_per_bundle=len(served) / trips if trips else 0.0,
    )
