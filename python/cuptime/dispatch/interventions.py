"""Orders that no retry could place wait here for a person, who may try again, assign by hand, or give up."""

from __future__ import annotations

import logging
from enum import IntEnum
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.delays import retry_task
from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.ports import Bodies
from cuptime.dispatch.release import Release, Releases, columns_of
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.ports import Committed, Reservation
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import (
    DecisionRow,
    InterventionRow,
    OrderRow,
    OrderState,
    Outcome,
    Task,
    group_seq_of,
)
from cuptime.domain.writes import InsertDecisions, InsertTasks, ResolveIntervention, Write

NOTE_CHARS_MAX: Final = 2_000

_log = logging.getLogger(__name__)


class Resolution(IntEnum):
    """What the person decides; numbers as in `ResolveInterventionRequest.Resolution`."""

    RETRY = 1
    ASSIGN = 2
    CANCEL = 3


class Interventions:
    """List and resolve."""

    def __init__(self, line: DecisionLine, releases: Releases, bodies: Bodies, requests: Requests) -> None:
        self._line = line
        self._releases = releases
        self._bodies = bodies
        self._requests = requests
        self._storage = line.means.storage

    async def page(self, *, after: int, limit: int) -> list[tuple[InterventionRow, DecisionRow | None]]:
        """Open ones by order id, each with the latest decision of its order."""
        rows = await self._storage.interventions(after=after, limit=limit)
        return [(row, await self._storage.decision(row.order_id)) for row in rows]

    async def resolve(
        self,
        order_id: int,
        resolution: Resolution,
        *,
        shop_id: int = 0,
        rider_id: int = 0,
        note: str = "",
        request_id: str = "",
    ) -> DecisionRow | None:
        """Resolves an open intervention and returns the order's latest decision. Raises INTERVENTION_NOT_FOUND,
        SHOP_NOT_FOUND, RIDER_NOT_FOUND, CAPACITY_EXCEEDED (by hand too, capacity is never exceeded), STATE_CONFLICT."""
        if len(note) > NOTE_CHARS_MAX:
            raise invalid("note", f"at most {NOTE_CHARS_MAX} characters", note)
        if resolution is Resolution.ASSIGN:
            for field, value in (("shop", shop_id), ("rider", rider_id)):
                if not value:
                    raise required(field)
        elif shop_id or rider_id:
            field = "shop" if shop_id else "rider"
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION, f"{field} is for RESOLUTION_ASSIGN only", field=field
            )
        one = _One(self, order_id, resolution, shop_id, rider_id, note)

        async def in_turn() -> None:
            # Who hangs up must not give the group away while the commit is on its way.
            async with self._line.turn(group_seq_of(order_id)):
                await one.run(request_id)

        await to_the_end(in_turn())
        return await self._storage.decision(order_id)


