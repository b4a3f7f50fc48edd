"""One at a time by key, and work that must end once it began. Both are in-process: storage is what keeps the truth."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

_T = TypeVar("_T")


class Turns:
    """Locks by key that exist only while somebody holds or wants them."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        """Waits for the key's turn, first come first served. Not re-entrant."""
        lock, wanted = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = (lock, wanted + 1)
        try:
            async with lock:
                yield
        finally:
            lock, wanted = self._locks[key]
            if wanted == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, wanted - 1)

    def __len__(self) -> int:
        return len(self._locks)


_begun: set[asyncio.Task[Any]] = set()


async def to_the_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Awaits `work`, which goes on to its end even when the caller is cancelled: a commit is followed by its arming
    although the client that asked has hung up."""
    running = asyncio.ensure_future(work)
    _begun.add(running)
    running.add_done_callback(_begun.discard)
    return await asyncio.shield(running)
