"""ShopService and RiderService."""

from __future__ import annotations

from collections.abc import AsyncIterator

from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call
from cuptime.api.fields import etag_of, mask_of
from cuptime.dispatch.riders import Riders
from cuptime.dispatch.shops import Shops
from cuptime.dispatch.values import SHOP_FIELDS, Position, Rider, RiderView, Shop, ShopView, StockChange
from cuptime.domain.errors import required


def shop_of(message: shops_pb.Shop, path: str) -> Shop:
    """The shop as a value; its form is checked by the room. Raises FIELD_REQUIRED without a location."""
    if not message.HasField("location"):
        raise required(f"{path}.location")
    return convert.shop_value(message)


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


def rider_of(message: riders_pb.Rider, path: str) -> Rider:
    """The rider as a value; its form is checked by the room. Raises FIELD_REQUIRED without a location."""
    if not message.HasField("location"):
        raise required(f"{path}.location")
    return convert.rider_value(message)


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

    async def batch_upsert_shops(
        self, request: shops_pb.BatchUpsertShopsRequest, call: Call
    ) -> shops_pb.BatchUpsertShopsResponse:
        shops = [shop_of(shop, f"shops[{index}]") for index, shop in enumerate(request.shops)]
        views = await self._shops.upsert(
            shops, request_id=request.request_id, validate_only=request.validate_only
        )
        return shops_pb.BatchUpsertShopsResponse(shops=[shop_message(view) for view in views])

    async def get_shop(self, request: shops_pb.GetShopRequest, call: Call) -> shops_pb.GetShopResponse:
        view = await self._shops.get(names.numbered("shops", request.name))
        return shops_pb.GetShopResponse(shop=shop_message(view))

    async def list_shops(self, request: shops_pb.ListShopsRequest, call: Call) -> shops_pb.ListShopsResponse:
        size = pages.page_size(request.page_size)
        after = pages.cursor("shops", request.page_token, 0)
        views = await self._shops.page(after=after, limit=size + 1)
        shown = [shop_message(view) for view in views[:size]]
        del shown[pages.fit(shown) :]
        token = pages.token("shops", shown[-1].shop_id) if len(views) > len(shown) else ""
        return shops_pb.ListShopsResponse(shops=shown, next_page_token=token)

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
            shop_of(message, "shop"),
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

    async def batch_upsert_riders(
        self, request: riders_pb.BatchUpsertRidersRequest, call: Call
    ) -> riders_pb.BatchUpsertRidersResponse:
        riders = [rider_of(rider, f"riders[{index}]") for index, rider in enumerate(request.riders)]
        views = await self._riders.upsert(
            riders, request_id=request.request_id, validate_only=request.validate_only
        )
        return riders_pb.BatchUpsertRidersResponse(riders=[rider_message(view) for view in views])

    async def get_rider(self, request: riders_pb.GetRiderRequest, call: Call) -> riders_pb.GetRiderResponse:
        view = await self._riders.get(names.numbered("riders", request.name))
        return riders_pb.GetRiderResponse(rider=rider_message(view))

    async def list_riders(
        self, request: riders_pb.ListRidersRequest, call: Call
    ) -> riders_pb.ListRidersResponse:
        size = pages.page_size(request.page_size)
        after = pages.cursor("riders", request.page_token, 0)
        views = await self._riders.page(after=after, limit=size + 1)
        token = pages.token("riders", views[size - 1].rider.rider_id) if len(views) > size else ""
        shown = [rider_message(view) for view in views[:size]]
        return riders_pb.ListRidersResponse(riders=shown, next_page_token=token)

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
