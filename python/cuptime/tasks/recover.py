"""Recovery: the wheel, the leases and the queues are rebuilt from storage.

Every task that is not at rest is found by one scan in pages. What was SCHEDULED is armed, and fires at once when it is
overdue. What was TRIGGERED and is not under a live lease is ready again at once: the outage was ours, so it costs the
task no retry. A lease that still stands is taken over with its end, and its worker may report on it over a new stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.domain.values import Task, TaskState
from cuptime.tasks import life
from cuptime.tasks.delivery import Delivery
from cuptime.tasks.internal import InternalRuns
from cuptime.tasks.means import Means
from cuptime.tasks.repeats import Repeats
from cuptime.tasks.workers import Lease

PAGE: Final = 20_000


class Recovered(Struct, frozen=True):
    """What a start found."""

    armed: int = 0
    overdue: int = 0
    """Of the armed, those whose time passed while nobody watched."""
    lateness_ms_max: int = 0
    ready: int = 0
    leased: int = 0


class Recovery:
    """One scan at start, before the first caller."""

    def __init__(self, means: Means, delivery: Delivery, internal: InternalRuns, repeats: Repeats) -> None:
        self._means = means
        self._delivery = delivery
        self._internal = internal
        self._repeats = repeats

    async def run(self, last_task_id: int) -> Recovered:
        """Everything up to `last_task_id`, the highest id when the service started: later ones were made by it."""
        found = Recovered()
        after = 0
        while page := await self._means.storage.waiting_tasks(after=after, limit=PAGE):
            after = page[-1][0]
            page = [row for row in page if row[0] <= last_task_id]
            waiting = [row for row in page if row[2] != TaskState.TRIGGERED]
            found = self._arm(found, [row for row in waiting if not row[4]])
            bucketed = [row for row in waiting if row[4]]
            for start in range(0, len(bucketed), TRIGGER_BATCH_MAX):
                found = await self._bucket(found, bucketed[start : start + TRIGGER_BATCH_MAX])
            triggered = [row[0] for row in page if row[2] == TaskState.TRIGGERED]
            for start in range(0, len(triggered), TRIGGER_BATCH_MAX):
                found = await self._resume(found, triggered[start : start + TRIGGER_BATCH_MAX])
            if after >= last_task_id:
                break
        return found

    def _arm(self, found: Recovered, rows: Sequence[tuple[int, int, int, int, int]]) -> Recovered:
        self._means.wheel.arm([row[0] for row in rows], [row[1] for row in rows])
        return self._counted(found, rows)

    def _counted(self, found: Recovered, rows: Sequence[tuple[int, int, int, int, int]]) -> Recovered:
        now_ms = self._means.clock.now_ms()
        late = [now_ms - row[1] for row in rows if row[1] < now_ms]
        return replace(
            found,
            armed=found.armed + len(rows),
            overdue=found.overdue + len(late),
            lateness_ms_max=max(found.lateness_ms_max, *late, 0) if late else found.lateness_ms_max,
        )

    async def _bucket(self, found: Recovered, rows: Sequence[tuple[int, int, int, int, int]]) -> Recovered:
        """Their queues are in the rows alone. One that changed meanwhile is found out when its bucket is due."""
        for task in await self._means.storage.tasks_by_id([row[0] for row in rows]):
            self._means.buckets.arm([(task.task_id, task.queue, task.due_ms, task.bucket_ms)])
        return self._counted(found, rows)

    async def _resume(self, found: Recovered, ids: Sequence[int]) -> Recovered:
        now_ms = self._means.clock.now_ms()
        ready: list[Task] = []
        leased = 0
        for task in await self._means.storage.tasks_by_id(ids):
            if task.lease_until_ms > now_ms:
                await self._repeats.admit([task])
                self._delivery.leases.hold([Lease(task, None)], task.lease_until_ms)
                leased += 1
            else:
                ready.append(task)
        self._internal.offer([task for task in ready if life.is_internal(task.queue)])
        self._delivery.offer([task for task in ready if not life.is_internal(task.queue)])
        return replace(found, ready=found.ready + len(ready), leased=found.leased + leased)
