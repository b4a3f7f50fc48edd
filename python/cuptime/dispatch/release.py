"""Cancelling an order whose group is complete: what was reserved for it comes back.

Callers hold the group's turn (`DecisionLine.turn`) from `plan` to `follow`, so that no batch decides the order
meanwhile.
"""

from __future__ import annotations

import logging
from typing import cast

from msgspec import Struct
from msgspec.structs import astuple, replace

from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.ports import Bodies, DecisionColumns
from cuptime.domain.ports import Committed
from cuptime.domain.values import DecisionRow, OrderRow, OrderState, Outcome, group_seq_of
from cuptime.domain.writes import InsertDecisions, MoveOrder, ResolveIntervention, SetMemberCounts, Write

_log = logging.getLogger(__name__)


class Release(Struct, frozen=True):
    """What cancelling one order writes, and what it must give back after the commit."""

    order: OrderRow
    writes: list[Write]
    assigned: DecisionRow | None
    released: DecisionColumns | None
    decided: bool


def columns_of(row: DecisionRow) -> DecisionColumns:
    """A row less its sequence."""
    return cast("DecisionColumns", astuple(row)[1:])


class Releases:
    """Plans and follows cancellations of orders of completed groups."""

    def __init__(self, line: DecisionLine, bodies: Bodies) -> None:
        self._line = line
        self._bodies = bodies

    async def plan(self, order: OrderRow) -> Release:
        """The writes that cancel an ADMITTED order: its state, the member count, its RELEASED decision when it was
        assigned, and its intervention when it waits for a person."""
        storage, now_ms = self._line.means.storage, self._line.means.clock.now_ms()
        writes: list[Write] = [MoveOrder(order.order_id, OrderState.ADMITTED, OrderState.CANCELLED, now_ms)]
        group = await storage.group_by_seq(group_seq_of(order.order_id))
        if group is not None:
            writes.append(SetMemberCounts([(group.group_seq, max(0, group.member_count - 1))]))
        decision = await storage.decision(order.order_id)
        assigned = decision if decision is not None and decision.outcome is Outcome.ASSIGNED else None
        released: DecisionColumns | None = None
        if assigned is not None:
            row = replace(assigned, sequence=0, outcome=Outcome.RELEASED, decided_ms=now_ms)
            row = replace(row, body=self._bodies.decision_body(row, assigned.body))
            released = columns_of(row)
            writes.append(InsertDecisions([released]))
        intervention = await storage.intervention(order.order_id)
        if intervention is not None and not intervention.resolved_ms:
            writes.append(ResolveIntervention(order.order_id, now_ms, "CANCELLED", ""))
        return Release(order, writes, assigned, released, decision is not None)

    async def follow(self, release: Release, committed: Committed) -> None:
        """After the commit: capacity is free again, watchers know, and nothing waits for the order."""
        line = self._line
        line.queue.drop(release.order.order_id)
        line.person.leave(sum(isinstance(write, ResolveIntervention) for write in release.writes))
        if release.released is not None:
            if line.provisional is not None:
                line.provisional.drop(release.order.order_id)
            line.feed.publish(committed.first_sequence, [release.released])
            try:
                await line.resources.released(release.order.order_id, release.released[7])
            except Exception as fault:
                # It is cancelled, durably; the gate is built again and then knows.
                _log.warning("an order is cancelled, and the gate was not told: %s", fault)
                line.doubt()
        elif not release.decided:
            line.resources.admission.cups_changed([], [(release.order.sku, release.order.quantity)])
