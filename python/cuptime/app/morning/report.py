"""The report of a morning: text for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from rich.console import Console
from rich.table import Table

DECISION_LIMIT_MS: Final = 300


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ascending values; 0 of none."""
    return ordered[min(len(ordered) - 1, max(0, int(len(ordered) * share)))] if ordered else 0


@dataclass(frozen=True, slots=True)
class Spread:
    """p50, p99, p99.9 and maximum of some milliseconds."""

    count: int
    p50: float
    p99: float
    p999: float
    max: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        ordered = sorted(values)
        return Spread(
            len(ordered),
            percentile(ordered, 0.5),
            percentile(ordered, 0.99),
            percentile(ordered, 0.999),
            ordered[-1] if ordered else 0,
        )


@dataclass(slots=True)
class Morning:
    """Everything the report says."""

    seed: int
    rate: float
    seconds: float
    orders_sent_per_s: float
    admitted: int
    refused: dict[str, int]
    repeats: int
    decided: dict[str, int]
    decision_ms: Spread
    task_lateness_ms: Spread
    trigger_lateness: str
    commits: int
    rows_per_commit: float
    counts: dict[str, int]
    violations: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def show(morning: Morning, console: Console) -> None:
    table = Table(title="A campus morning", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("seed, burst", f"{morning.seed}, {morning.seconds:.0f} s")
    table.add_row("orders sent", f"{morning.orders_sent_per_s:,.0f} a second (wanted {morning.rate:,.0f})")
    table.add_row(
        "admitted", f"{morning.admitted:,} (and {morning.repeats:,} repeats answered as the first time)"
    )
    table.add_row("refused", _lines(morning.refused))
    table.add_row("decided", _lines(morning.decided))
    table.add_row("decision latency", _spread(morning.decision_ms) + ", from completion to heard by a client")
    table.add_row("task lateness", _spread(morning.task_lateness_ms) + ", from due time to the worker")
    table.add_row("trigger lateness", morning.trigger_lateness)
    table.add_row("commits", f"{morning.commits:,}, {morning.rows_per_commit:.1f} rows each")
    table.add_row("storage", _lines(morning.counts))
    console.print(table)
    if morning.violations:
        console.print("[bold red]violations[/]")
        for violation in morning.violations:
            console.print(f"  - {violation}", style="red")
    else:
        console.print(
            "[bold green]audit passed[/]: acknowledged = stored, no order decided twice, no capacity exceeded,"
            f" every decision within {DECISION_LIMIT_MS} ms"
        )


def _spread(spread: Spread) -> str:
    return f"p50 {spread.p50:.0f}  p99 {spread.p99:.0f}  max {spread.max:.0f} ms  (of {spread.count:,})"


def _lines(counts: Mapping[str, int]) -> str:
    return "\n".join(f"{count:>9,}  {name}" for name, count in counts.items()) or "-"
