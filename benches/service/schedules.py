"""Scenario: register and unregister at a steady rate."""

from __future__ import annotations

from benches.service.figures import Row
from benches.service.process import Bench, cpu_s, load, served

SOURCE = "shared/spec.md section 3, shared/seed/design-note.md"
ANCHOR = "the design note: p99 8.2 ms, 0 conflicts, not durable"


def churn(bench: Bench) -> list[Row]:
    """500 calls a second: half register a schedule, half unregister one that lived for about a second."""
    seconds, rate = bench.seconds(60, 4), 500
    with (
        served(bench, "schedules") as server,
        load("schedules", server.address, seconds=seconds, rate=rate) as clients,
    ):
        before_s = cpu_s(server.pid)
        clients.go()
        figures = clients.figures(seconds + 60)
        server_us = (cpu_s(server.pid) - before_s) * 1e6 / figures["orders"]
    ms, refused = figures["ms"], sum(figures["refused"].values())
    each = "; ".join(
        f"{method} p50 {took['p50']:.1f} p99 {took['p99']:.1f}"
        for method, took in figures["by_method"].items()
    )
    notes = f"p50 {ms['p50']:.1f}, max {ms['max']:.1f}; {each}; server {server_us:.0f} us of processor a call"
    return [
        Row(
            f"register and unregister at {rate}/s, {seconds:.0f} s, p99", ms["p99"], "ms", 4, False, ANCHOR, SOURCE,
            "", notes, {"figures": figures},
        ),
        Row(
            "conflicts over that time", refused, "", 0, False, ANCHOR, SOURCE, "",
            f"{figures['refused']}" if refused else "",
        ),
    ]  # fmt: skip
