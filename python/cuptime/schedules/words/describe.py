"""A cron text in words, Chinese or English, such that the words read back as the same firings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from cuptime.core import Cron, CronParseError
from cuptime.schedules.cron_text import CronText, read_text
from cuptime.schedules.words.draft import DAY_M, WordsError
from cuptime.schedules.zone_files import zone_of

TIMES_LISTED_MAX: Final = 12
LEGAL_CALENDAR: Final = "cn"
_BOTH, _ANY_DAY, _ANY_WEEKDAY = 1, 2, 4
_HAN_DAYS: Final = "日一二三四五六"
_HAN_NTH: Final = "一二三四五"
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_NTH: Final = ("first", "second", "third", "fourth", "fifth")
_GRID: Final = re.compile(r"@every (?:(\d+)w)?(?:(\d+)d)? from (\d+)-(\d+)-(\d+) (\d+:\d+)(:\d+)?")


def describe(text: str, language: str) -> str:
    """`language` is "zh" or "en". Raises WordsError for what has no words: `!`, phases, moved days, other calendars."""
    settings = read_text(text)
    if "!" in settings.body:
        raise WordsError("exclusions have no words", "")
    moves = settings.roll != "stay" or settings.shift
    if moves and settings.days_are:
        raise WordsError("moved days under a condition have no words", "")
    if (settings.days_are or moves) and settings.calendar != LEGAL_CALENDAR:
        raise WordsError("a calendar of one's own has no words", "")
    terms = [_term(settings, term.strip(), language) for term in settings.body.split("|")]
    return ("；" if language == "zh" else "; ").join(dict.fromkeys(terms))


def _term(settings: CronText, body: str, language: str) -> str:
    try:
        cron = Cron(body, zone_of("UTC"), dialect=settings.dialect, seed=settings.seed.encode() or None)
    except CronParseError as fault:
        raise WordsError(str(fault.args[0]), "") from fault
    masks, length = cron.masks(), cron.every()
    if length is not None:
        words = _grid(length[1], language)
    elif masks is None:
        raise WordsError("this form has no words", "")
    elif language == "zh":
        words = _chinese(masks, settings.days_are, _rolled(settings, masks))
    else:
        words = _english(masks, settings.days_are, _rolled(settings, masks))
    if settings.time_zone:
        words += f" {settings.time_zone}" if language == "zh" else f" in {settings.time_zone}"
    return words


def _rolled(settings: CronText, masks: dict[str, Any]) -> int:
    """Days that are moved, where they are the n-th legal work day of the month, or -n from its end; 0 when none are."""
    if settings.roll == "stay" and not settings.shift:
        return 0
    alone = masks["flags"] & _ANY_WEEKDAY and not masks["nearest"] and not masks["lasts_nearest"]
    days, lasts = _bits(masks["days"], 1), _bits(masks["lasts"])
    if alone and settings.roll == "after" and 0 <= settings.shift < 15 and (days, lasts) == ([1], []):
        return settings.shift + 1
    if alone and settings.roll == "before" and -15 < settings.shift <= 0 and (days, lasts) == ([], [0]):
        return settings.shift - 1
    raise WordsError("moved days have no words but for the first and last legal work days of a month", "")


def _bits(mask: int, low: int = 0) -> list[int]:
    return [bit for bit in range(low, 64) if mask >> bit & 1]


def _grid(text: str, language: str) -> str:
    """An interval. Its beginning is told in words only where it is a weekday that words bring back."""
    parts = re.fullmatch(r"@every ((?:\d+(?:w|d|h|ms|m|s))+)", text)
    grid = _GRID.fullmatch(text)
    if grid is not None:
        return _from(text.split(" from ")[0], text.split(" from ")[1].removesuffix(":00"), language)
    if parts is None:
        raise WordsError("a phase has no words", "")
    return f"间隔 {parts[1]}" if language == "zh" else f"interval {parts[1]}"


def _from(every: str, begin: str, language: str) -> str:
    length = every.removeprefix("@every ")
    return f"间隔 {length} 从 {begin}" if language == "zh" else f"interval {length} from {begin}"


def _runs(values: Sequence[int]) -> list[tuple[int, int]]:
    """Values that follow each other, three or more, as (first, last); others alone."""
    runs: list[tuple[int, int]] = []
    left = list(values)
    while left:
        end = 1
        while end < len(left) and left[end] == left[0] + end:
            end += 1
        if end >= 3:
            runs.append((left[0], left[end - 1]))
        else:
            runs += [(value, value) for value in left[:end]]
        left = left[end:]
    return runs


def _marks(values: Sequence[int], to: str, sign: str) -> str:
    return sign.join(str(a) if a == b else f"{a}{to}{b}" for a, b in _runs(values))


def _years(masks: dict[str, Any]) -> list[int]:
    words = masks["years"]
    if words is None:
        return []
    return [1970 + 64 * index + bit for index, word in enumerate(words) for bit in _bits(word)]


def _step(values: Sequence[int]) -> int:
    """n when the values are 0, n, 2n, … below 60 (at least two), else 0."""
    if len(values) < 2 or values[0] != 0:
        return 0
    return values[1] if list(values) == list(range(0, 60, values[1])) else 0


def _minute_step(minutes: Sequence[int]) -> int:
    """A step of minutes that words give back: "every 45 minutes" goes on over the hours, and `*/45` does not."""
    step = _step(minutes)
    return step if step and (60 % step == 0 or DAY_M % step) else 0


def _parity(masks: dict[str, Any]) -> tuple[str, str] | None:
    """Odd or even days of the month and no others, in both languages."""
    if masks["lasts"] or masks["nearest"] or masks["lasts_nearest"]:
        return None
    days = _bits(masks["days"], 1)
    if days == list(range(1, 32, 2)):
        return "单号", "odd days of the month"
    return ("双号", "even days of the month") if days == list(range(2, 31, 2)) else None


# --- Chinese ----------------------------------------------------------------------------------------------------------
def _chinese(masks: dict[str, Any], days_are: str, rolled: int) -> str:
    years, months = _years(masks), _bits(masks["months"], 1)
    words = "、".join(f"{year}年" for year in years)
    if len(months) < 12:
        words += "、".join(f"{month}月" for month in months)
    days, times = _chinese_days(masks), _chinese_times(masks)
    if rolled:
        which = f"第{rolled}个" if rolled > 0 else "最后一个" if rolled == -1 else f"倒数第{-rolled}个"
        days = f"每月{which}法定工作日"
    elif days_are:
        named = {
            "workday": "法定工作日",
            "restday": "休息日",
            "holiday": "节假日",
            "not_holiday": "除节假日外",
        }[days_are]
        days = named + (days or ("每天" if days_are == "not_holiday" else ""))
    elif not days and (words or not times.startswith("每")):
        days = "每天"
    return words + days + times


def _chinese_days(masks: dict[str, Any]) -> str:
    flags = masks["flags"]
    by_day, by_week = _chinese_month_days(masks), _chinese_weekdays(masks)
    if flags & _ANY_DAY and flags & _ANY_WEEKDAY:
        return ""
    if flags & _ANY_DAY:
        return ("每月" if any(masks["nth"]) else "每") + by_week
    if flags & _ANY_WEEKDAY:
        return "每月" + by_day
    return f"每月{by_day}{'且是' if flags & _BOTH else '或'}{by_week}"


def _chinese_month_days(masks: dict[str, Any]) -> str:
    parity = _parity(masks)
    if parity is not None:
        return parity[0]
    found = [f"{a}号" if a == b else f"{a}号到{b}号" for a, b in _runs(_bits(masks["days"], 1))]
    found += ["最后一天" if n == 0 else f"倒数第{n + 1}天" for n in _bits(masks["lasts"])]
    found += [f"{day}号最近的工作日" for day in _bits(masks["nearest"])]
    found += [
        "最后一个工作日" if n == 0 else f"倒数第{n + 1}天最近的工作日" for n in _bits(masks["lasts_nearest"])
    ]
    return "、".join(found)


def _chinese_weekdays(masks: dict[str, Any]) -> str:
    days = _bits(masks["weekdays"])
    found = ["周" + "、周".join(_HAN_DAYS[day] for day in days)] if days else []
    if days == [1, 2, 3, 4, 5]:
        found = ["周一到周五"]
    for which, mask in enumerate(masks["nth"]):
        name = "最后一个周" if which == 5 else f"第{_HAN_NTH[which]}个周"
        found += [name + _HAN_DAYS[day] for day in _bits(mask)]
    return "、".join(found)


def _listed(seconds: list[int], minutes: list[int], hours: list[int]) -> list[str]:
    """Times of the day one by one, when they are few."""
    if len(seconds) != 1 or len(minutes) * len(hours) > TIMES_LISTED_MAX:
        return []
    tail = f":{seconds[0]:02}" if seconds[0] else ""
    return [f"{hour}:{minute:02}{tail}" for hour in hours for minute in minutes]


def _chinese_times(masks: dict[str, Any]) -> str:
    seconds, minutes, hours = (_bits(masks[name]) for name in ("seconds", "minutes", "hours"))
    listed = _listed(seconds, minutes, hours)
    if listed:
        return "、".join(listed)
    words = "" if len(hours) == 24 else "、".join(f"{hour}点" for hour in hours) + "的"
    if seconds == [0]:
        step = _minute_step(minutes)
        if step:
            return words + ("每分钟" if step == 1 else f"每{step}分钟")
        return (words or "每小时") + f"第{_marks(minutes, '到', '、')}分"
    if len(minutes) < 60:
        words += f"第{_marks(minutes, '到', '、')}分"
    elif not _step(seconds):
        words += "每分钟"
    if _step(seconds):
        return words + ("每秒" if _step(seconds) == 1 else f"每{_step(seconds)}秒")
    return words + f"第{_marks(seconds, '到', '、')}秒"


# --- English ----------------------------------------------------------------------------------------------------------
def ordinal(value: int) -> str:
    """`1st`, `22nd`, `13th`."""
    tail = "th" if value % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(value % 10, "th")
    return f"{value}{tail}"


def _english(masks: dict[str, Any], days_are: str, rolled: int) -> str:
    days, times = _english_days(masks), _english_times(masks)
    if rolled:
        which = "last" if rolled == -1 else f"{ordinal(abs(rolled))}{' to last' if rolled < 0 else ''}"
        days = f"on the {which} legal workday of the month"
    named = {
        "": "",
        "workday": "on legal workdays",
        "restday": "on rest days",
        "holiday": "on public holidays",
    }.get(days_are, "except public holidays" if days else "every day except public holidays")
    months, years = _bits(masks["months"], 1), _years(masks)
    if not days and not named and (times.startswith("at ") or len(months) < 12 or years):
        days = "every day"
    parts = [named, days, times.strip()]
    if len(months) < 12:
        parts.append("in " + _and(_MONTHS[month - 1] for month in months))
    if years:
        parts.append("in " + ", ".join(map(str, years)))
    return " ".join(part for part in parts if part)


def _and(words: Iterable[str]) -> str:
    return ", ".join(words)


def _english_days(masks: dict[str, Any]) -> str:
    flags = masks["flags"]
    by_day, by_week = _english_month_days(masks), _english_weekdays(masks)
    if flags & _ANY_DAY and flags & _ANY_WEEKDAY:
        return ""
    if flags & _ANY_DAY:
        return f"on {by_week}"
    if flags & _ANY_WEEKDAY:
        return f"on {by_day}"
    return f"on {by_day} {'and only if it is' if flags & _BOTH else 'or'} {by_week}"


def _english_month_days(masks: dict[str, Any]) -> str:
    parity = _parity(masks)
    if parity is not None:
        return parity[1]
    days = _runs(_bits(masks["days"], 1))
    found = [f"the {ordinal(a)}" if a == b else f"the {ordinal(a)} to the {ordinal(b)}" for a, b in days]
    found += ["the last day" if n == 0 else f"{n} days before the last day" for n in _bits(masks["lasts"])]
    found += [f"the weekday nearest the {ordinal(day)}" for day in _bits(masks["nearest"])]
    found += [
        "the last weekday" if n == 0 else f"the weekday nearest {n} days before the last day"
        for n in _bits(masks["lasts_nearest"])
    ]
    return ", ".join(f"{one} of the month" for one in found)


def _english_weekdays(masks: dict[str, Any]) -> str:
    days = _bits(masks["weekdays"])
    found = ["Monday to Friday"] if days == [1, 2, 3, 4, 5] else [_DAYS[day] for day in days]
    for which, mask in enumerate(masks["nth"]):
        name = "last" if which == 5 else _NTH[which]
        found += [f"the {name} {_DAYS[day]} of the month" for day in _bits(mask)]
    return ", ".join(found)


def _english_times(masks: dict[str, Any]) -> str:
    seconds, minutes, hours = (_bits(masks[name]) for name in ("seconds", "minutes", "hours"))
    listed = _listed(seconds, minutes, hours)
    if listed:
        return "at " + ", ".join(listed)
    at_hours = "" if len(hours) == 24 else " at hours " + _marks(hours, " to ", ", ")
    at_minutes = "" if len(minutes) == 60 else " at minutes " + _marks(minutes, " to ", ", ")
    if seconds == [0]:
        step = _minute_step(minutes)
        if step:
            return ("every minute" if step == 1 else f"every {step} minutes") + at_hours
        return ("every hour" if not at_hours else "") + at_minutes + at_hours
    if _step(seconds):
        every = "every second" if _step(seconds) == 1 else f"every {_step(seconds)} seconds"
        return every + at_minutes + at_hours
    every = "" if at_minutes else "every minute"
    return every + at_minutes + at_hours + " at seconds " + _marks(seconds, " to ", ", ")
