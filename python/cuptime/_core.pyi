"""The contract of the Rust extension `cuptime._core`; proved against the built module by stubtest."""

from collections.abc import Sequence
from typing import Any, Self, TypeAlias, final

from typing_extensions import Buffer

# --- dispatch -------------------------------------------------------------------------------------------------------

# The fields are named at `Dispatcher`.
_Order: TypeAlias = tuple[
    int, int, float, float, int, int, int, int, int, int, int, int, int, list[int], list[tuple[int, int]]
]  # fmt: skip
_Decision: TypeAlias = tuple[
    int, int, int, int, int, int, int, int, int,
    list[tuple[int, int, int, int, int, int]], list[tuple[int, int, int]],
]  # fmt: skip
# The fields are named at `decide` and `explain`.
_Group: TypeAlias = tuple[int, int, str, int, int, float, float, int, int, int]
_Verdict: TypeAlias = tuple[str, int, str, str, str, str]

@final
class Dispatcher:
    """Shops and riders of one park, and the exact assignment of orders to them. A cache: rebuilt from storage.

    Instants are UTC ms, coordinates planar metres, costs integers of which 1 is one metre. `decide` changes
    nothing: what an assignment needs is taken by `consume` and given back by `release`. Same state and same
    arguments give the same answer. Safe to share between threads; long calls release the GIL. A value outside its
    form raises `ValueError` and changes nothing.

    Columns of the tuples:

    - shop: (shop_id, x_m, y_m, open_from_ms, open_until_ms, paused, capacity_free, fridge_free, offers_mask,
      stock); `offers_mask` is 1 hot | 2 ambient | 4 cold; `stock` is [(sku code 0..2**32-1, cups free)]; a SKU that
      is not listed is not offered.
    - rider: (rider_id, x_m, y_m, available_from_ms, available_until_ms, load_free, min_c, max_c, speed_m_per_min,
      on_duty). A rider whose `available_from_ms` lies ahead starts then, from (x_m, y_m).
    - order: (order_id, group_id, x_m, y_m, sku, quantity, temperature, need_min_c, need_max_c, priority, ready_ms,
      target_ms, deadline_ms, allowed_shops, lost); `temperature` is 0 hot, 1 ambient, 2 cold (cold takes a fridge
      slot); need_min_c..need_max_c and the vehicle's range must overlap; `priority` 1 (highest) to 100; a hand-over
      after `target_ms` is late, after `deadline_ms` not allowed (use 2**62 for none); `allowed_shops` [] is any; `lost`
      is [(shop_id or -1, rider_id or -1)], pairs whose reservation was refused before.
    - hold: (shop_id, rider_id, sku, quantity, cold).
    - decision: (order_id, shop_id, rider_id, pickup_ms, dropoff_ms, rider_free_ms, cost, approach_m, delivery_m,
      reasons, alternatives); shop_id is -1 when unassigned. `reasons` is [(code, shop_id, rider_id, measured, limit,
      count)], codes named by `reason_names`; `alternatives` is [(shop_id, rider_id, extra_cost)], cheapest first.
    """

    def __new__(cls) -> Self: ...
    def upsert_shops(
        self, shops: list[tuple[int, float, float, int, int, bool, int, int, int, list[tuple[int, int]]]]
    ) -> None: ...
    def upsert_riders(
        self, riders: list[tuple[int, float, float, int, int, int, int, int, float, bool]]
    ) -> None: ...
    def remove_shops(self, shop_ids: list[int]) -> int:
        """How many there were."""

    def remove_riders(self, rider_ids: list[int]) -> int:
        """How many there were."""

    def move_riders(self, packed: bytes) -> int:
        """Positions as packed little-endian (i64 rider_id, f64 x_m, f64 y_m), 24 bytes each. Returns how many riders
        were not known."""

    def set_counters(
        self,
        shops: list[tuple[int, int, int]],
        stock: list[tuple[int, int, int]],
        riders: list[tuple[int, int]],
    ) -> int:
        """Sets absolute values: (shop_id, capacity_free, fridge_free), (shop_id, sku, cups free), (rider_id,
        load_free). Returns how many entries named nobody known."""

    def decide(
        self,
        orders: list[_Order],
        now_ms: int,
        policy: dict[str, float] | None = None,
    ) -> tuple[list[_Decision], int, int, int, int]:
        """Returns (decisions in the sequence of the orders, total_cost, gap_bound, nodes, truncated).

        `total_cost` counts the price of what is left unassigned; `gap_bound` 0 means proved optimal over the
        candidates, else no plan is cheaper by more than it; `truncated` counts orders and shops whose candidates were
        cut to the nearest. `policy` overrides defaults by name (see `policy_defaults`); an unknown name is a
        ValueError.
        """

    def validate(
        self,
        orders: list[_Order],
        now_ms: int,
        policy: dict[str, float] | None = None,
    ) -> list[str]:
        """Decides, then has every assignment, reason and the total re-checked by code that shares nothing with the
        solver. Returns what is wrong; [] is right."""

    def consume(self, holds: list[tuple[int, int, int, int, bool]]) -> list[str]:
        """For each hold, in turn: "" when everything it needs was taken, else what refused it and nothing was."""

    def release(self, holds: list[tuple[int, int, int, int, bool]]) -> None: ...
    def counters(
        self,
    ) -> tuple[list[tuple[int, int, int]], list[tuple[int, int, int]], list[tuple[int, int]]]:
        """What is free now, in the shapes of `set_counters`, sorted by id."""

    @staticmethod
    def policy_defaults() -> dict[str, float]:
        """Every name of a policy with its default. Distances in m, times in ms, weights in m (a metre, or a second)."""

    @staticmethod
    def reason_names() -> dict[int, str]: ...

