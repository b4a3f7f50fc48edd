"""Scenarios: order intake, and decisions at the rate of the morning."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from benches.service.figures import Row
from benches.service.process import Bench, cpu_s, first_line, load, open_park, served

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
RATE: Final = 1_200
PIPE_SHARE_HELD: Final = 0.8
"""Of what the bare pipe answers in a closed loop: above it, a queue grows whatever we do."""


@contextmanager
def bare_pipe(bench: Bench, name: str) -> Iterator[tuple[str, int]]:
    folder = bench.folder / f"bare-{name}"
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "benches.service.bare_pipe", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield json.loads(first_line(process))["grpc"], process.pid
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


def _floor(bench: Bench, door: str, turn: str, seconds: float) -> dict[str, Any]:
    with bare_pipe(bench, f"{door}-{turn}") as (address, pid):
        return _run(door, address, pid, seconds, bare=True)


def _intake(bench: Bench, door: str, target: float, anchor: float) -> list[Row]:
    """Ours between two runs of the bare pipe, so that a slower minute of the machine hits both."""
    seconds = bench.seconds(10, 2)
    before = _floor(bench, door, "before", seconds / 2)
    with served(bench, door) as server:
        open_park(server.address, INTAKE_PARK)
        ours = _run(door, server.address, server.pid, seconds, bare=False)
    after = _floor(bench, door, "after", seconds / 2)
    floor = (before["rate"] + after["rate"]) / 2
    floor_us = (before["server_us_per_order"] + after["server_us_per_order"]) / 2
    name = {"unary": "SubmitOrder", "batch": "BatchSubmitOrders of 100", "stream": "IngestOrders of 100"}[
        door
    ]
    notes = f"{ours['orders']:,} orders; server {ours['server_us_per_order']:.0f} us of processor an order"
    if "ms" in ours:
        notes += f"; answered p50 {ours['ms']['p50']:.0f}, p99 {ours['ms']['p99']:.0f} ms, all calls at once"
    if ours["refused"]:
        notes += f"; REFUSED {ours['refused']}"
    beside = (
        f"bare pipe in this run: {before['rate']:,.0f}/s before, {after['rate']:,.0f}/s after; "
        f"server {floor_us:.0f} us of processor an order"
    )
    pipe = f"{anchor:,.0f}/s: {PIPE_ANCHOR}"
    return [
        Row(
            f"orders durable, {name}", ours["rate"], "/s", target, True, pipe, STACK, beside, notes,
            {"ours": ours, "bare_pipe": [before, after]},
        ),
        Row(
            "  that is, of the bare pipe", ours["rate"] / floor * 100, "%", target / anchor * 100, True, "", "",
            f"by processor time of the server: {floor_us / ours['server_us_per_order']:.0%}",
        ),
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
    """1,200 orders a second fill groups, through all three doors as in the morning; then all of them one by one, as
    fast as the bare pipe allows. Every decision is heard by a client of its own."""
    floor = _floor(bench, "unary", "decisions", bench.seconds(5, 2))
    alone = min(RATE, int(floor["rate"] * PIPE_SHARE_HELD / 100) * 100)
    told = f"bare pipe in this run, closed loop: {floor['rate']:,.0f}/s"
    return [
        *_decisions(bench, f"decision at {RATE:,} orders/s", RATE, mix=True),
        *_decisions(bench, f"decision at {alone:,} SubmitOrder/s", alone, mix=False, beside=told),
    ]


def _decisions(bench: Bench, name: str, rate: int, *, mix: bool, beside: str = "") -> list[Row]:
    seconds = bench.seconds(60, 5)
    orders = int(seconds * rate)
    with served(bench, "decisions-mix" if mix else "decisions-unary") as server:
        open_park(server.address, orders)
        with (
            load("filling", server.address, seconds=seconds, rate=rate, mix=mix) as clients,
            load("decisions", server.address, seconds=seconds + 30, count=orders) as listener,
        ):
            listener.go()
            before_s = cpu_s(server.pid)
            clients.go()
            sent = clients.figures(seconds + 90)
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
    if heard["decided"] < orders:
        notes += f"; NOT ALL DECIDED, heard {heard['refused']}"
    details = {"orders": sent, "decisions": heard, "server_cpu_s": server_s}
    return [
        Row(
            f"{name}, p99", ms["p99"], "ms", 25, False,
            "300 ms: the design note's promise; 4,200 ms mean: the PHP module it replaces",
            "shared/spec.md, shared/seed/design-note.md", beside, notes, details,
        ),
        Row(
            f"{name}, max", ms["max"], "ms", 300, False,
            "300 ms: the design note's promise", "shared/spec.md", "", "", {},
        ),
    ]  # fmt: skip
