"""One node alone: it always leads, and storage counts its epoch up at every start.

Two processes on one database are kept apart by storage (it locks its folder) and, should that fail, by the epoch: the
second start raises it, and every later write of the first is refused.
"""

from __future__ import annotations


class SingleNode:
    """Implements :class:`cuptime.domain.ports.Coordination`."""

    async def open(self) -> None:
        """Nothing to connect to."""

    async def close(self) -> None:
        """Nothing to give back."""

    async def lead(self, shard_id: int) -> int | None:
        return None

    def trusted(self) -> bool:
        return True
