"""What retention costs: `python benches/retention.py`.

`sweep`    a day of groups and tasks after another is made, and what is older than `--kept` days goes, while somebody
           else commits all the time: how long those commits take, alone and meanwhile, how fast the sweep is, and how
           large the file is after each day.
`vacuum`   the same days in a file that gives its pages back (`auto_vacuum = incremental`).
`choices`  what a task's way (made, triggered, executed) costs under several ways of finding what lives without reading
           what ended, beside the schema as it was before.

Prints tables; `--json FILE` writes the figures, `--only NAME` does one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any, Final

import apsw
from msgspec.structs import replace

from benches.recovery import DAY_MS, GROUP_SIZE, ended_task, fill, fill_tasks
from cuptime.domain.clock import ManualClock
from cuptime.domain.values import Fence, TaskState
from cuptime.domain.writes import InsertTasks
from cuptime.groups.retention import Retention, Swept
from cuptime.storage.sqlite import SqliteStorage, migrate
from cuptime.storage.sqlite.connection import open_writer
from cuptime.storage.sqlite.rows import task_row
from cuptime.storage.sqlite.statements import sql

NOW_MS: Final = 1_800_000_000_000
BATCH: Final = 500
ALONE_S: Final = 4.0
MIB: Final = 1 << 20


class LoopTimers:
    """The waits of the sweep, on the loop's own clock."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock

    def at(self, due_ms: int, call: Callable[[], None]) -> int:
        asyncio.get_running_loop().call_later((due_ms - self._clock.now_ms()) / 1_000, call)
        return 0

    def forget(self, name: int) -> None:
        """They end by themselves."""


class Uncounted:
    """Nobody looks at the metrics."""

    def forgotten(self, kind: str, count: int) -> None: ...
    def oldest_ended(self, kind: str, ended_ms: int) -> None: ...


async def others(storage: SqliteStorage, fence: Fence, first: int, until: asyncio.Event) -> list[float]:
    """Commits of four tasks, one after the other, until told; how long each took, sorted, ms."""
    taken = []
    while not until.is_set():
        made = [ended_task(first + n, NOW_MS) for n in range(4)]
        first += 4
        began = perf_counter()
        await storage.commit(fence, [InsertTasks(made)])
        taken.append((perf_counter() - began) * 1_000)
        await asyncio.sleep(0.001)
    return sorted(taken)


def told(sorted_ms: list[float]) -> dict[str, float]:
    last = len(sorted_ms) - 1
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {"commits": len(sorted_ms)} | {
        name: round(sorted_ms[min(last, int(share * len(sorted_ms)))], 1) for name, share in shares.items()
    }


