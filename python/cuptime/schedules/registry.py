"""The registry: register, update, pause, resume, unregister, read, preview; at any time, by any number of callers.

Every change is one transaction: the schedule's new generation, the end of what the old one had waiting, and the firings
of the trigger window. It is answered after the commit and in effect with it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import PREVIEW_MAX, SCHEDULES_MAX, TRIGGER_WINDOW_MS
from cuptime.domain.ports import Committed, TaskFilter
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import Schedule, ScheduleState, Task, TaskState, Timing
from cuptime.domain.writes import CancelTasksOfSchedule, InsertSchedule, InsertTasks, ReplaceSchedule, Write
from cuptime.schedules import answers
from cuptime.schedules.desk import Desk
from cuptime.schedules.planner import Planner
from cuptime.schedules.window import is_over, planned

SCHEDULE_ID_FORM: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
NOTE_CHARS_MAX: Final = 1_000
PREVIEW_AT_ONCE: Final = 20
TARGET_BYTES_MAX: Final = 96 * 1024
FIRINGS_AT_ONCE_MAX: Final = 1_000
"""In the commit of a registration; the planner goes on at once with what is more."""
WAITING_READ_MAX: Final = 50_000
PREVIEW_DEFAULT: Final = 5


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A schedule as asked for."""

    schedule_id: str
    timing: Timing
    target: bytes
    note: str = ""


@dataclass(frozen=True, slots=True)
class ScheduleChange:
    """What an update sets; None stays as it is."""

    timing: Timing | None = None
    target: bytes | None = None
    note: str | None = None


_Change = Callable[[Schedule, int], Schedule | None]
"""The changed schedule, generation and watermark aside; None when there is nothing to change."""


