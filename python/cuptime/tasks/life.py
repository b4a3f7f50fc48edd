"""The life of a task as pure functions: which transitions there are, and what each writes into the row.

    PENDING -> SCHEDULED -> TRIGGERED -> EXECUTED | FAILED
    FAILED -> SCHEDULED      while retriable and under the retry limit, or because a person says so
    CANCELLED                from PENDING, SCHEDULED and TRIGGERED: any state before execution

Nothing else. A failed attempt that will be retried goes FAILED -> SCHEDULED in the commit of its failure, so a task
that rests in FAILED has failed for good.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TASK_BACKOFF_MAX_MS
from cuptime.domain.values import Task, TaskContext, TaskState

ALLOWED: Final[dict[TaskState, frozenset[TaskState]]] = {
    TaskState.PENDING: frozenset({TaskState.SCHEDULED, TaskState.CANCELLED}),
    TaskState.SCHEDULED: frozenset({TaskState.TRIGGERED, TaskState.CANCELLED}),
    TaskState.TRIGGERED: frozenset({TaskState.EXECUTED, TaskState.FAILED, TaskState.CANCELLED}),
    TaskState.EXECUTED: frozenset(),
    TaskState.FAILED: frozenset({TaskState.SCHEDULED}),
    TaskState.CANCELLED: frozenset(),
}
RESTING: Final = frozenset({TaskState.EXECUTED, TaskState.FAILED, TaskState.CANCELLED})

INTERNAL_PREFIX: Final = "cuptime."
LEASE_EXPIRED: Final = "LEASE_EXPIRED"
WORKER_GONE: Final = "WORKER_GONE"
CONTEXT_INVALID: Final = "CONTEXT_INVALID"
FAULT: Final = "FAULT"


def step(task: Task, to: TaskState) -> None:
    """Raises STATE_CONFLICT unless the transition exists."""
    if to not in ALLOWED[task.state]:
        raise CuptimeError(
            Reason.STATE_CONFLICT,
            f"task {task.task_id} is {task.state.name}; it cannot become {to.name}",
            metadata={"state": task.state.name, "wanted": to.name},
        )


def is_internal(queue: str) -> bool:
    """Does this process itself run the tasks of the queue?"""
    return queue.startswith(INTERNAL_PREFIX)


def lease_token(task_id: int, execution_id: str) -> str:
    """Names one attempt at a task."""
    return f"{task_id}.{execution_id}"


def backoff_ms(first_ms: int, retry_count: int) -> int:
    """How long retry number `retry_count + 1` waits: the first backoff, doubled at each retry, at most an hour."""
    if retry_count >= TASK_BACKOFF_MAX_MS.bit_length():
        return TASK_BACKOFF_MAX_MS
    return min(first_ms << retry_count, TASK_BACKOFF_MAX_MS)


def result_hash(
    task_id: int,
    queue: str,
    payload: bytes,
    context: TaskContext | None,
    *,
    schedule_seq: int = 0,
    generation: int = 0,
    nominal_ms: int = 0,
) -> bytes:
    """BLAKE2b-128 over the input and the business context.

    Two tasks of one group with equal input have equal hashes, and the second never runs. A task without a context is
    its own context: its firing when a schedule made it, else its id.
    """
    if context is not None:
        key = f"c{context.group_id}/{context.sku_version}/{context.stock_snapshot}/{context.timestamp_ms}"
    elif schedule_seq:
        key = f"s{schedule_seq}/{generation}/{nominal_ms}"
    else:
        key = f"t{task_id}"
    digest = hashlib.blake2b(digest_size=16)
    for part in (queue.encode(), key.encode(), payload):
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    return digest.digest()


def execution_ids(token: str) -> Iterator[str]:
    """Ids for the attempts of one batch: 96 random bits of its token, and a count. A random number for each attempt
    would cost a system call for each."""
    prefix = token[8:]
    return (f"{prefix}{number:08x}" for number in itertools.count())


def leased(
    task: Task, trigger_id: str, trigger_ms: int, execution_id: str, until_ms: int, worker: str, now_ms: int
) -> Task:
    """The row after TriggerTasks that gave it to a worker, or LeaseTasks."""
    return replace(
        task,
        state=TaskState.TRIGGERED,
        updated_ms=now_ms,
        trigger_id=trigger_id,
        trigger_ms=trigger_ms,
        execution_id=execution_id,
        attempt=task.attempt + 1,
        lease_until_ms=until_ms,
        worker=worker,
    )


def triggered(task: Task, trigger_id: str, now_ms: int) -> Task:
    """The row after TriggerTasks that gave it to nobody."""
    step(task, TaskState.TRIGGERED)
    return replace(
        task, state=TaskState.TRIGGERED, trigger_id=trigger_id, trigger_ms=now_ms, updated_ms=now_ms
    )


def executed(task: Task, result: bytes, now_ms: int) -> Task:
    """Done, with its result."""
    step(task, TaskState.EXECUTED)
    return replace(
        task, state=TaskState.EXECUTED, result=result, lease_until_ms=0, updated_ms=now_ms, failed_input=b""
    )


def failed(task: Task, code: str, message: str, retriable: bool, now_ms: int) -> Task:
    """The attempt failed; keeps why, and a snapshot of the input it failed on."""
    step(task, TaskState.FAILED)
    return replace(
        task,
        state=TaskState.FAILED,
        error_code=code,
        error_message=message,
        retriable=retriable,
        failed_input=task.payload,
        lease_until_ms=0,
        updated_ms=now_ms,
    )


def may_retry(task: Task) -> bool:
    """Is a FAILED task retriable and under its limit?"""
    return task.state is TaskState.FAILED and task.retriable and task.retry_count < task.max_retries


def retried(task: Task, now_ms: int, *, at_once: bool = False) -> Task:
    """FAILED to SCHEDULED: one retry more, due after the backoff (`at_once`: now).

    The due time always grows, even when the wall clock was set back: a stale timer then never matches the row.
    """
    wait_ms = 0 if at_once else backoff_ms(task.backoff_ms, task.retry_count)
    return _again(task, now_ms, now_ms + wait_ms, task.retry_count + 1)


def retried_by_hand(task: Task, now_ms: int) -> Task:
    """FAILED to SCHEDULED by a person: due now, retries counted from zero, whatever the failure said of itself."""
    return _again(task, now_ms, now_ms, 0)


def _again(task: Task, now_ms: int, due_ms: int, retry_count: int) -> Task:
    step(task, TaskState.SCHEDULED)
    return replace(
        task,
        state=TaskState.SCHEDULED,
        due_ms=max(due_ms, task.due_ms + 1),
        retry_count=retry_count,
        scheduled_ms=now_ms,
        updated_ms=now_ms,
        trigger_id="",
        trigger_ms=0,
        execution_id="",
        worker="",
        lease_until_ms=0,
    )


def cancelled(task: Task, now_ms: int) -> Task:
    """Cancelled before execution. The execution_id stays: its worker learns of it at the next heartbeat."""
    step(task, TaskState.CANCELLED)
    return replace(task, state=TaskState.CANCELLED, lease_until_ms=0, updated_ms=now_ms)


def given_back(task: Task, now_ms: int) -> Task:
    """Still TRIGGERED: its lease ended before the worker ever saw the task, so no attempt was made."""
    return replace(
        task,
        execution_id="",
        worker="",
        lease_until_ms=0,
        attempt=max(0, task.attempt - 1),
        updated_ms=now_ms,
    )
