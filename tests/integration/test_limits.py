"""Overload: a node in this process with its limits lowered refuses with the time to wait, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from cuptime.app.assembly import Node
from cuptime.app.settings import Settings
from cuptime.domain.clock import SystemClock
from tests.integration import campus
from tests.integration.door import Door, Refusal

GROUP = 90_001


@pytest_asyncio.fixture
async def near(tmp_path: Path) -> AsyncIterator[Door]:
    """A door to a node in this process."""
    node = Node(Settings(data=tmp_path, listen="127.0.0.1:0", metrics=""), SystemClock())
    addresses = await node.start()
    try:
        async with Door(addresses["grpc"]) as door:
            yield door
    finally:
        await node.stop()


def check_overload(refusal: Refusal) -> None:
    assert refusal.reason == "OVERLOADED"
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    (retry,) = refusal.retries
    assert retry.retry_delay.ToMilliseconds() > 0


@pytest.mark.parametrize("limit", ["CONCURRENT_RPCS_MAX", "CALL_BYTES_IN_FLIGHT_MAX"])
async def test_too_many_calls_are_refused_with_the_time_to_wait(
    limit: str, near: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lowered:
        lowered.setattr(f"cuptime.api.call.{limit}", 0)
        for method in ("TaskService/GetTask", "GroupService/SubmitOrder", "RuleService/ValidateRules"):
            with pytest.raises(Refusal) as caught:
                await near.exchange(method, [b"\x0a\x01x"])
            check_overload(caught.value)
    assert not (await near.call("TaskService/ListTasks")).tasks


async def test_too_many_streams_are_refused_with_the_time_to_wait(
    near: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cuptime.api.call.CONCURRENT_STREAMS_MAX", 0)
    for method in ("WorkerService/StreamTasks", "TaskService/WatchTask", "RiderService/StreamPositions"):
        with pytest.raises(Refusal) as caught:
            await near.exchange(method, [{}])
        check_overload(caught.value)


async def test_a_burst_above_the_intake_is_refused_and_admitted_when_it_is_sent_again(
    near: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    await campus.furnish(near)
    await near.call("GroupService/CreateGroup", group=campus.group(GROUP, capacity=500))
    submissions = [campus.submission(GROUP) for _ in range(200)]
    refused: list[Refusal] = []

    async def submit(fields: dict[str, object]) -> str:
        """Again and again, as RetryInfo asks, until it is taken."""
        for _ in range(200):
            try:
                return str((await near.call("GroupService/SubmitOrder", **fields)).order.name)
            except Refusal as refusal:
                refused.append(refusal)
        raise AssertionError("never admitted")

    monkeypatch.setattr("cuptime.groups.intake.INTAKE_PENDING_MAX", 1)
    names = await asyncio.gather(*(submit(fields) for fields in submissions))
    assert refused, "200 at once are more than one"
    for refusal in refused:
        check_overload(refusal)
    assert len(set(names)) == 200
    found = (await near.call("GroupService/ListOrders", parent=f"groups/{GROUP}", page_size=1_000)).orders
    assert {order.name for order in found} == set(names), "what was refused was not kept, what was taken was"
