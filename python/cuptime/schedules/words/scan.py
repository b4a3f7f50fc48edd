"""Reads a text by rules: at each place the longest match of any rule wins, and every character must be used."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from typing import Final

from cuptime.schedules.words.draft import Draft, WordsError

TEXT_CHARS_MAX: Final = 600

Act = Callable[[Draft, re.Match[str]], None]
Rule = tuple[re.Pattern[str], Act]


def scan(text: str, rules: Sequence[Rule], skipped: re.Pattern[str]) -> Draft:
    """Fills a draft. Raises WordsError naming what is not understood."""
    draft = Draft()
    at = used = 0
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
            raise WordsError(f"{text[at : at + 24]!r} at character {at + 1} is not understood", "")
        best[1](draft, best[0])
        at = best[0].end()
        used += 1
    if not used:
        raise WordsError("there are no words", "")
    return draft


def nearest(text: str, examples: Sequence[str]) -> str:
    """The example that looks most like it, "" when none does."""
    found = difflib.get_close_matches(text, examples, 1, 0.3)
    return found[0] if found else ""
