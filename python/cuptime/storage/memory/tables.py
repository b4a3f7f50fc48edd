"""The tables as dicts by primary key, with a journal that takes back a tuple of writes that was refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import (
    DecisionRow,
    Group,
    InterventionRow,
    OrderRow,
    RefusalRow,
    RequestRow,
    RiderRow,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeRow,
    ShopRow,
    StockRow,
    Task,
)

K = TypeVar("K")
V = TypeVar("V")

Journal = list[Callable[[], None]]
"""How to take back what was done, last first."""


class Table(Generic[K, V]):
    """Rows by primary key; every change is journalled."""

    def __init__(self, journal: Journal) -> None:
        self.rows: dict[K, V] = {}
        self._journal = journal

    def insert(self, key: K, row: V) -> None:
        """Raises CuptimeError(INTERNAL) for a key that is there: ids are the caller's, and never given twice."""
        if key in self.rows:
            raise CuptimeError(Reason.INTERNAL, f"the key {key} is there already")
        self.put(key, row)

    def put(self, key: K, row: V) -> None:
        if key in self.rows:
            before = self.rows[key]
            self._journal.append(lambda: self.rows.__setitem__(key, before))
        else:
            self._journal.append(lambda: self.rows.__delitem__(key))
        self.rows[key] = row

    def drop(self, key: K) -> None:
        """Nothing happens when the key is not there."""
        if key in self.rows:
            before = self.rows.pop(key)
            self._journal.append(lambda: self.rows.__setitem__(key, before))

    def get(self, key: K) -> V | None:
        return self.rows.get(key)

    def values(self) -> Iterator[V]:
        return iter(self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)


class Tables:
    """Everything there is."""

    def __init__(self) -> None:
        self.journal: Journal = []
        self.shards: dict[int, tuple[int, str]] = {}
        self.groups: Table[int, Group] = Table(self.journal)
        self.group_seqs: Table[int, int] = Table(self.journal)
        """group_seq by group_id."""
        self.group_ends: Table[int, int] = Table(self.journal)
        """ended_ms by group_seq; of those that have their end."""
        self.orders: Table[int, OrderRow] = Table(self.journal)
        self.orders_moved: Table[int, int] = Table(self.journal)
        """By order_id, when it was cancelled or released."""
        self.refusals: Table[str, RefusalRow] = Table(self.journal)
        self.decisions: Table[int, DecisionRow] = Table(self.journal)
        self.attempts: Table[tuple[int, int, int], int] = Table(self.journal)
        """sequence by (order_id, attempt, outcome)."""
        self.assignments: Table[int, int] = Table(self.journal)
        """sequence of the standing assignment by order_id."""
        self.retired: Table[int, None] = Table(self.journal)
        """Orders whose assignment stands and is not live."""
        self.interventions: Table[int, InterventionRow] = Table(self.journal)
        self.shops: Table[int, ShopRow] = Table(self.journal)
        self.stock: Table[tuple[int, str], StockRow] = Table(self.journal)
        self.riders: Table[int, RiderRow] = Table(self.journal)
        self.tasks: Table[int, Task] = Table(self.journal)
        self.firings: Table[tuple[int, int, int], int] = Table(self.journal)
        """task_id by (schedule_seq, generation, nominal_ms)."""
        self.schedules: Table[int, Schedule] = Table(self.journal)
        self.schedule_changes: Table[int, ScheduleChangeRow] = Table(self.journal)
        self.rule_revisions: Table[int, RuleRevisionRow] = Table(self.journal)
        self.requests: Table[str, RequestRow] = Table(self.journal)
        self.last_sequence: Table[str, int] = Table(self.journal)
        """The highest sequence ever given to a decision, under "decisions"."""
        self.forgotten: Table[str, tuple[int, int]] = Table(self.journal)
        """By table the highest id that retention took out, and how many rows."""
        self.forgotten_firings: Table[int, tuple[int, int]] = Table(self.journal)
        """By schedule_seq the generation and the latest nominal time."""

    def keep(self) -> None:
        """What was done since the last `keep` stays."""
        self.journal.clear()

    def take_back(self) -> None:
        """Undoes everything since the last `keep`."""
        while self.journal:
            self.journal.pop()()


def page(rows: Iterable[V], key: Callable[[V], int], after: int, limit: int) -> list[V]:
    """The first `limit` rows by key that come after `after`."""
    found = [row for row in rows if key(row) > after]
    found.sort(key=key)
    return found[:limit]


Apply = Callable[[Tables, Any], tuple[int, ...]]
"""Carries out a write of one kind; returns the ids it moved."""
ByKind = dict[type, Apply]
"""By the class of the write."""
