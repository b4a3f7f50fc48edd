"""The life of a group: it opens with a durable deadline, completes or fails, and forgets nothing on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.queue import DELIVER_WITHIN_DEFAULT_MS, PACK_OUT_AFTER_DEFAULT_MS
from cuptime.dispatch.values import check_place, check_range
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import GROUP_CAPACITY_MAX, GROUP_ID_MIN, GROUPS_OPEN_MAX, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.ports import Committed, Storage, TaskQueue
from cuptime.domain.requests import Made, Requests, fingerprint_of
from cuptime.domain.turns import to_the_end
from cuptime.domain.values import (
    ORDER_NUMBER_MASK,
    Group,
    GroupState,
    OrderRow,
    Task,
    order_id_of,
)
from cuptime.domain.writes import InsertGroup, InsertTasks, MoveGroups, ReleaseOrders, Write
from cuptime.groups.intake import IntakeLine, closed_group
from cuptime.groups.ports import Intake
from cuptime.groups.registry import columns_of
from cuptime.groups.watch import GroupWatchers

GROUP_DEADLINE_QUEUE: Final = "cuptime.group_deadline"
TASK_TRIES_MAX: Final = 100
PARK_CHARS_MAX: Final = 64
PURCHASE_LIMIT_MAX: Final = 10_000
SPAN_MS_MAX: Final = 7 * 86_400_000

_log = logging.getLogger(__name__)


def check_group(group: Group, now_ms: int) -> None:
    """Raises the catalogue error that names the field."""
    if not group.group_id:
        raise required("group.group_id")
    check_range("group.group_id", group.group_id, GROUP_ID_MIN, 2**62)
    if len(group.park) > PARK_CHARS_MAX or not group.park.isprintable():
        raise invalid("group.park", f"at most {PARK_CHARS_MAX} printable characters", group.park)
    check_place("group.location", group.latitude, group.longitude)
    if not group.capacity:
        raise required("group.capacity")
    check_range("group.capacity", group.capacity, 1, GROUP_CAPACITY_MAX)
    check_range("group.min_size", group.min_size, 0, GROUP_CAPACITY_MAX)
    if group.min_size > group.capacity:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION,
            f"min_size {group.min_size} is more than the capacity {group.capacity}",
            field="group.min_size",
        )
    if not group.deadline_ms:
        raise required("group.deadline_time_ms")
    check_range("group.deadline_time_ms", group.deadline_ms, now_ms + 1, now_ms + TASK_DUE_AHEAD_MAX_MS)
    check_range("group.purchase_limit", group.purchase_limit, 0, PURCHASE_LIMIT_MAX)
    check_range("group.pack_out_after_ms", group.pack_out_after_ms, 0, SPAN_MS_MAX)
    check_range("group.deliver_within_ms", group.deliver_within_ms, 0, SPAN_MS_MAX)


class Groups:
    """Create, get, list, complete, watch; runs the deadlines."""

    def __init__(
        self,
        storage: Storage,
        clock: Clock,
        requests: Requests,
        tasks: TaskQueue,
        intake: IntakeLine,
        watchers: GroupWatchers,
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._requests = requests
        self._tasks = tasks
        self._intake = intake
        self._watchers = watchers

    def register(self, tasks: TaskQueue) -> None:
        """Becomes the runner of the deadlines."""
        tasks.internal(GROUP_DEADLINE_QUEUE, self.run_deadline)

    # --- open -----------------------------------------------------------------------------------------------------
    async def create(self, group: Group, *, request_id: str = "", validate_only: bool = False) -> Group:
        """Opens a group; outputs in `group` are ignored. Raises FIELD_*, GROUP_EXISTS, LIMIT_REACHED."""
        now_ms = self._clock.now_ms()
        fingerprint = fingerprint_of(group)
        if not request_id or await self._storage.request(request_id) is None:
            # A repeat is answered even when its deadline has passed since.
            check_group(group, now_ms)
        if validate_only:
            await self._check_new(group.group_id)
            return self._opened(group, 0, now_ms)
        return await to_the_end(self._create(group, request_id, fingerprint))

    async def _create(self, group: Group, request_id: str, fingerprint: int) -> Group:
        made: list[tuple[Group, Task]] = []

        async def make() -> Made:
            await self._check_new(group.group_id)
            fresh = self._opened(group, self._intake.groups.next_seq(), self._clock.now_ms())
            payload = json.dumps({"group": fresh.group_id}).encode()
            deadline = self._tasks.new_task(
                GROUP_DEADLINE_QUEUE, payload, fresh.deadline_ms, max_retries=TASK_TRIES_MAX
            )
            made[:] = [(fresh, deadline)]
            return [InsertGroup(fresh), InsertTasks([deadline])], _kept(fresh)

        def after(_: Committed) -> None:
            fresh, deadline = made[0]
            self._intake.open_group(fresh)
            self._tasks.armed([deadline])

        try:
            return _read(await self._requests.once(request_id, "CreateGroup", fingerprint, make, after))
        except Exception as fault:
            if outcome_unknown(fault):
                self._intake.doubt()
                # Kept or not: a wait for a task that storage does not have moves nothing when it ends.
                self._tasks.armed([deadline for _, deadline in made])
            raise

    async def _check_new(self, group_id: int) -> None:
        open_groups = self._intake.groups
        if open_groups.by_id(group_id) is not None or await self._storage.group(group_id) is not None:
            metadata = {"group": f"groups/{group_id}"}
            raise CuptimeError(Reason.GROUP_EXISTS, field="group.group_id", metadata=metadata)
        if len(open_groups) >= GROUPS_OPEN_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED, "too many open groups", metadata={"limit": str(GROUPS_OPEN_MAX)}
            )

    def _opened(self, group: Group, group_seq: int, now_ms: int) -> Group:
        """As storage keeps it: defaults filled in, but for the purchase limit, whose default admission knows."""
        return replace(
            group,
            group_seq=group_seq,
            min_size=group.min_size or 1,
            pack_out_after_ms=group.pack_out_after_ms or PACK_OUT_AFTER_DEFAULT_MS,
            deliver_within_ms=group.deliver_within_ms or DELIVER_WITHIN_DEFAULT_MS,
            state=GroupState.OPEN,
            member_count=0,
            created_ms=now_ms,
            completed_ms=0,
            etag=1,
        )

    # --- read -----------------------------------------------------------------------------------------------------
    async def get(self, group_id: int) -> Group:
        """Raises GROUP_NOT_FOUND."""
        group = await self._storage.group(group_id)
        if group is None:
            metadata = {"group": f"groups/{group_id}"}
            raise CuptimeError(Reason.GROUP_NOT_FOUND, f"there is no groups/{group_id}", metadata=metadata)
        return group

    async def page(
        self, *, before_seq: int, limit: int, state: GroupState | None = None, park: str | None = None
    ) -> list[Group]:
        """Newest first, below `before_seq`."""
        return await self._storage.groups(before_seq=before_seq, limit=limit, state=state, park=park)

    async def order(self, group_id: int, number: int) -> OrderRow:
        """Raises GROUP_NOT_FOUND, ORDER_NOT_FOUND."""
        group = await self.get(group_id)
        order = await self._storage.order(order_id_in(group, number))
        if order is None:
            metadata = {"order": f"groups/{group_id}/orders/{number}"}
            raise CuptimeError(Reason.ORDER_NOT_FOUND, metadata=metadata)
        return order

    async def orders(self, group_id: int, *, after: int, limit: int) -> list[OrderRow]:
        """By id, from order id `after` (exclusive) on. Raises GROUP_NOT_FOUND."""
        group = await self.get(group_id)
        return await self._storage.orders_of(group.group_seq, after=after, limit=limit)

    def watch(self, group_id: int) -> AsyncIterator[Group]:
        """The group at once, then after each change; see :meth:`GroupWatchers.watch`."""
        return self._watchers.watch(group_id)

    async def known(self, group_id: int) -> bool:
        """Is there such a group, open or not?"""
        return (
            self._intake.groups.by_id(group_id) is not None or await self._storage.group(group_id) is not None
        )

    # --- complete -------------------------------------------------------------------------------------------------
    async def complete(
        self,
        group_id: int,
        *,
        etag: int = 0,
        force: bool = False,
        request_id: str = "",
        validate_only: bool = False,
    ) -> Group:
        """Completes an open group now; below its minimum size it fails when `force` is not set. `etag` 0 is any.
        Raises GROUP_NOT_FOUND, STATE_CONFLICT, ETAG_MISMATCH."""
        if validate_only:
            return self._closing(await self._open_one(group_id, etag), force)
        return await to_the_end(self._complete(group_id, etag, force, request_id))

    async def _complete(self, group_id: int, etag: int, force: bool, request_id: str) -> Group:
        made: list[Group] = []
        committed: list[Committed] = []

        async def make() -> Made:
            closed = self._closing(await self._open_one(group_id, etag), force)
            made[:] = [closed]
            now_ms = self._clock.now_ms()
            row = (closed.group_seq, closed.completed_ms, closed.member_count)
            writes: list[Write] = [MoveGroups(closed.state, (GroupState.OPEN,), [row], now_ms)]
            if closed.state is GroupState.FAILED:
                writes.append(ReleaseOrders(closed.group_seq, now_ms))
            return writes, _kept(closed)

        fingerprint = fingerprint_of(group_id, etag, force)
        async with self._intake.alone() as intake:
            answer = await self._requests.once(
                request_id, "CompleteGroup", fingerprint, make, committed.append
            )
            if committed:
                self._follow(intake, made[0])
        return _read(answer)

    def _follow(self, intake: Intake, closed: Group) -> None:
        intake.close_group(closed.group_id, int(closed.state))
        if closed.state is GroupState.COMPLETED:
            self._intake.completed(intake, closed)
        else:
            self._intake.failed(intake, closed)

    async def _open_one(self, group_id: int, etag: int) -> Group:
        group = self._intake.groups.by_id(group_id)
        if group is None:
            stored = await self.get(group_id)
            raise CuptimeError(
                Reason.STATE_CONFLICT,
                f"groups/{group_id} is {stored.state.name}, not OPEN",
                metadata={"measured": stored.state.name, "wanted": "OPEN"},
            )
        if etag and etag != group.etag:
            metadata = {"measured": str(etag), "wanted": str(group.etag)}
            raise CuptimeError(Reason.ETAG_MISMATCH, field="etag", metadata=metadata)
        return self._intake.groups.current(group)

    def _closing(self, group: Group, force: bool) -> Group:
        enough = group.member_count >= group.min_size or force
        if enough:
            return closed_group(group, GroupState.COMPLETED, self._clock.now_ms())
        return closed_group(group, GroupState.FAILED, 0)

    async def run_deadline(self, task: Task) -> bytes:
        """The runner of deadline tasks. Idempotent: a group that is not open any more is left alone."""
        group_id = int(json.loads(task.payload)["group"])
        state = await self._intake.close_due(group_id)
        if state is None:
            stored = await self._storage.group(group_id)
            if stored is not None and stored.state is GroupState.OPEN:
                raise CuptimeError(Reason.STORAGE_UNAVAILABLE, f"groups/{group_id} is open, and not here yet")
            return b"CLOSED"
        return state.name.encode()


def order_id_in(group: Group, number: int) -> int:
    """The id of order `number` of a group. Raises ORDER_NOT_FOUND for a number that no order can have."""
    if not 1 <= number <= ORDER_NUMBER_MASK:
        raise CuptimeError(Reason.ORDER_NOT_FOUND)
    return order_id_of(group.group_seq, number)


def _kept(group: Group) -> bytes:
    """A group as the first answer to a request_id."""
    return json.dumps(columns_of(group)).encode()


def _read(answer: bytes) -> Group:
    columns = dict(zip(Group.__struct_fields__, json.loads(answer), strict=True))
    columns["state"] = GroupState(columns["state"])
    return Group(**columns)
