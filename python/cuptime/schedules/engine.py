"""The cron engine of the service: the Rust core behind the port :class:`cuptime.domain.ports.CronEngine`.

A cron text may begin with settings, `NAME=value` each: see :mod:`cuptime.schedules.cron_text`. Compiled schedules are
kept, so the same text is read once. croniter gives a second opinion at registration; a difference is logged with both
answers.
"""

from __future__ import annotations

import calendar
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final

from cuptime.core import Cron, CronCalendar, CronParseError, CronYearUnknown, CronZone
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import CRON_CHARS_MAX, EVERY_MIN_MS, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.values import DstPolicy, Timing, TimingKind
from cuptime.schedules import every
from cuptime.schedules.calendars import CalendarFile, Calendars
from cuptime.schedules.cron_text import CronText, read_text
from cuptime.schedules.every import INSTANT_MAX_MS
from cuptime.schedules.marks import CHINA, DAY_S, Marked, marked
from cuptime.schedules.zone_files import ZoneError, zone_of

COMPILED_MAX: Final = 65_536

_log = logging.getLogger(__name__)


class CoreCronEngine:
    """Implements :class:`cuptime.domain.ports.CronEngine`.

    A year for which a calendar has no data ends the firings for the time being: `next` is then the beginning of that
    year, when the planner asks again, and a calendar that knows more by then goes on from the watermark.
    """

    def __init__(self, calendars: Calendars | None = None, clock: Clock | None = None) -> None:
        """Without a clock, a year without data is not found at registration."""
        self._calendars = calendars or Calendars()
        self._clock = clock
        self._held: set[str] = set()

    def reload_calendars(self) -> list[str]:
        """Reads the calendar files again; the names of those that changed."""
        self._held.clear()
        return self._calendars.reload()

    def calendar_faults(self) -> dict[str, str]:
        """By file name, why a calendar was not taken."""
        return self._calendars.faults

    def check(self, timing: Timing) -> None:
        """Raises FIELD_*, CRON_INVALID, CRON_NEVER_FIRES or TIME_ZONE_UNKNOWN naming the field."""
        _check_zone(timing.time_zone)
        every.check(timing)
        if timing.kind is TimingKind.CRON:
            self._check_cron(timing)

    def firings(self, timing: Timing, anchor_ms: int, after_ms: int, until_ms: int, limit: int) -> list[int]:
        """Nominal times t with after_ms < t <= until_ms, ascending, at most `limit`."""
        if timing.kind is not TimingKind.CRON:
            return every.firings(timing, anchor_ms, after_ms, until_ms, limit)
        after_ms = max(after_ms, timing.start_ms - 1, 0)
        last_ms = min(until_ms, timing.end_ms or INSTANT_MAX_MS, INSTANT_MAX_MS)
        if after_ms >= last_ms:
            return []
        times, unknown_year = self._compiled(timing).firings(after_ms, last_ms, limit, anchor_ms)
        if unknown_year is not None:
            self._note_held(timing, unknown_year)
        return times

    def unknown_year(self, timing: Timing, after_ms: int) -> int:
        """The year without calendar data that a timing meets after this instant, before it fires; 0 when it meets
        none."""
        if timing.kind is not TimingKind.CRON:
            return 0
        after_ms = max(after_ms, timing.start_ms - 1, 0)
        last_ms = timing.end_ms or INSTANT_MAX_MS
        if after_ms >= last_ms:
            return 0
        times, unknown_year = self._compiled(timing).firings(after_ms, last_ms, 1, after_ms)
        return 0 if times or unknown_year is None else int(unknown_year)

    def next(self, timing: Timing, anchor_ms: int, after_ms: int) -> int:
        """The first nominal time after `after_ms`, 0 when there is none before 2100."""
        if timing.kind is not TimingKind.CRON:
            times = self.firings(timing, anchor_ms, after_ms, INSTANT_MAX_MS, 1)
            return times[0] if times else 0
        after_ms = max(after_ms, timing.start_ms - 1, 0)
        last_ms = timing.end_ms or INSTANT_MAX_MS
        try:
            found = self._compiled(timing).next(after_ms, anchor_ms)
        except CronYearUnknown as unknown:
            self._note_held(timing, unknown.args[1])
            found = max(after_ms + 1, _beginning_ms(unknown.args[1]))
        return found if found is not None and found <= min(last_ms, INSTANT_MAX_MS) else 0

    def marked(self, timing: Timing, times_ms: Sequence[int], days_of: str = "") -> list[Marked]:
        """What is remarkable about these firings of a timing that was checked. `days_of` names the calendar whose
        holidays are marked; empty is the timing's own, and `cn` in the zones of China. Raises FIELD_INVALID for one
        that does not exist."""
        text = _text(timing.expression, timing.dst) if timing.kind is TimingKind.CRON else None
        zone_name = (text.time_zone if text else "") or timing.time_zone or "UTC"
        name = days_of or (text.calendar if text and text.needs_calendar else "")
        name = name or ("cn" if zone_name in CHINA else "")
        try:
            file = self._calendars.get(name) if name else None
        except KeyError:
            known = ", ".join(self._calendars.names())
            raise invalid("calendar", f"one of {known}", days_of) from None
        zone = zone_of(zone_name)

        def plainly(at_ms: int, offset_s: int) -> bool:
            days = self._calendar(timing.expression, text).calendar if text and text.needs_calendar else None
            return _built(timing.expression, CronZone.fixed(offset_s), timing.dst, days).fires_at(at_ms)

        on_clock = text is not None and self._compiled(timing).every() is None
        found = []
        for at_ms in times_ms:
            at_s = at_ms // 1_000
            changes = zone.changes(at_s - DAY_S, at_s + DAY_S)
            plain = partial(plainly, at_ms) if on_clock else None
            found.append(marked(at_ms, zone.local_s(at_s), changes, file, plain))
        return found

    def _check_cron(self, timing: Timing) -> None:
        expression = timing.expression
        if not expression.strip():
            raise required("timing.cron")
        if len(expression) > CRON_CHARS_MAX:
            raise invalid("timing.cron", f"at most {CRON_CHARS_MAX} characters", expression)
        cron = self._compiled(timing)
        if cron.at_start():
            raise _cron_invalid(
                expression, "@reboot is no time; a schedule here outlives restarts", "write @every"
            )
        length = cron.every()
        if length is not None and not EVERY_MIN_MS <= length[0] <= TASK_DUE_AHEAD_MAX_MS:
            raise _cron_invalid(expression, f"@every takes {EVERY_MIN_MS} ms to ten years", "")
        if cron.never():
            raise CuptimeError(
                Reason.CRON_NEVER_FIRES,
                f"{expression[:100]!r} has no date in any year",
                field="timing.cron",
                metadata={"cron": expression[:100]},
            )
        self._check_years(timing, cron)
        _ask_croniter(expression, timing.dst)

    def _compiled(self, timing: Timing) -> Cron:
        """The compiled schedule of a CRON timing. Raises CRON_INVALID or TIME_ZONE_UNKNOWN."""
        text = _text(timing.expression, timing.dst)
        file = self._calendar(timing.expression, text) if text.needs_calendar else None
        return _cron(timing.expression, timing.time_zone, timing.dst, file.calendar if file else None)

    def _calendar(self, expression: str, text: CronText) -> CalendarFile:
        try:
            return self._calendars.get(text.calendar)
        except KeyError:
            known = ", ".join(self._calendars.names())
            raise _cron_invalid(
                expression, f"there is no calendar {text.calendar[:32]!r}", f"there are {known}"
            ) from None

    def _check_years(self, timing: Timing, cron: Cron) -> None:
        text = _text(timing.expression, timing.dst)
        if not text.needs_calendar or self._clock is None:
            return
        now_ms = self._clock.now_ms()
        if text.unknown_year == "error":
            try:
                cron.next(max(now_ms, timing.start_ms), now_ms)
            except CronYearUnknown as unknown:
                raise CuptimeError(
                    Reason.CALENDAR_YEAR_UNKNOWN,
                    f"the calendar {text.calendar!r} has no data for {unknown.args[1]}; write "
                    "UNKNOWN_YEAR=weekday_fallback or UNKNOWN_YEAR=hold to register nevertheless",
                    field="timing.cron",
                    metadata={"calendar": text.calendar, "year": str(unknown.args[1])},
                ) from unknown
        file = self._calendars.get(text.calendar)
        next_year = datetime.fromtimestamp(now_ms / 1_000, UTC).year + 1
        if text.unknown_year == "weekday_fallback" and not file.calendar.knows(next_year):
            _log.warning("calendar %s has no data for %d: plain weeks are taken", file.name, next_year)

    def _note_held(self, timing: Timing, year: int) -> None:
        """Once for each text and reload."""
        if timing.expression not in self._held and len(self._held) < COMPILED_MAX:
            self._held.add(timing.expression)
            _log.error("%r waits: its calendar has no data for %d", timing.expression, year)


