"""The gate and the core's dispatcher, kept in step.

The gate is the counter that may not be overdrawn; the dispatcher's counters only make the core choose what the gate
will give. Both change under one lock: a reservation is first taken from the gate, then from the dispatcher; whatever
comes back (releases, fridge slots at pick-up, limits) is read from the gate and set in the dispatcher as absolute
values, so that a difference never lasts.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from cuptime.dispatch.days import Calendar, Day
from cuptime.dispatch.ports import Dispatcher, SkuCodes, Timers
from cuptime.domain.clock import Clock
from cuptime.domain.errors import is_gate_away
from cuptime.domain.ports import Gate, Reservation

HOLD_MS: Final = 30_000
"""How long a reservation waits for its commit before it is given back."""
EXPIRY_STEP_MS: Final = 1_000
"""Fridge slots that come free within one second come free together, at its end."""
PACK_OUT_AHEAD_MS: Final = 18 * 60_000
"""What a shop has left today is what it has for a group that completes now."""

_log = logging.getLogger(__name__)


def capacity_key(shop_id: int, day: str) -> str:
    """The gate's key; the day is yyyymmdd."""
    return f"capacity/{shop_id}/{day}"


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
        self,
        gate: Gate,
        dispatcher: Dispatcher,
        skus: SkuCodes,
        clock: Clock,
        timers: Timers,
        calendar: Calendar | None = None,
    ) -> None:
        """Days are UTC days without a calendar."""
        self.gate = gate
        self.dispatcher = dispatcher
        self.calendar = calendar or Calendar()
        self.lock = asyncio.Lock()
        self.shop_ids: Callable[[], Iterable[int]] = tuple
        """All shops that the dispatcher knows."""
        self._day_turn = asyncio.Lock()
        self.day = ""
        """The dispatcher knows one capacity of each shop; it is that of this day."""
        self._skus = skus
        self._clock = clock
        self._timers = timers
        self._expiries: dict[int, int] = {}
        self._expiring: asyncio.Task[None] | None = None
        self._freed: set[str] = set()
        """Came free in the gate, and the dispatcher does not know it yet."""

    def codes(self, skus: list[str]) -> list[int]:
        return self._skus.codes(skus)

    def today(self) -> Day:
        """The day on which is packed out what is decided now."""
        return self.calendar.day(self._clock.now_ms() + PACK_OUT_AHEAD_MS)

    @asynccontextmanager
    async def of_day(self, day: str) -> AsyncIterator[None]:
        """Has the dispatcher know what the shops have left on this day, and nobody change that meanwhile. Costs one
        question to the gate, and that only when the day before was another one."""
        async with self._day_turn:
            if day != self.day:
                async with self.lock:
                    before, self.day = self.day, day
                    try:
                        await self._resync([fridge_key(shop_id) for shop_id in self.shop_ids()])
                    except BaseException:
                        # The dispatcher still has the day before: who comes next asks the gate again.
                        self.day = before
                        raise
            yield

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
                # Consumed from the wrong day, or more than the gate has taken.
                if refusal
                or held.day != self.day
                or not held.takes_stock
                or (held.cold and held.pickup_ms <= now_ms)
                for key in self.keys_of(held)
            ]
            await self._resync([key for key in refused_by if key] + out_of_step)
            self.watch_ends(taken)
            if taken:
                self._expire_at(now_ms + HOLD_MS)
            return refused_by

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        """Makes reservations last; those that were not held any more are returned."""
        return await self.gate.commit(order_ids)

    async def hold_fast(self, reservations: Sequence[Reservation]) -> None:
        """Reservations that must not run out, however long it takes to know whether they stand: they are put in again
        where they are gone. Raises what the gate raises."""
        async with self.lock:
            await self.last(reservations)

    async def last(self, reservations: Sequence[Reservation]) -> None:
        """Under the lock: as `hold_fast`."""
        if reservations:
            gone = set(await self.gate.commit([held.order_id for held in reservations]))
            await self.stand([held for held in reservations if held.order_id in gone])

    async def release(self, order_ids: Sequence[int]) -> list[Reservation]:
        """Gives reservations back, in the gate and in the dispatcher."""
        async with self.lock:
            return await self.free(order_ids)

    def watch_ends(self, reservations: Iterable[Reservation]) -> None:
        """Fridge slots come free at pick-up, loads at the end of the shift."""
        held_cold = {held.pickup_ms for held in reservations if held.cold}
        for due_ms in held_cold | {held.load_until_ms for held in reservations}:
            self._expire_at(due_ms)

    async def stand(
        self, reservations: Sequence[Reservation], instead_of: Sequence[Reservation] = ()
    ) -> None:
        """Under the lock: what stands takes something else than before, or stood and was forgotten. `instead_of` is
        what it took before, where that was elsewhere."""
        if not reservations:
            return
        await self.gate.stand(reservations, self._clock.now_ms())
        self.watch_ends(reservations)
        await self._resync(key for held in (*instead_of, *reservations) for key in self.keys_of(held))

    async def free(self, order_ids: Sequence[int]) -> list[Reservation]:
        """Under the lock: gives back, in the gate and in the dispatcher."""
        given_back = await self.gate.release(order_ids, self._clock.now_ms())
        await self._resync(key for held in given_back for key in self.keys_of(held))
        return given_back

    def keys_of(self, held: Reservation) -> list[str]:
        return [
            capacity_key(held.shop_id, held.day or self.calendar.day(held.pack_out_ms).name),
            fridge_key(held.shop_id),
            stock_key(held.shop_id, held.sku),
            load_key(held.rider_id),
        ]

    async def _resync(self, keys: Iterable[str]) -> None:
        """Under the lock: sets the dispatcher's counters of these keys to what the gate has."""
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
        shop_ids, levels, rider_ids = sorted(shops), sorted(stock), sorted(riders)
        wanted = [capacity_key(shop, self.day) for shop in shop_ids]
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

    async def expire(self) -> None:
        """Gives back what is due by now."""
        async with self.lock:
            self._freed.update(key for key, _ in await self.gate.expire(self._clock.now_ms()))
            await self._resync(self._freed)
            self._freed.clear()

    async def _give_back(self) -> None:
        try:
            await self.expire()
        except Exception as fault:
            _log.warning(
                "what came free could not be read from the gate; trying again: %s",
                fault,
                exc_info=not is_gate_away(fault),
            )
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