class Days:
    """A file that lives for some days."""

    def __init__(self, folder: str, kept_days: int, vacuum: bool) -> None:
        self.path = Path(folder) / "cuptime.db"
        self.vacuum = vacuum
        if vacuum:
            made = apsw.Connection(str(self.path))
            made.execute("PRAGMA auto_vacuum = INCREMENTAL; VACUUM")
            made.close()
        self.clock = ManualClock(NOW_MS)
        self.storage = SqliteStorage(self.path, self.clock)
        self.kept_ms = kept_days * DAY_MS

    async def run(self, days: int, orders: int, tasks: int) -> dict[str, Any]:
        await self.storage.open()
        fence = await self.storage.claim(0, "bench")
        metrics: Any = Uncounted()
        keeper = Retention(
            self.storage, fence, self.clock, LoopTimers(self.clock), metrics,
            groups_ms=self.kept_ms, tasks_ms=self.kept_ms,
        )  # fmt: skip
        groups = orders // GROUP_SIZE
        figures: dict[str, Any] = {"days": days, "orders_a_day": orders, "tasks_a_day": tasks, "file_mib": []}
        for day in range(days):
            await fill(self.storage, fence, day * groups + 1, groups, self.clock.now_ms(), retired=True)
            await fill_tasks(self.storage, fence, day * tasks + 1, tasks, self.clock.now_ms())
            # The last group's deadline is an hour after it was made, a second after the first.
            self.clock.advance(DAY_MS)
            if day < days - 1:
                await keeper.run()
            else:
                figures |= await self._watched(keeper, fence)
            if self.vacuum:
                figures["vacuum_s"] = round(self._give_back(), 2)
            await self.storage.settle()
            figures["file_mib"].append(round(self.path.stat().st_size / MIB, 1))
        await self.storage.close()
        return figures

    async def _watched(self, keeper: Retention, fence: Fence) -> dict[str, Any]:
        until = asyncio.Event()
        asyncio.get_running_loop().call_later(ALONE_S, until.set)
        alone = await others(self.storage, fence, 1 << 40, until)
        until = asyncio.Event()
        meanwhile = asyncio.create_task(others(self.storage, fence, 1 << 41, until))
        began = perf_counter()
        swept: Swept = await keeper.run()
        seconds = perf_counter() - began
        until.set()
        # A group, and of each of its orders the order, its decision and its assignment.
        rows = swept.groups + 3 * swept.orders + swept.tasks
        return {
            "swept_rows": rows,
            "swept_s": round(seconds, 1),
            "rows_a_second": int(rows / seconds),
            "sweep_commit_ms_max": round(swept.commit_ms_max, 1),
            "others_alone": told(alone),
            "others_meanwhile": told(await meanwhile),
        }

    def _give_back(self) -> float:
        own = apsw.Connection(str(self.path))
        own.set_busy_timeout(5_000)
        began = perf_counter()
        own.execute("PRAGMA incremental_vacuum").fetchall()
        taken_s = perf_counter() - began
        own.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        own.close()
        return taken_s


