"""What dispatch needs from the core, from the wire and from time, as Protocols; `app` puts them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct

from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.values import DecisionRow, RiderRow, ShopRow

ShopColumns = tuple[int, float, float, int, int, bool, int, int, int, list[tuple[int, int]]]
RiderColumns = tuple[int, float, float, int, int, int, int, int, float, bool]
Hold = tuple[int, int, int, int, bool]
GroupColumns = tuple[int, int, str, int, int, float, float, int, int, int]
"""(group_seq, group_id, park, capacity, member_count, latitude, longitude, complete_ms, pack_out_ms,
deliver_until_ms)."""
OrderBody = tuple[int, bytes]
"""(order_id, `cuptime.v1.Order` as admitted)."""
Place = tuple[float, float]
"""Degrees, latitude first."""
Lost = tuple[int, int, int]
"""(order_id, shop_id or -1, rider_id or -1): a pair whose reservation was refused."""
DecisionColumns = tuple[int, int, int, int, int, int, int, int, int, str, int, bool, int, int, bytes]
"""A DecisionRow without its sequence."""
ReservationColumns = tuple[int, int, int, str, int, bool, int, int, int]
"""(order_id, shop_id, rider_id, sku, quantity, cold, pack_out_ms, pickup_ms, dropoff_ms)."""
RuleVerdict = tuple[str, int, str, str, str, str]
"""(rule, verdict, condition, value, wanted, error); verdict 1 matched, 2 not matched, 3 error, 4 inactive,
5 shadowed, 6 for pairs, 7 for submission."""
Bound = tuple[Any, GroupColumns, bytes, bytes, int, int]
"""(rules, group, order, its decision, its shop_id, its rider_id): an order that rules bind where it is."""
Word = tuple[int, int, bytes]
"""(hundredths that its costs count where it is, and where it would go, a Decision with what rules say there)."""
PairVerdicts = tuple[str, list[RuleVerdict]]
"""(`riders/ID` or `shops/ID`, what the rules about pairs say of it)."""
Tally = Sequence[tuple[str, int]]
"""(rule id, times)."""


class Dispatcher(Protocol):
    """The core's picture of shops and riders; see `_core.pyi`."""

    def upsert_shops(self, shops: list[ShopColumns], /) -> None: ...
    def upsert_riders(self, riders: list[RiderColumns], /) -> None: ...
    def move_riders(self, packed: bytes, /) -> int: ...
    def set_counters(
        self,
        shops: list[tuple[int, int, int]],
        stock: list[tuple[int, int, int]],
        riders: list[tuple[int, int]],
        /,
    ) -> int: ...
    def consume(self, holds: list[Hold], /) -> list[str]: ...
    def release(self, holds: list[Hold], /) -> None: ...


class SkuCodes(Protocol):
    """SKUs as the numbers the dispatcher knows them by."""

    def codes(self, skus: list[str], /) -> list[int]: ...


class Decided(Protocol):
    """What the core decided for a batch; see `_core.pyi`."""

    @property
    def rows(self) -> list[DecisionColumns]: ...
    @property
    def reservations(self) -> list[ReservationColumns]: ...
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
    def delayed(self) -> list[tuple[int, int]]: ...


class Core(Protocol):
    """The decision core; the module `cuptime.core` is one. Handles of other rooms of the core go through as Any."""

    def decide(
        self,
        dispatcher: Any,
        skus: Any,
        rules: Any,
        rule_revision: int,
        groups: list[GroupColumns],
        orders: list[OrderBody],
        now_ms: int,
        attempt: int,
        origin: Place,
        policy: dict[str, float] | None = None,
        lost: list[Lost] | None = None,
    ) -> Decided: ...

    def explain(
        self, rules: Any, group: GroupColumns, order: bytes, decision: bytes, now_ms: int
    ) -> tuple[list[RuleVerdict], list[PairVerdicts]]: ...

    def judged_by_hand(
        self, dispatcher: Any, decision: bytes, shop_id: int, rider_id: int, origin: Place
    ) -> bytes: ...

    def decide_again(
        self,
        dispatcher: Any,
        orders: list[Any],
        bound: list[Bound | None],
        now_ms: int,
        origin: Place,
        policy: dict[str, float],
    ) -> tuple[list[Any], list[Word | None]]: ...

    def project(self, origin: Place, places: list[Place]) -> list[tuple[float, float]]: ...


