"""Reads: a few threads, each with a connection of its own, so that no read waits for a commit.

A read is one statement, fetched whole, so its snapshot is gone when it returns and never holds up a checkpoint.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import apsw

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import READERS, READS_PENDING_MAX
from cuptime.storage.sqlite.connection import is_engine_failure, open_reader, unavailable
from cuptime.storage.sqlite.rows import Row
from cuptime.storage.sqlite.statements import sql

_T = TypeVar("_T")


class Readers:
    """The reading side of the file between `open` and `close`."""

    def __init__(self, path: Path, vfs: str) -> None:
        self._path = path
        self._vfs = vfs
        self._free: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        self._connections: list[apsw.Connection] = []
        self._pool: ThreadPoolExecutor | None = None
        self._pending = 0

    def open(self) -> None:
        """Opens the connections. Blocks."""
        for _ in range(READERS):
            connection = open_reader(self._path, self._vfs)
            self._connections.append(connection)
            self._free.put(connection)
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="cuptime-reader")

    def close(self) -> None:
        """Ends the threads after the reads under way. Blocks."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None
        for connection in self._connections:
            connection.close()
        self._connections.clear()
        self._free = queue.SimpleQueue()

    async def rows(
        self, name: LiteralString, bindings: tuple[Any, ...], make: Callable[[Row], _T]
    ) -> list[_T]:
        """Every row of a statement, each made into a value (in the reader's thread, not in the loop's)."""

        def read(connection: apsw.Connection) -> list[_T]:
            return [make(row) for row in connection.execute(sql(name), bindings).fetchall()]

        return await self.run(read)

    async def row(
        self, name: LiteralString, bindings: tuple[Any, ...], make: Callable[[Row], _T]
    ) -> _T | None:
        """The first row of a statement, or None."""
        found = await self.rows(name, bindings, make)
        return found[0] if found else None

    async def run(self, read: Callable[[apsw.Connection], _T]) -> _T:
        """Runs `read` with a connection in a reader's thread. Raises OVERLOADED or STORAGE_UNAVAILABLE."""
        if self._pool is None:
            raise CuptimeError(Reason.STORAGE_UNAVAILABLE, "storage is closed")
        if self._pending >= READS_PENDING_MAX:
            raise CuptimeError(
                Reason.OVERLOADED, f"{self._pending} reads wait", metadata={"queue": "storage.readers"}
            )
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._run, read)
        finally:
            self._pending -= 1

    def _run(self, read: Callable[[apsw.Connection], _T]) -> _T:
        connection = self._free.get()  # There are as many connections as threads, so this never waits.
        try:
            return read(connection)
        except Exception as error:
            if is_engine_failure(error):
                raise unavailable(error, "read") from error
            raise
        finally:
            self._free.put(connection)