def sweep(given: argparse.Namespace, vacuum: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        days = Days(folder, given.kept, vacuum)
        return asyncio.run(days.run(given.days, given.orders, given.tasks))


# --- ways of finding what lives -------------------------------------------------------------------------------------
_BARE: Final = """
DROP INDEX tasks_live; DROP INDEX tasks_ended; DROP INDEX tasks_by_hash; ALTER TABLE tasks DROP COLUMN ended_ms;
"""
_HASH_OF_ALL: Final = (
    "CREATE INDEX tasks_executed ON tasks (result_hash) WHERE state = 4 AND result_hash != x'';"
)
_HASH: Final = "CREATE INDEX tasks_by_hash ON tasks (result_hash) WHERE context_group_id IS NOT NULL;"
CHOICES: Final = {
    "as it was: a start scans": _BARE + _HASH_OF_ALL,
    "live by state": _BARE + _HASH_OF_ALL + "CREATE INDEX tasks_live ON tasks (task_id) WHERE state <= 3;",
    "ended in a table of their own": _BARE + _HASH,
    "one index on ended_ms": "DROP INDEX tasks_live; DROP INDEX tasks_ended; CREATE INDEX one ON tasks (ended_ms);",
    "live, ended, hashes that count": "",
    "due time indexed as well": "CREATE INDEX tasks_due ON tasks (due_ms);",
}
"""What is changed of the present schema."""


class Way:
    """The three steps of many tasks on a file of one of the schemas."""

    def __init__(self, folder: str, name: str, count: int) -> None:
        self.count = count
        connection = open_writer(Path(folder) / "way.db")
        migrate.migrate(connection, migrate.load(), 0)
        connection.execute(CHOICES[name])
        self.moved = name == "ended in a table of their own"
        self.bare = _BARE in CHOICES[name]
        if self.moved:
            made = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'tasks'").get
            connection.execute(made.replace('"tasks"', "tasks").replace("TABLE tasks", "TABLE ended", 1))
        self.connection = connection
        self.cursor = connection.cursor()
        # They fall due in another order than that in which they were made.
        self.order = sorted(range(1, count + 1), key=self._due_ms)

    def _due_ms(self, task_id: int) -> int:
        return NOW_MS + task_id * 7_919 % 1_000_003

    def steps(self) -> float:
        """Processor time of all three for a task, us."""
        began = _processor_s()
        for at in range(1, self.count + 1, BATCH):
            self._commit(self._make, range(at, at + BATCH))
        for step in (self._trigger, self._execute):
            for at in range(0, self.count, BATCH):
                self._commit(step, self.order[at : at + BATCH])
        return (_processor_s() - began) / self.count * 1e6

    def _commit(self, step: Callable[[Any], None], ids: Any) -> None:
        self.cursor.execute("BEGIN IMMEDIATE")
        step(ids)
        self.cursor.execute("COMMIT")
        if ids[0] // BATCH % 40 == 0:
            self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _make(self, ids: range) -> None:
        text = sql("insert_tasks")
        if self.bare:
            text = text.replace(", ended_ms)", ")").replace(", iif(?8 > 3, max(?10, 1), 0)", "")
        made = [
            replace(ended_task(i, NOW_MS), state=TaskState.SCHEDULED, due_ms=self._due_ms(i)) for i in ids
        ]
        self.cursor.executemany(text, [(*task_row(task), 1) for task in made])

    def _trigger(self, ids: list[int]) -> None:
        given = [(i, self._due_ms(i), f"{i:032x}", NOW_MS, 1, "worker-1") for i in ids]
        self.cursor.execute(sql("trigger_tasks"), (json.dumps(given), NOW_MS, "0" * 32, 1)).fetchall()

    def _execute(self, ids: list[int]) -> None:
        text = sql("execute_tasks")
        if self.bare:
            text = text.replace("ended_ms = max(?2, 1), ", "")
        given = [(i, f"{i:032x}", b"done".hex()) for i in ids]
        self.cursor.execute(text, (json.dumps(given), NOW_MS + ids[0], 1)).fetchall()
        if self.moved:
            named = (json.dumps(ids),)
            chosen = "WHERE task_id IN (SELECT value FROM json_each(?))"
            self.cursor.execute(f"INSERT INTO ended SELECT * FROM tasks {chosen}", named)
            self.cursor.execute(f"DELETE FROM tasks {chosen}", named)


def _processor_s() -> float:
    used = getrusage(RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def choices(given: argparse.Namespace) -> dict[str, float]:
    """The median of several rounds, which go over all ways in turn."""
    rounds: dict[str, list[float]] = {name: [] for name in CHOICES}
    for _ in range(given.rounds):
        for name, taken in rounds.items():
            with tempfile.TemporaryDirectory() as folder:
                way = Way(folder, name, given.way_tasks // BATCH * BATCH)
                taken.append(way.steps())
                way.connection.close()
    return {name: round(sorted(taken)[len(taken) // 2], 1) for name, taken in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=["sweep", "vacuum", "choices"])
    parser.add_argument("--days", type=int, default=8)
    parser.add_argument("--kept", type=int, default=3)
    parser.add_argument("--orders", type=int, default=20_000, help="a day")
    parser.add_argument("--tasks", type=int, default=40_000, help="a day")
    parser.add_argument("--way-tasks", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    for name in ("sweep", "vacuum"):
        if given.only in (None, name):
            figures[name] = sweep(given, vacuum=name == "vacuum")
            print(
                f"{name}: {given.days} days of {given.orders} orders and {given.tasks} tasks, {given.kept} kept"
            )
            for key, value in figures[name].items():
                print(f"  {key:20} {value}")
    if given.only in (None, "choices"):
        figures["choices"] = choices(given)
        print("processor time of a task made, triggered and executed, us")
        for way, taken_us in figures["choices"].items():
            print(f"  {way:32} {taken_us:6.1f}")
    if given.json is not None:
        given.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
