"""Serialized requests, made before the clock runs so that the load processes spend their share of the machine on
calls alone."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as schedules_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.app.morning import plan

GROUP_CAPACITY: Final = 5_000
SEED: Final = 20_260_101
MIX: Final = {"SubmitOrder": (0.45, 1), "BatchSubmitOrders": (0.10, 5), "IngestOrders": (0.45, 16)}
"""By door: its share of all orders, and how many orders go in one request."""


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def wide_groups(first_id: int, count: int) -> list[groups_pb.Group]:
    """Groups so large that the intake bench never completes one: what is measured is intake and nothing else."""
    deadline_ms = now_ms() + 3_600_000
    return [
        groups_pb.Group(
            group_id=first_id + index,
            park="minhang",
            location=plan.place(2_500, 2_500),
            capacity=GROUP_CAPACITY,
            min_size=1,
            deadline_time_ms=deadline_ms,
            purchase_limit=2,
        )
        for index in range(count)
    ]


class Orders:
    """Orders that must be admitted: each user new, each request_id new. One message is changed and serialized again."""

    def __init__(self, prefix: str, first_user: int) -> None:
        self._prefix = prefix
        self._user = first_user
        self._made = 0
        self._request = groups_pb.SubmitOrderRequest(
            order=groups_pb.Order(
                user=groups_pb.User(user_id=1, credit_score=92, tier="silver"),
                sku="latte",
                quantity=1,
                amount_cents=1_900,
                kind=types_pb.BEVERAGE_KIND_COFFEE,
                temperature_class=types_pb.TEMPERATURE_CLASS_HOT,
                ice_level="none",
                time_slot="morning",
                context=types_pb.BusinessContext(
                    group_id=10_000, sku_version="2.1", stock_snapshot=100, timestamp_ms=now_ms()
                ),
            )
        )

    def next(self, group_id: int) -> groups_pb.SubmitOrderRequest:
        """The same object each time, with the next order in it."""
        request = self._request
        drink = plan.DRINKS[self._made % len(plan.DRINKS)]
        request.parent = f"groups/{group_id}"
        request.request_id = f"{self._prefix}{self._made:09d}"
        order = request.order
        order.user.user_id = self._user
        order.user.credit_score = 85 + self._made % 16
        order.sku = drink.sku
        order.kind = drink.kind  # type: ignore[assignment]
        order.temperature_class = drink.temperature  # type: ignore[assignment]
        order.context.group_id = group_id
        self._user += 1
        self._made += 1
        return request

    def unary(self, group_ids: list[int], count: int) -> list[bytes]:
        return [self.next(group_ids[index % len(group_ids)]).SerializeToString() for index in range(count)]

    def batches(self, group_ids: list[int], count: int, size: int) -> list[bytes]:
        """BatchSubmitOrdersRequest, each for one group."""
        made = []
        for index in range(count):
            group_id = group_ids[index % len(group_ids)]
            batch = groups_pb.BatchSubmitOrdersRequest(parent=f"groups/{group_id}")
            for _ in range(size):
                batch.requests.append(self.next(group_id))
            made.append(batch.SerializeToString())
        return made

    def ingests(self, group_ids: list[int], count: int, size: int) -> list[bytes]:
        """IngestOrdersRequest, each over several groups."""
        made = []
        for index in range(count):
            message = groups_pb.IngestOrdersRequest(sequence=index + 1)
            for place in range(size):
                message.requests.append(self.next(group_ids[(index + place) % len(group_ids)]))
            made.append(message.SerializeToString())
        return made


def filling_groups(first_id: int, orders: int) -> tuple[list[groups_pb.Group], list[bytes]]:
    """Groups of 3 to 40, fifty open at a time, and the orders that fill every one of them, in the order in which they
    shall be sent."""
    campus = plan.Campus(SEED, 0)
    maker = Orders("d", 1_000_000_000)
    groups: list[groups_pb.Group] = []
    sent: list[bytes] = []
    active: list[list[int]] = []
    seats = 0
    while len(sent) < orders:
        while len(active) < 50 and seats < orders:
            group_id = first_id + len(groups)
            capacity = min(3 + campus.pick(38), orders - seats)
            planned = plan.PlannedGroup(group_id, capacity, capacity, 1, 3_600_000, "fill")
            groups.append(campus.group_message(planned, now_ms()))
            active.append([group_id, capacity])
            seats += capacity
        chosen = active[campus.pick(len(active))]
        sent.append(maker.next(chosen[0]).SerializeToString())
        chosen[1] -= 1
        if chosen[1] == 0:
            active.remove(chosen)
    return groups, sent


def mixed(raws: list[bytes]) -> list[tuple[int, str, bytes]]:
    """The same orders through three doors, in the shares of MIX: (index of the last order in it, method, request)."""
    campus = plan.Campus(SEED, 1)
    weights = {door: share / size for door, (share, size) in MIX.items()}
    made: list[tuple[int, str, bytes]] = []
    at = 0
    while at < len(raws):
        door = campus.draw(weights)
        part = raws[at : at + MIX[door][1]]
        at += len(part)
        orders = [groups_pb.SubmitOrderRequest.FromString(raw) for raw in part]
        if door == "SubmitOrder":
            request = part[0]
        elif door == "BatchSubmitOrders":
            request = groups_pb.BatchSubmitOrdersRequest(
                parent="groups/-", requests=orders
            ).SerializeToString()
        else:
            request = groups_pb.IngestOrdersRequest(
                sequence=len(made) + 1, requests=orders
            ).SerializeToString()
        made.append((at - 1, door, request))
    return made


def task_batches(due_ms: list[int], queue: str, size: int = 1_000) -> Iterator[bytes]:
    """BatchEnqueueTasksRequest of at most `size` tasks each, due at the given instants. No task equals another."""
    stamp = time.time_ns()
    for start in range(0, len(due_ms), size):
        batch = tasks_pb.BatchEnqueueTasksRequest()
        for index in range(start, min(start + size, len(due_ms))):
            task = batch.requests.add().task
            task.queue = queue
            task.payload = b"bench %d %d" % (stamp, index)
            task.due_time_ms = due_ms[index]
        yield batch.SerializeToString()


def registrations(count: int) -> list[tuple[bytes, bytes]]:
    """(RegisterScheduleRequest, UnregisterScheduleRequest) of `count` schedules: one in five fires within minutes."""
    made = []
    for index in range(count):
        hour, minute = index % 24, index % 60
        cron = f"*/{5 + index % 7} * * * *" if index % 5 == 0 else f"{minute} {hour} * * *"
        schedule_id = f"bench-{index}"
        schedule = schedules_pb.Schedule(
            schedule_id=schedule_id,
            timing=schedules_pb.Timing(cron=cron, time_zone="Asia/Shanghai"),
            target=schedules_pb.Target(task=tasks_pb.Task(queue="sheets", payload=b"bench %d" % index)),
        )
        register = schedules_pb.RegisterScheduleRequest(schedule=schedule, request_id=f"r{index}")
        unregister = schedules_pb.UnregisterScheduleRequest(
            name=f"schedules/{schedule_id}", request_id=f"u{index}"
        )
        made.append((register.SerializeToString(), unregister.SerializeToString()))
    return made
