"""The registry: register, update, pause, resume, unregister, read, preview; at any time, by any number of callers.

Every change is one transaction: the schedule's new generation, the end of what the old one had waiting, and the firings
of the trigger window. It is answered after the commit and in effect with it. Changes answer bytes: those that were kept
with the request_id.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from operator import attrgetter
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import PREVIEW_MAX, SCHEDULES_MAX
from cuptime.domain.ports import CronEngine
from cuptime.domain.requests import Requests, fingerprint_of
from cuptime.domain.values import (
    NOBODY,
    Caller,
    Schedule,
    ScheduleChangeKind,
    ScheduleChangeRow,
    SchedulePolicy,
    ScheduleState,
    Timing,
    TimingKind,
)
from cuptime.domain.writes import InsertSchedule, InsertTasks, Write
from cuptime.schedules.answers import AnswerPort
from cuptime.schedules.by_hand import ByHand
from cuptime.schedules.changes import Asked, Change, Changes, never, not_found
from cuptime.schedules.cron_text import seeded
from cuptime.schedules.desk import Desk
from cuptime.schedules.planner import Planner
from cuptime.schedules.policies import check_labels, check_policy

SCHEDULE_ID_FORM: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")
NOTE_CHARS_MAX: Final = 1_000
PREVIEW_AT_ONCE: Final = 20
TARGET_BYTES_MAX: Final = 96 * 1024
PREVIEW_DEFAULT: Final = 5
SOURCED_PAGE: Final = 2_000
_PLAIN: Final = SchedulePolicy()


class NewSchedule(Struct, frozen=True):
    """A schedule as asked for."""

    schedule_id: str
    timing: Timing
    target: bytes
    note: str = ""
    policy: SchedulePolicy = _PLAIN
    labels: tuple[tuple[str, str], ...] = ()
    source: str = ""
    """Of the watched folder; see `Schedule.source`."""


class ScheduleChange(Struct, frozen=True):
    """What an update sets; None stays as it is."""

    timing: Timing | None = None
    target: bytes | None = None
    note: str | None = None
    policy: SchedulePolicy | None = None
    labels: tuple[tuple[str, str], ...] | None = None
    source: str | None = None
    """Of the watched folder, which alone may change what it registered."""


class Registry:
    """All schedules. Share one instance; every method may be called concurrently."""

    def __init__(
        self,
        desk: Desk,
        planner: Planner,
        requests: Requests,
        answers: AnswerPort,
        last_schedule_seq: int,
    ) -> None:
        """`last_schedule_seq` is `Sequences.schedule_seq` of the storage."""
        self._desk = desk
        self._changes = Changes(desk, planner, requests, answers)
        self.by_hand = ByHand(desk, self._changes, answers)
        self.folder_owns = False
        """Is there a watched folder? Then callers may pause what it registered, and not change it."""
        self._sequence = itertools.count(last_schedule_seq + 1)
        desk.line.generations(desk.generations.get)

    # --- changes --------------------------------------------------------------------------------------------------
    async def register(
        self, new: NewSchedule, *, request_id: str = "", validate_only: bool = False, by: Caller = NOBODY
    ) -> bytes:
        """Raises FIELD_*, CRON_*, TIME_ZONE_UNKNOWN, SCHEDULE_EXISTS, LIMIT_REACHED, REQUEST_ID_REUSED."""
        self._check(new)
        new = replace(new, timing=_seeded(new.timing, new.schedule_id))
        if len(self._desk.book) >= SCHEDULES_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many schedules", metadata={"limit": str(SCHEDULES_MAX)}
            )

        def make(now_ms: int) -> Change:
            schedule, tasks, next_ms = self._changes.first(self._blank(new, now_ms), now_ms)
            writes: list[Write] = [InsertSchedule(schedule)]
            if tasks:
                writes.append(InsertTasks(tasks))
            return Change(schedule, writes, tasks, next_ms=next_ms)

        if validate_only:
            live = self._desk.book.get(new.schedule_id) or await self._desk.storage.schedule(new.schedule_id)
            if live is not None and live.state is not ScheduleState.UNREGISTERED:
                raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata={"schedule_id": new.schedule_id})
            return self._changes.shown(make(self._desk.clock.now_ms()))
        asked = Asked(ScheduleChangeKind.REGISTERED, request_id, by, _fingerprint(new) if request_id else 0)
        return await self._changes.fresh(new.schedule_id, asked, make)

    async def update(
        self,
        schedule_id: str,
        change: ScheduleChange,
        *,
        etag: int | None = None,
        request_id: str = "",
        validate_only: bool = False,
        by: Caller = NOBODY,
    ) -> bytes:
        """Sets what the change names. A new timing counts from now (its anchor), its runs from 0, and it brings a
        finished schedule back. Firings that were due before the change and not yet triggered are kept when the timing
        is. Raises as :meth:`register`, SCHEDULE_NOT_FOUND, and ETAG_MISMATCH when `etag` is not the generation."""
        if change.timing is not None:
            self._desk.engine.check(change.timing)
            change = replace(change, timing=_seeded(change.timing, schedule_id))
        _check_note(change.note)
        _check_target(change.target)
        check_policy(change.policy)
        check_labels(change.labels)

        def changed(before: Schedule, now_ms: int) -> Schedule:
            self._check_owner(before, change.source is not None)
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
                policy=change.policy or before.policy,
                labels=before.labels if change.labels is None else change.labels,
                source=before.source if change.source is None else change.source,
            )

        asked = Asked(ScheduleChangeKind.UPDATED, request_id, by).of(schedule_id, change, etag)
        return await self._changes.change(schedule_id, asked, changed, etag, validate_only)

    async def unregister(
        self,
        schedule_id: str,
        *,
        etag: int | None = None,
        request_id: str = "",
        validate_only: bool = False,
        by: Caller = NOBODY,
        folder: bool = False,
    ) -> bytes:
        """Ends a schedule; what it has planned never fires. Its id is free again. `folder`: the watched folder does it.
        Raises SCHEDULE_NOT_FOUND, ETAG_MISMATCH, STATE_CONFLICT for what the folder registered."""

        def changed(before: Schedule, _: int) -> Schedule:
            self._check_owner(before, folder)
            return replace(before, state=ScheduleState.UNREGISTERED)

        asked = Asked(ScheduleChangeKind.UNREGISTERED, request_id, by).of(schedule_id, etag)
        return await self._changes.change(schedule_id, asked, changed, etag, validate_only)

    async def pause(
        self, schedule_id: str, note: str = "", *, request_id: str = "", by: Caller = NOBODY
    ) -> bytes:
        """Stops firing until resumed. Pausing what is paused sets its note. Raises SCHEDULE_NOT_FOUND; STATE_CONFLICT
        when it is finished."""
        _check_note(note)

        def changed(before: Schedule, _: int) -> Schedule:
            if before.state is ScheduleState.FINISHED:
                raise _conflict(before, "paused")
            return replace(before, state=ScheduleState.PAUSED, note=note or before.note)

        asked = Asked(ScheduleChangeKind.PAUSED, request_id, by).of(schedule_id, note)
        return await self._changes.change(schedule_id, asked, changed)

    async def resume(self, schedule_id: str, *, request_id: str = "", by: Caller = NOBODY) -> bytes:
        """Fires again, from now on; what it missed while paused is not caught up. Resuming what is active changes
        nothing. Raises SCHEDULE_NOT_FOUND; STATE_CONFLICT when it is finished."""

        def changed(before: Schedule, _: int) -> Schedule | None:
            if before.state is ScheduleState.FINISHED:
                raise _conflict(before, "resumed")
            if before.state is ScheduleState.ACTIVE:
                return None
            return replace(before, state=ScheduleState.ACTIVE)

        asked = Asked(ScheduleChangeKind.RESUMED, request_id, by).of(schedule_id)
        return await self._changes.change(schedule_id, asked, changed)

    # --- reads ----------------------------------------------------------------------------------------------------
    async def get(self, schedule_id: str) -> Schedule:
        """Also one that was unregistered. Raises SCHEDULE_NOT_FOUND."""
        schedule = self._desk.book.get(schedule_id) or await self._desk.storage.schedule(schedule_id)
        if schedule is None:
            raise not_found(schedule_id)
        return self._changes.seen(schedule)

    async def changes(
        self, *, before: int, limit: int, schedule_id: str | None = None
    ) -> list[ScheduleChangeRow]:
        """Who changed what, newest first: sequence < before. For SCHEDULE_CHANGES_KEPT_MS at least, also of schedules
        that were unregistered, but no more than the newest SCHEDULE_CHANGES_KEPT_MAX of all."""
        return await self._desk.storage.schedule_changes(before=before, limit=limit, schedule_id=schedule_id)

    def standing(self, schedule: Schedule) -> tuple[int, int]:
        """(running, waiting for them) of its firings under an overlap policy."""
        return self._desk.line.standing(schedule.schedule_seq)

    async def schedules(
        self,
        *,
        after: int,
        limit: int,
        state: ScheduleState | None = None,
        label: tuple[str, str] | None = None,
    ) -> list[Schedule]:
        """By sequence, from `after` (exclusive) on."""
        rows = await self._desk.storage.schedules(after=after, limit=limit, state=state, label=label)
        return [self._changes.seen(schedule) for schedule in rows]

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

    def _check_owner(self, schedule: Schedule, folder: bool) -> None:
        """What the watched folder registered is changed in its file: a call would be undone by the next load."""
        if self.folder_owns and schedule.source and not folder:
            file = schedule.source.rpartition("#")[0]
            raise CuptimeError(
                Reason.STATE_CONFLICT,
                f"schedule {schedule.schedule_id!r} is of the watched folder: change it in {file}",
                metadata={"schedule_id": schedule.schedule_id, "file": file},
            )

    async def examine(self, new: NewSchedule) -> Schedule | None:
        """Could it be registered, or its like updated? The one that has its id now. Raises what :meth:`register`
        does, but SCHEDULE_EXISTS."""
        self._check(new)
        now_ms = self._desk.clock.now_ms()
        check_fires(self._desk.engine, new.timing, now_ms)
        found = self._desk.book.get(new.schedule_id) or await self._desk.storage.schedule(new.schedule_id)
        return None if found is None or found.state is ScheduleState.UNREGISTERED else found

    async def sourced(self) -> dict[str, Schedule]:
        """What the watched folder registered, by id."""
        found: dict[str, Schedule] = {}
        after = 0
        while page := await self._desk.storage.sourced_schedules(after=after, limit=SOURCED_PAGE):
            after = page[-1].schedule_seq
            found.update((schedule.schedule_id, schedule) for schedule in page)
        return found

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
            policy=new.policy,
            labels=new.labels,
            source=new.source,
        )

    def _check(self, new: NewSchedule) -> None:
        check_new(self._desk.engine, new)


def check_new(engine: CronEngine, new: NewSchedule) -> None:
    """Raises FIELD_*, CRON_*, TIME_ZONE_UNKNOWN, LIMIT_REACHED; not whether it has a firing left."""
    if not new.schedule_id:
        raise required("schedule.schedule_id")
    if not SCHEDULE_ID_FORM.fullmatch(new.schedule_id):
        raise invalid("schedule.schedule_id", f"of the form ^{SCHEDULE_ID_FORM.pattern}$", new.schedule_id)
    engine.check(new.timing)
    _check_target(new.target)
    _check_note(new.note)
    check_policy(new.policy)
    check_labels(new.labels)


def check_fires(engine: CronEngine, timing: Timing, now_ms: int) -> None:
    """Raises CRON_NEVER_FIRES or SCHEDULE_TIME_PASSED for a timing that has no firing left."""
    if not engine.next(timing, now_ms, now_ms):
        raise never(timing, now_ms)


def _seeded(timing: Timing, schedule_id: str) -> Timing:
    """With the schedule's id as the seed of its `H`: many of one text spread, and each keeps its times."""
    if timing.kind is not TimingKind.CRON:
        return timing
    text = seeded(timing.expression, schedule_id)
    return timing if text == timing.expression else replace(timing, expression=text)


_timing_key = attrgetter(*Timing.__struct_fields__)


def _fingerprint(new: NewSchedule) -> int:
    told = (new.schedule_id, *_timing_key(new.timing), new.note, new.labels)
    if new.policy == _PLAIN:
        return fingerprint_of(told, new.target)
    return fingerprint_of(told, new.target, new.policy)


def _check_note(note: str | None) -> None:
    if note is not None and len(note) > NOTE_CHARS_MAX:
        raise invalid("schedule.note", f"at most {NOTE_CHARS_MAX} characters", note)


def _check_target(target: bytes | None) -> None:
    if target is not None and len(target) > TARGET_BYTES_MAX:
        raise invalid("schedule.target", f"at most {TARGET_BYTES_MAX} bytes", f"{len(target)} bytes")


def _conflict(schedule: Schedule, wanted: str) -> CuptimeError:
    return CuptimeError(
        Reason.STATE_CONFLICT,
        f"schedule {schedule.schedule_id!r} is {schedule.state.name} and cannot be {wanted}",
        metadata={"state": schedule.state.name},
    )
