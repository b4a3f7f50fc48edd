"""What a reservation takes from which counter, and its form on the way to a gate and back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cuptime.domain.ports import Reservation

Wanted = tuple[int, str, list[tuple[str, int, int]]]
"""(order id, body, [(key, amount, free at, 0 for never)])"""

_DAY_MS = 86_400_000


@lru_cache(maxsize=64)
def _yyyymmdd(day: int) -> str:
    """The date `day` days after 1970-01-01, in the proleptic Gregorian calendar.

    Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days: years that begin in March put the
    leap day last.
    """
    era, of_era = divmod(day + 719_468, 146_097)
    year_of_era = (of_era - of_era // 1_460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + era * 400 + (month <= 2)
    return f"{year:04}{month:02}{of_year - (153 * shifted + 2) // 5 + 1:02}"


def body_of(held: Reservation) -> str:
    """The reservation as one line; two reservations are the same when their bodies are. What changes while it stands
    (the end of the shift, a new count of the stock) is not in it. The SKU comes last, it may hold spaces."""
    return (
        f"{held.order_id} {held.shop_id} {held.rider_id} {held.quantity} {held.cold:d} {held.pack_out_ms} "
        f"{held.pickup_ms} {held.dropoff_ms} {held.day or '-'} {held.sku}"
    )


def reservation_of(body: str) -> Reservation:
    """What `body_of` was given, less what it leaves out."""
    order_id, shop_id, rider_id, quantity, cold, pack_out_ms, pickup_ms, dropoff_ms, day, sku = body.split(
        " ", 9
    )
    return Reservation(
        order_id=int(order_id),
        shop_id=int(shop_id),
        rider_id=int(rider_id),
        sku=sku,
        quantity=int(quantity),
        cold=cold == "1",
        pack_out_ms=int(pack_out_ms),
        pickup_ms=int(pickup_ms),
        dropoff_ms=int(dropoff_ms),
        day="" if day == "-" else day,
    )


def day_name(held: Reservation) -> str:
    """The day whose capacity it takes."""
    return held.day or _yyyymmdd(held.pack_out_ms // _DAY_MS)


def wanted(held: Reservation) -> Wanted:
    """One order of the shop's day, its cups, one order of the rider's load until it counts there no more, and a fridge
    slot until pick-up when cold. Raises ValueError for a quantity below 1."""
    if held.quantity < 1:
        raise ValueError(f"order {held.order_id} must be for at least 1 cup, not {held.quantity}")
    shop_id = held.shop_id
    needs = [(f"capacity/{shop_id}/{day_name(held)}", 1, 0)]
    if held.takes_stock:
        needs.append((f"stock/{shop_id}/{held.sku}", held.quantity, 0))
    needs.append((f"load/{held.rider_id}", 1, held.load_until_ms))
    if held.cold:
        needs.append((f"fridge/{shop_id}", 1, held.pickup_ms))
    return held.order_id, body_of(held), needs


def checked_limits(limits: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """The limits. Raises ValueError for a negative one, before any is set."""
    for key, limit in limits:
        if limit < 0:
            raise ValueError(f"the limit of {key} must not be negative, but is {limit}")
    return list(limits)
