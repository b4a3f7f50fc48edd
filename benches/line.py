"""The service end to end: what a plain client gets, on loopback, from a server in a process of its own.

    python benches/line.py [--quick] [--only NAME]... [--rounds N]

Prints one table and writes benches/out/line.json. Each scenario starts a server in a fresh folder and ends only what
it started. No figure is asserted: a missed target is printed as MISSED and is no failure of the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

if __package__ in (None, ""):  # Started as a program, from any folder.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benches.service import intake, schedules, tasks
from benches.service.figures import Row
from benches.service.process import Bench, machine_s

OTHERS_SHARE_TOLD: Final = 0.05
"""What other programs may take of the machine before the table says so."""
OUT: Final = Path(__file__).parent / "out" / "line.json"
SCENARIOS: Final[dict[str, Callable[[Bench], list[Row]]]] = {
    "unary": intake.unary,
    "batch": intake.batch,
    "stream": intake.stream,
    "decisions": intake.decisions,
    "lateness": tasks.lateness,
    "burst": tasks.same_millisecond,
    "schedules": schedules.churn,
    "killed": tasks.killed,
    "memory": tasks.memory,
}


def middle(rounds: list[list[Row]]) -> list[Row]:
    """For each figure the middle one of several rounds, which it names all."""
    rows = []
    for same in zip(*rounds, strict=True):
        ordered = sorted(same, key=lambda row: row.ours)
        row = ordered[(len(ordered) - 1) // 2]
        if len(ordered) > 1:
            spread = ", ".join(_figure(one.ours) for one in same)
            row = replace(row, notes=f"rounds: {spread}" + (f"; {row.notes}" if row.notes else ""))
        rows.append(row)
    return rows


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


def run(name: str, folder: Path, quick: bool, rounds: int) -> list[Row]:
    """The rows of one scenario; the last of them says how much of the machine somebody else had meanwhile."""
    print(f"   {name} ...", file=sys.stderr, flush=True)
    began_s, (busy_s, ours_s) = time.monotonic(), machine_s()
    rows = middle([SCENARIOS[name](Bench(folder / f"{name}-{index}", quick)) for index in range(rounds)])
    elapsed_s, (busy_after_s, ours_after_s) = time.monotonic() - began_s, machine_s()
    others_s = (busy_after_s - busy_s) - (ours_after_s - ours_s)
    share = max(0.0, others_s / (elapsed_s * (os.cpu_count() or 1)))
    print(
        f"   {name}: {elapsed_s:.0f} s; others used {share:.0%} of the machine", file=sys.stderr, flush=True
    )
    details = {**rows[-1].details, "others_share_of_machine": round(share, 3)}
    notes = f"{rows[-1].notes}; " if rows[-1].notes else ""
    told = (
        f"{notes}others had {share:.0%} of the machine meanwhile"
        if share >= OTHERS_SHARE_TOLD
        else rows[-1].notes
    )
    return [*rows[:-1], replace(rows[-1], details=details, notes=told)]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def show(rows: list[Row], quick: bool) -> None:
    print(f"\nThe service, {machine()}, load {os.getloadavg()[0]:.1f}. Client and server share these cores.")
    if quick:
        print("--quick: a smoke test of a few seconds each; these figures say little.")
    print(f"\n{'measure':<48}{'ours':>12}  {'target':>12}  ")
    for row in rows:
        sign = ">=" if row.at_least else "<="
        ours = f"{_figure(row.ours)} {row.unit}".strip()
        target = f"{sign} {_figure(row.target)} {row.unit}".strip()
        print(f"{row.name:<48}{ours:>12}  {target:>12}  {'met' if row.met else 'MISSED'}")
        for line in (row.notes, row.beside):
            if line:
                print(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="    "))
        if row.anchor:
            print(f"    others: {row.anchor} [{row.anchor_source}]")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a few seconds each: does it still run?")
    parser.add_argument(
        "--only", action="append", choices=sorted(SCENARIOS), help="this one; may be repeated"
    )
    parser.add_argument(
        "--rounds", type=int, default=1, help="each scenario so often; the middle figure counts"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    parsed = parser.parse_args()
    names = [name for name in SCENARIOS if not parsed.only or name in parsed.only]
    rows: dict[str, list[Row]] = {}
    failed: list[str] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cuptime-bench-") as folder:
        for name in names:
            try:
                rows[name] = run(name, Path(folder), parsed.quick, parsed.rounds)
            except Exception as error:
                failed.append(f"{name}: {type(error).__name__}: {error}")
    show([row for part in rows.values() for row in part], parsed.quick)
    parsed.out.parent.mkdir(parents=True, exist_ok=True)
    told = {
        "bench": "line",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "load_average": os.getloadavg(),
        "quick": parsed.quick,
        "rounds": parsed.rounds,
        "seconds": round(time.monotonic() - began, 1),
        "figures": {name: [row.as_json() for row in part] for name, part in rows.items()},
        "failed": failed,
    }
    parsed.out.write_text(json.dumps(told, indent=1))
    print(f"\nwritten: {parsed.out.name}")
    for line in failed:
        print(f"FAILED {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
