"""croniter's interface over our engine, so that its users can change one import.

    from cuptime.schedules.drop_in import croniter

croniter itself reads the text, so whatever it takes or refuses is taken or refused here, with its own errors: hashed
and random values, `day_or`, `implement_cron_bug`, `expand_from_start_time`, `match_range`. The search, which is what
takes its time, is ours, under the policy `croniter`. Where the engine has no equal, croniter searches: a zone without
an IANA name or a fixed offset, `29W` and `30W` (the last day, in February), and `#` or `W` where both day fields are
given under `day_or`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone, tzinfo
from typing import Any

from croniter import (
    CroniterBadCronError,
    CroniterBadDateError,
    CroniterBadTypeRangeError,
    CroniterError,
    CroniterNotAlphaError,
    CroniterUnsupportedSyntaxError,
    datetime_to_timestamp,
)
from croniter import croniter as _croniter
from croniter import croniter_range as _croniter_range

from cuptime.core import Cron, CronZone
from cuptime.schedules.zone_files import ZoneError, zone_of

__all__ = [
    "CroniterBadCronError",
    "CroniterBadDateError",
    "CroniterBadTypeRangeError",
    "CroniterError",
    "CroniterNotAlphaError",
    "CroniterUnsupportedSyntaxError",
    "croniter",
    "croniter_range",
    "datetime_to_timestamp",
]

_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY, _SECOND, _YEAR = range(7)


def _zone(clock: tzinfo | None) -> CronZone | None:
    """The zone of a clock: an IANA name (also pytz'), a fixed offset, none for UTC; None when it has neither."""
    if clock is None:
        return CronZone.fixed(0)
    name = getattr(clock, "key", None) or getattr(clock, "zone", None)
    if name is not None:
        try:
            return zone_of(str(name))
        except ZoneError:
            return None
    if isinstance(clock, timezone):
        offset = clock.utcoffset(None)
        return CronZone.fixed(int(offset.total_seconds())) if offset.microseconds == 0 else None
    return None


def _listed(values: Sequence[Any]) -> str:
    """A field in the words of the engine; the last day of the month is `l` there."""
    return "*" if "*" in values else ",".join("L" if value == "l" else str(value) for value in values)


class croniter(_croniter):  # noqa: N801 - the name is the interface
    """One expression, and where it stands."""

    # croniter's own, which its stubs leave out.
    _max_years_between_matches: int
    _day_or: bool
    _implement_cron_bug: bool

    _ours: Cron | None = None
    _ours_for: object = ()
    """The clock that `_ours` was made for; no clock is like an empty tuple."""

    def _calc_next(self, is_prev: bool) -> datetime:
        if self._ours_for is not self.tzinfo:
            self._ours, self._ours_for = self._compiled(), self.tzinfo
        if self._ours is None:
            return super()._calc_next(is_prev)  # type: ignore[no-any-return, misc]
        if is_prev:
            found_ms = self._ours.previous(math.ceil(self.cur * 1_000))
        else:
            found_ms = self._ours.next(math.floor(self.cur * 1_000))
        if found_ms is None:
            raise self._no_date(is_prev)
        found: datetime = self.timestamp_to_datetime(found_ms / 1_000)
        years = abs(found.year - self.timestamp_to_datetime(self.cur).year)
        if years > self._max_years_between_matches:
            raise self._no_date(is_prev)
        return found

    def _no_date(self, is_prev: bool) -> CroniterBadDateError:
        return CroniterBadDateError(f"failed to find {'prev' if is_prev else 'next'} date")

    def _compiled(self) -> Cron | None:
        zone, text = _zone(self.tzinfo), self._text()
        return Cron(text, zone, dst="croniter") if zone is not None and text is not None else None

    def _text(self) -> str | None:
        """The expanded fields as an expression of the default dialect, None when it has no equal."""
        fields, nearest = self.expanded, self.nearest_weekday
        nth: dict[Any, Any] = self.nth_weekday_of_month
        day, weekday = _listed(fields[_DAY]), _listed(fields[_WEEKDAY])
        both = fields[_DAY][0] != "*" and fields[_WEEKDAY][0] != "*"
        starred = any(self.expressions[index].startswith("*") for index in (_DAY, _WEEKDAY))
        either = both and self._day_or and not (self._implement_cron_bug and starred)
        if either and (nth or nearest):
            return None
        if nearest & {29, 30}:
            return None
        if nearest:
            # In a shorter month croniter takes its last day for the 31st.
            day = ",".join("LW" if of_month == 31 else f"{of_month}W" for of_month in sorted(nearest))
        if nth:
            weekday = ",".join(
                f"{of_week}#{'L' if which == 'l' else which}"
                for key, found in nth.items()
                for of_week in (range(7) if key == "*" else (key,))
                for which in sorted(found, key=str)
            )
        if not either and "*" not in (day, weekday):
            weekday = f"+{weekday}"
        second = _listed(fields[_SECOND]) if len(fields) > _SECOND else "0"
        year = _listed(fields[_YEAR]) if len(fields) > _YEAR else "*"
        rest = (
            f"{_listed(fields[_MINUTE])} {_listed(fields[_HOUR])} {day} {_listed(fields[_MONTH])} {weekday}"
        )
        return f"{second} {rest} {year}"


def croniter_range(*arguments: Any, **options: Any) -> Iterator[Any]:
    """croniter's own, stepping with our class."""
    yield from _croniter_range(*arguments, **({"_croniter": croniter} | options))
