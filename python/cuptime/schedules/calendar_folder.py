"""A folder of calendars, watched: a file that changes is read at once, without a restart.

What is planned already (the next five minutes) stays; everything later follows the new calendar.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from watchfiles import awatch

from cuptime.schedules.engine import CoreCronEngine

DEBOUNCE_MS: Final = 50
_log = logging.getLogger(__name__)


class CalendarFolder:
    """Watches from `start` to `close`."""

    def __init__(self, engine: CoreCronEngine, folder: Path, changed: Callable[[], None]) -> None:
        """`changed` is called after calendars were taken: what fires next is to be asked again."""
        self._engine = engine
        self._changed = changed
        self._folder = folder
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None

    def start(self) -> None:
        """What is there now was read when the engine was made."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stops watching."""
        self._stop.set()
        if self._watching is not None:
            with suppress(asyncio.CancelledError):
                await self._watching

    async def _watch(self) -> None:
        changes = awatch(
            self._folder,
            watch_filter=None,
            debounce=DEBOUNCE_MS,
            step=20,
            stop_event=self._stop,
            recursive=False,
        )
        try:
            async for _ in changes:
                names = self._engine.reload_calendars()
                for name in names:
                    _log.info("calendar %s was read again", name)
                if names:
                    self._changed()
                for file, fault in self._engine.calendar_faults().items():
                    _log.error("calendar file %s is not taken: %s", file, fault)
        except FileNotFoundError:
            _log.error("the calendars folder %s is not there and not watched", self._folder)
