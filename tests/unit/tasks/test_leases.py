"""Leases: expiry, heartbeats, streams that end, and a server that does."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError
from cuptime.domain.values import TaskState
from cuptime.domain.writes import InsertTasks
from cuptime.tasks import life
from cuptime.tasks.form import NewTask
from cuptime.tasks.workers import AckResult
from tests.unit.tasks.rig import START_MS, Rig, taken


async def test_an_expired_lease_is_a_failed_attempt(rig: Rig) -> None:
    session = rig.worker(lease_ms=1_000)
    task = await rig.enqueue(max_retries=1, backoff_ms=100)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await rig.pass_ms(999)
    assert await rig.state(task) is TaskState.TRIGGERED
    await rig.pass_ms(1)
    row = await rig.line.get(task.task_id)
    assert (row.state, row.error_code, row.retry_count) == (TaskState.SCHEDULED, life.LEASE_EXPIRED, 1)
    assert row.due_ms == START_MS + 1_100
    assert (await session.complete(lease.token)).result is AckResult.LEASE_LOST
    await rig.pass_ms(100)
    [second] = await taken(session)
    assert (second.attempt, second.idempotency_key) == (2, lease.idempotency_key)
    await rig.pass_ms(1_000)
    assert await rig.state(task) is TaskState.FAILED


async def test_heartbeats_keep_a_lease(rig: Rig) -> None:
    session = rig.worker(lease_ms=1_000)
    task = await rig.enqueue()
    await rig.pass_ms(0)
    [lease] = await taken(session)
    for _ in range(5):
        await rig.pass_ms(900)
        answer = await session.heartbeat([lease.token])
        assert (answer.lost, answer.cancelled) == ((), ())
        assert answer.lease_until_ms == rig.clock.now_ms() + 1_000
        assert (await rig.line.get(task.task_id)).lease_until_ms == answer.lease_until_ms
    assert (await session.complete(lease.token)).result is AckResult.ACCEPTED


async def test_a_closed_stream_gives_back_at_once_and_counts_what_was_sent(rig: Rig) -> None:
    session = rig.worker(credit=1, lease_ms=60_000)
    sent = await rig.enqueue(max_retries=1)
    await rig.pass_ms(0)
    await taken(session)
    session.credits(1)
    unsent = await rig.enqueue(max_retries=0)
    await rig.pass_ms(0)
    await session.close()
    other = rig.worker(credit=5)
    await rig.pass_ms(1)
    leases = {lease.task.task_id: lease for lease in await taken(other)}
    assert {task_id: lease.attempt for task_id, lease in leases.items()} == {
        sent.task_id: 2,
        unsent.task_id: 1,
    }
    assert leases[sent.task_id].task.retry_count == 1
    assert leases[unsent.task_id].task.retry_count == 0
    await other.close()
    await rig.pass_ms(1)
    assert await rig.state(sent) is TaskState.FAILED
    assert (await rig.line.get(unsent.task_id)).error_code == life.WORKER_GONE


async def test_a_stream_that_ends_while_tasks_are_on_their_way(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=5, max_retries=0)
    rig.clock.advance(5)
    rig.wheel.pump()
    await asyncio.sleep(0)
    await session.close()
    await rig.pass_ms(0)
    assert await rig.state(task) is TaskState.TRIGGERED
    other = rig.worker()
    await rig.pass_ms(0)
    assert [lease.attempt for lease in await taken(other)] == [1]


async def test_batches_end_with_the_session(rig: Rig) -> None:
    session = rig.worker()
    got: list[int] = []

    async def read() -> None:
        async for batch in session.batches():
            got.extend(lease.task.task_id for lease in batch)

    reading = asyncio.ensure_future(read())
    task = await rig.enqueue()
    await rig.pass_ms(0)
    await asyncio.sleep(0)
    assert got == [task.task_id]
    await session.close()
    await asyncio.wait_for(reading, 5)


@pytest.mark.parametrize(
    ("worker", "queues", "lease_ms", "field"),
    [
        ("", ["tea"], 0, "hello.worker"),
        ("a b", ["tea"], 0, "hello.worker"),
        ("w", [], 0, "hello.queues"),
        ("w", ["tea", "Tea"], 0, "hello.queues[1]"),
        ("w", ["cuptime.open_group"], 0, "hello.queues[0]"),
        ("w", ["tea"] * 65, 0, "hello.queues"),
        ("w", ["tea"], 999, "hello.lease_ms"),
        ("w", ["tea"], 600_001, "hello.lease_ms"),
    ],
)
async def test_a_bad_hello_names_its_field(
    rig: Rig, worker: str, queues: list[str], lease_ms: int, field: str
) -> None:
    with pytest.raises(CuptimeError) as refused:
        rig.line.open_session(worker, queues, lease_ms)
    assert refused.value.field == field
    assert rig.metrics.depths["workers"]() == 0


@pytest.mark.parametrize("count", [0, -1, 10_001])
async def test_bad_credits(rig: Rig, count: int) -> None:
    with pytest.raises(CuptimeError):
        rig.worker(credit=0).credits(count)


# --- the server ends ------------------------------------------------------------------------------------------------
async def test_recovery_arms_what_waits_and_fires_what_is_overdue(rig: Rig) -> None:
    overdue, later = await rig.line.enqueue_batch(
        [NewTask("sheets", delay_ms=10), NewTask("sheets", delay_ms=90_000)]
    )
    await crash(rig)
    rig.clock.advance(60_000)
    found = await rig.boot()
    assert (found.armed, found.overdue, found.lateness_ms_max) == (2, 1, 59_990)
    session = rig.worker()
    await rig.pass_ms(0)
    assert [lease.task.task_id for lease in await taken(session)] == [overdue.task_id]
    assert max(rig.metrics.lateness_ms) == 59_990
    await rig.pass_ms(30_000)
    assert [lease.task.task_id for lease in await taken(session)] == [later.task_id]
    fresh = await rig.enqueue()
    assert fresh.task_id > later.task_id


async def test_recovery_gives_what_was_ready_to_workers_again(rig: Rig) -> None:
    task = await rig.enqueue()
    await rig.pass_ms(0)
    await crash(rig)
    found = await rig.boot()
    assert found.ready == 1
    session = rig.worker()
    await rig.pass_ms(0)
    assert [(lease.task.task_id, lease.attempt) for lease in await taken(session)] == [(task.task_id, 1)]


async def test_a_lease_outlives_the_server_and_is_honoured(rig: Rig) -> None:
    session = rig.worker(lease_ms=10_000)
    task = await rig.enqueue()
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await crash(rig)
    rig.clock.advance(5_000)
    assert (await rig.boot()).leased == 1
    again = rig.worker()
    await rig.pass_ms(0)
    assert await taken(again) == [], "still with the first worker"
    assert (await again.heartbeat([lease.token])).lost == ()
    assert (await again.complete(lease.token, b"ok")).result is AckResult.ACCEPTED
    assert await rig.state(task) is TaskState.EXECUTED


async def test_a_lease_that_ended_while_nobody_watched_costs_no_retry(rig: Rig) -> None:
    session = rig.worker(lease_ms=1_000)
    task = await rig.enqueue(max_retries=0)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await crash(rig)
    rig.clock.advance(5_000)
    await rig.boot()
    again = rig.worker()
    await rig.pass_ms(0)
    [second] = await taken(again)
    assert (second.task.task_id, second.task.retry_count, second.attempt) == (task.task_id, 0, 2)
    assert (await again.complete(lease.token)).result is AckResult.LEASE_LOST


async def test_a_lease_taken_over_expires_as_any_other(rig: Rig) -> None:
    session = rig.worker(lease_ms=10_000)
    task = await rig.enqueue(max_retries=1)
    await rig.pass_ms(0)
    await taken(session)
    await crash(rig)
    await rig.boot()
    await rig.pass_ms(10_000)
    assert (await rig.line.get(task.task_id)).error_code == life.LEASE_EXPIRED


async def test_internal_tasks_that_were_running_run_again(rig: Rig) -> None:
    gate = asyncio.Event()

    async def hang(_: object) -> bytes:
        await gate.wait()
        return b""

    rig.line.internal("cuptime.check", hang)
    task = rig.line.new_task("cuptime.check", b"", START_MS)
    await rig.storage.commit(rig.fence, [InsertTasks([task])])
    rig.line.armed([task])
    rig.wheel.pump()
    await rig.line._trigger.settle()
    assert await rig.state(task) is TaskState.TRIGGERED
    await crash(rig)

    async def run(_: object) -> bytes:
        return b"second"

    await rig.boot(lambda line: line.internal("cuptime.check", run))
    await rig.pass_ms(0)
    assert (await rig.line.get(task.task_id)).result == b"second"


async def crash(rig: Rig) -> None:
    """The process is gone: whatever ran in it does not go on, and nothing is said to anybody."""
    me = asyncio.current_task()
    others = [running for running in asyncio.all_tasks() if running is not me]
    for running in others:
        running.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def test_a_pending_task_found_at_start_goes_through_both_of_its_transitions(rig: Rig) -> None:
    pending = replace(
        rig.line.new_task("sheets", b"", START_MS + 10), state=TaskState.PENDING, scheduled_ms=0
    )
    await rig.storage.commit(rig.fence, [InsertTasks([pending])])
    await crash(rig)
    assert (await rig.boot()).armed == 1
    session = rig.worker()
    await rig.pass_ms(10)
    [lease] = await taken(session)
    assert lease.task.scheduled_ms == START_MS + 10
    assert (await session.complete(lease.token)).result is AckResult.ACCEPTED
