"""What every gate promises. One suite for the counters in process and in a real Redis."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import GATE_BATCH_MAX, GATE_TOMBSTONE_MS
from cuptime.domain.ports import Gate, Reservation
from cuptime.gate.in_process import InProcessGate
from cuptime.gate.needs import body_of, reservation_of, wanted
from cuptime.gate.redis import RedisGate
from tests.contract import gate_worker
from tests.real_servers import RedisServer

NOW = 1_795_000_000_000  # 2026-11-18 UTC
HOLD = 10_000
LIMITS = [("capacity/1", 2), ("fridge/1", 1), ("load/9", 3), ("stock/1/latte", 4)]
COLD = Reservation(
    order_id=5, shop_id=1, rider_id=9, sku="latte", quantity=2, cold=True, pack_out_ms=NOW + 1_000,
    pickup_ms=NOW + 2_000,
)  # fmt: skip
WARM = replace(COLD, order_id=6, cold=False)
DAY = f"capacity/1/{20261118}"
KEYS = [DAY, "fridge/1", "load/9", "stock/1/latte"]


def order(order_id: int, **changes: object) -> Reservation:
    return replace(WARM, order_id=order_id, **changes)  # type: ignore[arg-type]


@pytest.fixture(params=["in_process", pytest.param("redis", marks=pytest.mark.redis)])
async def gate(request: pytest.FixtureRequest) -> AsyncIterator[Gate]:
    made: Gate = (
        RedisGate(request.getfixturevalue("redis_url"), uuid.uuid4().hex)
        if request.param == "redis"
        else InProcessGate()
    )
    await made.open()
    await made.reset(LIMITS, [], NOW)
    yield made
    await made.close()


async def test_a_reservation_takes_all_it_needs(gate: Gate) -> None:
    assert await gate.free(KEYS) == [2, 1, 3, 4]
    assert await gate.reserve([COLD], NOW, HOLD) == [""]
    assert await gate.free(KEYS) == [1, 0, 2, 2]


async def test_a_refused_one_takes_nothing_and_names_the_counter(gate: Gate) -> None:
    answers = await gate.reserve([COLD, replace(COLD, order_id=7), WARM], NOW, HOLD)
    assert answers == ["", "fridge/1", ""], "one that is refused does not stop the next"
    assert await gate.free(KEYS) == [0, 0, 1, 0]
    assert await gate.reserve([order(8)], NOW, HOLD) == [DAY]


async def test_each_day_has_the_shops_capacity_unless_it_has_its_own(gate: Gate) -> None:
    tomorrow = order(8, pack_out_ms=NOW + 86_400_000, quantity=1)
    assert await gate.reserve([order(6, quantity=1), order(7, quantity=1), tomorrow], NOW, HOLD) == [""] * 3
    assert await gate.free([DAY, "capacity/1/20261119", "capacity/1/20261120"]) == [0, 1, 2]
    await gate.set_limits([("capacity/1/20261120", 9)])
    assert await gate.free(["capacity/1/20261120"]) == [9]


async def test_unknown_counters_give_nothing(gate: Gate) -> None:
    assert await gate.free(["load/1", "nothing"]) == [0, 0]
    assert await gate.reserve([replace(WARM, rider_id=1)], NOW, HOLD) == ["load/1"]


async def test_the_same_reservation_again_is_the_same_reservation(gate: Gate) -> None:
    assert await gate.reserve([COLD, COLD], NOW, HOLD) == ["", ""]
    assert await gate.commit([5]) == []
    assert await gate.reserve([COLD], NOW + 1, HOLD) == [""]
    assert await gate.free(KEYS) == [1, 0, 2, 2]
    assert await gate.reserve([replace(COLD, quantity=1)], NOW, HOLD) == ["order/5"]


async def test_holds_run_out_and_commits_last(gate: Gate) -> None:
    await gate.reserve([COLD, WARM], NOW, HOLD)
    assert await gate.commit([6, 404]) == [404]
    assert await gate.expire(NOW + 1_999) == []
    assert await gate.expire(NOW + 2_000) == [("fridge/1", 1)]
    assert await gate.expire(NOW + HOLD) == [(DAY, 1), ("load/9", 1), ("stock/1/latte", 2)]
    assert await gate.commit([5, 6]) == [5]
    assert await gate.expire(NOW + 100 * HOLD) == []
    assert await gate.free(KEYS) == [1, 1, 2, 2]


async def test_a_fridge_slot_is_free_at_pickup_also_of_a_committed_one(gate: Gate) -> None:
    await gate.reserve([COLD], NOW, HOLD)
    await gate.commit([5])
    assert await gate.expire(NOW + 2_000) == [("fridge/1", 1)]
    assert await gate.release([5], NOW + 3_000) == [COLD]
    assert await gate.free(KEYS) == [2, 1, 3, 4], "the slot does not come back twice"


async def test_a_slot_whose_pickup_has_passed_is_not_taken(gate: Gate) -> None:
    assert await gate.reserve([COLD, replace(COLD, order_id=7)], NOW + 2_000, HOLD) == ["", ""]
    assert await gate.free(["fridge/1"]) == [1]


async def test_release_gives_back_once(gate: Gate) -> None:
    await gate.reserve([COLD, WARM], NOW, HOLD)
    await gate.commit([6])
    assert await gate.release([5, 6, 404], NOW) == [COLD, WARM]
    assert await gate.release([5, 6], NOW) == []
    assert await gate.free(KEYS) == [2, 1, 3, 4]


async def test_a_reserve_that_comes_after_its_release_is_refused(gate: Gate) -> None:
    assert await gate.release([5], NOW) == []
    assert await gate.reserve([COLD, COLD], NOW, HOLD) == ["released/5"] * 2
    assert await gate.reserve([COLD], NOW - 1, HOLD) == ["released/5"]
    assert await gate.free(KEYS) == [2, 1, 3, 4]
    assert await gate.reserve([COLD], NOW + 1, HOLD) == [""], "one sent after the release is a new one"


async def test_after_a_release_in_the_same_millisecond_the_order_may_be_placed_again(gate: Gate) -> None:
    await gate.reserve([COLD], NOW, HOLD)
    await gate.release([5], NOW)
    assert await gate.reserve([replace(COLD, quantity=1)], NOW, HOLD) == [""]
    await gate.release([5], NOW + 5)
    assert await gate.reserve([COLD], NOW + 4, HOLD) == ["released/5"]


async def test_a_hold_that_ran_out_refuses_its_own_late_repeat(gate: Gate) -> None:
    await gate.reserve([COLD], NOW, HOLD)
    await gate.expire(NOW + HOLD)
    assert await gate.reserve([COLD], NOW, HOLD) == ["released/5"]
    assert await gate.reserve([COLD], NOW + HOLD, HOLD) == [""]


async def test_tombstones_outlive_retries_but_not_for_ever(gate: Gate) -> None:
    await gate.release([5], NOW)
    await gate.expire(NOW + GATE_TOMBSTONE_MS)
    assert await gate.reserve([COLD], NOW, HOLD) == ["released/5"]
    await gate.expire(NOW + GATE_TOMBSTONE_MS + 1)
    assert await gate.reserve([COLD], NOW, HOLD) == [""]


async def test_a_limit_lowered_below_what_is_taken(gate: Gate) -> None:
    await gate.reserve([order(6, quantity=1), order(7, quantity=1)], NOW, HOLD)
    await gate.set_limits([("load/9", 1), ("capacity/1", 9)])
    assert await gate.free(["load/9"]) == [0]
    assert await gate.reserve([order(8, quantity=1)], NOW, HOLD) == ["load/9"]
    await gate.release([6], NOW)
    assert await gate.reserve([order(8, quantity=1)], NOW, HOLD) == ["load/9"], "still as many as allowed"
    await gate.release([7], NOW)
    assert await gate.reserve([order(8, quantity=1)], NOW, HOLD) == [""]


async def test_reset_forgets_and_takes_what_stands_whatever_the_limits_say(gate: Gate) -> None:
    await gate.reserve([WARM], NOW, HOLD)
    await gate.release([99], NOW)
    standing = [replace(COLD, order_id=n, quantity=1) for n in range(10, 15)]
    await gate.reset([*LIMITS[:3], ("stock/1/latte", 6)], standing, NOW)
    assert await gate.free(KEYS) == [0, 0, 0, 1]
    assert await gate.expire(NOW + 100 * HOLD) == [("fridge/1", 5)], "what stands never runs out"
    assert await gate.release([10, 6], NOW) == [standing[0]]
    assert await gate.reserve([order(99)], NOW - 1, HOLD) == [DAY], "tombstones are gone too"
    await gate.reset([], [], NOW)
    assert await gate.free(KEYS) == [0] * 4


async def test_what_stands_replaces_what_was_held_or_stood(gate: Gate) -> None:
    await gate.reserve([COLD], NOW, HOLD)
    await gate.stand([replace(COLD, takes_stock=False), WARM, replace(WARM, order_id=7)], NOW)
    assert await gate.free(KEYS) == [0, 0, 0, 0]
    assert await gate.expire(NOW + 100 * HOLD) == [("fridge/1", 1)], "what stands never runs out"
    await gate.stand([replace(WARM, takes_stock=False)], NOW + 1)
    assert await gate.free(KEYS) == [0, 1, 0, 2]
    assert len(await gate.release([5, 6, 7], NOW + 2)) == 3
    assert await gate.free(KEYS) == [2, 1, 3, 4]
    many = [order(n, rider_id=n, quantity=1) for n in range(10, 10 + 2 * GATE_BATCH_MAX + 1)]
    await gate.stand(many, NOW)
    assert len(await gate.release([held.order_id for held in many], NOW + 3)) == len(many)


async def test_load_is_free_at_its_instant(gate: Gate) -> None:
    carried = replace(WARM, load_until_ms=NOW + 5_000)
    await gate.reserve([carried], NOW, HOLD)
    await gate.commit([6])
    assert await gate.free(["load/9"]) == [2]
    assert await gate.expire(NOW + 4_999) == []
    assert await gate.expire(NOW + 5_000) == [("load/9", 1)]
    await gate.stand([replace(carried, load_until_ms=NOW + 9_000)], NOW + 6_000)
    assert await gate.free(["load/9"]) == [2], "the shift was made longer"
    assert await gate.expire(NOW + 9_000) == [("load/9", 1)]


async def test_reset_of_more_than_one_batch(gate: Gate) -> None:
    count = 2 * GATE_BATCH_MAX + 1
    limits = [(f"load/{rider}", 2) for rider in range(count)]
    standing = [order(n, rider_id=n) for n in range(count)]
    await gate.reset(limits, standing, NOW)
    assert await gate.free([key for key, _ in limits]) == [1] * count


async def test_values_out_of_range_change_nothing(gate: Gate) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        await gate.reserve([WARM, replace(COLD, quantity=0)], NOW, HOLD)
    with pytest.raises(ValueError, match="negative"):
        await gate.set_limits([("load/9", 1), ("fridge/1", -1)])
    assert await gate.free(KEYS) == [2, 1, 3, 4]


async def test_empty_batches(gate: Gate) -> None:
    assert await gate.reserve([], NOW, HOLD) == []
    assert await gate.commit([]) == []
    assert await gate.release([], NOW) == []
    assert await gate.free([]) == []
    await gate.set_limits([])


@given(
    st.builds(
        Reservation,
        order_id=st.integers(1, 2**63 - 1),
        shop_id=st.integers(0, 2**63 - 1),
        rider_id=st.integers(0, 2**63 - 1),
        sku=st.text(min_size=1),
        quantity=st.integers(1, 100),
        cold=st.booleans(),
        pack_out_ms=st.integers(0, 2**52),
        pickup_ms=st.integers(0, 2**52),
        dropoff_ms=st.integers(0, 2**52),
        day=st.sampled_from(["", "20261118"]),
    )
)
def test_a_reservation_survives_its_body(held: Reservation) -> None:
    assert reservation_of(body_of(held)) == held


@given(st.integers(0, 60_000))
def test_the_day_is_that_of_the_calendar(day: int) -> None:
    from datetime import UTC, datetime, timedelta

    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    key = wanted(replace(WARM, pack_out_ms=day * 86_400_000 + 86_399_999))[2][0][0]
    assert key == f"capacity/1/{date:%Y%m%d}"


# --- concurrency --------------------------------------------------------------------------------------------------
def check_storm(
    limits: list[tuple[str, int]], free: list[int], reports: list[dict[str, list[dict[str, object]]]]
) -> None:
    """Nothing oversold, and what is free is exactly the limit less what stands."""
    assert [report["wrong"] for report in reports] == [[]] * len(reports)
    taken: Counter[str] = Counter()
    for report in reports:
        for fields in report["standing"]:
            for key, amount, _ in wanted(Reservation(**fields))[2]:  # type: ignore[arg-type]
                taken[key.replace("/20261118", "") if key.startswith("capacity/") else key] += amount
    assert sum(len(report["refused"]) for report in reports) > 100, "too little load to prove anything"
    for (key, limit), left in zip(limits, free, strict=True):
        assert taken[key] <= limit, f"{key} oversold"
        assert left == limit - taken[key], f"{key} not conserved"


def day_keys() -> list[str]:
    return [f"{key}/20261118" if key.startswith("capacity/") else key for key, _ in gate_worker.LIMITS]


async def test_no_oversell_among_many_callers(gate: Gate) -> None:
    await gate.reset(gate_worker.LIMITS, [], NOW)
    reports = await asyncio.gather(*[gate_worker.storm(gate, worker, worker) for worker in range(4)])
    check_storm(gate_worker.LIMITS, await gate.free(day_keys()), list(reports))


@pytest.mark.redis
async def test_no_oversell_among_processes(redis_url: str, repo: Path) -> None:
    gate = RedisGate(redis_url, uuid.uuid4().hex)
    await gate.reset(gate_worker.LIMITS, [], NOW)
    park = gate.park

    async def worker(number: int) -> dict[str, list[dict[str, object]]]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.contract.gate_worker", redis_url, park, gate.epoch, str(number), "7",
            cwd=repo, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, _ = await asyncio.wait_for(process.communicate(), 60)
        except TimeoutError:
            process.kill()
            raise AssertionError(f"worker {number} did not end within 60 s") from None
        assert process.returncode == 0
        report: dict[str, list[dict[str, object]]] = json.loads(output)
        return report

    reports = await asyncio.gather(*[worker(number) for number in range(4)])
    check_storm(gate_worker.LIMITS, await gate.free(day_keys()), list(reports))
    await gate.close()


# --- Redis alone --------------------------------------------------------------------------------------------------
@pytest.mark.redis
async def test_a_client_from_before_a_rebuild_is_refused_each_time(redis_url: str) -> None:
    park = uuid.uuid4().hex
    old, new = RedisGate(redis_url, park), RedisGate(redis_url, park)
    await old.reset(LIMITS, [], NOW)
    await new.reset(LIMITS, [], NOW)
    for number in range(100):
        with pytest.raises(CuptimeError) as refused:
            await old.reserve([order(number + 1, quantity=1)], NOW, HOLD)
        assert refused.value.reason is Reason.EPOCH_STALE
    assert await new.free(KEYS) == [2, 1, 3, 4]
    await old.close()
    await new.close()


@pytest.mark.redis
async def test_of_two_rebuilds_at_once_one_stands(redis_url: str) -> None:
    park = uuid.uuid4().hex
    gates = [RedisGate(redis_url, park) for _ in range(2)]
    standing = [order(n, rider_id=9) for n in range(3 * GATE_BATCH_MAX)]
    answers = await asyncio.gather(
        *[gate.reset(LIMITS, standing, NOW) for gate in gates], return_exceptions=True
    )
    winner = max(gates, key=lambda gate: gate.epoch)
    (loser,) = [gate for gate in gates if gate is not winner]
    assert answers[gates.index(winner)] is None
    refusal = answers[gates.index(loser)]
    if refusal is not None:  # Else it was done before the other began, and is stale from then on.
        assert isinstance(refusal, CuptimeError)
        assert refusal.reason is Reason.EPOCH_STALE
    with pytest.raises(CuptimeError):
        await loser.free(KEYS)
    assert len(await winner.release([held.order_id for held in standing], NOW)) == len(standing)
    assert await winner.free(KEYS) == [2, 1, 3, 4]
    for gate in gates:
        await gate.close()


@pytest.mark.redis
async def test_a_server_that_restarted_is_not_trusted_until_rebuilt(own_redis: RedisServer) -> None:
    gate = RedisGate(own_redis.url)
    await gate.reset(LIMITS, [], NOW)
    await gate.reserve([COLD], NOW, HOLD)
    own_redis.kill()
    with pytest.raises(CuptimeError) as unreachable:
        await gate.reserve([WARM], NOW, HOLD)
    assert unreachable.value.reason is Reason.GATE_UNAVAILABLE
    own_redis.start()
    with pytest.raises(CuptimeError) as lost:
        await gate.reserve([WARM], NOW, HOLD)
    assert (lost.value.reason, lost.value.metadata) == (Reason.GATE_UNAVAILABLE, {"rebuild": "yes"})
    await gate.reset(LIMITS, [COLD], NOW)
    assert await gate.reserve([WARM], NOW, HOLD) == [""]
    await gate.close()


@pytest.mark.redis
async def test_an_emptied_server_is_noticed(own_redis: RedisServer) -> None:
    import redis.asyncio

    gate = RedisGate(own_redis.url)
    await gate.reset(LIMITS, [], NOW)
    async with redis.asyncio.Redis.from_url(own_redis.url) as client:
        await client.flushall()
    with pytest.raises(CuptimeError) as lost:
        await gate.reserve([COLD], NOW, HOLD)
    assert (lost.value.reason, lost.value.metadata) == (Reason.GATE_UNAVAILABLE, {"rebuild": "yes"})
    await gate.close()


@pytest.mark.redis
async def test_nobody_at_the_address(own_redis: RedisServer) -> None:
    own_redis.stop()
    gate = RedisGate(own_redis.url)
    with pytest.raises(CuptimeError, match="does not answer") as refused:
        await gate.open()
    assert refused.value.reason is Reason.GATE_UNAVAILABLE
    with pytest.raises(CuptimeError, match="must be built again"):
        await gate.reserve([COLD], NOW, HOLD)
    await gate.close()


# --- both give the same answers ------------------------------------------------------------------------------------
RESERVATIONS = st.builds(
    Reservation,
    order_id=st.integers(1, 6),
    shop_id=st.just(1),
    rider_id=st.integers(8, 9),
    sku=st.just("latte"),
    quantity=st.integers(1, 2),
    cold=st.booleans(),
    pack_out_ms=st.sampled_from([NOW, NOW + 86_400_000]),
    pickup_ms=st.integers(NOW - 5, NOW + 40),
    load_until_ms=st.sampled_from([0, NOW + 10, NOW + 25]),
    takes_stock=st.booleans(),
    day=st.sampled_from(["", "20261119"]),
)
AT = st.integers(NOW - 3, NOW + 30)
IDS = st.lists(st.integers(1, 6), max_size=3)
LIMIT = st.tuples(st.sampled_from([key for key, _ in LIMITS] + [DAY, "load/8"]), st.integers(0, 5))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.lists(RESERVATIONS, max_size=3), AT, st.integers(0, 20)),
        st.tuples(st.just("commit"), IDS),
        st.tuples(st.just("stand"), st.lists(RESERVATIONS, max_size=3), AT),
        st.tuples(st.just("release"), IDS, AT),
        st.tuples(st.just("expire"), AT),
        st.tuples(st.just("set_limits"), st.lists(LIMIT, max_size=2)),
        st.tuples(st.just("reset"), st.lists(LIMIT), st.lists(RESERVATIONS, max_size=4), AT),
    ),
    max_size=25,
)


@pytest.mark.redis
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_redis_answers_as_the_core_does(redis_url: str, steps: list[tuple[str, ...]]) -> None:
    async def compare() -> None:
        gates: tuple[Gate, Gate] = (InProcessGate(), RedisGate(redis_url, "same-answers"))
        for gate in gates:
            await gate.reset([*LIMITS, ("load/8", 2)], [], NOW)
        for name, *arguments in steps:
            ours, theirs = [await getattr(gate, name)(*arguments) for gate in gates]
            assert ours == theirs, (name, arguments)
            keys = [*KEYS, "load/8", "capacity/1/20261119"]
            assert await gates[0].free(keys) == await gates[1].free(keys), (name, arguments)
        await gates[1].close()

    asyncio.run(compare())
