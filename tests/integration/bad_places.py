"""Bad requests of shops and riders."""

from __future__ import annotations

from typing import Any, Final

from tests.integration import campus
from tests.integration.campus import PLACE, SKU
from tests.integration.faults import HUGE, LONG, PLACE_FAULTS, Bad, faults


def _shops() -> dict[str, Any]:
    return {"shops": [campus.shop(50), campus.shop(51)]}


UPSERT_SHOPS: Final = [
    Bad("no shops", {}, "FIELD_REQUIRED", "shops"),
    Bad("1001 shops", {"shops": [campus.shop(n) for n in range(1, 1_002)]}, "TOO_MANY_ENTRIES", "shops"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("shops.1.", "shops[1]."))
        for bad in faults(
            _shops,
            [
                ("shops.1.shop_id", None, "FIELD_INVALID", None),
                ("shops.1.shop_id", -3, "FIELD_INVALID", None),
                ("shops.1.shop_id", HUGE, "FIELD_INVALID", None),
                ("shops.1.shop_id", 50, "FIELD_CONTRADICTION", None),
                ("shops.1.display_name", LONG, "FIELD_INVALID", None),
                ("shops.1.location", None, "FIELD_REQUIRED", None),
                *((f"shops.1.location.{name}", value, reason, None) for name, value, reason in PLACE_FAULTS),
                ("shops.1.daily_capacity", -1, "FIELD_INVALID", None),
                ("shops.1.daily_capacity", 100_001, "FIELD_INVALID", None),
                ("shops.1.fridge_slots", 10_001, "FIELD_INVALID", None),
                ("shops.1.open_from_ms", -1, "FIELD_INVALID", None),
                ("shops.1.open_until_ms", 86_400_001, "FIELD_INVALID", None),
                ("shops.1.stock", [{"sku": SKU}] * 501, "TOO_MANY_ENTRIES", None),
                ("shops.1.stock", [{"sku": ""}], "FIELD_REQUIRED", "shops[1].stock[0].sku"),
                ("shops.1.stock", [{"sku": LONG}], "FIELD_INVALID", "shops[1].stock[0].sku"),
                (
                    "shops.1.stock",
                    [{"sku": SKU, "on_hand": -1}],
                    "FIELD_INVALID",
                    "shops[1].stock[0].on_hand",
                ),
                ("shops.1.stock", [{"sku": SKU}] * 2, "FIELD_CONTRADICTION", "shops[1].stock[1].sku"),
            ],
        )
    ),
    Bad(
        "hours of no length",
        {"shops": [campus.shop(50, open_from_ms=5, open_until_ms=5)]},
        "FIELD_CONTRADICTION",
        "shops[0].open_until_ms",
    ),
]


def _shop_update() -> dict[str, Any]:
    return {"shop": {"name": "shops/1", "paused": True}, "update_mask": {"paths": ["paused"]}}