@lru_cache(COMPILED_MAX)
def _ask_croniter(expression: str, dst: DstPolicy) -> None:
    """The second opinion, in UTC, once for each expression: croniter takes longer for it than all the rest of a
    registration."""
    if "=" in expression:
        return
    from cuptime.schedules.second_opinion import differs  # croniter is not needed before a registration

    timing = Timing(TimingKind.CRON, expression, dst=dst)
    difference = differs(timing, _cron(expression, timing.time_zone, dst, None))
    if difference:
        _log.warning("croniter reads %r differently: %s", expression, difference)


@lru_cache(COMPILED_MAX)
def _text(expression: str, dst: DstPolicy) -> CronText:
    try:
        return read_text(expression, dst=dst.name.lower())
    except ValueError as fault:
        raise _cron_invalid(expression, str(fault), "") from fault


@lru_cache(COMPILED_MAX)
def _cron(expression: str, time_zone: str, dst: DstPolicy, days: CronCalendar | None) -> Cron:
    text = _text(expression, dst)
    _check_zone(text.time_zone or time_zone)
    return _built(expression, zone_of(text.time_zone or time_zone), dst, days)


def _built(expression: str, zone: CronZone, dst: DstPolicy, days: CronCalendar | None) -> Cron:
    text = _text(expression, dst)
    try:
        return Cron(
            text.body,
            zone,
            dialect=text.dialect,
            dst=text.dst,
            seed=text.seed.encode() or None,
            calendar=days,
            condition=text.days_are or "any",
            roll=text.roll,
            shift=text.shift,
            plain_week=text.unknown_year == "weekday_fallback",
        )
    except CronParseError as refusal:
        _, field, position, message, mend = refusal.args
        at = text.body_at + position
        raise _cron_invalid(
            expression, f"{field} at character {at + 1}: {message}", mend, field, at
        ) from refusal


def _beginning_ms(year: int) -> int:
    """Before the year begins anywhere."""
    return (calendar.timegm((year, 1, 1, 0, 0, 0)) - 14 * 3_600) * 1_000


def _check_zone(name: str) -> None:
    try:
        zone_of(name)
    except ZoneError as fault:
        message, meant = fault.args
        raise CuptimeError(
            Reason.TIME_ZONE_UNKNOWN,
            message if meant else f"{message}; for Beijing time write Asia/Shanghai",
            field="timing.time_zone",
            metadata={"time_zone": name[:64]} | ({"meant": meant} if meant else {}),
        ) from fault


def _cron_invalid(expression: str, why: str, mend: str, field: str = "", position: int = -1) -> CuptimeError:
    metadata = {"cron": expression[:100]}
    if field:
        metadata |= {"cron_field": field, "position": str(position)}
    if mend:
        metadata["mend"] = mend
    return CuptimeError(
        Reason.CRON_INVALID,
        f"the cron expression {expression[:100]!r} cannot be read: {why}" + (f"; {mend}" if mend else ""),
        field="timing.cron",
        metadata=metadata,
    )
