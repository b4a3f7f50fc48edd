"""One load process: opens groups, sends orders at a steady rate through all three doors, checks each answer.

    python -m cuptime.app.morning.load --address 127.0.0.1:7000 --records DIR --process 0 --rate 600 --seconds 60

Open loop: what is due in a tick is sent, whether or not the earlier calls came back; more than `IN_FLIGHT_MAX` open
calls is a failure of the run, not a reason to slow down. Prints one JSON line of progress every half second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, deque
from pathlib import Path
from typing import Final

import grpc
import uvloop

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.app.morning import plan
from cuptime.app.morning.client import Message, channel, reason_of, unanswered
from cuptime.app.morning.records import Records
from cuptime.domain.clock import SystemClock

TICK_S: Final = 0.01
IN_FLIGHT_MAX: Final = 5_000
ACTIVE_GROUPS: Final = 50
SPOILED_SHARE: Final = 0.06
SCARCE_SHARE: Final = 0.002
REPEAT_SHARE: Final = 0.01
CANCEL_SHARE: Final = 0.01
"""Of the orders that were admitted, soon after."""
STREAM_BATCH: Final = 16
ATOMIC_BATCH: Final = 5
CALL_TIMEOUT_S: Final = 10.0
TASKS_PER_SECOND: Final = 50
TASK_QUEUE: Final = "sla"


class Load:
    """The state of one load process."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.clock = SystemClock()
        self.campus = plan.Campus(arguments.seed, arguments.process)
        self.records = Records(Path(arguments.records) / f"load-{arguments.process}.jsonl")
        self.channel = channel(arguments.address)
        self.stub = _Stub(self.channel)
        self.active: list[plan.PlannedGroup] = []
        self.opened: deque[plan.PlannedGroup] = deque()
        self.full: deque[int] = deque(maxlen=50)
        self.counts: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.calls: set[asyncio.Task[None]] = set()
        self.stream_queue: asyncio.Queue[list[_Sent] | None] = asyncio.Queue(IN_FLIGHT_MAX)
        self.stream_open: dict[int, list[_Sent]] = {}
        self.acknowledged: deque[tuple[groups_pb.SubmitOrderRequest, str]] = deque(maxlen=200)
        self.wants_group = asyncio.Event()
        self.stopping = False

    # --- the run ---------------------------------------------------------------------------------------------
    async def run(self) -> int:
        arguments = self.arguments
        opener = asyncio.create_task(self._open_groups())
        stream = asyncio.create_task(self._stream())
        progress = asyncio.create_task(self._progress())
        tasks = asyncio.create_task(self._enqueue_tasks())
        while len(self.opened) + len(self.active) < ACTIVE_GROUPS:
            for part in (opener, stream, progress, tasks):
                if part.done():
                    part.result()
            await asyncio.sleep(TICK_S)
        started = time.monotonic()
        if arguments.start_at > 0:
            await asyncio.sleep(max(0.0, arguments.start_at - time.time()))
            started = time.monotonic()
        sent = 0
        while (elapsed := time.monotonic() - started) < arguments.seconds:
            due = int(elapsed * arguments.rate)
            if len(self.calls) > IN_FLIGHT_MAX:
                self.counts["overrun"] += 1
                break
            self._send(due - sent)
            sent = due
            await asyncio.sleep(TICK_S)
        self.counts["burst_ms"] = int((time.monotonic() - started) * 1_000)
        self.stopping = True
        tasks.cancel()
        await self._drain()
        await self._complete_the_rest()
        await self.stream_queue.put(None)
        await stream
        opener.cancel()
        progress.cancel()
        self._print_progress(final=True)
        self.records.close()
        await self.channel.close()
        return 1 if self.counts["overrun"] or self.counts["wrong"] else 0

    async def _drain(self) -> None:
        deadline = time.monotonic() + CALL_TIMEOUT_S * 2
        while (
            self.calls or self.stream_open or not self.stream_queue.empty()
        ) and time.monotonic() < deadline:
            await asyncio.sleep(0.02)

    async def _complete_the_rest(self) -> None:
        """Groups that were meant to fill and are not full yet are completed by call."""
        for planned in [*self.active, *self.opened]:
            if planned.ends != "fill" or planned.admitted >= planned.capacity:
                continue
            request = groups_pb.CompleteGroupRequest(
                name=f"groups/{planned.group_id}", request_id=self.campus.request_id(), force=True
            )
            try:
                await self.stub.complete_group(request, timeout=CALL_TIMEOUT_S)
                self.counts["completed_by_call"] += 1
            except grpc.aio.AioRpcError as error:
                if not unanswered(error):
                    self._wrong(request.request_id, "completed", reason_of(error))

    # --- groups ----------------------------------------------------------------------------------------------
    async def _open_groups(self) -> None:
        """Keeps a stock of open groups ahead of the orders."""
        while True:
            while len(self.opened) >= ACTIVE_GROUPS:
                self.wants_group.clear()
                await self.wants_group.wait()
            batch = [self.campus.group() for _ in range(8)]
            await asyncio.gather(*(self._open_group(planned) for planned in batch))

    async def _open_group(self, planned: plan.PlannedGroup) -> None:
        message = self.campus.group_message(planned, self.clock.now_ms())
        planned.deadline_ms = message.deadline_time_ms
        request = groups_pb.CreateGroupRequest(group=message, request_id=self.campus.request_id())
        try:
            await self.stub.create_group(request, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if unanswered(error):
                self.counts["unanswered"] += 1
            else:
                self._wrong(request.request_id, "group", reason_of(error))
            return
        self.counts["groups"] += 1
        self.opened.append(planned)

    def _group(self) -> plan.PlannedGroup | None:
        while len(self.active) < ACTIVE_GROUPS and self.opened:
            self.active.append(self.opened.popleft())
            self.wants_group.set()
        if not self.active:
            return None
        index = self.campus.pick(len(self.active))
        planned = self.active[index]
        planned.sent += 1
        if planned.sent >= planned.members:
            self.active[index] = self.active[-1]
            self.active.pop()
        return planned

    # --- orders ----------------------------------------------------------------------------------------------
    def _send(self, count: int) -> None:
        while count > 0:
            draw = self.campus.chance()
            if draw < 0.45:
                size = 1
                self._spawn(self._unary())
            elif draw < 0.55:
                size = min(count, ATOMIC_BATCH)
                self._spawn(self._atomic(size))
            else:
                size = min(count, STREAM_BATCH)
                entries = [entry for entry in (self._entry() for _ in range(size)) if entry]
                if entries:
                    self.stream_queue.put_nowait(entries)
            count -= size

    def _spawn(self, call: Message) -> None:
        spawned = asyncio.create_task(call)
        self.calls.add(spawned)
        spawned.add_done_callback(self.calls.discard)

    def _entry(self) -> _Sent | None:
        """The next order: a good one, a spoiled one, a repeat, or one for a group that is full."""
        now_ms = self.clock.now_ms()
        draw = self.campus.chance()
        if draw < SPOILED_SHARE:
            if draw < SPOILED_SHARE / 8 and self.full:
                return _Sent(self.campus.order(self.full[0], now_ms), "GROUP_NOT_OPEN", None)
            if not self.active:
                return None
            request = self.campus.order(self.active[0].group_id, now_ms)
            return _Sent(request, self.campus.spoil(request), None)
        if draw < SPOILED_SHARE + REPEAT_SHARE and self.acknowledged:
            request, name = self.acknowledged[0]
            return _Sent(request, name, None)
        planned = self._group()
        if planned is None:
            self.counts["starved"] += 1
            return None
        request = self.campus.order(planned.group_id, now_ms)
        if draw > 1 - SCARCE_SHARE:
            request.order.sku, request.order.quantity = plan.SCARCE_SKU, 1
            request.order.kind = plan.SCARCE.kind  # type: ignore[assignment]
            request.order.temperature_class = plan.SCARCE.temperature  # type: ignore[assignment]
            request.order.context.stock_snapshot = 0
        return _Sent(request, "", planned)

    async def _unary(self) -> None:
        entry = self._entry()
        if entry is None:
            return
        try:
            response = await self.stub.submit_order(entry.request, timeout=CALL_TIMEOUT_S)
            self._answered(entry, response.order.name, "")
        except grpc.aio.AioRpcError as error:
            self._failed([entry], error)

    async def _atomic(self, size: int) -> None:
        """A batch that is admitted whole, or refused whole because one of its orders is spoiled."""
        now_ms = self.clock.now_ms()
        entries: list[_Sent] = []
        if self.campus.chance() < 0.1 and self.active:
            entries = [
                _Sent(self.campus.order(self.active[0].group_id, now_ms), "BATCH", None) for _ in range(size)
            ]
            self.campus.spoil(entries[-1].request)
        else:
            for _ in range(size):
                planned = self._group()
                if planned is not None:
                    entries.append(_Sent(self.campus.order(planned.group_id, now_ms), "", planned))
        if not entries:
            return
        request = groups_pb.BatchSubmitOrdersRequest(
            parent="groups/-", requests=[entry.request for entry in entries]
        )
        try:
            response = await self.stub.batch_submit_orders(request, timeout=CALL_TIMEOUT_S)
            for entry, order in zip(entries, response.orders, strict=True):
                self._answered(entry, order.name, "")
        except grpc.aio.AioRpcError as error:
            if entries[-1].wanted == "BATCH" and not unanswered(error):
                for entry in entries:
                    self.records.write("refused", entry.request.request_id, "BATCH")
                self.refused["batches refused whole"] += 1
            else:
                self._failed(entries, error)

    async def _stream(self) -> None:
        """One IngestOrders stream, several batches in flight."""
        sequence = 0
        call = self.stub.ingest_orders()
        reader = asyncio.create_task(self._read_stream(call))
        try:
            while (entries := await self.stream_queue.get()) is not None:
                sequence += 1
                self.stream_open[sequence] = entries
                await call.write(
                    groups_pb.IngestOrdersRequest(
                        sequence=sequence, requests=[entry.request for entry in entries]
                    )
                )
            await call.done_writing()
            await reader
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            self.counts["stream_lost"] += 1
            for entries in self.stream_open.values():
                for entry in entries:
                    self.records.write("unknown", entry.request.request_id)
            self.stream_open.clear()
            self.records.flush()
            print(f"stream ended: {error!r}", file=sys.stderr)

    async def _read_stream(self, call: Message) -> None:
        async for response in call:
            entries = self.stream_open.pop(response.sequence)
            for entry, result in zip(entries, response.results, strict=True):
                self._answered(entry, result.order, result.status.reason if not result.order else "")

    # --- answers ---------------------------------------------------------------------------------------------
    def _answered(self, entry: _Sent, name: str, reason: str) -> None:
        request_id = entry.request.request_id
        if name:
            if entry.planned is not None:
                self._admitted(entry, name)
            elif entry.wanted == name:
                self.counts["repeats"] += 1
            else:
                self._wrong(request_id, entry.wanted, name)
            return
        self.records.write("refused", request_id, reason)
        if entry.planned is not None:
            if reason == "STOCK_EXHAUSTED" and entry.request.order.sku == plan.SCARCE_SKU:
                self.refused[reason] += 1
                self._give_back(entry.planned)
            elif reason == "GROUP_NOT_OPEN" and self._past_deadline(entry.planned):
                self.refused["GROUP_NOT_OPEN (deadline)"] += 1
            else:
                self._wrong(request_id, "admitted", reason)
        elif reason in (entry.wanted, "GROUP_NOT_OPEN"):
            # A spoiled order may find its group closed: that is looked at first, and refused is refused.
            self.refused[reason] += 1
        else:
            self._wrong(request_id, entry.wanted, reason)

    def _admitted(self, entry: _Sent, name: str) -> None:
        planned = entry.planned
        assert planned is not None
        self.counts["admitted"] += 1
        planned.admitted += 1
        if self.campus.chance() < CANCEL_SHARE:
            # Not counted among the seats taken from now on: nobody may think that the group is full.
            planned.admitted -= 1
            self._spawn(self._take_back(planned, name))
        self.records.write("order", entry.request.request_id, name)
        self.acknowledged.append((entry.request, name))
        if planned.admitted >= planned.capacity:
            self.full.append(planned.group_id)

    async def _take_back(self, planned: plan.PlannedGroup, name: str) -> None:
        """Cancels an order; while its group is open, its seat is for somebody else."""
        self.records.write("cancelling", name)
        cancel = groups_pb.CancelOrderRequest(name=name, request_id=self.campus.request_id())
        read = groups_pb.GetGroupRequest(name=f"groups/{planned.group_id}")
        try:
            await self.stub.cancel_order(cancel, timeout=CALL_TIMEOUT_S)
            self.records.write("cancelled", name)
            self.counts["cancelled"] += 1
            found = await self.stub.get_group(read, timeout=CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            if unanswered(error):
                self.counts["unanswered"] += 1
            elif reason_of(error) != "STATE_CONFLICT" or not self._past_deadline(planned):
                self._wrong(cancel.request_id, "cancelled", reason_of(error))
            return
        if found.group.state == groups_pb.Group.STATE_OPEN:
            self._give_back(planned)

    def _past_deadline(self, planned: plan.PlannedGroup) -> bool:
        return planned.ends != "fill" and self.clock.now_ms() >= planned.deadline_ms

    def _give_back(self, planned: plan.PlannedGroup) -> None:
        """A seat that was not taken: the group goes back among the active ones when it had left them."""
        if planned.sent >= planned.members:
            self.active.append(planned)
        planned.sent -= 1

    def _failed(self, entries: list[_Sent], error: grpc.aio.AioRpcError) -> None:
        if unanswered(error):
            self.counts["unanswered"] += len(entries)
            for entry in entries:
                self.records.write("unknown", entry.request.request_id)
            return
        reason = reason_of(error)
        for entry in entries:
            self._answered(entry, "", reason)

    def _wrong(self, request_id: str, wanted: str, got: str) -> None:
        self.counts["wrong"] += 1
        self.records.write("wrong", request_id, wanted, got)

    # --- tasks -----------------------------------------------------------------------------------------------
    async def _enqueue_tasks(self) -> None:
        """SLA warnings: durable tasks due in the next seconds, for the workers."""
        while True:
            await asyncio.sleep(0.5)
            now_ms = self.clock.now_ms()
            entries = [
                tasks_pb.EnqueueTaskRequest(
                    task=tasks_pb.Task(
                        queue=TASK_QUEUE,
                        payload=f"{self.arguments.process}/{now_ms}/{index}".encode(),
                        due_time_ms=now_ms + 1_000 + self.campus.pick(4_000),
                    )
                )
                for index in range(TASKS_PER_SECOND // 2)
            ]
            request = tasks_pb.BatchEnqueueTasksRequest(requests=entries, request_id=self.campus.request_id())
            try:
                response = await self.stub.batch_enqueue_tasks(request, timeout=CALL_TIMEOUT_S)
                for task in response.tasks:
                    self.records.write("task", task.name)
                self.counts["tasks"] += len(response.tasks)
            except grpc.aio.AioRpcError as error:
                if not unanswered(error):
                    self._wrong(request.request_id, "tasks", reason_of(error))

    # --- progress --------------------------------------------------------------------------------------------
    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.records.flush()
            self._print_progress(final=False)

    def _print_progress(self, *, final: bool) -> None:
        line = {"final": final, "in_flight": len(self.calls), "refused": self.refused, **self.counts}
        print(json.dumps(line), flush=True)


class _Sent:
    """An order on its way: its request, what must become of it, and its group when it must be admitted."""

    __slots__ = ("planned", "request", "wanted")

    def __init__(
        self, request: groups_pb.SubmitOrderRequest, wanted: str, planned: plan.PlannedGroup | None
    ) -> None:
        self.request = request
        self.wanted = wanted
        self.planned = planned


class _Stub:
    """The calls used here."""

    def __init__(self, connection: grpc.aio.Channel) -> None:
        def unary(service: str, method: str, request: Message, response: Message) -> Message:
            return connection.unary_unary(
                f"/cuptime.v1.{service}/{method}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            )

        pb = groups_pb
        self.create_group = unary(
            "GroupService", "CreateGroup", pb.CreateGroupRequest, pb.CreateGroupResponse
        )
        self.complete_group = unary(
            "GroupService", "CompleteGroup", pb.CompleteGroupRequest, pb.CompleteGroupResponse
        )
        self.submit_order = unary(
            "GroupService", "SubmitOrder", pb.SubmitOrderRequest, pb.SubmitOrderResponse
        )
        self.cancel_order = unary(
            "GroupService", "CancelOrder", pb.CancelOrderRequest, pb.CancelOrderResponse
        )
        self.get_group = unary("GroupService", "GetGroup", pb.GetGroupRequest, pb.GetGroupResponse)
        self.batch_submit_orders = unary(
            "GroupService", "BatchSubmitOrders", pb.BatchSubmitOrdersRequest, pb.BatchSubmitOrdersResponse
        )
        self.batch_enqueue_tasks = unary(
            "TaskService",
            "BatchEnqueueTasks",
            tasks_pb.BatchEnqueueTasksRequest,
            tasks_pb.BatchEnqueueTasksResponse,
        )
        self.ingest_orders = connection.stream_stream(
            "/cuptime.v1.GroupService/IngestOrders",
            request_serializer=pb.IngestOrdersRequest.SerializeToString,
            response_deserializer=pb.IngestOrdersResponse.FromString,
        )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", required=True)
    parser.add_argument("--records", required=True, help="folder for what was acknowledged")
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=600, help="orders a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument(
        "--start-at", type=float, default=0, help="begin at this Unix time, to start together"
    )
    return parser.parse_args()


async def main() -> int:
    """The exit code. A channel belongs to the loop it is made in, so the load is made here."""
    return await Load(arguments()).run()


if __name__ == "__main__":
    sys.exit(uvloop.run(main()))
