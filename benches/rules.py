"""Rules against orders: ours, native and from Python, beside its peers; one run, one table, JSON behind it.

    make bench-rules                                          # everything, some ten minutes on two cores
    .venv/bin/python benches/rules.py --rules 1000 --shapes ranges

Nanoseconds an order, one thread, the best of the rounds that fit a short time, because a shared machine only ever adds
time. All engines get the same rules and the same 1,000 orders in the same run, and what each says matches is compared
with ours before it is timed. An engine that asks rule by rule is asked fewer orders; a set that would take it too long
is left out, and the table says so. Behind the table: loading and reloading, memory, and the growth in instructions from
1,000 to 10,000 rules, which no neighbour disturbs (needs valgrind). Figures go to benches/out/rules.json.
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
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benches.match.engines import ENGINES, LINEAR, Engine, Ours
from benches.match.made import ORDERS, SHAPES, Row, made_rows, made_rules

COUNTS: Final = (1, 10, 100, 1_000, 10_000, 100_000)
SECONDS_MAX: Final = 0.25
"""How long one figure is measured."""
LEFT_OUT_S: Final = 6.0
"""A figure that would take longer, judged by the size before, is left out."""
LINEAR_EVALUATIONS_MAX: Final = 50_000
COMPARED: Final = 5
"""Orders of which the matches are compared."""
MEMORY_RULES: Final = 10_000
GROWTH: Final = (1_000, 10_000)
TARGETS: Final = {
    ("mixed", 1): (20, 20), ("mixed", 10): (60, 80), ("mixed", 100): (80, 100), ("mixed", 1_000): (120, 250),
    ("mixed", 10_000): (200, 1_966), ("mixed", 100_000): (1_500, 18_667),
}  # fmt: skip
"""First, collect; the last two have 7 ns for each hit in them."""
TOGGLE: Final = "*RuleSet*evaluate*"

Figure = dict[str, Any]


def best_ns(work: Callable[[], object], orders: int) -> float:
    """Nanoseconds of one order, the best round."""
    best, ends = float("inf"), time.perf_counter() + SECONDS_MAX
    while True:
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
        if time.perf_counter() > ends:
            return best * 1e9 / orders


def timed_ms(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.perf_counter()
    made = work()
    return made, (time.perf_counter() - begun) * 1e3


# --- from Python --------------------------------------------------------------------------------------------------
def measured(name: str, shape: str, count: int, rows: list[Row], before: Figure | None) -> Figure:
    """One engine against one set; `before` is its figure for the set of a tenth."""
    figure: Figure = {"engine": name, "shape": shape, "rules": count}
    if before is not None and "error" in before:
        return {**figure, "error": before["error"]}
    some = rows[: max(COMPARED, min(ORDERS, LINEAR_EVALUATIONS_MAX // count))] if name in LINEAR else rows
    if before is not None and "collect_ns" in before:
        expected_s = 10 * (before["load_ms"] / 1e3 + 2 * before["collect_ns"] * len(some) / 1e9)
        if name not in ("ours", "ours, dicts") and expected_s > LEFT_OUT_S:
            return {**figure, "error": f"left out: some {expected_s:.0f} s"}
    try:
        rules = made_rules(shape, count)
        engine, load_ms = timed_ms(lambda: ENGINES[name](rules))
        _compare(engine, (shape, count), rows)
        figure |= {"load_ms": load_ms, "orders": len(some)}
        figure["collect_ns"] = best_ns(lambda: engine.collect(some), len(some))
        figure["first_ns"] = best_ns(lambda: engine.first(some), len(some))
        if isinstance(engine, Ours):
            figure["hits"] = sum(len(engine.matches(row)) for row in rows[:100]) / 100
    except Exception as error:  # A peer that is not installed or refuses is a cell of the table.
        figure["error"] = f"{type(error).__name__}: {str(error)[:60]}"
    return figure


_ours: dict[tuple[str, int], list[list[int]]] = {}
"""What ours matched, by shape and number of rules."""


def _compare(engine: Engine, rules: tuple[str, int], rows: list[Row]) -> None:
    found = [engine.matches(row) for row in rows[:COMPARED]]
    if _ours.setdefault(rules, found) != found:
        raise ValueError("its matches are not ours")


# --- native -------------------------------------------------------------------------------------------------------
def native_program() -> Path | None:
    """The native bench, built; None when it cannot be."""
    command = ["cargo", "bench", "--quiet", "-p", "cuptime-rules", "--bench", "rules", "--no-run"]
    built = subprocess.run([*command, "--message-format=json"], capture_output=True, text=True, check=False)
    for line in built.stdout.splitlines():
        told = json.loads(line)
        if told.get("target", {}).get("name") == "rules" and told.get("executable"):
            return Path(told["executable"])
    print(built.stderr[-2_000:], file=sys.stderr)
    return None


def native(program: Path, out: Path) -> list[Figure]:
    """Its figures of all shapes and sizes."""
    told = out / "rules_native.json"
    environment = {**os.environ, "CUPTIME_BENCH_JSON": str(told.resolve())}
    subprocess.run([program], check=True, env=environment, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in told.read_text(encoding="utf-8").splitlines()]


def instructions(program: Path, count: int) -> float | None:
    """Instructions an order, equality, all matches; None without valgrind."""
    if shutil.which("valgrind") is None:
        return None
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--toggle-collect={TOGGLE}"]
    run = subprocess.run(
        [*command, program, f"count:equality:{count}:collect"], capture_output=True, text=True, check=False
    )
    counted = re.search(r"Collected : (\d+)", run.stderr)
    orders = re.search(r"(\d+) orders", run.stdout)
    return int(counted[1]) / int(orders[1]) if counted and orders else None


# --- memory -------------------------------------------------------------------------------------------------------
def resident_kb() -> int:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def memory(name: str) -> None:
    """In a process of its own: what one engine holds for a loaded set, in KiB on the last line."""
    small = ENGINES[name](made_rules("mixed", 10))
    rules, rows = made_rules("mixed", MEMORY_RULES), made_rows()[:1]
    small.collect(rows)
    before = resident_kb()
    engine = ENGINES[name](rules)
    engine.collect(rows)
    print(resident_kb() - before)


def memories() -> dict[str, int | str]:
    found: dict[str, int | str] = {}
    for name in ENGINES:
        if name == "ours, dicts":
            continue
        run = subprocess.run(
            [sys.executable, __file__, "--memory", name],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found[name] = int(run.stdout.split()[-1]) if run.returncode == 0 else "not measured"
    return found


# --- the table ----------------------------------------------------------------------------------------------------
def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def row_of(shape: str, count: int, inside: Figure | None, outside: dict[str, Figure]) -> str:
    """First and collect of every engine, natively and from Python."""
    first, collect = (inside or {}).get("first_ns"), (inside or {}).get("collect_ns")
    cells = [f"{shape:<9}{count:>8,}", f"{(outside['ours'].get('hits') or 0):>8.1f}"]
    cells.append(f"{shown(first):>9}{shown(collect):>9}")
    wanted = TARGETS.get((shape, count))
    missed = inside is not None and wanted is not None and (first > wanted[0] or collect > wanted[1])
    for name in ENGINES:
        figure = outside[name]
        told = f"{shown(figure.get('first_ns')):>13}{shown(figure.get('collect_ns')):>13}"
        cells.append(told)
    return "".join(cells) + ("  MISSED" if missed else "")


def head() -> str:
    names = ["native", *ENGINES]
    widths = [18, *[26] * len(ENGINES)]
    over = "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    under = f"{'first':>9}{'collect':>9}" + f"{'first':>13}{'collect':>13}" * len(ENGINES)
    return f"{'':25}{over}\n{'shape':<9}{'rules':>8}{'hits':>8}{under}"


def reloads(shape: str, counts: Sequence[int]) -> list[Figure]:
    """From Python: a set compiled anew, after itself, and after itself with one rule changed. Milliseconds."""
    found = []
    for count in counts:
        rules = made_rules(shape, count)
        before, anew = timed_ms(lambda made=rules: Ours(made))
        _, same = timed_ms(lambda made=rules, last=before: Ours(made, last))
        changed = [[[("user_credit", "<", 7)]], *rules[1:]]
        _, one = timed_ms(lambda made=changed, last=before: Ours(made, last))
        found.append(
            {"shape": shape, "rules": count, "anew_ms": anew, "unchanged_ms": same, "one_changed_ms": one}
        )
    return found


def behind(every: list[Figure], counts: Sequence[int], program: Path | None) -> Figure:
    """What stands below the table."""
    told: Figure = {"reloads": reloads("mixed", [count for count in counts if count >= 1_000])}
    print("\nours from Python, mixed, ms:        anew   nothing changed   one rule changed")
    for figure in told["reloads"]:
        print(
            f"{figure['rules']:>10,} rules {figure['anew_ms']:>22.1f}{figure['unchanged_ms']:>18.1f}"
            f"{figure['one_changed_ms']:>19.1f}"
        )
    loads = [figure for figure in every if figure["shape"] == "mixed" and figure["rules"] == 1_000]
    if loads:
        print("loading 1,000 mixed rules, ms: " + ", ".join(
            f"{figure['engine']} {figure['load_ms']:,.1f}" for figure in loads if "load_ms" in figure
        ))  # fmt: skip
    told["memory_kb"] = memories()
    held = ", ".join(
        f"{name} {kb if isinstance(kb, str) else f'{kb:,}'}" for name, kb in told["memory_kb"].items()
    )
    print(f"resident memory of {MEMORY_RULES:,} mixed rules, KiB: {held}")
    if program is not None:
        told["instructions"] = {count: instructions(program, count) for count in GROWTH}
        few, many = told["instructions"].values()
        if few and many:
            told["growth"] = many / few
            print(
                f"instructions an order, equality, {GROWTH[0]:,} and {GROWTH[1]:,} rules: {few:,.0f} and {many:,.0f},"
                f" {many / few:.1f} times (at most 4){'  MISSED' if many / few > 4 else ''}"
            )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Rules beside their peers, one table.")
    parser.add_argument("--rules", default=",".join(map(str, COUNTS)), help="sizes of the sets")
    parser.add_argument("--shapes", default=",".join(SHAPES), help="shapes of rules")
    parser.add_argument("--no-native", action="store_true", help="only from Python")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.memory:
        memory(wanted.memory)
        return
    counts = [int(word) for word in wanted.rules.split(",")]
    out = Path(os.environ.get("CUPTIME_BENCH_OUT", "benches/out"))
    out.mkdir(parents=True, exist_ok=True)
    program = None if wanted.no_native else native_program()
    inside = native(program, out) if program is not None else []
    rows, every = made_rows(), []
    print("nanoseconds an order; hits: rules that match an order\n" + head())
    for shape in wanted.shapes.split(","):
        last: dict[str, Figure] = {}
        for count in counts:
            here = {name: measured(name, shape, count, rows, last.get(name)) for name in ENGINES}
            of_native = next((f for f in inside if f["shape"] == shape and f["rules"] == count), None)
            print(row_of(shape, count, of_native, here), flush=True)
            every += here.values()
            last = here
    for figure in every:
        if "error" in figure:
            print(f"  {figure['engine']}, {figure['shape']}, {figure['rules']:,} rules: {figure['error']}")
    told = behind(every, counts, program)
    told |= {"native": inside, "python": every}
    (out / "rules.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
