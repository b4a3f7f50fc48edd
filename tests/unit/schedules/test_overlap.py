"""Overlap policies: what becomes of a firing while an earlier one runs, over retries, changes, crashes and restarts."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

import pytest

from cuptime.domain.errors import Reason
from cuptime.domain.limits import BUFFERED_FIRINGS_MAX
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import CatchUp, Overlap, Schedule, SchedulePolicy, Task, TaskState
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from cuptime.tasks.workers import Lease
from tests.unit.schedules.desk_rig import ScheduleRig, every
from tests.unit.tasks.rig import START_MS, taken
from tests.unit.tasks.test_leases import crash

MINUTE = 60_000
SKIP, ONE, ALL, CANCEL, ALLOW = (
    Overlap.SKIP,
    Overlap.BUFFER_ONE,
    Overlap.BUFFER_ALL,
    Overlap.CANCEL_OTHER,
    Overlap.ALLOW_ALL,
)


async def register(rig: ScheduleRig, overlap: Overlap, **policy: int) -> Schedule:
    new = NewSchedule("s", every(MINUTE), b"to:sheets", policy=SchedulePolicy(overlap=overlap, **policy))
    return await rig.registry.register(new)


async def firings(rig: ScheduleRig) -> dict[int, Task]:
    """By the minute of their nominal time, those that were due so far."""
    where = TaskFilter(schedule_seq=1, due_until_ms=rig.clock.now_ms())
    rows = await rig.storage.tasks(where, after=0, limit=10_000)
    return {(task.nominal_ms - START_MS) // MINUTE: task for task in rows}


async def states(rig: ScheduleRig) -> dict[int, str]:
    """`TRIGGERED`, or with a reason `CANCELLED/OVERLAP_SKIPPED`."""
    found = await firings(rig)
    return {
        minute: task.state.name + (f"/{task.error_code}" if task.error_code else "")
        for minute, task in sorted(found.items())
    }


def minute_of(lease: Lease) -> int:
    return (lease.row.nominal_ms - START_MS) // MINUTE


async def counts(rig: ScheduleRig) -> tuple[int, int, int]:
    """In what the registry says, which must be what storage has."""
    shown = await rig.registry.get("s")
    stored = await rig.storage.schedule_by_seq(1)
    assert stored is not None
    told = (shown.skipped_count, shown.buffered_count, shown.cancelled_count)
    assert told == (stored.skipped_count, stored.buffered_count, stored.cancelled_count)
    return told


@pytest.mark.parametrize(
    ("overlap", "while_it_runs", "afterwards", "counted"),
    [
        (ALLOW, [1, 2, 3, 4], [], (0, 0, 0)),
        (SKIP, [1], [5], (3, 0, 0)),
        (ONE, [1], [2], (2, 1, 0)),
        (ALL, [1], [2], (0, 3, 0)),
        (CANCEL, [1, 2, 3, 4], [5], (0, 0, 3)),
    ],
)
async def test_each_policy(
    rig: ScheduleRig,
    overlap: Overlap,
    while_it_runs: list[int],
    afterwards: list[int],
    counted: tuple[int, int, int],
) -> None:
    await register(rig, overlap)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(4 * MINUTE)
    leases = await taken(worker)
    assert [minute_of(lease) for lease in leases] == while_it_runs
    assert await counts(rig) == counted
    assert rig.metrics.effects == {
        name: count
        for name, count in zip(("SKIPPED", "BUFFERED", "CANCELLED"), counted, strict=True)
        if count
    }
    if overlap is not ALLOW:
        assert rig.registry.raw.standing(await rig.registry.get("s")) == (1, counted[1])
    acked = await asyncio.gather(*(worker.complete(lease.token) for lease in leases[-1:]))
    assert [ack.state for ack in acked] == [TaskState.EXECUTED]
    await rig.pass_ms(0 if overlap in (ONE, ALL) else MINUTE)
    assert [minute_of(lease) for lease in await taken(worker)] == (afterwards or [5])


async def test_the_buffer_is_worked_off_in_order_and_lateness_is_seen(rig: ScheduleRig) -> None:
    await register(rig, ALL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(4 * MINUTE)
    order = []
    for _ in range(4):
        (lease,) = await taken(worker)
        order.append(minute_of(lease))
        await worker.complete(lease.token)
        await rig.pass_ms(0)
    assert order == [1, 2, 3, 4]
    assert await taken(worker) == []
    last = (await firings(rig))[4]
    assert (last.due_ms, last.buffered_ms, last.trigger_ms) == (START_MS + 4 * MINUTE,) * 3
    assert (await firings(rig))[2].buffered_ms == START_MS + 2 * MINUTE


async def test_a_retry_is_part_of_running(rig: ScheduleRig) -> None:
    """Between two attempts nobody has the task, and it runs all the same."""
    new = NewSchedule("s", every(400), b"to:sheets", policy=SchedulePolicy(overlap=SKIP))
    await rig.registry.register(new)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(400)
    (lease,) = await taken(worker)
    await worker.fail(lease.token, "NO_MILK", retriable=True)
    await rig.pass_ms(900)
    assert await taken(worker) == []
    assert (await counts(rig))[0] == 2
    await rig.pass_ms(200)
    (again,) = await taken(worker)
    assert (again.task_id, again.attempt) == (lease.task_id, 2)
    await worker.fail(again.token, "NO_MILK", retriable=True)
    await rig.pass_ms(400)
    assert [one.task_id != lease.task_id for one in await taken(worker)] == [True], "it failed for good"


async def test_cancelled_others_are_told_to_their_worker_and_their_report_changes_nothing(
    rig: ScheduleRig,
) -> None:
    await register(rig, CANCEL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(2 * MINUTE)
    first, second = await taken(worker)
    beat = await worker.heartbeat([first.token, second.token])
    assert (beat.cancelled, beat.lost) == ((first.token,), ())
    assert (await worker.complete(first.token)).state is None
    assert (await worker.complete(second.token)).state is TaskState.EXECUTED
    assert await states(rig) == {1: "CANCELLED/OVERLAP_CANCELLED", 2: "EXECUTED"}


async def test_many_at_once_under_cancel_other_leave_the_last(rig: ScheduleRig) -> None:
    await register(rig, CANCEL)
    worker = rig.worker("sheets", lease_ms=600_000)
    rig.clock.advance(4 * MINUTE)
    await rig.pass_ms(0)
    assert [minute_of(lease) for lease in await taken(worker)] == [4]
    assert await counts(rig) == (0, 0, 3)


@pytest.mark.parametrize("end", ["complete", "cancel", "fail", "close"])
@pytest.mark.parametrize("overlap", [SKIP, ALL])
async def test_however_the_running_one_ends_the_next_may_run(
    rig: ScheduleRig, end: str, overlap: Overlap
) -> None:
    new = NewSchedule("s", every(MINUTE), b"to:sheets", policy=SchedulePolicy(overlap=overlap))
    await rig.registry.register(new)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(2 * MINUTE)
    (lease,) = await taken(worker)
    if end == "complete":
        await worker.complete(lease.token)
    elif end == "fail":
        await worker.fail(lease.token, "NO_MILK")
    elif end == "cancel":
        await rig.line.cancel(lease.task_id)
    else:
        await worker.close()
        await rig.line.cancel(lease.task_id)
        worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE)
    following = await taken(worker)
    assert [minute_of(one) for one in following] == [2 if overlap is ALL else 3]


async def test_a_lease_that_expires_for_good_ends_the_running_one(rig: ScheduleRig) -> None:
    """Leased at minute 1, retried at 2:31, failed at 4:01."""
    await register(rig, ONE)
    worker = rig.worker("sheets", lease_ms=90_000)
    await rig.pass_ms(4 * MINUTE)
    first, again = await taken(worker)
    assert first.task_id == again.task_id
    assert (await states(rig))[2] == "SCHEDULED"
    await rig.pass_ms(1_100)
    assert (await states(rig))[1] == "FAILED/LEASE_EXPIRED"
    assert [minute_of(one) for one in await taken(worker)] == [2]


async def test_a_buffered_one_that_is_cancelled_does_not_run(rig: ScheduleRig) -> None:
    await register(rig, ALL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(3 * MINUTE)
    (first,) = await taken(worker)
    await rig.line.cancel((await firings(rig))[2].task_id)
    await worker.complete(first.token)
    await rig.pass_ms(0)
    assert [minute_of(lease) for lease in await taken(worker)] == [3]


async def test_the_buffer_is_bounded(rig: ScheduleRig) -> None:
    new = NewSchedule("s", every(10), b"to:sheets", policy=SchedulePolicy(overlap=ALL))
    await rig.registry.register(new)
    await rig.pass_ms(10 * (BUFFERED_FIRINGS_MAX + 4))
    assert await counts(rig) == (3, BUFFERED_FIRINGS_MAX, 0)


@pytest.mark.parametrize("catch_up", [CatchUp.ALL, CatchUp.NONE])
async def test_over_a_crash_what_ran_runs_and_what_waited_waits(rig: ScheduleRig, catch_up: CatchUp) -> None:
    """Neither is missed: one was triggered, the other was late for another's sake."""
    await register(rig, ONE, catch_up=catch_up)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(3 * MINUTE)
    (lease,) = await taken(worker)
    before = await counts(rig)
    assert before == (1, 1, 0)
    await crash(rig)
    await rig.start()
    await rig.pass_ms(500)
    assert await counts(rig) == before
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(0)
    assert await taken(worker) == [], "the lease of before stands"
    await worker.complete(lease.token)
    await rig.pass_ms(0)
    assert [minute_of(one) for one in await taken(worker)] == [2]


