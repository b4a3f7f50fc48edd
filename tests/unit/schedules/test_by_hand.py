"""Trigger now and backfill: exactly what was asked, once, and nothing of the schedule's own lost."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import SchedulePolicy, TaskState
from cuptime.domain.writes import ForgetTasks
from cuptime.schedules.answers import Backfill
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, after, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

MINUTE = 60_000


def told(answer: bytes) -> Backfill:
    found = pickle.loads(answer)  # noqa: S301  # made by the rig
    assert isinstance(found, Backfill)
    return found


def offsets(rig: ScheduleRig) -> list[int]:
    return sorted(fired.nominal_ms - START_MS for fired in rig.fired)


async def test_trigger_now_is_one_more_firing(rig: ScheduleRig) -> None:
    await rig.register("s", every(MINUTE))
    await rig.pass_ms(1_234)
    hand = rig.registry.raw.by_hand
    first = await hand.trigger("s", request_id="t")
    assert await hand.trigger("s", request_id="t") == first
    await rig.pass_ms(2 * MINUTE)
    assert offsets(rig) == [1_234, MINUTE, 2 * MINUTE]
    assert (await rig.registry.get("s")).generation == 1
    assert len({fired.number for fired in rig.fired}) == 3


async def test_many_at_once_and_at_the_very_instant_of_a_firing_are_all_there(rig: ScheduleRig) -> None:
    await rig.register("s", every(MINUTE))
    rig.clock.advance(MINUTE)
    await asyncio.gather(*(rig.registry.raw.by_hand.trigger("s") for _ in range(20)))
    await rig.pass_ms(0)
    assert len(offsets(rig)) == len(set(offsets(rig))) == 21
    assert all(MINUTE - 21 < offset <= MINUTE for offset in offsets(rig))


async def test_a_paused_one_can_be_triggered_a_finished_one_not(rig: ScheduleRig) -> None:
    await rig.register("s", every(MINUTE))
    await rig.registry.pause("s")
    await rig.registry.raw.by_hand.trigger("s")
    await rig.pass_ms(5 * MINUTE)
    assert offsets(rig) == [0]
    await rig.register("once", after(5))
    await rig.pass_ms(10)
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.raw.by_hand.trigger("once")
    assert refused.value.reason is Reason.STATE_CONFLICT
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.raw.by_hand.trigger("absent")
    assert refused.value.reason is Reason.SCHEDULE_NOT_FOUND


async def test_by_hand_does_not_count_towards_the_runs_and_survives_a_crash(rig: ScheduleRig) -> None:
    new = NewSchedule("s", every(MINUTE), b"tea", policy=SchedulePolicy(max_runs=2))
    await rig.registry.register(new)
    await rig.registry.raw.by_hand.trigger("s")
    await crash(rig)
    await rig.start()
    await rig.pass_ms(10 * MINUTE)
    assert offsets(rig) == [0, MINUTE, 2 * MINUTE]


async def test_a_backfill_tells_its_cost_and_then_fires_what_is_missing_once(rig: ScheduleRig) -> None:
    await rig.register("s", every(MINUTE, start_ms=START_MS - 100 * MINUTE))
    await rig.pass_ms(2 * MINUTE)
    assert offsets(rig) == [MINUTE, 2 * MINUTE]
    asked = ("s", START_MS - 5 * MINUTE, START_MS + 2 * MINUTE)
    hand = rig.registry.raw.by_hand
    cost = told(await hand.backfill(*asked, validate_only=True))
    assert cost == Backfill(6, 1, START_MS - 5 * MINUTE, START_MS)
    await rig.pass_ms(0)
    assert len(rig.fired) == 2
    assert told(await hand.backfill(*asked, request_id="b")) == cost
    assert told(await hand.backfill(*asked, request_id="b")) == cost
    assert told(await hand.backfill(*asked)) == Backfill(0, 7, 0, 0)
    await rig.pass_ms(MINUTE)
    assert offsets(rig) == [MINUTE * minute for minute in range(-5, 4)]
    assert all(fired.at_ms >= fired.nominal_ms for fired in rig.fired)


async def test_a_time_whose_firings_retention_removed_is_not_backfilled(rig: ScheduleRig) -> None:
    """Nobody knows any more which firings there were, and none must fire twice."""
    schedule = await rig.register("s", every(MINUTE, start_ms=START_MS - 100 * MINUTE))
    await rig.pass_ms(2 * MINUTE)
    where = TaskFilter(schedule_seq=schedule.schedule_seq, state=TaskState.EXECUTED)
    fired = await rig.storage.tasks(where, after=0, limit=9)
    gone = [task.task_id for task in fired if task.nominal_ms <= START_MS + MINUTE]
    committed = await rig.storage.commit(rig.fence, [ForgetTasks(gone, rig.clock.now_ms() + 1)])
    assert committed.results == ((1,),)
    hand = rig.registry.raw.by_hand
    for start_ms in (START_MS - 5 * MINUTE, START_MS + MINUTE):
        with pytest.raises(CuptimeError) as refused:
            await hand.backfill("s", start_ms, START_MS + 2 * MINUTE)
        assert refused.value.reason is Reason.FIELD_INVALID
        assert refused.value.metadata["field"] == "start_time_ms"
        assert f"after {START_MS + MINUTE}" in str(refused.value)
    await rig.pass_ms(1)
    known = told(await hand.backfill("s", START_MS + MINUTE + 1, START_MS + 2 * MINUTE + 1))
    assert (known.firings, known.existing) == (0, 1)
    # A change of the timing begins a generation that has made none of them.
    await rig.registry.update("s", ScheduleChange(timing=every(2 * MINUTE, start_ms=START_MS - 100 * MINUTE)))
    assert told(await hand.backfill("s", START_MS - 5 * MINUTE, START_MS + MINUTE)).firings > 0


async def test_an_unregistered_backfill_never_fires(rig: ScheduleRig) -> None:
    await rig.register("s", every(MINUTE, start_ms=START_MS - 10 * MINUTE))
    await rig.registry.raw.by_hand.backfill("s", START_MS - 5 * MINUTE, START_MS)
    await rig.registry.unregister("s")
    await rig.pass_ms(MINUTE)
    assert rig.fired == []


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "reason", "field"),
    [
        (0, START_MS, Reason.FIELD_INVALID, "start_time_ms"),
        (START_MS, START_MS, Reason.FIELD_CONTRADICTION, "end_time_ms"),
        (START_MS, START_MS + 1, Reason.FIELD_INVALID, "end_time_ms"),
        (START_MS - 1_001 * MINUTE, START_MS, Reason.LIMIT_REACHED, "end_time_ms"),
    ],
)
async def test_what_cannot_be_backfilled(
    rig: ScheduleRig, start_ms: int, end_ms: int, reason: Reason, field: str
) -> None:
    await rig.register("s", every(MINUTE, start_ms=START_MS - 2_000 * MINUTE))
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.raw.by_hand.backfill("s", start_ms, end_ms)
    assert (refused.value.reason, refused.value.field) == (reason, field)


# --- clocks that are set, and everything at once ------------------------------------------------------------------
HOUR = 60 * MINUTE
EXPECTED = (Reason.SCHEDULE_EXISTS, Reason.SCHEDULE_NOT_FOUND, Reason.STATE_CONFLICT)


@pytest.mark.parametrize("step_ms", [HOUR, -HOUR])
@pytest.mark.parametrize("crashes", [False, True])
async def test_a_clock_set_by_an_hour_loses_doubles_and_hurries_nothing(
    rig: ScheduleRig, step_ms: int, crashes: bool
) -> None:
    """Forward: what was planned fires at once, and what lies between is caught up over the whole hour. Back: nothing
    comes twice, and nothing before the clock says so."""
    policy = SchedulePolicy(catch_up_window_ms=3 * HOUR)
    await rig.registry.register(NewSchedule("s", every(MINUTE), b"tea", policy=policy))
    await rig.pass_ms(7 * MINUTE)
    rig.clock.step(step_ms)
    if crashes:
        await crash(rig)
        await rig.start()
    end_ms = START_MS + 2 * HOUR + 30_000
    while rig.clock.now_ms() < end_ms:
        await rig.pass_ms(min(10 * MINUTE, end_ms - rig.clock.now_ms()))
    await rig.pass_ms(0)
    assert offsets(rig) == [MINUTE * minute for minute in range(1, 121)]
    assert all(fired.at_ms >= fired.nominal_ms for fired in rig.fired)


async def test_64_callers_change_one_another_while_time_passes(rig: ScheduleRig) -> None:
    """Each caller has the truth about its own schedule and disturbs that of all; every firing belongs to a generation
    that was live at its nominal time, none comes twice, none early, and none of the quiet ones is missing."""
    quiet = [f"quiet{n}" for n in range(8)]
    for name in quiet:
        await rig.register(name, every(1_000))
    live: dict[int, list[tuple[int, int]]] = {}

    async def caller(which: int) -> None:
        seed = which * 7_919 + 17
        for turn in range(12):
            seed = (seed * 1_103_515_245 + 12_345) % (1 << 31)
            name = f"shared{seed % 5}"
            step = ("register", "timing", "note", "pause", "resume", "trigger", "unregister")[seed // 5 % 7]
            for _ in range(seed % 4):
                await asyncio.sleep(0)
            try:
                await act(rig, live, name, step, turn)
            except CuptimeError as refusal:
                if refusal.reason not in EXPECTED:
                    raise

    async def time_passes() -> None:
        for _ in range(40):
            await rig.pass_ms(250)

    await asyncio.gather(time_passes(), *(caller(which) for which in range(64)))
    await rig.pass_ms(1_000)
    check(rig, live)
    elapsed_ms = rig.clock.now_ms() - START_MS
    for name in quiet:
        schedule = await rig.registry.get(name)
        times = [fired.nominal_ms for fired in rig.fired if fired.schedule_seq == schedule.schedule_seq]
        assert sorted(times) == [START_MS + 1_000 * k for k in range(1, elapsed_ms // 1_000 + 1)]


def check(rig: ScheduleRig, live: dict[int, list[tuple[int, int]]]) -> None:
    """Of every schedule: none twice, none early, none after the end of its generation."""
    named = [(fired.schedule_seq, fired.nominal_ms) for fired in rig.fired]
    assert len(named) == len(set(named))
    assert all(fired.at_ms >= fired.nominal_ms for fired in rig.fired)
    for fired in rig.fired:
        generations = dict(live.get(fired.schedule_seq, [(1, 0)]))
        later = [at_ms for generation, at_ms in generations.items() if generation > fired.generation]
        assert not later or fired.at_ms <= min(later), "an old generation fired after its end"


async def act(
    rig: ScheduleRig, live: dict[int, list[tuple[int, int]]], name: str, step: str, turn: int
) -> None:
    registry: Any = rig.registry
    if step == "register":
        made = await rig.register(name, every(500 + 250 * (turn % 3)))
    elif step == "timing":
        made = await registry.update(name, ScheduleChange(timing=every(400 + 300 * (turn % 3))))
    elif step == "note":
        made = await registry.update(name, ScheduleChange(note=str(turn)))
    elif step == "trigger":
        await registry.raw.by_hand.trigger(name)
        return
    else:
        made = await getattr(registry, step)(name)
    live.setdefault(made.schedule_seq, []).append((made.generation, made.updated_ms))
