"""What a caller may ask for: the form of a new task, checked before anything is made of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import (
    GROUP_ID_MIN,
    TASK_BACKOFF_DEFAULT_MS,
    TASK_BACKOFF_MAX_MS,
    TASK_DUE_AHEAD_MAX_MS,
    TASK_PAYLOAD_BYTES_MAX,
    TASK_RETRIES_DEFAULT,
    TASK_RETRIES_MAX,
    TIMESTAMP_SKEW_MS_MAX,
)
from cuptime.domain.values import Task, TaskContext, TaskState
from cuptime.tasks.life import is_internal, result_hash

QUEUE_FORM: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
SKU_VERSION_FORM: Final = re.compile(r"[0-9]+\.[0-9]+")
PRIORITY_DEFAULT: Final = 50
PRIORITY_MAX: Final = 100
SKU_VERSION_CHARS_MAX: Final = 32
TRACEPARENT_CHARS_MAX: Final = 128

KnownGroup = Callable[[int], Awaitable[bool]]
"""Is there a group with this group_id?"""


class NewTask(Struct, frozen=True):
    """A task as asked for. 0 is the default of priority, backoff and due time (now); -1 that of max_retries."""

    queue: str
    payload: bytes = b""
    due_ms: int = 0
    delay_ms: int = 0
    """Due this long from now, instead of `due_ms`."""
    priority: int = 0
    max_retries: int = -1
    backoff_ms: int = 0
    context: TaskContext | None = None
    traceparent: str = ""
    bucket_ms: int = 0
    """BUCKET_MS: in the bucket of its minute."""


def check_queue(queue: str, field: str) -> None:
    """Raises FIELD_REQUIRED or FIELD_INVALID unless it is a queue that callers may use."""
    if not queue:
        raise required(field)
    if not QUEUE_FORM.fullmatch(queue):
        raise invalid(field, f"of the form ^{QUEUE_FORM.pattern}$", queue)
    if is_internal(queue):
        raise invalid(field, "a queue outside cuptime.*, which is the service's own", queue)


def check_new(new: NewTask, now_ms: int, field: str) -> None:
    """Raises the first FIELD_* error; `field` is the path of the task in the request."""
    check_queue(new.queue, f"{field}.queue")
    if len(new.payload) > TASK_PAYLOAD_BYTES_MAX:
        raise invalid(
            f"{field}.payload", f"at most {TASK_PAYLOAD_BYTES_MAX} bytes", f"{len(new.payload)} bytes"
        )
    if new.due_ms and new.delay_ms:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, "give due_time_ms or delay_ms, not both", field=f"{field}.due_time_ms"
        )
    if not 0 <= new.due_ms <= now_ms + TASK_DUE_AHEAD_MAX_MS:
        raise invalid(f"{field}.due_time_ms", "0 (now) or an instant at most ten years ahead", new.due_ms)
    if not 0 <= new.delay_ms <= TASK_DUE_AHEAD_MAX_MS:
        raise invalid(f"{field.removesuffix('task')}delay_ms", "0 to ten years", new.delay_ms)
    if not 0 <= new.priority <= PRIORITY_MAX:
        raise invalid(f"{field}.priority", f"1 to {PRIORITY_MAX}, or 0 for {PRIORITY_DEFAULT}", new.priority)
    if not -1 <= new.max_retries <= TASK_RETRIES_MAX:
        wanted = f"0 to {TASK_RETRIES_MAX}, or -1 for {TASK_RETRIES_DEFAULT}"
        raise invalid(f"{field}.max_retries", wanted, new.max_retries)
    if not 0 <= new.backoff_ms <= TASK_BACKOFF_MAX_MS:
        wanted = f"1 to {TASK_BACKOFF_MAX_MS}, or 0 for {TASK_BACKOFF_DEFAULT_MS}"
        raise invalid(f"{field}.backoff_ms", wanted, new.backoff_ms)
    if len(new.traceparent) > TRACEPARENT_CHARS_MAX:
        raise invalid("traceparent", f"at most {TRACEPARENT_CHARS_MAX} characters", new.traceparent)
    if new.context is not None:
        check_context(new.context, f"{field}.context")
        if abs(new.context.timestamp_ms - now_ms) > TIMESTAMP_SKEW_MS_MAX:
            raise invalid(f"{field}.context.timestamp_ms", "within a day of now", new.context.timestamp_ms)


def check_context(context: TaskContext, field: str) -> None:
    """The form of a business context (spec section 7): what is checked when it enters and when it is read back."""
    if not GROUP_ID_MIN <= context.group_id < 1 << 63:
        raise invalid(f"{field}.group_id", f"at least {GROUP_ID_MIN}", context.group_id)
    if len(context.sku_version) > SKU_VERSION_CHARS_MAX or not SKU_VERSION_FORM.fullmatch(
        context.sku_version
    ):
        raise invalid(f"{field}.sku_version", r"of the form ^\d+\.\d+$", context.sku_version)
    if not 0 <= context.stock_snapshot < 1 << 63:
        raise invalid(f"{field}.stock_snapshot", "at least 0", context.stock_snapshot)
    if context.timestamp_ms <= 0:
        raise invalid(f"{field}.timestamp_ms", "an instant", context.timestamp_ms)


async def check_group(context: TaskContext | None, known_group: KnownGroup, field: str) -> None:
    """Raises GROUP_NOT_FOUND when the group of a context is not known."""
    if context is not None and not await known_group(context.group_id):
        raise CuptimeError(
            Reason.GROUP_NOT_FOUND,
            f"there is no group {context.group_id}",
            field=f"{field}.context.group_id",
            metadata={"group_id": str(context.group_id)},
        )


def made(new: NewTask, task_id: int, now_ms: int) -> Task:
    """The row of a new task: SCHEDULED, with the defaults filled in."""
    due_ms = new.due_ms or now_ms + new.delay_ms
    return Task(
        task_id=task_id,
        queue=new.queue,
        payload=new.payload,
        due_ms=due_ms,
        priority=new.priority or PRIORITY_DEFAULT,
        max_retries=TASK_RETRIES_DEFAULT if new.max_retries < 0 else new.max_retries,
        backoff_ms=new.backoff_ms or TASK_BACKOFF_DEFAULT_MS,
        state=TaskState.SCHEDULED,
        created_ms=now_ms,
        updated_ms=now_ms,
        scheduled_ms=now_ms,
        context=new.context,
        result_hash=result_hash(task_id, new.queue, new.payload, new.context),
        traceparent=new.traceparent,
        bucket_ms=new.bucket_ms,
    )
