"""What waits for its time: the Rust wheel, and who is woken when a wait is over.

The wheel is a cache of storage. It knows three kinds of waits, told apart by the number that names them:

    > 0             a task, by its id: it falls due
    -2**62 .. -1    a lease, by its task's id negated: it ends
    < -2**62        a call of this process (the planner's next pass); nothing durable hangs on it

Time comes from the wall clock, and a wall clock can be set. Nothing is ever handed over before the clock says so:

- *Set forward*: what is now overdue is found when the driver wakes, at the latest after its longest sleep. Whoever
  wants to judge it is told before it is handed over.
- *Set back*: the wheel itself never goes back. What is armed for an instant that the wheel has passed but the clock has
  not reached again waits in `_behind`, a small heap beside the wheel.
"""

from __future__ import annotations

import heapq
import itertools
import logging
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from msgspec import Struct

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.tasks.columns import packed, unpacked

_log = logging.getLogger(__name__)

CALLS_FROM: Final = -(1 << 62)
"""Names of calls lie below this."""
CLOCK_STEP_MIN_MS: Final = 20
"""Wall and monotonic clock drifting apart by more than this between two looks is a step, not a drift."""


class Timers(Protocol):
    """The core's timers (`cuptime.core.Timers`). Columns are little-endian int64; arming an armed id moves it."""

    def arm(self, ids: bytes, due_ms: bytes, /) -> object: ...
    def arm_one(self, name: int, due_ms: int, /) -> object: ...
    def disarm(self, ids: bytes, /) -> int: ...
    def disarm_one(self, name: int, /) -> bool: ...
    def advance(self, now_ms: int, limit: int, /) -> tuple[bytes, bytes, bool]: ...
    def next_event_ms(self) -> int | None: ...
    def __len__(self) -> int: ...


IdSink = Callable[[list[int]], None]


class ClockHealth(Struct):
    """How the wall clock behaves beside the monotonic one. Milliseconds; positive is forward."""

    steps: int = 0
    last_step_ms: int = 0
    drift_ms: int = 0
    """Sum of all differences since the start, steps included."""


