"""A task from request to rest: enqueue, trigger, lease, complete, fail, cancel, retry, watch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TASK_PAYLOAD_BYTES_MAX
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import TaskContext, TaskState
from cuptime.domain.writes import ReplaceTask
from cuptime.tasks.form import NewTask
from cuptime.tasks.workers import UNREAD_BYTES_MAX, Acknowledgement, AckResult, Lease
from tests.unit.tasks.rig import START_MS, Rig, taken

CONTEXT = TaskContext(10_001, "2.1", 5, START_MS)


async def test_a_task_is_triggered_at_its_time_and_never_before(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=1_000)
    assert (task.state, task.due_ms) == (TaskState.SCHEDULED, START_MS + 1_000)
    await rig.pass_ms(999)
    assert await rig.state(task) is TaskState.SCHEDULED
    assert await taken(session) == []
    await rig.pass_ms(1)
    [lease] = await taken(session)
    assert (lease.task.task_id, lease.attempt, lease.task.trigger_ms) == (task.task_id, 1, START_MS + 1_000)
    assert rig.metrics.lateness_ms == [0]


async def test_trigger_and_lease_are_one_commit_when_a_worker_waits(rig: Rig) -> None:
    rig.worker()
    await rig.enqueue(delay_ms=10)
    before = rig.storage.commits  # type: ignore[attr-defined]
    await rig.pass_ms(10)
    assert rig.storage.commits == before + 1  # type: ignore[attr-defined]


async def test_complete_keeps_the_result_and_is_acknowledged_after_the_commit(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(payload=b"in")
    await rig.pass_ms(0)
    [lease] = await taken(session)
    ack = await session.complete(lease.token, b"out")
    assert (ack.result, ack.state) == (AckResult.ACCEPTED, TaskState.EXECUTED)
    row = await rig.line.get(task.task_id)
    assert (row.state, row.result, row.attempt, row.worker) == (TaskState.EXECUTED, b"out", 1, "worker-1")
    assert row.result_hash.hex() == lease.idempotency_key
    late = await session.complete(lease.token, b"again")
    assert late.result is AckResult.LEASE_LOST
    assert (await rig.line.get(task.task_id)).result == b"out"
    assert len(rig.wheel) == 0, "the lease's end is disarmed"


async def test_a_failed_attempt_is_retried_with_a_doubling_backoff_until_its_limit(rig: Rig) -> None:
    session = rig.worker(credit=10)
    task = await rig.enqueue(max_retries=2, backoff_ms=100)
    dues = []
    for _ in range(3):
        await rig.pass_ms((await rig.line.get(task.task_id)).due_ms - rig.clock.now_ms())
        [lease] = await taken(session)
        dues.append(rig.clock.now_ms() - START_MS)
        ack = await session.fail(lease.token, "MACHINE_COLD", "warming up", retriable=True)
        assert ack.result is AckResult.ACCEPTED
    assert dues == [0, 100, 300]
    assert ack.state is TaskState.FAILED
    row = await rig.line.get(task.task_id)
    assert (row.error_code, row.retry_count, row.attempt, row.failed_input) == ("MACHINE_COLD", 2, 3, b"")
    await rig.pass_ms(10_000_000)
    assert await taken(session) == []


async def test_what_is_not_retriable_fails_at_once(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(max_retries=5)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    ack = await session.fail(lease.token, "NO_SUCH_CUP", retriable=False)
    assert ack.state is TaskState.FAILED
    again = await rig.line.retry(task.task_id)
    assert (again.state, again.retry_count) == (TaskState.SCHEDULED, 0)
    await rig.pass_ms(5)
    assert [lease.attempt for lease in await taken(session)] == [2]


@pytest.mark.parametrize(
    ("code", "message"), [("lower", ""), ("", ""), ("A" * 64, ""), ("FINE", "x" * 4_097)]
)
async def test_an_invalid_report_changes_nothing(rig: Rig, code: str, message: str) -> None:
    session = rig.worker()
    task = await rig.enqueue()
    await rig.pass_ms(0)
    [lease] = await taken(session)
    assert (await session.fail(lease.token, code, message)).result is AckResult.INVALID
    assert (await session.complete(lease.token, bytes(65_537))).result is AckResult.INVALID
    assert await rig.state(task) is TaskState.TRIGGERED
    assert (await session.complete(lease.token)).result is AckResult.ACCEPTED


@pytest.mark.parametrize(
    "token", ["", "x", "1.", "0.ab", "-1." + "a" * 32, "999." + "a" * 32, "1." + "A" * 32, "9" * 400]
)
async def test_a_token_nobody_gave_is_a_lost_lease(rig: Rig, token: str) -> None:
    session = rig.worker()
    assert (await session.complete(token)).result is AckResult.LEASE_LOST
    assert (await session.heartbeat([token])).lost == (token,)


async def test_many_reports_share_a_commit_and_one_lost_lease_refuses_only_itself(rig: Rig) -> None:
    session = rig.worker(credit=100)
    tasks = await rig.line.enqueue_batch([NewTask("sheets") for _ in range(50)])
    await rig.pass_ms(0)
    leases = {lease.task.task_id: lease for lease in await taken(session)}
    assert len(leases) == 50
    # Taken away behind the line's back, as another owner would.
    stolen = tasks[7].task_id
    row = await rig.line.get(stolen)
    await rig.storage.commit(
        rig.fence, [ReplaceTask(replace(row, execution_id="other"), (TaskState.TRIGGERED,))]
    )
    before = rig.storage.commits  # type: ignore[attr-defined]
    acks = await asyncio.gather(*(session.complete(lease.token) for lease in leases.values()))
    lost = [ack.lease_token for ack in acks if ack.result is not AckResult.ACCEPTED]
    assert lost == [leases[stolen].token]
    assert rig.storage.commits - before <= 50  # type: ignore[attr-defined]


async def test_reports_survive_a_storage_that_fails_once(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue()
    await rig.pass_ms(0)
    [lease] = await taken(session)
    rig.storage.failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    with pytest.raises(CuptimeError) as refused:
        await session.complete(lease.token)
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert (await session.complete(lease.token)).result is AckResult.ACCEPTED
    assert await rig.state(task) is TaskState.EXECUTED


async def test_a_report_whose_commit_was_kept_though_told_as_failed_is_accepted_when_it_comes_again(
    rig: Rig,
) -> None:
    session = rig.worker()
    task = await rig.enqueue(context=CONTEXT)
    twin = await rig.enqueue(context=CONTEXT)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    rig.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    with pytest.raises(CuptimeError):
        await session.complete(lease.token, b"first")
    again = await session.complete(lease.token, b"second")
    assert (again.result, again.state) == (AckResult.ACCEPTED, TaskState.EXECUTED)
    await rig.pass_ms(0)
    for row in (task, twin):
        assert (await rig.line.get(row.task_id)).result == b"first"
    assert rig.metrics.depths["leased"]() == 0


async def test_a_failure_that_was_kept_though_told_as_failed_is_retried_in_time(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(max_retries=3, backoff_ms=500)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    rig.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    with pytest.raises(CuptimeError):
        await session.fail(lease.token, "BROKEN", retriable=True)
    assert await rig.state(task) is TaskState.SCHEDULED
    again = await session.fail(lease.token, "BROKEN", retriable=True)
    assert (again.result, again.state) == (AckResult.ACCEPTED, TaskState.SCHEDULED)
    await rig.pass_ms(500)
    [second] = await taken(session)
    assert (second.task.task_id, second.attempt, second.task.retry_count) == (task.task_id, 2, 1)


async def test_reports_of_one_message_share_a_commit(rig: Rig) -> None:
    session = rig.worker(credit=100)
    await rig.line.enqueue_batch([NewTask("sheets") for _ in range(50)])
    await rig.pass_ms(0)
    leases = await taken(session)
    before = rig.storage.commits  # type: ignore[attr-defined]
    heard: list[Acknowledgement] = []
    session.completed([(lease.token, b"done") for lease in leases], lambda acks, _: heard.extend(acks))
    await rig.pass_ms(0)
    assert {(ack.result, ack.state) for ack in heard} == {(AckResult.ACCEPTED, TaskState.EXECUTED)}
    assert len(heard) == 50
    assert rig.storage.commits - before == 1  # type: ignore[attr-defined]


async def test_reports_of_one_message_are_looked_up_together_after_a_restart(rig: Rig) -> None:
    session = rig.worker(credit=10)
    await rig.line.enqueue_batch([NewTask("sheets") for _ in range(3)])
    await rig.pass_ms(0)
    tokens = [lease.token for lease in await taken(session)]
    rig.line._delivery.leases._by_task.clear()
    heard: list[Acknowledgement] = []
    gone = f"{10**6}.{'a' * 32}"
    reports = [(token, b"") for token in (*tokens, gone, tokens[0])]
    session.completed(reports, lambda acks, _: heard.extend(acks))
    await rig.pass_ms(0)
    await wait_for(lambda: len(heard) == 5)
    accepted = [ack.lease_token for ack in heard if ack.result is AckResult.ACCEPTED]
    assert sorted(accepted) == sorted(tokens)
    assert sorted(ack.lease_token for ack in heard if ack.result is AckResult.LEASE_LOST) == sorted(
        [gone, tokens[0]]
    )


async def test_a_session_that_is_not_read_is_dealt_so_many_bytes(rig: Rig) -> None:
    session = rig.worker(credit=1_000)
    await rig.line.enqueue_batch([NewTask("sheets", payload=bytes(60_000)) for _ in range(200)])
    await rig.pass_ms(0)
    dealt = rig.metrics.depths["leased"]()
    assert UNREAD_BYTES_MAX // 60_000 <= dealt <= UNREAD_BYTES_MAX // 60_000 + 1
    assert rig.metrics.depths["ready"]() == 200 - dealt
    seen: list[Lease] = []
    while leases := session.take(10, 1 << 40):
        seen += leases
        await rig.pass_ms(0)
    assert len({lease.task_id for lease in seen}) == 200
    assert session.unread_bytes == 0


async def wait_for(happened: Callable[[], bool]) -> None:
    """Lets others run until it has; bounded."""
    for _ in range(1_000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


async def test_triggers_survive_a_storage_that_fails(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=10)
    rig.storage.failures = [Reason.OVERLOADED, Reason.STORAGE_UNAVAILABLE, Reason.INTERNAL]  # type: ignore[attr-defined]
    rig.clock.advance(10)
    await rig.pass_ms(2_000)
    await rig.pass_ms(0)
    assert await rig.state(task) is TaskState.TRIGGERED
    assert [lease.task.task_id for lease in await taken(session)] == [task.task_id]
    assert session.credit == 9


async def test_cancel_before_the_trigger(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=100)
    assert (await rig.line.cancel(task.task_id)).state is TaskState.CANCELLED
    await rig.pass_ms(1_000)
    assert await taken(session) == []
    with pytest.raises(CuptimeError) as refused:
        await rig.line.cancel(task.task_id)
    assert refused.value.reason is Reason.STATE_CONFLICT


async def test_cancel_under_a_worker_is_told_by_heartbeat_and_its_report_changes_nothing(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue()
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await rig.line.cancel(task.task_id)
    assert (await session.heartbeat([lease.token])).cancelled == (lease.token,)
    assert (await session.complete(lease.token)).result is AckResult.LEASE_LOST
    assert await rig.state(task) is TaskState.CANCELLED


async def test_cancel_that_meets_the_trigger_has_one_winner(rig: Rig) -> None:
    session = rig.worker(credit=200)
    tasks = await rig.line.enqueue_batch([NewTask("sheets", delay_ms=5) for _ in range(100)])
    rig.clock.advance(5)
    await asyncio.gather(rig.line.pump(), *(rig.line.cancel(task.task_id) for task in tasks))
    await rig.pass_ms(0)
    assert {await rig.state(task) for task in tasks} == {TaskState.CANCELLED}
    for lease in await taken(session):
        assert (await session.complete(lease.token)).result is AckResult.LEASE_LOST


async def test_what_has_no_worker_waits_by_priority(rig: Rig) -> None:
    wanted = []
    for priority in (50, 1, 99, 7):
        wanted.append((priority, (await rig.enqueue(priority=priority)).task_id))
    await rig.pass_ms(0)
    session = rig.worker(credit=3)
    await rig.pass_ms(0)
    assert [lease.task.task_id for lease in await taken(session)] == [
        task_id for _, task_id in sorted(wanted)[:3]
    ]
    session.credits(1)
    await rig.pass_ms(0)
    assert [lease.task.priority for lease in await taken(session)] == [99]


async def test_a_session_gets_its_queues_and_no_more_than_its_credits(rig: Rig) -> None:
    tea, cups = rig.worker("tea", credit=2), rig.worker("cups", "tea", credit=5)
    await rig.line.enqueue_batch([NewTask("tea")] * 4 + [NewTask("cups")] * 4 + [NewTask("ice")])
    await rig.pass_ms(0)
    first, second = await taken(tea), await taken(cups)
    assert {lease.task.queue for lease in first} <= {"tea"}
    assert len(first) <= 2
    assert len(second) == 5
    assert len(first) + len(second) == 7
    assert tea.credit + cups.credit == 0
    assert rig.metrics.depths["ready"]() == 2


async def test_equal_input_and_context_runs_once(rig: Rig) -> None:
    session = rig.worker()
    first = await rig.enqueue(payload=b"x", context=CONTEXT)
    twin = await rig.enqueue(payload=b"x", context=CONTEXT)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    assert await rig.state(twin) is TaskState.TRIGGERED
    await session.complete(lease.token, b"done")
    await rig.pass_ms(0)
    third = await rig.enqueue(payload=b"x", context=CONTEXT)
    await rig.pass_ms(0)
    assert await taken(session) == []
    for task in (first, twin, third):
        row = await rig.line.get(task.task_id)
        assert (row.state, row.result) == (TaskState.EXECUTED, b"done")


async def test_the_twin_runs_when_the_first_one_fails(rig: Rig) -> None:
    session = rig.worker()
    await rig.enqueue(payload=b"x", context=CONTEXT, max_retries=0)
    twin = await rig.enqueue(payload=b"x", context=CONTEXT)
    await rig.pass_ms(0)
    [lease] = await taken(session)
    await session.fail(lease.token, "BROKEN")
    await rig.pass_ms(0)
    assert [lease.task.task_id for lease in await taken(session)] == [twin.task_id]


@pytest.mark.parametrize(
    ("field", "new"),
    [
        ("task.queue", NewTask("")),
        ("task.queue", NewTask("Tea")),
        ("task.queue", NewTask("cuptime.open_group")),
        ("task.payload", NewTask("tea", bytes(TASK_PAYLOAD_BYTES_MAX + 1))),
        ("task.due_time_ms", NewTask("tea", due_ms=1, delay_ms=1)),
        ("task.due_time_ms", NewTask("tea", due_ms=-1)),
        ("task.due_time_ms", NewTask("tea", due_ms=START_MS * 2)),
        ("delay_ms", NewTask("tea", delay_ms=-1)),
        ("task.priority", NewTask("tea", priority=101)),
        ("task.max_retries", NewTask("tea", max_retries=101)),
        ("task.backoff_ms", NewTask("tea", backoff_ms=3_600_001)),
        ("task.context.group_id", NewTask("tea", context=TaskContext(9_999, "2.1", 0, START_MS))),
        ("task.context.group_id", NewTask("tea", context=TaskContext(10_002, "2.1", 0, START_MS))),
        ("task.context.sku_version", NewTask("tea", context=TaskContext(10_001, "2", 0, START_MS))),
        ("task.context.sku_version", NewTask("tea", context=TaskContext(10_001, "２.1", 0, START_MS))),
        ("task.context.stock_snapshot", NewTask("tea", context=TaskContext(10_001, "2.1", -1, START_MS))),
        ("task.context.timestamp_ms", NewTask("tea", context=TaskContext(10_001, "2.1", 0, 0))),
        ("task.context.timestamp_ms", NewTask("tea", context=TaskContext(10_001, "2.1", 0, 5))),
    ],
)
async def test_bad_requests_name_the_field_and_keep_nothing(rig: Rig, field: str, new: NewTask) -> None:
    with pytest.raises(CuptimeError) as refused:
        await rig.line.enqueue(new, request_id="r")
    assert refused.value.field == field
    assert (await rig.storage.counts())["tasks"] == 0
    assert await rig.storage.request("r") is None


async def test_a_batch_is_all_or_none_and_bounded(rig: Rig) -> None:
    with pytest.raises(CuptimeError) as refused:
        await rig.line.enqueue_batch([NewTask("tea"), NewTask("")])
    assert refused.value.field == "requests[1].task.queue"
    with pytest.raises(CuptimeError) as refused:
        await rig.line.enqueue_batch([NewTask("tea")] * 1_001)
    assert refused.value.reason is Reason.TOO_MANY_ENTRIES
    assert (await rig.storage.counts())["tasks"] == 0
    shown = await rig.line.enqueue_batch([NewTask("tea")], validate_only=True)
    assert (shown[0].task_id, (await rig.storage.counts())["tasks"]) == (0, 0)


async def test_list_filters(rig: Rig) -> None:
    await rig.line.enqueue_batch([NewTask("tea", delay_ms=n) for n in range(1, 6)] + [NewTask("ice")])
    rows = await rig.line.tasks(TaskFilter(queue="tea", due_from_ms=START_MS + 2), after=0, limit=3)
    assert [row.due_ms - START_MS for row in rows] == [2, 3, 4]


async def test_a_clock_set_back_between_the_wheel_and_the_trigger_puts_the_task_off(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(delay_ms=10)
    rig.clock.advance(10)
    rig.wheel.pump()
    rig.clock.step(-5)
    await rig.pass_ms(4)
    assert await rig.state(task) is TaskState.SCHEDULED
    await rig.pass_ms(1)
    assert [lease.task.task_id for lease in await taken(session)] == [task.task_id]


async def test_a_broken_context_read_back_fails_and_is_never_given_out(rig: Rig) -> None:
    session = rig.worker()
    task = await rig.enqueue(context=CONTEXT, delay_ms=90_000)
    broken = replace(await rig.line.get(task.task_id), context=replace(CONTEXT, sku_version="broken"))
    await rig.storage.commit(rig.fence, [ReplaceTask(broken, (TaskState.SCHEDULED,))])
    await rig.pass_ms(90_000)
    row = await rig.line.get(task.task_id)
    assert (row.state, row.error_code, row.retriable) == (TaskState.FAILED, "CONTEXT_INVALID", False)
    assert await taken(session) == []


async def test_a_long_backlog_keeps_bare_ids_and_loses_none(rig: Rig) -> None:
    rig.line._ready._held_max = 5
    tasks = [
        task.task_id for _ in range(3) for task in await rig.line.enqueue_batch([NewTask("sheets")] * 500)
    ]
    await rig.pass_ms(0)
    assert rig.metrics.depths["ready"]() == 1_500
    session = rig.worker(credit=700)
    await rig.pass_ms(0)
    session.credits(1_000)
    await rig.pass_ms(0)
    assert sorted(lease.task.task_id for lease in await taken(session)) == tasks
    assert rig.metrics.depths["ready"]() == 0
