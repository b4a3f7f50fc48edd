"""Shops and riders as the service thinks of them, and what makes one valid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct, field

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import BATCH_MAX, SKU_CHARS_MAX, SKUS_PER_SHOP_MAX

DAY_MS: Final = 86_400_000
CAPACITY_MAX: Final = 100_000
FRIDGE_SLOTS_MAX: Final = 10_000
ON_HAND_MAX: Final = 1_000_000_000
LOAD_MAX: Final = 1_000
SPEED_M_PER_MIN_MAX: Final = 3_000
TEMPERATURE_C_MAX: Final = 100
NAME_CHARS_MAX: Final = 200
ID_MAX: Final = 2**62
INSTANT_MS_MAX: Final = 2**53

SHOP_FIELDS: Final = frozenset(
    {
        "display_name",
        "location",
        "daily_capacity",
        "fridge_slots",
        "open_from_ms",
        "open_until_ms",
        "paused",
    }
)
"""What an update mask of a shop may name."""


class Shop(Struct, frozen=True):
    """A shop as a caller gives it. Opening hours are ms after midnight UTC, both 0 is always open; `stock` is
    (sku, cups on hand)."""

    shop_id: int
    display_name: str
    latitude: float
    longitude: float
    daily_capacity: int
    fridge_slots: int
    open_from_ms: int = 0
    open_until_ms: int = 0
    paused: bool = False
    stock: tuple[tuple[str, int], ...] = ()
    updated_ms: int = 0
    etag: int = 0


class Rider(Struct, frozen=True):
    """A rider as a caller gives it. The shift is in UTC ms; `speed_m_per_min` 0 is the server's default."""

    rider_id: int
    display_name: str
    latitude: float
    longitude: float
    available_from_ms: int
    available_until_ms: int
    max_load: int
    min_temperature_c: int
    max_temperature_c: int
    speed_m_per_min: int = 0
    paused: bool = False
    updated_ms: int = 0
    etag: int = 0


class ShopView(Struct, frozen=True):
    """A shop and what it has left now; `stock` is (sku, on hand, free)."""

    shop: Shop
    capacity_free: int
    fridge_free: int
    stock: tuple[tuple[str, int, int], ...]


class RiderView(Struct, frozen=True):
    """A rider and what is left of the load."""

    rider: Rider
    load_free: int


class StockChange(Struct, frozen=True):
    """Cups and slots added to a shop; negative takes away. `sku` "" when only slots change."""

    shop_id: int
    sku: str = ""
    on_hand_delta: int = 0
    fridge_delta: int = 0


class Position(Struct, frozen=True):
    """Where a rider was, when."""

    rider_id: int
    latitude: float
    longitude: float
    measured_ms: int


class PositionsTaken(Struct):
    """What became of a message of positions."""

    accepted: int = 0
    stale: int = 0
    unknown: int = 0
    riders: list[int] = field(default_factory=list)


def check_count(field_path: str, count: int) -> None:
    """1 to BATCH_MAX entries."""
    if count == 0:
        raise CuptimeError(Reason.FIELD_REQUIRED, f"{field_path} is empty", field=field_path)
    if count > BATCH_MAX:
        raise CuptimeError(
            Reason.TOO_MANY_ENTRIES,
            f"{count} entries, at most {BATCH_MAX}",
            field=field_path,
            metadata={"measured": str(count), "limit": str(BATCH_MAX)},
        )


def check_range(field_path: str, value: int, lowest: int, highest: int) -> None:
    """Raises FIELD_INVALID outside lowest..highest."""
    if not lowest <= value <= highest:
        raise invalid(field_path, f"from {lowest} to {highest}", value)


def check_place(field_path: str, latitude: float, longitude: float) -> None:
    """Degrees on WGS84; (0, 0) is taken for a location that was not set."""
    if latitude == 0 and longitude == 0:
        raise CuptimeError(Reason.FIELD_REQUIRED, f"{field_path} is required", field=field_path)
    if not (math.isfinite(latitude) and -90 <= latitude <= 90):
        raise invalid(f"{field_path}.latitude", "from -90 to 90 degrees", latitude)
    if not (math.isfinite(longitude) and -180 <= longitude <= 180):
        raise invalid(f"{field_path}.longitude", "from -180 to 180 degrees", longitude)


def check_sku(field_path: str, sku: str) -> None:
    """1 to SKU_CHARS_MAX printable characters."""
    if not sku:
        raise CuptimeError(Reason.FIELD_REQUIRED, f"{field_path} is required", field=field_path)
    if len(sku) > SKU_CHARS_MAX or not sku.isprintable() or sku != sku.strip():
        raise invalid(field_path, f"1 to {SKU_CHARS_MAX} printable characters, no space around them", sku)


