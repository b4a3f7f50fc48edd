"""The wheel driven by the event loop: one timer, set to the next wait's end.

What is due is triggered by the loop's thread anyway, so no other thread is woken for it: at 1,000 triggers a second
each wake of one costs two changes of thread, and a wait for the interpreter when the loop is busy. With nothing
armed there is no timer at all: an idle service has no wake-ups.

Due waits are collected in *turns*. The first comes at its millisecond. While more keeps falling due, the next turn
begins some milliseconds after the last at the earliest, and takes all that became due meanwhile in one batch: one
commit, one message to each worker. How long is twice what a turn takes until it is durable, between
`TURN_MS_MIN` and `TURN_MS_MAX`: most of that is a wait for the disk, so a fast machine is punctual, and a slow or busy
one, where a turn takes longer, does not drown in them. A batch that was full is followed at once.

While something is armed the wheel also looks up after `SLEEP_MAX_MS`, because the loop sleeps by the monotonic
clock and the wall clock may have been set forward meanwhile: that is the bound on lateness after such a step. A
step back needs no look: nothing is handed over before the clock says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from cuptime.domain.clock import Clock
from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.tasks.wheel import Timers, Wheel

TURN_MS_MIN: Final = 2
TURN_MS_MAX: Final = 12
TURN_SHARE: Final = 0.5
"""Of the time, for turns: half of it costs more processor time than a quarter and is punctual (docs/figures.md)."""
TURN_SMOOTH: Final = 0.1
"""Weight of the newest turn in what a turn takes."""
AGAIN_MS: Final = 1
SLEEP_MAX_MS: Final = 60_000
BATCHES_AHEAD_MAX: Final = 4
"""Batches handed over and not yet dealt with; then what is due stays in the wheel."""
_NEVER_S: Final = float("inf")

_log = logging.getLogger(__name__)


class LoopWheel(Wheel):
    """A wheel driven by the running event loop, between `start` and `stop`."""

    def __init__(self, timers: Timers, clock: Clock, on_end: Callable[[], None] = lambda: None) -> None:
        """`on_end` is called when a fault ends the driver: stop the server, so that it is started again."""
        super().__init__(timers, clock)
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        # In the loop's time: when the timer ends, and before which no further turn begins.
        self._timer_s = _NEVER_S
        self._turn_from_s = 0.0
        self._ahead = 0
        self._handed_ms = 0
        self._took_ms = 0.0
        self.wakeups = 0

    def start(self) -> None:
        """Begins to hand over what is due."""
        if self._loop is not None:
            raise RuntimeError("the wheel runs already")
        self._loop = asyncio.get_running_loop()
        self._sleep()

    def stop(self) -> None:
        """Hands over nothing more."""
        self._loop = None
        self._forget_timer()

    def consumed(self) -> None:
        self._ahead -= 1
        took_ms = self._clock.monotonic_ms() - self._handed_ms
        self._took_ms += (took_ms - self._took_ms) * TURN_SMOOTH
        if self._ahead == BATCHES_AHEAD_MAX - 1 and self._loop is not None:
            self._sleep()

    def rest(self, pause_ms: int, over: Callable[[], None]) -> Callable[[], None]:
        """By the loop: nothing is handed over while `BATCHES_AHEAD_MAX` batches wait for storage."""
        return asyncio.get_running_loop().call_later(pause_ms / 1_000, over).cancel

    @property
    def turn_ms(self) -> float:
        """From the beginning of one turn to that of the next, at least, while the service is busy."""
        return min(max(self._took_ms / TURN_SHARE, TURN_MS_MIN), TURN_MS_MAX)

    @property
    def asleep_without_end(self) -> bool:
        """Is there no timer?"""
        return self._timer is None

    def _woken_for(self, due_ms: int) -> None:
        loop = self._loop
        if loop is None or self._ahead >= BATCHES_AHEAD_MAX:
            return
        now_s = loop.time()
        at_s = max(now_s + (due_ms - self._clock.now_ms()) / 1_000, self._turn_from_s, now_s)
        if at_s < self._timer_s:
            self._set_timer(loop, at_s)

    def _sleep(self) -> None:
        """Until the next turn is to begin."""
        loop = self._loop
        next_ms = None if self._ahead >= BATCHES_AHEAD_MAX else self._next_ms()
        if loop is None or next_ms is None:
            self._forget_timer()
            return
        wait_s = min(max(next_ms - self._clock.now_ms(), 0), SLEEP_MAX_MS) / 1_000
        self._set_timer(loop, max(loop.time() + wait_s, self._turn_from_s))

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at_s: float) -> None:
        self._forget_timer()
        self._timer_s = at_s
        self._timer = loop.call_at(at_s, self._turn)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._timer_s = _NEVER_S

    def _turn(self) -> None:
        """Hands over one batch, or nothing when it was woken too soon."""
        loop = self._loop
        assert loop is not None
        self.wakeups += 1
        try:
            names = self._collect(self._clock.now_ms())
            if names:
                self._ahead += 1
                full = len(names) >= TRIGGER_BATCH_MAX
                self._turn_from_s = 0.0 if full else loop.time() + self.turn_ms / 1_000
                self._handed_ms = self._clock.monotonic_ms()
            else:
                # The loop's clock is a little ahead of the wall clock, or the timers moved waits nearer.
                self._turn_from_s = loop.time() + AGAIN_MS / 1_000
            self._sleep()
        except Exception:
            # Better no server than one that triggers nothing.
            _log.critical("the wheel ended: nothing would be triggered any more", exc_info=True)
            self.stop()
            self._on_end()
            return
        if names:
            self._hand_over(names)
