"""Changes of shops: checked, durable, then known to the gate, the dispatcher and admission."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.answers import packed, shop_views
from cuptime.dispatch.counters import fridge_key, stock_key
from cuptime.dispatch.resources import Resources, check_room, next_etag
from cuptime.dispatch.values import (
    FRIDGE_SLOTS_MAX,
    ON_HAND_MAX,
    SHOP_FIELDS,
    Shop,
    ShopView,
    StockChange,
    check_count,
    check_no_repeats,
    check_shop,
)
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import SHOPS_MAX
from cuptime.domain.requests import Made
from cuptime.domain.values import ShopRow, StockRow
from cuptime.domain.writes import PutShops, PutStock, Write

_COLUMNS: Final = {"location": ("latitude", "longitude")}


class Shops:
    """Upsert, update, adjust, get and list."""

    def __init__(self, resources: Resources) -> None:
        self._own = resources

    async def get(self, shop_id: int) -> ShopView:
        """Raises SHOP_NOT_FOUND."""
        return (await self._own.shop_views([shop_id]))[0]

    async def upsert(
        self, shops: Sequence[Shop], *, request_id: str = "", validate_only: bool = False
    ) -> list[ShopView]:
        """Creates or replaces shops with their stock, all or none. Raises FIELD_*, TOO_MANY_ENTRIES, LIMIT_REACHED."""
        check_count("shops", len(shops))
        for index, shop in enumerate(shops):
            check_shop(f"shops[{index}]", shop)
        ids = [shop.shop_id for shop in shops]
        check_no_repeats("shops", ids, "shop_id")
        check_room("shops", len(self._own.shops) + sum(i not in self._own.shops for i in ids), SHOPS_MAX)
        if validate_only:
            return [self._view_as_given(shop) for shop in shops]

        async def make() -> Made:
            now_ms = self._own.clock.now_ms()
            fresh = [
                replace(shop, etag=next_etag(self._own.shops.get(shop.shop_id)), updated_ms=now_ms)
                for shop in shops
            ]
            kept[:] = fresh
            counted[:] = [now_ms]
            stock = [
                StockRow(shop.shop_id, sku, n, now_ms) for shop in fresh for sku, n in self._own.levels(shop)
            ]
            writes: list[Write] = [PutShops([self._shop_row(shop) for shop in fresh])]
            return ([*writes, PutStock(stock)] if stock else writes), await self._answer(fresh, now_ms)

        kept: list[Shop] = []
        counted: list[int] = []
        return await self._changed("BatchUpsertShops", request_id, shops, make, kept, counted)

    async def update(
        self,
        changed: Shop,
        mask: Collection[str],
        *,
        etag: int = 0,
        request_id: str = "",
        validate_only: bool = False,
    ) -> ShopView:
        """Takes the fields named in `mask` from `changed`. `etag` 0 is any. Raises SHOP_NOT_FOUND, ETAG_MISMATCH,
        FIELD_UNKNOWN, FIELD_*."""
        if not mask:
            raise required("update_mask")
        for path in mask:
            if path not in SHOP_FIELDS:
                raise CuptimeError(
                    Reason.FIELD_UNKNOWN,
                    f"update_mask names {path!r}; known: {', '.join(sorted(SHOP_FIELDS))}",
                    field="update_mask",
                )

        def merged() -> Shop:
            shop = self._own.shop(changed.shop_id)
            if etag and etag != shop.etag:
                raise CuptimeError(
                    Reason.ETAG_MISMATCH,
                    field="etag",
                    metadata={"measured": str(etag), "wanted": str(shop.etag)},
                )
            names = [name for path in mask for name in _COLUMNS.get(path, (path,))]
            fresh = replace(shop, **{name: getattr(changed, name) for name in names})
            check_shop("shop", fresh)
            return fresh

        async def make() -> Made:
            shop = merged()
            kept[:] = [replace(shop, etag=next_etag(shop), updated_ms=self._own.clock.now_ms())]
            return [PutShops([self._shop_row(kept[0])])], await self._answer(kept)

        kept: list[Shop] = []
        if validate_only:
            return self._view_as_given(merged())
        fingerprint = (changed, sorted(mask), etag)
        return (await self._changed("UpdateShop", request_id, fingerprint, make, kept))[0]

    async def adjust_stock(
        self, changes: Sequence[StockChange], *, request_id: str = "", validate_only: bool = False
    ) -> list[ShopView]:
        """Adds to stock and fridge slots, all or none, never below what is reserved (CAPACITY_EXCEEDED)."""
        check_count("changes", len(changes))
        ids = list(dict.fromkeys(change.shop_id for change in changes))

        async def make() -> Made:
            kept[:] = self._adjusted(changes)
            await self._check_taken(kept)
            now_ms = self._own.clock.now_ms()
            kept[:] = [replace(shop, etag=next_etag(shop), updated_ms=now_ms) for shop in kept]
            counted_ms = self._own.standing.counted_ms
            stock = [
                StockRow(shop.shop_id, sku, n, counted_ms.get((shop.shop_id, sku), 0))
                for shop in kept
                for sku, n in shop.stock
            ]
            rows = [self._shop_row(shop) for shop in kept]
            return [PutShops(rows), PutStock(stock)], await self._answer(kept)

        kept: list[Shop] = []
        if validate_only:
            async with self._own.counters.lock:
                await self._check_taken(self._adjusted(changes))
            return await self._own.shop_views(ids)
        return await self._changed("AdjustStock", request_id, changes, make, kept)

    async def page(self, *, after: int, limit: int) -> list[ShopView]:
        """By id, from `after` (exclusive) on."""
        return await self._own.shop_views(sorted(i for i in self._own.shops if i > after)[:limit])

    async def _answer(self, fresh: Sequence[Shop], counted_ms: int | None = None) -> bytes:
        return packed(await self._own.shop_views_after(fresh, counted_ms))

    async def _changed(
        self,
        method: str,
        request_id: str,
        input_: object,
        make: Callable[[], Awaitable[Made]],
        kept: list[Shop],
        counted: Sequence[int] = (),
    ) -> list[ShopView]:
        """`make` puts the shops as they shall be into `kept`, and into `counted` when their stock was counted."""

        async def follow() -> None:
            await self._own.take_shops(kept, counted[0] if counted else None)

        answer = await self._own.change(method, request_id, input_, make, follow)
        return shop_views(answer)

    def _shop_row(self, shop: Shop) -> ShopRow:
        return ShopRow(
            shop.shop_id,
            self._own.bodies.shop_body(shop),
            shop.daily_capacity,
            shop.fridge_slots,
            shop.updated_ms,
            shop.etag,
        )

    def _view_as_given(self, shop: Shop) -> ShopView:
        stock = tuple((sku, on_hand, on_hand) for sku, on_hand in shop.stock)
        return ShopView(shop, shop.daily_capacity, shop.fridge_slots, stock)

    def _adjusted(self, changes: Sequence[StockChange]) -> list[Shop]:
        """The shops with all changes in; raises what does not fit."""
        shops: dict[int, Shop] = {}
        for index, change in enumerate(changes):
            path = f"changes[{index}]"
            shop = shops.get(change.shop_id) or self._own.shop(change.shop_id)
            if not change.sku and not change.fridge_delta:
                raise required(f"{path}.sku")
            if change.on_hand_delta and not change.sku:
                raise required(f"{path}.sku")
            stock = dict(shop.stock)
            if change.sku:
                if change.sku not in stock:
                    metadata = {"shop": f"shops/{shop.shop_id}", "sku": change.sku}
                    raise CuptimeError(
                        Reason.SKU_NOT_FOUND,
                        f"shops/{shop.shop_id} does not offer {change.sku}; offer it by BatchUpsertShops",
                        field=f"{path}.sku",
                        metadata=metadata,
                    )
                stock[change.sku] += change.on_hand_delta
            slots = shop.fridge_slots + change.fridge_delta
            if change.sku and stock[change.sku] > ON_HAND_MAX:
                raise invalid(
                    f"{path}.on_hand_delta", f"a sum of at most {ON_HAND_MAX} cups", stock[change.sku]
                )
            if slots > FRIDGE_SLOTS_MAX:
                raise invalid(f"{path}.fridge_delta", f"a sum of at most {FRIDGE_SLOTS_MAX} slots", slots)
            if change.sku and stock[change.sku] < 0:
                raise _exceeded(
                    f"{path}.on_hand_delta", stock_key(shop.shop_id, change.sku), stock[change.sku]
                )
            if slots < 0:
                raise _exceeded(f"{path}.fridge_delta", fridge_key(shop.shop_id), slots)
            shops[change.shop_id] = replace(shop, fridge_slots=slots, stock=tuple(stock.items()))
            check_shop(f"{path}", shops[change.shop_id])
        return list(shops.values())

    async def _check_taken(self, shops: Sequence[Shop]) -> None:
        """Under the lock: no limit goes below what is reserved."""
        keys: list[str] = []
        falls: list[int] = []
        for shop in shops:
            before = self._own.shop(shop.shop_id)
            keys.append(fridge_key(shop.shop_id))
            falls.append(before.fridge_slots - shop.fridge_slots)
            for sku, on_hand in shop.stock:
                keys.append(stock_key(shop.shop_id, sku))
                falls.append(self._own.cups.levels[shop.shop_id][sku] - on_hand)
        for key, fall, free in zip(keys, falls, await self._own.counters.gate.free(keys), strict=True):
            if fall > 0 and free < fall:
                raise _exceeded("changes", key, free - fall)


def _exceeded(field: str, key: str, left: int) -> CuptimeError:
    return CuptimeError(
        Reason.CAPACITY_EXCEEDED,
        f"{key} would fall {-left} below what is reserved or there",
        field=field,
        metadata={"key": key, "measured": str(left), "limit": "0"},
    )
