"""How late the decisions of a large group come: `python benches/large_groups.py`.

A server of its own with a park of `--shops` and `--riders`; a group of each size fills, alone, and every decision is
heard over WatchDecisions. Prints, by size, when the first, the median and the last order of the group was decided
(heard less `complete_time_ms`, so the way to the client is in it), the medians of `--rounds`; the largest `gap_bound`,
0 when each part of the group was solved to optimality; and how many were assigned. `--json FILE` writes the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any, Final

import grpc

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.app.morning import plan
from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from cuptime.domain.limits import DECISION_BUDGET_MS

BATCH: Final = 500
WAIT_S: Final = 60.0


class Client:
    """Plain calls."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)

    async def call(self, method: str, request: Any, response: Any) -> Any:
        ask = self._channel.unary_unary(
            f"/cuptime.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        return await ask(request, timeout=WAIT_S)

    def watch(self, parent: str) -> Any:
        ask = self._channel.unary_stream(
            "/cuptime.v1.DispatchService/WatchDecisions",
            request_serializer=dispatch_pb.WatchDecisionsRequest.SerializeToString,
            response_deserializer=dispatch_pb.WatchDecisionsResponse.FromString,
        )
        return ask(dispatch_pb.WatchDecisionsRequest(parent=parent, after_sequence=0))

    async def close(self) -> None:
        await self._channel.close()


class Bench:
    """One server, one group after another."""

    def __init__(self, client: Client, shops: int, riders: int) -> None:
        self.client = client
        self.clock = SystemClock()
        self.campus = plan.Campus(1, 0)
        self.shops, self.riders = shops, riders
        self.next_group_id = 500_000

    async def prepare(self, orders: int) -> None:
        shops = shops_pb.BatchUpsertShopsRequest(shops=plan.shops(1, self.shops, orders))
        await self.client.call("ShopService/BatchUpsertShops", shops, shops_pb.BatchUpsertShopsResponse)
        made = plan.riders(1, self.riders, orders, self.clock.now_ms())
        riders = riders_pb.BatchUpsertRidersRequest(riders=made)
        await self.client.call("RiderService/BatchUpsertRiders", riders, riders_pb.BatchUpsertRidersResponse)

    async def group(self, size: int) -> dict[str, float]:
        """Fills one; what was heard of its orders."""
        self.next_group_id += 1
        group_id, now_ms = self.next_group_id, self.clock.now_ms()
        latitude, longitude = plan.ORIGIN
        group = groups_pb.Group(
            group_id=group_id, capacity=size, min_size=1, deadline_time_ms=now_ms + 600_000,
            location=types_pb.Location(latitude=latitude, longitude=longitude),
        )  # fmt: skip
        request = groups_pb.CreateGroupRequest(group=group)
        await self.client.call("GroupService/CreateGroup", request, groups_pb.CreateGroupResponse)
        hearing = asyncio.create_task(self._hear(f"groups/{group_id}", size))
        orders = [self.campus.order(group_id, now_ms) for _ in range(size)]
        for at in range(0, size, BATCH):
            batch = groups_pb.BatchSubmitOrdersRequest(
                parent=f"groups/{group_id}", requests=orders[at : at + BATCH]
            )
            await self.client.call(
                "GroupService/BatchSubmitOrders", batch, groups_pb.BatchSubmitOrdersResponse
            )
        return await asyncio.wait_for(hearing, WAIT_S)

    async def _hear(self, parent: str, size: int) -> dict[str, float]:
        late_ms: list[int] = []
        assigned = gap_bound = 0
        stream = self.client.watch(parent)
        async for answer in stream:
            now_ms = self.clock.now_ms()
            for decision in answer.decisions:
                if decision.attempt == 1 and not decision.supersedes:
                    late_ms.append(now_ms - decision.complete_time_ms)
                    assigned += decision.outcome == dispatch_pb.Decision.OUTCOME_ASSIGNED
                    gap_bound = max(gap_bound, decision.gap_bound)
            if len(late_ms) >= size:
                break
        stream.cancel()
        late_ms.sort()
        return {
            "first_ms": late_ms[0],
            "median_ms": late_ms[size // 2],
            "last_ms": late_ms[-1],
            "assigned": assigned,
            "gap_bound": gap_bound,
        }


async def measure(address: str, given: argparse.Namespace) -> dict[int, dict[str, float]]:
    client = Client(address)
    bench = Bench(client, given.shops, given.riders)
    await bench.prepare(3 * sum(given.sizes) * (given.rounds + 1))
    figures: dict[int, dict[str, float]] = {}
    for size in given.sizes:
        await bench.group(size)  # The first of a size warms up.
        rounds = [await bench.group(size) for _ in range(given.rounds)]
        figures[size] = {name: median(found[name] for found in rounds) for name in rounds[0]}
        figures[size]["last_ms_max"] = max(found["last_ms"] for found in rounds)
    await client.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes", type=lambda text: [int(n) for n in text.split(",")], default=[500, 1_000, 2_500, 5_000]
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shops", type=int, default=70)
    parser.add_argument("--riders", type=int, default=125)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ServedProcess(Path(folder))
        server.start()
        try:
            figures = asyncio.run(measure(server.address, given))
        finally:
            server.stop()
    print(
        f"a group alone, {given.shops} shops, {given.riders} riders; ms after completion (budget {DECISION_BUDGET_MS})"
    )
    print("   size    first   median     last  (worst)  assigned  gap_bound")
    for size, row in figures.items():
        late = "  LATE" if row["last_ms"] > DECISION_BUDGET_MS else ""
        times = "".join(f" {row[name]:>8.0f}" for name in ("first_ms", "median_ms", "last_ms", "last_ms_max"))
        print(f"{size:>7}{times} {row['assigned']:>9.0f} {row['gap_bound']:>10.0f}{late}")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
