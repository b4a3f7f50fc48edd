"""Who watches a task hears each of its states, or that it was too slow."""

from __future__ import annotations

import asyncio

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WATCH_QUEUE_MAX
from cuptime.domain.values import TaskState
from tests.unit.tasks.rig import Rig, taken


async def test_watch_tells_every_state_and_ends(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(max_retries=1, backoff_ms=10)
    seen: list[TaskState] = []

    async def watch() -> None:
        async for change in await rig.line.watch(task.task_id):
            seen.append(change.state)

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await session.fail(lease.token, "ONCE", retriable=True)
    await rig.pass_ms(10)
    [lease] = await taken(session)
    await session.complete(lease.token)
    await asyncio.wait_for(watching, 5)
    states = [state for state, before in zip(seen, [None, *seen], strict=False) if state is not before]
    expected = ["SCHEDULED", "TRIGGERED", "FAILED", "SCHEDULED", "TRIGGERED", "EXECUTED"]
    assert [state.name for state in states] == expected
    assert len(rig.line._means.watchers) == 0


async def test_a_slow_watcher_is_dropped_and_told(rig: Rig) -> None:
    task = await rig.enqueue(delay_ms=1_000)
    changes = await rig.line.watch(task.task_id)
    assert (await anext(changes)).task_id == task.task_id
    for _ in range(WATCH_QUEUE_MAX + 1):
        rig.line._means.watchers.publish(task)
    with pytest.raises(CuptimeError) as refused:
        await anext(changes)
    assert refused.value.reason is Reason.OVERLOADED
    assert len(rig.line._means.watchers) == 0
    with pytest.raises(CuptimeError) as refused:
        await rig.line.watch(404)
    assert refused.value.reason is Reason.TASK_NOT_FOUND
    assert len(rig.line._means.watchers) == 0
