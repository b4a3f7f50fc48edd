"""Decisions are improved every second while all that they stand on is changed: orders are cancelled, riders moved and
paused, capacity and stock lowered, rules replaced, and the gate's Redis ended and emptied or the server killed. At rest
no counter differs from what a start makes of storage, and no order is assigned twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import redis

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as pb
from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.campus import PLACE, SKU
from tests.integration.door import Door, Refusal, Tables
from tests.real_servers import RedisServer

SHOPS: Final = 4
RIDERS: Final = 12
ROUNDS: Final = 3
GROUPS_A_ROUND: Final = 16
CANCELLED_AMONG: Final = 60
"""The newest orders, one of which is cancelled: most are provisional."""
TOLD_REFUSALS: Final = {"STATE_CONFLICT", "CAPACITY_EXCEEDED", "GATE_UNAVAILABLE", "EPOCH_STALE"}


class Churn:
    """Orders, and whoever changes what they stand on."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._group_id = 60_000
        self.orders: list[str] = []

    def _place(self) -> dict[str, float]:
        return {name: value + self._dice.uniform(-0.02, 0.02) for name, value in PLACE.items()}

    def _rider(self, number: int) -> dict[str, Any]:
        paused = self._dice.random() < 0.3
        return campus.rider(number, location=self._place(), max_load=30, paused=paused)

    async def furnish(self, door: Door) -> None:
        shops = [campus.shop(n, location=self._place()) for n in range(1, SHOPS + 1)]
        await door.call("ShopService/BatchUpsertShops", shops=shops)
        await door.call(
            "RiderService/BatchUpsertRiders", riders=[self._rider(n) for n in range(1, RIDERS + 1)]
        )

    async def _try(self, door: Door, method: str, **fields: Any) -> Any:
        try:
            return await door.call(method, **fields)
        except Refusal as refusal:
            if refusal.reason not in TOLD_REFUSALS:
                raise
            return None

    async def round(self, door: Door) -> None:
        """Groups complete, and between any two of them everything else happens."""
        for _ in range(GROUPS_A_ROUND):
            self._group_id += 1
            after_ms = self._dice.choice([61_000, 1_080_000, 3_600_000])
            group = campus.group(
                self._group_id, capacity=4, location=self._place(), pack_out_after_ms=after_ms
            )
            await door.call("GroupService/CreateGroup", group=group)
            for _ in range(4):
                kind = self._dice.choice(["COLD", "HOT"])
                placed = await door.call(
                    "GroupService/SubmitOrder",
                    **campus.submission(self._group_id, temperature_class=f"TEMPERATURE_CLASS_{kind}"),
                )
                self.orders.append(placed.order.name)
            await asyncio.gather(self._cancel(door), self._move(door), self._lower(door), self._rules(door))

    async def _cancel(self, door: Door) -> None:
        name = self._dice.choice(self.orders[-CANCELLED_AMONG:])
        twice = self._dice.choice([1, 1, 2])
        await asyncio.gather(*(self._try(door, "GroupService/CancelOrder", name=name) for _ in range(twice)))

    async def _move(self, door: Door) -> None:
        for number in self._dice.sample(range(1, RIDERS + 1), 3):
            await self._try(door, "RiderService/BatchUpsertRiders", riders=[self._rider(number)])

    async def _lower(self, door: Door) -> None:
        name = f"shops/{self._dice.randrange(1, SHOPS + 1)}"
        shop = {
            "name": name,
            "daily_capacity": self._dice.choice([0, 10, 60, 200]),
            "fridge_slots": self._dice.choice([5, 200]),
            "paused": self._dice.random() < 0.2,
        }
        mask = {"paths": ["daily_capacity", "fridge_slots", "paused"]}
        await self._try(door, "ShopService/UpdateShop", shop=shop, update_mask=mask)
        change = {"shop": name, "sku": SKU, "on_hand_delta": self._dice.choice([-300, -50, 200])}
        await self._try(door, "ShopService/AdjustStock", changes=[change])

    async def _rules(self, door: Door) -> None:
        source = campus.RULES.replace("90", str(self._dice.randrange(80, 100)))
        await door.call("RuleService/PublishRules", source=source)

    async def rest(self, door: Door) -> None:
        """Nobody can be given anything any more."""
        for number in range(1, SHOPS + 1):
            shop = {"name": f"shops/{number}", "paused": True, "daily_capacity": 1_000, "fridge_slots": 1_000}
            mask = {"paths": ["paused", "daily_capacity", "fridge_slots"]}
            await door.call("ShopService/UpdateShop", shop=shop, update_mask=mask)


