"""What the registry and the planner share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import (
    CATCH_UP_WINDOW_DEFAULT_MS,
    FORGET_ROWS_MAX,
    MISFIRE_MS,
    SCHEDULE_CHANGES_KEPT_MAX,
    SCHEDULE_CHANGES_KEPT_MS,
)
from cuptime.domain.ports import CronEngine, Storage, TaskFilter
from cuptime.domain.turns import Turns
from cuptime.domain.values import CatchUp, Fence, Overlap, Schedule, ScheduleState, Task, TaskState
from cuptime.domain.writes import ForgetScheduleChanges, MoveTasks, ReplaceSchedule
from cuptime.schedules.book import LOAD_PAGE, Book
from cuptime.schedules.targets import TargetPort
from cuptime.schedules.window import due_ms_of, firing_task, kept_of, latest
from cuptime.tasks.buckets import late_from_ms
from cuptime.tasks.line import TaskLine
from cuptime.tasks.overlaps import Counts

GENERATIONS_HELD_MAX: Final = 100_000
"""Of the schedules that changed last. Storage cancels what is old; this only closes the moment in between."""
WAITING_READ_MAX: Final = 50_000
FORGET_PERIOD_MS: Final = 3_600_000
FORGET_ROUNDS_MAX: Final = 2_000
"""Commits of one sweep of the audit; what is left then waits for the next."""
_MAYBE_KEPT: Final = (Reason.STORAGE_UNAVAILABLE, Reason.INTERNAL)


class Desk(Struct):
    """Storage, time, computation, and one turn at a time for each schedule."""

    storage: Storage
    fence: Fence
    clock: Clock
    engine: CronEngine
    targets: TargetPort
    line: TaskLine
    turns: Turns = field(default_factory=Turns)
    """By schedule_id: who changes a schedule or plans it."""
    book: Book = field(default_factory=Book)
    generations: OrderedDict[int, int] = field(default_factory=OrderedDict)
    forget_from_ms: int = 0
    """When the audit is swept next."""

    async def recover(self) -> None:
        """From storage into memory; before the planner starts and before callers are let in."""
        await self.book.load(self.storage)
        for page in self.book.pages(LOAD_PAGE):
            for schedule in page:
                self.line.begin_overlap_counts(schedule.schedule_seq, overlap_counts(schedule))
                if _may_miss(schedule):
                    await self._drop_missed(schedule, 0)

    async def catch_up(self, from_ms: int) -> None:
        """The clock of the running service was set forward, from this instant on: as after an outage. While the line
        holds what the clock passed. Raises when storage cannot serve; what is done then is done."""
        for page in self.book.pages(LOAD_PAGE):
            for seen in page:
                if not _may_miss(seen) or not self._passed(seen, from_ms):
                    continue
                async with self.turns.turn(seen.schedule_id):
                    held = self.book.by_seq(seen.schedule_seq)
                    if held is not None and _may_miss(held):
                        await self._drop_missed(held, from_ms)

    def _passed(self, schedule: Schedule, from_ms: int) -> bool:
        """May the schedule have a firing that was due since then?"""
        nominal_ms = self.engine.next(
            schedule.timing, schedule.anchor_ms, from_ms - schedule.policy.jitter_ms - 1
        )
        return 0 < nominal_ms < self.clock.now_ms() - MISFIRE_MS

    async def _drop_missed(self, schedule: Schedule, from_ms: int) -> None:
        """What was planned before an outage and is late now is missed as well, and under a policy that does not keep
        it, it is cancelled and counted. What was late already at `from_ms` was not missed."""
        now_ms, policy = self.clock.now_ms(), schedule.policy
        late_until_ms = now_ms - MISFIRE_MS
        where = TaskFilter(state=TaskState.SCHEDULED, schedule_seq=schedule.schedule_seq)
        late = [
            task
            for task in await self.storage.tasks(where, after=0, limit=WAITING_READ_MAX)
            if task.due_ms >= from_ms and late_from_ms(task) < late_until_ms and not _began(task)
        ]
        if not late:
            return
        later = latest(self.engine, schedule, schedule.planned_until_ms, late_until_ms, kept_of(policy))
        oldest_ms = now_ms - (policy.catch_up_window_ms or CATCH_UP_WINDOW_DEFAULT_MS)
        keep = max(0, kept_of(policy) - len(later))
        late.sort(key=lambda task: task.nominal_ms)
        kept = {task.task_id for task in late[len(late) - keep :] if task.nominal_ms >= oldest_ms}
        rows = [(task.task_id, task.due_ms) for task in late if task.task_id not in kept]
        counted = replace(
            schedule,
            run_count=schedule.run_count - len(rows),
            missed_count=schedule.missed_count + len(rows),
        )
        await self.storage.commit(
            self.fence,
            [
                ReplaceSchedule(counted, schedule.generation),
                MoveTasks(TaskState.CANCELLED, (TaskState.SCHEDULED,), rows, now_ms, ""),
            ],
        )
        self.line.disarmed([task_id for task_id, _ in rows])
        self.book.put(counted)

    async def forget_changes(self) -> None:
        """Drops what the audit keeps no more, an hour's at a time."""
        now_ms = self.clock.now_ms()
        if now_ms < self.forget_from_ms:
            return
        forget = ForgetScheduleChanges(now_ms - SCHEDULE_CHANGES_KEPT_MS, SCHEDULE_CHANGES_KEPT_MAX)
        for _ in range(FORGET_ROUNDS_MAX):
            committed = await self.storage.commit(self.fence, [forget])
            if committed.results[0][0] < FORGET_ROWS_MAX:
                break
        self.forget_from_ms = now_ms + FORGET_PERIOD_MS

    def note_change(self, schedule: Schedule) -> None:
        """After the commit of a change, in the schedule's turn."""
        self.book.put(schedule)
        self.line.begin_overlap_counts(schedule.schedule_seq, overlap_counts(schedule))
        self.generations[schedule.schedule_seq] = schedule.generation
        self.generations.move_to_end(schedule.schedule_seq)
        if len(self.generations) > GENERATIONS_HELD_MAX:
            self.generations.popitem(last=False)

    def note_failure(self, error: BaseException, schedule_ids: Sequence[str]) -> None:
        """After a commit that was not acknowledged, in the turns of the schedules it was about."""
        if not isinstance(error, CuptimeError) or error.reason in _MAYBE_KEPT:
            for schedule_id in schedule_ids:
                self.book.doubt(schedule_id)

    async def held(self, schedule_id: str) -> Schedule | None:
        """The schedule as storage has it: live, or the last one of this id that was. In the schedule's turn."""
        held = self.book.get(schedule_id)
        if held is not None:
            return held
        stored = await self.storage.schedule(schedule_id)
        if self.book.doubts(schedule_id):
            await self._settle(schedule_id, stored)
        return stored

    async def settle_doubts(self) -> None:
        """Storage says what became of the commits that failed; what they kept is armed. Raises when it cannot yet."""
        for schedule_id in self.book.doubted():
            async with self.turns.turn(schedule_id):
                if self.book.doubts(schedule_id):
                    await self._settle(schedule_id, await self.storage.schedule(schedule_id))

    async def _settle(self, schedule_id: str, stored: Schedule | None) -> None:
        if stored is not None:
            where = TaskFilter(state=TaskState.SCHEDULED, schedule_seq=stored.schedule_seq)
            self.line.armed(await self.storage.tasks(where, after=0, limit=WAITING_READ_MAX))
            self.note_change(stored)
        self.book.believe(schedule_id, stored)

    def tasks(
        self, schedule: Schedule, times: Sequence[int], first_number: int, overlap: Overlap | None = None
    ) -> list[Task]:
        """The tasks of some firings."""
        now_ms = self.clock.now_ms()
        return [
            firing_task(
                self.targets,
                schedule,
                nominal_ms,
                due_ms_of(self.engine, schedule, nominal_ms),
                first_number + k,
                self.line.next_id(),
                now_ms,
                overlap,
            )
            for k, nominal_ms in enumerate(times)
        ]


def overlap_counts(schedule: Schedule) -> Counts:
    """What its overlap policy did, as far as this value knows."""
    return schedule.skipped_count, schedule.buffered_count, schedule.cancelled_count


def _may_miss(schedule: Schedule) -> bool:
    return schedule.policy.catch_up is not CatchUp.ALL and schedule.state is ScheduleState.ACTIVE


def _began(task: Task) -> bool:
    """A retry was not missed: its firing was triggered. Nor was one that waits for the end of another."""
    return bool(task.retry_count or task.buffered_ms)
