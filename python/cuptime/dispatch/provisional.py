"""Assignments that a better one may still take the place of. A cache: storage has them, and a start reads them back."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from cuptime.dispatch.ports import Bodies, DecisionColumns
from cuptime.dispatch.queue import Batch
from cuptime.domain.clock import Clock
from cuptime.domain.limits import PROVISIONAL_MAX
from cuptime.domain.values import DecisionRow, Group, Outcome


class Provisional(Struct):
    """One assignment that stands and is not committed yet. Group and order body are absent until they are needed when
    it was read back from storage."""

    row: DecisionRow
    commit_ms: int
    group: Group | None = None
    order: bytes | None = None
    bound: bool = False
    """Rules had a say in who has it."""
    looked: int = 0
    """Passes that looked at it and left it as it was."""


class ProvisionalBook:
    """All of them, at most PROVISIONAL_MAX: what comes while it is full keeps its first decision."""

    def __init__(self, clock: Clock, bodies: Bodies, *, kept: bool = True) -> None:
        """`kept` False: nothing is ever improved, so nothing is noted."""
        self._clock = clock
        self._bodies = bodies
        self._kept = kept
        self._entries: dict[int, Provisional] = {}
        self.wake: Callable[[], None] = lambda: None
        """Called when there is something to improve."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, order_id: int) -> Provisional | None:
        return self._entries.get(order_id)

    def take(self, first_sequence: int, rows: Sequence[DecisionColumns], batch: Batch) -> None:
        """Decisions of a batch that are durable, numbered from `first_sequence` on."""
        room = PROVISIONAL_MAX - len(self._entries)
        if not self._kept or room <= 0 or not rows:
            return
        groups = {part.waiting.group_seq: part.waiting.group for part in batch.parts}
        bodies = dict(batch.orders())
        for sequence, columns in enumerate(rows[:room], first_sequence):
            row = DecisionRow(sequence, *columns)  # type: ignore[arg-type]  # the columns are those of the row
            if row.outcome == Outcome.ASSIGNED:
                self._note(row, groups.get(row.order_id >> 20), bodies.get(row.order_id))
        self._wake()

    def read_back(self, rows: Iterable[DecisionRow]) -> None:
        """Everything anew, from the assignments that stand."""
        self._entries.clear()
        if self._kept:
            for row in rows:
                if len(self._entries) < PROVISIONAL_MAX:
                    self._note(row, None, None)
            self._wake()

    def replaced(self, entry: Provisional, row: DecisionRow, commit_ms: int) -> None:
        """Another assignment stands in its place."""
        self._entries[row.order_id] = Provisional(row, commit_ms, entry.group, entry.order, entry.bound)

    def drop(self, order_id: int) -> None:
        """It does not stand any more, or a person decided."""
        self._entries.pop(order_id, None)

    def prune(self, now_ms: int) -> None:
        """Lets go of what is committed."""
        for order_id in [i for i, entry in self._entries.items() if entry.commit_ms < now_ms]:
            del self._entries[order_id]

    def choose(self, limit: int, before_ms: int) -> list[Provisional]:
        """Whom a pass looks at, by order id: first those that are committed before `before_ms`, when the next pass
        comes, then those that passes looked at least; the soonest committed of equals. Were it the soonest alone, the
        same would be looked at again and again while there are more than `limit`, and the others never."""

        def rank(entry: Provisional) -> tuple[int, int, int]:
            looked = entry.looked + 1 if entry.commit_ms >= before_ms else 0
            return looked, entry.commit_ms, entry.row.order_id

        chosen = heapq.nsmallest(limit, self._entries.values(), key=rank)
        for entry in chosen:
            entry.looked += 1
        return sorted(chosen, key=lambda entry: entry.row.order_id)

    def _note(self, row: DecisionRow, group: Group | None, order: bytes | None) -> None:
        commit_ms = self._bodies.provisional_until_ms(row.body)
        if commit_ms >= self._clock.now_ms() and row.pickup_ms > self._clock.now_ms():
            bound = self._bodies.bound_by_rules(row.body)
            self._entries[row.order_id] = Provisional(row, commit_ms, group, order, bound)

    def _wake(self) -> None:
        if self._entries:
            self.wake()
