"""What a start reads from a file with a long history, beside a scan of the same tables: `python benches/recovery.py`.

Makes a file of `--days` days with `--orders` orders each (all decided, all but the last day's assignments retired) and
`--tasks` tasks that have ended and 1,000 that wait, then times the reads of a start that used to grow with history.
Prints a table; `--json FILE` writes the figures.
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
from cuptime.domain.values import Fence, Group, GroupState, Task, TaskState, order_id_of
from cuptime.domain.writes import (
    InsertDecisions,
    InsertGroup,
    InsertOrders,
    InsertTasks,
    RetireAssignments,
    Write,
)
from cuptime.storage.sqlite import SqliteStorage

DAY_MS: Final = 86_400_000
GROUP_SIZE: Final = 20
BODY: Final = b"x" * 160
PAGE: Final = 5_000
LIVE_TASKS: Final = 1_000
TASKS_AT_ONCE: Final = 1_000


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


async def fill(
    storage: SqliteStorage, fence: Fence, first: int, groups: int, start_ms: int, retired: bool
) -> None:
    """The groups of a day, numbered from `first`."""
    units = [group_writes(first + n, start_ms + n * 20, retired) for n in range(groups)]
    for at in range(0, len(units), 200):
        await asyncio.gather(*(storage.commit(fence, unit) for unit in units[at : at + 200]))


def ended_task(task_id: int, at_ms: int) -> Task:
    """Executed when it was due."""
    return Task(
        task_id, "sheets", BODY, at_ms, 50, 2, 1_000, TaskState.EXECUTED, at_ms, at_ms, at_ms,
        trigger_id="0" * 32, trigger_ms=at_ms, execution_id="1" * 32, attempt=1, worker="worker-1",
        result_hash=task_id.to_bytes(16, "big"), result=b"done",
    )  # fmt: skip


async def fill_tasks(storage: SqliteStorage, fence: Fence, first: int, count: int, at_ms: int) -> None:
    """So many that ended, numbered from `first`."""
    for at in range(0, count, TASKS_AT_ONCE):
        made = [ended_task(first + at + n, at_ms) for n in range(min(TASKS_AT_ONCE, count - at))]
        await storage.commit(fence, [InsertTasks(made)])


def live_task(task_id: int, now_ms: int) -> Task:
    return Task(
        task_id, "sheets", BODY, now_ms + DAY_MS, 50, 2, 1_000, TaskState.SCHEDULED, now_ms, now_ms, now_ms
    )


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


async def measure(days: int, orders: int, tasks: int) -> dict[str, Any]:
    now_ms = 1_800_000_000_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cuptime.db"
        storage = SqliteStorage(path, ManualClock(now_ms))
        await storage.open()
        fence = await storage.claim(0, "bench")
        groups = orders // GROUP_SIZE
        for day in range(days):
            start_ms = now_ms - (days - day) * DAY_MS + 3_600_000
            await fill(storage, fence, day * groups + 1, groups, start_ms, retired=day < days - 1)
        await fill_tasks(storage, fence, 1, tasks, now_ms - DAY_MS)
        waiting = [live_task(tasks + n + 1, now_ms) for n in range(LIVE_TASKS)]
        await storage.commit(fence, [InsertTasks(waiting)])
        since_ms = now_ms - DAY_MS
        figures = {
            "groups that are open": await timed(
                lambda after: storage.groups(before_seq=2**62, limit=PAGE, state=GroupState.OPEN),
                lambda group: group.group_seq,
            ),
            "groups, by a scan": scanned(path, "SELECT * FROM groups WHERE state + 0 = 1"),
            "tasks that wait": await timed(
                lambda after: storage.waiting_tasks(after=after, limit=PAGE), lambda row: row[0]
            ),
            "tasks, by a scan": scanned(
                path, "SELECT task_id, due_ms, state, lease_until_ms FROM tasks WHERE state <= 3"
            ),
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
    return {"days": days, "orders_per_day": orders, "tasks": tasks, "reads": named}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures = asyncio.run(measure(given.days, given.orders, given.tasks))
    groups = given.days * given.orders // GROUP_SIZE
    print(f"{given.days} days of {given.orders} orders in {groups} groups, {given.tasks} tasks ended")
    for name, read in figures["reads"].items():
        print(f"  {name:24} {read['rows']:>8} rows {read['ms']:>9.1f} ms")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
