"""GroupService. Orders are hot: their three methods take bytes and give bytes, and no message is made of them here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from cuptime._gen.cuptime.v1 import group_service_pb2 as pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call, RawReply
from cuptime.api.fields import etag_of, state_of
from cuptime.api.status import error_in
from cuptime.domain.errors import invalid, required
from cuptime.domain.values import Group, GroupState, order_id_of
from cuptime.groups.cancel import Cancellations
from cuptime.groups.intake import IntakeLine
from cuptime.groups.life import PARK_CHARS_MAX, Groups

UNARY: Final = 0
BATCH: Final = 1
INGEST: Final = 2
MESSAGES_AHEAD_MAX: Final = 64
"""Messages of one IngestOrders stream that may wait for their commits; then the stream is read no further."""
_NEWEST: Final = 2**62


def group_of(message: pb.Group) -> Group:
    """The group as a value; its form is checked by the room. Raises FIELD_REQUIRED without a location."""
    if not message.HasField("location"):
        raise required("group.location")
    return Group(
        group_seq=0,
        group_id=message.group_id,
        park=message.park,
        latitude=message.location.latitude,
        longitude=message.location.longitude,
        capacity=message.capacity,
        min_size=message.min_size,
        deadline_ms=message.deadline_time_ms,
        purchase_limit=message.purchase_limit,
        pack_out_after_ms=message.pack_out_after_ms,
        deliver_within_ms=message.deliver_within_ms,
        state=GroupState.OPEN,
        member_count=0,
        created_ms=0,
    )


class GroupEndpoints:
    """The methods of GroupService."""

    def __init__(self, groups: Groups, intake: IntakeLine, cancellations: Cancellations) -> None:
        self._groups = groups
        self._intake = intake
        self._cancellations = cancellations

    # --- hot ------------------------------------------------------------------------------------------------------
    def submit_order(self, raw: bytes) -> asyncio.Future[RawReply]:
        return self._intake.submit(UNARY, raw)

    def batch_submit_orders(self, raw: bytes) -> asyncio.Future[RawReply]:
        return self._intake.submit(BATCH, raw)

    async def ingest_orders(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        """Reads ahead of the commits, and answers in the order sent."""
        waiting: asyncio.Queue[asyncio.Future[RawReply] | None] = asyncio.Queue(MESSAGES_AHEAD_MAX)

        async def read() -> None:
            try:
                async for raw in requests:
                    await waiting.put(self._intake.submit(INGEST, raw))
            except Exception:
                await waiting.put(None)
                raise
            # Not when cancelled: then nobody takes anything, and a full queue would be waited for without end.
            await waiting.put(None)

        reader = asyncio.create_task(read())
        try:
            while (submitted := await waiting.get()) is not None:
                code, reply = await submitted
                if code:
                    raise error_in(reply)
                yield reply
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)
            while not waiting.empty():
                # Judged already: the orders stay, and a repeat gets their answer.
                left = waiting.get_nowait()
                if left is not None:
                    left.cancel()
                    await asyncio.gather(left, return_exceptions=True)

    # --- the rest -------------------------------------------------------------------------------------------------
    async def create_group(self, request: pb.CreateGroupRequest, call: Call) -> pb.CreateGroupResponse:
        if not request.HasField("group"):
            raise required("group")
        group = await self._groups.create(
            group_of(request.group), request_id=request.request_id, validate_only=request.validate_only
        )
        return pb.CreateGroupResponse(group=convert.group(group))

    async def get_group(self, request: pb.GetGroupRequest, call: Call) -> pb.GetGroupResponse:
        group = await self._groups.get(names.group(request.name))
        return pb.GetGroupResponse(group=convert.group(group))

    async def list_groups(self, request: pb.ListGroupsRequest, call: Call) -> pb.ListGroupsResponse:
        state = state_of(GroupState, request.state, "a group")
        size = pages.page_size(request.page_size)
        if len(request.park) > PARK_CHARS_MAX:
            raise invalid("park", f"at most {PARK_CHARS_MAX} characters", request.park)
        list_name = f"groups/{request.state}/{request.park}"
        before = pages.cursor(list_name, request.page_token, _NEWEST)
        found = await self._groups.page(
            before_seq=before, limit=size + 1, state=state, park=request.park or None
        )
        shown = [convert.group(group) for group in found[:size]]
        token = pages.cut(list_name, found, shown, lambda group: group.group_seq)
        return pb.ListGroupsResponse(groups=shown, next_page_token=token)

    async def get_order(self, request: pb.GetOrderRequest, call: Call) -> pb.GetOrderResponse:
        group_id, number = names.order(request.name)
        order = await self._groups.order(group_id, number)
        return pb.GetOrderResponse(order=convert.order(order, group_id))

    async def list_orders(self, request: pb.ListOrdersRequest, call: Call) -> pb.ListOrdersResponse:
        group_id = names.group(request.parent, "parent")
        group = await self._groups.get(group_id)
        size = pages.page_size(request.page_size)
        list_name = f"orders/{group_id}"
        after = pages.cursor(list_name, request.page_token, order_id_of(group.group_seq, 0))
        found = await self._groups.orders(group_id, after=after, limit=size + 1)
        shown = [convert.order(order, group_id) for order in found[:size]]
        token = pages.cut(list_name, found, shown, lambda order: order.order_id)
        return pb.ListOrdersResponse(orders=shown, next_page_token=token)

    async def cancel_order(self, request: pb.CancelOrderRequest, call: Call) -> pb.CancelOrderResponse:
        group_id, number = names.order(request.name)
        order = await self._cancellations.cancel(
            group_id, number, request_id=request.request_id, validate_only=request.validate_only
        )
        return pb.CancelOrderResponse(order=convert.order(order, group_id))

    async def complete_group(self, request: pb.CompleteGroupRequest, call: Call) -> pb.CompleteGroupResponse:
        group = await self._groups.complete(
            names.group(request.name),
            etag=etag_of(request.etag) or 0,
            force=request.force,
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return pb.CompleteGroupResponse(group=convert.group(group))

    async def watch_group(
        self, request: pb.WatchGroupRequest, call: Call
    ) -> AsyncIterator[pb.WatchGroupResponse]:
        changes = self._groups.watch(names.group(request.name))
        try:
            async for group in changes:
                yield pb.WatchGroupResponse(group=convert.group(group))
        finally:
            await changes.aclose()  # type: ignore[attr-defined]  # it is a generator
