"""A whole morning in one process: real core, real task line, gate in process, memory storage, a clock that is moved.

It can be stopped and started again on the same storage, like a server; storage can be told to fail, before it keeps a
commit or after.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from cuptime import core
from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.api.bodies import WireBodies
from cuptime.app.core_parts import rule_tools
from cuptime.dispatch.counters import Counters
from cuptime.dispatch.days import Calendar
from cuptime.dispatch.desk import Means
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.horizon import group_buy
from cuptime.dispatch.improve import Improver
from cuptime.dispatch.interventions import Interventions
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.provisional import ProvisionalBook
from cuptime.dispatch.reading import Decisions
from cuptime.dispatch.release import Releases
from cuptime.dispatch.resources import Resources
from cuptime.dispatch.retry import Retries
from cuptime.dispatch.riders import Riders
from cuptime.dispatch.shops import Shops
from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TASKS_PENDING_MAX
from cuptime.domain.ports import Committed, Gate
from cuptime.domain.requests import Requests
from cuptime.domain.values import DecisionRow, Fence, Group, GroupState, OrderRow, OrderState, Outcome
from cuptime.domain.writes import Write
from cuptime.gate.in_process import InProcessGate
from cuptime.gate.watched import WatchedGate
from cuptime.groups.cancel import Cancellations
from cuptime.groups.intake import IntakeLine
from cuptime.groups.life import Groups
from cuptime.groups.ports import BATCH, INGEST, UNARY
from cuptime.groups.recover import IntakeRecovery
from cuptime.groups.registry import OpenGroups
from cuptime.groups.watch import GroupWatchers
from cuptime.rules.book import RuleBook
from cuptime.storage.memory.storage import MemoryStorage
from cuptime.tasks.line import TaskLine
from cuptime.tasks.wheel import ManualWheel

START_MS = 1_800_000_000_000 - 1_800_000_000_000 % 86_400_000 + 9 * 3_600_000
"""09:00 UTC of a day."""
SHARD = 1
ORIGIN = (52.0, 13.0)
HOUR_MS = 3_600_000
COFFEE, COLD_BREW = "coffee", "cold-brew"


class MorningStorage(MemoryStorage):
    """Gives way around commits, as a real engine does, and can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Reason] = []
        """The next commits that match fail, nothing kept."""
        self.kept_failures: list[Reason] = []
        """The next commits that match are kept, and reported as failed."""
        self.matching: Callable[[Sequence[Write]], bool] = lambda _: True
        self.commits = 0
        self.units: list[Sequence[Write]] = []
        self.gate: asyncio.Event | None = None
        """Commits wait for it when it is there."""
        self.dark = False
        """Nobody can ask what became of a decision."""

    async def decision(self, order_id: int) -> DecisionRow | None:
        if self.dark:
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE)
        return await super().decision(order_id)

    async def commit(self, fence: Fence, writes: Sequence[Write]) -> Committed:
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if self.failures and self.matching(writes):
            raise CuptimeError(self.failures.pop(0))
        committed = await super().commit(fence, writes)
        self.commits += 1
        self.units.append(writes)
        if self.kept_failures and self.matching(writes):
            raise CuptimeError(self.kept_failures.pop(0))
        await asyncio.sleep(0)
        return committed


