"""What schedules do beside firing, over a real server."""

from __future__ import annotations

from typing import Any

import pytest

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door
from tests.integration.worker import Worker


def schedule(name: str, queue: str, every_ms: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "schedule_id": name,
        "timing": {"every_ms": every_ms},
        "target": {"task": {"queue": queue}},
    } | more


@pytest.mark.parametrize("overlap", ["SKIP", "BUFFER_ALL", "CANCEL_OTHER"])
async def test_an_overlap_policy_over_the_wire(door: Door, overlap: str, wait_until: WaitUntil) -> None:
    name = f"overlap-{overlap.lower().replace('_', '-')}"
    policy = {"overlap": f"OVERLAP_{overlap}"}
    await door.call("ScheduleService/RegisterSchedule", schedule=schedule(name, name, policy=policy))

    async def counted() -> Any:
        found = await door.call("ScheduleService/GetSchedule", name=f"schedules/{name}")
        one = found.schedule
        return found if max(one.skipped_count, one.buffered_count, one.cancelled_count) >= 2 else None

    async with Worker(door, name) as worker:
        await worker.credits(100)
        first, *_ = await worker.tasks(1)
        found = await wait_until(counted, why="two firings met the one that runs")
        one = found.schedule
        counts = (one.skipped_count > 0, one.buffered_count > 0, one.cancelled_count > 0)
        assert counts == (overlap == "SKIP", overlap == "BUFFER_ALL", overlap == "CANCEL_OTHER")
        assert found.running_firings == 1
        assert (found.waiting_firings > 0) == (overlap == "BUFFER_ALL")
        answer = await worker.complete(first)
        assert (answer.result == answer.RESULT_ACCEPTED) == (overlap != "CANCEL_OTHER")
        (second, *_) = await worker.tasks(1)
        assert second.task.nominal_time_ms > first.task.nominal_time_ms
        by_hand = {"name": f"schedules/{name}", "overlap": pb.OVERLAP_ALLOW_ALL}
        await door.call("ScheduleService/TriggerSchedule", **by_hand)
        await worker.tasks(1)
        await door.call("ScheduleService/UnregisterSchedule", name=f"schedules/{name}")


async def test_a_business_context_is_checked_and_reaches_the_worker(door: Door) -> None:
    group = campus.group(81_001)
    await door.call("GroupService/CreateGroup", group=group)
    context = {"group_id": 81_001, "sku_version": "2.1", "stock_snapshot": 35}
    target = {"task": {"queue": "context", "context": context}}
    made = await door.call(
        "ScheduleService/RegisterSchedule", schedule=schedule("context", "context", target=target)
    )
    assert made.schedule.target.task.context.stock_snapshot == 35
    async with Worker(door, "context") as worker:
        await worker.credits(2)
        first, second = await worker.tasks(2)
    for lease in (first, second):
        told = lease.task.context
        assert (told.group_id, told.sku_version, told.stock_snapshot) == (81_001, "2.1", 35)
        assert told.timestamp_ms == lease.task.nominal_time_ms
    assert first.idempotency_key != second.idempotency_key
    await door.call("ScheduleService/UnregisterSchedule", name="schedules/context")
