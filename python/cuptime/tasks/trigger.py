"""The trigger: what falls due becomes TRIGGERED, durably, and goes to whoever takes it.

For each batch: take or read the rows, deal them to workers with credits, and commit triggers and leases in one
transaction. Storage moves only rows that are SCHEDULED and due when the row says so; a timer that names an older due
time, or a task that was cancelled meanwhile, moves nothing. While one batch is on its way to disk the next one fills,
so batches are small when little is due and large when much is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.domain.values import OverlapEffect, Task, TaskState
from cuptime.domain.writes import ReplaceTask, TriggerTasks
from cuptime.tasks import life
from cuptime.tasks.buckets import due_by_bucket, key_of
from cuptime.tasks.delivery import Delivery
from cuptime.tasks.ends import Ends
from cuptime.tasks.form import check_context
from cuptime.tasks.internal import InternalRuns
from cuptime.tasks.means import Means
from cuptime.tasks.overlaps import Judged, Overlaps
from cuptime.tasks.repeats import Admitted, Repeats

BATCHES_AT_ONCE_MAX: Final = 2

GenerationOf = Callable[[int], int | None]
"""The current generation of a schedule by its sequence, when memory knows it."""

_log = logging.getLogger(__name__)


class Passed(Struct):
    """The time that the clock was set over."""

    from_ms: int
    until_ms: int
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, task: Task) -> bool:
        return self.from_ms <= task.due_ms < self.until_ms


class Trigger:
    """Takes ids of due tasks from the wheel."""

    def __init__(
        self,
        means: Means,
        delivery: Delivery,
        internal: InternalRuns,
        repeats: Repeats,
        ends: Ends,
        overlaps: Overlaps,
    ) -> None:
        self._means = means
        self._delivery = delivery
        self._internal = internal
        self._repeats = repeats
        self._ends = ends
        self._overlaps = overlaps
        self._waiting: deque[tuple[list[int], int]] = deque()
        """Ids, and how many batches of the wheel they are."""
        self._running: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Future[None]] = set()
        self._held: dict[int, asyncio.Event] = {}
        self._passed: Passed | None = None
        self._put_offs: set[asyncio.Task[None]] = set()
        self.generation_of: GenerationOf = lambda _: None

    def __len__(self) -> int:
        return sum(len(ids) for ids, _ in self._waiting)

    def due(self, ids: list[int]) -> None:
        """One batch of the wheel, answered with `consumed` when it is durable."""
        self._wait(ids, 1)

    def bucket(self, ids: list[int]) -> None:
        """All members of a bucket: one transaction, or several of TRIGGER_BATCH_MAX."""
        for start in range(0, len(ids), TRIGGER_BATCH_MAX):
            self._wait(ids[start : start + TRIGGER_BATCH_MAX], 0)

    def _wait(self, ids: list[int], batches: int) -> None:
        self._waiting.append((ids, batches))
        if len(self._running) < BATCHES_AT_ONCE_MAX:
            running = asyncio.get_running_loop().create_task(self._run())
            self._running.add(running)
            running.add_done_callback(self._running.discard)

    async def hold(self, schedule_seq: int) -> None:
        """Nothing of the schedule is triggered from now until :meth:`release`; returns when what was on its way is
        durable. For the moment in which a schedule changes."""
        self._held.setdefault(schedule_seq, asyncio.Event())
        if self._in_flight:
            await asyncio.wait(self._in_flight)

    def release(self, schedule_seq: int) -> None:
        """What is left of the held firings is triggered now."""
        held = self._held.pop(schedule_seq, None)
        if held is not None:
            held.set()

    def hold_passed(self, from_ms: int, until_ms: int) -> None:
        """Firings that were due in [from, until) wait until :meth:`release_passed`: the clock was set over them, and it
        is not decided yet which of them are caught up."""
        if self._passed is None:
            self._passed = Passed(from_ms, until_ms)
        self._passed.from_ms = min(self._passed.from_ms, from_ms)
        self._passed.until_ms = max(self._passed.until_ms, until_ms)

    def release_passed(self) -> None:
        """Those that are left are triggered now."""
        if self._passed is not None:
            self._passed.over.set()
            self._passed = None

    async def settle(self) -> None:
        """Returns when everything handed over is durable."""
        while self._running:
            await asyncio.wait(self._running)

    async def stop(self, grace_s: float) -> None:
        """Triggers nothing more; what is on its way to disk has `grace_s` to get there. The rest is SCHEDULED still,
        and overdue at the next start."""
        self._waiting.clear()
        if self._running:
            await asyncio.wait(self._running, timeout=grace_s)
        for running in (*self._running, *self._put_offs):
            running.cancel()

    async def _run(self) -> None:
        while self._waiting:
            ids, batches = self._waiting.popleft()
            while self._waiting and len(ids) + len(self._waiting[0][0]) <= TRIGGER_BATCH_MAX:
                more, more_batches = self._waiting.popleft()
                ids += more
                batches += more_batches
            try:
                await self._means.persist(self._batch, ids)
            except Exception:
                # A fault of ours: the tasks are SCHEDULED and overdue, and tried again a little later.
                _log.exception("triggering %d tasks failed", len(ids))
                later_ms = self._means.clock.now_ms() + 1_000
                self._means.wheel.arm(ids, [later_ms] * len(ids))
            for _ in range(batches):
                self._means.wheel.consumed()

    async def _batch(self, ids: Sequence[int]) -> None:
        now_ms = self._means.clock.now_ms()
        due, broken = await self._due_rows(ids, now_ms)
        # No await between looking for holds and the future below: a hold sees every batch that did not see it.
        judged = None
        if any(task.overlap for task in due):
            judged = self._overlaps.judge(due, now_ms)
            due = judged.run
        if not due and not broken and not (judged and judged.changes):
            return
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in_flight.add(durable)
        try:
            await self._fire(due, broken, judged, now_ms)
        finally:
            self._in_flight.discard(durable)
            durable.set_result(None)

    async def _fire(self, due: list[Task], broken: list[Task], judged: Judged | None, now_ms: int) -> None:
        own = {queue for queue in {task.queue for task in due} if life.is_internal(queue)}
        internal = [task for task in due if task.queue in own] if own else []
        outside = [task for task in due if task.queue not in own] if own else due
        admitted = await self._repeats.admit(outside)
        # Nothing passes those that wait in its queue already.
        held_up = {task.queue for task in admitted.run if self._delivery.backlog(task.queue)}
        passing = [task for task in admitted.run if task.queue not in held_up]
        trigger_id = self._means.clock.token()
        grants, left = self._delivery.deal(passing, now_ms, trigger_id)
        if held_up:
            left += [task for task in admitted.run if task.queue in held_up]
        rows = [row for grant in grants for row in grant.trigger_rows()]
        if len(rows) < len(due) + len(broken):
            given = {row[0] for row in rows}
            waiting = (task for task in (*due, *broken) if task.task_id not in given)
            rows += [(task.task_id, task.due_ms, "", 0, task.attempt, "") for task in waiting]
        if self._ends.hurry():
            # Their flush begins before this goes on, without a chance for the writer between: one transaction for both.
            await asyncio.sleep(0)
        try:
            writes = judged.writes(now_ms) if judged else []
            committed = await self._means.commit([TriggerTasks(rows, now_ms, trigger_id), *writes])
        except BaseException:
            self._delivery.refund(grants)
            for task in admitted.run:
                self._delivery.offer(self._repeats.ended(task))
            if judged:
                self._overlaps.undo(judged)
            raise
        moved = set(committed.results[0])
        self._delivery.send(grants, moved, now_ms, trigger_id)
        self._tell(due, moved)

        def fired(tasks: Sequence[Task]) -> list[Task]:
            return [life.triggered(task, trigger_id, now_ms) for task in tasks if task.task_id in moved]

        self._internal.offer(fired(internal))
        self._delivery.offer(fired(left))
        self._settle_repeats(admitted, moved, fired)
        if judged:
            self._settle_overlaps(judged, moved, committed.results[1:], now_ms)
        for task in fired(broken):
            message = f"the business context of task {task.task_id} is not valid any more"
            self._ends.failed(task, life.CONTEXT_INVALID, message, retriable=False)

    async def _due_rows(self, ids: Sequence[int], now_ms: int) -> tuple[list[Task], list[Task]]:
        """Rows that shall be triggered now; and those whose context is broken."""
        due: list[Task] = []
        broken: list[Task] = []
        rows, missing = self._means.near.take(ids)
        if missing:
            rows += await self._means.storage.tasks_by_id(missing)
        self._look_at_overlaps(ids, rows)
        for task in rows:
            if task.state is TaskState.PENDING:
                task = await self._scheduled(task, now_ms)
            if task.state is not TaskState.SCHEDULED:
                continue
            if task.due_ms > now_ms:
                # The clock was set back, or the task was put off: its time comes again.
                self._means.arm([task])
            elif task.schedule_seq and self._outdated(task):
                await self._cancel(task, now_ms)
            elif task.context is None or _context_holds(task):
                due.append(task)
            else:
                broken.append(task)
        if self._held or self._passed is not None:
            due = self._put_off(due)
        return due, broken

    def _put_off(self, due: Sequence[Task]) -> list[Task]:
        """Those that are triggered now. A firing of a schedule that is being changed comes again when the change is
        made; one that the clock was set over, when it is known which of them are caught up."""
        now: list[Task] = []
        later: dict[asyncio.Event, list[Task]] = {}
        for task in due:
            held = self._held.get(task.schedule_seq) if task.schedule_seq else None
            if held is None and task.schedule_seq and self._passed is not None and self._passed.takes(task):
                held = self._passed.over
            if held is None:
                now.append(task)
            else:
                later.setdefault(held, []).append(task)
        for held, tasks in later.items():
            waiting = asyncio.get_running_loop().create_task(self._again(held, tasks))
            self._put_offs.add(waiting)
            waiting.add_done_callback(self._put_offs.discard)
        return now

    async def _again(self, held: asyncio.Event, tasks: Sequence[Task]) -> None:
        await held.wait()
        self._means.arm(tasks)

    def _outdated(self, task: Task) -> bool:
        current = self.generation_of(task.schedule_seq) if task.schedule_seq else None
        return current is not None and task.generation < current

    async def _cancel(self, task: Task, now_ms: int) -> None:
        """A firing of an older generation never fires."""
        _log.info(
            "task %d of an older generation of schedule %d is cancelled", task.task_id, task.schedule_seq
        )
        try:
            await self._means.commit([ReplaceTask(life.cancelled(task, now_ms), (TaskState.SCHEDULED,))])
        except CuptimeError as refusal:
            if refusal.reason is not Reason.STATE_CONFLICT:
                raise
        else:
            self._means.metrics.task(TaskState.CANCELLED.name, 1)
            self._means.watchers.publish(life.cancelled(task, now_ms), last=True)
            self._overlaps.ended(task)

    async def _scheduled(self, task: Task, now_ms: int) -> Task:
        """PENDING and due already: both of its transitions are made now."""
        life.step(task, TaskState.SCHEDULED)
        scheduled = replace(task, state=TaskState.SCHEDULED, scheduled_ms=now_ms, updated_ms=now_ms)
        try:
            await self._means.commit([ReplaceTask(scheduled, (TaskState.PENDING,))])
        except CuptimeError as refusal:
            if refusal.reason is not Reason.STATE_CONFLICT:
                raise
            return task
        return scheduled

    def _settle_repeats(
        self, admitted: Admitted, moved: set[int], fired: Callable[[Sequence[Task]], list[Task]]
    ) -> None:
        for task, executed in admitted.copies:
            for copy in fired([task]):
                self._ends.executed(copy, executed.result)
        self._delivery.offer(self._repeats.park(fired(admitted.wait)))
        for task in admitted.run:
            if task.task_id not in moved:
                self._delivery.offer(self._repeats.ended(task))

    def _look_at_overlaps(self, ids: Sequence[int], rows: Sequence[Task]) -> None:
        """What was believed to run or wait and does neither, by its row, makes way."""
        believed = self._overlaps.known(ids)
        if believed:
            states = {task.task_id: task.state for task in rows}
            self._overlaps.gone(
                [task_id for task_id in believed if states.get(task_id, TaskState.CANCELLED) in life.RESTING]
            )
        for task in rows:
            if task.overlap and task.state is TaskState.TRIGGERED:
                # Triggered by a commit that was kept although it failed.
                self._overlaps.runs(task)

    def _settle_overlaps(
        self, judged: Judged, moved: set[int], results: Sequence[Sequence[int]], now_ms: int
    ) -> None:
        done = self._overlaps.committed(judged, moved, results)
        skipped, cancelled = done[OverlapEffect.SKIPPED], done[OverlapEffect.CANCELLED]
        self._delivery.withdrawn(
            [task for task in judged.cancel.values() if task.task_id in cancelled], now_ms
        )
        for task in judged.skip:
            if task.task_id in skipped:
                self._means.watchers.publish(life.cancelled(task, now_ms), last=True)
        for effect, ids in done.items():
            if ids:
                self._means.metrics.overlap(effect.name, len(ids))
        if skipped or cancelled:
            self._means.metrics.task(TaskState.CANCELLED.name, len(skipped) + len(cancelled))

    def _tell(self, due: Sequence[Task], moved: set[int]) -> None:
        """Lateness is counted to the moment when the trigger is durable: that is when anybody can act on it. Of a
        bucketed task it is that of its bucket."""
        now_ms = self._means.clock.now_ms()
        buckets = due_by_bucket(due)
        self._means.metrics.trigger(
            [
                now_ms - (buckets[key_of(task)] if task.bucket_ms else task.due_ms)
                for task in due
                if task.task_id in moved
            ]
        )
        self._means.metrics.task(TaskState.TRIGGERED.name, len(moved))


def _context_holds(task: Task) -> bool:
    if task.context is None:
        return True
    try:
        check_context(task.context, "context")
    except CuptimeError as broken:
        _log.error("task %d has a broken business context: %s", task.task_id, broken)
        return False
    return True
