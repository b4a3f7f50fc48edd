"""Writes about tasks, as :mod:`cuptime.storage.memory.apply` carries them out."""

from __future__ import annotations

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import (
    Overlap,
    OverlapEffect,
    Task,
    TaskState,
)
from cuptime.domain.writes import (
    CancelTasksOfSchedule,
    ExecuteTasks,
    ExtendLeases,
    InsertTasks,
    LeaseTasks,
    MoveTasks,
    OverlapFirings,
    ReplaceTask,
    TriggerTasks,
)
from cuptime.storage.memory.tables import ByKind, Tables

_NONE: tuple[int, ...] = ()


def _firing(task: Task) -> tuple[int, int, int] | None:
    return (task.schedule_seq, task.generation, task.nominal_ms) if task.schedule_seq > 0 else None


def _insert_tasks(tables: Tables, write: InsertTasks) -> tuple[int, ...]:
    for task in write.tasks:
        firing = _firing(task)
        if firing is not None:
            if tables.firings.get(firing) is not None:
                continue
            tables.firings.insert(firing, task.task_id)
        tables.tasks.insert(task.task_id, task)
    return _NONE


def _moved_task(task: Task, write: MoveTasks) -> Task:
    at_ms = write.at_ms
    if write.to == TaskState.TRIGGERED:
        return replace(
            task, state=TaskState.TRIGGERED, updated_ms=at_ms, trigger_ms=at_ms, trigger_id=write.trigger_id,
            execution_id="", lease_until_ms=0, worker="",
        )  # fmt: skip
    if write.to == TaskState.SCHEDULED:
        return replace(task, state=TaskState.SCHEDULED, updated_ms=at_ms, scheduled_ms=at_ms)
    if write.to == TaskState.CANCELLED:
        return replace(task, state=TaskState.CANCELLED, updated_ms=at_ms)
    raise CuptimeError(Reason.INTERNAL, f"MoveTasks does not move to {write.to.name}")


def _move_tasks(tables: Tables, write: MoveTasks) -> tuple[int, ...]:
    moved = []
    for task_id, due_ms in write.rows:
        task = tables.tasks.get(task_id)
        if task is not None and task.due_ms == due_ms and task.state in write.allowed:
            tables.tasks.put(task_id, _moved_task(task, write))
            moved.append(task_id)
    return tuple(sorted(set(moved)))


def _trigger_tasks(tables: Tables, write: TriggerTasks) -> tuple[int, ...]:
    moved = []
    for task_id, due_ms, execution_id, lease_until_ms, attempt, worker in write.rows:
        task = tables.tasks.get(task_id)
        if task is not None and task.due_ms == due_ms and task.state == TaskState.SCHEDULED:
            fired = replace(
                task, state=TaskState.TRIGGERED, updated_ms=write.at_ms, trigger_ms=write.at_ms,
                trigger_id=write.trigger_id, execution_id=execution_id, lease_until_ms=lease_until_ms,
                attempt=attempt, worker=worker,
            )  # fmt: skip
            tables.tasks.put(task_id, fired)
            moved.append(task_id)
    return tuple(sorted(moved))


def _execute_tasks(tables: Tables, write: ExecuteTasks) -> tuple[int, ...]:
    moved = []
    for task_id, execution_id, result in write.rows:
        task = tables.tasks.get(task_id)
        if task is not None and task.state == TaskState.TRIGGERED and task.execution_id == execution_id:
            done = replace(
                task, state=TaskState.EXECUTED, updated_ms=write.at_ms, lease_until_ms=0, result=result,
                failed_input=b"",
            )  # fmt: skip
            tables.tasks.put(task_id, done)
            moved.append(task_id)
    return tuple(sorted(moved))


def _lease_tasks(tables: Tables, write: LeaseTasks) -> tuple[int, ...]:
    leased = []
    for task_id, execution_id, lease_until_ms, attempt in write.rows:
        task = tables.tasks.get(task_id)
        if task is not None and task.state == TaskState.TRIGGERED:
            held = replace(
                task, execution_id=execution_id, lease_until_ms=lease_until_ms, attempt=attempt,
                worker=write.worker, updated_ms=write.at_ms,
            )  # fmt: skip
            tables.tasks.put(task_id, held)
            leased.append(task_id)
    return tuple(sorted(set(leased)))


