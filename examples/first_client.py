"""A first client: one shop, one rider, a group of two, and what is decided. Needs `make serve` in another terminal."""

import itertools
import sys
import time

import grpc

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops
from cuptime._gen.cuptime.v1.dispatch_service_pb2_grpc import DispatchServiceStub
from cuptime._gen.cuptime.v1.group_service_pb2_grpc import GroupServiceStub
from cuptime._gen.cuptime.v1.rider_service_pb2_grpc import RiderServiceStub
from cuptime._gen.cuptime.v1.shop_service_pb2_grpc import ShopServiceStub

channel = grpc.insecure_channel(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7000")
now_ms, here = time.time_ns() // 1_000_000, {"latitude": 31.0257, "longitude": 121.4337}
shop = {"shop_id": 1, "location": here, "daily_capacity": 500, "stock": [{"sku": "oolong", "on_hand": 1_000}]}
ShopServiceStub(channel).BatchUpsertShops(shops.BatchUpsertShopsRequest(shops=[shop]))
shift = {"available_from_time_ms": now_ms, "available_until_time_ms": now_ms + 8 * 3_600_000}
rider = {"rider_id": 1, "location": here, "max_load": 100, "max_temperature_c": 70, **shift}
RiderServiceStub(channel).BatchUpsertRiders(riders.BatchUpsertRidersRequest(riders=[rider]))
group = {"group_id": now_ms, "capacity": 2, "deadline_time_ms": now_ms + 60_000, "location": here}
name = GroupServiceStub(channel).CreateGroup(groups.CreateGroupRequest(group=group)).group.name
tea = {"sku": "oolong", "quantity": 1, "kind": "BEVERAGE_KIND_TEA"}
tea["temperature_class"] = "TEMPERATURE_CLASS_HOT"
seen = {"group_id": now_ms, "sku_version": "2.1", "stock_snapshot": 10, "timestamp_ms": now_ms}
for user_id in (7, 8):  # the second order fills the group, and that completes it
    order = {"user": {"user_id": user_id, "credit_score": 92}, "context": seen, **tea}
    request = groups.SubmitOrderRequest(parent=name, order=order, request_id=f"{now_ms}-{user_id}")
    print("admitted", GroupServiceStub(channel).SubmitOrder(request).order.name)
answers = DispatchServiceStub(channel).WatchDecisions(dispatch.WatchDecisionsRequest(parent=name), timeout=10)
for made in itertools.islice((decision for answer in answers for decision in answer.decisions), 2):
    print(made.name, made.shop, made.rider, f"after {made.decide_time_ms - made.complete_time_ms} ms")
