"""Random days of a task line: workers that report, stall and vanish, servers that die, clocks that are set."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuptime.core import Timers
from cuptime.domain.clock import SystemClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.requests import Requests
from cuptime.domain.values import TaskState
from cuptime.storage.sqlite.storage import SqliteStorage
from cuptime.tasks.form import NewTask
from cuptime.tasks.life import RESTING
from cuptime.tasks.line import TaskLine
from cuptime.tasks.wheel_loop import BATCHES_AHEAD_MAX, LoopWheel
from cuptime.tasks.workers import AckResult, Lease, WorkerSession
from tests.conftest import WaitUntil
from tests.unit.tasks.rig import CountingMetrics, Rig, YieldingStorage, taken
from tests.unit.tasks.test_leases import crash

STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("enqueue",) * 4,
                *("pass",) * 4,
                *("take", "complete", "complete", "fail", "heartbeat", "credits"),
                *("close", "open", "cancel", "retry", "crash", "step", "storage"),
            ]
        ),
        st.integers(0, 5),
    ),
    min_size=5,
    max_size=60,
)
WAIT_MS = (0, 1, 400, 1_500, 9_000, 40_000)


class Day:
    """What happened, as the callers saw it."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.due_ms: dict[int, int] = {}
        self.cancelled: set[int] = set()
        self.accepted: dict[int, bytes] = {}
        self.attempts: set[tuple[int, int]] = set()
        self.held: list[tuple[WorkerSession, Lease]] = []
        self.sessions: list[WorkerSession] = []

    async def look(self) -> None:
        """Reads what was sent, and checks what must hold for everything that is."""
        for session in self.sessions:
            for lease in await taken(session):
                task = lease.task
                assert task.trigger_ms >= task.due_ms, "never early"
                assert task.task_id not in self.cancelled
                assert task.task_id not in self.accepted, "what was completed is not given out again"
                assert (task.task_id, task.attempt) not in self.attempts, "an attempt has one worker"
                self.attempts.add((task.task_id, task.attempt))
                self.held.append((session, lease))

    async def do(self, step: str, which: int) -> None:
        rig = self.rig
        if step == "enqueue":
            new = NewTask(
                "sheets", bytes([which]), delay_ms=WAIT_MS[which], max_retries=which % 3, backoff_ms=50
            )
            task = await rig.line.enqueue(new)
            self.due_ms[task.task_id] = task.due_ms
        elif step == "pass":
            await rig.pass_ms(WAIT_MS[which])
        elif step == "step":
            rig.clock.step((-3_000, -10, 0, 10, 3_000, 100_000)[which])
        elif step == "storage":
            rig.storage.failures = [Reason.STORAGE_UNAVAILABLE] * (which % 2)  # type: ignore[attr-defined]
        elif step == "open":
            if len(self.sessions) < 4:
                self.sessions.append(rig.worker(credit=1 + which, lease_ms=5_000))
        elif step == "credits":
            for session in self.sessions:
                session.credits(1 + which)
        elif step == "close":
            if self.sessions:
                await self.sessions.pop(which % len(self.sessions)).close()
        elif step == "crash":
            await crash(rig)
            self.sessions.clear()
            rig.storage.failures = []  # type: ignore[attr-defined]
            await rig.boot()
        elif step in ("cancel", "retry"):
            await self.change(step, which)
        elif self.held:
            await self.report(step, which)

    async def change(self, step: str, which: int) -> None:
        if not self.due_ms:
            return
        task_id = list(self.due_ms)[which % len(self.due_ms)]
        try:
            await getattr(self.rig.line, step)(task_id)
            if step == "cancel":
                self.cancelled.add(task_id)
        except CuptimeError as refusal:
            if refusal.reason is not Reason.STATE_CONFLICT:
                raise

    async def report(self, step: str, which: int) -> None:
        _, lease = self.held[which % len(self.held)]
        session = self.sessions[0] if self.sessions else self.rig.worker(credit=0)
        if step == "heartbeat":
            await session.heartbeat([lease.token])
        elif step == "complete":
            result = f"{lease.task.attempt}".encode()
            ack = await session.complete(lease.token, result)
            if ack.result is AckResult.ACCEPTED:
                assert lease.task.task_id not in self.accepted, "accepted once"
                assert lease.task.task_id not in self.cancelled
                self.accepted[lease.task.task_id] = result
        elif step == "fail":
            await session.fail(lease.token, "BROKEN", retriable=which > 1)

    async def end(self) -> None:
        """Everything is let run out under a worker that does its work."""
        self.rig.storage.failures = []  # type: ignore[attr-defined]
        worker = self.rig.worker(credit=1_000)
        self.sessions.append(worker)
        for _ in range(30):
            await self.rig.pass_ms(700_000)
            await self.look()
            for session, lease in self.held:
                if session is worker:
                    await self.report_done(lease)
            self.held.clear()
        for task_id in self.due_ms:
            row = await self.rig.line.get(task_id)
            assert row.state in RESTING, f"{row} was lost"
            assert (row.state is TaskState.CANCELLED) == (task_id in self.cancelled)
            if task_id in self.accepted:
                assert (row.state, row.result) == (TaskState.EXECUTED, self.accepted[task_id])
        await self.rig.line.close()

    async def report_done(self, lease: Lease) -> None:
        ack = await self.sessions[-1].complete(lease.token, b"end")
        if ack.result is AckResult.ACCEPTED:
            self.accepted[lease.task.task_id] = b"end"


