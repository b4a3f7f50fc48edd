"""The task line: what the API and the other capabilities talk to, and how its parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, InternalTaskRunner, Metrics, Storage, TaskFilter
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.values import Fence, Task, TaskState
from cuptime.domain.writes import ReplaceTask
from cuptime.tasks import life
from cuptime.tasks.buckets import Buckets
from cuptime.tasks.columns import packed, unpacked
from cuptime.tasks.delivery import Delivery
from cuptime.tasks.ends import Ends
from cuptime.tasks.enqueue import Enqueue, as_scheduled
from cuptime.tasks.form import KnownGroup, NewTask
from cuptime.tasks.internal import InternalRuns
from cuptime.tasks.means import Means
from cuptime.tasks.overlaps import Counts, Overlaps, is_running
from cuptime.tasks.ready import Ready
from cuptime.tasks.recover import Recovered, Recovery
from cuptime.tasks.repeats import Repeats
from cuptime.tasks.trigger import GenerationOf, Trigger
from cuptime.tasks.watch import Watchers, follow
from cuptime.tasks.wheel import ManualWheel, Wheel
from cuptime.tasks.wheel_loop import LoopWheel
from cuptime.tasks.workers import Lease, WorkerSession

CLOSE_GRACE_S: Final = 5.0
RUNNING_PAGE: Final = 2_000
CHANGE_TRIES_MAX: Final = 8
"""How often a change is tried on a row that keeps changing under it."""


class TaskLine:
    """Tasks from request to acknowledgement. Implements :class:`cuptime.domain.ports.TaskQueue`.

    Made when storage is open and the shard is claimed. Then: register the runners of internal queues, `await start()`,
    and only after that let callers in. With a :class:`ManualWheel` no time passes by itself, and `pump` does its work.
    """

    def __init__(
        self,
        storage: Storage,
        fence: Fence,
        clock: Clock,
        wheel: Wheel,
        metrics: Metrics,
        *,
        known_group: KnownGroup,
        requests: Requests,
        last_task_id: int,
    ) -> None:
        """`last_task_id` is `Sequences.task_id` of the storage; `requests` is shared by the whole process."""
        buckets = Buckets(wheel)
        self._means = Means(storage, fence, clock, wheel, metrics, Watchers(), buckets)
        self._requests = requests
        self._last_task_id = last_task_id
        self._joined: list[Callable[[], Awaitable[None]]] = []
        self._ready = Ready()
        self._repeats = Repeats(self._means)
        self._ends = Ends(self._means)
        self._delivery = Delivery(self._means, self._ready, self._repeats, self._ends)
        self._internal = InternalRuns(self._means, self._ends)
        self._overlaps = Overlaps(self._arm_one)
        self._ends.tell(_EndedFirings(self._overlaps))
        self._delivery.at_rest = self._overlaps.ended
        self._trigger = Trigger(
            self._means, self._delivery, self._internal, self._repeats, self._ends, self._overlaps
        )
        self._enqueue = Enqueue(self._means, requests, known_group, last_task_id)
        buckets.connect(self._trigger.bucket)
        wheel.connect(self._trigger.due, self._delivery.leases.expired)
        metrics.depth("wheel", lambda: len(wheel))
        metrics.depth("due", lambda: len(self._trigger))
        metrics.depth("ready", lambda: len(self._ready))
        metrics.depth("internal", lambda: len(self._internal))
        metrics.depth("buckets", lambda: len(buckets))
        metrics.depth("bucketed", lambda: buckets.member_count)
        metrics.depth("buffered", lambda: len(self._overlaps))
        metrics.depth("leased", lambda: len(self._delivery.leases))
        metrics.depth("workers", lambda: self._delivery.leases.session_count)
        metrics.depth("clock_steps", lambda: wheel.health.steps)
        metrics.depth("clock_drift_ms", lambda: wheel.health.drift_ms)

    # --- life of the line -----------------------------------------------------------------------------------------
    async def start(self) -> Recovered:
        """Rebuilds everything from storage and begins to trigger. What is overdue fires while the scan still runs."""
        await self._recover_overlaps()
        if isinstance(self.wheel, LoopWheel):
            self.wheel.start()
        recovery = Recovery(self._means, self._delivery, self._internal, self._repeats)
        return await recovery.run(self._last_task_id)

    async def _recover_overlaps(self) -> None:
        """Who runs must be known before anything is triggered; who waited is overdue, and judged anew."""
        after = 0
        while page := await self._means.storage.running_firings(after=after, limit=RUNNING_PAGE):
            after = page[-1].task_id
            for task in page:
                self._overlaps.runs(task)

    def _arm_one(self, task: Task) -> None:
        self._means.near.put([task], self._means.clock.now_ms())
        self._means.arm([task])

    async def close(self) -> None:
        """Stops triggering, ends the sessions, and returns when what was reported is durable."""
        if isinstance(self.wheel, LoopWheel):
            self.wheel.stop()
        await self._trigger.stop(CLOSE_GRACE_S)
        await self._delivery.stop(CLOSE_GRACE_S)
        self._internal.stop()
        await self._delivery.leases.close()
        await self._ends.settle()
        self._means.watchers.stop()

    async def pump(self) -> int:
        """Under a manual clock: hands over everything due by now and returns when all that follows from it without
        more time or a worker's word is durable. Returns how many waits ended."""
        if not isinstance(self.wheel, ManualWheel):
            raise RuntimeError("this line's wheel is driven by the event loop; nobody else pumps it")
        ended = 0
        while True:
            now_ended = self.wheel.pump()
            ended += now_ended
            settled = await self._settle()
            if not settled or (not now_ended and not self._busy()):
                return ended

    async def _settle(self) -> bool:
        """Waits until nothing happens by itself; False when something waits for time to pass."""

        async def settle_all() -> None:
            for settle in (
                *self._joined,
                self._trigger.settle,
                self._internal.settle,
                self._ends.settle,
                self._delivery.settle,
            ):
                await settle()

        # Both only look on: to cancel them stops nothing.
        settling = asyncio.ensure_future(settle_all())
        pausing = asyncio.ensure_future(self._means.paused.wait())
        await asyncio.wait([settling, pausing], return_when=asyncio.FIRST_COMPLETED)
        settled = settling.done()
        settling.cancel()
        pausing.cancel()
        return settled

    def _busy(self) -> bool:
        next_ms = self.wheel.next_event_ms()
        return bool(len(self._trigger) or len(self._ends)) or (
            next_ms is not None and next_ms <= self._means.clock.now_ms() and len(self.wheel) > 0
        )

    @property
    def wheel(self) -> Wheel:
        """For calls at a time that need not be durable (`wheel.at`), and the clock's health."""
        return self._means.wheel

    @property
    def waits(self) -> int:
        """Tasks, leases and calls that wait for their time."""
        return self._means.waits

    @property
    def epoch(self) -> int:
        """The fencing number of this owner, for workers."""
        return self._means.fence.epoch

    # --- for other capabilities (domain.ports.TaskQueue) ----------------------------------------------------------
    def new_task(
        self,
        queue: str,
        payload: bytes,
        due_ms: int,
        *,
        priority: int = 50,
        max_retries: int = 0,
        traceparent: str = "",
    ) -> Task:
        """A task with a fresh id, to be put into an InsertTasks of the caller's own commit."""
        return self._enqueue.internal_task(
            queue, payload, due_ms, priority=priority, max_retries=max_retries, traceparent=traceparent
        )

    def next_id(self) -> int:
        """A fresh task id, for capabilities that make whole rows."""
        return self._enqueue.next_id()

    def armed(self, tasks: Sequence[Task]) -> None:
        """Arms tasks after their commit."""
        self._enqueue.armed(tasks)

    def disarmed(self, task_ids: Sequence[int]) -> None:
        """Forgets the waits of tasks that a commit has cancelled."""
        self._means.wheel.disarm(task_ids)
        self._means.near.forget(task_ids)
        self._means.metrics.task(TaskState.CANCELLED.name, len(task_ids))
        self._overlaps.gone(task_ids)

    def overlap_counts(self, schedule_seq: int) -> Counts | None:
        """What the overlap policy of a schedule did, as storage has it; None when nothing is known of it."""
        return self._overlaps.counts(schedule_seq)

    def begin_overlap_counts(self, schedule_seq: int, counts: Counts) -> None:
        """What storage had counted when the schedule was read."""
        self._overlaps.begin_counts(schedule_seq, counts)

    def standing(self, schedule_seq: int) -> tuple[int, int]:
        """(running, waiting for them) of the firings of a schedule under an overlap policy."""
        return self._overlaps.standing(schedule_seq)

    def internal(self, queue: str, run: InternalTaskRunner) -> None:
        """Who runs the internal tasks of a queue. Running must be idempotent by the task's id."""
        self._internal.register(queue, run)

    async def hold(self, schedule_seq: int) -> None:
        """No firing of the schedule is triggered until `release`; returns when what was on its way is durable."""
        await self._trigger.hold(schedule_seq)

    def release(self, schedule_seq: int) -> None:
        """Ends a hold."""
        self._trigger.release(schedule_seq)

    def passes(self, judge: Callable[[int, int], bool]) -> None:
        """Who is told that the wall clock was set forward, from and to when. When `judge` says True, firings that
        were due in between wait until :meth:`passed`."""

        def forward(from_ms: int, to_ms: int) -> None:
            if judge(from_ms, to_ms):
                self._trigger.hold_passed(from_ms, to_ms)

        self.wheel.on_forward = forward

    def passed(self) -> None:
        """It is decided what is caught up of what the clock was set over."""
        self._trigger.release_passed()

    def joins(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Whose work `pump` also waits for, because it begins with a call of the wheel."""
        self._joined.append(settle)

    def generations(self, generation_of: GenerationOf) -> None:
        """Who knows the current generation of a schedule: a firing of an older one is cancelled at its trigger."""
        self._trigger.generation_of = generation_of

    # --- for callers ----------------------------------------------------------------------------------------------
    async def enqueue(
        self, new: NewTask, *, request_id: str = "", validate_only: bool = False, field: str = "task"
    ) -> Task:
        """Makes one task durable, then arms it. Raises FIELD_*, GROUP_NOT_FOUND, REQUEST_ID_REUSED, LIMIT_REACHED and
        what storage raises. With `validate_only` nothing is kept, and the id is 0."""
        tasks = await self._enqueue.batch(
            [new], request_id=request_id, validate_only=validate_only, field=field
        )
        return tasks[0]

    async def enqueue_batch(
        self, news: Sequence[NewTask], *, request_id: str = "", validate_only: bool = False
    ) -> list[Task]:
        """1 to 1,000 tasks, all or none, in one commit. Errors name the field as `requests[3].task.queue`."""
        return await self._enqueue.batch(
            news, request_id=request_id, validate_only=validate_only, field="requests[{}].task"
        )

    async def get(self, task_id: int) -> Task:
        """Raises TASK_NOT_FOUND."""
        task = await self._means.storage.task(task_id)
        if task is None:
            raise CuptimeError(
                Reason.TASK_NOT_FOUND, f"no task {task_id}", metadata={"task_id": str(task_id)}
            )
        return task

    async def tasks(self, where: TaskFilter, *, after: int, limit: int) -> list[Task]:
        """By id, from `after` (exclusive) on."""
        return await self._means.storage.tasks(where, after=after, limit=limit)

    async def cancel(self, task_id: int, *, request_id: str = "", validate_only: bool = False) -> Task:
        """Cancels a task in any state before execution; one with a worker is told so at its next heartbeat, and its
        report changes nothing. Raises TASK_NOT_FOUND, STATE_CONFLICT."""

        def change(task: Task) -> Task:
            return life.cancelled(task, self._means.clock.now_ms())

        def after(before: Task, now: Task) -> None:
            self._means.wheel.disarm([task_id])
            self._means.buckets.leave(before)
            self._means.near.forget([task_id])
            self._delivery.leases.drop(task_id, before.execution_id, cancelled=True)
            self._delivery.offer(self._repeats.ended(before))
            self._overlaps.ended(before)
            self._means.watchers.publish(now, last=True)

        return await self._change(task_id, "CancelTask", change, after, request_id, validate_only)

    async def retry(self, task_id: int, *, request_id: str = "", validate_only: bool = False) -> Task:
        """Schedules a failed task again, due now, with its retries counted from zero. Raises TASK_NOT_FOUND,
        STATE_CONFLICT."""

        def change(task: Task) -> Task:
            return life.retried_by_hand(task, self._means.clock.now_ms())

        def after(_: Task, now: Task) -> None:
            self._means.near.put([now], now.updated_ms)
            self._means.arm([now])
            self._means.watchers.publish(now)

        return await self._change(task_id, "RetryTask", change, after, request_id, validate_only)

    async def watch(self, task_id: int) -> AsyncIterator[Task]:
        """The task's state at once, then after each change, until it is executed, cancelled, or failed for good.

        Close the iterator (`aclose`) when the caller goes. Raises TASK_NOT_FOUND; OVERLOADED when the caller reads too
        slowly; DRAINING when the server stops; LIMIT_REACHED for one watcher too many.
        """
        watchers = self._means.watchers
        watcher = watchers.open(task_id)
        try:
            first = await self.get(task_id)
        except BaseException:
            watchers.close(task_id, watcher)
            raise
        return follow(watchers, watcher, first, first.state in life.RESTING)

    def open_session(self, worker: str, queues: Sequence[str], lease_ms: int = 0) -> WorkerSession:
        """A worker said hello. Raises FIELD_*, TOO_MANY_ENTRIES, LIMIT_REACHED."""
        return self._delivery.leases.open_session(worker, queues, lease_ms)

    async def _change(
        self,
        task_id: int,
        method: str,
        change: Callable[[Task], Task],
        after: Callable[[Task, Task], None],
        request_id: str,
        validate_only: bool,
    ) -> Task:
        """Reads a row, changes it, and writes it if nobody else did meanwhile; else again."""
        if validate_only:
            return change(await self.get(task_id))
        for tries_left in reversed(range(CHANGE_TRIES_MAX)):
            done: list[Task] = []
            read: list[Task] = []

            async def make(read: list[Task] = read) -> Made:
                before = await self.get(task_id)
                now = change(before)
                read[:] = [before, now]
                answer = packed([now.due_ms, now.updated_ms])
                return [ReplaceTask(now, (before.state,), before.execution_id)], answer

            def committed(_: Committed, read: list[Task] = read, done: list[Task] = done) -> None:
                before, now = read
                done.append(now)
                self._means.metrics.task(now.state.name, 1)
                after(before, now)

            try:
                answer = await self._requests.once(
                    request_id, method, fingerprint_of(task_id) if request_id else 0, make, committed
                )
            except CuptimeError as refusal:
                # Refused by storage and not by the life cycle: the row changed between reading and writing.
                if refusal.reason is Reason.STATE_CONFLICT and read and tries_left:
                    continue
                raise
            return done[0] if done else self._first_answer(await self.get(task_id), method, unpacked(answer))
        raise CuptimeError(Reason.STATE_CONFLICT, f"task {task_id} keeps changing")

    @staticmethod
    def _first_answer(task: Task, method: str, answer: Sequence[int]) -> Task:
        due_ms, changed_ms = answer
        return task if method == "CancelTask" else as_scheduled(task, due_ms, changed_ms)


class _EndedFirings:
    """An :class:`cuptime.tasks.ends.EndSink`: a firing that has ended makes way for the one that waits."""

    def __init__(self, overlaps: Overlaps) -> None:
        self._overlaps = overlaps

    def ended(self, before: Task, after: Task) -> None:
        if after.overlap and not is_running(after):
            self._overlaps.ended(after)

    def executed(self, done: Sequence[Task | Lease]) -> None:
        for held in done:
            row = held.row if isinstance(held, Lease) else held
            if row.overlap:
                self._overlaps.ended(row)
