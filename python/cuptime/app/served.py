"""A server in a process of its own, for the campus morning, the benches and the kill tests: real start, real stop, real
kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Final

from cuptime.domain.clock import SystemClock

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
_LOOK_AGAIN_S: Final = 0.01


def _as_installed() -> dict[str, str]:
    """Our environment, in which Python keeps what it compiled, as it does for an installed program: else each start
    would compile every module anew."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


class ServedProcess:
    """`cuptime serve` on `folder`; loopback, ports free unless given. Not started until `start`."""

    def __init__(self, folder: Path, *options: str, listen: str = "127.0.0.1:0") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "server.log"
        self.address = ""
        self.metrics_address = ""
        self._options = options
        self._listen = listen
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Returns when it serves. Raises RuntimeError with the end of its log when it does not."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "cuptime.app.start", "serve", "--data", str(self.data),
                    "--listen", self._listen, "--metrics", "127.0.0.1:0", "--ready-file", str(ready), *self._options,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_as_installed(),
            )  # fmt: skip
        clock, wait = SystemClock(), threading.Event()
        deadline_ms = clock.monotonic_ms() + START_TIMEOUT_S * 1_000
        while not ready.exists():
            if self._process.poll() is not None or clock.monotonic_ms() > deadline_ms:
                raise RuntimeError(f"the server did not start; its log ends:\n{self.log_tail()}")
            wait.wait(_LOOK_AGAIN_S)
        found = json.loads(ready.read_text())
        self.address, self.metrics_address = found["grpc"], found["metrics"]

    def log_tail(self, characters: int = 3_000) -> str:
        return self.log.read_text(errors="replace")[-characters:] if self.log.exists() else ""

    def kill(self) -> None:
        """SIGKILL: what a power cut is to a process."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when that does not help in time; the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        return self._process.wait()

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def resident_bytes(self) -> int:
        """Resident memory of the process, as Linux tells it."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS in /proc")