class Registry:
    """All schedules. Share one instance; every method may be called concurrently."""

    def __init__(self, desk: Desk, planner: Planner, requests: Requests, last_schedule_seq: int) -> None:
        """`last_schedule_seq` is `Sequences.schedule_seq` of the storage."""
        self._desk = desk
        self._planner = planner
        self._requests = requests
        self._sequence = itertools.count(last_schedule_seq + 1)
        desk.line.generations(desk.generations.get)

    # --- changes --------------------------------------------------------------------------------------------------
    async def register(
        self, new: NewSchedule, *, request_id: str = "", validate_only: bool = False
    ) -> Schedule:
        """Raises FIELD_*, CRON_*, TIME_ZONE_UNKNOWN, SCHEDULE_EXISTS, LIMIT_REACHED, REQUEST_ID_REUSED."""
        self._check(new)
        if self._planner.active >= SCHEDULES_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many schedules", metadata={"limit": str(SCHEDULES_MAX)}
            )

        async def make(now_ms: int) -> tuple[Schedule, list[Write], list[Task]]:
            schedule, tasks = self._fresh(self._blank(new, now_ms), now_ms)
            return schedule, [InsertSchedule(schedule), InsertTasks(tasks)], tasks

        if validate_only:
            live = await self._desk.storage.schedule(new.schedule_id)
            if live is not None and live.state is not ScheduleState.UNREGISTERED:
                raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata={"schedule_id": new.schedule_id})
            return (await make(self._desk.clock.now_ms()))[0]
        return await to_the_end(
            self._commit(new.schedule_id, "RegisterSchedule", fingerprint_of(new), request_id, make)
        )

    async def update(
        self,
        schedule_id: str,
        change: ScheduleChange,
        *,
        etag: int | None = None,
        request_id: str = "",
        validate_only: bool = False,
    ) -> Schedule:
        """Sets timing, target or note. A new timing counts from now (its anchor), and brings a finished schedule back.
        Firings that were due before the change and not yet triggered are kept when the timing is. Raises as
        :meth:`register`, SCHEDULE_NOT_FOUND, and ETAG_MISMATCH when `etag` is not the generation."""
        if change.timing is not None:
            self._desk.engine.check(change.timing)
        _check_note(change.note)
        _check_target(change.target)

        def changed(before: Schedule, now_ms: int) -> Schedule:
            state = before.state
            finished = state is ScheduleState.FINISHED
            # The same timing again is no change of it: EVERY stays on its grid. It revives what is finished, though.
            anew = change.timing is not None and (finished or change.timing != before.timing)
            if anew and finished:
                state = ScheduleState.ACTIVE
            return replace(
                before,
                timing=change.timing or before.timing,
                anchor_ms=now_ms if anew else before.anchor_ms,
                target=before.target if change.target is None else change.target,
                note=before.note if change.note is None else change.note,
                state=state,
            )

        return await self._change(
            schedule_id, "UpdateSchedule", (change, etag), request_id, changed, etag, validate_only
        )

    async def unregister(
        self, schedule_id: str, *, etag: int | None = None, request_id: str = "", validate_only: bool = False
    ) -> Schedule:
        """Ends a schedule; what it has planned never fires. Its id is free again. Raises SCHEDULE_NOT_FOUND,
        ETAG_MISMATCH."""

        def changed(before: Schedule, _: int) -> Schedule:
            return replace(before, state=ScheduleState.UNREGISTERED)

        return await self._change(
            schedule_id, "UnregisterSchedule", (etag,), request_id, changed, etag, validate_only
        )

    async def pause(self, schedule_id: str, note: str = "", *, request_id: str = "") -> Schedule:
        """Stops firing until resumed. Pausing what is paused sets its note. Raises SCHEDULE_NOT_FOUND; STATE_CONFLICT
        when it is finished."""
        _check_note(note)

        def changed(before: Schedule, _: int) -> Schedule:
            if before.state is ScheduleState.FINISHED:
                raise _conflict(before, "paused")
            return replace(before, state=ScheduleState.PAUSED, note=note or before.note)

        return await self._change(schedule_id, "PauseSchedule", (note,), request_id, changed)

    async def resume(self, schedule_id: str, *, request_id: str = "") -> Schedule:
        """Fires again, from now on; what it missed while paused is not caught up. Resuming what is active changes
        nothing. Raises SCHEDULE_NOT_FOUND; STATE_CONFLICT when it is finished."""

        def changed(before: Schedule, _: int) -> Schedule | None:
            if before.state is ScheduleState.FINISHED:
                raise _conflict(before, "resumed")
            if before.state is ScheduleState.ACTIVE:
                return None
            return replace(before, state=ScheduleState.ACTIVE)

        return await self._change(schedule_id, "ResumeSchedule", (), request_id, changed)

    # --- reads ----------------------------------------------------------------------------------------------------
    async def get(self, schedule_id: str) -> Schedule:
        """Also one that was unregistered. Raises SCHEDULE_NOT_FOUND."""
        schedule = await self._desk.storage.schedule(schedule_id)
        if schedule is None:
            raise _not_found(schedule_id)
        return self._seen(schedule)

    async def schedules(
        self, *, after: int, limit: int, state: ScheduleState | None = None
    ) -> list[Schedule]:
        """By sequence, from `after` (exclusive) on."""
        rows = await self._desk.storage.schedules(after=after, limit=limit, state=state)
        return [self._seen(schedule) for schedule in rows]

    async def preview(self, subject: str | Timing, *, count: int = 0, after_ms: int = 0) -> list[int]:
        """The next firings of a schedule (by id) or of a timing that is not registered, after `after_ms` (0: now).
        A paused schedule is shown as if it were resumed; one that has ended has none."""
        if not 0 <= count <= PREVIEW_MAX:
            raise invalid("count", f"1 to {PREVIEW_MAX}, or 0 for {PREVIEW_DEFAULT}", count)
        now_ms = self._desk.clock.now_ms()
        after_ms = after_ms or now_ms
        timing, anchor_ms = subject, now_ms
        if isinstance(timing, Timing):
            self._desk.engine.check(timing)
        else:
            schedule = await self.get(timing)
            if schedule.state is ScheduleState.UNREGISTERED:
                return []
            timing, anchor_ms = schedule.timing, schedule.anchor_ms
        times: list[int] = []
        count = count or PREVIEW_DEFAULT
        while len(times) < count:
            limit = min(PREVIEW_AT_ONCE, count - len(times))
            more = self._desk.engine.firings(timing, anchor_ms, after_ms, 1 << 62, limit)
            times += more
            if len(more) < limit:
                break
            after_ms = more[-1]
            # An awkward expression takes milliseconds for each firing: others have their turn.
            await asyncio.sleep(0)
        return times

    def _seen(self, schedule: Schedule) -> Schedule:
        """As callers see it: `next_ms` is the next firing, not the next to be planned."""
        if schedule.state is not ScheduleState.ACTIVE:
            return replace(schedule, next_ms=0)
        now_ms = self._desk.clock.now_ms()
        if is_over(schedule, now_ms):
            return replace(schedule, state=ScheduleState.FINISHED)
        return replace(schedule, next_ms=self._desk.engine.next(schedule.timing, schedule.anchor_ms, now_ms))

    # --- how a change is made -------------------------------------------------------------------------------------
    async def _change(
        self,
        schedule_id: str,
        method: str,
        asked: tuple[object, ...],
        request_id: str,
        change: _Change,
        etag: int | None = None,
        validate_only: bool = False,
    ) -> Schedule:
        held: list[int] = []

        async def make(now_ms: int) -> tuple[Schedule, list[Write], list[Task]]:
            before = await self._desk.storage.schedule(schedule_id)
            if before is None or before.state is ScheduleState.UNREGISTERED:
                raise _not_found(schedule_id)
            if etag is not None and etag != before.generation:
                raise CuptimeError(
                    Reason.ETAG_MISMATCH,
                    field="etag",
                    metadata={
                        "schedule_id": schedule_id,
                        "etag": str(before.generation),
                        "wanted": str(etag),
                    },
                )
            if before.state is ScheduleState.ACTIVE and is_over(before, now_ms):
                before = replace(before, state=ScheduleState.FINISHED)
            changed = change(before, now_ms)
            if changed is None:
                return self._seen(before), [], []
            carried: list[int] = []
            if before.state is changed.state is ScheduleState.ACTIVE:
                # While a running schedule changes, none of its firings may slip between reading and committing.
                held.append(before.schedule_seq)
                await self._desk.line.hold(before.schedule_seq)
                now_ms = self._desk.clock.now_ms()
                if changed.timing == before.timing:
                    carried = await self._waiting(before, now_ms)
                else:
                    changed = replace(changed, anchor_ms=now_ms)
            changed = replace(changed, generation=before.generation + 1, updated_ms=now_ms)
            schedule, tasks = self._replanned(before, changed, carried, now_ms)
            cancel = CancelTasksOfSchedule(schedule.schedule_seq, schedule.generation, now_ms)
            return schedule, [cancel, ReplaceSchedule(schedule, before.generation), InsertTasks(tasks)], tasks

        async def run() -> Schedule:
            try:
                if validate_only:
                    return (await make(self._desk.clock.now_ms()))[0]
                fingerprint = fingerprint_of(schedule_id, *asked)
                return await self._commit(schedule_id, method, fingerprint, request_id, make)
            finally:
                for schedule_seq in held:
                    self._desk.line.release(schedule_seq)

        # A caller that hangs up must not give the turn and the hold away while the commit is on its way: the planner
        # would add firings of the generation that it ends.
        return await to_the_end(run())

    async def _commit(
        self,
        schedule_id: str,
        method: str,
        fingerprint: int,
        request_id: str,
        make: Callable[[int], Awaitable[tuple[Schedule, list[Write], list[Task]]]],
    ) -> Schedule:
        """In the schedule's turn: one transaction, then the arming."""
        made: list[tuple[Schedule, list[Write], list[Task]]] = []

        async def writes() -> Made:
            made[:] = [await make(self._desk.clock.now_ms())]
            return made[0][1], answers.packed(self._seen(made[0][0]))

        def after(committed: Committed) -> None:
            schedule, written, tasks = made[0]
            self._desk.note_change(schedule)
            if isinstance(written[0], CancelTasksOfSchedule):
                self._desk.line.disarmed(committed.results[0])
            self._desk.line.armed(tasks)
            more = 0 < schedule.next_ms < _horizon_ms(schedule.updated_ms)
            if schedule.state is ScheduleState.ACTIVE and more:
                self._planner.plan_more(schedule.schedule_seq)

        async with self._desk.turns.turn(schedule_id):
            answer = await self._requests.once(request_id, method, fingerprint, writes, after)
            return answers.unpacked(answer)

    def _blank(self, new: NewSchedule, now_ms: int) -> Schedule:
        return Schedule(
            schedule_seq=next(self._sequence),
            schedule_id=new.schedule_id,
            timing=new.timing,
            target=new.target,
            state=ScheduleState.ACTIVE,
            generation=1,
            anchor_ms=now_ms,
            planned_until_ms=now_ms + 1,
            next_ms=0,
            fire_count=0,
            note=new.note,
            created_ms=now_ms,
            updated_ms=now_ms,
        )

    def _fresh(self, schedule: Schedule, now_ms: int) -> tuple[Schedule, list[Task]]:
        """Plans the window of a schedule that must have a firing left."""
        schedule, tasks = self._planned(schedule, [], now_ms)
        if not tasks and schedule.next_ms == 0:
            raise _never(schedule.timing)
        return schedule, tasks

    def _replanned(
        self, before: Schedule, changed: Schedule, carried: Sequence[int], now_ms: int
    ) -> tuple[Schedule, list[Task]]:
        """The new generation, from now on."""
        changed = replace(changed, planned_until_ms=now_ms + 1, next_ms=0)
        if changed.state is ScheduleState.ACTIVE:
            schedule, tasks = self._planned(changed, carried, now_ms)
            if tasks or schedule.next_ms:
                return schedule, tasks
            if changed.timing == before.timing:
                return replace(schedule, state=ScheduleState.FINISHED), []
            raise _never(changed.timing)
        if changed.timing != before.timing and not self._desk.engine.next(
            changed.timing, changed.anchor_ms, now_ms
        ):
            raise _never(changed.timing)
        return changed, []

    def _planned(
        self, schedule: Schedule, carried: Sequence[int], now_ms: int
    ) -> tuple[Schedule, list[Task]]:
        plan = planned(self._desk.engine, schedule, now_ms, _horizon_ms(now_ms), FIRINGS_AT_ONCE_MAX)
        times = [*carried, *plan.times]
        tasks = self._desk.tasks(schedule, times, schedule.fire_count)
        return replace(plan.schedule, fire_count=schedule.fire_count + len(times)), tasks

    async def _waiting(self, schedule: Schedule, now_ms: int) -> list[int]:
        """Nominal times that have come but wait still, for their trigger or for a retry: the new generation keeps
        them."""
        where = TaskFilter(state=TaskState.SCHEDULED, schedule_seq=schedule.schedule_seq)
        tasks = await self._desk.storage.tasks(where, after=0, limit=WAITING_READ_MAX)
        return sorted(task.nominal_ms for task in tasks if task.nominal_ms <= now_ms)

    def _check(self, new: NewSchedule) -> None:
        if not new.schedule_id:
            raise required("schedule.schedule_id")
        if not SCHEDULE_ID_FORM.fullmatch(new.schedule_id):
            raise invalid(
                "schedule.schedule_id", f"of the form ^{SCHEDULE_ID_FORM.pattern}$", new.schedule_id
            )
        self._desk.engine.check(new.timing)
        _check_target(new.target)
        _check_note(new.note)


