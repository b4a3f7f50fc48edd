"""Persist and publish: an answer becomes durable, and whoever must know is told."""

from __future__ import annotations

import logging
from collections import Counter

from msgspec import Struct

from cuptime.dispatch.counters import HOLD_MS
from cuptime.dispatch.delays import NO_ROOM_BACKOFF_MS, backoff_ms, retried, retry_task
from cuptime.dispatch.desk import Answer, Desk
from cuptime.dispatch.ports import DecidedGroup
from cuptime.dispatch.queue import Batch
from cuptime.domain.limits import DECISION_BUDGET_MS
from cuptime.domain.ports import Committed
from cuptime.domain.values import GroupState, InterventionRow, Task, group_seq_of
from cuptime.domain.writes import InsertDecisions, InsertTasks, MoveGroups, OpenInterventions, Write

_log = logging.getLogger(__name__)


class Entry(Struct, frozen=True):
    """A decided batch on its way into storage."""

    batch: Batch
    answer: Answer
    writes: list[Write]
    tasks: list[Task]
    """The retries among the writes: armed when they are durable."""
    opened: int = 0
    """How many orders wait for a person from now on."""


class Ledger:
    """Makes entries durable, one commit for each batch."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def entry(self, batch: Batch, answer: Answer) -> Entry:
        """What the commit of a batch writes: decisions, its groups DECIDED, and where the unassigned orders wait."""
        now_ms = self._desk.means.clock.now_ms()
        tasks: list[Task] = []
        writes: list[Write] = [InsertDecisions(answer.rows)] if answer.rows else []
        finished = [part for part in batch.parts if part.last and batch.attempt == 1]
        if finished:
            rows = [(part.waiting.group_seq, 0, part.waiting.member_count) for part in finished]
            writes.append(MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), rows, now_ms))
        if answer.unassigned and retried(batch.attempt):
            waits: dict[int, list[int]] = {}
            for order_id in answer.unassigned:
                due_ms = answer.delayed.get(order_id, now_ms + backoff_ms(batch.attempt))
                waits.setdefault(due_ms, []).append(order_id)
            for due_ms, order_ids in waits.items():
                tasks.append(retry_task(self._desk.means.tasks, order_ids, batch.attempt + 1, due_ms))
            writes.append(InsertTasks(tasks))
            return Entry(batch, answer, writes, tasks)
        opened = self._desk.person.take(len(answer.unassigned))
        if opened:
            waiting = [
                InterventionRow(order_id, batch.attempt, now_ms) for order_id in answer.unassigned[:opened]
            ]
            writes.append(OpenInterventions(waiting))
        if left := answer.unassigned[opened:]:
            due_ms = now_ms + NO_ROOM_BACKOFF_MS
            tasks.append(retry_task(self._desk.means.tasks, left, batch.attempt + 1, due_ms))
            writes.append(InsertTasks(tasks))
        return Entry(batch, answer, writes, tasks, opened)

    def forget(self, entry: Entry) -> None:
        """It is certain that storage did not keep it."""
        self._desk.person.leave(entry.opened)

    async def commit(self, entry: Entry) -> Committed:
        """Raises what storage raises."""
        if not entry.writes:
            return Committed((), 0)
        desk, reservations = self._desk, entry.answer.reservations

        def slow() -> None:
            _log.warning("a commit of decisions takes long; what it reserved is held until it ends")
            desk.begin(desk.counters.hold_fast(reservations))

        # A hold runs out so that a caller who is gone leaves nothing behind. This one is here.
        name = desk.means.timers.at(desk.means.clock.now_ms() + HOLD_MS // 2, slow) if reservations else 0
        try:
            return await desk.means.storage.commit(desk.means.fence, entry.writes)
        finally:
            if name:
                desk.means.timers.forget(name)

    async def durable(self, entry: Entry, committed: Committed) -> None:
        """After the commit, also when it had been reported as failed."""
        batch = entry.batch
        try:
            await self._publish(entry, committed)
        except Exception:
            # Storage has it. What memory and gate make of it is built again.
            self._desk.doubt()
            raise
        finally:
            for part in batch.parts:
                if not part.last and batch.attempt == 1:
                    part.waiting.orders = part.waiting.orders[len(part.orders) :]
                    self._desk.queue.put_back(part.waiting)
                self._desk.queue.let_go(part.waiting.group_seq)
            if batch.done is not None and not batch.done.done():
                batch.done.set_result(None)

    async def _publish(self, entry: Entry, committed: Committed) -> None:
        """Everything right of persist: it can be rebuilt, and nobody waits for it."""
        batch, answer, resources = entry.batch, entry.answer, self._desk.resources
        durable_ms = self._desk.means.clock.now_ms()
        self._desk.feed.publish(committed.first_sequence, answer.rows)
        if self._desk.provisional is not None:
            self._desk.provisional.take(committed.first_sequence, answer.rows, batch)
        self._count(batch, answer, durable_ms)
        # Intake learns of the cups before it forgets the groups.
        settled = [(row[9], row[10]) for row in answer.rows] if batch.attempt == 1 else []
        changed = resources.stood(answer.reservations, settled)
        resources.admission.groups_decided(
            [
                DecidedGroup(part.waiting.group_seq, part.waiting.group.group_id, part.last, durable_ms)
                for part in batch.parts
                if batch.attempt == 1
            ]
        )
        if entry.tasks:
            self._desk.means.tasks.armed(entry.tasks)
        if answer.reservations:
            gone = await self._desk.counters.commit([held.order_id for held in answer.reservations])
            if gone:
                await self._hold_again(answer, set(gone))
        if changed:
            async with self._desk.counters.lock:
                await self._desk.counters.stand(changed)

    async def _hold_again(self, answer: Answer, gone: set[int]) -> None:
        """Holds that ran out before their commit. Storage has the assignments, so the gate must have them too."""
        self._desk.stats.lost_holds += len(gone)
        again = [held for held in answer.reservations if held.order_id in gone]
        refused = [key for key in await self._desk.counters.reserve(again) if key]
        if refused:
            _log.critical("holds ran out and were given to others: %s", ", ".join(refused))
        await self._desk.counters.hold_fast(again)

    def _count(self, batch: Batch, answer: Answer, durable_ms: int) -> None:
        self._desk.stats.batches += 1
        self._desk.stats.decided += len(answer.rows)
        self._desk.stats.unassigned += len(answer.unassigned)
        if batch.attempt > 1:
            return
        left: Counter[int] = Counter(group_seq_of(order_id) for order_id in answer.unassigned)
        for part in batch.parts:
            latency_ms = durable_ms - part.waiting.group.completed_ms
            late = "_late" if latency_ms > DECISION_BUDGET_MS else ""
            unassigned = left[part.waiting.group_seq]
            assigned = len(part.orders) - unassigned
            if late:
                self._desk.stats.late += len(part.orders)
            if assigned:
                self._desk.means.metrics.decision(f"assigned{late}", latency_ms, assigned)
            if unassigned:
                self._desk.means.metrics.decision(f"unassigned{late}", latency_ms, unassigned)
