"""Carries out writes inside the writer's open transaction: one method for each kind of write.

A method returns the ids the write moved, or raises CuptimeError when the write's precondition does not hold. It may
leave half of its rows behind when it raises; the writer takes them back.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final

import apsw
from msgspec.structs import astuple

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import FORGET_ROWS_MAX, ORDER_NUMBER_BITS, REQUEST_ID_WINDOW_MS
from cuptime.domain.values import Fence, Outcome, OverlapEffect, TaskState
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
    SetMemberCounts,
    TriggerTasks,
    Write,
)
from cuptime.storage.sqlite.retention import forget_groups, forget_schedules, forget_tasks
from cuptime.storage.sqlite.rows import change_row, group_row, schedule_row, task_row
from cuptime.storage.sqlite.statements import sql

_NONE: Final[tuple[int, ...]] = ()
_ANY_INSTANT_MS: Final = 2**62
_JSON_ROWS_MAX: Final = 500
"""Rows of one JSON array; the engine reads longer ones more slowly by the row."""
_JSON_RESULT_BYTES_MAX: Final = 1_024
"""A longer result of a task is bound as it is, a statement for each, and not carried in hexadecimal through JSON."""
_OVERLAP_COUNTS: Final = 3
"""The last columns of a schedule, which its replacement leaves."""
_OUTCOME: Final = 2
"""Where `outcome` is in a row of InsertDecisions, which has no sequence."""

_MOVE_TASKS: Final = {
    TaskState.SCHEDULED: sql("move_tasks_to_scheduled"),
    TaskState.CANCELLED: sql("move_tasks_to_cancelled"),
}

_OVERLAPS: Final = {
    OverlapEffect.SKIPPED: sql("skip_firings"),
    OverlapEffect.BUFFERED: sql("buffer_firings"),
    OverlapEffect.CANCELLED: sql("cancel_firings"),
}

ONE_STATEMENT: Final = (
    InsertGroup,
    MoveOrder,
    ResolveIntervention,
    ReplaceTask,
    InsertSchedule,
    ReplaceSchedule,
    InsertRuleRevision,
    RememberRequest,
)
"""Writes that refuse before they have changed anything."""

MANY_STATEMENTS: Final = (MoveGroups, InsertDecisions)
"""Writes that may refuse after some of their rows are in."""


def mask_of(states: Sequence[int]) -> int:
    """The set of states as the bits that the statements test."""
    mask = 0
    for state in states:
        mask |= 1 << state
    return mask


class Applier:
    """The writes, on one connection. Not for more than one thread."""

    def __init__(self, connection: apsw.Connection) -> None:
        self._cursor = connection.cursor()
        self._connection = connection
        self.next_sequence = 1
        """The sequence that the next decision gets; the writer sets it back when a unit is taken back."""
        self._by_kind: dict[type, Callable[[Any, Fence], tuple[int, ...]]] = {
            InsertGroup: self._insert_group,
            InsertOrders: self._insert_orders,
            InsertRefusals: self._insert_refusals,
            SetMemberCounts: self._set_member_counts,
            MoveGroups: self._move_groups,
            MoveOrder: self._move_order,
            ReleaseOrders: self._release_orders,
            InsertDecisions: self._insert_decisions,
            RetireAssignments: self._retire_assignments,
            OpenInterventions: self._open_interventions,
            ResolveIntervention: self._resolve_intervention,
            PutShops: self._put_shops,
            PutStock: self._put_stock,
            PutRiders: self._put_riders,
            InsertTasks: self._insert_tasks,
            MoveTasks: self._move_tasks,
            TriggerTasks: self._trigger_tasks,
            ExecuteTasks: self._execute_tasks,
            LeaseTasks: self._lease_tasks,
            ExtendLeases: self._extend_leases,
            ReplaceTask: self._replace_task,
            CancelTasksOfSchedule: self._cancel_tasks_of_schedule,
            OverlapFirings: self._overlap_firings,
            InsertSchedule: self._insert_schedule,
            ReplaceSchedule: self._replace_schedule,
            AdvanceSchedules: self._advance_schedules,
            RecordScheduleChange: self._record_schedule_change,
            ForgetScheduleChanges: self._forget_schedule_changes,
            InsertRuleRevision: self._insert_rule_revision,
            RememberRequest: self._remember_request,
            ForgetRequests: self._forget_requests,
            ForgetGroups: partial(forget_groups, self._cursor),
            ForgetTasks: partial(forget_tasks, self._cursor),
            ForgetSchedules: partial(forget_schedules, self._cursor),
        }

    def apply(self, write: Write, fence: Fence) -> tuple[int, ...]:
        """Carries out one write; see the module for what it returns and raises."""
        return self._by_kind[type(write)](write, fence)

    def _many(self, statement: str, rows: Sequence[tuple[Any, ...]], *more: object) -> None:
        self._cursor.executemany(statement, [(*row, *more) for row in rows])

    def _ids(self, statement: str, rows: Iterable[tuple[Any, ...]], *more: object) -> tuple[int, ...]:
        """The ids that a statement over a JSON array of rows returns, sorted."""
        every = list(rows)
        ids: list[int] = []
        for at in range(0, len(every), _JSON_ROWS_MAX):
            given = json.dumps(every[at : at + _JSON_ROWS_MAX], separators=(",", ":"))
            ids += [row[0] for row in self._cursor.execute(statement, (given, *more))]
        return tuple(sorted(ids))

    def _changed(self, statement: str, bindings: tuple[Any, ...]) -> bool:
        """Whether the statement changed something."""
        self._cursor.execute(statement, bindings)
        return self._connection.changes() > 0

    # --- groups and orders ------------------------------------------------------------------------------------------
    def _insert_group(self, write: InsertGroup, fence: Fence) -> tuple[int, ...]:
        if not self._changed(sql("insert_group"), (*group_row(write.group), fence.shard_id, fence.epoch)):
            raise CuptimeError(Reason.GROUP_EXISTS, metadata={"group_id": str(write.group.group_id)})
        return _NONE

    def _insert_orders(self, write: InsertOrders, fence: Fence) -> tuple[int, ...]:
        self._many(sql("insert_orders"), write.rows, fence.epoch)
        return _NONE

    def _insert_refusals(self, write: InsertRefusals, fence: Fence) -> tuple[int, ...]:
        self._many(sql("insert_refusals"), write.rows, fence.epoch, REQUEST_ID_WINDOW_MS)
        return _NONE

    def _set_member_counts(self, write: SetMemberCounts, fence: Fence) -> tuple[int, ...]:
        self._many(sql("set_member_count"), write.rows, fence.epoch)
        return _NONE

    def _move_groups(self, write: MoveGroups, fence: Fence) -> tuple[int, ...]:
        allowed = mask_of(write.allowed)
        for row in write.rows:
            if not self._changed(sql("move_group"), (*row, int(write.to), allowed, fence.epoch, write.at_ms)):
                metadata = {"group_seq": str(row[0]), "wanted": write.to.name}
                raise CuptimeError(Reason.STATE_CONFLICT, metadata=metadata)
        return _NONE

    def _move_order(self, write: MoveOrder, fence: Fence) -> tuple[int, ...]:
        bindings = (write.order_id, int(write.expected), int(write.to), write.at_ms, fence.epoch)
        if not self._changed(sql("move_order"), bindings):
            raise CuptimeError(
                Reason.STATE_CONFLICT,
                metadata={"order_id": str(write.order_id), "expected": write.expected.name},
            )
        return _NONE

    def _release_orders(self, write: ReleaseOrders, fence: Fence) -> tuple[int, ...]:
        first = write.group_seq << ORDER_NUMBER_BITS
        until = (write.group_seq + 1) << ORDER_NUMBER_BITS
        self._cursor.execute(sql("release_orders"), (first, until, write.at_ms, fence.epoch))
        return _NONE

    # --- decisions --------------------------------------------------------------------------------------------------
    def _insert_decisions(self, write: InsertDecisions, fence: Fence) -> tuple[int, ...]:
        first = self.next_sequence
        rows = [(sequence, *row, fence.epoch) for sequence, row in enumerate(write.rows, first)]
        self._must_insert(sql("insert_decisions"), rows, "this attempt has its decision")
        self.next_sequence = first + len(rows)
        # Runs of one outcome keep the order of the rows: an order may be released and assigned again in one write.
        assigned: list[tuple[Any, ...]] = []
        for at, row in enumerate(write.rows):
            sequence = first + at
            if row[_OUTCOME] == Outcome.ASSIGNED:
                assigned.append((row[0], sequence, fence.epoch))
            elif row[_OUTCOME] == Outcome.RELEASED:
                self._must_insert(sql("insert_assignments"), assigned, "an order is assigned already")
                assigned = []
                self._release(row, fence, handed_over=write.hands_over(at))
        self._must_insert(sql("insert_assignments"), assigned, "an order is assigned already")
        return _NONE

    def _release(self, row: tuple[Any, ...], fence: Fence, *, handed_over: bool) -> None:
        gone: list[Any] = self._cursor.execute(sql("delete_assignment"), (row[0],)).fetchall()
        shop_id, decided_ms, sku, quantity, pack_out_ms = row[3], row[7], row[9], row[10], row[12]
        if gone and gone[0][0] and decided_ms > pack_out_ms and not handed_over:
            self._cursor.execute(sql("use_stock"), (shop_id, sku, quantity, pack_out_ms, fence.epoch))

    def _retire_assignments(self, write: RetireAssignments, fence: Fence) -> tuple[int, ...]:
        given = json.dumps(list(write.order_ids))
        cups: list[Any] = self._cursor.execute(sql("cups_to_retire"), (given,)).fetchall()
        self._many(sql("use_stock"), cups, _ANY_INSTANT_MS, fence.epoch)
        self._cursor.execute(sql("retire_assignments"), (given, fence.epoch))
        return _NONE

    def _must_insert(self, statement: str, rows: list[tuple[Any, ...]], refusal: str) -> None:
        if rows:
            before = self._connection.total_changes()
            self._cursor.executemany(statement, rows)
            if self._connection.total_changes() - before != len(rows):
                raise CuptimeError(Reason.STATE_CONFLICT, f"no order is decided twice: {refusal}")

    def _open_interventions(self, write: OpenInterventions, fence: Fence) -> tuple[int, ...]:
        self._many(sql("open_intervention"), [astuple(row) for row in write.rows], fence.epoch)
        return _NONE

    def _resolve_intervention(self, write: ResolveIntervention, fence: Fence) -> tuple[int, ...]:
        bindings = (write.order_id, write.resolved_ms, write.resolution, write.note, fence.epoch)
        if not self._changed(sql("resolve_intervention"), bindings):
            raise CuptimeError(Reason.INTERVENTION_NOT_FOUND, metadata={"order_id": str(write.order_id)})
        return _NONE

    # --- shops and riders -------------------------------------------------------------------------------------------
    def _put_shops(self, write: PutShops, fence: Fence) -> tuple[int, ...]:
        self._many(sql("put_shop"), [astuple(row) for row in write.rows], fence.epoch)
        return _NONE

    def _put_stock(self, write: PutStock, fence: Fence) -> tuple[int, ...]:
        self._many(sql("put_stock"), [astuple(row) for row in write.rows], fence.epoch)
        return _NONE

    def _put_riders(self, write: PutRiders, fence: Fence) -> tuple[int, ...]:
        self._many(sql("put_rider"), [astuple(row) for row in write.rows], fence.epoch)
        return _NONE

    # --- tasks ------------------------------------------------------------------------------------------------------
    def _insert_tasks(self, write: InsertTasks, fence: Fence) -> tuple[int, ...]:
        self._many(sql("insert_tasks"), [task_row(task) for task in write.tasks], fence.epoch)
        return _NONE

    def _move_tasks(self, write: MoveTasks, fence: Fence) -> tuple[int, ...]:
        rows = dict.fromkeys(write.rows)
        allowed = mask_of(write.allowed)
        if write.to == TaskState.TRIGGERED:
            statement = sql("move_tasks_to_triggered")
            return self._ids(statement, rows, write.at_ms, write.trigger_id, allowed, fence.epoch)
        return self._ids(_MOVE_TASKS[write.to], rows, write.at_ms, allowed, fence.epoch)

    def _trigger_tasks(self, write: TriggerTasks, fence: Fence) -> tuple[int, ...]:
        # Of two rows for one task the first counts: after it the task is TRIGGERED.
        rows = {(row[0], row[1]): row for row in reversed(write.rows)}.values()
        return self._ids(sql("trigger_tasks"), rows, write.at_ms, write.trigger_id, fence.epoch)

    def _execute_tasks(self, write: ExecuteTasks, fence: Fence) -> tuple[int, ...]:
        rows = {row[:2]: row for row in reversed(write.rows)}.values()
        ids: list[int] = []
        small = [(row[0], row[1], row[2].hex()) for row in rows if len(row[2]) <= _JSON_RESULT_BYTES_MAX]
        ids += self._ids(sql("execute_tasks"), small, write.at_ms, fence.epoch)
        if len(small) != len(rows):
            for task_id, execution_id, result in rows:
                if len(result) > _JSON_RESULT_BYTES_MAX and self._changed(
                    sql("execute_task"), (task_id, execution_id, result, write.at_ms, fence.epoch)
                ):
                    ids.append(task_id)
        return tuple(sorted(ids))

    def _lease_tasks(self, write: LeaseTasks, fence: Fence) -> tuple[int, ...]:
        # Of two rows for one task the last counts; the statement would take either.
        rows = {row[0]: row for row in write.rows}.values()
        return self._ids(sql("lease_tasks"), rows, write.worker, write.at_ms, fence.epoch)

    def _extend_leases(self, write: ExtendLeases, fence: Fence) -> tuple[int, ...]:
        rows = {row[:2]: row for row in write.rows}.values()
        return self._ids(sql("extend_leases"), rows, fence.epoch)

    def _replace_task(self, write: ReplaceTask, fence: Fence) -> tuple[int, ...]:
        bindings = (*task_row(write.task), fence.epoch, mask_of(write.expected), write.expected_execution_id)
        if not self._changed(sql("replace_task"), bindings):
            expected = "|".join(state.name for state in write.expected)
            raise CuptimeError(
                Reason.STATE_CONFLICT, metadata={"task_id": str(write.task.task_id), "expected": expected}
            )
        return _NONE

    def _cancel_tasks_of_schedule(self, write: CancelTasksOfSchedule, fence: Fence) -> tuple[int, ...]:
        bindings = (write.schedule_seq, write.generation, write.at_ms, fence.epoch)
        return tuple(
            sorted(row[0] for row in self._cursor.execute(sql("cancel_tasks_of_schedule"), bindings))
        )

    def _overlap_firings(self, write: OverlapFirings, fence: Fence) -> tuple[int, ...]:
        ids: list[int] = []
        counts: Counter[int] = Counter()
        for at in range(0, len(write.task_ids), _JSON_ROWS_MAX):
            given = json.dumps(write.task_ids[at : at + _JSON_ROWS_MAX])
            bindings = (given, write.at_ms, fence.epoch)
            changed: list[Any] = self._cursor.execute(_OVERLAPS[write.effect], bindings).fetchall()
            ids += [row[0] for row in changed]
            counts.update(row[1] for row in changed)
        counted = [
            (schedule_seq, *(count if write.effect is effect else 0 for effect in OverlapEffect))
            for schedule_seq, count in counts.items()
        ]
        self._many(sql("count_overlaps"), counted)
        return tuple(sorted(ids))

    # --- schedules --------------------------------------------------------------------------------------------------
    def _insert_schedule(self, write: InsertSchedule, fence: Fence) -> tuple[int, ...]:
        if not self._changed(sql("insert_schedule"), (*schedule_row(write.schedule), fence.epoch)):
            raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata={"schedule_id": write.schedule.schedule_id})
        return _NONE

    def _replace_schedule(self, write: ReplaceSchedule, fence: Fence) -> tuple[int, ...]:
        known = schedule_row(write.schedule)[:-_OVERLAP_COUNTS]
        bindings = (*known, fence.epoch, write.expected_generation)
        try:
            changed = self._changed(sql("replace_schedule"), bindings)
        except apsw.ConstraintError as error:
            if "schedules" not in str(error):
                raise
            metadata = {"schedule_id": write.schedule.schedule_id}
            raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata=metadata) from None
        if not changed:
            metadata = {"expected_generation": str(write.expected_generation)}
            raise CuptimeError(Reason.ETAG_MISMATCH, metadata=metadata)
        return _NONE

    def _advance_schedules(self, write: AdvanceSchedules, fence: Fence) -> tuple[int, ...]:
        self._many(sql("advance_schedule"), write.rows, fence.epoch)
        return _NONE

    def _record_schedule_change(self, write: RecordScheduleChange, fence: Fence) -> tuple[int, ...]:
        self._cursor.execute(sql("record_schedule_change"), (*change_row(write.row), fence.epoch))
        return _NONE

    def _forget_schedule_changes(self, write: ForgetScheduleChanges, _: Fence) -> tuple[int, ...]:
        bindings = (write.before_ms, write.kept, FORGET_ROWS_MAX)
        self._cursor.execute(sql("forget_schedule_changes"), bindings)
        return (self._connection.changes(),)

    # --- rules and requests -----------------------------------------------------------------------------------------
    def _insert_rule_revision(self, write: InsertRuleRevision, fence: Fence) -> tuple[int, ...]:
        row = write.row
        bindings = (
            row.revision,
            row.digest,
            row.source,
            row.note,
            row.created_ms,
            row.rule_count,
            fence.epoch,
        )
        if not self._changed(sql("insert_rule_revision"), bindings):
            raise CuptimeError(Reason.STATE_CONFLICT, metadata={"revision": str(row.revision)})
        return _NONE

    def _remember_request(self, write: RememberRequest, fence: Fence) -> tuple[int, ...]:
        if not self._changed(sql("remember_request"), (*astuple(write.row), fence.epoch)):
            raise CuptimeError(Reason.REQUEST_ID_REUSED, metadata={"request_id": write.row.request_id})
        return _NONE

    def _forget_requests(self, write: ForgetRequests, fence: Fence) -> tuple[int, ...]:
        self._cursor.execute(sql("forget_requests"), (write.before_ms, FORGET_ROWS_MAX))
        requests = self._connection.changes()
        self._cursor.execute(sql("forget_refusals"), (write.refusals_before_ms, FORGET_ROWS_MAX))
        return requests, self._connection.changes()