async def test_a_retry_that_waits_over_a_crash_still_runs(rig: ScheduleRig) -> None:
    new = NewSchedule("s", every(400), b"to:sheets", policy=SchedulePolicy(overlap=SKIP))
    await rig.registry.register(new)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(400)
    (lease,) = await taken(worker)
    await worker.fail(lease.token, "NO_MILK", retriable=True)
    await crash(rig)
    await rig.start()
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(900)
    assert await taken(worker) == []
    await rig.pass_ms(100)
    assert [one.task_id for one in await taken(worker)] == [lease.task_id]


@pytest.mark.parametrize("failure", ["failures", "kept_failures"])
async def test_a_commit_that_fails_leaves_nothing_claimed(rig: ScheduleRig, failure: str) -> None:
    await register(rig, ONE)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE - 1)
    setattr(rig.storage, failure, [Reason.STORAGE_UNAVAILABLE])
    await rig.pass_ms(2 * MINUTE + 1)
    leases = await taken(worker)
    if failure == "failures":
        assert [minute_of(lease) for lease in leases] == [1]
    assert [state.partition("/")[0] for state in (await states(rig)).values()] == [
        "TRIGGERED",
        "SCHEDULED",
        "CANCELLED",
    ]


# --- changes, by hand ---------------------------------------------------------------------------------------------
async def test_a_change_keeps_who_runs_and_who_waits(rig: ScheduleRig) -> None:
    await register(rig, ONE)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(2 * MINUTE + 5)
    (lease,) = await taken(worker)
    await rig.registry.update("s", ScheduleChange(note="x"))
    await rig.pass_ms(1_000)
    assert await counts(rig) == (0, 1, 0), "the same firing is not counted twice"
    assert await taken(worker) == []
    await worker.complete(lease.token)
    await rig.pass_ms(0)
    (second,) = await taken(worker)
    assert (minute_of(second), second.row.generation) == (2, 2)


