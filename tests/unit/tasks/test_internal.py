"""Internal tasks run in the service, so many at once, and come again after a fault."""

from __future__ import annotations

import asyncio

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import InsertTasks
from tests.unit.tasks.rig import START_MS, Rig


async def test_internal_tasks_run_here_and_are_retried(rig: Rig) -> None:
    runs: list[int] = []

    async def run(task: Task) -> bytes:
        runs.append(task.attempt)
        if len(runs) == 1:
            raise RuntimeError("not yet")
        return b"opened"

    rig.line.internal("cuptime.open_group", run)
    task = rig.line.new_task("cuptime.open_group", b"", START_MS + 10, max_retries=1)
    await rig.storage.commit(rig.fence, [InsertTasks([task])])
    rig.line.armed([task])
    await rig.pass_ms(10)
    assert await rig.state(task) is TaskState.SCHEDULED
    await rig.pass_ms(5_000)
    row = await rig.line.get(task.task_id)
    assert (row.state, row.result, len(runs)) == (TaskState.EXECUTED, b"opened", 2)


async def test_internal_tasks_run_so_many_at_once(rig: Rig) -> None:
    gate, running, most = asyncio.Event(), 0, 0

    async def run(task: Task) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return b""

    rig.line._internal._at_once_max = 3
    rig.line.internal("cuptime.check", run)
    tasks = [rig.line.new_task("cuptime.check", b"", START_MS) for _ in range(20)]
    await rig.storage.commit(rig.fence, [InsertTasks(tasks)])
    rig.line.armed(tasks)
    rig.wheel.pump()
    await rig.line._trigger.settle()
    gate.set()
    await rig.pass_ms(0)
    assert most == 3
    assert {await rig.state(task) for task in tasks} == {TaskState.EXECUTED}


@pytest.mark.parametrize("reason", [Reason.INTERNAL, Reason.STATE_CONFLICT, Reason.STORAGE_UNAVAILABLE])
async def test_an_internal_task_comes_again_after_a_fault_of_the_service(rig: Rig, reason: Reason) -> None:
    runs = 0

    async def run(task: Task) -> bytes:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise CuptimeError(reason)
        return b"closed"

    rig.line.internal("cuptime.check", run)
    task = rig.line.new_task("cuptime.check", b"", START_MS, max_retries=2)
    await rig.storage.commit(rig.fence, [InsertTasks([task])])
    rig.line.armed([task])
    await rig.pass_ms(10_000)
    assert (runs, await rig.state(task)) == (2, TaskState.EXECUTED)
