"""How a rule set stands: what was tried from where, when, and what came of it.

Rules come three ways: what storage has at the start, a watched folder, and calls. Each keeps its last attempt and its
last error, since a call that succeeds says nothing about a folder whose content is bad.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.ports import Metrics
from cuptime.rules.diagnostic import Diagnostic, summary


class Origin(StrEnum):
    """The way by which rules came."""

    START = "start"
    FOLDER = "folder"
    CALL = "call"


class Attempt(Struct, frozen=True):
    """The last attempt of one origin. Times are UTC ms; 0: never."""

    origin: Origin
    source: str = ""
    attempted_ms: int = 0
    succeeded_ms: int = 0
    revision: int = 0
    """Made live by the last one that was good."""
    error: str = ""
    """Empty when the last one was good."""
    faults: tuple[Diagnostic, ...] = ()
    rule_count: int = 0
    reused_count: int = 0
    """Conditions taken over from the set before."""
    took_ms: int = 0


class Standing:
    """The attempts by origin, and the gauges that show them."""

    def __init__(self, metrics: Metrics) -> None:
        self._attempts: dict[Origin, Attempt] = {}
        self._metrics = metrics

    def attempts(self) -> list[Attempt]:
        """In the order of origins."""
        return [self._attempts[origin] for origin in Origin if origin in self._attempts]

    def good(self, attempt: Attempt) -> None:
        """One that made its rules live, or found them live already."""
        self._attempts[attempt.origin] = replace(attempt, succeeded_ms=attempt.attempted_ms)
        self._metrics.rules_tried(attempt.origin, True, attempt.revision)

    def bad(
        self, origin: Origin, source: str, now_ms: int, error: str, faults: Sequence[Diagnostic] = ()
    ) -> None:
        """One that replaced nothing; what was good before stays known."""
        known = self._attempts.get(origin, Attempt(origin))
        self._attempts[origin] = replace(
            known, source=source, attempted_ms=now_ms, error=error or summary(faults), faults=tuple(faults)
        )
        self._metrics.rules_tried(origin, False, known.revision)
