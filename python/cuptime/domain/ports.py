"""What the capabilities need from outside, as Protocols. Adapters implement them; `app` puts them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec import Struct

from cuptime.domain.values import (
    DecisionRow,
    Fence,
    Group,
    GroupState,
    InterventionRow,
    OrderRow,
    RefusalRow,
    RequestRow,
    RiderRow,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeRow,
    ScheduleState,
    ShopRow,
    StockRow,
    Task,
    TaskState,
    Timing,
)
from cuptime.domain.writes import Write


class Committed(Struct, frozen=True):
    """What a commit gave back."""

    results: tuple[tuple[int, ...], ...]
    """One for each write: the ids it moved, for writes that say so; else empty."""
    first_sequence: int
    """The first decision sequence number given out, 0 when there was none."""


class TaskFilter(Struct, frozen=True):
    """All terms must hold; None is any."""

    state: TaskState | None = None
    queue: str | None = None
    schedule_seq: int | None = None
    due_from_ms: int | None = None
    due_until_ms: int | None = None


class Sequences(Struct, frozen=True):
    """The highest ids ever given, for the counters in memory."""

    group_seq: int
    task_id: int
    schedule_seq: int
    rule_revision: int
    decision: int
    decision_forgotten: int = 0
    """The highest sequence of a decision that retention took out; up to it the ledger has gaps."""


class Storage(Protocol):
    """The durable database, and the only truth.

    `commit` returns after the transaction is on disk. Many commits are put into one transaction (group commit), but
    each tuple of writes stands alone: one that is refused takes no other with it. Reads see every commit that was
    acknowledged before they began.
    """

    on_lost: Callable[[], None]
    """Called once when what was stored is gone from under us; nothing is written from then on."""

    async def open(self) -> None:
        """Checks the engine, migrates the schema. Raises CuptimeError(STORAGE_UNAVAILABLE) with what to do."""
        ...

    async def close(self) -> None: ...

    async def claim(self, shard_id: int, owner: str, epoch: int | None = None) -> Fence:
        """Takes a shard: its epoch becomes `epoch`, or one more than before when None. Raises EPOCH_STALE when the
        stored epoch is newer."""
        ...

    async def commit(self, fence: Fence, writes: Sequence[Write]) -> Committed:
        """Raises the error that a write names, EPOCH_STALE, OVERLOADED when too many units wait, or
        STORAGE_UNAVAILABLE when the engine fails (then nothing was kept)."""
        ...

    async def room(self) -> None:
        """Returns when fewer units wait than would have a commit refused as OVERLOADED. Bounded by a commit."""
        ...

    async def settle(self) -> None:
        """Returns when it is certain for good what became of every commit that ended before: whoever reads afterwards
        reads the truth, also of those that ended without an answer. Raises STORAGE_UNAVAILABLE."""
        ...

    def pending_units(self) -> int:
        """Units that wait for their commit; for back-pressure and metrics."""
        ...

    # Reads. Lists are ordered by id; `after` is exclusive; `limit` is required.
    async def sequences(self) -> Sequences: ...
    async def group(self, group_id: int) -> Group | None: ...
    async def group_by_seq(self, group_seq: int) -> Group | None: ...
    async def groups(
        self, *, before_seq: int, limit: int, state: GroupState | None = None, park: str | None = None
    ) -> list[Group]:
        """Newest first: group_seq < before_seq."""
        ...

    async def order(self, order_id: int) -> OrderRow | None: ...
    async def orders_of(self, group_seq: int, *, after: int, limit: int) -> list[OrderRow]: ...
    async def orders_since(self, created_from_ms: int, *, after: int, limit: int) -> list[OrderRow]:
        """Every order made at or after the instant, for the request-id window; used at start. It reads those groups
        alone, and their orders, that may have taken one since: not ended before, not closed before, and with a deadline
        that was not before, each less CLOSED_LATE_MS."""
        ...

    async def refusal(self, request_id: str) -> RefusalRow | None: ...
    async def refusals_since(self, created_from_ms: int, *, limit: int) -> list[RefusalRow]: ...
    async def decision(self, order_id: int) -> DecisionRow | None:
        """The latest."""
        ...

    async def decisions(self, *, after: int, limit: int, group_seq: int | None = None) -> list[DecisionRow]:
        """By sequence."""
        ...

    async def undecided_orders(self, *, after: int, limit: int) -> list[OrderRow]:
        """ADMITTED orders of COMPLETED groups without a decision."""
        ...

    async def standing_assignments(
        self, *, after: int, limit: int, live_only: bool = False
    ) -> list[DecisionRow]:
        """ASSIGNED and not released, by sequence. `live_only`: less those that were retired, which is what the gate is
        rebuilt from; its cost is that of what is live, however long the ledger."""
        ...

    async def intervention(self, order_id: int) -> InterventionRow | None: ...
    async def interventions_open(self) -> int:
        """How many there are."""
        ...

    async def interventions(self, *, after: int, limit: int) -> list[InterventionRow]:
        """Open ones."""
        ...

    async def shops(self, *, after: int, limit: int) -> list[ShopRow]: ...
    async def shop(self, shop_id: int) -> ShopRow | None: ...
    async def stock(self, *, shop_id: int | None = None) -> list[StockRow]: ...
    async def riders(self, *, after: int, limit: int) -> list[RiderRow]: ...
    async def rider(self, rider_id: int) -> RiderRow | None: ...
    async def task(self, task_id: int) -> Task | None: ...
    async def tasks_by_id(self, task_ids: Sequence[int]) -> list[Task]: ...
    async def tasks(self, where: TaskFilter, *, after: int, limit: int) -> list[Task]: ...
    async def waiting_tasks(self, *, after: int, limit: int) -> list[tuple[int, int, int, int, int]]:
        """(task_id, due_ms, state, lease_until_ms, bucket_ms) of every task PENDING, SCHEDULED or TRIGGERED: what the
        wheel is rebuilt from. Its cost is that of what waits, however many have ended."""
        ...

    async def running_firings(self, *, after: int, limit: int) -> list[Task]:
        """Firings under an overlap policy that were triggered and have not ended: TRIGGERED, or SCHEDULED for a retry.
        Its cost is that of what is there, however many tasks there were."""
        ...

    async def executed_result(self, result_hash: bytes) -> Task | None:
        """A task with a business context, EXECUTED with this hash."""
        ...

    async def ended_groups(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        """(ended_ms, group_seq, held) of groups that ended before the instant, in that order, after `after`.

        Held are those of which something still counts: the deadline is not before the instant, or an order waits for
        its decision, a retry or a person, or has an assignment that takes something, or an order was made, moved or
        decided, or its intervention resolved, since the instant."""
        ...

    async def ended_tasks(
        self, before_ms: int, *, after: tuple[int, int], limit: int
    ) -> list[tuple[int, int, bool]]:
        """(ended_ms, task_id, held) of tasks that ended before the instant, in that order, after `after`.

        Held are those with a business context whose result an equal task may still take: one lives, or may come, since
        the instant of the context is not before `before_ms`."""
        ...

    async def forgotten_firings(self, schedule_seq: int, generation: int) -> int:
        """The latest nominal time of a firing of this generation that retention took out, 0 when it took none."""
        ...

    async def forgotten(self) -> dict[str, int]:
        """Rows that retention took out, by table."""
        ...

    async def schedule(self, schedule_id: str) -> Schedule | None:
        """The one that is not unregistered, else the last unregistered one."""
        ...

    async def schedule_by_seq(self, schedule_seq: int) -> Schedule | None: ...
    async def schedules(
        self,
        *,
        after: int,
        limit: int,
        state: ScheduleState | None = None,
        label: tuple[str, str] | None = None,
    ) -> list[Schedule]: ...
    async def sourced_schedules(self, *, after: int, limit: int) -> list[Schedule]:
        """Those of the watched folder that are not unregistered. Its cost is that of what is there."""
        ...

    async def schedule_changes(
        self, *, before: int, limit: int, schedule_id: str | None = None
    ) -> list[ScheduleChangeRow]:
        """The audit of schedules, newest first: sequence < before."""
        ...

    async def rule_revision(self, revision: int | None) -> RuleRevisionRow | None:
        """None is the active one."""
        ...

    async def rule_revisions(self, *, before: int, limit: int) -> list[RuleRevisionRow]:
        """Newest first."""
        ...

    async def request(self, request_id: str) -> RequestRow | None: ...
    async def counts(self) -> dict[str, int]:
        """Rows per table, for the audit and metrics."""
        ...


class Reservation(Struct, frozen=True):
    """What one assignment takes: one order of a shop's day, one fridge slot when cold, one order of a rider's load,
    `quantity` cups. `order_id` names it; a repeat of the same reservation is the same reservation."""

    order_id: int
    shop_id: int
    rider_id: int
    sku: str
    quantity: int
    cold: bool
    pack_out_ms: int
    pickup_ms: int
    dropoff_ms: int = 0
    day: str = ""
    """yyyymmdd of the pack-out where the park is; "" is in UTC."""
    load_until_ms: int = 0
    """When it counts in the rider's load no more; 0 until it is released."""
    takes_stock: bool = True
    """False for what was packed out before the stock was last counted."""


