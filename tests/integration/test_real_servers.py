"""The servers that other tests lean on do what those tests assume."""

from __future__ import annotations

import asyncio

import pytest
import redis.asyncio as redis

from tests.conftest import WaitUntil
from tests.real_servers import RedisServer


@pytest.mark.redis
async def test_what_redis_answered_survives_a_kill(own_redis: RedisServer) -> None:
    port = own_redis.port
    async with redis.from_url(own_redis.url) as client:
        for number in range(50):
            await client.set(f"key-{number}", number)
    own_redis.kill()
    own_redis.start()
    assert own_redis.port == port
    async with redis.from_url(own_redis.url) as client:
        assert [int(await client.get(f"key-{number}")) for number in range(50)] == list(range(50))


@pytest.mark.redis
async def test_the_shared_redis_answers_through_hiredis(redis_url: str) -> None:
    async with redis.from_url(redis_url) as client:
        assert await client.ping()
        assert (await client.config_get("appendonly"))["appendonly"] == "yes"


async def test_wait_until_returns_the_first_true_value(wait_until: WaitUntil) -> None:
    seen = iter([0, "", None, "ready", "later"])
    assert await wait_until(lambda: next(seen)) == "ready"


async def test_wait_until_takes_a_coroutine_function(wait_until: WaitUntil) -> None:
    flag = asyncio.Event()
    asyncio.get_running_loop().call_soon(flag.set)

    async def is_set() -> bool:
        return flag.is_set()

    assert await wait_until(is_set) is True


async def test_wait_until_gives_up_and_shows_the_last_value(wait_until: WaitUntil) -> None:
    with pytest.raises(AssertionError, match="'never seven'; last value 0"):
        await wait_until(lambda: 0, timeout=0.01, why="never seven")