class Wheel:
    """Arms and disarms waits, and gives what is due to its sinks. `LoopWheel` and `ManualWheel` drive it.

    All methods are called in the event loop's thread.
    """

    def __init__(self, timers: Timers, clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        # How far the timers have come: they were made for about now.
        self._cursor_ms = clock.now_ms()
        self._behind: list[tuple[int, int]] = []
        self._behind_due: dict[int, int] = {}
        self._names = itertools.count(1)
        self._calls: dict[int, Callable[[], None]] = {}
        self._on_tasks: IdSink = _nobody
        self._on_leases: IdSink = _nobody
        self.on_forward: Callable[[int, int], None] = lambda from_ms, to_ms: None
        """Told that the wall clock was set forward, before anything that it passed is handed over."""
        self._offset_ms = clock.now_ms() - clock.monotonic_ms()
        self.health = ClockHealth()

    def connect(self, on_tasks: IdSink, on_leases: IdSink) -> None:
        """Who gets the ids of due tasks, and the task ids of ended leases. The sink of tasks answers every batch with
        :meth:`consumed`."""
        self._on_tasks = on_tasks
        self._on_leases = on_leases

    # --- arming ---------------------------------------------------------------------------------------------------
    def arm(self, ids: Sequence[int], dues_ms: Sequence[int]) -> None:
        """Arms many tasks; one that is armed already is moved. Raises LIMIT_REACHED when the wheel is full."""
        if not ids:
            return
        earliest_ms = min(dues_ms)
        if earliest_ms <= self._cursor_ms:
            for name, due_ms in zip(ids, dues_ms, strict=True):
                self._arm_one(name, due_ms)
        else:
            for name in ids if self._behind_due else ():
                self._behind_due.pop(name, None)
            self._refused_when_full(lambda: self._timers.arm(packed(ids), packed(dues_ms)))
        self._woken_for(earliest_ms)

    def arm_task(self, task_id: int, due_ms: int) -> None:
        """Arms one task, or moves it."""
        self._arm_one(task_id, due_ms)
        self._woken_for(due_ms)

    def arm_leases(self, task_ids: Sequence[int], until_ms: int) -> None:
        """Arms the ends of leases."""
        self.arm([-task_id for task_id in task_ids], [until_ms] * len(task_ids))

    def disarm_leases(self, task_ids: Sequence[int]) -> None:
        """The leases ended otherwise."""
        self.disarm([-task_id for task_id in task_ids])

    def disarm(self, ids: Sequence[int]) -> None:
        """What is not armed is left alone."""
        if not ids:
            return
        for name in ids if self._behind_due else ():
            self._behind_due.pop(name, None)
        if len(ids) == 1:
            self._timers.disarm_one(ids[0])
        else:
            self._timers.disarm(packed(ids))

    def at(self, due_ms: int, call: Callable[[], None]) -> int:
        """Calls `call` in the event loop at `due_ms`, not durable. Returns a name for :meth:`forget`."""
        name = CALLS_FROM - next(self._names)
        self._arm_one(name, due_ms)
        self._calls[name] = call
        self._woken_for(due_ms)
        return name

    def forget(self, name: int) -> None:
        """Drops a call."""
        if self._calls.pop(name, None) is not None:
            self.disarm([name])

    @property
    def turn_ms(self) -> float:
        """What comes in quick succession may be kept together for so long; 0 where time does not pass by itself."""
        return 0.0

    def rest(self, pause_ms: int, over: Callable[[], None]) -> Callable[[], None]:
        """Calls `over` in the event loop when about so much time has passed; the result forgets it. Unlike :meth:`at`
        it comes while batches of tasks are not consumed: what they wait for may be this very call."""
        name = self.at(self._clock.now_ms() + pause_ms, over)
        return lambda: self.forget(name)

    def __len__(self) -> int:
        return len(self._timers) + len(self._behind_due)

    def next_event_ms(self) -> int | None:
        """Not after the next wait ends; None when nothing waits."""
        return self._next_ms()

    def _arm_one(self, name: int, due_ms: int) -> None:
        self._behind_due.pop(name, None)
        if due_ms <= self._cursor_ms and due_ms > self._clock.now_ms():
            self._timers.disarm_one(name)
            self._behind_due[name] = due_ms
            heapq.heappush(self._behind, (due_ms, name))
        else:
            self._refused_when_full(lambda: self._timers.arm_one(name, max(0, due_ms)))

    def _refused_when_full(self, arm: Callable[[], object]) -> None:
        try:
            arm()
        except OverflowError as full:
            raise CuptimeError(Reason.LIMIT_REACHED, "the timing wheel is full") from full

    def _woken_for(self, due_ms: int) -> None:
        """Wakes the driver when it sleeps beyond `due_ms`."""

    # --- collecting -----------------------------------------------------------------------------------------------
    def _next_ms(self) -> int | None:
        while self._behind and self._behind_due.get(self._behind[0][1]) != self._behind[0][0]:
            heapq.heappop(self._behind)
        next_ms = self._timers.next_event_ms()
        if next_ms is not None and next_ms <= self._cursor_ms:
            # Overdue when it was armed, though the clock may be behind the timers.
            next_ms = min(next_ms, self._clock.now_ms())
        if self._behind and (next_ms is None or self._behind[0][0] < next_ms):
            return self._behind[0][0]
        return next_ms

    def _collect(self, now_ms: int) -> list[int]:
        """At most a batch of names whose time has come."""
        self._look_at_clock(now_ms)
        due: list[int] = []
        while self._behind and self._behind[0][0] <= now_ms and len(due) < TRIGGER_BATCH_MAX:
            due_ms, name = heapq.heappop(self._behind)
            if self._behind_due.get(name) == due_ms:
                del self._behind_due[name]
                due.append(name)
        if len(due) < TRIGGER_BATCH_MAX:
            # When the clock was set back, what the timers still hold for times they have passed was overdue already.
            to_ms = max(now_ms, self._cursor_ms)
            ids, _, done = self._timers.advance(to_ms, TRIGGER_BATCH_MAX - len(due))
            if done:
                self._cursor_ms = to_ms
            due += unpacked(ids)
        return due

    def _look_at_clock(self, now_ms: int) -> None:
        offset_ms = now_ms - self._clock.monotonic_ms()
        difference_ms = offset_ms - self._offset_ms
        if difference_ms:
            self.health.drift_ms += difference_ms
            if abs(difference_ms) >= CLOCK_STEP_MIN_MS:
                self.health.steps += 1
                self.health.last_step_ms = difference_ms
            self._offset_ms = offset_ms
            if difference_ms >= CLOCK_STEP_MIN_MS:
                self.on_forward(now_ms - difference_ms, now_ms)

    def _hand_over(self, names: list[int]) -> None:
        """In the event loop: each name to whom it belongs."""
        tasks = [name for name in names if name > 0]
        if tasks:
            self._on_tasks(tasks)
        else:
            self.consumed()
        if len(tasks) == len(names):
            return
        leases = [-name for name in names if CALLS_FROM < name < 0]
        if leases:
            self._on_leases(leases)
        for name in names:
            if name <= CALLS_FROM and (call := self._calls.pop(name, None)) is not None:
                try:
                    call()
                except Exception:
                    # The others of the batch have nothing to do with it.
                    _log.exception("a timed call failed")

    def consumed(self) -> None:
        """One batch of tasks has been dealt with: the driver may hand over another."""


def _nobody(ids: list[int]) -> None:
    raise RuntimeError(f"{len(ids)} waits ended before anybody was connected")


class ManualWheel(Wheel):
    """The same wheel without a thread, for a clock that moves when told: whoever moved it calls :meth:`pump`."""

    def pump(self) -> int:
        """Hands over everything that is due by now; returns how many waits ended."""
        ended = 0
        while True:
            names = self._collect(self._clock.now_ms())
            if not names:
                return ended
            ended += len(names)
            self._hand_over(names)
