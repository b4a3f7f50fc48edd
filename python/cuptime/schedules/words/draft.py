"""What plain words mean, before it is a cron text: the same for Chinese and English."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

DAY_M: Final = 1_440
FIRINGS_LISTED_MAX: Final = 400
"""Times of one day that are listed one by one."""

Time = tuple[int, int, int]


class WordsError(ValueError):
    """`args` are (text for people, nearest understood form or "")."""


@dataclass(slots=True)
class Draft:
    """Filled by the rules of a language, in any order; :meth:`text` makes a cron text of it."""

    step: tuple[int, str] | None = None
    """So many of s, m, h, d, w, mo, q, hy, y."""
    weekdays: set[int] = field(default_factory=set)
    week_begins: int = 0
    """The weekday of a week without one."""
    not_weekdays: set[int] = field(default_factory=set)
    """Left out of `weekdays`, or of all seven."""
    days: list[str] = field(default_factory=list)
    """Of the month, as cron elements: `1`, `L`, `1W`, `25-L`."""
    nth: list[str] = field(default_factory=list)
    """`1#2`, `5L`."""
    dates: list[tuple[int, str]] = field(default_factory=list)
    """Days of a month of their own, as (month, cron element): 1 January and 15 July are two days, not four."""
    months: set[int] = field(default_factory=set)
    years: set[int] = field(default_factory=set)
    times: list[Time] = field(default_factory=list)
    windows: list[tuple[Time, Time]] = field(default_factory=list)
    hours: set[int] = field(default_factory=set)
    minutes: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)
    since: tuple[int, str] | None = None
    """Steps begin at this value of the unit."""
    starts: Time | None = None
    """The first time of the day of a step of hours."""
    every_minute_of_window: bool = False
    window_is_hourly: bool = False
    """A stretch without a step is taken each hour."""
    times_counted: int = 0
    """"Three times a day": so many times must be said."""
    both: bool = False
    """Day of month and weekday must both hold."""
    zone: str = ""
    days_are: str = ""
    """`workday`, `restday`, `holiday`, `not_holiday`: by the legal calendar."""
    roll: tuple[str, int] | None = None
    """`before` or `after`, and the work days beyond: of the legal calendar."""
    interval: str = ""
    """What follows `@every`, as it is."""
    whole_quarters: str = ""
    """A day of the quarter: `first` or `last`."""

    def text(self, today: date) -> str:
        """The cron text; `today` anchors "every second Wednesday". Raises WordsError."""
        if self.times_counted and self.times_counted != len(set(self.times)):
            raise WordsError(
                f"{self.times_counted} times a day need {self.times_counted} times of the day", ""
            )
        self._leave_out()
        if self.roll is not None and (
            len(self.days) > 1
            or self.weekdays
            or self.nth
            or self.dates
            or self.days_are
            or self.whole_quarters
        ):
            raise WordsError("a counted legal work day stands alone", "")
        body = self._body(today)
        front = (f"CRON_TZ={self.zone} " if self.zone else "") + (
            f"DAYS={self.days_are} " if self.days_are else ""
        )
        if self.roll is not None:
            front += f"ROLL={self.roll[0]} " + (f"SHIFT={self.roll[1]} " if self.roll[1] else "")
        return front + body

    def _leave_out(self) -> None:
        if not self.not_weekdays:
            return
        if (
            self.nth
            or self.whole_quarters
            or (self.step is not None and self.step[1] not in ("s", "m", "h", "d"))
        ):
            raise WordsError("weekdays are left out of days only", "")
        self.weekdays = (self.weekdays or set(range(7))) - self.not_weekdays
        if not self.weekdays:
            raise WordsError("no day is left", "")
        self.both = self.both or bool(self.days)

    # --- the parts
    def _body(self, today: date) -> str:
        if self.starts is not None and (self.step is None or self.step[1] not in ("s", "m", "h")):
            raise WordsError("what starts there? say how often", "")
        if self.interval:
            return f"@every {self.interval}"
        if self.step is not None and self.step[1] == "h" and self.step[0] >= 24 and self.step[0] % 24 == 0:
            self.step = (self.step[0] // 24, "d")
        if self.step is not None and self.step[1] in ("d", "w") and self.step[0] > 1:
            return self._grid(today)
        years = f" {shown(self.years, 1970, 2199)}" if self.years else ""
        return " | ".join(
            f"{minute} {hour} {days}{years}"
            if second == "0" and not self.years
            else f"{second} {minute} {hour} {days}{years}"
            for days in self._days()
            for second, minute, hour in self._times()
        )

    def _grid(self, today: date) -> str:
        number, unit = self.step or (1, "d")
        if self.months or self.days or self.dates or self.nth or self.windows or len(self.times) > 1:
            raise WordsError("an interval of days takes one time and no other days", "")
        if unit == "d" and self.weekdays:
            raise WordsError("an interval of days takes no weekdays", "")
        if len(self.weekdays) > 1:
            raise WordsError("an interval of weeks takes one weekday", "")
        first = today
        if unit == "w":
            wanted = next(iter(self.weekdays), 1)
            first += timedelta(days=(wanted - today.isoweekday()) % 7)
        hour, minute, second = self.times[0] if self.times else (0, 0, 0)
        clock = f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
        return f"@every {number}{unit} from {first.isoformat()} {clock}"

    def _days(self) -> list[str]:
        weekdays = self._weekdays()
        found = []
        for days, months in self._dates() or [(self._day_elements(), self._months())]:
            both = self.both and days != "*" and weekdays != "*"
            found.append(f"{days} {months} {'+' if both else ''}{weekdays}")
        return found

    def _dates(self) -> list[tuple[str, str]]:
        """Dates as the fewest (days, months): months with equal days together."""
        if not self.dates:
            return []
        if self.months or self.whole_quarters or self.nth:
            raise WordsError("dates and other days of the month contradict each other", "")
        by_month: dict[int, list[str]] = defaultdict(list)
        for month, day in self.dates:
            by_month[month].append(day)
        # Days without a month of their own go with the month in front: 3月1号、15号.
        if self.days and len(by_month) > 1:
            raise WordsError("days without a month beside dates of several months", "")
        together: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for month, days in by_month.items():
            together[tuple(dict.fromkeys([*days, *self.days]))].add(month)
        return [(",".join(days), shown(months, 1, 12)) for days, months in together.items()]

    def _day_elements(self) -> str:
        unit = self.step[1] if self.step else ""
        if self.whole_quarters:
            return self.days[0] if self.days else {"first": "1", "last": "L"}[self.whole_quarters]
        if self.days and self.since and self.since[1] == "d":
            return f"{self.since[0]}-31{self.days[0].removeprefix('*')}"
        if self.days:
            return ",".join(dict.fromkeys(self.days))
        if self.nth or self.weekdays:
            return "*"
        calendar_unit = unit in ("mo", "q", "hy", "y") or (
            bool(self.months) and unit not in ("d", "h", "m", "s")
        )
        return "1" if calendar_unit else "*"

    def _months(self) -> str:
        number, unit = self.step or (1, "")
        if self.whole_quarters or unit == "q":
            return "3,6,9,12" if self.whole_quarters == "last" else "1,4,7,10"
        if unit == "hy":
            return "1,7"
        if self.months:
            return shown(self.months, 1, 12)
        if unit == "mo" and number > 1:
            if number > 12:
                raise WordsError("more than twelve months are not one rule", "")
            return f"*/{number}"
        if unit == "mo" and self.since:
            return shown(range(self.since[0], 13), 1, 12)
        return "1" if unit == "y" else "*"

    def _weekdays(self) -> str:
        unit = self.step[1] if self.step else ""
        elements = ([shown(self.weekdays, 0, 6)] if self.weekdays else []) + self.nth
        if not elements and unit == "w":
            return str(self.week_begins)
        return ",".join(dict.fromkeys(elements)) or "*"

    # --- times of the day
    def _times(self) -> list[tuple[str, str, str]]:
        unit = self.step[1] if self.step else ""
        if unit in ("s", "m", "h"):
            return self._stepped()
        if self.windows:
            if self.minutes or self.every_minute_of_window:
                return self._marked_windows()
            if self.window_is_hourly and not self.times:
                return products(time for window in self.windows for time in walk(window, 60))
            raise WordsError("a stretch of the day needs a step: how often in it?", "")
        if self.hours or ((self.minutes or self.seconds) and not self.times):
            hours = shown(self.hours, 0, 23) if self.hours else "*"
            minutes = listed(self.minutes) if self.minutes else "*" if self.seconds else "0"
            return [(listed(self.seconds) if self.seconds else "0", minutes, hours)]
        if self.times and (self.minutes or self.seconds):
            raise WordsError("minutes of every hour and single times contradict each other", "")
        return products(self.times or [(0, 0, 0)])

    def _marked_windows(self) -> list[tuple[str, str, str]]:
        hours: set[int] = set()
        for start, end in self.windows:
            last = end[0] - 1 if end > start else end[0] + 23
            hours |= {hour % 24 for hour in range(start[0], last + 1)}
        minutes = listed(self.minutes) if self.minutes else "*"
        return [("0", minutes, shown(hours, 0, 23))]

    def _stepped(self) -> list[tuple[str, str, str]]:
        number, unit = self.step or (1, "m")
        if self.starts is not None:
            return self._started(number, unit, self.starts)
        if self.times and not self.windows:
            if unit == "h" and number == 1 and len(self.times) == 1:
                raise WordsError("every hour and one time contradict each other", "")
            raise WordsError("a step within the day and single times contradict each other", "")
        if unit == "s":
            return self._seconds(number)
        if self.windows and not self.minutes:
            whole = all(end[1] == 0 for _, end in self.windows)
            if self.every_minute_of_window or ((number, unit) == (1, "m") and whole):
                return self._marked_windows()
            length = number if unit == "m" else number * 60
            return products(time for window in self.windows for time in walk(window, length))
        if self.windows:
            if unit != "h" or number != 1:
                raise WordsError("minutes of a stretch take every hour", "")
            return self._marked_windows()
        if unit == "m":
            return self._minutes(number)
        if number > 23:
            raise WordsError("write days for more than 23 hours", f"interval {number}h")
        minutes = listed(self.minutes) if self.minutes else "0"
        if self.since and self.since[1] == "h":
            return [("0", minutes, shown(range(self.since[0], 24, number), 0, 23))]
        hours = shown(self.hours, 0, 23) if self.hours else "*" if number == 1 else f"*/{number}"
        return [("0", minutes, hours)]

    def _started(self, number: int, unit: str, first: Time) -> list[tuple[str, str, str]]:
        """ "Every 6 hours starting at 2": 2, 8, 14, 20. Where hours before the first would fit too, nobody says so."""
        if unit != "h" or number > 23 or self.times or self.windows or self.minutes or self.hours:
            raise WordsError("only hours start at a time of the day; say until when", "")
        if first[0] >= number:
            raise WordsError("also before that time? say from when until when", "")
        return products((hour, first[1], first[2]) for hour in range(first[0], 24, number))

    def _seconds(self, number: int) -> list[tuple[str, str, str]]:
        if not 1 <= number <= 59:
            raise WordsError("write minutes for more than 59 seconds", "")
        hours = {hour for start, end in self.windows for hour in _hours(start, end)} | self.hours
        first = self.since[0] if self.since and self.since[1] == "s" else 0
        seconds = shown(range(first, 60, number), 0, 59)
        minutes = listed(self.minutes) if self.minutes else "*"
        return [(seconds, minutes, shown(hours, 0, 23) if hours else "*")]

    def _minutes(self, number: int) -> list[tuple[str, str, str]]:
        if self.seconds:
            if number != 1:
                raise WordsError("seconds take every minute", "")
            return [(listed(self.seconds), "*", shown(self.hours, 0, 23) if self.hours else "*")]
        hours = shown(self.hours, 0, 23) if self.hours else "*"
        first = self.since[0] if self.since and self.since[1] == "m" else 0
        # What does not fill the hour but fills the day goes on over the hours: 45 minutes after 0:45 is 1:30.
        if number < 60 and (self.since or self.hours or 60 % number == 0 or DAY_M % number):
            return [("0", shown(range(first, 60, number), 0, 59), hours)]
        if number % 60 == 0 and number // 60 <= 23:
            return [("0", "0", "*" if number == 60 else f"*/{number // 60}")]
        return products((minute // 60, minute % 60, 0) for minute in range(0, DAY_M, number))


def _hours(start: Time, end: Time) -> Iterable[int]:
    last = end[0] - 1 if end > start else end[0] + 23
    return (hour % 24 for hour in range(start[0], last + 1))


def walk(window: tuple[Time, Time], length_m: int) -> list[Time]:
    """The times from the beginning of a stretch to its end, both included; over midnight when the end is
    earlier."""
    start, end = (hour * 60 + minute for hour, minute, _ in window)
    if end <= start:
        end += DAY_M
    at = range(start, end + 1, length_m)
    if len(at) > FIRINGS_LISTED_MAX * 4:
        raise WordsError("too many times", "")
    return [(minute // 60 % 24, minute % 60, 0) for minute in at]


def products(times: Iterable[Time]) -> list[tuple[str, str, str]]:
    """Times of the day as the fewest (second, minute, hour) fields that are found by grouping hours with
    equal minutes."""
    by_second: dict[int, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for hour, minute, second in times:
        by_second[second][hour % 24].add(minute)
    found = []
    for second, by_hour in sorted(by_second.items()):
        groups: dict[frozenset[int], set[int]] = defaultdict(set)
        for hour, minutes in by_hour.items():
            groups[frozenset(minutes)].add(hour)
        found += [
            (str(second), shown(together, 0, 59), shown(hours, 0, 23))
            for together, hours in sorted(groups.items(), key=lambda group: min(group[1]))
        ]
    return found


def listed(values: Iterable[int]) -> str:
    """A plain list, sorted."""
    return ",".join(map(str, sorted(set(values))))


def shown(values: Iterable[int], low: int, high: int) -> str:
    """A field: `*`, `*/n`, a range where three follow each other, or a list."""
    have = sorted(set(values))
    if not have:
        return "*"
    if have == list(range(low, high + 1)):
        return "*"
    step = have[1] - have[0] if len(have) > 1 else 0
    if step > 1 and (len(have) > 2 or high in (23, 59)) and have == list(range(low, high + 1, step)):
        return f"*/{step}"
    parts = []
    while have:
        end = 1
        while end < len(have) and have[end] == have[0] + end:
            end += 1
        parts.append(f"{have[0]}-{have[end - 1]}" if end >= 3 else ",".join(map(str, have[:end])))
        have = have[end:]
    return ",".join(parts)
