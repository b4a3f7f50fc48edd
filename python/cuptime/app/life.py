"""Start and stop of one node."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from cuptime.app.assembly import Node
from cuptime.app.settings import Settings, SettingsError, read
from cuptime.domain.clock import SystemClock
from cuptime.domain.errors import CuptimeError
from cuptime.telemetry import log

_log = structlog.get_logger("cuptime")

SWITCH_INTERVAL_S: Final = 0.000_2
"""How long a thread that wants Python waits for the one that has it. The writer gives Python away around each call into
SQLite and wants it back ten times in a commit; with the 5 ms that are the default, each commit could wait so long, and
so often, behind a busy event loop."""

LATER: Final = (
    "cuptime.schedules.words.english",
    "cuptime.schedules.words.chinese",
    "cuptime.schedules.second_opinion",
)
"""Imported once the server serves: 1,100 million instructions (cachegrind), mostly regular expressions being compiled;
all that a trigger needs is not much more."""
LATER_S: Final = 2.0
"""What fell due while the server was away is delivered by then."""


def run(given: dict[str, Any], ready_file: Path | None) -> int:
    """Serves until SIGTERM or SIGINT; the exit code. `given` overrides the environment."""
    try:
        settings = read(given, os.environ)
    except SettingsError as error:
        print(*error.faults, sep="\n", file=sys.stderr)
        return 2
    log.configure(settings.log_level)
    try:
        uvloop.run(_serve(settings, ready_file))
    except CuptimeError as error:
        _log.error(
            "the server cannot start", reason=error.reason.name, message=error.message, **error.metadata
        )
        return 1
    except (OSError, RuntimeError) as error:  # gRPC says RuntimeError when its address is taken
        _log.error("the server cannot start", message=str(error))
        return 1
    return 0


async def _serve(settings: Settings, ready_file: Path | None) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    node = Node(settings, SystemClock())
    try:
        addresses = await node.start()
        # What lives as long as the server is looked at no more: a full collection would stop every call for its time.
        # One now would take 33 ms and find 670 objects of 88,000.
        gc.freeze()
        gc.enable()
        _log.info("serving", **addresses)
        if ready_file is not None:
            _write_whole(ready_file, addresses)
        loop.call_later(LATER_S, loop.run_in_executor, None, _import_the_rest)
        await stop.wait()
        _log.info("stopping")
    finally:
        await node.stop()
    _log.info("stopped")


def _import_the_rest() -> None:
    """What no trigger needs, in a thread of its own, so that its first caller need not wait."""
    for name in LATER:
        import_module(name)


def _write_whole(path: Path, addresses: dict[str, str]) -> None:
    """Whoever waits for the file sees all of it or nothing."""
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(addresses))
    os.replace(unfinished, path)
