# ruff: noqa: E501 - patterns stand one a line, each beside its like
"""English ways of writing one thing, brought to the one that the grammar reads: before any rule is asked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cuptime.schedules.words.english_terms import DAY_WORD, NUM, NUMBERS, ORDINALS, any_of, number, ordinal

_HOUR: Final = any_of(
    [word for word, value in NUMBERS.items() if 1 <= value <= 12 and word not in ("a", "an")]
)
_MINUTE: Final = any_of([word for word, value in NUMBERS.items() if 10 <= value <= 59])
_NTH: Final = rf"(?:{any_of([word for word, value in ORDINALS.items() if 2 <= value <= 12])}|[2-9](?:nd|rd|th)|1[0-2]th)"


def _length(match: re.Match[str]) -> str:
    """ "2 hours and 30 minutes", "1.5 hours", "two and a half hours", "hour and a half", in minutes."""
    hours = number(match["n"]) if match["n"] else 1
    minutes = number(match["m"]) if match["m"] else 30
    return f"{match['every']} {60 * hours + minutes} minutes"


def _nth_unit(match: re.Match[str]) -> str:
    return f"{match['every']} {ordinal(match['n'])} {match['unit']}s"


def _spoken(match: re.Match[str]) -> str:
    return f"{match['at']}{number(match['hour'])}:{number(match['minute']):02}"


_SPELLINGS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), meant)
    for pattern, meant in (
        (r"[()\[\]]", " "),
        (rf"\b({DAY_WORD})/(?={DAY_WORD}\b)", r"\1, "),
        (r"\beveryday\b", "every day"),
        (r"\bmidday\b", "noon"),
        (r"\bonce (?=every\b)", ""),
        (r"\b(every|each) ?(?=\d)", r"\1 "),
        (
            rf"\b(?P<every>every|each)(?: (?P<n>{NUM}))? hours? and (?:a half|(?P<m>{NUM}) min(?:ute)?s?)(?!\w)",
            _length,
        ),
        (rf"\b(?P<every>every|each) (?P<n>{NUM})(?:\.5| and a half)(?P<m>(?!)x)? hours(?!\w)", _length),
        (rf"\b(?P<every>every|each) (?P<n>{_NTH}) (?P<unit>minute|hour|week|month)(?!\w)", _nth_unit),
        (
            rf"\b(?P<at>at |and |, ?)(?P<hour>{_HOUR})[ -](?P<minute>{_MINUTE})(?! (?:minutes|past|to)\b)(?!\w)",
            _spoken,
        ),
        (rf"\bat (five|ten|twenty|twenty[ -]five) to (?=(?:{_HOUR})\b)", r"at \1 minutes to "),
        (r"\b(at )([01]\d|2[0-3])([0-5]\d)(?! ?(?:hours?|minutes?)\b)(?![\w:-])", r"\1\2:\3"),
        (r"\b(\d{1,2})h([0-5]\d)(?!\w)", r"\1:\2"),
        (r"\bat (\d{1,2})h(?!\w)", r"at \1:00"),
    )
)


def plain(text: str) -> str:
    """Small letters, except that `4M` is months; one space between words; one spelling of each thing."""
    text = re.sub(r"(\d+)\s*M\b", r"\1 months", text.strip())
    text = re.sub(r"\s+", " ", text.replace("’", "'")).lower()
    for pattern, meant in _SPELLINGS:
        text = pattern.sub(meant, text)
    return text.strip()
