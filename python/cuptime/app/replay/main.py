"""What `cuptime replay` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cuptime.app.replay.day import Day, read
from cuptime.app.replay.evaluator import Infeasible, Score, evaluate
from cuptime.app.replay.greedy import greedy
from cuptime.app.replay.service import Replay, Replayed
from cuptime.domain.clock import SystemClock
from cuptime.domain.errors import CuptimeError
from cuptime.telemetry import log

# Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil (2018), default setting: click-to-door mean, undelivered %.
PUBLISHED: Final = {
    "0r50t75s2p100": (29.03, 0.0),
    "1o50t100s1p100": (38.24, 3.35),
    "5o50t100s1p100": (38.3, 0.5),
}
PUBLISHED_ALL: Final = (32.74, 0.25)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a replay found: the score of each plan, and how the service came to its own."""

    scores: dict[str, Score]
    service: Replayed


def replay(day: Day, console: Console | None = None) -> Outcome:
    """The score of the service and of the baseline on the day. Raises Infeasible when one breaks a rule."""
    with _progress(console, f"{day.name} cuptime") as progress:
        service = Replay(day).run(progress)
    with _progress(console, f"{day.name} greedy") as progress:
        baseline = greedy(day, progress)
    return Outcome({"cuptime": evaluate(day, service.trips), "greedy": evaluate(day, baseline)}, service)


@contextmanager
def _progress(console: Console | None, what: str) -> Iterator[Callable[[int, int], None]]:
    if console is None:
        yield lambda _now, _end: None
        return
    with Progress(console=console, transient=True) as progress:
        shown = progress.add_task(what, total=None)
        first: list[int] = []

        def tell(now_min: int, end_min: int) -> None:
            first.append(now_min)
            del first[1:]
            progress.update(shown, completed=now_min - first[0] + 1, total=end_min - first[0] + 1)

        yield tell


def main(folder: Path, as_json: bool) -> int:
    """0, or 1 when the folder cannot be read or a plan is infeasible."""
    log.configure("warning")
    console = Console(stderr=as_json)
    try:
        day = read(folder)
        began_ms = SystemClock().monotonic_ms()
        outcome = replay(day, console)
    except CuptimeError as error:
        console.print(f"[red]{error.message}[/]")
        return 1
    except Infeasible as error:
        console.print(f"[red]the plan is infeasible: {error}[/]")
        return 1
    took_s = (SystemClock().monotonic_ms() - began_ms) / 1_000
    if as_json:
        print(json.dumps(_as_json(day, outcome, took_s), indent=2))
    else:
        _show(day, outcome, took_s, console)
    return 0


def _as_json(day: Day, outcome: Outcome, took_s: float) -> dict[str, Any]:
    published = PUBLISHED.get(day.name)
    return {
        "day": day.name,
        "seconds": took_s,
        "scores": {
            name: asdict(score) | {"undelivered_percent": score.undelivered_percent}
            for name, score in outcome.scores.items()
        },
        "ledger": {
            "rows": outcome.service.ledger_rows,
            "improved": outcome.service.improved,
            "digest": outcome.service.ledger_digest,
        },
        "published": {"click_to_door": published[0], "undelivered_percent": published[1]}
        if published
        else None,
    }


def _show(day: Day, outcome: Outcome, took_s: float, console: Console) -> None:
    table = Table(
        title=f"{day.name}: {len(day.orders)} orders, {len(day.riders)} riders, {len(day.shops)} shops"
    )
    table.add_column("")
    for column in ("undelivered %", "click-to-door", "p90", "overage", "ready-to-pickup", "orders/bundle"):
        table.add_column(column, justify="right")
    for name, score in outcome.scores.items():
        table.add_row(
            name,
            f"{score.undelivered_percent:.2f}",
            f"{score.click_to_door:.2f}",
            f"{score.click_to_door_p90:.0f}",
            f"{score.overage:.2f}",
            f"{score.ready_to_pickup:.2f}",
            f"{score.orders_per_bundle:.2f}",
        )
    published = PUBLISHED.get(day.name)
    if published is not None:
        table.add_row("published", f"{published[1]:.2f}", f"{published[0]:.2f}", "", "", "", "")
    table.add_row(
        "published, all 240 days", f"{PUBLISHED_ALL[1]:.2f}", f"{PUBLISHED_ALL[0]:.2f}", "", "", "", ""
    )
    console.print(table)
    console.print(
        f"minutes; replayed in {took_s:.1f} s; both plans passed the evaluator\n"
        f"ledger: {outcome.service.ledger_rows} rows, {outcome.service.improved} assignments improved before they were"
        f" committed, digest {outcome.service.ledger_digest}"
    )