async def test_a_new_policy_holds_at_once(rig: ScheduleRig) -> None:
    await register(rig, ALL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(2 * MINUTE)
    assert len(await taken(worker)) == 1
    await rig.registry.update("s", ScheduleChange(policy=SchedulePolicy()))
    await rig.pass_ms(MINUTE)
    assert sorted(minute_of(lease) for lease in await taken(worker)) == [2, 3]


async def test_a_pause_takes_what_waits_and_not_what_runs(rig: ScheduleRig) -> None:
    await register(rig, ALL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(3 * MINUTE)
    (lease,) = await taken(worker)
    await rig.registry.pause("s", "rain")
    assert rig.registry.raw.standing(await rig.registry.get("s")) == (1, 0)
    assert (await worker.complete(lease.token)).state is TaskState.EXECUTED
    await rig.pass_ms(5 * MINUTE)
    assert await taken(worker) == []


@pytest.mark.parametrize(
    ("own", "override", "runs_now", "counted"),
    [
        (SKIP, None, [], (1, 0, 0)),
        (SKIP, ALLOW, [True], (0, 0, 0)),
        (ALLOW, SKIP, [True], (0, 0, 0)),
        (SKIP, ALL, [], (0, 1, 0)),
        (SKIP, CANCEL, [True], (0, 0, 1)),
    ],
)
async def test_trigger_now_under_its_own_or_another_policy(
    rig: ScheduleRig,
    own: Overlap,
    override: Overlap | None,
    runs_now: list[bool],
    counted: tuple[int, int, int],
) -> None:
    await register(rig, own)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE)
    (first,) = await taken(worker)
    await rig.pass_ms(500)
    await rig.registry.raw.by_hand.trigger("s", overlap=override)
    await rig.pass_ms(0)
    assert [lease.task_id != first.task_id for lease in await taken(worker)] == runs_now
    assert await counts(rig) == counted


async def test_a_policy_of_its_own_outlives_a_change_of_the_schedule(rig: ScheduleRig) -> None:
    await register(rig, SKIP)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE)
    (first,) = await taken(worker)
    await rig.registry.raw.by_hand.trigger("s", overlap=ALL)
    await rig.pass_ms(0)
    await rig.registry.update("s", ScheduleChange(note="x"))
    await rig.pass_ms(0)
    assert await counts(rig) == (0, 1, 0)
    await worker.complete(first.token)
    await rig.pass_ms(0)
    assert len(await taken(worker)) == 1


