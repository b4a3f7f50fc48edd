"""Rolling horizon: decide every minute for all that is not committed, commit as late as one responsibly can.

After Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil, "The Meal Delivery Routing Problem" (2018): matching orders that
will be ready soon with riders who will be free soon, again and again, and sending a rider only when waiting longer
would cost time, delivers what greedy cannot. The matching is the core's exact assignment; this module says who takes
part, when a match becomes a commitment, and what else a rider may take along. It has no clock and keeps nothing: the
caller owns the riders and the orders.

The service today decides a group once, when it completes; replays of recorded days run this.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

MINUTE_MS: Final = 60_000
NEVER_MS: Final = 1 << 62
PRIORITIES: Final = 20
PRIORITY_STEP_MS: Final = 10 * MINUTE_MS
_ANY_TEMPERATURE: Final = (1, 0, 0)
"""(class ambient, need_min_c, need_max_c): days that know no temperatures."""


class Solver(Protocol):
    """The core's dispatcher; see `_core.pyi`."""

    def upsert_shops(self, shops: Any) -> None: ...
    def upsert_riders(self, riders: Any) -> None: ...
    def remove_riders(self, rider_ids: list[int]) -> int: ...
    def decide(self, orders: Any, now_ms: int, policy: dict[str, float] | None = None) -> Any: ...


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order not yet committed. `target_ms`: later is late; `deadline_ms`: later is not delivered at all."""

    order_id: int
    shop_id: int
    x_m: float
    y_m: float
    placed_ms: int
    ready_ms: int
    target_ms: int
    deadline_ms: int


@dataclass(frozen=True, slots=True)
class FreeRider:
    """A rider who is, or will be, free at (x_m, y_m) from `free_ms` on, and picks up until `until_ms`."""

    rider_id: int
    x_m: float
    y_m: float
    free_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True)
class Horizon:
    """Who takes part. Times in ms, speeds in m a minute, services split in halves before and after the hand-over."""

    orders_ahead_ms: int = 20 * MINUTE_MS
    """Orders ready within this time are matched; later ones wait."""
    riders_ahead_ms: int = 20 * MINUTE_MS
    """Riders free within this time are matched; so a near rider who is almost free beats a far one."""
    leave_early_ms: int = 1 * MINUTE_MS
    """A match is committed when the rider, leaving now, would be at the shop at most so long before it is ready."""
    speed_m_per_min: float = 300.0
    pickup_service_ms: int = 4 * MINUTE_MS
    dropoff_service_ms: int = 4 * MINUTE_MS
    policy: tuple[tuple[str, float], ...] = (
        ("radius_m", 1e7),
        ("delivery_radius_m", 1e7),
        ("max_riders_per_shop", 400.0),
        ("late_m_per_s", 30.0),
        ("wait_m_per_s", 4.0),
        ("idle_m_per_s", 0.0),
        ("approach_weight", 1.0),
        ("delivery_weight", 0.0),
        ("window_ends_at_pickup", 1.0),
        ("alternatives_max", 0.0),
    )


@dataclass(frozen=True, slots=True)
class Match:
    """An order and the rider the solver gave it, with the solver's estimates."""

    order: WaitingOrder
    rider: FreeRider
    pickup_ms: int
    dropoff_ms: int
    approach_m: int


def match(
    solver: Solver,
    waiting: Sequence[WaitingOrder],
    riders: Sequence[FreeRider],
    now_ms: int,
    horizon: Horizon,
) -> list[Match]:
    """The exact assignment of the orders and riders that take part now. Shops must be known to the solver."""
    orders = [order for order in waiting if order.ready_ms <= now_ms + horizon.orders_ahead_ms]
    takers = [rider for rider in riders if rider.free_ms <= now_ms + horizon.riders_ahead_ms]
    if not orders or not takers:
        return []
    solver.upsert_riders(
        [
            (
                rider.rider_id,
                rider.x_m,
                rider.y_m,
                max(rider.free_ms, now_ms),
                rider.until_ms,
                1,
                -100,
                100,
                horizon.speed_m_per_min,
                True,
            )
            for rider in takers
        ]
    )
    try:
        decisions = solver.decide(_rows(orders, now_ms), now_ms, _policy(horizon))[0]
    finally:
        solver.remove_riders([rider.rider_id for rider in takers])
    by_id = {rider.rider_id: rider for rider in takers}
    return [
        Match(order, by_id[decided[2]], decided[3], decided[4], decided[7])
        for order, decided in zip(orders, decisions, strict=True)
        if decided[1] >= 0
    ]


def _policy(horizon: Horizon) -> dict[str, float]:
    half_pickup, half_dropoff = horizon.pickup_service_ms // 2, horizon.dropoff_service_ms // 2
    return {
        **dict(horizon.policy),
        "pickup_before_ms": half_pickup,
        "pickup_after_ms": half_pickup,
        "dropoff_before_ms": half_dropoff,
        "dropoff_after_ms": half_dropoff,
    }


def _rows(orders: Sequence[WaitingOrder], now_ms: int) -> list[Any]:
    """When riders are scarce, the orders with the least time left come first (the paper's priority groups, finer)."""
    temperature, need_min_c, need_max_c = _ANY_TEMPERATURE
    rows: list[Any] = []
    for order in orders:
        left_ms = order.deadline_ms - now_ms
        priority = max(1, min(PRIORITIES, left_ms // PRIORITY_STEP_MS + 1))
        rows.append(
            (
                order.order_id,
                order.order_id,
                order.x_m,
                order.y_m,
                0,
                1,
                temperature,
                need_min_c,
                need_max_c,
                priority,
                order.ready_ms,
                order.target_ms,
                order.deadline_ms,
                [order.shop_id],
                [],
            )
        )
    return rows


def due(found: Match, now_ms: int, horizon: Horizon) -> bool:
    """Must the rider be told now? Not while the rider is busy, and not while waiting costs nothing."""
    if found.rider.free_ms > now_ms:
        return False
    travel_ms = int(found.approach_m / horizon.speed_m_per_min * MINUTE_MS)
    at_shop_ms = now_ms + travel_ms + horizon.pickup_service_ms // 2
    return at_shop_ms >= found.order.ready_ms - horizon.leave_early_ms
