"""Between table rows and domain values, one pair of functions per table that has values of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeAlias

from msgspec.structs import asdict

from cuptime.domain.values import (
    Caller,
    CatchUp,
    DecisionRow,
    DstPolicy,
    Group,
    GroupState,
    OrderRow,
    OrderState,
    Outcome,
    Overlap,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeKind,
    ScheduleChangeRow,
    SchedulePolicy,
    ScheduleState,
    Task,
    TaskContext,
    TaskState,
    Timing,
    TimingKind,
)

Row: TypeAlias = tuple[Any, ...]
"""What the engine gives: int, float, str, bytes or None in the order of the columns."""


def _with(row: Row, *changes: tuple[int, Callable[[Any], Any]]) -> Row:
    """The row with some columns read as what they mean."""
    columns = list(row)
    for index, read in changes:
        columns[index] = read(columns[index])
    return tuple(columns)


group_row: Callable[[Group], Row] = attrgetter(
    "group_seq", "group_id", "park", "latitude", "longitude", "capacity", "min_size", "deadline_ms",
    "purchase_limit", "pack_out_after_ms", "deliver_within_ms", "state", "member_count", "created_ms",
    "completed_ms", "etag",
)  # fmt: skip


def group_of(row: Row) -> Group:
    """From the part `group_columns`."""
    return Group(*_with(row, (11, GroupState)))


def order_of(row: Row) -> OrderRow:
    """From the part `order_columns`."""
    return OrderRow(*_with(row, (8, OrderState)))


def decision_of(row: Row) -> DecisionRow:
    """From the part `decision_columns`."""
    return DecisionRow(*_with(row, (3, Outcome), (12, bool)))


_task_head: Callable[[Task], Row] = attrgetter(
    "task_id", "queue", "payload", "due_ms", "priority", "max_retries", "backoff_ms", "state", "created_ms",
    "updated_ms", "scheduled_ms", "retry_count",
)  # fmt: skip
_task_tail: Callable[[Task], Row] = attrgetter(
    "trigger_id", "trigger_ms", "execution_id", "attempt", "lease_until_ms", "worker", "result_hash", "result",
    "error_code", "error_message", "retriable", "failed_input", "schedule_seq", "generation", "nominal_ms",
    "traceparent", "overlap", "buffered_ms", "bucket_ms",
)  # fmt: skip
_NO_CONTEXT: Row = (None, "", 0, 0)


def task_row(task: Task) -> Row:
    """For the part `task_columns`."""
    context = task.context
    if context is None:
        return _task_head(task) + _NO_CONTEXT + _task_tail(task)
    columns = (context.group_id, context.sku_version, context.stock_snapshot, context.timestamp_ms)
    return _task_head(task) + columns + _task_tail(task)


_OVERLAPS = tuple(Overlap)
"""By number: a quarter of the price of the constructor, in every row that is read."""


def task_of(row: Row) -> Task:
    """From the part `task_columns`."""
    context = None if row[12] is None else TaskContext(*row[12:16])
    columns = (*row[:12], context, *row[16:])
    return Task(*_with(columns, (7, TaskState), (23, bool), (29, _OVERLAPS.__getitem__)))


def schedule_row(schedule: Schedule) -> Row:
    """For the part `schedule_columns`."""
    timing = schedule.timing
    return (
        schedule.schedule_seq, schedule.schedule_id, timing.kind, timing.expression, timing.value_ms,
        timing.time_zone, timing.start_ms, timing.end_ms, schedule.target, schedule.state, schedule.generation,
        schedule.anchor_ms, schedule.planned_until_ms, schedule.next_ms, schedule.fire_count, schedule.note,
        schedule.created_ms, schedule.updated_ms, timing.dst,
        _policy_text(schedule.policy), label_lines(schedule.labels), schedule.run_count, schedule.missed_count,
        schedule.source, schedule.skipped_count, schedule.buffered_count, schedule.cancelled_count,
    )  # fmt: skip


def schedule_of(row: Row) -> Schedule:
    """From the part `schedule_columns`."""
    timing = Timing(TimingKind(row[2]), row[3], row[4], row[5], row[6], row[7], DstPolicy(row[18]))
    return Schedule(
        row[0], row[1], timing, row[8], ScheduleState(row[9]), row[10], row[11], row[12], row[13], row[14], row[15],
        row[16], row[17], _policy_of(row[19]), _labels_of(row[20]), row[21], row[22],
        row[24], row[25], row[26], row[23],
    )  # fmt: skip


def change_row(change: ScheduleChangeRow) -> Row:
    """For the part `change_columns`, less the sequence."""
    return (
        change.schedule_seq, change.schedule_id, change.kind, change.at_ms, change.generation, change.caller.actor,
        change.caller.peer, change.request_id, change.detail, change.before, change.after,
    )  # fmt: skip


def change_of(row: Row) -> ScheduleChangeRow:
    """From the part `change_columns`."""
    columns = (*row[:3], ScheduleChangeKind(row[3]), *row[4:6], Caller(*row[6:8]), *row[8:])
    return ScheduleChangeRow(*columns)


@lru_cache(1_024)
def _policy_text(policy: SchedulePolicy) -> str:
    told = {name: value for name, value in asdict(policy).items() if value != getattr(_PLAIN, name)}
    return json.dumps(told) if told else ""


@lru_cache(1_024)
def _policy_of(text: str) -> SchedulePolicy:
    if not text:
        return _PLAIN
    told: dict[str, Any] = json.loads(text)
    if "catch_up" in told:
        told["catch_up"] = CatchUp(told["catch_up"])
    if "overlap" in told:
        told["overlap"] = Overlap(told["overlap"])
    return SchedulePolicy(**told)


_PLAIN = SchedulePolicy()


def label_lines(labels: tuple[tuple[str, str], ...]) -> str:
    """A line for each, such that one is found whole: neither keys nor values have line breaks."""
    return "\n" + "".join(f"{key}={value}\n" for key, value in labels) if labels else ""


def _labels_of(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (line.partition("=") for line in text.split("\n") if line)
    return tuple((key, value) for key, _, value in pairs)


def revision_of(row: Row) -> RuleRevisionRow:
    """From the part `revision_columns`."""
    return RuleRevisionRow(*_with(row, (6, bool)))
