"""The thread that sleeps until the next wait ends.

It owns nothing but waking. It sleeps on a condition until the wheel's next event, takes what is due in batches, and
hands each batch to the event loop with one `call_soon_threadsafe`. Arming something earlier wakes it. With nothing
armed it sleeps without end: an idle service has no wake-ups.

While something is armed it also looks up after `SLEEP_MAX_MS`, because a sleep is measured by the monotonic clock and
the wall clock may have been set forward meanwhile: that is the bound on lateness after such a step. A step back needs
no look: nothing is handed over before the clock says so.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Final

from cuptime.domain.clock import Clock
from cuptime.tasks.wheel import Timers, Wheel

SLEEP_MAX_MS: Final = 60_000
BATCHES_AHEAD_MAX: Final = 4
"""Batches handed over and not yet dealt with; then the thread waits for the loop instead of filling it."""
STOP_WAIT_S: Final = 5.0
_NEVER: Final = 1 << 62

_log = logging.getLogger(__name__)


class ThreadWheel(Wheel):
    """A wheel driven by a daemon thread. `start` and `stop` are called in the event loop's thread."""

    def __init__(self, timers: Timers, clock: Clock, on_end: Callable[[], None] = lambda: None) -> None:
        """`on_end` is called in the thread when a fault ends it: stop the server, so that it is started again."""
        super().__init__(timers, clock)
        self._on_end = on_end
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._ahead = 0
        # Until when the thread sleeps; 0 while it is awake and will look again anyway.
        self._asleep_until_ms = 0
        self.wakeups = 0

    def start(self) -> None:
        """Begins to hand over what is due."""
        if self._thread is not None:
            raise RuntimeError("the wheel runs already")
        self._loop = asyncio.get_running_loop()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="cuptime-wheel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hands over nothing more; returns when the thread has ended."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        with self._lock:
            self._stopping = True
            self._lock.notify()
        thread.join(STOP_WAIT_S)

    def consumed(self) -> None:
        with self._lock:
            self._ahead -= 1
            if self._ahead == BATCHES_AHEAD_MAX - 1:
                self._lock.notify()

    def rest(self, pause_ms: int, over: Callable[[], None]) -> Callable[[], None]:
        """By the loop: the thread hands nothing over while `BATCHES_AHEAD_MAX` batches wait for storage."""
        return asyncio.get_running_loop().call_later(pause_ms / 1_000, over).cancel

    def _woken_for(self, due_ms: int) -> None:
        if due_ms < self._asleep_until_ms:
            self._asleep_until_ms = 0
            self._lock.notify()

    def _run(self) -> None:
        loop = self._loop
        assert loop is not None
        try:
            with self._lock:
                while not self._stopping:
                    self._turn(loop)
        except Exception:
            # A closed loop is the end of the process; anything else must not leave a server that triggers nothing.
            if not loop.is_closed():
                _log.critical("the wheel's thread ended: nothing would be triggered any more", exc_info=True)
                self._on_end()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hands over one batch, or sleeps once. Holds the lock, except while it sleeps."""
        if self._ahead >= BATCHES_AHEAD_MAX:
            self._lock.wait()
            return
        now_ms = self._clock.now_ms()
        names = self._collect(now_ms)
        if names:
            self._ahead += 1
            loop.call_soon_threadsafe(self._hand_over, names)
            return
        next_ms = self._next_ms()
        if next_ms is None:
            self._asleep_until_ms = _NEVER
            self._lock.wait()
        else:
            self._asleep_until_ms = next_ms
            self._lock.wait(min(max(next_ms - now_ms, 1), SLEEP_MAX_MS) / 1_000)
        self._asleep_until_ms = 0
        self.wakeups += 1
