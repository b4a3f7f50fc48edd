"""Chinese numbers, weekdays and times of the day, as patterns and what they mean."""

from __future__ import annotations

import re
from typing import Final

from cuptime.schedules.words.draft import Time, WordsError

_DIGITS: Final = {
    "零": 0,
    "〇": 0,
    "一": 1,
    "二": 2,
    "两": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "七": 7,
    "八": 8,
    "九": 9,
}
NUM = r"(?:\d+|[零〇一二两三四五六七八九十百]+)"
# What follows belongs to another time: 10点14点 is two of them, not fourteen minutes past ten.
ALONE = r"(?![点时:\d零〇一二两三四五六七八九十百])"
AND = r"(?:\s*(?:、|,|和|与|及|以及|跟|或者?|还有)\s*)"
TO = r"\s*(?:到|至|-|~|—|–)\s*"
WEEK = r"(?:周|星期|礼拜)"
# Digits only where nothing makes them a time, a date or a count: 每周1、3、5.
WD = r"(?:[一二三四五六日天]|[1-7](?![\d次点时:月号日]|[到至-]\d+[点时:]))"
PERIOD = r"(?:凌晨|清晨|早上|早晨|早|上午|中午|下午|午后|傍晚|晚上|晚间|晚|夜里|夜间|深夜|半夜|今晚)"
TIME = (
    rf"(?:{PERIOD}?(?:的)?\s*(?:\d{{1,2}}:\d{{2}}(?::\d{{2}})?|{NUM}(?:点|时)(?:钟)?(?:整(?!点)|半|[一三]刻|{NUM}{ALONE}分?(?:{NUM}秒)?|过{NUM}分)?)"
    r"|(?:正午|午夜)(?:十二点|12点|12:00)?|中午(?!\d|[一二两三十]+点)|零点|半夜(?!\d|[一二两三十]+点))"
)


def number(text: str) -> int:
    """A number below 1,000 in digits or characters."""
    if text.isdecimal():
        return int(text)
    total = digit = 0
    for char in text:
        if char == "十":
            total += (digit or (0 if total and total % 100 else 1)) * 10
            digit = 0
        elif char == "百":
            total, digit = total + (digit or 1) * 100, 0
        else:
            digit = digit * 10 + _DIGITS[char]
    return total + digit


def weekday(char: str) -> int:
    """0 is Sunday."""
    return 0 if char in "日天" else int(char) % 7 if char.isdecimal() else _DIGITS[char]


def clock(text: str) -> Time:
    """A time of the day. Raises WordsError."""
    text = re.sub(r"[\s的]", "", text)
    if text.startswith("正午") or text == "中午":
        return 12, 0, 0
    if text.startswith("午夜") or text in ("零点", "半夜"):
        return 0, 0, 0
    match = re.fullmatch(
        rf"({PERIOD})?(?:(\d+):(\d+)(?::(\d+))?|({NUM})[点时]钟?(整|半|[一三]刻)?(?:过?({NUM})分?)?(?:({NUM})秒)?)",
        text,
    )
    if match is None:
        raise WordsError(f"「{text}」不是时间", "")
    hour = number(match[2] or match[5])
    minute = {"半": 30, "一刻": 15, "三刻": 45}.get(match[6] or "", 0) + number(match[3] or match[7] or "0")
    second = number(match[4] or match[8] or "0")
    hour = _by_period(hour, match[1] or "", text)
    if hour > 24 or minute > 59 or second > 59 or (hour == 24 and minute):
        raise WordsError(f"「{text}」不是一天里的时间", "")
    return hour % 24, minute, second


def _by_period(hour: int, period: str, text: str) -> int:
    if not period:
        return hour
    if period in ("凌晨", "清晨", "早上", "早晨", "早", "上午"):
        if hour > 12:
            raise WordsError(f"「{text}」自相矛盾", "")
        return 0 if hour == 12 and period == "凌晨" else hour
    if period == "中午":
        return hour + 12 if hour in (1, 2) else hour
    if period in ("下午", "午后", "傍晚"):
        return hour + 12 if 1 <= hour <= 11 else hour
    # Evening and night: 12 is midnight, the small hours stay.
    if hour == 12:
        return 0
    night = period in ("夜里", "夜间", "深夜", "半夜")
    if hour == 4 and not night:
        raise WordsError(f"「{text}」是凌晨还是下午？", f"凌晨{text.removeprefix(period)}")
    small = hour <= (5 if night else 3)
    return hour if small or hour > 12 else hour + 12 if hour else 0


def expand(low: int, high: int, first: int, last: int) -> list[int]:
    """From low to high; round the end when high is before low."""
    return list(range(low, high + 1)) if low <= high else [*range(low, last + 1), *range(first, high + 1)]


def inherited(texts: list[str]) -> list[Time]:
    """「下午2点、4点」: the second is in the afternoon too."""
    period, found = "", []
    for text in texts:
        own = re.match(PERIOD, text)
        period = own[0] if own else period
        hour = re.match(rf"(?:({NUM})[点时]|([1-9]\d?):)", text)
        early = own is None and period in ("下午", "午后", "傍晚", "晚上", "晚间", "晚") and hour is not None
        if early and hour is not None and number(hour[1] or hour[2]) <= 11:
            text = period + text
        found.append(clock(text))
    return found
