"""Over gRPC with a real server: a nearer rider takes a provisional order, and never one that is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as pb
from cuptime.app.served import ServedProcess
from tests.integration.campus import PLACE, group, now_ms, rider, shop, submission
from tests.integration.door import Door, Tables

WAIT_S = 15.0
FAR = {"latitude": PLACE["latitude"] + 0.018, "longitude": PLACE["longitude"]}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedProcess]:
    """A server that improves every second."""
    monkeypatch.setenv("CUPTIME_REOPTIMISE_EVERY_S", "1")
    server = ServedProcess(tmp_path)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()


@pytest_asyncio.fixture
async def door(served: ServedProcess) -> AsyncIterator[Door]:
    async with Door(served.address) as opened:
        yield opened


async def decided(door: Door, group_id: int, **changed: Any) -> pb.Decision:
    """The decision of an order whose only rider is 2 km away."""
    await door.call("ShopService/BatchUpsertShops", shops=[shop(1)])
    far = rider(1, location=FAR, min_temperature_c=-5)
    await door.call("RiderService/BatchUpsertRiders", riders=[far])
    await door.call("GroupService/CreateGroup", group=group(group_id, capacity=1, **changed))
    await door.call("GroupService/SubmitOrder", **submission(group_id))
    (first,) = await heard(door, group_id, 0, 1)
    assert first.rider == "riders/1"
    return first


async def heard(door: Door, group_id: int, after: int, count: int) -> list[pb.Decision]:
    """The next decisions of the group as a watcher hears them."""
    found: list[pb.Decision] = []

    async def listen() -> None:
        request = pb.WatchDecisionsRequest(parent=f"groups/{group_id}", after_sequence=after)
        call = door.open("DispatchService/WatchDecisions")(request)
        async for message in call:
            found.extend(message.decisions)
            if len(found) >= count:
                call.cancel()
                return

    await asyncio.wait_for(listen(), WAIT_S)
    return found


async def test_a_nearer_rider_takes_a_provisional_order(door: Door, served: ServedProcess) -> None:
    first = await decided(door, 30_001)
    assert now_ms() < first.commit_time_ms < first.pickup_time_ms
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
    released, better = await heard(door, 30_001, first.sequence, 2)
    assert (released.outcome, released.rider) == (pb.Decision.OUTCOME_RELEASED, "riders/1")
    assert (better.outcome, better.rider, better.attempt) == (pb.Decision.OUTCOME_ASSIGNED, "riders/2", 2)
    assert better.supersedes == first.sequence
    assert better.sequence == released.sequence + 1
    assert better.reasons[0].code == "ASSIGNMENT_IMPROVED"
    assert better.reasons[0].measured > 1_500
    latest = (await door.call("DispatchService/GetDecision", name=better.name)).decision
    assert latest == better
    tables = Tables(served.data)
    assert tables.rows("SELECT sequence FROM assignments") == [(better.sequence,)]
    riders = (await door.call("RiderService/ListRiders")).riders
    assert [one.load_free for one in riders] == [100, 99]
    tables.close()


async def test_a_committed_order_stays(door: Door) -> None:
    """Ready at once: its rider leaves at once, and nobody takes it over."""
    first = await decided(door, 30_002, pack_out_after_ms=1)
    assert first.commit_time_ms <= now_ms() + 1_000
    await decided_later(door)
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
    # The other order, which is provisional, is improved: a pass has been.
    await heard(door, 30_003, 0, 3)
    latest = (await door.call("DispatchService/GetDecision", name=first.name)).decision
    assert latest == first


async def decided_later(door: Door) -> None:
    await door.call("GroupService/CreateGroup", group=group(30_003, capacity=1))
    await door.call("GroupService/SubmitOrder", **submission(30_003))
    await heard(door, 30_003, 0, 1)


async def test_what_is_provisional_is_improved_after_a_kill(door: Door, served: ServedProcess) -> None:
    first = await decided(door, 30_004)
    served.kill()
    served.start()
    async with Door(served.address) as again:
        await again.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
        _, better = await heard(again, 30_004, first.sequence, 2)
    assert better.rider == "riders/2"
