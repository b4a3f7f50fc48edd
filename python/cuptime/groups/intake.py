"""The intake line: requests as bytes in, replies as bytes out, durable in between. No order is looked into here.

Requests that arrive while the loop turns, and while a commit is on its way to disk, are judged together by one call of
the core and stored by one commit; so the batch grows with the load by itself, and no timer delays a lone order. One
commit is under way at a time: the next flush is judged on what the one before made durable, so a repeat is never
answered before its first, and a failed commit takes nobody else with it. When one fails, the admission table is ahead
of storage; it is thrown away and rebuilt before anything else is judged.

Groups whose deadline has passed are closed in the same flush, after its orders: there is one sequence of changes for
each group, and it is this one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.ports import Cups, DecidedGroup, Rules
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import INTAKE_BATCH_MAX, INTAKE_PENDING_MAX
from cuptime.domain.ports import Metrics, Storage
from cuptime.domain.values import Fence, Group, GroupState
from cuptime.domain.writes import (
    InsertOrders,
    InsertRefusals,
    MoveGroups,
    ReleaseOrders,
    SetMemberCounts,
    Write,
)
from cuptime.groups.ports import UNARY, Admitted, Intake
from cuptime.groups.registry import OpenGroups, columns_of
from cuptime.groups.watch import GroupWatchers

ORDER_BYTES_TYPICAL: Final = 160
"""By which the orders of a batch are estimated for the limits, since nobody here counts them."""
RETRY_AFTER_MS: Final = 100
OVERLOADED_TRIES_MAX: Final = 200
"""How often storage may say that it has too much to do before a flush is given up."""

_log = logging.getLogger(__name__)

Reply = tuple[int, bytes]
"""A google.rpc.Code and the encoded response (code 0) or google.rpc.Status."""


class _Flush(Struct):
    """What one commit is for."""

    now_ms: int
    replies: list[asyncio.Future[Reply]] = field(default_factory=list)
    closings: list[tuple[int, asyncio.Future[GroupState | None]]] = field(default_factory=list)
    closed: list[tuple[Group, GroupState]] = field(default_factory=list)
    admitted: Admitted | None = None
    writes: list[Write] = field(default_factory=list)


class IntakeLine:
    """Admits orders and closes groups. Implements :class:`cuptime.dispatch.ports.Admission`."""

    def __init__(
        self,
        storage: Storage,
        fence: Fence,
        clock: Clock,
        rules: Rules,
        decisions: DecisionLine,
        groups: OpenGroups,
        watchers: GroupWatchers,
        metrics: Metrics,
        rebuild: Callable[[], Awaitable[Intake]],
    ) -> None:
        """`rebuild` makes a table from storage and fills `groups`."""
        self.groups = groups
        self._storage = storage
        self._fence = fence
        self._clock = clock
        self._rules = rules
        self._decisions = decisions
        self._watchers = watchers
        self._metrics = metrics
        self._rebuild = rebuild
        self._intake: Intake | None = None
        self._doubtful = False
        self._opened: list[Group] = []
        """Groups opened while there is no table."""
        self._entries: deque[tuple[int, bytes, int, asyncio.Future[Reply]]] = deque()
        self._closings: deque[tuple[int, asyncio.Future[GroupState | None]]] = deque()
        self._pending = 0
        self._turn = asyncio.Lock()
        self._draining: asyncio.Task[None] | None = None
        self._scheduled = False
        metrics.depth("intake", lambda: self._pending)

    # --- life -----------------------------------------------------------------------------------------------------
    async def recover(self) -> None:
        """Builds the table. Before anything is submitted, and again after a failed commit."""
        async with self._turn:
            await self._recover()

    async def _recover(self) -> None:
        """Between two batches of the decision line, so that what is read of orders and cups belongs together."""
        self._intake = None
        self._doubtful = False
        self._opened.clear()
        async with self._decisions.quiet():
            intake = await self._rebuild()
            # The commit that failed may have been kept all the same; then groups are complete that nobody submitted.
            await self._decisions.read_back()
            self._take(intake)

    def _take(self, intake: Intake) -> None:
        for group in self._opened:
            if self.groups.by_id(group.group_id) is None:
                self.groups.add(group)
            intake.open_groups([columns_of(group)])
        self._opened.clear()
        self._intake = intake

    async def close(self) -> None:
        """Returns when everything submitted is answered."""
        await self.settle()

    async def settle(self) -> None:
        """Returns when nothing is pending."""
        while self._scheduled or (self._draining is not None and not self._draining.done()):
            if self._draining is not None and not self._draining.done():
                await asyncio.wait([self._draining])
            else:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Intake]:
        """No flush is under way and none begins: for changes with a commit of their own. Change the table only after
        that commit. Raises STORAGE_UNAVAILABLE when there is no table."""
        async with self._turn:
            if self._intake is None or self._doubtful:
                await self._recover_or_refuse()
            assert self._intake is not None
            try:
                yield self._intake
            except Exception as fault:
                if outcome_unknown(fault):
                    self._intake = None
                raise

    def doubt(self) -> None:
        """The table may differ from storage: it is rebuilt before anything else is judged."""
        self._doubtful = True

    # --- orders ---------------------------------------------------------------------------------------------------
    def submit(self, kind: int, raw: bytes) -> asyncio.Future[Reply]:
        """Judges one request (0 SubmitOrderRequest, 1 BatchSubmitOrdersRequest, 2 IngestOrdersRequest); the answer
        comes when what it changed is on disk, or fails with STORAGE_UNAVAILABLE or EPOCH_STALE; every other refusal is
        in the reply. Whoever gives up cancels it: the order is judged and stored all the same. Raises OVERLOADED."""
        weight = 1 if kind == UNARY else max(1, len(raw) // ORDER_BYTES_TYPICAL)
        if self._pending + weight > INTAKE_PENDING_MAX and self._pending:
            raise CuptimeError(
                Reason.OVERLOADED,
                metadata={
                    "limit": str(INTAKE_PENDING_MAX),
                    "retry_after_ms": str(RETRY_AFTER_MS),
                    "queue": "intake",
                },
            )
        reply: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._entries.append((kind, raw, weight, reply))
        self._pending += weight
        self._begin()
        return reply

    async def close_due(self, group_id: int) -> GroupState | None:
        """Closes a group whose deadline has passed: COMPLETED with enough members, else FAILED; durable when this
        returns. A group that is not open here is left alone, and the answer is None."""
        closing: asyncio.Future[GroupState | None] = asyncio.get_running_loop().create_future()
        self._closings.append((group_id, closing))
        self._begin()
        return await closing

    def open_group(self, group: Group) -> None:
        """After the commit that made it."""
        self.groups.add(group)
        if self._intake is None:
            self._opened.append(group)
        else:
            self._intake.open_groups([columns_of(group)])

    def completed(self, intake: Intake, group: Group) -> None:
        """A group is durably COMPLETED: on to its decision."""
        self.groups.remove(group.group_seq)
        self._decisions.submit([(group, intake.orders_of(group.group_seq))])
        self._watchers.changed([group.group_seq])

    def failed(self, intake: Intake, group: Group) -> None:
        """A group is durably FAILED."""
        self.groups.remove(group.group_seq)
        intake.forget_group(group.group_seq)
        self._watchers.changed([group.group_seq])

    # --- what dispatch tells --------------------------------------------------------------------------------------
    def cups_changed(self, available: Cups, settled: Cups) -> None:
        if self._intake is not None:
            if available:
                self._intake.set_available(available)
            if settled:
                self._intake.settle(settled)

    def groups_decided(self, groups: list[DecidedGroup]) -> None:
        for group in groups:
            if group.whole and self._intake is not None:
                self._intake.forget_group(group.group_seq)
        self._watchers.changed([group.group_seq for group in groups])

    def stats(self) -> dict[str, int]:
        """Sizes of the table; empty while it is rebuilt."""
        return self._intake.stats() if self._intake is not None else {}

    def expire_requests(self, before_ms: int) -> None:
        """Forgets request ids older than the window."""
        if self._intake is not None:
            self._intake.expire_requests(before_ms)

    # --- flush ----------------------------------------------------------------------------------------------------
    def _begin(self) -> None:
        if not self._scheduled and (self._draining is None or self._draining.done()):
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._start)

    def _start(self) -> None:
        self._scheduled = False
        self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        while self._entries or self._closings:
            async with self._turn:
                if self._intake is None or self._doubtful:
                    try:
                        await self._recover_or_refuse()
                    except CuptimeError as refusal:
                        self._refuse_all(refusal)
                        return
                await self._flush()
            # What was completed is decided first, and its decisions share the next commit instead of waiting behind it.
            await self._decisions.taken()

    async def _flush(self) -> None:
        flush = _Flush(self._clock.now_ms())
        try:
            self._judge(flush)
        except Exception as fault:
            # The table may be half-way through the batch.
            _log.exception("admission failed")
            self._intake = None
            self._answer_with(flush, CuptimeError(Reason.INTERNAL, str(fault)))
            return
        if flush.writes:
            try:
                await self._commit(flush.writes)
            except Exception as fault:
                _log.warning("a flush of %d requests was not committed: %s", len(flush.replies), fault)
                self._intake = None
                refusal = fault if isinstance(fault, CuptimeError) else None
                if refusal is None or refusal.reason is not Reason.EPOCH_STALE:
                    refusal = CuptimeError(Reason.STORAGE_UNAVAILABLE, metadata={"cause": str(fault)})
                self._answer_with(flush, refusal)
                return
        self._publish(flush)

    async def _commit(self, writes: list[Write]) -> None:
        """While storage has too much to do nothing was kept, so the same commit is tried again: a rebuild of the table
        would only add to the load. In between storage gets its turn."""
        for tries in range(OVERLOADED_TRIES_MAX):
            try:
                await self._storage.commit(self._fence, writes)
            except CuptimeError as refusal:
                if refusal.reason is not Reason.OVERLOADED or tries + 1 == OVERLOADED_TRIES_MAX:
                    raise
                await self._storage.room()
            else:
                return

    def _judge(self, flush: _Flush) -> None:
        """Takes what is pending, up to the limits, and lets the core judge it."""
        intake = self._intake
        assert intake is not None
        entries: list[tuple[int, bytes]] = []
        room = INTAKE_BATCH_MAX
        while self._entries and (room >= self._entries[0][2] or not entries):
            kind, raw, weight, reply = self._entries.popleft()
            entries.append((kind, raw))
            flush.replies.append(reply)
            self._pending -= weight
            room -= weight
        while self._closings and len(flush.closings) < INTAKE_BATCH_MAX:
            flush.closings.append(self._closings.popleft())
        if entries:
            snapshot = self._rules.snapshot()
            admitted = intake.admit(entries, flush.now_ms, snapshot.rules, snapshot.revision)
            flush.admitted = admitted
            self.groups.set_members(admitted.member_counts)
            self._write_admitted(flush, admitted)
        self._judge_closings(flush, intake, [group_id for group_id, _ in flush.closings])

    def _write_admitted(self, flush: _Flush, admitted: Admitted) -> None:
        if admitted.orders:
            flush.writes.append(InsertOrders(admitted.orders))
        if admitted.refusals:
            flush.writes.append(InsertRefusals(admitted.refusals))
        if admitted.member_counts:
            flush.writes.append(SetMemberCounts(admitted.member_counts))
        if admitted.completed:
            rows = [(group_seq, flush.now_ms, count) for group_seq, _, count in admitted.completed]
            flush.writes.append(MoveGroups(GroupState.COMPLETED, (GroupState.OPEN,), rows, flush.now_ms))
        for group_seq, _, _ in admitted.completed:
            group = self.groups.by_seq(group_seq)
            if group is not None:
                flush.closed.append(
                    (self._as(group, GroupState.COMPLETED, flush.now_ms), GroupState.COMPLETED)
                )

    def _judge_closings(self, flush: _Flush, intake: Intake, group_ids: Sequence[int]) -> None:
        closed = {group.group_seq for group, _ in flush.closed}
        rows: dict[GroupState, list[tuple[int, int, int]]] = {GroupState.COMPLETED: [], GroupState.FAILED: []}
        for group_id in group_ids:
            group = self.groups.by_id(group_id)
            if group is None or group.group_seq in closed:
                continue
            closed.add(group.group_seq)
            members = self.groups.members(group.group_seq)
            state = GroupState.COMPLETED if members >= group.min_size else GroupState.FAILED
            completed_ms = flush.now_ms if state is GroupState.COMPLETED else 0
            intake.close_group(group_id, int(state))
            rows[state].append((group.group_seq, completed_ms, members))
            flush.closed.append((self._as(group, state, completed_ms), state))
            if state is GroupState.FAILED:
                flush.writes.append(ReleaseOrders(group.group_seq, flush.now_ms))
        for state, moved in rows.items():
            if moved:
                flush.writes.append(MoveGroups(state, (GroupState.OPEN,), moved, flush.now_ms))

    def _as(self, group: Group, state: GroupState, completed_ms: int) -> Group:
        return closed_group(self.groups.current(group), state, completed_ms)

    def _publish(self, flush: _Flush) -> None:
        """The commit is on disk: replies leave, in the order of their requests."""
        admitted = flush.admitted
        if admitted is not None:
            for reply, answer in zip(flush.replies, admitted.replies, strict=True):
                if not reply.done():
                    reply.set_result(answer)
        states: dict[int, GroupState] = {}
        intake = self._intake
        assert intake is not None
        for group, state in flush.closed:
            states[group.group_id] = state
            if state is GroupState.COMPLETED:
                self.completed(intake, group)
            else:
                self.failed(intake, group)
        for group_id, closing in flush.closings:
            if not closing.done():
                closing.set_result(states.get(group_id))
        if admitted is not None:
            self._watchers.changed(group_seq for group_seq, _ in admitted.member_counts)
            if admitted.orders:
                self._metrics.orders_admitted(len(admitted.orders))
            for reason, count in admitted.refused.items():
                self._metrics.orders_refused(reason, count)
            self._rules.count(admitted.rules_evaluated, admitted.rule_hits, admitted.rule_errors)

    # --- failure --------------------------------------------------------------------------------------------------
    async def _recover_or_refuse(self) -> None:
        """Under the turn. Raises STORAGE_UNAVAILABLE when storage cannot be read; the next caller tries again."""
        try:
            await self._recover()
        except Exception as fault:
            _log.warning("the admission table could not be rebuilt: %s", fault)
            raise CuptimeError(
                Reason.STORAGE_UNAVAILABLE, "admission is being rebuilt from storage"
            ) from fault

    def _answer_with(self, flush: _Flush, refusal: CuptimeError) -> None:
        for reply in flush.replies:
            if not reply.done():
                reply.set_exception(refusal)
        for _, closing in flush.closings:
            if not closing.done():
                closing.set_exception(refusal)

    def _refuse_all(self, refusal: CuptimeError) -> None:
        while self._entries:
            _, _, weight, reply = self._entries.popleft()
            self._pending -= weight
            if not reply.done():
                reply.set_exception(refusal)
        while self._closings:
            closing = self._closings.popleft()[1]
            if not closing.done():
                closing.set_exception(refusal)


def closed_group(group: Group, state: GroupState, completed_ms: int) -> Group:
    """The row after MoveGroups."""
    return replace(group, state=state, completed_ms=completed_ms, etag=group.etag + 1)