class _One:
    """One resolution, from its checks to what follows its commit."""

    def __init__(
        self,
        room: Interventions,
        order_id: int,
        resolution: Resolution,
        shop_id: int,
        rider_id: int,
        note: str,
    ) -> None:
        self._room = room
        self._line = room._line
        self._order_id = order_id
        self._resolution = resolution
        self._shop_id = shop_id
        self._rider_id = rider_id
        self._note = note
        self._committed: Committed | None = None
        self._task: Task | None = None
        self._held: Reservation | None = None
        """Reserved, or perhaps: the gate was asked."""
        self._row: DecisionRow | None = None
        self._release: Release | None = None

    async def run(self, request_id: str) -> None:
        fingerprint = fingerprint_of(
            self._order_id, int(self._resolution), self._shop_id, self._rider_id, self._note
        )
        try:
            await self._room._requests.once(
                request_id, "ResolveIntervention", fingerprint, self._make, self._commit
            )
        except Exception as fault:
            if outcome_unknown(fault):
                await self._hold_fast()
            elif self._held is not None:
                await self._give_back()
            raise
        if self._committed is not None:
            try:
                await self._follow(self._committed)
            except Exception as fault:
                # It is resolved, durably. What memory and gate make of it is built again.
                _log.warning("an intervention is resolved, and what follows it failed: %s", fault)
                self._line.doubt()

    async def _hold_fast(self) -> None:
        """Nothing is given back before storage says what it kept; the rebuild finds out."""
        resources = self._line.resources
        if self._held is not None:
            resources.doubtful.add(self._order_id)
            try:
                await self._line.counters.hold_fast([self._held])
            except Exception as fault:
                _log.warning("the gate does not hold what storage may have kept: %s", fault)
        self._line.doubt(group_seq_of(self._order_id))

    async def _give_back(self) -> None:
        self._line.resources.unsettled.pop(self._order_id, None)
        try:
            await self._line.counters.release([self._order_id])
        except Exception as fault:
            _log.warning("a reservation by hand was not given back; it runs out by itself: %s", fault)

    def _commit(self, committed: Committed) -> None:
        self._committed = committed

    async def _make(self) -> Made:
        storage, now_ms = self._line.means.storage, self._line.means.clock.now_ms()
        open_one = await storage.intervention(self._order_id)
        order = await storage.order(self._order_id)
        if open_one is None or open_one.resolved_ms or order is None:
            metadata = {"intervention": f"interventions/{self._order_id}"}
            raise CuptimeError(Reason.INTERVENTION_NOT_FOUND, metadata=metadata)
        if order.state is not OrderState.ADMITTED:
            raise CuptimeError(Reason.STATE_CONFLICT, f"the order is {order.state.name}")
        if self._resolution is Resolution.CANCEL:
            self._release = await self._room._releases.plan(order)
            kept = [write for write in self._release.writes if not isinstance(write, ResolveIntervention)]
            return [*kept, self._resolved("CANCELLED", now_ms)], b""
        before = await storage.decision(self._order_id)
        attempt = max(open_one.attempts, before.attempt if before is not None else 0) + 1
        if self._resolution is Resolution.RETRY:
            self._task = retry_task(self._line.means.tasks, [self._order_id], attempt, now_ms)
            return [self._resolved("RETRIED", now_ms), InsertTasks([self._task])], b""
        return await self._assign(order, before, attempt, now_ms), b""

    def _resolved(self, resolution: str, now_ms: int) -> Write:
        return ResolveIntervention(self._order_id, now_ms, resolution, self._note)

    async def _assign(
        self, order: OrderRow, before: DecisionRow | None, attempt: int, now_ms: int
    ) -> list[Write]:
        """Reserves at the gate what the person chose."""
        if before is None:
            raise CuptimeError(Reason.STATE_CONFLICT, "the order was never decided; try it again instead")
        self._line.resources.shop(self._shop_id)
        self._line.resources.rider(self._rider_id)
        pack_out_ms = max(before.pack_out_ms, now_ms)
        resources = self._line.resources
        held = Reservation(
            order.order_id, self._shop_id, self._rider_id, order.sku, order.quantity,
            bool(before.cold), pack_out_ms, pack_out_ms,
        )  # fmt: skip
        self._held = held = resources.standing.as_of_now(held, resources.riders)
        refused_by = (await self._line.counters.reserve([held]))[0]
        if refused_by:
            self._held = None
            raise CuptimeError(
                Reason.CAPACITY_EXCEEDED,
                f"{refused_by} has no room for this order",
                field="rider" if refused_by.startswith("load/") else "shop",
                metadata={"key": refused_by},
            )
        # A rebuild of the gate before the commit has ended leaves it taken. Not sooner: a rebuild on its way would give
        # what the gate has not given.
        resources.unsettled[order.order_id] = held
        row = replace(
            before, sequence=0, attempt=attempt, outcome=Outcome.ASSIGNED, shop_id=self._shop_id,
            rider_id=self._rider_id, decided_ms=now_ms, pack_out_ms=pack_out_ms, pickup_ms=pack_out_ms,
        )  # fmt: skip
        known = self._line.means.core.judged_by_hand(
            self._line.counters.dispatcher, before.body, self._shop_id, self._rider_id, resources.origin
        )
        self._row = replace(row, body=self._room._bodies.decision_body(row, known))
        return [InsertDecisions([columns_of(self._row)]), self._resolved("ASSIGNED", now_ms)]

    async def _follow(self, committed: Committed) -> None:
        if self._release is None:
            self._line.person.leave(1)
        if self._task is not None:
            self._line.means.tasks.armed([self._task])
        if self._release is not None:
            await self._room._releases.follow(self._release, committed)
        if self._row is not None and self._held is not None:
            self._line.feed.publish(committed.first_sequence, [columns_of(self._row)])
            await self._line.resources.stood_by_hand(self._held)
