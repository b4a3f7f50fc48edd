"""Workers as the line sees them: a session with queues, credits, a stream of leased tasks, and reports.

The API drives a session: it opens one at `hello`, passes on what the worker says, sends what `batches` gives, and
closes it when the stream ends, however it ends.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import (
    BUCKET_BYTES_MAX,
    LEASE_DEFAULT_MS,
    LEASE_MAX_MS,
    LEASE_MIN_MS,
    TASK_ERROR_MESSAGE_CHARS_MAX,
    WORKER_CREDITS_MAX,
    WORKER_QUEUES_MAX,
)
from cuptime.domain.values import Task, TaskState
from cuptime.tasks import life
from cuptime.tasks.form import check_queue

if TYPE_CHECKING:
    from cuptime.tasks.leases import Leases

WORKER_FORM: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
ERROR_CODE_FORM: Final = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
TOKEN_FORM: Final = re.compile(r"([1-9][0-9]{0,18})\.([0-9a-f]{32})")

UNREAD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of tasks dealt to one session and not yet sent."""
TASK_BYTES_BESIDE: Final = 512
"""Of a task in a message, beside payload and the like."""


class AckResult(IntEnum):
    """What became of a report. Numbers as on the wire."""

    ACCEPTED = 1
    LEASE_LOST = 2
    INVALID = 3


class Acknowledgement(NamedTuple):
    """The answer to complete and fail, after the commit."""

    lease_token: str
    result: AckResult
    state: TaskState | None = None
    """The task's state after an accepted report: EXECUTED, FAILED, or SCHEDULED when it will be retried."""
    message: str = ""


Said = Callable[[list[Acknowledgement], Exception | None], None]
"""Told what became of some of the reports given together; or, with no acknowledgement, why a commit failed (the leases
of those reports still stand)."""


class HeartbeatAnswer(Struct, frozen=True):
    """What became of the leases named in a heartbeat."""

    lease_until_ms: int
    lost: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()


class Fired(NamedTuple):
    """What the tasks of one grant have in common."""

    trigger_id: str
    trigger_ms: int
    leased_ms: int
    until_ms: int
    worker: str


