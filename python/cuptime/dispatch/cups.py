"""How many cups there are: levels as counted, less what was packed out since, less what stands.

The gate keeps count of each shop's cups. Here is what the gate's limits are made of, and the sum over all shops that
admission needs. A level is as of the instant at which it was set; that an order was packed out before is in it already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.counters import stock_key
from cuptime.dispatch.standing import Standing, StockKey
from cuptime.domain.ports import Reservation
from cuptime.domain.values import StockRow

NOT_OFFERED: Final = -1
"""`on_hand` of a SKU that a shop had and offers no more: there is no row that takes one away."""


class Cups:
    """Under the counters' lock, as everything that changes what there is."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self.levels: dict[int, dict[str, int]] = {}
        """Cups on hand by shop and SKU."""
        self._used: Counter[StockKey] = Counter()
        """Packed out since the count, by orders that are retired or were released afterwards."""
        self._taken: Counter[str] = Counter()
        """By SKU, over all shops: used, and what stands."""

    def rebuild(self, shop_ids: Iterable[int], rows: Sequence[StockRow]) -> None:
        """From storage; what stands is told by `stood` afterwards."""
        self.levels = {shop_id: {} for shop_id in shop_ids}
        self._used.clear()
        self._taken.clear()
        for row in rows:
            self.levels.setdefault(row.shop_id, {})[row.sku] = row.on_hand
            self._standing.counted_ms[row.shop_id, row.sku] = row.set_ms
            if row.used:
                self._used[row.shop_id, row.sku] = row.used
                self._taken[row.sku] += row.used

    # --- questions --------------------------------------------------------------------------------------------------
    def limits(self, keys: Iterable[StockKey]) -> list[tuple[str, int]]:
        """For the gate: what may stand."""
        return [(stock_key(*key), max(0, self._level(key) - self._used[key])) for key in keys]

    def available(self, sku: str) -> int:
        """Free cups over all shops, NOT_OFFERED when none offers it."""
        levels = [stock[sku] for stock in self.levels.values() if stock.get(sku, NOT_OFFERED) >= 0]
        return max(0, sum(levels) - self._taken[sku]) if levels else NOT_OFFERED

    def skus(self) -> set[str]:
        return set().union(*self.levels.values()) if self.levels else set()

    def grown(self, key: StockKey, on_hand: int, counted_ms: int | None) -> int:
        """How many cups more will be free with this level, counted anew at `counted_ms` or not."""
        if counted_ms is None:
            return on_hand - max(0, self._level(key))
        gone = sum(h.quantity for h in self._standing.of_stock(key) if h.pack_out_ms < counted_ms)
        return on_hand - max(0, self._level(key) - self._used[key]) + gone

    def _level(self, key: StockKey) -> int:
        return self.levels.get(key[0], {}).get(key[1], 0)

    # --- changes ----------------------------------------------------------------------------------------------------
    def set_levels(self, shop_id: int, levels: Mapping[str, int]) -> None:
        self.levels[shop_id] = {**self.levels.get(shop_id, {}), **levels}

    def count(self, key: StockKey, counted_ms: int) -> list[Reservation]:
        """The level is as of `counted_ms` now. Returns what stands and takes of these cups no more."""
        self._standing.counted_ms[key] = counted_ms
        self._taken[key[1]] -= self._used.pop(key, 0)
        changed: list[Reservation] = []
        for held in self._standing.of_stock(key):
            if held.pack_out_ms < counted_ms:
                self._taken[key[1]] -= held.quantity
                changed.append(replace(held, takes_stock=False))
        for held in changed:
            self._standing.put(held)
        return changed

    def stood(self, reservations: Iterable[Reservation]) -> set[str]:
        """They stand from now on. Returns the SKUs."""
        skus: set[str] = set()
        for held in reservations:
            if held.takes_stock:
                self._taken[held.sku] += held.quantity
            skus.add(held.sku)
        return skus

    def given_back(self, held: Reservation, at_ms: int) -> list[StockKey]:
        """It stands no more. Cups that were packed out before `at_ms` do not come back: returned is what the gate must
        be told of."""
        if not held.takes_stock:
            return []
        if at_ms > held.pack_out_ms:
            return self.use([held])
        self._taken[held.sku] -= held.quantity
        return []

    def use(self, reservations: Iterable[Reservation]) -> list[StockKey]:
        """What they take is gone for good. Returns the keys whose limits fell."""
        keys: dict[StockKey, None] = {}
        for held in reservations:
            if held.takes_stock:
                self._used[held.shop_id, held.sku] += held.quantity
                keys[held.shop_id, held.sku] = None
        return list(keys)
