"""Shops and riders: kept in storage, fed to the gate, to the core's dispatcher and to admission.

What is in memory here is a copy of storage that `recover` rebuilds. A day is a UTC day: capacity, stock and load count
what is packed out from its midnight on, after a restart as without one, so at midnight everything is rebuilt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from cuptime.dispatch.counters import Counters, capacity_key, fridge_key, load_key, stock_key
from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.ports import (
    Admission,
    Bodies,
    Core,
    NoAdmission,
    Place,
    RiderColumns,
    ShopColumns,
    Timers,
)
from cuptime.dispatch.values import DAY_MS, FAR_MS, Rider, RiderView, Shop, ShopView, open_window_ms
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, Reservation, Storage
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import DecisionRow, Fence

PAGE: Final = 1_000
SPEED_DEFAULT_M_PER_MIN: Final = 250
"""15 km/h, when a rider names no speed."""
NOT_OFFERED: Final = -1
"""`on_hand` of a SKU that a shop had and offers no more: there is no row that takes one away."""
OFFERS_ALL: Final = 0b111

_Row = TypeVar("_Row")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recovered:
    """What `recover` read."""

    shops: int
    riders: int
    standing: int


class Resources:
    """The shops and riders of the shard. Changes are serialised by the counters' lock; reads never wait."""

    def __init__(
        self,
        storage: Storage,
        fence: Fence,
        clock: Clock,
        counters: Counters,
        core: Core,
        bodies: Bodies,
        requests: Requests,
        timers: Timers,
        origin: Place | None = None,
    ) -> None:
        """`origin` is where the plane touches the globe; the first shop when None."""
        self.counters = counters
        self.admission: Admission = NoAdmission()
        self.read_standing: Callable[[list[DecisionRow]], None] = lambda _rows: None
        """Hears, whenever all is read from storage, of the assignments whose pick-up lies ahead."""
        self.doubt: Callable[[], None] = lambda: None
        """Has all that is in memory rebuilt from storage, soon."""
        self.storage = storage
        self.fence = fence
        self.clock = clock
        self.core = core
        self.bodies = bodies
        self._requests = requests
        self._timers = timers
        self._given_origin = origin
        self._origin = origin
        self.shops: dict[int, Shop] = {}
        self.stock: dict[int, dict[str, int]] = {}
        self.riders: dict[int, Rider] = {}
        self._taken: Counter[str] = Counter()
        """Cups by SKU that standing assignments have."""
        self._window_timer = 0
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> Place:
        return self._origin or (0.0, 0.0)

    @property
    def shop_count(self) -> int:
        return len(self.shops)

    @property
    def rider_count(self) -> int:
        return len(self.riders)

    async def recover(self) -> Recovered:
        """Rebuilds memory, gate and dispatcher from storage. Nobody may reserve meanwhile."""
        now_ms = self.clock.now_ms()
        shop_rows = await _all(lambda at: self.storage.shops(after=at, limit=PAGE), lambda row: row.shop_id)
        rider_rows = await _all(
            lambda at: self.storage.riders(after=at, limit=PAGE), lambda row: row.rider_id
        )
        shops = [self.bodies.shop(row) for row in shop_rows]
        riders = [self.bodies.rider(row) for row in rider_rows]
        stock: dict[int, dict[str, int]] = {shop.shop_id: {} for shop in shops}
        for row in await self.storage.stock():
            stock.setdefault(row.shop_id, {})[row.sku] = row.on_hand
        midnight_ms = now_ms - now_ms % DAY_MS
        ahead: list[DecisionRow] = []
        standing = [row async for row in self._standing(midnight_ms, now_ms, ahead)]
        async with self.counters.lock:
            self.shops = {shop.shop_id: _offered(shop, stock) for shop in shops}
            self.stock = stock
            self.riders = {rider.rider_id: self._where_it_is(rider) for rider in riders}
            self._taken = Counter()
            for held in standing:
                self._taken[held.sku] += held.quantity
            self._origin = self._given_origin
            self._set_origin(self.shops.values())
            await self.counters.gate.reset(
                limits_of(self.shops.values(), self.riders.values()), standing, now_ms
            )
            self.counters.watch_pickups(standing)
            await self._feed_shops(list(self.shops))
            await self.feed_riders(list(self.riders))
        self._tell_cups(set().union(*stock.values()) if stock else set())
        self._watch_windows()
        self.read_standing(ahead)
        return Recovered(len(shops), len(riders), len(standing))

    def _where_it_is(self, stored: Rider) -> Rider:
        """The same rider as in memory may have moved since it was saved."""
        known = self.riders.get(stored.rider_id)
        return known if known is not None and known.etag == stored.etag else stored

    async def _standing(
        self, from_ms: int, now_ms: int, ahead: list[DecisionRow]
    ) -> AsyncIterator[Reservation]:
        """What stands from `from_ms` on; rows whose pick-up lies ahead are kept in `ahead` too."""
        after = 0
        while rows := await self.storage.standing_assignments(
            pack_out_from_ms=from_ms, after=after, limit=PAGE
        ):
            for row in rows:
                yield reservation_of(row)
            ahead += [row for row in rows if row.pickup_ms > now_ms]
            after = rows[-1].sequence

    def close(self) -> None:
        if self._window_timer:
            self._timers.forget(self._window_timer)
        for work in self._under_way:
            work.cancel()

    def shop(self, shop_id: int) -> Shop:
        """Raises SHOP_NOT_FOUND."""
        shop = self.shops.get(shop_id)
        if shop is None:
            metadata = {"shop": f"shops/{shop_id}"}
            raise CuptimeError(Reason.SHOP_NOT_FOUND, f"there is no shops/{shop_id}", metadata=metadata)
        return shop

    def rider(self, rider_id: int) -> Rider:
        """Raises RIDER_NOT_FOUND."""
        rider = self.riders.get(rider_id)
        if rider is None:
            metadata = {"rider": f"riders/{rider_id}"}
            raise CuptimeError(Reason.RIDER_NOT_FOUND, f"there is no riders/{rider_id}", metadata=metadata)
        return rider

    async def shop_views(self, shop_ids: Sequence[int]) -> list[ShopView]:
        """Shops with what they have left. Raises SHOP_NOT_FOUND."""
        shops = [self.shop(shop_id) for shop_id in shop_ids]
        day_ms = self.counters.pack_out_day_ms()
        keys: list[str] = []
        for shop in shops:
            keys += [capacity_key(shop.shop_id, day_ms), fridge_key(shop.shop_id)]
            keys += [stock_key(shop.shop_id, sku) for sku, _ in shop.stock]
        free = iter(await self.counters.gate.free(keys))
        return [
            ShopView(
                shop,
                capacity_free=max(0, next(free)),
                fridge_free=max(0, next(free)),
                stock=tuple((sku, on_hand, max(0, next(free))) for sku, on_hand in shop.stock),
            )
            for shop in shops
        ]

    async def shop_views_after(self, fresh: Sequence[Shop]) -> list[ShopView]:
        """What `shop_views` will say of these when their change is durable; under the lock. So the answer can be kept
        in the very commit of the change. Where more is reserved than there was, the excess is not seen."""
        day_ms = self.counters.pack_out_day_ms()
        keys: list[str] = []
        grown: list[int] = []
        for shop in fresh:
            before = self.shops.get(shop.shop_id)
            stock = self.stock.get(shop.shop_id, {})
            keys += [capacity_key(shop.shop_id, day_ms), fridge_key(shop.shop_id)]
            grown.append(shop.daily_capacity - (before.daily_capacity if before else 0))
            grown.append(shop.fridge_slots - (before.fridge_slots if before else 0))
            for sku, on_hand in shop.stock:
                keys.append(stock_key(shop.shop_id, sku))
                grown.append(on_hand - max(0, stock.get(sku, 0)))
        now = await self.counters.gate.free(keys)
        free = iter([max(0, left + more) for left, more in zip(now, grown, strict=True)])
        return [
            ShopView(shop, next(free), next(free), tuple((sku, n, next(free)) for sku, n in shop.stock))
            for shop in fresh
        ]

    async def rider_views_after(self, fresh: Sequence[Rider]) -> list[RiderView]:
        """As `shop_views_after`."""
        before = [self.riders.get(rider.rider_id) for rider in fresh]
        now = await self.counters.gate.free([load_key(rider.rider_id) for rider in fresh])
        return [
            RiderView(rider, max(0, left + rider.max_load - (old.max_load if old else 0)))
            for rider, old, left in zip(fresh, before, now, strict=True)
        ]

    async def rider_views(self, rider_ids: Sequence[int]) -> list[RiderView]:
        """Riders with what is left of their load. Raises RIDER_NOT_FOUND."""
        riders = [self.rider(rider_id) for rider_id in rider_ids]
        free = await self.counters.gate.free([load_key(rider_id) for rider_id in rider_ids])
        return [RiderView(rider, max(0, left)) for rider, left in zip(riders, free, strict=True)]

    def cups_taken(self, rows: Iterable[tuple[str, int]], settled: Iterable[tuple[str, int]]) -> None:
        """(sku, cups) that became standing assignments, and that wait for a decision no more."""
        taken: Counter[str] = Counter()
        for sku, cups in rows:
            taken[sku] += cups
        self._taken.update(taken)
        done: Counter[str] = Counter()
        for sku, cups in settled:
            done[sku] += cups
        self.admission.cups_changed([(sku, self._available(sku)) for sku in taken], list(done.items()))

    def cups_released(self, reservations: Sequence[Reservation]) -> None:
        """Standing assignments that were given back."""
        self.cups_taken([(held.sku, -held.quantity) for held in reservations], [])

    def cups(self) -> list[tuple[str, int]]:
        """Free cups of every SKU offered, for an admission that starts."""
        skus: set[str] = set().union(*self.stock.values()) if self.stock else set()
        return [(sku, self._available(sku)) for sku in sorted(skus)]

    def _available(self, sku: str) -> int:
        levels = [stock[sku] for stock in self.stock.values() if stock.get(sku, NOT_OFFERED) >= 0]
        return max(0, sum(levels) - self._taken[sku]) if levels else NOT_OFFERED

    def _tell_cups(self, skus: Iterable[str]) -> None:
        self.admission.cups_changed([(sku, self._available(sku)) for sku in skus], [])

    async def change(
        self,
        method: str,
        request_id: str,
        input_: object,
        make: Callable[[], Awaitable[Made]],
        follow: Callable[[], Awaitable[None]],
    ) -> bytes:
        """Commits a change under the lock, then has memory follow it; a repeat changes nothing. Both go to their end
        even when the caller hangs up. The answer that `make` gave, or for a repeat the first one."""
        return await to_the_end(self._change(method, request_id, input_, make, follow))

    async def _change(
        self,
        method: str,
        request_id: str,
        input_: object,
        make: Callable[[], Awaitable[Made]],
        follow: Callable[[], Awaitable[None]],
    ) -> bytes:
        committed: list[Committed] = []
        async with self.counters.lock:
            try:
                answer = await self._requests.once(
                    request_id, method, fingerprint_of(input_), make, after=committed.append
                )
            except Exception as fault:
                if outcome_unknown(fault):
                    self.doubt()
                raise
            if committed:
                await follow()
        return answer

    def levels(self, shop: Shop) -> list[tuple[str, int]]:
        """The stock as given, and NOT_OFFERED for what the shop had before."""
        given = dict(shop.stock)
        before = self.stock.get(shop.shop_id, {})
        gone = [(sku, NOT_OFFERED) for sku, n in before.items() if sku not in given and n >= 0]
        return [*shop.stock, *gone]

    async def take_shops(self, shops: Sequence[Shop]) -> None:
        """Under the lock, after the commit: memory, gate, dispatcher and admission follow."""
        skus: set[str] = set()
        limits: list[tuple[str, int]] = []
        for shop in shops:
            levels = self.levels(shop)
            skus.update(sku for sku, _ in levels)
            limits += [(stock_key(shop.shop_id, sku), max(0, n)) for sku, n in levels]
            limits += limits_of([shop], [], stock=False)
            self.shops[shop.shop_id] = shop
            self.stock[shop.shop_id] = {**self.stock.get(shop.shop_id, {}), **dict(levels)}
        self._set_origin(shops)
        await self.counters.gate.set_limits(limits)
        await self._feed_shops([shop.shop_id for shop in shops])
        self._tell_cups(skus)
        self._watch_windows()

    def _set_origin(self, shops: Iterable[Shop]) -> None:
        """Once set it stays: everything in the dispatcher is measured from it."""
        for shop in shops:
            if self._origin is None:
                self._origin = (shop.latitude, shop.longitude)
            return

    async def _feed_shops(self, shop_ids: Sequence[int]) -> None:
        """Under the lock: the dispatcher's picture of these shops, with what the gate has left."""
        now_ms = self.clock.now_ms()
        for start in range(0, len(shop_ids), PAGE):
            views = await self.shop_views(shop_ids[start : start + PAGE])
            places = self.core.project(self.origin, [(v.shop.latitude, v.shop.longitude) for v in views])
            rows: list[ShopColumns] = []
            for view, (x_m, y_m) in zip(views, places, strict=True):
                from_ms, until_ms = open_window_ms(view.shop, now_ms)
                codes = self.counters.codes([sku for sku, _, _ in view.stock])
                stock = [(code, free) for code, (_, _, free) in zip(codes, view.stock, strict=True)]
                rows.append(
                    (
                        view.shop.shop_id, x_m, y_m, from_ms, until_ms, view.shop.paused,
                        view.capacity_free, view.fridge_free, OFFERS_ALL, stock,
                    )
                )  # fmt: skip
            self.counters.dispatcher.upsert_shops(rows)

    async def feed_riders(self, rider_ids: Sequence[int]) -> None:
        """Under the lock: the dispatcher's picture of these riders."""
        for start in range(0, len(rider_ids), PAGE):
            views = await self.rider_views(rider_ids[start : start + PAGE])
            places = self.core.project(self.origin, [(v.rider.latitude, v.rider.longitude) for v in views])
            rows: list[RiderColumns] = []
            for view, (x_m, y_m) in zip(views, places, strict=True):
                rider = view.rider
                speed = float(rider.speed_m_per_min or SPEED_DEFAULT_M_PER_MIN)
                rows.append(
                    (
                        rider.rider_id, x_m, y_m, rider.available_from_ms, rider.available_until_ms,
                        view.load_free, rider.min_temperature_c, rider.max_temperature_c, speed,
                        not rider.paused,
                    )
                )  # fmt: skip
            self.counters.dispatcher.upsert_riders(rows)

    def _watch_windows(self) -> None:
        """The dispatcher knows one opening of each shop; at the first end of one the next is told."""
        now_ms = self.clock.now_ms()
        ends = [open_window_ms(shop, now_ms)[1] for shop in self.shops.values()]
        first_ms = min(ends, default=FAR_MS)
        if self._window_timer:
            self._timers.forget(self._window_timer)
            self._window_timer = 0
        if first_ms < FAR_MS:
            self._window_timer = self._timers.at(first_ms, self._windows_ended)

    def _windows_ended(self) -> None:
        self._window_timer = 0
        work = asyncio.get_running_loop().create_task(self._refresh_windows())
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)

    async def _refresh_windows(self) -> None:
        async with self.counters.lock:
            await self._feed_shops([i for i, s in self.shops.items() if s.open_from_ms != s.open_until_ms])
        self._watch_windows()


