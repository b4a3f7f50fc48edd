"""The wheel beside a clock that can be set, and the thread that sleeps until something is due."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuptime.core import Timers
from cuptime.domain.clock import ManualClock, SystemClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.tasks.columns import packed, unpacked
from cuptime.tasks.wheel import ManualWheel
from cuptime.tasks.wheel_loop import BATCHES_AHEAD_MAX, LoopWheel
from tests.unit.tasks.heap_timers import HeapTimers

START_MS = 1_800_000_000_000
WaitUntil = Callable[..., Awaitable[Any]]


def core_timers() -> Timers:
    return Timers(1, START_MS, 100_000)


def heap_timers() -> HeapTimers:
    return HeapTimers(START_MS)


@pytest.fixture(params=[core_timers, heap_timers], ids=["core", "twin"])
def manual(request: pytest.FixtureRequest) -> tuple[ManualWheel, ManualClock, list[tuple[int, int]]]:
    """A wheel, its clock, and what was handed over: (when, task id), leases negative."""
    clock = ManualClock(START_MS)
    wheel = ManualWheel(request.param(), clock)
    handed: list[tuple[int, int]] = []
    wheel.connect(
        lambda ids: handed.extend((clock.now_ms() - START_MS, name) for name in ids),
        lambda ids: handed.extend((clock.now_ms() - START_MS, -name) for name in ids),
    )
    return wheel, clock, handed


Manual = tuple[ManualWheel, ManualClock, list[tuple[int, int]]]


def test_columns_round_trip() -> None:
    values = [0, 1, -1, 2**63 - 1, -(2**63)]
    assert unpacked(packed(values)) == values
    assert packed([1, -1]) == b"\x01" + bytes(7) + b"\xff" * 8


def test_tasks_leases_and_calls_go_where_they_belong(manual: Manual) -> None:
    wheel, clock, handed = manual
    called: list[int] = []
    wheel.arm([1, 2], [START_MS + 10, START_MS + 20])
    wheel.arm_leases([1], START_MS + 15)
    wheel.at(START_MS + 12, lambda: called.append(clock.now_ms() - START_MS))
    forgotten = wheel.at(START_MS + 13, lambda: called.append(-1))
    wheel.forget(forgotten)
    for _ in range(30):
        clock.advance(1)
        wheel.pump()
    assert handed == [(10, 1), (15, -1), (20, 2)]
    assert called == [12]
    assert len(wheel) == 0


def test_disarmed_and_moved_waits(manual: Manual) -> None:
    wheel, clock, handed = manual
    wheel.arm([1, 2, 3], [START_MS + 5, START_MS + 5, START_MS + 5])
    wheel.disarm([1])
    wheel.arm_task(2, START_MS + 9)
    clock.advance(20)
    wheel.pump()
    assert [name for _, name in handed] == [3, 2]
    wheel.disarm([77, 78])


def test_what_is_armed_while_the_clock_is_set_back_waits_for_its_time(manual: Manual) -> None:
    wheel, clock, handed = manual
    wheel.arm_task(1, START_MS + 5_000)
    clock.advance(3_000)
    wheel.pump()
    clock.step(-2_500)
    # The wheel has passed all of these; the clock has not.
    wheel.arm([2, 3], [START_MS + 1_000, START_MS + 2_000])
    wheel.arm_task(4, START_MS + 400)
    wheel.arm_task(5, START_MS + 900)
    wheel.disarm([5])
    wheel.arm_task(3, START_MS + 2_100)
    assert wheel.next_event_ms() == clock.now_ms()
    for _ in range(50):
        wheel.pump()
        clock.advance(100)
    assert handed == [(500, 4), (1_000, 2), (2_100, 3), (5_000, 1)]
    assert (wheel.health.steps, wheel.health.last_step_ms) == (1, -2_500)


def test_a_clock_set_forward_is_seen_and_counted(manual: Manual) -> None:
    wheel, clock, handed = manual
    wheel.arm_task(1, START_MS + 60_000)
    clock.step(60_000)
    assert wheel.pump() == 1
    assert handed == [(60_000, 1)]
    assert (wheel.health.steps, wheel.health.drift_ms) == (1, 60_000)


@settings(deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("arm"), st.integers(1, 8), st.integers(-2_000, 5_000)),
            st.tuples(st.just("disarm"), st.integers(1, 8), st.just(0)),
            st.tuples(st.just("pass"), st.just(0), st.integers(0, 2_000)),
            st.tuples(st.just("step"), st.just(0), st.integers(-5_000, 5_000)),
        ),
        max_size=60,
    )
)
def test_never_early_never_lost_never_twice_whatever_the_clock_does(
    steps: list[tuple[str, int, int]],
) -> None:
    clock = ManualClock(START_MS)
    wheel = ManualWheel(core_timers(), clock)
    armed: dict[int, int] = {}

    def handed(ids: list[int]) -> None:
        for name in ids:
            assert armed.pop(name) <= clock.now_ms()

    wheel.connect(handed, handed)
    for step, name, value in steps:
        if step == "arm":
            armed[name] = clock.now_ms() + value
            wheel.arm([name], [armed[name]])
        elif step == "disarm":
            armed.pop(name, None)
            wheel.disarm([name])
        elif step == "pass":
            clock.advance(value)
        else:
            clock.step(value)
        wheel.pump()
        assert all(due_ms > clock.now_ms() for due_ms in armed.values()), "nothing due is held back"
    clock.step(1_000_000)
    wheel.pump()
    assert armed == {}


def test_a_full_wheel_refuses() -> None:
    wheel = ManualWheel(Timers(1, START_MS, 2), ManualClock(START_MS))
    wheel.arm([1, 2], [START_MS + 9, START_MS + 9])
    with pytest.raises(CuptimeError) as refused:
        wheel.arm([3], [START_MS + 9])
    assert refused.value.reason is Reason.LIMIT_REACHED


# --- driven by the loop -----------------------------------------------------------------------------------------------
def now_timers(clock: SystemClock) -> Timers:
    return Timers(1, clock.now_ms(), 100_000)


async def test_the_loop_hands_over_in_batches_and_never_early(wait_until: WaitUntil) -> None:
    clock = SystemClock()
    wheel = LoopWheel(now_timers(clock), clock)
    due: dict[int, int] = {}
    early: list[int] = []

    def tasks(ids: list[int]) -> None:
        now_ms = clock.now_ms()
        early.extend(name for name in ids if due.pop(name) > now_ms)
        wheel.consumed()

    wheel.connect(tasks, tasks)
    wheel.start()
    chance = random.Random(7)
    for start in range(1, 3_001, 100):
        batch = {name: clock.now_ms() + chance.randint(-5, 300) for name in range(start, start + 100)}
        due.update(batch)
        wheel.arm(list(batch), list(batch.values()))
    try:
        await wait_until(lambda: not due, timeout=20, why="all handed over")
    finally:
        wheel.stop()
    assert early == []
    # 3,000 waits over 300 ms end in turns, not one by one.
    assert wheel.wakeups < 600


async def test_an_idle_wheel_does_not_wake(wait_until: WaitUntil) -> None:
    clock = SystemClock()
    wheel = LoopWheel(now_timers(clock), clock)
    handed: list[int] = []
    wheel.connect(lambda ids: (handed.extend(ids), wheel.consumed())[1], handed.extend)
    wheel.start()
    try:
        assert wheel.asleep_without_end
        wheel.arm_task(1, clock.now_ms() + 20)
        await wait_until(lambda: handed == [1], why="handed over")
        assert wheel.asleep_without_end
        before = wheel.wakeups
        wheel.arm_task(2, clock.now_ms() + 3_600_000)
        assert not wheel.asleep_without_end
        # An earlier one wakes it; a later one does not.
        wheel.arm_task(3, clock.now_ms() + 7_200_000)
        wheel.arm_task(4, clock.now_ms())
        await wait_until(lambda: handed == [1, 4], why="the earlier one")
        assert wheel.wakeups <= before + 2
        wheel.disarm([2, 3])
    finally:
        wheel.stop()


async def test_a_line_that_is_behind_is_not_flooded(wait_until: WaitUntil) -> None:
    clock = SystemClock()
    wheel = LoopWheel(now_timers(clock), clock)
    batches: list[int] = []
    wheel.connect(lambda ids: batches.append(len(ids)), lambda ids: None)
    count = (BATCHES_AHEAD_MAX + 2) * TRIGGER_BATCH_MAX
    wheel.arm(range(1, count + 1), [clock.now_ms() - 1] * count)
    wheel.start()
    try:
        await wait_until(lambda: len(batches) == BATCHES_AHEAD_MAX, why="as far ahead as it may be")
        assert wheel.asleep_without_end
        assert max(batches) <= TRIGGER_BATCH_MAX
        for number in range(2):
            wheel.consumed()
            await wait_until(lambda n=number: len(batches) == BATCHES_AHEAD_MAX + n + 1, why="one more")
        assert sum(batches) == count
    finally:
        wheel.stop()


async def test_a_busy_wheel_keeps_together_what_falls_due_in_one_turn(wait_until: WaitUntil) -> None:
    """What is armed during a turn comes with the next one, which waits until as many milliseconds have passed."""
    clock = SystemClock()
    wheel = LoopWheel(now_timers(clock), clock)
    turns: list[list[int]] = []
    wheel.connect(lambda ids: (turns.append(ids), wheel.consumed())[1], lambda ids: None)
    wheel.start()
    try:
        wheel.arm_task(1, clock.now_ms())
        await wait_until(lambda: turns, why="the first comes at once")
        wheel.arm_task(2, clock.now_ms())
        await asyncio.sleep(0)
        wheel.arm_task(3, clock.now_ms())
        await wait_until(lambda: len(turns) == 2, why="the others together")
        assert [sorted(turn) for turn in turns] == [[1], [2, 3]]
    finally:
        wheel.stop()


async def test_stop_ends_the_turns_and_start_begins_anew(wait_until: WaitUntil) -> None:
    clock = SystemClock()
    wheel = LoopWheel(now_timers(clock), clock)
    handed: list[int] = []
    wheel.connect(lambda ids: (handed.extend(ids), wheel.consumed())[1], handed.extend)
    wheel.start()
    with pytest.raises(RuntimeError):
        wheel.start()
    wheel.stop()
    wheel.stop()
    wheel.arm_task(1, clock.now_ms())
    await asyncio.sleep(0)
    assert handed == []
    wheel.start()
    try:
        await wait_until(lambda: handed == [1], why="after the second start")
    finally:
        wheel.stop()


async def test_a_timed_call_that_fails_takes_no_other_with_it() -> None:
    clock = ManualClock(START_MS)
    wheel = ManualWheel(HeapTimers(), clock)
    wheel.connect(lambda _: wheel.consumed(), lambda _: None)
    called: list[str] = []

    def fails() -> None:
        called.append("first")
        raise RuntimeError("a fault")

    wheel.at(START_MS + 5, fails)
    wheel.at(START_MS + 5, lambda: called.append("second"))
    clock.advance(5)
    wheel.pump()
    assert called == ["first", "second"]


async def test_a_driver_that_dies_says_so(wait_until: WaitUntil) -> None:
    """Better no server than one that triggers nothing."""
    clock = SystemClock()
    ended: list[bool] = []

    class Broken(HeapTimers):
        def advance(self, now_ms: int, limit: int, /) -> tuple[bytes, bytes, bool]:
            raise MemoryError

    wheel = LoopWheel(Broken(), clock, lambda: ended.append(True))
    wheel.start()
    try:
        wheel.arm_task(1, clock.now_ms())
        await wait_until(lambda: ended, why="told of its end")
    finally:
        wheel.stop()
