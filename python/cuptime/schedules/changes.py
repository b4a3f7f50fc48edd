"""How a change of a schedule is made: one transaction in the schedule's turn, then what follows from it.

The transaction holds the new generation, the end of what the old one had waiting, the firings of the trigger window,
and the answer under its request_id. Everything it is computed from is in memory (:class:`Book`), so a change costs one
trip to storage, and none of the readers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TRIGGER_WINDOW_MS
from cuptime.domain.ports import Committed, TaskFilter
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import (
    NOBODY,
    Caller,
    Overlap,
    Schedule,
    ScheduleChangeKind,
    ScheduleChangeRow,
    ScheduleState,
    Task,
    TaskState,
    Timing,
    TimingKind,
)
from cuptime.domain.writes import (
    CancelTasksOfSchedule,
    InsertTasks,
    RecordScheduleChange,
    ReplaceSchedule,
    Write,
)
from cuptime.schedules.answers import AnswerPort
from cuptime.schedules.desk import WAITING_READ_MAX, Desk, overlap_counts
from cuptime.schedules.planner import Planner
from cuptime.schedules.window import is_over, planned

FIRINGS_AT_ONCE_MAX: Final = 1_000
"""In the commit of a registration; the planner goes on at once with what is more."""

_METHODS: Final = {
    ScheduleChangeKind.REGISTERED: "RegisterSchedule",
    ScheduleChangeKind.UPDATED: "UpdateSchedule",
    ScheduleChangeKind.UNREGISTERED: "UnregisterSchedule",
    ScheduleChangeKind.PAUSED: "PauseSchedule",
    ScheduleChangeKind.RESUMED: "ResumeSchedule",
    ScheduleChangeKind.TRIGGERED: "TriggerSchedule",
    ScheduleChangeKind.BACKFILLED: "BackfillSchedule",
}
"""A request_id belongs to one of these."""

Alter = Callable[[Schedule, int], Schedule | None]
"""The changed schedule, generation and watermark aside; None when there is nothing to change."""


class Change(Struct):
    """What one change writes, and the schedule afterwards."""

    schedule: Schedule
    writes: list[Write]
    tasks: Sequence[Task] = ()
    cancels: bool = False
    """Is the first write the cancelling of the old generation's tasks?"""
    next_ms: int | None = None
    """The next firing to be shown, when it is known."""
    answer: bytes | None = None
    """When it is not the schedule alone."""
    before: Schedule | None = None
    detail: str = ""
    """For the audit: what a firing by hand fired."""


class Asked(Struct, frozen=True):
    """What a caller asks for, and who it is."""

    kind: ScheduleChangeKind
    request_id: str = ""
    by: Caller = NOBODY
    fingerprint: int = 0
    """Of the request, when it has an id."""

    def of(self, *parts: object) -> Asked:
        """With the fingerprint of these."""
        return replace(self, fingerprint=fingerprint_of(*parts)) if self.request_id else self


