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
from cuptime.domain.limits import TASK_RESULT_BYTES_MAX, TRIGGER_BATCH_MAX, WORKERS_MAX
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import ExtendLeases
from cuptime.tasks import life
from cuptime.tasks.ends import ENDS_PER_COMMIT_MAX, Ends
from cuptime.tasks.means import Means
from cuptime.tasks.workers import (
    Acknowledgement,
    AckResult,
    HeartbeatAnswer,
    Lease,
    Said,
    WorkerSession,
    parse_token,
)

CANCELLED_TOKENS_HELD_MAX: Final = 10_000
END_AGAIN_MS: Final = 1_000
"""When the end of a lease could not be committed."""

_log = logging.getLogger(__name__)

ANOTHER_WORKER: Final = "LEASE_OF_ANOTHER_WORKER: the lease is held by a worker of another name"


class Leases:
    """Every lease and every session."""

    def __init__(
        self,
        means: Means,
        ends: Ends,
        on_hungry: Callable[[WorkerSession], None],
        on_gone: Callable[[WorkerSession], None],
        on_over: Callable[[Lease, Task | None], None],
    ) -> None:
        """`on_over` hears of attempts that ended otherwise than by a report that `ends` tells of, with
        the row when it was read."""
        self._means = means
        self.ends = ends
        self.hungry = on_hungry
        self._gone = on_gone
        self._over = on_over
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

    def close_session(self, session: WorkerSession) -> asyncio.Future[list[None]]:
        """At once; what is returned is done after the commit. Whoever calls may be cancelled while it waits for that:
        a session that stayed open then would be dealt tasks that nobody sends."""
        if session.closed:
            return asyncio.gather()
        unsent = {lease.task_id for lease in session.shut()}
        session.credit = 0
        self._sessions.pop(session, None)
        self._gone(session)
        leaving = [lease for lease in session.held.values() if not lease.ending]
        session.held.clear()
        return asyncio.gather(*(self._leave(lease, lease.task_id in unsent) for lease in leaving))

    def _leave(self, lease: Lease, unsent: bool) -> asyncio.Future[None]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def then(after: TaskState | None, fault: Exception | None) -> None:
            self._ended(lease, after, fault)
            if not over.done():
                over.set_result(None)

        lease.ending = True
        if unsent:
            self.ends.given_back(lease.task, then)
        else:
            message = f"worker {lease.worker} closed its stream"
            self.ends.failed(lease.task, life.WORKER_GONE, message, then, retriable=True, at_once=True)
        return over

    async def close(self) -> None:
        """Ends every session, as if their streams had ended."""
        for session in list(self._sessions):
            await self.close_session(session)
        for running in self._running:
            running.cancel()

    # --- leases ---------------------------------------------------------------------------------------------------
    def hold(self, leases: Sequence[Lease], until_ms: int) -> None:
        """Leases that storage has given; arms their ends."""
        for lease in leases:
            self._by_task[lease.task_id] = lease
            if lease.session is not None:
                lease.session.held[lease.task_id] = lease
        self._means.wheel.arm_leases([lease.task_id for lease in leases], until_ms)

    def drop(self, task_id: int, execution_id: str, *, cancelled: bool = False) -> None:
        """The lease is over; `cancelled` is remembered for the worker's next heartbeat."""
        lease = self._by_task.get(task_id)
        if lease is None or lease.execution_id != execution_id:
            return
        self.drop_all([lease])
        if cancelled:
            self._note_cancelled(lease.token)

    def _note_cancelled(self, token: str) -> None:
        self._cancelled[token] = None
        if len(self._cancelled) > CANCELLED_TOKENS_HELD_MAX:
            self._cancelled.popitem(last=False)

    def withdraw(self, task_id: int) -> None:
        """The task was cancelled, whichever attempt has it."""
        lease = self._by_task.get(task_id)
        if lease is not None:
            self.drop(task_id, lease.execution_id, cancelled=True)

    def drop_all(self, leases: Sequence[Lease]) -> None:
        """These are over; one that another attempt has replaced is left alone."""
        over: list[int] = []
        for lease in leases:
            task_id = lease.task_id
            if self._by_task.get(task_id) is lease:
                del self._by_task[task_id]
                over.append(task_id)
                if lease.session is not None:
                    lease.session.held.pop(task_id, None)
        self._means.wheel.disarm_leases(over)

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
            message = f"worker {lease.worker} neither reported nor sent a heartbeat in time"
            self.ends.failed(
                lease.task, life.LEASE_EXPIRED, message, partial(self._ended, lease), retriable=True
            )

    def _ended(self, lease: Lease, after: TaskState | None, fault: Exception | None) -> None:
        """When storage could not commit the end, the lease stands on and its end is tried again."""
        if fault is not None:
            lease.ending, lease.doubtful = False, True
            self._means.wheel.arm_leases([lease.task_id], self._means.clock.now_ms() + END_AGAIN_MS)
        elif after is None:
            self._lost(lease, None)

    def _lost(self, lease: Lease, said: Said | None) -> None:
        """The attempt had ended otherwise: by somebody else, or by a report of this very lease whose commit was kept
        although it was told as failed. The row says which; whoever waits for the end of the attempt goes on."""
        standing = self._by_task.get(lease.task_id) is lease
        self.drop_all([lease])
        if standing and lease.doubtful:
            self._keep(self._settle(lease, said))
            return
        if standing:
            self._over(lease, None)
        if said is not None:
            said([Acknowledgement(lease.token, AckResult.LEASE_LOST)], None)

    async def _settle(self, lease: Lease, said: Said | None) -> None:
        row = await self._means.persist(self._means.storage.task, lease.task_id)
        answer = Acknowledgement(lease.token, AckResult.LEASE_LOST)
        if row is not None:
            if row.execution_id == lease.execution_id and row.state in (TaskState.EXECUTED, TaskState.FAILED):
                answer = Acknowledgement(lease.token, AckResult.ACCEPTED, row.state)
            elif row.state is TaskState.SCHEDULED:
                # Its retry was kept: nobody has armed it.
                self._means.arm([row])
                if row.retry_count == lease.row.retry_count + 1:
                    answer = Acknowledgement(lease.token, AckResult.ACCEPTED, row.state)
            self._means.watchers.publish(row, last=row.state in life.RESTING)
        self._over(lease, row)
        if said is not None:
            said([answer], None)

    # --- what workers say -----------------------------------------------------------------------------------------
    def completed(self, session: WorkerSession, reports: Sequence[tuple[str, bytes]], said: Said) -> None:
        """Ends attempts by their worker's reports: those of one message in one commit."""
        held: list[tuple[Lease, bytes]] = []
        answers: list[Acknowledgement] = []
        unknown: list[tuple[str, bytes]] = []
        for token, result in reports:
            lease, refusal = self._named(session, token)
            if lease is not None and len(result) <= TASK_RESULT_BYTES_MAX:
                lease.ending = True
                held.append((lease, result))
            elif refusal is not None:
                answers.append(refusal)
            elif lease is None:
                unknown.append((token, result))
            else:
                message = f"result has {len(result)} bytes; at most {TASK_RESULT_BYTES_MAX}"
                answers.append(Acknowledgement(token, AckResult.INVALID, message=message))
        if answers:
            said(answers, None)
        if unknown:
            self._keep(self._completed_unknown(session, unknown, said))
        for start in range(0, len(held), ENDS_PER_COMMIT_MAX):
            part = held[start : start + ENDS_PER_COMMIT_MAX]
            self.ends.completed(part, partial(self._completed, [lease for lease, _ in part], said))

    async def _completed_unknown(
        self, session: WorkerSession, reports: Sequence[tuple[str, bytes]], said: Said
    ) -> None:
        standing = await self._recalled([token for token, _ in reports], said)
        if standing:
            self.completed(session, [report for report in reports if report[0] in standing], said)

    def _completed(
        self, leases: list[Lease], said: Said, moved: set[int] | None, fault: Exception | None
    ) -> None:
        if fault is not None or moved is None:
            for lease in leases:
                self._ended(lease, None, fault or RuntimeError("the commit did not say"))
            said([], fault)
            return
        accepted: list[Acknowledgement] = []
        for lease in leases:
            if lease.task_id in moved:
                accepted.append(Acknowledgement(lease.token, AckResult.ACCEPTED, TaskState.EXECUTED))
            else:
                self._lost(lease, said)
        if accepted:
            said(accepted, None)

    def failed(
        self, session: WorkerSession, token: str, code: str, message: str, retriable: bool, said: Said
    ) -> None:
        """Ends an attempt by its worker's report."""
        lease, refusal = self._named(session, token)
        if refusal is not None:
            said([refusal], None)
        elif lease is None:
            self._keep(self._failed_unknown(session, token, code, message, retriable, said))
        else:
            lease.ending = True
            then = partial(self._failed, lease, said)
            self.ends.failed(lease.task, code, message, then, retriable=retriable)

    async def _failed_unknown(
        self, session: WorkerSession, token: str, code: str, message: str, retriable: bool, said: Said
    ) -> None:
        if await self._recalled([token], said):
            self.failed(session, token, code, message, retriable, said)

    def _failed(self, lease: Lease, said: Said, after: TaskState | None, fault: Exception | None) -> None:
        if fault is not None:
            self._ended(lease, None, fault)
            said([], fault)
        elif after is None:
            self._lost(lease, said)
        else:
            said([Acknowledgement(lease.token, AckResult.ACCEPTED, after)], None)

    def _named(self, session: WorkerSession, token: str) -> tuple[Lease | None, Acknowledgement | None]:
        """The lease that a report of the session may end; or why not; or neither, when memory does not know it."""
        lease = self._by_task.get(_task_id_in(token))
        if lease is not None and lease.token == token and not lease.ending:
            if lease.worker != session.worker:
                return None, Acknowledgement(token, AckResult.INVALID, message=ANOTHER_WORKER)
            return lease, None
        if lease is not None or parse_token(token) is None:
            return None, Acknowledgement(token, AckResult.LEASE_LOST)
        return None, None

    async def _recalled(self, tokens: Sequence[str], said: Said) -> set[str]:
        """Looks leases up in storage that memory does not know; those of the tokens that still stand."""
        try:
            found = await self._recall([named for token in tokens if (named := parse_token(token))])
        except CuptimeError as refusal:
            said([], refusal)
            return set()
        standing = {lease.token for lease in found.values()}
        lost = [Acknowledgement(token, AckResult.LEASE_LOST) for token in tokens if token not in standing]
        if lost:
            said(lost, None)
        return standing

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
                self.hold([Lease(task, None)], task.lease_until_ms)
            elif task.state is TaskState.CANCELLED:
                self._note_cancelled(lease_token_of(task))
        return {
            task_id: lease
            for task_id, execution_id in named
            if (lease := self._by_task.get(task_id)) is not None and lease.execution_id == execution_id
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
            and lease.execution_id == execution_id
            and lease.worker == session.worker
            and not lease.ending
        }
        extended: set[int] = set()
        if held:
            rows = [(lease.task_id, lease.execution_id, until_ms) for lease in held.values()]
            committed = await self._means.commit([ExtendLeases(rows)])
            extended = set(committed.results[0])
        gone = []
        for token in tokens:
            lease = held.get(token)
            if lease is None or lease.task_id not in extended:
                gone.append(token)
            else:
                # The timer stays where it is: when it ends it finds the lease extended and is armed again.
                lease.until_ms = until_ms
        cancelled = tuple(token for token in gone if token in self._cancelled)
        lost = tuple(token for token in gone if token not in self._cancelled)
        return HeartbeatAnswer(until_ms, lost, cancelled)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)


def _task_id_in(token: str) -> int:
    """Of what may be a token; 0 when it is none. Whether it names a lease, a comparison with the lease's own tells."""
    try:
        return int(token.partition(".")[0])
    except ValueError:
        return 0


def lease_token_of(task: Task) -> str:
    """The token of a row's last attempt."""
    return life.lease_token(task.task_id, task.execution_id)