class Gate(Protocol):
    """Live counters in front of storage: never more taken than there is. A cache: rebuilt from storage at start.

    Counter keys: `capacity/{shop_id}/{yyyymmdd of pack-out}`, `fridge/{shop_id}`, `load/{rider_id}`,
    `stock/{shop_id}/{sku}`. Reserve is all-or-nothing for one reservation; a reservation that is neither committed nor
    released by its deadline is released by `expire`. A fridge slot is free again at `pickup_ms`, the load at
    `load_until_ms`. A release leaves a tombstone that refuses a reserve that comes after it and was sent (`now_ms`)
    before it, or for an order that had nothing to release also in the same millisecond; one sent later is new and goes
    through.
    """

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def reset(
        self, limits: Sequence[tuple[str, int]], standing: Sequence[Reservation], now_ms: int
    ) -> None:
        """Forgets everything and starts again from storage: limit by key, and the committed reservations. A day's
        capacity key that has no limit of its own takes `capacity/{shop_id}`."""
        ...

    async def set_limits(self, limits: Sequence[tuple[str, int]]) -> None:
        """A limit may be lowered below what is taken: nothing new is then given until enough is released."""
        ...

    async def reserve(self, reservations: Sequence[Reservation], now_ms: int, hold_ms: int) -> list[str]:
        """For each, "" when reserved, else the key that refused it, `released/{order_id}` for a late one, or
        `order/{order_id}` when the order has a different reservation."""
        ...

    async def stand(self, standing: Sequence[Reservation], now_ms: int) -> None:
        """Puts in what storage says stands, whatever the limits say; each replaces the one of its order."""
        ...

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        """Makes reservations last; the result is those that were not held any more."""
        ...

    async def release(self, order_ids: Sequence[int], now_ms: int) -> list[Reservation]:
        """Gives back what was reserved or committed; the result is what was given back."""
        ...

    async def expire(self, now_ms: int) -> list[tuple[str, int]]:
        """Releases what ran out; the result is (key, amount given back)."""
        ...

    async def free(self, keys: Sequence[str]) -> list[int]:
        """What a reserve could still take, never below 0."""
        ...


