"""Whatever happens in whatever order, nothing is lost, nothing is decided twice, and no capacity is exceeded."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime.dispatch.interventions import Resolution
from cuptime.dispatch.values import StockChange
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import GroupState, OrderState, group_seq_of, order_number_of
from cuptime.domain.writes import InsertDecisions, Write
from tests.unit.dispatch.rig import COFFEE, COLD_BREW, HOUR_MS, Morning, new_group, request, rider, shop

ANY = st.integers(0, 50)
"""Which of what there is; counted round."""
STEPS = st.one_of(
    st.tuples(st.just("open"), st.integers(1, 4), st.integers(0, 4)),
    st.tuples(st.just("open"), st.integers(1, 4), st.integers(0, 4)),
    st.tuples(st.just("open"), st.integers(1, 4), st.integers(3, 4)),
    st.tuples(st.just("submit"), ANY, st.integers(1, 4)),
    st.tuples(st.just("cancel"), ANY, st.just(0)),
    st.tuples(st.just("cancel"), ANY, st.just(1)),
    st.tuples(st.just("complete"), ANY, st.integers(0, 1)),
    st.tuples(st.just("time"), st.sampled_from([0, 20, 1_000, 5_000, 20_000, 120_000]), st.just(0)),
    st.tuples(st.just("hours"), st.integers(1, 14), st.just(0)),
    st.tuples(st.just("shift"), st.integers(1, 3), st.integers(0, 20)),
    st.tuples(st.just("count"), st.integers(1, 2), st.integers(0, 6)),
    st.tuples(st.just("open_far"), st.integers(1, 3), st.integers(1, 30)),
    st.tuples(st.just("fail"), st.integers(1, 3), st.integers(0, 3)),
    st.tuples(st.just("fail"), st.integers(1, 3), st.integers(2, 3)),
    st.tuples(st.just("riders"), st.integers(1, 3), st.integers(0, 4)),
    st.tuples(st.just("capacity"), st.integers(1, 2), st.integers(0, 6)),
    st.tuples(st.just("stock"), st.integers(1, 2), st.integers(-3, 3)),
    st.tuples(st.just("person"), st.sampled_from(list(Resolution)), st.integers(1, 3)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
    st.tuples(st.just("look"), st.just(0), st.just(0)),
)


def anything(_: Sequence[Write]) -> bool:
    return True


def decides(writes: Sequence[Write]) -> bool:
    return any(isinstance(write, InsertDecisions) for write in writes)


class Chaos:
    """One random morning."""

    moves_time: ClassVar[frozenset[str]] = frozenset(
        {"time", "hours", "look", "restart", "count", "capacity", "days", "sweep"}
    )
    """Steps that pass time themselves, or wait for what does."""

    def __init__(self, morning: Morning) -> None:
        self.morning = morning
        self.answers: dict[str, bytes] = {}
        self.sent: dict[str, groups_pb.SubmitOrderRequest] = {}
        self._asked = 0
        self._groups = 0

    async def step(self, kind: str, first: int, second: int) -> None:
        step = asyncio.ensure_future(getattr(self, kind)(first, second))
        try:
            if kind in self.moves_time:
                await step
            else:
                await self.morning.while_time_passes(step)
        except CuptimeError as refusal:
            if refusal.reason is Reason.INTERNAL:
                raise

    async def open(self, capacity: int, filled: int) -> None:
        """A group, with so many orders at once; often that fills it."""
        self._groups += 1
        group_id = 10_000 + self._groups
        deadline_ms = self.morning.clock.now_ms() + 60_000
        await self.morning.groups.create(
            new_group(group_id, capacity=capacity, min_size=1, deadline_ms=deadline_ms)
        )
        await self._submit(group_id, min(filled, capacity))

    async def open_far(self, size: int, hours: int) -> None:
        """A group that fills, and is packed out today, tomorrow or the day after."""
        self._groups += 1
        group_id = 10_000 + self._groups
        now_ms = self.morning.clock.now_ms()
        await self.morning.groups.create(
            new_group(
                group_id, capacity=size, min_size=1, deadline_ms=now_ms + 60_000,
                pack_out_after_ms=hours * HOUR_MS,
            )
        )  # fmt: skip
        await self._submit(group_id, size)

    async def hours(self, count: int, _: int) -> None:
        await self.morning.pass_ms(count * HOUR_MS)

    async def shift(self, rider_id: int, hours: int) -> None:
        """Another shift: of the past, the present or the future, and more load than anybody has."""
        now_ms = self.morning.clock.now_ms()
        from_ms = now_ms + (hours % 5 - 3) * HOUR_MS
        until_ms = from_ms + (1 + hours) * HOUR_MS
        await self.morning.riders.upsert(
            [rider(rider_id, max_load=900, available_from_ms=from_ms, available_until_ms=until_ms)]
        )

    async def count(self, shop_id: int, cups: int) -> None:
        """The stock is counted: what was packed out is not there any more; what was not, is."""
        await self.morning.settle()
        key = (shop_id, COFFEE)
        now_ms = self.morning.clock.now_ms()
        packed = [held for held in self.morning.resources.standing.of_stock(key) if held.pack_out_ms < now_ms]
        needed = self.morning.resources.standing.cups(key) - sum(held.quantity for held in packed)
        # What storage may have kept counts as well: it may stand.
        needed += sum(
            held.quantity
            for held in self.morning.resources.unsettled.values()
            if (held.shop_id, held.sku) == key and held.pack_out_ms >= now_ms
        )
        known = self.morning.resources.shop(shop_id)
        stock = tuple((sku, cups + needed if sku == COFFEE else 500) for sku, _ in known.stock)
        await self.morning.shops.upsert([replace(known, stock=stock)])

    async def submit(self, which: int, count: int) -> None:
        if self._groups:
            await self._submit(10_001 + which % self._groups, count)

    async def _submit(self, group_id: int, count: int) -> None:
        """Some at once, every third a cold one, the first of them twice."""
        now_ms = self.morning.clock.now_ms()
        messages = []
        for _ in range(count):
            self._asked += 1
            cold = self._asked % 3 == 0
            messages.append(
                request(
                    group_id, self._asked, f"r{self._asked}", cold=cold, timestamp_ms=now_ms,
                    sku=COLD_BREW if cold else COFFEE, quantity=1 + self._asked % 2,
                )
            )  # fmt: skip
        self.sent.update((message.request_id, message) for message in messages)
        messages += messages[:1]
        answers = await asyncio.gather(*map(self.morning.submit_raw, messages), return_exceptions=True)
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, CuptimeError)
            elif answer[0] == 0:
                assert self.answers.setdefault(message.request_id, answer[1]) == answer[1]

    async def cancel(self, which: int, settled: int) -> None:
        """One of the orders that stand, before or after what is under way."""
        if settled:
            await self.morning.settle()
        rows = await self.morning.storage.orders_since(0, after=0, limit=1_000)
        rows = [row for row in rows if row.state is OrderState.ADMITTED]
        if rows:
            order_id = rows[which % len(rows)].order_id
            group = await self.morning.storage.group_by_seq(group_seq_of(order_id))
            assert group is not None
            await self.morning.cancellations.cancel(group.group_id, order_number_of(order_id))

    async def complete(self, which: int, force: int) -> None:
        groups = await self.morning.storage.groups(before_seq=2**62, limit=100, state=GroupState.OPEN)
        if groups:
            await self.morning.groups.complete(groups[which % len(groups)].group_id, force=bool(force))

    async def look(self, _: int, __: int) -> None:
        """The audit, at a moment when nothing is under way and storage is well."""
        self.morning.storage.failures = []
        self.morning.storage.kept_failures = []
        await self.morning.pass_ms(10_000)
        await self.audit()

    async def time(self, delta_ms: int, _: int) -> None:
        await self.morning.pass_ms(delta_ms)

    async def fail(self, count: int, how: int) -> None:
        """The next commits fail: kept or not, all or only those of decisions."""
        storage = self.morning.storage
        storage.failures, storage.kept_failures = [], []
        if how % 2:
            storage.kept_failures = [Reason.STORAGE_UNAVAILABLE] * count
        else:
            storage.failures = [Reason.STORAGE_UNAVAILABLE] * count
        storage.matching = decides if how >= 2 else anything

    async def riders(self, rider_id: int, load: int) -> None:
        """Never below what is carried."""
        view = await self.morning.riders.get(rider_id)
        taken = view.rider.max_load - view.load_free
        await self.morning.riders.upsert([replace(view.rider, max_load=max(load, taken))])

    async def capacity(self, shop_id: int, capacity: int) -> None:
        """Never below what is taken of any day, or may be: what storage may have kept can stand."""
        await self.morning.settle()
        resources = self.morning.resources
        holds = {held.order_id: held for held in (*resources.standing, *resources.unsettled.values())}
        days = Counter(held.day for held in holds.values() if held.shop_id == shop_id)
        taken = max(days.values(), default=0)
        changed = shop(shop_id, daily_capacity=max(capacity, taken))
        await self.morning.shops.update(changed, ["daily_capacity"])

    async def stock(self, shop_id: int, delta: int) -> None:
        await self.morning.shops.adjust_stock([StockChange(shop_id, COFFEE, delta)])

    async def person(self, resolution: Resolution, rider_id: int) -> None:
        for row, _ in await self.morning.interventions.page(after=0, limit=2):
            if resolution is Resolution.ASSIGN:
                await self.morning.interventions.resolve(
                    row.order_id, resolution, shop_id=1, rider_id=rider_id
                )
            else:
                await self.morning.interventions.resolve(row.order_id, resolution)

    async def restart(self, _: int, __: int) -> None:
        self.morning.storage.failures = []
        self.morning.storage.kept_failures = []
        await self.morning.reboot()

    async def audit(self) -> None:
        await self.morning.audit()
        known: set[str] = set()
        for group in await self.morning.storage.groups(before_seq=2**62, limit=100):
            rows = await self.morning.storage.orders_of(group.group_seq, after=0, limit=1_000)
            known |= {row.request_id for row in rows}
        assert set(self.answers) <= known, "an acknowledged order is not stored"
        numbers = [row.sequence for row in await self.morning.all_decisions()]
        assert numbers == sorted(set(numbers))


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=10, max_size=60), st.booleans(), st.sampled_from(["UTC", "Asia/Shanghai"]))
def test_nothing_is_lost_and_nothing_is_decided_twice(
    steps: list[tuple[str, int, int]], restart: bool, zone: str
) -> None:
    async def run() -> None:
        morning = Morning(zone=zone)
        await morning.boot()
        stock = ((COFFEE, 12), (COLD_BREW, 12))
        await morning.shops.upsert([shop(n, daily_capacity=5, fridge_slots=2, stock=stock) for n in (1, 2)])
        await morning.riders.upsert([rider(n, max_load=3) for n in (1, 2, 3)])
        chaos = Chaos(morning)
        for kind, first, second in steps:
            await chaos.step(kind, first, second)
        await chaos.look(0, 0)
        if restart:
            await morning.reboot()
        await morning.pass_ms(200_000)
        await chaos.audit()
        await morning.kill()

    asyncio.run(run())
