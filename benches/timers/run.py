"""Runs a program that prints one line of JSON, and says how much of the machine others took meanwhile."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from pathlib import Path
from typing import Any

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def busy_s() -> float:
    """Processor time of the whole machine since it started, idle and waiting excluded, stolen included."""
    columns = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, soft, steal = map(int, columns)
    return (user + nice + system + irq + soft + steal) * TICK_S


def own_s() -> float:
    """Processor time of this process and of those it has started and waited for."""
    mine = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in mine)


class Neighbours:
    """What others took of the machine since this was made."""

    def __init__(self) -> None:
        self._start_s, self._busy_s, self._own_s = time.monotonic(), busy_s(), own_s()

    def cores(self) -> float:
        """Cores that others kept busy, on the average."""
        passed_s = max(time.monotonic() - self._start_s, TICK_S)
        return max(0.0, (busy_s() - self._busy_s - (own_s() - self._own_s)) / passed_s)


def measured(command: list[str], timeout_s: float, cwd: Path) -> dict[str, Any]:
    """What the program printed, and under `others` the cores that were busy with something else.

    A program that fails, or takes too long, is a row that says so: `{"failed": why}`.
    """
    neighbours = Neighbours()
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=timeout_s, cwd=cwd)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {timeout_s:.0f} s"}
    except subprocess.CalledProcessError as failure:
        said = (failure.stderr or "").strip().splitlines()
        return {"failed": said[-1] if said else f"exit code {failure.returncode}"}
    return {**json.loads(done.stdout), "others": round(neighbours.cores(), 2)}


def table(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Prints columns, the first one to the left. A row of one cell is a heading of its own."""
    full = [row for row in [heads, *rows] if len(row) > 1]
    widths = [max(len(row[at]) for row in full) for at in range(len(heads))]
    print(f"\n{title}")
    for row in [heads, *rows]:
        if len(row) == 1:
            print(f"\n  {row[0]}")
            continue
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells))
