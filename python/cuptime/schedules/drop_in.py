"""croniter's interface over our engine, so that its users can change one import.

    from cuptime.schedules.drop_in import croniter

Reads the `croniter` dialect (seconds last) under the `croniter` policy: a time in a gap right after it, a
time that comes twice
at both. What is there: `get_next`, `get_prev`, `get_current`, `set_current`, `all_next`, `all_prev`,
iteration, `match`,
`is_valid`. What is not: `R`, `expand_from_start_time`, `max_years_between_matches`, `day_or=False`. Times
before 1970 are not
tried.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cuptime.core import Cron, CronParseError, CronZone
from cuptime.schedules.zone_files import ZoneError, zone_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CroniterError(ValueError):
    """The text is not read."""


class CroniterBadDateError(CroniterError):
    """There is no such date."""


def _zone(moment: datetime) -> CronZone:
    """The zone of a moment: an IANA name, a fixed offset, or none, which is taken as UTC."""
    name = getattr(moment.tzinfo, "key", None)
    if name is not None:
        try:
            return zone_of(name)
        except ZoneError as fault:
            raise CroniterError(str(fault.args[0])) from fault
    offset = moment.utcoffset() or timedelta()
    return CronZone.fixed(int(offset.total_seconds()))


class croniter:  # noqa: N801 - the name is the interface
    """One expression, and where it stands."""

    def __init__(
        self,
        expr_format: str,
        start_time: datetime | float | None = None,
        ret_type: type = float,
        second_at_beginning: bool = False,
    ) -> None:
        """Raises CroniterError. A start as a number is seconds since 1970, in UTC; None is 1970 itself."""
        self._return = ret_type
        self._text = expr_format
        self._moment = start_time if isinstance(start_time, datetime) else None
        zone = _zone(self._moment) if self._moment is not None else CronZone.fixed(0)
        try:
            dialect = "ocps" if second_at_beginning else "croniter"
            self._cron = Cron(expr_format, zone, dialect=dialect, dst="croniter")
        except CronParseError as refusal:
            raise CroniterError(refusal.args[0]) from refusal
        self._at_ms = 0
        self.set_current(start_time)

    def __iter__(self) -> Iterator[Any]:
        return self.all_next(self._return)

    def __next__(self) -> Any:
        return self.get_next()

    def set_current(self, start_time: datetime | float | None, force: bool = True) -> float:
        """Where the next step begins, as seconds."""
        if force or not self._at_ms:
            if isinstance(start_time, datetime):
                aware = start_time if start_time.tzinfo else start_time.replace(tzinfo=UTC)
                self._at_ms = (aware - _EPOCH) // timedelta(milliseconds=1)
            else:
                self._at_ms = round((start_time or 0) * 1_000)
        return self._at_ms / 1_000

    def get_current(self, ret_type: type | None = None) -> Any:
        """Where it stands."""
        return self._shown(ret_type)

    def get_next(self, ret_type: type | None = None) -> Any:
        """Steps to the next firing. Raises CroniterBadDateError when there is none."""
        return self._step(self._cron.next(self._at_ms), ret_type)

    def get_prev(self, ret_type: type | None = None) -> Any:
        """Steps to the last firing before. Raises CroniterBadDateError when there is none from 1970 on."""
        found = self._cron.previous(self._at_ms)
        return self._step(found if found is not None and found >= 0 else None, ret_type)

    def all_next(self, ret_type: type | None = None) -> Iterator[Any]:
        """Steps until there is none."""
        while True:
            try:
                yield self.get_next(ret_type)
            except CroniterBadDateError:
                return

    def all_prev(self, ret_type: type | None = None) -> Iterator[Any]:
        """Steps back until there is none."""
        while True:
            try:
                yield self.get_prev(ret_type)
            except CroniterBadDateError:
                return

    @classmethod
    def is_valid(cls, expression: str, second_at_beginning: bool = False) -> bool:
        """Is the text read?"""
        try:
            cls(expression, second_at_beginning=second_at_beginning)
        except CroniterError:
            return False
        return True

    @classmethod
    def match(cls, cron_expression: str, testdate: datetime) -> bool:
        """Does it fire in this minute (with a seconds field, in this second)?"""
        fields = len(cron_expression.split())
        whole = testdate.replace(microsecond=0) if fields > 5 else testdate.replace(second=0, microsecond=0)
        one = cls(cron_expression, whole)
        return one._cron.fires_at(one._at_ms)

    def _step(self, found_ms: int | None, ret_type: type | None) -> Any:
        if found_ms is None:
            raise CroniterBadDateError(f"{self._text!r} has no date")
        self._at_ms = found_ms
        return self._shown(ret_type)

    def _shown(self, ret_type: type | None) -> Any:
        wanted = ret_type or self._return
        if wanted is not datetime:
            return self._at_ms / 1_000
        there = self._moment.tzinfo if self._moment is not None else None
        instant = _EPOCH + timedelta(milliseconds=self._at_ms)
        return instant.astimezone(there) if there is not None else instant.replace(tzinfo=None)
