"""One at a time by key, and work that must end once it began. Both are in-process: storage is what keeps the truth."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")
_Waiting = deque["asyncio.Future[None]"]


class Turns:
    """Locks by key that exist only while somebody holds or wants them."""

    def __init__(self) -> None:
        self._held: dict[str, _Waiting] = {}

    def turn(self, key: str) -> Turn:
        """`async with turns.turn(key)`: waits for the key's turn, first come first served. Not re-entrant."""
        return Turn(self._held, key)

    def __len__(self) -> int:
        return len(self._held)


class Turn:
    """One turn of one key. Taking one that nobody holds neither waits nor makes a future: nearly all are such."""

    __slots__ = ("_held", "_key")

    def __init__(self, held: dict[str, _Waiting], key: str) -> None:
        self._held = held
        self._key = key

    async def __aenter__(self) -> None:
        waiting = self._held.get(self._key)
        if waiting is None:
            self._held[self._key] = deque()
            return
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(mine)
        try:
            await mine
        except BaseException:
            if mine.done() and not mine.cancelled():
                # The turn came in the very moment in which we were cancelled.
                self._pass_on()
            elif mine in waiting:
                waiting.remove(mine)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        waiting = self._held[self._key]
        while waiting:
            following = waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        del self._held[self._key]


_begun: set[asyncio.Task[Any]] = set()


async def to_the_end(work: Coroutine[Any, Any, _T]) -> _T:
    """Awaits `work`, which goes on to its end even when the caller is cancelled: a commit is followed by its arming
    although the client that asked has hung up."""
    if asyncio.current_task() in _begun:
        # Part of work that nobody cancels already.
        return await work
    running = asyncio.ensure_future(work)
    _begun.add(running)
    running.add_done_callback(_begun.discard)
    return await asyncio.shield(running)
