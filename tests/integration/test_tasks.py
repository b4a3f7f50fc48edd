"""Tasks, workers and schedules over a real server."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as schedules_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door
from tests.integration.worker import Worker

State = tasks_pb.Task
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_numbers = itertools.count(1)


@pytest.fixture
def queue() -> str:
    """A queue that no other test uses."""
    return f"q{next(_numbers)}"


async def enqueued(door: Door, queue: str, delay_ms: int = 0, **task: Any) -> str:
    answer = await door.call("TaskService/EnqueueTask", task={"queue": queue} | task, delay_ms=delay_ms)
    return str(answer.task.name)


async def got(door: Door, name: str) -> Any:
    return (await door.call("TaskService/GetTask", name=name)).task


# --- workers ------------------------------------------------------------------------------------------------------
async def test_a_task_goes_to_a_worker_with_its_trace_and_its_result_is_kept(door: Door, queue: str) -> None:
    said = {"task": {"queue": queue, "payload": b"cups"}, "delay_ms": 50}
    parent = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
    (answer,) = await door.exchange("TaskService/EnqueueTask", [said], metadata=[("traceparent", parent)])
    async with Worker(door, queue) as worker:
        await worker.credits(1)
        (lease,) = await worker.tasks(1)
        assert lease.task.name == answer.task.name
        assert lease.task.payload == b"cups"
        assert lease.attempt == 1
        assert lease.epoch >= 1
        assert lease.idempotency_key == lease.task.result_hash
        assert lease.traceparent.split("-")[1] == TRACE_ID
        assert lease.traceparent != parent, "a hop of its own"
        assert lease.task.trigger_time_ms >= lease.task.due_time_ms, "never early"
        done = await worker.complete(lease, b"sheet")
        assert (done.result, done.state) == (done.RESULT_ACCEPTED, State.STATE_EXECUTED)
    task = await got(door, answer.task.name)
    assert (task.state, task.result) == (State.STATE_EXECUTED, b"sheet")


async def test_no_more_tasks_than_credits(door: Door, queue: str) -> None:
    for _ in range(5):
        await enqueued(door, queue)
    async with Worker(door, queue) as worker:
        await worker.credits(2)
        first = await worker.tasks(2)
        # Two answers later nothing more has come, though three tasks are due.
        await worker.beat(*first)
        await worker.complete_all(first)
        assert worker.unread == []
        await worker.credits(10)
        rest = await worker.tasks(3)
        assert len({lease.task.name for lease in first + rest}) == 5
        await worker.complete_all(rest)


async def test_a_heartbeat_keeps_the_lease_beyond_its_length(
    door: Door, queue: str, wait_until: WaitUntil
) -> None:
    name = await enqueued(door, queue)
    async with Worker(door, queue, lease_ms=1_000) as worker, Worker(door, queue, name="other") as other:
        await worker.credits(1)
        (lease,) = await worker.tasks(1)
        await other.credits(1)

        async def long_held() -> bool:
            answer = await worker.beat(lease)
            assert not answer.lost_lease_tokens
            assert not answer.cancelled_lease_tokens
            return bool(answer.lease_until_time_ms > lease.lease_until_time_ms + 1_500)

        await wait_until(long_held, timeout=10, why="the lease is extended")
        done = await worker.complete(lease)
        assert done.result == done.RESULT_ACCEPTED
        assert other.unread == []
    assert (await got(door, name)).state == State.STATE_EXECUTED


async def test_a_lease_that_expires_goes_to_another_worker(door: Door, queue: str) -> None:
    await enqueued(door, queue, backoff_ms=1)
    async with Worker(door, queue, lease_ms=1_000) as first, Worker(door, queue, name="second") as second:
        await first.credits(1)
        (lost,) = await first.tasks(1)
        await second.credits(1)
        (again,) = await second.tasks(1)
        assert again.task.name == lost.task.name
        assert (lost.attempt, again.attempt) == (1, 2)
        assert again.lease_token != lost.lease_token
        assert again.idempotency_key == lost.idempotency_key
        assert (await first.beat(lost)).lost_lease_tokens == [lost.lease_token]
        late = await first.complete(lost)
        assert late.result == late.RESULT_LEASE_LOST
        done = await second.complete(again, b"second")
        assert done.result == done.RESULT_ACCEPTED
    assert (await got(door, again.task.name)).result == b"second"


async def test_a_worker_that_goes_leaves_its_task_to_another(door: Door, queue: str) -> None:
    await enqueued(door, queue)
    async with Worker(door, queue) as first:
        await first.credits(1)
        (lost,) = await first.tasks(1)
    async with Worker(door, queue) as second:
        await second.credits(1)
        (again,) = await second.tasks(1)
        assert (again.task.name, again.attempt) == (lost.task.name, 2)
        await second.complete_all([again])


async def test_a_failed_task_is_retried_with_its_backoff_until_it_has_none_left(
    door: Door, queue: str
) -> None:
    name = await enqueued(door, queue, max_retries=2, backoff_ms=100)
    async with Worker(door, queue) as worker:
        await worker.credits(10)
        before_ms = 0
        for attempt in (1, 2, 3):
            (lease,) = await worker.tasks(1)
            assert (lease.attempt, lease.task.retry_count) == (attempt, attempt - 1)
            assert lease.task.trigger_time_ms >= before_ms, "not before its backoff"
            before_ms = campus.now_ms() + (100, 200, 0)[attempt - 1]
            answer = await worker.fail(lease, retriable=True)
            assert answer.result == answer.RESULT_ACCEPTED
        assert answer.state == State.STATE_FAILED
        task = await got(door, name)
        assert (task.state, task.error_code, task.error_message) == (State.STATE_FAILED, "BROKEN", "it broke")
        retried = (await door.call("TaskService/RetryTask", name=name)).task
        assert (retried.state, retried.retry_count) == (State.STATE_SCHEDULED, 0)
        (lease,) = await worker.tasks(1)
        assert lease.attempt == 4
        final = await worker.fail(lease, retriable=False)
        assert final.state == State.STATE_FAILED


async def test_a_report_that_is_not_valid_changes_nothing(door: Door, queue: str) -> None:
    name = await enqueued(door, queue)
    async with Worker(door, queue) as worker:
        await worker.credits(1)
        (lease,) = await worker.tasks(1)
        for answer in (
            await worker.complete(lease, b"x" * 65_537),
            await worker.fail(lease, "lower case", retriable=True),
            await worker.fail(lease, "CODE", retriable=True, text="x" * 4_097),
        ):
            assert answer.result == answer.RESULT_INVALID
            assert answer.message
        for token in ("", "x", "999999-abc", "x" * 70_000):
            unknown = await worker.complete(type(lease)(lease_token=token))
            assert unknown.result == unknown.RESULT_LEASE_LOST
        assert (await got(door, name)).state == State.STATE_TRIGGERED
        await worker.complete_all([lease])


async def test_a_worker_may_speak_and_hear_in_batches(door: Door, queue: str) -> None:
    names = [await enqueued(door, queue, max_retries=0) for _ in range(6)]
    async with Worker(door, queue, batches=True) as worker:
        await worker.report(credits=6)
        leases = {lease.task.name: lease for lease in await worker.tasks(6)}
        tokens = [leases[name].lease_token for name in names]
        await worker.report(
            completes=[
                {"lease_token": tokens[0], "result": b"one"},
                {"lease_token": tokens[1]},
                {"lease_token": tokens[0], "result": b"the same again"},
                {"lease_token": tokens[2], "result": b"x" * 65_537},
                {"lease_token": "nobody's"},
            ],
            fails=[
                {"lease_token": tokens[3], "error_code": "BROKEN", "error_message": "it broke"},
                {"lease_token": tokens[4], "error_code": "lower case"},
            ],
            heartbeat_lease_tokens=[tokens[5], tokens[0]],
        )
        acks, (beat,) = await worker.batches(7, 1)
        found = {(ack.lease_token, ack.result, ack.state) for ack in acks}
        accepted, lost, invalid = acks[0].RESULT_ACCEPTED, acks[0].RESULT_LEASE_LOST, acks[0].RESULT_INVALID
        assert found == {
            (tokens[0], accepted, State.STATE_EXECUTED),
            (tokens[1], accepted, State.STATE_EXECUTED),
            (tokens[0], lost, 0),
            (tokens[2], invalid, 0),
            ("nobody's", lost, 0),
            (tokens[3], accepted, State.STATE_FAILED),
            (tokens[4], invalid, 0),
        }
        assert beat.lost_lease_tokens == [tokens[0]]
        assert beat.lease_until_time_ms >= leases[names[5]].lease_until_time_ms
        await worker.report(completes=[{"lease_token": token} for token in (tokens[2], tokens[4], tokens[5])])
        acks, _ = await worker.batches(3)
        assert {ack.result for ack in acks} == {accepted}
    tasks = [await got(door, name) for name in names]
    assert [task.state for task in tasks] == [State.STATE_EXECUTED] * 3 + [State.STATE_FAILED] + [
        State.STATE_EXECUTED
    ] * 2
    assert (tasks[0].result, tasks[3].error_message) == (b"one", "it broke")


async def test_reports_are_heard_from_a_worker_that_hears_no_batches(door: Door, queue: str) -> None:
    for _ in range(3):
        await enqueued(door, queue)
    async with Worker(door, queue) as worker:
        await worker.report(credits=3)
        first, *others = await worker.tasks(3)
        await worker.report(completes=[{"lease_token": lease.lease_token} for lease in others])
        for _ in others:
            answer = await worker._answer("acknowledgement")
            assert answer.result == answer.RESULT_ACCEPTED
        await worker.complete_all([first])


async def test_a_task_looks_the_same_to_its_worker_and_to_who_reads_it(door: Door, queue: str) -> None:
    await enqueued(door, queue, payload=b"cups", priority=3, max_retries=0, backoff_ms=7)
    async with Worker(door, queue, batches=True) as worker:
        await worker.report(credits=1)
        (lease,) = await worker.tasks(1)
        assert lease.task == await got(door, lease.task.name)
        await worker.report(fails=[{"lease_token": lease.lease_token, "error_code": "BROKEN"}])
        await worker.batches(1)
        await door.call("TaskService/RetryTask", name=lease.task.name)
        await worker.report(credits=1)
        (again,) = await worker.tasks(1)
        assert again.task == await got(door, lease.task.name)
        assert (again.attempt, again.task.error_code) == (2, "BROKEN")
        await worker.report(completes=[{"lease_token": again.lease_token}])
        await worker.batches(1)


async def test_a_lease_is_ended_by_its_own_worker_alone(door: Door, queue: str) -> None:
    await enqueued(door, queue)
    async with Worker(door, queue) as worker, Worker(door, queue, name="other") as other:
        await worker.credits(1)
        (lease,) = await worker.tasks(1)
        assert (await other.beat(lease)).lost_lease_tokens == [lease.lease_token]
        for answer in (await other.complete(lease), await other.fail(lease, retriable=False)):
            assert answer.result == answer.RESULT_INVALID
            assert answer.message.startswith("LEASE_OF_ANOTHER_WORKER: ")
        assert not (await worker.beat(lease)).lost_lease_tokens
        await worker.complete_all([lease])


async def test_a_worker_that_does_not_read_is_not_dealt_more_than_so_many_bytes(
    door: Door, queue: str, wait_until: WaitUntil
) -> None:
    """24 MB of tasks, credits for all of them, and nobody reads: the rest stays with nobody, and goes to who does."""
    entry = {"task": {"queue": queue, "payload": b"p" * 60_000}}
    deaf = Worker(door, queue, name="deaf")
    async with deaf:
        await deaf.credits(10_000)
        for _ in range(8):
            await door.call("TaskService/BatchEnqueueTasks", requests=[entry] * 50)

        async def all_triggered() -> bool:
            found = (
                await door.call("TaskService/ListTasks", filter=f"queue={queue} AND state=SCHEDULED")
            ).tasks
            return not found

        await wait_until(all_triggered, timeout=20, why="all are due")
        async with Worker(door, queue, name="reader", batches=True) as reader:
            await reader.report(credits=400)
            taken = await reader.tasks(100)
            assert len({lease.task.name for lease in taken}) == 100


async def test_a_cancelled_task_is_told_to_who_holds_it(door: Door, queue: str) -> None:
    name = await enqueued(door, queue)
    async with Worker(door, queue) as worker:
        await worker.credits(1)
        (lease,) = await worker.tasks(1)
        cancelled = (await door.call("TaskService/CancelTask", name=name)).task
        assert cancelled.state == State.STATE_CANCELLED
        assert (await worker.beat(lease)).cancelled_lease_tokens == [lease.lease_token]
        late = await worker.complete(lease)
        assert late.result == late.RESULT_LEASE_LOST
    assert (await got(door, name)).state == State.STATE_CANCELLED


async def test_a_watch_of_a_task_tells_every_state_and_ends(
    door: Door, queue: str, wait_until: WaitUntil
) -> None:
    name = await enqueued(door, queue, delay_ms=1_000)
    seen: list[int] = []

    async def watch() -> None:
        async for change in door.open("TaskService/WatchTask")({"name": name}, timeout=20):
            seen.append(change.task.state)

    watching = asyncio.create_task(watch())
    await wait_until(lambda: seen, why="the state at once")
    async with Worker(door, queue) as worker:
        await worker.credits(1)
        await worker.complete_all(await worker.tasks(1))
    await asyncio.wait_for(watching, 10)
    assert seen[0] == State.STATE_SCHEDULED
    assert seen[-1] == State.STATE_EXECUTED
    assert seen == sorted(seen)


async def test_big_payloads_come_in_batches_that_a_plain_client_takes(door: Door, queue: str) -> None:
    entry = {"task": {"queue": queue, "payload": b"p" * 60_000}}
    for _ in range(3):
        await door.call("TaskService/BatchEnqueueTasks", requests=[entry] * 60)
    async with Worker(door, queue) as worker:
        await worker.credits(1_000)
        leases = await worker.tasks(180)
        assert len({lease.task.name for lease in leases}) == 180
        await worker.complete_all(leases)


async def test_tasks_are_found_by_filter(door: Door, queue: str) -> None:
    far = await enqueued(door, queue, delay_ms=campus.DAY_MS)
    near = await enqueued(door, queue, delay_ms=campus.HOUR_MS)
    gone = await enqueued(door, queue, delay_ms=campus.HOUR_MS)
    await door.call("TaskService/CancelTask", name=gone)
    bound = campus.now_ms() + 2 * campus.HOUR_MS
    for text, wanted in (
        (f"queue={queue}", {far, near, gone}),
        (f"queue={queue} AND state=SCHEDULED", {far, near}),
        (f'queue="{queue}" AND due_time_ms<={bound} AND state=SCHEDULED', {near}),
        (f"queue={queue} AND due_time_ms>={bound}", {far}),
        (f"queue={queue} AND state=EXECUTED", set()),
    ):
        found = (await door.call("TaskService/ListTasks", filter=text)).tasks
        assert {task.name for task in found} == wanted, text


# --- schedules ----------------------------------------------------------------------------------------------------


async def registered(door: Door, name: str, when: dict[str, Any], target: dict[str, Any]) -> Any:
    schedule = {"schedule_id": name, "timing": when, "target": target}
    return (await door.call("ScheduleService/RegisterSchedule", schedule=schedule)).schedule


async def test_what_is_registered_inside_the_window_fires_at_once(
    door: Door, queue: str, wait_until: WaitUntil
) -> None:
    at_ms = campus.now_ms() + 200
    schedule = await registered(
        door, "soon", {"at_time_ms": at_ms}, {"task": {"queue": queue, "payload": b"p"}}
    )
    assert schedule.next_time_ms == at_ms
    async with Worker(door, queue) as worker:
        await worker.credits(5)
        (lease,) = await worker.tasks(1)
        assert (lease.task.nominal_time_ms, lease.task.payload) == (at_ms, b"p")
        assert lease.task.schedule == "schedules/soon"
        assert lease.task.trigger_time_ms >= at_ms
        await worker.complete_all([lease])

    async def finished() -> Any:
        found = (await door.call("ScheduleService/GetSchedule", name="schedules/soon")).schedule
        return found if found.state == found.STATE_FINISHED else None

    assert (await wait_until(finished, why="it has no firing left")).fire_count == 1


async def test_an_interval_fires_on_its_grid(door: Door, queue: str) -> None:
    await registered(door, "often", {"every_ms": 50}, {"task": {"queue": queue}})
    async with Worker(door, queue) as worker:
        await worker.credits(100)
        leases = await worker.tasks(6)
        times = sorted(lease.task.nominal_time_ms for lease in leases)
        assert [after - before for before, after in itertools.pairwise(times)] == [50] * 5
        await door.call("ScheduleService/UnregisterSchedule", name="schedules/often")


async def test_old_firings_of_a_changed_schedule_never_fire(door: Door, queue: str) -> None:
    old, new = f"{queue}.old", f"{queue}.new"
    now_ms = campus.now_ms()
    await registered(door, "moved", {"at_time_ms": now_ms + 900}, {"task": {"queue": old}})
    changed = (
        await door.call(
            "ScheduleService/UpdateSchedule",
            schedule={
                "name": "schedules/moved",
                "timing": {"at_time_ms": now_ms + 1_300},
                "target": {"task": {"queue": new}},
            },
            update_mask={"paths": ["timing", "target"]},
        )
    ).schedule
    assert changed.generation == 2
    async with Worker(door, old, new) as worker:
        await worker.credits(10)
        (lease,) = await worker.tasks(1)
        # It is 400 ms later than the old one would have been.
        assert (lease.task.queue, lease.task.nominal_time_ms) == (new, now_ms + 1_300)
        await worker.complete_all([lease])
    (task,) = (await door.call("TaskService/ListTasks", filter=f"queue={old}")).tasks
    assert (task.state, task.trigger_time_ms) == (State.STATE_CANCELLED, 0)


async def test_a_paused_schedule_rests_until_it_is_resumed(door: Door, queue: str) -> None:
    await registered(door, "resting", {"every_ms": 60}, {"task": {"queue": queue}})
    async with Worker(door, queue, f"{queue}.clock") as worker:
        await worker.credits(1_000)
        await worker.complete_all(await worker.tasks(2))
        paused = (
            await door.call("ScheduleService/PauseSchedule", name="schedules/resting", note="ill")
        ).schedule
        assert (paused.state, paused.note) == (schedules_pb.Schedule.STATE_PAUSED, "ill")
        pause_ms = campus.now_ms()
        # A task due after ten periods: whatever fired meanwhile would have come before it.
        await enqueued(door, f"{queue}.clock", delay_ms=600)
        while True:
            (lease,) = await worker.tasks(1)
            await worker.complete_all([lease])
            if lease.task.queue != queue:
                break
            assert lease.task.nominal_time_ms <= pause_ms
        resumed = (await door.call("ScheduleService/ResumeSchedule", name="schedules/resting")).schedule
        assert resumed.state == resumed.STATE_ACTIVE
        (lease,) = await worker.tasks(1)
        assert lease.task.nominal_time_ms > pause_ms + 600, "what it missed is not caught up"
        ended = (await door.call("ScheduleService/UnregisterSchedule", name="schedules/resting")).schedule
        assert ended.state == ended.STATE_UNREGISTERED


async def test_a_schedule_opens_groups(door: Door, wait_until: WaitUntil) -> None:
    at_ms = campus.now_ms() + 200
    template = {"location": campus.PLACE, "capacity": 3, "park": "west"}
    target = {"group": {"group": template, "first_group_id": 70_001, "open_for_ms": campus.HOUR_MS}}
    await registered(door, "opening", {"at_time_ms": at_ms}, target)

    async def there() -> Any:
        return (await door.call("GroupService/ListGroups", park="west")).groups

    (group,) = await wait_until(there, why="the group is open")
    assert (group.group_id, group.capacity, group.state) == (70_001, 3, group.STATE_OPEN)
    assert group.deadline_time_ms == at_ms + campus.HOUR_MS
    await campus.furnish(door, 1, 1)
    await door.call("GroupService/SubmitOrder", **campus.submission(70_001))


async def test_words_are_understood_told_back_and_stored_as_cron(door: Door, queue: str) -> None:
    said = {"timing": {"text": "每周三10:00", "time_zone": "Asia/Shanghai"}, "count": 2}
    preview = await door.call("ScheduleService/PreviewSchedule", **said)
    assert (preview.cron, preview.text_zh) == ("0 10 * * 3", "每周三10:00")
    assert preview.text_en == "on Wednesday at 10:00"
    assert preview.zone_data_version.startswith("20")
    assert [at_ms % 604_800_000 for at_ms in preview.fire_times_ms] == [
        (6 * 24 + 2) * 3_600_000  # 1970-01-07 was a Wednesday; ten in Shanghai is two in UTC.
    ] * 2
    words = {"text": "every wednesday at 10:00", "time_zone": "Asia/Shanghai"}
    schedule = await registered(door, "spoken", words, {"task": {"queue": queue, "payload": b"p"}})
    assert schedule.timing.cron == "0 10 * * 3"
    by_name = await door.call("ScheduleService/PreviewSchedule", name="schedules/spoken", count=2)
    assert by_name.fire_times_ms == preview.fire_times_ms
    assert by_name.text_zh == "每周三10:00"


async def test_a_preview_shows_local_times_through_a_change_of_the_clock(door: Door) -> None:
    # 2027-03-14, New York: 02:30 does not exist. 2027-11-07: 01:30 comes twice.
    said = {"timing": {"cron": "30 9 * * *", "time_zone": "America/New_York"}, "count": 3}
    answer = await door.call(
        "ScheduleService/PreviewSchedule", **said, after_time_ms=1_804_896_000_000
    )  # 2027-03-13T00:00Z
    first, second, third = answer.fire_times_ms
    assert first == 1_804_896_000_000 + (14 * 60 + 30) * 60_000, "09:30 EST is 14:30 UTC"
    assert second - first == 23 * campus.HOUR_MS, "the night that is an hour short"
    assert third - second == 24 * campus.HOUR_MS
    assert [firing.fire_time_ms for firing in answer.firings] == [first, second, third]
    assert answer.firings[1].local_time == "2027-03-14T09:30:00-04:00"
    said["timing"]["cron"] = "30 2 * * *"
    moved = await door.call("ScheduleService/PreviewSchedule", **said, after_time_ms=1_804_896_000_000)
    assert [list(firing.marks) for firing in moved.firings] == [
        [],
        [schedules_pb.FIRING_MARK_CLOCK_MOVED],
        [],
    ]


@pytest.mark.parametrize("count", [0, 1, 1_000])
async def test_a_preview_has_as_many_as_asked(door: Door, count: int) -> None:
    said = {"timing": {"cron": "*/5 * * * * *", "time_zone": "Asia/Shanghai"}, "count": count}
    times = (await door.call("ScheduleService/PreviewSchedule", **said)).fire_times_ms
    assert len(times) == (count or 5)
    assert all(after - before == 5_000 for before, after in itertools.pairwise(times))
