"""Where a person helps: try again, assign by hand, give up; and the questions anybody may ask."""

from __future__ import annotations

import asyncio

import pytest

from cuptime.dispatch.interventions import Resolution
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import OrderState, Outcome, order_number_of
from tests.unit.dispatch.rig import COLD_BREW, Morning, decision_of, new_group, order_message, rider, shop


async def waiting(morning: Morning, size: int = 2, **order: object) -> list[int]:
    """A group whose orders all wait for a person."""
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001, size=size, **order)
    await morning.pass_ms(30_000)
    return [row.order_id for row, _ in await morning.interventions.page(after=0, limit=100)]


async def test_trying_again_when_there_is_somebody(morning: Morning) -> None:
    first, second = await waiting(morning)
    await morning.riders.upsert([rider(1)])
    decision = await morning.interventions.resolve(
        first, Resolution.RETRY, note="rider 1 is back", request_id="r"
    )
    assert decision is not None
    assert decision.outcome is Outcome.UNASSIGNED
    await morning.pass_ms(100)
    assert await morning.outcomes(10_001) == ["ASSIGNED", "UNASSIGNED"]
    assert [row.order_id for row, _ in await morning.interventions.page(after=0, limit=9)] == [second]
    await morning.interventions.resolve(first, Resolution.RETRY, note="rider 1 is back", request_id="r")
    with pytest.raises(CuptimeError) as gone:
        await morning.interventions.resolve(first, Resolution.RETRY)
    assert gone.value.reason is Reason.INTERVENTION_NOT_FOUND
    await morning.audit()


async def test_trying_again_in_vain_comes_back_here(morning: Morning) -> None:
    first, second = await waiting(morning)
    await morning.interventions.resolve(first, Resolution.RETRY)
    await morning.pass_ms(100)
    rows = await morning.interventions.page(after=0, limit=9)
    assert [(row.order_id, row.attempts) for row, _ in rows] == [(first, 5), (second, 4)]
    await morning.audit()


async def test_a_person_may_go_against_rules_and_it_is_told_which(morning: Morning) -> None:
    await morning.book.publish(
        "rules:\n"
        "  - {name: strike, condition: 'rider.rider_id > 0', action: 'exclude: strike'}\n"
        "  - {name: not_4, condition: 'rider.rider_id == 4', action: 'exclude: no'}\n"
        "  - {name: not_1, condition: 'shop.shop_id == 1', action: 'exclude: no'}\n"
        "  - {name: only_4, condition: 'true', action: 'restrict_riders: 4'}\n"
    )
    await morning.full_group(10_001, size=1)
    await morning.pass_ms(30_000)
    ((waiting_row, told),) = await morning.interventions.page(after=0, limit=9)
    assert told is not None
    assert {reason.subject for reason in decision_of(told).reasons} >= {"rules/not_4", "rules/only_4"}
    await morning.book.publish("rules: []")
    made = await morning.interventions.resolve(waiting_row.order_id, Resolution.ASSIGN, shop_id=1, rider_id=3)
    assert made is not None
    assert (made.outcome, made.rider_id, made.rule_revision) == (Outcome.ASSIGNED, 3, 1)
    assert list(decision_of(made).matched_rules) == ["only_4"]
    explained = await morning.decisions.explain(made.order_id)
    said = {subject: {rule: verdict for rule, verdict, *_ in rules} for subject, rules in explained.pairs}
    assert said == {"riders/3": {"strike": 1, "not_4": 2}, "shops/1": {"not_1": 1}}
    await morning.audit()


async def test_assigning_by_hand_keeps_to_capacity(morning: Morning) -> None:
    await morning.shops.upsert([shop(2, fridge_slots=1)])
    first, second = await waiting(morning, sku=COLD_BREW, cold=True)
    decision = await morning.interventions.resolve(
        first, Resolution.ASSIGN, shop_id=2, rider_id=3, note="by phone"
    )
    assert decision is not None
    assert (decision.outcome, decision.shop_id, decision.rider_id, decision.attempt) == (
        Outcome.ASSIGNED,
        2,
        3,
        5,
    )
    message = decision_of(decision)
    assert (message.shop, message.rider, message.attempt) == ("shops/2", "riders/3", 5)
    with pytest.raises(CuptimeError) as full:
        await morning.interventions.resolve(second, Resolution.ASSIGN, shop_id=2, rider_id=3)
    assert full.value.reason is Reason.CAPACITY_EXCEEDED
    assert full.value.metadata["key"] == "fridge/2"
    for shop_id, rider_id, reason in (
        (99, 3, Reason.SHOP_NOT_FOUND),
        (1, 99, Reason.RIDER_NOT_FOUND),
        (0, 3, Reason.FIELD_REQUIRED),
    ):
        with pytest.raises(CuptimeError) as refusal:
            await morning.interventions.resolve(second, Resolution.ASSIGN, shop_id=shop_id, rider_id=rider_id)
        assert refusal.value.reason is reason
    assert len(await morning.interventions.page(after=0, limit=9)) == 1
    await morning.audit()
    await morning.reboot()
    await morning.audit()


async def test_assigned_by_hand_after_its_pack_out_it_takes_no_fridge_slot(morning: Morning) -> None:
    """It is picked up at once: the gate has given nothing, so the dispatcher must not count it."""
    await morning.shops.upsert([shop(2, fridge_slots=1)])
    (only,) = await waiting(morning, size=1, sku=COLD_BREW, cold=True)
    await morning.pass_ms(20 * 60_000 + 10)
    await morning.interventions.resolve(only, Resolution.ASSIGN, shop_id=2, rider_id=3)
    await morning.pass_ms(5_000)
    await morning.audit()