@given(steps=STEPS)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_nothing_acknowledged_is_lost_or_undone(steps: list[tuple[str, int]]) -> None:
    async def live() -> None:
        day = Day()
        await day.rig.boot()
        for step, which in steps:
            try:
                await day.do(step, which)
            except CuptimeError as refusal:
                if refusal.reason is not Reason.STORAGE_UNAVAILABLE:
                    raise
            await day.look()
        await day.end()

    asyncio.run(live())


async def test_with_a_real_clock_and_a_real_file(tmp_path: Path, wait_until: WaitUntil) -> None:
    clock, metrics = SystemClock(), CountingMetrics()
    storage = SqliteStorage(tmp_path / "line.db", clock)
    await storage.open()
    fence = await storage.claim(1, "test")
    wheel = LoopWheel(Timers(1, clock.now_ms(), 100_000), clock)

    async def known(_: int) -> bool:
        return True

    line = TaskLine(
        storage,
        fence,
        clock,
        wheel,
        metrics,
        known_group=known,
        requests=Requests(storage, fence, clock),
        last_task_id=(await storage.sequences()).task_id,
    )
    await line.start()
    session = line.open_session("worker", ["sheets"], 5_000)
    session.credits(1_000)
    early: list[int] = []

    async def work() -> None:
        async for batch in session.batches():
            early.extend(lease.task.task_id for lease in batch if lease.task.due_ms > clock.now_ms())
            await asyncio.gather(*(session.complete(lease.token, b"done") for lease in batch))

    working = asyncio.ensure_future(work())
    tasks = await line.enqueue_batch([NewTask("sheets", delay_ms=number % 150) for number in range(600)])
    await wait_until(lambda: metrics.states["EXECUTED"] == 600, timeout=30, why="all executed")
    rows = await storage.tasks_by_id([task.task_id for task in tasks])
    assert {(row.state, row.result, row.attempt) for row in rows} == {(TaskState.EXECUTED, b"done", 1)}
    assert early == []
    assert min(metrics.lateness_ms) >= 0
    await line.close()
    await asyncio.wait_for(working, 5)
    await storage.close()


async def test_the_wheel_goes_on_after_storage_failed_under_it(wait_until: WaitUntil) -> None:
    """As many batches as the wheel may be ahead wait for storage; the pause before the next try ends all the same."""
    clock, metrics, storage = SystemClock(), CountingMetrics(), YieldingStorage()
    await storage.open()
    fence = await storage.claim(1, "test")
    wheel = LoopWheel(Timers(1, clock.now_ms(), 100_000), clock)

    async def known(_: int) -> bool:
        return True

    requests = Requests(storage, fence, clock)
    line = TaskLine(
        storage, fence, clock, wheel, metrics, known_group=known, requests=requests, last_task_id=0
    )
    await line.start()
    await line.enqueue_batch([NewTask("sheets", delay_ms=100 + 10 * number) for number in range(50)])

    def away(_: object) -> None:
        raise CuptimeError(Reason.STORAGE_UNAVAILABLE)

    storage.before_commit = away
    await wait_until(lambda: wheel._ahead == BATCHES_AHEAD_MAX, timeout=10, why="as far ahead as it may be")
    storage.before_commit = lambda _: None
    await wait_until(lambda: metrics.states["TRIGGERED"] == 50, timeout=10, why="all are triggered")
    await line.close()
    await storage.close()
