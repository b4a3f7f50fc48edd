"""DispatchService: decisions, why, and the orders that wait for a person."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, NoReturn

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.interventions import Interventions, Resolution
from cuptime.dispatch.ports import RuleVerdict
from cuptime.dispatch.reading import Decisions
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.ports import Storage
from cuptime.domain.values import DecisionRow, Group, InterventionRow, group_seq_of, order_id_of

# The column of a DecisionRow without sequence that has the message.
_BODY: Final = -1
_ORDER_INVALID: Final = "ORDER_INVALID"


def _blame(subject: str, index: int) -> NoReturn:
    """The core names the field from the order on; the caller has it in a list. Raises FIELD_INVALID."""
    field = f"orders[{index}]{subject.removeprefix('order')}"
    raise CuptimeError(
        Reason.FIELD_INVALID, f"{field} is missing or has a value that no order may have", field=field
    )


def _verdict(columns: RuleVerdict) -> pb.RuleVerdict:
    rule, verdict, condition, value, wanted, error = columns
    return pb.RuleVerdict(
        rule=rule,
        verdict=verdict,  # type: ignore[arg-type]
        condition=condition,
        value=value,
        wanted=wanted,
        error=error,
    )


async def group_named(storage: Storage, group_id: int) -> Group:
    """Raises GROUP_NOT_FOUND."""
    group = await storage.group(group_id)
    if group is None:
        raise CuptimeError(
            Reason.GROUP_NOT_FOUND, f"there is no groups/{group_id}", metadata={"group": f"groups/{group_id}"}
        )
    return group


class DispatchEndpoints:
    """The methods of DispatchService."""

    def __init__(
        self, storage: Storage, decisions: Decisions, feed: DecisionFeed, interventions: Interventions
    ) -> None:
        self._storage = storage
        self._decisions = decisions
        self._feed = feed
        self._interventions = interventions

    async def get_decision(self, request: pb.GetDecisionRequest, call: Call) -> pb.GetDecisionResponse:
        row = await self._decisions.get(await self._order_id(request.name))
        return pb.GetDecisionResponse(decision=convert.decision(row))

    async def list_decisions(self, request: pb.ListDecisionsRequest, call: Call) -> pb.ListDecisionsResponse:
        group_seq = await self._group_seq(request.parent)
        size = pages.page_size(request.page_size)
        list_name = f"decisions/{request.parent}"
        after = pages.cursor(list_name, request.page_token, 0)
        rows = await self._decisions.page(after=after, limit=size + 1, group_seq=group_seq)
        shown = [convert.decision(row) for row in rows[:size]]
        token = pages.cut(list_name, rows, shown, lambda row: row.sequence)
        return pb.ListDecisionsResponse(decisions=shown, next_page_token=token)

    async def watch_decisions(
        self, request: pb.WatchDecisionsRequest, call: Call
    ) -> AsyncIterator[pb.WatchDecisionsResponse]:
        if request.after_sequence < -1:
            raise invalid(
                "after_sequence", "-1 (from now on), 0 (all), or a sequence number", request.after_sequence
            )
        group_seq = await self._group_seq(request.parent)
        changes = self._feed.watch(request.after_sequence, group_seq)
        try:
            async for rows in changes:
                decisions = [convert.decision(row) for row in rows]
                while decisions:
                    count = pages.fit(decisions)
                    yield pb.WatchDecisionsResponse(decisions=decisions[:count])
                    del decisions[:count]
        finally:
            await changes.aclose()  # type: ignore[attr-defined]  # it is a generator

    async def explain_decision(
        self, request: pb.ExplainDecisionRequest, call: Call
    ) -> pb.ExplainDecisionResponse:
        group_id, _ = names.decision(request.name)
        if request.sequence < 0:
            raise invalid("sequence", "0 (the latest), or the sequence of a decision", request.sequence)
        explanation = await self._decisions.explain(await self._order_id(request.name), request.sequence)
        return pb.ExplainDecisionResponse(
            decision=convert.decision(explanation.decision),
            order=convert.order(explanation.order, group_id),
            rules=[_verdict(columns) for columns in explanation.verdicts],
            pairs=[
                pb.PairVerdicts(subject=subject, rules=[_verdict(columns) for columns in verdicts])
                for subject, verdicts in explanation.pairs
            ],
        )

    async def preview_decision(
        self, request: pb.PreviewDecisionRequest, call: Call
    ) -> pb.PreviewDecisionResponse:
        group_id = names.group(request.parent, "parent")
        bodies = [order.SerializeToString() for order in request.orders]
        rows = await self._decisions.preview(group_id, bodies)
        decisions = []
        for index, row in enumerate(rows):
            message = pb.Decision.FromString(row[_BODY])
            for reason in message.reasons:
                if reason.code == _ORDER_INVALID:
                    _blame(reason.subject, index)
            message.name = ""
            decisions.append(message)
        return pb.PreviewDecisionResponse(decisions=decisions)

    async def list_interventions(
        self, request: pb.ListInterventionsRequest, call: Call
    ) -> pb.ListInterventionsResponse:
        size = pages.page_size(request.page_size)
        after = pages.cursor("interventions", request.page_token, 0)
        rows = await self._interventions.page(after=after, limit=size + 1)
        # Those of one group wait together: each group is read once.
        seqs = {group_seq_of(row.order_id) for row, _ in rows[:size]}
        groups = {seq: await self._storage.group_by_seq(seq) for seq in seqs}
        shown = [
            _intervention(row, decision, groups[group_seq_of(row.order_id)]) for row, decision in rows[:size]
        ]
        token = pages.cut("interventions", rows, shown, lambda row: row[0].order_id)
        return pb.ListInterventionsResponse(interventions=shown, next_page_token=token)

    async def resolve_intervention(
        self, request: pb.ResolveInterventionRequest, call: Call
    ) -> pb.ResolveInterventionResponse:
        order_id = names.intervention(request.name)
        if not request.resolution:
            raise required("resolution")
        try:
            resolution = Resolution(request.resolution)
        except ValueError:
            raise invalid("resolution", "a known resolution", request.resolution) from None
        shop_id = rider_id = 0
        if resolution is Resolution.ASSIGN:
            shop_id = names.numbered("shops", request.shop, "shop")
            rider_id = names.numbered("riders", request.rider, "rider")
        elif request.shop or request.rider:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION,
                "shop and rider go with RESOLUTION_ASSIGN only",
                field="shop" if request.shop else "rider",
            )
        row = await self._interventions.resolve(
            order_id,
            resolution,
            shop_id=shop_id,
            rider_id=rider_id,
            note=request.note,
            request_id=request.request_id,
        )
        return pb.ResolveInterventionResponse(decision=convert.decision(row) if row is not None else None)

    async def _order_id(self, decision_name: str) -> int:
        group_id, number = names.decision(decision_name)
        return order_id_of((await group_named(self._storage, group_id)).group_seq, number)

    async def _group_seq(self, parent: str) -> int | None:
        group_id = names.group_or_all(parent)
        return None if group_id is None else (await group_named(self._storage, group_id)).group_seq


def _intervention(row: InterventionRow, decision: DecisionRow | None, group: Group | None) -> pb.Intervention:
    return pb.Intervention(
        name=f"interventions/{row.order_id}",
        order=names.order_name(group.group_id, row.order_id) if group else "",
        reasons=convert.decision(decision).reasons if decision is not None else [],
        create_time_ms=row.created_ms,
        attempts=row.attempts,
    )
