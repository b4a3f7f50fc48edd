"""Tasks of the service itself (queues `cuptime.*`): run in this process, by whom the queue was registered.

The same states, the same commits, the same retries as for any task; only the worker is a coroutine. There is no lease:
when the process dies, so does the run, and `recover` runs the task again. A run is therefore idempotent by its task's
id, as its registration promises.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TASK_ERROR_MESSAGE_CHARS_MAX
from cuptime.domain.ports import InternalTaskRunner
from cuptime.domain.values import Task, TaskState
from cuptime.tasks import life
from cuptime.tasks.ends import Ends
from cuptime.tasks.means import Means
from cuptime.tasks.ready import Ready

RUNS_AT_ONCE_MAX: Final = 256
MENDS_BY_ITSELF: Final = frozenset({Reason.INTERNAL, Reason.STATE_CONFLICT})
"""For a caller these are final. A task of the service has no caller who could try again, and what it carries (a group's
deadline, orders that wait for their next attempt) would go with it."""

_log = logging.getLogger(__name__)


class InternalRuns:
    """Runs TRIGGERED internal tasks, so many at once; the others wait in a `Ready` of their own."""

    def __init__(self, means: Means, ends: Ends, at_once_max: int = RUNS_AT_ONCE_MAX) -> None:
        self._means = means
        self._ends = ends
        self._at_once_max = at_once_max
        self._runners: dict[str, InternalTaskRunner] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._waiting = Ready()
        self._pulling: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._running) + len(self._waiting)

    def register(self, queue: str, run: InternalTaskRunner) -> None:
        """Who runs the tasks of a queue; what waits for it begins."""
        if not life.is_internal(queue):
            raise ValueError(
                f"{queue!r} is not an internal queue: it must begin with {life.INTERNAL_PREFIX!r}"
            )
        if queue in self._runners:
            raise ValueError(f"{queue!r} has a runner already")
        self._runners[queue] = run
        self._pull_more()

    def offer(self, tasks: Sequence[Task]) -> None:
        """TRIGGERED tasks. Those that cannot run now wait."""
        for task in tasks:
            if task.queue not in self._runners:
                _log.warning("no runner for queue %s; task %d waits", task.queue, task.task_id)
                self._waiting.put([task])
            elif len(self._running) >= self._at_once_max or self._waiting.depth(task.queue):
                self._waiting.put([task])
            else:
                self._start(task)

    async def settle(self) -> None:
        """Returns when nothing runs."""
        while self._running or (self._pulling is not None and not self._pulling.done()):
            pulling = [self._pulling] if self._pulling is not None and not self._pulling.done() else []
            await asyncio.wait([*self._running.values(), *pulling])

    def stop(self) -> None:
        """Breaks off what runs; it runs again after the next start."""
        for running in list(self._running.values()):
            running.cancel()
        if self._pulling is not None:
            self._pulling.cancel()

    def _start(self, task: Task) -> None:
        running = asyncio.get_running_loop().create_task(self._run(task))
        self._running[task.task_id] = running
        running.add_done_callback(lambda _: self._over(task.task_id))

    def _over(self, task_id: int) -> None:
        self._running.pop(task_id, None)
        if len(self._waiting):
            self._pull_more()

    async def _run(self, task: Task) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(_: TaskState | None, fault: Exception | None) -> None:
            if fault is None:
                over.set_result(None)
            else:
                over.set_exception(fault)

        try:
            result = await self._runners[task.queue](task)
        except CuptimeError as refusal:
            message = str(refusal)[:TASK_ERROR_MESSAGE_CHARS_MAX]
            retriable = refusal.reason.retry or refusal.reason in MENDS_BY_ITSELF
            self._ends.failed(task, refusal.reason.name, message, then, retriable=retriable)
        except Exception as fault:
            _log.exception("internal task %d of %s failed", task.task_id, task.queue)
            message = repr(fault)[:TASK_ERROR_MESSAGE_CHARS_MAX]
            self._ends.failed(task, life.FAULT, message, then, retriable=True)
        else:
            self._ends.executed(task, result, then)
        try:
            await asyncio.shield(over)
        except Exception:
            # Not committed, so not done: the run is idempotent and comes again.
            await self._means.pause()
            self._waiting.put([task])

    def _pull_more(self) -> None:
        if self._pulling is None or self._pulling.done():
            self._pulling = asyncio.get_running_loop().create_task(self._pull())

    async def _pull(self) -> None:
        while (room := self._at_once_max - len(self._running)) > 0:
            while low := self._waiting.wants():
                self._waiting.put_back(await self._rows(low))
            ids = self._waiting.take(list(self._runners), room)
            if not ids:
                return
            for task in await self._rows(ids):
                if task.task_id not in self._running:
                    self._start(task)

    async def _rows(self, ids: Sequence[int]) -> list[Task]:
        rows = await self._means.persist(self._means.storage.tasks_by_id, ids)
        return [task for task in rows if task.state is TaskState.TRIGGERED]
