"""Shops and riders: checked, durable, then known to the gate, the dispatcher and admission."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cuptime.dispatch.values import DAY_MS, FAR_MS, Position, ShopView, StockChange, open_window_ms
from cuptime.domain.errors import CuptimeError, Reason
from tests.unit.dispatch.rig import COFFEE, COLD_BREW, HOUR_MS, START_MS, Morning, rider, shop


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"shop_id": 0}, "shops[1].shop_id"),
        ({"latitude": 0.0, "longitude": 0.0}, "shops[1].location"),
        ({"latitude": float("inf")}, "shops[1].location.latitude"),
        ({"daily_capacity": -1}, "shops[1].daily_capacity"),
        ({"daily_capacity": 100_001}, "shops[1].daily_capacity"),
        ({"fridge_slots": 10_001}, "shops[1].fridge_slots"),
        ({"open_from_ms": 5, "open_until_ms": 5}, "shops[1].open_until_ms"),
        ({"open_until_ms": DAY_MS + 1}, "shops[1].open_until_ms"),
        ({"stock": (("", 1),)}, "shops[1].stock[0].sku"),
        ({"stock": (("a", -1),)}, "shops[1].stock[0].on_hand"),
        ({"stock": (("a", 1), ("a", 2))}, "shops[1].stock[1].sku"),
        ({"shop_id": 7}, "shops[1].shop_id"),
        ({"display_name": "x" * 201}, "shops[1].display_name"),
    ],
)
async def test_one_bad_shop_keeps_all_out(morning: Morning, change: dict[str, Any], field: str) -> None:
    before = await morning.storage.counts()
    values = {"shop_id": 8, **change}
    with pytest.raises(CuptimeError) as refusal:
        await morning.shops.upsert([shop(7), shop(values.pop("shop_id"), **values)])
    assert refusal.value.field == field
    assert await morning.storage.counts() == before
    assert len(morning.resources.shops) == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rider_id": -1}, "riders[0].rider_id"),
        ({"available_until_ms": START_MS - HOUR_MS}, "riders[0].available_until_time_ms"),
        ({"max_load": 1_001}, "riders[0].max_load"),
        ({"min_temperature_c": 20, "max_temperature_c": 10}, "riders[0].max_temperature_c"),
        ({"speed_m_per_min": -1}, "riders[0].speed_m_per_min"),
    ],
)
async def test_a_bad_rider_names_its_field(morning: Morning, change: dict[str, Any], field: str) -> None:
    values = {"rider_id": 9, **change}
    with pytest.raises(CuptimeError) as refusal:
        await morning.riders.upsert([rider(values.pop("rider_id"), **values)])
    assert refusal.value.field == field


async def test_upserts_count_etags_and_answer_repeats(morning: Morning) -> None:
    first = await morning.shops.upsert([shop(9)], request_id="r")
    assert first[0].shop.etag == 1
    assert await morning.shops.upsert([shop(9)], request_id="r") == first
    with pytest.raises(CuptimeError) as reused:
        await morning.shops.upsert([shop(9, paused=True)], request_id="r")
    assert reused.value.reason is Reason.REQUEST_ID_REUSED
    assert (await morning.shops.upsert([shop(9, paused=True)]))[0].shop.etag == 2
    assert (await morning.shops.upsert([shop(10)], validate_only=True))[0].capacity_free == 1_000
    with pytest.raises(CuptimeError) as missing:
        await morning.shops.get(10)
    assert missing.value.reason is Reason.SHOP_NOT_FOUND


async def test_a_repeat_gets_the_first_answer_whatever_came_between(morning: Morning) -> None:
    """Also after a restart; and the first answer is what a read says after it."""
    calls = {
        "new": lambda: morning.shops.upsert([shop(9)], request_id="new"),
        "known": lambda: morning.shops.upsert([shop(1, daily_capacity=500)], request_id="known"),
        "update": lambda: morning.shops.update(
            shop(1, fridge_slots=3), ["fridge_slots"], request_id="update"
        ),
        "adjust": lambda: morning.shops.adjust_stock([StockChange(1, COFFEE, -2)], request_id="adjust"),
        "riders": lambda: morning.riders.upsert([rider(1, max_load=7), rider(8)], request_id="riders"),
    }
    await morning.full_group(10_001)
    first: dict[str, Any] = {}
    for name, call in calls.items():
        first[name] = await call()
        views = first[name] if isinstance(first[name], list) else [first[name]]
        for view in views:
            if isinstance(view, ShopView):
                assert view == await morning.shops.get(view.shop.shop_id)
            else:
                assert view == await morning.riders.get(view.rider.rider_id)
    await morning.full_group(10_002)
    await morning.shops.upsert([shop(1), shop(9, paused=True)])
    await morning.riders.upsert([rider(1, paused=True)])
    assert {name: await call() for name, call in calls.items()} == first
    await morning.reboot()
    assert {name: await call() for name, call in calls.items()} == first


async def test_a_commit_that_fails_changes_nothing_in_memory(morning: Morning) -> None:
    before = await morning.shops.get(1)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await morning.shops.upsert([shop(1, daily_capacity=7)])
    assert await morning.shops.get(1) == before
    await morning.audit()


async def test_a_caller_who_hangs_up_leaves_memory_and_storage_agreed(morning: Morning) -> None:
    gate = morning.storage.gate = asyncio.Event()
    asking = asyncio.ensure_future(morning.shops.upsert([shop(1, daily_capacity=7)]))
    for _ in range(10):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait([asking])
    gate.set()
    async with morning.counters.lock:
        pass
    assert (await morning.shops.get(1)).capacity_free == 7
    await morning.audit()


async def test_an_update_takes_only_what_the_mask_names(morning: Morning) -> None:
    before = (await morning.shops.get(1)).shop
    changed = shop(1, daily_capacity=5, display_name="other", latitude=52.01)
    view = await morning.shops.update(changed, ["daily_capacity", "location"], etag=before.etag)
    assert (view.shop.daily_capacity, view.shop.latitude) == (5, 52.01)
    assert (view.shop.display_name, view.shop.stock) == (before.display_name, before.stock)
    for mask, etag, reason in (
        ([], 0, Reason.FIELD_REQUIRED),
        (["stock"], 0, Reason.FIELD_UNKNOWN),
        (["paused"], before.etag, Reason.ETAG_MISMATCH),
    ):
        with pytest.raises(CuptimeError) as refusal:
            await morning.shops.update(changed, mask, etag=etag)
        assert refusal.value.reason is reason
    await morning.reboot()
    assert (await morning.shops.get(1)).shop == view.shop
    await morning.audit()


async def test_stock_never_falls_below_what_is_reserved(morning: Morning) -> None:
    await morning.shops.upsert([shop(n, stock=((COFFEE, 10 if n == 1 else 0),)) for n in (1, 2, 3)])
    await morning.full_group(10_001, quantity=2)
    with pytest.raises(CuptimeError) as refusal:
        await morning.shops.adjust_stock([StockChange(1, COFFEE, -4), StockChange(1, COFFEE, -1)])
    assert refusal.value.reason is Reason.CAPACITY_EXCEEDED
    assert (await morning.shops.get(1)).stock == ((COFFEE, 10, 4),)
    await morning.shops.adjust_stock([StockChange(1, COFFEE, -4), StockChange(2, COFFEE, 3, fridge_delta=-1)])
    assert (await morning.shops.get(1)).stock == ((COFFEE, 6, 0),)
    assert (await morning.shops.get(2)).fridge_free == 99
    await morning.audit()
    for change, reason in (
        (StockChange(1, "unknown", 1), Reason.SKU_NOT_FOUND),
        (StockChange(99, COFFEE, 1), Reason.SHOP_NOT_FOUND),
        (StockChange(1, "", 0, 0), Reason.FIELD_REQUIRED),
        (StockChange(1, "", 0, -101), Reason.CAPACITY_EXCEEDED),
    ):
        with pytest.raises(CuptimeError) as refusal:
            await morning.shops.adjust_stock([change])
        assert refusal.value.reason is reason


async def test_cups_known_to_admission_follow(morning: Morning) -> None:
    assert morning.intake._intake is not None
    cups = morning.intake._intake.cups
    assert cups(COFFEE) == (30_000, 0)
    await morning.shops.adjust_stock([StockChange(1, COFFEE, -100)])
    assert cups(COFFEE) == (29_900, 0)
    await morning.full_group(10_001, quantity=10)
    assert cups(COFFEE) == (29_870, 0)
    await morning.shops.upsert([shop(n, stock=((COFFEE, 100),)) for n in (1, 2, 3)])
    assert cups(COFFEE) == (270, 0)
    assert cups(COLD_BREW) == (-1, 0)
    await morning.reboot()
    assert morning.intake._intake is not None
    assert morning.intake._intake.cups(COFFEE) == (270, 0)
    assert morning.intake._intake.cups(COLD_BREW) == (-1, 0)
    await morning.audit()


async def test_lowering_a_limit_below_what_is_taken_gives_nothing_new(morning: Morning) -> None:
    await morning.shops.upsert([shop(2, paused=True), shop(3, paused=True)])
    await morning.full_group(10_001)
    await morning.shops.update(shop(1, daily_capacity=2), ["daily_capacity"])
    assert (await morning.shops.get(1)).capacity_free == 0
    await morning.full_group(10_002, size=1)
    assert await morning.outcomes(10_002) == ["UNASSIGNED"]
    await morning.cancellations.cancel(10_001, 1)
    await morning.cancellations.cancel(10_001, 2)
    assert (await morning.shops.get(1)).capacity_free == 1
    await morning.pass_ms(2_000)
    assert await morning.outcomes(10_002) == ["ASSIGNED"]


async def test_positions_count_at_once_and_are_saved_together(morning: Morning) -> None:
    now_ms = morning.clock.now_ms()
    before = morning.storage.commits
    taken = morning.riders.move(
        [
            Position(1, 52.1, 13.1, now_ms),
            Position(1, 52.2, 13.1, now_ms - 1),
            Position(99, 52.1, 13.1, now_ms),
            Position(2, 52.3, 13.1, now_ms),
        ]
    )
    assert (taken.accepted, taken.stale, taken.unknown) == (2, 1, 1)
    assert (await morning.riders.get(1)).rider.latitude == 52.1
    assert morning.storage.commits == before
    await morning.pass_ms(5_100)
    assert morning.storage.commits == before + 1
    await morning.reboot()
    assert (await morning.riders.get(1)).rider.latitude == 52.1
    with pytest.raises(CuptimeError) as refusal:
        morning.riders.move([Position(1, 52.1, 13.1, now_ms + 1), Position(2, 95.0, 13.1, now_ms + 1)])
    assert refusal.value.field == "positions[1].location.latitude"
    assert (await morning.riders.get(1)).rider.latitude == 52.1


async def test_a_phone_whose_clock_is_ahead_is_still_followed(morning: Morning) -> None:
    now_ms = morning.clock.now_ms()
    morning.riders.move([Position(1, 52.1, 13.1, now_ms + 86_400_000)])
    morning.clock.advance(1_000)
    taken = morning.riders.move([Position(1, 52.2, 13.1, now_ms + 1_000)])
    assert (taken.accepted, taken.stale) == (1, 0)
    assert (await morning.riders.get(1)).rider.latitude == 52.2


async def test_a_rider_who_rode_away_is_not_chosen(morning: Morning) -> None:
    await morning.riders.upsert([rider(n, paused=True) for n in range(2, 6)])
    morning.riders.move([Position(1, 52.5, 13.0, morning.clock.now_ms())])
    await morning.full_group(10_001)
    assert await morning.outcomes(10_001) == ["UNASSIGNED"] * 3


async def test_opening_hours_are_those_of_the_hour(morning: Morning) -> None:
    """09:00 now, pack-out at 09:18: shops are open 09:10 to 10:00, and again tomorrow."""
    hours = {"open_from_ms": 9 * HOUR_MS + 600_000, "open_until_ms": 10 * HOUR_MS}
    await morning.shops.upsert([shop(n, **hours) for n in (1, 2, 3)])
    await morning.full_group(10_001, size=1)
    assert await morning.outcomes(10_001) == ["ASSIGNED"]
    await morning.pass_ms(HOUR_MS + 1_000)
    await morning.full_group(10_002, size=1)
    assert await morning.outcomes(10_002) == ["UNASSIGNED"]
    await morning.pass_ms(23 * HOUR_MS)
    await morning.riders.upsert([rider(n, morning.clock.now_ms()) for n in range(1, 6)])
    await morning.full_group(10_003, size=1)
    assert await morning.outcomes(10_003) == ["ASSIGNED"]


def test_windows_over_midnight_and_all_day() -> None:
    midnight_ms = START_MS - START_MS % DAY_MS
    night = shop(1, open_from_ms=22 * HOUR_MS, open_until_ms=2 * HOUR_MS)
    assert open_window_ms(night, midnight_ms + HOUR_MS) == (
        midnight_ms - 2 * HOUR_MS,
        midnight_ms + 2 * HOUR_MS,
    )
    assert open_window_ms(night, midnight_ms + 3 * HOUR_MS) == (
        midnight_ms + 22 * HOUR_MS,
        midnight_ms + 26 * HOUR_MS,
    )
    assert open_window_ms(shop(1), midnight_ms) == (0, FAR_MS)
    assert open_window_ms(shop(1, open_until_ms=DAY_MS), midnight_ms) == (0, FAR_MS)
