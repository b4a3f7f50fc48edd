"""Groups open, complete, fail, are cancelled from and watched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import GroupState, OrderState
from tests.unit.dispatch.rig import START_MS, Morning, new_group, request, rider
from tests.unit.groups.test_intake import reason_of


async def test_created_once_for_each_request_id(morning: Morning) -> None:
    first = await morning.groups.create(new_group(10_001), request_id="r1")
    assert (first.state, first.min_size, first.etag) == (GroupState.OPEN, 2, 1)
    assert await morning.groups.create(new_group(10_001), request_id="r1") == first
    with pytest.raises(CuptimeError) as reused:
        await morning.groups.create(new_group(10_002), request_id="r1")
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    with pytest.raises(CuptimeError) as taken:
        await morning.groups.create(new_group(10_001), request_id="r2")
    assert taken.value.reason is Reason.GROUP_EXISTS
    morning.clock.advance(3_600_000)
    assert await morning.groups.create(new_group(10_001), request_id="r1") == first


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"group_id": 9_999}, "group.group_id"),
        ({"group_id": 0}, "group.group_id"),
        ({"capacity": 0}, "group.capacity"),
        ({"capacity": 5_001}, "group.capacity"),
        ({"min_size": 4}, "group.min_size"),
        ({"min_size": -1}, "group.min_size"),
        ({"deadline_ms": START_MS}, "group.deadline_time_ms"),
        ({"deadline_ms": 0}, "group.deadline_time_ms"),
        ({"latitude": 91.0}, "group.location.latitude"),
        ({"longitude": float("nan")}, "group.location.longitude"),
        ({"latitude": 0.0, "longitude": 0.0}, "group.location"),
        ({"park": "x" * 65}, "group.park"),
        ({"purchase_limit": -1}, "group.purchase_limit"),
        ({"pack_out_after_ms": -1}, "group.pack_out_after_ms"),
    ],
)
async def test_what_is_not_valid_names_its_field(
    morning: Morning, change: dict[str, Any], field: str
) -> None:
    before = await morning.storage.counts()
    values = {"group_id": 10_001, **change}
    with pytest.raises(CuptimeError) as refusal:
        await morning.groups.create(new_group(values.pop("group_id"), **values), request_id="bad")
    assert refusal.value.field == field
    assert await morning.storage.counts() == before


async def test_validate_only_keeps_nothing(morning: Morning) -> None:
    before = await morning.storage.counts()
    group = await morning.groups.create(new_group(10_001), request_id="v", validate_only=True)
    assert group.pack_out_after_ms == 18 * 60_000
    assert await morning.storage.counts() == before
    assert reason_of((await morning.submit_raw(request(10_001, 1, "x")))[1]) == "GROUP_NOT_FOUND"


async def test_the_deadline_completes_with_enough_and_fails_without(morning: Morning) -> None:
    for group_id in (10_001, 10_002):
        await morning.groups.create(new_group(group_id, capacity=10))
    for user in (1, 2):
        await morning.submit(10_001, user)
    await morning.submit(10_002, 1)
    await morning.pass_ms(599_000)
    assert (await morning.groups.get(10_001)).state is GroupState.OPEN
    await morning.pass_ms(1_100)
    first, second = await morning.groups.get(10_001), await morning.groups.get(10_002)
    assert (first.state, first.member_count) == (GroupState.DECIDED, 2)
    assert first.completed_ms - first.deadline_ms in range(50)
    assert (second.state, second.completed_ms) == (GroupState.FAILED, 0)
    assert [order.state for order in await morning.orders(10_002)] == [OrderState.RELEASED]
    assert morning.intake.stats()["pending_cups"] == 0
    await morning.audit()


async def test_a_deadline_missed_while_the_server_was_down_is_kept_at_the_start(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    await morning.submit(10_001, 1)
    await morning.submit(10_001, 2)
    await morning.kill()
    morning.clock.advance(700_000)
    await morning.boot()
    await morning.pass_ms(100)
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    await morning.audit()


async def test_a_group_that_was_kept_though_told_as_failed_has_its_deadline(morning: Morning) -> None:
    morning.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await morning.groups.create(new_group(10_001, capacity=10))
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await morning.groups.create(new_group(10_002, capacity=10))
    for user in (1, 2):
        await morning.submit(10_001, user)
    await morning.pass_ms(601_000)
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    with pytest.raises(CuptimeError) as absent:
        await morning.groups.get(10_002)
    assert absent.value.reason is Reason.GROUP_NOT_FOUND
    await morning.audit()


async def test_two_thousand_deadlines_in_one_millisecond_are_few_commits(morning: Morning) -> None:
    await asyncio.gather(*(morning.groups.create(new_group(10_001 + n)) for n in range(2_000)))
    morning.storage.units.clear()
    await morning.pass_ms(600_100)
    groups = await morning.groups.page(before_seq=2**62, limit=10_000)
    assert {group.state for group in groups} == {GroupState.FAILED}
    moves = [unit for unit in morning.storage.units if any(type(w).__name__ == "MoveGroups" for w in unit)]
    assert len(moves) <= 20


async def test_completed_by_call(morning: Morning) -> None:
    group = await morning.groups.create(new_group(10_001, capacity=10))
    await morning.submit(10_001, 1)
    with pytest.raises(CuptimeError) as stale:
        await morning.groups.complete(10_001, etag=group.etag + 1)
    assert stale.value.reason is Reason.ETAG_MISMATCH
    preview = await morning.groups.complete(10_001, validate_only=True)
    assert preview.state is GroupState.FAILED
    done = await morning.groups.complete(10_001, etag=group.etag, force=True, request_id="c")
    assert (done.state, done.member_count, done.etag) == (GroupState.COMPLETED, 1, 2)
    await morning.settle()
    assert await morning.groups.complete(10_001, etag=group.etag, force=True, request_id="c") == done
    with pytest.raises(CuptimeError) as again:
        await morning.groups.complete(10_001)
    assert again.value.reason is Reason.STATE_CONFLICT
    assert reason_of((await morning.submit_raw(request(10_001, 2, "late")))[1]) == "GROUP_NOT_OPEN"
    await morning.pass_ms(700_000)
    assert await morning.outcomes(10_001) == ["ASSIGNED"]
    await morning.audit()


async def test_completed_by_call_below_its_minimum_fails(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    await morning.submit(10_001, 1)
    assert (await morning.groups.complete(10_001)).state is GroupState.FAILED
    assert (await morning.orders(10_001))[0].state is OrderState.RELEASED
    await morning.audit()


async def test_a_completion_that_is_not_committed_leaves_the_group_open(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    await morning.submit(10_001, 1)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await morning.groups.complete(10_001, force=True)
    await morning.submit(10_001, 2)
    assert (await morning.groups.complete(10_001)).member_count == 2


async def test_cancelling_in_an_open_group_frees_the_seat(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=2))
    await morning.submit(10_001, 1)
    order = await morning.cancellations.cancel(10_001, 1, request_id="c1")
    assert order.state is OrderState.CANCELLED
    assert (await morning.cancellations.cancel(10_001, 1, request_id="c1")).state is OrderState.CANCELLED
    with pytest.raises(CuptimeError) as twice:
        await morning.cancellations.cancel(10_001, 1, request_id="c2")
    assert twice.value.reason is Reason.STATE_CONFLICT
    assert (await morning.groups.get(10_001)).member_count == 0
    await morning.submit(10_001, 2)
    assert (await morning.groups.get(10_001)).state is GroupState.OPEN
    await morning.submit(10_001, 3)
    await morning.settle()
    assert await morning.outcomes(10_001) == ["NONE", "ASSIGNED", "ASSIGNED"]
    await morning.audit()


async def test_cancelling_after_the_decision_releases_what_it_held(morning: Morning) -> None:
    await morning.full_group(10_001)
    loads = [view.load_free for view in await morning.riders.page(after=0, limit=10)]
    await morning.cancellations.cancel(10_001, 2)
    assert await morning.outcomes(10_001) == ["ASSIGNED", "RELEASED", "ASSIGNED"]
    assert sum(view.load_free for view in await morning.riders.page(after=0, limit=10)) == sum(loads) + 1
    await morning.audit()
    await morning.reboot()
    await morning.audit()


async def test_a_repeated_cancellation_gets_the_first_answer(morning: Morning) -> None:
    """While the group is open, after its decision, and after a restart."""
    await morning.groups.create(new_group(10_001))
    await morning.submit(10_001, 1)
    first = await morning.cancellations.cancel(10_001, 1, request_id="open")
    await morning.groups.complete(10_001, force=True)
    await morning.full_group(10_002)
    second = await morning.cancellations.cancel(10_002, 2, request_id="closed")
    assert await morning.cancellations.cancel(10_001, 1, request_id="open") == first
    await morning.reboot()
    assert await morning.cancellations.cancel(10_001, 1, request_id="open") == first
    assert await morning.cancellations.cancel(10_002, 2, request_id="closed") == second
    await morning.audit()


async def test_cancelling_between_completion_and_decision(morning: Morning) -> None:
    """The decision line is busy with another group for as long as the test wants."""
    async with morning.line.quiet():
        await morning.groups.create(new_group(10_001))
        for user in (1, 2, 3):
            await morning.submit(10_001, user)
        assert (await morning.groups.get(10_001)).state is GroupState.COMPLETED
        await morning.cancellations.cancel(10_001, 1)
        assert morning.intake.stats()["pending_cups"] == 2
    await morning.settle()
    assert await morning.outcomes(10_001) == ["NONE", "ASSIGNED", "ASSIGNED"]
    assert (await morning.groups.get(10_001)).member_count == 2
    assert morning.intake.stats()["pending_cups"] == 0
    await morning.audit()


async def test_cancelling_what_waits_for_a_retry_or_a_person(morning: Morning) -> None:
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001)
    await morning.cancellations.cancel(10_001, 1)
    await morning.pass_ms(60_000)
    waiting = [row.order_id & 0xFFFFF for row, _ in await morning.interventions.page(after=0, limit=10)]
    assert waiting == [2, 3]
    await morning.cancellations.cancel(10_001, 2)
    waiting = [row.order_id & 0xFFFFF for row, _ in await morning.interventions.page(after=0, limit=10)]
    assert waiting == [3]
    await morning.audit()


async def test_watching_a_group_to_its_end(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=2))
    seen: list[tuple[GroupState, int]] = []

    async def watch() -> None:
        async for group in morning.groups.watch(10_001):
            seen.append((group.state, group.member_count))

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    await morning.submit(10_001, 1)
    await morning.settle()
    await morning.submit(10_001, 2)
    await asyncio.wait_for(watching, 5)
    assert seen[0] == (GroupState.OPEN, 0)
    assert (GroupState.OPEN, 1) in seen
    assert seen[-1] == (GroupState.DECIDED, 2)
    assert len(morning.group_watchers) == 0


async def test_pages_are_newest_first_by_state_and_park(morning: Morning) -> None:
    for n in range(5):
        await morning.groups.create(new_group(10_001 + n, park="north" if n % 2 else "south"))
    await morning.groups.complete(10_001, force=True)
    await morning.settle()
    page = await morning.groups.page(before_seq=2**62, limit=2)
    assert [group.group_id for group in page] == [10_005, 10_004]
    page = await morning.groups.page(before_seq=page[-1].group_seq, limit=10, park="south")
    assert [group.group_id for group in page] == [10_003, 10_001]
    assert [
        g.group_id for g in await morning.groups.page(before_seq=2**62, limit=9, state=GroupState.DECIDED)
    ] == [10_001]
