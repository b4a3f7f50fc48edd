"""What is wrong in a rule file, said so that a person can mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct

DIAGNOSTICS_MAX: Final = 100
"""Faults reported for one rule set; the rest is counted only."""

CODES: Final = frozenset(
    {
        "LIMIT_BYTES",
        "LIMIT_DEPTH",
        "LIMIT_NODES",
        "LIMIT_RULES",
        "LIMIT_CONDITION",
        "NOT_UTF8",
        "YAML_SYNTAX",
        "YAML_ALIAS",
        "YAML_TAG",
        "YAML_DOCUMENTS",
        "DUPLICATE_KEY",
        "DUPLICATE_RULE",
        "DUPLICATE_VARIABLE",
        "BAD_VARIABLE",
        "CONTRADICTION",
        "UNKNOWN_KEY",
        "MISSING_KEY",
        "BAD_VALUE",
        "BAD_VALIDITY",
        "UNKNOWN_ACTION",
        "BAD_ACTION",
        "TEST_FAILED",
        "NEVER_TRUE",
        "ALWAYS_FAULT",
        "ALWAYS_TRUE",
        "DUPLICATE",
        "SHADOWED",
        "UNUSED_VARIABLE",
        "BAD_PAIR",
    }
)
"""The codes of faults in the YAML itself; those of conditions are the core's own, in capitals."""


_UNSEEN: Final = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x2028,
        0x2029,
        *range(0x202A, 0x202F),
        *range(0x2066, 0x206A),
    )
}
"""Of a file that is checked: what ends a line, moves the cursor, or turns the direction of a terminal."""


class Diagnostic(Struct, frozen=True):
    """One fault. Line and column count from 1, columns in code points; `rule` is its id when known."""

    code: str
    file: str
    line: int
    column: int
    rule: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return self.told({})

    def told(self, meanings: Mapping[str, str]) -> str:
        """One line; the meaning of its code, where `meanings` has one, in front of the details."""
        place = f"{self.file or 'rules'}:{self.line}:{self.column}"
        subject = f" [{self.rule}]" if self.rule else ""
        hint = f" ({self.hint})" if self.hint else ""
        meaning = f" {meanings[self.code]}:" if self.code in meanings else ""
        return f"{place}: {self.code}{subject}:{meaning} {self.message}{hint}".translate(_UNSEEN)


def suggestion(name: str, known: Iterable[str]) -> str:
    """«did you mean …?» for a slip of the fingers, else what there is."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean `{close[0]}`?" if close else "known: " + ", ".join(names)


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """The first fault and how many more there are, for one-line messages."""
    if not diagnostics:
        return ""
    more = f" (and {len(diagnostics) - 1} more)" if len(diagnostics) > 1 else ""
    return f"{diagnostics[0]}{more}"
