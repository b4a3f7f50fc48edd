"""When a rider is where on a trip, and what that costs: the arithmetic of the core's `trip.rs`, for assignments that
stand and for trips one after the other, which the core's assignment does not know.

Costs are integers of which 1 is one metre; each part is rounded on its own, as in the core.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

MINUTE_MS: Final = 60_000
Place = tuple[float, float]
"""Planar metres: east, north."""
Terms = Mapping[str, float]
"""Every term of a policy, by the core's names."""


class Carrier(Struct, frozen=True):
    """A rider who is, or will be, free at `place` from `free_ms` on, until `until_ms`."""

    rider_id: int
    place: Place
    free_ms: int
    until_ms: int
    speed_m_per_min: float
    on_duty: bool = True


class Standing(Struct, frozen=True):
    """An order with the assignment it has: what it wants, who has it, and the estimates told."""

    order_id: int
    group_id: int
    door: Place
    sku: int
    quantity: int
    temperature: int
    need_min_c: int
    need_max_c: int
    priority: int
    ready_ms: int
    target_ms: int
    """A hand-over later than this is late."""
    deadline_ms: int
    """Later than this it is as good as not delivered."""
    shop_id: int
    rider_id: int
    pickup_ms: int
    commit_ms: int


class Estimate(Struct, frozen=True):
    """One order's way. `commit_ms`: the latest responsible moment, when the rider must be told; waiting longer would
    cost time."""

    commit_ms: int
    pickup_ms: int
    dropoff_ms: int
    rider_free_ms: int
    approach_m: int
    delivery_m: int
    cost: int


def ride_ms(distance_m: float, speed_m_per_min: float) -> int:
    """A ride."""
    return round(distance_m * MINUTE_MS / speed_m_per_min)


def estimate(order: Standing, rider: Carrier, shop: Place, now_ms: int, terms: Terms) -> Estimate:
    """The order's way with this rider from where the rider is free."""
    approach_m = math.dist(rider.place, shop)
    start_ms = max(now_ms, rider.free_ms)
    approach_ms = ride_ms(approach_m, rider.speed_m_per_min)
    stands_ms = start_ms + approach_ms + int(terms["pickup_before_ms"])
    pickup_ms = max(order.ready_ms, stands_ms)
    delivery_m = math.dist(shop, order.door)
    dropoff_ms = pickup_ms + int(terms["pickup_after_ms"]) + ride_ms(delivery_m, rider.speed_m_per_min)
    dropoff_ms += int(terms["dropoff_before_ms"])
    cost = int(terms["approach_weight"]) * round(approach_m)
    cost += int(terms["wait_m_per_s"]) * (pickup_ms - order.ready_ms) // 1_000
    cost += int(terms["idle_m_per_s"]) * max(0, order.ready_ms - stands_ms) // 1_000
    cost += int(terms["late_m_per_s"]) * max(0, dropoff_ms - order.target_ms) // 1_000
    cold = int(terms["cold_delivery_weight"]) if order.temperature == 2 else 0
    cost += (int(terms["delivery_weight"]) + cold) * round(delivery_m)
    window_ms = pickup_ms if terms["window_ends_at_pickup"] else dropoff_ms
    if dropoff_ms > order.deadline_ms or window_ms > rider.until_ms or not rider.on_duty:
        # It cannot go like this: as dear as leaving the order.
        cost += int(terms["unassigned_base_m"])
    return Estimate(
        max(
            start_ms, pickup_ms - int(terms["pickup_before_ms"]) - approach_ms - int(terms["leave_early_ms"])
        ),
        pickup_ms,
        dropoff_ms,
        dropoff_ms + int(terms["dropoff_after_ms"]),
        round(approach_m),
        round(delivery_m),
        cost,
    )


def after(rider: Carrier, order: Standing, trip: Estimate) -> Carrier:
    """The rider when the trip is over."""
    return replace(rider, place=order.door, free_ms=trip.rider_free_ms)


def chain(
    rider: Carrier, orders: Sequence[Standing], shops: Mapping[int, Place], now_ms: int, terms: Terms
) -> dict[int, Estimate]:
    """Trips one after the other, by order id."""
    found: dict[int, Estimate] = {}
    for order in orders:
        trip = estimate(order, rider, shops[order.shop_id], now_ms, terms)
        found[order.order_id] = trip
        rider = after(rider, order, trip)
    return found
