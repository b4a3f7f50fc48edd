"""The timing wheel beside its peers: one table, and from Python beside asyncio and heapq. `make bench-wheel`.

Each measurement is a process of its own (`rust_core/wheel/benches/peers`, `benches/timers`), so that nobody inherits
another's memory, and is processor time of its thread. Every row says how many cores others kept busy meanwhile: they
share caches and memory with it. What memory costs on this machine in this hour is printed first, and each size has a
row of what moving a timer's bytes costs by itself, so that a reader sees the floor. `--only build,counts` counts
instructions of a fixed piece of work under callgrind, which no neighbour disturbs, beside the recorded ones; with
`--check` a regression of more than 5 % fails. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benches.timers.run import Neighbours, measured, table  # noqa: E402

PEERS = ROOT / "rust_core" / "wheel" / "benches" / "peers"
RECORDED = PEERS / "instructions.json"
OUT = ROOT / "benches" / "out" / "wheel.json"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "peers"
PROGRAM = TARGET / "release" / "cuptime-wheel-peers"

NAMES = ["ours", "tokio-util", "nexus-timer", "slab-wheel", "hash wheel", "binary heap", "keyed heap"]
# Minutes at ten million, and neither is the best of its kind.
NOT_AT_10_M = {"hash wheel", "keyed heap"}
ROUNDS = {10_000: 10, 1_000_000: 3, 10_000_000: 1}
COLUMNS = [
    ("insert", "insert_ns", "{:.1f}"),
    ("insert again", "insert_again_ns", "{:.1f}"),
    ("refill", "refill_ns", "{:.1f}"),
    ("cancel", "cancel_ns", "{:.1f}"),
    ("expire", "expire_ns", "{:.1f}"),
    ("next event", "next_ns", "{:.1f}"),
    ("worst tick, us", "worst_tick_us", "{:,.0f}"),
    ("without firing, us", "worst_idle_tick_us", "{:,.0f}"),
    ("bytes", "bytes", "{:.1f}"),
    ("others", "others", "{:.1f}"),
]
TARGETS = {
    (1_000_000, "minute"): ["", "12", "12", "12", "30", "20", "", "", "32", ""],
    (1_000_000, "day"): ["", "12", "12", "12", "60", "20", "", "", "32", ""],
    (10_000_000, "minute"): ["", "12", "12", "14", "35", "20", "", "250", "32", ""],
    (10_000_000, "day"): ["", "12", "12", "14", "", "20", "", "250", "32", ""],
}
DELAYS = {"minute": "10 ms - 60 s, uniform", "day": "10 ms - 24 h, log-uniform"}
TIMEOUT_S = 180.0
PYTHON_TIMERS = 1_000_000
PYTHON = [
    "ours, by key, bytes",
    "ours, by key, arrays",
    "ours, by id (Timers)",
    "asyncio call_later",
    "heapq",
]
REGRESSION = 1.05


def said(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def program(*arguments: str) -> dict[str, Any]:
    said("  " + " ".join(arguments))
    return measured([str(PROGRAM), *arguments], TIMEOUT_S, ROOT)


def build() -> None:
    said("building the peers")
    command = ["cargo", "build", "--release", "--quiet", "--locked", "--target-dir", str(TARGET)]
    subprocess.run(command, cwd=PEERS, check=True)


def save(found: dict[str, Any]) -> None:
    """Keeps what earlier runs found of other parts."""
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(found, indent=1) + "\n")


def machine(found: dict[str, Any]) -> None:
    """What memory costs now, at the size of a wheel: 8 bytes of node and 16 of ref a timer."""
    found["machine"] = {**program("machine"), "cores": os.cpu_count()}
    rows = [
        [f"{int(size):,}", *(f"{costs[key]:.1f}" for key in ("dependent_ns", "independent_ns"))]
        + [f"{costs[key]:.2f}" for key in ("append_ns", "fresh_append_ns")]
        for size, costs in found["machine"].items()
        if size.isdigit()
    ]
    heads = ["timers", "dependent miss", "random store", "append 8 bytes", "the same, fresh memory"]
    table("what memory costs here now, ns; nodes of 8 bytes, 24 bytes a timer in all", heads, rows)


def floor(size: int, found: dict[str, Any]) -> list[str] | None:
    """What moving a timer's bytes costs by itself: 24 appended, or 8 written at random."""
    costs = found.get("machine", {}).get(str(size))
    if costs is None:
        return None
    insert, refill = f"{3 * costs['fresh_append_ns']:.1f}", f"{3 * costs['append_ns']:.1f}"
    return [
        "its bytes alone",
        insert,
        refill,
        refill,
        f"{costs['independent_ns']:.1f}",
        "",
        "",
        "",
        "",
        "",
        "",
    ]


def cells(figures: dict[str, Any]) -> list[str]:
    if "failed" in figures:
        return [figures["failed"][:24], *("" for _ in COLUMNS[1:])]
    unknown = {"next_ns"} if not figures["next_ns"] else set()
    return ["-" if key in unknown else form.format(figures[key]) for _, key, form in COLUMNS]


