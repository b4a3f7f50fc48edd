"""The gate and the core's dispatcher, kept in step.

The gate is the counter that may not be overdrawn; the dispatcher's counters only make the core choose what the gate
will give. Both change under one lock: a reservation is first taken from the gate, then from the dispatcher; whatever
comes back (releases, fridge slots at pick-up, limits) is read from the gate and set in the dispatcher as absolute
values, so that a difference never lasts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from cuptime.dispatch.ports import Dispatcher, SkuCodes, Timers
from cuptime.domain.clock import Clock
from cuptime.domain.ports import Gate, Reservation

HOLD_MS: Final = 30_000
"""How long a reservation waits for its commit before it is given back."""
EXPIRY_STEP_MS: Final = 1_000
"""Fridge slots that come free within one second come free together, at its end."""
PACK_OUT_AHEAD_MS: Final = 18 * 60_000
"""Capacity in the dispatcher is of the day on which what is decided now is packed out."""

_log = logging.getLogger(__name__)


def day_of(instant_ms: int) -> str:
    """yyyymmdd, UTC."""
    return datetime.fromtimestamp(instant_ms / 1_000, UTC).strftime("%Y%m%d")


def capacity_key(shop_id: int, pack_out_ms: int) -> str:
    """The gate's key."""
    return f"capacity/{shop_id}/{day_of(pack_out_ms)}"


def fridge_key(shop_id: int) -> str:
    """The gate's key."""
    return f"fridge/{shop_id}"


def stock_key(shop_id: int, sku: str) -> str:
    """The gate's key."""
    return f"stock/{shop_id}/{sku}"


def load_key(rider_id: int) -> str:
    """The gate's key."""
    return f"load/{rider_id}"