class MorningMetrics:
    """What was counted."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused: Counter[str] = Counter()
        self.decisions: list[tuple[str, float, int]] = []
        self.hits: Counter[str] = Counter()
        self.depths: dict[str, Callable[[], int]] = {}

    def orders_admitted(self, count: int) -> None:
        self.admitted += count

    def orders_refused(self, reason: str, count: int) -> None:
        self.refused[reason] += count

    def decision(self, outcome: str, latency_ms: float, count: int) -> None:
        self.decisions.append((outcome, latency_ms, count))

    def rules(
        self, evaluated: int, hits: Sequence[tuple[str, int]], errors: Sequence[tuple[str, int]]
    ) -> None:
        self.hits.update(dict(hits))

    def depth(self, queue: str, depth: Callable[[], int]) -> None:
        self.depths[queue] = depth

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


def shop(shop_id: int, **changes: Any) -> Shop:
    """A shop at the origin, a little to the east with its number."""
    values: dict[str, Any] = {
        "shop_id": shop_id,
        "display_name": f"shop {shop_id}",
        "latitude": ORIGIN[0],
        "longitude": ORIGIN[1] + shop_id * 0.0005,
        "daily_capacity": 1_000,
        "fridge_slots": 100,
        "stock": ((COFFEE, 10_000), (COLD_BREW, 10_000)),
    }
    return Shop(**{**values, **changes})


def rider(rider_id: int, now_ms: int = START_MS, **changes: Any) -> Rider:
    """A rider near the shops, for the whole day, with a vehicle for everything."""
    values: dict[str, Any] = {
        "rider_id": rider_id,
        "display_name": f"rider {rider_id}",
        "latitude": ORIGIN[0] + 0.001,
        "longitude": ORIGIN[1] + rider_id * 0.0002,
        "available_from_ms": now_ms - HOUR_MS,
        "available_until_ms": now_ms + 12 * HOUR_MS,
        "max_load": 500,
        "min_temperature_c": -5,
        "max_temperature_c": 70,
    }
    return Rider(**{**values, **changes})


def new_group(group_id: int, **changes: Any) -> Group:
    """A group of three around the shops, open for ten minutes."""
    values: dict[str, Any] = {
        "group_seq": 0,
        "group_id": group_id,
        "park": "north",
        "latitude": ORIGIN[0] + 0.002,
        "longitude": ORIGIN[1] + 0.002,
        "capacity": 3,
        "min_size": 2,
        "deadline_ms": START_MS + 600_000,
        "purchase_limit": 0,
        "pack_out_after_ms": 0,
        "deliver_within_ms": 0,
        "state": GroupState.OPEN,
        "member_count": 0,
        "created_ms": 0,
    }
    return Group(**{**values, **changes})


def order_message(
    group_id: int,
    user_id: int,
    *,
    sku: str = COFFEE,
    quantity: int = 1,
    credit: int = 95,
    cold: bool = False,
    stock_snapshot: int = 0,
    timestamp_ms: int = START_MS,
) -> groups_pb.Order:
    temperature = types_pb.TEMPERATURE_CLASS_COLD if cold else types_pb.TEMPERATURE_CLASS_HOT
    return groups_pb.Order(
        user=groups_pb.User(user_id=user_id, credit_score=credit, tier="gold"),
        sku=sku,
        quantity=quantity,
        amount_cents=1_500,
        kind=types_pb.BEVERAGE_KIND_COFFEE,
        temperature_class=temperature,
        time_slot="morning",
        context=types_pb.BusinessContext(
            group_id=group_id, sku_version="2.1", stock_snapshot=stock_snapshot, timestamp_ms=timestamp_ms
        ),
    )


def request(group_id: int, user_id: int, request_id: str, **order: Any) -> groups_pb.SubmitOrderRequest:
    return groups_pb.SubmitOrderRequest(
        parent=f"groups/{group_id}", request_id=request_id, order=order_message(group_id, user_id, **order)
    )


class Morning:
    """One server after another on the same storage and clock."""

    def __init__(
        self, start_ms: int = START_MS, zone: str = "UTC", new_gate: Callable[[], Gate] = InProcessGate
    ) -> None:
        self._new_gate = new_gate
        self.clock = ManualClock(start_ms)
        self.zone = zone
        self.storage = MorningStorage()
        self.metrics = MorningMetrics()
        self.horizon = group_buy(3_000.0, 3_000.0)
        self.every_ms = 60_000
        self.policy: dict[str, float] | None = self.horizon.terms()
        self._requests = 0

    async def boot(self) -> None:
        """Starts a server, in the order that `app.assembly` uses."""
        storage, clock = self.storage, self.clock
        await storage.open()
        fence = self.fence = await storage.claim(SHARD, "rig")
        last = await storage.sequences()
        requests = self.requests = Requests(storage, fence, clock)
        bodies = WireBodies()
        self.wheel = ManualWheel(core.Timers(10, clock.now_ms(), TASKS_PENDING_MAX), clock)
        self.tasks = TaskLine(
            storage, fence, clock, self.wheel, self.metrics, known_group=self._known,
            requests=requests, last_task_id=last.task_id,
        )  # fmt: skip
        self.book = RuleBook(storage, fence, clock, requests, rule_tools(), self.metrics)
        await self.book.recover()
        self.gate = self._new_gate()
        await self.gate.open()
        watched = WatchedGate(self.gate)
        skus = core.SkuCodes()
        self.dispatcher = core.Dispatcher()
        self.counters = Counters(watched, self.dispatcher, skus, clock, self.wheel, Calendar(self.zone))
        self.resources = Resources(
            storage, fence, clock, self.counters, core, bodies, requests, self.wheel, ORIGIN
        )
        self.shops = Shops(self.resources)
        self.riders = Riders(self.resources, self.wheel)
        means = Means(
            storage, fence, clock, core, skus, self.book, self.tasks, self.wheel, self.metrics, self.policy
        )
        self.feed = DecisionFeed(storage)
        self.provisional = ProvisionalBook(clock, bodies, kept=self.every_ms > 0)
        self.line = DecisionLine(means, self.resources, self.feed, self.provisional)
        self.improver = Improver(
            self.line,
            self.provisional,
            bodies,
            self.horizon,
            self.every_ms,
            core.Dispatcher.policy_defaults(),
        )
        watched.doubt = self.line.doubt
        self.releases = Releases(self.line, bodies)
        self.retries = Retries(storage, self.line)
        self.retries.register(self.tasks)
        self.interventions = Interventions(self.line, self.releases, bodies, requests)
        self.decisions = Decisions(self.line)
        open_groups = OpenGroups()
        recovery = IntakeRecovery(storage, clock, self._new_intake, open_groups, self.resources)
        self.group_watchers = GroupWatchers(storage)
        self.intake = IntakeLine(
            storage, fence, clock, self.book, self.line, open_groups, self.group_watchers, self.metrics,
            recovery.rebuild,
        )  # fmt: skip
        self.resources.admission = self.intake
        self.groups = Groups(storage, clock, requests, self.tasks, self.intake, self.group_watchers)
        self.groups.register(self.tasks)
        self.cancellations = Cancellations(
            storage, clock, requests, self.groups, self.intake, self.line, self.releases, self.group_watchers
        )
        await self.resources.recover()
        await self.intake.recover()
        await self.line.start()
        await self.tasks.start()

    async def kill(self) -> None:
        """Ends the server without a farewell; what storage has is what there is."""
        await self.improver.close()
        await self.line.close()
        self.counters.close()
        self.riders.close()
        self.resources.close()
        await self.tasks.close()
        await self.gate.close()

    async def reboot(self) -> None:
        await self.kill()
        await self.boot()

    def _new_intake(self) -> core.Intake:
        return core.Intake(b"0123456789abcdef", 85, 0)

    async def _known(self, group_id: int) -> bool:
        return await self.storage.group(group_id) is not None

    # --- doing ----------------------------------------------------------------------------------------------------
    async def stock_up(self, shops: int = 3, riders: int = 5) -> None:
        await self.shops.upsert([shop(number) for number in range(1, shops + 1)])
        await self.riders.upsert([rider(number) for number in range(1, riders + 1)])

    def fresh_id(self) -> str:
        self._requests += 1
        return f"request-{self._requests}"

    async def submit(self, group_id: int, user_id: int, **order: Any) -> groups_pb.Order:
        """One order; raises AssertionError with the reason when it is refused."""
        code, raw = await self.submit_raw(request(group_id, user_id, self.fresh_id(), **order))
        assert code == 0, raw
        return groups_pb.SubmitOrderResponse.FromString(raw).order

    async def submit_raw(self, message: groups_pb.SubmitOrderRequest) -> tuple[int, bytes]:
        return await self.intake.submit(UNARY, message.SerializeToString())

    async def batch(self, requests: Sequence[groups_pb.SubmitOrderRequest]) -> tuple[int, bytes]:
        message = groups_pb.BatchSubmitOrdersRequest(parent="groups/-", requests=requests)
        return await self.intake.submit(BATCH, message.SerializeToString())

    async def ingest(
        self, requests: Sequence[groups_pb.SubmitOrderRequest]
    ) -> groups_pb.IngestOrdersResponse:
        message = groups_pb.IngestOrdersRequest(sequence=1, requests=requests)
        code, raw = await self.intake.submit(INGEST, message.SerializeToString())
        assert code == 0, raw
        return groups_pb.IngestOrdersResponse.FromString(raw)

    async def full_group(
        self, group_id: int, size: int = 3, *, pack_out_after_ms: int = 0, **order: Any
    ) -> Group:
        """A group that fills at once, and its decision."""
        group = await self.groups.create(
            new_group(
                group_id, capacity=size, min_size=1, deadline_ms=self.clock.now_ms() + 600_000,
                pack_out_after_ms=pack_out_after_ms,
            )
        )  # fmt: skip
        order.setdefault("timestamp_ms", self.clock.now_ms())
        await asyncio.gather(*(self.submit(group_id, 100 + n, **order) for n in range(size)))
        await self.settle()
        return await self.groups.get(group.group_id)

    async def empty_group(self, group_id: int, **changes: Any) -> Group:
        return await self.groups.create(
            new_group(group_id, deadline_ms=self.clock.now_ms() + 600_000, **{"min_size": 1, **changes})
        )

    def order_body(self, group_id: int, user_id: int, **order: Any) -> bytes:
        order.setdefault("timestamp_ms", self.clock.now_ms())
        return order_message(group_id, user_id, **order).SerializeToString()

    async def submit_raw_new(self, group_id: int, **order: Any) -> tuple[int, bytes]:
        """One order for a group of its own."""
        await self.empty_group(group_id)
        order.setdefault("timestamp_ms", self.clock.now_ms())
        return await self.submit_raw(request(group_id, 7, self.fresh_id(), **order))

    async def settle(self) -> None:
        """Everything that happens without time passing."""
        # A pass, or a retry, that waits for storage to say what it kept needs a moment.
        await self.while_time_passes(asyncio.ensure_future(self.improver.settle()))
        await self.intake.settle()
        await self.line.settle()
        # A retry that waits for storage to say what it kept needs a moment.
        await self.while_time_passes(asyncio.ensure_future(self.tasks.pump()))
        await self.counters.settle()

    async def while_time_passes(self, work: asyncio.Future[Any]) -> Any:
        """Awaits work that may itself wait for a timer: time passes only when nothing else can happen."""
        for _ in range(10_000):
            for _ in range(200):
                if work.done():
                    return await work
                await asyncio.sleep(0)
            next_ms = self.wheel.next_event_ms()
            if next_ms is not None and self.storage.gate is None:
                self.clock.advance(max(0, next_ms - self.clock.now_ms()))
                self.wheel.pump()
        raise AssertionError("it waits for something that never comes")

    async def pass_ms(self, delta_ms: int) -> None:
        """Lets time pass, from wait to wait."""
        end_ms = self.clock.now_ms() + delta_ms
        await self.settle()
        while (next_ms := self.wheel.next_event_ms()) is not None and next_ms <= end_ms:
            self.clock.advance(max(0, next_ms - self.clock.now_ms()))
            await self.settle()
        self.clock.advance(max(0, end_ms - self.clock.now_ms()))
        await self.settle()

    # --- looking --------------------------------------------------------------------------------------------------
    async def orders(self, group_id: int) -> list[OrderRow]:
        return await self.groups.orders(group_id, after=0, limit=10_000)

    async def latest(self, group_id: int) -> list[DecisionRow | None]:
        """The latest decision of each order, by number."""
        return [await self.storage.decision(order.order_id) for order in await self.orders(group_id)]

    async def outcomes(self, group_id: int) -> list[str]:
        return [row.outcome.name if row is not None else "NONE" for row in await self.latest(group_id)]

    async def all_decisions(self) -> list[DecisionRow]:
        return await self.storage.decisions(after=0, limit=1_000_000)

    async def audit(self) -> None:
        """What must hold at any moment when nothing is under way: no order is decided twice, no capacity exceeded,
        gate and dispatcher agree with storage, and nothing is forgotten."""
        standing = await self.storage.standing_assignments(after=0, limit=1_000_000)
        assert len({row.order_id for row in standing}) == len(standing)
        assert all(row.outcome is Outcome.ASSIGNED for row in standing)
        await self._audit_capacity(standing)
        await self._audit_nothing_forgotten({row.order_id for row in standing})

    async def _audit_capacity(self, standing: list[DecisionRow]) -> None:
        """The gate against storage, by the terms of `dispatch.standing`, computed here in another way."""
        await self.counters.expire()
        now_ms, calendar = self.clock.now_ms(), self.counters.calendar
        taken: Counter[str] = Counter()
        for row in standing:
            taken[f"capacity/{row.shop_id}/{calendar.day(row.pack_out_ms).name}"] += 1
            shift = self.resources.riders[row.rider_id]
            dropoff_ms = decision_of(row).dropoff_time_ms or row.pickup_ms + 45 * 60_000
            in_shift = shift.available_from_ms <= row.pickup_ms <= shift.available_until_ms
            if dropoff_ms > now_ms or (in_shift and shift.available_until_ms > now_ms):
                taken[f"load/{row.rider_id}"] += 1
            if row.cold and row.pickup_ms > now_ms:
                taken[f"fridge/{row.shop_id}"] += 1
        counted = {(row.shop_id, row.sku): row for row in await self.storage.stock()}
        for (shop_id, sku), stock_row in counted.items():
            taken[f"stock/{shop_id}/{sku}"] += stock_row.used
        for row in await self.storage.standing_assignments(after=0, limit=1_000_000, live_only=True):
            if counted[row.shop_id, row.sku].set_ms <= row.pack_out_ms:
                taken[f"stock/{row.shop_id}/{row.sku}"] += row.quantity
        for shop_id, known in self.resources.shops.items():
            limits = {f"fridge/{shop_id}": known.fridge_slots}
            limits |= {f"stock/{shop_id}/{sku}": n for sku, n in known.stock}
            day = [key for key in taken if key.startswith(f"capacity/{shop_id}/")]
            # A day that is over takes part in nothing any more.
            day = [key for key in day if key.rpartition("/")[2] >= calendar.day(now_ms).name]
            limits |= dict.fromkeys(day, known.daily_capacity)
            for key, limit in limits.items():
                assert taken[key] <= limit, key
                assert await self.gate.free([key]) == [limit - taken[key]], key
        shops, stock, riders = self.dispatcher.counters()
        for rider_id, known_rider in self.resources.riders.items():
            left = known_rider.max_load - taken[f"load/{rider_id}"]
            assert left >= 0
            assert await self.gate.free([f"load/{rider_id}"]) == [left]
            assert (rider_id, left) in riders
        for shop_id, capacity_free, fridge_free in shops:
            (view,) = await self.resources.shop_views([shop_id], self.counters.day)
            assert (capacity_free, fridge_free) == (view.capacity_free, view.fridge_free)
            frees = sorted(free for _, _, free in view.stock)
            assert sorted(free for of, _, free in stock if of == shop_id) == frees

    async def _audit_nothing_forgotten(self, standing: set[int]) -> None:
        """Every admitted order of a closed group stands, waits for a retry, or waits for a person."""
        waiting = {row.order_id for row in await self.storage.interventions(after=0, limit=100_000)}
        queued: set[int] = set()
        for task_id, *_ in await self.storage.waiting_tasks(after=0, limit=1_000_000):
            task = await self.storage.task(task_id)
            assert task is not None
            if task.queue == "cuptime.dispatch_retry":
                queued |= set(_orders_of(task.payload))
        for group in await self.storage.groups(before_seq=2**62, limit=100_000):
            rows = await self.storage.orders_of(group.group_seq, after=0, limit=10_000)
            admitted = {row.order_id for row in rows if row.state is OrderState.ADMITTED}
            if group.state is GroupState.DECIDED:
                assert admitted <= standing | waiting | queued
            elif group.state is GroupState.FAILED:
                assert not admitted
            assert group.member_count == len(admitted) or group.state is GroupState.FAILED


def _orders_of(payload: bytes) -> list[int]:
    from cuptime.dispatch.delays import read_payload

    return read_payload(payload)[1]


def decision_of(row: DecisionRow) -> dispatch_pb.Decision:
    return dispatch_pb.Decision.FromString(row.body)
