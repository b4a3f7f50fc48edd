"""Forgets what its window has passed: answers to request ids, refusals, request ids in memory. Once an hour, in as many
small commits as it takes: a morning refuses more in a minute than one commit should drop."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cuptime.dispatch.ports import Timers
from cuptime.domain.clock import Clock
from cuptime.domain.limits import FORGET_ROWS_MAX, REQUEST_ID_WINDOW_MS
from cuptime.domain.ports import Storage
from cuptime.domain.values import Fence
from cuptime.domain.writes import ForgetRequests
from cuptime.groups.intake import IntakeLine

PERIOD_MS: Final = 3_600_000
ROUNDS_MAX: Final = 2_000
"""Commits of one sweep; what is left then waits for the next."""

_log = logging.getLogger(__name__)


class Housekeeping:
    """A sweep an hour; missed hours are made up for by the next."""

    def __init__(
        self, storage: Storage, fence: Fence, clock: Clock, timers: Timers, intake: IntakeLine
    ) -> None:
        self._storage = storage
        self._fence = fence
        self._clock = clock
        self._timers = timers
        self._intake = intake
        self._timer = 0
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first time in an hour."""
        self._timer = self._timers.at(self._clock.now_ms() + PERIOD_MS, self._begin)

    def close(self) -> None:
        self._timers.forget(self._timer)
        if self._running is not None:
            self._running.cancel()

    def _begin(self) -> None:
        self.start()
        self._running = asyncio.get_running_loop().create_task(self.run())

    async def run(self) -> None:
        """Forgets all that is due now."""
        now_ms = self._clock.now_ms()
        before_ms = now_ms - REQUEST_ID_WINDOW_MS
        self._intake.expire_requests(before_ms)
        try:
            forget = ForgetRequests(before_ms=now_ms, refusals_before_ms=before_ms)
            for _ in range(ROUNDS_MAX):
                committed = await self._storage.commit(self._fence, [forget])
                if max(committed.results[0]) < FORGET_ROWS_MAX:
                    return
        except Exception:
            _log.warning("old request ids were not forgotten; trying again in an hour", exc_info=True)
