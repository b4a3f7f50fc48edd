"""Improvements in the line: what a pass may and may not do, whatever storage does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from cuptime.dispatch.interventions import Resolution
from cuptime.dispatch.values import Position, Rider
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import DecisionRow, GroupState, Outcome
from cuptime.domain.writes import InsertDecisions
from tests.unit.dispatch.rig import COFFEE, ORIGIN, Morning, decision_of, rider, shop

MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def morning() -> AsyncIterator[Morning]:
    """A server without shops and riders."""
    one = Morning()
    await one.boot()
    yield one
    await one.kill()


def improvements(rows: list[DecisionRow]) -> list[DecisionRow]:
    return [row for row in rows if decision_of(row).supersedes]


async def far_decision(morning: Morning, size: int = 1) -> DecisionRow:
    """A group of orders decided while the only rider is 2 km away."""
    await morning.shops.upsert([shop(1)])
    await morning.riders.upsert([rider(1, latitude=ORIGIN[0] + 0.018)])
    await morning.full_group(500_001, size=size)
    (first, *_) = await morning.latest(500_001)
    assert first is not None
    assert first.rider_id == 1
    return first


async def test_a_nearer_rider_takes_the_place(morning: Morning) -> None:
    first = await far_decision(morning)
    told = decision_of(first)
    assert first.decided_ms < told.commit_time_ms < first.pickup_ms
    await morning.riders.upsert([rider(2)])
    await morning.pass_ms(MINUTE_MS)
    rows = await morning.all_decisions()
    assert [row.outcome.name for row in rows] == ["ASSIGNED", "RELEASED", "ASSIGNED"]
    better = decision_of(rows[2])
    assert (rows[2].rider_id, rows[2].attempt, better.supersedes) == (2, 2, rows[0].sequence)
    assert better.commit_time_ms > told.commit_time_ms
    assert [(r.code, r.subject) for r in better.reasons] == [
        ("ASSIGNMENT_IMPROVED", "riders/1"),
        ("GAINED_TOGETHER", ""),
    ]
    assert better.reasons[0].measured > 1_500
    assert decision_of(rows[1]).commit_time_ms == 0
    await morning.audit()


async def test_rules_that_do_not_compile_any_more_leave_what_they_bound(
    morning: Morning, monkeypatch: pytest.MonkeyPatch
) -> None:
    await morning.book.publish("rules: [{name: all, condition: 'true', action: 'weight: 2'}]")
    first = await far_decision(morning)
    assert decision_of(first).bound_by_rules
    await morning.riders.upsert([rider(2)])

    async def gone(revision: int) -> None:
        raise CuptimeError(Reason.RULES_INVALID, f"{revision} names an action that is not there")

    with monkeypatch.context() as patched:
        patched.setattr(morning.book, "compiled", gone)
        assert await morning.improver.improve() == 0
    assert await morning.improver.improve() == 1
    await morning.audit()


RIDERS = range(1, 7)
QUANTITIES = range(1, 7)


def somewhere(drawn: random.Random, rider_id: int) -> Rider:
    return rider(rider_id, latitude=ORIGIN[0] + drawn.uniform(0, 0.015), max_load=100)


def shutting_rules(drawn: random.Random) -> tuple[str, dict[int, tuple[set[int], int]]]:
    """For each quantity three riders and a shop that may not have the order, by any kind of rule that says so; and some
    weights. What is shut out is told beside the rules, for the judgement of who does not know the engine."""
    lines, shut = ["rules:"], {}
    for quantity in QUANTITIES:
        riders, shop_id = set(drawn.sample(RIDERS, 3)), drawn.randint(1, 3)
        shut[quantity] = (riders, shop_id)
        mine, these = f"order.quantity == {quantity}", ", ".join(map(str, sorted(riders)))
        kinds = [
            (f"{mine}", f"{{restrict_riders: {{except: [{these}]}}}}"),
            (f"{mine} && rider.rider_id in [{these}]", '"exclude: no"'),
        ]
        lines.append("  - {{name: r%d, condition: '{}', action: {}}}".format(*drawn.choice(kinds)) % quantity)
        kinds = [
            (f"{mine}", f"{{restrict_shops: {{except: [{shop_id}]}}}}"),
            (f"{mine} && shop.shop_id == {shop_id}", '"exclude: no"'),
        ]
        lines.append("  - {{name: s%d, condition: '{}', action: {}}}".format(*drawn.choice(kinds)) % quantity)
        weight = drawn.choice(["0.5", "1.5", "4"])
        named = f"name: w{quantity}, condition: '{mine} && rider.rider_id > 3'"
        lines.append(f'  - {{{named}, action: "weight: {weight}"}}')
    return "\n".join(lines), shut


async def test_an_improvement_breaks_no_rule_of_its_decision(morning: Morning) -> None:
    """Riders wander, and meanwhile there are other rules: whoever has an order at any time may have it by the rules
    that it was decided by."""
    drawn = random.Random(20_261_129)
    moved = 0
    shops = [shop(n, latitude=ORIGIN[0] + n / 1_000, stock=((COFFEE, 2_000),)) for n in (1, 2, 3)]
    await morning.shops.upsert(shops)
    for turn in range(6):
        source, shut = shutting_rules(drawn)
        await morning.book.publish(source)
        await morning.riders.upsert([somewhere(drawn, n) for n in RIDERS])
        groups = {500_100 + 10 * turn + quantity: quantity for quantity in QUANTITIES}
        for group_id, quantity in groups.items():
            await morning.full_group(group_id, size=3, quantity=quantity)
        await morning.book.publish(shutting_rules(drawn)[0])
        for _ in range(3):
            await morning.riders.upsert([somewhere(drawn, n) for n in RIDERS])
            moved += await morning.improver.improve()
        rows = await morning.all_decisions()
        for group_id, quantity in groups.items():
            orders = {order.order_id for order in await morning.orders(group_id)}
            had = [row for row in rows if row.order_id in orders and row.outcome is Outcome.ASSIGNED]
            assert {row.order_id for row in had} == orders
            assert all(decision_of(row).bound_by_rules for row in had)
            assert not {row.rider_id for row in had} & shut[quantity][0]
            assert shut[quantity][1] not in {row.shop_id for row in had}
        await morning.audit()
    assert moved > 50, "or nothing was tried"


async def test_not_after_the_commit_time(morning: Morning) -> None:
    first = await far_decision(morning)
    commit_ms = decision_of(first).commit_time_ms
    await morning.pass_ms(commit_ms - morning.clock.now_ms() + 1)
    await morning.riders.upsert([rider(2)])
    await morning.pass_ms(10 * MINUTE_MS)
    assert len(await morning.all_decisions()) == 1
    await morning.audit()


async def test_nothing_provisional_is_no_wake_up(morning: Morning) -> None:
    first = await far_decision(morning)
    await morning.pass_ms(decision_of(first).commit_time_ms - morning.clock.now_ms() + 2 * MINUTE_MS)
    passes = morning.improver.stats.passes
    assert passes > 0
    assert len(morning.provisional) == 0
    await morning.pass_ms(60 * MINUTE_MS)
    assert morning.improver.stats.passes == passes


async def test_what_is_as_good_stays(morning: Morning) -> None:
    await far_decision(morning, size=3)
    await morning.riders.upsert([rider(2, latitude=ORIGIN[0] + 0.0175)])
    await morning.pass_ms(3 * MINUTE_MS)
    assert morning.improver.stats.passes >= 2
    assert len(await morning.all_decisions()) == 3


async def test_a_pass_twice_moves_once(morning: Morning) -> None:
    await far_decision(morning, size=3)
    await morning.riders.upsert([rider(2)])
    assert await morning.improver.improve() == 3
    assert await morning.improver.improve() == 0
    await morning.audit()


async def test_full_riders_change_places(morning: Morning) -> None:
    """Two riders with room for one order each: a swap needs no room that is not there."""
    await morning.shops.upsert([shop(1), shop(2, latitude=ORIGIN[0] + 0.02, stock=(("tea", 10),))])
    near, far = {"latitude": ORIGIN[0]}, {"latitude": ORIGIN[0] + 0.02}
    await morning.riders.upsert([rider(1, max_load=1, **near), rider(2, max_load=1, **far)])
    await morning.full_group(500_001, size=1, sku=COFFEE)
    await morning.full_group(500_002, size=1, sku="tea")
    before = [row.rider_id for group in (500_001, 500_002) for row in await morning.latest(group) if row]
    assert before == [1, 2]
    now_ms = morning.clock.now_ms()
    morning.riders.move([Position(1, far["latitude"], ORIGIN[1], now_ms), Position(2, *ORIGIN, now_ms)])
    assert await morning.improver.improve() == 2
    after = [row.rider_id for group in (500_001, 500_002) for row in await morning.latest(group) if row]
    assert after == [2, 1]
    await morning.audit()


async def test_who_went_off_duty_loses_what_is_not_committed(morning: Morning) -> None:
    await far_decision(morning)
    await morning.riders.upsert([rider(2)])
    await morning.improver.improve()
    await morning.riders.upsert([rider(2, paused=True)])
    assert await morning.improver.improve() == 1
    assert [row.rider_id for row in await morning.all_decisions()] == [1, 1, 2, 2, 1]
    await morning.audit()


async def test_a_cancelled_order_is_left_alone(morning: Morning) -> None:
    first = await far_decision(morning)
    await morning.cancellations.cancel(500_001, 1)
    await morning.riders.upsert([rider(2)])
    assert await morning.improver.improve() == 0
    latest = await morning.storage.decision(first.order_id)
    assert latest is not None
    assert latest.outcome is Outcome.RELEASED
    await morning.audit()


async def test_watchers_hear_of_both(morning: Morning) -> None:
    await far_decision(morning)
    heard: list[DecisionRow] = []

    async def listen() -> None:
        async for rows in morning.feed.watch(0, None):
            heard.extend(rows)
            if len(heard) >= 3:
                return

    listening = asyncio.ensure_future(listen())
    await morning.riders.upsert([rider(2)])
    await morning.improver.improve()
    await asyncio.wait_for(listening, 5)
    assert [row.sequence for row in heard] == [1, 2, 3]
    assert heard == await morning.all_decisions()


@pytest.mark.parametrize("kept", [False, True])
async def test_a_commit_that_failed_changes_nothing_or_everything(morning: Morning, kept: bool) -> None:
    await far_decision(morning, size=2)
    await morning.riders.upsert([rider(2)])
    failures = morning.storage.kept_failures if kept else morning.storage.failures
    failures.append(Reason.STORAGE_UNAVAILABLE)
    moved = await morning.while_time_passes(asyncio.ensure_future(morning.improver.improve()))
    assert moved == (2 if kept else 0)
    await morning.audit()
    assert {row.rider_id for row in await morning.latest(500_001) if row} == ({2} if kept else {1})
    assert await morning.improver.improve() == (0 if kept else 2)
    await morning.audit()


@pytest.mark.parametrize("reason", [Reason.STATE_CONFLICT, Reason.OVERLOADED, Reason.EPOCH_STALE])
async def test_a_refused_commit_changes_nothing(morning: Morning, reason: Reason) -> None:
    await far_decision(morning)
    await morning.riders.upsert([rider(2)])
    morning.storage.failures.append(reason)
    assert await morning.improver.improve() == 0
    assert len(await morning.all_decisions()) == 1
    await morning.audit()


async def test_after_its_pack_out_an_order_takes_its_cups_once(morning: Morning) -> None:
    """Only its rider changes: the one cup that there was is still the one cup."""
    await morning.shops.upsert([shop(1, stock=((COFFEE, 1),))])
    later_ms = morning.clock.now_ms() + 40 * MINUTE_MS
    await morning.riders.upsert([rider(1, latitude=ORIGIN[0] + 0.018, available_from_ms=later_ms)])
    await morning.full_group(500_001, size=1)
    await morning.pass_ms(20 * MINUTE_MS)
    await morning.riders.upsert([rider(2)])
    assert await morning.improver.improve() == 1
    assert [row.used for row in await morning.storage.stock()] == [0]
    await morning.audit()
    await morning.reboot()
    await morning.audit()
    await morning.cancellations.cancel(500_001, 1)
    assert [row.used for row in await morning.storage.stock()] == [1]
    await morning.audit()


async def test_nobody_takes_from_a_gate_that_did_not_follow(morning: Morning) -> None:
    """The near rider has room for one: the order that moves there, not that of a person who waits for the lock."""
    far = {"latitude": ORIGIN[0] + 0.018}
    await morning.shops.upsert([shop(1)])
    await morning.riders.upsert([rider(1, paused=True, **far)])
    await morning.full_group(500_002, size=1)
    await morning.pass_ms(30_000)
    ((waiting, _),) = await morning.interventions.page(after=0, limit=9)
    await morning.riders.upsert([rider(1, **far)])
    await morning.full_group(500_001, size=1)
    await morning.riders.upsert([rider(2, max_load=1)])
    working = morning.gate.stand

    async def stand(*_: object) -> None:
        morning.gate.stand = working  # type: ignore[method-assign]
        raise CuptimeError(Reason.GATE_UNAVAILABLE)

    morning.gate.stand = stand  # type: ignore[method-assign]
    morning.storage.gate = asyncio.Event()
    better = asyncio.ensure_future(morning.improver.improve())
    await _until(morning.counters.lock.locked)
    choice = morning.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=2)
    by_hand = asyncio.ensure_future(choice)
    await _until(lambda: bool(morning.counters.lock._waiters))  # type: ignore[attr-defined]
    morning.storage.gate.set()
    assert await better == 1
    with pytest.raises(CuptimeError) as refused:
        await by_hand
    assert refused.value.reason is Reason.CAPACITY_EXCEEDED
    await morning.settle()
    await morning.audit()


async def _until(holds: Callable[[], bool]) -> None:
    for _ in range(100):
        if holds():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def test_what_was_provisional_is_improved_after_a_restart(morning: Morning) -> None:
    await far_decision(morning, size=2)
    await morning.reboot()
    assert len(morning.provisional) == 2
    await morning.riders.upsert([rider(2)])
    await morning.pass_ms(MINUTE_MS)
    assert {row.rider_id for row in await morning.latest(500_001) if row} == {2}
    await morning.audit()


@pytest.mark.parametrize("seed", range(12))
async def test_never_lost_never_doubled_never_oversold(morning: Morning, seed: int) -> None:
    """Random mornings: orders, riders that move and pause, cancellations, failures and restarts between passes."""
    chance = random.Random(seed)
    await morning.shops.upsert(
        [shop(n, daily_capacity=12, fridge_slots=3, latitude=ORIGIN[0] + n * 0.002) for n in (1, 2, 3)]
    )
    await morning.riders.upsert([rider(n, max_load=chance.randint(2, 6)) for n in range(1, 8)])
    for step in range(25):
        what = chance.random()
        number = chance.randint(1, 7)
        if what < 0.4:
            await morning.full_group(500_001 + step, size=chance.randint(1, 3), cold=chance.random() < 0.4)
        elif what < 0.6:
            place = (ORIGIN[0] + chance.uniform(-0.02, 0.02), ORIGIN[1] + chance.uniform(-0.02, 0.02))
            morning.riders.move([Position(number, *place, morning.clock.now_ms())])
        elif what < 0.7:
            paused = chance.random() < 0.5
            await morning.riders.upsert([rider(number, max_load=chance.randint(1, 7) + 30, paused=paused)])
        elif what < 0.8:
            await _cancel_one(morning, chance)
        elif what < 0.87:
            fails = chance.choice([morning.storage.failures, morning.storage.kept_failures])
            morning.storage.matching = lambda writes: (
                isinstance(writes[0], InsertDecisions) and len(writes) == 1
            )
            fails.append(Reason.STORAGE_UNAVAILABLE)
        elif what < 0.92:
            await morning.reboot()
        await morning.pass_ms(chance.choice([1_000, 20_000, MINUTE_MS, 2 * MINUTE_MS]))
        await morning.audit()
        await _committed_stays(morning)
    assert morning.improver.stats.failed <= 3


async def _cancel_one(morning: Morning, chance: random.Random) -> None:
    standing = await morning.storage.standing_assignments(after=0, limit=10_000)
    if standing:
        row = chance.choice(standing)
        group = await morning.storage.group_by_seq(row.order_id >> 20)
        assert group is not None
        if group.state is GroupState.DECIDED:
            await morning.cancellations.cancel(group.group_id, row.order_id & 0xFFFFF)


async def _committed_stays(morning: Morning) -> None:
    """No row releases an assignment for a better one after it was committed."""
    before: dict[int, DecisionRow] = {}
    for row in await morning.all_decisions():
        told = decision_of(row)
        if told.supersedes:
            old = before[row.order_id]
            assert old.sequence == told.supersedes
            assert row.decided_ms <= decision_of(old).commit_time_ms
        if row.outcome is Outcome.ASSIGNED:
            before[row.order_id] = row


async def test_the_same_morning_gives_the_same_ledger() -> None:
    async def run() -> list[DecisionRow]:
        morning = Morning()
        await morning.boot()
        chance = random.Random(7)
        await morning.stock_up()
        for group in range(6):
            await morning.full_group(500_001 + group, size=3)
            for number in range(1, 6):
                place = (ORIGIN[0] + chance.uniform(-0.02, 0.02), ORIGIN[1] + chance.uniform(-0.02, 0.02))
                morning.riders.move([Position(number, *place, morning.clock.now_ms())])
            await morning.pass_ms(MINUTE_MS)
        await morning.kill()
        return await morning.all_decisions()

    first, second = await run(), await run()
    assert improvements(first)
    assert first == second