class CronEngine(Protocol):
    """Computes firings."""

    def check(self, timing: Timing) -> None:
        """Raises CRON_INVALID, CRON_NEVER_FIRES or TIME_ZONE_UNKNOWN naming the field."""
        ...

    def firings(self, timing: Timing, anchor_ms: int, after_ms: int, until_ms: int, limit: int) -> list[int]:
        """Nominal times t with after_ms < t <= until_ms, ascending, at most `limit`."""
        ...

    def next(self, timing: Timing, anchor_ms: int, after_ms: int) -> int:
        """The first nominal time after `after_ms`, 0 when there is none."""
        ...


class Coordination(Protocol):
    """Leadership. One node alone always leads; etcd comes with several nodes."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...
    async def lead(self, shard_id: int) -> int | None:
        """The epoch under which this node owns the shard; None lets storage count it up (one node alone)."""
        ...

    def trusted(self) -> bool:
        """May this node still act as owner, by its own monotonic clock?"""
        ...


class Metrics(Protocol):
    """What the capabilities count and time; `telemetry` puts it on /metrics."""

    def orders_admitted(self, count: int) -> None: ...
    def orders_refused(self, reason: str, count: int) -> None: ...
    def decision(self, outcome: str, latency_ms: float, count: int) -> None: ...
    def trigger(self, lateness_ms: Sequence[int]) -> None: ...
    def commit(self, units: int, rows: int, seconds: float) -> None: ...
    def rules(
        self, evaluated: int, hits: Sequence[tuple[str, int]], errors: Sequence[tuple[str, int]]
    ) -> None: ...
    def rules_tried(self, origin: str, good: bool, revision: int) -> None:
        """An attempt to make rules live, by where they came from."""
        ...

    def task(self, state: str, count: int) -> None: ...
    def overlap(self, effect: str, count: int) -> None: ...
    def depth(self, queue: str, depth: Callable[[], int]) -> None:
        """Registers a gauge that is read when scraped."""
        ...

    def forgotten(self, kind: str, count: int) -> None:
        """Retention took out so many."""
        ...

    def oldest_ended(self, kind: str, ended_ms: int) -> None:
        """When the oldest that has ended and is kept did so; 0 when there is none."""
        ...


InternalTaskRunner = Callable[[Task], Awaitable[bytes]]
"""Runs an internal task (queue `cuptime.*`) in this process; the bytes are its result. Raises to fail it."""


class TaskQueue(Protocol):
    """What other capabilities need from tasks: make durable waits, and run their own."""

    def new_task(
        self,
        queue: str,
        payload: bytes,
        due_ms: int,
        *,
        priority: int = 50,
        max_retries: int = 0,
        traceparent: str = "",
    ) -> Task:
        """A task with a fresh id, to be put into an InsertTasks of the caller's own commit."""
        ...

    def armed(self, tasks: Sequence[Task]) -> None:
        """Arms tasks after their commit."""
        ...

    def internal(self, queue: str, run: InternalTaskRunner) -> None:
        """Who runs the internal tasks of a queue. Running must be idempotent by the task's id."""
        ...
