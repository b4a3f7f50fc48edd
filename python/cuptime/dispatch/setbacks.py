"""What comes back: batches that could not be decided or were refused by storage."""

from __future__ import annotations

import logging
from typing import Final

from cuptime.dispatch.desk import Desk, pause_ms
from cuptime.dispatch.ports import DecidedGroup, OrderBody
from cuptime.dispatch.queue import Batch, Part, Waiting
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import GroupState, InterventionRow, OrderState
from cuptime.domain.writes import MoveGroups, OpenInterventions

FAILURES_MAX: Final = 8
"""A batch that failed so often goes to a person; a failure that storage causes is not counted."""

_log = logging.getLogger(__name__)


class Setbacks:
    """Groups rest a moment and come again; storage still says COMPLETED, so even a crash loses nothing."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def not_committed(self, batch: Batch, fault: Exception) -> None:
        """Storage refused. A conflict means that somebody else decided or cancelled: what is left is tried again."""
        conflict = isinstance(fault, CuptimeError) and fault.reason is Reason.STATE_CONFLICT
        if conflict and batch.done is None:
            try:
                batch.parts = [part for part in batch.parts if await self._undecided(part)]
            except Exception as second:
                fault, conflict = second, False
        self.failed(batch, fault, counted=conflict)

    async def _undecided(self, part: Part) -> bool:
        """Leaves in a part what storage has no decision for; False when its group needs none any more."""
        waiting = part.waiting
        group = await self._desk.means.storage.group_by_seq(waiting.group_seq)
        if group is None or group.state is not GroupState.COMPLETED:
            now_ms = self._desk.means.clock.now_ms()
            done = DecidedGroup(waiting.group_seq, waiting.group.group_id, whole=True, decided_ms=now_ms)
            self._desk.resources.admission.groups_decided([done])
            self._desk.queue.let_go(waiting.group_seq)
            return False
        kept: list[OrderBody] = []
        for order in waiting.orders:
            row = await self._desk.means.storage.order(order[0])
            if row is None or row.state is not OrderState.ADMITTED:
                continue
            if await self._desk.means.storage.decision(order[0]) is None:
                kept.append(order)
        waiting.orders = kept
        return True

    def failed(self, batch: Batch, fault: Exception, *, counted: bool) -> None:
        """The groups rest a moment and come again; a retry is for its task to repeat."""
        self._desk.stats.failed_batches += 1
        groups = [part.waiting for part in batch.parts]
        if not groups:
            return
        if batch.done is not None:
            if not batch.done.done():
                batch.done.set_exception(fault)
            for waiting in groups:
                self._desk.queue.let_go(waiting.group_seq)
            return
        for waiting in groups:
            waiting.failures += 1
        given_up = [w for w in groups if counted and w.failures >= FAILURES_MAX]
        for waiting in groups:
            self._desk.queue.rest(waiting)

        def again() -> None:
            for waiting in groups:
                if waiting in given_up:
                    self._desk.begin(self._ask_a_person(waiting))
                else:
                    self._desk.queue.rested(waiting)

        self._desk.after_pause(pause_ms(max(waiting.failures for waiting in groups)), again)

    async def _ask_a_person(self, waiting: Waiting) -> None:
        """A group that the core or storage refuses again and again: its orders wait for a person, and it is DECIDED in
        the same commit, so that a restart does not begin again. Without room it comes back and fails again."""
        desk = self._desk
        async with desk.queue.turn(waiting.group_seq):
            orders = waiting.orders
            opened = desk.person.take(len(orders))
            try:
                if opened < len(orders):
                    raise CuptimeError(Reason.LIMIT_REACHED, "too many orders wait for a person")
                settled = await self._give_up(waiting, orders)
            except CuptimeError as refusal:
                desk.person.leave(opened)
                _log.warning("the orders of a group that fails do not wait for a person yet: %s", refusal)
                if refusal.reason is not Reason.LIMIT_REACHED:
                    # Cancelled or kept meanwhile: what is left is read back from storage.
                    desk.queue.doubt(waiting.group_seq)
                    desk.doubt()
                else:
                    desk.queue.rested(waiting)
                return
            desk.queue.resting.pop(waiting.group_seq, None)
        desk.resources.admission.cups_changed([], settled)
        done = DecidedGroup(waiting.group_seq, waiting.group.group_id, whole=True, decided_ms=self._now_ms())
        desk.resources.admission.groups_decided([done])

    async def _give_up(self, waiting: Waiting, orders: list[OrderBody]) -> list[tuple[str, int]]:
        """The commit. Returns the (sku, cups) that wait for a decision no more."""
        means = self._desk.means
        rows = [await means.storage.order(order_id) for order_id, _ in orders]
        now_ms = self._now_ms()
        members = [(waiting.group_seq, 0, waiting.member_count)]
        moved = MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), members, now_ms)
        opened = OpenInterventions([InterventionRow(order_id, 0, now_ms) for order_id, _ in orders])
        await means.storage.commit(means.fence, [moved, opened])
        return [(row.sku, row.quantity) for row in rows if row is not None]

    def _now_ms(self) -> int:
        return self._desk.means.clock.now_ms()
