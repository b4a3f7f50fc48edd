"""One trip at a time: who is sent for what, with which orders taken along, and what waits behind it.

    bundles -> match (core, one each) -> compare with what stands -> take along -> commit what is due, postpone the rest

An order without a match stands behind the trip of the rider it was given, as a sequence with estimates. Nobody is sent
for it: before its moment comes it is matched, or postponed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

from msgspec import Struct
from msgspec.structs import replace

from cuptime.dispatch.bundles import as_one, bundles
from cuptime.dispatch.estimates import (
    Carrier,
    Estimate,
    Place,
    Standing,
    Terms,
    after,
    chain,
    estimate,
    ride_ms,
)
from cuptime.dispatch.horizon import Horizon
from cuptime.dispatch.rolling import Move, Plan, Why, ask, together, urgency


class TripSolver(Protocol):
    """The core's dispatcher; see `_core.pyi`."""

    def decide(self, orders: Any, now_ms: int, policy: dict[str, float] | None = None) -> Any: ...
    def set_counters(
        self,
        shops: list[tuple[int, int, int]],
        stock: list[tuple[int, int, int]],
        riders: list[tuple[int, int]],
    ) -> int: ...


class Trip(Struct, frozen=True):
    """A rider and the orders of one pick-up, in the sequence of delivery."""

    rider: Carrier
    orders: tuple[Standing, ...]
    estimates: tuple[Estimate, ...]

    @property
    def cost(self) -> int:
        return sum(one.cost for one in self.estimates)

    @property
    def pickup_ms(self) -> int:
        return self.estimates[0].pickup_ms

    def end(self) -> Carrier:
        """The rider when it is over."""
        return after(self.rider, self.orders[-1], self.estimates[-1])


class Look(Struct, frozen=True):
    """What one look knows."""

    riders: Mapping[int, Carrier]
    shops: Mapping[int, Place]
    now_ms: int
    next_ms: int
    """The next look: what would be committed before it is decided now."""
    horizon: Horizon
    terms: Terms


def improve_trips(solver: TripSolver, orders: Sequence[Standing], look: Look) -> Plan:
    """The moves. The solver's counters of riders are changed: set them again afterwards."""
    trips = _match(solver, orders, look)
    trips = _gaining(orders, trips, look)
    trips = _with_along(orders, trips, look)
    return Plan(_moves(orders, trips, look))


# --- match ------------------------------------------------------------------------------------------------------------
def _match(solver: TripSolver, orders: Sequence[Standing], look: Look) -> list[Trip]:
    """The core's exact assignment of what is ready soon to who is free soon, one bundle each."""
    near, takers = _near(orders, look), _takers(look)
    if not near or not takers:
        return []
    solver.set_counters([], [], [(rider_id, int(rider_id in takers)) for rider_id in look.riders])
    speed_m_per_min = max(look.riders[rider_id].speed_m_per_min for rider_id in takers)
    free_ms = [look.riders[rider_id].free_ms for rider_id in takers]
    limit = look.horizon.bundle_max
    made = bundles(near, free_ms, look.shops, speed_m_per_min, look.now_ms, limit)
    singles = [as_one(bundle, speed_m_per_min, look.terms) for bundle in made]
    rows = [ask(single, look.now_ms, look.horizon) for single in singles]
    decisions = solver.decide(rows, look.now_ms, dict(look.terms))[0]
    return [
        trip_of(look.riders[decided[2]], bundle, look)
        for bundle, decided in zip(made, decisions, strict=True)
        if decided[1] >= 0
    ]


def _near(orders: Sequence[Standing], look: Look) -> list[Standing]:
    """The orders that take part."""
    until_ms = look.now_ms + (look.horizon.orders_ahead_ms or 1 << 60)
    return [order for order in orders if order.ready_ms <= until_ms]


def _takers(look: Look) -> set[int]:
    """The riders who take part."""
    until_ms = look.now_ms + (look.horizon.riders_ahead_ms or 1 << 60)
    riders = look.riders.values()
    return {r.rider_id for r in riders if r.on_duty and r.free_ms <= until_ms and r.until_ms >= look.now_ms}


def trip_of(rider: Carrier, orders: Sequence[Standing], look: Look) -> Trip:
    """The trip with its estimates. The pick-up is when the last of the orders is ready."""
    shop = look.shops[orders[0].shop_id]
    ready_ms = max(order.ready_ms for order in orders)
    first = estimate(replace(orders[0], ready_ms=ready_ms), rider, shop, look.now_ms, look.terms)
    found = [first]
    for before, order in pairwise(orders):
        found.append(_next(found[-1], before, order, rider, look))
    return Trip(rider, tuple(orders), tuple(found))


