"""The rows of the service as frozen values. Instants are UTC milliseconds, places are degrees, 0 or "" is none."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from msgspec import Struct

from cuptime.domain.limits import ORDER_NUMBER_BITS

ORDER_NUMBER_MASK: Final = (1 << ORDER_NUMBER_BITS) - 1


def order_id_of(group_seq: int, number: int) -> int:
    """The id of order `number` (from 1) of the group whose storage sequence is `group_seq`.

    The group is in the high bits, so that the orders of a group are one range of the primary key and need no index.
    """
    return (group_seq << ORDER_NUMBER_BITS) | number


def group_seq_of(order_id: int) -> int:
    """The group of an order."""
    return order_id >> ORDER_NUMBER_BITS


def whole_groups(order_ids: list[int], limit: int) -> list[int]:
    """Of the first `limit` orders that were found, group by group, those whose group was not cut off at the end; all
    when there is one group only."""
    if len(order_ids) < limit or group_seq_of(order_ids[0]) == group_seq_of(order_ids[-1]):
        return order_ids
    cut = group_seq_of(order_ids[-1])
    return [order_id for order_id in order_ids if group_seq_of(order_id) != cut]


def order_number_of(order_id: int) -> int:
    """The number of an order in its group, from 1."""
    return order_id & ORDER_NUMBER_MASK


class Fence(Struct, frozen=True):
    """Which shard a write belongs to and the epoch its owner holds; storage refuses an older epoch."""

    shard_id: int
    epoch: int


class GroupState(IntEnum):
    OPEN = 1
    COMPLETED = 2
    FAILED = 3
    DECIDED = 4


class Group(Struct, frozen=True):
    group_seq: int
    group_id: int
    park: str
    latitude: float
    longitude: float
    capacity: int
    min_size: int
    deadline_ms: int
    purchase_limit: int
    pack_out_after_ms: int
    deliver_within_ms: int
    state: GroupState
    member_count: int
    created_ms: int
    completed_ms: int = 0
    etag: int = 1


class OrderState(IntEnum):
    ADMITTED = 1
    CANCELLED = 2
    RELEASED = 3


class OrderRow(Struct, frozen=True):
    """An order as admitted; `body` is the `cuptime.v1.Order` as the caller sent it."""

    order_id: int
    user_id: int
    request_id: str
    fingerprint: int
    """Of the request's bytes, signed 64 bits: tells a repeat from a reuse of its request_id."""
    sku: str
    quantity: int
    created_ms: int
    rule_revision: int
    state: OrderState
    body: bytes


class Outcome(IntEnum):
    ASSIGNED = 1
    UNASSIGNED = 2
    RELEASED = 3


class DecisionRow(Struct, frozen=True):
    """One entry of the append-only ledger of decisions; `body` is the `cuptime.v1.Decision` less name and sequence."""

    sequence: int
    order_id: int
    attempt: int
    outcome: Outcome
    shop_id: int
    rider_id: int
    priority: int
    completed_ms: int
    decided_ms: int
    rule_revision: int
    sku: str
    quantity: int
    cold: bool
    pack_out_ms: int
    pickup_ms: int
    body: bytes


class TaskState(IntEnum):
    PENDING = 1
    SCHEDULED = 2
    TRIGGERED = 3
    EXECUTED = 4
    FAILED = 5
    CANCELLED = 6


class Overlap(IntEnum):
    """What becomes of a firing that is due while an earlier one of its schedule runs. One runs from its trigger until
    it is EXECUTED, CANCELLED or FAILED for good, waits for retries included. Those under ALLOW_ALL are not looked
    at."""

    ALLOW_ALL = 0
    SKIP = 1
    """It is CANCELLED."""
    BUFFER_ONE = 2
    """It waits for the end; one that comes while another waits is skipped."""
    BUFFER_ALL = 3
    """It waits for its turn; beyond `BUFFERED_FIRINGS_MAX` it is skipped."""
    CANCEL_OTHER = 4
    """The running one is CANCELLED in the commit that triggers it."""


class OverlapEffect(IntEnum):
    """What an overlap policy did to a firing."""

    SKIPPED = 1
    BUFFERED = 2
    CANCELLED = 3


class TaskContext(Struct, frozen=True):
    """The business context of spec section 7."""

    group_id: int
    sku_version: str
    stock_snapshot: int
    timestamp_ms: int


class Task(Struct, frozen=True):
    task_id: int
    queue: str
    payload: bytes
    due_ms: int
    priority: int
    max_retries: int
    backoff_ms: int
    state: TaskState
    created_ms: int
    updated_ms: int
    scheduled_ms: int = 0
    retry_count: int = 0
    context: TaskContext | None = None
    trigger_id: str = ""
    trigger_ms: int = 0
    execution_id: str = ""
    attempt: int = 0
    lease_until_ms: int = 0
    worker: str = ""
    result_hash: bytes = b""
    result: bytes = b""
    error_code: str = ""
    error_message: str = ""
    retriable: bool = False
    failed_input: bytes = b""
    schedule_seq: int = 0
    generation: int = 0
    nominal_ms: int = 0
    traceparent: str = ""
    overlap: Overlap = Overlap.ALLOW_ALL
    """Of a firing."""
    buffered_ms: int = 0
    """When it began to wait for the end of an earlier firing; 0 is never."""
    bucket_ms: int = 0
    """How long the bucket is that it is triggered and delivered with; 0 is none."""


class ScheduleState(IntEnum):
    ACTIVE = 1
    PAUSED = 2
    FINISHED = 3
    UNREGISTERED = 4


