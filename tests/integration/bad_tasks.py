"""Bad requests of tasks and workers."""

from __future__ import annotations

from typing import Any, Final

from tests.integration import campus
from tests.integration.campus import HOUR_MS
from tests.integration.faults import ABSENT, HUGE, LONG, OPEN, Bad, below, beyond, faults, names, page_faults

_TASK_ROWS: Final[list[tuple[str, Any, str, str | None]]] = [
    ("task", None, "FIELD_REQUIRED", None),
    ("task.queue", None, "FIELD_REQUIRED", None),
    ("task.queue", "UP", "FIELD_INVALID", None),
    ("task.queue", "q" * 64, "FIELD_INVALID", None),
    ("task.queue", "cuptime.group_deadline", "FIELD_INVALID", None),
    ("task.payload", b"x" * 65_537, "FIELD_INVALID", None),
    ("task.due_time_ms", -1, "FIELD_INVALID", None),
    ("task.due_time_ms", HUGE, "FIELD_INVALID", None),
    ("task.priority", -1, "FIELD_INVALID", None),
    ("task.priority", 101, "FIELD_INVALID", None),
    ("task.max_retries", -1, "FIELD_INVALID", None),
    ("task.max_retries", 101, "FIELD_INVALID", None),
    ("task.bucket", 7, "FIELD_INVALID", None),
    ("task.backoff_ms", -1, "FIELD_INVALID", None),
    ("task.backoff_ms", HUGE, "FIELD_INVALID", None),
    ("task.context", {}, "FIELD_INVALID", "task.context.group_id"),
    ("delay_ms", -1, "FIELD_INVALID", None),
    ("delay_ms", HUGE, "FIELD_INVALID", None),
]


def _enqueue() -> dict[str, Any]:
    return {"task": {"queue": "sheets"}}


def _with_context(**fields: Any) -> dict[str, Any]:
    context = {"group_id": OPEN, "sku_version": "2.1", "stock_snapshot": 1, "timestamp_ms": campus.now_ms()}
    return {"task": {"queue": "sheets", "context": context | fields}}


_CONTEXT_FAULTS: Final = [
    Bad("a low group", _with_context(group_id=5), "FIELD_INVALID", "task.context.group_id"),
    Bad("an unknown group", _with_context(group_id=ABSENT), "GROUP_NOT_FOUND", "task.context.group_id"),
    Bad("version", _with_context(sku_version="v2"), "FIELD_INVALID", "task.context.sku_version"),
    Bad(
        "long version",
        _with_context(sku_version="1." + "9" * 99),
        "FIELD_INVALID",
        "task.context.sku_version",
    ),
    Bad("stock", _with_context(stock_snapshot=-1), "FIELD_INVALID", "task.context.stock_snapshot"),
    Bad("long ago", _with_context(timestamp_ms=5), "FIELD_INVALID", "task.context.timestamp_ms"),
]
_TWO_TIMES: Final = Bad(
    "due_time_ms and delay_ms",
    {"task": {"queue": "q", "due_time_ms": campus.now_ms() + HOUR_MS}, "delay_ms": 5},
    "FIELD_CONTRADICTION",
    "task.due_time_ms",
)
_ENQUEUE_FAULTS: Final = [*faults(_enqueue, _TASK_ROWS), *_CONTEXT_FAULTS, _TWO_TIMES]
ENQUEUE: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "task"),
    *_ENQUEUE_FAULTS,
    Bad("request_id", _enqueue() | {"request_id": "\x7f"}, "FIELD_INVALID", "request_id"),
]
ENQUEUE_BATCH: Final = [
    Bad("no requests", {}, "FIELD_REQUIRED", "requests"),
    Bad("1001 requests", {"requests": [_enqueue()] * 1_001}, "TOO_MANY_ENTRIES", "requests"),
    *below("requests[1].", _ENQUEUE_FAULTS, lambda entry: {"requests": [_enqueue(), entry]}),
    Bad(
        "an id in an entry",
        {"requests": [_enqueue() | {"request_id": "r"}]},
        "FIELD_CONTRADICTION",
        "requests[0].request_id",
    ),
    Bad(
        "validate_only in an entry",
        {"requests": [_enqueue() | {"validate_only": True}]},
        "FIELD_CONTRADICTION",
        "requests[0].validate_only",
    ),
]
TASK_NAMES: Final = names("tasks", "tasks/999999", "TASK_NOT_FOUND")
LIST_TASKS: Final = [
    *page_faults(),
    beyond("tasks/"),
    Bad("filter field", {"filter": "colour=red"}, "FIELD_UNKNOWN", "filter.colour"),
    *(
        Bad(f"filter {text[:30]!r}", {"filter": text}, "FIELD_INVALID", "filter")
        for text in (
            "state",
            "state=OPEN",
            "state<=FAILED",
            "due_time_ms=5",
            'due_time_ms<="²"',
            'due_time_ms<="-5"',
            "due_time_ms<=" + "9" * 19,
            "state=FAILED OR state=EXECUTED",
            "queue=a AND",
            "'; DROP TABLE tasks; --",
            "a" * 1_001,
        )
    ),
    Bad("two states", {"filter": "state=FAILED AND state=EXECUTED"}, "FIELD_CONTRADICTION", "filter"),
    Bad(
        "no such schedule", {"filter": 'schedule="schedules/absent"'}, "SCHEDULE_NOT_FOUND", "filter.schedule"
    ),
    Bad(
        "a token of other filters",
        lambda world: {"filter": "queue=b", "page_token": world.task_page_token},
        "PAGE_TOKEN_INVALID",
        "page_token",
    ),
]
TASK_REQUEST_ID: Final = Bad(
    "request_id",
    lambda world: {"name": world.waiting_task, "request_id": "r" * 65},
    "FIELD_INVALID",
    "request_id",
)