def check_shop(path: str, shop: Shop) -> None:
    """Raises the catalogue error that names the field, below `path` (`shops[3]`)."""
    check_range(f"{path}.shop_id", shop.shop_id, 1, ID_MAX)
    if len(shop.display_name) > NAME_CHARS_MAX:
        raise invalid(f"{path}.display_name", f"at most {NAME_CHARS_MAX} characters", shop.display_name)
    check_place(f"{path}.location", shop.latitude, shop.longitude)
    check_range(f"{path}.daily_capacity", shop.daily_capacity, 0, CAPACITY_MAX)
    check_range(f"{path}.fridge_slots", shop.fridge_slots, 0, FRIDGE_SLOTS_MAX)
    check_range(f"{path}.open_from_ms", shop.open_from_ms, 0, DAY_MS)
    check_range(f"{path}.open_until_ms", shop.open_until_ms, 0, DAY_MS)
    if shop.open_from_ms == shop.open_until_ms != 0:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION,
            "open_from_ms and open_until_ms are equal; both 0 is always open",
            field=f"{path}.open_until_ms",
        )
    if len(shop.stock) > SKUS_PER_SHOP_MAX:
        raise CuptimeError(
            Reason.TOO_MANY_ENTRIES,
            f"{len(shop.stock)} SKUs, at most {SKUS_PER_SHOP_MAX}",
            field=f"{path}.stock",
            metadata={"measured": str(len(shop.stock)), "limit": str(SKUS_PER_SHOP_MAX)},
        )
    seen: set[str] = set()
    for index, (sku, on_hand) in enumerate(shop.stock):
        check_sku(f"{path}.stock[{index}].sku", sku)
        check_range(f"{path}.stock[{index}].on_hand", on_hand, 0, ON_HAND_MAX)
        if sku in seen:
            field_path = f"{path}.stock[{index}].sku"
            raise CuptimeError(Reason.FIELD_CONTRADICTION, f"the SKU {sku} repeats", field=field_path)
        seen.add(sku)


def check_rider(path: str, rider: Rider) -> None:
    """Raises the catalogue error that names the field, below `path` (`riders[3]`)."""
    check_range(f"{path}.rider_id", rider.rider_id, 1, ID_MAX)
    if len(rider.display_name) > NAME_CHARS_MAX:
        raise invalid(f"{path}.display_name", f"at most {NAME_CHARS_MAX} characters", rider.display_name)
    check_place(f"{path}.location", rider.latitude, rider.longitude)
    check_range(f"{path}.available_from_time_ms", rider.available_from_ms, 0, INSTANT_MS_MAX)
    check_range(f"{path}.available_until_time_ms", rider.available_until_ms, 1, INSTANT_MS_MAX)
    if rider.available_until_ms <= rider.available_from_ms:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION,
            "available_until_time_ms is not after available_from_time_ms",
            field=f"{path}.available_until_time_ms",
        )
    check_range(f"{path}.max_load", rider.max_load, 0, LOAD_MAX)
    check_range(f"{path}.min_temperature_c", rider.min_temperature_c, -TEMPERATURE_C_MAX, TEMPERATURE_C_MAX)
    check_range(f"{path}.max_temperature_c", rider.max_temperature_c, -TEMPERATURE_C_MAX, TEMPERATURE_C_MAX)
    if rider.max_temperature_c < rider.min_temperature_c:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION,
            "max_temperature_c is below min_temperature_c",
            field=f"{path}.max_temperature_c",
        )
    check_range(f"{path}.speed_m_per_min", rider.speed_m_per_min, 0, SPEED_M_PER_MIN_MAX)


def check_no_repeats(path: str, ids: Sequence[int], name: str) -> None:
    """One request may not say two things about one resource."""
    seen: set[int] = set()
    for index, number in enumerate(ids):
        if number in seen:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION,
                f"{name} {number} is in the request twice",
                field=f"{path}[{index}].{name}",
            )
        seen.add(number)


FAR_MS: Final = 2**62


def open_window_ms(shop: Shop, now_ms: int) -> tuple[int, int]:
    """The opening hours around `now_ms`, or the next ones, as instants; it holds until its end."""
    length_ms = (shop.open_until_ms - shop.open_from_ms) % DAY_MS
    if length_ms == 0:
        return 0, FAR_MS
    midnight_ms = now_ms - now_ms % DAY_MS
    for day in (-1, 0):
        from_ms = midnight_ms + day * DAY_MS + shop.open_from_ms
        if now_ms < from_ms + length_ms:
            return from_ms, from_ms + length_ms
    from_ms = midnight_ms + DAY_MS + shop.open_from_ms
    return from_ms, from_ms + length_ms