def _next(last: Estimate, before: Standing, order: Standing, rider: Carrier, look: Look) -> Estimate:
    """A further order of the same pick-up: its way begins at the door before."""
    terms = look.terms
    way_m = math.dist(before.door, order.door)
    dropoff_ms = last.rider_free_ms + ride_ms(way_m, rider.speed_m_per_min) + int(terms["dropoff_before_ms"])
    cost = int(terms["wait_m_per_s"]) * max(0, last.pickup_ms - order.ready_ms) // 1_000
    cost += int(terms["late_m_per_s"]) * max(0, dropoff_ms - order.target_ms) // 1_000
    if dropoff_ms > order.deadline_ms:
        cost += int(terms["unassigned_base_m"])
    free_ms = dropoff_ms + int(terms["dropoff_after_ms"])
    return Estimate(last.commit_ms, last.pickup_ms, dropoff_ms, free_ms, 0, round(way_m), cost)


# --- compare ----------------------------------------------------------------------------------------------------------
def _gaining(orders: Sequence[Standing], trips: Sequence[Trip], look: Look) -> list[Trip]:
    """Where the change gains less than it must, each rider's next trip as it stands instead. Both sides are priced as
    the core prices them: a next trip by its cost, everything behind it as not matched."""
    near = _near(orders, look)
    stood = _next_trips(near, look)
    before = {order.order_id: one.cost for trip in stood.values() for order, one in _priced(trip)}
    then = {order.order_id: one.cost for trip in trips for order, one in _priced(trip)}
    ties = [(f"r{trip.rider.rider_id}", *(f"r{order.rider_id}" for order in trip.orders)) for trip in trips]
    kept: list[Trip] = []
    for part in together(ties):
        chosen = [trips[at] for at in part]
        riders = {trip.rider.rider_id for trip in chosen} | {o.rider_id for t in chosen for o in t.orders}
        gain_m = 0
        for order in near:
            if order.rider_id in riders:
                left = _left_m(order, look)
                gain_m += before.get(order.order_id, left) - then.get(order.order_id, left)
        if gain_m >= look.horizon.gain_min_m or not _moved(chosen):
            kept += chosen
        else:
            kept += [stood[rider_id] for rider_id in sorted(riders) if rider_id in stood]
    return kept


def _moved(trips: Sequence[Trip]) -> bool:
    return any(order.rider_id != trip.rider.rider_id for trip in trips for order in trip.orders)


def _priced(trip: Trip) -> list[tuple[Standing, Estimate]]:
    return list(zip(trip.orders, trip.estimates, strict=True))


def _left_m(order: Standing, look: Look) -> int:
    """The core's price of an order without a match."""
    terms = look.terms
    priority = urgency(order, look.now_ms) if look.horizon.urgent_first else order.priority
    return int(terms["unassigned_base_m"]) + int(terms["unassigned_step_m"]) * (100 - priority)


def _next_trips(orders: Sequence[Standing], look: Look) -> dict[int, Trip]:
    """Each rider's next trip as it stands, by rider id; none that cannot be in time any more."""
    found: dict[int, Trip] = {}
    free = _takers(look)
    for order in sorted(orders, key=lambda order: (order.pickup_ms, order.order_id)):
        if order.rider_id in free:
            trip = trip_of(look.riders[order.rider_id], (order,), look)
            if trip.cost < look.terms["unassigned_base_m"]:
                free.remove(order.rider_id)
                found[order.rider_id] = trip
    return found


def _sequences(orders: Sequence[Standing], trips: Sequence[Trip], look: Look) -> dict[int, Estimate]:
    """Every order's estimate when these trips come first, and what stands with each rider follows in its sequence."""
    found: dict[int, Estimate] = {}
    free = dict(look.riders)
    for trip in trips:
        found.update(zip((order.order_id for order in trip.orders), trip.estimates, strict=True))
        free[trip.rider.rider_id] = trip.end()
    behind: dict[int, list[Standing]] = {}
    for order in sorted(orders, key=lambda order: (order.pickup_ms, order.order_id)):
        if order.order_id not in found:
            behind.setdefault(order.rider_id, []).append(order)
    for rider_id, waiting in behind.items():
        found.update(chain(free[rider_id], waiting, look.shops, look.now_ms, look.terms))
    return found