# --- timers ---------------------------------------------------------------------------------------------------------

@final
class Wheel:
    """The same wheel as `Timers`, by keys of its own: for callers that keep a timer's key. Payloads and keys are any
    int64; a key is used up when its timer fires, is cancelled, moved or paused, and then names nobody.

    Columns, instants, ticks, threads and errors are those of `Timers`. All operations are batches.
    """

    def __new__(cls, tick_ms: int, start_ms: int, capacity: int) -> Self:
        """As `Timers`; paused timers count against `capacity`."""

    def insert(self, due_ms: Buffer, payloads: Buffer, slack_ms: int = 0) -> bytes:
        """Arms a batch, in order; returns the column of keys. With `slack_ms` each may fall due at any instant from its
        due time to that much later, whichever is cheapest; the instant chosen is the due time that comes out. Raises
        `OverflowError`, nothing changed, when there would be more than `capacity` timers."""

    def cancel(self, keys: Buffer) -> int:
        """Drops a batch, armed or paused; returns how many there were."""

    def reschedule(self, keys: Buffer, due_ms: Buffer) -> bytes:
        """Gives a batch new due times (after a step of the wall clock, say); paused timers go on. Returns the column
        of new keys, 0 where a key named nobody."""

    def pause(self, keys: Buffer) -> bytes:
        """Stops the time of a batch: what is left until each due time is kept. Returns new keys, 0 as above."""

    def resume(self, keys: Buffer) -> bytes:
        """Lets paused timers go on, each due after what was left. Returns new keys, 0 as above."""

    def advance(self, now_ms: int, limit: int) -> tuple[bytes, bytes, bool]:
        """As `Timers.advance`, with payloads in place of ids."""

    def snapshot(self) -> tuple[bytes, bytes, bytes]:
        """Keys, payloads and due times of all armed timers, those of one tick in the order in which they will fire."""

    def next_event_ms(self) -> int | None:
        """As `Timers.next_event_ms`."""

    def __len__(self) -> int:
        """Timers armed; paused ones are not."""

    def memory_bytes(self) -> int:
        """Bytes taken, idle capacity included."""

    def stats(self) -> dict[str, int]:
        """As `Timers.stats`."""

@final
class Timers:
    """A hierarchical timing wheel whose timers have the caller's 64-bit ids. A cache: rebuilt from storage.

    Instants are UTC ms, from 0 to 2**63 - 1; time passes only by `advance`. Columns are little-endian int64, as
    `bytes` (read where it is) or any contiguous buffer of bytes or of int64 (array("q"), numpy: copied once, since
    others may write to it while the GIL is released). A timer with due time D is handed out by the first `advance` to
    D rounded up to a tick, or later; never before D. Safe to share between threads: one call at a time is inside,
    batches release the GIL. A value outside its form raises `ValueError` (an integer that is no int64
    `OverflowError`) and changes nothing.
    """

    def __new__(cls, tick_ms: int, start_ms: int, capacity: int) -> Self:
        """`tick_ms` divides 1000 and is at most 50; at most `capacity` timers (cut to 2**30) can be armed at once."""

    def arm(self, ids: Buffer, due_ms: Buffer) -> int:
        """Arms a batch, in order, and returns its length; an id that is armed already is moved, the last one given
        counts. A due time that has passed is due at once. Raises `OverflowError`, nothing changed, when there would
        be more than `capacity` timers."""

    def arm_one(self, timer_id: int, due_ms: int) -> None:
        """Arms or moves one timer, as `arm` does."""

    def disarm(self, ids: Buffer) -> int:
        """Disarms a batch; returns how many were armed."""

    def disarm_one(self, timer_id: int) -> bool:
        """Whether it was armed."""

    def advance(self, now_ms: int, limit: int) -> tuple[bytes, bytes, bool]:
        """Moves time to `now_ms` (never back) and disarms and returns at most `limit` timers that fell due: their ids
        and due times as columns, by tick and within a tick in the order of arming; and whether that was all. If not,
        call again."""

    def next_event_ms(self) -> int | None:
        """When to call `advance` next; None when nothing is armed. Never in the past and never after the next due
        tick; it may be earlier, when timers have to be moved between levels first."""

    def __len__(self) -> int:
        """Timers armed."""

    def memory_bytes(self) -> int:
        """Bytes taken, wheel and index of ids, idle capacity included."""

    def stats(self) -> dict[str, int]:
        """Now: pending, paused, pending_ticks, pending_seconds, pending_minutes, pending_hours, pending_days (where in
        the wheel they are), garbage, memory_bytes. Sums so far: armed, rearmed, disarmed, fired, moved (to a finer
        level), forced (of these, outside the budget of work per call), compacted."""

