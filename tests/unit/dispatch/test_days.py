"""Days, shifts and counts of stock: what is taken stays taken as long as it should, whatever the clock says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from cuptime.dispatch.days import Calendar
from cuptime.dispatch.standing import RETIRED_AFTER_MS, STALE_ENDS_MAX, Standing
from cuptime.dispatch.values import DAY_MS, StockChange
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Reservation
from cuptime.gate.in_process import InProcessGate
from tests.unit.dispatch.rig import COFFEE, COLD_BREW, HOUR_MS, START_MS, Morning, rider, shop

MIDNIGHT_MS = START_MS - START_MS % DAY_MS + DAY_MS
MINUTE_MS = 60_000


@pytest_asyncio.fixture
async def evening() -> AsyncIterator[Morning]:
    """A server at 23:30 UTC with a shop and a rider until 08:00."""
    rig = Morning(MIDNIGHT_MS - 30 * MINUTE_MS)
    await rig.boot()
    await rig.shops.upsert([shop(1)])
    await rig.riders.upsert([night_rider()])
    yield rig
    await rig.kill()


def night_rider(**changes: int) -> object:
    shift = {"available_from_ms": MIDNIGHT_MS - HOUR_MS, "available_until_ms": MIDNIGHT_MS + 8 * HOUR_MS}
    return rider(1, **{**shift, **changes})


def held_by_the_gate(rig: Morning) -> int:
    assert isinstance(rig.gate, InProcessGate)
    return len(rig.gate._counters)


async def decided(rig: Morning, group_id: int, **order: object) -> str:
    await rig.full_group(group_id, size=1, **order)  # type: ignore[arg-type]
    await rig.audit()
    return (await rig.outcomes(group_id))[0]


# --- midnight -----------------------------------------------------------------------------------------------------
async def test_a_fridge_slot_is_held_over_midnight_until_its_pick_up(evening: Morning) -> None:
    """Packed out at 23:50 and picked up after midnight, by a rider who is on the way."""
    await evening.shops.upsert([shop(1, fridge_slots=1)])
    await evening.riders.upsert([night_rider(available_from_ms=MIDNIGHT_MS + 20 * MINUTE_MS)])
    assert await decided(evening, 10_001, sku=COLD_BREW, cold=True) == "ASSIGNED"
    row = (await evening.latest(10_001))[0]
    assert row is not None
    assert row.pack_out_ms < MIDNIGHT_MS < row.pickup_ms
    await evening.pass_ms(MIDNIGHT_MS + MINUTE_MS - evening.clock.now_ms())
    assert await decided(evening, 10_002, sku=COLD_BREW, cold=True) == "UNASSIGNED"
    await evening.reboot()
    assert await decided(evening, 10_003, sku=COLD_BREW, cold=True) == "UNASSIGNED"
    await evening.pass_ms(row.pickup_ms + 1_000 - evening.clock.now_ms())
    assert await decided(evening, 10_004, sku=COLD_BREW, cold=True) == "ASSIGNED"


@pytest.mark.parametrize("restart", [False, True])
async def test_the_load_of_a_shift_that_crosses_midnight_counts_on(evening: Morning, restart: bool) -> None:
    await evening.riders.upsert([night_rider(max_load=2)])
    assert await decided(evening, 10_001) == "ASSIGNED"
    await evening.pass_ms(2 * HOUR_MS)
    if restart:
        await evening.reboot()
    assert await decided(evening, 10_002) == "ASSIGNED"
    assert await decided(evening, 10_003) == "UNASSIGNED"
    next_night = {
        "available_from_ms": MIDNIGHT_MS + DAY_MS,
        "available_until_ms": MIDNIGHT_MS + DAY_MS + HOUR_MS,
    }
    await evening.pass_ms(7 * HOUR_MS)
    await evening.riders.upsert([night_rider(max_load=2, **next_night)])
    assert (await evening.riders.get(1)).load_free == 2
    await evening.audit()


async def test_an_undelivered_order_counts_in_the_next_shift_too(evening: Morning) -> None:
    assert await decided(evening, 10_001) == "ASSIGNED"
    later = {"available_from_ms": MIDNIGHT_MS + 3 * HOUR_MS, "available_until_ms": MIDNIGHT_MS + 9 * HOUR_MS}
    await evening.riders.upsert([night_rider(max_load=5, **later)])
    assert (await evening.riders.get(1)).load_free == 4
    await evening.audit()
    await evening.pass_ms(HOUR_MS)
    assert (await evening.riders.get(1)).load_free == 5
    await evening.audit()


async def test_a_longer_shift_counts_what_was_delivered_in_it(evening: Morning) -> None:
    short = {"available_until_ms": MIDNIGHT_MS + HOUR_MS}
    await evening.riders.upsert([night_rider(max_load=5, **short)])
    assert await decided(evening, 10_001) == "ASSIGNED"
    await evening.pass_ms(2 * HOUR_MS)
    assert (await evening.riders.get(1)).load_free == 5
    answer = await evening.riders.upsert([night_rider(max_load=5)])
    assert answer == [await evening.riders.get(1)]
    assert answer[0].load_free == 4
    await evening.audit()
    await evening.reboot()
    await evening.audit()


async def test_stock_does_not_come_back_at_midnight(evening: Morning) -> None:
    await evening.shops.upsert([shop(1, stock=((COFFEE, 3),))])
    assert await decided(evening, 10_001, quantity=2) == "ASSIGNED"
    await evening.pass_ms(3 * DAY_MS)
    fresh = {
        "available_from_ms": evening.clock.now_ms(),
        "available_until_ms": evening.clock.now_ms() + DAY_MS,
    }
    await evening.riders.upsert([night_rider(**fresh)])
    assert (await evening.shops.get(1)).stock == ((COFFEE, 3, 1),)
    assert len(evening.resources.standing) == 0, "it is retired"
    await evening.reboot()
    assert (await evening.shops.get(1)).stock == ((COFFEE, 3, 1),)
    code, _ = await evening.submit_raw_new(10_002, quantity=2)
    assert code != 0, "admission knows as well"
    await evening.shops.adjust_stock([StockChange(1, COFFEE, 1)])
    assert await decided(evening, 10_003, quantity=2) == "ASSIGNED"
    assert (await evening.shops.get(1)).stock == ((COFFEE, 4, 0),)


async def test_a_count_of_the_stock_knows_what_was_packed_out_before(evening: Morning) -> None:
    await evening.shops.upsert([shop(1, stock=((COFFEE, 10),))])
    assert await decided(evening, 10_001, quantity=4) == "ASSIGNED"
    assert await decided(evening, 10_002, quantity=1, pack_out_after_ms=2 * HOUR_MS) == "ASSIGNED"
    await evening.pass_ms(HOUR_MS)
    answer = await evening.shops.upsert([shop(1, stock=((COFFEE, 6),))])
    assert answer == [await evening.shops.get(1)]
    await evening.audit()
    assert (await evening.shops.get(1)).stock == ((COFFEE, 6, 5),), (
        "what is still to be packed out is on hand"
    )
    assert evening.intake._intake is not None
    assert evening.intake._intake.cups(COFFEE) == (5, 0)
    await evening.reboot()
    assert (await evening.shops.get(1)).stock == ((COFFEE, 6, 5),)
    await evening.pass_ms(2 * DAY_MS)
    assert (await evening.shops.get(1)).stock == ((COFFEE, 6, 5),)
    await evening.audit()


async def test_cups_of_an_order_cancelled_after_its_pack_out_do_not_come_back(evening: Morning) -> None:
    await evening.shops.upsert([shop(1, stock=((COFFEE, 10),))])
    assert await decided(evening, 10_001, quantity=4) == "ASSIGNED"
    assert await decided(evening, 10_002, quantity=2) == "ASSIGNED"
    await evening.cancellations.cancel(10_002, 1)
    assert (await evening.shops.get(1)).stock == ((COFFEE, 10, 6),)
    await evening.pass_ms(HOUR_MS)
    await evening.cancellations.cancel(10_001, 1)
    assert (await evening.shops.get(1)).stock == ((COFFEE, 10, 6),)
    await evening.audit()
    await evening.reboot()
    assert (await evening.shops.get(1)).stock == ((COFFEE, 10, 6),)
    await evening.audit()


# --- days ---------------------------------------------------------------------------------------------------------
async def test_capacity_counts_by_the_day_of_the_pack_out(evening: Morning) -> None:
    """23:30 now: a group may be packed out today or tomorrow, and each day has its capacity."""
    await evening.shops.upsert([shop(1, daily_capacity=1)])
    today, tomorrow = {"pack_out_after_ms": 10 * MINUTE_MS}, {"pack_out_after_ms": 40 * MINUTE_MS}
    assert await decided(evening, 10_001, **tomorrow) == "ASSIGNED"
    assert await decided(evening, 10_002, **today) == "ASSIGNED"
    assert await decided(evening, 10_003, **tomorrow) == "UNASSIGNED"
    assert await decided(evening, 10_004, **today) == "UNASSIGNED"
    await evening.reboot()
    assert await decided(evening, 10_005, **tomorrow) == "UNASSIGNED"
    assert await decided(evening, 10_006, **today) == "UNASSIGNED"


async def test_a_preview_asks_for_its_own_day(evening: Morning) -> None:
    await evening.shops.upsert([shop(1, daily_capacity=1)])
    assert await decided(evening, 10_001, pack_out_after_ms=40 * MINUTE_MS) == "ASSIGNED"
    bodies = []
    for group_id, minutes, outcome in ((10_002, 40, 2), (10_003, 10, 1), (10_004, 40, 2)):
        group = await evening.empty_group(group_id, pack_out_after_ms=minutes * MINUTE_MS)
        bodies = [evening.order_body(group.group_id, 7)]
        (row,) = await evening.decisions.preview(group_id, bodies)
        assert row[2] == outcome, (group_id, minutes)
    await evening.audit()


async def test_groups_of_two_days_in_one_batch(evening: Morning) -> None:
    await evening.shops.upsert([shop(1, daily_capacity=2)])
    groups = [
        await evening.empty_group(10_001 + n, capacity=1, pack_out_after_ms=(10 if n % 2 else 40) * MINUTE_MS)
        for n in range(8)
    ]
    async with evening.line.quiet():
        for group in groups:
            await evening.submit(group.group_id, 5, timestamp_ms=evening.clock.now_ms())
    await evening.settle()
    assert evening.line.stats.batches == 1
    outcomes = [(await evening.outcomes(group.group_id))[0] for group in groups]
    assert outcomes[::2].count("ASSIGNED") == 2
    assert outcomes[1::2].count("ASSIGNED") == 2
    await evening.audit()


@pytest.mark.parametrize(("zone", "outcome"), [("UTC", "UNASSIGNED"), ("Asia/Shanghai", "ASSIGNED")])
async def test_the_day_is_that_of_the_park(zone: str, outcome: str) -> None:
    """At 16:00 UTC a day ends in Shanghai."""
    rig = Morning(MIDNIGHT_MS - 9 * HOUR_MS, zone)
    await rig.boot()
    await rig.shops.upsert([shop(1, daily_capacity=1)])
    await rig.riders.upsert([rider(1, rig.clock.now_ms())])
    assert await decided(rig, 10_001) == "ASSIGNED"
    await rig.pass_ms(50 * MINUTE_MS)
    assert await decided(rig, 10_002) == outcome
    await rig.kill()


@given(
    st.sampled_from(
        ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo"]
    ),
    st.integers(1_000_000_000_000, 1_900_000_000_000),
)
def test_every_instant_is_in_its_day(zone: str, at_ms: int) -> None:
    """Also where the clock skips midnight or comes back to it."""
    calendar = Calendar(zone)
    day = calendar.day(at_ms)
    assert day.from_ms <= at_ms < day.until_ms
    for inside_ms in (day.from_ms, at_ms, day.until_ms - 1):
        local = datetime.fromtimestamp(inside_ms // 1_000, UTC).astimezone(ZoneInfo(zone))
        assert f"{local:%Y%m%d}" == day.name
        assert calendar.day(inside_ms) == day
    assert calendar.day(day.until_ms).name > day.name


# --- memory -------------------------------------------------------------------------------------------------------
async def test_what_is_over_is_forgotten_in_memory_and_gate(evening: Morning) -> None:
    for n in range(30):
        assert await decided(evening, 10_001 + n) == "ASSIGNED"
    assert len(evening.resources.standing) == held_by_the_gate(evening) == 30
    await evening.pass_ms(2 * DAY_MS)
    assert len(evening.resources.standing) == held_by_the_gate(evening) == 0
    assert await evening.storage.standing_assignments(after=0, limit=99, live_only=True) == []
    assert len(await evening.storage.standing_assignments(after=0, limit=99)) == 30
    await evening.audit()
    await evening.cancellations.cancel(10_001, 1)
    await evening.audit()
    await evening.reboot()
    await evening.audit()


async def test_a_sweep_that_fails_is_repeated(evening: Morning) -> None:
    assert await decided(evening, 10_001) == "ASSIGNED"
    before = len(evening.resources.standing)
    evening.storage.failures = [Reason.STORAGE_UNAVAILABLE] * 2
    evening.clock.advance(2 * DAY_MS)
    with pytest.raises(CuptimeError):
        await evening.line._retirement.run()
    assert len(evening.resources.standing) == before == 1
    evening.storage.failures = []
    assert await evening.line._retirement.run() is False
    assert len(evening.resources.standing) == 0


async def test_a_day_that_was_not_learned_is_asked_for_again(
    evening: Morning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate does not answer when the dispatcher turns to tomorrow: it does not take today's room for tomorrow's."""
    await evening.shops.upsert([shop(1, daily_capacity=1)])
    await evening.full_group(10_001, size=1)
    assert await evening.outcomes(10_001) == ["ASSIGNED"]
    await evening.empty_group(10_002, capacity=1, pack_out_after_ms=HOUR_MS)
    working = evening.gate.free

    async def away(_: object) -> list[int]:
        monkeypatch.setattr(evening.gate, "free", working)
        raise CuptimeError(Reason.GATE_UNAVAILABLE)

    monkeypatch.setattr(evening.gate, "free", away)
    await evening.submit(10_002, 7, timestamp_ms=evening.clock.now_ms())
    await evening.pass_ms(1_000)
    assert await evening.outcomes(10_002) == ["ASSIGNED"]
    await evening.audit()


