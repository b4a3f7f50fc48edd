"""Everything in memory from storage again: at the start, and when it may differ."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Final

from cuptime.dispatch.desk import Desk, pause_ms
from cuptime.dispatch.ports import OrderBody
from cuptime.dispatch.queue import Waiting
from cuptime.domain.values import Group, GroupState, group_seq_of

GROUPS_PAGE: Final = 500
ORDERS_PAGE: Final = 1_000
PAUSE_MAX_MS: Final = 1_000
"""Between two tries. Until one is good every caller who needs the gate is refused, also when it is long back."""

_log = logging.getLogger(__name__)


class Rebuild:
    """`quiet` is the moment between two batches in which nothing is decided and every commit has ended."""

    def __init__(self, desk: Desk, quiet: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._desk = desk
        self._quiet = quiet
        self._doubted = False
        """A rebuild of gate and dispatcher is on its way."""
        self._failed = 0
        """Tries since the last one that was good."""

    async def read_back(self) -> int:
        """Submits every completed group that storage has and the queue has not."""
        storage = self._desk.means.storage
        known = {waiting.group_seq for waiting in self._desk.queue.first}
        known |= {*self._desk.queue.busy, *self._desk.queue.resting}
        groups: list[Group] = []
        before = 2**62
        while page := await storage.groups(before_seq=before, limit=GROUPS_PAGE, state=GroupState.COMPLETED):
            groups += [group for group in page if group.group_seq not in known]
            before = page[-1].group_seq
        orders: dict[int, list[OrderBody]] = {group.group_seq: [] for group in groups}
        after = 0
        while groups and (rows := await storage.undecided_orders(after=after, limit=ORDERS_PAGE)):
            for row in rows:
                if (bodies := orders.get(group_seq_of(row.order_id))) is not None:
                    bodies.append((row.order_id, row.body))
            after = rows[-1].order_id
        groups.sort(key=lambda group: group.completed_ms)
        for group in groups:
            # The count in the row is what the group completed with; some orders may have decisions already.
            self._desk.queue.put(Waiting(group, orders[group.group_seq], group.member_count))
        return len(groups)

    def doubt(self) -> None:
        """Gate, dispatcher and cups may differ from storage: all of it is rebuilt, between two batches."""
        if not self._doubted:
            self._doubted = True
            self._desk.begin(self._rebuild())

    async def _rebuild(self) -> None:
        try:
            async with self._quiet():
                # What is doubted from here on may not be in what is read now.
                self._doubted = False
                await self._desk.resources.recover()
                await self.read_back()
            self._failed = 0
        except Exception as fault:
            self._doubted = True
            pause = min(pause_ms(self._failed), PAUSE_MAX_MS)
            self._failed += 1
            _log.warning("gate and dispatcher were not rebuilt; trying again: %s", fault)
            self._desk.after_pause(pause, lambda: self._desk.begin(self._rebuild()))
