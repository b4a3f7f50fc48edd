"""Scenarios: triggers at a steady rate, all at once, across a kill, and a million that wait."""

from __future__ import annotations

import time
from typing import Any, Final

import grpc

from benches.service import peers, process, requests
from benches.service.figures import Row, spread
from benches.service.process import Bench, cpu_s, load, served
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb

ENQUEUE: Final = "/cuptime.v1.TaskService/BatchEnqueueTasks"
SOURCE: Final = "shared/targets.md, shared/research/schedulers.md"
LEAD_MS: Final = 2_000
KILL_LEASE_MS: Final = 1_000


def enqueue(address: str, due_ms: list[int], queue: str = "bench", within_s: float = 300) -> list[str]:
    """Makes the tasks durable; the names of those that were, within the time."""
    until, kept = time.monotonic() + within_s, []
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary(
            ENQUEUE, response_deserializer=tasks_pb.BatchEnqueueTasksResponse.FromString
        )
        for start in range(0, len(due_ms), 1_000):
            part = due_ms[start : start + 1_000]
            for raw in requests.task_batches(part, queue):
                kept += [task.name for task in call(raw, timeout=30).tasks]
            if time.monotonic() > until:
                break
    return kept


def lateness(bench: Bench) -> list[Row]:
    """One task due in each millisecond, enqueued beforehand, heard and completed by one worker."""
    seconds = bench.seconds(30, 4)
    count = int(seconds * 1_000)
    with served(bench, "lateness") as server:
        first_ms = requests.now_ms() + LEAD_MS + count // 5
        with load("worker", server.address, count=count, seconds=seconds + 60) as worker:
            worker.go()
            enqueue(server.address, [first_ms + index for index in range(count)])
            spare_ms = first_ms - requests.now_ms()
            time.sleep(max(0, spare_ms) / 1_000)
            before_s = cpu_s(server.pid)
            heard = worker.figures(seconds + 60)
            server_us = (cpu_s(server.pid) - before_s) * 1e6 / count
    ms = heard["ms"]
    notes = (
        f"{heard['delivered']:,} heard, {heard['acknowledged']:,} completed, {heard['early']} early; "
        f"max {ms['max']:.1f}; server {server_us:.0f} us of processor a task (trigger, lease, complete)"
    )
    if spare_ms < 0:
        notes += "; the enqueuing ended late, so that the first were overdue"
    named = (("p50", 2), ("p99", 10), ("p999", 25))
    beside = peers.bullmq("steady", count)
    anchor = "BullMQ p99 99-130 ms; Restate 90-1,363; APScheduler + SQLite 647"
    rows = [
        Row(
            f"trigger lateness at 1,000/s, {name.replace('p999', 'p99.9')}", ms[name], "ms", target, False,
            anchor, SOURCE, beside if name == "p99" else "", notes if name == "p50" else "",
            {"heard": heard} if name == "p50" else {},
        )
        for name, target in named
    ]  # fmt: skip
    early = Row("triggered early", heard["early"], "", 0, False, "Netty wakes every tick", SOURCE)
    return [*rows, early]


