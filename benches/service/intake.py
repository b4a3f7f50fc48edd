"""Scenarios: order intake, and decisions at the rate of the morning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benches.service.figures import Row
from benches.service.process import Bench, cpu_s, load, open_park, served

INTAKE_PARK: Final = 150_000
"""The largest park that the limits of a shop allow; nothing is decided in it."""
PIPE_ANCHOR = "the bare pipe (grpc.aio and SQLite FULL, no admission)"
STACK = "shared/targets.md, shared/research/stack.md"
DOORS: dict[str, dict[str, Any]] = {
    "unary": {"rate": 9_000, "open": 256},
    "batch": {"rate": 80_000, "open": 24, "size": 100},
    "stream": {"rate": 110_000, "open": 4, "size": 100, "ahead": 16},
}
"""The most that is made ready for each second, and how much is under way."""


@contextmanager
def bare_pipe(bench: Bench, name: str) -> Iterator[tuple[str, int]]:
    folder = bench.folder / f"bare-{name}"
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.service.bare_pipe", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["grpc"], process.pid
    finally:
        process.kill()
        process.wait()


def _run(door: str, address: str, pid: int, seconds: float, *, bare: bool) -> dict[str, Any]:
    options = {**DOORS[door], "rate": DOORS[door]["rate"] * (2 if bare else 1), "seconds": seconds}
    if bare:
        options["bare"] = True
    with load(door, address, **options) as clients:
        before_s = cpu_s(pid)
        clients.go()
        figures = clients.figures(seconds + 60)
        figures["server_us_per_order"] = (cpu_s(pid) - before_s) * 1e6 / max(1, figures["orders"])
    return figures


def _intake(bench: Bench, door: str, target: float, anchor: float) -> list[Row]:
    seconds = bench.seconds(10, 2)
    with served(bench, door) as server:
        open_park(server.address, INTAKE_PARK)
        ours = _run(door, server.address, server.pid, seconds, bare=False)
    with bare_pipe(bench, door) as (address, pid):
        floor = _run(door, address, pid, min(seconds, 5), bare=True)
    name = {"unary": "SubmitOrder", "batch": "BatchSubmitOrders of 100", "stream": "IngestOrders of 100"}[
        door
    ]
    notes = f"{ours['orders']:,} orders; server {ours['server_us_per_order']:.0f} us of processor an order"
    if "ms" in ours:
        notes += f"; answered p50 {ours['ms']['p50']:.0f}, p99 {ours['ms']['p99']:.0f} ms, all calls at once"
    if ours["refused"]:
        notes += f"; REFUSED {ours['refused']}"
    return [
        Row(
            f"orders durable, {name}", ours["rate"], "/s", target, True,
            f"{anchor:,.0f}/s: {PIPE_ANCHOR}", STACK,
            f"bare pipe in this run: {floor['rate']:,.0f}/s", notes, {"ours": ours, "bare_pipe": floor},
        )
    ]  # fmt: skip


def unary(bench: Bench) -> list[Row]:
    """SubmitOrder, one order a call."""
    return _intake(bench, "unary", 6_000, 11_400)


def batch(bench: Bench) -> list[Row]:
    """BatchSubmitOrders of 100, all or none."""
    return _intake(bench, "batch", 50_000, 91_000)


def stream(bench: Bench) -> list[Row]:
    """IngestOrders in messages of 100."""
    return _intake(bench, "stream", 50_000, 91_000)


def decisions(bench: Bench) -> list[Row]:
    """1,200 orders a second fill groups; every decision is heard by a client of its own."""
    seconds, rate = bench.seconds(60, 5), 1_200
    orders = int(seconds * rate)
    with served(bench, "decisions") as server:
        open_park(server.address, orders)
        with (
            load("filling", server.address, seconds=seconds, rate=rate) as clients,
            load("decisions", server.address, seconds=seconds + 30, count=orders) as listener,
        ):
            listener.go()
            before_s = cpu_s(server.pid)
            clients.go()
            sent = clients.figures(seconds + 60)
            server_s = cpu_s(server.pid) - before_s
            heard = listener.figures(60)
    ms = heard["ms"]
    notes = (
        f"{heard['decided']:,} decided of {orders:,} sent at {sent['rate']:,.0f}/s; "
        f"p50 {ms['p50']:.1f}; order answered p50 {sent['ms']['p50']:.1f}, p99 {sent['ms']['p99']:.1f} ms; "
        f"server {server_s / seconds * 100:.0f} % of a core"
    )
    if sent["refused"]:
        notes += f"; REFUSED {sent['refused']}"
    details = {"orders": sent, "decisions": heard, "server_cpu_s": server_s}
    return [
        Row(
            "decision at 1,200 orders/s, p99", ms["p99"], "ms", 25, False,
            "300 ms: the design note's promise; 4,200 ms mean: the PHP module it replaces",
            "shared/spec.md, shared/seed/design-note.md", "", notes, details,
        ),
        Row(
            "decision at 1,200 orders/s, max", ms["max"], "ms", 300, False,
            "300 ms: the design note's promise", "shared/spec.md", "", "", {},
        ),
    ]  # fmt: skip
