"""Streams whose caller leaves: in the middle of anything, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cuptime._gen.cuptime.v1 import worker_service_pb2 as worker_pb
from cuptime.api.call import RawReply
from cuptime.api.groups import GroupEndpoints
from cuptime.api.tasks import ScheduleIds
from cuptime.api.workers import WorkerEndpoints
from tests.unit.tasks.rig import Rig

STEPS = 12
"""Of the loop, from the end of the caller's side to its cancellation: more than the end takes."""


async def _nobody(_seq: int) -> None:
    return None


async def _heard(stream: AsyncIterator[bytes]) -> None:
    async for _ in stream:
        pass


async def _steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("steps", range(STEPS))
async def test_a_worker_that_ends_and_is_cancelled_is_forgotten(steps: int) -> None:
    """Both come of one lost connection, one after the other."""
    rig = Rig()
    await rig.boot()
    ended = asyncio.Event()

    async def said() -> AsyncIterator[bytes]:
        hello = worker_pb.Hello(worker="w", queues=["tea"])
        yield worker_pb.StreamTasksRequest(hello=hello).SerializeToString()
        yield worker_pb.StreamTasksRequest(credits=worker_pb.Credits(count=3)).SerializeToString()
        await ended.wait()

    call: Any = None
    endpoints = WorkerEndpoints(rig.line, ScheduleIds(_nobody))
    stream = asyncio.create_task(_heard(endpoints.stream_tasks(said(), call)))
    task = await rig.enqueue(max_retries=3)
    await rig.pass_ms(0)
    await _steps(STEPS)
    assert rig.sessions() == 1
    ended.set()
    await _steps(steps)
    stream.cancel()
    await asyncio.wait([stream], timeout=5)
    assert stream.done()
    assert rig.sessions() == 0
    assert task.task_id


async def test_a_flood_that_is_cancelled_ends() -> None:
    """While its reader waits for room among the orders that are on their way."""
    sent: list[asyncio.Future[RawReply]] = []

    class Intake:
        """Answers nothing."""

        def submit(self, _kind: int, _raw: bytes) -> asyncio.Future[RawReply]:
            sent.append(asyncio.get_running_loop().create_future())
            return sent[-1]

    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b""

    parts: Any = (None, Intake(), None)
    call: Any = None
    stream = asyncio.create_task(_heard(GroupEndpoints(*parts).ingest_orders(flood(), call)))
    before = -1
    while len(sent) > before:
        before = len(sent)
        await _steps(STEPS)
    stream.cancel()
    await asyncio.wait([stream], timeout=5)
    assert stream.done(), "it waits for room that nobody makes"
