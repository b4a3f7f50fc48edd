"""One load process. Prepares, prints `ready`, waits for a line on its standard input, runs, prints one JSON line.

    python -m benches.service.load unary --address 127.0.0.1:7000 --seconds 10

Every mode is bounded by its seconds. Requests are serialized before `ready`, answers are not parsed where their
status says enough.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

import grpc
import uvloop

from benches.service import frames, requests
from benches.service.figures import spread
from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import worker_service_pb2 as worker_pb
from cuptime.app.morning.client import channel, reason_of

PREFIX: Final = "/cuptime.v1."
CALL_TIMEOUT_S: Final = 30.0
OPEN_CALLS_MAX: Final = 5_000
LOOK_S: Final = 0.25
RECONNECT_S: Final = 0.005
FIRST_GROUP: Final = 1_000_000

Answer = dict[str, Any]


def unary_of(connection: grpc.aio.Channel, method: str) -> Callable[..., Awaitable[bytes]]:
    """Bytes in, bytes out."""
    call: Callable[..., Awaitable[bytes]] = connection.unary_unary(PREFIX + method)
    return call


class Load:
    """The modes, by name."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self.parsed = parsed
        self.connection = channel(parsed.address)
        self.refused: Counter[str] = Counter()

    async def ready(self) -> None:
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)

    async def open_groups(self, groups: list[groups_pb.Group]) -> None:
        create = unary_of(self.connection, "GroupService/CreateGroup")
        for start in range(0, len(groups), 200):
            part = groups[start : start + 200]
            await asyncio.gather(
                *[
                    create(
                        groups_pb.CreateGroupRequest(group=group).SerializeToString(), timeout=CALL_TIMEOUT_S
                    )
                    for group in part
                ]
            )

    # --- order intake, closed loop ------------------------------------------------------------------------------
    async def closed_loop(self, method: str, raws: list[bytes], orders_each: int) -> Answer:
        """`--open` calls are always under way, for `--seconds` or until the requests are used up."""
        await self.ready()
        call = unary_of(self.connection, method)
        left: Iterator[bytes] = iter(raws)
        took_ms: list[float] = []
        until = time.perf_counter() + self.parsed.seconds

        async def one() -> None:
            for raw in left:
                started = time.perf_counter()
                if started > until:
                    return
                try:
                    await call(raw, timeout=CALL_TIMEOUT_S)
                except grpc.aio.AioRpcError as error:
                    self.refused[reason_of(error)] += 1
                    continue
                took_ms.append((time.perf_counter() - started) * 1_000)

        began = time.perf_counter()
        await asyncio.gather(*[one() for _ in range(self.parsed.open)])
        elapsed_s = time.perf_counter() - began
        return {
            "rate": len(took_ms) * orders_each / elapsed_s,
            "orders": len(took_ms) * orders_each,
            "ms": spread(took_ms),
        }

    def _wide(self, orders: int) -> tuple[list[groups_pb.Group], list[int]]:
        count = orders * 11 // (requests.GROUP_CAPACITY * 10) + 20
        groups = requests.wide_groups(FIRST_GROUP + self.parsed.process * 100_000, count)
        return groups, [group.group_id for group in groups]

    def _maker(self) -> requests.Orders:
        return requests.Orders(f"p{self.parsed.process}-", 1 + 100_000_000 * self.parsed.process)

    async def unary(self) -> Answer:
        """SubmitOrder over `--connections`, by the frames of `benches.service.frames`."""
        orders = int(self.parsed.rate * self.parsed.seconds)
        groups, ids = self._wide(orders)
        calls = [self._framed("SubmitOrder", raw) for raw in self._maker().unary(ids, orders)]
        if not self.parsed.bare:
            await self.open_groups(groups)
        lean = await self._lean()
        await self.ready()
        elapsed_s = await lean.closed_loop(calls, self.parsed.open, self.parsed.seconds)
        lean.close()
        self.refused += lean.refused
        admitted = len(lean.took_ms)
        return {"rate": admitted / elapsed_s, "orders": admitted, "ms": spread(lean.took_ms)}

    def _framed(self, method: str, raw: bytes) -> frames.Ready:
        return frames.ready(self.parsed.address, f"{PREFIX}GroupService/{method}", raw)

    async def _lean(self) -> frames.Load:
        lean = frames.Load(self.parsed.address)
        await lean.connect(self.parsed.connections)
        return lean

    async def batch(self) -> Answer:
        count = int(self.parsed.rate * self.parsed.seconds) // self.parsed.size
        groups, ids = self._wide(count * self.parsed.size)
        raws = self._maker().batches(ids, count, self.parsed.size)
        if not self.parsed.bare:
            await self.open_groups(groups)
        return await self.closed_loop("GroupService/BatchSubmitOrders", raws, self.parsed.size)

    async def stream(self) -> Answer:
        """One IngestOrders stream for each of `--open`; answers of one are in order, so they are only counted."""
        count = int(self.parsed.rate * self.parsed.seconds) // self.parsed.size
        groups, ids = self._wide(count * self.parsed.size)
        raws = self._maker().ingests(ids, count, self.parsed.size)
        if not self.parsed.bare:
            await self.open_groups(groups)
        await self.ready()
        left = iter(raws)
        answered: list[bytes] = []
        until = time.perf_counter() + self.parsed.seconds

        async def one() -> None:
            call: Any = self.connection.stream_stream(PREFIX + "GroupService/IngestOrders")()
            ahead = asyncio.Semaphore(self.parsed.ahead)

            async def send() -> None:
                for raw in left:
                    if time.perf_counter() > until:
                        break
                    await ahead.acquire()
                    await call.write(raw)
                await call.done_writing()

            sending = asyncio.create_task(send())
            async for answer in call:
                answered.append(answer)
                ahead.release()
            await sending

        began = time.perf_counter()
        await asyncio.gather(*[one() for _ in range(self.parsed.open)])
        elapsed_s = time.perf_counter() - began
        admitted = len(answered) * self.parsed.size
        if not self.parsed.bare:
            admitted = 0
            for raw in answered:
                for result in groups_pb.IngestOrdersResponse.FromString(raw).results:
                    if result.order:
                        admitted += 1
                    else:
                        self.refused[str(result.status.code)] += 1
        return {"rate": admitted / elapsed_s, "orders": admitted}

    # --- open loop ------------------------------------------------------------------------------------------------
    async def open_loop(self, plan: list[tuple[str, bytes]], rate: float) -> Answer:
        """Sends `plan` at `rate` calls a second whether or not answers come. Latency is counted from the moment at
        which the call was due, so that a stall of either side is seen in every call it held up."""
        calls = {method: unary_of(self.connection, method) for method in {method for method, _ in plan}}
        took_ms: dict[str, list[float]] = {method: [] for method in calls}
        under_way: set[asyncio.Task[None]] = set()

        async def one(method: str, raw: bytes, due: float) -> None:
            try:
                await calls[method](raw, timeout=CALL_TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                self.refused[reason_of(error)] += 1
            took_ms[method].append((time.perf_counter() - due) * 1_000)

        await self.ready()
        began = time.perf_counter()
        for index, (method, raw) in enumerate(plan):
            due = began + index / rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            if len(under_way) >= OPEN_CALLS_MAX:
                raise RuntimeError(f"{OPEN_CALLS_MAX} calls are open: the server does not keep up")
            call = asyncio.create_task(one(method, raw, due))
            under_way.add(call)
            call.add_done_callback(under_way.discard)
        sent_s = time.perf_counter() - began
        while under_way:
            await asyncio.wait(under_way)
        return {
            "rate": len(plan) / sent_s,
            "orders": len(plan),
            "ms": spread([took for method in took_ms.values() for took in method]),
            "by_method": {method.split("/")[1]: spread(took) for method, took in took_ms.items()},
        }

    async def filling(self) -> Answer:
        """Orders at `--rate` a second that fill one group after the other: each by a call of its own, or with `--mix`
        through all three doors. What is refused is counted; latency is counted from when a call was due."""
        orders = int(self.parsed.rate * self.parsed.seconds)
        groups, raws = requests.filling_groups(FIRST_GROUP, orders)
        mixed = (
            requests.mixed(raws)
            if self.parsed.mix
            else [(index, "SubmitOrder", raw) for index, raw in enumerate(raws)]
        )
        rate = self.parsed.rate
        unary = [(i / rate, self._framed(door, raw)) for i, door, raw in mixed if door != "IngestOrders"]
        ingests = [(i / rate, raw) for i, door, raw in mixed if door == "IngestOrders"]
        await self.open_groups(groups)
        lean = await self._lean()
        await self.ready()
        sending_s, streamed_ms = await asyncio.gather(lean.open_loop(unary), self._ingest(ingests))
        lean.close()
        self.refused += lean.refused
        return {
            "rate": orders / sending_s,
            "orders": orders,
            "ms": spread([*lean.took_ms, *streamed_ms]),
            "calls": {"unary and batches": len(unary), "messages of the stream": len(ingests)},
        }

    async def _ingest(self, due: list[tuple[float, bytes]]) -> list[float]:
        """One IngestOrders stream; how long each message took from when it was due."""
        if not due:
            return []
        call: Any = self.connection.stream_stream(PREFIX + "GroupService/IngestOrders")()
        began = time.perf_counter()
        took_ms: list[float] = []

        async def read() -> None:
            async for raw in call:
                took_ms.append((time.perf_counter() - began - due[len(took_ms)][0]) * 1_000)
                for result in groups_pb.IngestOrdersResponse.FromString(raw).results:
                    if not result.order:
                        self.refused[result.status.reason] += 1

        reading = asyncio.create_task(read())
        for due_s, raw in due:
            await asyncio.sleep(max(0.0, began + due_s - time.perf_counter()))
            await call.write(raw)
        await call.done_writing()
        await reading
        return took_ms

    async def schedules(self) -> Answer:
        """Half registers, half unregisters, each schedule for about a second."""
        count = int(self.parsed.rate * self.parsed.seconds / 2)
        lives_for = int(self.parsed.rate / 2)
        pairs = requests.registrations(count)
        plan: list[tuple[str, bytes]] = []
        for index in range(count + lives_for):
            if index < count:
                plan.append(("ScheduleService/RegisterSchedule", pairs[index][0]))
            if index >= lives_for:
                plan.append(("ScheduleService/UnregisterSchedule", pairs[index - lives_for][1]))
        if self.parsed.bare:
            plan = [("GroupService/SubmitOrder", raw) for _, raw in plan]
        return await self.open_loop(plan, self.parsed.rate)

    # --- listeners ------------------------------------------------------------------------------------------------
    async def decisions(self) -> Answer:
        """Hears every decision until `--count` orders are decided; lateness is heard less the group's completion."""
        call: Any = self.connection.unary_stream(
            PREFIX + "DispatchService/WatchDecisions",
            request_serializer=dispatch_pb.WatchDecisionsRequest.SerializeToString,
        )(dispatch_pb.WatchDecisionsRequest(parent="groups/-"), timeout=self.parsed.seconds)
        await self.ready()
        heard: list[tuple[float, bytes]] = []
        seen = 0
        try:
            async for raw in call:
                heard.append((time.time_ns() / 1e6, raw))
                # A decision has hundreds of bytes; parsed while it runs only to know when to stop.
                seen += len(dispatch_pb.WatchDecisionsResponse.FromString(raw).decisions)
                if seen >= self.parsed.count:
                    call.cancel()
                    break
        except grpc.aio.AioRpcError as error:
            self.refused[str(error.code().name)] += 1
        first: dict[str, float] = {}
        decided_ms: list[float] = []
        outcomes: Counter[str] = Counter()
        for at_ms, raw in heard:
            for decision in dispatch_pb.WatchDecisionsResponse.FromString(raw).decisions:
                if decision.name in first:
                    continue
                first[decision.name] = at_ms - decision.complete_time_ms
                decided_ms.append(decision.decide_time_ms - decision.complete_time_ms)
                outcomes[dispatch_pb.Decision.Outcome.Name(decision.outcome).removeprefix("OUTCOME_")] += 1
        return {
            "ms": spread(list(first.values())),
            "decided": len(first),
            "outcomes": dict(outcomes),
            "decide_ms": spread(decided_ms),
        }

    async def worker(self) -> Answer:
        """Takes tasks of `--queue` until `--count` different ones are done and acknowledged, through restarts of the
        server; lateness is heard less due."""
        await self.ready()
        until = time.perf_counter() + self.parsed.seconds
        work = Work(self.parsed)
        while time.perf_counter() < until and not work.over():
            connection = channel(self.parsed.address)
            streaming = asyncio.create_task(work.stream(connection))
            while not streaming.done() and time.perf_counter() < until and not work.over():
                await asyncio.wait([streaming], timeout=LOOK_S)
            streaming.cancel()
            (fault,) = await asyncio.gather(streaming, return_exceptions=True)
            await connection.close()
            lost = (grpc.aio.AioRpcError, asyncio.InvalidStateError, asyncio.CancelledError)
            if isinstance(fault, BaseException) and not isinstance(fault, lost):
                raise fault
            await asyncio.sleep(RECONNECT_S)
        return work.figures()


class Work:
    """What a worker did, over all of its streams."""

    def __init__(self, parsed: argparse.Namespace) -> None:
        self.parsed = parsed
        self.late_ms: list[float] = []
        self.heard_ms: list[float] = []
        self.delivered: Counter[str] = Counter()
        self.acknowledged: set[str] = set()
        self.repeated = 0
        self.streams = 0

    def over(self) -> bool:
        """All are acknowledged; or all were heard and no lease can be open any more. Those whose acknowledgement a kill
        took along are done and never come again."""
        if len(self.acknowledged) >= self.parsed.count:
            return True
        quiet_ms = time.time_ns() / 1e6 - (self.heard_ms[-1] if self.heard_ms else math.inf)
        return bool(len(self.delivered) >= self.parsed.count and quiet_ms > 2 * self.parsed.lease_ms)

    async def stream(self, connection: grpc.aio.Channel) -> None:
        call: Any = connection.stream_stream(
            PREFIX + "WorkerService/StreamTasks",
            request_serializer=worker_pb.StreamTasksRequest.SerializeToString,
        )()
        parsed = self.parsed
        hello = worker_pb.Hello(worker="bench", queues=[parsed.queue], lease_ms=parsed.lease_ms, batches=True)
        await call.write(worker_pb.StreamTasksRequest(hello=hello))
        await call.write(worker_pb.StreamTasksRequest(credits=worker_pb.Credits(count=10_000)))
        names: dict[str, str] = {}
        async for raw in call:
            at_ms = time.time_ns() / 1e6
            batch = worker_pb.StreamTasksResponse.FromString(raw).batch
            request = worker_pb.StreamTasksRequest()
            for leased in batch.tasks:
                self._took(request.reports, leased, names, at_ms)
            if batch.tasks:
                request.reports.credits = len(batch.tasks)
                await call.write(request)
            for acknowledgement in batch.acknowledgements:
                if acknowledgement.result == worker_pb.Acknowledgement.RESULT_ACCEPTED:
                    self.acknowledged.add(names.pop(acknowledgement.lease_token))
            if len(self.acknowledged) >= parsed.count:
                call.cancel()
                return

    def _took(
        self, reports: worker_pb.Reports, leased: worker_pb.LeasedTask, names: dict[str, str], at_ms: float
    ) -> None:
        name = leased.task.name
        self.heard_ms.append(at_ms)
        if name in self.acknowledged:
            self.repeated += 1
        if not self.delivered[name]:
            self.late_ms.append(at_ms - leased.task.due_time_ms)
        self.delivered[name] += 1
        names[leased.lease_token] = name
        reports.completes.add(lease_token=leased.lease_token, result=b"ok")

    def figures(self) -> Answer:
        since_ms = self.parsed.first_after_ms
        after = [at_ms for at_ms in self.heard_ms if at_ms >= since_ms]
        return {
            "ms": spread(self.late_ms),
            "early": sum(late_ms < 0 for late_ms in self.late_ms),
            "delivered": len(self.delivered),
            "acknowledged": len(self.acknowledged),
            "repeated_after_acknowledgement": self.repeated,
            "delivered_again": sum(self.delivered.values()) - len(self.delivered),
            "heard_ms": after if self.parsed.keep else [],
        }


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    modes = ("unary", "batch", "stream", "filling", "schedules", "decisions", "worker")
    parser.add_argument("mode", choices=modes)
    parser.add_argument("--address", required=True)
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1_000.0, help="calls or orders a second, at most")
    parser.add_argument("--size", type=int, default=100, help="orders of a batch")
    parser.add_argument("--connections", type=int, default=8, help="of the unary calls")
    parser.add_argument("--open", type=int, default=128, help="calls or streams under way")
    parser.add_argument("--ahead", type=int, default=16, help="batches of a stream not yet answered")
    parser.add_argument("--count", type=int, default=0, help="decisions or tasks to wait for")
    parser.add_argument("--queue", default="bench")
    parser.add_argument("--lease-ms", type=int, default=30_000)
    parser.add_argument("--first-after-ms", type=float, default=0.0)
    parser.add_argument("--keep", action="store_true", help="give back when each task was heard")
    parser.add_argument("--mix", action="store_true", help="orders through all three doors")
    parser.add_argument("--bare", action="store_true", help="the server is the bare pipe: no groups to open")
    return parser


async def run(parsed: argparse.Namespace) -> Answer:
    load = Load(parsed)
    try:
        answer: Answer = await getattr(load, parsed.mode)()
    finally:
        await load.connection.close()
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {**answer, "refused": dict(load.refused), "process_cpu_s": used.ru_utime + used.ru_stime}


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(arguments().parse_args()))), flush=True)
