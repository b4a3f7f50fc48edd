"""How many orders wait for a person, and whether there is room for more."""

from __future__ import annotations

from cuptime.domain.limits import INTERVENTIONS_OPEN_MAX


class PersonQueue:
    """A count of what storage has. What does not fit stays in the delay queue and asks again: nothing is lost."""

    def __init__(self, limit: int = INTERVENTIONS_OPEN_MAX) -> None:
        self.limit = limit
        self.count = 0
        self.put_off = 0
        """How often an order found no room, since the start."""

    def take(self, wanted: int) -> int:
        """How many of so many may be opened; they are counted. Give back what was not committed."""
        taken = max(0, min(wanted, self.limit - self.count))
        self.count += taken
        self.put_off += wanted - taken
        return taken

    def leave(self, count: int) -> None:
        """Resolved, or not opened after all."""
        self.count = max(0, self.count - count)
