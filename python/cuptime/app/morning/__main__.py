"""Runs the campus morning: the server on loopback with SQLite in a fresh folder, load and worker processes with plain
gRPC clients, then an audit and a report. The exit code is 0 only when nothing was violated.

    make run                                   one minute at 1,250 orders a second
    make run ARGS="--seconds 10 --rate 400"    a short one
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import grpc
from rich.console import Console
from rich.live import Live
from rich.table import Table

from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import rule_service_pb2 as rules_pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as schedules_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.app.morning import audit, left, plan, report
from cuptime.app.morning.client import Message, channel
from cuptime.app.morning.records import Records
from cuptime.app.morning.worker import SHEETS_QUEUE
from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock

SETTLE_TIMEOUT_S: Final = 60.0
LOAD_PROCESSES: Final = 2
LEAD_IN_S: Final = 3.0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same morning (default 1)")
    parser.add_argument("--rate", type=float, default=1_250, help="orders a second (default 1250)")
    parser.add_argument("--seconds", type=float, default=60, help="length of the burst (default 60)")
    parser.add_argument("--shops", type=int, default=30)
    parser.add_argument("--riders", type=int, default=300)
    parser.add_argument(
        "--keep", metavar="DIR", help="keep the database, records and report in DIR (must be empty)"
    )
    parser.add_argument(
        "--redis", metavar="URL", help="live counters in this Redis (redis://…) instead of in process"
    )
    parser.add_argument("--json", metavar="FILE", help="write the report as JSON too")
    return parser.parse_args()


class Run:
    """One morning."""

    def __init__(self, parsed: argparse.Namespace, folder: Path, console: Console) -> None:
        self.parsed = parsed
        self.folder = folder
        self.console = console
        self.records = folder / "records"
        self.records.mkdir(parents=True)
        self.processes: list[subprocess.Popen[str]] = []
        self.progress: dict[str, dict[str, Any]] = {}
        self.server = ServedProcess(folder, *(("--redis", parsed.redis) if parsed.redis else ()))

    async def run(self) -> report.Morning:
        self.server.start()
        try:
            await self._seed()
            worker = self._spawn(
                "worker", "cuptime.app.morning.worker", "--name", "worker-0", stdin=subprocess.PIPE
            )
            loads = self._start_loads()
            readers = [
                asyncio.to_thread(self._read, name, process) for name, process in [*loads, ("worker", worker)]
            ]
            reading = asyncio.gather(*readers)
            await self._show_until(loads)
            await self._settle()
            assert worker.stdin is not None
            worker.stdin.close()
            await reading
            left_records = Records(self.records / "left.jsonl")
            async with channel(self.server.address) as connection:
                await left.write_down(connection, left_records)
            left_records.close()
            metrics = self.server.metrics()
            failed = [name for name, process in loads if process.wait(5) != 0]
        finally:
            code = self.server.stop()
            for process in self.processes:
                self._stop(process)
        return self._report(metrics, failed, code)

    # --- processes -------------------------------------------------------------------------------------------
    def _spawn(self, name: str, module: str, *extra: str, stdin: int | None = None) -> subprocess.Popen[str]:
        log = (self.folder / f"{name}.log").open("w")
        process = subprocess.Popen(
            [sys.executable, "-m", module, "--address", self.server.address, "--records", str(self.records), *extra],
            stdin=stdin, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def _start_loads(self) -> list[tuple[str, subprocess.Popen[str]]]:
        start_at = time.time() + LEAD_IN_S
        loads = []
        for index in range(LOAD_PROCESSES):
            name = f"load-{index}"
            extra = (
                "--process", str(index), "--seed", str(self.parsed.seed),
                "--rate", str(self.parsed.rate / LOAD_PROCESSES), "--seconds", str(self.parsed.seconds),
                "--start-at", str(start_at),
            )  # fmt: skip
            loads.append((name, self._spawn(name, "cuptime.app.morning.load", *extra)))
        return loads

    def _read(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("{"):
                self.progress[name] = json.loads(line)

    @staticmethod
    def _stop(process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # --- the park --------------------------------------------------------------------------------------------
    async def _seed(self) -> None:
        parsed = self.parsed
        orders = int(parsed.rate * parsed.seconds)
        async with channel(self.server.address) as connection:
            shops = plan.shops(parsed.seed, parsed.shops, orders)
            await _call(
                connection, "ShopService/BatchUpsertShops",
                shops_pb.BatchUpsertShopsRequest(shops=shops, request_id="seed-shops"),
                shops_pb.BatchUpsertShopsResponse,
            )  # fmt: skip
            riders = plan.riders(parsed.seed, parsed.riders, orders, SystemClock().now_ms())
            await _call(
                connection, "RiderService/BatchUpsertRiders",
                riders_pb.BatchUpsertRidersRequest(riders=riders, request_id="seed-riders"),
                riders_pb.BatchUpsertRidersResponse,
            )  # fmt: skip
            await _call(
                connection, "RuleService/PublishRules",
                rules_pb.PublishRulesRequest(source=plan.RULES, request_id="seed-rules"), rules_pb.PublishRulesResponse,
            )  # fmt: skip
            sheets = schedules_pb.Schedule(
                schedule_id="sheets",
                timing=schedules_pb.Timing(cron="* * * * * *", time_zone="Asia/Shanghai"),
                target=schedules_pb.Target(task=tasks_pb.Task(queue=SHEETS_QUEUE, payload=b"sheet")),
            )
            await _call(
                connection, "ScheduleService/RegisterSchedule",
                schedules_pb.RegisterScheduleRequest(schedule=sheets, request_id="seed-sheets"),
                schedules_pb.RegisterScheduleResponse,
            )  # fmt: skip

    async def _settle(self) -> None:
        """Waits until the worker has heard and executed all that the clients were told of, and no more comes."""
        async with channel(self.server.address) as connection:
            await _call(
                connection, "ScheduleService/UnregisterSchedule",
                schedules_pb.UnregisterScheduleRequest(name="schedules/sheets", request_id="end-sheets"),
                schedules_pb.UnregisterScheduleResponse,
            )  # fmt: skip
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        quiet_since, last = time.monotonic(), ""
        while time.monotonic() < deadline:
            state = {**self.progress.get("worker", {}), "recent_p99_ms": 0}
            seen = json.dumps([state, self._depths()], sort_keys=True)
            if seen != last:
                quiet_since, last = time.monotonic(), seen
            elif time.monotonic() - quiet_since > 3.0 and self._resting():
                return
            await asyncio.sleep(0.25)
        self.console.print("[red]the service did not come to rest in time[/]")

    def _resting(self) -> bool:
        state = self.progress.get("worker", {})
        return (
            state.get("executed", 0) == state.get("acknowledged", 0)
            and self._depths().get("groups_open", 0) == 0
        )

    def _depths(self) -> dict[str, float]:
        found = {}
        for line in self.server.metrics().splitlines():
            if line.startswith("cuptime_queue_depth{"):
                name = line.split('"')[1]
                found[name] = float(line.rsplit(" ", 1)[1])
        return found

    # --- progress and report ---------------------------------------------------------------------------------
    async def _show_until(self, loads: list[tuple[str, subprocess.Popen[str]]]) -> None:
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            began = time.monotonic()
            while any(process.poll() is None for _, process in loads):
                live.update(self._progress_table(time.monotonic() - began))
                await asyncio.sleep(0.25)

    def _progress_table(self, elapsed_s: float) -> Table:
        loads = [state for name, state in self.progress.items() if name.startswith("load")]
        worker = self.progress.get("worker", {})

        def total(key: str) -> int:
            return sum(state.get(key, 0) for state in loads)

        refused = sum(sum(state.get("refused", {}).values()) for state in loads)
        table = Table(title=f"09:00 + {max(0.0, elapsed_s - LEAD_IN_S):.0f} s", title_justify="left")
        for column in (
            "groups",
            "admitted",
            "refused",
            "wrong",
            "assigned",
            "unassigned",
            "recent p99",
            "tasks done",
        ):
            table.add_column(column, justify="right")
        table.add_row(
            f"{total('groups'):,}", f"{total('admitted'):,}", f"{refused:,}", f"{total('wrong'):,}",
            f"{worker.get('ASSIGNED', 0):,}", f"{worker.get('UNASSIGNED', 0):,}",
            f"{worker.get('recent_p99_ms', 0)} ms", f"{worker.get('acknowledged', 0):,}",
        )  # fmt: skip
        return table

    def _report(self, metrics: str, failed: list[str], server_code: int | None) -> report.Morning:
        clients = audit.told(self.records)
        findings = audit.Audit(self.folder / "data" / "cuptime.db", clients).run()
        loads = [state for name, state in self.progress.items() if name.startswith("load")]
        refused: dict[str, int] = {}
        for state in loads:
            for reason, count in state.get("refused", {}).items():
                refused[reason] = refused.get(reason, 0) + count
        burst_s = max((state.get("burst_ms", 0) for state in loads), default=0) / 1_000 or 1.0
        admitted = sum(state.get("admitted", 0) for state in loads)
        repeats = sum(state.get("repeats", 0) for state in loads)
        sent = admitted + repeats + sum(refused.values())
        violations = findings.violations + [f"{name} failed; see its log" for name in failed]
        if server_code != 0:
            violations.append(f"the server ended with code {server_code}")
        late = [value for value in clients.latency_ms if value > report.DECISION_LIMIT_MS]
        if late:
            violations.append(
                f"decisions later than {report.DECISION_LIMIT_MS} ms: {len(late)}, worst {max(late)} ms"
            )
        if sent / burst_s < self.parsed.rate * 0.95:
            violations.append(
                f"the load was too small: {sent / burst_s:.0f} of {self.parsed.rate:.0f} orders a second"
            )
        counts = findings.counts
        commits, rows = (
            _sample(metrics, "cuptime_commit_rows_count"),
            _sample(metrics, "cuptime_commit_rows_sum"),
        )
        return report.Morning(
            seed=self.parsed.seed,
            rate=self.parsed.rate,
            seconds=burst_s,
            orders_sent_per_s=sent / burst_s,
            admitted=admitted,
            refused=dict(sorted(refused.items())),
            repeats=repeats,
            decided={name: counts[f"decisions {name}"] for name in ("assigned", "unassigned", "released")}
            | {"waiting for a person": counts["interventions open"]},
            decision_ms=report.Spread.of(clients.latency_ms),
            task_lateness_ms=report.Spread.of(clients.lateness_ms),
            trigger_lateness=_histogram(metrics, "cuptime_trigger_lateness_ms"),
            commits=int(commits),
            rows_per_commit=rows / max(1.0, commits),
            counts=counts,
            violations=violations,
        )


async def _call(connection: grpc.aio.Channel, method: str, request: Message, response: Message) -> Message:
    call = connection.unary_unary(
        f"/cuptime.v1.{method}",
        request_serializer=type(request).SerializeToString,
        response_deserializer=response.FromString,
    )
    return await call(request, timeout=30, wait_for_ready=True)


def _sample(metrics: str, name: str) -> float:
    for line in metrics.splitlines():
        if line.startswith(name + " "):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def _histogram(metrics: str, name: str) -> str:
    """p50, p99 and maximum of a Prometheus histogram, as upper bounds of its buckets."""
    buckets: list[tuple[str, float]] = []
    for line in metrics.splitlines():
        if line.startswith(f"{name}_bucket{{"):
            buckets.append((line.split('le="')[1].split('"')[0], float(line.rsplit(" ", 1)[1])))
    total = buckets[-1][1] if buckets else 0
    if not total:
        return "nothing was triggered"

    def bound(share: float) -> str:
        return next(upper for upper, count in buckets if count >= total * share)

    return f"p50 <= {bound(0.5)}  p99 <= {bound(0.99)}  max <= {bound(1.0)} ms  (of {int(total):,}, in the server)"


def main() -> int:
    parsed = arguments()
    console = Console()
    folder = Path(parsed.keep) if parsed.keep else Path(tempfile.mkdtemp(prefix="cuptime-morning-"))
    if parsed.keep and folder.exists() and any(folder.iterdir()):
        console.print(f"[red]{folder} is not empty; name a fresh folder[/]")
        return 2
    console.print(
        f"A campus morning: {parsed.shops} shops, {parsed.riders} riders, {parsed.rate:.0f} orders a second."
    )
    run = Run(parsed, folder, console)
    try:
        morning = asyncio.run(run.run())
    finally:
        for process in run.processes:
            run._stop(process)
    report.show(morning, console)
    if parsed.json:
        Path(parsed.json).write_text(json.dumps(morning.as_json(), indent=2, ensure_ascii=False) + "\n")
    if not parsed.keep:
        if morning.violations:
            console.print(f"database, records and logs are kept in {folder}")
        else:
            shutil.rmtree(folder)
    return 1 if morning.violations else 0


if __name__ == "__main__":
    sys.exit(main())
