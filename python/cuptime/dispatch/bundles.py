"""Bundles: orders of one shop that one rider brings on one trip, formed before the match when riders are scarce.

After Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil, "The Meal Delivery Routing Problem" (2018), section 4: how many
orders a trip should carry follows from how many are ready soon for each rider who is free soon; within that, orders
are put into the trip where they lengthen it least.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.estimates import Place, Standing, Terms, ride_ms
from cuptime.dispatch.horizon import MINUTE_MS

SOON_MS: Final = 10 * MINUTE_MS
"""Orders ready and riders free within this time are counted against each other."""
BUNDLE_ORDERS_MAX: Final = 3
READY_APART_MS_MAX: Final = 8 * MINUTE_MS
"""The food that is ready first waits at most so long for the last."""
DETOUR_MS_MAX: Final = 4 * MINUTE_MS
"""A further order lengthens the ride by at most so much."""

Bundle = tuple[Standing, ...]
"""In the sequence of delivery."""


def bundles(
    orders: Sequence[Standing],
    free_ms: Sequence[int],
    shops: Mapping[int, Place],
    speed_m_per_min: float,
    now_ms: int,
    limit: int,
) -> list[Bundle]:
    """Every order in exactly one bundle; alone when riders are plenty. `free_ms`: when each rider is free."""
    soon_ms = now_ms + SOON_MS
    ready = sum(order.ready_ms <= soon_ms for order in orders)
    riders = sum(free <= soon_ms for free in free_ms)
    size = min(limit, BUNDLE_ORDERS_MAX, max(1, math.ceil(ready / max(1, riders))))
    if size == 1:
        return [(order,) for order in orders]
    by_shop: dict[int, list[Standing]] = {}
    for order in sorted(orders, key=lambda order: (order.ready_ms, order.order_id)):
        by_shop.setdefault(order.shop_id, []).append(order)
    made: list[Bundle] = []
    for shop_id, left in by_shop.items():
        while left:
            made.append(_filled(left, shops[shop_id], speed_m_per_min, size))
    return made


def _filled(left: list[Standing], shop: Place, speed_m_per_min: float, size: int) -> Bundle:
    """A bundle around the first of `left`, which loses what it takes."""
    first = left.pop(0)
    bundle: Bundle = (first,)
    while len(bundle) < size:
        before_m = _way_m(shop, bundle)
        best: tuple[float, Bundle, Standing] | None = None
        for order in left:
            if order.ready_ms - first.ready_ms > READY_APART_MS_MAX:
                break
            for at in range(len(bundle) + 1):
                longer = (*bundle[:at], order, *bundle[at:])
                more_m = _way_m(shop, longer) - before_m
                if best is None or more_m < best[0]:
                    best = (more_m, longer, order)
        if best is None or ride_ms(best[0], speed_m_per_min) > DETOUR_MS_MAX:
            break
        bundle = best[1]
        left.remove(best[2])
    return bundle


def _way_m(shop: Place, bundle: Bundle) -> float:
    return math.dist(shop, bundle[0].door) + sum(math.dist(a.door, b.door) for a, b in pairwise(bundle))


def as_one(bundle: Bundle, speed_m_per_min: float, terms: Terms) -> Standing:
    """The bundle as the single order that the match sees: ready when the last of it is, and in as much of a hurry as
    whoever on the way has the least time left."""
    first, offset_ms = bundle[0], 0
    target_ms, deadline_ms = first.target_ms, first.deadline_ms
    service_ms = int(terms["dropoff_before_ms"] + terms["dropoff_after_ms"])
    for before, order in pairwise(bundle):
        offset_ms += ride_ms(math.dist(before.door, order.door), speed_m_per_min) + service_ms
        target_ms = min(target_ms, order.target_ms - offset_ms)
        deadline_ms = min(deadline_ms, order.deadline_ms - offset_ms)
    return replace(
        first,
        ready_ms=max(order.ready_ms for order in bundle),
        target_ms=target_ms,
        deadline_ms=deadline_ms,
        priority=min(order.priority for order in bundle),
    )
