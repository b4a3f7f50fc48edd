"""A Redis gate that forgets, ends and comes back: decisions go on by themselves, and nothing is sold twice."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import redis

from cuptime.app.morning.audit import Audit, Told
from cuptime.app.served import ServedProcess
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door, Refusal, Tables
from tests.real_servers import RedisServer

CAPACITY = 40
_ids = itertools.count(95_001)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


@pytest_asyncio.fixture
async def served(tmp_path: Path, redis_server: RedisServer) -> AsyncIterator[ServedProcess]:
    folder = tmp_path / "served"
    folder.mkdir()
    server = ServedProcess(folder, "--redis", redis_server.url)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()


async def full_group(door: Door) -> str:
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=3))
    for _ in range(3):
        await door.call("GroupService/SubmitOrder", **campus.submission(group_id))
    return f"groups/{group_id}"


def forget(server: RedisServer) -> None:
    redis.Redis.from_url(server.url).flushall()


def forget_scripts(server: RedisServer) -> None:
    redis.Redis.from_url(server.url).script_flush()


def restart(server: RedisServer) -> None:
    server.kill()
    server.start()


@pytest.mark.parametrize("fault", [forget, forget_scripts, restart])
async def test_counters_that_are_gone_are_built_again(
    served: ServedProcess,
    redis_server: RedisServer,
    wait_until: WaitUntil,
    fault: Callable[[RedisServer], None],
) -> None:
    async with Door(served.address) as door:
        await door.call("ShopService/BatchUpsertShops", shops=[campus.shop(1, daily_capacity=CAPACITY)])
        await door.call("RiderService/BatchUpsertRiders", riders=[campus.rider(1, max_load=1_000)])
        names = [await full_group(door) for _ in range(3)]
        fault(redis_server)
        names += [await full_group(door) for _ in range(3)]

        async def decided() -> bool:
            found = [await door.call("DispatchService/ListDecisions", parent=name) for name in names]
            return all(len(answer.decisions) == 3 for answer in found)

        await wait_until(decided, timeout=20, why="what completed after the fault is decided")
        shop = (await door.call("ShopService/GetShop", name="shops/1")).shop
        tables = Tables(served.data)
        standing = tables.rows("SELECT count(*) FROM assignments")[0][0]
        tables.close()
        assert standing == 18
        assert shop.capacity_free == CAPACITY - standing
        for _ in range(10):  # more than there is
            await full_group(door)
        await wait_until(_full(served), timeout=20, why="the shop is full")
    found = Audit(served.data / "cuptime.db", Told(), settled=False, repeats_allowed=True).run()
    assert found.violations == []


async def test_groups_wait_for_a_gate_that_is_away(
    served: ServedProcess, redis_server: RedisServer, wait_until: WaitUntil
) -> None:
    """However often they were tried: no person is asked, and they are decided once it is back."""
    async with Door(served.address) as door:
        await campus.furnish(door)
        redis_server.kill()
        name = await full_group(door)

        async def tried_often() -> bool:
            return served.log.read_text().count("could not be decided") > 8

        await wait_until(tried_often, timeout=30, why="the group was tried often")
        redis_server.start()

        async def assigned() -> bool:
            answer = await door.call("DispatchService/ListDecisions", parent=name)
            return [decision.outcome for decision in answer.decisions] == [1, 1, 1]

        await wait_until(assigned, timeout=30, why="the group is decided")
        waiting = await door.call("DispatchService/ListInterventions")
        assert not waiting.interventions


async def test_counters_are_tried_again_soon_while_the_gate_is_away_and_are_there_when_it_is_back(
    served: ServedProcess, redis_server: RedisServer, wait_until: WaitUntil
) -> None:
    """A try each second at the least, and a gate that is away is told in words, not as a fault of ours."""
    async with Door(served.address) as door:
        await campus.furnish(door)
        await full_group(door)
        restart(redis_server)
        redis_server.kill()
        with pytest.raises(Refusal, match="GATE_UNAVAILABLE"):
            await door.call("ShopService/ListShops")
        await full_group(door)

        def tried_often() -> bool:
            return served.log.read_text().count("were not rebuilt; trying again") >= 7

        await wait_until(tried_often, timeout=10, why="the rebuild was tried often")
        redis_server.start()

        async def shown() -> bool:
            try:
                await door.call("ShopService/ListShops")
            except Refusal:
                return False
            return True

        await wait_until(shown, timeout=4, why="the counters are there")
    assert "Traceback" not in served.log.read_text(), served.log_tail()


def _full(served: ServedProcess) -> Callable[[], bool]:
    def full() -> bool:
        tables = Tables(served.data)
        try:
            return bool(tables.rows("SELECT count(*) FROM assignments")[0][0] == CAPACITY)
        finally:
            tables.close()

    return full
