"""What is past its retention goes, and nothing that still counts: on a whole morning that lives for weeks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuptime.dispatch.delays import DISPATCH_RETRY_QUEUE, read_payload
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import GroupState, OrderState, Outcome, group_seq_of
from cuptime.domain.writes import ForgetGroups, ForgetTasks, Write
from cuptime.groups.retention import FIRST_MS, PERIOD_MS, Retention, Swept
from cuptime.storage.memory import retention as memory_retention
from tests.unit.dispatch.rig import COFFEE, COLD_BREW, Morning, new_group, rider, shop
from tests.unit.dispatch.test_conservation import STEPS, Chaos
from tests.unit.dispatch.test_feed import collect

DAY_MS = 86_400_000


class Counted:
    """Metrics as far as retention speaks to them."""

    def __init__(self) -> None:
        self.gone: dict[str, int] = {}
        self.oldest: dict[str, int] = {}

    def forgotten(self, kind: str, count: int) -> None:
        self.gone[kind] = self.gone.get(kind, 0) + count

    def oldest_ended(self, kind: str, ended_ms: int) -> None:
        self.oldest[kind] = ended_ms


def keeper_of(morning: Morning, groups_days: int = 2, tasks_days: int = 1, metrics: Any = None) -> Retention:
    return Retention(
        morning.storage, morning.fence, morning.clock, morning.wheel, metrics or Counted(),
        groups_ms=groups_days * DAY_MS, tasks_ms=tasks_days * DAY_MS,
    )  # fmt: skip


async def pass_days(morning: Morning, days: float) -> None:
    """All but the first and the last quarter of an hour in one leap: what is due every minute is due once."""
    await morning.pass_ms(900_000)
    morning.clock.advance(int(days * DAY_MS) - 1_800_000)
    await morning.pass_ms(900_000)


async def decided_group(morning: Morning, group_id: int) -> None:
    """A group that is full, on a day on which there are riders."""
    await morning.riders.upsert([rider(n, morning.clock.now_ms()) for n in range(1, 6)])
    await morning.full_group(group_id)
    assert await morning.outcomes(group_id) == ["ASSIGNED"] * 3


async def sweep(morning: Morning, **days: int) -> Swept:
    swept: Swept = await morning.while_time_passes(asyncio.ensure_future(keeper_of(morning, **days).run()))
    return swept


async def test_a_group_goes_when_its_days_are_over(morning: Morning) -> None:
    await decided_group(morning, 10_001)
    await pass_days(morning, 1)
    await decided_group(morning, 10_002)
    await morning.pass_ms(DAY_MS - 1_000)
    assert (await sweep(morning)).groups == 0
    await morning.pass_ms(2 * 3_600_000)
    metrics = Counted()
    swept = await morning.while_time_passes(asyncio.ensure_future(keeper_of(morning, metrics=metrics).run()))
    assert (swept.groups, swept.orders) == (1, 3)
    assert metrics.gone["groups"] == 1
    assert metrics.gone["orders"] == 3
    kept = await morning.groups.get(10_002)
    assert metrics.oldest["groups"] >= kept.completed_ms
    for ask in (morning.groups.get(10_001), morning.groups.orders(10_001, after=0, limit=9)):
        with pytest.raises(CuptimeError) as refusal:
            await ask
        assert refusal.value.reason is Reason.GROUP_NOT_FOUND
    assert len(await morning.orders(10_002)) == 3
    await morning.audit()
    await morning.reboot()
    await morning.audit()
    # The id is free again, and the new group has nothing of the old one.
    await decided_group(morning, 10_001)
    assert (await morning.groups.get(10_001)).group_seq > kept.group_seq


async def test_what_waits_for_a_person_waits_however_long(morning: Morning) -> None:
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001)
    await pass_days(morning, 4)
    assert await morning.storage.interventions_open() == 3
    assert (await sweep(morning)).groups == 0
    for row, _ in await morning.interventions.page(after=0, limit=2):
        await morning.cancellations.cancel(10_001, row.order_id & 0xFFFFF)
    await pass_days(morning, 3)
    assert (await sweep(morning)).groups == 0, "one still waits"
    for row, _ in await morning.interventions.page(after=0, limit=2):
        await morning.cancellations.cancel(10_001, row.order_id & 0xFFFFF)
    assert (await sweep(morning)).groups == 0, "cancelled just now"
    await pass_days(morning, 3)
    assert (await sweep(morning)).groups == 1


async def test_a_deadline_that_is_to_come_keeps_its_group(morning: Morning) -> None:
    """Its task names the group_id, which somebody else may have by then."""
    deadline_ms = morning.clock.now_ms() + 9 * DAY_MS
    await morning.groups.create(new_group(10_001, capacity=1, min_size=1, deadline_ms=deadline_ms))
    await morning.submit(10_001, 7)
    await morning.settle()
    assert await morning.outcomes(10_001) == ["ASSIGNED"]
    await pass_days(morning, 8)
    assert (await sweep(morning)).groups == 0
    await pass_days(morning, 4)
    assert (await sweep(morning)).groups == 1


async def test_zero_is_for_ever(morning: Morning) -> None:
    await morning.full_group(10_001)
    await pass_days(morning, 4)
    assert (await sweep(morning, groups_days=0, tasks_days=0)).commits == 0
    swept = await sweep(morning, groups_days=0)
    assert swept.groups == 0
    assert swept.tasks > 0
    swept = await sweep(morning, tasks_days=0)
    assert (swept.groups, swept.tasks) == (1, 0)


async def test_sweeps_come_by_themselves_and_survive_a_failure(morning: Morning) -> None:
    await morning.full_group(10_001)
    keeper = keeper_of(morning)
    keeper.start()
    await morning.pass_ms(FIRST_MS)
    await morning.pass_ms(3 * DAY_MS - PERIOD_MS)
    assert await morning.storage.group(10_001) is None
    await decided_group(morning, 10_002)
    morning.storage.matching = lambda writes: isinstance(writes[0], ForgetGroups)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE] * 5
    await morning.pass_ms(3 * DAY_MS)
    assert morning.storage.failures == []
    assert await morning.storage.group(10_002) is None
    await keeper.close()
    await decided_group(morning, 10_003)
    await pass_days(morning, 9)
    assert await morning.storage.group(10_003) is not None


async def test_a_sweep_is_broken_off_at_the_stop(morning: Morning) -> None:
    for group_id in range(10_001, 10_041):
        await morning.full_group(group_id)
    await pass_days(morning, 4)
    keeper = keeper_of(morning)
    keeper.start()
    morning.storage.gate = asyncio.Event()
    morning.clock.advance(FIRST_MS)
    morning.wheel.pump()
    for _ in range(10):
        await asyncio.sleep(0)
    await keeper.close()
    morning.storage.gate.set()
    morning.storage.gate = None
    assert (await sweep(morning)).groups == 40


# --- watchers -----------------------------------------------------------------------------------------------------
async def gone_for(morning: Morning, *group_ids: int) -> None:
    for group_id in group_ids:
        await decided_group(morning, group_id)
    await pass_days(morning, 4)
    assert (await sweep(morning)).groups == len(group_ids)


async def test_a_watcher_behind_what_was_removed_is_told(morning: Morning) -> None:
    await gone_for(morning, 10_001, 10_002)
    await morning.full_group(10_003)
    for after in (1, 5):
        with pytest.raises(CuptimeError) as refusal:
            await collect(morning.feed, after, 9)
        assert refusal.value.reason is Reason.DECISIONS_REMOVED
        assert refusal.value.metadata == {
            "after_sequence": str(after), "removed_sequence": "6", "field": "after_sequence",
        }  # fmt: skip
    # Who was told all that is gone misses nothing; who begins is told what there is.
    assert await collect(morning.feed, 6, 9) == [7, 8, 9]
    assert await collect(morning.feed, 0, 9) == [7, 8, 9]
    assert await collect(morning.feed, 7, 9, 3) == [8, 9]


async def test_watchers_that_are_there_hear_of_no_removal(morning: Morning) -> None:
    watching = [asyncio.ensure_future(collect(morning.feed, after, 9)) for after in (0, -1)]
    await gone_for(morning, 10_001, 10_002)
    late = [asyncio.ensure_future(collect(morning.feed, after, 9)) for after in (0, -1, 6)]
    for _ in range(9):
        await asyncio.sleep(0)
    await morning.full_group(10_003)
    assert await asyncio.wait_for(asyncio.gather(*watching), 5) == [list(range(1, 10))] * 2
    # What was published a short while ago is still in the ring.
    assert await asyncio.wait_for(asyncio.gather(*late), 5) == [list(range(1, 10)), [7, 8, 9], [7, 8, 9]]


# --- whatever happens ---------------------------------------------------------------------------------------------
KEPT_STEPS = st.one_of(
    STEPS,
    st.tuples(st.just("days"), st.integers(1, 2), st.just(0)),
    st.tuples(st.just("days"), st.integers(1, 2), st.just(0)),
    st.tuples(st.just("sweep"), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.just("sweep"), st.integers(0, 4), st.integers(0, 1)),
    st.tuples(st.just("again"), st.integers(0, 50), st.just(0)),
)


class LongChaos(Chaos):
    """Random weeks: what is taken out is looked at row by row, in another way than storage does."""

    def __init__(self, morning: Morning) -> None:
        super().__init__(morning)
        self.removed: set[str] = set()
        """Request ids of orders that are gone."""

    async def days(self, count: int, _: int) -> None:
        await pass_days(self.morning, count)

    async def again(self, which: int, _: int) -> None:
        """An old request once more: the first answer, or none; never a second order."""
        known = sorted(self.answers)
        if not known:
            return
        request_id = known[which % len(known)]
        answers = await asyncio.gather(self.morning.submit_raw(self.sent[request_id]), return_exceptions=True)
        (answer,) = answers
        if not isinstance(answer, BaseException) and answer[0] == 0:
            assert answer[1] == self.answers[request_id]

    async def sweep(self, commits: int, killed: int) -> None:
        """Whole, or killed after some commits and the server started again."""
        morning = self.morning
        morning.storage.failures, morning.storage.kept_failures = [], []
        await morning.settle()
        before = await self._looked_at()
        if killed:
            left = commits

            def matching(writes: Sequence[Write]) -> bool:
                nonlocal left
                if isinstance(writes[0], ForgetGroups | ForgetTasks):
                    left -= 1
                return left < 0

            morning.storage.matching, morning.storage.failures = matching, [Reason.STORAGE_UNAVAILABLE]
        now_ms = morning.clock.now_ms()
        try:
            await sweep(morning, groups_days=1)
        except CuptimeError:
            await morning.reboot()
        morning.storage.failures = []
        await self._check_removed(before, now_ms - DAY_MS)

    async def _looked_at(self) -> dict[str, Any]:
        storage = self.morning.storage
        groups = await storage.groups(before_seq=2**62, limit=10_000)
        tasks = await storage.tasks(TaskFilter(), after=0, limit=10_000)
        return {
            "groups": {group.group_seq: group for group in groups},
            "orders": {
                row.order_id: row
                for group in groups
                for row in await storage.orders_of(group.group_seq, after=0, limit=10_000)
            },
            "decisions": {row.sequence: row for row in await self.morning.all_decisions()},
            "live": {
                row.order_id
                for row in await storage.standing_assignments(after=0, limit=10_000, live_only=True)
            },
            "person": {row.order_id for row in await storage.interventions(after=0, limit=10_000)},
            "tasks": {task.task_id: task for task in tasks},
        }

    async def _check_removed(self, before: dict[str, Any], before_ms: int) -> None:
        after = await self._looked_at()
        waiting = {task_id for task_id, *_ in await self.morning.storage.waiting_tasks(after=0, limit=10_000)}
        retried = {
            order_id
            for task in after["tasks"].values()
            if task.queue == DISPATCH_RETRY_QUEUE and task.task_id in waiting
            for order_id in read_payload(task.payload)[1]
        }
        latest = {row.order_id: row for row in before["decisions"].values()}
        for order_id in before["orders"].keys() - after["orders"].keys():
            order = before["orders"][order_id]
            self.removed.add(order.request_id)
            assert order_id not in before["live"] | before["person"] | retried
            assert order.created_ms < before_ms
            assert before["groups"][group_seq_of(order_id)].state in (GroupState.FAILED, GroupState.DECIDED)
            if order.state is OrderState.ADMITTED:
                assert latest[order_id].outcome is Outcome.ASSIGNED
        for sequence in before["decisions"].keys() - after["decisions"].keys():
            row = before["decisions"][sequence]
            assert row.decided_ms < before_ms
            assert row.order_id not in after["orders"]
        for task_id in before["tasks"].keys() - after["tasks"].keys():
            assert before["tasks"][task_id].state > 3
            assert before["tasks"][task_id].updated_ms < before_ms
        assert before["live"] <= after["live"] | before["orders"].keys() - after["orders"].keys()

    async def audit(self) -> None:
        await self.morning.audit()
        rows = await self._looked_at()
        known = [row.request_id for row in rows["orders"].values()]
        assert len(known) == len(set(known)), "a request made two orders"
        assert set(self.answers) <= set(known) | self.removed, "an acknowledged order is not stored"
        assert not self.removed & set(known)
        numbers = [row.sequence for row in await self.morning.all_decisions()]
        assert numbers == sorted(set(numbers))

    async def nothing_old_is_left(self) -> None:
        """Days after the last that happened, everything is gone but what waits for a person."""
        morning = self.morning
        await self.look(0, 0)
        # What storage kept of a trigger and reported as failed is found at the next start.
        await self.restart(0, 0)
        for _ in range(3):
            await pass_days(morning, 2)
        await self.sweep(0, 0)
        rows = await self._looked_at()
        held = {group_seq_of(order_id) for order_id in rows["person"]}
        assert rows["groups"].keys() == held
        assert {group_seq_of(order_id) for order_id in rows["orders"]} <= held
        waiting = {task_id for task_id, *_ in await morning.storage.waiting_tasks(after=0, limit=10_000)}
        # Retries that a full queue of people put off end while nobody looks.
        recent_ms = morning.clock.now_ms() - DAY_MS - 3_600_000
        assert all(t in waiting or task.updated_ms >= recent_ms for t, task in rows["tasks"].items())


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(KEPT_STEPS, min_size=10, max_size=60))
def test_nothing_that_counts_is_taken_out_whatever_happens(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        morning = Morning()
        await morning.boot()
        stock = ((COFFEE, 40), (COLD_BREW, 40))
        await morning.shops.upsert([shop(n, daily_capacity=5, fridge_slots=2, stock=stock) for n in (1, 2)])
        await morning.riders.upsert([rider(n, max_load=3) for n in (1, 2, 3)])
        chaos = LongChaos(morning)
        for kind, first, second in steps:
            await chaos.step(kind, first, second)
        await chaos.look(0, 0)
        await chaos.nothing_old_is_left()
        await chaos.audit()
        await morning.reboot()
        await chaos.audit()
        await morning.kill()

    with pytest.MonkeyPatch.context() as patched:
        # So that a sweep takes many commits.
        patched.setattr(memory_retention, "FORGET_ORDERS_MAX", 9)
        patched.setattr("cuptime.groups.retention.GROUPS_AT_ONCE", 2)
        patched.setattr("cuptime.groups.retention.PAGE", 3)
        patched.setattr("cuptime.groups.retention.FORGET_TASKS_MAX", 3)
        asyncio.run(run())
