"""Rebuilds the admission table from storage: at the start, and after a commit that failed."""

from __future__ import annotations

from typing import Final

from cuptime.dispatch.resources import Resources
from cuptime.domain.clock import Clock
from cuptime.domain.limits import REQUEST_ID_WINDOW_MS, REQUEST_IDS_KEPT_MAX
from cuptime.domain.ports import Storage
from cuptime.domain.values import Group, GroupState, OrderRow, OrderState
from cuptime.groups.ports import Intake, NewIntake
from cuptime.groups.registry import OpenGroups, columns_of

PAGE: Final = 5_000
ORDERS_PAGE: Final = 20_000
"""Each page looks for its groups again."""
CLOSED_PAGE: Final = 1_000
"""The last page of closed groups has some that are too old."""
CLOSED_READ_MAX: Final = 100_000
"""Closed groups that the table is told of; it remembers no more."""


class IntakeRecovery:
    """Open and completed groups with their orders, the request ids of the last 24 hours, the cups; and which groups of
    these 24 hours are closed, so that a late order hears GROUP_NOT_OPEN after a restart as before it."""

    def __init__(
        self, storage: Storage, clock: Clock, new_intake: NewIntake, groups: OpenGroups, resources: Resources
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._new_intake = new_intake
        self._groups = groups
        self._resources = resources

    async def rebuild(self) -> Intake:
        """A new table; `groups` holds what is open. Costs a read of all orders of the last 24 hours."""
        await self._storage.settle()
        intake = self._new_intake()
        since_ms = self._clock.now_ms() - REQUEST_ID_WINDOW_MS
        open_groups = await self._in_state(GroupState.OPEN)
        completed = await self._in_state(GroupState.COMPLETED)
        intake.open_groups([columns_of(group) for group in (*open_groups, *completed)])
        for state in (GroupState.FAILED, GroupState.DECIDED):
            intake.open_groups([columns_of(group) for group in await self._closed(state, since_ms)])
        await self._restore_since(intake, since_ms)
        for group in (*open_groups, *completed):
            if group.created_ms < since_ms:
                await self._restore_group(intake, group)
        intake.restore_refusals(
            [
                (
                    row.request_id,
                    row.fingerprint,
                    row.group_id,
                    row.user_id,
                    row.reason,
                    row.created_ms,
                    row.status,
                )
                for row in await self._storage.refusals_since(since_ms, limit=REQUEST_IDS_KEPT_MAX)
            ]
        )
        intake.set_available(self._resources.free_cups())
        for group in completed:
            await self._settle(intake, group)
        self._groups.start_after((await self._storage.sequences()).group_seq)
        self._groups.replace_all(open_groups)
        self._groups.set_members([(seq, members) for seq, _, _, members in intake.group_counts()])
        return intake

    async def _in_state(self, state: GroupState) -> list[Group]:
        groups: list[Group] = []
        before = 2**62
        while page := await self._storage.groups(before_seq=before, limit=PAGE, state=state):
            groups += page
            before = page[-1].group_seq
        return groups

    async def _closed(self, state: GroupState, since_ms: int) -> list[Group]:
        """Groups made since then, the oldest first, as the table forgets them in that order."""
        groups: list[Group] = []
        before = 2**62
        while len(groups) < CLOSED_READ_MAX:
            page = await self._storage.groups(before_seq=before, limit=CLOSED_PAGE, state=state)
            groups += [group for group in page if group.created_ms >= since_ms]
            if len(page) < CLOSED_PAGE or page[-1].created_ms < since_ms:
                break
            before = page[-1].group_seq
        return groups[::-1]

    async def _restore_since(self, intake: Intake, since_ms: int) -> None:
        after = 0
        while rows := await self._storage.orders_since(since_ms, after=after, limit=ORDERS_PAGE):
            intake.restore_orders([_columns(row) for row in rows])
            after = rows[-1].order_id

    async def _restore_group(self, intake: Intake, group: Group) -> None:
        after = 0
        while rows := await self._storage.orders_of(group.group_seq, after=after, limit=PAGE):
            intake.restore_orders([_columns(row) for row in rows])
            after = rows[-1].order_id

    async def _settle(self, intake: Intake, group: Group) -> None:
        """Orders of a completed group that have a decision wait for none."""
        waiting = dict(intake.orders_of(group.group_seq))
        after = 0
        while rows := await self._storage.decisions(after=after, limit=PAGE, group_seq=group.group_seq):
            for row in rows:
                if waiting.pop(row.order_id, None) is not None:
                    intake.settle([(row.sku, row.quantity)])
            after = rows[-1].sequence


def _columns(row: OrderRow) -> tuple[int, int, str, int, int, int, int, bytes]:
    return (
        row.order_id,
        row.user_id,
        row.request_id,
        row.fingerprint,
        row.created_ms,
        row.rule_revision,
        int(OrderState(row.state)),
        row.body,
    )
