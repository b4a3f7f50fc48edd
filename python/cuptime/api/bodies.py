"""The messages that storage keeps as bytes, made and read here: nothing behind the API knows a wire."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import types_pb2
from cuptime.api import convert
from cuptime.dispatch.ports import Told, Wish
from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.values import DecisionRow, Outcome, RiderRow, ShopRow

_DEGREES_MAX: Final = 32_767
_WISHES: Final[dict[int, tuple[int, int, int]]] = {
    types_pb2.TEMPERATURE_CLASS_HOT: (0, 55, _DEGREES_MAX),
    types_pb2.TEMPERATURE_CLASS_COLD: (2, -_DEGREES_MAX, 8),
}
"""As the proto says of each class: the core's number, and the degrees it may be carried at."""
_AMBIENT: Final = (1, -_DEGREES_MAX, _DEGREES_MAX)


class WireBodies:
    """Implements :class:`cuptime.dispatch.ports.Bodies` with the messages of cuptime.v1."""

    def shop_body(self, shop: Shop) -> bytes:
        return convert.shop(shop).SerializeToString(deterministic=True)

    def shop(self, row: ShopRow) -> Shop:
        return replace(
            convert.shop_value(shops_pb.Shop.FromString(row.body)),
            shop_id=row.shop_id,
            daily_capacity=row.daily_capacity,
            fridge_slots=row.fridge_slots,
            updated_ms=row.updated_ms,
            etag=row.etag,
        )

    def rider_body(self, rider: Rider) -> bytes:
        return convert.rider(rider).SerializeToString(deterministic=True)

    def rider(self, row: RiderRow) -> Rider:
        return replace(
            convert.rider_value(riders_pb.Rider.FromString(row.body)),
            rider_id=row.rider_id,
            max_load=row.max_load,
            updated_ms=row.updated_ms,
            etag=row.etag,
        )

    def dropoff_ms(self, row: DecisionRow) -> int:
        return dispatch_pb.Decision.FromString(row.body).dropoff_time_ms

    def decision_body(self, row: DecisionRow, before: bytes) -> bytes:
        message = dispatch_pb.Decision.FromString(before)
        assigned = row.outcome is not Outcome.UNASSIGNED
        message.outcome = int(row.outcome)  # type: ignore[assignment]
        message.shop = f"shops/{row.shop_id}" if assigned else ""
        message.rider = f"riders/{row.rider_id}" if assigned else ""
        message.priority = row.priority
        message.rule_revision = row.rule_revision
        message.complete_time_ms = row.completed_ms
        message.decide_time_ms = row.decided_ms
        message.attempt = row.attempt
        message.pickup_time_ms = row.pickup_ms
        message.ClearField("reasons")
        message.ClearField("alternatives")
        message.ClearField("dropoff_time_ms")
        message.ClearField("distance_m")
        message.ClearField("gap_bound")
        message.ClearField("supersedes")
        message.commit_time_ms = row.decided_ms if row.outcome is Outcome.ASSIGNED else 0
        return message.SerializeToString(deterministic=True)

    def improved_body(self, row: DecisionRow, before: bytes, told: Told) -> bytes:
        message = dispatch_pb.Decision.FromString(self.decision_body(row, before))
        message.commit_time_ms = told.commit_ms
        message.supersedes = told.supersedes
        message.dropoff_time_ms = told.dropoff_ms
        message.distance_m = told.distance_m
        for code, measured, limit, subject in told.reasons:
            message.reasons.add(code=code, measured=measured, limit=limit, subject=subject)
        if told.rules:
            word = dispatch_pb.Decision.FromString(told.rules)
            message.reasons.extend(word.reasons)
            message.judged.CopyFrom(word.judged)
            # The rules about the order are those of before; of those about pairs, the ones that weigh this one.
            message.ClearField("matched_rules")
            message.matched_rules.extend(word.matched_rules)
        return message.SerializeToString(deterministic=True)

    def provisional_until_ms(self, decision: bytes) -> int:
        return dispatch_pb.Decision.FromString(decision).commit_time_ms

    def bound_by_rules(self, decision: bytes) -> bool:
        return dispatch_pb.Decision.FromString(decision).bound_by_rules

    def order_wish(self, order: bytes, decision: bytes) -> Wish:
        message = groups_pb.Order.FromString(order)
        place = message.drop_off
        where = (place.latitude, place.longitude) if message.HasField("drop_off") else None
        temperature = int(message.temperature_class)
        for action in dispatch_pb.Decision.FromString(decision).actions:
            if action.kind == "temperature_class":
                temperature = int(types_pb2.TemperatureClass.Value(f"TEMPERATURE_CLASS_{action.value}"))
        return Wish(where, *_WISHES.get(temperature, _AMBIENT))
