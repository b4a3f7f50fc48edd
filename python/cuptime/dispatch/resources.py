"""Shops and riders: kept in storage, fed to the gate, to the core's dispatcher and to admission.

What is in memory here is a copy of storage that `recover` rebuilds, and it counts after a restart as it did before one;
what counts how long is said in `standing`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from cuptime.dispatch.counters import Counters, capacity_key, fridge_key, load_key, stock_key
from cuptime.dispatch.cups import NOT_OFFERED, Cups
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
from cuptime.dispatch.standing import Standing
from cuptime.dispatch.values import FAR_MS, Rider, RiderView, Shop, ShopView, open_window_ms
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, Reservation, Storage
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import DecisionRow, Fence

PAGE: Final = 1_000
SPEED_DEFAULT_M_PER_MIN: Final = 250
"""15 km/h, when a rider names no speed."""
OFFERS_ALL: Final = 0b111

_Row = TypeVar("_Row")
_log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
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
        self.riders: dict[int, Rider] = {}
        counters.shop_ids = lambda: self.shops
        self.standing = Standing(counters.calendar)
        self.cups = Cups(self.standing)
        self.unsettled: dict[int, Reservation] = {}
        """Reserved for commits of which storage has not said yet whether it kept them: a rebuild leaves them taken."""
        self.doubtful: set[int] = set()
        """Those of `unsettled` whose commit has ended, nobody knows how: the next rebuild finds out."""
        self._window_timer = 0
        self._under_way: set[asyncio.Task[None]] = set()

    @property
    def origin(self) -> Place:
        return self._origin or (0.0, 0.0)

    async def recover(self) -> Recovered:
        """Rebuilds memory, gate and dispatcher from storage. Nobody may decide meanwhile; whoever changes something by
        hand waits for the lock, and finds what it took."""
        async with self.counters.lock:
            return await self.recover_locked()

    async def recover_locked(self) -> Recovered:
        """Under the lock: as `recover`."""
        ended = set(self.doubtful)
        await self.storage.settle()
        shop_rows = await _all(lambda at: self.storage.shops(after=at, limit=PAGE), lambda row: row.shop_id)
        rider_rows = await _all(
            lambda at: self.storage.riders(after=at, limit=PAGE), lambda row: row.rider_id
        )
        stock = await self.storage.stock()
        ahead: list[DecisionRow] = []
        live = [row async for row in self._live(ahead)]
        for order_id in ended:
            self.unsettled.pop(order_id, None)
        self.doubtful -= ended
        shops = [self.bodies.shop(row) for row in shop_rows]
        riders = [self.bodies.rider(row) for row in rider_rows]
        self.standing.clear()
        self.cups.rebuild((shop.shop_id for shop in shops), stock)
        self.shops = {shop.shop_id: _offered(shop, self.cups.levels) for shop in shops}
        self.riders = {rider.rider_id: self._where_it_is(rider) for rider in riders}
        standing = [self.standing.as_of_now(held, self.riders) for held in live]
        for held in standing:
            self.standing.put(held)
        self.cups.stood(standing)
        self._origin = self._given_origin
        self._set_origin(self.shops.values())
        await self._rebuild_gate(standing)
        self._tell_cups(self.cups.skus())
        self._watch_windows()
        self.read_standing(ahead)
        return Recovered(len(shops), len(riders), len(standing))

    async def _rebuild_gate(self, standing: list[Reservation]) -> None:
        known = {held.order_id for held in standing}
        taken = [*standing, *(held for held in self.unsettled.values() if held.order_id not in known)]
        limits = limits_of(self.shops.values(), self.riders.values())
        limits += self.cups.limits((i, sku) for i, levels in self.cups.levels.items() for sku in levels)
        await self.counters.gate.reset(limits, taken, self.clock.now_ms())
        self.counters.watch_ends(taken)
        self.counters.day = self.counters.today().name
        await self._feed_shops(list(self.shops))
        await self.feed_riders(list(self.riders))

    def _where_it_is(self, stored: Rider) -> Rider:
        """The same rider as in memory may have moved since it was saved."""
        known = self.riders.get(stored.rider_id)
        return known if known is not None and known.etag == stored.etag else stored

    async def _live(self, ahead: list[DecisionRow]) -> AsyncIterator[Reservation]:
        """What is live; rows whose pick-up lies ahead are kept in `ahead` too."""
        now_ms = self.clock.now_ms()
        after = 0
        while rows := await self.storage.standing_assignments(after=after, limit=PAGE, live_only=True):
            for row in rows:
                yield reservation_of(row, self.bodies.dropoff_ms(row))
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

    async def shop_views(self, shop_ids: Sequence[int], day: str = "") -> list[ShopView]:
        """Shops with what they have left, of capacity on this day: "" is the day on which is packed out what is decided
        now. Raises SHOP_NOT_FOUND."""
        shops = [self.shop(shop_id) for shop_id in shop_ids]
        day = day or self.counters.today().name
        keys: list[str] = []
        for shop in shops:
            keys += [capacity_key(shop.shop_id, day), fridge_key(shop.shop_id)]
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

    async def shop_views_after(self, fresh: Sequence[Shop], counted_ms: int | None = None) -> list[ShopView]:
        """What `shop_views` will say of these when their change is durable; under the lock. So the answer can be kept
        in the very commit of the change. Where more is reserved than there was, the excess is not seen. `counted_ms` as
        in `take_shops`."""
        day = self.counters.today().name
        keys: list[str] = []
        grown: list[int] = []
        for shop in fresh:
            before = self.shops.get(shop.shop_id)
            keys += [capacity_key(shop.shop_id, day), fridge_key(shop.shop_id)]
            grown.append(shop.daily_capacity - (before.daily_capacity if before else 0))
            grown.append(shop.fridge_slots - (before.fridge_slots if before else 0))
            for sku, on_hand in shop.stock:
                keys.append(stock_key(shop.shop_id, sku))
                grown.append(self.cups.grown((shop.shop_id, sku), on_hand, counted_ms))
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
            RiderView(
                rider, max(0, left + rider.max_load - (old.max_load if old else 0) + self._eased(rider))
            )
            for rider, old, left in zip(fresh, before, now, strict=True)
        ]

    def _eased(self, rider: Rider) -> int:
        """How many orders fewer count in the rider's load under this shift."""
        now_ms = self.clock.now_ms()
        eased = 0
        for held in self.standing.of_rider(rider.rider_id):
            then = self.standing.as_of_now(held, {rider.rider_id: rider})
            eased += (held.load_until_ms > now_ms) - (then.load_until_ms > now_ms)
        return eased

    async def rider_views(self, rider_ids: Sequence[int]) -> list[RiderView]:
        """Riders with what is left of their load. Raises RIDER_NOT_FOUND."""
        riders = [self.rider(rider_id) for rider_id in rider_ids]
        free = await self.counters.gate.free([load_key(rider_id) for rider_id in rider_ids])
        return [RiderView(rider, max(0, left)) for rider, left in zip(riders, free, strict=True)]

    # --- what stands ------------------------------------------------------------------------------------------------
    def stood(
        self, reservations: Sequence[Reservation], settled: Iterable[tuple[str, int]] = ()
    ) -> list[Reservation]:
        """These are durable, and (sku, cups) of `settled` wait for a decision no more. Returns those that take
        something else than was reserved, because a shift or a count changed meanwhile: `counters.stand` is for them."""
        changed: list[Reservation] = []
        fresh: list[int] = []
        for held in reservations:
            self.unsettled.pop(held.order_id, None)
            if self.standing.get(held.order_id) is None:
                fresh.append(held.order_id)
            now = self.standing.as_of_now(held, self.riders)
            if now is not held:
                changed.append(now)
            self.standing.put(now)
        skus = self.cups.stood(self.standing.known(fresh))
        done: Counter[str] = Counter()
        for sku, cups in settled:
            done[sku] += cups
        self.admission.cups_changed([(sku, self.cups.available(sku)) for sku in skus], list(done.items()))
        return changed

    async def stood_by_hand(self, held: Reservation) -> None:
        """As `stood`, beside the decision line."""
        async with self.counters.lock:
            changed = self.stood([held])
            await self.counters.last([held])
            await self.counters.stand(changed)

    async def released(self, order_id: int, at_ms: int) -> None:
        """A standing assignment was given back, durably, at this instant."""
        async with self.counters.lock:
            held = self.standing.drop(order_id)
            if held is None:
                return
            fallen = self.cups.given_back(held, at_ms)
            self._tell_cups([held.sku])
            if fallen:
                await self.counters.gate.set_limits(self.cups.limits(fallen))
            await self.counters.free([order_id])

    async def moved(self, made: Sequence[Reservation], at_ms: int) -> None:
        """Under the lock: these took the place of what their orders had, durably, at this instant. Raises what the gate
        raises."""
        olds = self.standing.known([held.order_id for held in made])
        # Where only the rider is another one, the cups stay where they are.
        elsewhere = [(old, new) for old, new in zip(olds, made, strict=True) if old.shop_id != new.shop_id]
        fallen = [key for old, _ in elsewhere for key in self.cups.given_back(old, at_ms)]
        for held in made:
            self.standing.put(held)
        self.cups.stood([new for _, new in elsewhere])
        self._tell_cups({held.sku for held in made})
        if fallen:
            await self.counters.gate.set_limits(self.cups.limits(fallen))
        await self.counters.stand(made, instead_of=olds)

    async def shifts_changed(self, rider_ids: Iterable[int]) -> None:
        """Under the lock: what these riders have counts until the end of other shifts."""
        changed: list[Reservation] = []
        for rider_id in rider_ids:
            for held in self.standing.of_rider(rider_id):
                now = self.standing.as_of_now(held, self.riders)
                if now is not held:
                    self.standing.put(now)
                    changed.append(now)
        await self.counters.stand(changed)

    def free_cups(self) -> list[tuple[str, int]]:
        """Free cups of every SKU offered, for an admission that starts."""
        return [(sku, self.cups.available(sku)) for sku in sorted(self.cups.skus())]

    def _tell_cups(self, skus: Iterable[str]) -> None:
        self.admission.cups_changed([(sku, self.cups.available(sku)) for sku in skus], [])

    # --- changes ----------------------------------------------------------------------------------------------------
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
        before = self.cups.levels.get(shop.shop_id, {})
        gone = [(sku, NOT_OFFERED) for sku, n in before.items() if sku not in given and n >= 0]
        return [*shop.stock, *gone]

    async def take_shops(self, shops: Sequence[Shop], counted_ms: int | None = None) -> None:
        """Under the lock, after the commit: memory, gate, dispatcher and admission follow. The stock was counted anew
        at `counted_ms`, None when it was not."""
        skus: set[str] = set()
        limits = limits_of(shops, [])
        changed: list[Reservation] = []
        for shop in shops:
            levels = self.levels(shop)
            skus.update(sku for sku, _ in levels)
            keys = [(shop.shop_id, sku) for sku, _ in levels]
            if counted_ms is not None:
                changed += [held for key in keys for held in self.cups.count(key, counted_ms)]
            self.shops[shop.shop_id] = shop
            self.cups.set_levels(shop.shop_id, dict(levels))
            limits += self.cups.limits(keys)
        self._set_origin(shops)
        await self.counters.gate.set_limits(limits)
        await self.counters.stand(changed)
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
            views = await self.shop_views(shop_ids[start : start + PAGE], self.counters.day)
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


def limits_of(shops: Iterable[Shop], riders: Iterable[Rider]) -> list[tuple[str, int]]:
    """The gate's limits for these, less stock."""
    limits = [(load_key(rider.rider_id), rider.max_load) for rider in riders]
    for shop in shops:
        limits.append((f"capacity/{shop.shop_id}", shop.daily_capacity))
        limits.append((fridge_key(shop.shop_id), shop.fridge_slots))
    return limits


def reservation_of(row: DecisionRow, dropoff_ms: int) -> Reservation:
    """What a standing assignment took when it was made."""
    return Reservation(
        row.order_id,
        row.shop_id,
        row.rider_id,
        row.sku,
        row.quantity,
        bool(row.cold),
        row.pack_out_ms,
        row.pickup_ms,
        dropoff_ms,
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
