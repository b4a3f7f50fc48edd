"""A small campus: shops, riders, groups and orders, as requests."""

from __future__ import annotations

import itertools
import time
from typing import Any, Final

from tests.integration.door import Door

PLACE: Final = {"latitude": 31.0250, "longitude": 121.4330}
FAR_PLACE: Final = {"latitude": 31.4000, "longitude": 121.9000}
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
SKU: Final = "latte"
RULES: Final = """rules:
  - name: high_credit
    condition: "user.credit_score >= 90"
    action: "assign_rider_priority: 1"
"""
_numbers = itertools.count(1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def fresh_id(what: str = "r") -> str:
    """A request id that no test has used."""
    return f"{what}-{next(_numbers)}-{now_ms()}"


def shop(shop_id: int, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "shop_id": shop_id,
        "display_name": f"shop {shop_id}",
        "location": dict(PLACE),
        "daily_capacity": 1_000,
        "fridge_slots": 100,
        "stock": [{"sku": SKU, "on_hand": 1_000}],
    }
    return fields | changed


def rider(rider_id: int, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "rider_id": rider_id,
        "display_name": f"rider {rider_id}",
        "location": dict(PLACE),
        "available_from_time_ms": now_ms() - HOUR_MS,
        "available_until_time_ms": now_ms() + 12 * HOUR_MS,
        "max_load": 100,
        "min_temperature_c": -5,
        "max_temperature_c": 80,
    }
    return fields | changed


def group(group_id: int, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "group_id": group_id,
        "park": "campus",
        "location": dict(PLACE),
        "capacity": 10,
        "deadline_time_ms": now_ms() + HOUR_MS,
    }
    return fields | changed


def order(group_id: int, user_id: int = 0, **changed: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "user": {"user_id": user_id or next(_numbers), "credit_score": 95, "tier": "gold"},
        "sku": SKU,
        "quantity": 1,
        "amount_cents": 1_500,
        "kind": "BEVERAGE_KIND_COFFEE",
        "temperature_class": "TEMPERATURE_CLASS_COLD",
        "ice_level": "less",
        "time_slot": "morning",
        "context": {
            "group_id": group_id,
            "sku_version": "2.1",
            "stock_snapshot": 1,
            "timestamp_ms": now_ms(),
        },
    }
    return fields | changed


def submission(group_id: int, user_id: int = 0, **changed: Any) -> dict[str, Any]:
    """A SubmitOrderRequest."""
    return {
        "parent": f"groups/{group_id}",
        "order": order(group_id, user_id, **changed),
        "request_id": fresh_id("order"),
    }


async def furnish(door: Door, shops: int = 2, riders: int = 3) -> None:
    """Shops and riders at PLACE."""
    await door.call("ShopService/BatchUpsertShops", shops=[shop(n) for n in range(1, shops + 1)])
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(n) for n in range(1, riders + 1)])