# --- workers ------------------------------------------------------------------------------------------------------
_HELLO: Final[dict[str, Any]] = {"hello": {"worker": "w", "queues": ["nothing"]}}


def _hello(**fields: Any) -> dict[str, Any]:
    return {"hello": _HELLO["hello"] | fields}


STREAM_TASKS: Final = [
    Bad("says nothing", {}, "FIELD_REQUIRED", "hello"),
    Bad("credits first", {"credits": {"count": 1}}, "FIELD_REQUIRED", "hello"),
    Bad("no name", {"hello": {"queues": ["q"]}}, "FIELD_REQUIRED", "hello.worker"),
    Bad("a bad name", _hello(worker="a b"), "FIELD_INVALID", "hello.worker"),
    Bad("a long name", _hello(worker=LONG), "FIELD_INVALID", "hello.worker"),
    Bad("no queues", {"hello": {"worker": "w"}}, "FIELD_REQUIRED", "hello.queues"),
    Bad("65 queues", _hello(queues=[f"q{n}" for n in range(65)]), "TOO_MANY_ENTRIES", "hello.queues"),
    Bad("a bad queue", _hello(queues=["q", "Q"]), "FIELD_INVALID", "hello.queues[1]"),
    Bad("an internal queue", _hello(queues=["cuptime.x"]), "FIELD_INVALID", "hello.queues[0]"),
    Bad("a short lease", _hello(lease_ms=999), "FIELD_INVALID", "hello.lease_ms"),
    Bad("a lease of -1", _hello(lease_ms=-1), "FIELD_INVALID", "hello.lease_ms"),
    Bad("a long lease", _hello(lease_ms=600_001), "FIELD_INVALID", "hello.lease_ms"),
    Bad("hello twice", _HELLO, "FIELD_CONTRADICTION", "hello", (_HELLO,)),
    Bad("then nothing", {}, "FIELD_REQUIRED", "message", (_HELLO,)),
    Bad("no credits", {"credits": {}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("credits of -1", {"credits": {"count": -1}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("10001 credits", {"credits": {"count": 10_001}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("a beat for none", {"heartbeat": {}}, "FIELD_INVALID", "heartbeat.lease_tokens", (_HELLO,)),
    Bad(
        "a beat for 10001",
        {"heartbeat": {"lease_tokens": ["x"] * 10_001}},
        "FIELD_INVALID",
        "heartbeat.lease_tokens",
        (_HELLO,),
    ),
    Bad("reports first", {"reports": {"credits": 1}}, "FIELD_REQUIRED", "hello"),
    Bad("reports of nothing", {"reports": {}}, "FIELD_REQUIRED", "reports", (_HELLO,)),
    Bad(
        "reports, credits of -1", {"reports": {"credits": -1}}, "FIELD_INVALID", "reports.credits", (_HELLO,)
    ),
    Bad(
        "reports, 10001 credits",
        {"reports": {"credits": 10_001}},
        "FIELD_INVALID",
        "reports.credits",
        (_HELLO,),
    ),
    *(
        Bad(
            f"reports, 10001 {field}",
            {"reports": {"credits": 1, field: [entry] * 10_001}},
            "TOO_MANY_ENTRIES",
            f"reports.{field}",
            (hello,),
        )
        for hello in (_HELLO, _hello(batches=True))
        for field, entry in (
            ("completes", {"lease_token": "x"}),
            ("fails", {"lease_token": "x", "error_code": "X"}),
            ("heartbeat_lease_tokens", "x"),
        )
    ),
]