def _horizon_ms(now_ms: int) -> int:
    """The window of a change begins with the first instant after it."""
    return now_ms + 1 + TRIGGER_WINDOW_MS


def _check_note(note: str | None) -> None:
    if note is not None and len(note) > NOTE_CHARS_MAX:
        raise invalid("schedule.note", f"at most {NOTE_CHARS_MAX} characters", note)


def _check_target(target: bytes | None) -> None:
    if target is not None and len(target) > TARGET_BYTES_MAX:
        raise invalid("schedule.target", f"at most {TARGET_BYTES_MAX} bytes", f"{len(target)} bytes")


def _not_found(schedule_id: str) -> CuptimeError:
    return CuptimeError(
        Reason.SCHEDULE_NOT_FOUND,
        f"no schedule {schedule_id[:64]!r}",
        metadata={"schedule_id": schedule_id[:64]},
    )


def _never(timing: Timing) -> CuptimeError:
    return CuptimeError(
        Reason.CRON_NEVER_FIRES,
        "the timing has no firing from now on",
        field="timing",
        metadata={"kind": timing.kind.name},
    )


def _conflict(schedule: Schedule, wanted: str) -> CuptimeError:
    return CuptimeError(
        Reason.STATE_CONFLICT,
        f"schedule {schedule.schedule_id!r} is {schedule.state.name} and cannot be {wanted}",
        metadata={"state": schedule.state.name},
    )
