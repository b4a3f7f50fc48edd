"""Cron beside its peers, in one run: `make bench-cron`, or python benches/cron.py.

Prints a table from Python (croniter, cronsim, APScheduler) and one of the Rust cores (`rust_core/cron/benches/peers`:
croner, cron, saffron, cronexpr), and writes benches/out/cron.json. From Python it is the middle of five rounds, in
Rust of seven, both in processor time. `--only counts` counts the instructions of a fixed piece
of work under callgrind beside the recorded ones, which says the same on a busy machine. A peer that is not installed is
left out and named. No figure is asserted: a missed target is printed as MISSED.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

if __package__ in (None, ""):  # Started as a program, from any folder.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benches import line
from cuptime.core import Cron, cron_next_many
from cuptime.schedules.zone_files import zone_of, zone_version

ROOT: Final = Path(__file__).resolve().parents[1]
OUT: Final = ROOT / "benches/out/cron.json"
PEERS: Final = ROOT / "rust_core/cron/benches/peers"
RECORDED: Final = PEERS / "instructions.json"
TARGET: Final = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "peers"
PROGRAM: Final = TARGET / "release/cuptime-cron-peers"
RUST_PEERS: Final = {"ours": 2_000, "croner": 20, "cron": 40, "saffron": 1_000, "cronexpr": 4}
"""Steps of each walk: the slow ones take fewer."""
PARTS: Final = ("rust", "python", "counts", "registration")
PUBLISHED: Final = (
    "as published, on other machines: Cronos (.NET) next 123-212 ns, parse 31-82 ns [its README]; "
    "croner (JavaScript) 38,000 ns a next [shared research, node]"
)
OPERATIONS: Final = 20_000
FROM_MS: Final = 1_795_392_000_000
EXPRESSIONS: Final = (
    "* * * * *", "*/5 * * * *", "0 * * * *", "0 9 * * *", "30 8 * * 1-5", "0 0 1 * *", "0 12 15 * *",
    "*/15 9-17 * * 1-5", "0 0 * * 0", "5,35 * * * *", "0 22 * * 5", "0 0 1 1 *", "0 6,18 * * *", "10 3 * * 6",
    "0 10 * * 3", "*/7 * * * *", "0 0 13 * 5", "23 0-20/2 * * *", "0 4 8-14 * *", "0 0 29 2 *",
)  # fmt: skip
NEVER: Final = "0 0 31 2 *"
ZONES: Final = ("UTC", "Asia/Shanghai", "America/New_York")
BURST: Final = 100_000
TARGETS_RUST: Final = {
    "next UTC ns": 50, "next Asia/Shanghai ns": 50, "next America/New_York ns": 70, "parse ns": 300, "never ns": 1_000,
    "replan 1 M ms": 100, "schedule bytes": 96,
}  # fmt: skip
TARGETS_PYTHON: Final = {
    "next UTC ns": 300, "next Asia/Shanghai ns": 300, "next America/New_York ns": 300, "parse ns": 1_500,
    "replan 1 M Asia/Shanghai ms": 100, "burst of 100,000 ms": 10,
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
    there = zone_of(zone)
    # All due at ten o'clock, each at some time of its own afterwards.
    due_ms = Cron("0 10 * * *", there).next(FROM_MS) or FROM_MS
    due = [Cron(f"0,{k % 59 + 1} 10 * * *", there) for k in range(BURST)]

    def replan() -> int:
        cron_next_many(many, FROM_MS)
        return len(many)

    def burst() -> int:
        cron_next_many(due, due_ms)
        return 1

    return {
        f"next {zone} ns": middle_ns(walk),
        "parse ns": middle_ns(parse),
        "never ns": middle_ns(never),
        f"replan 1 M {zone} ms": middle_ns(replan, 3),
        "burst of 100,000 ms": middle_ns(burst) / 1e6,
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
        "burst of 100,000 ms": per_next / 10,
        "schedule bytes": size,
    }


def table(title: str, columns: dict[str, dict[str, float]], targets: dict[str, int]) -> None:
    """One row for each measure, one column for each engine, ours first."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    print(f"\n{title:<34}" + "".join(f"{name:>14}" for name in columns) + f"{'target':>10}")
    for name in names:
        cells = [column.get(name) for column in columns.values()]
        target = targets.get(name)
        missed = " MISSED" if target is not None and (cells[0] or 0) > target else ""
        shown = "".join(f"{'-' if cell is None else format(cell, ',.0f'):>14}" for cell in cells)
        print(f"{name:<34}{shown}{'' if target is None else format(target, ','):>10}{missed}")


