"""What every storage promises: ownership, tuples of writes, groups, orders, decisions, shops and riders. One suite for
SQLite and its twin in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import CLOSED_LATE_MS, REQUEST_ID_WINDOW_MS
from cuptime.domain.ports import Committed, TaskFilter
from cuptime.domain.values import (
    DecisionRow,
    Fence,
    GroupState,
    OrderState,
    Outcome,
    StockRow,
    order_id_of,
)
from cuptime.domain.writes import (
    InsertGroup,
    InsertRefusals,
    InsertTasks,
    MoveGroups,
    MoveOrder,
    OpenInterventions,
    PutRiders,
    PutShops,
    PutStock,
    ReleaseOrders,
    ResolveIntervention,
    RetireAssignments,
    SetMemberCounts,
    Write,
)
from tests.contract import rows
from tests.contract.shard import Shard, decisions, orders, sequenced, shard

__all__ = ["shard"]


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
    await shard.do(MoveGroups(GroupState.COMPLETED, (GroupState.OPEN,), [(1, 500, 12), (2, 0, 13)], 510))
    expected = [
        rows.group(1, state=GroupState.COMPLETED, completed_ms=500, member_count=12, etag=2),
        rows.group(2, state=GroupState.COMPLETED, completed_ms=44, member_count=13, etag=2),
    ]
    assert await shard.storage.groups(before_seq=9, limit=9) == expected[::-1]
    allowed = (GroupState.OPEN, GroupState.DECIDED)
    for wrong in ([(1, 0, 1)], [(3, 0, 1)]):
        await shard.refused(Reason.STATE_CONFLICT, MoveGroups(GroupState.FAILED, allowed, wrong, 510))
    await shard.do(InsertGroup(rows.group(3)))
    error = await shard.refused(
        Reason.STATE_CONFLICT, MoveGroups(GroupState.FAILED, allowed, [(3, 0, 1), (2, 0, 1)], 510)
    )
    assert error.metadata == {"group_seq": "2", "wanted": "FAILED"}
    assert await shard.storage.groups(before_seq=9, limit=9) == [rows.group(3), *expected[::-1]]


async def test_member_counts(shard: Shard) -> None:
    await shard.do(InsertGroup(rows.group(1)), SetMemberCounts([(1, 5), (404, 6)]))
    assert await shard.storage.group_by_seq(1) == rows.group(1, member_count=5)


async def test_orders(shard: Shard) -> None:
    storage = shard.storage
    made = [rows.order(seq, number) for seq in (1, 2) for number in (1, 2, 3)]
    await shard.do(*(InsertGroup(rows.group(seq)) for seq in (1, 2)), orders(*reversed(made)))
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
    made = [rows.decision(n) for n in range(1, 6)]
    await shard.do(decisions(*made, rows.decision(6, Outcome.UNASSIGNED)))
    await shard.do(decisions(rows.decision(4, Outcome.RELEASED)))
    stored = sequenced(1, *made)

    async def standing(after: int, limit: int, live_only: bool = False) -> list[DecisionRow]:
        return await shard.storage.standing_assignments(after=after, limit=limit, live_only=live_only)

    assert await standing(0, 9) == await standing(0, 9, True) == [*stored[:3], stored[4]]
    assert await standing(1, 1) == [stored[1]]
    assert await standing(2, 9) == [stored[2], stored[4]]
    await shard.do(decisions(rows.decision(4, attempt=2)))
    assert (await standing(5, 9)) == sequenced(8, rows.decision(4, attempt=2))
    await shard.do(RetireAssignments([2, 3, 4, 404]))
    assert await standing(0, 9, True) == [stored[0], stored[4]]
    assert await standing(1, 9, True) == [stored[4]]
    assert len(await standing(0, 9)) == 5, "it still stands, and is not assigned twice"
    await shard.refused(Reason.STATE_CONFLICT, decisions(rows.decision(2, attempt=2)))
    await shard.do(decisions(rows.decision(2, Outcome.RELEASED), rows.decision(2, attempt=2)))
    assert [row.order_id for row in await standing(0, 9, True)] == [1, 5, 2]


async def test_cups_of_what_is_retired_are_used_up(shard: Shard) -> None:
    """Three shops' stock was counted at 500, 1,500 and 500; all is packed out at 1,000."""
    counted = {1: 500, 2: 1_500, 3: 500}
    await shard.do(PutStock([StockRow(shop, "latte", 50, at_ms) for shop, at_ms in counted.items()]))
    made = [rows.decision(n, shop_id=1 + n % 3, quantity=n) for n in range(1, 8)]
    await shard.do(decisions(*made, rows.decision(8, shop_id=9), rows.decision(9, sku="tea")))

    async def used() -> list[int]:
        return [row.used for row in await shard.storage.stock()]

    await shard.do(RetireAssignments([1, 2, 3, 8, 9, 404]))
    assert await used() == [3, 0, 2]
    await shard.do(RetireAssignments([1, 2, 3, 5, 3]))
    assert await used() == [3, 0, 2 + 5], "nothing is put down twice"
    await shard.do(PutStock([StockRow(1, "latte", 60, 500), StockRow(3, "latte", 50, 900)]))
    assert await shard.storage.stock() == [
        StockRow(1, "latte", 60, 500, 3), StockRow(2, "latte", 50, 1_500, 0), StockRow(3, "latte", 50, 900, 0),
    ]  # fmt: skip
    early = rows.decision(6, Outcome.RELEASED, shop_id=1, quantity=6, decided_ms=1_000)
    late = [
        rows.decision(n, Outcome.RELEASED, shop_id=1 + n % 3, quantity=n, decided_ms=1_001)
        for n in (3, 4, 7, 5)
    ]
    await shard.do(decisions(early, *late[:2]))
    assert await used() == [3, 0, 0], "cups come back until the pack-out; what is retired has been put down"
    await shard.do(PutStock([StockRow(2, "latte", 50, 700)]))
    await shard.do(decisions(*late[2:]))
    assert await used() == [3, 7, 0]


