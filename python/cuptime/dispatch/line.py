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
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from cuptime.dispatch.counters import Counters
from cuptime.dispatch.delays import backoff_ms, retried, retry_task
from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.ports import (
    Core,
    DecidedGroup,
    DecisionColumns,
    Lost,
    OrderBody,
    Rules,
    SkuCodes,
    Timers,
)
from cuptime.dispatch.queue import Batch, DecisionQueue, Part, Waiting
from cuptime.dispatch.resources import Resources
from cuptime.dispatch.values import DAY_MS
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import DECISION_BUDGET_MS, RESERVE_TRIES_MAX
from cuptime.domain.ports import Committed, Metrics, Reservation, Storage, TaskQueue
from cuptime.domain.values import Fence, Group, GroupState, InterventionRow, OrderState, Task, group_seq_of
from cuptime.domain.writes import InsertDecisions, InsertTasks, MoveGroups, OpenInterventions, Write

COMMITS_IN_FLIGHT_MAX: Final = 4
INLINE_ORDERS_MAX: Final = 64
"""A batch of up to so many orders is decided on the event loop: the way to a thread and back costs more."""
FAILURES_MAX: Final = 8
"""A batch that failed so often goes to a person; a failure that storage causes is not counted."""
GATE_AWAY: Final = (Reason.GATE_UNAVAILABLE, Reason.EPOCH_STALE)
PAUSE_FIRST_MS: Final = 20
PAUSE_MAX_MS: Final = 5_000
GROUPS_PAGE: Final = 500
ORDERS_PAGE: Final = 1_000

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Stats:
    """What the line did since its start."""

    batches: int = 0
    decided: int = 0
    unassigned: int = 0
    late: int = 0
    refused_reservations: int = 0
    failed_batches: int = 0
    lost_holds: int = 0


@dataclass(slots=True)
class Answer:
    """A batch as decided and reserved: what the commit writes."""

    rows: list[DecisionColumns] = field(default_factory=list)
    reservations: list[Reservation] = field(default_factory=list)
    unassigned: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Means:
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


