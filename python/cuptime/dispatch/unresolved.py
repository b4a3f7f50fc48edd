"""Commits of which nobody knows what became: storage failed in them, and may have kept them."""

from __future__ import annotations

import logging

from cuptime.dispatch.desk import Desk, pause_ms
from cuptime.dispatch.ledger import Entry, Ledger
from cuptime.dispatch.setbacks import Setbacks
from cuptime.dispatch.solving import Solving
from cuptime.domain.ports import Committed
from cuptime.domain.values import GroupState

_log = logging.getLogger(__name__)


class Unresolved:
    """Until storage itself says what it kept, the groups of such a commit stay in hand and what it reserved stays
    taken: too little is given rather than too much."""

    def __init__(self, desk: Desk, solving: Solving, ledger: Ledger, setbacks: Setbacks) -> None:
        self._desk = desk
        self._solving = solving
        self._ledger = ledger
        self._setbacks = setbacks

    async def keep(self, entry: Entry, fault: Exception) -> None:
        """Holds fast what the entry reserved, and asks storage in a while, and again until it answers."""
        reservations = entry.answer.reservations
        # A rebuild of the gate finds them here; without one they last, and are released if storage kept nothing.
        self._desk.resources.unsettled.update((held.order_id, held) for held in reservations)
        try:
            await self._desk.counters.hold_fast(reservations)
        except Exception as second:
            _log.warning("the gate does not hold what storage may have kept; building it again: %s", second)
            self._desk.doubt()
        self._ask_later(entry, fault, 0)

    def _ask_later(self, entry: Entry, fault: Exception, tries: int) -> None:
        self._desk.after_pause(
            pause_ms(tries), lambda: self._desk.begin(self._resolve(entry, fault, tries + 1))
        )

    async def _resolve(self, entry: Entry, fault: Exception, tries: int) -> None:
        try:
            committed = await self._found(entry)
        except Exception as second:
            _log.warning("storage cannot say whether decisions were kept: %s", second)
            self._ask_later(entry, fault, tries)
            return
        if committed is None:
            for held in entry.answer.reservations:
                self._desk.resources.unsettled.pop(held.order_id, None)
            self._ledger.forget(entry)
            await self._solving.give_back(entry.answer)
            self._setbacks.failed(entry.batch, fault, counted=False)
        else:
            await self._ledger.durable(entry, committed)

    async def _found(self, entry: Entry) -> Committed | None:
        """The commit as storage has it, by one row of it: a commit is kept whole or not at all."""
        storage, batch = self._desk.means.storage, entry.batch
        await storage.settle()
        if entry.answer.rows:
            # Nobody decided or cancelled it since: its group is in our hands.
            latest = await storage.decision(entry.answer.rows[0][0])
            kept = latest is not None and latest.attempt == batch.attempt
            return Committed((), latest.sequence) if kept and latest is not None else None
        group = await storage.group_by_seq(batch.parts[0].waiting.group_seq)
        moved = group is None or group.state is not GroupState.COMPLETED
        return Committed((), 0) if moved else None