class Lease:
    """A task held by a worker. Its row as it was before the lease is kept, and the row under the lease is only made for
    who asks: most leases end well, and nobody does."""

    __slots__ = (
        "_fired",
        "_row",
        "attempt",
        "doubtful",
        "ending",
        "execution_id",
        "leads",
        "session",
        "task_id",
        "together",
        "until_ms",
    )

    def __init__(
        self, row: Task, session: WorkerSession | None, execution_id: str = "", fired: Fired | None = None
    ) -> None:
        """Without `fired` the row is that of the lease already: taken from storage after a restart."""
        self._row = row
        self._fired = fired
        self.task_id = row.task_id
        self.session = session
        self.execution_id = execution_id or row.execution_id
        self.until_ms = fired.until_ms if fired else row.lease_until_ms
        self.attempt = row.attempt + 1 if fired else row.attempt
        """1 for the first."""
        self.together = 1
        """With how many tasks of its bucket, itself included, it is delivered."""
        self.leads = False
        """Is it the first of those?"""
        self.ending = False
        """A report is on its way to disk: the lease can no longer expire."""
        self.doubtful = False
        """A report's commit failed, and it is not known whether it was kept."""

    @property
    def task(self) -> Task:
        """The row under the lease."""
        fired = self._fired
        if fired is not None:
            self._row = life.leased(
                self._row, fired.trigger_id, fired.trigger_ms, self.execution_id, fired.until_ms,
                fired.worker, fired.leased_ms,
            )  # fmt: skip
            self._fired = None
        return self._row

    @property
    def row(self) -> Task:
        """For what a lease does not change."""
        return self._row

    @property
    def trigger_ms(self) -> int:
        return self._fired.trigger_ms if self._fired else self._row.trigger_ms

    @property
    def updated_ms(self) -> int:
        return self._fired.leased_ms if self._fired else self._row.updated_ms

    @property
    def worker(self) -> str:
        return self._fired.worker if self._fired else self._row.worker

    @property
    def token(self) -> str:
        """Names the attempt."""
        return f"{self.task_id}.{self.execution_id}"

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt at the task, and for every task of equal input and context."""
        return self._row.result_hash.hex()


class WorkerSession:
    """One worker's stream. Made by `TaskLine.open_session`."""

    def __init__(self, leases: Leases, worker: str, queues: Sequence[str], lease_ms: int) -> None:
        check_worker(worker, queues, lease_ms)
        self.worker = worker
        self.queues = tuple(dict.fromkeys(queues))
        self.lease_ms = lease_ms or LEASE_DEFAULT_MS
        self.credit = 0
        """Tasks that may still be sent."""
        self.unread_bytes = 0
        """Of tasks dealt to it and not yet taken by :meth:`take`."""
        self.closed = False
        self.held: dict[int, Lease] = {}
        self._leases = leases
        self._outbound: deque[Lease] = deque()
        self.stirred = asyncio.Event()
        """Set when there is something to :meth:`take`, or the session was closed; cleared by who reads."""

    @property
    def hungry(self) -> bool:
        """May it be dealt a task? Not while as much as `UNREAD_BYTES_MAX` waits for a transport that does not drain."""
        return self.credit > 0 and not self.closed and self.unread_bytes < UNREAD_BYTES_MAX

    def credits(self, count: int, field: str = "credits.count") -> None:
        """The worker is ready for `count` tasks more. Raises FIELD_INVALID outside 1 to 10,000; what would exceed that
        in sum is cut."""
        if not 1 <= count <= WORKER_CREDITS_MAX:
            raise invalid(field, f"1 to {WORKER_CREDITS_MAX}", count)
        if not self.closed:
            self.credit = min(self.credit + count, WORKER_CREDITS_MAX)
            self._leases.hungry(self)

    def take(self, count_max: int, bytes_max: int) -> list[Lease]:
        """The next leased tasks to send: at most so many, and at most so many bytes of them but at least one."""
        outbound, room = self._outbound, bytes_max
        taken: list[Lease] = []
        while outbound and len(taken) < count_max:
            first = outbound[0]
            room -= bytes_of(first.row)
            if room < 0 and taken:
                break
            # The part of a bucket is one message: it waits for the next where this has no room for all of it.
            if first.leads and taken and (len(taken) + first.together > count_max or room < BUCKET_BYTES_MAX):
                break
            taken.append(outbound.popleft())
        if taken:
            clogged = self.unread_bytes >= UNREAD_BYTES_MAX
            self.unread_bytes -= sum(bytes_of(lease.row) for lease in taken)
            if clogged and self.hungry:
                self._leases.hungry(self)
        return taken

    async def batches(self) -> AsyncIterator[list[Lease]]:
        """Leased tasks, batch by batch, until the session is closed. For one reader."""
        while True:
            while leases := self.take(WORKER_CREDITS_MAX, UNREAD_BYTES_MAX):
                yield leases
            if self.closed:
                return
            self.stirred.clear()
            await self.stirred.wait()

    def heartbeat(
        self, tokens: Sequence[str], field: str = "heartbeat.lease_tokens"
    ) -> asyncio.Future[HeartbeatAnswer]:
        """Extends the leases by the session's lease length, durably; says which are lost or cancelled."""
        if not 1 <= len(tokens) <= WORKER_CREDITS_MAX:
            raise invalid(field, f"1 to {WORKER_CREDITS_MAX} tokens", len(tokens))
        return asyncio.ensure_future(self._leases.extend(self, tokens))

    def completed(self, reports: Sequence[tuple[str, bytes]], said: Said) -> None:
        """These are done: (lease_token, result). `said` hears of each once, after its commit; and when a commit fails
        with STORAGE_UNAVAILABLE or OVERLOADED, the leases then still stand."""
        self._leases.completed(self, reports, said)

    def complete(self, token: str, result: bytes = b"") -> asyncio.Future[Acknowledgement]:
        """One task is done, as :meth:`completed`."""
        answer, said = _future()
        self._leases.completed(self, [(token, result)], said)
        return answer

    def failed(self, token: str, error_code: str, error_message: str, retriable: bool, said: Said) -> None:
        """The task failed. As :meth:`completed`."""
        if not ERROR_CODE_FORM.fullmatch(error_code):
            refused = f"error_code must be of the form ^{ERROR_CODE_FORM.pattern}$"
        elif len(error_message) > TASK_ERROR_MESSAGE_CHARS_MAX:
            refused = f"error_message has more than {TASK_ERROR_MESSAGE_CHARS_MAX} characters"
        else:
            self._leases.failed(self, token, error_code, error_message, retriable, said)
            return
        said([Acknowledgement(token, AckResult.INVALID, message=refused)], None)

    def fail(
        self, token: str, error_code: str, error_message: str = "", *, retriable: bool = False
    ) -> asyncio.Future[Acknowledgement]:
        """As :meth:`failed`, to be awaited."""
        answer, said = _future()
        self.failed(token, error_code, error_message, retriable, said)
        return answer

    def close(self) -> asyncio.Future[list[None]]:
        """The stream is over, at once. What was sent and not reported counts as an attempt, is retried without a
        backoff, and fails with WORKER_GONE when no retry is left; what was not yet sent was no attempt. What is
        returned is done after the commit."""
        return self._leases.close_session(self)

    def push(self, leases: list[Lease]) -> None:
        """To be sent; bounded by the credits given and by `UNREAD_BYTES_MAX`."""
        self._outbound.extend(leases)
        self.stirred.set()

    def shut(self) -> list[Lease]:
        """Ends the stream of batches; returns the leases that were never read from it."""
        self.closed = True
        unsent = list(self._outbound)
        self._outbound.clear()
        self.stirred.set()
        return unsent


def bytes_of(row: Task) -> int:
    """About what a task takes in a message."""
    return len(row.payload) + len(row.result) + len(row.error_message) + TASK_BYTES_BESIDE


def _future() -> tuple[asyncio.Future[Acknowledgement], Said]:
    answer: asyncio.Future[Acknowledgement] = asyncio.get_running_loop().create_future()

    def said(acks: list[Acknowledgement], fault: Exception | None) -> None:
        if answer.done():
            return
        if fault is not None:
            answer.set_exception(fault)
        else:
            answer.set_result(acks[0])

    return answer, said


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
