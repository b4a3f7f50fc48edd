"""What the service says is left, asked when everything has come to rest; the audit compares it with storage."""

from __future__ import annotations

from typing import Final

import grpc

from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime.app.morning.client import Message
from cuptime.app.morning.records import Records
from cuptime.domain.clock import SystemClock

PAGE: Final = 100


async def write_down(connection: grpc.aio.Channel, records: Records) -> None:
    """Every shop and every rider, as records of their own."""
    async for shop in _all(
        connection, "ShopService/ListShops", shops_pb.ListShopsRequest, shops_pb.ListShopsResponse, "shops"
    ):
        stock = [[level.sku, level.free] for level in shop.stock]
        records.write("shop", shop.shop_id, SystemClock().now_ms(), shop.capacity_free, stock)
    async for rider in _all(
        connection,
        "RiderService/ListRiders",
        riders_pb.ListRidersRequest,
        riders_pb.ListRidersResponse,
        "riders",
    ):
        records.write("rider", rider.rider_id, rider.load_free)
    records.flush()


async def _all(
    connection: grpc.aio.Channel, method: str, request: Message, response: Message, field: str
) -> Message:
    call = connection.unary_unary(
        f"/cuptime.v1.{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    token = ""
    while True:
        answer = await call(request(page_size=PAGE, page_token=token), timeout=30, wait_for_ready=True)
        for entry in getattr(answer, field):
            yield entry
        token = answer.next_page_token
        if not token:
            return