def _extend_leases(tables: Tables, write: ExtendLeases) -> tuple[int, ...]:
    extended = []
    for task_id, execution_id, lease_until_ms in write.rows:
        task = tables.tasks.get(task_id)
        if task is not None and task.state == TaskState.TRIGGERED and task.execution_id == execution_id:
            tables.tasks.put(task_id, replace(task, lease_until_ms=lease_until_ms))
            extended.append(task_id)
    return tuple(sorted(set(extended)))


def _replace_task(tables: Tables, write: ReplaceTask) -> tuple[int, ...]:
    stored = tables.tasks.get(write.task.task_id)
    wanted = write.expected_execution_id
    if (
        stored is None
        or stored.state not in write.expected
        or (wanted is not None and stored.execution_id != wanted)
    ):
        metadata = {
            "task_id": str(write.task.task_id),
            "expected": "|".join(state.name for state in write.expected),
        }
        raise CuptimeError(Reason.STATE_CONFLICT, metadata=metadata)
    before, now = _firing(stored), _firing(write.task)
    if before != now:
        if before is not None:
            tables.firings.drop(before)
        if now is not None:
            tables.firings.insert(now, write.task.task_id)
    tables.tasks.put(write.task.task_id, write.task)
    return _NONE


def _cancel_tasks_of_schedule(tables: Tables, write: CancelTasksOfSchedule) -> tuple[int, ...]:
    if write.schedule_seq <= 0:
        return _NONE
    cancelled = []
    for task in list(tables.tasks.values()):
        if (
            task.schedule_seq == write.schedule_seq
            and task.generation < write.generation
            and task.state in (TaskState.PENDING, TaskState.SCHEDULED)
        ):
            tables.tasks.put(task.task_id, replace(task, state=TaskState.CANCELLED, updated_ms=write.at_ms))
            cancelled.append(task.task_id)
    return tuple(sorted(cancelled))


def _overlap_firings(tables: Tables, write: OverlapFirings) -> tuple[int, ...]:
    changed = []
    for task_id in write.task_ids:
        task = tables.tasks.get(task_id)
        if task is None or task.overlap is Overlap.ALLOW_ALL or not _takes(task, write.effect):
            continue
        if write.effect is OverlapEffect.BUFFERED:
            now = replace(task, buffered_ms=write.at_ms)
        else:
            now = replace(
                task, state=TaskState.CANCELLED, updated_ms=write.at_ms, lease_until_ms=0,
                error_code=f"OVERLAP_{write.effect.name}",
            )  # fmt: skip
        tables.tasks.put(task_id, now)
        _count_overlap(tables, task.schedule_seq, write.effect)
        changed.append(task_id)
    return tuple(sorted(changed))


def _takes(task: Task, effect: OverlapEffect) -> bool:
    if effect is OverlapEffect.CANCELLED:
        return task.state in (TaskState.SCHEDULED, TaskState.TRIGGERED)
    return task.state is TaskState.SCHEDULED and (effect is OverlapEffect.SKIPPED or not task.buffered_ms)


def _count_overlap(tables: Tables, schedule_seq: int, effect: OverlapEffect) -> None:
    schedule = tables.schedules.get(schedule_seq)
    if schedule is not None:
        counted = replace(
            schedule,
            skipped_count=schedule.skipped_count + (effect is OverlapEffect.SKIPPED),
            buffered_count=schedule.buffered_count + (effect is OverlapEffect.BUFFERED),
            cancelled_count=schedule.cancelled_count + (effect is OverlapEffect.CANCELLED),
        )
        tables.schedules.put(schedule_seq, counted)


TASKS: ByKind = {
    InsertTasks: _insert_tasks,
    MoveTasks: _move_tasks,
    TriggerTasks: _trigger_tasks,
    ExecuteTasks: _execute_tasks,
    LeaseTasks: _lease_tasks,
    ExtendLeases: _extend_leases,
    ReplaceTask: _replace_task,
    CancelTasksOfSchedule: _cancel_tasks_of_schedule,
    OverlapFirings: _overlap_firings,
}
