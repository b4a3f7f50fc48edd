"""How attempts end: every report is a durable change, many reports share a commit, and the reporter is told after it.

A report stands on the row as it was leased. Storage writes it only when the row is still TRIGGERED under the same
execution_id, so a late report changes nothing, whoever was faster.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import ReplaceTask, Write
from cuptime.tasks import life
from cuptime.tasks.means import Means

ENDS_PER_COMMIT_MAX: Final = 500
COMMITS_AT_ONCE_MAX: Final = 2
"""One on its way to disk, one being filled."""

_log = logging.getLogger(__name__)


Then = Callable[[Task | None, Exception | None], None]
"""Told how a report went: the row after the commit; or None, when the attempt had ended otherwise before (its lease was
lost) and nothing changed; or the error for which the commit failed."""


def ignore(after: Task | None, fault: Exception | None) -> None:
    """For reports that nobody waits for."""


@dataclass(slots=True)
class _End:
    before: Task
    steps: tuple[Task, ...]
    then: Then

    def writes(self) -> list[Write]:
        """Each transition is a row change of its own, all in one transaction."""
        changes: list[Write] = []
        state, execution_id = TaskState.TRIGGERED, self.before.execution_id
        for step in self.steps:
            changes.append(ReplaceTask(step, (state,), execution_id))
            state, execution_id = step.state, step.execution_id
        return changes


EndSink = Callable[[Task, Task], None]
"""Told after the commit: the row as it was during the attempt, and as it is now."""


class Ends:
    """Takes reports and commits them, in the order given."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._waiting: deque[_End] = deque()
        self._flushes: set[asyncio.Task[None]] = set()
        self._told: list[EndSink] = []

    def tell(self, sink: EndSink) -> None:
        """Adds somebody who is told about every end."""
        self._told.append(sink)

    def __len__(self) -> int:
        return len(self._waiting)

    def executed(self, task: Task, result: bytes, then: Then = ignore) -> None:
        """The attempt was successful."""
        self._put(task, (life.executed(task, result, self._means.clock.now_ms()),), then)

    def failed(
        self,
        task: Task,
        code: str,
        message: str,
        then: Then = ignore,
        *,
        retriable: bool,
        at_once: bool = False,
    ) -> None:
        """The attempt failed; the task waits for its backoff (`at_once`: not) or has failed for good."""
        now_ms = self._means.clock.now_ms()
        failed = life.failed(task, code, message, retriable, now_ms)
        if life.may_retry(failed):
            self._put(task, (failed, life.retried(failed, now_ms, at_once=at_once)), then)
        else:
            self._put(task, (failed,), then)

    def given_back(self, task: Task, then: Then = ignore) -> None:
        """No attempt was made; the task is ready as before."""
        self._put(task, (life.given_back(task, self._means.clock.now_ms()),), then)

    def _put(self, before: Task, steps: tuple[Task, ...], then: Then) -> None:
        self._waiting.append(_End(before, steps, then))
        if len(self._flushes) < COMMITS_AT_ONCE_MAX:
            flush = asyncio.get_running_loop().create_task(self._flush())
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)

    async def settle(self) -> None:
        """Returns when every report so far is committed."""
        while self._flushes:
            await asyncio.wait(self._flushes)

    async def _flush(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), ENDS_PER_COMMIT_MAX)
            await self._commit([self._waiting.popleft() for _ in range(count)])

    async def _commit(self, ends: list[_End]) -> None:
        try:
            await self._means.commit([write for end in ends for write in end.writes()])
        except CuptimeError as refusal:
            if refusal.reason is not Reason.STATE_CONFLICT:
                _fail(ends, refusal)
            elif len(ends) == 1:
                ends[0].then(None, None)
            else:
                # One of them lost its lease; alone, each is told its own fate.
                for end in ends:
                    await self._commit([end])
        except Exception as fault:
            _log.exception("a commit of %d reports failed", len(ends))
            _fail(ends, fault)
        else:
            for end in ends:
                self._committed(end)

    def _committed(self, end: _End) -> None:
        after = end.steps[-1]
        for step in end.steps:
            if step.state is not end.before.state:
                self._means.metrics.task(step.state.name, 1)
                self._means.watchers.publish(step, last=step is after and step.state in life.RESTING)
        if after.state is TaskState.SCHEDULED:
            self._means.near.put([after], after.updated_ms)
            self._means.wheel.arm_task(after.task_id, after.due_ms)
        for told in self._told:
            told(end.before, after)
        end.then(after, None)


def _fail(ends: list[_End], why: Exception) -> None:
    for end in ends:
        end.then(None, why)
