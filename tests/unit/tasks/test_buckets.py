"""Minute buckets: one transaction and one delivery for a minute, each member a task like any other."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from cuptime.core import Timers
from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import BUCKET_BYTES_MAX, BUCKET_MS, BUCKET_TASKS_MAX, TASK_PAYLOAD_BYTES_MAX
from cuptime.domain.values import Task, TaskState
from cuptime.tasks.buckets import Buckets
from cuptime.tasks.form import NewTask
from cuptime.tasks.wheel import ManualWheel
from cuptime.tasks.workers import Lease, WorkerSession
from tests.contract import rows
from tests.unit.tasks.rig import START_MS, Rig, taken
from tests.unit.tasks.test_leases import crash

MINUTE_MS = START_MS - START_MS % BUCKET_MS + BUCKET_MS
"""The first whole minute."""


async def enqueue(rig: Rig, *seconds: float, queue: str = "sheets", **fields: Any) -> list[Task]:
    """Bucketed tasks, due so many seconds after the first whole minute."""
    news = [
        NewTask(queue, due_ms=MINUTE_MS + int(second * 1_000), bucket_ms=BUCKET_MS, **fields)
        for second in seconds
    ]
    return [
        task for start in range(0, len(news), 1_000) for task in await batch(rig, news[start : start + 1_000])
    ]


async def batch(rig: Rig, news: list[NewTask]) -> list[Task]:
    return await rig.line.enqueue_batch(news)


async def until(rig: Rig, second: float) -> None:
    await rig.pass_ms(MINUTE_MS + int(second * 1_000) - rig.clock.now_ms())


def messages(session: WorkerSession) -> list[list[Lease]]:
    """As the API takes them."""
    found = []
    while leases := session.take(512, 2 * 1024 * 1024):
        found.append(leases)
    return found


def test_a_bucket_that_found_the_wheel_full_gets_its_wait_with_the_next_member() -> None:
    clock = ManualClock(START_MS)
    wheel = ManualWheel(Timers(1, START_MS, 1), clock)
    buckets = Buckets(wheel)
    due: list[int] = []
    buckets.connect(due.extend)
    in_the_way = wheel.at(START_MS + 1, lambda: None)
    with pytest.raises(CuptimeError) as full:
        buckets.arm([(1, "sheets", MINUTE_MS + 5, BUCKET_MS)])
    assert full.value.reason is Reason.LIMIT_REACHED
    wheel.forget(in_the_way)
    buckets.arm([(2, "sheets", MINUTE_MS + 3, BUCKET_MS)])
    clock.advance(MINUTE_MS + 5 - clock.now_ms())
    wheel.pump()
    assert due == [1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_who_joins_and_leaves_in_any_order_is_told_once_in_the_order_of_ids(seed: int) -> None:
    draw = random.Random(seed)
    clock = ManualClock(START_MS)
    wheel = ManualWheel(Timers(1, START_MS, 100), clock)
    buckets = Buckets(wheel)
    due: list[int] = []
    buckets.connect(due.extend)
    member = rows.task(1, due_ms=MINUTE_MS + 5, bucket_ms=BUCKET_MS)
    inside: set[int] = set()
    for _ in range(200):
        task_id = draw.randrange(1, 40)
        if draw.random() < 0.6:
            buckets.arm([(task_id, member.queue, member.due_ms, BUCKET_MS)])
            inside.add(task_id)
        else:
            buckets.leave(replace(member, task_id=task_id))
            inside.discard(task_id)
        assert (buckets.member_count, len(buckets), len(wheel)) == (len(inside), *([min(len(inside), 1)] * 2))
    clock.advance(member.due_ms - clock.now_ms())
    wheel.pump()
    assert due == sorted(inside)
    assert (buckets.member_count, len(buckets)) == (0, 0)


async def test_a_bucket_is_one_wait_one_transaction_one_delivery_when_its_last_is_due(rig: Rig) -> None:
    waits = len(rig.wheel)
    made = await enqueue(rig, *range(60))
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    assert len(rig.wheel) == waits + 1
    assert (rig.metrics.depths["buckets"](), rig.metrics.depths["bucketed"]()) == (1, 60)
    await until(rig, 58.999)
    assert messages(worker) == []
    commits = rig.storage.commits  # type: ignore[attr-defined]
    await until(rig, 59)
    (message,) = messages(worker)
    assert rig.storage.commits == commits + 1  # type: ignore[attr-defined]
    assert [lease.task_id for lease in message] == [task.task_id for task in made]
    assert {(lease.together, lease.leads) for lease in message[1:]} == {(60, False)}
    assert (message[0].together, message[0].leads) == (60, True)
    assert len({lease.trigger_ms for lease in message}) == 1
    assert rig.metrics.lateness_ms == [0] * 60, "a bucket is late when it is, and not its members by design"


async def test_what_is_due_at_the_full_minute_comes_on_time(rig: Rig) -> None:
    await enqueue(rig, 0, 0, 0)
    worker = rig.worker("sheets")
    await until(rig, 0)
    assert len(await taken(worker)) == 3


async def test_each_member_has_its_own_end(rig: Rig) -> None:
    made = await enqueue(rig, 1, 2, 3, 4)
    worker = rig.worker("sheets", lease_ms=600_000)
    await rig.line.cancel(made[1].task_id)
    await until(rig, 4)
    first, failing, last = await taken(worker)
    assert len({lease.idempotency_key for lease in (first, failing, last)}) == 3
    await worker.complete(first.token, b"one")
    await worker.fail(failing.token, "NO_MILK", retriable=True)
    await rig.line.cancel(last.task_id)
    await rig.pass_ms(BUCKET_MS)
    (again,) = await taken(worker)
    assert (again.task_id, again.attempt) == (failing.task_id, 2)
    states = [await rig.state(task) for task in made]
    assert states == [
        TaskState.EXECUTED,
        TaskState.CANCELLED,
        TaskState.TRIGGERED,
        TaskState.CANCELLED,
    ]
    assert (await rig.line.get(first.task_id)).result == b"one"


async def test_the_last_member_that_is_cancelled_takes_its_bucket_along(rig: Rig) -> None:
    waits = len(rig.wheel)
    (only,) = await enqueue(rig, 5)
    await rig.line.cancel(only.task_id)
    assert (len(rig.wheel), rig.metrics.depths["bucketed"]()) == (waits, 0)


async def test_queues_minutes_and_other_tasks_are_apart(rig: Rig) -> None:
    await enqueue(rig, 1, 2)
    await enqueue(rig, 1, 30, queue="other")
    await enqueue(rig, 61, 62)
    await rig.enqueue("sheets", due_ms=MINUTE_MS + 1_500)
    worker = rig.worker("sheets", "other", credit=100, lease_ms=600_000)
    came = {}
    for second in (1.5, 2, 30, 62):
        await until(rig, second)
        came[second] = [[lease.row.queue for lease in message] for message in messages(worker)]
    assert came == {1.5: [["sheets"]], 2: [["sheets"] * 2], 30: [["other"] * 2], 62: [["sheets"] * 2]}


async def test_a_large_bucket_is_several_parts_each_whole_in_a_message(rig: Rig) -> None:
    await enqueue(rig, *([30.0] * (2 * BUCKET_TASKS_MAX + 7)))
    for _ in range(20):
        await rig.enqueue("beside", due_ms=MINUTE_MS + 30_000)
    worker = rig.worker("sheets", "beside", credit=5_000)
    await until(rig, 30)
    found = messages(worker)
    sizes = [Counter(lease.together for lease in message if lease.row.bucket_ms) for message in found]
    parts = Counter(size for sizes_ in sizes for size, count in sizes_.items() for _ in range(count // size))
    assert parts == {BUCKET_TASKS_MAX: 2, 7: 1}
    assert all(count % size == 0 for sizes_ in sizes for size, count in sizes_.items()), "no part is torn"
    assert sum(map(len, found)) == 2 * BUCKET_TASKS_MAX + 27


async def test_a_bucket_of_large_payloads_is_cut_by_bytes(rig: Rig) -> None:
    await enqueue(rig, *([1.0] * 40), payload=bytes(TASK_PAYLOAD_BYTES_MAX))
    worker = rig.worker("sheets", credit=5_000)
    await until(rig, 1)
    sizes = [len(message) for message in messages(worker)]
    assert sum(sizes) == 40
    assert max(sizes) * TASK_PAYLOAD_BYTES_MAX <= BUCKET_BYTES_MAX


async def test_a_worker_that_has_credits_for_all_is_preferred_and_without_one_it_goes_out_in_smaller_parts(
    rig: Rig,
) -> None:
    small, large = rig.worker("sheets", credit=10), rig.worker("sheets", credit=60)
    await enqueue(rig, *range(60))
    await until(rig, 59)
    assert ([len(m) for m in messages(small)], [len(m) for m in messages(large)]) == ([], [60])
    await enqueue(rig, *range(60, 90))
    await until(rig, 89)
    (message,) = messages(small)
    assert [lease.together for lease in message] == [1] * 10
    small.credits(20)
    await rig.pass_ms(0)
    assert sum(map(len, messages(small))) == 20


@pytest.mark.parametrize("when_s", [10, 59.5, 75])
async def test_over_a_crash_no_member_is_lost_or_early(rig: Rig, when_s: float) -> None:
    made = await enqueue(rig, *range(60))
    await until(rig, min(when_s, 58.5))
    await crash(rig)
    rig.clock.advance(max(0, MINUTE_MS + int(when_s * 1_000) - rig.clock.now_ms()))
    found = await rig.boot()
    assert found.armed == 60
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    await until(rig, max(when_s, 58.9))
    if when_s < 59:
        assert messages(worker) == []
    await until(rig, 75)
    (message,) = messages(worker)
    assert sorted(lease.task_id for lease in message) == [task.task_id for task in made]


async def test_a_clock_set_back_hurries_no_member(rig: Rig) -> None:
    await enqueue(rig, 10, 20)
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    await until(rig, 15)
    rig.clock.step(-10_000)
    await until(rig, 19.9)
    assert messages(worker) == []
    await until(rig, 20)
    assert [len(message) for message in messages(worker)] == [2]


async def test_a_commit_that_fails_is_tried_again_as_a_whole(rig: Rig) -> None:
    await enqueue(rig, 10, 20, 30)
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    await until(rig, 29)
    rig.storage.failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    await until(rig, 31)
    assert [len(message) for message in messages(worker)] == [3]


async def test_a_task_that_joins_after_its_bucket_went_out_makes_one_of_its_own(rig: Rig) -> None:
    await enqueue(rig, 10)
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    await until(rig, 20)
    assert [len(message) for message in messages(worker)] == [1]
    await enqueue(rig, 40, 50)
    await until(rig, 60)
    assert [len(message) for message in messages(worker)] == [2]


@pytest.mark.parametrize("seed", range(5))
async def test_random_lives_deliver_each_member_once_in_its_minute(rig: Rig, seed: int) -> None:
    draw = random.Random(seed)
    worker = rig.worker("sheets", "other", credit=10_000, lease_ms=600_000)
    made: dict[int, Task] = {}
    came: dict[int, int] = {}
    cancelled: set[int] = set()
    for _ in range(60):
        kind = draw.choice(["enqueue", "enqueue", "pass", "pass", "pass", "cancel", "crash"])
        if kind == "enqueue":
            now_s = (rig.clock.now_ms() - MINUTE_MS) / 1_000
            seconds = [now_s + draw.uniform(0, 150) for _ in range(draw.randrange(1, 20))]
            for task in await enqueue(rig, *seconds, queue=draw.choice(["sheets", "other"])):
                made[task.task_id] = task
        elif kind == "pass":
            await rig.pass_ms(draw.choice([1, 700, 9_000, 61_000]))
        elif kind == "cancel":
            waiting = [task_id for task_id in made if task_id not in came and task_id not in cancelled]
            for task_id in draw.sample(waiting, min(3, len(waiting))):
                await rig.line.cancel(task_id)
                cancelled.add(task_id)
        else:
            await crash(rig)
            await rig.boot()
            worker = rig.worker("sheets", "other", credit=10_000, lease_ms=600_000)
        await rig.pass_ms(0)
        await note(worker, came)
    await rig.pass_ms(300_000)
    await note(worker, came)
    assert came.keys() == made.keys() - cancelled
    for task_id, at_ms in came.items():
        due_ms = made[task_id].due_ms
        assert due_ms <= at_ms < due_ms - due_ms % BUCKET_MS + BUCKET_MS


async def note(worker: WorkerSession, came: dict[int, int]) -> None:
    for message in messages(worker):
        for lease in message:
            assert lease.task_id not in came
            came[lease.task_id] = lease.trigger_ms
            await worker.complete(lease.token)


async def test_a_bucket_counts_towards_what_may_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cuptime.tasks.enqueue.TASKS_PENDING_MAX", 500_000 + 50)
    await enqueue(rig, *range(40))
    with pytest.raises(CuptimeError) as refused:
        await enqueue(rig, *range(20))
    assert refused.value.reason is Reason.LIMIT_REACHED
