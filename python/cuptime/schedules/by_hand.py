"""Firings that a person asks for: one now, or those of a time that is past.

They are tasks of the schedule's present generation like all others: what ends or changes the schedule before they are
triggered does to them what it does to planned ones. Neither counts towards `max_runs`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import BACKFILL_FIRINGS_MAX
from cuptime.domain.ports import TaskFilter
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import NOBODY, Caller, Overlap, Schedule, ScheduleChangeKind, ScheduleState, Task
from cuptime.domain.writes import InsertTasks, ReplaceSchedule, Write
from cuptime.schedules.answers import AnswerPort, Backfill
from cuptime.schedules.changes import Asked, Change, Changes, not_found
from cuptime.schedules.desk import WAITING_READ_MAX, Desk
from cuptime.schedules.window import is_over

BY_HAND_AT_ONCE_MAX: Final = 50
"""Firings by hand of one schedule whose nominal times may lie in the same few milliseconds."""
_MAY_FIRE: Final = (ScheduleState.ACTIVE, ScheduleState.PAUSED)


class ByHand:
    """Trigger now, and backfill."""

    def __init__(self, desk: Desk, changes: Changes, answers: AnswerPort) -> None:
        self._desk = desk
        self._changes = changes
        self._answers = answers

    async def trigger(
        self,
        schedule_id: str,
        *,
        overlap: Overlap | None = None,
        request_id: str = "",
        validate_only: bool = False,
        by: Caller = NOBODY,
    ) -> bytes:
        """One firing, due now; also of a paused schedule. Its nominal time is now, or up to some milliseconds earlier,
        where no other firing is. `overlap` instead of the schedule's policy. Raises SCHEDULE_NOT_FOUND; STATE_CONFLICT
        when the schedule is finished."""

        async def make(now_ms: int) -> Change:
            schedule = await self._may_fire(schedule_id, now_ms)
            nominal_ms = await self._free(schedule, now_ms)
            return self._fired(schedule, [nominal_ms], now_ms, overlap)

        told = () if overlap is None else (overlap,)
        asked = Asked(ScheduleChangeKind.TRIGGERED, request_id, by).of(schedule_id, *told)
        return await self._run(schedule_id, asked, validate_only, make)

    async def backfill(
        self,
        schedule_id: str,
        start_ms: int,
        end_ms: int,
        *,
        overlap: Overlap | None = None,
        request_id: str = "",
        validate_only: bool = False,
        by: Caller = NOBODY,
    ) -> bytes:
        """The firings t with start_ms <= t < end_ms that the present timing has and the present generation has not
        made yet, all due now, the earliest first; `overlap` instead of the schedule's policy. With `validate_only`
        nothing is fired, and the answer says what it would cost. Raises FIELD_*, also for a time of which retention
        removed firings; SCHEDULE_NOT_FOUND, STATE_CONFLICT; LIMIT_REACHED for more than `BACKFILL_FIRINGS_MAX`."""
        if not start_ms > 0:
            raise invalid("start_time_ms", "an instant", start_ms)
        if not start_ms < end_ms:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION, "end_time_ms is not after start_time_ms", field="end_time_ms"
            )

        async def make(now_ms: int) -> Change:
            if end_ms > now_ms:
                raise invalid("end_time_ms", "not after now: what is to come is planned by itself", end_ms)
            schedule = await self._may_fire(schedule_id, now_ms)
            await self._check_kept(schedule, start_ms)
            times = self._desk.engine.firings(
                schedule.timing, schedule.anchor_ms, start_ms - 1, end_ms - 1, BACKFILL_FIRINGS_MAX + 1
            )
            if len(times) > BACKFILL_FIRINGS_MAX:
                raise CuptimeError(
                    Reason.LIMIT_REACHED,
                    f"more than {BACKFILL_FIRINGS_MAX} firings; ask for a shorter time",
                    field="end_time_ms",
                    metadata={"limit": str(BACKFILL_FIRINGS_MAX), "until_ms": str(times[-1])},
                )
            there = await self._there(schedule)
            fresh = [nominal_ms for nominal_ms in times if nominal_ms not in there]
            change = self._fired(schedule, fresh, now_ms, overlap) if fresh else Change(schedule, [])
            told = Backfill(
                len(fresh), len(times) - len(fresh), fresh[0] if fresh else 0, fresh[-1] if fresh else 0
            )
            change.answer = self._answers.backfilled(self._changes.seen(change.schedule), told)
            return change

        told = () if overlap is None else (overlap,)
        asked = Asked(ScheduleChangeKind.BACKFILLED, request_id, by).of(schedule_id, start_ms, end_ms, *told)
        return await self._run(schedule_id, asked, validate_only, make)

    async def _run(
        self,
        schedule_id: str,
        asked: Asked,
        validate_only: bool,
        make: Callable[[int], Awaitable[Change]],
    ) -> bytes:
        if validate_only:
            async with self._desk.turns.turn(schedule_id):
                return self._changes.shown(await make(self._desk.clock.now_ms()))
        return await to_the_end(self._changes.commit(schedule_id, asked, make))

    async def _may_fire(self, schedule_id: str, now_ms: int) -> Schedule:
        schedule = await self._desk.held(schedule_id)
        if schedule is None or schedule.state is ScheduleState.UNREGISTERED:
            raise not_found(schedule_id)
        if schedule.state is ScheduleState.ACTIVE and is_over(schedule, now_ms):
            schedule = replace(schedule, state=ScheduleState.FINISHED)
        if schedule.state not in _MAY_FIRE:
            raise CuptimeError(
                Reason.STATE_CONFLICT,
                f"schedule {schedule_id!r} is {schedule.state.name} and does not fire any more",
                metadata={"state": schedule.state.name},
            )
        return schedule

    async def _check_kept(self, schedule: Schedule, start_ms: int) -> None:
        """Which firings there were is known as long as their tasks are kept: none must fire twice."""
        removed_ms = await self._desk.storage.forgotten_firings(schedule.schedule_seq, schedule.generation)
        if start_ms <= removed_ms:
            wanted = f"after {removed_ms}: which firings there were up to then was removed by retention"
            raise invalid("start_time_ms", wanted, start_ms)

    def _fired(self, schedule: Schedule, times: list[int], now_ms: int, overlap: Overlap | None) -> Change:
        made = self._desk.tasks(schedule, times, schedule.fire_count, overlap)
        tasks = [replace(task, due_ms=now_ms) for task in made]
        after = replace(schedule, fire_count=schedule.fire_count + len(times), updated_ms=now_ms)
        detail = f"{len(times)} firings, nominal {times[0]} to {times[-1]}"
        if overlap is not None:
            detail += f", overlap {overlap.name}"
        writes: list[Write] = [ReplaceSchedule(after, schedule.generation), InsertTasks(tasks)]
        return Change(after, writes, tasks, detail=detail)

    async def _there(self, schedule: Schedule) -> set[int]:
        """The nominal times for which this generation has a task."""
        if not schedule.fire_count:
            return set()
        there: set[int] = set()
        after, page = 0, list[Task]()
        while page or not after:
            where = TaskFilter(schedule_seq=schedule.schedule_seq)
            page = await self._desk.storage.tasks(where, after=after, limit=WAITING_READ_MAX)
            there.update(task.nominal_ms for task in page if task.generation == schedule.generation)
            after = page[-1].task_id if page else 1
        return there

    async def _free(self, schedule: Schedule, now_ms: int) -> int:
        """An instant just now at which the schedule has no firing of its own and none by hand."""
        taken: set[int] = set()
        if schedule.fire_count:
            where = TaskFilter(
                schedule_seq=schedule.schedule_seq,
                due_from_ms=now_ms - BY_HAND_AT_ONCE_MAX,
                due_until_ms=now_ms + BY_HAND_AT_ONCE_MAX + schedule.policy.jitter_ms,
            )
            rows = await self._desk.storage.tasks(where, after=0, limit=WAITING_READ_MAX)
            # Of all generations: a change may keep a firing that waits.
            taken = {task.nominal_ms for task in rows}
        for nominal_ms in range(now_ms, now_ms - BY_HAND_AT_ONCE_MAX, -1):
            planned_ms = self._desk.engine.next(schedule.timing, schedule.anchor_ms, nominal_ms - 1)
            if nominal_ms not in taken and planned_ms != nominal_ms:
                return nominal_ms
        raise CuptimeError(Reason.OVERLOADED, "the schedule was fired by hand too often in this moment")
