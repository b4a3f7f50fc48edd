"""A campus morning from a seed: shops, riders, rules, groups and the orders that will come, with what must become of
each. Pure: the same seed and the same `now_ms` give the same morning."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Final

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb

ORIGIN: Final = (31.0250, 121.4330)
PARK_M: Final = 5_000
HOUR_MS: Final = 3_600_000
SCARCE_SKU: Final = "yuzu-cold-brew"
SCARCE_CUPS: Final = 40
RULES: Final = """\
rules:
  - name: high_credit_early_dispatch
    priority: 10
    condition: "user.credit_score >= 90 && order.time_slot == 'morning'"
    action: "assign_rider_priority: 1"
  - name: gold_first
    priority: 20
    condition: "user.tier == 'gold'"
    action: "assign_rider_priority: 5"
  - name: large_cold_tea
    priority: 30
    condition: "order.kind == 'TEA' && order.temperature_class == 'COLD' && order.quantity >= 3"
    action: "tag: large_cold"
  - name: no_bulk_from_new_users
    priority: 1
    condition: "user.tier == 'new' && order.quantity > 20"
    action: "refuse: bulk_from_new_user"
"""


@dataclass(frozen=True, slots=True)
class Drink:
    sku: str
    kind: int
    temperature: int


_COFFEE, _TEA, _JUICE = (
    types_pb.BEVERAGE_KIND_COFFEE,
    types_pb.BEVERAGE_KIND_TEA,
    types_pb.BEVERAGE_KIND_JUICE,
)
_HOT, _AMBIENT, _COLD = (
    types_pb.TEMPERATURE_CLASS_HOT,
    types_pb.TEMPERATURE_CLASS_AMBIENT,
    types_pb.TEMPERATURE_CLASS_COLD,
)
DRINKS: Final = (
    Drink("americano", _COFFEE, _HOT),
    Drink("latte", _COFFEE, _HOT),
    Drink("iced-latte", _COFFEE, _COLD),
    Drink("flat-white", _COFFEE, _HOT),
    Drink("oolong", _TEA, _HOT),
    Drink("jasmine-milk-tea", _TEA, _COLD),
    Drink("lemon-tea", _TEA, _COLD),
    Drink("puer", _TEA, _AMBIENT),
    Drink("orange-juice", _JUICE, _COLD),
    Drink("apple-juice", _JUICE, _AMBIENT),
)
SCARCE: Final = Drink(SCARCE_SKU, _COFFEE, _COLD)


def place(x_m: float, y_m: float) -> types_pb.Location:
    """A point of the park, `x_m` east and `y_m` north of its origin."""
    latitude = ORIGIN[0] + math.degrees(y_m / 6_371_008.8)
    longitude = ORIGIN[1] + math.degrees(x_m / (6_371_008.8 * math.cos(math.radians(ORIGIN[0]))))
    return types_pb.Location(latitude=latitude, longitude=longitude)


def _anywhere(rng: random.Random, margin_m: float = 0) -> types_pb.Location:
    return place(rng.uniform(margin_m, PARK_M - margin_m), rng.uniform(margin_m, PARK_M - margin_m))


def shops(seed: int, count: int, orders: int) -> list[shops_pb.Shop]:
    """`count` shops with, together, about 1.6 times the capacity that `orders` need; two have the scarce drink."""
    rng = random.Random(f"shops/{seed}")
    capacity = max(50, int(orders * 1.6 / count))
    made = []
    for shop_id in range(1, count + 1):
        shop = shops_pb.Shop(
            shop_id=shop_id,
            display_name=f"Shop {shop_id}",
            location=_anywhere(rng, 500),
            daily_capacity=int(capacity * rng.uniform(0.8, 1.2)),
            fridge_slots=int(capacity * rng.uniform(0.5, 0.8)),
        )
        for drink in DRINKS:
            shop.stock.add(sku=drink.sku, on_hand=capacity * 4)
        if shop_id <= 2:
            shop.stock.add(sku=SCARCE_SKU, on_hand=SCARCE_CUPS // 2)
        made.append(shop)
    return made


def riders(seed: int, count: int, orders: int, now_ms: int) -> list[riders_pb.Rider]:
    """`count` riders with, together, about 1.5 times the load that `orders` need; a third has no cooled box."""
    rng = random.Random(f"riders/{seed}")
    load = min(1_000, max(4, int(orders * 1.5 / count)))
    made = []
    for rider_id in range(1, count + 1):
        cooled = rng.random() < 0.7
        made.append(
            riders_pb.Rider(
                rider_id=rider_id,
                display_name=f"Rider {rider_id}",
                location=_anywhere(rng),
                available_from_time_ms=now_ms - HOUR_MS,
                available_until_time_ms=now_ms + 10 * HOUR_MS,
                max_load=load,
                min_temperature_c=0 if cooled else 15,
                max_temperature_c=70,
                speed_m_per_min=rng.choice((250, 300, 350)),
            )
        )
    return made


@dataclass(slots=True)
class PlannedGroup:
    """A group the load will fill: up to `members` orders of at most `capacity`; then it is full, or waits for its
    deadline, or fails there."""

    group_id: int
    capacity: int
    members: int
    min_size: int
    open_for_ms: int
    ends: str
    """`fill`, `deadline` or `fail`."""
    sent: int = 0
    admitted: int = 0
    deadline_ms: int = 0


class Campus:
    """Groups and orders of one load process, drawn from its own random stream."""

    def __init__(self, seed: int, process: int) -> None:
        self._rng = random.Random(f"campus/{seed}/{process}")
        self._next_group_id = 10_000 + 1_000_000 * (process + 1)
        self._next_user = 1 + 10_000_000 * process
        self._process = process
        self._next_request = 0

    def group(self) -> PlannedGroup:
        draw = self._rng.random()
        capacity = self._rng.randint(3, 40)
        group_id = self._next_group_id
        self._next_group_id += 1
        if draw < 0.02:
            return PlannedGroup(group_id, capacity, 1, 3, 5_000, "fail")
        if draw < 0.12 and capacity >= 5:
            return PlannedGroup(group_id, capacity, capacity // 2 + 1, 2, 8_000, "deadline")
        return PlannedGroup(group_id, capacity, capacity, 1, 15 * 60_000, "fill")

    def group_message(self, planned: PlannedGroup, now_ms: int) -> groups_pb.Group:
        return groups_pb.Group(
            group_id=planned.group_id,
            park="minhang",
            location=_anywhere(self._rng, 800),
            capacity=planned.capacity,
            min_size=planned.min_size,
            deadline_time_ms=now_ms + planned.open_for_ms,
            purchase_limit=2,
        )

    def request_id(self) -> str:
        self._next_request += 1
        return f"m{self._process}-{self._next_request:08d}"

    def order(self, group_id: int, now_ms: int) -> groups_pb.SubmitOrderRequest:
        """An order that must be admitted, as far as its group has room."""
        rng = self._rng
        drink = rng.choice(DRINKS)
        user_id = self._next_user
        self._next_user += 1
        return groups_pb.SubmitOrderRequest(
            parent=f"groups/{group_id}",
            request_id=self.request_id(),
            order=groups_pb.Order(
                user=groups_pb.User(
                    user_id=user_id,
                    credit_score=rng.randint(85, 100),
                    tier=rng.choice(("gold", "silver", "plain", "new")),
                ),
                sku=drink.sku,
                quantity=rng.choice((1, 1, 1, 2, 3)),
                amount_cents=rng.randint(900, 4_500),
                kind=drink.kind,  # type: ignore[arg-type]
                temperature_class=drink.temperature,  # type: ignore[arg-type]
                ice_level=rng.choice(("none", "less", "normal")),
                time_slot=rng.choice(("morning", "noon")),
                context=types_pb.BusinessContext(
                    group_id=group_id,
                    sku_version="2.1",
                    stock_snapshot=rng.randint(0, 200),
                    timestamp_ms=now_ms,
                ),
            ),
        )

    def spoil(self, request: groups_pb.SubmitOrderRequest) -> str:
        """Changes a good order so that it must be refused; the reason it must be refused with."""
        order = request.order
        reason = self._rng.choice(SPOILED)
        if reason == "CREDIT_BELOW_MINIMUM":
            order.user.credit_score = self._rng.randint(0, 84)
        elif reason == "SKU_NOT_OFFERED":
            order.sku = "moon-water"
        elif reason == "STOCK_SNAPSHOT_STALE":
            order.context.stock_snapshot = 10**12
        elif reason == "RULE_REFUSED":
            order.user.tier = "new"
            order.quantity = 21
        elif reason == "GROUP_NOT_FOUND":
            request.parent = "groups/10001"
            order.context.group_id = 10_001
        elif reason == "FIELD_CONTRADICTION":
            order.context.group_id += 1
        else:
            order.context.sku_version = self._rng.choice(("two", "2", "2.1.0", " 2.1"))
        return reason

    def chance(self) -> float:
        return self._rng.random()

    def draw(self, weights: dict[str, float]) -> str:
        """One of the keys, by weight."""
        return self._rng.choices(list(weights), list(weights.values()))[0]

    def pick(self, count: int) -> int:
        return self._rng.randrange(count)


SPOILED: Final = (
    "CREDIT_BELOW_MINIMUM",
    "SKU_NOT_OFFERED",
    "STOCK_SNAPSHOT_STALE",
    "RULE_REFUSED",
    "GROUP_NOT_FOUND",
    "FIELD_CONTRADICTION",
    "FIELD_INVALID",
)
