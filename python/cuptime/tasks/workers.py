"""Workers as the line sees them: a session with queues, credits, a stream of leased tasks, and reports.

The API drives a session: it opens one at `hello`, passes on what the worker says, sends what `batches` gives, and
closes it when the stream ends, however it ends.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import (
    LEASE_DEFAULT_MS,
    LEASE_MAX_MS,
    LEASE_MIN_MS,
    TASK_ERROR_MESSAGE_CHARS_MAX,
    TASK_RESULT_BYTES_MAX,
    WORKER_CREDITS_MAX,
    WORKER_QUEUES_MAX,
)
from cuptime.domain.values import Task, TaskState
from cuptime.tasks.form import check_queue
from cuptime.tasks.life import lease_token

if TYPE_CHECKING:
    from cuptime.tasks.leases import Leases

WORKER_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ERROR_CODE_FORM: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
TOKEN_FORM: Final = re.compile(r"([1-9][0-9]{0,18})\.([0-9a-f]{32})")


class AckResult(IntEnum):
    """What became of a report. Numbers as on the wire."""

    ACCEPTED = 1
    LEASE_LOST = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The answer to complete and fail, after the commit."""

    lease_token: str
    result: AckResult
    state: TaskState | None = None
    """The task's state after an accepted report: EXECUTED, FAILED, or SCHEDULED when it will be retried."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class HeartbeatAnswer:
    """What became of the leases named in a heartbeat."""

    lease_until_ms: int
    lost: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()


class Lease:
    """A task held by a worker."""

    __slots__ = ("ending", "session", "task", "until_ms")

    def __init__(self, task: Task, session: WorkerSession | None) -> None:
        self.task = task
        self.until_ms = task.lease_until_ms
        self.session = session
        """None when it was taken from storage after a restart."""
        self.ending = False
        """A report is on its way to disk: the lease can no longer expire."""

    @property
    def token(self) -> str:
        """Names the attempt."""
        return lease_token(self.task.task_id, self.task.execution_id)

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return self.task.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at the task, and for every task of equal input and context."""
        return self.task.result_hash.hex()


class WorkerSession:
    """One worker's stream. Made by `TaskLine.open_session`."""

    def __init__(self, leases: Leases, worker: str, queues: Sequence[str], lease_ms: int) -> None:
        check_worker(worker, queues, lease_ms)
        self.worker = worker
        self.queues = tuple(dict.fromkeys(queues))
        self.lease_ms = lease_ms or LEASE_DEFAULT_MS
        self.credit = 0
        """Tasks that may still be sent."""
        self.closed = False
        self.held: dict[int, Lease] = {}
        self._leases = leases
        self._outbound: deque[list[Lease]] = deque()
        self._more = asyncio.Event()

    def credits(self, count: int) -> None:
        """The worker is ready for `count` tasks more. Raises FIELD_INVALID outside 1 to 10,000; what would exceed that
        in sum is cut."""
        if not 1 <= count <= WORKER_CREDITS_MAX:
            raise invalid("credits.count", f"1 to {WORKER_CREDITS_MAX}", count)
        if not self.closed:
            self.credit = min(self.credit + count, WORKER_CREDITS_MAX)
            self._leases.hungry(self)

    async def batches(self) -> AsyncIterator[list[Lease]]:
        """Leased tasks, batch by batch, until the session is closed. For one reader."""
        while True:
            while self._outbound:
                yield self._outbound.popleft()
            if self.closed:
                return
            self._more.clear()
            await self._more.wait()

    def heartbeat(self, tokens: Sequence[str]) -> asyncio.Future[HeartbeatAnswer]:
        """Extends the leases by the session's lease length, durably; says which are lost or cancelled."""
        if not 1 <= len(tokens) <= WORKER_CREDITS_MAX:
            raise invalid("heartbeat.lease_tokens", f"1 to {WORKER_CREDITS_MAX} tokens", len(tokens))
        return asyncio.ensure_future(self._leases.extend(self, tokens))

    def complete(self, token: str, result: bytes = b"") -> asyncio.Future[Acknowledgement]:
        """The task is done. The future ends after the commit; it fails with STORAGE_UNAVAILABLE or OVERLOADED when the
        commit does, and the lease then still stands."""
        if len(result) > TASK_RESULT_BYTES_MAX:
            return _refused(token, f"result has {len(result)} bytes; at most {TASK_RESULT_BYTES_MAX}")
        return self._leases.report(token, lambda task, then: self._leases.ends.executed(task, result, then))

    def fail(
        self, token: str, error_code: str, error_message: str = "", *, retriable: bool = False
    ) -> asyncio.Future[Acknowledgement]:
        """The task failed. As :meth:`complete`."""
        if not ERROR_CODE_FORM.fullmatch(error_code):
            return _refused(token, f"error_code must be of the form ^{ERROR_CODE_FORM.pattern}$")
        if len(error_message) > TASK_ERROR_MESSAGE_CHARS_MAX:
            return _refused(token, f"error_message has more than {TASK_ERROR_MESSAGE_CHARS_MAX} characters")
        return self._leases.report(
            token,
            lambda task, then: self._leases.ends.failed(
                task, error_code, error_message, then, retriable=retriable
            ),
        )

    async def close(self) -> None:
        """The stream is over. What was sent and not reported counts as an attempt, is retried without a backoff, and
        fails with WORKER_GONE when no retry is left; what was not yet sent was no attempt. Returns after the commit."""
        await self._leases.close_session(self)

    def push(self, leases: list[Lease]) -> None:
        """To be sent; bounded by the credits given."""
        self._outbound.append(leases)
        self._more.set()

    def shut(self) -> list[Lease]:
        """Ends the stream of batches; returns the leases that were never read from it."""
        self.closed = True
        unsent = [lease for batch in self._outbound for lease in batch]
        self._outbound.clear()
        self._more.set()
        return unsent


def check_worker(worker: str, queues: Sequence[str], lease_ms: int) -> None:
    """Raises FIELD_* unless a hello is valid."""
    if not worker:
        raise required("hello.worker")
    if not WORKER_FORM.fullmatch(worker):
        raise invalid("hello.worker", f"of the form ^{WORKER_FORM.pattern}$", worker)
    if not queues:
        raise required("hello.queues")
    if len(queues) > WORKER_QUEUES_MAX:
        raise CuptimeError(
            Reason.TOO_MANY_ENTRIES,
            f"a worker takes at most {WORKER_QUEUES_MAX} queues",
            field="hello.queues",
            metadata={"limit": str(WORKER_QUEUES_MAX), "value": str(len(queues))},
        )
    for number, queue in enumerate(queues):
        check_queue(queue, f"hello.queues[{number}]")
    if lease_ms and not LEASE_MIN_MS <= lease_ms <= LEASE_MAX_MS:
        raise invalid("hello.lease_ms", f"{LEASE_MIN_MS} to {LEASE_MAX_MS}, or 0", lease_ms)


def parse_token(token: str) -> tuple[int, str] | None:
    """(task_id, execution_id) of a lease token; None when it is not one."""
    match = TOKEN_FORM.fullmatch(token)
    return (int(match[1]), match[2]) if match else None


def _refused(token: str, message: str) -> asyncio.Future[Acknowledgement]:
    answer: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()
    answer.set_result(Acknowledgement(token, AckResult.INVALID, message=message))
    return answer
