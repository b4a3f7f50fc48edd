"""The timing wheel beside its peers: one table, and from Python beside asyncio and heapq. `make bench-wheel`.

Each measurement is a process of its own (`rust_core/wheel/benches/peers`), so that nobody inherits another's memory.
`--counts` counts instructions of a fixed piece of work under callgrind and compares them with the recorded ones: a
regression shows in spite of a busy machine. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import os
import random
import re
import shutil
import subprocess
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "rust_core" / "wheel" / "benches" / "peers"
RECORDED = PEERS / "instructions.json"
OUT = ROOT / "benches" / "out" / "wheel.json"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "peers"
PROGRAM = TARGET / "release" / "cuptime-wheel-peers"

NAMES = ["ours", "tokio-util", "nexus-timer", "slab-wheel", "hash wheel", "binary heap", "keyed heap"]
NOT_AT_10_M = {"hash wheel", "keyed heap"}
ROUNDS = {10_000: 10, 1_000_000: 2, 10_000_000: 1}
COLUMNS = [
    ("insert", "insert_ns", "{:.1f}"),
    ("cancel", "cancel_ns", "{:.1f}"),
    ("insert again", "insert_again_ns", "{:.1f}"),
    ("refill", "refill_ns", "{:.1f}"),
    ("expire", "expire_ns", "{:.1f}"),
    ("worst tick, us", "worst_tick_us", "{:.0f}"),
    ("worst tick without a firing, us", "worst_idle_tick_us", "{:.0f}"),
    ("bytes", "bytes", "{:.1f}"),
]
TARGETS = {
    "insert": "12",
    "cancel": "12/14",
    "expire": "30/35, a day 60",
    "bytes": "32",
    "idle": "250 us at 10 M",
}
TIMEOUT_S = 240
BATCH = 4_096
PYTHON_TIMERS = 1_000_000
START_MS = 1_795_392_000_000


def program(*arguments: str) -> dict[str, Any]:
    """One run of the program; what it printed."""
    done = subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    return dict(json.loads(done.stdout))


def build() -> None:
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--target-dir", str(TARGET)]
    subprocess.run(command, cwd=PEERS, check=True)


def save(found: dict[str, Any]) -> None:
    """Keeps what earlier runs found of other parts."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")


def table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    widths = [max(len(row[at]) for row in [heads, *rows]) for at in range(len(heads))]
    print(f"\n{title}")
    for row in [heads, *rows]:
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells))


def rust(sizes: list[int], mixes: list[str], found: dict[str, Any]) -> None:
    """The table of Rust peers, ns per timer."""
    for size in sizes:
        for mix in mixes:
            rows = []
            for name in NAMES:
                if size >= 10_000_000 and name in NOT_AT_10_M:
                    continue
                figures = program("mix", name, str(size), mix, str(ROUNDS.get(size, 1)))
                found.setdefault("mix", {}).setdefault(f"{size} {mix}", {})[name] = figures
                rows.append([name, *(form.format(figures[key]) for _, key, form in COLUMNS)])
            delays = "10 ms - 60 s, uniform" if mix == "minute" else "10 ms - 24 h, log-uniform"
            heads = ["", *(head for head, _, _ in COLUMNS)]
            save(found)
            table(f"{size:,} timers, {delays}; ns per timer, the best of {ROUNDS.get(size, 1)}", heads, rows)


def server(found: dict[str, Any]) -> None:
    """The server simulation: five timers a connection, most of them moved or cancelled, one operation at a time."""
    rows = []
    digests = set()
    for name in NAMES:
        figures = program("server", name, "20000", "60")
        found.setdefault("server", {})[name] = figures
        digests.add(figures["digest"])
        rows.append([name, f"{figures['ns']:.1f}", f"{figures['operations']:,}", f"{figures['fired']:,}"])
    table(
        "a server with 20,000 connections for 60 s: ns per operation", ["", "ns", "operations", "fired"], rows
    )
    print(
        "  every peer fired the same timers at the same ticks"
        if len(digests) == 1
        else "  PEERS DIFFER IN WHAT FIRED"
    )


