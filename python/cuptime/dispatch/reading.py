"""Questions about decisions: get, list, explain, and what would be decided now. Nothing is changed by any of them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.ports import DecisionColumns, PairVerdicts, RuleVerdict
from cuptime.dispatch.queue import group_columns
from cuptime.dispatch.values import check_count
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import DecisionRow, Group, OrderRow, group_seq_of, order_id_of


class Explanation(Struct, frozen=True):
    """A decision, the order it was made for, and each rule's verdict under the revision of that time."""

    decision: DecisionRow
    order: OrderRow
    verdicts: list[RuleVerdict]
    pairs: list[PairVerdicts]


class Decisions:
    """Reads for callers."""

    def __init__(self, line: DecisionLine) -> None:
        self._line = line
        self._storage = line.means.storage

    async def get(self, order_id: int) -> DecisionRow:
        """The latest. Raises ORDER_NOT_FOUND, DECISION_NOT_FOUND."""
        decision = await self._storage.decision(order_id)
        if decision is None:
            await self._order(order_id)
            raise CuptimeError(Reason.DECISION_NOT_FOUND)
        return decision

    async def page(self, *, after: int, limit: int, group_seq: int | None = None) -> list[DecisionRow]:
        """By sequence, from `after` (exclusive) on."""
        return await self._storage.decisions(after=after, limit=limit, group_seq=group_seq)

    async def explain(self, order_id: int, sequence: int = 0) -> Explanation:
        """Judges the recorded input again under the decision's own rule revision; of the latest decision, or of that
        with this sequence. Raises ORDER_NOT_FOUND, DECISION_NOT_FOUND, RULE_REVISION_NOT_FOUND, and RULES_INVALID for
        a revision that does not compile any more."""
        decision = await (self._of_sequence(order_id, sequence) if sequence else self.get(order_id))
        order = await self._order(order_id)
        group = await self._storage.group_by_seq(group_seq_of(order_id))
        if group is None:
            raise CuptimeError(Reason.GROUP_NOT_FOUND)
        rules = await self._line.means.rules.compiled(decision.rule_revision)
        if rules is None:
            return Explanation(decision, order, [], [])
        columns = group_columns(group, decision.decided_ms)
        verdicts, pairs = self._line.means.core.explain(
            rules, columns, order.body, decision.body, decision.decided_ms
        )
        return Explanation(decision, order, verdicts, pairs)

    async def preview(self, group_id: int, bodies: Sequence[bytes]) -> list[DecisionColumns]:
        """What would be decided for these orders if the group completed now; in their order. Nothing is reserved, and
        the order numbers are made up from 1. Raises GROUP_NOT_FOUND, FIELD_*."""
        check_count("orders", len(bodies))
        group = await self._group(group_id)
        now_ms = self._line.means.clock.now_ms()
        snapshot = self._line.means.rules.snapshot()
        fresh = replace(group, completed_ms=now_ms, member_count=len(bodies))
        orders = [(order_id_of(group.group_seq, number), body) for number, body in enumerate(bodies, 1)]
        columns = group_columns(fresh, now_ms)
        counters = self._line.counters
        async with counters.of_day(counters.calendar.day(columns[8]).name):
            decided = self._line.means.core.decide(
                counters.dispatcher,
                self._line.means.skus,
                snapshot.rules,
                snapshot.revision,
                [columns],
                orders,
                now_ms,
                1,
                self._line.resources.origin,
                self._line.means.policy,
            )
        return decided.rows

    async def _group(self, group_id: int) -> Group:
        group = await self._storage.group(group_id)
        if group is None:
            metadata = {"group": f"groups/{group_id}"}
            raise CuptimeError(Reason.GROUP_NOT_FOUND, f"there is no groups/{group_id}", metadata=metadata)
        return group

    async def _of_sequence(self, order_id: int, sequence: int) -> DecisionRow:
        """Raises DECISION_NOT_FOUND, also when it is another order's."""
        found = await self.page(after=sequence - 1, limit=1, group_seq=group_seq_of(order_id))
        for decision in found:
            if decision.sequence == sequence and decision.order_id == order_id:
                return decision
        metadata = {"sequence": str(sequence)}
        raise CuptimeError(
            Reason.DECISION_NOT_FOUND,
            f"this order has no decision with sequence {sequence}",
            metadata=metadata,
        )

    async def _order(self, order_id: int) -> OrderRow:
        order = await self._storage.order(order_id)
        if order is None:
            raise CuptimeError(Reason.ORDER_NOT_FOUND)
        return order
