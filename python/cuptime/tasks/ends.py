"""How attempts end: every report is a durable change, many reports share a commit, and the reporter is told after it.

A report stands on the row as it was leased. Storage writes it only when the row is still TRIGGERED under the same
execution_id, so a late report changes nothing, whoever was faster.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import ExecuteTasks, ReplaceTask, Write
from cuptime.tasks import life
from cuptime.tasks.means import Means

if TYPE_CHECKING:
    from cuptime.tasks.workers import Lease

ENDS_PER_COMMIT_MAX: Final = 1_000
COMMITS_AT_ONCE_MAX: Final = 2
"""One on its way to disk, one being filled."""
TURN_BESIDE_MS: Final = 3
"""How much longer than a turn of the wheel reports wait for the next one, whose transaction they then share. A report
after a rest goes at once."""

_log = logging.getLogger(__name__)


Then = Callable[[TaskState | None, Exception | None], None]
"""Told how a report went: the state after the commit; or None, when the attempt had ended otherwise before (its lease
was lost) and nothing changed; or the error for which the commit failed."""
ThenAll = Callable[[set[int] | None, Exception | None], None]
"""The same for many: the ids of those that were EXECUTED; or the error for which the commit failed."""


def ignore(after: TaskState | None, fault: Exception | None) -> None:
    """For reports that nobody waits for."""


class _End(Struct):
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


class _Executed(Struct):
    held: Sequence[tuple[Task | Lease, bytes]]
    then: ThenAll


class EndSink(Protocol):
    """Told after the commit."""

    def ended(self, before: Task, after: Task) -> None:
        """The row as it was during the attempt, and as it is now."""
        ...

    def executed(self, done: Sequence[Task | Lease]) -> None:
        """These are EXECUTED."""
        ...


class Ends:
    """Takes reports and commits them, in the order given."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._waiting: deque[_End | _Executed] = deque()
        self._count = 0
        self._flushes: set[asyncio.Task[None]] = set()
        self._later: asyncio.TimerHandle | None = None
        self._together_until_s = 0.0
        self._told: list[EndSink] = []

    def tell(self, sink: EndSink) -> None:
        """Adds somebody who is told about every end."""
        self._told.append(sink)

    def __len__(self) -> int:
        return self._count

    def executed(self, task: Task, result: bytes, then: Then = ignore) -> None:
        """The attempt was successful."""
        life.step(task, TaskState.EXECUTED)

        def then_one(moved: set[int] | None, fault: Exception | None) -> None:
            then(TaskState.EXECUTED if moved and task.task_id in moved else None, fault)

        self._put(_Executed([(task, result)], then_one), 1)

    def completed(self, held: Sequence[tuple[Lease, bytes]], then: ThenAll) -> None:
        """At most `ENDS_PER_COMMIT_MAX` attempts were successful."""
        self._put(_Executed(held, then), len(held))

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
        steps: tuple[Task, ...] = (failed,)
        if life.may_retry(failed):
            steps = (failed, life.retried(failed, now_ms, at_once=at_once))
        self._put(_End(task, steps, then), 1)

    def given_back(self, task: Task, then: Then = ignore) -> None:
        """No attempt was made; the task is ready as before."""
        self._put(_End(task, (life.given_back(task, self._means.clock.now_ms()),), then), 1)

    # --- commits --------------------------------------------------------------------------------------------------
    def _put(self, end: _End | _Executed, count: int) -> None:
        self._waiting.append(end)
        self._count += count
        full = self._count >= ENDS_PER_COMMIT_MAX
        if len(self._flushes) >= COMMITS_AT_ONCE_MAX or (self._later is not None and not full):
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._together_until_s and not full:
            self._later = loop.call_at(self._together_until_s, self.hurry)
        else:
            self.hurry()

    def hurry(self) -> bool:
        """Commits now what waits: whoever commits something else anyway shares the transaction. Was there anything?"""
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if not self._waiting or len(self._flushes) >= COMMITS_AT_ONCE_MAX:
            return False
        loop = asyncio.get_running_loop()
        turn_ms = self._means.wheel.turn_ms
        self._together_until_s = loop.time() + (turn_ms + TURN_BESIDE_MS) / 1_000 if turn_ms else 0.0
        flush = loop.create_task(self._flush())
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
        return True

    async def settle(self) -> None:
        """Returns when every report so far is committed."""
        while self._flushes or self._waiting:
            if not self.hurry() and not self._flushes:
                return
            await asyncio.wait(self._flushes)

    async def _flush(self) -> None:
        while self._waiting:
            executed: list[_Executed] = []
            others: list[_End] = []
            count = 0
            while self._waiting:
                first = self._waiting[0]
                size = len(first.held) if isinstance(first, _Executed) else 1
                if count and count + size > ENDS_PER_COMMIT_MAX:
                    break
                self._waiting.popleft()
                count += size
                if isinstance(first, _Executed):
                    executed.append(first)
                else:
                    others.append(first)
            self._count -= count
            if executed and others:
                await asyncio.gather(self._commit_executed(executed), self._commit(others))
            elif executed:
                await self._commit_executed(executed)
            else:
                await self._commit(others)

    async def _commit_executed(self, ends: list[_Executed]) -> None:
        now_ms = self._means.clock.now_ms()
        rows = [(held.task_id, held.execution_id, result) for end in ends for held, result in end.held]
        try:
            committed = await self._means.commit([ExecuteTasks(rows, now_ms)])
        except Exception as fault:
            if not isinstance(fault, CuptimeError):
                _log.exception("a commit of %d reports failed", len(rows))
            for end in ends:
                end.then(None, fault)
            return
        moved = set(committed.results[0])
        done = [held for end in ends for held, _ in end.held if held.task_id in moved]
        self._means.metrics.task(TaskState.EXECUTED.name, len(done))
        if len(self._means.watchers):
            self._publish(ends, moved, now_ms)
        for told in self._told:
            told.executed(done)
        for end in ends:
            end.then(moved, None)

    def _publish(self, ends: list[_Executed], moved: set[int], now_ms: int) -> None:
        for end in ends:
            for held, result in end.held:
                if held.task_id in moved and self._means.watchers.wanted(held.task_id):
                    task = held if isinstance(held, Task) else held.task
                    self._means.watchers.publish(life.executed(task, result, now_ms), last=True)

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
            self._means.arm([after])
        for told in self._told:
            told.ended(end.before, after)
        end.then(after.state, None)


def _fail(ends: list[_End], why: Exception) -> None:
    for end in ends:
        end.then(None, why)
