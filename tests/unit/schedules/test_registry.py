"""Register, update, pause, resume, unregister, preview: at once, once, and safe under concurrency."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import ScheduleState, TaskState, Timing
from cuptime.domain.writes import InsertTasks
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, after, at, cron, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash


async def test_registration_takes_effect_at_once(rig: ScheduleRig) -> None:
    schedule = await rig.register("soon", after(5))
    assert (schedule.state, schedule.generation, schedule.next_ms) == (ScheduleState.ACTIVE, 1, START_MS + 5)
    await rig.pass_ms(5)
    assert [fired.nominal_ms for fired in rig.fired] == [START_MS + 5]


async def test_a_changed_timing_takes_effect_at_once_and_old_firings_never_fire(rig: ScheduleRig) -> None:
    await rig.register("s", every(1_000), b"a")
    await rig.pass_ms(2_500)
    changed = await rig.registry.update("s", ScheduleChange(timing=every(700), target=b"b"))
    assert changed.generation == 2
    await rig.pass_ms(2_000)
    seen = [(fired.nominal_ms - START_MS, fired.target) for fired in rig.fired]
    assert seen == [(1_000, "a"), (2_000, "a"), (3_200, "b"), (3_900, "b")]


async def test_there_and_back_again_fires_each_instant_once(rig: ScheduleRig) -> None:
    """A -> B -> A inside the window: the first A's firings stay dead although the timing is the same."""
    first, second = cron("*/2 * * * * *"), cron("*/3 * * * * *")
    await rig.register("s", first)
    await rig.pass_ms(1_000)
    await rig.registry.update("s", ScheduleChange(timing=second))
    await rig.registry.update("s", ScheduleChange(timing=first))
    await rig.pass_ms(9_000)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [2_000, 4_000, 6_000, 8_000, 10_000]
    assert {fired.generation for fired in rig.fired} == {3}


@pytest.mark.parametrize("target", [b"tea", b"minute:sheets"])
async def test_a_change_is_in_the_planner_and_the_wheel_in_the_step_of_its_answer(
    rig: ScheduleRig, target: bytes
) -> None:
    """No time passes and no turn of the loop comes between: visible within a millisecond, by construction."""
    waits = rig.line.waits
    at_commit: list[int] = []
    rig.storage.before_commit = lambda _: at_commit.append(rig.line.waits)  # type: ignore[attr-defined]
    book = rig.planner._desk.book
    made = await rig.register("s", every(60_000), target)
    assert book.get("s") is not None
    # Five firings; in buckets, the buckets too.
    assert rig.line.waits == waits + (5 if target == b"tea" else 10)
    assert rig.wheel.next_event_ms() is not None
    changed = await rig.registry.update("s", ScheduleChange(timing=every(100_000)))
    held = book.get("s")
    assert held is not None
    assert (made.generation, held.generation, changed.generation) == (1, 2, 2)
    if target == b"tea":
        assert rig.line.waits == waits + 3, "the old generation's are gone"
    await rig.registry.unregister("s")
    assert book.get("s") is None
    if target == b"tea":
        assert rig.line.waits == waits
    assert rig.clock.now_ms() == START_MS
    assert at_commit[0] == waits, "and nothing is armed before it is durable"


