"""One worker process: takes tasks over a stream and completes them at once, and listens to every decision.

    python -m cuptime.app.morning.worker --address 127.0.0.1:7000 --records DIR

Runs until its standard input closes. Reconnects after a loss, as a worker must.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Final

import grpc
import uvloop

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import worker_service_pb2 as worker_pb
from cuptime.app.morning.client import Message, channel
from cuptime.app.morning.load import TASK_QUEUE
from cuptime.app.morning.records import Records
from cuptime.domain.clock import SystemClock

SHEETS_QUEUE: Final = "sheets"
CREDITS: Final = 1_000
RECONNECT_S: Final = 0.1
SAMPLES_MAX: Final = 2_000_000


class Worker:
    """Executes tasks and hears decisions."""

    def __init__(self, address: str, folder: Path, name: str) -> None:
        self._channel = channel(address)
        self._clock = SystemClock()
        self._name = name
        self.records = Records(folder / f"{name}.jsonl")
        self._heard = 0
        self.counts: Counter[str] = Counter()
        self.latency_ms: list[int] = []

    async def run(self) -> None:
        closed = asyncio.create_task(_stdin_closed())
        loops = [asyncio.create_task(self.forever(run)) for run in (self.tasks, self.decisions)]
        loops.append(asyncio.create_task(self._progress()))
        await closed
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        self._print()
        self.records.close()
        await self._channel.close()

    async def forever(self, run: Message) -> None:
        while True:
            try:
                await run()
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                self.counts["reconnects"] += 1
            await asyncio.sleep(RECONNECT_S)

    async def tasks(self) -> None:
        call = self._channel.stream_stream(
            "/cuptime.v1.WorkerService/StreamTasks",
            request_serializer=worker_pb.StreamTasksRequest.SerializeToString,
            response_deserializer=worker_pb.StreamTasksResponse.FromString,
        )()
        hello = worker_pb.Hello(
            worker=self._name, queues=[TASK_QUEUE, SHEETS_QUEUE], lease_ms=30_000, batches=True
        )
        await call.write(worker_pb.StreamTasksRequest(hello=hello))
        await call.write(worker_pb.StreamTasksRequest(credits=worker_pb.Credits(count=CREDITS)))
        done: dict[str, str] = {}
        async for response in call:
            now_ms = self._clock.now_ms()
            batch = response.batch
            request = worker_pb.StreamTasksRequest()
            for leased in batch.tasks:
                lateness_ms = now_ms - leased.task.due_time_ms
                done[leased.lease_token] = leased.task.name
                self.counts["executed"] += 1
                self.records.write("executed", leased.idempotency_key, leased.task.name, lateness_ms)
                request.reports.completes.add(lease_token=leased.lease_token, result=b"ok")
            if batch.tasks:
                request.reports.credits = len(batch.tasks)
                await call.write(request)
            for acknowledgement in batch.acknowledgements:
                name = done.pop(acknowledgement.lease_token, "")
                if acknowledgement.result == worker_pb.Acknowledgement.RESULT_ACCEPTED:
                    self.counts["acknowledged"] += 1
                    self.records.write("acknowledged", name)

    async def decisions(self) -> None:
        call = self._channel.unary_stream(
            "/cuptime.v1.DispatchService/WatchDecisions",
            request_serializer=dispatch_pb.WatchDecisionsRequest.SerializeToString,
            response_deserializer=dispatch_pb.WatchDecisionsResponse.FromString,
        )(dispatch_pb.WatchDecisionsRequest(parent="groups/-", after_sequence=self._heard))
        async for response in call:
            now_ms = self._clock.now_ms()
            for decision in response.decisions:
                self._heard = max(self._heard, decision.sequence)
                latency_ms = now_ms - decision.complete_time_ms
                outcome = dispatch_pb.Decision.Outcome.Name(decision.outcome).removeprefix("OUTCOME_")
                self.counts[outcome] += 1
                self.counts["improved"] += decision.supersedes > 0
                if decision.attempt == 1 and len(self.latency_ms) < SAMPLES_MAX:
                    self.latency_ms.append(latency_ms)
                order = decision.name.removesuffix("/decision")
                self.records.write(
                    "decision", order, outcome, latency_ms, decision.sequence, decision.attempt, decision.shop
                )

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            self.records.flush()
            self._print()

    def _print(self) -> None:
        recent = sorted(self.latency_ms[-2_000:])
        p99 = recent[int(len(recent) * 0.99)] if recent else 0
        print(json.dumps({**self.counts, "heard": self._heard, "recent_p99_ms": p99}), flush=True)


async def _stdin_closed() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()


async def _work(parsed: argparse.Namespace) -> None:
    """A channel belongs to the loop it is made in, so the worker is made here."""
    await Worker(parsed.address, Path(parsed.records), parsed.name).run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", required=True)
    parser.add_argument("--records", required=True)
    parser.add_argument("--name", default="worker-0")
    parsed = parser.parse_args()
    uvloop.run(_work(parsed))


if __name__ == "__main__":
    main()
