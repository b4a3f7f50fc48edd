"""How far a re-optimisation looks, what it may move, and what it weighs: one named structure, one instance per trade.

A group-buy wants little: cups are made in a batch, a rider carries many, and the 18 minutes before pack-out are time to
find somebody better. A meal-delivery day wants more: one trip at a time, riders who are free soon count as well as
those who are free now, and an order may be taken along by whoever is at its shop anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

MINUTE_MS: Final = 60_000


class Horizon(Struct, frozen=True):
    """A policy. Times in ms, distances in m; a gain is in units of the objective, of which 1 is one metre."""

    orders_ahead_ms: int = 0
    """Orders ready within this time are matched; later ones keep what they have. 0: all."""
    riders_ahead_ms: int = 0
    """Riders free within this time are matched, so that a near one who is almost free beats a far one. 0: all."""
    leave_early_ms: int = 0
    """The assignment is committed so long before the rider must leave."""
    provisional_min_ms: int = 0
    """A first decision is not committed sooner, so that a look comes before."""
    shop_begins_before_ms: int = 0
    """So long before pack-out the shop begins, and the order stays with it; its rider may still change."""
    one_trip_at_a_time: bool = False
    """A rider brings one order, or one bundle, and then the next. Else: as many at once as the load allows."""
    bundle_max: int = 1
    """Orders of one shop on one trip, at most."""
    target_after_ms: int = 0
    """A hand-over later than this after completion is late. 0: the group's own deadline."""
    urgent_first: bool = False
    """When riders are scarce the orders with the least time left come first; else the order's own priority counts."""
    gain_min_m: int = 200
    """What moves together must gain at least so much."""
    postpone_ms: int = 10 * MINUTE_MS
    """Nobody is sent for an order without a match; it is looked at again, at the latest after this time."""
    pickup_service_ms: int = 0
    dropoff_service_ms: int = 0
    """Half of a service before the hand-over, half after."""
    policy: tuple[tuple[str, float], ...] = ()
    """The core's policy where it differs from its defaults; see `Dispatcher.policy_defaults`."""

    def terms(self) -> dict[str, float]:
        """The policy for the core: what first decisions and improvements are priced by."""
        half_pickup, half_dropoff = self.pickup_service_ms // 2, self.dropoff_service_ms // 2
        return {
            **dict(self.policy),
            "pickup_before_ms": half_pickup,
            "pickup_after_ms": half_pickup,
            "dropoff_before_ms": half_dropoff,
            "dropoff_after_ms": half_dropoff,
            "leave_early_ms": self.leave_early_ms,
            "provisional_min_ms": self.provisional_min_ms,
        }


def group_buy(
    radius_m: float,
    delivery_radius_m: float,
    *,
    leave_early_ms: int = MINUTE_MS,
    shop_begins_before_ms: int = 8 * MINUTE_MS,
    gain_min_m: int = 200,
) -> Horizon:
    """The policy of the service; its values are settings."""
    return Horizon(
        leave_early_ms=leave_early_ms,
        shop_begins_before_ms=shop_begins_before_ms,
        gain_min_m=gain_min_m,
        policy=(("radius_m", radius_m), ("delivery_radius_m", delivery_radius_m)),
    )


def meal_delivery(pickup_service_ms: int, dropoff_service_ms: int, target_after_ms: int) -> Horizon:
    """The policy of recorded meal-delivery days, after Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil, "The Meal
    Delivery Routing Problem" (2018)."""
    return Horizon(
        orders_ahead_ms=20 * MINUTE_MS,
        riders_ahead_ms=20 * MINUTE_MS,
        leave_early_ms=MINUTE_MS,
        provisional_min_ms=MINUTE_MS,
        # The kitchen begins when the order is placed.
        shop_begins_before_ms=1 << 60,
        one_trip_at_a_time=True,
        bundle_max=4,
        target_after_ms=target_after_ms,
        urgent_first=True,
        gain_min_m=1,
        pickup_service_ms=pickup_service_ms,
        dropoff_service_ms=dropoff_service_ms,
        policy=(
            ("radius_m", 1e7),
            ("delivery_radius_m", 1e7),
            ("max_riders_per_shop", 400.0),
            ("late_m_per_s", 30.0),
            ("wait_m_per_s", 4.0),
            ("idle_m_per_s", 0.0),
            ("approach_weight", 1.0),
            ("delivery_weight", 0.0),
            ("cold_delivery_weight", 0.0),
            ("window_ends_at_pickup", 1.0),
            ("alternatives_max", 0.0),
        ),
    )


def whole_terms(horizon: Horizon, defaults: Mapping[str, float]) -> dict[str, float]:
    """Every term of the policy, the core's defaults where it names none."""
    return {**defaults, **horizon.terms()}