def limits_of(shops: Iterable[Shop], riders: Iterable[Rider], *, stock: bool = True) -> list[tuple[str, int]]:
    """The gate's limits for these."""
    limits = [(load_key(rider.rider_id), rider.max_load) for rider in riders]
    for shop in shops:
        limits.append((f"capacity/{shop.shop_id}", shop.daily_capacity))
        limits.append((fridge_key(shop.shop_id), shop.fridge_slots))
        if stock:
            limits += [(stock_key(shop.shop_id, sku), on_hand) for sku, on_hand in shop.stock]
    return limits


def reservation_of(row: DecisionRow) -> Reservation:
    """What a standing assignment takes."""
    return Reservation(
        row.order_id,
        row.shop_id,
        row.rider_id,
        row.sku,
        row.quantity,
        bool(row.cold),
        row.pack_out_ms,
        row.pickup_ms,
    )


def next_etag(before: Shop | Rider | None) -> int:
    """Counts from 1."""
    return before.etag + 1 if before is not None else 1


def check_room(path: str, count: int, limit: int) -> None:
    """Raises LIMIT_REACHED."""
    if count > limit:
        raise CuptimeError(
            Reason.LIMIT_REACHED,
            f"{count} {path}, at most {limit}",
            field=path,
            metadata={"measured": str(count), "limit": str(limit)},
        )


def _offered(shop: Shop, stock: dict[int, dict[str, int]]) -> Shop:
    levels = stock.get(shop.shop_id, {}).items()
    return replace(shop, stock=tuple((sku, n) for sku, n in levels if n >= 0))


async def _all(read: Callable[[int], Awaitable[list[_Row]]], id_of: Callable[[_Row], int]) -> list[_Row]:
    """Every row of a paged read."""
    rows: list[_Row] = []
    after = 0
    while page := await read(after):
        rows += page
        after = id_of(page[-1])
    return rows
