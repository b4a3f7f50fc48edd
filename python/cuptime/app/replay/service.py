"""A recorded day through a whole node under a simulated clock: storage in memory, the gate in process, no doors.

Every order is a group of one: opened, submitted, admitted, completed by its only member, decided by the line, improved
each minute, and committed. A shop is known by a SKU that only it offers. What this module plays is the world: customers
who order and give up, and riders who do what the ledger says they are committed to, and report where and when they are
free again.

    each minute: orders placed -> decided | pass of the re-optimisation | commitments read from the ledger -> riders
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec.structs import astuple

from cuptime import core
from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import types_pb2
from cuptime.app.assembly import Adapters, Node, Parts
from cuptime.app.replay.day import Day, DayOrder, DayRider
from cuptime.app.replay.evaluator import Trip
from cuptime.app.settings import Settings
from cuptime.dispatch.horizon import MINUTE_MS, Horizon, meal_delivery
from cuptime.dispatch.interventions import Resolution
from cuptime.dispatch.values import CAPACITY_MAX, LOAD_MAX, ON_HAND_MAX, Rider, Shop
from cuptime.domain.clock import Clock, ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import GROUP_ID_MIN, TASKS_PENDING_MAX
from cuptime.domain.ports import Metrics, Storage
from cuptime.domain.values import DecisionRow, Group, GroupState, Outcome
from cuptime.groups.ports import UNARY
from cuptime.storage.memory.storage import MemoryStorage
from cuptime.tasks.wheel import ManualWheel, Wheel

START_MS: Final = 1_767_225_600_000
"""A midnight UTC: minute 0 of every day."""
ORIGIN: Final = (1.0, 1.0)
PAGE: Final = 1_000
TURNS_MAX: Final = 10_000
"""Turns of the event loop in which one minute must come to rest."""


class _World(Adapters):
    """Storage in memory and a wheel that turns when told."""

    def __init__(self, day: Day) -> None:
        self._day = day

    def storage(self, settings: Settings, clock: Clock, metrics: Metrics) -> Storage:
        return MemoryStorage()

    def wheel(self, settings: Settings, clock: Clock) -> Wheel:
        return ManualWheel(core.Timers(settings.tick_ms, clock.now_ms(), TASKS_PENDING_MAX), clock)

    def horizon(self, settings: Settings) -> Horizon:
        day = self._day
        return meal_delivery(
            day.pickup_service_min * MINUTE_MS,
            day.dropoff_service_min * MINUTE_MS,
            day.target_min * MINUTE_MS,
        )


@dataclass(slots=True)
class Replayed:
    """What a day gave."""

    trips: list[Trip] = field(default_factory=list)
    ledger_rows: int = 0
    improved: int = 0
    """Assignments that took the place of another."""
    ledger_digest: str = ""
    """BLAKE2 of every row of the ledger of decisions: the same day gives the same."""


class Replay:
    """One day, once."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._clock = ManualClock(START_MS)
        settings = Settings(
            data=Path("unused"), metrics="", rules=None, redis="", purchase_limit=1_000,
            origin_latitude=ORIGIN[0], origin_longitude=ORIGIN[1], retain_days=0, retain_tasks_days=0,
        )  # fmt: skip
        self._node = Node(settings, self._clock, _World(day))
        self._metres = _metres_a_degree()
        self._shop_ids = {name: index for index, name in enumerate(day.shops, 1)}
        self._riders = {index: _RiderNow(index, rider) for index, rider in enumerate(day.riders, 1)}
        self._waiting: dict[int, DayOrder] = {}
        """Neither sent for nor given up, by group id."""
        self._read = 0
        self._standing: dict[int, tuple[DecisionRow, dispatch_pb.Decision]] = {}
        self._out = Replayed()

    def run(self, progress: Callable[[int, int], None] = lambda _now, _end: None) -> Replayed:
        """The trips that riders were committed to. `progress` is told (minute, last minute)."""
        return asyncio.run(self._run(progress))

    async def _run(self, progress: Callable[[int, int], None]) -> Replayed:
        await self._node.start(doors=False)
        assert self._node.parts is not None
        self._parts: Parts = self._node.parts
        try:
            await self._furnish()
            orders = sorted(enumerate(self._day.orders), key=lambda entry: entry[1].placed_min)
            end_min = orders[-1][1].placed_min + self._day.maximum_min
            for now_min in range(orders[0][1].placed_min, end_min + 1):
                # Orders come just before the minute, so that the pass of the minute knows them.
                await self._until(START_MS + now_min * MINUTE_MS - 1)
                await self._send(now_min)
                placed = []
                while orders and orders[0][1].placed_min <= now_min:
                    placed.append(orders.pop(0))
                for index, order in placed:
                    await self._place(GROUP_ID_MIN + index, order)
                await self._give_up(now_min)
                await self._try_again()
                await self._rest()
                await self._until(START_MS + now_min * MINUTE_MS)
                await self._send(now_min)
                progress(now_min, end_min)
            await self._account()
        finally:
            await self._node.stop()
        return self._out

    # --- time -----------------------------------------------------------------------------------------------------
    async def _until(self, instant_ms: int) -> None:
        """Time passes; whatever is due happens, and comes to rest."""
        self._clock.advance(max(0, instant_ms - self._clock.now_ms()))
        await self._rest()

    async def _rest(self) -> None:
        parts = self._parts
        for _ in range(TURNS_MAX):
            await parts.intake.settle()
            await parts.line.settle()
            await parts.improver.settle()
            ended = await parts.tasks.pump()
            await parts.line.counters.settle()
            if not ended and not parts.line.queue.busy:
                return
        raise RuntimeError("a minute of the replay does not come to rest")

    # --- the world ------------------------------------------------------------------------------------------------
    async def _furnish(self) -> None:
        shops = [
            Shop(shop_id, name, *self._degrees(place), CAPACITY_MAX, 0, stock=((_sku(shop_id), ON_HAND_MAX),))
            for shop_id, (name, place) in enumerate(self._day.shops.items(), 1)
        ]
        for start in range(0, len(shops), PAGE):
            await self._parts.shops.upsert(shops[start : start + PAGE])
        await self._report(list(self._riders.values()))

    async def _report(self, riders: list[_RiderNow]) -> None:
        """Riders say where, and from when on, they are free."""
        rows = [self._report_of(now) for now in riders]
        for start in range(0, len(rows), PAGE):
            await self._parts.riders.upsert(rows[start : start + PAGE])

    def _report_of(self, now: _RiderNow) -> Rider:
        free_ms, off_ms = (START_MS + minute * MINUTE_MS for minute in (now.free_min, now.rider.off_min))
        over = now.free_min >= now.rider.off_min
        return Rider(
            now.rider_id,
            now.rider.name,
            *self._degrees(now.place),
            available_from_ms=free_ms,
            available_until_ms=free_ms + 1 if over else off_ms,
            max_load=LOAD_MAX,
            min_temperature_c=-100,
            max_temperature_c=100,
            speed_m_per_min=round(self._day.speed_m_per_min),
            paused=over,
        )

    def _degrees(self, place: tuple[float, float]) -> tuple[float, float]:
        east, north = self._metres
        return ORIGIN[0] + place[1] / north, ORIGIN[1] + place[0] / east

    async def _place(self, group_id: int, order: DayOrder) -> None:
        """A group of one opens, and its order fills it. Raises CuptimeError when the service refuses."""
        now_ms = self._clock.now_ms()
        place = self._degrees((order.x_m, order.y_m))
        ready_ms = START_MS + order.ready_min * MINUTE_MS
        deadline_ms = START_MS + (order.placed_min + self._day.maximum_min) * MINUTE_MS
        group = Group(
            group_seq=0, group_id=group_id, park="day", latitude=place[0], longitude=place[1], capacity=1,
            min_size=1, deadline_ms=now_ms + MINUTE_MS, purchase_limit=0,
            pack_out_after_ms=max(1, ready_ms - now_ms), deliver_within_ms=max(1, deadline_ms - ready_ms),
            state=GroupState.OPEN, member_count=0, created_ms=0,
        )  # fmt: skip
        await self._parts.groups.create(group)
        message = groups_pb.Order(
            user=groups_pb.User(user_id=group_id, credit_score=100, tier="day"),
            sku=_sku(self._shop_ids[order.shop]), quantity=1, amount_cents=1,
            kind=types_pb2.BEVERAGE_KIND_COFFEE, temperature_class=types_pb2.TEMPERATURE_CLASS_AMBIENT,
            time_slot="day",
            context=types_pb2.BusinessContext(group_id=group_id, sku_version="1.0", timestamp_ms=now_ms),
        )  # fmt: skip
        request = groups_pb.SubmitOrderRequest(
            parent=f"groups/{group_id}", order=message, request_id=f"order-{group_id}"
        )
        code, answer = await self._parts.intake.submit(UNARY, request.SerializeToString())
        if code:
            raise CuptimeError(Reason.INTERNAL, f"{order.name} was refused: {answer!r}")
        self._waiting[group_id] = order

    async def _give_up(self, now_min: int) -> None:
        """Customers whose order cannot come in time any more take it back, as the benchmark counts it."""
        latest = now_min - self._day.maximum_min
        for group_id in [i for i, order in self._waiting.items() if order.placed_min < latest]:
            await self._parts.cancellations.cancel(group_id, 1)
            del self._waiting[group_id]

    async def _try_again(self) -> None:
        """Who watches the orders that no retry could place has them tried again: a rider may be free since."""
        after = 0
        while page := await self._parts.interventions.page(after=after, limit=PAGE):
            for row, _ in page:
                await self._parts.interventions.resolve(row.order_id, Resolution.RETRY)
            after = page[-1][0].order_id

    # --- riders ---------------------------------------------------------------------------------------------------
    async def _send(self, now_min: int) -> None:
        """Riders leave for what they are committed to."""
        await self._read_ledger()
        due: dict[int, list[tuple[DecisionRow, dispatch_pb.Decision]]] = {}
        for row, told in self._standing.values():
            if told.commit_time_ms <= self._clock.now_ms():
                due.setdefault(row.rider_id, []).append((row, told))
        moved = []
        for rider_id, entries in sorted(due.items()):
            entries.sort(key=lambda entry: (entry[1].dropoff_time_ms, entry[0].order_id))
            for row, _ in entries:
                del self._standing[row.order_id]
            orders = [self._waiting.pop(_group_id(told)) for _, told in entries]
            self._ride(self._riders[rider_id], orders, now_min)
            moved.append(self._riders[rider_id])
        if moved:
            await self._report(moved)

    async def _read_ledger(self) -> None:
        """What was decided since the last look: the assignments that stand."""
        while rows := await self._parts.storage.decisions(after=self._read, limit=PAGE):
            for row in rows:
                self._standing.pop(row.order_id, None)
                if row.outcome is Outcome.ASSIGNED:
                    self._standing[row.order_id] = (row, dispatch_pb.Decision.FromString(row.body))
            self._read = rows[-1].sequence

    def _ride(self, rider: _RiderNow, orders: list[DayOrder], now_min: int) -> None:
        """One trip as the benchmark has it: whole minutes, rounded up."""
        day, shop = self._day, self._day.shops[orders[0].shop]
        half_pickup, half_dropoff = day.pickup_service_min // 2, day.dropoff_service_min // 2
        there = max(now_min, rider.free_min) + self._minutes(rider.place, shop) + half_pickup
        pickup = max(there, *(order.ready_min for order in orders))
        at, now, dropoffs = shop, pickup + half_pickup, []
        for order in orders:
            door = (order.x_m, order.y_m)
            dropoffs.append(now + self._minutes(at, door) + half_dropoff)
            at, now = door, dropoffs[-1] + half_dropoff
        rider.place, rider.free_min = at, now
        names = tuple(order.name for order in orders)
        self._out.trips.append(Trip(rider.rider.name, now_min, pickup, names, tuple(dropoffs)))

    def _minutes(self, a: tuple[float, float], b: tuple[float, float]) -> int:
        return math.ceil(math.dist(a, b) / self._day.speed_m_per_min)

    async def _account(self) -> None:
        digest, after = hashlib.blake2b(digest_size=16), 0
        while rows := await self._parts.storage.decisions(after=after, limit=PAGE):
            for row in rows:
                digest.update(repr(astuple(row)).encode())
            self._out.ledger_rows += len(rows)
            after = rows[-1].sequence
        self._out.improved = self._parts.improver.stats.moved
        self._out.ledger_digest = digest.hexdigest()


@dataclass(slots=True)
class _RiderNow:
    """A rider of the day, and where and when free next."""

    rider_id: int
    rider: DayRider
    place: tuple[float, float] = (0.0, 0.0)
    free_min: int = 0

    def __post_init__(self) -> None:
        self.place, self.free_min = (self.rider.x_m, self.rider.y_m), self.rider.on_min


def _sku(shop_id: int) -> str:
    return f"of-shop-{shop_id}"


def _group_id(told: dispatch_pb.Decision) -> int:
    return int(told.name.split("/")[1])


def _metres_a_degree() -> tuple[float, float]:
    """East and north, at ORIGIN, as the core measures them."""
    ((east, north),) = core.project(ORIGIN, [(ORIGIN[0] + 1.0, ORIGIN[1] + 1.0)])
    return east, north
