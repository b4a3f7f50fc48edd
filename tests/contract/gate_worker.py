"""A process that reserves, repeats itself, releases twice and comes late; what it got is printed as JSON.

Run by `test_gate.py`:  python gate_worker.py URL PARK EPOCH WORKER SEED
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from msgspec.structs import asdict

from cuptime.domain.ports import Gate, Reservation
from cuptime.gate.redis import RedisGate

ORDERS = 400
CALLERS = 48
SHOPS = 3
RIDERS = 8
SKUS = ("latte", "oolong tea")
NOW_MS = 1_795_000_000_000
LIMITS = (
    [(f"capacity/{shop}", 220) for shop in range(SHOPS)]
    + [(f"fridge/{shop}", 90) for shop in range(SHOPS)]
    + [(f"stock/{shop}/{sku}", 260) for shop in range(SHOPS) for sku in SKUS]
    + [(f"load/{rider}", 150) for rider in range(RIDERS)]
)


def drawn(chance: random.Random, order_id: int) -> Reservation:
    return Reservation(
        order_id=order_id,
        shop_id=chance.randrange(SHOPS),
        rider_id=chance.randrange(RIDERS),
        sku=chance.choice(SKUS),
        quantity=chance.randint(1, 3),
        cold=chance.random() < 0.5,
        pack_out_ms=NOW_MS + 1_000,
        pickup_ms=NOW_MS + 2_000,
    )


async def storm(gate: Gate, worker: int, seed: int) -> dict[str, list[dict[str, object]]]:
    """Many callers at once. Returns the reservations that stand at the end, those that were answered wrongly, and those
    refused because a counter was at its limit."""
    chance = random.Random(seed)
    standing: list[dict[str, object]] = []
    wrong: list[dict[str, object]] = []
    refused: list[dict[str, object]] = []

    places = asyncio.Semaphore(CALLERS)

    async def caller(held: Reservation, kind: float) -> None:
        async with places:
            await call(held, kind)

    async def call(held: Reservation, kind: float) -> None:
        if kind < 0.1:  # The release overtakes its reserve, which comes late and twice.
            await gate.release([held.order_id], NOW_MS)
            if [key for _ in range(2) for key in await gate.reserve([held], NOW_MS, 10_000) if not key]:
                wrong.append(asdict(held))
            return
        copies = 2 if kind < 0.3 else 1
        answers = await asyncio.gather(*[gate.reserve([held], NOW_MS, 10_000) for _ in range(copies)])
        if not any(answer == [""] for answer in answers):
            refused.append(asdict(held))
            return
        if kind > 0.7:
            given_back = await asyncio.gather(*[gate.release([held.order_id], NOW_MS) for _ in range(2)])
            if sorted(len(back) for back in given_back) != [0, 1]:
                wrong.append(asdict(held))
        else:
            if await gate.commit([held.order_id]):
                wrong.append(asdict(held))
            standing.append(asdict(held))

    await asyncio.gather(
        *[caller(drawn(chance, worker * ORDERS + order), chance.random()) for order in range(1, ORDERS + 1)]
    )
    return {"standing": standing, "wrong": wrong, "refused": refused}


async def main() -> None:
    url, park, epoch, worker, seed = sys.argv[1:]
    gate = RedisGate(url, park)
    await gate.open()
    gate.join(epoch)
    try:
        sys.stdout.write(json.dumps(await storm(gate, int(worker), int(seed))))
    finally:
        await gate.close()


if __name__ == "__main__":
    asyncio.run(main())
