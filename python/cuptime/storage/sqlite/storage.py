"""The port :class:`cuptime.domain.ports.Storage` on one SQLite file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, LiteralString

import apsw

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import CLOSED_LATE_MS, ORDER_NUMBER_BITS
from cuptime.domain.ports import Committed, Metrics, Sequences, TaskFilter
from cuptime.domain.values import (
    DecisionRow,
    Fence,
    Group,
    GroupState,
    InterventionRow,
    OrderRow,
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
)
from cuptime.domain.writes import Write
from cuptime.storage.sqlite import migrate
from cuptime.storage.sqlite.connection import check_engine, open_writer, unavailable
from cuptime.storage.sqlite.guard import FileGuard, FileWatch
from cuptime.storage.sqlite.reader import Readers
from cuptime.storage.sqlite.rows import (
    change_of,
    decision_of,
    group_of,
    label_lines,
    order_of,
    revision_of,
    schedule_of,
    task_of,
)
from cuptime.storage.sqlite.statements import sql
from cuptime.storage.sqlite.writer import Claim, Settle, Unit, Writer, rows_of


class SqliteStorage:
    """Storage in the file `path`, whose folder must be on a local disk and belongs to one server at a time.

    `vfs` names an apsw VFS, for tests that make the disk fail.
    """

    def __init__(self, path: Path, clock: Clock, metrics: Metrics | None = None, *, vfs: str = "") -> None:
        self._path = path.resolve()
        self._clock = clock
        self._metrics = metrics
        self._vfs = vfs
        self._guard = FileGuard(self._path)
        self.on_lost: Callable[[], None] = lambda: None
        """Called once when the database's files were deleted or replaced under us; nothing is written from then on."""
        self._connection: apsw.Connection | None = None
        self._writer: Writer | None = None
        self._readers = Readers(self._path, vfs)

    async def open(self) -> None:
        """See :meth:`cuptime.domain.ports.Storage.open`. A second server on the file is refused, naming the first."""
        check_engine(apsw.sqlite_lib_version())
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(None, self._open, loop)
        except (apsw.Error, OSError) as error:
            await self.close()
            raise unavailable(error, f"open {self._path.name}") from error
        except BaseException:
            await self.close()
            raise
        if self._metrics is not None:
            self._metrics.depth("storage.writer", self.pending_units)

    def _open(self, loop: asyncio.AbstractEventLoop) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._guard.take()
        self._connection = open_writer(self._path, self._vfs)
        migrate.migrate(self._connection, migrate.load(), self._clock.now_ms())
        self._readers.open()
        watch = FileWatch(self._path)
        watch.begin()
        self._writer = Writer(self._connection, loop, self._clock, self._metrics, watch, self._file_lost)
        self._writer.start()

    def _file_lost(self) -> None:
        self.on_lost()

    async def close(self) -> None:
        """Commits what waits, then closes the file. May be called twice, and after an `open` that failed."""
        writer, self._writer = self._writer, None
        await asyncio.get_running_loop().run_in_executor(None, self._close, writer)

    def _close(self, writer: Writer | None) -> None:
        if writer is not None:
            writer.stop()
        self._readers.close()
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                connection.close()
        finally:
            self._guard.free()

    # --- writes -----------------------------------------------------------------------------------------------------
    async def claim(self, shard_id: int, owner: str, epoch: int | None = None) -> Fence:
        answer = await self._submit(Claim(shard_id, owner, epoch), Fence(shard_id, 0), 1)
        assert isinstance(answer, Fence)
        return answer

    async def commit(self, fence: Fence, writes: Sequence[Write]) -> Committed:
        work = tuple(writes)
        answer = await self._submit(work, fence, sum(map(rows_of, work)))
        assert isinstance(answer, Committed)
        return answer

    async def settle(self) -> None:
        await self._submit(Settle(), Fence(0, 0), 1)

    async def _submit(
        self, work: tuple[Write, ...] | Claim | Settle, fence: Fence, rows: int
    ) -> Committed | Fence:
        if self._writer is None:
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE, "storage is closed")
        future: asyncio.Future[Committed | Fence] = asyncio.get_running_loop().create_future()
        self._writer.put(Unit(work, fence, rows, future))
        return await future

    async def room(self) -> None:
        if self._writer is not None:
            await self._writer.room()

    def pending_units(self) -> int:
        return 0 if self._writer is None else self._writer.pending()

    # --- reads: groups and orders -----------------------------------------------------------------------------------
    async def sequences(self) -> Sequences:
        def read(connection: apsw.Connection) -> Sequences:
            return Sequences(
                group_seq=connection.execute(sql("last_group_seq")).get,
                task_id=connection.execute(sql("last_task_id")).get,
                schedule_seq=connection.execute(sql("last_schedule_seq")).get,
                rule_revision=connection.execute(sql("last_rule_revision")).get,
                decision=connection.execute(sql("last_decision")).get,
                decision_forgotten=connection.execute(sql("last_forgotten_decision")).get,
            )

        return await self._readers.run(read)

    async def group(self, group_id: int) -> Group | None:
        return await self._readers.row("group_by_id", (group_id,), group_of)

    async def group_by_seq(self, group_seq: int) -> Group | None:
        return await self._readers.row("group_by_seq", (group_seq,), group_of)

    async def groups(
        self, *, before_seq: int, limit: int, state: GroupState | None = None, park: str | None = None
    ) -> list[Group]:
        if state is None:
            return await self._readers.rows("groups_newest", (before_seq, limit, park), group_of)
        bindings = (before_seq, limit, park, int(state))
        return await self._readers.rows("groups_newest_in_state", bindings, group_of)

    async def order(self, order_id: int) -> OrderRow | None:
        return await self._readers.row("order", (order_id,), order_of)

    async def orders_of(self, group_seq: int, *, after: int, limit: int) -> list[OrderRow]:
        after = max(after, group_seq << ORDER_NUMBER_BITS)
        return await self._readers.rows(
            "orders_between", (after, (group_seq + 1) << ORDER_NUMBER_BITS, limit), order_of
        )

    async def orders_since(self, created_from_ms: int, *, after: int, limit: int) -> list[OrderRow]:
        bindings = (after, created_from_ms, limit, ORDER_NUMBER_BITS, created_from_ms - CLOSED_LATE_MS)
        return await self._readers.rows("orders_since", bindings, order_of)

    async def refusal(self, request_id: str) -> RefusalRow | None:
        return await self._readers.row("refusal", (request_id,), _refusal_of)

    async def refusals_since(self, created_from_ms: int, *, limit: int) -> list[RefusalRow]:
        return await self._readers.rows("refusals_since", (created_from_ms, limit), _refusal_of)

    # --- reads: decisions -------------------------------------------------------------------------------------------
    async def decision(self, order_id: int) -> DecisionRow | None:
        return await self._readers.row("latest_decision", (order_id,), decision_of)

    async def decisions(self, *, after: int, limit: int, group_seq: int | None = None) -> list[DecisionRow]:
        if group_seq is None:
            return await self._readers.rows("decisions_after", (after, limit), decision_of)
        first, until = group_seq << ORDER_NUMBER_BITS, (group_seq + 1) << ORDER_NUMBER_BITS
        return await self._readers.rows("decisions_of_group", (after, limit, first, until), decision_of)

    async def undecided_orders(self, *, after: int, limit: int) -> list[OrderRow]:
        return await self._readers.rows("undecided_orders", (after, limit, ORDER_NUMBER_BITS), order_of)

    async def standing_assignments(
        self, *, after: int, limit: int, live_only: bool = False
    ) -> list[DecisionRow]:
        name: LiteralString = "live_assignments" if live_only else "standing_assignments"
        return await self._readers.rows(name, (after, limit), decision_of)

    async def intervention(self, order_id: int) -> InterventionRow | None:
        return await self._readers.row("intervention", (order_id,), lambda row: InterventionRow(*row))

    async def interventions_open(self) -> int:
        def read(connection: apsw.Connection) -> int:
            count: int = connection.execute(sql("count_open_interventions")).get
            return count

        return await self._readers.run(read)

    async def interventions(self, *, after: int, limit: int) -> list[InterventionRow]:
        return await self._readers.rows(
            "open_interventions", (after, limit), lambda row: InterventionRow(*row)
        )

    # --- reads: shops and riders ------------------------------------------------------------------------------------
    async def shops(self, *, after: int, limit: int) -> list[ShopRow]:
        return await self._readers.rows("shops", (after, limit), lambda row: ShopRow(*row))

    async def shop(self, shop_id: int) -> ShopRow | None:
        return await self._readers.row("shop", (shop_id,), lambda row: ShopRow(*row))

    async def stock(self, *, shop_id: int | None = None) -> list[StockRow]:
        if shop_id is None:
            return await self._readers.rows("stock", (), lambda row: StockRow(*row))
        return await self._readers.rows("stock_of_shop", (shop_id,), lambda row: StockRow(*row))

    async def riders(self, *, after: int, limit: int) -> list[RiderRow]:
        return await self._readers.rows("riders", (after, limit), lambda row: RiderRow(*row))

    async def rider(self, rider_id: int) -> RiderRow | None:
        return await self._readers.row("rider", (rider_id,), lambda row: RiderRow(*row))

    # --- reads: tasks -----------------------------------------------------------------------------------------------
    async def task(self, task_id: int) -> Task | None:
        return await self._readers.row("task", (task_id,), task_of)

    async def tasks_by_id(self, task_ids: Sequence[int]) -> list[Task]:
        return await self._readers.rows("tasks_by_id", (json.dumps(list(task_ids)),), task_of)

    async def tasks(self, where: TaskFilter, *, after: int, limit: int) -> list[Task]:
        state = None if where.state is None else int(where.state)
        bindings = (after, limit, state, where.queue, where.due_from_ms, where.due_until_ms)
        if where.schedule_seq is None:
            return await self._readers.rows("tasks_where", bindings, task_of)
        lives = where.state is not None and where.state < TaskState.EXECUTED
        name = "live_firings_where" if lives else "tasks_of_schedule_where"
        return await self._readers.rows(name, (*bindings, where.schedule_seq), task_of)

    async def waiting_tasks(self, *, after: int, limit: int) -> list[tuple[int, int, int, int, int]]:
        def read(connection: apsw.Connection) -> list[tuple[int, int, int, int, int]]:
            found: list[Any] = connection.execute(sql("waiting_tasks"), (after, limit)).fetchall()
            return found

        return await self._readers.run(read)

    async def running_firings(self, *, after: int, limit: int) -> list[Task]:
        return await self._readers.rows("running_firings", (after, limit), task_of)

    async def executed_result(self, result_hash: bytes) -> Task | None:
        return await self._readers.row("executed_result", (result_hash,), task_of)

    # --- reads: retention -------------------------------------------------------------------------------------------
    async def ended_groups(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        bindings = (ORDER_NUMBER_BITS, before_ms, *after, limit)
        return await self._readers.rows("ended_groups", bindings, _ended_of)

    async def ended_tasks(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        return await self._readers.rows("ended_tasks", (None, before_ms, *after, limit), _ended_of)

    async def forgotten_firings(self, schedule_seq: int, generation: int) -> int:
        bindings = (schedule_seq, generation)
        return await self._readers.row("forgotten_firings", bindings, lambda row: int(row[0])) or 0

    async def forgotten(self) -> dict[str, int]:
        return dict(await self._readers.rows("forgotten", (), lambda row: (str(row[0]), int(row[1]))))

    # --- reads: schedules -------------------------------------------------------------------------------------------

    async def schedule(self, schedule_id: str) -> Schedule | None:
        live = await self._readers.row("schedule_live", (schedule_id,), schedule_of)
        return live or await self._readers.row("schedule_last", (schedule_id,), schedule_of)

    async def schedule_by_seq(self, schedule_seq: int) -> Schedule | None:
        return await self._readers.row("schedule_by_seq", (schedule_seq,), schedule_of)

    async def schedules(
        self,
        *,
        after: int,
        limit: int,
        state: ScheduleState | None = None,
        label: tuple[str, str] | None = None,
    ) -> list[Schedule]:
        line = None if label is None else label_lines((label,))
        bindings = (after, limit, None if state is None else int(state), line)
        return await self._readers.rows("schedules", bindings, schedule_of)

    async def sourced_schedules(self, *, after: int, limit: int) -> list[Schedule]:
        return await self._readers.rows("sourced_schedules", (after, limit), schedule_of)

    async def schedule_changes(
        self, *, before: int, limit: int, schedule_id: str | None = None
    ) -> list[ScheduleChangeRow]:
        if schedule_id is None:
            return await self._readers.rows("schedule_changes", (before, limit), change_of)
        return await self._readers.rows("changes_of_schedule", (before, limit, schedule_id), change_of)

    # --- reads: rules, requests, counts -----------------------------------------------------------------------------
    async def rule_revision(self, revision: int | None) -> RuleRevisionRow | None:
        if revision is None:
            return await self._readers.row("active_rule_revision", (), revision_of)
        return await self._readers.row("rule_revision", (revision,), revision_of)

    async def rule_revisions(self, *, before: int, limit: int) -> list[RuleRevisionRow]:
        return await self._readers.rows("rule_revisions", (before, limit), revision_of)

    async def request(self, request_id: str) -> RequestRow | None:
        return await self._readers.row("request", (request_id,), lambda row: RequestRow(*row))

    async def counts(self) -> dict[str, int]:
        def read(connection: apsw.Connection) -> dict[str, int]:
            return {
                "groups": connection.execute(sql("count_groups")).get,
                "orders": connection.execute(sql("count_orders")).get,
                "refusals": connection.execute(sql("count_refusals")).get,
                "decisions": connection.execute(sql("count_decisions")).get,
                "assignments": connection.execute(sql("count_assignments")).get,
                "interventions": connection.execute(sql("count_interventions")).get,
                "shops": connection.execute(sql("count_shops")).get,
                "stock": connection.execute(sql("count_stock")).get,
                "riders": connection.execute(sql("count_riders")).get,
                "tasks": connection.execute(sql("count_tasks")).get,
                "schedules": connection.execute(sql("count_schedules")).get,
                "schedule_changes": connection.execute(sql("count_schedule_changes")).get,
                "rule_revisions": connection.execute(sql("count_rule_revisions")).get,
                "requests": connection.execute(sql("count_requests")).get,
            }

        return await self._readers.run(read)


def _ended_of(row: tuple[Any, ...]) -> tuple[int, int, bool]:
    return row[0], row[1], bool(row[2])


def _refusal_of(row: tuple[Any, ...]) -> RefusalRow:
    return RefusalRow(*row)
