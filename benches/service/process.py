"""Processes that a scenario starts, and that end with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from benches.service import requests
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import rule_service_pb2 as rules_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime.app.morning import plan
from cuptime.app.served import ServedProcess

PREPARE_S: Final = 120.0
SHOPS: Final = 30
RIDERS: Final = 300
TICKS_A_SECOND: Final = 100
"""USER_HZ, which is 100 on every Linux that Python runs on."""


class LoadProcess:
    """`benches.service.load` in a process of its own."""

    def __init__(self, mode: str, address: str, **options: object) -> None:
        arguments = [sys.executable, "-m", "benches.service.load", mode, "--address", address]
        for name, value in options.items():
            flag = "--" + name.replace("_", "-")
            if value is not False:
                arguments += [flag] if value is True else [flag, str(value)]
        self._mode = mode
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT
        )

    def ready(self) -> None:
        """Returns when its requests are made."""
        if first_line(self._process).strip() != "ready":
            raise RuntimeError(f"the load process «{self._mode}» did not get ready within {PREPARE_S:.0f} s")

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def figures(self, timeout_s: float) -> dict[str, Any]:
        """What it measured; kills it when it does not end in time."""
        try:
            out, _ = self._process.communicate(timeout=timeout_s)
        finally:
            self.end()
        if self._process.returncode:
            raise RuntimeError(f"the load process «{self._mode}» failed")
        answer: dict[str, Any] = json.loads(out)
        return answer

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    """What a process says first; one that says nothing within PREPARE_S is killed, and said nothing."""
    assert process.stdout is not None
    watchdog = threading.Timer(PREPARE_S, process.kill)
    watchdog.start()
    try:
        return process.stdout.readline()
    finally:
        watchdog.cancel()


_ROOT: Final = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Bench:
    """What the scenarios are given."""

    folder: Path
    quick: bool

    def seconds(self, whole: float, quick: float) -> float:
        return quick if self.quick else whole


@contextmanager
def served(bench: Bench, name: str) -> Iterator[ServedProcess]:
    """A service in a fresh folder, with the rules of the morning and nothing else."""
    folder = bench.folder / name
    folder.mkdir(parents=True)
    server = ServedProcess(folder, "--log-level", "warning")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def load(mode: str, address: str, **options: object) -> Iterator[LoadProcess]:
    process = LoadProcess(mode, address, **options)
    try:
        process.ready()
        yield process
    finally:
        process.end()


def call(address: str, method: str, raw: bytes) -> bytes:
    """One plain call."""
    with grpc.insecure_channel(address) as channel:
        caller: Any = channel.unary_unary(f"/cuptime.v1.{method}")
        answer: bytes = caller(raw, timeout=30)
    return answer


def open_park(address: str, orders: int) -> None:
    """Shops and riders for `orders` orders, and the rules of the morning."""
    shops = shops_pb.BatchUpsertShopsRequest(
        shops=plan.shops(requests.SEED, SHOPS, orders), request_id="bench-shops"
    )
    call(address, "ShopService/BatchUpsertShops", shops.SerializeToString())
    riders = riders_pb.BatchUpsertRidersRequest(
        riders=plan.riders(requests.SEED, RIDERS, orders, requests.now_ms()), request_id="bench-riders"
    )
    call(address, "RiderService/BatchUpsertRiders", riders.SerializeToString())
    rules = rules_pb.PublishRulesRequest(source=plan.RULES, request_id="bench-rules")
    call(address, "RuleService/PublishRules", rules.SerializeToString())


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def machine_s() -> tuple[float, float]:
    """Processor time so far: of the whole machine, all cores; and of this program with the children that ended."""
    user, nice, system, _, _, interrupt, soft = (int(part) for part in _first_line("/proc/stat")[1:8])
    ours = os.times()
    busy_s = (user + nice + system + interrupt + soft) / TICKS_A_SECOND
    return busy_s, ours.user + ours.system + ours.children_user + ours.children_system


def _first_line(path: str) -> list[str]:
    with open(path) as file:
        return file.readline().split()