async def test_a_hand_assignment_that_is_not_committed_holds_nothing(morning: Morning) -> None:
    first, _ = await waiting(morning)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await morning.interventions.resolve(first, Resolution.ASSIGN, shop_id=1, rider_id=1)
    await morning.audit()
    morning.clock.advance(10)
    await morning.interventions.resolve(first, Resolution.ASSIGN, shop_id=1, rider_id=1)
    await morning.audit()


async def test_giving_up_cancels_the_order(morning: Morning) -> None:
    first, _ = await waiting(morning)
    await morning.interventions.resolve(first, Resolution.CANCEL, note="no rider tonight", request_id="r")
    order = await morning.storage.order(first)
    assert order is not None
    assert order.state is OrderState.CANCELLED
    row = await morning.storage.intervention(first)
    assert row is not None
    assert (row.resolution, row.note) == ("CANCELLED", "no rider tonight")
    assert (await morning.groups.get(10_001)).member_count == 1
    await morning.audit()


async def test_two_people_at_once_resolve_once(morning: Morning) -> None:
    first, _ = await waiting(morning)
    answers = await asyncio.gather(
        morning.interventions.resolve(first, Resolution.ASSIGN, shop_id=1, rider_id=1),
        morning.interventions.resolve(first, Resolution.ASSIGN, shop_id=2, rider_id=2),
        morning.interventions.resolve(first, Resolution.CANCEL),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, CuptimeError) for answer in answers) == 2
    await morning.audit()


async def test_no_room_for_more_keeps_the_rest_in_the_delay_queue(morning: Morning) -> None:
    morning.line.person.limit = 1
    await morning.riders.upsert([rider(n, paused=True) for n in range(1, 6)])
    await morning.full_group(10_001)
    await morning.pass_ms(30_000)
    assert morning.metrics.depths["interventions_open"]() == 1
    assert morning.metrics.depths["interventions_put_off"]() == 2
    ((first, _),) = await morning.interventions.page(after=0, limit=9)
    await morning.audit()
    await morning.reboot()
    morning.line.person.limit = 1
    await morning.pass_ms(130_000)
    assert len(await morning.interventions.page(after=0, limit=9)) == 1
    await morning.audit()
    await morning.interventions.resolve(first.order_id, Resolution.CANCEL)
    assert morning.line.person.count == 0
    await morning.pass_ms(60_000)
    assert morning.line.person.count == len(await morning.interventions.page(after=0, limit=9)) == 1
    await morning.riders.upsert([rider(1)])
    await morning.pass_ms(60_000)
    assert sorted(await morning.outcomes(10_001)) == ["ASSIGNED", "UNASSIGNED", "UNASSIGNED"]
    await morning.audit()


async def test_the_open_ones_are_counted_whatever_becomes_of_them(morning: Morning) -> None:
    first, second = await waiting(morning)
    assert morning.line.person.count == 2
    await morning.interventions.resolve(first, Resolution.RETRY)
    assert morning.line.person.count == 1
    await morning.cancellations.cancel(10_001, order_number_of(second))
    assert morning.line.person.count == 0
    await morning.pass_ms(1_000)
    open_now = await morning.storage.interventions_open()
    assert morning.line.person.count == open_now


async def test_get_list_and_preview(morning: Morning) -> None:
    with pytest.raises(CuptimeError) as unknown:
        await morning.decisions.get(5)
    assert unknown.value.reason is Reason.ORDER_NOT_FOUND
    await morning.groups.create(new_group(10_002))
    await morning.submit(10_002, 1)
    with pytest.raises(CuptimeError) as undecided:
        await morning.decisions.get((await morning.orders(10_002))[0].order_id)
    assert undecided.value.reason is Reason.DECISION_NOT_FOUND
    before = await morning.storage.counts()
    rows = await morning.decisions.preview(
        10_002, [order_message(10_002, n).SerializeToString() for n in (1, 2)]
    )
    assert [row[2] for row in rows] == [1, 1]
    assert await morning.storage.counts() == before
    await morning.audit()
    with pytest.raises(CuptimeError) as missing:
        await morning.decisions.preview(10_999, [b""])
    assert missing.value.reason is Reason.GROUP_NOT_FOUND


async def test_explained_under_the_revision_of_its_time(morning: Morning) -> None:
    await morning.book.publish(
        "rules:\n"
        '  - {name: gold, condition: "user.tier == \'gold\'", action: "assign_rider_priority: 3"}\n'
        '  - {name: many, condition: "order.quantity > 5", action: "assign_rider_priority: 1"}\n'
    )
    await morning.full_group(10_001)
    await morning.book.publish("rules: []")
    row = (await morning.latest(10_001))[0]
    assert row is not None
    assert (row.priority, row.rule_revision) == (3, 1)
    assert list(decision_of(row).matched_rules) == ["gold"]
    explained = await morning.decisions.explain(row.order_id)
    assert explained.decision == row
    verdicts = {verdict[0]: verdict[1:] for verdict in explained.verdicts}
    assert verdicts["gold"][0] == 1
    assert verdicts["many"][0] == 2
    assert verdicts["many"][1:4] == ("order.quantity > 5", "order.quantity = 1", "> 5")
