"""Windows that join without a gap or an overlap, over passes, restarts and outages."""

from __future__ import annotations

import asyncio

import pytest

from cuptime.domain.errors import Reason
from cuptime.domain.limits import PLAN_PERIOD_MS, TRIGGER_WINDOW_MS
from cuptime.domain.values import ScheduleState, TaskState, Timing
from cuptime.domain.writes import InsertTasks
from tests.unit.schedules.desk_rig import ScheduleRig, after, at, cron, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

EACH_SECOND = [cron("* * * * * *"), every(1_000)]


@pytest.mark.parametrize("timing", EACH_SECOND, ids=["cron", "every"])
async def test_a_schedule_of_each_second_has_300_firings_in_the_window(
    rig: ScheduleRig, timing: Timing
) -> None:
    schedule = await rig.register("tick", timing)
    nominal = [task.nominal_ms for task in await rig.waiting(schedule)]
    assert nominal == [START_MS + 1_000 * k for k in range(1, 301)]


@pytest.mark.parametrize("timing", EACH_SECOND, ids=["cron", "every"])
async def test_over_many_windows_none_is_lost_and_none_fires_twice(rig: ScheduleRig, timing: Timing) -> None:
    await rig.register("tick", timing)
    await rig.pass_ms(4 * TRIGGER_WINDOW_MS)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 1_000 * k for k in range(1, 1_201)]
    assert all(fired.at_ms == fired.nominal_ms for fired in rig.fired)
    assert [fired.number for fired in rig.fired] == list(range(1_200))
    assert rig.planner.passes == 1 + 4 * TRIGGER_WINDOW_MS // PLAN_PERIOD_MS


async def test_a_fast_schedule_goes_on_beyond_its_commit_and_starves_nobody(rig: ScheduleRig) -> None:
    fast = await rig.register("fast", every(10))
    slow = await rig.register("slow", every(60_000))
    await rig.line.pump()
    await rig.planner.settle()
    assert len(await rig.waiting(fast)) == 29_999
    assert len(await rig.waiting(slow)) == 5
    await rig.pass_ms(1_000)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 10 * k for k in range(1, 101)]


async def test_far_firings_wait_for_their_window(rig: ScheduleRig) -> None:
    schedule = await rig.register("far", every(3_600_000))
    assert await rig.waiting(schedule) == []
    await rig.pass_ms(3_600_000 - TRIGGER_WINDOW_MS - PLAN_PERIOD_MS)
    assert await rig.waiting(schedule) == []
    await rig.pass_ms(2 * PLAN_PERIOD_MS)
    assert [task.nominal_ms for task in await rig.waiting(schedule)] == [START_MS + 3_600_000]
    await rig.pass_ms(TRIGGER_WINDOW_MS)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 3_600_000]


async def test_one_shots_fire_once_and_finish(rig: ScheduleRig) -> None:
    await rig.register("at", at(START_MS + 400_000))
    await rig.register("after", after(5_000))
    assert (await rig.registry.get("after")).next_ms == START_MS + 5_000
    await rig.pass_ms(5_001)
    assert (await rig.registry.get("after")).state is ScheduleState.FINISHED
    assert (await rig.registry.get("at")).state is ScheduleState.ACTIVE
    await rig.pass_ms(800_000)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [5_000, 400_000]
    row = await rig.storage.schedule("at")
    assert row is not None
    assert (row.state, row.fire_count) == (ScheduleState.FINISHED, 1)


async def test_start_and_end_are_respected(rig: ScheduleRig) -> None:
    await rig.register("between", every(1_000, start_ms=START_MS + 10_500, end_ms=START_MS + 13_500))
    await rig.pass_ms(400_000)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [10_500, 11_500, 12_500, 13_500]
    assert (await rig.registry.get("between")).state is ScheduleState.FINISHED


async def test_after_an_outage_the_last_five_minutes_are_caught_up_and_the_rest_is_counted(
    rig: ScheduleRig,
) -> None:
    await rig.register("tick", every(60_000))
    await rig.pass_ms(60_000)
    await crash(rig)
    # Planned until minute 6; the outage ends at minute 61.
    rig.clock.advance(3_600_000)
    await rig.start()
    await rig.pass_ms(0)
    minutes = sorted((fired.nominal_ms - START_MS) // 60_000 for fired in rig.fired)
    planned_before, caught_up = [1, 2, 3, 4, 5], [56, 57, 58, 59, 60, 61]
    assert minutes == planned_before + caught_up
    assert rig.planner.skipped == 50
    await rig.pass_ms(60_000)
    assert (rig.fired[-1].nominal_ms - START_MS) // 60_000 == 62


async def test_a_one_shot_that_was_missed_fires_however_late(rig: ScheduleRig) -> None:
    await rig.register("once", at(START_MS + 600_000))
    await crash(rig)
    rig.clock.advance(3_600_000)
    await rig.start()
    await rig.pass_ms(0)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 600_000]


async def test_a_planner_killed_at_any_commit_loses_and_repeats_nothing(rig: ScheduleRig) -> None:
    await rig.register("tick", every(20_000))
    for _ in range(12):
        await rig.pass_ms(59_000)
        rig.clock.advance(1_000)
        rig.wheel.pump()
        await asyncio.sleep(0)
        await crash(rig)
        await rig.start()
    await rig.pass_ms(0)
    assert sorted(fired.nominal_ms for fired in rig.fired) == [START_MS + 20_000 * k for k in range(1, 37)]


async def test_a_planner_that_storage_refuses_goes_on_at_the_next_pass(rig: ScheduleRig) -> None:
    await rig.register("tick", every(10_000))
    await rig.pass_ms(59_000)
    rig.storage.failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    await rig.pass_ms(600_000)
    assert len(rig.fired) == 65


async def test_a_clock_set_back_fires_nothing_twice_and_nothing_early(rig: ScheduleRig) -> None:
    await rig.register("tick", every(1_000))
    await rig.pass_ms(10_000)
    rig.clock.step(-5_000)
    await rig.pass_ms(5_000)
    assert len(rig.fired) == 10
    await rig.pass_ms(3_000)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 1_000 * k for k in range(1, 14)]
    assert all(fired.at_ms >= fired.nominal_ms for fired in rig.fired)


async def test_a_clock_set_forward_fires_what_it_passed(rig: ScheduleRig) -> None:
    await rig.register("tick", every(1_000))
    await rig.pass_ms(10_000)
    rig.clock.step(100_000)
    await rig.pass_ms(0)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 1_000 * k for k in range(1, 111)]


async def test_a_repeated_plan_of_one_window_is_left_out_by_storage(rig: ScheduleRig) -> None:
    schedule = await rig.register("tick", every(1_000))
    rows = await rig.waiting(schedule)
    tasks = rig.planner._desk.tasks(schedule, [row.nominal_ms for row in rows], 0)
    await rig.storage.commit(rig.fence, [InsertTasks(tasks)])
    rig.line.armed(tasks)
    await rig.pass_ms(10_000)
    assert len(rig.fired) == 10
    assert {row.state for row in await rig.waiting(schedule)} == {TaskState.SCHEDULED}