class Wish(Struct, frozen=True):
    """What an order asks of who carries it. `place` in degrees, None: where the group is; `temperature` as the core
    counts it: 0 hot, 1 ambient, 2 cold."""

    place: Place | None
    temperature: int
    need_min_c: int
    need_max_c: int


class Told(Struct, frozen=True):
    """What a decision says of taking the place of another; reasons are (code, measured, limit, subject)."""

    supersedes: int
    commit_ms: int
    dropoff_ms: int
    distance_m: int
    reasons: tuple[tuple[str, float, float, str], ...]
    rules: bytes = b""
    """Of an order that rules bind: a `cuptime.v1.Decision` with what they say of the new assignment."""


class Bodies(Protocol):
    """Reads and writes the messages that storage keeps as bytes. The API layer has it; nothing here knows a wire."""

    def shop_body(self, shop: Shop) -> bytes: ...
    def shop(self, row: ShopRow) -> Shop:
        """Without its stock, which storage keeps in rows of its own."""
        ...

    def rider_body(self, rider: Rider) -> bytes: ...
    def rider(self, row: RiderRow) -> Rider: ...
    def dropoff_ms(self, row: DecisionRow) -> int:
        """The estimated hand-over of a decision, 0 when it has none."""
        ...

    def decision_body(self, row: DecisionRow, before: bytes) -> bytes:
        """The body of a decision made by a person, or of a release: that of the decision `before` it with the columns
        of `row` put in (outcome, shop, rider, attempt, times), its reasons and alternatives left out. An assignment
        made so is committed at once."""
        ...

    def improved_body(self, row: DecisionRow, before: bytes, told: Told) -> bytes:
        """The same for a better assignment, with its reasons, estimates and commit time."""
        ...

    def provisional_until_ms(self, decision: bytes) -> int:
        """Until when a better assignment may take its place."""
        ...

    def bound_by_rules(self, decision: bytes) -> bool:
        """Whether rules had a say in who has it, or at what price: a better assignment is judged by them, too."""
        ...

    def order_wish(self, order: bytes, decision: bytes) -> Wish:
        """What a `cuptime.v1.Order` as admitted asks for, and where rules change that, as its decision says."""
        ...


class RuleSnapshot(Protocol):
    """A compiled rule set with its revision; a batch holds one from start to end."""

    @property
    def rules(self) -> Any: ...
    @property
    def revision(self) -> int: ...


class Rules(Protocol):
    """Where the live rules come from, and who counts their hits."""

    def snapshot(self) -> RuleSnapshot: ...
    async def compiled(self, revision: int) -> Any:
        """The rule set of a revision, for explanations."""
        ...

    def count(self, evaluated: int, hits: Tally, errors: Tally) -> None: ...


class Timers(Protocol):
    """Waits in memory, for what is rebuilt after a restart anyway (the durable ones are tasks); `tasks.wheel.Wheel`."""

    def at(self, due_ms: int, call: Callable[[], None]) -> int:
        """Calls once in the event loop, not before `due_ms`. Returns a name for `forget`."""
        ...

    def forget(self, name: int) -> None: ...


Cups = list[tuple[str, int]]
"""(sku, cups)."""


class DecidedGroup(Struct, frozen=True):
    """One group's share of a durable batch."""

    group_seq: int
    group_id: int
    whole: bool
    """Every order of the group has a decision now: it is DECIDED."""
    decided_ms: int


class Admission(Protocol):
    """Who must know what becomes of orders and cups: the intake of `groups`."""

    def cups_changed(self, available: Cups, settled: Cups) -> None:
        """Free cups by SKU over all shops (absolute, -1 not offered), and cups of orders that wait no more."""
        ...

    def groups_decided(self, groups: list[DecidedGroup]) -> None: ...


class NoAdmission:
    """Nobody admits: previews, replays, and the time before the intake is there."""

    def cups_changed(self, available: Cups, settled: Cups) -> None:
        return

    def groups_decided(self, groups: list[DecidedGroup]) -> None:
        return
