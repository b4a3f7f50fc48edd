"""The closed set of writes. A use case makes a tuple of them; storage commits the tuple whole or not at all.

Rows that come in numbers stay plain tuples in the column order given, so that the core can make thousands of them
without a Python object for each. Writes with a precondition say so; when it does not hold, the whole tuple is refused
with the error named and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from cuptime.domain.values import (
    Group,
    GroupState,
    InterventionRow,
    OrderState,
    Outcome,
    OverlapEffect,
    RequestRow,
    RiderRow,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeRow,
    ShopRow,
    StockRow,
    Task,
    TaskState,
)

Row = tuple[object, ...]


# --- groups and orders --------------------------------------------------------------------------------------------
class InsertGroup(Struct, frozen=True):
    """Refused with GROUP_EXISTS when the group_id is taken."""

    group: Group


class InsertOrders(Struct, frozen=True):
    """Rows in the field order of :class:`OrderRow`."""

    rows: Sequence[Row]


class InsertRefusals(Struct, frozen=True):
    """Rows in the field order of :class:`RefusalRow`. A request_id already refused keeps its first row
    for REQUEST_ID_WINDOW_MS; after that a new refusal takes its place."""

    rows: Sequence[Row]


class SetMemberCounts(Struct, frozen=True):
    """Rows of (group_seq, member_count)."""

    rows: Sequence[Row]


class MoveGroups(Struct, frozen=True):
    """Moves groups to `to`; refused with STATE_CONFLICT when one is not in a state of `allowed`.

    Rows of (group_seq, completed_ms, member_count); completed_ms 0 leaves what is there. The etag grows by one. A group
    that becomes FAILED or DECIDED has its end at `at_ms`.
    """

    to: GroupState
    allowed: tuple[GroupState, ...]
    rows: Sequence[Row]
    at_ms: int


class MoveOrder(Struct, frozen=True):
    """Moves one order; refused with STATE_CONFLICT when it is not in state `expected`."""

    order_id: int
    expected: OrderState
    to: OrderState
    at_ms: int


class ReleaseOrders(Struct, frozen=True):
    """Moves every ADMITTED order of a group to RELEASED."""

    group_seq: int
    at_ms: int


# --- decisions ----------------------------------------------------------------------------------------------------
class InsertDecisions(Struct, frozen=True):
    """Rows in the field order of :class:`DecisionRow` without `sequence`, which storage gives in the order of commit.

    Refused with STATE_CONFLICT when an order already has an ASSIGNED decision that was not released: no order is
    decided twice. A RELEASED row after its pack-out puts the cups down as used, unless it hands over.
    """

    rows: Sequence[Row]

    def hands_over(self, at: int) -> bool:
        """Does the RELEASED row at this place only change the rider? The next row assigns the same order at the same
        shop, so its cups, packed out or not, stay where they are."""
        if at + 1 == len(self.rows):
            return False
        row, following = self.rows[at], self.rows[at + 1]
        return following[0] == row[0] and following[2] == Outcome.ASSIGNED and following[3] == row[3]


class RetireAssignments(Struct, frozen=True):
    """Standing assignments that take nothing any more but cups; these are put down as used, unless the stock was
    counted after their pack-out. One that is retired or gone already is left out.

    A RELEASED decision made after its pack-out puts the cups down as used in the same way: they do not come back.
    """

    order_ids: Sequence[int]


class OpenInterventions(Struct, frozen=True):
    """Rows in the field order of :class:`InterventionRow`; one that is open already stays as it is."""

    rows: Sequence[InterventionRow]


class ResolveIntervention(Struct, frozen=True):
    """Refused with INTERVENTION_NOT_FOUND when it is not open."""

    order_id: int
    resolved_ms: int
    resolution: str
    note: str


# --- shops and riders ---------------------------------------------------------------------------------------------
class PutShops(Struct, frozen=True):
    """Creates or replaces; `etag` in the row is the new one."""

    rows: Sequence[ShopRow]


class PutStock(Struct, frozen=True):
    """Creates or replaces the cups on hand by (shop_id, sku). `used` is storage's own: a new `set_ms` sets it to 0, the
    same one leaves it."""

    rows: Sequence[StockRow]


class PutRiders(Struct, frozen=True):
    """Creates or replaces; `etag` in the row is the new one."""

    rows: Sequence[RiderRow]


# --- tasks --------------------------------------------------------------------------------------------------------
class InsertTasks(Struct, frozen=True):
    """New tasks, ids given by the caller. A task of a schedule whose (schedule_seq, generation, nominal_ms) is there
    already is left out silently: planning is idempotent."""

    tasks: Sequence[Task]


class MoveTasks(Struct, frozen=True):
    """Moves many tasks at once, for the trigger: those not in a state of `allowed`, or whose due_ms differs from the
    row's, are left out; the result of the write is the sorted list of task ids that moved.

    Rows of (task_id, due_ms); `to` is TRIGGERED: trigger_ms = at_ms, trigger_id = trigger_id, and execution_id, worker
    and lease of an earlier attempt are taken off. SCHEDULED sets scheduled_ms; CANCELLED is allowed too.
    """

    to: TaskState
    allowed: tuple[TaskState, ...]
    rows: Sequence[tuple[int, int]]
    at_ms: int
    trigger_id: str


class TriggerTasks(Struct, frozen=True):
    """The trigger, many tasks at once: SCHEDULED to TRIGGERED, and with a worker's name under its lease in the same
    row change. Rows of (task_id, due_ms, execution_id, lease_until_ms, attempt, worker); one that nobody takes
    yet has "", 0 and the attempts so far. A task that is not SCHEDULED, or whose due_ms differs, is left out; the
    result is the sorted list of ids that moved."""

    rows: Sequence[tuple[int, int, str, int, int, str]]
    at_ms: int
    trigger_id: str


class ExecuteTasks(Struct, frozen=True):
    """Ends attempts well, many at once: TRIGGERED to EXECUTED with a result. Rows of (task_id, execution_id, result);
    a task that is not TRIGGERED under that execution_id is left out, and the result is the sorted list of ids
    that moved."""

    rows: Sequence[tuple[int, str, bytes]]
    at_ms: int


class LeaseTasks(Struct, frozen=True):
    """Gives TRIGGERED tasks to a worker. Rows of (task_id, execution_id, lease_until_ms, attempt); the result is the
    list of ids leased (others are left out)."""

    worker: str
    rows: Sequence[tuple[int, str, int, int]]
    at_ms: int


class ExtendLeases(Struct, frozen=True):
    """Rows of (task_id, execution_id, lease_until_ms); the result is the list of ids extended."""

    rows: Sequence[tuple[int, str, int]]


class ReplaceTask(Struct, frozen=True):
    """Writes one task whole; refused with STATE_CONFLICT when the stored one is not in state `expected`, or its
    execution_id differs from `expected_execution_id` (None: any)."""

    task: Task
    expected: tuple[TaskState, ...]
    expected_execution_id: str | None = None


class CancelTasksOfSchedule(Struct, frozen=True):
    """Cancels every PENDING or SCHEDULED task of a schedule with a generation below `generation`; the result is the
    list of ids cancelled."""

    schedule_seq: int
    generation: int
    at_ms: int


class OverlapFirings(Struct, frozen=True):
    """What an overlap policy does to firings, each counted in its schedule: SKIPPED makes a SCHEDULED one CANCELLED,
    CANCELLED a SCHEDULED or TRIGGERED one, BUFFERED marks a SCHEDULED one that was not buffered before. Others, and
    those under ALLOW_ALL, are left out; the result is the sorted list of ids that changed. Task ids, each once."""

    effect: OverlapEffect
    task_ids: Sequence[int]
    at_ms: int


# --- schedules ----------------------------------------------------------------------------------------------------
class InsertSchedule(Struct, frozen=True):
    """Refused with SCHEDULE_EXISTS when the schedule_id is in use by one that is not unregistered."""

    schedule: Schedule


class ReplaceSchedule(Struct, frozen=True):
    """Refused with ETAG_MISMATCH when the stored generation differs from what is expected. The counts of what the
    overlap policy did stay as they are stored."""

    schedule: Schedule
    expected_generation: int


class AdvanceSchedules(Struct, frozen=True):
    """The planner's watermark. Rows of (schedule_seq, generation, planned_until_ms, next_ms, fired, state, missed);
    `fired` is added to fire_count and run_count, `missed` to missed_count. A row whose generation is not the stored one
    is left out."""

    rows: Sequence[tuple[int, int, int, int, int, int, int]]


class RecordScheduleChange(Struct, frozen=True):
    """Appends to the audit of schedules; `sequence` of the row is not looked at."""

    row: ScheduleChangeRow


class ForgetScheduleChanges(Struct, frozen=True):
    """Drops entries of the audit made before `before_ms`, and those beyond the newest `kept`: the oldest first, at most
    FORGET_ROWS_MAX. The newest entry stays, so that no sequence comes again. Its result is how many."""

    before_ms: int
    kept: int


# --- rules, requests, ownership -----------------------------------------------------------------------------------
class InsertRuleRevision(Struct, frozen=True):
    """Makes it the active one; refused with STATE_CONFLICT when its number is not the next."""

    row: RuleRevisionRow


class RememberRequest(Struct, frozen=True):
    """The first answer to a request_id; refused with REQUEST_ID_REUSED when there is one."""

    row: RequestRow


class ForgetRequests(Struct, frozen=True):
    """Drops answers that expired before `before_ms`, and refusals made before `refusals_before_ms`: of each at most
    FORGET_ROWS_MAX, the oldest first, so that no commit waits long for the sweep. Its result is how many of each."""

    before_ms: int
    refusals_before_ms: int


# --- retention ----------------------------------------------------------------------------------------------------
class ForgetGroups(Struct, frozen=True):
    """Drops groups that ended before `before_ms`, with their orders and what belongs to these: decisions, the retired
    assignment, the resolved intervention. At most FORGET_ORDERS_MAX orders, whole groups in the sequence given; only a
    group that alone has more goes in several commits, and itself with the last of its orders.

    Left out is a group that has not ended before, one whose deadline is to come, and an order that holds it back: see
    :meth:`cuptime.domain.ports.Storage.ended_groups`. The result is how many groups and how many orders went."""

    group_seqs: Sequence[int]
    before_ms: int


class ForgetTasks(Struct, frozen=True):
    """Drops tasks that ended before `before_ms`; left out is one whose result may still be wanted, see
    :meth:`cuptime.domain.ports.Storage.ended_tasks`. The result is how many went. Of the firings among them storage
    notes up to which nominal time those of a schedule's generation are gone."""

    task_ids: Sequence[int]
    before_ms: int


class ForgetSchedules(Struct, frozen=True):
    """Drops schedules that were unregistered before `before_ms` and have no task any more: at most FORGET_ROWS_MAX, the
    oldest first. The result is how many."""

    before_ms: int


Write = (
    InsertGroup
    | InsertOrders
    | InsertRefusals
    | SetMemberCounts
    | MoveGroups
    | MoveOrder
    | ReleaseOrders
    | InsertDecisions
    | RetireAssignments
    | OpenInterventions
    | ResolveIntervention
    | PutShops
    | PutStock
    | PutRiders
    | InsertTasks
    | MoveTasks
    | TriggerTasks
    | ExecuteTasks
    | LeaseTasks
    | ExtendLeases
    | ReplaceTask
    | CancelTasksOfSchedule
    | OverlapFirings
    | InsertSchedule
    | ReplaceSchedule
    | AdvanceSchedules
    | RecordScheduleChange
    | ForgetScheduleChanges
    | InsertRuleRevision
    | RememberRequest
    | ForgetRequests
    | ForgetGroups
    | ForgetTasks
    | ForgetSchedules
)