async def test_cups_stay_where_only_the_rider_changes(shard: Shard) -> None:
    """Packed out at 1,000, released and assigned again at 1,500: at the same shop nothing is used up by that."""
    await shard.do(PutStock([StockRow(shop, "latte", 50, 500) for shop in (1, 2)]))
    await shard.do(decisions(rows.decision(1, quantity=4), rows.decision(2, quantity=5)))
    released = [rows.decision(n, Outcome.RELEASED, quantity=3 + n, decided_ms=1_500) for n in (1, 2)]
    other_rider = rows.decision(1, attempt=2, quantity=4, rider_id=8, decided_ms=1_500)
    other_shop = rows.decision(2, attempt=2, quantity=5, shop_id=2, decided_ms=1_500)
    await shard.do(decisions(released[0], other_rider, released[1], other_shop))
    assert [row.used for row in await shard.storage.stock()] == [5, 0]
    await shard.do(RetireAssignments([1, 2]))
    assert [row.used for row in await shard.storage.stock()] == [4 + 5, 5]


async def test_a_new_refusal_takes_the_place_of_one_whose_window_has_passed(shard: Shard) -> None:
    first = rows.refusal(1)
    within = replace(first, created_ms=first.created_ms + REQUEST_ID_WINDOW_MS, reason="WITHIN")
    later = replace(
        first, created_ms=first.created_ms + REQUEST_ID_WINDOW_MS + 1, reason="LATER", fingerprint=9
    )
    await shard.do(InsertRefusals([rows.row_of(first), rows.row_of(within)]))
    assert await shard.storage.refusal(first.request_id) == first
    await shard.do(InsertRefusals([rows.row_of(later)]))
    assert await shard.storage.refusal(first.request_id) == later
    assert await shard.storage.refusals_since(later.created_ms, limit=9) == [later]
    assert (await shard.storage.counts())["refusals"] == 1


async def test_orders_since_are_those_of_groups_that_may_have_taken_one(shard: Shard) -> None:
    late_ms = CLOSED_LATE_MS
    given = {  # group: deadline, completed; what is asked for is since 10 hours
        1: (9 * late_ms - 1, 0), 2: (9 * late_ms, 0), 3: (99 * late_ms, 9 * late_ms - 1),
        4: (99 * late_ms, 9 * late_ms), 5: (99 * late_ms, 0),
    }  # fmt: skip
    for seq, (deadline_ms, completed_ms) in given.items():
        await shard.do(InsertGroup(rows.group(seq, deadline_ms=deadline_ms, completed_ms=completed_ms)))
    made = {
        (seq, number): rows.order(seq, number, created_ms=(8 + number) * late_ms)
        for seq in given
        for number in (1, 2, 3)
    }
    await shard.do(orders(*made.values()))
    wanted = [made[seq, number] for seq in (2, 4, 5) for number in (2, 3)]
    since_ms = 10 * late_ms
    assert await shard.storage.orders_since(since_ms, after=0, limit=99) == wanted
    found = []
    after = 0
    while page := await shard.storage.orders_since(since_ms, after=after, limit=1):
        found += page
        after = page[-1].order_id
    assert found == wanted


async def test_open_interventions_are_counted(shard: Shard) -> None:
    await shard.do(OpenInterventions([rows.intervention(n) for n in (5, 6, 7)]))
    await shard.do(ResolveIntervention(6, 80, "CANCELLED", ""))
    assert await shard.storage.interventions_open() == 2


async def test_storage_is_settled(shard: Shard) -> None:
    await shard.storage.settle()
    await shard.do(PutShops([rows.shop(1)]))


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
        MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), [(seq, 0, 3) for seq in completed], 510)
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
