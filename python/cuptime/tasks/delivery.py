"""From ready to leased: deals tasks to workers with credits, and tells their sessions after the commit.

Two ways lead here. A task that falls due while a worker has credits is dealt by the trigger itself, and its
trigger and lease are one transaction. A task that found no worker waits in `Ready`, and the pump deals it when
credits come.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.limits import TRIGGER_BATCH_MAX
from cuptime.domain.values import Task, TaskState
from cuptime.domain.writes import LeaseTasks
from cuptime.tasks import life
from cuptime.tasks.buckets import parts
from cuptime.tasks.ends import Ends
from cuptime.tasks.leases import Leases
from cuptime.tasks.means import Means
from cuptime.tasks.ready import Ready
from cuptime.tasks.repeats import Repeats
from cuptime.tasks.workers import Fired, Lease, WorkerSession, bytes_of

LEASES_PER_SESSION_MAX: Final = 512
"""Dealt to one session in one round, so that a hungry worker does not starve the others of its queues."""

_log = logging.getLogger(__name__)


class Grant(Struct):
    """What one session shall get in the next commit. Its credits are taken already."""

    session: WorkerSession
    until_ms: int
    rows: list[tuple[Task, str]]
    """(task, execution_id)."""
    parts: dict[int, int] = {}
    """By task_id, the number of the part of a bucket that goes out whole; others are not here."""

    def write(self, now_ms: int) -> LeaseTasks:
        """For tasks that are TRIGGERED already."""
        rows = [
            (task.task_id, execution_id, self.until_ms, task.attempt + 1) for task, execution_id in self.rows
        ]
        return LeaseTasks(self.session.worker, rows, now_ms)

    def trigger_rows(self) -> list[tuple[int, int, str, int, int, str]]:
        """Of TriggerTasks."""
        until_ms, worker = self.until_ms, self.session.worker
        return [
            (task.task_id, task.due_ms, execution_id, until_ms, task.attempt + 1, worker)
            for task, execution_id in self.rows
        ]


class Delivery:
    """Deals ready tasks to hungry sessions, in turn."""

    def __init__(self, means: Means, ready: Ready, repeats: Repeats, ends: Ends) -> None:
        self._means = means
        self._ready = ready
        self._repeats = repeats
        self._ends = ends
        self.leases = Leases(means, ends, self._fed, self._gone, self._attempt_over)
        # By queue: sessions that may have credits, in the order of their turns.
        self._turns: dict[str, deque[WorkerSession]] = {}
        self._pumping: asyncio.Task[None] | None = None
        self._stopped = False
        self.at_rest: Callable[[Task], None] = lambda _: None
        """Hears of a task that is found at rest without a report of its end."""
        ends.tell(self)

    # --- dealing --------------------------------------------------------------------------------------------------
    def deal(self, tasks: Sequence[Task], now_ms: int, token: str) -> tuple[list[Grant], list[Task]]:
        """Who gets what, best tasks first, sessions in turn; and the tasks that nobody takes now. `token` is a fresh
        one, for the ids of attempts."""
        grants: dict[WorkerSession, Grant] = {}
        left: list[Task] = []
        execution_ids = life.execution_ids(token)
        ranked = sorted(tasks, key=_rank) if len(tasks) > 1 else list(tasks)
        if any(task.bucket_ms for task in ranked):
            ranked = self._deal_buckets(ranked, grants, now_ms, execution_ids)
        for task in ranked:
            session = self._next(task.queue)
            if session is None:
                left.append(task)
                continue
            session.unread_bytes += bytes_of(task)
            _granted(grants, session, now_ms).rows.append((task, next(execution_ids)))
        return list(grants.values()), left

    def _deal_buckets(
        self,
        tasks: list[Task],
        grants: dict[WorkerSession, Grant],
        now_ms: int,
        execution_ids: Iterator[str],
    ) -> list[Task]:
        """Gives each part of a bucket whole to a session that has credits for all of it. What is left, because none
        has, is dealt like any other task."""
        left = [task for task in tasks if not task.bucket_ms]
        for number, part in enumerate(parts([task for task in tasks if task.bucket_ms]), 1):
            session = self._next(part[0].queue, len(part))
            if session is None:
                left += part
                continue
            grant = _granted(grants, session, now_ms)
            for task in part:
                session.unread_bytes += bytes_of(task)
                grant.rows.append((task, next(execution_ids)))
                grant.parts[task.task_id] = number
        return sorted(left, key=_rank)

    def _next(self, queue: str, count: int = 1) -> WorkerSession | None:
        """Whose turn it is among those with so many credits, which are taken."""
        turns = self._turns.get(queue)
        for _ in range(len(turns) if turns else 0):
            assert turns is not None
            session = turns[0]
            if not session.hungry:
                turns.popleft()
                continue
            turns.rotate(-1)
            if session.credit >= count:
                session.credit -= count
                return session
        return None

    def refund(self, grants: Sequence[Grant]) -> list[Task]:
        """The commit failed: credits go back, and so do the tasks, to the caller."""
        for grant in grants:
            self._give_back(grant, [task for task, _ in grant.rows])
        return [task for grant in grants for task, _ in grant.rows]

    def send(self, grants: Sequence[Grant], leased: set[int], now_ms: int, trigger_id: str = "") -> None:
        """After the commit; `leased` are the ids it moved. `trigger_id` is set when it triggered the tasks too."""
        for grant in grants:
            session, leases = grant.session, []
            fired = Fired(trigger_id, now_ms, now_ms, grant.until_ms, session.worker)
            refused: list[Task] = []
            for task, execution_id in grant.rows:
                if task.task_id not in leased:
                    refused.append(task)
                    continue
                if not trigger_id:
                    fired = Fired(task.trigger_id, task.trigger_ms, now_ms, grant.until_ms, session.worker)
                leases.append(Lease(task, session, execution_id, fired))
            _mark_parts(leases, grant.parts)
            if refused:
                self._give_back(grant, refused)
                for task in refused:
                    self.offer(self._repeats.ended(task))
            if leases:
                self._push(session, leases, grant.until_ms)

    def _push(self, session: WorkerSession, leases: list[Lease], until_ms: int) -> None:
        self.leases.hold(leases, until_ms)
        if len(self._means.watchers):
            for lease in leases:
                self._means.watchers.publish(lease.task)
        if session.closed:
            for lease in leases:
                self._ends.given_back(lease.task)
        else:
            session.push(leases)

    def _give_back(self, grant: Grant, tasks: Sequence[Task]) -> None:
        session = grant.session
        if not session.closed:
            session.credit += len(tasks)
            session.unread_bytes -= sum(bytes_of(task) for task in tasks)
            self._fed(session)

    # --- ready tasks ----------------------------------------------------------------------------------------------
    def offer(self, tasks: Sequence[Task]) -> None:
        """TRIGGERED tasks that nobody has: they wait for credits."""
        if tasks:
            self._ready.put(tasks)
            self._kick()

    def backlog(self, queue: str) -> bool:
        """Do others wait in this queue already? Then nothing may pass them."""
        return self._ready.depth(queue) > 0

    def _fed(self, session: WorkerSession) -> None:
        for queue in session.queues:
            turns = self._turns.setdefault(queue, deque())
            if session not in turns:
                turns.append(session)
        self._kick()

    def _gone(self, session: WorkerSession) -> None:
        for queue in session.queues:
            turns = self._turns.get(queue)
            if turns is not None and session in turns:
                turns.remove(session)
            if turns is not None and not turns:
                del self._turns[queue]

    def _kick(self) -> None:
        idle = not self._stopped and (self._pumping is None or self._pumping.done())
        if idle and any(self._turns.get(queue) for queue in self._ready.queues()):
            self._pumping = asyncio.get_running_loop().create_task(self._pump())

    async def settle(self) -> None:
        """Returns when nothing more can be dealt."""
        while self._pumping is not None and not self._pumping.done():
            await asyncio.wait([self._pumping])

    async def stop(self, grace_s: float) -> None:
        """Deals nothing more; a commit under way has `grace_s` to end."""
        self._stopped = True
        if self._pumping is not None:
            await asyncio.wait([self._pumping], timeout=grace_s)
            self._pumping.cancel()

    async def _pump(self) -> None:
        while not self._stopped and (ids := self._pick()):
            try:
                await self._lease(ids)
            except Exception:
                _log.exception("leasing %d tasks failed; they are tried again", len(ids))
                rows = await self._rows(ids)
                self._ready.put_back([task for task in rows if task.task_id not in self.leases])
                await self._means.pause()
            while low := self._ready.wants():
                self._ready.put_back(await self._rows(low))

    def _pick(self) -> list[int]:
        """Ids for the credits there are, a share for each session in turn."""
        sessions = dict.fromkeys(
            session
            for queue in self._ready.queues()
            for session in self._turns.get(queue, ())
            if session.hungry
        )
        picked: list[int] = []
        for session in sessions:
            room = min(session.credit, LEASES_PER_SESSION_MAX, TRIGGER_BATCH_MAX - len(picked))
            if room <= 0:
                break
            picked += self._ready.take(session.queues, room)
        return picked

    async def _rows(self, ids: Sequence[int]) -> list[Task]:
        """Those that are still to be delivered."""
        rows = await self._means.persist(self._means.storage.tasks_by_id, ids)
        return [task for task in rows if task.state is TaskState.TRIGGERED]

    async def _lease(self, ids: Sequence[int]) -> None:
        rows = [task for task in await self._rows(ids) if task.task_id not in self.leases]
        admitted = await self._repeats.admit(rows)
        free = self._repeats.park(admitted.wait)
        self._ready.put(free)
        for task, executed in admitted.copies:
            self._ends.executed(task, executed.result)
        now_ms = self._means.clock.now_ms()
        grants, left = self.deal(admitted.run, now_ms, self._means.clock.token())
        self._ready.put_back(left)
        if not grants:
            return
        try:
            committed = await self._means.commit([grant.write(now_ms) for grant in grants])
        except BaseException:
            self.refund(grants)
            raise
        self.send(grants, {task_id for ids in committed.results for task_id in ids}, now_ms)

    def withdrawn(self, tasks: Sequence[Task], now_ms: int) -> None:
        """These were CANCELLED by a commit, whoever had them: the worker hears of it at its next heartbeat."""
        ids = [task.task_id for task in tasks]
        self._means.wheel.disarm(ids)
        self._means.near.forget(ids)
        for task in tasks:
            self.leases.withdraw(task.task_id)
            self.offer(self._repeats.ended(task))
            self._means.watchers.publish(
                replace(task, state=TaskState.CANCELLED, updated_ms=now_ms, lease_until_ms=0), last=True
            )

    # --- attempts that ended (ends.EndSink) -------------------------------------------------------------------------
    def ended(self, before: Task, after: Task) -> None:
        """Its lease is over, and who waited for it goes on."""
        self.leases.drop(before.task_id, before.execution_id)
        if after.state is TaskState.TRIGGERED:
            self.offer([after])
        else:
            self.offer(self._repeats.ended(before))

    def executed(self, done: Sequence[Task | Lease]) -> None:
        """Their leases are over, and who waited for their results goes on."""
        self.leases.drop_all([held for held in done if isinstance(held, Lease)])
        for held in done:
            row = held.row if isinstance(held, Lease) else held
            if row.context is not None:
                self.offer(self._repeats.ended(row))

    def _attempt_over(self, lease: Lease, row: Task | None) -> None:
        self.offer(self._repeats.ended(lease.row))
        if row is not None and row.state in life.RESTING:
            self.at_rest(row)
        if row is not None and row.state is TaskState.TRIGGERED and not row.execution_id:
            self.offer([row])


def _granted(grants: dict[WorkerSession, Grant], session: WorkerSession, now_ms: int) -> Grant:
    grant = grants.get(session)
    if grant is None:
        grant = grants[session] = Grant(session, now_ms + session.lease_ms, [])
    return grant


def _mark_parts(leases: Sequence[Lease], parts: dict[int, int]) -> None:
    """Each lease knows with how many it goes out; the first of a part, that they follow it."""
    if not parts:
        return
    sizes = Counter(parts[lease.task_id] for lease in leases if lease.task_id in parts)
    seen: set[int] = set()
    for lease in leases:
        number = parts.get(lease.task_id)
        if number is not None:
            lease.together = sizes[number]
            lease.leads = number not in seen
            seen.add(number)


def _rank(task: Task) -> tuple[int, int, int]:
    return task.priority, task.due_ms, task.task_id
