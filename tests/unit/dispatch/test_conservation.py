"""Whatever happens in whatever order, nothing is lost, nothing is decided twice, and no capacity is exceeded."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuptime.dispatch.interventions import Resolution
from cuptime.dispatch.values import StockChange
from cuptime.domain.errors import CuptimeError, Reason
from tests.unit.dispatch.rig import COFFEE, COLD_BREW, Morning, new_group, request, rider, shop

GROUPS = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("open"), GROUPS, st.integers(1, 4)),
    st.tuples(st.just("submit"), GROUPS, st.integers(1, 6)),
    st.tuples(st.just("submit"), GROUPS, st.integers(1, 6)),
    st.tuples(st.just("cancel"), GROUPS, st.integers(1, 8)),
    st.tuples(st.just("complete"), GROUPS, st.integers(0, 1)),
    st.tuples(st.just("time"), st.sampled_from([0, 20, 1_000, 5_000, 20_000, 120_000]), st.just(0)),
    st.tuples(st.just("fail"), st.sampled_from([0, 1, 2, 3]), st.booleans()),
    st.tuples(st.just("riders"), st.integers(1, 3), st.integers(0, 4)),
    st.tuples(st.just("capacity"), st.integers(1, 2), st.integers(0, 6)),
    st.tuples(st.just("stock"), st.integers(1, 2), st.integers(-3, 3)),
    st.tuples(st.just("person"), st.sampled_from(list(Resolution)), st.integers(1, 3)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


class Chaos:
    """One random morning."""

    def __init__(self, morning: Morning) -> None:
        self.morning = morning
        self.answers: dict[str, bytes] = {}
        self.messages: dict[str, bytes] = {}
        self._asked = 0

    async def step(self, kind: str, first: int, second: int) -> None:
        try:
            await getattr(self, kind)(first, second)
        except CuptimeError as refusal:
            if refusal.reason is Reason.INTERNAL:
                raise

    async def open(self, group: int, capacity: int) -> None:
        deadline_ms = self.morning.clock.now_ms() + 60_000
        await self.morning.groups.create(
            new_group(10_001 + group, capacity=capacity, min_size=1, deadline_ms=deadline_ms)
        )

    async def submit(self, group: int, count: int) -> None:
        """Some at once, every third a cold one, each repeated now and then."""
        now_ms = self.morning.clock.now_ms()
        messages = []
        for _ in range(count):
            self._asked += 1
            cold = self._asked % 3 == 0
            messages.append(
                request(
                    10_001 + group, self._asked, f"r{self._asked}", cold=cold, timestamp_ms=now_ms,
                    sku=COLD_BREW if cold else COFFEE, quantity=1 + self._asked % 2,
                )
            )  # fmt: skip
        messages += messages[:1]
        answers = await asyncio.gather(*map(self.morning.submit_raw, messages), return_exceptions=True)
        for message, answer in zip(messages, answers, strict=True):
            if isinstance(answer, BaseException):
                assert isinstance(answer, CuptimeError)
                continue
            code, raw = answer
            if code == 0:
                assert self.answers.setdefault(message.request_id, raw) == raw
                self.messages[message.request_id] = message.SerializeToString()

    async def cancel(self, group: int, number: int) -> None:
        await self.morning.cancellations.cancel(10_001 + group, number)

    async def complete(self, group: int, force: int) -> None:
        await self.morning.groups.complete(10_001 + group, force=bool(force))

    async def time(self, delta_ms: int, _: int) -> None:
        await self.morning.pass_ms(delta_ms)

    async def fail(self, count: int, kept: bool) -> None:
        failures = [Reason.STORAGE_UNAVAILABLE] * count
        if kept:
            self.morning.storage.kept_failures = failures
        else:
            self.morning.storage.failures = failures

    async def riders(self, rider_id: int, load: int) -> None:
        """Never below what is carried: the day's load only grows."""
        known = self.morning.resources.riders.get(rider_id)
        taken = known.max_load - (await self.morning.riders.get(rider_id)).load_free if known else 0
        await self.morning.riders.upsert([rider(rider_id, max_load=max(load, taken))])

    async def capacity(self, shop_id: int, capacity: int) -> None:
        view = await self.morning.shops.get(shop_id)
        taken = view.shop.daily_capacity - view.capacity_free
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
        known = set()
        for group in await self.morning.storage.groups(before_seq=2**62, limit=100):
            rows = await self.morning.storage.orders_of(group.group_seq, after=0, limit=1_000)
            known |= {row.request_id for row in rows}
        assert set(self.answers) <= known, "an acknowledged order is not stored"
        numbers = [row.sequence for row in await self.morning.all_decisions()]
        assert numbers == sorted(set(numbers))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=5, max_size=40), st.booleans())
def test_nothing_is_lost_and_nothing_is_decided_twice(
    steps: list[tuple[str, int, int]], restart: bool
) -> None:
    async def run() -> None:
        morning = Morning()
        await morning.boot()
        stock = ((COFFEE, 12), (COLD_BREW, 12))
        await morning.shops.upsert([shop(n, daily_capacity=5, fridge_slots=2, stock=stock) for n in (1, 2)])
        await morning.riders.upsert([rider(n, max_load=3) for n in (1, 2, 3)])
        chaos = Chaos(morning)
        for kind, first, second in steps:
            await chaos.step(kind, first, second)
        morning.storage.failures = []
        morning.storage.kept_failures = []
        await morning.pass_ms(10_000)
        await chaos.audit()
        if restart:
            await morning.reboot()
        await morning.pass_ms(200_000)
        await chaos.audit()
        await morning.kill()

    asyncio.run(run())
