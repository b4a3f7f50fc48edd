# ruff: noqa: E501, SIM905 - rules stand one a line, each beside its like
"""English: a closed grammar, no guessing. "every wednesday 10:00", "first monday of the month at 9am"."""

from __future__ import annotations

import re
from typing import Final

from cuptime.schedules.words.draft import Draft, WordsError
from cuptime.schedules.words.english_spelling import plain
from cuptime.schedules.words.english_terms import (
    AND,
    CLEAR_TIME,
    DAY_WORD,
    MONTH_WORD,
    NUM,
    ORD,
    PART,
    TIME,
    TO,
    any_of,
    clock,
    month,
    number,
    ordinal,
    weekday,
)
from cuptime.schedules.words.names import CITIES_EN, DAYS_EN
from cuptime.schedules.words.scan import Rule
from cuptime.schedules.zone_files import nearest_zone, zone_names

__all__ = ["EXAMPLES", "RULES", "SKIPPED", "plain"]


def _all(pattern: str, text: str) -> list[str]:
    return re.findall(pattern, text)


# --- what each rule does ----------------------------------------------------------------------------------------------
_UNIT: Final = {"s": "s", "sec": "s", "second": "s", "m": "m", "min": "m", "minute": "m", "h": "h", "hr": "h",
                "hour": "h", "d": "d", "day": "d", "w": "w", "week": "w", "month": "mo", "quarter": "q", "y": "y",
                "year": "y"}  # fmt: skip


def _step(draft: Draft, match: re.Match[str]) -> None:
    count, unit = match["n"], match["unit"]
    unit = _UNIT[unit if unit in _UNIT else unit.rstrip("s")]
    value = 2 if count == "other" else number(count) if count else 1
    if value < 1:
        raise WordsError("an interval of zero", "")
    if unit == "w" and value == 1 and draft.weekdays:
        return
    if unit == "d" and value > 1 and count != "other":
        # As cron has it: the days 1, 1 + n, … of each month.
        draft.days.append(f"*/{value}" if value <= 31 else "")
        return
    _set_step(draft, value, unit)


def _set_step(draft: Draft, value: int, unit: str) -> None:
    if draft.step is not None and draft.step != (value, unit):
        # "every day every 5 minutes": the finer one is the step.
        order = "s m h d w mo q hy y".split()
        if draft.step[0] != 1 and value != 1:
            raise WordsError("two intervals", "")
        finer = min((draft.step, (value, unit)), key=lambda step: order.index(step[1]))
        draft.step = finer
        return
    draft.step = (value, unit)


def _named_step(draft: Draft, match: re.Match[str]) -> None:
    units = {"hourly": "h", "daily": "d", "weekly": "w", "monthly": "mo", "quarterly": "q", "yearly": "y",
             "annually": "y", "nightly": "d"}  # fmt: skip
    _set_step(draft, 1, units[match[0].split()[-1]])


def _half_hour(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 15 if "quarter" in match[0] else 30, "m")


def _weekdays(draft: Draft, match: re.Match[str]) -> None:
    _named_weekdays(draft, match["days"])
    if match["other"]:
        draft.step = (2, "w")


def _named_weekdays(draft: Draft, text: str) -> None:
    for first, last in re.findall(rf"({DAY_WORD})(?:{TO}({DAY_WORD}))?", text):
        low = weekday(first)
        high = weekday(last) if last else low
        span = range(low, high + 1) if low <= high else [*range(low, 7), *range(high + 1)]
        draft.weekdays |= set(span)


def _workdays(draft: Draft, match: re.Match[str]) -> None:
    if "legal" in match[0] or "chinese" in match[0]:
        draft.days_are = "workday"
    else:
        draft.weekdays |= {1, 2, 3, 4, 5}


def _weekend(draft: Draft, match: re.Match[str]) -> None:
    draft.weekdays |= {0, 6}


def _holidays(draft: Draft, match: re.Match[str]) -> None:
    draft.days_are = "holiday" if "holiday" in match[0] else "restday"


