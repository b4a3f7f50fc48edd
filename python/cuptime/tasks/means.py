"""What every part of the line works with."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, ParamSpec, TypeVar

from msgspec import Struct, field

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, Metrics, Storage
from cuptime.domain.values import Fence, Task
from cuptime.domain.writes import Write
from cuptime.tasks.buckets import Buckets
from cuptime.tasks.near import Near
from cuptime.tasks.watch import Watchers
from cuptime.tasks.wheel import Wheel

STORAGE_PAUSE_MS: Final = 100
"""How long to leave storage alone after it could not serve what must be done."""

_T = TypeVar("_T")
_P = ParamSpec("_P")
_log = logging.getLogger(__name__)


class Means(Struct):
    """Storage under this shard's fence, time, the wheel, and those who want to know."""

    storage: Storage
    fence: Fence
    clock: Clock
    wheel: Wheel
    metrics: Metrics
    watchers: Watchers
    buckets: Buckets
    near: Near = field(default_factory=Near)
    paused: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while something waits for storage to recover, which under a manual clock takes time to be passed."""
    _pauses: int = 0

    def arm(self, tasks: Sequence[Task]) -> None:
        """Their waits begin; one that waits already is moved. Raises LIMIT_REACHED when the wheel is full."""
        bucketed = [task for task in tasks if task.bucket_ms]
        if bucketed:
            self.buckets.arm([(task.task_id, task.queue, task.due_ms, task.bucket_ms) for task in bucketed])
            tasks = [task for task in tasks if not task.bucket_ms]
        if len(tasks) == 1:
            self.wheel.arm_task(tasks[0].task_id, tasks[0].due_ms)
        else:
            self.wheel.arm([task.task_id for task in tasks], [task.due_ms for task in tasks])

    @property
    def waits(self) -> int:
        """All that waits: what the wheel has, and the members of buckets."""
        return len(self.wheel) + self.buckets.member_count

    async def commit(self, writes: Sequence[Write]) -> Committed:
        return await self.storage.commit(self.fence, writes)

    async def pause(self) -> None:
        """Waits before storage is asked again."""
        over = asyncio.Event()
        self._pauses += 1
        self.paused.set()
        forget = self.wheel.rest(STORAGE_PAUSE_MS, over.set)
        try:
            await over.wait()
        finally:
            forget()
            self._pauses -= 1
            if not self._pauses:
                self.paused.clear()

    async def persist(self, ask: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Asks until storage serves: for what must be done and has nobody to be refused to. Errors that asking again
        cannot mend are raised."""
        while True:
            try:
                return await ask(*args, **kwargs)
            except CuptimeError as refusal:
                if refusal.reason not in (Reason.OVERLOADED, Reason.STORAGE_UNAVAILABLE):
                    raise
                _log.warning("storage: %s; asking again in %d ms", refusal, STORAGE_PAUSE_MS)
            await self.pause()
