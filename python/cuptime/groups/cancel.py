"""Takes an order back: while its group is open its seat is free again, afterwards what it reserved is released."""

from __future__ import annotations

from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.release import Release, Releases
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, Storage
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import Group, GroupState, OrderRow, OrderState
from cuptime.domain.writes import MoveOrder, SetMemberCounts
from cuptime.groups.intake import IntakeLine
from cuptime.groups.life import Groups
from cuptime.groups.watch import GroupWatchers

METHOD = "CancelOrder"


class Cancellations:
    """Cancels orders. Each is a commit of its own, in turn with the intake while the group is open and with the
    decision line afterwards."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        requests: Requests,
        groups: Groups,
        intake: IntakeLine,
        decisions: DecisionLine,
        releases: Releases,
        watchers: GroupWatchers,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._requests = requests
        self._groups = groups
        self._intake = intake
        self._decisions = decisions
        self._releases = releases
        self._watchers = watchers

    async def cancel(
        self, group_id: int, number: int, *, request_id: str = "", validate_only: bool = False
    ) -> OrderRow:
        """The order as CANCELLED. Raises GROUP_NOT_FOUND, ORDER_NOT_FOUND, and STATE_CONFLICT for an order that is
        cancelled or released already."""
        order = await self._groups.order(group_id, number)
        if validate_only:
            self._check(order)
        else:
            await to_the_end(self._cancel(await self._groups.get(group_id), order.order_id, request_id))
        # A cancelled order never changes again: a repeat reads what the first call read.
        return await self._groups.order(group_id, number)

    async def _cancel(self, group: Group, order_id: int, request_id: str) -> None:
        fingerprint = fingerprint_of(order_id)
        if group.state is GroupState.OPEN:
            async with self._intake.alone() as intake:
                if self._intake.groups.by_seq(group.group_seq) is not None:
                    committed: list[Committed] = []
                    members = self._intake.groups.members(group.group_seq) - 1

                    async def make() -> Made:
                        order = self._check(await self._order(order_id))
                        now_ms = self._clock.now_ms()
                        move = MoveOrder(order.order_id, OrderState.ADMITTED, OrderState.CANCELLED, now_ms)
                        return [move, SetMemberCounts([(group.group_seq, members)])], b""

                    await self._requests.once(request_id, METHOD, fingerprint, make, committed.append)
                    if committed:
                        intake.cancel_order(order_id)
                        self._intake.groups.set_members([(group.group_seq, members)])
                        self._watchers.changed([group.group_seq])
                    return
        await self._cancel_closed(group, order_id, request_id, fingerprint)

    async def _cancel_closed(self, group: Group, order_id: int, request_id: str, fingerprint: int) -> None:
        """The group is closed: nobody decides its orders while we hold its turn."""
        planned: list[Release] = []
        committed: list[Committed] = []

        async def make() -> Made:
            planned[:] = [await self._releases.plan(self._check(await self._order(order_id)))]
            return planned[0].writes, b""

        async with self._decisions.turn(group.group_seq):
            try:
                await self._requests.once(request_id, METHOD, fingerprint, make, committed.append)
            except Exception as fault:
                if outcome_unknown(fault):
                    self._decisions.doubt(group.group_seq)
                raise
            if committed:
                await self._releases.follow(planned[0], committed[0])
        self._watchers.changed([group.group_seq])

    async def _order(self, order_id: int) -> OrderRow:
        order = await self._storage.order(order_id)
        if order is None:
            raise CuptimeError(Reason.ORDER_NOT_FOUND)
        return order

    @staticmethod
    def _check(order: OrderRow) -> OrderRow:
        if order.state is not OrderState.ADMITTED:
            raise CuptimeError(
                Reason.STATE_CONFLICT,
                f"the order is {order.state.name}",
                metadata={"measured": order.state.name, "wanted": "ADMITTED"},
            )
        return order
