"""TaskService: tasks in, tasks out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from cuptime._gen.cuptime.v1 import task_service_pb2 as pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.api import convert, filters, names, pages
from cuptime.api.call import Call
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import BATCH_MAX, BUCKET_MS, TASK_RETRIES_MAX
from cuptime.domain.values import Schedule, Task, TaskContext
from cuptime.tasks.form import NewTask
from cuptime.tasks.line import TaskLine

SCHEDULE_IDS_HELD_MAX: Final = 100_000
ScheduleBySeq = Callable[[int], Awaitable[Schedule | None]]
ScheduleById = Callable[[str], Awaitable[Schedule | None]]


def context_of(message: types_pb.BusinessContext) -> TaskContext:
    """The business context as a value; its form is checked by the line."""
    return TaskContext(message.group_id, message.sku_version, message.stock_snapshot, message.timestamp_ms)


def bucket_of(number: int, field: str) -> int:
    """How long the bucket is, in milliseconds. Raises FIELD_INVALID."""
    if number not in (pb.Task.BUCKET_UNSPECIFIED, pb.Task.BUCKET_MINUTE):
        raise invalid(field, "a bucket of the list", number)
    return BUCKET_MS if number else 0


def new_task(message: pb.Task, delay_ms: int, call: Call, field: str = "task") -> NewTask:
    """A task as asked for; outputs that the caller set are not looked at. Raises FIELD_INVALID for retries below 0."""
    if message.max_retries < 0:
        raise invalid(f"{field}.max_retries", f"0 to {TASK_RETRIES_MAX}", message.max_retries)
    return NewTask(
        queue=message.queue,
        payload=message.payload,
        due_ms=message.due_time_ms,
        delay_ms=delay_ms,
        priority=message.priority,
        max_retries=message.max_retries if message.HasField("max_retries") else -1,
        backoff_ms=message.backoff_ms,
        context=context_of(message.context) if message.HasField("context") else None,
        traceparent=call.traceparent,
        bucket_ms=bucket_of(message.bucket, f"{field}.bucket"),
    )


class ScheduleIds:
    """The schedule_id behind a task's schedule sequence. It never changes, so what was read once is kept."""

    def __init__(self, by_seq: ScheduleBySeq) -> None:
        self._by_seq = by_seq
        self._known: OrderedDict[int, str] = OrderedDict()

    async def of(self, task: Task) -> str:
        """Empty for a task that no schedule made."""
        seq = task.schedule_seq
        if not seq:
            return ""
        if seq not in self._known:
            schedule = await self._by_seq(seq)
            if schedule is None:
                return ""
            self._known[seq] = schedule.schedule_id
            if len(self._known) > SCHEDULE_IDS_HELD_MAX:
                self._known.popitem(last=False)
        return self._known[seq]


class TaskEndpoints:
    """The methods of TaskService."""

    def __init__(self, line: TaskLine, schedule_ids: ScheduleIds, schedule_by_id: ScheduleById) -> None:
        self._line = line
        self._schedule_ids = schedule_ids
        self._schedule_by_id = schedule_by_id

    async def enqueue_task(self, request: pb.EnqueueTaskRequest, call: Call) -> pb.EnqueueTaskResponse:
        if not request.HasField("task"):
            raise required("task")
        new = new_task(request.task, request.delay_ms, call)
        task = await self._line.enqueue(
            new, request_id=request.request_id, validate_only=request.validate_only
        )
        return pb.EnqueueTaskResponse(task=convert.task(task))

    async def batch_enqueue_tasks(
        self, request: pb.BatchEnqueueTasksRequest, call: Call
    ) -> pb.BatchEnqueueTasksResponse:
        if len(request.requests) > BATCH_MAX:
            raise CuptimeError(
                Reason.TOO_MANY_ENTRIES,
                f"requests has {len(request.requests)} entries; at most {BATCH_MAX}",
                field="requests",
            )
        news = []
        for index, entry in enumerate(request.requests):
            if not entry.HasField("task"):
                raise required(f"requests[{index}].task")
            if entry.request_id or entry.validate_only:
                raise CuptimeError(
                    Reason.FIELD_CONTRADICTION,
                    "request_id and validate_only belong to the batch, not to its entries",
                    field=f"requests[{index}].{'request_id' if entry.request_id else 'validate_only'}",
                )
            news.append(new_task(entry.task, entry.delay_ms, call, f"requests[{index}].task"))
        tasks = await self._line.enqueue_batch(
            news, request_id=request.request_id, validate_only=request.validate_only
        )
        return pb.BatchEnqueueTasksResponse(tasks=[convert.task(task) for task in tasks])

    async def get_task(self, request: pb.GetTaskRequest, call: Call) -> pb.GetTaskResponse:
        task = await self._line.get(names.numbered("tasks", request.name))
        return pb.GetTaskResponse(task=await self._shown(task))

    async def list_tasks(self, request: pb.ListTasksRequest, call: Call) -> pb.ListTasksResponse:
        where, schedule_id = filters.task_filter(request.filter)
        if schedule_id is not None:
            schedule = await self._schedule_by_id(schedule_id)
            if schedule is None:
                raise CuptimeError(Reason.SCHEDULE_NOT_FOUND, field="filter.schedule")
            where = replace(where, schedule_seq=schedule.schedule_seq)
        size = pages.page_size(request.page_size)
        list_name = f"tasks/{request.filter}"
        after = pages.cursor(list_name, request.page_token, 0)
        tasks = await self._line.tasks(where, after=after, limit=size + 1)
        shown = [await self._shown(task) for task in tasks[:size]]
        token = pages.cut(list_name, tasks, shown, lambda task: task.task_id)
        return pb.ListTasksResponse(tasks=shown, next_page_token=token)

    async def cancel_task(self, request: pb.CancelTaskRequest, call: Call) -> pb.CancelTaskResponse:
        task = await self._line.cancel(
            names.numbered("tasks", request.name),
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return pb.CancelTaskResponse(task=await self._shown(task))

    async def retry_task(self, request: pb.RetryTaskRequest, call: Call) -> pb.RetryTaskResponse:
        task = await self._line.retry(
            names.numbered("tasks", request.name),
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return pb.RetryTaskResponse(task=await self._shown(task))

    async def watch_task(
        self, request: pb.WatchTaskRequest, call: Call
    ) -> AsyncIterator[pb.WatchTaskResponse]:
        changes = await self._line.watch(names.numbered("tasks", request.name))
        try:
            async for task in changes:
                yield pb.WatchTaskResponse(task=await self._shown(task))
        finally:
            await changes.aclose()  # type: ignore[attr-defined]  # it is a generator

    async def _shown(self, task: Task) -> pb.Task:
        return convert.task(task, await self._schedule_ids.of(task))