def _at(draft: Draft, match: re.Match[str]) -> None:
    draft.times += [clock(time) for time in _all(TIME, match["times"])]


def _at_part(draft: Draft, match: re.Match[str]) -> None:
    """The part of the day says which half the hours are of: "every evening at 6"."""
    part = (match["part"] or "night").rstrip("s")
    for text in _all(TIME, match["times"]):
        hour, minute, second = clock(text)
        if re.search(r"[ap]\.?m|noon|midnight", text) is None and 1 <= hour <= 12:
            small = hour == 12 or (part == "night" and hour < 6)
            hour = hour % 12 if part == "morning" or (small and part != "afternoon") else hour % 12 + 12
        low, high = {"morning": (0, 12), "afternoon": (12, 19), "evening": (16, 24), "night": (0, 24)}[part]
        if not low <= hour < high:
            raise WordsError(f"{text!r} is not in the {part}", "")
        draft.times.append((hour, minute, second))


def _window(draft: Draft, match: re.Match[str]) -> None:
    start, end = clock(match["a"]), clock(match["b"])
    bare = [
        re.fullmatch(r"\d+|[a-z]+", text.strip()) and text not in ("noon", "midnight")
        for text in match.group("a", "b")
    ]
    clear = re.search(r"am|a\.m", match["a"])
    if end <= start and start[0] <= 12 and (all(bare) or (bare[1] and clear)):
        raise WordsError(
            "9 to 5 may be two stretches of the day: write am and pm", "every 30 minutes from 9am to 9pm"
        )
    draft.windows.append((start, end))
    draft.window_is_hourly = True


def _except(draft: Draft, match: re.Match[str]) -> None:
    if match["what"]:
        if draft.days_are:
            raise WordsError("one kind of days", "")
        draft.days_are = "not_holiday"
        return
    kinds: dict[str, set[int]] = {"weekend": {0, 6}, "weekday": {1, 2, 3, 4, 5}}
    named = Draft(weekdays=set(kinds.get((match["kind"] or "").rstrip("s"), ())))
    if match["days"]:
        _named_weekdays(named, match["days"])
    draft.not_weekdays |= named.weekdays


def _past_hour(draft: Draft, match: re.Match[str]) -> None:
    draft.minutes.append(30 if match["part"] == "half" else 15)
    _set_step(draft, 1, "h")


def _once(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 1, _UNIT[match["unit"]])


def _fortnight(draft: Draft, match: re.Match[str]) -> None:
    _set_step(draft, 2, "w")


def _named_day(draft: Draft, match: re.Match[str]) -> None:
    in_month, of_month = DAYS_EN[match["name"]]
    draft.dates.append((in_month, str(of_month)))


def _month_edge(draft: Draft, match: re.Match[str]) -> None:
    last = match["edge"] == "end"
    if match["unit"] == "quarter":
        draft.whole_quarters = "last" if last else "first"
    else:
        draft.days.append("L" if last else "1")


def _city(draft: Draft, match: re.Match[str]) -> None:
    draft.zone = CITIES_EN[match["city"] or match["city2"]]


def _minutes(draft: Draft, match: re.Match[str]) -> None:
    draft.minutes += _marked(match["marks"], 59)


def _seconds(draft: Draft, match: re.Match[str]) -> None:
    draft.seconds += _marked(match["marks"], 59)


def _marked(text: str, highest: int) -> list[int]:
    """`1, 5 to 9`."""
    found: list[int] = []
    for first, last in re.findall(rf"({NUM})(?:{TO}({NUM}))?", text):
        low, high = number(first), number(last or first)
        if not low <= high <= highest:
            raise WordsError(f"{text!r} is not in order and up to {highest}", "")
        found += range(low, high + 1)
    return found


def _on_the(draft: Draft, match: re.Match[str]) -> None:
    if match["what"] == "minute":
        draft.every_minute_of_window = True
    elif draft.step is None or draft.step[1] not in ("h", "m", "s"):
        draft.step = (1, "h")


