"""Watchers of single groups: told that something changed, they read the group's row. What is not read yet coalesces,
so a slow watcher misses steps between but never the end, and costs no memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WATCHERS_MAX
from cuptime.domain.ports import Storage
from cuptime.domain.values import Group, GroupState

ENDED: Final = frozenset({GroupState.FAILED, GroupState.DECIDED})


class GroupWatchers:
    """All watchers by group_seq. Costs nothing where nobody watches."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._by_seq: dict[int, set[asyncio.Event]] = {}
        self._count = 0
        self._stopped = False

    def __len__(self) -> int:
        return self._count

    def changed(self, group_seqs: Iterable[int]) -> None:
        """After the commit."""
        if not self._by_seq:
            return
        for group_seq in group_seqs:
            for wake in self._by_seq.get(group_seq, ()):
                wake.set()

    def stop(self) -> None:
        """Ends every watch: the server stops."""
        self._stopped = True
        self.changed(list(self._by_seq))

    async def watch(self, group_id: int) -> AsyncIterator[Group]:
        """The group at once, then after each change, until it has failed or is decided. Close the iterator when the
        caller goes. Raises GROUP_NOT_FOUND, LIMIT_REACHED for one watcher too many, DRAINING when the server stops."""
        if self._count >= WATCHERS_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many watchers", metadata={"limit": str(WATCHERS_MAX)}
            )
        group = await self._storage.group(group_id)
        if group is None:
            metadata = {"group": f"groups/{group_id}"}
            raise CuptimeError(Reason.GROUP_NOT_FOUND, f"there is no groups/{group_id}", metadata=metadata)
        wake = asyncio.Event()
        watchers = self._by_seq.setdefault(group.group_seq, set())
        watchers.add(wake)
        self._count += 1
        try:
            last: Group | None = None
            while True:
                wake.clear()
                now = await self._storage.group_by_seq(group.group_seq)
                if now is not None and now != last:
                    yield now
                    last = now
                    if now.state in ENDED:
                        return
                    continue
                if self._stopped:
                    raise CuptimeError(Reason.DRAINING)
                await wake.wait()
        finally:
            watchers.discard(wake)
            self._count -= 1
            if not watchers:
                self._by_seq.pop(group.group_seq, None)