class Changes:
    """Makes changes, one at a time for each schedule."""

    def __init__(self, desk: Desk, planner: Planner, requests: Requests, answers: AnswerPort) -> None:
        self._desk = desk
        self._planner = planner
        self._requests = requests
        self._answers = answers

    def seen(self, schedule: Schedule, next_ms: int | None = None) -> Schedule:
        """As callers see it: `next_ms` is the next firing, not the next to be planned."""
        schedule = self._counted(schedule)
        if schedule.state is not ScheduleState.ACTIVE:
            return replace(schedule, next_ms=0) if schedule.next_ms else schedule
        now_ms = self._desk.clock.now_ms()
        if is_over(schedule, now_ms):
            return replace(schedule, state=ScheduleState.FINISHED)
        if next_ms is None:
            next_ms = self._desk.engine.next(schedule.timing, schedule.anchor_ms, now_ms)
        return schedule if schedule.next_ms == next_ms else replace(schedule, next_ms=next_ms)

    def _counted(self, schedule: Schedule) -> Schedule:
        """With what the overlap policy did by now."""
        counts = self._desk.line.overlap_counts(schedule.schedule_seq)
        if counts is None:
            return schedule
        skipped, buffered, cancelled = map(max, counts, overlap_counts(schedule))
        return replace(schedule, skipped_count=skipped, buffered_count=buffered, cancelled_count=cancelled)

    async def fresh(self, schedule_id: str, asked: Asked, make: Callable[[int], Change]) -> bytes:
        """A registration; `make` gives it at an instant."""

        async def made(now_ms: int) -> Change:
            return make(now_ms)

        return await to_the_end(self.commit(schedule_id, asked, made))

    def shown(self, change: Change) -> bytes:
        """The answer to a change."""
        if change.answer is not None:
            return change.answer
        return self._answers.packed(self.seen(change.schedule, change.next_ms))

    async def change(
        self,
        schedule_id: str,
        asked: Asked,
        alter: Alter,
        etag: int | None = None,
        validate_only: bool = False,
    ) -> bytes:
        """Raises SCHEDULE_NOT_FOUND, ETAG_MISMATCH, what `alter` raises, and what storage does."""
        held: list[int] = []

        async def make(now_ms: int) -> Change:
            return await self._altered(schedule_id, alter, etag, now_ms, held)

        async def run() -> bytes:
            try:
                if validate_only:
                    async with self._desk.turns.turn(schedule_id):
                        return self.shown(await make(self._desk.clock.now_ms()))
                return await self.commit(schedule_id, asked, make)
            finally:
                for schedule_seq in held:
                    self._desk.line.release(schedule_seq)

        # A caller that hangs up must not give the turn and the hold away while the commit is on its way: the planner
        # would add firings of the generation that it ends.
        return await to_the_end(run())

    async def _altered(
        self, schedule_id: str, alter: Alter, etag: int | None, now_ms: int, held: list[int]
    ) -> Change:
        before = await self._desk.held(schedule_id)
        if before is None or before.state is ScheduleState.UNREGISTERED:
            raise not_found(schedule_id)
        if etag is not None and etag != before.generation:
            metadata = {"schedule_id": schedule_id, "etag": str(before.generation), "wanted": str(etag)}
            raise CuptimeError(Reason.ETAG_MISMATCH, field="etag", metadata=metadata)
        if before.state is ScheduleState.ACTIVE and is_over(before, now_ms):
            before = replace(before, state=ScheduleState.FINISHED)
        changed = alter(before, now_ms)
        if changed is None:
            return Change(before, [])
        carried: list[Task] = []
        goes_on = before.state is changed.state is ScheduleState.ACTIVE
        # What a pause cancels is given back too: `max_runs` may be set later.
        if before.state is ScheduleState.ACTIVE and (
            before.policy.max_runs or changed.state is not ScheduleState.UNREGISTERED
        ):
            # While a running schedule changes, none of its firings may slip between reading and committing.
            held.append(before.schedule_seq)
            await self._desk.line.hold(before.schedule_seq)
            now_ms = self._desk.clock.now_ms()
            waiting = await self._waiting(before)
            if goes_on and changed.timing == before.timing:
                carried = sorted(
                    (task for task in waiting if task.nominal_ms <= now_ms), key=lambda task: task.nominal_ms
                )
            lost = sum(not task.retry_count for task in waiting) - len(carried)
            changed = replace(changed, run_count=max(0, before.run_count - max(0, lost)))
        if changed.timing != before.timing:
            changed = replace(changed, run_count=0)
        anchor_ms = now_ms if changed.timing != before.timing else changed.anchor_ms
        schedule, tasks, next_ms = self._replanned(before, changed, anchor_ms, carried, now_ms)
        writes: list[Write] = [ReplaceSchedule(schedule, before.generation)]
        cancels = before.fire_count > 0
        if cancels:
            writes.insert(0, CancelTasksOfSchedule(schedule.schedule_seq, schedule.generation, now_ms))
        if tasks:
            writes.append(InsertTasks(tasks))
        return Change(schedule, writes, tasks, cancels, next_ms, before=before)

    async def commit(self, schedule_id: str, asked: Asked, make: Callable[[int], Awaitable[Change]]) -> bytes:
        """In the schedule's turn: one transaction with its entry of the audit, then the arming."""
        change: Change | None = None

        async def writes() -> Made:
            nonlocal change
            change = await make(self._desk.clock.now_ms())
            answer = self.shown(change)
            if not change.writes:
                return [], answer
            return [*change.writes, RecordScheduleChange(self._recorded(asked, change, answer))], answer

        def after(committed: Committed) -> None:
            assert change is not None
            self._desk.note_change(change.schedule)
            if change.cancels:
                self._desk.line.disarmed(committed.results[0])
            if change.tasks:
                self._desk.line.armed(change.tasks)
            more = 0 < change.schedule.next_ms < horizon_ms(change.schedule.updated_ms)
            if change.schedule.state is ScheduleState.ACTIVE and more:
                self._planner.plan_more(change.schedule.schedule_seq)

        async with self._desk.turns.turn(schedule_id):
            try:
                method = _METHODS[asked.kind]
                return await self._requests.once(asked.request_id, method, asked.fingerprint, writes, after)
            except BaseException as error:
                if change is not None:
                    self._desk.note_failure(error, [schedule_id])
                    if self._desk.book.doubts(schedule_id):
                        self._planner.settle_doubts()
                raise

    def _recorded(self, asked: Asked, change: Change, answer: bytes) -> ScheduleChangeRow:
        """The entry of the audit. A firing by hand changes nothing that it would show."""
        fired = bool(change.detail)
        before = change.before
        return ScheduleChangeRow(
            sequence=0,
            schedule_seq=change.schedule.schedule_seq,
            schedule_id=change.schedule.schedule_id,
            kind=asked.kind,
            at_ms=self._desk.clock.now_ms(),
            generation=change.schedule.generation,
            caller=asked.by,
            request_id=asked.request_id,
            detail=change.detail,
            before=b"" if before is None else self._answers.packed(self.seen(before)),
            after=b"" if fired else answer,
        )

    # --- planning what a change brings ----------------------------------------------------------------------------
    def first(self, schedule: Schedule, now_ms: int) -> tuple[Schedule, list[Task], int]:
        """The window of a schedule that must have a firing left; the last is its next firing."""
        schedule, tasks, next_ms = self._planned(schedule, [], now_ms)
        if not next_ms:
            raise never(schedule.timing, now_ms)
        return schedule, tasks, next_ms

    def _replanned(
        self, before: Schedule, changed: Schedule, anchor_ms: int, carried: Sequence[Task], now_ms: int
    ) -> tuple[Schedule, list[Task], int | None]:
        """The new generation, from now on."""
        changed = replace(
            changed,
            generation=before.generation + 1,
            updated_ms=now_ms,
            anchor_ms=anchor_ms,
            planned_until_ms=now_ms + 1,
            next_ms=0,
        )
        if changed.state is ScheduleState.ACTIVE:
            schedule, tasks, next_ms = self._planned(changed, [task.nominal_ms for task in carried], now_ms)
            _keep_overlap(tasks, carried, before.policy.overlap)
            if tasks or next_ms:
                return schedule, tasks, next_ms
            if changed.timing == before.timing:
                return replace(schedule, state=ScheduleState.FINISHED), [], None
            raise never(changed.timing, now_ms)
        if changed.timing != before.timing and not self._desk.engine.next(
            changed.timing, changed.anchor_ms, now_ms
        ):
            raise never(changed.timing, now_ms)
        return changed, [], None

    def _planned(
        self, schedule: Schedule, carried: Sequence[int], now_ms: int
    ) -> tuple[Schedule, list[Task], int]:
        plan = planned(self._desk.engine, schedule, now_ms, horizon_ms(now_ms), FIRINGS_AT_ONCE_MAX)
        next_ms = plan.times[0] if plan.times else plan.schedule.next_ms
        if not plan.times and not carried:
            return plan.schedule, [], next_ms
        times = [*carried, *plan.times]
        tasks = self._desk.tasks(schedule, times, schedule.fire_count)
        return replace(plan.schedule, fire_count=schedule.fire_count + len(times)), tasks, next_ms

    async def _waiting(self, schedule: Schedule) -> list[Task]:
        """Firings that have not come yet, or that wait for their trigger or for a retry. Those whose time has come are
        kept by the new generation."""
        if not schedule.fire_count:
            return []
        where = TaskFilter(state=TaskState.SCHEDULED, schedule_seq=schedule.schedule_seq)
        return await self._desk.storage.tasks(where, after=0, limit=WAITING_READ_MAX)


