"""What retention takes out of either storage, what holds it back, and what stays true afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import Reason
from cuptime.domain.limits import FORGET_ORDERS_MAX, FORGET_ROWS_MAX
from cuptime.domain.ports import Sequences, TaskFilter
from cuptime.domain.values import (
    GroupState,
    OrderState,
    Outcome,
    ScheduleState,
    TaskContext,
    TaskState,
    order_id_of,
)
from cuptime.domain.writes import (
    ForgetGroups,
    ForgetSchedules,
    ForgetTasks,
    InsertGroup,
    InsertSchedule,
    InsertTasks,
    MoveGroups,
    MoveOrder,
    OpenInterventions,
    PutStock,
    ReleaseOrders,
    ResolveIntervention,
    RetireAssignments,
    SetMemberCounts,
    Write,
)
from tests.contract import rows
from tests.contract.shard import Shard, decisions, orders, shard  # a fixture

__all__ = ["shard"]

BEFORE = 1_000
OLD = {"created_ms": 10, "deadline_ms": 20}
FIRST, SECOND = order_id_of(1, 1), order_id_of(1, 2)


def a_group(seq: int, numbers: Sequence[int], **changes: object) -> list[Write]:
    """Decided at 30, all its orders assigned at 40 and retired."""
    ids = [order_id_of(seq, number) for number in numbers]
    made = [rows.order(seq, number, created_ms=15) for number in numbers]
    return [
        InsertGroup(rows.group(seq, **(OLD | changes))),
        orders(*made),
        decisions(*(rows.decision(order_id, decided_ms=40, pack_out_ms=50) for order_id in ids)),
        RetireAssignments(ids),
        MoveGroups(GroupState.COMPLETED, (GroupState.OPEN,), [(seq, 25, len(ids))], 25),
        MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), [(seq, 0, len(ids))], 30),
    ]


async def ended(shard: Shard, before_ms: int = BEFORE) -> list[tuple[int, int, bool]]:
    return await shard.storage.ended_groups(before_ms, after=(0, 0), limit=99)


async def ended_tasks(shard: Shard, before_ms: int = BEFORE) -> list[tuple[int, int, bool]]:
    return await shard.storage.ended_tasks(before_ms, after=(0, 0), limit=99)


# --- groups -------------------------------------------------------------------------------------------------------
async def test_a_group_goes_with_all_that_is_its_own(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(*a_group(1, [1, 2]), *a_group(2, [1], deadline_ms=BEFORE))
    await shard.do(
        OpenInterventions([rows.intervention(SECOND)]), ResolveIntervention(SECOND, 60, "DONE", "")
    )
    await shard.do(PutStock([rows.stock(1, "latte", 9)]))
    assert await ended(shard) == [(30, 1, False), (30, 2, True)]
    before = await storage.counts()
    assert (await shard.do(ForgetGroups([1, 2, 404], BEFORE))).results == ((1, 2),)
    assert await storage.group(10_001) is await storage.group_by_seq(1) is None
    assert await storage.orders_of(1, after=0, limit=9) == []
    assert await storage.decision(FIRST) is None
    assert await storage.intervention(SECOND) is None
    gone = {"groups": 1, "orders": 2, "decisions": 2, "assignments": 2, "interventions": 1}
    assert await storage.counts() == {name: count - gone.get(name, 0) for name, count in before.items()}
    assert await storage.forgotten() == gone | {"tasks": 0, "schedules": 0}
    assert await ended(shard) == [(30, 2, True)]
    assert (await storage.sequences()).decision_forgotten == 2
    assert (await storage.stock())[0].on_hand == 9
    # Its group_id is free, and so are the attempts and assignments of its orders.
    await shard.do(*a_group(9, [1], group_id=10_001))


async def test_ids_are_never_given_twice(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(*a_group(7, [1, 2]))
    await shard.do(InsertTasks([rows.task(30, state=TaskState.CANCELLED, context=None)]))
    await shard.do(InsertSchedule(rows.schedule(8, state=ScheduleState.UNREGISTERED)))
    known = await storage.sequences()
    assert known == Sequences(7, 30, 8, 0, 2)
    await shard.do(ForgetGroups([7], BEFORE), ForgetTasks([30], BEFORE), ForgetSchedules(BEFORE))
    assert set((await storage.counts()).values()) == {0}
    await storage.close()
    await storage.open()
    assert await storage.sequences() == replace(known, decision_forgotten=2)
    committed = await shard.do(decisions(rows.decision(5)))
    assert committed.first_sequence == 3
    assert [row.sequence for row in await storage.decisions(after=0, limit=9)] == [3]


HOLDS: dict[str, list[Write]] = {
    "an assignment that takes something": [decisions(rows.decision(order_id_of(1, 3), decided_ms=40))],
    "no decision": [],
    "a retry or a person is to come": [decisions(rows.decision(order_id_of(1, 3), Outcome.UNASSIGNED))],
    "waits for a person": [
        MoveOrder(order_id_of(1, 3), OrderState.ADMITTED, OrderState.CANCELLED, 50),
        OpenInterventions([rows.intervention(order_id_of(1, 3))]),
    ],
    "a person resolved it since": [
        MoveOrder(order_id_of(1, 3), OrderState.ADMITTED, OrderState.CANCELLED, 50),
        OpenInterventions([rows.intervention(order_id_of(1, 3))]),
        ResolveIntervention(order_id_of(1, 3), BEFORE, "DONE", ""),
    ],
    "cancelled since": [MoveOrder(order_id_of(1, 3), OrderState.ADMITTED, OrderState.CANCELLED, BEFORE)],
    "decided since": [
        decisions(rows.decision(order_id_of(1, 3), decided_ms=BEFORE)),
        RetireAssignments([order_id_of(1, 3)]),
    ],
    "made since": [orders(rows.order(1, 4, created_ms=BEFORE, state=OrderState.CANCELLED))],
}


@pytest.mark.parametrize("why", HOLDS)
async def test_what_still_counts_holds_its_group(shard: Shard, why: str) -> None:
    await shard.do(*a_group(1, [1, 2]), orders(rows.order(1, 3, created_ms=15)))
    if why == "made since":
        await shard.do(MoveOrder(order_id_of(1, 3), OrderState.ADMITTED, OrderState.CANCELLED, 50))
    await shard.do(*HOLDS[why])
    assert await ended(shard) == [(30, 1, True)]
    held = order_id_of(1, 4 if why == "made since" else 3)
    kept = await shard.storage.order(held), await shard.storage.decision(held)
    # Also when somebody asked for it that had not looked.
    await shard.do(ForgetGroups([1], BEFORE))
    assert (await shard.storage.order(held), await shard.storage.decision(held)) == kept
    assert await shard.storage.group(10_001) is not None


async def test_a_group_that_lives_stays(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1, **OLD)), InsertGroup(rows.group(2, **OLD)))
    await shard.do(MoveGroups(GroupState.COMPLETED, (GroupState.OPEN,), [(2, 25, 0)], 25))
    assert await ended(shard, 2**40) == []
    assert (await shard.do(ForgetGroups([1, 2], 2**40))).results == ((0, 0),)
    await shard.do(MoveGroups(GroupState.FAILED, (GroupState.OPEN,), [(1, 0, 0)], 70), ReleaseOrders(1, 70))
    assert await ended(shard, 70) == []
    assert await ended(shard, 71) == [(70, 1, False)]


async def test_groups_come_by_their_end(shard: Shard) -> None:
    for seq, at_ms in ((1, 50), (2, 40), (3, 50), (4, 60)):
        await shard.do(InsertGroup(rows.group(seq, **OLD)))
        await shard.do(MoveGroups(GroupState.FAILED, (GroupState.OPEN,), [(seq, 0, 0)], at_ms))
    found = await shard.storage.ended_groups(60, after=(0, 0), limit=2)
    assert found == [(40, 2, False), (50, 1, False)]
    assert await shard.storage.ended_groups(60, after=(50, 1), limit=9) == [(50, 3, False)]


async def test_a_large_group_goes_in_several_commits(shard: Shard) -> None:
    numbers = range(1, 2 * FORGET_ORDERS_MAX + 2)
    await shard.do(*a_group(1, numbers), *a_group(2, [1]))
    gone = [(await shard.do(ForgetGroups([1, 2], BEFORE))).results[0] for _ in range(4)]
    assert gone == [(0, FORGET_ORDERS_MAX), (0, FORGET_ORDERS_MAX), (2, 2), (0, 0)]
    # Smaller ones go whole.
    half = FORGET_ORDERS_MAX // 2 + 1
    await shard.do(*a_group(3, range(1, half)), *a_group(4, range(1, half + 1)), *a_group(5, range(1, 9)))
    gone = [(await shard.do(ForgetGroups([3, 4, 5], BEFORE))).results[0] for _ in range(3)]
    assert gone == [(1, half - 1), (2, half + 8), (0, 0)]
    # A group whose orders are all gone does not come back by what was on its way.
    await shard.do(SetMemberCounts([(1, 5)]))
    assert await shard.storage.group_by_seq(1) is None


# --- tasks --------------------------------------------------------------------------------------------------------
CONTEXT = TaskContext(10_001, "1.2", 7, 99)


async def test_tasks_that_ended_go(shard: Shard) -> None:
    plain = {"context": None, "updated_ms": 50}
    states = list(TaskState)
    made = [rows.task(n, state=state, **plain) for n, state in enumerate(states, 1)]
    await shard.do(InsertTasks([*made, rows.task(9, state=TaskState.EXECUTED, context=None, updated_ms=40)]))
    assert await ended_tasks(shard) == [(40, 9, False), (50, 4, False), (50, 5, False), (50, 6, False)]
    assert await ended_tasks(shard, 50) == [(40, 9, False)]
    assert (await shard.do(ForgetTasks([9, 4, 5, 6], 50))).results == ((1,),)
    assert (await shard.do(ForgetTasks([1, 2, 3, 4, 5, 404], BEFORE))).results == ((2,),)
    left = [task.task_id for task in await shard.storage.tasks(TaskFilter(), after=0, limit=9)]
    assert left == [1, 2, 3, 6]
    assert (await shard.storage.forgotten())["tasks"] == 3


@pytest.mark.parametrize(
    ("other", "held"),
    [
        (None, False),
        ({"state": TaskState.SCHEDULED}, True),
        ({"state": TaskState.TRIGGERED}, True),
        ({"state": TaskState.EXECUTED}, False),
        ({"state": TaskState.SCHEDULED, "result_hash": b"other"}, False),
        ({"state": TaskState.SCHEDULED, "context": None}, False),
    ],
)
async def test_a_result_is_kept_for_its_equals(
    shard: Shard,
    other: dict[str, object] | None,
    held: bool,
) -> None:
    done = rows.task(1, state=TaskState.EXECUTED, result_hash=b"h", result=b"r", context=CONTEXT)
    await shard.do(InsertTasks([done]))
    if other is not None:
        fields = {"result_hash": b"h", "context": CONTEXT, "updated_ms": BEFORE} | other
        await shard.do(InsertTasks([rows.task(3, **fields)]))
    assert await ended_tasks(shard) == [(2, 1, held)]
    assert (await shard.do(ForgetTasks([1], BEFORE))).results == ((int(not held),),)
    assert (await shard.storage.executed_result(b"h") == done) == held or other is not None


async def test_a_result_is_kept_while_an_equal_task_may_come(shard: Shard) -> None:
    context = replace(CONTEXT, timestamp_ms=BEFORE)
    await shard.do(InsertTasks([rows.task(1, state=TaskState.EXECUTED, result_hash=b"h", context=context)]))
    assert await ended_tasks(shard) == [(2, 1, True)]
    assert (await shard.do(ForgetTasks([1], BEFORE))).results == ((0,),)
    assert (await shard.do(ForgetTasks([1], BEFORE + 1))).results == ((1,),)


async def test_firings_that_are_gone_are_known(shard: Shard) -> None:
    fields = {"state": TaskState.EXECUTED, "context": None}
    made = [
        rows.task(n, schedule_seq=seq, generation=generation, nominal_ms=nominal_ms, **fields)
        for n, (seq, generation, nominal_ms) in enumerate([(5, 1, 90), (5, 2, 70), (5, 2, 60), (6, 1, 10)], 1)
    ]
    await shard.do(InsertTasks(made))
    assert await shard.storage.forgotten_firings(5, 2) == 0
    await shard.do(ForgetTasks([2, 3], BEFORE))
    await shard.do(ForgetTasks([1], BEFORE))
    assert await shard.storage.forgotten_firings(5, 2) == 70
    assert await shard.storage.forgotten_firings(5, 1) == 0
    assert await shard.storage.forgotten_firings(6, 1) == 0
    # The one firing of a nominal time may be made again; whoever makes it asks first.
    assert (await shard.do(ForgetTasks([4], BEFORE))).results == ((1,),)
    assert await shard.storage.forgotten_firings(6, 1) == 10


# --- schedules ----------------------------------------------------------------------------------------------------
async def test_unregistered_schedules_go_after_their_tasks(shard: Shard) -> None:
    for seq, state, updated_ms in (
        (1, ScheduleState.ACTIVE, 5),
        (2, ScheduleState.FINISHED, 5),
        (3, ScheduleState.UNREGISTERED, 5),
        (4, ScheduleState.UNREGISTERED, BEFORE),
        (5, ScheduleState.UNREGISTERED, 6),
    ):
        await shard.do(InsertSchedule(rows.schedule(seq, state=state, updated_ms=updated_ms)))
    await shard.do(InsertTasks([rows.task(2, schedule_seq=3, state=TaskState.EXECUTED)]))
    assert (await shard.do(ForgetSchedules(BEFORE))).results == ((1,),)
    assert [row.schedule_seq for row in await shard.storage.schedules(after=0, limit=9)] == [1, 2, 3, 4]
    await shard.do(ForgetTasks([2], BEFORE))
    assert (await shard.do(ForgetSchedules(BEFORE))).results == ((1,),)
    assert await shard.storage.schedule("s3") is None
    assert await shard.storage.schedule("s4") is not None


async def test_schedules_go_some_at_a_time(shard: Shard) -> None:
    gone = [
        InsertSchedule(rows.schedule(n, schedule_id="s", state=ScheduleState.UNREGISTERED, updated_ms=n))
        for n in range(1, FORGET_ROWS_MAX + 3)
    ]
    await shard.do(*gone)
    assert (await shard.do(ForgetSchedules(2**40))).results == ((FORGET_ROWS_MAX,),)
    assert [row.schedule_seq for row in await shard.storage.schedules(after=0, limit=9)] == [
        FORGET_ROWS_MAX + 1,
        FORGET_ROWS_MAX + 2,
    ]


@pytest.mark.parametrize(
    "write", [ForgetGroups([1], BEFORE), ForgetTasks([1], BEFORE), ForgetSchedules(BEFORE)]
)
async def test_an_owner_that_was_replaced_removes_nothing(shard: Shard, write: Write) -> None:
    await shard.do(*a_group(1, [1]), InsertTasks([rows.task(1, state=TaskState.EXECUTED, context=None)]))
    await shard.do(InsertSchedule(rows.schedule(1, state=ScheduleState.UNREGISTERED)))
    await shard.storage.claim(shard.fence.shard_id, "node-b")
    await shard.refused(Reason.EPOCH_STALE, write)
