"""A minute bucket whose members are cancelled one by one, whose worker ends with a part of it, and whose server is
killed: each member that was not cancelled is executed, acknowledged once, and can be tried again by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from cuptime.app.served import ServedProcess
from cuptime.domain.values import TaskState
from tests.integration.door import Door, Refusal, Tables
from tests.integration.worker import Worker

QUEUE: Final = "sheets"
MEMBERS: Final = 40
CANCELLED: Final = 5
PART: Final = 10
DELAY_MS: Final = 1_500
LEASE_MS: Final = 1_000


async def _enqueue(door: Door) -> list[str]:
    task = {"queue": QUEUE, "bucket": "BUCKET_MINUTE", "max_retries": 5, "backoff_ms": 10}
    requests = [{"task": task, "delay_ms": DELAY_MS} for _ in range(MEMBERS)]
    made = await door.call("TaskService/BatchEnqueueTasks", requests=requests)
    return [one.name for one in made.tasks]


@pytest.mark.timeout(90)
async def test_no_member_is_lost_or_acknowledged_twice(tmp_path: Path) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    accepted: Counter[str] = Counter()

    async def complete(worker: Worker, lease: Any) -> None:
        answer = await worker.complete(lease)
        accepted[lease.task.name] += answer.result == answer.RESULT_ACCEPTED

    async with Door(server.address) as door:
        names = await _enqueue(door)
        cancelled = names[::8][:CANCELLED]
        for name in cancelled:
            await door.call("TaskService/CancelTask", name=name)
        # The first has credits for a part, and is gone with most of it; the second is killed with the rest in hand.
        async with Worker(door, QUEUE, lease_ms=LEASE_MS) as worker:
            await worker.credits(PART)
            part = await worker.tasks(PART)
            assert {lease.bucket_size for lease in part} <= {1, PART}
            for lease in part[:3]:
                await complete(worker, lease)
        async with Worker(door, QUEUE, lease_ms=LEASE_MS, name="second") as worker:
            await worker.credits(1_000)
            rest = await worker.tasks(MEMBERS - CANCELLED - 3)
            assert not {lease.task.name for lease in rest} & {*cancelled, *accepted}
            for lease in rest[:PART]:
                await complete(worker, lease)
            server.kill()
    server.start()

    async with Door(server.address) as door, Worker(door, QUEUE, lease_ms=LEASE_MS) as worker:
        await worker.credits(1_000)
        again = await worker.tasks(MEMBERS - CANCELLED - 3 - PART)
        assert not {lease.task.name for lease in again} & {*cancelled, *accepted}
        answer = await worker.fail(again[0], retriable=False)
        assert answer.state == TaskState.FAILED
        for lease in again[1:]:
            await complete(worker, lease)
        await door.call("TaskService/RetryTask", name=again[0].task.name)
        (by_hand,) = await worker.tasks(1)
        assert by_hand.task.name == again[0].task.name
        assert by_hand.idempotency_key == again[0].idempotency_key
        await complete(worker, by_hand)
        for name in cancelled:
            with pytest.raises(Refusal, match="STATE_CONFLICT"):
                await door.call("TaskService/RetryTask", name=name)
    assert accepted == Counter({name: 1 for name in names if name not in cancelled})
    tables = Tables(server.data)
    states = {f"tasks/{task_id}": state for task_id, state in tables.rows("SELECT task_id, state FROM tasks")}
    tables.close()
    assert states == {n: TaskState.CANCELLED if n in cancelled else TaskState.EXECUTED for n in names}
    assert server.stop() == 0, server.log_tail()
    assert "Traceback" not in server.log.read_text(), server.log_tail()
