"""What the parts of the decision line share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Final

from msgspec import Struct, field

from cuptime.dispatch.counters import Counters
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.person import PersonQueue
from cuptime.dispatch.ports import Core, DecisionColumns, Rules, SkuCodes, Timers
from cuptime.dispatch.provisional import ProvisionalBook
from cuptime.dispatch.queue import DecisionQueue
from cuptime.dispatch.resources import Resources
from cuptime.domain.clock import Clock
from cuptime.domain.ports import Metrics, Reservation, Storage, TaskQueue
from cuptime.domain.values import Fence

PAUSE_FIRST_MS: Final = 20
PAUSE_MAX_MS: Final = 5_000


class Stats(Struct):
    """What the line did since its start."""

    batches: int = 0
    decided: int = 0
    unassigned: int = 0
    late: int = 0
    refused_reservations: int = 0
    failed_batches: int = 0
    lost_holds: int = 0


class Answer(Struct):
    """A batch as decided and reserved: what the commit writes."""

    rows: list[DecisionColumns] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    unassigned: list[int] = field(default_factory=list)
    delayed: dict[int, int] = field(default_factory=dict)
    """Of these, the ones that a rule puts off, and until when."""
    asked: list[int] = field(default_factory=list)
    """Orders for which the gate was asked and has not answered: it may have reserved."""


class Means(Struct, frozen=True):
    """What the line works with."""

    storage: Storage
    fence: Fence
    clock: Clock
    core: Core
    skus: SkuCodes
    rules: Rules
    tasks: TaskQueue
    timers: Timers
    metrics: Metrics
    policy: dict[str, float] | None = None


class Desk(Struct):
    """The means, the shops and riders, what waits, and what was done."""

    means: Means
    resources: Resources
    feed: DecisionFeed
    queue: DecisionQueue
    provisional: ProvisionalBook | None = None
    """What may still be improved; None: nothing is."""
    doubt: Callable[[], None] = lambda: None
    """Has gate and dispatcher rebuilt from storage, soon."""
    stats: Stats = field(default_factory=Stats)
    person: PersonQueue = field(default_factory=PersonQueue)
    begun: set[asyncio.Task[None]] = field(default_factory=set)
    """What runs by itself."""

    @property
    def counters(self) -> Counters:
        return self.resources.counters

    def begin(self, work: Coroutine[object, object, None]) -> None:
        """Runs by itself; nobody awaits it."""
        running = asyncio.get_running_loop().create_task(work)
        self.begun.add(running)
        running.add_done_callback(self.begun.discard)

    def after_pause(self, pause_ms: int, call: Callable[[], None]) -> None:
        """Calls once, in a while."""
        self.means.timers.at(self.means.clock.now_ms() + pause_ms, call)


def pause_ms(tries: int) -> int:
    """Doubles with every try that failed, up to PAUSE_MAX_MS."""
    return min(PAUSE_FIRST_MS << min(tries, 12), PAUSE_MAX_MS)
