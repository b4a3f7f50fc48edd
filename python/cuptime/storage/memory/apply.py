"""Carries out writes on the tables, with the refusals of :mod:`cuptime.domain.writes`."""

from __future__ import annotations

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
    RefusalRow,
    group_seq_of,
)
from cuptime.domain.writes import (
    ForgetGroups,
    ForgetRequests,
    ForgetSchedules,
    ForgetTasks,
    InsertDecisions,
    InsertGroup,
    InsertOrders,
    InsertRefusals,
    InsertRuleRevision,
    MoveGroups,
    MoveOrder,
    OpenInterventions,
    PutRiders,
    PutShops,
    PutStock,
    ReleaseOrders,
    RememberRequest,
    ResolveIntervention,
    RetireAssignments,
    Row,
    SetMemberCounts,
    Write,
)
from cuptime.storage.memory.apply_schedules import SCHEDULES
from cuptime.storage.memory.apply_tasks import TASKS
from cuptime.storage.memory.retention import forget_groups, forget_schedules, forget_tasks
from cuptime.storage.memory.tables import ByKind, Tables

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


_BY_KIND: ByKind = {
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
    **TASKS,
    **SCHEDULES,
    InsertRuleRevision: _insert_rule_revision,
    RememberRequest: _remember_request,
    ForgetRequests: _forget_requests,
    ForgetGroups: forget_groups,
    ForgetTasks: forget_tasks,
    ForgetSchedules: forget_schedules,
}
