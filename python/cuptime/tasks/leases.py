"""Leases: who holds which task until when, and what happens when that ends.

In memory for speed, in storage for truth: a token that memory does not know (the service was restarted) is looked up,
and a lease that still stands is taken over. A lease's end is a wait in the wheel like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TRIGGER_BATCH_MAX, WORKERS_MAX
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import ExtendLeases
from cuptime.tasks import life
from cuptime.tasks.ends import Ends, Then
from cuptime.tasks.means import Means
from cuptime.tasks.workers import (
    Acknowledgement,
    AckResult,
    HeartbeatAnswer,
    Lease,
    WorkerSession,
    parse_token,
)

CANCELLED_TOKENS_HELD_MAX: Final = 10_000
END_AGAIN_MS: Final = 1_000
"""When the end of a lease could not be committed."""

_log = logging.getLogger(__name__)

End = Callable[[Task, Then], None]
"""Puts the report of an attempt to `Ends`."""


class Leases:
    """Every lease and every session."""

    def __init__(
        self,
        means: Means,
        ends: Ends,
        on_hungry: Callable[[WorkerSession], None],
        on_gone: Callable[[WorkerSession], None],
    ) -> None:
        self._means = means
        self.ends = ends
        self.hungry = on_hungry
        self._gone = on_gone
        self._by_task: dict[int, Lease] = {}
        self._sessions: dict[WorkerSession, None] = {}
        self._cancelled: OrderedDict[str, None] = OrderedDict()
        self._running: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._by_task)

    def __contains__(self, task_id: int) -> bool:
        return task_id in self._by_task

    @property
    def session_count(self) -> int:
        return len(self._sessions)

    # --- sessions -------------------------------------------------------------------------------------------------
    def open_session(self, worker: str, queues: Sequence[str], lease_ms: int) -> WorkerSession:
        """Raises FIELD_* for a bad hello, LIMIT_REACHED for one worker too many."""
        if len(self._sessions) >= WORKERS_MAX:
            raise CuptimeError(Reason.LIMIT_REACHED, "too many workers", metadata={"limit": str(WORKERS_MAX)})
        session = WorkerSession(self, worker, queues, lease_ms)
        self._sessions[session] = None
        return session

    async def close_session(self, session: WorkerSession) -> None:
        if session.closed:
            return
        unsent = {lease.task.task_id for lease in session.shut()}
        session.credit = 0
        self._sessions.pop(session, None)
        self._gone(session)
        leaving = [lease for lease in session.held.values() if not lease.ending]
        session.held.clear()
        if leaving:
            await asyncio.wait([self._leave(lease, lease.task.task_id in unsent) for lease in leaving])

    def _leave(self, lease: Lease, unsent: bool) -> asyncio.Future[None]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(after: Task | None, fault: Exception | None) -> None:
            self._ended(lease, after, fault)
            if not over.done():
                over.set_result(None)

        lease.ending = True
        if unsent:
            self.ends.given_back(lease.task, then)
        else:
            message = f"worker {lease.task.worker} closed its stream"
            self.ends.failed(lease.task, life.WORKER_GONE, message, then, retriable=True, at_once=True)
        return over

    async def close(self) -> None:
        """Ends every session, as if their streams had ended."""
        for session in list(self._sessions):
            await self.close_session(session)
        for running in self._running:
            running.cancel()

    # --- leases ---------------------------------------------------------------------------------------------------
    def hold(self, tasks: Sequence[Task], session: WorkerSession | None, until_ms: int) -> list[Lease]:
        """Tasks that storage has leased; arms the end of their leases."""
        leases = [Lease(task, session) for task in tasks]
        for lease in leases:
            self._by_task[lease.task.task_id] = lease
            if session is not None:
                session.held[lease.task.task_id] = lease
        self._means.wheel.arm_leases([task.task_id for task in tasks], until_ms)
        return leases

    def drop(self, task_id: int, execution_id: str, *, cancelled: bool = False) -> None:
        """The lease is over; `cancelled` is remembered for the worker's next heartbeat."""
        lease = self._by_task.get(task_id)
        if lease is None or lease.task.execution_id != execution_id:
            return
        del self._by_task[task_id]
        if lease.session is not None:
            lease.session.held.pop(task_id, None)
        self._means.wheel.disarm_lease(task_id)
        if cancelled:
            self._cancelled[lease.token] = None
            if len(self._cancelled) > CANCELLED_TOKENS_HELD_MAX:
                self._cancelled.popitem(last=False)

    def expired(self, task_ids: list[int]) -> None:
        """Their ends fell due. One that was extended meanwhile, or whose clock was set back, is armed again."""
        now_ms = self._means.clock.now_ms()
        for task_id in task_ids:
            lease = self._by_task.get(task_id)
            if lease is None or lease.ending:
                continue
            if lease.until_ms > now_ms:
                self._means.wheel.arm_leases([task_id], lease.until_ms)
                continue
            lease.ending = True
            message = f"worker {lease.task.worker} neither reported nor sent a heartbeat in time"
            self.ends.failed(
                lease.task, life.LEASE_EXPIRED, message, partial(self._ended, lease), retriable=True
            )

    def _ended(self, lease: Lease, after: Task | None, fault: Exception | None) -> None:
        """When storage could not commit the end, the lease stands on and its end is tried again."""
        if fault is not None:
            lease.ending = False
            self._means.wheel.arm_leases([lease.task.task_id], self._means.clock.now_ms() + END_AGAIN_MS)
        elif after is None:
            self.drop(lease.task.task_id, lease.task.execution_id)

    # --- what workers say -----------------------------------------------------------------------------------------
    def report(self, token: str, end: End) -> asyncio.Future[Acknowledgement]:
        """Ends an attempt by its worker's report."""
        named = parse_token(token)
        lease = self._by_task.get(named[0]) if named else None
        if named is None or (lease is not None and (lease.task.execution_id != named[1] or lease.ending)):
            answer: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
            answer.set_result(Acknowledgement(token, AckResult.LEASE_LOST))
            return answer
        if lease is None:
            return self._keep(self._report_unknown(token, *named, end))
        return self._report(token, lease, end)

    def _report(self, token: str, lease: Lease, end: End) -> asyncio.Future[Acknowledgement]:
        answer: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()

        def then(after: Task | None, fault: Exception | None) -> None:
            self._ended(lease, after, fault)
            if answer.done():
                return
            if fault is not None:
                answer.set_exception(fault)
            elif after is None:
                answer.set_result(Acknowledgement(token, AckResult.LEASE_LOST))
            else:
                answer.set_result(Acknowledgement(token, AckResult.ACCEPTED, after.state))

        lease.ending = True
        end(lease.task, then)
        return answer

    async def _report_unknown(self, token: str, task_id: int, execution_id: str, end: End) -> Acknowledgement:
        lease = (await self._recall([(task_id, execution_id)])).get(task_id)
        if lease is None or lease.ending:
            return Acknowledgement(token, AckResult.LEASE_LOST)
        return await self._report(token, lease, end)

    async def _recall(self, named: Sequence[tuple[int, str]]) -> dict[int, Lease]:
        """Leases that stand in storage but are not held in memory: those given before a restart."""
        tasks: list[Task] = []
        for start in range(0, len(named), TRIGGER_BATCH_MAX):
            ids = [task_id for task_id, _ in named[start : start + TRIGGER_BATCH_MAX]]
            tasks += await self._means.storage.tasks_by_id(ids)
        wanted = dict(named)
        now_ms = self._means.clock.now_ms()
        for task in tasks:
            if task.execution_id != wanted[task.task_id] or task.task_id in self._by_task:
                continue
            if task.state is TaskState.TRIGGERED and task.lease_until_ms > now_ms:
                self.hold([task], None, task.lease_until_ms)
            elif task.state is TaskState.CANCELLED:
                self._cancelled[lease_token_of(task)] = None
        return {
            task_id: lease
            for task_id, execution_id in named
            if (lease := self._by_task.get(task_id)) is not None and lease.task.execution_id == execution_id
        }

    async def extend(self, session: WorkerSession, tokens: Sequence[str]) -> HeartbeatAnswer:
        """One durable write for a whole heartbeat."""
        named = {token: parsed for token in tokens if (parsed := parse_token(token)) is not None}
        unknown = [parsed for parsed in named.values() if parsed[0] not in self._by_task]
        if unknown:
            await self._recall(unknown)
        until_ms = self._means.clock.now_ms() + session.lease_ms
        held = {
            token: lease
            for token, (task_id, execution_id) in named.items()
            if (lease := self._by_task.get(task_id)) is not None
            and lease.task.execution_id == execution_id
            and not lease.ending
        }
        extended: set[int] = set()
        if held:
            rows = [(lease.task.task_id, lease.task.execution_id, until_ms) for lease in held.values()]
            committed = await self._means.commit([ExtendLeases(rows)])
            extended = set(committed.results[0])
        gone = []
        for token in tokens:
            lease = held.get(token)
            if lease is None or lease.task.task_id not in extended:
                gone.append(token)
            else:
                # The timer stays where it is: when it ends it finds the lease extended and is armed again.
                lease.until_ms = until_ms
        cancelled = tuple(token for token in gone if token in self._cancelled)
        lost = tuple(token for token in gone if token not in self._cancelled)
        return HeartbeatAnswer(until_ms, lost, cancelled)

    def _keep(self, work: Coroutine[Any, Any, Acknowledgement]) -> asyncio.Task[Acknowledgement]:
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running


def lease_token_of(task: Task) -> str:
    """The token of a row's last attempt."""
    return life.lease_token(task.task_id, task.execution_id)
