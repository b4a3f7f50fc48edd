"""Scenario: register and unregister at a steady rate."""

from __future__ import annotations

from typing import Any

from benches.service.figures import Row
from benches.service.intake import bare_pipe
from benches.service.process import Bench, cpu_s, load, served

SOURCE = "shared/spec.md section 3, shared/seed/design-note.md"
ANCHOR = "the design note: p99 8.2 ms, 0 conflicts, not durable"


BARE_S = 10


def _run(address: str, pid: int, seconds: float, rate: int, *, bare: bool) -> tuple[dict[str, Any], float]:
    """What the clients saw, and the server's processor time for each call in microseconds."""
    options: dict[str, object] = {"seconds": seconds, "rate": rate}
    if bare:
        options["bare"] = True
    with load("schedules", address, **options) as clients:
        before_s = cpu_s(pid)
        clients.go()
        figures = clients.figures(seconds + 60)
        return figures, (cpu_s(pid) - before_s) * 1e6 / figures["orders"]


def churn(bench: Bench) -> list[Row]:
    """500 calls a second: half register a schedule, half unregister one that lived for about a second. The bare pipe
    then keeps the same bytes at the same rate."""
    seconds, rate = bench.seconds(60, 4), 500
    with served(bench, "schedules") as server:
        figures, server_us = _run(server.address, server.pid, seconds, rate, bare=False)
    with bare_pipe(bench, "schedules") as (address, pid):
        floor, floor_us = _run(address, pid, min(seconds, BARE_S), rate, bare=True)
    ms, refused = figures["ms"], sum(figures["refused"].values())
    each = "; ".join(
        f"{method} p50 {took['p50']:.1f} p99 {took['p99']:.1f}"
        for method, took in figures["by_method"].items()
    )
    beside = (
        f"bare pipe in this run: p50 {floor['ms']['p50']:.1f}, p99 {floor['ms']['p99']:.1f} ms; "
        f"{floor_us:.0f} us of processor a call"
    )
    notes = f"p50 {ms['p50']:.1f}, max {ms['max']:.1f}; {each}; server {server_us:.0f} us of processor a call"
    details = {"figures": figures, "server_us": server_us, "bare_pipe": floor, "bare_pipe_us": floor_us}
    return [
        Row(
            f"register and unregister at {rate}/s, {seconds:.0f} s, p99", ms["p99"], "ms", 4, False, ANCHOR, SOURCE,
            beside, notes, details,
        ),
        Row(
            "conflicts over that time", refused, "", 0, False, ANCHOR, SOURCE, "",
            f"{figures['refused']}" if refused else "",
        ),
    ]  # fmt: skip
