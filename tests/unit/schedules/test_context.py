"""The business context of a schedule's tasks: each firing has its own, and what is read back broken goes no further."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.api.schedules import Targets
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import TaskContext, TaskState
from cuptime.domain.writes import ReplaceSchedule
from tests.unit.schedules.desk_rig import ScheduleRig, every
from tests.unit.tasks.rig import START_MS, taken
from tests.unit.tasks.test_leases import crash

MINUTE = 60_000


def target(sku_version: str = "2.1") -> bytes:
    context = {"group_id": 10_001, "sku_version": sku_version, "stock_snapshot": 7, "timestamp_ms": 5}
    return pb.Target(task={"queue": "sheets", "payload": b"p", "context": context}).SerializeToString()


@pytest.fixture
async def api_rig(rig: ScheduleRig) -> ScheduleRig:
    """With the targets of the API."""
    rig.targets = Targets()
    await crash(rig)
    await rig.start()
    return rig


async def test_each_firing_has_the_context_of_its_own_instant_and_runs(api_rig: ScheduleRig) -> None:
    rig = api_rig
    await rig.register("s", every(MINUTE), target())
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(2 * MINUTE)
    leases = await taken(worker)
    assert [lease.row.context for lease in leases] == [
        TaskContext(10_001, "2.1", 7, START_MS + minute * MINUTE) for minute in (1, 2)
    ]
    assert len({lease.idempotency_key for lease in leases}) == 2


async def test_two_schedules_that_do_the_same_at_the_same_instant_do_it_once(api_rig: ScheduleRig) -> None:
    rig = api_rig
    await rig.register("s", every(MINUTE), target())
    await rig.register("t", every(MINUTE), target())
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(MINUTE)
    (lease,) = await taken(worker)
    await worker.complete(lease.token, b"sheet")
    await rig.pass_ms(0)
    assert await taken(worker) == []
    rows = await rig.storage.tasks(TaskFilter(state=TaskState.EXECUTED), after=0, limit=9)
    assert [row.result for row in rows] == [b"sheet", b"sheet"]


async def test_a_context_that_is_read_back_broken_fails_its_task_and_reaches_no_worker(
    api_rig: ScheduleRig, caplog: pytest.LogCaptureFixture
) -> None:
    rig = api_rig
    schedule = await rig.register("s", every(MINUTE), target())
    stored = await rig.storage.schedule_by_seq(schedule.schedule_seq)
    assert stored is not None
    await rig.storage.commit(rig.fence, [ReplaceSchedule(replace(stored, target=target("two")), 1)])
    await crash(rig)
    await rig.start()
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.pass_ms(8 * MINUTE)
    good = await taken(worker)
    failed = await rig.storage.tasks(TaskFilter(state=TaskState.FAILED), after=0, limit=99)
    assert len(good) + len(failed) == 8
    assert failed
    assert {task.error_code for task in failed} == {"CONTEXT_INVALID"}
    assert {lease.row.context.sku_version for lease in good if lease.row.context} == {"2.1"}
    assert "broken business context" in caplog.text
