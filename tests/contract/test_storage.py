"""What every storage promises. One suite for SQLite and its twin in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import FORGET_ROWS_MAX
from cuptime.domain.ports import Committed, Sequences, Storage, TaskFilter
from cuptime.domain.values import (
    DecisionRow,
    Fence,
    GroupState,
    OrderState,
    Outcome,
    ScheduleState,
    TaskState,
    order_id_of,
)
from cuptime.domain.writes import (
    AdvanceSchedules,
    CancelTasksOfSchedule,
    ExtendLeases,
    ForgetRequests,
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
    PutRiders,
    PutShops,
    PutStock,
    ReleaseOrders,
    RememberRequest,
    ReplaceSchedule,
    ReplaceTask,
    ResolveIntervention,
    SetMemberCounts,
    Write,
)
from cuptime.storage.memory import MemoryStorage
from cuptime.storage.sqlite import SqliteStorage
from tests.contract import rows


class Shard:
    """A storage and the fence of its owner."""

    def __init__(self, storage: Storage, fence: Fence) -> None:
        self.storage = storage
        self.fence = fence

    async def do(self, *writes: Write) -> Committed:
        return await self.storage.commit(self.fence, writes)

    async def refused(self, reason: Reason, *writes: Write) -> CuptimeError:
        """The writes are refused with the reason and change nothing that can be counted."""
        before = await self.storage.counts(), await self.storage.sequences()
        with pytest.raises(CuptimeError) as refusal:
            await self.do(*writes)
        assert refusal.value.reason is reason
        assert (await self.storage.counts(), await self.storage.sequences()) == before
        return refusal.value


@pytest.fixture(params=["sqlite", "memory"])
async def shard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shard]:
    storage: Storage = (
        SqliteStorage(tmp_path / "cuptime.db", ManualClock(9))
        if request.param == "sqlite"
        else MemoryStorage()
    )
    await storage.open()
    yield Shard(storage, await storage.claim(3, "node-a"))
    await storage.close()


def orders(*made: object) -> InsertOrders:
    return InsertOrders([rows.row_of(order) for order in made])  # type: ignore[arg-type]


def decisions(*made: DecisionRow) -> InsertDecisions:
    return InsertDecisions([rows.row_of(decision) for decision in made])


def sequenced(first: int, *made: DecisionRow) -> list[DecisionRow]:
    return [replace(decision, sequence=sequence) for sequence, decision in enumerate(made, first)]


# --- ownership ----------------------------------------------------------------------------------------------------
async def test_claims_count_up(shard: Shard) -> None:
    assert shard.fence == Fence(3, 1)
    assert await shard.storage.claim(3, "node-b") == Fence(3, 2)
    assert await shard.storage.claim(4, "node-b") == Fence(4, 1)
    assert await shard.storage.claim(3, "node-a", 40) == Fence(3, 40)
    assert await shard.storage.claim(3, "node-a", 40) == Fence(3, 40), "the same owner may ask again"
    assert await shard.storage.claim(3, "node-a") == Fence(3, 41)


@pytest.mark.parametrize(("owner", "epoch"), [("node-a", 39), ("node-b", 40), ("node-b", 1)])
async def test_an_old_claim_is_refused(shard: Shard, owner: str, epoch: int) -> None:
    await shard.storage.claim(3, "node-a", 40)
    with pytest.raises(CuptimeError) as refusal:
        await shard.storage.claim(3, owner, epoch)
    assert refusal.value.reason is Reason.EPOCH_STALE
    assert await shard.storage.commit(Fence(3, 40), ()) == Committed((), 0)


async def test_writes_of_an_old_epoch_are_refused_each_time(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1)))
    await shard.storage.claim(3, "node-b")
    for number in range(1, 101):
        error = await shard.refused(Reason.EPOCH_STALE, orders(rows.order(1, number)))
        assert error.metadata == {"shard_id": "3", "epoch": "1", "stored": "2"}
    await shard.storage.commit(Fence(3, 2), [orders(rows.order(1, 1))])


async def test_an_epoch_that_nobody_claimed_is_refused(shard: Shard) -> None:
    for fence in (Fence(3, 2), Fence(9, 1), Fence(9, 0), Fence(3, 0)):
        with pytest.raises(CuptimeError) as refusal:
            await shard.storage.commit(fence, [InsertGroup(rows.group(1))])
        assert refusal.value.reason is Reason.EPOCH_STALE


async def test_a_claim_between_commits_cuts_exactly_there(shard: Shard) -> None:
    """All sent at once, so that they share a transaction: what was sent before the claim is in, the rest is not."""
    storage = shard.storage
    calls = [storage.commit(shard.fence, [InsertGroup(rows.group(n))]) for n in range(1, 51)]
    calls += [storage.claim(3, "node-b")]  # type: ignore[list-item]
    calls += [storage.commit(shard.fence, [InsertGroup(rows.group(n))]) for n in range(51, 101)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, CuptimeError) for answer in answers] == [False] * 51 + [True] * 50
    assert (await storage.counts())["groups"] == 50


# --- tuples of writes ---------------------------------------------------------------------------------------------
async def test_a_tuple_is_kept_whole_or_not_at_all(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1)), PutShops([rows.shop(1)]))
    await shard.refused(
        Reason.GROUP_EXISTS,
        orders(rows.order(1, 1)),
        decisions(rows.decision(5)),
        InsertTasks([rows.task(1)]),
        PutShops([rows.shop(1, etag=2), rows.shop(2)]),
        SetMemberCounts([(1, 9)]),
        InsertGroup(rows.group(2, group_id=10_001)),
    )
    assert await shard.storage.shop(1) == rows.shop(1)
    assert await shard.storage.group(10_001) == rows.group(1)


async def test_one_refused_tuple_takes_no_other_with_it(shard: Shard) -> None:
    """Three kinds, mixed in one transaction: fine, refused by a precondition, refused by a key that is there."""
    await shard.do(InsertGroup(rows.group(1)), orders(rows.order(1, 1)))
    kinds = ["fine", "conflict", "fine", "twice", "fine"] * 20
    calls = []
    for number, kind in enumerate(kinds, 2):
        writes: dict[str, Sequence[Write]] = {
            "fine": [orders(rows.order(1, number)), InsertTasks([rows.task(number)])],
            "conflict": [orders(rows.order(1, number)), InsertGroup(rows.group(9, group_id=10_001))],
            "twice": [InsertTasks([rows.task(number)]), orders(rows.order(1, number), rows.order(1, 1))],
        }
        calls.append(shard.storage.commit(shard.fence, writes[kind]))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    told = {Committed: "fine", Reason.GROUP_EXISTS: "conflict", Reason.INTERNAL: "twice"}
    assert [told[getattr(answer, "reason", type(answer))] for answer in answers] == kinds
    fine = [number for number, kind in enumerate(kinds, 2) if kind == "fine"]
    assert [row.order_id for row in await shard.storage.orders_of(1, after=0, limit=200)] == [
        order_id_of(1, number) for number in [1, *fine]
    ]
    assert [row.task_id for row in await shard.storage.tasks(TaskFilter(), after=0, limit=200)] == fine


async def test_no_writes_is_a_commit_too(shard: Shard) -> None:
    assert await shard.do() == Committed((), 0)


async def test_what_was_acknowledged_is_read(shard: Shard) -> None:
    async def caller(first: int) -> None:
        for seq in range(first, first + 20):
            await shard.do(InsertGroup(rows.group(seq)))
            assert await shard.storage.group_by_seq(seq) == rows.group(seq)

    await asyncio.gather(*[caller(100 * k + 1) for k in range(8)])


async def test_closed_storage_refuses(shard: Shard) -> None:
    await shard.storage.close()
    with pytest.raises(CuptimeError) as refusal:
        await shard.do(InsertGroup(rows.group(1)))
    assert refusal.value.reason is Reason.STORAGE_UNAVAILABLE
    await shard.storage.close()


# --- groups and orders --------------------------------------------------------------------------------------------
async def test_groups(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(InsertGroup(rows.group(1)))
    await shard.do(
        InsertGroup(rows.group(2, park="South", state=GroupState.COMPLETED, etag=7, completed_ms=3))
    )
    assert await storage.group(10_002) == await storage.group_by_seq(2)
    found = await storage.group(10_002)
    assert found == rows.group(2, park="South", state=GroupState.COMPLETED, etag=7, completed_ms=3)
    assert found is not None
    assert isinstance(found.state, GroupState)
    assert await storage.group(10_003) is None
    assert await storage.group_by_seq(3) is None
    error = await shard.refused(Reason.GROUP_EXISTS, InsertGroup(rows.group(3, group_id=10_001)))
    assert error.metadata == {"group_id": "10001"}
    await shard.refused(Reason.INTERNAL, InsertGroup(rows.group(1, group_id=10_004)))


async def test_lists_of_groups(shard: Shard) -> None:
    for seq in range(1, 7):
        park, state = "AB"[seq % 2], GroupState.OPEN if seq < 5 else GroupState.FAILED
        await shard.do(InsertGroup(rows.group(seq, park=park, state=state)))

    async def seqs(before: int, limit: int, **where: object) -> list[int]:
        found = await shard.storage.groups(before_seq=before, limit=limit, **where)  # type: ignore[arg-type]
        return [group.group_seq for group in found]

    assert await seqs(100, 10) == [6, 5, 4, 3, 2, 1]
    assert await seqs(100, 2) == [6, 5]
    assert await seqs(5, 2) == [4, 3]
    assert await seqs(100, 10, park="B") == [5, 3, 1]
    assert await seqs(100, 10, state=GroupState.OPEN) == [4, 3, 2, 1]
    assert await seqs(4, 1, state=GroupState.OPEN, park="B") == [3]
    assert await seqs(100, 10, state=GroupState.DECIDED) == []


async def test_moving_groups(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1)), InsertGroup(rows.group(2, completed_ms=44)))
    await shard.do(MoveGroups(GroupState.COMPLETED, (GroupState.OPEN,), [(1, 500, 12), (2, 0, 13)]))
    expected = [
        rows.group(1, state=GroupState.COMPLETED, completed_ms=500, member_count=12, etag=2),
        rows.group(2, state=GroupState.COMPLETED, completed_ms=44, member_count=13, etag=2),
    ]
    assert await shard.storage.groups(before_seq=9, limit=9) == expected[::-1]
    allowed = (GroupState.OPEN, GroupState.DECIDED)
    for wrong in ([(1, 0, 1)], [(3, 0, 1)]):
        await shard.refused(Reason.STATE_CONFLICT, MoveGroups(GroupState.FAILED, allowed, wrong))
    await shard.do(InsertGroup(rows.group(3)))
    error = await shard.refused(
        Reason.STATE_CONFLICT, MoveGroups(GroupState.FAILED, allowed, [(3, 0, 1), (2, 0, 1)])
    )
    assert error.metadata == {"group_seq": "2", "wanted": "FAILED"}
    assert await shard.storage.groups(before_seq=9, limit=9) == [rows.group(3), *expected[::-1]]


async def test_member_counts(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1)), SetMemberCounts([(1, 5), (404, 6)]))
    assert await shard.storage.group_by_seq(1) == rows.group(1, member_count=5)


async def test_orders(shard: Shard) -> None:
    storage = shard.storage
    made = [rows.order(seq, number) for seq in (1, 2) for number in (1, 2, 3)]
    await shard.do(orders(*reversed(made)))
    assert await storage.order(made[4].order_id) == made[4]
    found = await storage.order(made[4].order_id)
    assert found is not None
    assert isinstance(found.state, OrderState)
    assert await storage.order(1) is None
    assert await storage.orders_of(1, after=0, limit=9) == made[:3]
    assert await storage.orders_of(2, after=0, limit=2) == made[3:5]
    assert await storage.orders_of(2, after=made[4].order_id, limit=9) == made[5:]
    assert await storage.orders_of(3, after=0, limit=9) == []
    assert await storage.orders_since(102, after=0, limit=9) == made[1:]
    assert await storage.orders_since(102, after=made[2].order_id, limit=2) == made[3:5]
    await shard.refused(Reason.INTERNAL, orders(rows.order(9, 1), made[0]))


async def test_moving_an_order(shard: Shard) -> None:
    made = rows.order(1, 1)
    await shard.do(orders(made))
    await shard.do(MoveOrder(made.order_id, OrderState.ADMITTED, OrderState.CANCELLED, 50))
    assert await shard.storage.order(made.order_id) == replace(made, state=OrderState.CANCELLED)
    await shard.refused(
        Reason.STATE_CONFLICT, MoveOrder(made.order_id, OrderState.ADMITTED, OrderState.CANCELLED, 50)
    )
    await shard.refused(Reason.STATE_CONFLICT, MoveOrder(404, OrderState.ADMITTED, OrderState.CANCELLED, 50))


async def test_releasing_the_orders_of_a_group(shard: Shard) -> None:
    made = [rows.order(1, 1), rows.order(1, 2, state=OrderState.CANCELLED), rows.order(2, 1)]
    await shard.do(orders(*made))
    await shard.do(ReleaseOrders(1, 50), ReleaseOrders(404, 50))
    states = [(await shard.storage.order(order.order_id)) for order in made]
    assert states == [replace(made[0], state=OrderState.RELEASED), *made[1:]]


async def test_refusals(shard: Shard) -> None:
    first, again = rows.refusal(1), rows.refusal(1, reason="RULE_REFUSED")
    await shard.do(InsertRefusals([rows.row_of(row) for row in (rows.refusal(2), first, again)]))
    await shard.do(InsertRefusals([rows.row_of(again)]))
    assert await shard.storage.refusal("refused-1") == first
    assert await shard.storage.refusal("nobody") is None
    assert await shard.storage.refusals_since(0, limit=9) == [first, rows.refusal(2)]
    assert await shard.storage.refusals_since(1_002, limit=9) == [rows.refusal(2)]
    assert await shard.storage.refusals_since(0, limit=1) == [first]


# --- decisions ----------------------------------------------------------------------------------------------------
async def test_decisions_get_consecutive_sequences(shard: Shard) -> None:
    storage = shard.storage
    one, two = order_id_of(1, 1), order_id_of(2, 1)
    made = [rows.decision(one), rows.decision(two, Outcome.UNASSIGNED, cold=False)]
    assert await shard.do(decisions(*made)) == Committed(((),), 1)
    more = [rows.decision(two, Outcome.ASSIGNED, attempt=2), rows.decision(order_id_of(2, 2))]
    answer = await shard.do(decisions(more[0]), PutShops([]), decisions(more[1]))
    assert answer == Committed(((), (), ()), 3)
    stored = sequenced(1, *made, *more)
    assert await storage.decisions(after=0, limit=9) == stored
    assert await storage.decisions(after=1, limit=2) == stored[1:3]
    assert await storage.decisions(after=0, limit=9, group_seq=2) == stored[1:]
    assert await storage.decisions(after=2, limit=1, group_seq=2) == stored[2:3]
    assert await storage.decision(two) == stored[2]
    assert await storage.decision(404) is None
    assert isinstance(stored[1].cold, bool)
    assert (await storage.sequences()).decision == 4


async def test_no_order_is_assigned_twice(shard: Shard) -> None:
    await shard.do(decisions(rows.decision(5), rows.decision(6, Outcome.UNASSIGNED)))
    again = rows.decision(5, attempt=2)
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(7), again))
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(7), rows.decision(7, attempt=2)))
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(7)), decisions(again))
    answer = await shard.do(decisions(rows.decision(7)))
    assert answer.first_sequence == 3, "what was refused used up no sequence"


async def test_of_many_at_once_one_assigns(shard: Shard) -> None:
    calls = [shard.do(decisions(rows.decision(5, attempt=attempt))) for attempt in range(1, 41)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, CuptimeError)]
    assert [error.reason for error in refused] == [Reason.STATE_CONFLICT] * 39
    assert len(await shard.storage.decisions(after=0, limit=99)) == 1


async def test_a_released_order_may_be_assigned_again(shard: Shard) -> None:
    first, released = rows.decision(5), rows.decision(5, Outcome.RELEASED)
    second = rows.decision(5, attempt=2, shop_id=2)
    await shard.do(decisions(first))
    await shard.do(decisions(released, second))
    assert await shard.storage.decision(5) == sequenced(3, second)[0]
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(5, attempt=3)))
    await shard.refused(Reason.STATE_CONFLICT, decisions(released))


async def test_one_attempt_has_one_decision(shard: Shard) -> None:
    await shard.do(decisions(rows.decision(5, Outcome.UNASSIGNED)))
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(5, Outcome.UNASSIGNED)))
    await shard.do(decisions(rows.decision(5, Outcome.UNASSIGNED, attempt=2)))


async def test_standing_assignments(shard: Shard) -> None:
    made = [rows.decision(n, pack_out_ms=1_000 * n) for n in range(1, 6)]
    await shard.do(decisions(*made, rows.decision(6, Outcome.UNASSIGNED)))
    await shard.do(decisions(rows.decision(4, Outcome.RELEASED)))
    stored = sequenced(1, *made)

    async def standing(from_ms: int, after: int, limit: int) -> list[DecisionRow]:
        return await shard.storage.standing_assignments(pack_out_from_ms=from_ms, after=after, limit=limit)

    assert await standing(0, 0, 9) == [*stored[:3], stored[4]]
    assert await standing(2_000, 0, 1) == [stored[1]]
    assert await standing(2_000, 2, 9) == [stored[2], stored[4]]
    await shard.do(decisions(rows.decision(4, attempt=2)))
    assert (await standing(0, 5, 9)) == sequenced(8, rows.decision(4, attempt=2))


async def test_undecided_orders(shard: Shard) -> None:
    completed = [2, 3, 5]
    for seq in range(1, 6):
        state = GroupState.COMPLETED if seq in completed else GroupState.OPEN
        await shard.do(InsertGroup(rows.group(seq, state=state)))
    made = {(seq, number): rows.order(seq, number) for seq in range(1, 6) for number in (1, 2, 3)}
    await shard.do(orders(*made.values()))
    await shard.do(
        MoveOrder(order_id_of(3, 1), OrderState.ADMITTED, OrderState.CANCELLED, 5),
        decisions(rows.decision(order_id_of(2, 2), Outcome.UNASSIGNED)),
    )
    undecided = [made[key] for key in [(2, 1), (2, 3), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3)]]

    assert await shard.storage.undecided_orders(after=0, limit=99) == undecided
    for at in range(len(undecided)):
        page = await shard.storage.undecided_orders(after=undecided[at].order_id, limit=2)
        assert page == undecided[at + 1 : at + 3]
    assert await shard.storage.undecided_orders(after=order_id_of(4, 2), limit=99) == undecided[4:]
    await shard.do(
        MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), [(seq, 0, 3) for seq in completed])
    )
    assert await shard.storage.undecided_orders(after=0, limit=99) == []


async def test_interventions(shard: Shard) -> None:
    storage = shard.storage
    first = rows.intervention(5)
    await shard.do(OpenInterventions([first, rows.intervention(6), rows.intervention(7)]))
    await shard.do(OpenInterventions([rows.intervention(5, attempts=99)]))
    assert await storage.intervention(5) == first, "one that is open stays as it is"
    assert await storage.interventions(after=0, limit=2) == [first, rows.intervention(6)]
    await shard.do(ResolveIntervention(6, 80, "CANCELLED", "called"))
    resolved = rows.intervention(6, resolved_ms=80, resolution="CANCELLED", note="called")
    assert await storage.intervention(6) == resolved
    assert await storage.interventions(after=5, limit=9) == [rows.intervention(7)]
    await shard.refused(Reason.INTERVENTION_NOT_FOUND, ResolveIntervention(6, 81, "X", ""))
    await shard.refused(Reason.INTERVENTION_NOT_FOUND, ResolveIntervention(404, 81, "X", ""))
    await shard.do(OpenInterventions([rows.intervention(6, attempts=9)]))
    assert await storage.intervention(6) == rows.intervention(6, attempts=9)
    assert await storage.intervention(404) is None


# --- shops and riders ---------------------------------------------------------------------------------------------
async def test_shops_stock_and_riders(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(
        PutShops([rows.shop(1), rows.shop(2), rows.shop(3)]),
        PutStock([rows.stock(2, "茶", 1), rows.stock(1, "b", 2), rows.stock(1, "a", 3)]),
        PutRiders([rows.rider(8), rows.rider(9)]),
    )
    await shard.do(
        PutShops([rows.shop(2, etag=5)]), PutStock([rows.stock(1, "b", 0)]), PutRiders([rows.rider(9, 4)])
    )
    assert await storage.shop(2) == rows.shop(2, etag=5)
    assert await storage.shop(404) is None
    assert await storage.shops(after=0, limit=2) == [rows.shop(1), rows.shop(2, etag=5)]
    assert await storage.shops(after=2, limit=2) == [rows.shop(3)]
    of_one = [rows.stock(1, "a", 3), rows.stock(1, "b", 0)]
    assert await storage.stock() == [*of_one, rows.stock(2, "茶", 1)]
    assert await storage.stock(shop_id=1) == of_one
    assert await storage.stock(shop_id=3) == []
    assert await storage.rider(9) == rows.rider(9, 4)
    assert await storage.rider(404) is None
    assert await storage.riders(after=0, limit=9) == [rows.rider(8), rows.rider(9, 4)]
    assert await storage.riders(after=8, limit=9) == [rows.rider(9, 4)]


# --- tasks --------------------------------------------------------------------------------------------------------
async def test_every_field_of_a_task_comes_back(shard: Shard) -> None:
    made = [rows.full_task(1), rows.task(2), rows.task(3)]
    await shard.do(InsertTasks(made))
    assert await shard.storage.tasks_by_id([3, 1, 404, 2, 3]) == made
    assert [await shard.storage.task(n) for n in (1, 2, 3, 4)] == [*made, None]
    found = await shard.storage.task(1)
    assert found is not None
    assert isinstance(found.state, TaskState)
    assert isinstance(found.retriable, bool)
    await shard.refused(Reason.INTERNAL, InsertTasks([rows.task(4), rows.task(1)]))


async def test_one_firing_one_task(shard: Shard) -> None:
    firing = {"schedule_seq": 5, "generation": 2, "nominal_ms": 700}
    await shard.do(InsertTasks([rows.task(1, **firing), rows.task(2, **firing)]))
    await shard.do(InsertTasks([rows.task(3, **firing), rows.task(4, **(firing | {"generation": 3}))]))
    await shard.do(InsertTasks([rows.task(5, nominal_ms=700), rows.task(6, nominal_ms=700)]))
    found = await shard.storage.tasks(TaskFilter(), after=0, limit=9)
    assert [task.task_id for task in found] == [1, 4, 5, 6]


async def test_lists_of_tasks(shard: Shard) -> None:
    made = [
        rows.task(1, queue="a"),
        rows.task(2, queue="b", state=TaskState.PENDING),
        rows.task(3, queue="a", schedule_seq=5, nominal_ms=1),
        rows.task(4, queue="b", schedule_seq=5, nominal_ms=2, state=TaskState.EXECUTED),
        rows.task(5, queue="a", schedule_seq=6, nominal_ms=2),
    ]
    await shard.do(InsertTasks(made))

    async def ids(after: int = 0, limit: int = 9, **where: object) -> list[int]:
        found = await shard.storage.tasks(TaskFilter(**where), after=after, limit=limit)  # type: ignore[arg-type]
        return [task.task_id for task in found]

    assert await ids() == [1, 2, 3, 4, 5]
    assert await ids(after=2, limit=2) == [3, 4]
    assert await ids(state=TaskState.SCHEDULED) == [1, 3, 5]
    assert await ids(queue="b") == [2, 4]
    assert await ids(queue="b", state=TaskState.EXECUTED) == [4]
    assert await ids(schedule_seq=5) == [3, 4]
    assert await ids(schedule_seq=5, after=3) == [4]
    assert await ids(schedule_seq=5, queue="a") == [3]
    assert await ids(schedule_seq=0) == []
    assert await ids(due_from_ms=1_002, due_until_ms=1_004) == [2, 3, 4]
    assert await ids(due_from_ms=1_004, schedule_seq=5) == [4]


async def test_moving_tasks_to_triggered(shard: Shard) -> None:
    left_over = {"execution_id": "old", "worker": "w", "lease_until_ms": 9}
    made = [
        rows.task(1),
        rows.task(2, state=TaskState.PENDING),
        rows.task(3, state=TaskState.FAILED, **left_over),
    ]
    await shard.do(InsertTasks([*made, rows.task(4), rows.task(5, state=TaskState.EXECUTED)]))
    allowed = (TaskState.SCHEDULED, TaskState.FAILED)
    move = [(1, 1_001), (2, 1_002), (3, 1_003), (4, 999), (5, 1_005), (404, 0), (1, 1_001)]
    answer = await shard.do(MoveTasks(TaskState.TRIGGERED, allowed, move, 2_000, "trigger-7"))
    assert answer.results == ((1, 3),)
    moved = {
        "state": TaskState.TRIGGERED,
        "updated_ms": 2_000,
        "trigger_ms": 2_000,
        "trigger_id": "trigger-7",
    }
    expected = [
        rows.task(1, **moved),
        made[1],
        rows.task(3, **moved),
        rows.task(4),
        rows.task(5, state=TaskState.EXECUTED),
    ]
    assert await shard.storage.tasks_by_id([1, 2, 3, 4, 5]) == expected


async def test_moving_tasks_elsewhere(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.PENDING), rows.task(2)]))
    move = MoveTasks(TaskState.SCHEDULED, (TaskState.PENDING,), [(1, 1_001), (2, 1_002)], 50, "")
    assert (await shard.do(move)).results == ((1,),)
    assert await shard.storage.task(1) == rows.task(1, updated_ms=50, scheduled_ms=50)
    move = MoveTasks(TaskState.CANCELLED, (TaskState.SCHEDULED,), [(1, 1_001)], 60, "")
    assert (await shard.do(move)).results == ((1,),)
    expected = rows.task(1, state=TaskState.CANCELLED, updated_ms=60, scheduled_ms=50)
    assert await shard.storage.task(1) == expected
    await shard.refused(
        Reason.INTERNAL, MoveTasks(TaskState.EXECUTED, (TaskState.SCHEDULED,), [(2, 1_002)], 1, "")
    )


async def test_leases(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.TRIGGERED), rows.task(2)]))
    lease = LeaseTasks(
        "w1", [(1, "exec-1", 5_000, 1), (2, "exec-2", 5_000, 1), (404, "exec-3", 5_000, 1)], 70
    )
    assert (await shard.do(lease)).results == ((1,),)
    leased = rows.task(
        1,
        state=TaskState.TRIGGERED,
        execution_id="exec-1",
        lease_until_ms=5_000,
        attempt=1,
        worker="w1",
        updated_ms=70,
    )
    assert await shard.storage.task(1) == leased
    extend = ExtendLeases([(1, "exec-1", 6_000), (1, "exec-9", 7_000), (2, "", 7_000), (404, "", 1)])
    assert (await shard.do(extend)).results == ((1,),)
    assert await shard.storage.task(1) == replace(leased, lease_until_ms=6_000)


async def test_replacing_a_task(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.TRIGGERED, execution_id="e1")]))
    done = replace(rows.full_task(1), state=TaskState.EXECUTED, execution_id="e1")
    triggered = (TaskState.TRIGGERED,)
    error = await shard.refused(
        Reason.STATE_CONFLICT, ReplaceTask(done, (TaskState.PENDING, TaskState.FAILED))
    )
    assert error.metadata == {"task_id": "1", "expected": "PENDING|FAILED"}
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(done, triggered, "e2"))
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(replace(done, task_id=404), triggered))
    await shard.do(ReplaceTask(done, triggered, "e1"))
    assert await shard.storage.task(1) == done
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(done, triggered, "e1"))
    again = replace(done, state=TaskState.CANCELLED)
    await shard.do(ReplaceTask(again, (TaskState.EXECUTED,)))
    assert await shard.storage.task(1) == again


async def test_a_replaced_task_takes_no_firing_of_another(shard: Shard) -> None:
    await shard.do(
        InsertTasks([rows.task(1, schedule_seq=5, nominal_ms=1), rows.task(2, schedule_seq=5, nominal_ms=2)])
    )
    wrong = rows.task(2, schedule_seq=5, nominal_ms=1)
    await shard.refused(Reason.INTERNAL, ReplaceTask(wrong, (TaskState.SCHEDULED,)))
    moved = rows.task(2, schedule_seq=5, nominal_ms=3)
    await shard.do(ReplaceTask(moved, (TaskState.SCHEDULED,)))
    await shard.do(
        InsertTasks([rows.task(3, schedule_seq=5, nominal_ms=2), rows.task(4, schedule_seq=5, nominal_ms=3)])
    )
    found = await shard.storage.tasks(TaskFilter(), after=0, limit=9)
    assert [task.task_id for task in found] == [1, 2, 3]


async def test_cancelling_the_tasks_of_a_schedule(shard: Shard) -> None:
    made = [
        rows.task(9, schedule_seq=5, generation=1, nominal_ms=1, state=TaskState.PENDING),
        rows.task(2, schedule_seq=5, generation=1, nominal_ms=2),
        rows.task(3, schedule_seq=5, generation=2, nominal_ms=1),
        rows.task(4, schedule_seq=5, generation=1, nominal_ms=3, state=TaskState.TRIGGERED),
        rows.task(5, schedule_seq=6, generation=1, nominal_ms=1),
        rows.task(6),
    ]
    await shard.do(InsertTasks(made))
    assert (await shard.do(CancelTasksOfSchedule(5, 2, 80))).results == ((2, 9),)
    cancelled = {"state": TaskState.CANCELLED, "updated_ms": 80}
    expected = [replace(made[1], **cancelled), *made[2:], replace(made[0], **cancelled)]  # type: ignore[arg-type]
    assert await shard.storage.tasks(TaskFilter(), after=0, limit=9) == expected
    assert (await shard.do(CancelTasksOfSchedule(0, 9, 81))).results == ((),)


async def test_waiting_tasks(shard: Shard) -> None:
    made = [rows.task(n, state=state) for n, state in enumerate(TaskState, 1)]
    made[2] = replace(made[2], lease_until_ms=77)
    await shard.do(InsertTasks(made))
    waiting = [(1, 1_001, 1, 0), (2, 1_002, 2, 0), (3, 1_003, 3, 77)]
    assert await shard.storage.waiting_tasks(after=0, limit=9) == waiting
    assert await shard.storage.waiting_tasks(after=1, limit=1) == waiting[1:2]


async def test_executed_results(shard: Shard) -> None:
    done = {"state": TaskState.EXECUTED, "result_hash": b"h", "result": b"r"}
    await shard.do(
        InsertTasks(
            [
                rows.task(1, **(done | {"state": TaskState.FAILED})),
                rows.task(2, **done),
                rows.task(3, **done),
                rows.task(4, **(done | {"result_hash": b""})),
            ]
        )
    )
    assert await shard.storage.executed_result(b"h") == rows.task(2, **done)
    assert await shard.storage.executed_result(b"x") is None
    assert await shard.storage.executed_result(b"") is None


# --- schedules ----------------------------------------------------------------------------------------------------
async def test_schedules(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(InsertSchedule(rows.schedule(1)))
    assert await storage.schedule("s1") == await storage.schedule_by_seq(1) == rows.schedule(1)
    found = await storage.schedule("s1")
    assert found is not None
    assert isinstance(found.state, ScheduleState)
    error = await shard.refused(Reason.SCHEDULE_EXISTS, InsertSchedule(rows.schedule(2, schedule_id="s1")))
    assert error.metadata == {"schedule_id": "s1"}
    await shard.refused(Reason.INTERNAL, InsertSchedule(rows.schedule(1, schedule_id="other")))
    gone = rows.schedule(1, state=ScheduleState.UNREGISTERED, generation=2)
    await shard.do(ReplaceSchedule(gone, 1))
    assert await storage.schedule("s1") == gone
    await shard.do(InsertSchedule(rows.schedule(2, schedule_id="s1")))
    assert await storage.schedule("s1") == rows.schedule(2, schedule_id="s1")
    gone_too = rows.schedule(2, schedule_id="s1", state=ScheduleState.UNREGISTERED)
    await shard.do(ReplaceSchedule(gone_too, 1))
    assert await storage.schedule("s1") == gone_too, "the last one that was unregistered"
    assert await storage.schedule("nobody") is None
    assert await storage.schedule_by_seq(404) is None


async def test_replacing_a_schedule(shard: Shard) -> None:
    await shard.do(InsertSchedule(rows.schedule(1)), InsertSchedule(rows.schedule(2)))
    changed = rows.schedule(1, generation=2, note="new", next_ms=0)
    error = await shard.refused(Reason.ETAG_MISMATCH, ReplaceSchedule(changed, 5))
    assert error.metadata == {"expected_generation": "5"}
    await shard.refused(Reason.ETAG_MISMATCH, ReplaceSchedule(rows.schedule(404), 1))
    await shard.refused(Reason.SCHEDULE_EXISTS, ReplaceSchedule(rows.schedule(1, schedule_id="s2"), 1))
    await shard.do(ReplaceSchedule(changed, 1))
    assert await shard.storage.schedule("s1") == changed
    assert (await shard.storage.counts())["schedules"] == 2


async def test_advancing_schedules(shard: Shard) -> None:
    await shard.do(InsertSchedule(rows.schedule(1)), InsertSchedule(rows.schedule(2)))
    finished = int(ScheduleState.FINISHED)
    await shard.do(
        AdvanceSchedules([(1, 1, 900, 950, 4, finished), (2, 7, 900, 950, 4, finished), (404, 1, 1, 1, 1, 1)])
    )
    advanced = rows.schedule(
        1, planned_until_ms=900, next_ms=950, fire_count=21, state=ScheduleState.FINISHED
    )
    assert await shard.storage.schedules(after=0, limit=9) == [advanced, rows.schedule(2)]
    assert await shard.storage.schedules(after=1, limit=9) == [rows.schedule(2)]
    assert await shard.storage.schedules(after=0, limit=1) == [advanced]
    assert await shard.storage.schedules(after=0, limit=9, state=ScheduleState.FINISHED) == [advanced]


# --- rules, requests, counts --------------------------------------------------------------------------------------
async def test_rule_revisions(shard: Shard) -> None:
    assert await shard.storage.rule_revision(None) is None
    await shard.refused(Reason.STATE_CONFLICT, InsertRuleRevision(rows.revision(2)))
    for number in (1, 2, 3):
        await shard.do(InsertRuleRevision(rows.revision(number)))
    for number in (0, 2, 3, 5):
        await shard.refused(Reason.STATE_CONFLICT, InsertRuleRevision(rows.revision(number)))
    active = replace(rows.revision(3), active=True)
    assert await shard.storage.rule_revision(None) == active
    assert await shard.storage.rule_revision(3) == active
    assert await shard.storage.rule_revision(2) == rows.revision(2)
    assert await shard.storage.rule_revision(4) is None
    assert await shard.storage.rule_revisions(before=9, limit=2) == [active, rows.revision(2)]
    assert await shard.storage.rule_revisions(before=2, limit=2) == [rows.revision(1)]


async def test_requests(shard: Shard) -> None:
    await shard.do(RememberRequest(rows.request(1)))
    assert await shard.storage.request("req-1") == rows.request(1)
    assert await shard.storage.request("nobody") is None
    again = RememberRequest(rows.request(1, method="other"))
    error = await shard.refused(Reason.REQUEST_ID_REUSED, PutShops([rows.shop(1)]), again)
    assert error.metadata == {"request_id": "req-1"}


async def test_forgetting(shard: Shard) -> None:
    await shard.do(*[RememberRequest(rows.request(number)) for number in (1, 2, 3)])
    await shard.do(InsertRefusals([rows.row_of(rows.refusal(number)) for number in (1, 2, 3)]))
    await shard.do(ForgetRequests(before_ms=1_002, refusals_before_ms=1_003))
    assert [await shard.storage.request(f"req-{n}") for n in (1, 2)] == [None, rows.request(2)]
    assert await shard.storage.refusals_since(0, limit=9) == [rows.refusal(3)]


async def test_forgetting_is_bounded_and_the_oldest_go_first(shard: Shard) -> None:
    count = FORGET_ROWS_MAX + 5
    await shard.do(InsertRefusals([rows.row_of(rows.refusal(number)) for number in range(count)]))
    await shard.do(ForgetRequests(before_ms=0, refusals_before_ms=2**40))
    left = await shard.storage.refusals_since(0, limit=count)
    assert left == [rows.refusal(number) for number in range(FORGET_ROWS_MAX, count)]


async def test_counts_and_sequences(shard: Shard) -> None:
    empty = await shard.storage.counts()
    assert set(empty.values()) == {0}
    assert await shard.storage.sequences() == Sequences(0, 0, 0, 0, 0)
    await shard.do(
        InsertGroup(rows.group(4)),
        orders(rows.order(4, 1), rows.order(4, 2)),
        InsertRefusals([rows.row_of(rows.refusal(1))]),
        decisions(rows.decision(5), rows.decision(6, Outcome.UNASSIGNED)),
        OpenInterventions([rows.intervention(6)]),
        PutShops([rows.shop(1)]),
        PutStock([rows.stock(1, "a", 1), rows.stock(1, "b", 1)]),
        PutRiders([rows.rider(1)]),
        InsertTasks([rows.task(30), rows.task(20)]),
        InsertSchedule(rows.schedule(8)),
        InsertRuleRevision(rows.revision(1)),
        RememberRequest(rows.request(1)),
    )
    assert await shard.storage.sequences() == Sequences(4, 30, 8, 1, 2)
    twos = {"orders", "decisions", "stock", "tasks"}
    assert await shard.storage.counts() == {name: 2 if name in twos else 1 for name in empty}
