"""Retention: what came to its end so many days ago goes, in small commits between which everybody else has the writer.

A group goes with its orders and all that belongs to these, a task by itself, a schedule that was unregistered after the
last of its tasks. What still counts is held back however old it is; storage says what that is
(:meth:`cuptime.domain.ports.Storage.ended_groups`, :meth:`~cuptime.domain.ports.Storage.ended_tasks`) and looks again
inside the commit. Nothing is remembered between two commits, so a sweep may be killed anywhere: the next one finds what
is left.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from msgspec import Struct

from cuptime.dispatch.ports import Timers
from cuptime.domain.clock import Clock, stopwatch_s
from cuptime.domain.limits import FORGET_ROWS_MAX, FORGET_TASKS_MAX
from cuptime.domain.ports import Metrics, Storage
from cuptime.domain.values import Fence
from cuptime.domain.writes import ForgetGroups, ForgetSchedules, ForgetTasks, Write

FIRST_MS: Final = 2_000
"""After the start, which has better things to do."""
PERIOD_MS: Final = 600_000
PAGE: Final = 200
GROUPS_AT_ONCE: Final = 20
REST_PER_COMMIT: Final = 4
"""A sweep rests so many times as long as its last commit took, so it has a fifth of the writer at most."""
REST_MS_MIN: Final = 10
REST_MS_MAX: Final = 1_000
TOLD_EVERY_S: Final = 60.0
_ANY_INSTANT_MS: Final = 2**62

_log = logging.getLogger(__name__)


class Swept(Struct):
    """What one sweep took out."""

    groups: int = 0
    orders: int = 0
    tasks: int = 0
    schedules: int = 0
    commits: int = 0
    commit_ms_max: float = 0.0
    began_s: float = 0.0
    told_s: float = 0.0

    def told(self) -> str:
        """For the log."""
        removed = (
            f"{self.groups} groups with {self.orders} orders, {self.tasks} tasks, {self.schedules} schedules"
        )
        taken = f"{self.told_s - self.began_s:.1f} s, {self.commits} commits, the longest {self.commit_ms_max:.0f} ms"
        return f"removed {removed} in {taken}"


class Retention:
    """A sweep soon after the start and then every ten minutes. One that fails changes nothing more, and the next goes
    on."""

    def __init__(
        self,
        storage: Storage,
        fence: Fence,
        clock: Clock,
        timers: Timers,
        metrics: Metrics,
        *,
        groups_ms: int,
        tasks_ms: int,
    ) -> None:
        """How long groups, and tasks and schedules, are kept after their end; 0 for ever."""
        self._storage = storage
        self._fence = fence
        self._clock = clock
        self._timers = timers
        self._metrics = metrics
        self._groups_ms = groups_ms
        self._tasks_ms = tasks_ms
        self._timer = 0
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """The first sweep a little later."""
        if self._groups_ms or self._tasks_ms:
            self._arm(FIRST_MS)

    async def close(self) -> None:
        """Breaks a sweep off between two commits, or waits for the one under way."""
        self._timers.forget(self._timer)
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _arm(self, delay_ms: int) -> None:
        self._timer = self._timers.at(self._clock.now_ms() + delay_ms, self._begin)

    def _begin(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        try:
            await self.run()
        except Exception:
            _log.warning("a retention sweep did not get to its end; the next goes on", exc_info=True)
        self._arm(PERIOD_MS)

    async def run(self) -> Swept:
        """Takes out all that is past its retention now."""
        now_ms = self._clock.now_ms()
        swept = Swept(began_s=stopwatch_s())
        swept.told_s = swept.began_s
        if self._groups_ms:
            await self._forget_groups(now_ms - self._groups_ms, swept)
        if self._tasks_ms:
            await self._forget_tasks(now_ms - self._tasks_ms, swept)
            await self._forget_schedules(now_ms - self._tasks_ms, swept)
        await self._tell_oldest()
        swept.told_s = stopwatch_s()
        if swept.commits:
            _log.info("retention: %s", swept.told())
        return swept

    async def _forget_groups(self, before_ms: int, swept: Swept) -> None:
        after = (0, 0)
        while page := await self._storage.ended_groups(before_ms, after=after, limit=PAGE):
            after = page[-1][:2]
            free = [group_seq for _, group_seq, held in page if not held]
            for at in range(0, len(free), GROUPS_AT_ONCE):
                await self._forget_some(free[at : at + GROUPS_AT_ONCE], before_ms, swept)

    async def _forget_some(self, group_seqs: list[int], before_ms: int, swept: Swept) -> None:
        """In as many commits as their orders take."""
        left = len(group_seqs)
        while left > 0:
            groups, orders = await self._commit(ForgetGroups(group_seqs, before_ms), swept)
            swept.groups += groups
            swept.orders += orders
            self._metrics.forgotten("groups", groups)
            self._metrics.forgotten("orders", orders)
            left -= groups
            if not groups and not orders:
                # Something happened to one of them since the page was read: held, for now.
                return

    async def _forget_tasks(self, before_ms: int, swept: Swept) -> None:
        after = (0, 0)
        while page := await self._storage.ended_tasks(before_ms, after=after, limit=FORGET_TASKS_MAX):
            after = page[-1][:2]
            free = [task_id for _, task_id, held in page if not held]
            if free:
                (count,) = await self._commit(ForgetTasks(free, before_ms), swept)
                swept.tasks += count
                self._metrics.forgotten("tasks", count)

    async def _forget_schedules(self, before_ms: int, swept: Swept) -> None:
        count = FORGET_ROWS_MAX
        while count == FORGET_ROWS_MAX:
            (count,) = await self._commit(ForgetSchedules(before_ms), swept)
            swept.schedules += count
            self._metrics.forgotten("schedules", count)

    async def _commit(self, write: Write, swept: Swept) -> tuple[int, ...]:
        """The result; returns after the rest that follows."""
        began_s = stopwatch_s()
        committed = await self._storage.commit(self._fence, [write])
        now_s = stopwatch_s()
        taken_ms = (now_s - began_s) * 1_000
        swept.commits += 1
        swept.commit_ms_max = max(swept.commit_ms_max, taken_ms)
        if now_s - swept.told_s >= TOLD_EVERY_S:
            swept.told_s = now_s
            _log.info("retention goes on: %s", swept.told())
        await self._rest(min(max(int(taken_ms * REST_PER_COMMIT), REST_MS_MIN), REST_MS_MAX))
        return committed.results[0]

    async def _rest(self, rest_ms: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end() -> None:
            if not over.done():
                over.set_result(None)

        timer = self._timers.at(self._clock.now_ms() + rest_ms, end)
        try:
            await over
        finally:
            self._timers.forget(timer)

    async def _tell_oldest(self) -> None:
        for kind, ended in (("groups", self._storage.ended_groups), ("tasks", self._storage.ended_tasks)):
            first = await ended(_ANY_INSTANT_MS, after=(0, 0), limit=1)
            self._metrics.oldest_ended(kind, first[0][0] if first else 0)