async def taken(door: Door) -> list[dict[str, Any]]:
    """What the counters say is taken: of shops (capacity, fridge slots, cups), of riders (load)."""
    shops = (await door.call("ShopService/ListShops")).shops
    riders = (await door.call("RiderService/ListRiders")).riders
    stocks = {one.name: [level.on_hand - level.free for level in one.stock] for one in shops}
    made = {
        one.name: (one.daily_capacity - one.capacity_free, one.fridge_slots - one.fridge_free)
        for one in shops
    }
    return [stocks, made, {one.name: one.max_load - one.load_free for one in riders}]


def _nothing(_: ServedProcess, __: RedisServer) -> None:
    pass


def _kill(server: ServedProcess, _: RedisServer) -> None:
    server.kill()
    server.start()


def _restart_redis(_: ServedProcess, gate: RedisServer) -> None:
    gate.kill()
    gate.start()


def _empty_redis(_: ServedProcess, gate: RedisServer) -> None:
    redis.Redis.from_url(gate.url).flushall()


@pytest.mark.timeout(150)
@pytest.mark.parametrize("fault", [_nothing, _kill, _restart_redis, _empty_redis])
async def test_counters_are_as_storage_at_rest(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    own_redis: RedisServer,
    wait_until: WaitUntil,
    fault: Callable[[ServedProcess, RedisServer], None],
) -> None:
    monkeypatch.setenv("CUPTIME_REOPTIMISE_EVERY_S", "1")
    monkeypatch.setenv("CUPTIME_IMPROVE_GAIN_MIN_M", "10")
    with_redis = ("--redis", own_redis.url) if fault in (_restart_redis, _empty_redis) else ()
    server, churn, clock = ServedProcess(tmp_path, *with_redis), Churn(20_261_129), SystemClock()
    server.start()
    async with Door(server.address) as door:
        await churn.furnish(door)
    for _ in range(ROUNDS):
        async with Door(server.address) as door:
            began_ms = clock.now_ms()
            while clock.now_ms() < began_ms + 2_500:  # two passes of the improver at the least
                await churn.round(door)
        await asyncio.to_thread(fault, server, own_redis)

    async with Door(server.address) as door:

        async def calm() -> bool:
            """The gate is back, and what was on its way has ended: two looks in a row see the same."""
            try:
                await churn.rest(door)
                return await taken(door) == await taken(door)
            except Refusal:
                return False

        await wait_until(calm, timeout=20, why="the counters are there")
        began_ms = clock.now_ms()
        await wait_until(lambda: clock.now_ms() > began_ms + 2_500, timeout=10, why="two more passes go by")
        shown = await taken(door)
    tables = Tables(server.data)
    again = "SELECT order_id FROM decisions WHERE outcome = ? GROUP BY order_id HAVING count(*) > 1"
    assert tables.rows(again, pb.Decision.OUTCOME_ASSIGNED), "nothing was improved"
    assert tables.rows("SELECT count(*) FROM orders WHERE state = 2") > [(0,)]
    twice = "SELECT order_id FROM assignments GROUP BY order_id HAVING count(*) > 1"
    assert tables.rows(twice) == []
    tables.close()
    assert server.stop() == 0, server.log_tail()
    server.start()
    async with Door(server.address) as door:
        assert await taken(door) == shown
    assert server.stop() == 0, server.log_tail()
    assert "Traceback" not in server.log.read_text(), server.log_tail()
