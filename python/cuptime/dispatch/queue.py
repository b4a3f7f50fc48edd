"""Completed groups that wait for their decision, and whose turn it is.

A group is in one pair of hands at a time: a batch that is being decided or committed, or somebody who cancels one of
its orders or helps by hand. Retries come after first decisions, which have a promise to keep, but not for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct, field

from cuptime.dispatch.ports import GroupColumns, OrderBody
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import (
    DECISION_BATCH_ORDERS_MAX,
    DECISION_PART_ORDERS_MAX,
    DECISION_PENDING_GROUPS_MAX,
)
from cuptime.domain.values import Group, group_seq_of

FIRST_IN_A_ROW_MAX: Final = 8
PACK_OUT_AFTER_DEFAULT_MS: Final = 18 * 60_000
DELIVER_WITHIN_DEFAULT_MS: Final = 45 * 60_000


class Waiting(Struct):
    """A group and those of its orders that have no decision yet."""

    group: Group
    orders: list[OrderBody]
    member_count: int
    failures: int = 0
    """How often its batch failed; not counted as attempts at a decision."""

    @property
    def group_seq(self) -> int:
        return self.group.group_seq


class Part(Struct):
    """What a batch takes of a group: all that waits, or the first of very many."""

    waiting: Waiting
    orders: list[OrderBody]
    last: bool


class Batch(Struct):
    """Groups that are decided together."""

    parts: list[Part]
    attempt: int
    done: asyncio.Future[None] | None = None
    """Of a retry: resolved when the outcome is durable."""

    def columns(self, now_ms: int) -> list[GroupColumns]:
        """The groups as the core wants them."""
        return [group_columns(part.waiting.group, now_ms) for part in self.parts]

    def orders(self) -> list[OrderBody]:
        """All orders, group by group."""
        return [order for part in self.parts for order in part.orders]


def group_columns(group: Group, now_ms: int) -> GroupColumns:
    """A pack-out that should have been in the past is now: the orders are late, and still wanted."""
    completed_ms = group.completed_ms or now_ms
    pack_out_ms = max(completed_ms + (group.pack_out_after_ms or PACK_OUT_AFTER_DEFAULT_MS), now_ms)
    return (
        group.group_seq,
        group.group_id,
        group.park,
        group.capacity,
        group.member_count,
        group.latitude,
        group.longitude,
        completed_ms,
        pack_out_ms,
        pack_out_ms + (group.deliver_within_ms or DELIVER_WITHIN_DEFAULT_MS),
    )


class DecisionQueue(Struct):
    """First decisions and retries, in memory; storage has them all."""

    wake: Callable[[], None]
    first: deque[Waiting] = field(default_factory=deque)
    retries: deque[Batch] = field(default_factory=deque)
    overflowed: bool = False
    """Some completed groups are only in storage."""
    resting: dict[int, Waiting] = field(default_factory=dict)
    """Groups whose batch failed, until they come again; in nobody's hands."""
    busy: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    _in_a_row: int = 0
    """Batches of first decisions since the last retry, or since none waited."""

    def __len__(self) -> int:
        return len(self.first) + len(self.retries)

    def put(self, waiting: Waiting) -> None:
        """At the end; what does not fit is read back from storage when there is room."""
        if len(self.first) >= DECISION_PENDING_GROUPS_MAX:
            self.overflowed = True
            return
        self.first.append(waiting)
        self.wake()

    def put_back(self, waiting: Waiting) -> None:
        """At the front."""
        self.first.appendleft(waiting)
        self.wake()

    def rest(self, waiting: Waiting) -> None:
        """Out of the batch's hands, and not to be taken before `rested`."""
        self.resting[waiting.group_seq] = waiting
        self.let_go(waiting.group_seq)

    def rested(self, waiting: Waiting) -> None:
        """At the front again."""
        if self.resting.pop(waiting.group_seq, None) is not None:
            self.put_back(waiting)

    def retry(self, batch: Batch) -> None:
        self.retries.append(batch)
        self.wake()

    def drop(self, order_id: int) -> None:
        """An order that was cancelled; its group is in the caller's hands."""
        group_seq = group_seq_of(order_id)
        for waiting in (*self.first, *self.resting.values()):
            if waiting.group_seq == group_seq:
                waiting.orders = [order for order in waiting.orders if order[0] != order_id]
                waiting.member_count -= 1
        for batch in self.retries:
            for part in batch.parts:
                part.orders = [order for order in part.orders if order[0] != order_id]

    def doubt(self, group_seq: int) -> None:
        """Nobody knows what became of one of its orders; the group is in the caller's hands. What waits is given up
        here: first decisions are read back from storage, and a retry is repeated by its task."""
        self.first = deque(waiting for waiting in self.first if waiting.group_seq != group_seq)
        self.resting.pop(group_seq, None)
        kept: deque[Batch] = deque()
        for batch in self.retries:
            if all(part.waiting.group_seq != group_seq for part in batch.parts):
                kept.append(batch)
            elif batch.done is not None and not batch.done.done():
                batch.done.set_exception(CuptimeError(Reason.STORAGE_UNAVAILABLE))
        self.retries = kept

    def take(self) -> Batch | None:
        """The next batch, its groups in hand; None when nothing can be decided now. First decisions go first, and after
        FIRST_IN_A_ROW_MAX of them one retry."""
        if self._in_a_row >= FIRST_IN_A_ROW_MAX and (batch := self._take_retry()) is not None:
            return batch
        parts = self._take_first()
        if parts:
            self._in_a_row += 1
            self._hold(parts)
            return Batch(parts, attempt=1)
        return self._take_retry()

    def _take_retry(self) -> Batch | None:
        self._in_a_row = 0
        for index, batch in enumerate(self.retries):
            if not any(part.waiting.group_seq in self.busy for part in batch.parts):
                del self.retries[index]
                self._hold(batch.parts)
                return batch
        return None

    def _take_first(self) -> list[Part]:
        parts: list[Part] = []
        busy: list[Waiting] = []
        room = DECISION_BATCH_ORDERS_MAX
        while self.first and room > 0:
            waiting = self.first.popleft()
            if waiting.group_seq in self.busy:
                busy.append(waiting)
                continue
            if len(waiting.orders) > room and parts:
                self.first.appendleft(waiting)
                break
            # The fewer parts a large group has, the fewer commits its last order waits for, one after the other; the
            # larger they are, the longer everybody else waits.
            orders = waiting.orders[: room if parts else DECISION_PART_ORDERS_MAX]
            parts.append(Part(waiting, orders, last=len(orders) == len(waiting.orders)))
            room -= max(1, len(orders))
        self.first.extendleft(reversed(busy))
        return parts

    def _hold(self, parts: list[Part]) -> None:
        loop = asyncio.get_running_loop()
        for part in parts:
            if part.waiting.group_seq not in self.busy:
                self.busy[part.waiting.group_seq] = loop.create_future()

    def take_in_hand(self, group_seqs: Iterable[int]) -> set[int]:
        """Those of the groups that are in nobody's hands are in the caller's from now on, until `let_go`."""
        free = {group_seq for group_seq in group_seqs if group_seq not in self.busy}
        loop = asyncio.get_running_loop()
        self.busy.update((group_seq, loop.create_future()) for group_seq in free)
        return free

    def let_go(self, group_seq: int) -> None:
        """The group is free for the next."""
        held = self.busy.pop(group_seq, None)
        if held is not None and not held.done():
            held.set_result(None)
        self.wake()

    @asynccontextmanager
    async def turn(self, group_seq: int) -> AsyncIterator[None]:
        """Takes the group in hand; waits while a batch or another caller has it."""
        while group_seq in self.busy:
            await asyncio.wait([self.busy[group_seq]])
        self.busy[group_seq] = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            self.let_go(group_seq)
