"""The port :class:`cuptime.domain.ports.Storage` on dicts, in one thread, with the same answers as SQLite."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import CLOSED_LATE_MS
from cuptime.domain.ports import Committed, Sequences, TaskFilter
from cuptime.domain.values import (
    DecisionRow,
    Fence,
    Group,
    GroupState,
    InterventionRow,
    OrderRow,
    OrderState,
    RefusalRow,
    RequestRow,
    RiderRow,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeRow,
    ScheduleState,
    ShopRow,
    StockRow,
    Task,
    TaskState,
    group_seq_of,
)
from cuptime.domain.writes import Write
from cuptime.storage.memory.apply import apply, last_sequence
from cuptime.storage.memory.retention import FORGOTTEN_KINDS, ended_ms, group_held, task_held
from cuptime.storage.memory.tables import Tables, page

_WAITING = (TaskState.PENDING, TaskState.SCHEDULED, TaskState.TRIGGERED)


class MemoryStorage:
    """Storage that lives as long as the object; `open` and `close` may come again and keep the rows."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._open = False
        self.on_lost: Callable[[], None] = lambda: None

    async def open(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    # --- writes -----------------------------------------------------------------------------------------------------
    async def claim(self, shard_id: int, owner: str, epoch: int | None = None) -> Fence:
        self._must_be_open()
        stored, before = self._tables.shards.get(shard_id, (0, ""))
        wanted = stored + 1 if epoch is None else epoch
        if wanted < stored or (wanted == stored and owner != before):
            raise _stale(Fence(shard_id, wanted), stored)
        self._tables.shards[shard_id] = (wanted, owner)
        return Fence(shard_id, wanted)

    async def commit(self, fence: Fence, writes: Sequence[Write]) -> Committed:
        self._must_be_open()
        stored, _ = self._tables.shards.get(fence.shard_id, (0, ""))
        if not stored == fence.epoch > 0:
            raise _stale(fence, stored)
        sequence = last_sequence(self._tables)
        try:
            results = tuple([apply(self._tables, write) for write in writes])
        except CuptimeError:
            self._tables.take_back()
            raise
        except Exception as error:
            self._tables.take_back()
            raise CuptimeError(Reason.INTERNAL, f"{type(error).__name__}: {error}") from error
        self._tables.keep()
        return Committed(results, sequence + 1 if last_sequence(self._tables) > sequence else 0)

    async def room(self) -> None:
        """There always is."""

    async def settle(self) -> None:
        self._must_be_open()

    def pending_units(self) -> int:
        return 0

    def _must_be_open(self) -> None:
        if not self._open:
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE, "storage is closed")

    # --- reads: groups and orders -----------------------------------------------------------------------------------
    async def sequences(self) -> Sequences:
        tables = self._tables
        gone = {kind: last for kind, (last, _) in tables.forgotten.rows.items()}
        return Sequences(
            group_seq=max(gone.get("groups", 0), max(tables.groups.rows, default=0)),
            task_id=max(gone.get("tasks", 0), max(tables.tasks.rows, default=0)),
            schedule_seq=max(gone.get("schedules", 0), max(tables.schedules.rows, default=0)),
            rule_revision=len(tables.rule_revisions),
            decision=last_sequence(tables),
            decision_forgotten=gone.get("decisions", 0),
        )

    async def group(self, group_id: int) -> Group | None:
        group_seq = self._tables.group_seqs.get(group_id)
        return None if group_seq is None else self._tables.groups.get(group_seq)

    async def group_by_seq(self, group_seq: int) -> Group | None:
        return self._tables.groups.get(group_seq)

    async def groups(
        self, *, before_seq: int, limit: int, state: GroupState | None = None, park: str | None = None
    ) -> list[Group]:
        found = [
            group
            for group in self._tables.groups.values()
            if group.group_seq < before_seq and state in (None, group.state) and park in (None, group.park)
        ]
        found.sort(key=lambda group: -group.group_seq)
        return found[:limit]

    async def order(self, order_id: int) -> OrderRow | None:
        return self._tables.orders.get(order_id)

    async def orders_of(self, group_seq: int, *, after: int, limit: int) -> list[OrderRow]:
        rows = (row for row in self._tables.orders.values() if group_seq_of(row.order_id) == group_seq)
        return page(rows, lambda row: row.order_id, after, limit)

    async def orders_since(self, created_from_ms: int, *, after: int, limit: int) -> list[OrderRow]:
        from_ms = created_from_ms - CLOSED_LATE_MS
        possible = {
            group.group_seq
            for group in self._tables.groups.values()
            if group.deadline_ms >= from_ms
            and (not group.completed_ms or group.completed_ms >= from_ms)
            and self._tables.group_ends.rows.get(group.group_seq, from_ms) >= from_ms
        }
        rows = (
            row
            for row in self._tables.orders.values()
            if row.created_ms >= created_from_ms and group_seq_of(row.order_id) in possible
        )
        return page(rows, lambda row: row.order_id, after, limit)

    async def refusal(self, request_id: str) -> RefusalRow | None:
        return self._tables.refusals.get(request_id)

    async def refusals_since(self, created_from_ms: int, *, limit: int) -> list[RefusalRow]:
        found = [row for row in self._tables.refusals.values() if row.created_ms >= created_from_ms]
        found.sort(key=lambda row: row.created_ms)
        return found[:limit]

    # --- reads: decisions -------------------------------------------------------------------------------------------
    async def decision(self, order_id: int) -> DecisionRow | None:
        rows = [row for row in self._tables.decisions.values() if row.order_id == order_id]
        return max(rows, key=lambda row: row.sequence, default=None)

    async def decisions(self, *, after: int, limit: int, group_seq: int | None = None) -> list[DecisionRow]:
        rows = (
            row
            for row in self._tables.decisions.values()
            if group_seq is None or group_seq_of(row.order_id) == group_seq
        )
        return page(rows, lambda row: row.sequence, after, limit)

    async def undecided_orders(self, *, after: int, limit: int) -> list[OrderRow]:
        decided = {row.order_id for row in self._tables.decisions.values()}
        groups = self._tables.groups.rows
        rows = (
            row
            for row in self._tables.orders.values()
            if row.state == OrderState.ADMITTED
            and row.order_id not in decided
            and (group := groups.get(group_seq_of(row.order_id))) is not None
            and group.state == GroupState.COMPLETED
        )
        return page(rows, lambda row: row.order_id, after, limit)

    async def standing_assignments(
        self, *, after: int, limit: int, live_only: bool = False
    ) -> list[DecisionRow]:
        standing = (self._tables.decisions.rows[sequence] for sequence in self._tables.assignments.values())
        rows = (row for row in standing if not (live_only and row.order_id in self._tables.retired.rows))
        return page(rows, lambda row: row.sequence, after, limit)

    async def intervention(self, order_id: int) -> InterventionRow | None:
        return self._tables.interventions.get(order_id)

    async def interventions_open(self) -> int:
        return sum(row.resolved_ms == 0 for row in self._tables.interventions.values())

    async def interventions(self, *, after: int, limit: int) -> list[InterventionRow]:
        rows = (row for row in self._tables.interventions.values() if row.resolved_ms == 0)
        return page(rows, lambda row: row.order_id, after, limit)

    # --- reads: shops and riders ------------------------------------------------------------------------------------
    async def shops(self, *, after: int, limit: int) -> list[ShopRow]:
        return page(self._tables.shops.values(), lambda row: row.shop_id, after, limit)

    async def shop(self, shop_id: int) -> ShopRow | None:
        return self._tables.shops.get(shop_id)

    async def stock(self, *, shop_id: int | None = None) -> list[StockRow]:
        rows = [row for row in self._tables.stock.values() if shop_id in (None, row.shop_id)]
        return sorted(rows, key=lambda row: (row.shop_id, row.sku.encode()))

    async def riders(self, *, after: int, limit: int) -> list[RiderRow]:
        return page(self._tables.riders.values(), lambda row: row.rider_id, after, limit)

    async def rider(self, rider_id: int) -> RiderRow | None:
        return self._tables.riders.get(rider_id)

    # --- reads: tasks -----------------------------------------------------------------------------------------------
    async def task(self, task_id: int) -> Task | None:
        return self._tables.tasks.get(task_id)

    async def tasks_by_id(self, task_ids: Sequence[int]) -> list[Task]:
        found = (self._tables.tasks.get(task_id) for task_id in sorted(set(task_ids)))
        return [task for task in found if task is not None]

    async def tasks(self, where: TaskFilter, *, after: int, limit: int) -> list[Task]:
        rows = (task for task in self._tables.tasks.values() if _matches(where, task))
        return page(rows, lambda task: task.task_id, after, limit)

    async def waiting_tasks(self, *, after: int, limit: int) -> list[tuple[int, int, int, int, int]]:
        rows = (task for task in self._tables.tasks.values() if task.state in _WAITING)
        found = page(rows, lambda task: task.task_id, after, limit)
        return [
            (task.task_id, task.due_ms, int(task.state), task.lease_until_ms, task.bucket_ms)
            for task in found
        ]

    async def running_firings(self, *, after: int, limit: int) -> list[Task]:
        rows = (
            task
            for task in self._tables.tasks.values()
            if task.overlap
            and (
                task.state is TaskState.TRIGGERED or (task.state is TaskState.SCHEDULED and task.retry_count)
            )
        )
        return page(rows, lambda task: task.task_id, after, limit)

    async def executed_result(self, result_hash: bytes) -> Task | None:
        rows = (
            task
            for task in self._tables.tasks.values()
            if result_hash
            and task.context is not None
            and task.result_hash == result_hash
            and task.state == TaskState.EXECUTED
        )
        return min(rows, key=lambda task: task.task_id, default=None)

    # --- reads: retention -------------------------------------------------------------------------------------------
    async def ended_groups(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        ends = ((ended, group_seq) for group_seq, ended in self._tables.group_ends.rows.items())
        found = sorted(end for end in ends if end[0] < before_ms and end > after)
        return [(*end, group_held(self._tables, end[1], before_ms)) for end in found[:limit]]

    async def ended_tasks(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        ends = ((ended_ms(task), task.task_id, task) for task in self._tables.tasks.values())
        found = sorted(
            (end for end in ends if 0 < end[0] < before_ms and end[:2] > after), key=lambda e: e[:2]
        )
        return [(*end[:2], task_held(self._tables, end[2], before_ms)) for end in found[:limit]]

    async def forgotten_firings(self, schedule_seq: int, generation: int) -> int:
        noted, nominal_ms = self._tables.forgotten_firings.get(schedule_seq) or (0, 0)
        return nominal_ms if noted == generation else 0

    async def forgotten(self) -> dict[str, int]:
        return {kind: (self._tables.forgotten.get(kind) or (0, 0))[1] for kind in FORGOTTEN_KINDS}

    # --- reads: schedules -------------------------------------------------------------------------------------------

    async def schedule(self, schedule_id: str) -> Schedule | None:
        rows = [row for row in self._tables.schedules.values() if row.schedule_id == schedule_id]
        live = [row for row in rows if row.state != ScheduleState.UNREGISTERED]
        return max(live or rows, key=lambda row: row.schedule_seq, default=None)

    async def schedule_by_seq(self, schedule_seq: int) -> Schedule | None:
        return self._tables.schedules.get(schedule_seq)

    async def schedules(
        self,
        *,
        after: int,
        limit: int,
        state: ScheduleState | None = None,
        label: tuple[str, str] | None = None,
    ) -> list[Schedule]:
        rows = (
            row
            for row in self._tables.schedules.values()
            if state in (None, row.state) and (label is None or label in row.labels)
        )
        return page(rows, lambda row: row.schedule_seq, after, limit)

    async def sourced_schedules(self, *, after: int, limit: int) -> list[Schedule]:
        rows = (
            row
            for row in self._tables.schedules.values()
            if row.source and row.state is not ScheduleState.UNREGISTERED
        )
        return page(rows, lambda row: row.schedule_seq, after, limit)

    async def schedule_changes(
        self, *, before: int, limit: int, schedule_id: str | None = None
    ) -> list[ScheduleChangeRow]:
        rows = [
            row
            for row in self._tables.schedule_changes.values()
            if row.sequence < before and schedule_id in (None, row.schedule_id)
        ]
        rows.sort(key=lambda row: -row.sequence)
        return rows[:limit]

    # --- reads: rules, requests, counts -----------------------------------------------------------------------------
    async def rule_revision(self, revision: int | None) -> RuleRevisionRow | None:
        row = self._tables.rule_revisions.get(
            len(self._tables.rule_revisions) if revision is None else revision
        )
        return None if row is None else self._marked(row)

    async def rule_revisions(self, *, before: int, limit: int) -> list[RuleRevisionRow]:
        rows = [row for row in self._tables.rule_revisions.values() if row.revision < before]
        rows.sort(key=lambda row: -row.revision)
        return [self._marked(row) for row in rows[:limit]]

    def _marked(self, row: RuleRevisionRow) -> RuleRevisionRow:
        return replace(row, active=row.revision == len(self._tables.rule_revisions))

    async def request(self, request_id: str) -> RequestRow | None:
        return self._tables.requests.get(request_id)

    async def counts(self) -> dict[str, int]:
        tables = self._tables
        return {
            "groups": len(tables.groups),
            "orders": len(tables.orders),
            "refusals": len(tables.refusals),
            "decisions": len(tables.decisions),
            "assignments": len(tables.assignments),
            "interventions": len(tables.interventions),
            "shops": len(tables.shops),
            "stock": len(tables.stock),
            "riders": len(tables.riders),
            "tasks": len(tables.tasks),
            "schedules": len(tables.schedules),
            "schedule_changes": len(tables.schedule_changes),
            "rule_revisions": len(tables.rule_revisions),
            "requests": len(tables.requests),
        }


def _matches(where: TaskFilter, task: Task) -> bool:
    return (
        where.state in (None, task.state)
        and where.queue in (None, task.queue)
        and (where.schedule_seq is None or 0 < where.schedule_seq == task.schedule_seq)
        and (where.due_from_ms is None or task.due_ms >= where.due_from_ms)
        and (where.due_until_ms is None or task.due_ms <= where.due_until_ms)
    )


def _stale(fence: Fence, stored: int) -> CuptimeError:
    return CuptimeError(
        Reason.EPOCH_STALE,
        f"shard {fence.shard_id} is at epoch {stored}, not {fence.epoch}",
        metadata={"shard_id": str(fence.shard_id), "epoch": str(fence.epoch), "stored": str(stored)},
    )