async def test_a_change_is_seen_within_a_millisecond_of_its_commit(
    rig: ScheduleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In real time, beside 2,000 other schedules: from the end of the commit to the planner's book and the wheel."""
    for number in range(2_000):
        await rig.register(f"other-{number}", every(60_000))
    clock, committed_us, taken_us = time.perf_counter_ns, [0], []
    commit = rig.storage.commit

    async def stamped(*asked: Any, **more: Any) -> Any:
        done = await commit(*asked, **more)
        committed_us[0] = clock()
        return done

    monkeypatch.setattr(rig.storage, "commit", stamped)
    book = rig.planner._desk.book
    await rig.register("s", every(60_000))
    for number in range(300):
        waits = rig.line.waits
        changed = await rig.registry.update("s", ScheduleChange(timing=every(30_000 + 30_000 * (number % 2))))
        taken_us.append((clock() - committed_us[0]) // 1_000)
        held = book.get("s")
        assert held is not None
        assert held.generation == changed.generation == number + 2
        assert rig.line.waits - waits == (5 if number % 2 == 0 else -5), (
            "the old firings are gone, the new are there"
        )
    assert sorted(taken_us)[len(taken_us) // 2] < 1_000, sorted(taken_us)[-5:]


@pytest.mark.parametrize("crashes", [(), (1,), (2,), (3,), (1, 2, 3)])
async def test_there_and_back_again_over_crashes_fires_nothing_old(
    rig: ScheduleRig, crashes: tuple[int, ...]
) -> None:
    first, second = cron("*/2 * * * * *"), cron("*/3 * * * * *")
    await rig.register("s", first)
    await rig.pass_ms(2_500)
    for number, timing in enumerate((second, first), 1):
        if number in crashes:
            await crash(rig)
            await rig.start()
        await rig.registry.update("s", ScheduleChange(timing=timing))
    if 3 in crashes:
        await crash(rig)
        await rig.start()
    await rig.pass_ms(7_500)
    fired = [((one.nominal_ms - START_MS) // 1_000, one.generation) for one in rig.fired]
    assert fired == [(2, 1), (4, 3), (6, 3), (8, 3), (10, 3)]


async def test_unregister_register_again_under_the_same_id(rig: ScheduleRig) -> None:
    await rig.register("s", every(1_000), b"old")
    await rig.pass_ms(1_000)
    gone = await rig.registry.unregister("s")
    assert (gone.state, gone.next_ms) == (ScheduleState.UNREGISTERED, 0)
    await rig.pass_ms(2_000)
    await rig.register("s", every(1_000), b"new")
    await rig.pass_ms(1_000)
    assert [fired.target for fired in rig.fired] == ["old", "new"]
    assert rig.wheel.next_event_ms() is not None


async def test_pause_and_resume(rig: ScheduleRig) -> None:
    await rig.register("s", every(1_000))
    await rig.pass_ms(1_000)
    paused = await rig.registry.pause("s", "rain")
    assert (paused.state, paused.note, paused.generation) == (ScheduleState.PAUSED, "rain", 2)
    await rig.pass_ms(400_500)
    assert len(rig.fired) == 1
    resumed = await rig.registry.resume("s")
    assert (resumed.state, resumed.next_ms) == (ScheduleState.ACTIVE, START_MS + 402_000)
    assert (await rig.registry.resume("s")).generation == resumed.generation
    await rig.pass_ms(1_000)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [1_000, 402_000]


async def test_a_one_shot_whose_time_passed_while_paused_is_finished(rig: ScheduleRig) -> None:
    await rig.register("s", after(1_000))
    await rig.registry.pause("s")
    await rig.pass_ms(5_000)
    assert (await rig.registry.resume("s")).state is ScheduleState.FINISHED
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.pause("s")
    assert refused.value.reason is Reason.STATE_CONFLICT
    again = await rig.registry.update("s", ScheduleChange(timing=after(1_000)))
    assert (again.state, again.next_ms) == (ScheduleState.ACTIVE, rig.clock.now_ms() + 1_000)
    await rig.pass_ms(1_000)
    assert len(rig.fired) == 1


async def test_an_update_of_target_or_note_loses_and_repeats_no_firing(rig: ScheduleRig) -> None:
    """Even when it meets a firing that is due in this very millisecond."""
    await rig.register("s", every(100, end_ms=START_MS + 10_000), b"t0")
    for turn in range(1, 40):
        rig.clock.advance(100 if turn % 2 else 50)
        rig.wheel.pump()
        for _ in range(turn % 7):
            await asyncio.sleep(0)
        await rig.registry.update("s", ScheduleChange(target=f"t{turn}".encode(), note=str(turn)))
    await rig.pass_ms(500)
    nominal = [fired.nominal_ms for fired in rig.fired]
    end_ms = rig.clock.now_ms()
    assert sorted(nominal) == list(range(START_MS + 100, end_ms + 1, 100))


@pytest.mark.parametrize("turns", range(12))
async def test_a_caller_that_hangs_up_keeps_the_turn_until_its_commit(rig: ScheduleRig, turns: int) -> None:
    await rig.register("s", every(100), b"a")
    first = asyncio.ensure_future(rig.registry.update("s", ScheduleChange(target=b"b")))
    second = asyncio.ensure_future(rig.registry.update("s", ScheduleChange(note="second")))
    for _ in range(turns):
        await asyncio.sleep(0)
    first.cancel()
    changed = await second
    assert changed.note == "second"
    kept = (await rig.registry.get("s")).target
    assert (changed.generation, kept) in ((2, b"a"), (3, b"b"))
    await rig.pass_ms(300)
    assert {fired.generation for fired in rig.fired} == {changed.generation}


async def test_etags(rig: ScheduleRig) -> None:
    await rig.register("s", every(1_000))
    await rig.registry.update("s", ScheduleChange(note="x"), etag=1)
    for call in (
        rig.registry.update("s", ScheduleChange(note="y"), etag=1),
        rig.registry.unregister("s", etag=7),
    ):
        with pytest.raises(CuptimeError) as refused:
            await call
        assert refused.value.reason is Reason.ETAG_MISMATCH
    assert (await rig.registry.get("s")).note == "x"


async def test_repeats_get_the_first_answer(rig: ScheduleRig) -> None:
    new = NewSchedule("s", every(1_000), b"x")
    asked = await asyncio.gather(*(rig.registry.register(new, request_id="r") for _ in range(10)))
    assert all(answer == asked[0] for answer in asked)
    await rig.registry.unregister("s", request_id="u")
    assert (await rig.registry.unregister("s", request_id="u")).state is ScheduleState.UNREGISTERED
    assert await rig.registry.register(new, request_id="r") == asked[0], (
        "the first answer, not a new schedule"
    )
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.register(NewSchedule("s", every(2_000), b"x"), request_id="r")
    assert refused.value.reason is Reason.REQUEST_ID_REUSED


async def test_a_repeat_of_any_change_gets_the_first_bytes_after_a_restart(rig: ScheduleRig) -> None:
    def changes() -> list[Coroutine[Any, Any, bytes]]:
        raw = rig.registry.raw
        return [
            raw.register(NewSchedule("s", every(1_000), b"x"), request_id="1"),
            raw.update("s", ScheduleChange(note="n"), request_id="2"),
            raw.pause("s", "rain", request_id="3"),
            raw.resume("s", request_id="4"),
            raw.unregister("s", request_id="5"),
        ]

    first = [await change for change in changes()]
    assert [await change for change in changes()] == first
    await rig.pass_ms(5_000)
    await crash(rig)
    await rig.start()
    assert [await change for change in changes()] == first
    assert rig.fired == []


@pytest.mark.parametrize("change", ["register", "update"])
async def test_a_commit_that_was_kept_though_it_failed_is_in_effect_all_the_same(
    rig: ScheduleRig, change: str
) -> None:
    """Nobody repeats the call: the book doubts, storage says what is true, and its firings are armed."""
    if change == "update":
        await rig.register("s", every(7_000), b"old")
    rig.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    with pytest.raises(CuptimeError):
        if change == "register":
            await rig.register("s", every(1_000), b"new")
        else:
            await rig.registry.update("s", ScheduleChange(timing=every(1_000), target=b"new"))
    await rig.pass_ms(3_000)
    assert [(fired.nominal_ms - START_MS, fired.target) for fired in rig.fired] == [
        (1_000, "new"),
        (2_000, "new"),
        (3_000, "new"),
    ]
    assert (await rig.registry.unregister("s")).state is ScheduleState.UNREGISTERED


@pytest.mark.parametrize(
    ("new", "reason", "field"),
    [
        (NewSchedule("", every(1_000), b""), Reason.FIELD_REQUIRED, "schedule.schedule_id"),
        (NewSchedule("Bad", every(1_000), b""), Reason.FIELD_INVALID, "schedule.schedule_id"),
        (NewSchedule("a" * 64, every(1_000), b""), Reason.FIELD_INVALID, "schedule.schedule_id"),
        (NewSchedule("s", every(9), b""), Reason.FIELD_INVALID, "timing.every_ms"),
        (NewSchedule("s", after(0), b""), Reason.FIELD_INVALID, "timing.after_ms"),
        (NewSchedule("s", at(0), b""), Reason.FIELD_INVALID, "timing.at_time_ms"),
        (NewSchedule("s", at(START_MS), b""), Reason.SCHEDULE_TIME_PASSED, "timing.at_time_ms"),
        (NewSchedule("s", cron("0 0 30 2 *"), b""), Reason.CRON_NEVER_FIRES, "timing.cron"),
        (
            NewSchedule("s", every(1_000, end_ms=START_MS), b""),
            Reason.SCHEDULE_TIME_PASSED,
            "timing.end_time_ms",
        ),
        (NewSchedule("s", every(9_000, end_ms=START_MS + 1_000), b""), Reason.CRON_NEVER_FIRES, "timing"),
        (
            NewSchedule("s", every(1_000, start_ms=9, end_ms=8), b""),
            Reason.FIELD_CONTRADICTION,
            "timing.end_time_ms",
        ),
        (
            NewSchedule("s", cron("* * * * *", "Asia/Beijing"), b""),
            Reason.TIME_ZONE_UNKNOWN,
            "timing.time_zone",
        ),
        (NewSchedule("s", every(1_000), b"", "n" * 1_001), Reason.FIELD_INVALID, "schedule.note"),
        (NewSchedule("s", every(1_000), bytes(200_000)), Reason.FIELD_INVALID, "schedule.target"),
    ],
)
async def test_bad_registrations_name_the_field_and_keep_nothing(
    rig: ScheduleRig, new: NewSchedule, reason: Reason, field: str
) -> None:
    with pytest.raises(CuptimeError) as refused:
        await rig.registry.register(new, request_id="r")
    assert (refused.value.reason, refused.value.field) == (reason, field)
    counts = await rig.storage.counts()
    assert (counts["schedules"], counts["tasks"]) == (0, 0)


async def test_what_is_not_there_and_what_is(rig: ScheduleRig) -> None:
    for call in (
        rig.registry.get("s"),
        rig.registry.unregister("s"),
        rig.registry.pause("s"),
        rig.registry.resume("s"),
    ):
        with pytest.raises(CuptimeError) as refused:
            await call
        assert refused.value.reason is Reason.SCHEDULE_NOT_FOUND
    await rig.register("s", every(1_000))
    for validate_only in (False, True):
        with pytest.raises(CuptimeError) as refused:
            await rig.registry.register(NewSchedule("s", every(1_000), b""), validate_only=validate_only)
        assert refused.value.reason is Reason.SCHEDULE_EXISTS
    shown = await rig.registry.update("s", ScheduleChange(timing=every(5_000)), validate_only=True)
    assert shown.timing.value_ms == 5_000
    assert (await rig.registry.get("s")).timing.value_ms == 1_000


async def test_preview(rig: ScheduleRig) -> None:
    await rig.register("s", every(1_000))
    assert await rig.registry.preview("s", count=3) == [START_MS + 1_000 * k for k in (1, 2, 3)]
    assert await rig.registry.preview("s", count=1, after_ms=START_MS + 10_000) == [START_MS + 11_000]
    assert await rig.registry.preview(after(700)) == [START_MS + 700]
    assert len(await rig.registry.preview(cron("* * * * *"))) == 5
    with pytest.raises(CuptimeError):
        await rig.registry.preview("s", count=1_001)


async def test_concurrent_changes_of_one_schedule_have_one_order(rig: ScheduleRig) -> None:
    async def change(turn: int) -> int:
        return (await rig.registry.update("s", ScheduleChange(target=f"t{turn}".encode()))).generation

    await rig.register("s", every(1_000, end_ms=START_MS + 10_000))
    generations = await asyncio.gather(*(change(turn) for turn in range(50)))
    assert sorted(generations) == list(range(2, 52))
    await rig.pass_ms(5_000)
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [1_000, 2_000, 3_000, 4_000, 5_000]
    assert {fired.generation for fired in rig.fired} == {51}


async def test_many_registrations_and_unregistrations_at_once(rig: ScheduleRig) -> None:
    names = [f"s{n}" for n in range(200)]
    await asyncio.gather(*(rig.register(name, every(1_000, end_ms=START_MS + 10_000)) for name in names))
    await asyncio.gather(
        *(rig.registry.unregister(name) for name in names[::2]),
        *(rig.registry.pause(name) for name in names[1::4]),
        rig.pass_ms(0),
    )
    await rig.pass_ms(1_000)
    assert len(rig.fired) == 50
    listed = await rig.registry.schedules(after=0, limit=1_000, state=ScheduleState.ACTIVE)
    assert [schedule.schedule_id for schedule in listed] == names[3::4]


# --- against a model ------------------------------------------------------------------------------------------------
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("register"), st.integers(0, 2), st.sampled_from([700, 1_000, 60_000, 200_000])),
        st.tuples(st.just("timing"), st.integers(0, 2), st.sampled_from([700, 1_000, 60_000, 200_000])),
        st.tuples(st.just("note"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("unregister"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("pause"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("resume"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("pass"), st.sampled_from([1, 350, 999, 1_000, 61_000, 310_000]), st.just(0)),
    ),
    min_size=3,
    max_size=15,
)


class Model:
    """What a person would expect, computed the slow way: spans of time in which a schedule fires on a grid."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[int, int] | None] = {}
        self.grid: dict[str, tuple[int, int]] = {}
        self.expected: Counter[tuple[str, int]] = Counter()

    def run(self, until_ms: int, from_ms: int) -> None:
        for name, span in self.spans.items():
            if span is not None:
                anchor_ms, length_ms = span
                first = (from_ms - anchor_ms) // length_ms + 1
                last = (until_ms - anchor_ms) // length_ms
                self.expected.update(
                    (name, anchor_ms + k * length_ms) for k in range(max(1, first), last + 1)
                )


@given(steps=STEPS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_random_lives_fire_what_a_model_says(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(live(steps))


async def live(steps: list[tuple[str, int, int]]) -> None:
    rig, model = ScheduleRig(), Model()
    await rig.start()
    names: dict[int, str] = {}
    for step, which, length_ms in steps:
        now_ms, name = rig.clock.now_ms(), f"s{which}"
        timing: Timing = every(length_ms) if length_ms else every(1_000)
        try:
            if step == "pass":
                await rig.pass_ms(which)
                model.run(now_ms + which, now_ms)
                continue
            if step == "register":
                names[(await rig.register(name, timing)).schedule_seq] = name
                model.grid[name] = (now_ms, length_ms)
            elif step == "timing":
                before = (await rig.registry.get(name)).timing
                await rig.registry.update(name, ScheduleChange(timing=timing))
                if before != timing:
                    model.grid[name] = (now_ms, length_ms)
            elif step == "note":
                await rig.registry.update(name, ScheduleChange(note="x"))
            else:
                await getattr(rig.registry, step)(name)
            running = (await rig.registry.get(name)).state is ScheduleState.ACTIVE
            model.spans[name] = model.grid[name] if running else None
        except CuptimeError as refusal:
            if refusal.reason not in (Reason.SCHEDULE_EXISTS, Reason.SCHEDULE_NOT_FOUND):
                raise
    await rig.pass_ms(0)
    fired = Counter((names[one.schedule_seq], one.nominal_ms) for one in rig.fired)
    assert fired == model.expected
    assert all(early.at_ms <= late.at_ms for early, late in pairwise(rig.fired))
    await rig.planner.stop()
    await rig.line.close()


# --- what could slip through ----------------------------------------------------------------------------------------
async def test_a_firing_of_an_older_generation_that_slipped_in_is_cancelled_at_its_trigger(
    rig: ScheduleRig,
) -> None:
    old = await rig.register("s", every(60_000))
    await rig.registry.update("s", ScheduleChange(note="new"))
    slipped = rig.planner._desk.tasks(old, [START_MS + 500], 99)
    await rig.storage.commit(rig.fence, [InsertTasks(slipped)])
    rig.line.armed(slipped)
    await rig.pass_ms(1_000)
    assert rig.fired == []
    row = await rig.storage.task(slipped[0].task_id)
    assert row is not None
    assert row.state is TaskState.CANCELLED


async def test_a_change_between_the_planners_read_and_its_commit_wins(
    rig: ScheduleRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await rig.register("s", every(1_000))
    commit = rig.planner._commit
    changes: list[int] = []

    async def change_then_commit(chunk: Any) -> Any:
        changed = await rig.registry.update("s", ScheduleChange(target=b"coffee"))
        changes.append(changed.generation)
        committed = await commit(chunk)
        assert committed == []
        return committed

    monkeypatch.setattr(rig.planner, "_commit", change_then_commit)
    await rig.pass_ms(120_000)
    assert len(changes) == 2
    assert {task.generation for task in await rig.waiting(schedule)} == {changes[-1]}
    assert [fired.nominal_ms - START_MS for fired in rig.fired] == [1_000 * k for k in range(1, 121)]
