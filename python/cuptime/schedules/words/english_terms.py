# ruff: noqa: E501, SIM905 - long patterns, each on its line
"""English numbers, days, months and times of the day, as patterns and what they mean."""

from __future__ import annotations

import re
from typing import Final

from cuptime.schedules.words.draft import Time, WordsError

_UNITS_TO_19: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS: Final = {"twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60}
NUMBERS: Final = (
    {word: value for value, word in enumerate(_UNITS_TO_19)}
    | _TENS
    | {f"{ten}{sign}{_UNITS_TO_19[one]}": value + one for ten, value in _TENS.items() for one in range(1, 10)
       for sign in "- "}
    | {"oh": 0, "a": 1, "an": 1}
)  # fmt: skip
_ORDINALS: Final = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth twentieth"
).split()
ORDINALS: Final = (
    {word: value for value, word in enumerate(_ORDINALS, 1)}
    | {
        "thirtieth": 30,
        "thirty-first": 31,
    }
    | {f"twenty-{word}": 20 + value for value, word in enumerate(_ORDINALS[:9], 1)}
)
_MONTHS: Final = (
    "january february march april may june july august september october november december".split()
)
_DAYS: Final = "sunday monday tuesday wednesday thursday friday saturday".split()


def any_of(words: object) -> str:
    """One of these words, the longest first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))  # type: ignore[call-overload]


NUM = rf"(?:\d+|{any_of(NUMBERS.keys() - {'a', 'an', 'oh'})})"
ORD = rf"(?:\d+(?:st|nd|rd|th)|{any_of(ORDINALS)})"
DAY_WORD = r"(?:sun(?:days?)?|mon(?:days?)?|tue(?:s(?:days?)?)?|wed(?:nesdays?)?|thu(?:r(?:s(?:days?)?)?)?|fri(?:days?)?|sat(?:urdays?)?)"
MONTH_WORD = rf"(?:{any_of([*_MONTHS, *(m[:3] for m in _MONTHS), 'sept'])})"
AND = r"(?:\s*,\s*(?:and|or)\s+(?:the\s+)?|\s*,\s*|\s+(?:and|or|&)\s+(?:the\s+)?)"
TO = r"(?:\s*(?:-|–)\s*|\s+(?:to|through|thru|until|till)\s+(?:the\s+)?)"
SMALL = any_of(NUMBERS.keys() - {"a", "an"})
# Not "ten to five": that is a stretch of the day.
BESIDE: Final = rf"(?:half\s+past|(?:an?\s+)?quarter\s+(?:past|to)|{NUM}\s+(?:minutes\s+(?:past|to)|past))\s+{NUM}(?:\s*(?:am|pm))?"
TIME = (
    rf"(?:{BESIDE}|(?:{SMALL})\s+dark\s+(?:{SMALL})|\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:\s*(?:am|pm|noon|midnight|a\.m\.|p\.m\.))?"
    rf"|(?:\d{{1,2}}|{SMALL})(?:\s*(?:am|pm|a\.m\.|p\.m\.|noon|midnight|o'clock)(?:\s*(?:am|pm))?)?"
    r"|noon|midnight)"
    r"(?![\w/])"
)
PART: Final = r"(?:mornings?|afternoons?|evenings?|nights?)"
CLEAR_TIME = (
    rf"(?:{BESIDE}|\d{{1,2}}:\d{{2}}(?::\d{{2}})?(?:\s*(?:am|pm|noon|midnight))?|(?:\d{{1,2}}|{SMALL})\s*(?:am|pm|noon|midnight|o'clock)|noon|midnight)"
    r"(?![\w/])"
)


def number(word: str) -> int:
    """A number in digits or letters."""
    return int(word) if word.isdecimal() else NUMBERS[word]


def ordinal(word: str) -> int:
    """`2nd` or `second`."""
    digits = re.match(r"\d+", word)
    return int(digits[0]) if digits else ORDINALS[word]


def weekday(word: str) -> int:
    """0 is Sunday."""
    return next(value for value, name in enumerate(_DAYS) if name.startswith(word[:3]))


def month(word: str) -> int:
    """1 is January."""
    return next(value for value, name in enumerate(_MONTHS, 1) if name.startswith(word[:3]))


def clock(text: str) -> Time:
    """A time of the day. Raises WordsError."""
    text = re.sub(r"^an?\s+", "", text.replace(".", "").strip())
    if text in ("noon", "midnight"):
        return (12 if text == "noon" else 0, 0, 0)
    dark = re.fullmatch(rf"({SMALL})\s+dark\s+({SMALL})", text)
    if dark:
        return _checked(number(dark[1]), number(dark[2]), 0, text)
    past = re.fullmatch(rf"(half|quarter)\s+(past|to)\s+({NUM})\s*(am|pm)?", text)
    if past:
        hour = _half_day(number(past[3]), past[4] or "", text)
        if past[2] == "to":
            return _checked((hour - 1) % 24, 45, 0, text)
        return _checked(hour, 30 if past[1] == "half" else 15, 0, text)
    beside = re.fullmatch(rf"({NUM})\s+(?:minutes\s+)?(past|to)\s+({NUM})\s*(am|pm)?", text)
    if beside:
        hour, minute = _half_day(number(beside[3]), beside[4] or "", text), number(beside[1])
        if not 1 <= minute <= 59:
            raise WordsError(f"{text!r} is no time of the day", "")
        return (
            _checked((hour - 1) % 24, 60 - minute, 0, text)
            if beside[2] == "to"
            else _checked(hour, minute, 0, text)
        )
    plain = re.fullmatch(
        rf"(\d+|{SMALL})(?::(\d+))?(?::(\d+))?\s*(?:o'clock\s*)?(am|pm|noon|midnight|o'clock)?", text
    )
    if plain is None:
        raise WordsError(f"{text!r} is no time", "")
    hour = _half_day(number(plain[1]), plain[4] or "", text)
    return _checked(hour, int(plain[2] or 0), int(plain[3] or 0), text)


def _half_day(hour: int, half: str, text: str) -> int:
    if half in ("am", "pm") and not 1 <= hour <= 12:
        raise WordsError(f"{text!r} is no time of a half day", "")
    if half in ("am", "midnight"):
        return hour % 12
    return hour % 12 + 12 if half in ("pm", "noon") else hour


def _checked(hour: int, minute: int, second: int, text: str) -> Time:
    if hour > 24 or minute > 59 or second > 59 or (hour == 24 and (minute or second)):
        raise WordsError(f"{text!r} is no time of the day", "")
    return hour % 24, minute, second
