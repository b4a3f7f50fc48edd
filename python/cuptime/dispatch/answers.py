"""Shops and riders as bytes: the first answer to a request_id, exactly as it was given."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import astuple, replace

from cuptime.dispatch.values import Rider, RiderView, Shop, ShopView

_STOCK: Final = Shop.__struct_fields__.index("stock")


def packed(views: Sequence[ShopView] | Sequence[RiderView]) -> bytes:
    """The views, for :func:`shop_views` or :func:`rider_views`. Compressed: a thousand shops with their stock are
    megabytes, and nearly all of it repeats."""
    rows = [(astuple(whole), *left) for whole, *left in map(astuple, views)]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 1)


def shop_views(answer: bytes) -> list[ShopView]:
    """The views of :func:`packed`."""
    return [
        ShopView(_shop(shop), capacity_free, fridge_free, tuple((sku, n, left) for sku, n, left in stock))
        for shop, capacity_free, fridge_free, stock in json.loads(zlib.decompress(answer))
    ]


def rider_views(answer: bytes) -> list[RiderView]:
    """The views of :func:`packed`."""
    return [RiderView(Rider(*rider), load_free) for rider, load_free in json.loads(zlib.decompress(answer))]


def _shop(columns: list[Any]) -> Shop:
    return replace(Shop(*columns), stock=tuple((sku, on_hand) for sku, on_hand in columns[_STOCK]))