class TimingKind(IntEnum):
    CRON = 1
    AT = 2
    AFTER = 3
    EVERY = 4


class DstPolicy(IntEnum):
    """What a cron time does where the clock is set. A *fixed* time has no leading `*` in its minute and hour."""

    VIXIE = 1
    """Fixed: right after a gap; once, at the first of two. Others follow the wall clock: skipped, and both."""
    SKIP_ONCE = 2
    """Skipped in a gap; once, at the first of two."""
    SHIFT_ALL = 3
    """All right after a gap; once at the first of two, but intervals at both."""
    CRONER = 4
    """As VIXIE, but only single values are fixed."""
    WALL_BOTH = 5
    """What the wall clock shows: skipped in a gap, and both of two."""


class Timing(Struct, frozen=True):
    """When a schedule fires. `expression` is for CRON; `value_ms` is the instant (AT) or the length (AFTER, EVERY)."""

    kind: TimingKind
    expression: str = ""
    value_ms: int = 0
    time_zone: str = "UTC"
    start_ms: int = 0
    end_ms: int = 0
    dst: DstPolicy = DstPolicy.VIXIE


class CatchUp(IntEnum):
    """Which missed firings (more than `MISFIRE_MS` late) still fire, when they are not older than the window."""

    ALL = 1
    LATEST = 2
    NONE = 3
    BOUNDED = 4
    """The latest few."""


class SchedulePolicy(Struct, frozen=True):
    """How a schedule fires, beside when. 0 is none, or the default."""

    max_runs: int = 0
    """Firings in all; then it is FINISHED. What a change cancels before its time does not count."""
    jitter_ms: int = 0
    """A firing is due up to so much after its nominal time, always the same for the same nominal time."""
    catch_up: CatchUp = CatchUp.ALL
    catch_up_window_ms: int = 0
    catch_up_limit: int = 0
    """For BOUNDED."""
    overlap: Overlap = Overlap.ALLOW_ALL


class Schedule(Struct, frozen=True):
    schedule_seq: int
    schedule_id: str
    timing: Timing
    target: bytes
    """`cuptime.v1.Target`, serialized."""
    state: ScheduleState
    generation: int
    anchor_ms: int
    """From where AFTER and EVERY count: the registration or the change of timing."""
    planned_until_ms: int
    """The watermark: every firing before it (half-open) has its task, in the generation given."""
    next_ms: int
    fire_count: int
    note: str
    created_ms: int
    updated_ms: int
    policy: SchedulePolicy = SchedulePolicy()
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted by key."""
    run_count: int = 0
    """Firings planned and not cancelled by a change, since the timing was set."""
    missed_count: int = 0
    """Firings that were missed and not caught up."""
    skipped_count: int = 0
    """What the overlap policy did, since the registration. These three are storage's own: a ReplaceSchedule leaves
    them."""
    buffered_count: int = 0
    cancelled_count: int = 0
    source: str = ""
    """`file#digest` of its entry in the watched folder that registered it; empty when a call did."""


class Caller(Struct, frozen=True):
    """Who asks for a change: whom the caller says it is (nobody proves it yet), and where the call came from."""

    actor: str = ""
    peer: str = ""


NOBODY: Final = Caller()


class ScheduleChangeKind(IntEnum):
    REGISTERED = 1
    UPDATED = 2
    UNREGISTERED = 3
    PAUSED = 4
    RESUMED = 5
    TRIGGERED = 6
    BACKFILLED = 7


class ScheduleChangeRow(Struct, frozen=True):
    """One entry of the append-only audit of schedules. `before` and `after` are the schedule as callers saw it then,
    serialized; empty where there was none or nothing of it changed."""

    sequence: int
    """Given by storage, in the order of commit."""
    schedule_seq: int
    schedule_id: str
    kind: ScheduleChangeKind
    at_ms: int
    generation: int
    """After the change."""
    caller: Caller
    request_id: str
    detail: str
    before: bytes
    after: bytes


class ShopRow(Struct, frozen=True):
    shop_id: int
    body: bytes
    """`cuptime.v1.Shop` as the caller gave it, less outputs and stock."""
    daily_capacity: int
    fridge_slots: int
    updated_ms: int
    etag: int


class StockRow(Struct, frozen=True):
    """Cups of a shop: `on_hand` as counted at `set_ms`; `used` were packed out since then, by orders that are retired
    or were released too late."""

    shop_id: int
    sku: str
    on_hand: int
    set_ms: int = 0
    used: int = 0


class RiderRow(Struct, frozen=True):
    rider_id: int
    body: bytes
    """`cuptime.v1.Rider` as the caller gave it, less outputs."""
    max_load: int
    updated_ms: int
    etag: int


class RuleRevisionRow(Struct, frozen=True):
    revision: int
    digest: str
    source: str
    note: str
    created_ms: int
    rule_count: int
    active: bool = False


class InterventionRow(Struct, frozen=True):
    order_id: int
    attempts: int
    created_ms: int
    resolved_ms: int = 0
    resolution: str = ""
    note: str = ""


class RequestRow(Struct, frozen=True):
    """The first answer to a request_id, kept for 24 hours (orders keep theirs in their own row)."""

    request_id: str
    method: str
    fingerprint: int
    response: bytes
    expires_ms: int


class RefusalRow(Struct, frozen=True):
    """An order that was refused: the first answer for its request_id and a line for whoever asks why."""

    request_id: str
    fingerprint: int
    group_id: int
    user_id: int
    reason: str
    created_ms: int
    status: bytes
    """`google.rpc.Status`, serialized."""
