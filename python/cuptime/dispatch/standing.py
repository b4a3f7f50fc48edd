"""The assignments that still take something, in memory: a copy of what storage calls live.

What an order takes, and how long:

- its shop's capacity of the day of its pack-out, in the park's time zone, until that day is over;
- a fridge slot until its pick-up, when it is cold;
- its rider's load until it is handed over, and until the end of the rider's shift when its pick-up falls into it;
- its cups for good, unless the shop's stock was counted after its pack-out: then they were not counted any more.

A while after only the cups are left it is retired: the cups are put down as used, durably, and the order is forgotten
here and in the gate. So neither grows with history, and midnight is an instant like any other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.days import Calendar
from cuptime.dispatch.ports import ReservationColumns
from cuptime.dispatch.queue import DELIVER_WITHIN_DEFAULT_MS
from cuptime.dispatch.values import Rider
from cuptime.domain.ports import Reservation

RETIRED_AFTER_MS: Final = 6 * 3_600_000
"""A rider's shift that is made longer counts what was carried in it, also when it had ended already: up to so long."""

STALE_ENDS_MAX: Final = 1_000
"""Ends that hold no more stay until they come, and no more of them than this and what stands."""

StockKey = tuple[int, str]
"""(shop_id, sku)."""


class Standing:
    """By order, by rider, by shop and SKU, and by when it takes nothing any more."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar
        self.counted_ms: dict[StockKey, int] = {}
        """When the stock was counted."""
        self._by_order: dict[int, Reservation] = {}
        self._by_rider: dict[int, set[int]] = {}
        self._by_stock: dict[StockKey, set[int]] = {}
        self._ends: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._by_order)

    def __iter__(self) -> Iterator[Reservation]:
        return iter(self._by_order.values())

    def clear(self) -> None:
        """Before everything is read again."""
        self.counted_ms.clear()
        self._by_order.clear()
        self._by_rider.clear()
        self._by_stock.clear()
        self._ends.clear()

    # --- what a reservation is --------------------------------------------------------------------------------------
    def reservations(
        self, columns: Iterable[ReservationColumns], riders: Mapping[int, Rider]
    ) -> list[Reservation]:
        """What the core chose, with its day and the end of its load."""
        made: list[Reservation] = []
        for row in columns:
            day = self.calendar.day(row[6]).name
            load_until_ms = self._load_until_ms(riders.get(row[2]), row[7], row[8])
            made.append(Reservation(*row, day, load_until_ms))
        return made

    def as_of_now(self, held: Reservation, riders: Mapping[int, Rider]) -> Reservation:
        """With the rider's present shift and the last count of the stock; itself when they are as they were."""
        takes_stock = self.counted_ms.get((held.shop_id, held.sku), 0) <= held.pack_out_ms
        load_until_ms = self._load_until_ms(riders.get(held.rider_id), held.pickup_ms, held.dropoff_ms)
        if held.day and held.load_until_ms == load_until_ms and held.takes_stock == takes_stock:
            return held
        return replace(
            held,
            dropoff_ms=held.dropoff_ms or held.pickup_ms + DELIVER_WITHIN_DEFAULT_MS,
            day=self.calendar.day(held.pack_out_ms).name,
            load_until_ms=load_until_ms,
            takes_stock=takes_stock,
        )

    @staticmethod
    def _load_until_ms(rider: Rider | None, pickup_ms: int, dropoff_ms: int) -> int:
        handed_over_ms = dropoff_ms or pickup_ms + DELIVER_WITHIN_DEFAULT_MS
        if rider is not None and rider.available_from_ms <= pickup_ms <= rider.available_until_ms:
            return max(handed_over_ms, rider.available_until_ms)
        return handed_over_ms

    # --- changes ----------------------------------------------------------------------------------------------------
    def put(self, held: Reservation) -> None:
        """Adds or replaces."""
        self.drop(held.order_id)
        self._by_order[held.order_id] = held
        self._by_rider.setdefault(held.rider_id, set()).add(held.order_id)
        if held.takes_stock:
            self._by_stock.setdefault((held.shop_id, held.sku), set()).add(held.order_id)
        heapq.heappush(self._ends, (self._end_ms(held), held.order_id))
        if len(self._ends) > 2 * len(self._by_order) + STALE_ENDS_MAX:
            self._ends = [(self._end_ms(each), each.order_id) for each in self]
            heapq.heapify(self._ends)

    def drop(self, order_id: int) -> Reservation | None:
        """It is given back, or retired."""
        held = self._by_order.pop(order_id, None)
        if held is not None:
            _discard(self._by_rider, held.rider_id, order_id)
            _discard(self._by_stock, (held.shop_id, held.sku), order_id)
        return held

    def _end_ms(self, held: Reservation) -> int:
        day_ends_ms = self.calendar.day(held.pack_out_ms).until_ms
        takes_until_ms = max(day_ends_ms, held.load_until_ms, held.pickup_ms if held.cold else 0)
        return takes_until_ms + RETIRED_AFTER_MS

    # --- questions --------------------------------------------------------------------------------------------------
    def get(self, order_id: int) -> Reservation | None:
        return self._by_order.get(order_id)

    def known(self, order_ids: Iterable[int]) -> list[Reservation]:
        """Those of these that stand."""
        return [self._by_order[order_id] for order_id in order_ids if order_id in self._by_order]

    def of_rider(self, rider_id: int) -> list[Reservation]:
        return [self._by_order[order_id] for order_id in sorted(self._by_rider.get(rider_id, ()))]

    def of_stock(self, key: StockKey) -> list[Reservation]:
        """Those that take of these cups."""
        return [self._by_order[order_id] for order_id in sorted(self._by_stock.get(key, ()))]

    def cups(self, key: StockKey) -> int:
        """What these take."""
        return sum(self._by_order[order_id].quantity for order_id in self._by_stock.get(key, ()))

    def ended(self, now_ms: int, limit: int) -> list[Reservation]:
        """At most `limit` of those that take nothing but cups any more; they stay here until `drop`."""
        found: dict[int, Reservation] = {}
        later: list[tuple[int, int]] = []
        while self._ends and self._ends[0][0] <= now_ms and len(found) < limit:
            end_ms, order_id = heapq.heappop(self._ends)
            held = self._by_order.get(order_id)
            if held is not None and self._end_ms(held) == end_ms and order_id not in found:
                found[order_id] = held
                later.append((end_ms, order_id))
        for entry in later:
            heapq.heappush(self._ends, entry)
        return list(found.values())


def _discard(index: dict[StockKey, set[int]] | dict[int, set[int]], key: object, order_id: int) -> None:
    """No empty set is left behind."""
    orders = index.get(key)  # type: ignore[call-overload]
    if orders is not None:
        orders.discard(order_id)
        if not orders:
            del index[key]  # type: ignore[arg-type]