# --- intake ---------------------------------------------------------------------------------------------------------

@final
class Intake:
    """The admission table: open groups and their orders, cups left, request ids of the last 24 hours.

    A cache, rebuilt from storage. `admit` changes it before anything is on disk, so:

    - Replies of `admit` leave only after its `orders`, `refusals`, `completed` and `member_counts` are committed, and
      in the order of the calls: a repeat is answered from the table and must not overtake the commit of its first.
    - When such a commit fails, the table is ahead of storage: throw it away and rebuild it. To rebuild: `open_groups`,
      then `restore_orders` (all orders of the open and completed groups, and all of the last 24 hours),
      `restore_refusals` (of the last 24 hours), `set_available`, then `settle` for orders of completed groups that have
      a decision.

    Safe to share between threads: one call at a time is inside; `admit`, `restore_orders` and `expire_requests`
    release the GIL. Instants are UTC ms. A value outside its form raises `ValueError` or `TypeError` and changes
    nothing.
    """

    def __new__(cls, seed: bytes, credit_min: int, purchase_limit_default: int) -> Self:
        """`seed`: 16 bytes unknown to callers, fresh for every start (request ids are hashed with it). A
        `purchase_limit_default` of 0 is no limit."""

    def open_groups(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Rows in the field order of `domain.values.Group`, read up to `state`; member counts come from
        `restore_orders`. Groups FAILED or DECIDED are only remembered as closed. A group that is here already stays as
        it is. Call it before the group's commit is answered."""

    def restore_orders(self, rows: Sequence[tuple[int, int, str, int, int, int, int, bytes]]) -> None:
        """Rows (order_id, user_id, request_id, fingerprint, created_ms, rule_revision, state, body), in any order; one
        that is here already changes nothing. An order ADMITTED of a group that is here takes its seat and its pending
        cups. Raises ValueError after the whole list when a body could not be read."""

    def restore_refusals(self, rows: Sequence[tuple[str, int, int, int, str, int, bytes]]) -> None:
        """Rows in the field order of `domain.values.RefusalRow`."""

    def set_available(self, rows: Sequence[tuple[str, int]]) -> None:
        """(sku, cups): free stock over all shops, absolute; SKUs not named stay. A negative number: no shop offers
        it."""

    def settle(self, rows: Sequence[tuple[str, int]]) -> None:
        """(sku, cups): pending cups of orders that were decided (reserved in the gate, so they come off `set_available`
        now) or cancelled after their group completed. Not for orders of failed groups or orders cancelled while their
        group was open: the table has released those itself. Never goes below zero."""

    def complete_group(self, group_id: int) -> bool:
        """OPEN to COMPLETED; False when it is not open or not here."""

    def close_group(self, group_id: int, state: int) -> bool:
        """OPEN to COMPLETED (2) or FAILED (3), COMPLETED to DECIDED (4); FAILED releases the group's pending cups.
        False when it does not come from that state or is not here."""

    def forget_group(self, group_seq: int) -> bool:
        """Drops a group and its orders; orders for it are from now on refused with GROUP_NOT_OPEN. Settle first."""

    def cancel_order(self, order_id: int) -> bool:
        """In an open group the seat and the cups are free again; in a completed one settle its cups if it had no
        decision yet. False when it is not here or is cancelled already."""

    def orders_of(self, group_seq: int) -> list[tuple[int, bytes]]:
        """(order_id, body) by number of the orders not cancelled; [] when the group is not here."""

    def group_counts(self) -> list[tuple[int, int, int, int]]:
        """(group_seq, group_id, state, member_count) of every group here, by sequence."""

    def cups(self, sku: str) -> tuple[int, int]:
        """(available, or -1 when not offered; pending)."""

    def expire_requests(self, before_ms: int) -> int:
        """Forgets request ids answered before the instant, to save memory; answers do not depend on it."""

    def stats(self) -> dict[str, int]:
        """groups, groups_open, groups_closed, orders, request_ids, skus, pending_cups. Walks all groups."""

    def admit(
        self, entries: Sequence[tuple[int, bytes]], now_ms: int, rules: RuleSet | None, rule_revision: int
    ) -> Admission:
        """Judges requests one after the other: (kind, message), kind 0 SubmitOrderRequest, 1 BatchSubmitOrdersRequest
        (all or none), 2 IngestOrdersRequest. Only rules whose action is `refuse` are asked. Use the `orders_of` bodies
        of a group in `completed` for its decision."""

@final
class Admission:
    """What came of one `Intake.admit`.

    - replies: one (code, message) for each entry; code 0: the encoded SubmitOrderResponse, BatchSubmitOrdersResponse or
      IngestOrdersResponse; else an encoded google.rpc.Status with one google.rpc.ErrorInfo.
    - orders: rows in the field order of `domain.values.OrderRow`.
    - refusals: rows in the field order of `domain.values.RefusalRow`; of unary and stream orders that the business
      refused. Malformed input, `validate_only` and atomic batches leave none.
    - completed: (group_seq, group_id, member_count) of groups that became full and are COMPLETED in the table.
    - member_counts: (group_seq, member_count) of groups that got orders, by sequence.
    - refused: how often each reason was given, repeats not counted.
    - rule_hits, rule_errors: (rule id, times), by rank, no zeros; rules_evaluated: conditions evaluated.
    """

    @property
    def replies(self) -> list[tuple[int, bytes]]: ...
    @property
    def orders(self) -> list[tuple[int, int, str, int, str, int, int, int, int, bytes]]: ...
    @property
    def refusals(self) -> list[tuple[str, int, int, int, str, int, bytes]]: ...
    @property
    def completed(self) -> list[tuple[int, int, int]]: ...
    @property
    def member_counts(self) -> list[tuple[int, int]]: ...
    @property
    def refused(self) -> dict[str, int]: ...
    @property
    def rule_hits(self) -> list[tuple[str, int]]: ...
    @property
    def rule_errors(self) -> list[tuple[str, int]]: ...
    @property
    def rules_evaluated(self) -> int: ...

def intake_limits() -> list[tuple[str, int]]:
    """The limits compiled into admission, by their names in `domain.limits`; a test compares them."""

def intake_reasons() -> list[tuple[str, int, bool]]:
    """(name, google.rpc.Code, whether such refusals are kept) of every reason admission gives."""

# --- decisions ------------------------------------------------------------------------------------------------------

def order_schema() -> list[tuple[str, str]]:
    """Every name a rule's condition may use, with its type: what rule sets are compiled against."""

def rule_effects() -> list[tuple[str, str, str]]:
    """(kind, what its value must be, `order`, `pair` or `any`) of every effect a rule may have: what its condition
    must be about. About a pair is a condition that names `rider.*` or `shop.*`."""

def check_effect(kind: str, value: str) -> str:
    """ "" when the service can have this effect, else what is wrong with it."""

def canonical_condition(text: str) -> str | None:
    """The condition on one line, with single spaces, single quotes and the fewest parentheses: the same tree, and
    canonical already. None when nothing may stand in its place: it does not parse, or it has a comment."""

def project(origin: tuple[float, float], places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """(latitude, longitude) in degrees to (x_m east, y_m north) in planar metres around `origin`, equirectangular on a
    sphere. A distance is off by at most |dlat| * tan(|lat| + |dlat|) (0.4 % at 20 km from an origin at 52 degrees), and
    by up to 0.6 % because the Earth is no sphere. Use it for all shops and riders of a `Dispatcher`, with the origin
    that `decide` gets."""

@final
class SkuCodes:
    """SKUs as the small numbers a `Dispatcher` knows them by. Append-only, for one process: not to be stored."""

    def __new__(cls) -> Self: ...
    def codes(self, skus: Sequence[str]) -> list[int]:
        """The code of each SKU, a new one for each that is new."""

    def names(self, codes: Sequence[int]) -> list[str]:
        """The SKU of each code; raises ValueError for a code never given."""

def decide(
    dispatcher: Dispatcher,
    skus: SkuCodes,
    rules: RuleSet | None,
    rule_revision: int,
    groups: Sequence[_Group],
    orders: Sequence[tuple[int, bytes]],
    now_ms: int,
    attempt: int,
    origin: tuple[float, float],
    policy: dict[str, float] | None = None,
    lost: Sequence[tuple[int, int, int]] | None = None,
) -> Decided:
    """Decides orders of completed groups together. Takes nothing from the dispatcher: reserve, then `consume`.

    - groups: (group_seq, group_id, park, capacity, member_count, latitude, longitude, complete_ms, pack_out_ms,
      deliver_until_ms).
    - orders: (order_id, `cuptime.v1.Order`) each of a group listed, else ValueError.
    - lost: (order_id, shop_id or -1, rider_id or -1): pairs whose reservation was refused; not chosen again.

    The priority is that of the first matching rule with `assign_rider_priority`, else 50. An order that does not pass
    the checks it passed when it entered is UNASSIGNED with reason ORDER_INVALID and listed in `invalid`. Releases
    the GIL.
    """

@final
class Decided:
    """What came of one `decide`.

    - rows: in the field order of `domain.values.DecisionRow` without `sequence`, in the sequence of the orders:
      (order_id, attempt, outcome, shop_id, rider_id, priority, completed_ms, decided_ms, rule_revision, sku, quantity,
      cold, pack_out_ms, pickup_ms, body); body is the `cuptime.v1.Decision` with its name and without sequence;
      shop_id, rider_id and pickup_ms are 0 when unassigned.
    - reservations: (order_id, shop_id, rider_id, sku, quantity, cold, pack_out_ms, pickup_ms, dropoff_ms) of the
      assigned.
    - unassigned: order ids.
    - invalid: (order_id, field, message) for an alarm; these are in `unassigned` too.
    - rule_hits, rule_errors: (rule id, times), by rank, no zeros; rules_evaluated: conditions evaluated.
    - delayed: (order id, until when, UTC ms) of those that a rule puts off; these are in `unassigned` too.
    - gap_bound: 0 when proved optimal over the candidates, else no plan is cheaper by more than it.
    """

    @property
    def rows(
        self,
    ) -> list[tuple[int, int, int, int, int, int, int, int, int, str, int, bool, int, int, bytes]]: ...
    @property
    def reservations(self) -> list[tuple[int, int, int, str, int, bool, int, int, int]]: ...
    @property
    def unassigned(self) -> list[int]: ...
    @property
    def invalid(self) -> list[tuple[int, str, str]]: ...
    @property
    def rule_hits(self) -> list[tuple[str, int]]: ...
    @property
    def rule_errors(self) -> list[tuple[str, int]]: ...
    @property
    def rules_evaluated(self) -> int: ...
    @property
    def gap_bound(self) -> int: ...
    @property
    def delayed(self) -> list[tuple[int, int]]: ...

def explain(
    rules: RuleSet,
    group: _Group,
    order: bytes,
    decision: bytes,
    now_ms: int,
) -> tuple[list[_Verdict], list[tuple[str, list[_Verdict]]]]:
    """(rule, verdict, condition, value, wanted, error) for each rule by rank; `verdict` is a RuleVerdict.Verdict: 1
    matched, 2 not matched, 3 error, 4 inactive, 5 shadowed, 6 for pairs, 7 for submission. Then the same of the rules
    about pairs, for each `riders/ID` and `shops/ID` that `decision`, a `cuptime.v1.Decision`, has recorded. `group` as
    in `decide`; `now_ms` is when it was decided, for a decision that has not recorded when its rules were asked."""

def judged_by_hand(
    dispatcher: Dispatcher, decision: bytes, shop_id: int, rider_id: int, origin: tuple[float, float]
) -> bytes:
    """`decision`, a `cuptime.v1.Decision`, with the facts of this shop and this rider as they are now instead of those
    that its rules were asked about."""

def decide_again(
    dispatcher: Dispatcher,
    orders: list[_Order],
    bound: list[tuple[RuleSet, _Group, bytes, bytes, int, int] | None],
    now_ms: int,
    origin: tuple[float, float],
    policy: dict[str, float] | None = None,
) -> tuple[list[_Decision], list[tuple[int, int, bytes] | None]]:
    """`Dispatcher.decide` of orders that have an assignment, some of them bound by rules: (rules, group, order, its
    decision, its shop_id, its rider_id), group and order as in `decide`. Those are judged by their rules, with the time
    and the members that the decision recorded. Its decisions, and for each bound order (hundredths that its costs count
    where it is, and where it would go; a `cuptime.v1.Decision` with the rules that match there, `RULE_WEIGHTED` and
    `judged`). An order that its rules know nothing of any more stays unassigned."""

# --- rules ----------------------------------------------------------------------------------------------------------

class RuleCompileError(ValueError):
    """Rules or a schema that do not compile.

    `diagnostics` holds everything that is wrong, in the order of the rules and then of the text: (code, rule index or
    -1, byte offset, line, column, message, hint). Line and column count from 1, columns in code points; codes are
    stable, messages are for people.
    """

    diagnostics: list[tuple[str, int, int, int, int, str, str]]

@final
class RuleSet:
    """A compiled, immutable rule set; share it between threads. Rules are kept by rank: priority (a smaller number is a
    higher priority), then id. A fault in a condition (overflow, an absent value that may not be null, ...) means: does
    not match, and is counted."""

    @staticmethod
    def compile(
        rules: list[tuple[str, str, int, int, bool, int | None, int | None, str, str, list[tuple[str, str]]]],
        schema: list[tuple[str, str]],
        previous: RuleSet | None = None,
        namespaces: list[tuple[str, str, list[tuple[str, str]]]] | None = None,
    ) -> RuleSet:
        """Rules are (id, name, position of the namespace, priority, enabled, valid_from_ms, valid_to_ms, condition,
        on_error, effects as (kind, value)); validity is half-open, UTC ms; on_error is `skip`, `refuse` or `fail`.
        Namespaces are (name, hit policy, variables as (name, expression)); without any there is one, with the policy
        `collect`. A fault of a variable has as rule index the number of rules and its place among all variables,
        added. Conditions that stand in `previous` with the same text, under the same schema, are taken over from it
        and not compiled again. The schema is dotted names with types `int`, `double`, `bool`, `string`,
        `list(string)`, and `?` behind for nullable. Raises `RuleCompileError`, and `ValueError` for a type that does
        not read."""

    def __len__(self) -> int: ...
    def findings(self) -> list[tuple[str, int, int]]:
        """What is odd about the rules, whatever the orders: (`never_true`, `always_true`, `always_fault`, `duplicate`
        or `shadowed`, rank, rank of the earlier rule or -1), and (`unused_variable`, place among all variables, -1).
        Shadowed: an earlier rule matches whenever this one does and leaves it nothing to do. O(n^2) in the rules up
        to 4,000 of them; above it rules are not compared with each other."""

    def prepare(self) -> None:
        """Makes ready what the first order would have to wait for. Blocks for as long as an index takes."""

    def levels(self) -> list[str]:
        """By rank what a rule is about: `order`, `rider`, `shop`, or `both` of the latter."""

    def rule_ids(self) -> list[str]:
        """By rank."""

    def source_indices(self) -> list[int]:
        """By rank: the rule's index in the list that was compiled."""

    def costs(self) -> list[int]:
        """By rank: the steps that the condition can take at most for one order, known from its text and from how large
        facts can be. A condition above 100,000, or a set above 10,000,000, does not compile (`limit_cost`)."""

    @property
    def reused(self) -> int:
        """Rules whose condition was taken over from `previous`."""

    @property
    def digest(self) -> str:
        """SHA-256 in hex of schema and rules: equal digests, equal decisions."""

    def evaluate(self, rows: list[dict[str, object]], now_ms: int, mode: str) -> list[list[int]]:
        """For each row the ranks of the rules that match, in order; `mode` is `first`, `collect`, or
        `policy`: those that act under the hit policies. A row maps schema
        names to values; a name left out or None is absent. Raises `ValueError` for an unknown name, `TypeError` for a
        wrong type. For tests, previews and the command line: orders on the hot path never become dicts."""

    def evaluate_columns(
        self, columns: dict[str, object], rows: int, now_ms: int, mode: str, scan: bool = False
    ) -> tuple[bytes, bytes]:
        """A whole batch in one call, the GIL released. A column is packed in the machine's byte order: `int` 8 bytes a
        row, `double` 8, `bool` 1; `string` is (4 bytes a row, list of texts), each number a position in the list and
        any beyond it absent. Slots left out are absent. Returns (starts, ranks), both packed unsigned 32-bit: the ranks
        that match row i are `ranks[starts[i]:starts[i + 1]]`. With `scan` every active rule is asked in turn and
        nothing is counted: the same answers, to compare with. Raises `ValueError`, `TypeError`."""

    def explain(self, row: dict[str, object], now_ms: int) -> list[tuple[int, str, str, int, str, str]]:
        """What every rule says, by rank: (rank, outcome, text, byte offset, found, wanted). Outcome is `matched`,
        `not_matched` (text is the part of the condition that decided), `error` (text is the kind of fault, found says
        where), `inactive` (disabled, or not valid at `now_ms`) or `shadowed` (text is the rule that decides)."""

    def counters(self) -> list[tuple[str, int, int, int]]:
        """(id, evaluated, hits, errors) by rank, of the calls of `evaluate` on this object."""

def cel_eval(
    expr: str,
    env: dict[str, object],
    bindings: dict[str, object],
    container: str,
    check: bool,
    evaluate: bool,
    macros: bool = True,
) -> tuple[str, object]:
    """One CEL expression by itself, for conformance suites.

    `env` declares variables (a type, or `{"overloads": [...]}`), `bindings` gives values. Types: `INT64`,
    `{"list": T}`, `{"map": [K, V]}`, `{"wrapper": T}`, `{"type": T}`, `{"message": name}` of a well-known one,
    `{"param": name}`, `{"abstract": name, "of": [T]}`; values: `{kind: plain}`.
    Returns ("value", value), ("error", kind of fault), ("diagnostics", [as of `RuleCompileError`]) or, with `evaluate`
    false, ("type", text). In a returned value numbers are numbers and bytes are bytes.
    """

# --- gate -----------------------------------------------------------------------------------------------------------

@final
class Counters:
    """Bounded counters with reservations: never more is taken than there is. Safe to share between threads.

    A reservation is (order_id, body, [(key, amount >= 1, free_at_ms or 0)]): all of it is taken or nothing; a part with
    an instant is given back by itself then. The body is kept for the caller; the same order with the same body is the
    same reservation. A key without a limit takes that of the key cut at its last slash, and without either has 0.
    """

    def __new__(cls, reservations_max: int, tombstone_ms: int) -> Counters: ...
    def reset(
        self,
        limits: list[tuple[str, int]],
        standing: list[tuple[int, str, list[tuple[str, int, int]]]],
        now_ms: int,
    ) -> int:
        """Forgets everything, then takes limits and committed reservations, whatever the limits say. Returns how many
        reservations there are. Raises ValueError for a negative limit or an amount below 1."""

    def set_limits(self, limits: list[tuple[str, int]]) -> None:
        """A limit may be lowered below what is taken. Raises ValueError for a negative one."""

    def reserve(
        self, wanted: list[tuple[int, str, list[tuple[str, int, int]]]], now_ms: int, hold_ms: int
    ) -> list[str]:
        """For each, in turn, "" or why not: the key that has not enough left, `released/{order_id}` for one sent before
        the order's release, `order/{order_id}` for a different body under this name, `reservations/{max}` when there
        are too many. Raises ValueError for an amount below 1; what came before it in the list stays taken."""

    def stand(self, standing: list[tuple[int, str, list[tuple[str, int, int]]]], now_ms: int) -> None:
        """Puts in committed reservations, whatever the limits say; each replaces the one of its name. Raises ValueError
        for an amount below 1; what came before it in the list stands."""

    def commit(self, order_ids: list[int]) -> list[int]:
        """Makes reservations last; returns those that are not there."""

    def release(self, order_ids: list[int], now_ms: int) -> list[str]:
        """Gives reservations back; returns their bodies. A reserve sent before `now_ms` is refused from now on, and for
        an order that had none also one sent at `now_ms`."""

    def expire(self, now_ms: int) -> list[tuple[str, int]]:
        """Ends holds whose deadline is not after `now_ms` and frees parts whose time came. What was given back, by key,
        sorted."""

    def free(self, keys: list[str]) -> list[int]:
        """What a reserve could still take, never below 0."""

    def taken(self, keys: list[str]) -> list[int]: ...
    def check(self) -> None:
        """Adds everything up again; raises ValueError saying what does not add up."""

    def __len__(self) -> int:
        """How many reservations there are."""

# --- cron -----------------------------------------------------------------------------------------------------------

class CronParseError(ValueError):
    """A text that is no schedule. `args` are (text for people, field, position in characters from 0, what is
    wrong, mend or
    "")."""

class CronYearUnknown(ValueError):
    """The calendar has no data for a year. `args` are (text for people, year)."""

@final
class CronZone:
    """A time zone, from the bytes of a TZif file (RFC 9636), its rule laid out to the year 2499. Raises
    ValueError for other
    bytes."""

    def __new__(cls, tzif: bytes) -> Self: ...
    @staticmethod
    def fixed(offset_s: int) -> CronZone:
        """One offset for ever, in seconds east of UTC."""

    def changes(self, from_s: int, until_s: int) -> list[tuple[int, int, int]]:
        """Changes of the offset with from < t <= until: (instant, offset before, offset after), in
        seconds."""

    def local_s(self, instant_s: int) -> int:
        """The wall clock at an instant, as seconds since 1970-01-01 00:00 on the wall clock."""

    def memory_bytes(self) -> int: ...

@final
class CronCalendar:
    """Days that are worked and days that are not. `week` has a bit for each work day of a plain week (bit 0
    is Sunday);
    `years` are (year, holidays, worked nevertheless), days counted from 0 at 1 January. With `open_ended`,
    years without
    data are plain weeks; else they are unknown. Raises ValueError for a year or day out of bounds."""

    def __new__(cls, week: int, open_ended: bool, years: list[tuple[int, list[int], list[int]]]) -> Self: ...
    def is_workday(self, year: int, month: int, day: int) -> bool:
        """Raises CronYearUnknown."""

    def is_holiday(self, year: int, month: int, day: int) -> bool:
        """Is it listed as a holiday? Raises CronYearUnknown."""

    def knows(self, year: int) -> bool: ...

@final
class Cron:
    """A compiled schedule: expressions joined by `|`, less those after `!`, or `@every` and its like.
    Immutable; safe to
    share between threads. Instants are UTC ms. `anchor_ms` is where `@every` without phase counts from.

    `dialect` and `dst` are names of :func:`cron_names`; `fields` asks for exactly so many fields (0: as the
    dialect has it);
    `seed` decides what `H` becomes. With a calendar: `roll` ("stay", "before", "after") moves a firing to
    the nearest work
    day, `shift` then by so many work days, and `condition` ("any", "workday", "restday", "holiday",
    "not_holiday") says on
    which days it may then fire. A year without data raises CronYearUnknown, or is a plain week with
    `plain_week`.

    Raises CronParseError, and ValueError for a name that is not known or an instant out of bounds.
    """

    def __new__(
        cls,
        text: str,
        zone: CronZone,
        *,
        dialect: str = "ocps",
        dst: str = "vixie",
        fields: int = 0,
        seed: bytes | None = None,
        calendar: CronCalendar | None = None,
        condition: str = "any",
        roll: str = "stay",
        shift: int = 0,
        plain_week: bool = False,
    ) -> Self: ...
    def next(self, after_ms: int, anchor_ms: int = 0) -> int | None:
        """The first firing after an instant, None when there is none before the year 2500. Raises
        CronYearUnknown."""

    def next_from(self, from_ms: int, anchor_ms: int = 0) -> int | None:
        """The first firing not before an instant; a run that a gap moved to the very instant lies before
        it."""

    def previous(self, before_ms: int, anchor_ms: int = 0) -> int | None:
        """The last firing before an instant. Raises CronYearUnknown."""

    def fires_at(self, at_ms: int, anchor_ms: int = 0) -> bool: ...
    def firings(
        self, after_ms: int, until_ms: int, limit: int, anchor_ms: int = 0
    ) -> tuple[list[int], int | None]:
        """Firings t with after < t <= until, at most `limit` (and 1,000,000); and the year without data that
        ended the list
        early, if one did. The GIL is released."""

    def never(self) -> bool:
        """Known since it was read; exclusions and calendars are not looked at."""

    def at_start(self) -> bool:
        """Does it fire when the service starts (`@reboot`)?"""

    def same_times(self, other: Cron) -> bool:
        """Are these the same rules, however written?"""

    def masks(self) -> dict[str, Any] | None:
        """The bit masks of a single cron expression: `seconds`, `minutes`, `hours`, `days` (bits 1-31),
        `lasts` (bit n is
        L-n), `nearest` (nW), `lasts_nearest` (L-nW), `months` (1-12), `weekdays` (bit 0 is Sunday), `nth`
        (weekdays by
        first to fifth, and last), `years` (four words from 1970 on, or None), `flags` (1 day and weekday
        must both
        fit, 2 any day, 4 any weekday, 32 never). None for anything else."""

    def every(self) -> tuple[int, str] | None:
        """(length in ms, text) when it is a single `@every`."""

def cron_next_many(crons: list[Cron], after_ms: int, anchor_ms: int = 0) -> bytes:
    """The next firing of each as a column of int64; -2**63 where there is none. The GIL is released."""

def cron_firings_many(windows: list[tuple[Cron, int, int, int, int]]) -> tuple[bytes, bytes]:
    """Many windows in one call: (cron, after_ms, until_ms, limit, anchor_ms). Returns two columns of int64:
    how many
    firings each has, and all firings one after the other; at most 1,000,000 in all. The GIL is released."""

def cron_names() -> tuple[list[tuple[str, str]], list[str]]:
    """(dialect, the DST policy of its own engine), and the DST policies."""
