"""ShopService and RiderService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Generic, Protocol, TypeVar

from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call
from cuptime.api.fields import etag_of, mask_of
from cuptime.dispatch.riders import Riders
from cuptime.dispatch.shops import Shops
from cuptime.dispatch.values import SHOP_FIELDS, Position, Rider, RiderView, Shop, ShopView, StockChange
from cuptime.domain.errors import required

_Placed = TypeVar("_Placed", bound="shops_pb.Shop | riders_pb.Rider")
_Value = TypeVar("_Value")
_View = TypeVar("_View")


def located(message: _Placed, path: str) -> _Placed:
    """Raises FIELD_REQUIRED without a location; every other field is checked by the room."""
    if not message.HasField("location"):
        raise required(f"{path}.location")
    return message


class _Room(Protocol[_Value, _View]):
    """What both kinds of resource have in common."""

    async def get(self, number: int) -> _View: ...
    async def upsert(
        self, values: list[_Value], /, *, request_id: str = "", validate_only: bool = False
    ) -> list[_View]: ...
    async def page(self, *, after: int, limit: int) -> list[_View]: ...


class _Resources(Generic[_Placed, _Value, _View]):
    """Upsert, get and list of one kind: `plural` names its collection, `read` and `write` are its messages."""

    def __init__(
        self,
        plural: str,
        room: _Room[_Value, _View],
        read: Callable[[_Placed], _Value],
        write: Callable[[_View], _Placed],
    ) -> None:
        self._plural = plural
        self._room = room
        self._read = read
        self._write = write

    async def upsert(
        self, messages: Sequence[_Placed], request_id: str, validate_only: bool
    ) -> list[_Placed]:
        values = [
            self._read(located(message, f"{self._plural}[{index}]")) for index, message in enumerate(messages)
        ]
        views = await self._room.upsert(values, request_id=request_id, validate_only=validate_only)
        return [self._write(view) for view in views]

    async def get(self, name: str) -> _Placed:
        return self._write(await self._room.get(names.numbered(self._plural, name)))

    async def page(self, page_size: int, page_token: str) -> tuple[list[_Placed], str]:
        """The resources shown, and the token of the next page."""
        size = pages.page_size(page_size)
        after = pages.cursor(self._plural, page_token, 0)
        views = await self._room.page(after=after, limit=size + 1)
        shown = [self._write(view) for view in views[:size]]
        del shown[pages.fit(shown) :]
        last = names.numbered(self._plural, shown[-1].name) if shown else 0
        return shown, pages.token(self._plural, last) if len(views) > len(shown) else ""


def shop_message(view: ShopView) -> shops_pb.Shop:
    """The shop with what it has left."""
    shop = view.shop
    message = convert.shop(shop)
    message.MergeFrom(
        shops_pb.Shop(
            name=f"shops/{shop.shop_id}",
            stock=[
                shops_pb.StockLevel(sku=sku, on_hand=on_hand, free=free) for sku, on_hand, free in view.stock
            ],
            capacity_free=view.capacity_free,
            fridge_free=view.fridge_free,
            etag=str(shop.etag),
            update_time_ms=shop.updated_ms,
        )
    )
    return message


def rider_message(view: RiderView) -> riders_pb.Rider:
    """The rider with what is left of the load."""
    rider = view.rider
    message = convert.rider(rider)
    message.MergeFrom(
        riders_pb.Rider(
            name=f"riders/{rider.rider_id}",
            load_free=view.load_free,
            etag=str(rider.etag),
            update_time_ms=rider.updated_ms,
        )
    )
    return message


class ShopEndpoints:
    """The methods of ShopService."""

    def __init__(self, shops: Shops) -> None:
        self._shops = shops
        self._resources = _Resources[shops_pb.Shop, Shop, ShopView](
            "shops", shops, convert.shop_value, shop_message
        )

    async def batch_upsert_shops(
        self, request: shops_pb.BatchUpsertShopsRequest, call: Call
    ) -> shops_pb.BatchUpsertShopsResponse:
        shops = await self._resources.upsert(request.shops, request.request_id, request.validate_only)
        return shops_pb.BatchUpsertShopsResponse(shops=shops)

    async def get_shop(self, request: shops_pb.GetShopRequest, call: Call) -> shops_pb.GetShopResponse:
        return shops_pb.GetShopResponse(shop=await self._resources.get(request.name))

    async def list_shops(self, request: shops_pb.ListShopsRequest, call: Call) -> shops_pb.ListShopsResponse:
        shops, token = await self._resources.page(request.page_size, request.page_token)
        return shops_pb.ListShopsResponse(shops=shops, next_page_token=token)

    async def update_shop(
        self, request: shops_pb.UpdateShopRequest, call: Call
    ) -> shops_pb.UpdateShopResponse:
        if not request.HasField("shop"):
            raise required("shop")
        fields = mask_of(request.update_mask.paths, SHOP_FIELDS)
        message = shops_pb.Shop()
        message.CopyFrom(request.shop)
        message.shop_id = names.numbered("shops", request.shop.name, "shop.name")
        if "location" not in fields:
            message.location.SetInParent()
        view = await self._shops.update(
            convert.shop_value(located(message, "shop")),
            fields,
            etag=etag_of(request.etag) or 0,
            request_id=request.request_id,
            validate_only=request.validate_only,
        )
        return shops_pb.UpdateShopResponse(shop=shop_message(view))

    async def adjust_stock(
        self, request: shops_pb.AdjustStockRequest, call: Call
    ) -> shops_pb.AdjustStockResponse:
        changes = [
            StockChange(
                names.numbered("shops", change.shop, f"changes[{index}].shop"),
                change.sku,
                change.on_hand_delta,
                change.fridge_delta,
            )
            for index, change in enumerate(request.changes)
        ]
        views = await self._shops.adjust_stock(
            changes, request_id=request.request_id, validate_only=request.validate_only
        )
        return shops_pb.AdjustStockResponse(shops=[shop_message(view) for view in views])


class RiderEndpoints:
    """The methods of RiderService."""

    def __init__(self, riders: Riders) -> None:
        self._riders = riders
        self._resources = _Resources[riders_pb.Rider, Rider, RiderView](
            "riders", riders, convert.rider_value, rider_message
        )

    async def batch_upsert_riders(
        self, request: riders_pb.BatchUpsertRidersRequest, call: Call
    ) -> riders_pb.BatchUpsertRidersResponse:
        riders = await self._resources.upsert(request.riders, request.request_id, request.validate_only)
        return riders_pb.BatchUpsertRidersResponse(riders=riders)

    async def get_rider(self, request: riders_pb.GetRiderRequest, call: Call) -> riders_pb.GetRiderResponse:
        return riders_pb.GetRiderResponse(rider=await self._resources.get(request.name))

    async def list_riders(
        self, request: riders_pb.ListRidersRequest, call: Call
    ) -> riders_pb.ListRidersResponse:
        riders, token = await self._resources.page(request.page_size, request.page_token)
        return riders_pb.ListRidersResponse(riders=riders, next_page_token=token)

    async def stream_positions(
        self, requests: AsyncIterator[riders_pb.StreamPositionsRequest], call: Call
    ) -> riders_pb.StreamPositionsResponse:
        total = riders_pb.StreamPositionsResponse()
        async for request in requests:
            positions = [
                Position(
                    position.rider_id,
                    position.location.latitude,
                    position.location.longitude,
                    position.measure_time_ms,
                )
                for position in request.positions
            ]
            taken = self._riders.move(positions)
            total.accepted += taken.accepted
            total.stale += taken.stale
            total.unknown += taken.unknown
        return total
