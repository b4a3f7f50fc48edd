"""The timers of the Rust core as Python sees them: columns in and out, names, limits, threads.

The wheel itself is proved in `rust_core/wheel/tests`; here a plain dict is the oracle of the naming on top of it.
"""

from __future__ import annotations

import struct
import threading
import time
from array import array
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuptime._core import Timers, Wheel

START_MS = 1_795_392_000_000
INT64_MAX = 2**63 - 1
HOUR_MS = 3_600_000


def packed(values: list[int]) -> bytes:
    return struct.pack(f"<{len(values)}q", *values)


def unpacked(column: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(column) // 8}q", column))


def armed(due: dict[int, int], *, tick_ms: int = 10, capacity: int = 1_000) -> Timers:
    timers = Timers(tick_ms, START_MS, capacity)
    timers.arm(packed(list(due)), packed(list(due.values())))
    return timers


def fallen_due(timers: Timers, now_ms: int, limit: int = 10_000) -> tuple[list[tuple[int, int]], bool]:
    ids, due_ms, done = timers.advance(now_ms, limit)
    return list(zip(unpacked(ids), unpacked(due_ms), strict=True)), done


def test_a_timer_is_handed_out_once_at_its_tick_with_its_exact_due_time() -> None:
    timers = armed({-7: START_MS + 1_003})
    assert timers.next_event_ms() == START_MS + 1_010
    assert fallen_due(timers, START_MS + 1_009) == ([], True)
    assert fallen_due(timers, START_MS + 1_010) == ([(-7, START_MS + 1_003)], True)
    assert fallen_due(timers, START_MS + HOUR_MS) == ([], True)
    assert len(timers) == 0
    assert timers.next_event_ms() is None


def test_any_int64_is_an_id_and_every_due_time_up_to_the_last_is_kept() -> None:
    timers = armed({INT64_MAX: START_MS, -(2**63): START_MS + 10, 0: INT64_MAX, -1: 0})
    assert fallen_due(timers, START_MS + 10) == (
        [(INT64_MAX, START_MS), (-1, 0), (-(2**63), START_MS + 10)],
        True,
    )
    assert len(timers) == 1
    timers.advance(INT64_MAX, 10)
    assert len(timers) == 1, "2**63 - 1 rounds up to a tick that has not come"


@pytest.mark.parametrize("column", [packed, lambda ids: array("q", ids), lambda ids: bytearray(packed(ids))])
def test_columns_may_be_bytes_or_any_buffer(column) -> None:  # type: ignore[no-untyped-def]
    timers = Timers(1, START_MS, 10)
    assert timers.arm(column([3, 1, 2]), column([START_MS + 2, START_MS + 1, START_MS + 2])) == 3
    assert timers.disarm(column([2, 9])) == 1
    assert fallen_due(timers, START_MS + 5) == ([(1, START_MS + 1), (3, START_MS + 2)], True)


def test_arming_an_armed_id_moves_it_behind_its_new_tick() -> None:
    timers = armed({1: START_MS + 50, 2: START_MS + 100})
    timers.arm_one(1, START_MS + 100)
    timers.arm(packed([3, 3]), packed([START_MS + 20, START_MS + 100]))
    assert len(timers) == 3
    assert fallen_due(timers, START_MS + 99) == ([], True)
    assert [id_ for id_, _ in fallen_due(timers, START_MS + 100)[0]] == [2, 1, 3]


def test_disarming_says_what_was_armed() -> None:
    timers = armed({1: START_MS + 50, 2: START_MS + 5_000_000})
    assert timers.disarm_one(1)
    assert not timers.disarm_one(1)
    assert timers.disarm(packed([1, 2, 2])) == 1
    assert len(timers) == 0


def test_a_herd_is_handed_out_in_bounded_parts() -> None:
    timers = armed(dict.fromkeys(range(1000), START_MS + 77))
    parts = [fallen_due(timers, START_MS + 80, 300) for _ in range(4)]
    assert [len(due) for due, _ in parts] == [300, 300, 300, 100]
    assert [done for _, done in parts] == [False, False, False, True]
    assert [id_ for due, _ in parts for id_, _ in due] == list(range(1_000))


def test_time_never_goes_back() -> None:
    timers = armed({1: START_MS + 10_000})
    timers.advance(START_MS + 9_000, 10)
    timers.advance(START_MS, 10)
    assert timers.next_event_ms() == START_MS + 10_000
    timers.arm_one(2, START_MS + 100)
    assert timers.next_event_ms() == START_MS + 9_000
    assert fallen_due(timers, 0) == ([(2, START_MS + 100)], True)


def test_a_batch_over_capacity_changes_nothing_but_moves_need_no_room() -> None:
    timers = armed({1: START_MS + 50, 2: START_MS + 60}, capacity=3)
    with pytest.raises(OverflowError, match="at most 3 timers"):
        timers.arm(packed([1, 3, 4]), packed([START_MS + 10] * 3))
    assert timers.next_event_ms() == START_MS + 50
    assert timers.arm(packed([1, 3, 3, 2]), packed([START_MS + 70] * 4)) == 4
    with pytest.raises(OverflowError, match="at most 3 timers"):
        timers.arm_one(4, START_MS + 10)
    timers.arm_one(3, START_MS + 80)
    assert fallen_due(timers, START_MS + 80) == (
        [(1, START_MS + 70), (2, START_MS + 70), (3, START_MS + 80)],
        True,
    )


@pytest.mark.parametrize(
    ("ids", "due_ms", "error"),
    [
        (b"1234567", packed([1]), ValueError),
        (packed([1, 2]), packed([1]), ValueError),
        (packed([1, 2]), packed([START_MS, -1]), ValueError),
        ([1], packed([1]), TypeError),
        (array("i", [1]), packed([1]), BufferError),
        (array("d", [1.0]), packed([1]), BufferError),
    ],
)
def test_malformed_columns_are_refused_and_nothing_is_armed(ids: bytes, due_ms: bytes, error: type) -> None:
    timers = Timers(10, START_MS, 10)
    with pytest.raises(error):
        timers.arm(ids, due_ms)
    assert len(timers) == 0


def test_impossible_settings_and_instants_are_refused() -> None:
    for tick_ms in (0, 3, 100):
        with pytest.raises(ValueError, match="tick_ms must divide 1000"):
            Timers(tick_ms, START_MS, 10)
    with pytest.raises(ValueError, match="not negative"):
        Timers(10, -1, 10)
    timers = Timers(10, START_MS, 10)
    with pytest.raises(ValueError, match="not negative"):
        timers.advance(-1, 10)
    with pytest.raises(ValueError, match="not negative"):
        timers.arm_one(1, -1)
    with pytest.raises(OverflowError):
        timers.arm_one(2**63, START_MS)
    with pytest.raises(OverflowError):
        timers.advance(START_MS, -1)


def test_a_million_timers_by_id_take_less_than_48_mib() -> None:
    count = 1_000_000
    timers = Timers(10, START_MS, 2 * count)
    ids = array("q", range(count))
    due_ms = array("q", ((START_MS + (id_ * 7_919) % (24 * HOUR_MS)) for id_ in range(count)))
    assert timers.arm(ids, due_ms) == count
    figures = timers.stats()
    assert figures["pending"] == len(timers) == count
    assert (
        sum(figures[f"pending_{level}"] for level in ("ticks", "seconds", "minutes", "hours", "days"))
        == count
    )
    assert figures["memory_bytes"] == timers.memory_bytes() < 48 * 2**20
    handed_out, last_ms = 0, 0
    done = False
    while not done:
        due, done = fallen_due(timers, START_MS + 24 * HOUR_MS, 100_000)
        ticks = [due_ms // 10 for _, due_ms in due]
        handed_out += len(due)
        assert ticks == sorted(ticks)
        assert not due or due[0][1] >= last_ms
        last_ms = due[-1][1] if due else last_ms
    assert handed_out == count
    assert timers.stats()["fired"] == count


def test_threads_share_one_wheel_and_every_timer_comes_out_once() -> None:
    timers = Timers(1, START_MS, 100_000)
    writers, per_writer = 4, 20_000

    def write(first: int) -> None:
        for start in range(first, first + per_writer, 500):
            ids = list(range(start, start + 500))
            timers.arm(packed(ids), packed([START_MS + id_ % 3_000 for id_ in ids]))
            timers.arm_one(start, START_MS + 2_999)

    threads = [threading.Thread(target=write, args=(n * per_writer,)) for n in range(writers)]
    for thread in threads:
        thread.start()
    seen: list[int] = []
    now_ms = START_MS
    until = time.monotonic() + 60
    while any(thread.is_alive() for thread in threads) or len(timers):
        assert time.monotonic() < until, f"{len(timers)} timers left after 60 s"
        now_ms = min(now_ms + 1, START_MS + 4_000)
        seen += [id_ for id_, _ in fallen_due(timers, now_ms)[0]]
    for thread in threads:
        thread.join(60)
    # The first id of each batch may fire between the two armings, and then again; no other id may.
    times = Counter(seen)
    assert all(count == 1 or id_ % 500 == 0 for id_, count in times.items())
    assert set(times) == set(range(writers * per_writer))


instructions = st.one_of(
    st.tuples(
        st.just("arm"), st.lists(st.tuples(st.integers(0, 8), st.integers(-50, 9_000_000)), max_size=6)
    ),
    st.tuples(st.just("disarm"), st.lists(st.integers(0, 8), max_size=4)),
    st.tuples(st.just("advance"), st.tuples(st.integers(0, 4_000_000), st.integers(0, 5))),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([1, 10]), st.lists(instructions, max_size=30))
def test_named_timers_equal_a_dict(tick_ms: int, lines: list) -> None:  # type: ignore[type-arg]
    timers = Timers(tick_ms, START_MS, 6)
    due_by_id: dict[int, int] = {}
    now_ms = START_MS
    for kind, argument in lines:
        if kind == "arm":
            batch = [(id_, now_ms + delay_ms) for id_, delay_ms in argument]
            columns = packed([id_ for id_, _ in batch]), packed([due_ms for _, due_ms in batch])
            if len(due_by_id.keys() | {id_ for id_, _ in batch}) > 6:
                with pytest.raises(OverflowError):
                    timers.arm(*columns)
            else:
                timers.arm(*columns)
                due_by_id.update(batch)
        elif kind == "disarm":
            gone = sum(due_by_id.pop(id_, None) is not None for id_ in argument)
            assert timers.disarm(packed(argument)) == gone
        else:
            now_ms += argument[0]
            due, done = fallen_due(timers, now_ms, argument[1])
            for id_, due_ms in due:
                assert due_by_id.pop(id_) == due_ms <= now_ms
            overdue = [due_ms for due_ms in due_by_id.values() if -(-due_ms // tick_ms) * tick_ms <= now_ms]
            assert done == (not overdue), "the rest is handed out by the next call"
        assert len(timers) == len(due_by_id)
        assert (timers.next_event_ms() is None) == (not due_by_id)


# --- the wheel by its own keys --------------------------------------------------------------------------------------


def test_keys_name_timers_until_they_are_used_up() -> None:
    wheel = Wheel(10, START_MS, 100)
    keys = wheel.insert(packed([START_MS + 50, START_MS + 30, START_MS + HOUR_MS]), packed([1, -2, 3]))
    assert len(unpacked(keys)) == len(set(unpacked(keys))) == len(wheel) == 3
    moved = wheel.reschedule(keys[:8] + packed([0]), packed([START_MS + 20, START_MS]))
    assert unpacked(moved)[1] == 0
    assert wheel.cancel(keys[:8]) == 0, "moved: the old key is used up"
    assert wheel.cancel(keys[16:] + keys[16:]) == 1
    payloads, due_ms, done = wheel.advance(START_MS + 100, 10)
    assert (unpacked(payloads), unpacked(due_ms), done) == ([1, -2], [START_MS + 20, START_MS + 30], True)
    assert wheel.cancel(moved + keys) == 0
    assert wheel.next_event_ms() is None


def test_a_paused_timer_keeps_what_was_left() -> None:
    wheel = Wheel(1, START_MS, 2)
    keys = wheel.insert(packed([START_MS + 100, START_MS + 100]), packed([1, 2]))
    wheel.advance(START_MS + 40, 10)
    paused = wheel.pause(keys[:8])
    assert (len(wheel), wheel.stats()["paused"]) == (1, 1)
    with pytest.raises(OverflowError, match="at most 2 timers"):
        wheel.insert(packed([START_MS]), packed([3]))
    assert unpacked(wheel.advance(START_MS + 1_000, 10)[0]) == [2]
    assert wheel.next_event_ms() is None
    resumed = wheel.resume(paused + keys[:8])
    assert unpacked(resumed)[1] == 0
    assert unpacked(wheel.advance(START_MS + 1_059, 10)[0]) == []
    assert unpacked(wheel.advance(START_MS + 1_060, 10)[0]) == [1]


def test_windows_that_overlap_share_ticks() -> None:
    wheel = Wheel(10, START_MS, 1_000)
    due_ms = [START_MS + 2_000 + step for step in range(500)]
    wheel.insert(packed(due_ms), packed(list(range(500))), slack_ms=1_000)
    payloads, chosen_ms, _ = wheel.advance(START_MS + 10_000, 1_000)
    chosen = dict(zip(unpacked(payloads), unpacked(chosen_ms), strict=True))
    assert all(due_ms[at] <= chosen[at] <= due_ms[at] + 1_000 for at in range(500))
    assert len(set(chosen.values())) <= 3


def test_a_snapshot_put_into_another_wheel_fires_the_same_way() -> None:
    wheel, copy = Wheel(10, START_MS, 10_000), Wheel(10, START_MS, 10_000)
    due_ms = [START_MS + (at * 7_919) % (3 * HOUR_MS) // 1_000 * 1_000 for at in range(5_000)]
    wheel.insert(packed(due_ms), packed(list(range(5_000))))
    wheel.advance(START_MS + HOUR_MS, 10_000)
    _, payloads, left_ms = wheel.snapshot()
    copy.insert(left_ms, payloads)
    assert copy.advance(START_MS + 3 * HOUR_MS, 10_000) == wheel.advance(START_MS + 3 * HOUR_MS, 10_000)


def test_malformed_columns_of_the_keyed_wheel_change_nothing() -> None:
    wheel = Wheel(10, START_MS, 10)
    for due_ms, payloads in [
        (b"123", packed([1])),
        (packed([1, 2]), packed([1])),
        (packed([1, -1]), packed([1, 2])),
    ]:
        with pytest.raises(ValueError, match=r"column|not negative"):
            wheel.insert(due_ms, payloads)
    assert len(wheel) == 0


def test_an_id_that_stands_twice_in_a_new_batch_is_armed_once_for_its_last_due_time() -> None:
    timers = Timers(10, START_MS, 10_000)
    ids = [*range(5_000), 7, 8, 7]
    assert (
        timers.arm(
            packed(ids), packed([START_MS + 100] * 5_000 + [START_MS + 50, START_MS + 100, START_MS + 200])
        )
        == 5_003
    )
    assert len(timers) == 5_000
    assert fallen_due(timers, START_MS + 99) == ([], True)
    first, _ = fallen_due(timers, START_MS + 100)
    assert [id_ for id_, _ in first] == [id_ for id_ in range(5_000) if id_ not in (7, 8)] + [8]
    assert fallen_due(timers, START_MS + 200) == ([(7, START_MS + 200)], True)