class DecisionLine:
    """Decides what completes. `submit` is called after the commit that completed the groups."""

    def __init__(self, means: Means, resources: Resources, feed: DecisionFeed) -> None:
        self.means = means
        self.resources = resources
        self.counters: Counters = resources.counters
        resources.doubt = self.doubt
        self.feed = feed
        self.stats = Stats()
        self._wake = asyncio.Event()
        self.queue = DecisionQueue(self._wake.set)
        self._slots = asyncio.Semaphore(COMMITS_IN_FLIGHT_MAX)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._quiet = asyncio.Lock()
        self._doubted = False
        """A rebuild of gate and dispatcher is on its way."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cuptime-decide")
        self._runner: asyncio.Task[None] | None = None
        self._midnight = 0
        means.metrics.depth("decisions", lambda: len(self.queue))

    # --- life -----------------------------------------------------------------------------------------------------
    async def start(self) -> int:
        """Submits what storage says is completed and undecided, then begins. Returns how many groups that was. Call
        it after `Resources.recover`."""
        count = await self.read_back()
        self._runner = asyncio.get_running_loop().create_task(self._run())
        self._arm_midnight()
        return count

    async def close(self) -> None:
        """Lets the commits in flight end; what still waits is in storage."""
        if self._midnight:
            self.means.timers.forget(self._midnight)
        if self._runner is not None:
            async with self._quiet:
                self._runner.cancel()
            await asyncio.wait([self._runner])
        if self._in_flight:
            await asyncio.wait(list(self._in_flight))
        self._thread.shutdown(wait=True)

    async def settle(self) -> None:
        """Returns when nothing waits that could be decided without time passing."""
        while len(self.queue) > 0 or self._in_flight or self._quiet.locked():
            if self._in_flight:
                await asyncio.wait(list(self._in_flight))
            else:
                await asyncio.sleep(0)

    def submit(self, groups: Sequence[tuple[Group, list[OrderBody]]]) -> None:
        """Groups that are durably COMPLETED, each with its orders. Never waits."""
        for group, orders in groups:
            self.queue.put(Waiting(group, orders, len(orders)))

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
                        break
                    await self._step(batch)
            if self.queue.overflowed and not self.queue.first:
                self.queue.overflowed = False
                await self.read_back()

    async def _step(self, batch: Batch) -> None:
        """Decides and reserves; the commit goes on by itself and gives the slot back."""
        answer = Answer()
        try:
            await self._answer(batch, answer)
        except Exception as fault:
            # A gate that does not answer is no fault of these groups: they wait for it, however long.
            gate_away = isinstance(fault, CuptimeError) and fault.reason in GATE_AWAY
            _log.warning(
                "a batch of %d groups could not be decided: %s",
                len(batch.parts),
                fault,
                exc_info=not gate_away,
            )
            await self._give_back(answer)
            self._failed(batch, fault, counted=not gate_away)
            self._slots.release()
            return
        commit = asyncio.get_running_loop().create_task(self._commit(batch, answer))
        self._in_flight.add(commit)
        commit.add_done_callback(self._landed)

    def _landed(self, commit: asyncio.Task[None]) -> None:
        self._in_flight.discard(commit)
        self._slots.release()
        if not commit.cancelled() and commit.exception() is not None:
            _log.error("publishing decisions failed", exc_info=commit.exception())

    # --- decide and reserve ---------------------------------------------------------------------------------------
    async def _answer(self, batch: Batch, answer: Answer) -> None:
        """Fills `answer` round by round, so that whoever catches a fault knows what is reserved."""
        snapshot = self.means.rules.snapshot()
        now_ms = self.means.clock.now_ms()
        groups, orders = batch.columns(now_ms), batch.orders()
        lost: list[Lost] = []
        for tries in range(RESERVE_TRIES_MAX + 1):
            if not orders:
                return
            if tries == RESERVE_TRIES_MAX:
                # No more: with every pair lost the core says so in the decision.
                lost = [(order_id, -1, -1) for order_id, _ in orders]
            decide = partial(
                self.means.core.decide, self.counters.dispatcher, self.means.skus, snapshot.rules,
                snapshot.revision, groups, orders, now_ms, batch.attempt, self.resources.origin,
                self.means.policy, lost,
            )  # fmt: skip
            if len(orders) <= INLINE_ORDERS_MAX:
                decided = decide()
            else:
                decided = await asyncio.get_running_loop().run_in_executor(self._thread, decide)
            self.means.rules.count(decided.rules_evaluated, decided.rule_hits, decided.rule_errors)
            for order_id, path, message in decided.invalid:
                _log.error("order %d is not valid any more: %s %s", order_id, path, message)
            reservations = [Reservation(*columns) for columns in decided.reservations]
            refused_by = await self.counters.reserve(reservations) if reservations else []
            answer.unassigned += decided.unassigned
            if not any(refused_by):
                answer.rows += decided.rows
                answer.reservations += reservations
                return
            refused = {held.order_id for held, key in zip(reservations, refused_by, strict=True) if key}
            self.stats.refused_reservations += len(refused)
            answer.rows += [row for row in decided.rows if row[0] not in refused]
            answer.reservations += [held for held in reservations if held.order_id not in refused]
            lost += [(h.order_id, h.shop_id, h.rider_id) for h in reservations if h.order_id in refused]
            orders = [order for order in orders if order[0] in refused]

    async def _give_back(self, answer: Answer) -> None:
        if not answer.reservations:
            return
        try:
            await self.counters.release([held.order_id for held in answer.reservations])
        except Exception:
            _log.exception(
                "%d reservations were not given back; they run out by themselves", len(answer.reservations)
            )

    # --- persist and publish --------------------------------------------------------------------------------------
    async def _commit(self, batch: Batch, answer: Answer) -> None:
        now_ms = self.means.clock.now_ms()
        tasks: list[Task] = []
        writes: list[Write] = [InsertDecisions(answer.rows)] if answer.rows else []
        finished = [part for part in batch.parts if part.last and batch.attempt == 1]
        if finished:
            rows = [(part.waiting.group_seq, 0, part.waiting.member_count) for part in finished]
            writes.append(MoveGroups(GroupState.DECIDED, (GroupState.COMPLETED,), rows))
        if answer.unassigned and retried(batch.attempt):
            due_ms = now_ms + backoff_ms(batch.attempt)
            tasks.append(retry_task(self.means.tasks, answer.unassigned, batch.attempt + 1, due_ms))
            writes.append(InsertTasks(tasks))
        elif answer.unassigned:
            waiting = [InterventionRow(order_id, batch.attempt, now_ms) for order_id in answer.unassigned]
            writes.append(OpenInterventions(waiting))
        try:
            if writes:
                committed = await self.means.storage.commit(self.means.fence, writes)
            else:
                committed = Committed((), 0)
        except Exception as fault:
            # Shown as a fault of ours only when it is one: a refusal of storage has its reason.
            _log.warning("decisions of %d groups were not committed: %s", len(batch.parts), fault)
            if outcome_unknown(fault):
                self._resolve_later(batch, answer, tasks, fault, 0)
            else:
                await self._give_back(answer)
                await self._not_committed(batch, fault)
            return
        await self._durable(batch, answer, committed, tasks)

    async def _durable(
        self, batch: Batch, answer: Answer, committed: Committed, tasks: list[Task], *, found: bool = False
    ) -> None:
        """`found`: in storage, after a commit that had been reported as failed."""
        try:
            await self._publish(batch, answer, committed, tasks, found=found)
        finally:
            for part in batch.parts:
                if not part.last and batch.attempt == 1:
                    part.waiting.orders = part.waiting.orders[len(part.orders) :]
                    self.queue.put_back(part.waiting)
                self.queue.let_go(part.waiting.group_seq)
            if batch.done is not None and not batch.done.done():
                batch.done.set_result(None)

    async def _publish(
        self, batch: Batch, answer: Answer, committed: Committed, tasks: list[Task], *, found: bool
    ) -> None:
        """Everything right of persist: it can be rebuilt, and nobody waits for it."""
        durable_ms = self.means.clock.now_ms()
        self.feed.publish(committed.first_sequence, answer.rows)
        self._count(batch, answer, durable_ms)
        # Intake learns of the cups before it forgets the groups.
        settled = [(row[9], row[10]) for row in answer.rows] if batch.attempt == 1 else []
        taken = [] if found else [(held.sku, held.quantity) for held in answer.reservations]
        self.resources.cups_taken(taken, settled)
        self.resources.admission.groups_decided(
            [
                DecidedGroup(part.waiting.group_seq, part.waiting.group.group_id, part.last, durable_ms)
                for part in batch.parts
                if batch.attempt == 1
            ]
        )
        if tasks:
            self.means.tasks.armed(tasks)
        if found:
            self.doubt()
        elif answer.reservations:
            gone = await self.counters.commit([held.order_id for held in answer.reservations])
            if gone:
                await self._hold_again(answer, set(gone))

    async def _hold_again(self, answer: Answer, gone: set[int]) -> None:
        """Holds that ran out before their commit. Storage has the assignments, so the gate must have them too."""
        self.stats.lost_holds += len(gone)
        again = [held for held in answer.reservations if held.order_id in gone]
        refused = [key for key in await self.counters.reserve(again) if key]
        await self.counters.commit([held.order_id for held in again])
        if refused:
            _log.critical(
                "holds ran out and were given to others: %s; rebuilding the gate", ", ".join(refused)
            )
            self.doubt()

    def _count(self, batch: Batch, answer: Answer, durable_ms: int) -> None:
        self.stats.batches += 1
        self.stats.decided += len(answer.rows)
        self.stats.unassigned += len(answer.unassigned)
        if batch.attempt > 1:
            return
        left: Counter[int] = Counter(group_seq_of(order_id) for order_id in answer.unassigned)
        for part in batch.parts:
            latency_ms = durable_ms - part.waiting.group.completed_ms
            late = "_late" if latency_ms > DECISION_BUDGET_MS else ""
            unassigned = left[part.waiting.group_seq]
            assigned = len(part.orders) - unassigned
            if late:
                self.stats.late += len(part.orders)
            if assigned:
                self.means.metrics.decision(f"assigned{late}", latency_ms, assigned)
            if unassigned:
                self.means.metrics.decision(f"unassigned{late}", latency_ms, unassigned)

    # --- when nobody knows ------------------------------------------------------------------------------------------
    def _resolve_later(
        self, batch: Batch, answer: Answer, tasks: list[Task], fault: Exception, tries: int
    ) -> None:
        """Storage failed, and may have kept the commit. Until storage itself says so, its groups stay in hand and what
        it reserved stays taken: too little is given rather than too much."""
        pause_ms = min(PAUSE_FIRST_MS << min(tries, 12), PAUSE_MAX_MS)
        self.means.timers.at(
            self.means.clock.now_ms() + pause_ms,
            lambda: self._begin(self._resolve(batch, answer, tasks, fault, tries + 1)),
        )

    async def _resolve(
        self, batch: Batch, answer: Answer, tasks: list[Task], fault: Exception, tries: int
    ) -> None:
        try:
            committed = await self._found(batch, answer)
        except Exception as second:
            _log.warning("storage cannot say whether decisions were kept: %s", second)
            self._resolve_later(batch, answer, tasks, fault, tries)
            return
        if committed is None:
            await self._give_back(answer)
            self._failed(batch, fault, counted=False)
        else:
            await self._durable(batch, answer, committed, tasks, found=True)

    async def _found(self, batch: Batch, answer: Answer) -> Committed | None:
        """The commit as storage has it, by one row of it: a commit is kept whole or not at all."""
        if answer.rows:
            # Nobody decided or cancelled it since: its group is in our hands.
            latest = await self.means.storage.decision(answer.rows[0][0])
            kept = latest is not None and latest.attempt == batch.attempt
            return Committed((), latest.sequence) if kept and latest is not None else None
        group = await self.means.storage.group_by_seq(batch.parts[0].waiting.group_seq)
        moved = group is None or group.state is not GroupState.COMPLETED
        return Committed((), 0) if moved else None

    # --- when it fails --------------------------------------------------------------------------------------------
    async def _not_committed(self, batch: Batch, fault: Exception) -> None:
        """Storage refused. A conflict means that somebody else decided or cancelled: what is left is tried again."""
        conflict = isinstance(fault, CuptimeError) and fault.reason is Reason.STATE_CONFLICT
        if conflict and batch.done is None:
            try:
                batch.parts = [part for part in batch.parts if await self._undecided(part)]
            except Exception as second:
                fault, conflict = second, False
        self._failed(batch, fault, counted=conflict)

    async def _undecided(self, part: Part) -> bool:
        """Leaves in a part what storage has no decision for; False when its group needs none any more."""
        waiting = part.waiting
        group = await self.means.storage.group_by_seq(waiting.group_seq)
        if group is None or group.state is not GroupState.COMPLETED:
            now_ms = self.means.clock.now_ms()
            done = DecidedGroup(waiting.group_seq, waiting.group.group_id, whole=True, decided_ms=now_ms)
            self.resources.admission.groups_decided([done])
            self.queue.let_go(waiting.group_seq)
            return False
        kept: list[OrderBody] = []
        for order in waiting.orders:
            row = await self.means.storage.order(order[0])
            if row is None or row.state is not OrderState.ADMITTED:
                continue
            if await self.means.storage.decision(order[0]) is None:
                kept.append(order)
        waiting.orders = kept
        return True

    def _failed(self, batch: Batch, fault: Exception, *, counted: bool) -> None:
        """The groups rest a moment and come again; a retry is for its task to repeat."""
        self.stats.failed_batches += 1
        groups = [part.waiting for part in batch.parts]
        if not groups:
            return
        if batch.done is not None:
            if not batch.done.done():
                batch.done.set_exception(fault)
            for waiting in groups:
                self.queue.let_go(waiting.group_seq)
            return
        for waiting in groups:
            waiting.failures += 1
        pause_ms = min(PAUSE_FIRST_MS << min(max(w.failures for w in groups), 12), PAUSE_MAX_MS)
        given_up = [w for w in groups if counted and w.failures >= FAILURES_MAX]
        for waiting in groups:
            self.queue.rest(waiting)

        def again() -> None:
            for waiting in groups:
                if waiting in given_up:
                    self._begin(self._ask_a_person(waiting))
                else:
                    self.queue.rested(waiting)

        self.means.timers.at(self.means.clock.now_ms() + pause_ms, again)

    async def _ask_a_person(self, waiting: Waiting) -> None:
        """A group that the core or storage refuses again and again: its orders wait for a person."""
        now_ms = self.means.clock.now_ms()
        async with self.turn(waiting.group_seq):
            rows = [InterventionRow(order_id, 0, now_ms) for order_id, _ in waiting.orders]
            try:
                await self.means.storage.commit(self.means.fence, [OpenInterventions(rows)])
            except CuptimeError as refusal:
                _log.warning("the orders of a group that fails do not wait for a person yet: %s", refusal)
                self.queue.rested(waiting)
            else:
                self.queue.resting.pop(waiting.group_seq, None)

    # --- start, midnight, overflow --------------------------------------------------------------------------------
    async def read_back(self) -> int:
        """Submits every completed group that storage has and the queue has not."""
        storage = self.means.storage
        known = {waiting.group_seq for waiting in self.queue.first}
        known |= {*self.queue.busy, *self.queue.resting}
        groups: list[Group] = []
        before = 2**62
        while page := await storage.groups(before_seq=before, limit=GROUPS_PAGE, state=GroupState.COMPLETED):
            groups += [group for group in page if group.group_seq not in known]
            before = page[-1].group_seq
        orders: dict[int, list[OrderBody]] = {group.group_seq: [] for group in groups}
        after = 0
        while groups and (rows := await storage.undecided_orders(after=after, limit=ORDERS_PAGE)):
            for row in rows:
                if (bodies := orders.get(group_seq_of(row.order_id))) is not None:
                    bodies.append((row.order_id, row.body))
            after = rows[-1].order_id
        groups.sort(key=lambda group: group.completed_ms)
        for group in groups:
            # The count in the row is what the group completed with; some orders may have decisions already.
            self.queue.put(Waiting(group, orders[group.group_seq], group.member_count))
        return len(groups)

    def _arm_midnight(self) -> None:
        now_ms = self.means.clock.now_ms()
        self._midnight = self.means.timers.at(now_ms - now_ms % DAY_MS + DAY_MS, self._new_day)

    def _new_day(self) -> None:
        self._arm_midnight()
        self.doubt()

    def doubt(self, group_seq: int | None = None) -> None:
        """Gate, dispatcher and cups may differ from storage, and so may what waits of a group that the caller has in
        hand: all of it is rebuilt, between two batches."""
        if group_seq is not None:
            self.queue.doubt(group_seq)
        if not self._doubted:
            self._doubted = True
            self._begin(self._rebuild())

    async def _rebuild(self) -> None:
        try:
            async with self.quiet():
                # What is doubted from here on may not be in what is read now.
                self._doubted = False
                await self.resources.recover()
                await self.read_back()
        except Exception as fault:
            self._doubted = True
            _log.warning("gate and dispatcher were not rebuilt; trying again: %s", fault)
            self.means.timers.at(
                self.means.clock.now_ms() + PAUSE_MAX_MS, lambda: self._begin(self._rebuild())
            )

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._background.add(running)
        running.add_done_callback(self._background.discard)