@pytest.mark.parametrize("lost", ["expire", "free"])
async def test_what_came_free_is_known_though_an_answer_was_lost(
    evening: Morning, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    """The one fridge slot comes free at pick-up, and the gate's answer about it does not arrive."""
    await evening.shops.upsert([shop(1, fridge_slots=1)])
    await evening.full_group(10_001, size=1, sku=COLD_BREW, cold=True)
    (row,) = await evening.latest(10_001)
    assert row is not None
    await evening.pass_ms(row.pickup_ms - evening.clock.now_ms() - 1_000)
    working = getattr(evening.gate, lost)

    async def once(asked: object) -> object:
        monkeypatch.setattr(evening.gate, lost, working)
        await working(asked)
        raise CuptimeError(Reason.GATE_UNAVAILABLE)

    monkeypatch.setattr(evening.gate, lost, once)
    await evening.pass_ms(10_000)
    assert getattr(evening.gate, lost) == working
    await evening.audit()
    assert await decided(evening, 10_002, sku=COLD_BREW, cold=True) == "ASSIGNED"


def test_ends_that_hold_no_more_do_not_pile_up() -> None:
    standing = Standing(Calendar())
    end_ms = START_MS + 20_000 * MINUTE_MS
    for load_until_ms in range(START_MS, end_ms, MINUTE_MS):
        number = load_until_ms // MINUTE_MS % 100 + 1
        held = Reservation(number, 1, 1, COFFEE, 1, False, START_MS, START_MS, START_MS, "", load_until_ms)
        standing.put(held)
    assert len(standing._ends) <= 2 * len(standing) + STALE_ENDS_MAX
    assert len(standing.ended(end_ms + RETIRED_AFTER_MS, 1_000)) == len(standing) == 100
