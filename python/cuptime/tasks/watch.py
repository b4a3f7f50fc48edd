"""Watchers: changes of single tasks, fanned out in memory. Costs nothing where nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WATCH_QUEUE_MAX, WATCHERS_MAX
from cuptime.domain.values import Task


class Watcher:
    """One watch of one task."""

    def __init__(self) -> None:
        self._changes: asyncio.Queue[tuple[Task, bool] | None] = asyncio.Queue(WATCH_QUEUE_MAX)
        self._overrun = False

    def push(self, task: Task, last: bool) -> None:
        """Never waits: a watcher that does not keep up is dropped, and told so."""
        try:
            self._changes.put_nowait((task, last))
        except asyncio.QueueFull:
            self._overrun = True

    def stop(self) -> None:
        """Ends the watch from our side."""
        with suppress(asyncio.QueueFull):
            self._changes.put_nowait(None)

    async def next(self) -> tuple[Task, bool] | None:
        """The next change and whether it is the last; None when the server stops. Raises OVERLOADED when changes were
        lost because they were not read fast enough."""
        if self._overrun:
            raise CuptimeError(
                Reason.OVERLOADED,
                f"the watcher did not read {WATCH_QUEUE_MAX} changes and was dropped; watch again",
                metadata={"limit": str(WATCH_QUEUE_MAX)},
            )
        return await self._changes.get()


class Watchers:
    """All watchers by task."""

    def __init__(self) -> None:
        self._by_task: dict[int, list[Watcher]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def publish(self, task: Task, *, last: bool = False) -> None:
        """Tells the watchers of a task about its new state; `last` when it will not change by itself any more."""
        if self._by_task and (watchers := self._by_task.get(task.task_id)):
            for watcher in watchers:
                watcher.push(task, last)

    def wanted(self, task_id: int) -> bool:
        """Does anybody watch it?"""
        return task_id in self._by_task

    def open(self, task_id: int) -> Watcher:
        """Begins a watch; read the task's present state after this, so that no change is missed between."""
        if self._count >= WATCHERS_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many watchers", metadata={"limit": str(WATCHERS_MAX)}
            )
        watcher = Watcher()
        self._by_task.setdefault(task_id, []).append(watcher)
        self._count += 1
        return watcher

    def close(self, task_id: int, watcher: Watcher) -> None:
        """Ends a watch."""
        watchers = self._by_task.get(task_id)
        if watchers and watcher in watchers:
            watchers.remove(watcher)
            self._count -= 1
            if not watchers:
                del self._by_task[task_id]

    def stop(self) -> None:
        """Ends every watch: the server stops."""
        for watchers in self._by_task.values():
            for watcher in watchers:
                watcher.stop()


async def follow(watchers: Watchers, watcher: Watcher, first: Task, ended: bool) -> AsyncIterator[Task]:
    """The present state, then each change, until the last."""
    try:
        yield first
        while not ended:
            change = await watcher.next()
            if change is None:
                raise CuptimeError(Reason.DRAINING)
            task, ended = change
            yield task
    finally:
        watchers.close(first.task_id, watcher)
