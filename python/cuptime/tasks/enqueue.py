"""Enqueue: check, persist, answer; then arm."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import BATCH_MAX, TASK_BACKOFF_DEFAULT_MS, TASKS_PENDING_MAX
from cuptime.domain.ports import Committed
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import InsertTasks
from cuptime.tasks.columns import packed, unpacked
from cuptime.tasks.form import KnownGroup, NewTask, check_group, check_new, made
from cuptime.tasks.life import result_hash
from cuptime.tasks.means import Means

METHOD: Final = "EnqueueTasks"
WAITS_RESERVED: Final = 500_000
"""Room in the wheel for leases, retries, firings and the service's own tasks, which nobody could refuse."""


class Enqueue:
    """Makes tasks. Ids come from a counter that starts above what storage has."""

    def __init__(self, means: Means, requests: Requests, known_group: KnownGroup, last_task_id: int) -> None:
        self._means = means
        self._requests = requests
        self._known_group = known_group
        self._ids = itertools.count(last_task_id + 1)

    def next_id(self) -> int:
        """A fresh task id. One that is never used leaves a gap, nothing more."""
        return next(self._ids)

    async def batch(
        self,
        news: Sequence[NewTask],
        *,
        request_id: str = "",
        validate_only: bool = False,
        field: str = "tasks[{}]",
    ) -> list[Task]:
        """All or none. `field` is the path of a task in the request, for errors. See `TaskLine.enqueue_batch`."""
        if not news:
            raise CuptimeError(Reason.FIELD_REQUIRED, "a batch has at least one task", field="requests")
        if len(news) > BATCH_MAX:
            raise CuptimeError(
                Reason.TOO_MANY_ENTRIES,
                f"a batch has at most {BATCH_MAX} tasks",
                field="requests",
                metadata={"limit": str(BATCH_MAX), "value": str(len(news))},
            )
        now_ms = self._means.clock.now_ms()
        for number, new in enumerate(news):
            check_new(new, now_ms, field.format(number))
        if validate_only:
            await self._check_groups(news, field)
            return [made(new, 0, now_ms) for new in news]
        fresh: list[Task] = []
        armed = False

        async def make() -> Made:
            await self._check_groups(news, field)
            if self._means.waits + len(news) > TASKS_PENDING_MAX - WAITS_RESERVED:
                raise CuptimeError(
                    Reason.LIMIT_REACHED, "too many tasks wait", metadata={"limit": str(TASKS_PENDING_MAX)}
                )
            fresh[:] = [made(new, self.next_id(), now_ms) for new in news]
            answer = packed(number for task in fresh for number in (task.task_id, task.due_ms))
            return [InsertTasks(fresh)], answer

        def after(_: Committed) -> None:
            nonlocal armed
            armed = True
            self.armed(fresh)

        # A repeat comes with a trace of its own; it is the same request all the same.
        untraced = [replace(new, traceparent="") for new in news] if request_id else []
        fingerprint = fingerprint_of(*untraced) if request_id else 0
        answer = await self._requests.once(request_id, METHOD, fingerprint, make, after)
        return fresh if armed else await self._first_answer(unpacked(answer))

    def armed(self, tasks: Sequence[Task]) -> None:
        """After their commit."""
        self._means.near.put(tasks, self._means.clock.now_ms())
        self._means.arm(tasks)
        self._means.metrics.task(TaskState.SCHEDULED.name, len(tasks))

    def internal_task(
        self, queue: str, payload: bytes, due_ms: int, *, priority: int, max_retries: int, traceparent: str
    ) -> Task:
        """A row for the commit of another capability."""
        now_ms = self._means.clock.now_ms()
        task_id = self.next_id()
        return Task(
            task_id=task_id,
            queue=queue,
            payload=payload,
            due_ms=due_ms,
            priority=priority,
            max_retries=max_retries,
            backoff_ms=TASK_BACKOFF_DEFAULT_MS,
            state=TaskState.SCHEDULED,
            created_ms=now_ms,
            updated_ms=now_ms,
            scheduled_ms=now_ms,
            result_hash=result_hash(task_id, queue, payload, None),
            traceparent=traceparent,
        )

    async def _check_groups(self, news: Sequence[NewTask], field: str) -> None:
        known: set[int] = set()
        for number, new in enumerate(news):
            if new.context is not None and new.context.group_id not in known:
                await check_group(new.context, self._known_group, field.format(number))
                known.add(new.context.group_id)

    async def _first_answer(self, answer: Sequence[int]) -> list[Task]:
        """The tasks as they were answered the first time, whatever became of them since. Those that wait are armed: the
        first call may have ended without an answer although its commit was kept."""
        due_ms = dict(zip(answer[::2], answer[1::2], strict=True))
        tasks = await self._means.storage.tasks_by_id(list(due_ms))
        waiting = [task for task in tasks if task.state is TaskState.SCHEDULED]
        self._means.arm(waiting)
        return [as_scheduled(task, due_ms[task.task_id], task.created_ms) for task in tasks]


def as_scheduled(task: Task, due_ms: int, scheduled_ms: int) -> Task:
    """A row as it was when it began to wait for `due_ms` for the first time."""
    return replace(
        task,
        state=TaskState.SCHEDULED,
        due_ms=due_ms,
        scheduled_ms=scheduled_ms,
        updated_ms=scheduled_ms,
        retry_count=0,
        trigger_id="",
        trigger_ms=0,
        execution_id="",
        attempt=0,
        lease_until_ms=0,
        worker="",
        result=b"",
        error_code="",
        error_message="",
        retriable=False,
        failed_input=b"",
    )