class Counters:
    """What shops and riders have left. All calls under `lock` where they say so."""

    def __init__(
        self, gate: Gate, dispatcher: Dispatcher, skus: SkuCodes, clock: Clock, timers: Timers
    ) -> None:
        self.gate = gate
        self.dispatcher = dispatcher
        self.lock = asyncio.Lock()
        self._skus = skus
        self._clock = clock
        self._timers = timers
        self._expiries: dict[int, int] = {}
        self._expiring: asyncio.Task[None] | None = None

    def codes(self, skus: list[str]) -> list[int]:
        return self._skus.codes(skus)

    def pack_out_day_ms(self) -> int:
        """An instant of the day whose capacity the dispatcher has."""
        return self._clock.now_ms() + PACK_OUT_AHEAD_MS

    async def reserve(self, reservations: Sequence[Reservation]) -> list[str]:
        """Takes each from the gate, then what was given from the dispatcher. The keys that refused are set right in the
        dispatcher before this returns. For each "" or the key."""
        async with self.lock:
            now_ms = self._clock.now_ms()
            refused_by = await self.gate.reserve(reservations, now_ms, HOLD_MS)
            taken = [held for held, key in zip(reservations, refused_by, strict=True) if not key]
            codes = self._skus.codes([held.sku for held in taken])
            holds = [
                (held.shop_id, held.rider_id, code, held.quantity, held.cold)
                for held, code in zip(taken, codes, strict=True)
            ]
            out_of_step = [
                key
                for held, refusal in zip(taken, self.dispatcher.consume(holds), strict=True)
                if refusal
                for key in self.keys_of(held)
            ]
            await self._resync([key for key in refused_by if key] + out_of_step)
            self.watch_pickups(taken)
            if taken:
                self._expire_at(now_ms + HOLD_MS)
            return refused_by

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        """Makes reservations last; those that were not held any more are returned."""
        return await self.gate.commit(order_ids)

    async def release(self, order_ids: Sequence[int]) -> list[Reservation]:
        """Gives reservations back, in the gate and in the dispatcher."""
        async with self.lock:
            given_back = await self.gate.release(order_ids, self._clock.now_ms())
            await self._resync(key for held in given_back for key in self.keys_of(held))
            return given_back

    async def swap(self, olds: Sequence[Reservation], news: Sequence[Reservation]) -> bool:
        """Under the lock, after the commit that put the one in the place of the other: gate and dispatcher follow.
        False when the gate has no room for what stands (a limit was lowered): then it must be rebuilt."""
        order_ids, now_ms = [held.order_id for held in news], self._clock.now_ms()
        await self.gate.release(order_ids, now_ms)
        refused_by = await self.gate.reserve(news, now_ms, HOLD_MS)
        await self.gate.commit(order_ids)
        self.watch_pickups(news)
        await self._resync(key for held in (*olds, *news) for key in self.keys_of(held))
        return not any(refused_by)

    def watch_pickups(self, reservations: Iterable[Reservation]) -> None:
        """The fridge slots of those that are cold come free at pick-up."""
        for due_ms in {held.pickup_ms for held in reservations if held.cold}:
            self._expire_at(due_ms)

    async def resync(self, keys: Iterable[str]) -> None:
        """Sets the dispatcher's counters of these keys to what the gate has."""
        async with self.lock:
            await self._resync(keys)

    def keys_of(self, held: Reservation) -> list[str]:
        return [
            capacity_key(held.shop_id, held.pack_out_ms),
            fridge_key(held.shop_id),
            stock_key(held.shop_id, held.sku),
            load_key(held.rider_id),
        ]

    async def _resync(self, keys: Iterable[str]) -> None:
        """Under the lock."""
        shops: set[int] = set()
        stock: set[tuple[int, str]] = set()
        riders: set[int] = set()
        for key in keys:
            kind, _, rest = key.partition("/")
            if kind == "stock":
                shop, _, sku = rest.partition("/")
                stock.add((int(shop), sku))
            elif kind == "load":
                riders.add(int(rest))
            elif kind in ("capacity", "fridge"):
                shops.add(int(rest.partition("/")[0]))
            # Else the gate refused the reservation as such (`released/…`, `order/…`), and no counter is wrong.
        if not (shops or stock or riders):
            return
        day_ms = self.pack_out_day_ms()
        shop_ids, levels, rider_ids = sorted(shops), sorted(stock), sorted(riders)
        wanted = [capacity_key(shop, day_ms) for shop in shop_ids]
        wanted += [fridge_key(shop) for shop in shop_ids]
        wanted += [stock_key(shop, sku) for shop, sku in levels]
        wanted += [load_key(rider) for rider in rider_ids]
        free = [max(0, amount) for amount in await self.gate.free(wanted)]
        split = len(shop_ids)
        codes = self._skus.codes([sku for _, sku in levels])
        self.dispatcher.set_counters(
            list(zip(shop_ids, free[:split], free[split : 2 * split], strict=True)),
            [
                (shop, code, amount)
                for (shop, _), code, amount in zip(
                    levels, codes, free[2 * split : 2 * split + len(levels)], strict=True
                )
            ],
            list(zip(rider_ids, free[2 * split + len(levels) :], strict=True)),
        )

    # --- what comes free by time ----------------------------------------------------------------------------------
    def _expire_at(self, due_ms: int) -> None:
        """One timer for each second in which something comes free."""
        if due_ms <= 0:
            return
        due_ms += -due_ms % EXPIRY_STEP_MS
        if due_ms not in self._expiries:
            self._expiries[due_ms] = self._timers.at(due_ms, lambda: self._expire(due_ms))

    def _expire(self, due_ms: int) -> None:
        self._expiries.pop(due_ms, None)
        if self._expiring is None or self._expiring.done():
            self._expiring = asyncio.get_running_loop().create_task(self._give_back())
        else:
            # One is under way and may have read the clock before: come again.
            self._expire_at(self._clock.now_ms() + 1)

    async def _give_back(self) -> None:
        try:
            async with self.lock:
                freed = await self.gate.expire(self._clock.now_ms())
                await self._resync(key for key, _ in freed)
        except Exception:
            _log.exception("what came free could not be read from the gate; trying again")
            self._expire_at(self._clock.now_ms() + EXPIRY_STEP_MS)

    async def settle(self) -> None:
        """Returns when nothing is being given back."""
        while self._expiring is not None and not self._expiring.done():
            await asyncio.wait([self._expiring])

    def close(self) -> None:
        for name in self._expiries.values():
            self._timers.forget(name)
        self._expiries.clear()
        if self._expiring is not None:
            self._expiring.cancel()
