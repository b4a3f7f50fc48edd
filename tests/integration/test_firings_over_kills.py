"""`kill -9` of a real server whose schedules fire: what was missed is caught up as the policy says and not otherwise,
what overlaps is judged as before, and what is told of both is what storage has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from cuptime.domain.values import TaskState
from tests.conftest import WaitUntil
from tests.integration.door import Door, Tables
from tests.integration.worker import Worker

EVERY_MS: Final = 200
OUTAGE_MS: Final = 3_000
LATE_MS: Final = 2_000
"""More than a firing may be late without being missed (1 s), and the start with it."""
KILLS: Final = 3
POLICIES: Final = ("SKIP", "BUFFER_ONE", "BUFFER_ALL", "CANCEL_OTHER")


@pytest_asyncio.fixture
async def killed(tmp_path: Path) -> AsyncIterator[ServedProcess]:
    server = ServedProcess(tmp_path)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()
    assert "Traceback" not in server.log.read_text(), server.log_tail()


async def register(door: Door, name: str, **policy: Any) -> None:
    schedule = {"schedule_id": name, "timing": {"every_ms": EVERY_MS}, "target": {"task": {"queue": name}}}
    await door.call("ScheduleService/RegisterSchedule", schedule=schedule | {"policy": policy})


def firings(data: Path, name: str) -> list[tuple[int, int, int, str]]:
    """(nominal_ms, trigger_ms, state, error_code), by nominal time."""
    tables = Tables(data)
    found = tables.rows(
        "SELECT nominal_ms, trigger_ms, t.state, error_code FROM tasks t JOIN schedules USING (schedule_seq)"
        " WHERE schedule_id = ? ORDER BY nominal_ms",
        name,
    )
    tables.close()
    return [(nominal_ms, trigger_ms, state, code) for nominal_ms, trigger_ms, state, code in found]


def check_once(data: Path, name: str) -> None:
    times = [nominal_ms for nominal_ms, *_ in firings(data, name)]
    assert times == list(range(times[0], times[-1] + 1, EVERY_MS)), "a firing is lost or there twice"


async def outage(server: ServedProcess, wait_until: WaitUntil) -> int:
    """Killed, and started again when firings of so long are missed. When it was killed."""
    server.kill()
    now_ms = SystemClock().now_ms
    killed_ms = now_ms()
    await wait_until(lambda: now_ms() > killed_ms + OUTAGE_MS, timeout=10, why="the outage lasts")
    server.start()
    return killed_ms


@pytest.mark.timeout(120)
async def test_what_was_planned_before_an_outage_is_caught_up_as_its_policy_says(
    killed: ServedProcess, wait_until: WaitUntil
) -> None:
    kept = {"none": 0, "latest": 1, "bounded": 3}
    async with Door(killed.address) as door:
        for name in (*kept, "all"):
            limit = {"catch_up_limit": kept[name]} if name == "bounded" else {}
            await register(door, name, catch_up=f"CATCH_UP_{name.upper()}", **limit)

    async def fired() -> bool:
        return all(
            any(trigger_ms for _, trigger_ms, *_ in firings(killed.data, name)) for name in (*kept, "all")
        )

    await wait_until(fired, why="all fire")
    killed_ms = await outage(killed, wait_until)

    async def fires_again() -> bool:
        return all(
            any(
                nominal_ms > killed_ms + OUTAGE_MS and trigger_ms
                for nominal_ms, trigger_ms, *_ in firings(killed.data, name)
            )
            for name in (*kept, "all")
        )

    await wait_until(fires_again, why="all fire again")
    late = {
        name: [one for one in firings(killed.data, name) if one[1] > one[0] + LATE_MS]
        for name in (*kept, "all")
    }
    assert len(late["all"]) >= (OUTAGE_MS - LATE_MS) // EVERY_MS - 1
    for name, most in kept.items():
        assert len(late[name]) <= most, name
        check_once(killed.data, name)
        async with Door(killed.address) as door:
            shown = (await door.call("ScheduleService/GetSchedule", name=f"schedules/{name}")).schedule
        dropped = [one for one in firings(killed.data, name) if one[2] == TaskState.CANCELLED]
        assert shown.missed_count == len(dropped) > 0, name


@pytest.mark.timeout(180)
async def test_overlap_policies_hold_and_count_over_kills(
    killed: ServedProcess, wait_until: WaitUntil
) -> None:
    names = {policy: policy.lower().replace("_", "-") for policy in POLICIES}
    async with Door(killed.address) as door:
        for policy, name in names.items():
            await register(door, name, overlap=f"OVERLAP_{policy}")
    accepted: set[int] = set()
    for _ in range(KILLS):
        async with Door(killed.address) as door, Worker(door, *names.values(), lease_ms=2_000) as worker:
            await worker.credits(1_000)
            for lease in await worker.tasks(6):
                answer = await worker.complete(lease)
                if answer.result == answer.RESULT_ACCEPTED:
                    accepted.add(int(lease.task.name.partition("/")[2]))
            killed.kill()
        killed.start()

    async with Door(killed.address) as door, Worker(door, *names.values()) as worker:
        await worker.credits(1_000)
        # The one that runs is cancelled by the next, its worker hears of it, and the next is given.
        first = next_of = None
        while next_of is None:
            (lease,) = await worker.tasks(1)
            if lease.task.schedule == "schedules/cancel-other":
                first, next_of = (lease, None) if first is None else (first, lease)
        assert first is not None
        assert next_of.task.nominal_time_ms > first.task.nominal_time_ms
        beat = await worker.beat(first, next_of)
        assert first.lease_token in beat.cancelled_lease_tokens
        assert not beat.lost_lease_tokens
        answer = await worker.complete(first)
        assert answer.result == answer.RESULT_LEASE_LOST

        for policy, name in names.items():
            await door.call("ScheduleService/PauseSchedule", name=f"schedules/{name}")
            shown = (await door.call("ScheduleService/GetSchedule", name=f"schedules/{name}")).schedule
            check_once(killed.data, name)
            codes = [code for *_, code in firings(killed.data, name)]
            assert shown.skipped_count == codes.count("OVERLAP_SKIPPED"), policy
            assert shown.cancelled_count == codes.count("OVERLAP_CANCELLED"), policy
            told = (shown.skipped_count, shown.buffered_count, shown.cancelled_count)
            stored = (
                "SELECT skipped_count, buffered_count, cancelled_count FROM schedules WHERE schedule_id = ?"
            )
            assert [told] == Tables(killed.data).rows(stored, name), policy
    executed = {
        task_id for (task_id,) in Tables(killed.data).rows("SELECT task_id FROM tasks WHERE state = 4")
    }
    assert accepted <= executed
