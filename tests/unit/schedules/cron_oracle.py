"""The oracle of the cron engine: minute by minute, over Python's own time zones, from the fields as sets of
numbers.

It shares nothing with the engine: the expression is generated with its meaning beside its text, the wall
clock comes from
`zoneinfo`, and the DST policies are written down from their definitions in `docs/cron.md`.
"""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from cuptime.schedules.zone_files import zone_bytes, zone_names, zone_of

POLICIES = ("vixie", "skip_once", "shift_all", "croner", "wall_both")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Expression:
    """A text, and what it means: minutes, hours, days (None is `*`), months, weekdays (None is `*`)."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None
    star: bool
    interval: bool

    def has_day(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_day = self.days is not None and day.day in self.days
        by_week = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        if self.days is None:
            return self.weekdays is None or by_week
        return by_day if self.weekdays is None else by_day or by_week

    def shifts(self, policy: str) -> bool:
        single = len(self.minutes) == len(self.hours) == 1
        return {"vixie": not self.star, "croner": single, "shift_all": True}.get(policy, False)

    def once(self, policy: str) -> bool:
        single = len(self.minutes) == len(self.hours) == 1
        known = {"vixie": not self.star, "croner": single, "shift_all": not self.interval, "skip_once": True}
        return known.get(policy, False)


def _field(dice: random.Random, low: int, high: int) -> tuple[str, frozenset[int]]:
    form = dice.choice(["star", "one", "one", "step", "range", "range_step", "list"])
    if form == "star":
        return "*", frozenset(range(low, high + 1))
    a, b = sorted((dice.randint(low, high), dice.randint(low, high)))
    step = dice.randint(1, max(2, (high - low) // 2))
    if form == "one":
        return str(a), frozenset({a})
    if form == "step":
        return f"*/{step}", frozenset(range(low, high + 1, step))
    if form == "range":
        return f"{a}-{b}", frozenset(range(a, b + 1))
    if form == "range_step":
        return f"{a}-{b}/{step}", frozenset(range(a, b + 1, step))
    few = sorted({dice.randint(low, high) for _ in range(dice.randint(2, 4))})
    return ",".join(map(str, few)), frozenset(few)


def expression(dice: random.Random) -> Expression:
    """A random expression of five fields."""
    minute, minutes = _field(dice, 0, 59)
    # Half of the hours near midnight and the small hours, where clocks change.
    hour, hours = _field(dice, 0, 23) if dice.random() < 0.5 else _field(dice, 0, 4)
    if hour.startswith("*") and max(hours) < 5:
        hour, hours = "*", frozenset(range(24))
    day, days = _field(dice, 1, 31) if dice.random() < 0.3 else ("*", frozenset())
    month, months = _field(dice, 1, 12) if dice.random() < 0.2 else ("*", frozenset(range(1, 13)))
    week, weekdays = _field(dice, 0, 6) if dice.random() < 0.3 else ("*", frozenset())
    time = f"{minute} {hour}"
    return Expression(
        f"{time} {day} {month} {week}",
        minutes,
        hours,
        None if day in ("*", "*/1") else days,
        months,
        None if week in ("*", "*/1") else weekdays,
        minute.startswith("*") or hour.startswith("*"),
        any(sign in time for sign in "*-/"),
    )


@dataclass(frozen=True)
class Window:
    """A stretch of time around changes of the clock, minute by minute: (UTC ms, wall clock, comes again,
    after a gap)."""

    zone: str
    from_ms: int
    until_ms: int
    minutes: tuple[tuple[int, datetime, bool, tuple[datetime, ...]], ...]


@cache
def clock_of(zone: str) -> ZoneInfo:
    """Python's reading of the same zone data: by name it would look at the host's copy first."""
    return ZoneInfo.from_file(io.BytesIO(zone_bytes(zone)), key=zone)


@cache
def window(zone: str, change_s: int, days: int = 2) -> Window:
    """The window around a change (UTC seconds); seconds of a wall clock that are not 0 are left to other
    tests."""
    clock = clock_of(zone)
    start = datetime.fromtimestamp(change_s // 60 * 60, UTC) - timedelta(days=days)
    rows: list[tuple[int, datetime, bool, tuple[datetime, ...]]] = []
    before: datetime | None = None
    highest = datetime(1900, 1, 1)  # noqa: DTZ001 - a wall clock
    for number in range(2 * days * 1_440):
        instant = start + number * MINUTE
        wall = instant.astimezone(clock).replace(tzinfo=None, fold=0)
        skipped: tuple[datetime, ...] = ()
        if before is not None and wall - before > MINUTE:
            gap = (wall - before) // MINUTE
            skipped = tuple(before + k * MINUTE for k in range(1, gap))
        rows.append((int(instant.timestamp()) * 1_000, wall, wall <= highest, skipped))
        before, highest = wall, max(highest, wall)
    return Window(zone, rows[0][0] - 1, rows[-1][0], tuple(rows))


def expected(wanted: Expression, policy: str, around: Window) -> list[int]:
    """The firings of a window by the policy's definition."""
    days: dict[date, bool] = {}

    def fits(wall: datetime) -> bool:
        if wall.minute not in wanted.minutes or wall.hour not in wanted.hours:
            return False
        day = wall.date()
        if day not in days:
            days[day] = wanted.has_day(day)
        return days[day]

    shifts, once = wanted.shifts(policy), wanted.once(policy)
    times = []
    for at_ms, wall, again, skipped in around.minutes:
        if (fits(wall) and not (again and once)) or (shifts and any(fits(other) for other in skipped)):
            times.append(at_ms)
    return times


@cache
def changes() -> tuple[tuple[str, int], ...]:
    """(zone, instant in seconds) of every change on a whole minute from 1970 to 2037, in all zones that
    differ."""
    found: dict[tuple[tuple[int, int, int], ...], str] = {}
    for zone in sorted(zone_names()):
        rows = tuple(zone_of(zone).changes(0, 2_145_916_800))
        if rows and "posix" not in zone and "right" not in zone:
            found.setdefault(rows, zone)
    return tuple(
        (zone, at_s)
        for rows, zone in sorted(found.items(), key=lambda pair: pair[1])
        for at_s, before_s, after_s in rows
        if at_s % 60 == before_s % 60 == after_s % 60 == 0
    )