def _keep_overlap(tasks: list[Task], carried: Sequence[Task], policy: Overlap) -> None:
    """Firings that are carried over stand first among the tasks. Those that were made under a policy of their own
    keep it, and those that waited already are not counted again."""
    for place, old in enumerate(carried):
        new = tasks[place]
        overlap = new.overlap if old.overlap is policy else old.overlap
        tasks[place] = replace(new, overlap=overlap, buffered_ms=old.buffered_ms if overlap else 0)


def horizon_ms(now_ms: int) -> int:
    """The window of a change begins with the first instant after it."""
    return now_ms + 1 + TRIGGER_WINDOW_MS


def not_found(schedule_id: str) -> CuptimeError:
    """SCHEDULE_NOT_FOUND for this id."""
    return CuptimeError(
        Reason.SCHEDULE_NOT_FOUND,
        f"no schedule {schedule_id[:64]!r}",
        metadata={"schedule_id": schedule_id[:64]},
    )


def never(timing: Timing, now_ms: int) -> CuptimeError:
    """Why a timing has no firing from now on: its instant or its end is past, or there is none before its end."""
    metadata = {"kind": timing.kind.name, "now_ms": str(now_ms)}
    if timing.kind is TimingKind.AT and timing.value_ms <= now_ms:
        late_ms = now_ms - timing.value_ms
        return CuptimeError(
            Reason.SCHEDULE_TIME_PASSED,
            f"at_time_ms is {late_ms} ms ago; give an instant that is still to come",
            field="timing.at_time_ms",
            metadata=metadata | {"value": str(timing.value_ms)},
        )
    if 0 < timing.end_ms <= now_ms:
        return CuptimeError(
            Reason.SCHEDULE_TIME_PASSED,
            f"end_time_ms was {now_ms - timing.end_ms} ms ago: nothing could fire any more",
            field="timing.end_time_ms",
            metadata=metadata | {"value": str(timing.end_ms)},
        )
    return CuptimeError(
        Reason.CRON_NEVER_FIRES,
        "the timing has no firing between now and its end",
        field="timing",
        metadata=metadata,
    )
