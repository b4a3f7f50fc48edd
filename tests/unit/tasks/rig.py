"""A whole task line under a manual clock, on the memory storage; it can be stopped and started again like a server."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WORKER_CREDITS_MAX
from cuptime.domain.ports import Committed
from cuptime.domain.requests import Requests
from cuptime.domain.values import Fence, Task, TaskState
from cuptime.domain.writes import Write
from cuptime.storage.memory.storage import MemoryStorage
from cuptime.tasks.form import NewTask
from cuptime.tasks.line import TaskLine
from cuptime.tasks.recover import Recovered
from cuptime.tasks.wheel import ManualWheel
from cuptime.tasks.workers import Lease, WorkerSession
from tests.unit.tasks.heap_timers import HeapTimers

START_MS = 1_800_000_000_000
SHARD = 1


class YieldingStorage(MemoryStorage):
    """Gives way around every commit and read, as a real engine does, and can be told to fail."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[Reason] = []
        self.kept_failures: list[Reason] = []
        """The next commits are kept, and reported as failed."""
        self.commits = 0
        self.before_commit: Callable[[Sequence[Write]], None] = lambda _: None

    async def commit(self, fence: Fence, writes: Sequence[Write]) -> Committed:
        for _ in range(3):
            await asyncio.sleep(0)
        self.before_commit(writes)
        if self.failures:
            raise CuptimeError(self.failures.pop(0))
        committed = await super().commit(fence, writes)
        self.commits += 1
        await asyncio.sleep(0)
        if self.kept_failures:
            raise CuptimeError(self.kept_failures.pop(0))
        return committed

    async def tasks_by_id(self, task_ids: Sequence[int]) -> list[Task]:
        await asyncio.sleep(0)
        rows = await super().tasks_by_id(task_ids)
        await asyncio.sleep(0)
        return rows


class CountingMetrics:
    """What was counted."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()
        self.lateness_ms: list[int] = []
        self.depths: dict[str, Callable[[], int]] = {}

    def task(self, state: str, count: int) -> None:
        self.states[state] += count

    def overlap(self, effect: str, count: int) -> None:
        self.effects[effect] += count

    def trigger(self, lateness_ms: Sequence[int]) -> None:
        self.lateness_ms += lateness_ms

    def depth(self, queue: str, depth: Callable[[], int]) -> None:
        self.depths[queue] = depth

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


class Rig:
    """One server after another on the same storage and clock."""

    def __init__(self, storage: MemoryStorage | None = None) -> None:
        self.clock = ManualClock(START_MS)
        self.storage = storage or YieldingStorage()
        self.metrics = CountingMetrics()
        self.groups = {10_001}
        self.line: TaskLine
        self.requests: Requests
        self.fence: Fence

    async def boot(self, prepare: Callable[[TaskLine], object] = lambda _: None) -> Recovered:
        """Starts a server; `prepare` registers what must be there before recovery."""
        await self.storage.open()
        self.fence = await self.storage.claim(SHARD, "rig")
        self.requests = Requests(self.storage, self.fence, self.clock)
        self.sequences = await self.storage.sequences()

        async def known_group(group_id: int) -> bool:
            return group_id in self.groups

        self.wheel = ManualWheel(HeapTimers(), self.clock)
        self.line = TaskLine(
            self.storage,
            self.fence,
            self.clock,
            self.wheel,
            self.metrics,
            known_group=known_group,
            requests=self.requests,
            last_task_id=self.sequences.task_id,
        )
        prepare(self.line)
        return await self.line.start()

    def sessions(self) -> int:
        """Workers whose streams are open."""
        return self.metrics.depths["workers"]()

    async def pass_ms(self, delta_ms: int) -> None:
        """Lets time pass, from wait to wait, and everything happen that happens by itself."""
        end_ms = self.clock.now_ms() + delta_ms
        await self.line.pump()
        while (next_ms := self.wheel.next_event_ms()) is not None and next_ms <= end_ms:
            self.clock.advance(max(0, next_ms - self.clock.now_ms()))
            await self.line.pump()
        self.clock.advance(end_ms - self.clock.now_ms())
        await self.line.pump()

    async def enqueue(self, queue: str = "sheets", **fields: Any) -> Task:
        return await self.line.enqueue(NewTask(queue, **fields))

    def worker(self, *queues: str, credit: int = 10, lease_ms: int = 0) -> WorkerSession:
        session = self.line.open_session("worker-1", queues or ("sheets",), lease_ms)
        if credit:
            session.credits(credit)
        return session

    async def state(self, task: Task | int) -> TaskState:
        row = await self.storage.task(task if isinstance(task, int) else task.task_id)
        assert row is not None
        return row.state


async def taken(session: WorkerSession) -> list[Lease]:
    """What was sent to a session and not read yet; waits for nothing."""
    return session.take(WORKER_CREDITS_MAX, 1 << 40)