def python_table() -> dict[str, dict[str, float]]:
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
    table("from Python, processor time", columns, TARGETS_PYTHON)
    print("re-planning and bursts of peers: their next() so many times")
    print(PUBLISHED)
    return columns


def environment() -> dict[str, str]:
    return {**os.environ, "CUPTIME_ZONES": str(resources.files("tzdata.zoneinfo"))}


def build() -> None:
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--target-dir", str(TARGET)]
    subprocess.run(command, cwd=PEERS, check=True)


def rust_table() -> dict[str, dict[str, float]]:
    """The cores alone, one process each."""
    columns = {}
    for peer, steps in RUST_PEERS.items():
        done = subprocess.run(
            [str(PROGRAM), "figures", peer, str(steps)],
            capture_output=True, text=True, check=True, env=environment(),
        )  # fmt: skip
        rows = (row.split("\t") for row in done.stdout.splitlines())
        columns[peer] = {name: float(figure) for name, figure in rows}
    table("the cores alone, processor time", columns, TARGETS_RUST)
    return columns


def counts(record: bool) -> dict[str, float]:
    """Instructions of one operation of ours, beside the recorded ones."""
    if shutil.which("valgrind") is None:
        print("\ninstructions: valgrind is not installed, nothing counted")
        return {}
    with tempfile.NamedTemporaryFile(prefix="cuptime-callgrind-") as out:
        tool = ["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out.name}"]
        subprocess.run([*tool, str(PROGRAM), "counted"], check=True, capture_output=True, env=environment())
        listed = subprocess.run(
            ["callgrind_annotate", "--inclusive=yes", "--threshold=100", out.name],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
    totals: dict[str, int] = {}
    for total, name in re.findall(r"^ *([\d,]+) .*counted::counted_([a-z_]+)", listed, re.MULTILINE):
        totals[name] = max(totals.get(name, 0), int(total.replace(",", "")))
    counted = {name: round(total / OPERATIONS, 1) for name, total in sorted(totals.items())}
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    print(f"\n{'instructions of one operation':<34}{'now':>14}{'recorded':>14}{'change':>10}")
    for name, now in counted.items():
        before = recorded.get(name)
        change = f"{100 * (now / before - 1):+.1f} %" if before else "-"
        print(f"{name:<34}{now:>14,.1f}{before or 0:>14,.1f}{change:>10}")
    if record:
        RECORDED.write_text(json.dumps(counted, indent=2) + "\n")
        print(f"recorded in {RECORDED.relative_to(ROOT)}")
    return counted


def registration() -> list[dict[str, Any]]:
    """Register and unregister at 500 a second for a minute, against a real server."""
    with tempfile.TemporaryDirectory(prefix="cuptime-bench-") as folder:
        rows = line.run("schedules", Path(folder), quick=False, rounds=1)
    line.show(rows, quick=False)
    return [row.as_json() for row in rows]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=PARTS, help="this part; may be repeated")
    parser.add_argument(
        "--record", action="store_true", help="write the instruction counts as the recorded ones"
    )
    parsed = parser.parse_args()
    parts = parsed.only or PARTS
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    print(f"{line.machine()}, load {os.getloadavg()[0]:.1f}, zone data {zone_version()}")
    if {"rust", "counts"} & set(parts):
        build()
    if "rust" in parts:
        found["rust"] = rust_table()
    if "python" in parts:
        found["python"] = python_table()
    if "counts" in parts:
        found["instructions"] = counts(parsed.record)
    if "registration" in parts:
        found["registration"] = registration()
    found["targets"] = {"rust": TARGETS_RUST, "python": TARGETS_PYTHON}
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