def _since(draft: Draft, match: re.Match[str]) -> None:
    unit = _UNIT[match["unit"]]
    value = number(match["n"])
    if value > {"s": 59, "m": 59, "h": 23, "d": 31, "mo": 12}[unit] or (unit in ("d", "mo") and value < 1):
        raise WordsError(f"{value} is out of bounds", "")
    draft.since = (value, unit)


def _month_days(draft: Draft, match: re.Match[str]) -> None:
    for first, last in re.findall(rf"({ORD}|last|\d+)(?:\s+day)?(?:{TO}({ORD}|last|\d+))?", match["marks"]):
        if first == "last":
            draft.days.append("L")
            continue
        low = _day(first)
        if not last:
            draft.days.append(str(low))
        elif last == "last":
            draft.days.append(f"{low}-L")
        else:
            draft.days.append(f"{low}-{_day(last)}")


def _day(word: str) -> int:
    value = int(word) if word.isdecimal() else ordinal(word)
    if not 1 <= value <= 31:
        raise WordsError(f"{word} is no day of a month", "")
    return value


def _before_last(draft: Draft, match: re.Match[str]) -> None:
    if match["n"]:
        draft.days.append(f"L-{min(30, number(match['n']))}")
    else:
        draft.days.append(f"L-{ordinal(match['th']) - 1}")


def _nth(draft: Draft, match: re.Match[str]) -> None:
    if re.match(rf"(every|each)\s+(?!first|1st){ORD}\s", match[0]) and "month" not in match[0]:
        raise WordsError(
            f"{match[0]!r} is every so many weeks or one of each month: say which",
            "every other wednesday at 10:00",
        )
    for which in re.findall(rf"{ORD}|last", match["which"]):
        for day in _all(DAY_WORD, match["days"]):
            if which == "last":
                draft.nth.append(f"{weekday(day)}L")
            elif ordinal(which) > 5:
                raise WordsError("a month has at most five weekdays of a kind", "")
            else:
                draft.nth.append(f"{weekday(day)}#{ordinal(which)}")


