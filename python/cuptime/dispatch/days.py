"""Days of capacity: they begin and end at midnight where the park is."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

DAYS_KEPT: Final = 64


class Day(NamedTuple):
    """Its name, yyyymmdd, and its end, exclusive."""

    name: str
    from_ms: int
    until_ms: int


class Calendar:
    """The days of one time zone (IANA). Cheap: an instant of a day that was asked for lately costs a comparison."""

    def __init__(self, zone: str = "UTC") -> None:
        """Raises ZoneInfoNotFoundError or ValueError for a name that is none."""
        self.zone = ZoneInfo(zone)
        self._last = Day("", 0, 0)
        self._of = lru_cache(maxsize=DAYS_KEPT)(self._day)

    def day(self, instant_ms: int) -> Day:
        """The day of an instant."""
        if not self._last.from_ms <= instant_ms < self._last.until_ms:
            local = datetime.fromtimestamp(instant_ms // 1_000, UTC).astimezone(self.zone)
            self._last = self._of(local.date())
        return self._last

    def _day(self, local: date) -> Day:
        from_ms, until_ms = (self._midnight_ms(local + timedelta(days=days)) for days in (0, 1))
        return Day(f"{local:%Y%m%d}", from_ms, until_ms)

    def _midnight_ms(self, local: date) -> int:
        """Where clocks skip midnight, it is the instant of the skip: with fold 0 the time before it counts."""
        return round(datetime.combine(local, time(), self.zone).timestamp() * 1_000)