def rust(sizes: list[int], mixes: list[str], found: dict[str, Any]) -> None:
    """The table: ns per timer, by size and mix."""
    rows: list[list[str]] = []
    for size in sizes:
        for mix in mixes:
            rounds = ROUNDS.get(size, 1)
            rows.append([f"{size:,} timers, {DELAYS[mix]}; best of {rounds}"])
            kept: dict[str, Any] = {}
            found.setdefault("mix", {})[f"{size} {mix}"] = kept
            peers = [name for name in NAMES if size < 10_000_000 or name not in NOT_AT_10_M]
            for name in peers:
                kept[name] = program("mix", name, str(size), mix, str(rounds))
                rows.append([name, *cells(kept[name])])
            lowest = floor(size, found)
            rows.extend([lowest] if lowest else [])
            if (size, mix) in TARGETS:
                rows.append(["target", *TARGETS[size, mix]])
            save(found)
    title = (
        "ns per timer, processor time; batches of 4,096 where the peer has batches. insert: into fresh memory;\n"
        "  again: half of them, cancelled in random order; refill: all once more, into memory used before;\n"
        "  others: cores that were busy with something else"
    )
    table(title, ["", *(head for head, _, _ in COLUMNS)], rows)
    left_out = ", ".join(sorted(NOT_AT_10_M))
    print(f"\n  not run at 10,000,000, where they take minutes: {left_out}. '-': the peer has no such call")


def server(found: dict[str, Any]) -> None:
    """The server simulation: five timers a connection, most of them moved or cancelled, one operation at a time."""
    rows, digests = [], set()
    for name in NAMES:
        figures = program("server", name, "20000", "60")
        found.setdefault("server", {})[name] = figures
        if "failed" in figures:
            rows.append([name, figures["failed"], "", "", ""])
            continue
        digests.add(figures["digest"])
        counted = [f"{figures[key]:,}" for key in ("operations", "fired")]
        rows.append([name, f"{figures['ns']:.1f}", *counted, f"{figures['others']:.1f}"])
    heads = ["", "ns", "operations", "fired", "others"]
    table("the server that ratas publishes: 20,000 connections for 60 s, ns per operation", heads, rows)
    equal = "every peer fired the same timers at the same ticks"
    print(f"  {equal}" if len(digests) == 1 else "  PEERS DIFFER IN WHAT FIRED")


def python(found: dict[str, Any]) -> None:
    """From Python, in batches of 4,096; what has no batches goes one by one."""
    rows = []
    for name in PYTHON:
        said(f"  from Python: {name}")
        command = [sys.executable, "-m", "benches.timers.from_python", name, str(PYTHON_TIMERS)]
        rounds = [measured(command, TIMEOUT_S, ROOT) for _ in range(3 if name.startswith("ours") else 1)]
        done = [figures for figures in rounds if "failed" not in figures]
        if not done:
            rows.append([name, rounds[0]["failed"], *[""] * 5])
            continue
        best = {key: min(figures[key] for figures in done) for key in done[0]}
        found.setdefault("python", {})[name] = best
        keys = ("first_insert", "insert", "cancel", "drain", "bytes", "others")
        rows.append([name, *(f"{best[key]:.1f}" if key in best else "-" for key in keys)])
    rows.append(["target", "", "16", "16", "36", "", ""])
    heads = ["", "insert, fresh memory", "insert", "cancel", "drain", "bytes", "others"]
    table(
        f"from Python: {PYTHON_TIMERS:,} timers, 10 ms - 60 s; ns per timer, best of 3 of ours", heads, rows
    )


def counts(record: bool, check: bool, found: dict[str, Any]) -> bool:
    """Instructions per timer of a fixed piece of work, beside the recorded ones; says whether none has grown."""
    if shutil.which("valgrind") is None:
        print("\ninstructions: valgrind is not installed, nothing counted")
        return not check
    said("  counting instructions")
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
    rows, grown = [], []
    for name, instructions in sorted(counted.items()):
        before = recorded.get(name)
        change = f"{100 * (instructions / before - 1):+.1f} %" if before else "-"
        rows.append([name, f"{instructions:.1f}", f"{before:.1f}" if before else "-", change])
        if before and instructions > before * REGRESSION:
            grown.append(name)
    table("instructions per timer, 100,000 timers", ["", "now", "recorded", "change"], rows)
    if grown:
        print(f"  GROWN by more than {100 * (REGRESSION - 1):.0f} %: {', '.join(grown)}")
    found["instructions"] = counted
    if record:
        rounded = {name: round(value, 1) for name, value in sorted(counted.items())}
        RECORDED.write_text(json.dumps(rounded, indent=2) + "\n")
        print(f"  recorded in {RECORDED.relative_to(ROOT)}")
    return not grown


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="10000,1000000,10000000", help="timers, comma-separated")
    parser.add_argument("--mixes", default="minute,day", help="minute, day or both")
    parser.add_argument("--only", default="build,machine,rust,server,python,counts", help="which parts")
    parser.add_argument("--record", action="store_true", help="record the instruction counts")
    parser.add_argument("--check", action="store_true", help="fail when instruction counts have grown")
    options = parser.parse_args()
    parts = options.only.split(",")
    if "build" in parts:
        build()
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.exists() else {}
    start_s, neighbours = time.monotonic(), Neighbours()
    if "machine" in parts:
        machine(found)
    if "rust" in parts:
        rust([int(size) for size in options.sizes.split(",")], options.mixes.split(","), found)
    if "server" in parts:
        server(found)
    if "python" in parts:
        python(found)
    sound = counts(options.record, options.check, found) if "counts" in parts else True
    others = neighbours.cores()
    found["run"] = {"seconds": round(time.monotonic() - start_s), "others": round(others, 2)}
    save(found)
    share = f"others kept {others:.1f} of {os.cpu_count()} cores busy"
    disturbed = "; figures of time say little, compare the rows" if others > 0.2 else ""
    print(f"\n{found['run']['seconds']} s; {share}{disturbed}. Figures: {OUT.relative_to(ROOT)}")
    return 0 if sound or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