def batched(column: array[int], call: Callable[[array[int]], object]) -> float:
    """ns per element of calling with batches."""
    batches = [column[at : at + BATCH] for at in range(0, len(column), BATCH)]
    start_ns = time.perf_counter_ns()
    for batch in batches:
        call(batch)
    return (time.perf_counter_ns() - start_ns) / len(column)


def of_ours(due_ms: array[int], as_bytes: bool) -> dict[str, float]:
    """The keyed wheel, columns as arrays or as bytes."""
    from cuptime._core import Wheel

    wheel = Wheel(10, START_MS, 1 << 30)
    given: Callable[[array[int]], Any] = array.tobytes if as_bytes else (lambda column: column)
    pairs = [
        (given(due_ms[at : at + BATCH]), given(array("q", range(at, min(at + BATCH, len(due_ms))))))
        for at in range(0, len(due_ms), BATCH)
    ]
    start_ns = time.perf_counter_ns()
    columns = [wheel.insert(due, payloads) for due, payloads in pairs]
    insert_ns = (time.perf_counter_ns() - start_ns) / len(due_ms)
    keys = array("q", b"".join(columns))
    half = list(keys)
    random.Random(1).shuffle(half)
    doomed = array("q", half[: len(half) // 2])
    batches = [given(doomed[at : at + BATCH]) for at in range(0, len(doomed), BATCH)]
    start_ns = time.perf_counter_ns()
    for batch in batches:
        wheel.cancel(batch)
    cancel_ns = (time.perf_counter_ns() - start_ns) / len(doomed)
    left, start_ns = len(wheel), time.perf_counter_ns()
    for now_ms in range(START_MS, START_MS + 61_000, 10):
        while not wheel.advance(now_ms, BATCH)[2]:
            pass
    return {"insert": insert_ns, "cancel": cancel_ns, "drain": (time.perf_counter_ns() - start_ns) / left}


def of_timers(due_ms: array[int]) -> dict[str, float]:
    """The wheel as the service uses it: timers by id."""
    from cuptime._core import Timers

    timers = Timers(10, START_MS, 1 << 30)
    ids = array("q", range(len(due_ms)))
    pairs = [(ids[at : at + BATCH], due_ms[at : at + BATCH]) for at in range(0, len(ids), BATCH)]
    start_ns = time.perf_counter_ns()
    for batch in pairs:
        timers.arm(*batch)
    insert_ns = (time.perf_counter_ns() - start_ns) / len(ids)
    half = list(ids)
    random.Random(1).shuffle(half)
    cancel_ns = batched(array("q", half[: len(half) // 2]), timers.disarm)
    left, start_ns = len(timers), time.perf_counter_ns()
    for now_ms in range(START_MS, START_MS + 61_000, 10):
        while not timers.advance(now_ms, BATCH)[2]:
            pass
    return {"insert": insert_ns, "cancel": cancel_ns, "drain": (time.perf_counter_ns() - start_ns) / left}


def of_asyncio(count: int) -> dict[str, float]:
    """The event loop's own timers; they are not drained, which would take the time they wait."""

    async def measure() -> dict[str, float]:
        loop = asyncio.get_running_loop()
        delays_s = [60 + 60 * random.random() for _ in range(count)]
        start_ns = time.perf_counter_ns()
        handles = [loop.call_later(delay_s, print) for delay_s in delays_s]
        insert_ns = (time.perf_counter_ns() - start_ns) / count
        random.shuffle(handles)
        start_ns = time.perf_counter_ns()
        for handle in handles:
            handle.cancel()
        return {"insert": insert_ns, "cancel": (time.perf_counter_ns() - start_ns) / count}

    return asyncio.run(measure())


def of_heapq(due_ms: array[int]) -> dict[str, float]:
    heap: list[tuple[int, int]] = []
    start_ns = time.perf_counter_ns()
    for pair in zip(due_ms, range(len(due_ms)), strict=True):
        heapq.heappush(heap, pair)
    insert_ns = (time.perf_counter_ns() - start_ns) / len(due_ms)
    start_ns = time.perf_counter_ns()
    while heap:
        heapq.heappop(heap)
    return {"insert": insert_ns, "drain": (time.perf_counter_ns() - start_ns) / len(due_ms)}


def python(found: dict[str, Any]) -> None:
    """From Python, in batches of 4,096; what has no batches goes one by one."""
    roll = random.Random(2)
    due_ms = array("q", (START_MS + 10 + roll.randrange(59_990) for _ in range(PYTHON_TIMERS)))
    runs: dict[str, Callable[[], dict[str, float]]] = {
        "ours, by key, bytes": lambda: of_ours(due_ms, as_bytes=True),
        "ours, by key, arrays": lambda: of_ours(due_ms, as_bytes=False),
        "ours, by id (Timers)": lambda: of_timers(due_ms),
        "asyncio call_later": lambda: of_asyncio(PYTHON_TIMERS // 5),
        "heapq": lambda: of_heapq(due_ms),
    }
    rows = []
    for name, run in runs.items():
        rounds = [run() for _ in range(3 if name.startswith("ours") else 1)]
        best = {key: min(figures[key] for figures in rounds) for key in rounds[0]}
        found.setdefault("python", {})[name] = best
        rows.append(
            [name, *(f"{best[key]:.1f}" if key in best else "-" for key in ("insert", "cancel", "drain"))]
        )
    heads = ["", "insert (16)", "cancel (16)", "drain (36)"]
    table(f"from Python, {PYTHON_TIMERS:,} timers; ns per timer (targets in brackets)", heads, rows)


def counts(record: bool, found: dict[str, Any]) -> None:
    """Instructions per timer of a fixed piece of work, beside the recorded ones."""
    if shutil.which("valgrind") is None:
        print("\ninstructions: valgrind is not installed, nothing counted")
        return
    out = TARGET / "callgrind.out"
    command = [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        f"--callgrind-out-file={out}",
        str(PROGRAM),
        "counted",
    ]
    subprocess.run(command, check=True, timeout=2 * TIMEOUT_S, capture_output=True)
    listed = subprocess.run(
        ["callgrind_annotate", "--inclusive=yes", "--threshold=100", str(out)],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    counted: dict[str, float] = {}
    for total, name in re.findall(r"^\s*([\d,]+) .*counted::counted_(\w+)", listed, re.MULTILINE):
        counted.setdefault(name, int(total.replace(",", "")) / 100_000)
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    rows = []
    for name, instructions in sorted(counted.items()):
        before = recorded.get(name)
        change = f"{100 * (instructions / before - 1):+.1f} %" if before else "-"
        rows.append([name, f"{instructions:.1f}", f"{before:.1f}" if before else "-", change])
    table("instructions per timer, 100,000 timers", ["", "now", "recorded", "change"], rows)
    found["instructions"] = counted
    if record:
        RECORDED.write_text(
            json.dumps({name: round(value, 1) for name, value in sorted(counted.items())}, indent=2) + "\n"
        )
        print(f"  recorded in {RECORDED.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,1000000,10000000", help="timers, comma-separated")
    parser.add_argument("--mixes", default="minute,day", help="minute, day or both")
    parser.add_argument("--only", default="build,machine,rust,server,python,counts", help="which parts")
    parser.add_argument(
        "--record", action="store_true", help="write the instruction counts as the recorded ones"
    )
    options = parser.parse_args()
    parts = options.only.split(",")
    if "build" in parts:
        build()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    if "machine" in parts:
        found["machine"] = program("machine")
        print("a cache miss here:", ", ".join(f"{name} {ns}" for name, ns in found["machine"].items()))
    if "rust" in parts:
        rust([int(size) for size in options.sizes.split(",")], options.mixes.split(","), found)
        print("  targets: " + "; ".join(f"{name} {target}" for name, target in TARGETS.items()))
    if "server" in parts:
        server(found)
    if "python" in parts:
        python(found)
    if "counts" in parts:
        counts(options.record, found)
    save(found)
    print(f"\nfigures: {OUT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
