"""Fixtures that every test may use: the outside folders, real servers, and the bounded wait."""

from __future__ import annotations

import asyncio
import faulthandler
import inspect
import os
from collections.abc import Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from tests.real_servers import RedisServer, ServerMissing

REPO = Path(__file__).resolve().parent.parent
_POLL_S = 0.002
_GRACE_S = 60.0
_T = TypeVar("_T")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Behind every test's timeout, which fails it: when not even that ends it (a teardown that hangs, a call that never
    comes back from C), all stacks are printed and the run ends, so that nobody waits for it and everybody sees why."""
    marker = item.get_closest_marker("timeout")
    limit_s = float(
        item.config.getoption("timeout")
        or (marker.args[0] if marker and marker.args else item.config.getini("timeout") or 120)
    )
    _end_the_run_after(limit_s + _GRACE_S, item.config)
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """pytest stops the clock for a test that failed, and its teardown is still to come."""
    if isinstance(node, pytest.Item):
        _end_the_run_after(_GRACE_S, node.config)


def _end_the_run_after(seconds: float, config: pytest.Config) -> None:
    faulthandler.dump_traceback_later(seconds, exit=True, file=config.stash[fault_handler_stderr_fd_key])


def _outside(variable: str, name: str) -> Path:
    """A folder that is not in the repository: from the environment, else `../shared/<name>` beside it."""
    folder = Path(os.environ.get(variable) or REPO.parent / "shared" / name)
    if not folder.is_dir():
        pytest.skip(f"no folder {name}: set {variable} (looked in the environment and beside the repository)")
    return folder


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the repository."""
    return REPO


@pytest.fixture(scope="session")
def shared_conformance() -> Path:
    """Outside suites (CUPTIME_CONFORMANCE); skips, saying so, where they are absent."""
    return _outside("CUPTIME_CONFORMANCE", "conformance")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data (CUPTIME_DATA); skips, saying so, where it is absent."""
    return _outside("CUPTIME_DATA", "data")


def _started_redis(folder: Path) -> Iterator[RedisServer]:
    try:
        server = RedisServer(folder)
    except ServerMissing as missing:
        if os.environ.get("CI"):
            pytest.fail(f"{missing}; CI runs every test")
        pytest.skip(f"{missing}; tests that need Redis are not run")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for the whole run. Share it: keep to a key prefix of your own, never FLUSHALL."""
    yield from _started_redis(tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared server."""
    return redis_server.url


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server of the test's own, to `kill()` and `start()` again on the same port and data."""
    folder = tmp_path / "redis"
    folder.mkdir()
    yield from _started_redis(folder)


class WaitUntil(Protocol):
    """The type of the `wait_until` fixture."""

    async def __call__(
        self, predicate: Callable[[], _T | Awaitable[_T]], timeout: float = 5.0, why: str = ""
    ) -> _T: ...


async def _wait_until(predicate: Callable[[], _T | Awaitable[_T]], timeout: float = 5.0, why: str = "") -> _T:
    """Returns the predicate's first true value; fails after `timeout` seconds, showing the last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        answer = predicate()
        value: _T = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]
        if value:
            return value
        if loop.time() >= deadline:
            raise AssertionError(
                f"not reached within {timeout} s: {why or predicate!r}; last value {value!r}"
            )
        await asyncio.sleep(_POLL_S)


@pytest.fixture(scope="session")
def wait_until() -> WaitUntil:
    """Waits for a state instead of sleeping: `await wait_until(lambda: server.port, timeout=5, why="bound")`."""
    return _wait_until