# --- take along -------------------------------------------------------------------------------------------------------
def _with_along(orders: Sequence[Standing], trips: Sequence[Trip], look: Look) -> list[Trip]:
    """Who leaves now takes orders of the same shop along that are ready by the pick-up and that nobody else would bring
    earlier."""
    own = {order.order_id: trip for trip in trips for order in trip.orders}
    gone: set[int] = set()
    done: list[Trip] = []
    for trip in sorted(trips, key=lambda trip: (trip.pickup_ms, trip.orders[0].order_id)):
        if any(order.order_id in gone for order in trip.orders):
            continue
        if is_due(trip, look):
            trip = _along(trip, orders, own, gone, look)
            gone.update(order.order_id for order in trip.orders)
        done.append(trip)
    return [trip for trip in done if is_due(trip, look) or not any(o.order_id in gone for o in trip.orders)]


def is_due(trip: Trip, look: Look) -> bool:
    """Must the rider be told now? Not while the rider is busy, and not while waiting costs nothing."""
    return trip.estimates[0].commit_ms <= look.now_ms


def _along(
    trip: Trip, orders: Sequence[Standing], own: Mapping[int, Trip], gone: set[int], look: Look
) -> Trip:
    shop_id = trip.orders[0].shop_id
    inside = {order.order_id for order in trip.orders}
    candidates = [
        o
        for o in orders
        if o.shop_id == shop_id and o.order_id not in gone | inside and o.ready_ms <= trip.pickup_ms
    ]
    while candidates and len(trip.orders) < look.horizon.bundle_max:
        best: tuple[int, Standing, Estimate] | None = None
        for order in candidates:
            there = _next(trip.estimates[-1], trip.orders[-1], order, trip.rider, look)
            other = own.get(order.order_id)
            alone_ms = _dropoff_ms(other, order) if other is not None else order.deadline_ms
            gain_ms = alone_ms - there.dropoff_ms
            if gain_ms > 0 and there.dropoff_ms <= order.deadline_ms and (best is None or gain_ms > best[0]):
                best = (gain_ms, order, there)
        if best is None:
            break
        candidates.remove(best[1])
        trip = Trip(trip.rider, (*trip.orders, best[1]), (*trip.estimates, best[2]))
    return trip


def _dropoff_ms(trip: Trip, order: Standing) -> int:
    return trip.estimates[[o.order_id for o in trip.orders].index(order.order_id)].dropoff_ms


# --- moves ------------------------------------------------------------------------------------------------------------
def _moves(orders: Sequence[Standing], trips: Sequence[Trip], look: Look) -> list[Move]:
    stood = _sequences(orders, [], look)
    then = _sequences(orders, trips, look)
    together_m = sum(stood[order.order_id].cost - then[order.order_id].cost for order in orders)
    matched = {order.order_id: (trip, at) for trip in trips for at, order in enumerate(trip.orders)}
    moves = []
    for order in orders:
        one = then[order.order_id]
        found = matched.get(order.order_id)
        if found is None:
            why: Why | None = "POSTPONED" if order.commit_ms <= look.next_ms else None
            rider_id = order.rider_id
            due_ms = max(one.commit_ms, look.now_ms + look.horizon.postpone_ms)
            one = _later(one, due_ms - one.commit_ms)
        else:
            trip, at = found
            rider_id, due_ms = trip.rider.rider_id, _due_ms(trip, look)
            why = _why(order, rider_id, at, due_ms, look)
        if why is not None:
            gain_m = stood[order.order_id].cost - one.cost
            moves.append(Move(order, why, order.shop_id, rider_id, one, due_ms, gain_m, together_m))
    return moves


def _due_ms(trip: Trip, look: Look) -> int:
    """When the trip is committed. What falls between two looks waits for the next, which may still know better: who
    is told a period early is not late by it."""
    due_ms = trip.estimates[0].commit_ms
    early_ms = look.horizon.leave_early_ms
    return look.next_ms if look.now_ms < due_ms < look.next_ms <= due_ms + early_ms else due_ms


def _later(trip: Estimate, delay_ms: int) -> Estimate:
    """The same way, so much later."""
    return replace(
        trip,
        commit_ms=trip.commit_ms + delay_ms,
        pickup_ms=trip.pickup_ms + delay_ms,
        dropoff_ms=trip.dropoff_ms + delay_ms,
        rider_free_ms=trip.rider_free_ms + delay_ms,
    )


def _why(order: Standing, rider_id: int, at: int, due_ms: int, look: Look) -> Why | None:
    """None when what stands says the same."""
    if order.rider_id != rider_id:
        return "TAKEN_ALONG" if at > 0 else "IMPROVED"
    if due_ms <= look.now_ms < order.commit_ms:
        return "BROUGHT_FORWARD"
    if order.commit_ms <= look.next_ms and order.commit_ms < due_ms:
        return "POSTPONED"
    return None
