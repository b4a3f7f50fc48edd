"""Decisions for watchers: from storage until they have caught up, then as they become durable; nothing is skipped.

The order is that of the sequence numbers, which storage gives in the order of commit. What was just published is held
in a short ring; a watcher whose next number is in it reads memory, any other reads storage. So a slow watcher costs no
memory, and a publication that comes out of turn, or not at all, is still seen: as a gap before the next one, which
sends the watcher to storage.

Retention takes old decisions out. A watcher whose number is older hears that it cannot be told what followed; one who
begins at 0 begins with what is kept.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from typing import Final

from cuptime.dispatch.ports import DecisionColumns
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WATCH_QUEUE_MAX, WATCHERS_MAX
from cuptime.domain.ports import Storage
from cuptime.domain.values import DecisionRow, group_seq_of

ROWS_PER_MESSAGE_MAX: Final = 1_000
FROM_NOW_ON: Final = -1


class DecisionFeed:
    """All watchers of decisions."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._ring: list[tuple[int, Sequence[DecisionColumns]]] = []
        """(first sequence, rows), by sequence; at most WATCH_QUEUE_MAX publications."""
        self._watchers: set[asyncio.Event] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._watchers)

    def publish(self, first_sequence: int, rows: Sequence[DecisionColumns]) -> None:
        """Rows that are durable, numbered from `first_sequence` on. Costs nothing when nobody watches."""
        if not self._watchers or not rows:
            return
        at = bisect_right(self._ring, first_sequence, key=lambda published: published[0])
        self._ring.insert(at, (first_sequence, rows))
        if len(self._ring) > WATCH_QUEUE_MAX:
            del self._ring[0]
        for wake in self._watchers:
            wake.set()

    def stop(self) -> None:
        """Ends every watch: the server stops."""
        self._stopped = True
        for wake in self._watchers:
            wake.set()

    async def watch(
        self, after_sequence: int, group_seq: int | None = None
    ) -> AsyncIterator[list[DecisionRow]]:
        """Decisions after a sequence number (0 all that are kept, -1 from now on), of one group when given. Close the
        iterator when the caller goes. Raises LIMIT_REACHED for one watcher too many, DECISIONS_REMOVED when retention
        took out what follows the number, DRAINING when the server stops."""
        if len(self._watchers) >= WATCHERS_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many watchers", metadata={"limit": str(WATCHERS_MAX)}
            )
        wake = asyncio.Event()
        self._watchers.add(wake)
        try:
            last = after_sequence
            if last == FROM_NOW_ON:
                last = (await self._storage.sequences()).decision
            # Who begins at the beginning is told what is there; a group that is there has all its decisions.
            may_miss = after_sequence != 0 and group_seq is None
            caught_up = False
            while True:
                wake.clear()
                rows = self._from_ring(last)
                whole = bool(rows)
                if not rows and (not caught_up or self._newest() > last):
                    rows = await self._storage.decisions(
                        after=last, limit=ROWS_PER_MESSAGE_MAX, group_seq=group_seq
                    )
                    caught_up = not rows
                    # After the read: what it did not find any more is noted by now.
                    removed = (await self._storage.sequences()).decision_forgotten
                    if may_miss and removed > last:
                        raise _removed(last, removed)
                    if caught_up:
                        last, may_miss = max(last, removed), group_seq is None
                if rows:
                    last = rows[-1].sequence
                    wanted = rows if group_seq is None or not whole else _of_group(rows, group_seq)
                    if wanted:
                        yield wanted
                    continue
                if self._stopped:
                    raise CuptimeError(Reason.DRAINING)
                await wake.wait()
        finally:
            self._watchers.discard(wake)
            if not self._watchers:
                self._ring.clear()

    def _newest(self) -> int:
        """The last sequence number that was published."""
        if not self._ring:
            return 0
        first, rows = self._ring[-1]
        return first + len(rows) - 1

    def _from_ring(self, last: int) -> list[DecisionRow]:
        """What follows `last` without a gap; empty when the ring does not have it."""
        at = bisect_right(self._ring, last + 1, key=lambda published: published[0]) - 1
        found: list[DecisionRow] = []
        while 0 <= at < len(self._ring) and len(found) < ROWS_PER_MESSAGE_MAX:
            first, rows = self._ring[at]
            skip = last + 1 + len(found) - first
            if skip < 0 or skip >= len(rows):
                break
            found += [_row(first + skip + index, row) for index, row in enumerate(rows[skip:])]
            at += 1
        return found


def _removed(told: int, removed: int) -> CuptimeError:
    return CuptimeError(
        Reason.DECISIONS_REMOVED,
        f"retention removed decisions up to sequence {removed}, and some of them come after {told}",
        field="after_sequence",
        metadata={"after_sequence": str(told), "removed_sequence": str(removed)},
    )


def _row(sequence: int, row: DecisionColumns) -> DecisionRow:
    return DecisionRow(sequence, *row)  # type: ignore[arg-type]  # the columns are those of the row


def _of_group(rows: Sequence[DecisionRow], group_seq: int) -> list[DecisionRow]:
    return [row for row in rows if group_seq_of(row.order_id) == group_seq]
