"""Cron beside its peers, in one run: `make bench-cron`, or python benches/cron.py.

Prints one table and writes benches/out/cron.json. The core alone is timed by a Rust program
(`rust_core/cron/examples/speed.rs`), everything else from Python, the middle of five rounds, in processor time. A peer
that is not installed is left out and named. No figure is asserted: a missed target is printed as MISSED.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from cuptime.core import Cron, cron_next_many
from cuptime.schedules.zone_files import zone_of, zone_version

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "benches/out/cron.json"
FROM_MS: Final = 1_795_392_000_000
EXPRESSIONS: Final = (
    "* * * * *", "*/5 * * * *", "0 * * * *", "0 9 * * *", "30 8 * * 1-5", "0 0 1 * *", "0 12 15 * *",
    "*/15 9-17 * * 1-5", "0 0 * * 0", "5,35 * * * *", "0 22 * * 5", "0 0 1 1 *", "0 6,18 * * *", "10 3 * * 6",
    "0 10 * * 3", "*/7 * * * *", "0 0 13 * 5", "23 0-20/2 * * *", "0 4 8-14 * *", "0 0 29 2 *",
)  # fmt: skip
NEVER: Final = "0 0 31 2 *"
ZONES: Final = ("UTC", "Asia/Shanghai", "America/New_York")
TARGETS: Final = {
    "core: next UTC ns": 50, "core: next Shanghai ns": 50, "core: next New_York ns": 70, "core: parse ns": 300,
    "core: never ns": 1_000, "core: replan 1 M Shanghai ms": 100, "core: schedule bytes": 96,
    "next UTC ns": 300, "next Asia/Shanghai ns": 300, "next America/New_York ns": 300, "parse ns": 1_500,
}  # fmt: skip


def middle_ns(run: Callable[[], int], rounds: int = 5) -> float:
    """Processor time of one step; `run` says how many steps it made."""
    found = []
    for _ in range(rounds):
        begun = time.process_time_ns()
        steps = run()
        found.append((time.process_time_ns() - begun) / steps)
    return statistics.median(found)


def ours(zone: str) -> dict[str, float]:
    crons = [Cron(text, zone_of(zone)) for text in EXPRESSIONS]

    def walk() -> int:
        for cron in crons:
            step, at_ms = cron.next, FROM_MS
            for _ in range(200):
                at_ms = step(at_ms) or FROM_MS
        return 200 * len(crons)

    def parse() -> int:
        there = zone_of(zone)
        for _ in range(50):
            for text in EXPRESSIONS:
                Cron(text, there)
        return 50 * len(EXPRESSIONS)

    def never() -> int:
        there = zone_of(zone)
        for _ in range(500):
            Cron(NEVER, there).next(FROM_MS)
        return 500

    many = crons * 5_000

    def replan() -> int:
        cron_next_many(many, FROM_MS)
        return len(many)

    return {
        f"next {zone} ns": middle_ns(walk),
        "parse ns": middle_ns(parse),
        "never ns": middle_ns(never),
        f"replan 1 M {zone} ms": middle_ns(replan, 3),
    }


def croniter_peer(zone: str) -> dict[str, float]:
    croniter = importlib.import_module("croniter").croniter
    start = datetime.fromtimestamp(FROM_MS / 1_000, UTC).astimezone(ZoneInfo(zone))

    def never() -> None:
        try:
            croniter(NEVER, start).get_next(float)
        except ValueError:
            return

    return peer(zone, lambda text: croniter(text, start), lambda it: it.get_next(float), never)


def cronsim_peer(zone: str) -> dict[str, float]:
    module = importlib.import_module("cronsim")
    start = datetime.fromtimestamp(FROM_MS / 1_000, UTC).astimezone(ZoneInfo(zone))

    def never() -> None:
        try:
            next(module.CronSim(NEVER, start))
        except (module.CronSimError, StopIteration):
            return

    return peer(zone, lambda text: module.CronSim(text, start), next, never)


def apscheduler_peer(zone: str) -> dict[str, float]:
    trigger = importlib.import_module("apscheduler.triggers.cron").CronTrigger
    there = ZoneInfo(zone)
    start = datetime.fromtimestamp(FROM_MS / 1_000, UTC).astimezone(there)

    class Walk:
        def __init__(self, text: str) -> None:
            self.trigger, self.at = trigger.from_crontab(text, there), start

        def step(self) -> None:
            found = self.trigger.get_next_fire_time(self.at, self.at)
            self.at = found or start

    return peer(zone, Walk, Walk.step, lambda: Walk(NEVER).step())


def peer(
    zone: str, make: Callable[[str], Any], step: Callable[[Any], Any], never: Callable[[], None]
) -> dict[str, float]:
    def walk() -> int:
        for text in EXPRESSIONS:
            it = make(text)
            for _ in range(20):
                step(it)
        return 20 * len(EXPRESSIONS)

    def parse() -> int:
        for text in EXPRESSIONS:
            make(text)
        return len(EXPRESSIONS)

    def nothing() -> int:
        never()
        return 1

    per_next = middle_ns(walk)
    tracemalloc.start()
    kept = [make(text) for text in EXPRESSIONS * 20]
    size = tracemalloc.get_traced_memory()[0] / len(kept)
    tracemalloc.stop()
    return {
        f"next {zone} ns": per_next,
        "parse ns": middle_ns(parse),
        "never ns": middle_ns(nothing, 3),
        f"replan 1 M {zone} ms": per_next,  # A million times so many nanoseconds are so many milliseconds.
        "schedule bytes": size,
    }


def core_alone() -> dict[str, float]:
    """The Rust program's figures."""
    files = resources.files("tzdata.zoneinfo")
    paths = [str(files / "Asia" / "Shanghai"), str(files / "America" / "New_York")]
    command = [
        "cargo",
        "run",
        "--release",
        "--quiet",
        "-p",
        "cuptime-cron",
        "--example",
        "speed",
        "--",
        *paths,
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ)
    if done.returncode:
        sys.stderr.write(f"the core alone was not timed: {done.stderr[-400:]}\n")
    rows = (line.split("\t") for line in done.stdout.splitlines() if "\t" in line)
    return {f"core: {name}": float(figure) for name, figure in rows}


def main() -> int:
    """The whole table."""
    columns: dict[str, dict[str, float]] = {"ours": {}, "croniter": {}, "cronsim": {}, "apscheduler": {}}
    for zone in ZONES:
        columns["ours"] |= ours(zone)
        for name, run in (
            ("croniter", croniter_peer), ("cronsim", cronsim_peer), ("apscheduler", apscheduler_peer),
        ):  # fmt: skip
            try:
                columns[name] |= run(zone)
            except ImportError:
                sys.stderr.write(f"{name} is not installed and left out\n")
    columns["ours"] |= core_alone()
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"{'':<34}" + "".join(f"{name:>14}" for name in columns) + f"{'target':>10}")
    for name in names:
        cells = [column.get(name) for column in columns.values()]
        target = TARGETS.get(name)
        missed = " MISSED" if target is not None and (cells[0] or 0) > target else ""
        shown = "".join(f"{'-' if cell is None else format(cell, ',.0f'):>14}" for cell in cells)
        print(f"{name:<34}{shown}{'' if target is None else target:>10}{missed}")
    print(f"zone data {zone_version()}; processor time, middle of rounds")
    print("re-planning of peers: their next() times a million")
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps({"columns": columns, "targets": TARGETS}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
