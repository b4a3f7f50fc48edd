"""Retires assignments that take nothing any more but cups: memory, gate and a restart hold what is live only."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from cuptime.dispatch.ports import Timers
from cuptime.dispatch.resources import Resources
from cuptime.domain.ports import Reservation
from cuptime.domain.writes import RetireAssignments

PERIOD_MS: Final = 60_000
ROWS_MAX: Final = 500
"""Of one commit. The counters are locked meanwhile, so decisions wait for it."""
ROUNDS_MAX: Final = 20
"""Of one sweep; what is left then waits for the next, which comes sooner."""
REST_MS: Final = 1_000

_log = logging.getLogger(__name__)


class Retirement:
    """A sweep a minute. One that fails changes nothing, and the next does its work."""

    def __init__(self, resources: Resources, timers: Timers) -> None:
        self._own = resources
        self._timers = timers
        self._timer = 0
        self._sweeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._arm(PERIOD_MS)

    def close(self) -> None:
        if self._timer:
            self._timers.forget(self._timer)
            self._timer = 0
        if self._sweeping is not None:
            self._sweeping.cancel()

    def _arm(self, delay_ms: int) -> None:
        self._timer = self._timers.at(self._own.clock.now_ms() + delay_ms, self._begin)

    def _begin(self) -> None:
        self._timer = 0
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        more = False
        try:
            more = await self.run()
        except Exception as fault:
            _log.warning("assignments that ended were not retired; trying again: %s", fault)
        self._arm(REST_MS if more else PERIOD_MS)

    async def run(self) -> bool:
        """Retires what has ended by now. True when there is more."""
        for _ in range(ROUNDS_MAX):
            async with self._own.counters.lock:
                ended = self._own.standing.ended(self._own.clock.now_ms(), ROWS_MAX)
                if not ended:
                    return False
                await self._retire(ended)
        return True

    async def _retire(self, ended: list[Reservation]) -> None:
        """Under the lock. First the limits fall by what is used for good, then the same is given back: what is free is
        never too much in between."""
        own = self._own
        order_ids = [held.order_id for held in ended]
        await own.storage.commit(own.fence, [RetireAssignments(order_ids)])
        # One that was released during the commit is gone from here, and its cups are put down already.
        still = [held for held in ended if own.standing.drop(held.order_id) is not None]
        fallen = own.cups.use(still)
        await own.counters.gate.set_limits(own.cups.limits(fallen))
        await own.counters.free(order_ids)
