"""What is past its retention, and its removal; the same rows as the statements of SQLite choose."""

from __future__ import annotations

from typing import Any

from cuptime.domain.limits import FORGET_ORDERS_MAX, FORGET_ROWS_MAX
from cuptime.domain.values import (
    DecisionRow,
    OrderRow,
    OrderState,
    ScheduleState,
    Task,
    TaskState,
    group_seq_of,
    whole_groups,
)
from cuptime.domain.writes import ForgetGroups, ForgetSchedules, ForgetTasks
from cuptime.storage.memory.tables import Table, Tables

FORGOTTEN_KINDS = ("assignments", "decisions", "groups", "interventions", "orders", "schedules", "tasks")


def ended_ms(task: Task) -> int:
    """When the task came to its end, 0 while it lives."""
    return max(task.updated_ms, 1) if task.state > TaskState.TRIGGERED else 0


def task_held(tables: Tables, task: Task, before_ms: int) -> bool:
    """May an equal task still take its result?"""
    if task.context is None:
        return False
    return task.context.timestamp_ms >= before_ms or any(
        other.result_hash == task.result_hash and other.context is not None and not ended_ms(other)
        for other in tables.tasks.values()
    )


def group_held(tables: Tables, group_seq: int, before_ms: int) -> bool:
    """Does something of the group still count?"""
    return tables.groups.rows[group_seq].deadline_ms >= before_ms or any(
        _order_held(tables, order, before_ms) for order in _orders_of(tables, group_seq)
    )


def _orders_of(tables: Tables, group_seq: int) -> list[OrderRow]:
    rows = [order for order in tables.orders.values() if group_seq_of(order.order_id) == group_seq]
    return sorted(rows, key=lambda order: order.order_id)


def _decisions_of(tables: Tables, order_id: int) -> list[DecisionRow]:
    return [row for row in tables.decisions.values() if row.order_id == order_id]


def _order_held(tables: Tables, order: OrderRow, before_ms: int) -> bool:
    order_id = order.order_id
    if order.created_ms >= before_ms or (tables.orders_moved.get(order_id) or 0) >= before_ms:
        return True
    stands = order_id in tables.assignments.rows
    if order_id not in tables.retired.rows if stands else order.state == OrderState.ADMITTED:
        return True
    if any(row.decided_ms >= before_ms for row in _decisions_of(tables, order_id)):
        return True
    waiting = tables.interventions.get(order_id)
    return waiting is not None and (waiting.resolved_ms == 0 or waiting.resolved_ms >= before_ms)


def forget_groups(tables: Tables, write: ForgetGroups) -> tuple[int, ...]:
    """How many groups and orders went."""
    possible = [
        group_seq
        for group_seq in dict.fromkeys(write.group_seqs)
        if 0 < (tables.group_ends.get(group_seq) or 0) < write.before_ms
        and tables.groups.rows[group_seq].deadline_ms < write.before_ms
    ]
    found = [
        order.order_id
        for group_seq in possible
        for order in _orders_of(tables, group_seq)
        if not _order_held(tables, order, write.before_ms)
    ]
    chosen = whole_groups(found[:FORGET_ORDERS_MAX], FORGET_ORDERS_MAX)
    sequences = [row.sequence for order_id in chosen for row in _decisions_of(tables, order_id)]
    for sequence in sequences:
        row = tables.decisions.rows[sequence]
        tables.attempts.drop((row.order_id, row.attempt, int(row.outcome)))
    for order_id in chosen:
        tables.retired.drop(order_id)
        tables.orders_moved.drop(order_id)
    _drop(tables, "interventions", tables.interventions, chosen)
    _drop(tables, "assignments", tables.assignments, chosen)
    _drop(tables, "decisions", tables.decisions, sequences)
    _drop(tables, "orders", tables.orders, chosen)
    empty = [group_seq for group_seq in possible if not _orders_of(tables, group_seq)]
    for group_seq in empty:
        tables.group_seqs.drop(tables.groups.rows[group_seq].group_id)
        tables.group_ends.drop(group_seq)
    _drop(tables, "groups", tables.groups, empty)
    return len(empty), len(chosen)


def forget_tasks(tables: Tables, write: ForgetTasks) -> tuple[int, ...]:
    """How many went."""
    named = [
        task for task_id in dict.fromkeys(write.task_ids) if (task := tables.tasks.get(task_id)) is not None
    ]
    chosen = [
        task
        for task in named
        if 0 < ended_ms(task) < write.before_ms and not task_held(tables, task, write.before_ms)
    ]
    for task in chosen:
        if task.schedule_seq > 0:
            tables.firings.drop((task.schedule_seq, task.generation, task.nominal_ms))
            latest = tables.forgotten_firings.get(task.schedule_seq) or (0, 0)
            tables.forgotten_firings.put(task.schedule_seq, max(latest, (task.generation, task.nominal_ms)))
    _drop(tables, "tasks", tables.tasks, [task.task_id for task in chosen])
    return (len(chosen),)


def forget_schedules(tables: Tables, write: ForgetSchedules) -> tuple[int, ...]:
    """How many went."""
    named = {task.schedule_seq for task in tables.tasks.values()}
    gone = [
        row
        for row in tables.schedules.values()
        if row.state == ScheduleState.UNREGISTERED
        and row.updated_ms < write.before_ms
        and row.schedule_seq not in named
    ]
    gone.sort(key=lambda row: (row.updated_ms, row.schedule_seq))
    ids = [row.schedule_seq for row in gone[:FORGET_ROWS_MAX]]
    for schedule_seq in ids:
        tables.forgotten_firings.drop(schedule_seq)
    _drop(tables, "schedules", tables.schedules, ids)
    return (len(ids),)


def _drop(tables: Tables, kind: str, table: Table[int, Any], ids: list[int]) -> None:
    """Out of the table, and noted."""
    gone = [key for key in ids if key in table.rows]
    for key in gone:
        table.drop(key)
    if gone:
        last, rows = tables.forgotten.get(kind) or (0, 0)
        tables.forgotten.put(kind, (max(last, *gone), rows + len(gone)))
