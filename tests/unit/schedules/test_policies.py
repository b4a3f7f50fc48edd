"""How a schedule fires beside when: runs, jitter, catch-up; over outages, changes and restarts."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import CatchUp, Schedule, SchedulePolicy, ScheduleState, Timing
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, at, cron, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

MINUTE = 60_000


async def register(rig: ScheduleRig, timing: Timing, policy: SchedulePolicy) -> Schedule:
    return await rig.registry.register(NewSchedule("s", timing, b"tea", policy=policy))


def minutes(rig: ScheduleRig) -> list[int]:
    return sorted((fired.nominal_ms - START_MS) // MINUTE for fired in rig.fired)


# --- runs ---------------------------------------------------------------------------------------------------------
async def test_after_its_last_run_a_schedule_is_finished(rig: ScheduleRig) -> None:
    await register(rig, every(MINUTE), SchedulePolicy(max_runs=7))
    await rig.pass_ms(20 * MINUTE)
    assert minutes(rig) == [1, 2, 3, 4, 5, 6, 7]
    schedule = await rig.registry.get("s")
    assert (schedule.state, schedule.run_count) == (ScheduleState.FINISHED, 7)


@pytest.mark.parametrize("end", ["pause", "update", "crash"])
async def test_runs_that_a_change_cancelled_do_not_count(rig: ScheduleRig, end: str) -> None:
    await register(rig, every(MINUTE), SchedulePolicy(max_runs=7))
    await rig.pass_ms(2 * MINUTE)
    if end == "pause":
        await rig.registry.pause("s")
        await rig.registry.resume("s")
    elif end == "update":
        await rig.registry.update("s", ScheduleChange(note="x"))
        await rig.registry.update("s", ScheduleChange(target=b"coffee"))
    else:
        await crash(rig)
        await rig.start()
    await rig.pass_ms(20 * MINUTE)
    assert minutes(rig) == [1, 2, 3, 4, 5, 6, 7]


async def test_runs_before_a_limit_was_set_count_only_if_they_were(rig: ScheduleRig) -> None:
    """A pause cancelled the window of a schedule that had no limit yet: those runs never were."""
    await register(rig, every(MINUTE), SchedulePolicy())
    await rig.pass_ms(2 * MINUTE)
    paused = await rig.registry.pause("s")
    assert paused.run_count == 2
    await rig.registry.resume("s")
    await rig.registry.update("s", ScheduleChange(policy=SchedulePolicy(max_runs=7)))
    await rig.pass_ms(20 * MINUTE)
    assert minutes(rig) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_new_timing_counts_its_runs_anew(rig: ScheduleRig) -> None:
    await register(rig, every(MINUTE), SchedulePolicy(max_runs=2))
    await rig.pass_ms(5 * MINUTE)
    await rig.registry.update("s", ScheduleChange(timing=every(2 * MINUTE)))
    await rig.pass_ms(20 * MINUTE)
    assert minutes(rig) == [1, 2, 7, 9]


# --- jitter -------------------------------------------------------------------------------------------------------
async def test_jitter_is_the_same_for_the_same_nominal_time_and_ends_before_the_next(
    rig: ScheduleRig,
) -> None:
    await register(rig, every(1_000), SchedulePolicy(jitter_ms=600_000))
    await rig.pass_ms(10_500)
    await crash(rig)
    await rig.start()
    await rig.registry.update("s", ScheduleChange(note="planned anew"))
    await rig.pass_ms(50_000)
    late = {fired.nominal_ms: fired.at_ms - fired.nominal_ms for fired in rig.fired}
    assert sorted(late) == [START_MS + 1_000 * k for k in range(1, len(rig.fired) + 1)]
    assert all(0 <= one < 1_000 for one in late.values())
    assert len(set(late.values())) > 20
    first = {fired.nominal_ms: fired.at_ms for fired in rig.fired}
    rig.fired.clear()
    other = ScheduleRig()
    await other.start()
    await register(other, every(1_000), SchedulePolicy(jitter_ms=600_000))
    await other.pass_ms(60_500)
    again = {fired.nominal_ms: fired.at_ms for fired in other.fired}
    assert all(again[nominal_ms] == at_ms for nominal_ms, at_ms in first.items())


# --- catch-up -----------------------------------------------------------------------------------------------------
PLANNED = [2, 3, 4, 5]
"""The window of the pass at minute 1: planned before the outage, due in it."""


@pytest.mark.parametrize(
    ("policy", "caught_up", "missed"),
    [
        (SchedulePolicy(), [*PLANNED, *range(56, 62)], None),
        (SchedulePolicy(catch_up_window_ms=20 * MINUTE), [*PLANNED, *range(41, 62)], None),
        (SchedulePolicy(catch_up=CatchUp.LATEST), [60, 61], 58),
        (SchedulePolicy(catch_up=CatchUp.BOUNDED, catch_up_limit=3), [58, 59, 60, 61], 56),
        (
            SchedulePolicy(catch_up=CatchUp.BOUNDED, catch_up_limit=900, catch_up_window_ms=4 * MINUTE),
            [57, 58, 59, 60, 61],
            55,
        ),
        (SchedulePolicy(catch_up=CatchUp.NONE), [61], 59),
    ],
)
@pytest.mark.parametrize("outage", [True, False])
async def test_what_an_outage_of_an_hour_missed_or_a_clock_set_by_one(
    rig: ScheduleRig, policy: SchedulePolicy, caught_up: list[int], missed: int | None, outage: bool
) -> None:
    await register(rig, cron("* * * * *"), policy)
    offset_ms = MINUTE - START_MS % MINUTE if START_MS % MINUTE else 0
    await rig.pass_ms(offset_ms + MINUTE)
    before = minutes(rig)
    rig.fired.clear()
    if outage:
        await crash(rig)
        rig.clock.advance(60 * MINUTE)
        await rig.start()
    else:
        rig.clock.step(60 * MINUTE)
    await rig.pass_ms(0)
    assert [minute for minute in minutes(rig) if minute not in before] == caught_up
    if missed is not None:
        assert (await rig.registry.get("s")).missed_count == missed
    await rig.pass_ms(MINUTE)
    assert minutes(rig)[-1] == 62


@pytest.mark.parametrize("policy", [CatchUp.NONE, CatchUp.LATEST])
async def test_a_short_step_of_the_clock_misses_what_it_passed(rig: ScheduleRig, policy: CatchUp) -> None:
    """Nothing is planned anew for it: the firings of the next minutes were there."""
    await register(rig, every(10_000), SchedulePolicy(catch_up=policy))
    await rig.pass_ms(15_000)
    rig.clock.step(30_000)
    await rig.pass_ms(30_000)
    at = [(fired.nominal_ms - START_MS) // 1_000 for fired in rig.fired]
    assert at == [10, 50, 60, 70] if policy is CatchUp.NONE else [10, 40, 50, 60, 70]
    assert (await rig.registry.get("s")).missed_count == (3 if policy is CatchUp.NONE else 2)


async def test_a_step_of_the_clock_that_storage_could_not_serve_is_judged_a_second_later(
    rig: ScheduleRig,
) -> None:
    await register(rig, every(10_000), SchedulePolicy(catch_up=CatchUp.NONE))
    await rig.register("beside", every(10_000), b"coffee")
    await rig.pass_ms(15_000)
    rig.fired.clear()
    rig.clock.step(30_000)
    rig.storage.failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    await rig.pass_ms(0)
    assert rig.fired == [], "nothing that the clock passed fires before it is decided"
    await rig.pass_ms(1_500)
    assert [(fired.target, (fired.nominal_ms - START_MS) // 1_000) for fired in rig.fired] == [
        ("coffee", 20),
        ("coffee", 30),
        ("coffee", 40),
    ]


async def test_what_was_late_before_the_clock_was_set_is_not_missed(rig: ScheduleRig) -> None:
    """It waited for storage, not for the clock."""
    await register(rig, every(10_000), SchedulePolicy(catch_up=CatchUp.NONE))
    await rig.pass_ms(9_000)
    rig.clock.advance(3_000)
    rig.clock.step(5_000)
    await rig.pass_ms(0)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [10_000]


@pytest.mark.parametrize(
    ("catch_up", "fires"), [(CatchUp.ALL, True), (CatchUp.LATEST, True), (CatchUp.NONE, False)]
)
async def test_a_one_shot_that_was_missed(rig: ScheduleRig, catch_up: CatchUp, fires: bool) -> None:
    await register(rig, at(START_MS + 2 * MINUTE), SchedulePolicy(catch_up=catch_up))
    await crash(rig)
    rig.clock.advance(4 * MINUTE)
    await rig.start()
    await rig.pass_ms(5 * MINUTE)
    assert len(rig.fired) == fires
    schedule = await rig.registry.get("s")
    assert (schedule.state, schedule.missed_count) == (ScheduleState.FINISHED, int(not fires))


# --- what is refused ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("policy", "reason", "field"),
    [
        (SchedulePolicy(max_runs=-1), Reason.FIELD_INVALID, "max_runs"),
        (SchedulePolicy(jitter_ms=86_400_001), Reason.FIELD_INVALID, "jitter_ms"),
        (SchedulePolicy(catch_up_window_ms=-1), Reason.FIELD_INVALID, "catch_up_window_ms"),
        (SchedulePolicy(catch_up_limit=1), Reason.FIELD_CONTRADICTION, "catch_up_limit"),
        (SchedulePolicy(catch_up=CatchUp.BOUNDED), Reason.FIELD_REQUIRED, "catch_up_limit"),
    ],
)
async def test_bad_policies(rig: ScheduleRig, policy: SchedulePolicy, reason: Reason, field: str) -> None:
    for make in (
        lambda: register(rig, every(1_000), policy),
        lambda: rig.registry.update("s", ScheduleChange(policy=policy)),
    ):
        with pytest.raises(CuptimeError) as refused:
            await make()
        assert (refused.value.reason, refused.value.field) == (reason, f"schedule.policy.{field}")


async def test_a_policy_and_labels_survive_a_restart_and_change(rig: ScheduleRig) -> None:
    policy = SchedulePolicy(3, 40, CatchUp.BOUNDED, 5_000, 6)
    labels = (("park", "minhang"),)
    new = NewSchedule("s", every(MINUTE), b"tea", policy=policy, labels=labels)
    first = await rig.registry.register(new)
    await crash(rig)
    await rig.start()
    assert replace(await rig.registry.get("s"), next_ms=0) == replace(first, next_ms=0)
    assert [one.schedule_id for one in await rig.registry.schedules(after=0, limit=9, label=labels[0])] == [
        "s"
    ]
    changed = await rig.registry.update("s", ScheduleChange(policy=SchedulePolicy(), labels=()))
    assert (changed.policy, changed.labels) == (SchedulePolicy(), ())
