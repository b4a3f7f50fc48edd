"""What a start reads from a file with a long history, beside a scan of the same tables: `python benches/recovery.py`.

Makes a file of `--days` days with `--orders` orders each (all decided, all but the last day's assignments retired),
then times the reads of a start that used to grow with history. Prints a table; `--json FILE` writes the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import apsw

from cuptime.domain.clock import ManualClock
from cuptime.domain.values import Fence, Group, GroupState, order_id_of
from cuptime.domain.writes import InsertDecisions, InsertGroup, InsertOrders, RetireAssignments, Write
from cuptime.storage.sqlite import SqliteStorage

DAY_MS: Final = 86_400_000
GROUP_SIZE: Final = 20
BODY: Final = b"x" * 160
PAGE: Final = 5_000


def group_writes(seq: int, created_ms: int, retired: bool) -> list[Write]:
    """A group with its orders and decisions."""
    group = Group(
        seq, 10_000 + seq, "north", 31.0, 121.0, GROUP_SIZE, 1, created_ms + 3_600_000, 2, 1_080_000, 2_700_000,
        GroupState.DECIDED, GROUP_SIZE, created_ms, created_ms + 600_000,
    )  # fmt: skip
    ids = [order_id_of(seq, number) for number in range(1, GROUP_SIZE + 1)]
    orders = [(i, i, f"request-{i}", i, "latte", 1, created_ms, 1, 1, BODY) for i in ids]
    pack_out_ms = created_ms + 1_680_000
    rows: list[Any] = [
        (
            i,
            1,
            1,
            seq % 30,
            seq % 300,
            50,
            created_ms,
            created_ms,
            1,
            "latte",
            1,
            False,
            pack_out_ms,
            pack_out_ms,
            BODY,
        )
        for i in ids
    ]
    writes: list[Write] = [InsertGroup(group), InsertOrders(orders), InsertDecisions(rows)]
    return [*writes, RetireAssignments(ids)] if retired else writes


async def fill(storage: SqliteStorage, fence: Fence, days: int, orders: int, now_ms: int) -> None:
    groups = orders // GROUP_SIZE
    for day in range(days):
        start_ms = now_ms - (days - day) * DAY_MS + 3_600_000
        units = [
            group_writes(day * groups + n + 1, start_ms + n * 20, retired=day < days - 1)
            for n in range(groups)
        ]
        for at in range(0, len(units), 200):
            await asyncio.gather(*(storage.commit(fence, unit) for unit in units[at : at + 200]))


async def timed(read: Callable[[int], Awaitable[list[Any]]], key: Callable[[Any], int]) -> tuple[int, float]:
    """Rows read page by page, and seconds."""
    started, after, count = perf_counter(), 0, 0
    while rows := await read(after):
        count += len(rows)
        after = key(rows[-1])
    return count, perf_counter() - started


def scanned(path: Path, query: str) -> tuple[int, float]:
    connection = apsw.Connection(str(path))
    started = perf_counter()
    count = len(connection.execute(query).fetchall())
    return count, perf_counter() - started


async def measure(days: int, orders: int) -> dict[str, Any]:
    now_ms = 1_800_000_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuptime.db"
        storage = SqliteStorage(path, ManualClock(now_ms))
        await storage.open()
        fence = await storage.claim(0, "bench")
        await fill(storage, fence, days, orders, now_ms)
        since_ms = now_ms - DAY_MS
        figures = {
            "orders of the window": await timed(
                lambda after: storage.orders_since(since_ms, after=after, limit=PAGE), lambda row: row.order_id
            ),
            "orders, by a scan": scanned(path, f"SELECT * FROM orders WHERE created_ms >= {since_ms}"),
            "live assignments": await timed(
                lambda after: storage.standing_assignments(after=after, limit=PAGE, live_only=True),
                lambda row: row.sequence,
            ),
            "assignments, by a scan": scanned(
                path, f"SELECT d.* FROM decisions d JOIN assignments USING (order_id, sequence) "
                f"WHERE pack_out_ms >= {since_ms}",
            ),
        }  # fmt: skip
        await storage.close()
    named = {name: {"rows": rows, "ms": round(s * 1e3, 1)} for name, (rows, s) in figures.items()}
    return {"days": days, "orders_per_day": orders, "reads": named}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = asyncio.run(measure(given.days, given.orders))
    print(f"{given.days} days of {given.orders} orders")
    for name, read in figures["reads"].items():
        print(f"  {name:24} {read['rows']:>8} rows {read['ms']:>9.1f} ms")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
