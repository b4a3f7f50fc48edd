"""A schedule of each second, second by second and in minute buckets, beside each other: `python benches/buckets.py`.

The whole line on SQLite under a clock that is moved: registry, planner, wheel, trigger, leases, a worker that
completes at once what it is given. Both forms run in turn, several rounds; the middle of the rounds is shown. Counted
are the waits that the wheel took for firings, transactions, and messages to the worker; timed is, for each firing,
from the moment its wait ended until its result was durable, on the wall clock, and the processor time of all of it.
Writes `benches/out/buckets.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import mean, median
from time import perf_counter, process_time
from typing import Any, Final

from cuptime import core
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.api.schedules import ScheduleAnswers, Targets
from cuptime.domain.clock import ManualClock
from cuptime.domain.limits import WORKER_CREDITS_MAX
from cuptime.domain.requests import Requests
from cuptime.domain.values import Timing, TimingKind
from cuptime.schedules.desk import Desk
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.planner import Planner
from cuptime.schedules.registry import NewSchedule, Registry
from cuptime.storage.sqlite import SqliteStorage
from cuptime.tasks.line import TaskLine
from cuptime.tasks.wheel import ManualWheel

START_MS: Final = 1_800_000_000_000 - 1_800_000_000_000 % 60_000
DAY_S: Final = 86_400
MESSAGE_BYTES: Final = 2 * 1024 * 1024


class CountingWheel(ManualWheel):
    """Counts the waits for tasks and for buckets."""

    waits = 0

    def arm(self, ids: Any, dues_ms: Any) -> None:
        self.waits += sum(name > 0 for name in ids)
        super().arm(ids, dues_ms)

    def arm_task(self, task_id: int, due_ms: int) -> None:
        self.waits += 1
        super().arm_task(task_id, due_ms)

    def at(self, due_ms: int, call: Any) -> int:
        self.waits += isinstance(call, partial)
        return super().at(due_ms, call)


class Counting:
    """Metrics of which only transactions are looked at."""

    transactions = 0

    def commit(self, units: int, rows: int, seconds: float) -> None:
        self.transactions += 1

    def __getattr__(self, name: str) -> Any:
        return lambda *_, **__: None


async def run(folder: Path, bucketed: bool, seconds: int) -> dict[str, float]:
    """One form, for so many simulated seconds."""
    clock, metrics = ManualClock(START_MS), Counting()
    storage = SqliteStorage(folder / "bench.db", clock, metrics)
    await storage.open()
    fence = await storage.claim(0, "bench")
    requests = Requests(storage, fence, clock)
    wheel = CountingWheel(core.Timers(1, clock.now_ms(), 1_000_000), clock)

    async def any_group(_: int) -> bool:
        return True

    line = TaskLine(
        storage, fence, clock, wheel, metrics, known_group=any_group, requests=requests, last_task_id=0
    )
    await line.start()
    desk = Desk(storage, fence, clock, CoreCronEngine(), Targets(), line)
    planner = Planner(desk, metrics)
    registry = Registry(desk, planner, requests, ScheduleAnswers(), 0)
    line.joins(planner.settle)
    planner.start()
    await line.pump()
    bucket = tasks_pb.Task.BUCKET_MINUTE if bucketed else tasks_pb.Task.BUCKET_UNSPECIFIED
    target = pb.Target(task=tasks_pb.Task(queue="sheets", payload=b"x" * 200, bucket=bucket))
    timing = Timing(TimingKind.CRON, expression="* * * * * *")
    await registry.register(NewSchedule("each-second", timing, target.SerializeToString()))
    session = line.open_session("bench", ["sheets"], 600_000)
    session.credits(WORKER_CREDITS_MAX)
    before = metrics.transactions
    took_ms: list[float] = []
    messages, cpu_s = 0, process_time()
    for _ in range(seconds):
        clock.advance(1_000)
        began = perf_counter()
        await line.pump()
        while leases := session.take(512, MESSAGE_BYTES):
            messages += 1
            done = asyncio.Event()
            session.completed(
                [(lease.token, b"ok") for lease in leases], lambda acks, fault, done=done: done.set()
            )
            await done.wait()
            took_ms += [(perf_counter() - began) * 1_000] * len(leases)
            session.credits(len(leases))
    cpu_ms = (process_time() - cpu_s) * 1_000
    per_day = DAY_S / seconds
    figures = {
        "firings": float(len(took_ms)),
        "waits_a_day": wheel.waits * per_day * seconds / max(1, planned_s(clock, registry)),
        "transactions_a_day": (metrics.transactions - before) * per_day,
        "messages_a_day": messages * per_day,
        "latency_mean_ms": mean(took_ms),
        "busy_ms_a_minute": sum(took_ms) / seconds * 60 / (len(took_ms) / max(1, messages)),
        "processor_ms_a_firing": cpu_ms / len(took_ms),
    }
    await planner.stop()
    await line.close()
    await storage.close()
    return figures


def planned_s(clock: ManualClock, registry: Registry) -> float:
    """How much simulated time has its waits: the planner is ahead of the clock."""
    schedule = registry._desk.book.get("each-second")
    assert schedule is not None
    return (schedule.planned_until_ms - START_MS) / 1_000


async def compare(rounds: int, seconds: int) -> dict[str, dict[str, float]]:
    every: dict[str, list[dict[str, float]]] = {"second": [], "minute": []}
    for number in range(rounds):
        for form in ("second", "minute") if number % 2 else ("minute", "second"):
            with tempfile.TemporaryDirectory() as folder:
                every[form].append(await run(Path(folder), form == "minute", seconds))
    return {
        form: {name: median(one[name] for one in found) for name in found[0]} for form, found in every.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1_200, help="simulated, of each round")
    given = parser.parse_args()
    found = asyncio.run(compare(given.rounds, given.seconds))
    print(f"{'':24}{'second by second':>18}{'minute buckets':>18}")
    for name in found["second"]:
        print(f"{name:24}{found['second'][name]:>18,.2f}{found['minute'][name]:>18,.2f}")
    out = Path("benches/out/buckets.json")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"rounds": given.rounds, "seconds": given.seconds, **found}, indent=2))


if __name__ == "__main__":
    main()
