"""What `cuptime replay` prints."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from cuptime.app.replay.day import Day, read
from cuptime.app.replay.evaluator import Infeasible, Score, evaluate
from cuptime.app.replay.simulation import Dispatcher, Greedy, Rolling, Simulation
from cuptime.core import Dispatcher as CoreDispatcher
from cuptime.domain.clock import ManualClock, SystemClock
from cuptime.domain.errors import CuptimeError

# Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil (2018), default setting: click-to-door mean, undelivered %.
PUBLISHED: Final = {
    "0r50t75s2p100": (29.03, 0.0),
    "1o50t100s1p100": (38.24, 3.35),
    "5o50t100s1p100": (38.3, 0.5),
}
PUBLISHED_ALL: Final = (32.74, 0.25)


def replay(day: Day, console: Console | None = None) -> dict[str, Score]:
    """The score of each dispatcher on the day. Raises Infeasible when one breaks a rule."""
    scores = {}
    dispatchers: dict[str, Dispatcher] = {"cuptime": Rolling(day, CoreDispatcher()), "greedy": Greedy(day)}
    for name, dispatcher in dispatchers.items():
        simulation = Simulation(day, dispatcher, ManualClock())
        if console is None:
            trips = simulation.run()
        else:
            with Progress(console=console, transient=True) as progress:
                shown = progress.add_task(f"{day.name} {name}", total=None)
                trips = simulation.run(lambda now, end: progress.update(shown, completed=now, total=end))  # noqa: B023
        scores[name] = evaluate(day, trips)
    return scores


def main(folder: Path, as_json: bool) -> int:
    """0, or 1 when the folder cannot be read or a plan is infeasible."""
    console = Console(stderr=as_json)
    try:
        day = read(folder)
        began_ms = SystemClock().monotonic_ms()
        scores = replay(day, console)
    except CuptimeError as error:
        console.print(f"[red]{error.message}[/]")
        return 1
    except Infeasible as error:
        console.print(f"[red]the plan is infeasible: {error}[/]")
        return 1
    took_s = (SystemClock().monotonic_ms() - began_ms) / 1_000
    if as_json:
        print(json.dumps(_as_json(day, scores, took_s), indent=2))
    else:
        _show(day, scores, took_s, console)
    return 0


def _as_json(day: Day, scores: dict[str, Score], took_s: float) -> dict[str, Any]:
    published = PUBLISHED.get(day.name)
    return {
        "day": day.name,
        "seconds": took_s,
        "scores": {
            name: asdict(score) | {"undelivered_percent": score.undelivered_percent}
            for name, score in scores.items()
        },
        "published": {"click_to_door": published[0], "undelivered_percent": published[1]}
        if published
        else None,
    }


def _show(day: Day, scores: dict[str, Score], took_s: float, console: Console) -> None:
    table = Table(
        title=f"{day.name}: {len(day.orders)} orders, {len(day.riders)} riders, {len(day.shops)} shops"
    )
    table.add_column("")
    for column in ("undelivered %", "click-to-door", "p90", "overage", "ready-to-pickup", "orders/bundle"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
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
    console.print(f"minutes; replayed in {took_s:.1f} s; both plans passed the evaluator")
