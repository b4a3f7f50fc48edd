"""The server as operators and other programs see it: health, reflection, metrics, limits, deadlines, stop, Redis."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis.asyncio as redis
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client.parser import text_string_to_metric_families

from cuptime.api.server import SERVICES
from cuptime.app.served import ServedProcess
from cuptime.domain.limits import CONCURRENT_STREAMS_MAX, TASK_RETRIES_MAX
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door, Refusal, refusal_of
from tests.integration.worker import Worker

_ids = itertools.count(80_001)


async def morning(door: Door, wait_until: WaitUntil, groups: int = 5) -> list[str]:
    """Some groups that fill and are decided; the names of their orders."""
    await campus.furnish(door)
    names = []
    for _ in range(groups):
        group_id = next(_ids)
        await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=3))
        for _ in range(3):
            answer = await door.call("GroupService/SubmitOrder", **campus.submission(group_id))
            names.append(answer.order.name)

    async def decided() -> bool:
        found = await door.call("DispatchService/ListDecisions", parent="groups/-", page_size=1_000)
        return {f"{name}/decision" for name in names} <= {decision.name for decision in found.decisions}

    await wait_until(decided, timeout=15, why="every order has a decision")
    return names


async def test_health_says_serving_for_every_service(door: Door) -> None:
    stub: Any = health_pb2_grpc.HealthStub(door.channel)
    for name in ("", *(f"cuptime.v1.{service}" for service in SERVICES)):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


async def test_reflection_shows_every_service_and_its_messages(door: Door) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(door.channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="cuptime.v1.TaskService"),
    ]
    listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in listed.list_services_response.service}
    assert {f"cuptime.v1.{service}" for service in SERVICES} <= names
    found = descriptor_pb2.FileDescriptorProto.FromString(
        file.file_descriptor_response.file_descriptor_proto[0]
    )
    assert found.service[0].name == "TaskService"


async def test_metrics_have_what_operators_look_for(
    door: Door, served: ServedProcess, wait_until: WaitUntil
) -> None:
    await door.call("RuleService/PublishRules", source=campus.RULES)
    names = await morning(door, wait_until)
    await door.refused("GroupService/GetGroup", name="groups/99999999")
    async with Worker(door, "metered") as worker:
        await door.call("TaskService/EnqueueTask", task={"queue": "metered"})
        await worker.credits(1)
        await worker.complete_all(await worker.tasks(1))
    text = await asyncio.to_thread(served.metrics)
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["cuptime_orders_admitted_total",] >= len(names)
    assert samples["cuptime_decision_latency_ms_count",] >= 5
    assert samples["cuptime_trigger_lateness_ms_count",] >= 1
    assert samples["cuptime_commit_duration_ms_count",] >= 5
    hits = samples["scheduler_rule_evaluations_total", ("result", "hit"), ("rule", "high_credit")]
    assert hits >= len(names)
    calls = samples["cuptime_calls_total", ("code", "NOT_FOUND"), ("method", "GroupService/GetGroup")]
    assert calls >= 1
    assert {name for name, *_ in samples} >= {
        "cuptime_commit_rows_count",
        "cuptime_commit_units_count",
        "cuptime_queue_depth",
        "cuptime_tasks_total",
        "cuptime_decisions_total",
        "cuptime_call_duration_ms_count",
    }


async def test_a_call_without_time_is_over_and_leaves_the_server_well(door: Door) -> None:
    for timeout in (0.0, 0.000_01, 0.000_5):
        said = {"task": {"queue": "never"}, "delay_ms": campus.DAY_MS}
        try:
            await door.call("TaskService/EnqueueTask", timeout=timeout, **said)
        except Refusal as refusal:
            assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED  # noqa: PT017  (it may also be in time)
    assert (await door.call("TaskService/EnqueueTask", **said)).task.name


async def test_a_watch_ends_at_its_deadline(door: Door) -> None:
    with pytest.raises(Refusal) as caught:
        await door.exchange("DispatchService/WatchDecisions", [{"parent": "groups/-"}], timeout=0.3)
    assert caught.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_one_stream_too_many_is_told_how_long_to_wait(
    door: Door, served: ServedProcess, wait_until: WaitUntil
) -> None:
    async with Door(served.address) as second:
        doors = (door, second)
        streams = [
            doors[number % 2].open("RiderService/StreamPositions")()
            for number in range(CONCURRENT_STREAMS_MAX)
        ]
        refusal = await _one_too_many(served)
        assert refusal.reason == "OVERLOADED"
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        (retry,) = refusal.retries
        assert retry.retry_delay.ToMilliseconds() > 0
        assert (await door.call("GroupService/ListGroups", page_size=1)) is not None, "calls are still taken"
        for call in streams:
            call.cancel()

        async def taken() -> bool:
            try:
                await door.exchange("RiderService/StreamPositions", [])
            except Refusal as refused:
                return refused.reason != "OVERLOADED"
            return True

        await wait_until(taken, timeout=10, why="a stream is free again")


async def test_callers_that_leave_in_the_middle_leave_nothing_behind(door: Door) -> None:
    """Every stream is begun, said something to, and abandoned, many times over; the fixture looks for faults."""
    await campus.furnish(door)
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=5_000))
    position = {"rider_id": 1, "location": campus.PLACE, "measure_time_ms": campus.now_ms()}
    name = (
        await door.call("TaskService/EnqueueTask", task={"queue": "left"}, delay_ms=campus.DAY_MS)
    ).task.name
    kinds: list[tuple[str, Any, list[dict[str, Any]]]] = [
        ("GroupService/WatchGroup", {"name": f"groups/{group_id}"}, []),
        ("DispatchService/WatchDecisions", {"parent": "groups/-"}, []),
        ("TaskService/WatchTask", {"name": name}, []),
        ("RiderService/StreamPositions", None, [{"positions": [position]}] * 2),
        (
            "WorkerService/StreamTasks",
            None,
            [{"hello": {"worker": "w", "queues": ["left"]}}, {"credits": {"count": 3}}],
        ),
        ("GroupService/IngestOrders", None, [{"requests": [campus.submission(group_id)] * 50}] * 3),
    ]

    async def leave(method: str, request: Any, messages: list[dict[str, Any]], after: int) -> None:
        method_call = door.open(method)
        call = method_call(request) if request is not None else method_call()
        for said in messages[:after]:
            await call.write(said)
        call.cancel()

    for after in range(4):
        for _ in range(8):
            await asyncio.gather(*(leave(*kind, after) for kind in kinds))

    orders = (await door.call("GroupService/ListOrders", parent=f"groups/{group_id}")).orders
    assert len(orders) <= 1, "one request_id, however often it was sent"
    async with Worker(door, "left") as worker:
        # One that left may still be dealt the task before the server hears of it: an attempt, and a retry at once.
        await door.call("TaskService/EnqueueTask", task={"queue": "left", "max_retries": TASK_RETRIES_MAX})
        await worker.credits(1)
        await worker.complete_all(await worker.tasks(1))


async def _one_too_many(served: ServedProcess) -> Refusal:
    """Opens streams until one is refused: those that were opened may still be on their way."""
    async with Door(served.address) as third:
        for _ in range(CONCURRENT_STREAMS_MAX):
            call = third.open("RiderService/StreamPositions")(timeout=20)
            try:
                await asyncio.wait_for(asyncio.shield(_ended(call)), 0.2)
            except TimeoutError:
                continue
            except Refusal as refusal:
                return refusal
    raise AssertionError("no stream was refused")


async def _ended(call: Any) -> None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        raise refusal_of("RiderService/StreamPositions", error) from None


# --- start and stop -----------------------------------------------------------------------------------------------
async def test_a_stop_lets_calls_end_tells_watchers_and_exits_with_0(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    async with Door(server.address) as door:
        names = await morning(door, wait_until, groups=1)
        group_id = next(_ids)
        await door.call("GroupService/CreateGroup", group=campus.group(group_id))
        watch = door.open("GroupService/WatchGroup")({"name": f"groups/{group_id}"})
        assert (await watch.read()).group.group_id == group_id
        code = await asyncio.to_thread(server.stop)
        assert code == 0, server.log_tail()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "Traceback" not in server.log.read_text()
    server.start()
    async with Door(server.address) as door:
        for name in names:
            assert (await door.call("DispatchService/GetDecision", name=f"{name}/decision")).decision.shop
    assert server.stop() == 0


async def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path, wait_until: WaitUntil) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    async with Door(server.address) as door:
        await campus.furnish(door)
        group_id = next(_ids)
        await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=2))
        first = (await door.call("GroupService/SubmitOrder", **campus.submission(group_id))).order.name
        task = await door.call("TaskService/EnqueueTask", task={"queue": "after"}, delay_ms=100)
    server.kill()
    server.start()
    async with Door(server.address) as door:
        second = (await door.call("GroupService/SubmitOrder", **campus.submission(group_id))).order.name
        assert first != second

        async def decided() -> bool:
            group = (await door.call("GroupService/GetGroup", name=f"groups/{group_id}")).group
            return bool(group.state == group.STATE_DECIDED)

        await wait_until(decided, timeout=10, why="both orders are decided")
        async with Worker(door, "after") as worker:
            await worker.credits(1)
            (lease,) = await worker.tasks(1)
            assert (lease.task.name, lease.epoch) == (task.task.name, 2)
            await worker.complete_all([lease])
    assert server.stop() == 0


def test_a_second_server_on_the_same_folder_is_refused(served: ServedProcess, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cuptime.app.cli", "serve", "--data", str(served.data)]
    done = subprocess.run(
        [*command, "--listen", "127.0.0.1:0", "--metrics", ""],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"another server (pid {served.pid})" in done.stderr
    assert "the server cannot start" in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("CUPTIME_CREDIT_MIN", "many"), ("CUPTIME_TICK_MS", "0"), ("CUPTIME_LOG_LEVEL", "loud")],
)
def test_a_bad_setting_is_named(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(option, value)
    server = ServedProcess(tmp_path)
    with pytest.raises(RuntimeError, match=option.removeprefix("CUPTIME_").lower()):
        server.start()


# --- Redis --------------------------------------------------------------------------------------------------------
@pytest.mark.redis
async def test_the_same_morning_with_the_gate_in_redis(
    tmp_path: Path, redis_url: str, wait_until: WaitUntil
) -> None:
    server = ServedProcess(tmp_path, "--redis", redis_url)
    server.start()
    async with redis.from_url(redis_url) as client, Door(server.address) as door:
        names = await morning(door, wait_until)
        assert await client.dbsize() > 0, "the counters are in Redis"
        decision = (await door.call("DispatchService/GetDecision", name=f"{names[0]}/decision")).decision
        shop = (await door.call("ShopService/GetShop", name=decision.shop)).shop
        await door.call("GroupService/CancelOrder", name=names[0])
        after = (await door.call("ShopService/GetShop", name=decision.shop)).shop
        assert after.capacity_free == shop.capacity_free + 1
        taken = await _taken(door)
        assert taken == len(names) - 1
    server.kill()
    server.start()
    async with Door(server.address) as door:
        assert await _taken(door) == taken, "rebuilt from storage"
    assert server.stop() == 0


async def _taken(door: Door) -> int:
    shops = (await door.call("ShopService/ListShops")).shops
    return sum(shop.daily_capacity - shop.capacity_free for shop in shops)
