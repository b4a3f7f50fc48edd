"""A request_id is answered once."""

from __future__ import annotations

import asyncio

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import REQUEST_ID_WINDOW_MS
from cuptime.domain.values import TaskState
from cuptime.tasks.form import NewTask
from tests.unit.tasks.rig import Rig, taken


async def test_a_repeat_gets_the_first_answer_and_makes_nothing(rig: Rig) -> None:
    session = rig.worker()
    first = await rig.line.enqueue(NewTask("sheets", b"x", delay_ms=5), request_id="r1")
    await rig.pass_ms(1_000)
    [lease] = await taken(session)
    await session.fail(lease.token, "LATER", retriable=True)
    again = await rig.line.enqueue(NewTask("sheets", b"x", delay_ms=5), request_id="r1")
    assert again == first, "as it was answered, whatever became of it since"
    assert (await rig.storage.counts())["tasks"] == 1


async def test_concurrent_repeats_make_one(rig: Rig) -> None:
    asked = [rig.line.enqueue_batch([NewTask("sheets")] * 3, request_id="r1") for _ in range(20)]
    answers = await asyncio.gather(*asked)
    assert all(answer == answers[0] for answer in answers)
    assert (await rig.storage.counts())["tasks"] == 3


async def test_a_repeat_after_a_restart_gets_the_first_answer(rig: Rig) -> None:
    first = await rig.line.enqueue(NewTask("sheets"), request_id="r1")
    await rig.line.close()
    await rig.boot()
    assert await rig.line.enqueue(NewTask("sheets"), request_id="r1") == first


async def test_another_request_under_the_same_id_is_refused(rig: Rig) -> None:
    task = await rig.line.enqueue(NewTask("sheets", b"x"), request_id="r1")
    for call in (
        rig.line.enqueue(NewTask("sheets", b"y"), request_id="r1"),
        rig.line.cancel(task.task_id, request_id="r1"),
    ):
        with pytest.raises(CuptimeError) as refused:
            await call
        assert refused.value.reason is Reason.REQUEST_ID_REUSED
    assert await rig.state(task) is TaskState.SCHEDULED


async def test_an_id_is_free_again_after_its_window(rig: Rig) -> None:
    await rig.line.enqueue(NewTask("sheets", b"x"), request_id="r1")
    rig.clock.advance(REQUEST_ID_WINDOW_MS)
    await rig.line.enqueue(NewTask("sheets", b"y"), request_id="r1")
    assert (await rig.storage.counts())["tasks"] == 2


async def test_a_commit_that_was_kept_though_it_failed_is_answered_and_armed_by_the_repeat(rig: Rig) -> None:
    rig.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError) as failed:
        await rig.line.enqueue(NewTask("sheets", delay_ms=5), request_id="r")
    assert failed.value.reason is Reason.STORAGE_UNAVAILABLE
    task = await rig.line.enqueue(NewTask("sheets", delay_ms=5), request_id="r")
    assert (await rig.storage.counts())["tasks"] == 1
    await rig.pass_ms(5)
    assert await rig.state(task) is TaskState.TRIGGERED


async def test_cancel_and_retry_can_be_repeated(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=10)
    cancelled = await rig.line.cancel(task.task_id, request_id="c")
    assert await rig.line.cancel(task.task_id, request_id="c") == cancelled
    other = await rig.enqueue(max_retries=0)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await session.fail(lease.token, "BROKEN")
    retried = await rig.line.retry(other.task_id, request_id="t")
    await rig.pass_ms(1_000)
    again = await rig.line.retry(other.task_id, request_id="t")
    assert (again.state, again.due_ms, again.retry_count) == (TaskState.SCHEDULED, retried.due_ms, 0)
    assert await rig.state(other) is TaskState.TRIGGERED


@pytest.mark.parametrize("request_id", ["x" * 65, "has space", "é", "\n"])
async def test_a_bad_request_id_is_refused(rig: Rig, request_id: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        await rig.line.enqueue(NewTask("sheets"), request_id=request_id)
    assert refused.value.field == "request_id"


async def test_a_caller_that_hangs_up_leaves_a_task_that_fires(rig: Rig) -> None:
    asking = asyncio.ensure_future(rig.line.enqueue(NewTask("sheets", delay_ms=5)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    session = rig.worker()
    for _ in range(10):
        await asyncio.sleep(0)
    await rig.pass_ms(5)
    assert len(await taken(session)) == 1
