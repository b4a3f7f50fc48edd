"""One measurement of timers from Python, in a process of its own: `python -m benches.timers.from_python WHAT TIMERS`.

Prints JSON: processor time of the thread, ns per timer. What has batches is given 4,096 at a time. `benches/wheel.py`
runs them all.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import random
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from typing import Any

BATCH = 4_096
START_MS = 1_795_392_000_000
SPAN_MS = 60_000
Figures = dict[str, float]


def due_times_ms(timers: int) -> array[int]:
    """10 ms to a minute after the start, uniform."""
    roll = random.Random(2)
    return array("q", (START_MS + 10 + roll.randrange(SPAN_MS - 10) for _ in range(timers)))


def timed(calls: Sequence[Any], call: Callable[[Any], object]) -> int:
    """Processor time of making all calls, ns."""
    start_ns = time.thread_time_ns()
    for argument in calls:
        call(argument)
    return time.thread_time_ns() - start_ns


def batches(column: array[int]) -> list[array[int]]:
    return [column[at : at + BATCH] for at in range(0, len(column), BATCH)]


def drained(advance: Callable[[int, int], tuple[Any, Any, bool]], from_ms: int, timers: int) -> float:
    """ns per timer of letting a minute pass, 10 ms at a time."""

    def pass_tick(now_ms: int) -> None:
        while not advance(now_ms, BATCH)[2]:
            pass

    return timed(range(from_ms, from_ms + SPAN_MS + 10, 10), pass_tick) / timers


def by_key(timers: int, given: Callable[[array[int]], Any]) -> Figures:
    """The keyed wheel: filled, half cancelled, drained, and filled again."""
    from cuptime._core import Wheel

    wheel = Wheel(10, START_MS, 1 << 30)
    due_ms = due_times_ms(timers)
    payloads = [given(array("q", range(at, min(at + BATCH, timers)))) for at in range(0, timers, BATCH)]
    pairs = list(zip(map(given, batches(due_ms)), payloads, strict=True))
    columns: list[bytes] = []
    insert_ns = timed(pairs, lambda pair: columns.append(wheel.insert(*pair)))
    doomed = list(array("q", b"".join(columns)))
    random.Random(1).shuffle(doomed)
    half = array("q", doomed[: timers // 2])
    cancel_ns = timed([given(batch) for batch in batches(half)], wheel.cancel)
    drain_ns = drained(wheel.advance, START_MS, timers - len(half))
    later_ms = array("q", (at_ms + 2 * SPAN_MS for at_ms in due_ms))
    pairs = list(zip(map(given, batches(later_ms)), payloads, strict=True))
    wheel.advance(START_MS + 2 * SPAN_MS, 1)
    columns.clear()
    refill_ns = timed(pairs, lambda pair: columns.append(wheel.insert(*pair)))
    return {
        "first_insert": insert_ns / timers,
        "insert": refill_ns / timers,
        "cancel": cancel_ns / len(half),
        "drain": drain_ns,
        "bytes": wheel.memory_bytes() / timers,
    }


def by_id(timers: int) -> Figures:
    """The wheel as the service uses it: timers by the caller's ids."""
    from cuptime._core import Timers

    wheel = Timers(10, START_MS, 1 << 30)
    due_ms, ids = due_times_ms(timers), array("q", range(timers))
    pairs = list(zip(batches(ids), batches(due_ms), strict=True))
    insert_ns = timed(pairs, lambda pair: wheel.arm(*pair))
    doomed = list(ids)
    random.Random(1).shuffle(doomed)
    half = array("q", doomed[: timers // 2])
    cancel_ns = timed(batches(half), wheel.disarm)
    drain_ns = drained(wheel.advance, START_MS, timers - len(half))
    later_ms = array("q", (at_ms + 2 * SPAN_MS for at_ms in due_ms))
    pairs = list(zip(batches(ids), batches(later_ms), strict=True))
    refill_ns = timed(pairs, lambda pair: wheel.arm(*pair))
    return {
        "first_insert": insert_ns / timers,
        "insert": refill_ns / timers,
        "cancel": cancel_ns / len(half),
        "drain": drain_ns,
        "bytes": wheel.memory_bytes() / timers,
    }


def of_asyncio(timers: int) -> Figures:
    """The event loop's own timers. They are drained in one turn of the loop, by a clock that is an hour ahead."""

    async def measure() -> Figures:
        loop = asyncio.get_running_loop()
        roll = random.Random(2)
        fired = 0

        def fire() -> None:
            nonlocal fired
            fired += 1

        delays_s = [60 + 60 * roll.random() for _ in range(timers)]
        handles: list[asyncio.TimerHandle] = []
        insert_ns = timed(delays_s, lambda delay_s: handles.append(loop.call_later(delay_s, fire)))
        roll.shuffle(handles)
        half = handles[: timers // 2]
        cancel_ns = timed(half, asyncio.TimerHandle.cancel)
        clock = loop.time
        loop.time = lambda: clock() + 3_600  # type: ignore[method-assign]
        start_ns = time.thread_time_ns()
        while fired < timers - len(half):
            await asyncio.sleep(0)
        drain_ns = (time.thread_time_ns() - start_ns) / fired
        return {"insert": insert_ns / timers, "cancel": cancel_ns / len(half), "drain": drain_ns}

    return asyncio.run(measure())


def of_heapq(timers: int) -> Figures:
    """(due, payload) in a list; it cannot cancel."""
    heap: list[tuple[int, int]] = []
    pairs = list(zip(due_times_ms(timers), range(timers), strict=True))
    insert_ns = timed(pairs, lambda pair: heapq.heappush(heap, pair))
    drain_ns = timed(range(timers), lambda _: heapq.heappop(heap))
    return {"insert": insert_ns / timers, "drain": drain_ns / timers}


RUNS: dict[str, Callable[[int], Figures]] = {
    "ours, by key, bytes": lambda timers: by_key(timers, array.tobytes),
    "ours, by key, arrays": lambda timers: by_key(timers, lambda column: column),
    "ours, by id (Timers)": by_id,
    "asyncio call_later": of_asyncio,
    "heapq": of_heapq,
}


if __name__ == "__main__":
    print(json.dumps(RUNS[sys.argv[1]](int(sys.argv[2]))))
