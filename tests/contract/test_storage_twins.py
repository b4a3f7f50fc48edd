"""SQLite and its twin in memory under random writes: the same answers, the same refusals, the same rows."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec import Struct
from msgspec.structs import astuple

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import CLOSED_LATE_MS
from cuptime.domain.ports import Storage, TaskFilter
from cuptime.domain.values import (
    Fence,
    GroupState,
    OrderState,
    Outcome,
    Overlap,
    OverlapEffect,
    ScheduleState,
    StockRow,
    TaskState,
    order_id_of,
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
    SetMemberCounts,
    TriggerTasks,
    Write,
)
from cuptime.storage.memory import MemoryStorage
from cuptime.storage.sqlite import SqliteStorage
from tests.contract import rows

T = TypeVar("T")

FEW = st.integers(1, 4)
AT = st.integers(0, 30)
BEFORE = st.sampled_from([10, 31, 200, 2 * CLOSED_LATE_MS])
"""Some, or all, of what ended."""
GROUP_STATES = st.sampled_from(GroupState)
TASK_STATES = st.sampled_from(TaskState)
ORDER_IDS = st.builds(order_id_of, FEW, FEW)


def many(one: st.SearchStrategy[T]) -> st.SearchStrategy[list[T]]:
    return st.lists(one, max_size=3)


def states(one: st.SearchStrategy[T]) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(one, max_size=3).map(tuple)


groups = st.builds(
    rows.group,
    FEW,
    group_id=FEW,
    park=st.sampled_from("AB"),
    state=GROUP_STATES,
    completed_ms=AT,
    etag=FEW,
    deadline_ms=st.integers(0, 60).map(lambda n: n - 30 + CLOSED_LATE_MS),
)
orders = st.builds(rows.order, FEW, FEW, state=st.sampled_from(OrderState), created_ms=AT)
refusals = st.builds(rows.refusal, FEW, created_ms=AT, reason=st.sampled_from("AB"))
decisions = st.builds(
    rows.decision, ORDER_IDS, st.sampled_from(Outcome), attempt=FEW, pack_out_ms=AT, cold=st.booleans(),
    decided_ms=AT, shop_id=FEW, sku=st.sampled_from(["a", "茶"]), quantity=FEW,
)  # fmt: skip
tasks = st.builds(
    rows.task, FEW, state=TASK_STATES, queue=st.sampled_from("ab"), due_ms=FEW, schedule_seq=st.integers(0, 2),
    generation=FEW, nominal_ms=FEW, execution_id=st.sampled_from(["", "e1", "e2"]),
    result_hash=st.sampled_from([b"", b"h"]), overlap=st.sampled_from(Overlap), buffered_ms=st.integers(0, 1),
    retry_count=st.integers(0, 1), bucket_ms=st.sampled_from([0, 60_000]),
)  # fmt: skip
schedules = st.builds(
    rows.schedule,
    FEW,
    schedule_id=st.sampled_from("xy"),
    state=st.sampled_from(ScheduleState),
    generation=FEW,
)
interventions = st.builds(rows.intervention, FEW, attempts=FEW, resolved_ms=st.sampled_from([0, 0, 5]))
executions = st.sampled_from(["", "e1", "e2"])

WRITES: st.SearchStrategy[Write] = st.one_of(
    st.builds(InsertGroup, groups),
    st.builds(InsertOrders, many(orders.map(rows.row_of))),
    st.builds(InsertRefusals, many(refusals.map(rows.row_of))),
    st.builds(SetMemberCounts, many(st.tuples(FEW, AT))),
    st.builds(MoveGroups, GROUP_STATES, states(GROUP_STATES), many(st.tuples(FEW, AT, AT)), AT),
    st.builds(MoveOrder, ORDER_IDS, st.sampled_from(OrderState), st.sampled_from(OrderState), AT),
    st.builds(ReleaseOrders, FEW, AT),
    st.builds(InsertDecisions, many(decisions.map(rows.row_of))),
    st.builds(RetireAssignments, many(ORDER_IDS)),
    st.builds(OpenInterventions, many(interventions)),
    st.builds(ResolveIntervention, FEW, st.integers(1, 9), st.just("DONE"), st.just("")),
    st.builds(PutShops, many(st.builds(rows.shop, FEW, FEW))),
    st.builds(PutStock, many(st.builds(StockRow, FEW, st.sampled_from(["a", "茶"]), AT, AT))),
    st.builds(PutRiders, many(st.builds(rows.rider, FEW, FEW))),
    st.builds(InsertTasks, many(tasks)),
    st.builds(
        MoveTasks,
        st.sampled_from([TaskState.TRIGGERED, TaskState.SCHEDULED, TaskState.CANCELLED]),
        states(TASK_STATES),
        many(st.tuples(FEW, FEW)),
        AT,
        st.just("trigger"),
    ),
    st.builds(
        TriggerTasks,
        many(st.tuples(FEW, FEW, executions, AT, FEW, st.sampled_from(["", "w"]))),
        AT,
        st.just("t"),
    ),
    st.builds(
        ExecuteTasks, many(st.tuples(FEW, executions, st.sampled_from([b"", b"ok", bytes(1_025)]))), AT
    ),
    st.builds(LeaseTasks, st.just("w"), many(st.tuples(FEW, executions, AT, FEW)), AT),
    st.builds(ExtendLeases, many(st.tuples(FEW, executions, AT))),
    st.builds(ReplaceTask, tasks, states(TASK_STATES), st.one_of(st.none(), executions)),
    st.builds(OverlapFirings, st.sampled_from(OverlapEffect), st.lists(FEW, unique=True), AT),
    st.builds(
        RecordScheduleChange,
        st.builds(rows.schedule_change, FEW, schedule_id=st.sampled_from("xy"), at_ms=AT),
    ),
    st.builds(ForgetScheduleChanges, AT, FEW),
    st.builds(CancelTasksOfSchedule, st.integers(0, 2), FEW, AT),
    st.builds(InsertSchedule, schedules),
    st.builds(ReplaceSchedule, schedules, FEW),
    st.builds(AdvanceSchedules, many(st.tuples(FEW, FEW, AT, AT, FEW, st.sampled_from([1, 2, 3]), FEW))),
    st.builds(InsertRuleRevision, st.builds(rows.revision, st.integers(0, 6))),
    st.builds(RememberRequest, st.builds(rows.request, FEW, expires_ms=AT)),
    st.builds(ForgetRequests, AT, AT),
    st.builds(ForgetGroups, many(FEW), BEFORE),
    st.builds(ForgetTasks, many(FEW), BEFORE),
    st.builds(ForgetSchedules, AT),
)


def plain(value: Any) -> Any:
    """The value with its types in sight, so that 1, True and State.A differ."""
    if isinstance(value, Struct):
        return type(value), [plain(column) for column in astuple(value)]
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return type(value), value


class Twins(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "cuptime.db"
        self.storages: list[Storage] = [SqliteStorage(self.path, ManualClock()), MemoryStorage()]
        self.fences = [Fence(0, 0)]

    def teardown(self) -> None:
        for storage in self.storages:
            self.run(storage.close())
        self.runner.close()
        self.folder.cleanup()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def same(self, ask: Callable[[Storage], Awaitable[Any]]) -> Any:
        """Both give the same answer, or the same refusal; that is returned."""

        async def one(storage: Storage) -> Any:
            try:
                return await ask(storage)
            except CuptimeError as error:
                # What an engine says about a key that is there twice is its own.
                return error.reason, error.metadata if error.reason is not Reason.INTERNAL else None

        ours, theirs = [self.run(one(storage)) for storage in self.storages]
        assert plain(ours) == plain(theirs), (ours, theirs)
        return ours

    @initialize()
    def open(self) -> None:
        for storage in self.storages:
            self.run(storage.open())
        self.claim("node-a", None)

    @rule(owner=st.sampled_from(["node-a", "node-b"]), epoch=st.one_of(st.none(), st.integers(0, 6)))
    def claim(self, owner: str, epoch: int | None) -> None:
        answer = self.same(lambda storage: storage.claim(0, owner, epoch))
        if isinstance(answer, Fence):
            self.fences.append(answer)

    @rule(writes=st.lists(WRITES, min_size=1, max_size=4))
    def commit(self, writes: list[Write]) -> None:
        self.same(lambda storage: storage.commit(self.fences[-1], writes))

    @rule(write=WRITES, which=st.integers(0, 100))
    def commit_under_any_epoch(self, write: Write, which: int) -> None:
        fence = self.fences[which % len(self.fences)]
        self.same(lambda storage: storage.commit(fence, [write]))

    @rule()
    def reopen(self) -> None:
        for storage in self.storages:
            self.run(storage.close())
            self.run(storage.open())

    @rule(after=st.integers(0, 4), limit=st.integers(1, 4), state=TASK_STATES, at_ms=AT)
    def pages(self, after: int, limit: int, state: TaskState, at_ms: int) -> None:
        for where in (
            TaskFilter(state=state),
            TaskFilter(queue="a", due_from_ms=2),
            TaskFilter(schedule_seq=1, due_until_ms=3),
        ):
            self.same(lambda storage, where=where: storage.tasks(where, after=after, limit=limit))  # type: ignore[misc]
        order = order_id_of(after, 2)
        self.same(lambda storage: storage.orders_of(after, after=order, limit=limit))
        self.same(lambda storage: storage.orders_since(at_ms, after=order, limit=limit))
        late_ms = at_ms + 2 * CLOSED_LATE_MS
        self.same(lambda storage: storage.orders_since(late_ms, after=order, limit=limit))
        self.same(lambda storage: storage.undecided_orders(after=order, limit=limit))
        self.same(lambda storage: storage.standing_assignments(after=after, limit=limit))
        self.same(lambda storage: storage.standing_assignments(after=after, limit=limit, live_only=True))
        self.same(lambda storage: storage.decisions(after=after, limit=limit, group_seq=limit))
        self.same(lambda storage: storage.waiting_tasks(after=after, limit=limit))
        self.same(lambda storage: storage.running_firings(after=after, limit=limit))
        self.same(lambda storage: storage.schedule_changes(before=9, limit=limit))
        self.same(lambda storage: storage.schedule_changes(before=9, limit=limit, schedule_id="x"))
        self.same(lambda storage: storage.groups(before_seq=after, limit=limit, state=GroupState.OPEN))
        self.same(lambda storage: storage.groups(before_seq=9, limit=limit, park="A"))
        self.same(lambda storage: storage.interventions(after=after, limit=limit))
        self.same(lambda storage: storage.schedules(after=after, limit=limit, state=ScheduleState.ACTIVE))
        self.same(lambda storage: storage.rule_revisions(before=after, limit=limit))
        self.same(lambda storage: storage.executed_result(b"h"))
        ends = {"after": (at_ms, after), "limit": limit}
        for before_ms in (10, 31, 2 * CLOSED_LATE_MS):
            self.same(lambda storage, ms=before_ms: storage.ended_groups(ms, **ends))  # type: ignore[misc]
            self.same(lambda storage, ms=before_ms: storage.ended_tasks(ms, **ends))  # type: ignore[misc]
        self.same(lambda storage: storage.forgotten_firings(after, limit))
        self.same(lambda storage: storage.rule_revision(None))
        for name in ("x", "y"):
            self.same(lambda storage, name=name: storage.schedule(name))  # type: ignore[misc]

    @invariant()
    def the_rows_are_the_same(self) -> None:
        async def everything(storage: Storage) -> list[Any]:
            refusals = await storage.refusals_since(0, limit=99)
            return [
                await storage.counts(),
                await storage.sequences(),
                await storage.groups(before_seq=99, limit=99),
                await storage.orders_since(0, after=0, limit=99),
                sorted(refusals, key=lambda row: row.request_id),
                await storage.decisions(after=0, limit=999),
                await storage.standing_assignments(after=0, limit=99),
                await storage.standing_assignments(after=0, limit=99, live_only=True),
                await storage.undecided_orders(after=0, limit=99),
                [await storage.intervention(order_id) for order_id in range(1, 5)],
                await storage.shops(after=0, limit=99),
                await storage.stock(),
                await storage.riders(after=0, limit=99),
                await storage.tasks(TaskFilter(), after=0, limit=99),
                await storage.schedules(after=0, limit=99),
                await storage.rule_revisions(before=99, limit=99),
                [await storage.request(f"req-{number}") for number in range(1, 5)],
                await storage.ended_groups(2 * CLOSED_LATE_MS, after=(0, 0), limit=99),
                await storage.ended_tasks(2 * CLOSED_LATE_MS, after=(0, 0), limit=99),
                await storage.forgotten(),
                [await storage.forgotten_firings(seq, gen) for seq in (1, 2) for gen in range(1, 5)],
            ]

        self.same(everything)


Twins.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
test_twins = pytest.mark.slow(Twins.TestCase)
