"""The messages that storage keeps as bytes, made and read here: nothing behind the API knows a wire."""

from __future__ import annotations

from dataclasses import replace

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime.api import convert
from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.values import DecisionRow, Outcome, RiderRow, ShopRow


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
        return message.SerializeToString(deterministic=True)
