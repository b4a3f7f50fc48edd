"""What is remarkable about a firing: a clock that is set around it, a day that is not what its weekday says.

For people who look at a preview: `0 2 * * *` in New York fires at three once a year, and 「每周一9点」 falls on a
holiday. Marks say it; they change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from msgspec import Struct

from cuptime.domain.values import Timing
from cuptime.schedules.calendars import CalendarFile

DAY_S: Final = 86_400
Change = tuple[int, int, int]
"""(instant, offset before, offset after) in seconds."""
CHINA: Final = frozenset(
    ("Asia/Shanghai", "Asia/Urumqi", "Asia/Chongqing", "Asia/Chungking", "Asia/Harbin", "Asia/Kashgar", "PRC")
)
"""Zones in which the legal calendar of China is meant when none is named."""


class Mark(IntEnum):
    """The numbers are those of `cuptime.v1.FiringMark`."""

    CLOCK_MOVED = 1
    """Its time on the wall clock was skipped that day: it fires right after, as the DST policy says."""
    CLOCK_FIRST = 2
    """The wall clock shows its time twice that day: this is the first."""
    CLOCK_SECOND = 3
    HOLIDAY = 4
    MAKE_UP_WORKDAY = 5
    """A day off by its weekday that is worked (调休)."""
    YEAR_UNKNOWN = 6
    """The calendar has no data for the year: nobody can say."""


class Marked(Struct, frozen=True):
    """A firing as a preview shows it. `local` is ISO 8601 with the offset, such as `2026-10-01T09:00:00+08:00`."""

    at_ms: int
    local: str
    marks: tuple[Mark, ...]


UnknownYearOf = Callable[[Timing, int], int]
"""At which year firings after an instant stop being known: :meth:`CoreCronEngine.unknown_year` of the engine."""
MarkedOf = Callable[[Timing, Sequence[int], str], list[Marked]]
"""Of these firings of a timing, by the calendar of a name: :meth:`cuptime.schedules.engine.CoreCronEngine.marked`."""


def marked(
    at_ms: int,
    local_s: int,
    changes: Sequence[Change],
    file: CalendarFile | None,
    plainly: Callable[[int], bool] | None,
) -> Marked:
    """`local_s` is the wall clock at the firing, as seconds since 1970 on it; `changes` are those of the clock within a
    DAY_S of it. `plainly(offset_s)`: would it fire then too in a zone of that one offset? None where no wall clock is
    meant."""
    at_s = at_ms // 1_000
    offset_s = local_s - at_s
    local = datetime.fromtimestamp(local_s, UTC)
    marks = _of_clock(changes, at_s, plainly)
    if file is not None:
        marks += _of_day(file, local)
    return Marked(at_ms, local.strftime("%Y-%m-%dT%H:%M:%S") + _offset(offset_s), tuple(marks))


def _of_clock(changes: Sequence[Change], at_s: int, plainly: Callable[[int], bool] | None) -> list[Mark]:
    for change_s, before_s, after_s in changes:
        length_s = abs(after_s - before_s)
        if after_s < before_s and change_s - length_s <= at_s < change_s + length_s:
            return [Mark.CLOCK_FIRST if at_s < change_s else Mark.CLOCK_SECOND]
        # Every policy that fires for a skipped time does so right after it.
        if after_s > before_s and plainly is not None and at_s == change_s:
            return [] if plainly(after_s) else [Mark.CLOCK_MOVED]
    return []


def _of_day(file: CalendarFile, local: datetime) -> list[Mark]:
    if not file.calendar.knows(local.year):
        return [] if file.open_ended else [Mark.YEAR_UNKNOWN]
    day = (local.year, local.month, local.day)
    if file.calendar.is_holiday(*day):
        return [Mark.HOLIDAY]
    in_week = (local.weekday() + 1) % 7 in file.week
    return [Mark.MAKE_UP_WORKDAY] if file.calendar.is_workday(*day) and not in_week else []


def _offset(offset_s: int) -> str:
    """`+08:00`; zones of long ago have seconds, and ISO 8601 has not."""
    minutes = abs(timedelta(seconds=offset_s)) // timedelta(minutes=1)
    return f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
