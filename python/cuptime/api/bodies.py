"""The messages that storage keeps as bytes, made and read here: nothing behind the API knows a wire."""

from __future__ import annotations

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.values import DecisionRow, Outcome, RiderRow, ShopRow


class WireBodies:
    """Implements :class:`cuptime.dispatch.ports.Bodies` with the messages of cuptime.v1."""

    def shop_body(self, shop: Shop) -> bytes:
        return shops_pb.Shop(
            shop_id=shop.shop_id,
            display_name=shop.display_name,
            location=types_pb.Location(latitude=shop.latitude, longitude=shop.longitude),
            daily_capacity=shop.daily_capacity,
            fridge_slots=shop.fridge_slots,
            open_from_ms=shop.open_from_ms,
            open_until_ms=shop.open_until_ms,
            paused=shop.paused,
        ).SerializeToString(deterministic=True)

    def shop(self, row: ShopRow) -> Shop:
        message = shops_pb.Shop.FromString(row.body)
        return Shop(
            shop_id=row.shop_id,
            display_name=message.display_name,
            latitude=message.location.latitude,
            longitude=message.location.longitude,
            daily_capacity=row.daily_capacity,
            fridge_slots=row.fridge_slots,
            open_from_ms=message.open_from_ms,
            open_until_ms=message.open_until_ms,
            paused=message.paused,
            updated_ms=row.updated_ms,
            etag=row.etag,
        )

    def rider_body(self, rider: Rider) -> bytes:
        return riders_pb.Rider(
            rider_id=rider.rider_id,
            display_name=rider.display_name,
            location=types_pb.Location(latitude=rider.latitude, longitude=rider.longitude),
            available_from_time_ms=rider.available_from_ms,
            available_until_time_ms=rider.available_until_ms,
            max_load=rider.max_load,
            min_temperature_c=rider.min_temperature_c,
            max_temperature_c=rider.max_temperature_c,
            speed_m_per_min=rider.speed_m_per_min,
            paused=rider.paused,
        ).SerializeToString(deterministic=True)

    def rider(self, row: RiderRow) -> Rider:
        message = riders_pb.Rider.FromString(row.body)
        return Rider(
            rider_id=row.rider_id,
            display_name=message.display_name,
            latitude=message.location.latitude,
            longitude=message.location.longitude,
            available_from_ms=message.available_from_time_ms,
            available_until_ms=message.available_until_time_ms,
            max_load=row.max_load,
            min_temperature_c=message.min_temperature_c,
            max_temperature_c=message.max_temperature_c,
            speed_m_per_min=message.speed_m_per_min,
            paused=message.paused,
            updated_ms=row.updated_ms,
            etag=row.etag,
        )

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
