"""Reads a text by rules: at each place the longest match of any rule wins, and every character must be used.

A text may hold several clauses, each with days and times of its own: "mon-thu at 9am, fri at 8am". What leads the
first clause, days or times, begins the next one when both were said before. A clause that would lack the other belongs
to the one before it: "at 9am on mondays and 10am".
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from cuptime.schedules.words.draft import Draft, WordsError

TEXT_CHARS_MAX: Final = 600

Act = Callable[[Draft, re.Match[str]], None]
Rule = tuple[re.Pattern[str], Act]
Found = tuple[Act, re.Match[str]]


class NotUnderstoodError(WordsError):
    """No rule reads on at a place; `at` is where, in characters of the text as it was read."""

    def __init__(self, text: str, at: int) -> None:
        super().__init__(f"{text[at : at + 24]!r} at character {at + 1} is not understood", "")
        self.at = at


def scan(text: str, rules: Sequence[Rule], skipped: re.Pattern[str]) -> list[Draft]:
    """Drafts, one for each clause. Raises WordsError naming what is not understood."""
    found = list(_matches(text, rules, skipped))
    if not found:
        raise WordsError("there are no words", "")
    drafts: list[Draft] = []
    for clause in _clauses(found):
        draft = Draft()
        for act, match in clause:
            act(draft, match)
        if drafts:
            draft.months, draft.years = draft.months or drafts[0].months, draft.years or drafts[0].years
        drafts.append(draft)
    zones = {draft.zone for draft in drafts if draft.zone}
    for draft in drafts if len(zones) == 1 else []:
        draft.zone = next(iter(zones))
    return drafts


def _matches(text: str, rules: Sequence[Rule], skipped: re.Pattern[str]) -> Iterator[Found]:
    at = 0
    while at < len(text):
        blank = skipped.match(text, at)
        if blank and blank.end() > at:
            at = blank.end()
            continue
        best: tuple[re.Match[str], Act] | None = None
        for pattern, act in rules:
            match = pattern.match(text, at)
            if match and match.end() > at and (best is None or match.end() > best[0].end()):
                best = match, act
        if best is None:
            raise NotUnderstoodError(text, at)
        yield best[1], best[0]
        at = best[0].end()


def _kind(found: Found) -> str:
    """`days`, `times`, `daily` or "": what a match says, by what it makes of an empty draft."""
    draft = Draft()
    with contextlib.suppress(WordsError):
        found[0](draft, found[1])
    if draft.weekdays or draft.days or draft.dates or draft.nth or draft.days_are:
        return "days"
    if draft.times or draft.windows or draft.minutes or draft.hours:
        return "times"
    if draft.step is None:
        return ""
    return {"s": "times", "m": "times", "h": "times", "d": "daily"}.get(draft.step[1], "")


def _several_times(clause: Sequence[Found]) -> bool:
    """ "On weekdays at 9am and at 5pm on fridays": are both times of both?"""
    draft = Draft()
    for act, match in clause:
        act(draft, match)
    return len(draft.times) > 1


def _one_kind_of_days(kinds: Sequence[str]) -> None:
    """ "Every day at 9, weekends at 10": are weekends left out of every day or not?"""
    said = [kind for kind in kinds if kind]
    after = said[said.index("times") :] if "times" in said else []
    if "days" in after and "times" in after[after.index("days") :]:
        raise WordsError("every day, and then single days with times of their own: write ; between them", "")


def _clauses(found: Sequence[Found]) -> list[list[Found]]:
    kinds = [_kind(one) for one in found]
    leads = next((kind for kind in kinds if kind), "")
    if leads == "daily":
        _one_kind_of_days(kinds)
    leads = "days" if leads == "daily" else leads
    clauses: list[list[Found]] = [[]]
    have: list[set[str]] = [set()]
    for one, kind in zip(found, kinds, strict=True):
        if kind == leads and leads and {"days", "times"} <= have[-1]:
            clauses.append([])
            have.append(set())
        clauses[-1].append(one)
        have[-1].add(kind)
    whole = [clauses[0]]
    for clause, kinds_of in zip(clauses[1:], have[1:], strict=True):
        if {"days", "times"} <= kinds_of:
            whole.append(clause)
        else:
            if leads == "days" and _several_times(whole[-1]):
                raise WordsError("which days have which times? write ; between them", "")
            whole[-1] += clause
    return whole