UPDATE_SHOP: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "shop"),
    *faults(
        _shop_update,
        [
            ("shop.name", None, "FIELD_REQUIRED", None),
            ("shop.name", "riders/1", "FIELD_INVALID", None),
            ("shop.name", "shops/999", "SHOP_NOT_FOUND", ""),
            ("update_mask", None, "FIELD_REQUIRED", None),
            ("update_mask", {"paths": ["colour"]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": ["paused", "stock"]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": [LONG]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": ["*"]}, "FIELD_UNKNOWN", None),
            ("etag", "999", "ETAG_MISMATCH", None),
            ("etag", "0", "ETAG_MISMATCH", None),
            ("request_id", "r" * 65, "FIELD_INVALID", None),
        ],
    ),
    Bad(
        "a fridge of -1",
        {"shop": {"name": "shops/1", "fridge_slots": -1}, "update_mask": {"paths": ["fridge_slots"]}},
        "FIELD_INVALID",
        "shop.fridge_slots",
    ),
    Bad(
        "no location under a mask that names it",
        {"shop": {"name": "shops/1"}, "update_mask": {"paths": ["location"]}},
        "FIELD_REQUIRED",
        "shop.location",
    ),
]


def _adjustment() -> dict[str, Any]:
    return {"changes": [{"shop": "shops/1", "sku": SKU, "on_hand_delta": 1}]}


ADJUST_STOCK: Final = [
    Bad("no changes", {}, "FIELD_REQUIRED", "changes"),
    Bad("1001 changes", {"changes": [{"shop": "shops/1"}] * 1_001}, "TOO_MANY_ENTRIES", "changes"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("changes.0.", "changes[0]."))
        for bad in faults(
            _adjustment,
            [
                ("changes.0.shop", None, "FIELD_REQUIRED", None),
                ("changes.0.shop", "x", "FIELD_INVALID", None),
                ("changes.0.shop", "shops/999", "SHOP_NOT_FOUND", ""),
                ("changes.0.sku", None, "FIELD_REQUIRED", None),
                ("changes.0.sku", "unheard-of", "SKU_NOT_FOUND", None),
                ("changes.0.on_hand_delta", -100_000, "CAPACITY_EXCEEDED", None),
                ("changes.0.on_hand_delta", HUGE, "FIELD_INVALID", None),
                ("changes.0.fridge_delta", 20_000, "FIELD_INVALID", None),
                ("changes.0.on_hand_delta", 999_999_500, "FIELD_INVALID", None),
                ("changes.0.fridge_delta", -5_000, "CAPACITY_EXCEEDED", None),
            ],
        )
    ),
]


def _riders() -> dict[str, Any]:
    return {"riders": [campus.rider(50)]}


UPSERT_RIDERS: Final = [
    Bad("no riders", {}, "FIELD_REQUIRED", "riders"),
    Bad("1001 riders", {"riders": [campus.rider(n) for n in range(1, 1_002)]}, "TOO_MANY_ENTRIES", "riders"),
    Bad(
        "twice the same",
        {"riders": [campus.rider(50), campus.rider(50)]},
        "FIELD_CONTRADICTION",
        "riders[1].rider_id",
    ),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("riders.0.", "riders[0]."))
        for bad in faults(
            _riders,
            [
                ("riders.0.rider_id", None, "FIELD_INVALID", None),
                ("riders.0.display_name", LONG, "FIELD_INVALID", None),
                ("riders.0.location", None, "FIELD_REQUIRED", None),
                *((f"riders.0.location.{name}", value, reason, None) for name, value, reason in PLACE_FAULTS),
                ("riders.0.available_from_time_ms", -1, "FIELD_INVALID", None),
                ("riders.0.available_until_time_ms", 1, "FIELD_CONTRADICTION", None),
                ("riders.0.available_until_time_ms", HUGE, "FIELD_INVALID", None),
                ("riders.0.max_load", 1_001, "FIELD_INVALID", None),
                ("riders.0.min_temperature_c", -101, "FIELD_INVALID", None),
                ("riders.0.max_temperature_c", -50, "FIELD_CONTRADICTION", None),
                ("riders.0.speed_m_per_min", -1, "FIELD_INVALID", None),
            ],
        )
    ),
]


def _positions() -> dict[str, Any]:
    return {"positions": [{"rider_id": 1, "location": PLACE, "measure_time_ms": campus.now_ms()}]}


STREAM_POSITIONS: Final = [
    Bad("no positions", {}, "FIELD_REQUIRED", "positions"),
    Bad("1001 positions", {"positions": [{}] * 1_001}, "TOO_MANY_ENTRIES", "positions"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("positions.0.", "positions[0]."))
        for bad in faults(
            _positions,
            [
                ("positions.0.rider_id", None, "FIELD_INVALID", None),
                ("positions.0.location", None, "FIELD_REQUIRED", None),
                ("positions.0.location.latitude", float("nan"), "FIELD_INVALID", None),
                ("positions.0.measure_time_ms", None, "FIELD_INVALID", None),
                ("positions.0.measure_time_ms", HUGE, "FIELD_INVALID", None),
            ],
        )
    ),
]