def _nth_workday(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("LW" if match["which"] == "last" else "1W")
    if match["quarter"]:
        draft.whole_quarters = match["which"]


def _nearest_workday(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("LW" if "last" in match["day"] else f"{_day(match['day'])}W")


def _nearest_before_last(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append(f"L-{min(30, number(match['before']))}W")


def _interval(draft: Draft, match: re.Match[str]) -> None:
    draft.interval = match["interval"]


def _months(draft: Draft, match: re.Match[str]) -> None:
    _months_of(draft, match["months"])


def _months_of(draft: Draft, text: str) -> None:
    for first, last in re.findall(rf"({MONTH_WORD})(?:{TO}({MONTH_WORD}))?", text):
        low = month(first)
        high = month(last) if last else low
        draft.months |= set(range(low, high + 1) if low <= high else [*range(low, 13), *range(1, high + 1)])


def _date(draft: Draft, match: re.Match[str]) -> None:
    day = str(_day(match["day"] or match["day2"]))
    named = Draft()
    _months_of(named, match["month"] or match["month2"])
    draft.dates += [(one, day) for one in sorted(named.months)]


def _quarter_day(draft: Draft, match: re.Match[str]) -> None:
    draft.whole_quarters = match["which"]


def _year_day(draft: Draft, match: re.Match[str]) -> None:
    draft.dates.append((1, "1") if match["which"] in ("first", "beginning", "start") else (12, "31"))


def _zone(draft: Draft, match: re.Match[str]) -> None:
    wanted = match["zone"]
    known = {name.casefold(): name for name in zone_names()}
    draft.zone = known.get(wanted.casefold(), "")
    if not draft.zone:
        meant = nearest_zone(wanted)
        raise WordsError(f"{wanted!r} is not an IANA time zone", meant)


def _nothing(draft: Draft, match: re.Match[str]) -> None:
    """Words that change nothing."""


def _hours(draft: Draft, match: re.Match[str]) -> None:
    draft.hours |= set(_marked(match["marks"], 23))


def _nth_day(draft: Draft, match: re.Match[str]) -> None:
    raise WordsError(
        f"{match[0]!r} is every so many days or one of each month: say which", "every other day at 9:00"
    )


def _counted(draft: Draft, match: re.Match[str]) -> None:
    """ "Three times a day at 8, 12 and 18"."""
    _set_step(draft, 1, "d")
    draft.times_counted = 2 if match["n"] is None else number(match["n"])


def _edge_days(draft: Draft, match: re.Match[str]) -> None:
    """ "The last 3 days of the month"."""
    count = number(match["n"])
    if not 2 <= count <= 28:
        raise WordsError(f"{match[0]!r}: 2 to 28 days", "last day of the month at 18:00")
    draft.days += (
        [f"1-{count}"] if match["which"] == "first" else [f"L-{n}" if n else "L" for n in range(count)]
    )


def _last_but_one(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("L-1")


def _parity(draft: Draft, match: re.Match[str]) -> None:
    draft.days.append("1-31/2" if match["which"].startswith("odd") else "2-30/2")


def _month_of_quarter(draft: Draft, match: re.Match[str]) -> None:
    first = {"first": 1, "1st": 1, "second": 2, "2nd": 2}.get(match["which"], 3)
    draft.months |= set(range(first, 13, 3))


def _from_on(draft: Draft, match: re.Match[str]) -> None:
    draft.starts = clock(match["time"])


def _nth_legal(draft: Draft, match: re.Match[str]) -> None:
    """ "Third legal workday of the month": so many legal work days from an end of the month."""
    from_end = match["which"] == "last" or match["back"] is not None
    count = 1 if match["which"] == "last" else ordinal(match["which"])
    if not 1 <= count <= 15:
        raise WordsError("the first to the fifteenth legal workday of the month", "")
    draft.days.append("L" if from_end else "1")
    draft.roll = ("before", 1 - count) if from_end else ("after", count - 1)


def _half_past(draft: Draft, match: re.Match[str]) -> None:
    draft.minutes.append(30)
    _set_step(draft, 1, "h")


def _either(draft: Draft, match: re.Match[str]) -> None:
    raise WordsError(f"{match[0]!r}: of weekends that are worked too? say rest days", "rest days at 10:00")


def _offset(draft: Draft, match: re.Match[str]) -> None:
    """UTC+8 is the zone Etc/GMT-8: there the sign is turned round."""
    hours = int(match["hours"])
    if hours > (12 if match["sign"] == "-" else 14):
        raise WordsError(f"{match[0]!r} is no time zone", "")
    draft.zone = f"Etc/GMT{'-' if match['sign'] == '+' else '+'}{hours}" if hours else "UTC"


def _both(draft: Draft, match: re.Match[str]) -> None:
    draft.both = True


def _years(draft: Draft, match: re.Match[str]) -> None:
    draft.years |= {int(word) for word in _all(r"\d{4}", match[0])}


_MARKS = rf"(?P<marks>{NUM}(?:{TO}{NUM})?(?:{AND}{NUM}(?:{TO}{NUM})?)*)"
_EVERY = r"(?:every|each)\s+(?:single\s+)?"
_OF = r"(?:\s+(?:of|in)\s+(?:the|each|every|a)\s+month|\s+of\s+month|\s+monthly)"
_DAY_LIST = rf"{DAY_WORD}(?:{TO}{DAY_WORD})?(?:{AND}{DAY_WORD}(?:{TO}{DAY_WORD})?)*"
_MONTH_LIST = rf"{MONTH_WORD}(?:{TO}{MONTH_WORD})?(?:{AND}{MONTH_WORD}(?:{TO}{MONTH_WORD})?)*"
_ORD_LIST = rf"(?:{ORD}|last)(?:\s+day)?(?:{TO}(?:{ORD}|last))?(?:{AND}(?:{ORD}|last)(?:\s+day)?)*"
_END = r"(?![\w])"

RULES: Final[tuple[Rule, ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), act)
    for pattern, act in (
        (rf"{_EVERY}(?:(?P<n>{NUM}|other)\s*)?(?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|w|months?|quarters?|years?|y){_END}", _step),
        (r"(?:(?:hour|dai|week|month|quarter|year|night)ly|annually)(?![\w])", _named_step),
        (rf"{_EVERY}(?:half(?:\s+an)?|quarter(?:\s+of\s+an)?)\s+hour{_END}", _half_hour),
        (rf"(?:(?:every|each|on|from)\s+)?(?P<other>other\s+)?(?P<days>{_DAY_LIST}){_END}", _weekdays),
        (rf"(?:(?:every|each|on|all)\s+)?(?:(?:legal|chinese)\s+)?(?:weekdays?|work(?:ing)?\s?days?|business\s+days?){_END}", _workdays),
        (rf"(?:(?:every|each|on|at|all)\s+)?(?:the\s+)?weekends?{_END}", _weekend),
        (rf"(?:(?:every|each|on|all)\s+)?(?:(?:(?:public|legal)\s+)?holidays?|rest\s?days?|days?\s+off|non[\s-]?work(?:ing)?\s?days?){_END}", _holidays),
        (rf"(?:at|@)\s*(?:the\s+)?(?P<times>{TIME}(?:{AND}(?:at\s+)?{TIME})*)", _at),
        (rf"(?P<times>{CLEAR_TIME}(?:{AND}(?:at\s+)?{TIME})*)", _at),
        (rf"(?:(?:every|each|in\s+the|on)\s+)?(?P<part>{PART})\s+(?:at\s+)?(?P<times>{TIME}(?:{AND}(?:at\s+)?{TIME})*)", _at_part),
        (rf"(?:at\s+)?(?P<times>{TIME}(?:{AND}(?:at\s+)?{TIME})*)\s+(?:in\s+the\s+(?P<part>morning|afternoon|evening)|at\s+night){_END}", _at_part),
        (rf"(?:at\s+)?(?:(?P<part>half|quarter)\s+past)(?:\s+(?:the|each|every))?\s+hour{_END}", _past_hour),
        (rf"(?:at\s+)?{_MARKS}\s+past(?:\s+(?:the|each|every))?(?:\s+hour)?{_END}", _minutes),
        (rf"(?:except|excluding|but\s+not)\s+(?:for\s+)?(?:on\s+)?(?:(?:public\s+|legal\s+)?(?P<what>holidays?)|(?P<kind>weekends?|weekdays?)|(?P<days>{_DAY_LIST})){_END}", _except),
        (rf"once\s+(?:a|an|each|every|per)\s+(?P<unit>minute|hour|day|week|month|quarter|year){_END}", _once),
        (rf"(?:fortnightly|(?:every|each)\s+fortnight){_END}", _fortnight),
        (rf"(?:(?:every|each|on)\s+)?(?P<name>{any_of(DAYS_EN)})(?![\w'])", _named_day),
        (rf"(?:at\s+|on\s+)?(?:the\s+)?(?P<edge>end|beginning|start)\s+of\s+(?:(?:the|each|every)\s+)?(?P<unit>month|quarter){_END}", _month_edge),
        (rf"(?:in\s+(?P<city>{any_of(CITIES_EN)})|(?P<city2>{any_of(CITIES_EN)})\s+time){_END}", _city),
        (rf"(?:from\s+|between\s+)?(?P<a>{TIME})(?:{TO}|\s+and\s+)(?P<b>{TIME})", _window),
        (rf"(?:on|at|past)\s+(?:the\s+)?(?:min(?:ute)?s?)\s+{_MARKS}{_END}", _minutes),
        (rf"(?:at\s+)?{_MARKS}\s+min(?:ute)?s?\s+(?:past|after)(?:\s+(?:the|each|every))?(?:\s+hour)?{_END}", _minutes),
        (rf"(?:on|at)\s+(?:the\s+)?(?:sec(?:ond)?s?)\s+{_MARKS}{_END}", _seconds),
        (rf"(?:at|in|on|of)\s+(?:the\s+)?hours?\s+{_MARKS}{_END}", _hours),
        (rf"on\s+the\s+(?P<what>hour|minute){_END}", _on_the),
        (rf"(?:starting\s+(?:at|from|with)|from)\s+(?P<unit>second|minute|hour|day|month)\s+(?P<n>{NUM}){_END}", _since),
        (rf"(?:(?:every|each|on|all)\s+)?(?:weekends?{AND}(?:on\s+)?(?:public\s+|legal\s+)?holidays?|(?:public\s+|legal\s+)?holidays?{AND}(?:on\s+)?weekends?){_END}", _either),
        (rf"(?:every|each)\s+(?!first|1st){ORD}\s+day{_END}(?!{_OF})", _nth_day),
        (rf"(?:(?:every|each|on|from)\s+)?(?:the\s+)?(?P<marks>{_ORD_LIST})(?:{_OF}|{_END})", _month_days),
        (rf"(?:on\s+)?(?:the\s+)?days?\s+(?P<marks>\d+(?:{TO}\d+)?(?:{AND}\d+)*)(?:{_OF})?{_END}", _month_days),
        (rf"(?:on\s+)?(?:the\s+)?(?P<marks>last)\s+day(?:{_OF})?{_END}", _month_days),
        (rf"(?:(?P<n>{NUM})\s+days?\s+before\s+(?:the\s+)?(?:last\s+day|end)|(?:the\s+)?(?P<th>{ORD})[\s-]+(?:to\s+)?last\s+day)(?:{_OF})?{_END}", _before_last),
        (rf"(?:(?:every|each|on)\s+)?(?:the\s+)?(?P<which>(?:{ORD}|last)(?:{AND}(?:{ORD}|last))*)\s+(?P<days>{DAY_WORD}(?:{AND}{DAY_WORD})*)(?:{_OF}|{_END})", _nth),
        (rf"(?:on\s+)?(?:the\s+)?(?P<which>first|last)\s+(?:weekday|work(?:ing)?\s?day|business\s+day)(?:{_OF}|\s+of\s+(?:the|each|every)\s+(?P<quarter>quarter)|{_END})", _nth_workday),
        (rf"(?:on\s+)?(?:the\s+)?(?:weekday|work(?:ing)?\s?day|business\s+day)\s+nearest\s+(?:to\s+)?(?:the\s+)?(?P<day>{ORD}|last\s+day)(?:{_OF})?{_END}", _nearest_workday),
        (rf"(?:on\s+)?(?:the\s+)?weekday\s+nearest\s+(?P<day>(?!))?(?P<before>{NUM})\s+days?\s+before\s+the\s+last\s+day(?:{_OF})?{_END}", _nearest_before_last),
        (r"interval\s+(?P<interval>[0-9a-z]+(?:\s+from\s+\d{4}-\d\d-\d\d\s+\d\d:\d\d(?::\d\d)?)?)", _interval),
        (rf"(?:in|of|every|each|during|from)\s+(?P<months>{_MONTH_LIST}){_END}", _months),
        (rf"(?:(?:every|each|on)\s+)?(?:(?P<month>{MONTH_WORD})\s+(?:the\s+)?(?P<day>{ORD}|\d{{1,2}}(?!:|\s*[ap]m))|(?:the\s+)?(?P<day2>{ORD}|\d{{1,2}})\s+(?:of\s+)?(?P<month2>{_MONTH_LIST})){_END}", _date),
        (rf"(?:on\s+)?(?:the\s+)?(?P<which>first|last)\s+day\s+of\s+(?:the|each|every|a)\s+quarter{_END}", _quarter_day),
        (rf"(?:on\s+)?(?:the\s+)?(?P<which>first|last)\s+day\s+of\s+(?:the|each|every|a)\s+year{_END}", _year_day),
        (r"(?:in\s+|on\s+|at\s+)?(?:the\s+)?(?P<zone>[a-z]+/[\w+/-]+|utc|gmt)(?:\s+time)?(?![\w/])", _zone),
        (r"in\s+(?:the\s+year\s+)?(?:(?:19[7-9]|20|21)\d\d)(?:\s*(?:,|and)\s*(?:19[7-9]|20|21)\d\d)*(?!\w)", _years),
        (r"(?:and\s+only\s+if\s+it\s+is|and\s+also|if\s+it\s+is)(?!\w)", _both),
        (rf"(?:twice|(?P<n>{NUM})\s+times)\s+(?:a|each|every|per)\s+day{_END}", _counted),
        (rf"(?:on\s+|for\s+)?(?:the\s+)?(?P<which>first|last)\s+(?P<n>{NUM})\s+days{_OF}{_END}", _edge_days),
        (rf"(?:on\s+)?(?:the\s+)?(?:penultimate\s+day|day\s+before\s+(?:the\s+)?last(?:\s+day)?){_OF}{_END}", _last_but_one),
        (rf"(?:on\s+)?(?P<which>odd|even)(?:-numbered|\s+numbered)?\s+days(?:{_OF})?{_END}", _parity),
        (rf"(?:in\s+|of\s+)?(?:the\s+)?(?P<which>first|second|third|1st|2nd|3rd|last)\s+month\s+of\s+(?:the|each|every|a)\s+quarter{_END}", _month_of_quarter),
        (rf"(?:starting|beginning)\s+(?:at|from)\s+(?P<time>{TIME})", _from_on),
        (rf"(?:on\s+)?(?:the\s+)?(?P<which>{ORD}|last)(?P<back>\s+(?:to\s+)?last)?\s+(?:legal|chinese)\s+(?:weekday|work(?:ing)?\s?day){_OF}{_END}", _nth_legal),
        (r"(?:at|on)\s+the\s+half[\s-]+hour(?!\w)", _half_past),
        (r"(?:at\s+)?(?:the\s+)?top\s+of\s+(?:the|each|every)\s+hour(?!\w)", lambda draft, match: _set_step(draft, 1, "h")),
        (r"(?:at\s+)?:(?P<marks>[0-5]\d)(?![\d:])", _minutes),
        (r"(?:at\s+|on\s+)?(?:the\s+)?(?P<which>end|beginning|start)\s+of\s+(?:(?:the|each|every)\s+)?year(?!\w)", _year_day),
        (r"(?:in\s+)?(?:utc|gmt)(?P<sign>[+-])(?P<hours>\d{1,2})(?![\w:])", _offset),
        (r"(?:only|remind\s+me|schedule(?:\s+it)?(?:\s+for)?|exactly|all\s+day(?:\s+long)?)(?!\w)", _nothing),
        (r"(?:run|please|and|or|the|on|of|in|time|start|fire|trigger|the\s+day)(?!\w)", _nothing),
    )
)  # fmt: skip
SKIPPED: Final = re.compile(r"[\s,;.]+")

EXAMPLES: Final = (
    "every day at 9am; weekends at 10am",
    "twice a day at 9am and 5pm",
    "third legal workday of the month at 9am",
    "every year on january 1 and july 1",
    "every wednesday at 10:00",
    "every weekday at 9am",
    "every day at 18:00 and 20:30",
    "every 5 minutes",
    "every 30 minutes from 9am to 9pm",
    "every hour at minute 15",
    "every month on the 1st and 15th at 8am",
    "last day of the month at 18:00",
    "first monday of the month at 9:00",
    "last friday of the month at 17:30",
    "every other wednesday at 10:00",
    "first day of every quarter at 8:00",
    "every january 1st at 00:00",
    "last weekday of the month at 18:00",
    "every weekend at 10:00",
    "every 2 hours",
    "every day at noon in Asia/Shanghai",
)
