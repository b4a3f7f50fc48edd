"""The decision line: completed groups in, durable decisions out.

    take -> decide (core) -> reserve (gate) -> persist -> commit (gate) -> publish
             ^                  | refused: learn what the gate has, decide again, at most RESERVE_TRIES_MAX times
             '------------------'

One batch is decided at a time, because each must see what the one before took; commits overlap, because storage puts
them into one transaction. What fails gives back what it reserved and goes to the front of the queue again: storage
still says COMPLETED, so even a crash loses nothing. A decision after its budget of 300 ms is made all the same, and
counted as late.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from cuptime.dispatch.counters import Counters
from cuptime.dispatch.desk import Answer, Desk, Means, Stats
from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.ledger import Ledger
from cuptime.dispatch.ports import OrderBody
from cuptime.dispatch.provisional import ProvisionalBook
from cuptime.dispatch.queue import Batch, DecisionQueue, Part, Waiting
from cuptime.dispatch.rebuild import Rebuild
from cuptime.dispatch.resources import Resources
from cuptime.dispatch.retire import Retirement
from cuptime.dispatch.setbacks import Setbacks
from cuptime.dispatch.solving import Solving
from cuptime.dispatch.unresolved import Unresolved
from cuptime.domain.errors import is_gate_away
from cuptime.domain.values import Group

COMMITS_IN_FLIGHT_MAX: Final = 4
TAKEN_WITHIN_S: Final = 0.005
"""The longest that admission lets decisions go first."""

_log = logging.getLogger(__name__)


class DecisionLine:
    """Decides what completes. `submit` is called after the commit that completed the groups."""

    def __init__(
        self,
        means: Means,
        resources: Resources,
        feed: DecisionFeed,
        provisional: ProvisionalBook | None = None,
    ) -> None:
        """`provisional` hears of every assignment that may still be improved."""
        self.means = means
        self.resources = resources
        self.counters: Counters = resources.counters
        self.feed = feed
        self._wake = asyncio.Event()
        self._taken = asyncio.Event()
        self.queue = DecisionQueue(self._wake.set)
        self._slots = asyncio.Semaphore(COMMITS_IN_FLIGHT_MAX)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Lock()
        self._runner: asyncio.Task[None] | None = None
        desk = self._desk = Desk(means, resources, feed, self.queue, provisional, self.doubt)
        self.provisional = provisional
        self.stats: Stats = desk.stats
        self.person = desk.person
        self._solving = Solving(desk)
        self._ledger = Ledger(desk)
        self._setbacks = Setbacks(desk)
        self._unresolved = Unresolved(desk, self._solving, self._ledger, self._setbacks)
        self._rebuild = Rebuild(desk, self.quiet)
        self._retirement = Retirement(resources, means.timers)
        resources.doubt = self.doubt
        if provisional is not None:
            resources.read_standing = provisional.read_back
        means.metrics.depth("decisions", lambda: len(self.queue))
        means.metrics.depth("interventions_open", lambda: self.person.count)
        means.metrics.depth("interventions_put_off", lambda: self.person.put_off)

    # --- life -----------------------------------------------------------------------------------------------------
    async def start(self) -> int:
        """Submits what storage says is completed and undecided, then begins. Returns how many groups that was. Call
        it after `Resources.recover`."""
        self.person.count = await self.means.storage.interventions_open()
        count = await self._rebuild.read_back()
        self._runner = asyncio.get_running_loop().create_task(self._run())
        self._retirement.start()
        return count

    async def close(self) -> None:
        """Lets the commits in flight end; what still waits is in storage."""
        self._retirement.close()
        if self._runner is not None:
            async with self._quiet:
                self._runner.cancel()
            await asyncio.wait([self._runner])
        if self._in_flight:
            await asyncio.wait(list(self._in_flight))
        self._solving.close()

    async def settle(self) -> None:
        """Returns when nothing waits that could be decided without time passing."""
        while len(self.queue) > 0 or self._in_flight or self._desk.begun or self._quiet.locked():
            if under_way := self._in_flight | self._desk.begun:
                await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            else:
                await asyncio.sleep(0)

    def submit(self, groups: Sequence[tuple[Group, list[OrderBody]]]) -> None:
        """Groups that are durably COMPLETED, each with its orders. Never waits."""
        for group, orders in groups:
            self.queue.put(Waiting(group, orders, len(orders)))

    async def taken(self) -> None:
        """Returns when every group that was submitted is on its way to its commit, and after TAKEN_WITHIN_S at most."""
        if self.queue.first:
            self._taken.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(TAKEN_WITHIN_S):
                    await self._taken.wait()

    async def retry(self, parts: list[Part], attempt: int) -> None:
        """Decides orders again; returns when the outcome is durable. Raises what the commit raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.queue.retry(Batch(parts, attempt, done))
        await done

    @asynccontextmanager
    async def turn(self, group_seq: int) -> AsyncIterator[None]:
        """Takes a group in hand: no batch decides or commits orders of it meanwhile."""
        async with self.queue.turn(group_seq):
            yield

    @asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Between two batches: nothing is being decided, and every commit has ended."""
        async with self._quiet:
            while self._in_flight:
                await asyncio.wait(list(self._in_flight))
            yield

    def doubt(self, group_seq: int | None = None) -> None:
        """Gate, dispatcher and cups may differ from storage, and so may what waits of a group that the caller has in
        hand: all of it is rebuilt, between two batches."""
        if group_seq is not None:
            self.queue.doubt(group_seq)
        self._rebuild.doubt()

    async def read_back(self) -> int:
        """Submits every completed group that storage has and the queue has not; call it when `quiet`."""
        return await self._rebuild.read_back()

    # --- the loop -------------------------------------------------------------------------------------------------
    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while True:
                await self._slots.acquire()
                async with self._quiet:
                    batch = self.queue.take()
                    if batch is None:
                        self._slots.release()
                        self._taken.set()
                        break
                    await self._step(batch)
            if self.queue.overflowed and not self.queue.first:
                self.queue.overflowed = False
                await self._rebuild.read_back()

    async def _step(self, batch: Batch) -> None:
        """Decides and reserves; the commit goes on by itself and gives the slot back."""
        answer = Answer()
        try:
            await self._solving.answer(batch, answer)
        except Exception as fault:
            # A gate that does not answer is no fault of these groups: they wait for it, however long.
            gate_away = is_gate_away(fault)
            _log.warning(
                "a batch of %d groups could not be decided: %s",
                len(batch.parts),
                fault,
                exc_info=not gate_away,
            )
            await self._solving.give_back(answer)
            self._setbacks.failed(batch, fault, counted=not gate_away)
            self._slots.release()
            return
        commit = asyncio.get_running_loop().create_task(self._commit(batch, answer))
        self._in_flight.add(commit)
        commit.add_done_callback(self._landed)

    async def _commit(self, batch: Batch, answer: Answer) -> None:
        entry = self._ledger.entry(batch, answer)
        try:
            committed = await self._ledger.commit(entry)
        except Exception as fault:
            # Shown as a fault of ours only when it is one: a refusal of storage has its reason.
            _log.warning("decisions of %d groups were not committed: %s", len(batch.parts), fault)
            if outcome_unknown(fault):
                await self._unresolved.keep(entry, fault)
            else:
                self._ledger.forget(entry)
                await self._solving.give_back(answer)
                await self._setbacks.not_committed(batch, fault)
            return
        await self._ledger.durable(entry, committed)

    def _landed(self, commit: asyncio.Task[None]) -> None:
        self._in_flight.discard(commit)
        self._slots.release()
        if not commit.cancelled() and commit.exception() is not None:
            _log.error("publishing decisions failed", exc_info=commit.exception())
