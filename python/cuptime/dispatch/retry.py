"""The delay queue: orders that nobody could take are tried again, durably, and then wait for a person.

A retry is a task of the queue `cuptime.dispatch_retry`, inserted in the commit of the UNASSIGNED decisions that it
follows. Its payload is JSON, for whoever looks at tasks: `{"attempt":2,"orders":[17179869185]}`. Running it twice
decides once: an order that has a decision of that attempt, or needs none, is left out.
"""

from __future__ import annotations

from typing import Final

from cuptime.dispatch.delays import DISPATCH_RETRY_QUEUE, read_payload
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.queue import Part, Waiting
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Storage, TaskQueue
from cuptime.domain.values import OrderState, Outcome, Task, group_seq_of

CONFLICTS_MAX: Final = 3
"""How often a retry looks again when an order changed under it."""


class Retries:
    """Runs the retries that fall due."""

    def __init__(self, storage: Storage, line: DecisionLine) -> None:
        self._storage = storage
        self._line = line

    def register(self, tasks: TaskQueue) -> None:
        """Becomes the runner of the queue."""
        tasks.internal(DISPATCH_RETRY_QUEUE, self.run)

    async def run(self, task: Task) -> bytes:
        """Decides the orders of one task again. Returns how many it decided."""
        attempt, order_ids = read_payload(task.payload)
        for conflicts in range(CONFLICTS_MAX + 1):
            parts = await self._parts(order_ids, attempt)
            if not parts:
                return b"0"
            try:
                await self._line.retry(parts, attempt)
            except CuptimeError as refusal:
                if refusal.reason is not Reason.STATE_CONFLICT or conflicts == CONFLICTS_MAX:
                    raise
            else:
                return str(sum(len(part.orders) for part in parts)).encode()
        return b"0"

    async def _parts(self, order_ids: list[int], attempt: int) -> list[Part]:
        """The orders that still want this attempt, by group."""
        parts: dict[int, Part] = {}
        for order_id in order_ids:
            order = await self._storage.order(order_id)
            if order is None or order.state is not OrderState.ADMITTED:
                continue
            decision = await self._storage.decision(order_id)
            if decision is not None and (
                decision.outcome is not Outcome.UNASSIGNED or decision.attempt >= attempt
            ):
                continue
            group_seq = group_seq_of(order_id)
            if group_seq not in parts:
                group = await self._storage.group_by_seq(group_seq)
                if group is None:
                    continue
                parts[group_seq] = Part(Waiting(group, [], group.member_count), [], last=False)
            parts[group_seq].orders.append((order_id, order.body))
        return list(parts.values())