async def test_a_backfill_one_after_the_other(rig: ScheduleRig) -> None:
    timing = every(MINUTE, start_ms=START_MS - 100 * MINUTE)
    await rig.registry.register(NewSchedule("s", timing, b"to:sheets", policy=SchedulePolicy(overlap=SKIP)))
    await rig.registry.raw.by_hand.backfill("s", START_MS - 5 * MINUTE, START_MS, overlap=ALL)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(0)
    order = []
    while leases := await taken(worker):
        assert len(leases) == 1
        order.append(minute_of(leases[0]))
        await worker.complete(leases[0].token)
        await rig.pass_ms(0)
    assert order == [-5, -4, -3, -2, -1]


async def test_a_retry_by_hand_is_not_skipped(rig: ScheduleRig) -> None:
    await register(rig, SKIP)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE)
    (first,) = await taken(worker)
    await worker.fail(first.token, "NO_MILK")
    await rig.pass_ms(MINUTE)
    (second,) = await taken(worker)
    await rig.line.retry(first.task_id)
    await rig.pass_ms(0)
    assert await taken(worker) == []
    await worker.complete(second.token)
    await rig.pass_ms(0)
    assert [lease.task_id for lease in await taken(worker)] == [first.task_id]


# --- against what must always hold --------------------------------------------------------------------------------
@dataclass
class Life:
    """Random ends, crashes and changes; between any two of them the policy's promise is looked at."""

    rig: ScheduleRig
    overlap: Overlap
    draw: random.Random
    leases: list[Lease] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)

    async def run(self, steps: int) -> None:
        self.worker = self.rig.worker("sheets", credit=1_000, lease_ms=600_000)
        for _ in range(steps):
            await self.step(self.draw.choice(["pass", "pass", "pass", "end", "end", "crash", "note", "hand"]))
            fresh = await taken(self.worker)
            self.seen += [lease.task_id for lease in fresh]
            self.leases += fresh
            await self.look()

    async def step(self, kind: str) -> None:
        rig = self.rig
        if kind == "pass":
            await rig.pass_ms(self.draw.choice([1, 500, 1_000, 7_000]))
        elif kind == "end" and self.leases:
            lease = self.leases.pop(self.draw.randrange(len(self.leases)))
            how = self.draw.randrange(4)
            if how == 0:
                await rig.line.cancel(lease.task_id) if await self.stands(lease) else None
            elif how == 1:
                await self.worker.fail(lease.token, "NO_MILK", retriable=True)
            else:
                await self.worker.complete(lease.token)
        elif kind == "crash":
            await crash(rig)
            await rig.start()
            self.worker = rig.worker("sheets", credit=1_000, lease_ms=600_000)
        elif kind == "note":
            await rig.registry.update("s", ScheduleChange(note="n"))
        elif kind == "hand":
            await rig.registry.raw.by_hand.trigger("s")
        await rig.pass_ms(0)

    async def stands(self, lease: Lease) -> bool:
        return await self.rig.state(lease.task_id) is TaskState.TRIGGERED

    async def look(self) -> None:
        rows = await self.rig.storage.tasks(TaskFilter(schedule_seq=1), after=0, limit=100_000)
        running = [
            task
            for task in rows
            if task.state is TaskState.TRIGGERED or (task.state is TaskState.SCHEDULED and task.retry_count)
        ]
        assert len(running) <= 1
        waiting = [
            task
            for task in rows
            if task.state is TaskState.SCHEDULED and task.buffered_ms and task not in running
        ]
        assert len(waiting) <= {ONE: 1, ALL: BUFFERED_FIRINGS_MAX}.get(self.overlap, 0)
        assert not waiting or running, "who waits, waits for somebody"
        await counts(self.rig)


@pytest.mark.parametrize("overlap", [SKIP, ONE, ALL, CANCEL])
@pytest.mark.parametrize("seed", range(6))
async def test_random_lives(rig: ScheduleRig, overlap: Overlap, seed: int) -> None:
    new = NewSchedule("s", every(1_000), b"to:sheets", policy=SchedulePolicy(overlap=overlap))
    await rig.registry.register(new)
    await Life(rig, overlap, random.Random(seed)).run(80)
