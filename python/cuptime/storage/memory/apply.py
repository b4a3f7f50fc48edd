"""Carries out writes on the tables, with the refusals of :mod:`cuptime.domain.writes`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import FORGET_ROWS_MAX, REQUEST_ID_WINDOW_MS
from cuptime.domain.values import (
    DecisionRow,
    Group,
    GroupState,
    OrderRow,
    OrderState,
    Outcome,
    Overlap,
    OverlapEffect,
    RefusalRow,
    Schedule,
    ScheduleState,
    Task,
    TaskState,
    group_seq_of,
)
from cuptime.domain.writes import (
    AdvanceSchedules,
    CancelTasksOfSchedule,
    ExecuteTasks,
    ExtendLeases,
    ForgetGroups,
    ForgetRequests,
    ForgetScheduleChanges,
    ForgetSchedules,
    ForgetTasks,
    InsertDecisions,
    InsertGroup,
    InsertOrders,
    InsertRefusals,
    InsertRuleRevision,
    InsertSchedule,
    InsertTasks,
    LeaseTasks,
    MoveGroups,
    MoveOrder,
    MoveTasks,
    OpenInterventions,
    OverlapFirings,
    PutRiders,
    PutShops,
    PutStock,
    RecordScheduleChange,
    ReleaseOrders,
    RememberRequest,
    ReplaceSchedule,
    ReplaceTask,
    ResolveIntervention,
    RetireAssignments,
    Row,
    SetMemberCounts,
    TriggerTasks,
    Write,
)
from cuptime.storage.memory.retention import forget_groups, forget_schedules, forget_tasks
from cuptime.storage.memory.tables import Tables

_NONE: tuple[int, ...] = ()


def apply(tables: Tables, write: Write) -> tuple[int, ...]:
    """Carries out one write; returns the ids it moved. Raises CuptimeError, perhaps with half of it done."""
    return _BY_KIND[type(write)](tables, write)


# --- groups and orders --------------------------------------------------------------------------------------------
def _insert_group(tables: Tables, write: InsertGroup) -> tuple[int, ...]:
    group = write.group
    if tables.group_seqs.get(group.group_id) is not None:
        raise CuptimeError(Reason.GROUP_EXISTS, metadata={"group_id": str(group.group_id)})
    tables.groups.insert(group.group_seq, group)
    tables.group_seqs.insert(group.group_id, group.group_seq)
    _note_end(tables, group, max(group.created_ms, group.completed_ms))
    return _NONE


def _note_end(tables: Tables, group: Group, at_ms: int) -> None:
    if group.state in (GroupState.FAILED, GroupState.DECIDED):
        tables.group_ends.put(group.group_seq, max(at_ms, 1))
    else:
        tables.group_ends.drop(group.group_seq)


def _insert_orders(tables: Tables, write: InsertOrders) -> tuple[int, ...]:
    for row in write.rows:
        order = _order(row)
        tables.orders.insert(order.order_id, order)
    return _NONE


def _order(row: Row) -> OrderRow:
    columns: list[Any] = list(row)
    columns[8] = OrderState(columns[8])
    return OrderRow(*columns)


def _insert_refusals(tables: Tables, write: InsertRefusals) -> tuple[int, ...]:
    for row in write.rows:
        columns: list[Any] = list(row)
        refusal = RefusalRow(*columns)
        before = tables.refusals.get(refusal.request_id)
        if before is None or before.created_ms < refusal.created_ms - REQUEST_ID_WINDOW_MS:
            tables.refusals.put(refusal.request_id, refusal)
    return _NONE


def _set_member_counts(tables: Tables, write: SetMemberCounts) -> tuple[int, ...]:
    rows: Any = write.rows
    for group_seq, member_count in rows:
        group = tables.groups.get(group_seq)
        if group is not None:
            tables.groups.put(group_seq, replace(group, member_count=member_count))
    return _NONE


def _move_groups(tables: Tables, write: MoveGroups) -> tuple[int, ...]:
    rows: Any = write.rows
    for group_seq, completed_ms, member_count in rows:
        group: Group | None = tables.groups.get(group_seq)
        if group is None or group.state not in write.allowed:
            metadata = {"group_seq": str(group_seq), "wanted": write.to.name}
            raise CuptimeError(Reason.STATE_CONFLICT, metadata=metadata)
        moved = replace(
            group,
            state=GroupState(write.to),
            completed_ms=completed_ms or group.completed_ms,
            member_count=member_count,
            etag=group.etag + 1,
        )
        tables.groups.put(group_seq, moved)
        _note_end(tables, moved, write.at_ms)
    return _NONE


def _move_order(tables: Tables, write: MoveOrder) -> tuple[int, ...]:
    order = tables.orders.get(write.order_id)
    if order is None or order.state != write.expected:
        metadata = {"order_id": str(write.order_id), "expected": write.expected.name}
        raise CuptimeError(Reason.STATE_CONFLICT, metadata=metadata)
    tables.orders.put(write.order_id, replace(order, state=OrderState(write.to)))
    tables.orders_moved.put(write.order_id, write.at_ms)
    return _NONE


def _release_orders(tables: Tables, write: ReleaseOrders) -> tuple[int, ...]:
    for order in list(tables.orders.values()):
        if group_seq_of(order.order_id) == write.group_seq and order.state == OrderState.ADMITTED:
            tables.orders.put(order.order_id, replace(order, state=OrderState.RELEASED))
            tables.orders_moved.put(order.order_id, write.at_ms)
    return _NONE


# --- decisions ----------------------------------------------------------------------------------------------------
def _insert_decisions(tables: Tables, write: InsertDecisions) -> tuple[int, ...]:
    for at, row in enumerate(write.rows):
        sequence = last_sequence(tables) + 1
        tables.last_sequence.put("decisions", sequence)
        columns: list[Any] = [sequence, *row]
        columns[3], columns[12] = Outcome(columns[3]), bool(columns[12])
        decision = DecisionRow(*columns)
        attempt = (decision.order_id, decision.attempt, int(decision.outcome))
        if tables.attempts.get(attempt) is not None:
            raise CuptimeError(
                Reason.STATE_CONFLICT, "no order is decided twice: this attempt has its decision"
            )
        tables.attempts.insert(attempt, sequence)
        tables.decisions.insert(sequence, decision)
        if decision.outcome == Outcome.ASSIGNED:
            if tables.assignments.get(decision.order_id) is not None:
                raise CuptimeError(
                    Reason.STATE_CONFLICT, "no order is decided twice: an order is assigned already"
                )
            tables.assignments.insert(decision.order_id, sequence)
        elif decision.outcome == Outcome.RELEASED:
            _release(tables, decision, handed_over=write.hands_over(at))
    return _NONE


def last_sequence(tables: Tables) -> int:
    """The highest ever given."""
    return tables.last_sequence.get("decisions") or 0


def _release(tables: Tables, decision: DecisionRow, *, handed_over: bool) -> None:
    stood = tables.assignments.get(decision.order_id) is not None
    live = stood and decision.order_id not in tables.retired.rows
    tables.assignments.drop(decision.order_id)
    tables.retired.drop(decision.order_id)
    if live and decision.decided_ms > decision.pack_out_ms and not handed_over:
        _use_stock(tables, decision)


def _use_stock(tables: Tables, decision: DecisionRow) -> None:
    key = (decision.shop_id, decision.sku)
    row = tables.stock.get(key)
    if row is not None and row.set_ms <= decision.pack_out_ms:
        tables.stock.put(key, replace(row, used=row.used + decision.quantity))


def _retire_assignments(tables: Tables, write: RetireAssignments) -> tuple[int, ...]:
    for order_id in write.order_ids:
        sequence = tables.assignments.get(order_id)
        if sequence is not None and order_id not in tables.retired.rows:
            tables.retired.insert(order_id, None)
            _use_stock(tables, tables.decisions.rows[sequence])
    return _NONE


def _open_interventions(tables: Tables, write: OpenInterventions) -> tuple[int, ...]:
    for row in write.rows:
        stored = tables.interventions.get(row.order_id)
        if stored is None or stored.resolved_ms != 0:
            tables.interventions.put(row.order_id, row)
    return _NONE


def _resolve_intervention(tables: Tables, write: ResolveIntervention) -> tuple[int, ...]:
    stored = tables.interventions.get(write.order_id)
    if stored is None or stored.resolved_ms != 0:
        raise CuptimeError(Reason.INTERVENTION_NOT_FOUND, metadata={"order_id": str(write.order_id)})
    resolved = replace(stored, resolved_ms=write.resolved_ms, resolution=write.resolution, note=write.note)
    tables.interventions.put(write.order_id, resolved)
    return _NONE


# --- shops and riders ---------------------------------------------------------------------------------------------
def _put_shops(tables: Tables, write: PutShops) -> tuple[int, ...]:
    for row in write.rows:
        tables.shops.put(row.shop_id, row)
    return _NONE


def _put_stock(tables: Tables, write: PutStock) -> tuple[int, ...]:
    for row in write.rows:
        stored = tables.stock.get((row.shop_id, row.sku))
        used = stored.used if stored is not None and stored.set_ms == row.set_ms else 0
        tables.stock.put((row.shop_id, row.sku), replace(row, used=used))
    return _NONE


def _put_riders(tables: Tables, write: PutRiders) -> tuple[int, ...]:
    for row in write.rows:
        tables.riders.put(row.rider_id, row)
    return _NONE


# --- tasks --------------------------------------------------------------------------------------------------------
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


# --- schedules ----------------------------------------------------------------------------------------------------
def _must_be_free(tables: Tables, schedule: Schedule, itself: int) -> None:
    """Its schedule_id is not in use, but by the row `itself`."""
    if schedule.state == ScheduleState.UNREGISTERED:
        return
    for other in tables.schedules.values():
        if (
            other.schedule_id == schedule.schedule_id
            and other.state != ScheduleState.UNREGISTERED
            and other.schedule_seq != itself
        ):
            raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata={"schedule_id": schedule.schedule_id})


def _insert_schedule(tables: Tables, write: InsertSchedule) -> tuple[int, ...]:
    _must_be_free(tables, write.schedule, 0)
    tables.schedules.insert(write.schedule.schedule_seq, write.schedule)
    return _NONE


def _replace_schedule(tables: Tables, write: ReplaceSchedule) -> tuple[int, ...]:
    stored = tables.schedules.get(write.schedule.schedule_seq)
    if stored is None or stored.generation != write.expected_generation:
        metadata = {"expected_generation": str(write.expected_generation)}
        raise CuptimeError(Reason.ETAG_MISMATCH, metadata=metadata)
    _must_be_free(tables, write.schedule, stored.schedule_seq)
    kept = replace(
        write.schedule,
        skipped_count=stored.skipped_count,
        buffered_count=stored.buffered_count,
        cancelled_count=stored.cancelled_count,
    )
    tables.schedules.put(write.schedule.schedule_seq, kept)
    return _NONE


def _advance_schedules(tables: Tables, write: AdvanceSchedules) -> tuple[int, ...]:
    for schedule_seq, generation, planned_until_ms, next_ms, fired, state, missed in write.rows:
        stored = tables.schedules.get(schedule_seq)
        if stored is not None and stored.generation == generation:
            advanced = replace(
                stored, planned_until_ms=planned_until_ms, next_ms=next_ms,
                fire_count=stored.fire_count + fired, state=ScheduleState(state),
                run_count=stored.run_count + fired, missed_count=stored.missed_count + missed,
            )  # fmt: skip
            tables.schedules.put(schedule_seq, advanced)
    return _NONE


def _record_schedule_change(tables: Tables, write: RecordScheduleChange) -> tuple[int, ...]:
    sequence = max(tables.schedule_changes.rows, default=0) + 1
    tables.schedule_changes.insert(sequence, replace(write.row, sequence=sequence))
    return _NONE


def _forget_schedule_changes(tables: Tables, write: ForgetScheduleChanges) -> tuple[int, ...]:
    rows = sorted(tables.schedule_changes.values(), key=lambda row: row.sequence)
    last = rows[-1].sequence if rows else 0
    old = [
        row
        for row in rows
        if row.sequence < last and (row.at_ms < write.before_ms or row.sequence <= last - write.kept)
    ]
    for row in old[:FORGET_ROWS_MAX]:
        tables.schedule_changes.drop(row.sequence)
    return (min(len(old), FORGET_ROWS_MAX),)


# --- rules, requests ----------------------------------------------------------------------------------------------
def _insert_rule_revision(tables: Tables, write: InsertRuleRevision) -> tuple[int, ...]:
    if write.row.revision != len(tables.rule_revisions) + 1:
        raise CuptimeError(Reason.STATE_CONFLICT, metadata={"revision": str(write.row.revision)})
    tables.rule_revisions.insert(write.row.revision, write.row)
    return _NONE


def _remember_request(tables: Tables, write: RememberRequest) -> tuple[int, ...]:
    if tables.requests.get(write.row.request_id) is not None:
        raise CuptimeError(Reason.REQUEST_ID_REUSED, metadata={"request_id": write.row.request_id})
    tables.requests.insert(write.row.request_id, write.row)
    return _NONE


def _forget_requests(tables: Tables, write: ForgetRequests) -> tuple[int, ...]:
    answers = [row for row in tables.requests.values() if row.expires_ms < write.before_ms]
    answers.sort(key=lambda row: row.expires_ms)
    for answer in answers[:FORGET_ROWS_MAX]:
        tables.requests.drop(answer.request_id)
    refusals = [row for row in tables.refusals.values() if row.created_ms < write.refusals_before_ms]
    refusals.sort(key=lambda row: row.created_ms)
    for refusal in refusals[:FORGET_ROWS_MAX]:
        tables.refusals.drop(refusal.request_id)
    return min(len(answers), FORGET_ROWS_MAX), min(len(refusals), FORGET_ROWS_MAX)


_BY_KIND: dict[type, Callable[[Tables, Any], tuple[int, ...]]] = {
    InsertGroup: _insert_group,
    InsertOrders: _insert_orders,
    InsertRefusals: _insert_refusals,
    SetMemberCounts: _set_member_counts,
    MoveGroups: _move_groups,
    MoveOrder: _move_order,
    ReleaseOrders: _release_orders,
    InsertDecisions: _insert_decisions,
    RetireAssignments: _retire_assignments,
    OpenInterventions: _open_interventions,
    ResolveIntervention: _resolve_intervention,
    PutShops: _put_shops,
    PutStock: _put_stock,
    PutRiders: _put_riders,
    InsertTasks: _insert_tasks,
    MoveTasks: _move_tasks,
    TriggerTasks: _trigger_tasks,
    ExecuteTasks: _execute_tasks,
    LeaseTasks: _lease_tasks,
    ExtendLeases: _extend_leases,
    ReplaceTask: _replace_task,
    CancelTasksOfSchedule: _cancel_tasks_of_schedule,
    OverlapFirings: _overlap_firings,
    InsertSchedule: _insert_schedule,
    ReplaceSchedule: _replace_schedule,
    AdvanceSchedules: _advance_schedules,
    RecordScheduleChange: _record_schedule_change,
    ForgetScheduleChanges: _forget_schedule_changes,
    InsertRuleRevision: _insert_rule_revision,
    RememberRequest: _remember_request,
    ForgetRequests: _forget_requests,
    ForgetGroups: forget_groups,
    ForgetTasks: forget_tasks,
    ForgetSchedules: forget_schedules,
}
