"""The decision line, with everything real around it."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from cuptime.dispatch.interventions import Resolution
from cuptime.dispatch.queue import FIRST_IN_A_ROW_MAX, Batch, Part, Waiting
from cuptime.domain.errors import Reason
from cuptime.domain.limits import DECISION_PART_ORDERS_MAX
from cuptime.domain.values import GroupState, Outcome
from cuptime.domain.writes import InsertDecisions
from tests.unit.dispatch.rig import COLD_BREW, ORIGIN, Morning, decision_of, new_group, rider, shop


async def test_a_full_group_is_decided_whole(morning: Morning) -> None:
    group = await morning.full_group(10_001)
    assert group.state is GroupState.DECIDED
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 3
    row = (await morning.latest(10_001))[0]
    assert row is not None
    decision = decision_of(row)
    assert decision.name == "groups/10001/orders/1/decision"
    assert decision.shop.startswith("shops/")
    assert decision.rider.startswith("riders/")
    assert decision.attempt == 1
    assert morning.metrics.decisions == [("assigned", 0, 3)]
    await morning.audit()


async def test_nobody_near_goes_to_the_delay_queue_then_to_a_person(morning: Morning) -> None:
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001)
    assert await morning.outcomes(10_001) == ["UNASSIGNED"] * 3
    await morning.audit()
    await morning.pass_ms(30_000)
    rows = await morning.all_decisions()
    assert [row.attempt for row in rows] == [1] * 3 + [2] * 3 + [3] * 3 + [4] * 3
    starts = [rows[n].decided_ms - rows[0].decided_ms for n in (3, 6, 9)]
    assert starts[0] in range(1_000, 1_050)
    assert starts[1] in range(5_000, 5_100)
    assert starts[2] in range(20_000, 20_150)
    waiting = await morning.interventions.page(after=0, limit=10)
    assert [row.attempts for row, _ in waiting] == [4] * 3
    await morning.audit()


async def test_a_retry_finds_the_rider_who_came_meanwhile(morning: Morning) -> None:
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001)
    await morning.riders.upsert([rider(1)])
    await morning.pass_ms(2_000)
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 3
    assert {row.attempt for row in await morning.all_decisions()} == {1, 2}
    await morning.audit()


async def test_a_failed_commit_gives_back_and_decides_again(morning: Morning) -> None:
    morning.storage.matching = lambda writes: any(isinstance(write, InsertDecisions) for write in writes)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE] * 3
    await morning.full_group(10_001)
    await morning.pass_ms(1_000)
    assert morning.storage.failures == []
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 3
    assert len(await morning.all_decisions()) == 3
    await morning.audit()


async def test_a_commit_that_was_kept_but_not_acknowledged_is_not_decided_twice(morning: Morning) -> None:
    morning.storage.matching = lambda writes: any(isinstance(write, InsertDecisions) for write in writes)
    morning.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]
    await morning.full_group(10_001)
    await morning.pass_ms(1_000)
    assert len(await morning.all_decisions()) == 3
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    await morning.audit()


async def test_capacity_lost_to_somebody_else_is_learnt_and_respected(morning: Morning) -> None:
    """The dispatcher believes in capacity that the gate does not have."""
    await morning.shops.upsert([shop(n, daily_capacity=2 if n == 1 else 0) for n in (1, 2, 3)])
    morning.dispatcher.set_counters([(n, 100, 100) for n in (1, 2, 3)], [], [])
    await morning.full_group(10_001)
    assert sorted(await morning.outcomes(10_001)) == ["ASSIGNED", "ASSIGNED", "UNASSIGNED"]
    assert morning.line.stats.refused_reservations > 0
    await morning.audit()


async def test_a_reservation_refused_again_and_again_says_so(morning: Morning) -> None:
    """A gate that has nothing, and a dispatcher that is told otherwise each time."""

    async def refuse(reservations: object, now_ms: int, hold_ms: int) -> list[str]:
        return [f"stock/{held.shop_id}/{held.sku}" for held in reservations]  # type: ignore[attr-defined]

    morning.gate.reserve = refuse  # type: ignore[assignment,method-assign]
    await morning.full_group(10_001)
    rows = await morning.latest(10_001)
    assert [row.outcome for row in rows if row] == [Outcome.UNASSIGNED] * 3
    codes = {reason.code for row in rows if row for reason in decision_of(row).reasons}
    assert "RESERVATION_LOST" in codes


async def test_fridge_slots_come_back_at_pick_up(morning: Morning) -> None:
    await morning.shops.upsert([shop(n, fridge_slots=1 if n == 1 else 0) for n in (1, 2, 3)])
    await morning.full_group(10_001, size=1, sku=COLD_BREW, cold=True)
    await morning.full_group(10_002, size=1, sku=COLD_BREW, cold=True)
    assert await morning.outcomes(10_001) == ["ASSIGNED"]
    assert await morning.outcomes(10_002) == ["UNASSIGNED"]
    row = (await morning.latest(10_001))[0]
    assert row is not None
    await morning.pass_ms(row.pickup_ms - morning.clock.now_ms() + 1_000)
    await morning.audit()
    await morning.full_group(10_003, size=1, sku=COLD_BREW, cold=True)
    assert await morning.outcomes(10_003) == ["ASSIGNED"]
    await morning.audit()


async def test_a_group_larger_than_a_batch_is_decided_in_parts(morning: Morning) -> None:
    group = await morning.groups.create(new_group(10_001, capacity=1_300))
    requests = [morning.submit(10_001, 10_000 + n) for n in range(1_300)]
    await asyncio.gather(*requests)
    await morning.settle()
    assert (await morning.groups.get(group.group_id)).state is GroupState.DECIDED
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 1_300
    assert morning.line.stats.batches == 2
    await morning.audit()


async def test_a_restart_decides_what_was_completed_and_not_decided(morning: Morning) -> None:
    gate = morning.storage.gate = asyncio.Event()
    gate.set()
    morning.storage.matching = lambda writes: any(isinstance(write, InsertDecisions) for write in writes)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE] * 100
    await morning.full_group(10_001)
    assert (await morning.groups.get(10_001)).state is GroupState.COMPLETED
    await morning.kill()
    morning.storage.failures = []
    await morning.boot()
    await morning.settle()
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 3
    await morning.audit()


async def test_a_restart_keeps_what_is_taken(morning: Morning) -> None:
    await morning.shops.upsert([shop(n, daily_capacity=2) for n in (1, 2, 3)])
    await morning.full_group(10_001)
    await morning.reboot()
    await morning.audit()
    await morning.full_group(10_002)
    await morning.full_group(10_003)
    assert len(await morning.storage.standing_assignments(after=0, limit=100)) == 6
    await morning.audit()


async def test_a_group_that_is_refused_for_ever_waits_for_a_person_and_is_not_begun_again(
    morning: Morning,
) -> None:
    real = morning.line.means.core.decide

    def broken(*arguments: object) -> object:
        raise ValueError("the core does not like it")

    solving = morning.line._solving
    solving._desk.means = replace(solving._desk.means, core=SimpleNamespace(decide=broken))
    await morning.full_group(10_001)
    await morning.pass_ms(60_000)
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    assert len(await morning.interventions.page(after=0, limit=9)) == 3
    assert morning.line.person.count == 3
    assert morning.intake._intake is not None
    assert morning.intake._intake.cups("coffee") == (30_000, 0), "no cups wait for a decision"
    await morning.audit()
    await morning.reboot()
    await morning.settle()
    assert await morning.outcomes(10_001) == ["NONE"] * 3
    ((first, _), *_) = await morning.interventions.page(after=0, limit=9)
    await morning.interventions.resolve(first.order_id, Resolution.RETRY)
    await morning.pass_ms(1_000)
    assert sorted(await morning.outcomes(10_001)) == ["ASSIGNED", "NONE", "NONE"]
    assert real is not None
    await morning.audit()


async def test_retries_do_not_starve(morning: Morning) -> None:
    """First decisions that never end let one retry through now and then."""
    queue = morning.line.queue
    async with morning.line.quiet():
        group = await morning.empty_group(10_001)
        queue.retry(Batch([Part(Waiting(replace(group, group_seq=900), [], 0), [], last=False)], 2))
        attempts: list[int] = []
        for number in range(3 * FIRST_IN_A_ROW_MAX):
            for extra in range(2):
                seq = 1_000 + 2 * number + extra
                queue.put(Waiting(replace(group, group_seq=seq), [(seq << 20, b"")] * 500, 500))
            batch = queue.take()
            assert batch is not None
            attempts.append(batch.attempt)
        assert attempts.index(2) == FIRST_IN_A_ROW_MAX
        queue.first.clear()
        queue.busy.clear()


async def test_late_decisions_are_made_and_counted_as_late(morning: Morning) -> None:
    morning.storage.matching = lambda writes: any(isinstance(write, InsertDecisions) for write in writes)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE] * 6
    await morning.full_group(10_001)
    await morning.pass_ms(5_000)
    assert await morning.outcomes(10_001) == ["ASSIGNED"] * 3
    assert morning.line.stats.late == 3
    assert morning.metrics.decisions[-1][0] == "assigned_late"


async def test_midnight_gives_a_new_days_capacity(morning: Morning) -> None:
    await morning.shops.upsert([shop(n, daily_capacity=1 if n == 1 else 0) for n in (1, 2, 3)])
    await morning.full_group(10_001, size=1)
    await morning.full_group(10_002, size=1)
    assert await morning.outcomes(10_002) == ["UNASSIGNED"]
    await morning.pass_ms(15 * 3_600_000)
    await morning.riders.upsert([rider(n, morning.clock.now_ms()) for n in range(1, 6)])
    await morning.full_group(10_003, size=1)
    assert await morning.outcomes(10_003) == ["ASSIGNED"]


async def test_a_group_of_thousands_is_decided_in_few_parts(morning: Morning) -> None:
    group = await morning.empty_group(10_001)
    queue = morning.line.queue
    orders = [(1 << 20 | number, b"") for number in range(1, 2 * DECISION_PART_ORDERS_MAX + 2)]
    large = Waiting(replace(group, group_seq=1), orders, len(orders))
    small = Waiting(replace(group, group_seq=2), orders[:3], 3)
    queue.first.extend([large, small])
    taken: list[list[tuple[int, int, bool]]] = []
    while (batch := queue.take()) is not None:
        taken.append([(part.waiting.group_seq, len(part.orders), part.last) for part in batch.parts])
        for part in batch.parts:
            # As the ledger does after the commit.
            part.waiting.orders = part.waiting.orders[len(part.orders) :]
            if not part.last:
                queue.first.appendleft(part.waiting)
            queue.busy.pop(part.waiting.group_seq)
    most = DECISION_PART_ORDERS_MAX
    assert taken == [[(1, most, False)], [(1, most, False)], [(1, 1, True), (2, 3, True)]]


@pytest.mark.parametrize("further", [0, 1, 3])
async def test_a_large_group_fills_the_nearest_shops_and_goes_on_to_the_next(
    morning: Morning, further: int
) -> None:
    """The core looks at the twelve nearest only; with 70 orders for one place these are full, and others are not."""
    near = [shop(n, daily_capacity=5) for n in range(1, 13)]
    away = [
        shop(n, daily_capacity=4, longitude=ORIGIN[1] + 0.02 + n * 0.0005) for n in range(13, 13 + further)
    ]
    await morning.shops.upsert([*near, *away])
    await morning.full_group(10_001, size=70)
    outcomes = Counter(await morning.outcomes(10_001))
    assert outcomes["ASSIGNED"] == 60 + min(10, 4 * further)
    rows = await morning.all_decisions()
    assert len(rows) == 70, "each order has one decision of this attempt"
    assert {row.attempt for row in rows} == {1}
    assert {row.shop_id for row in rows if row.shop_id} == set(range(1, 13 + further))
    await morning.audit()


@pytest.mark.parametrize("count", [1, 40])
async def test_many_groups_at_once_keep_to_what_there_is(morning: Morning, count: int) -> None:
    await morning.shops.upsert([shop(n, daily_capacity=10) for n in (1, 2, 3)])
    await asyncio.gather(*(morning.full_group(10_001 + n) for n in range(count)))
    await morning.settle()
    assigned = len(await morning.storage.standing_assignments(after=0, limit=1_000))
    assert assigned == min(30, count * 3)
    await morning.audit()
