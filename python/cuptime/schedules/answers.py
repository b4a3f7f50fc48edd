"""What a change answers. The bytes mean something to the API only; here they are kept with the request_id and given
again to every repeat, exactly as they were, also after a restart."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from cuptime.domain.values import Schedule


class Backfill(Struct, frozen=True):
    """What a backfill costs, or did."""

    firings: int
    existing: int
    """Firings of the time that have their task already."""
    first_ms: int
    last_ms: int


class AnswerPort(Protocol):
    """Implemented by the API layer."""

    def packed(self, schedule: Schedule) -> bytes:
        """The answer that shows the schedule like this. Pure."""
        ...

    def backfilled(self, schedule: Schedule, told: Backfill) -> bytes:
        """The answer to a backfill. Pure."""
        ...