def same_millisecond(bench: Bench) -> list[Row]:
    """5,000 tasks due in one millisecond: when has the worker all of them? The middle of several rounds."""
    rounds, count = int(bench.seconds(5, 2)), 5_000
    p99s: list[float] = []
    all_heard: list[dict[str, Any]] = []
    with served(bench, "burst") as server:
        for _ in range(rounds):
            with load("worker", server.address, count=count, seconds=60) as worker:
                worker.go()
                due_ms = requests.now_ms() + LEAD_MS + 1_500
                enqueue(server.address, [due_ms] * count)
                if requests.now_ms() > due_ms:
                    raise RuntimeError("the enqueuing ended after the tasks were due")
                heard = worker.figures(90)
            p99s.append(heard["ms"]["p99"])
            all_heard.append(heard)
    middle = sorted(p99s)[len(p99s) // 2]
    notes = f"rounds: {', '.join(f'{p99:.0f}' for p99 in p99s)} ms"
    anchor = "BullMQ 451-691 ms; Restate 1,031-2,352; Celery 1,664; pg-boss 12,099"
    return [
        Row(
            "5,000 due in one millisecond, leased, p99", middle, "ms", 250, False, anchor, SOURCE,
            peers.bullmq("burst", count), notes, {"rounds": all_heard},
        )
    ]  # fmt: skip


def killed(bench: Bench) -> list[Row]:
    """`kill -9` in the middle of triggers at 1,000/s; the same address again; when does the worker hear the first?

    Each round has a queue of its own. Lost is a task, by its name, whose enqueuing was acknowledged and that storage
    does not have as EXECUTED in the end. A task may be delivered twice (how often is told): its worker keeps the key
    beside the effect. One that was acknowledged as done and is delivered again would be a fault of ours.
    """
    rounds = int(bench.seconds(5, 1))
    first_ms: list[float] = []
    starts_ms: list[float] = []
    starts_cpu_ms: list[float] = []
    lost = repeated = again = 0
    with served(bench, "killed") as server:
        listen = server.address
        server.stop()
        server._listen = listen  # The second start must be where the worker looks for it.
        server.start()
        for number in range(rounds):
            count, queue = 4_000, f"killed-{number}"
            begin_ms = requests.now_ms() + LEAD_MS + 1_000
            options = {
                "count": count, "seconds": 60, "lease_ms": KILL_LEASE_MS, "keep": True, "queue": queue,
            }  # fmt: skip
            with load("worker", listen, **options) as worker:
                worker.go()
                names = enqueue(listen, [begin_ms + index for index in range(count)], queue)
                time.sleep(max(0, begin_ms + 1_500 - requests.now_ms()) / 1_000)
                server.kill()
                killed_ms = time.time_ns() / 1e6
                server.start()
                starts_ms.append(time.time_ns() / 1e6 - killed_ms)
                starts_cpu_ms.append(cpu_s(server.pid) * 1e3)
                heard = worker.figures(90)
            first_ms.append(min(at for at in heard["heard_ms"] if at > killed_ms) - killed_ms)
            lost += len(set(names) - executed(listen, queue))
            repeated += heard["repeated_after_acknowledgement"]
            again += heard["delivered_again"]
    ms = spread(first_ms)
    notes = (
        f"rounds: {', '.join(f'{one:.0f}' for one in first_ms)} ms, of which start-up "
        f"{', '.join(f'{one:.0f}' for one in starts_ms)} (processor time "
        f"{', '.join(f'{one:.0f}' for one in starts_cpu_ms)}); {again} delivered a second time"
    )
    anchor = "Restate 1.69 s, 0 lost"
    details = {
        "first_ms": first_ms, "start_ms": starts_ms, "start_cpu_ms": starts_cpu_ms, "lost": lost, "repeated": repeated,
        "delivered_again": again,
    }  # fmt: skip
    return [
        Row(
            "kill -9, restart, first trigger", ms["p50"], "ms", 500, False, anchor, SOURCE, "", notes, details
        ),
        Row(
            f"of {rounds * 4_000:,} acknowledged tasks not executed in the end",
            lost,
            "",
            0,
            False,
            anchor,
            SOURCE,
        ),
        Row("acknowledged as done and delivered again", repeated, "", 0, False, anchor, SOURCE),
    ]


def executed(address: str, queue: str) -> set[str]:
    """Names of the queue's tasks that storage has as EXECUTED."""
    names: set[str] = set()
    token = ""
    while True:
        wanted = tasks_pb.ListTasksRequest(
            page_size=1_000, page_token=token, filter=f'queue="{queue}" AND state=EXECUTED'
        )
        page = tasks_pb.ListTasksResponse.FromString(
            process.call(address, "TaskService/ListTasks", wanted.SerializeToString())
        )
        names.update(task.name for task in page.tasks)
        token = page.next_page_token
        if not token:
            return names


def memory(bench: Bench) -> list[Row]:
    """Tasks due between one hour and a day from now; resident memory of the server, and again after a restart."""
    wanted = int(bench.seconds(1_000_000, 20_000))
    with served(bench, "memory") as server:
        empty_mb = server.resident_bytes() / 1e6
        began_ms, began = requests.now_ms() + 3_600_000, time.monotonic()
        before_s = cpu_s(server.pid)
        due_ms = [began_ms + index * 82_800_000 // wanted for index in range(wanted)]
        kept = len(enqueue(server.address, due_ms, "later", within_s=240))
        rate = kept / (time.monotonic() - began)
        server_us = (cpu_s(server.pid) - before_s) * 1e6 / kept
        full_mb = server.resident_bytes() / 1e6
        server.stop()
        began = time.monotonic()
        server.start()
        started_s = time.monotonic() - began
        again_mb = server.resident_bytes() / 1e6
    notes = (
        f"{kept:,} pending; empty {empty_mb:.0f} MB; after a restart {again_mb:.0f} MB, which took {started_s:.1f} s; "
        f"enqueued in batches at {rate:,.0f}/s, server {server_us:.0f} us of processor a task"
    )
    if kept < wanted:
        notes += f"; NOT ALL {wanted:,}: the time was up"
    details = {
        "empty_mb": empty_mb,
        "restarted_mb": again_mb,
        "restart_s": started_s,
        "pending": kept,
        "enqueue_rate": rate,
    }
    return [
        Row(
            f"resident with {kept:,} pending", full_mb, "MB", 350, False,
            "none named; a service of ours without tasks is the floor", "shared/targets.md",
            f"empty in this run: {empty_mb:.0f} MB", notes, details,
        )
    ]  # fmt: skip
