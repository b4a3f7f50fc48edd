"""Compares what storage holds with what the clients were told, after a run. It trusts neither side and shares no code
with the service: it reads the database file and the clients' own records.

Each check returns sentences; none is good. Used by the morning, by the kill tests and by `make torture`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import apsw

from cuptime.app.morning import records

SHOWN_MAX: Final = 5
_NUMBER_BITS: Final = 20
_ADMITTED, _CANCELLED, _RELEASED = 1, 2, 3
_GROUP_OPEN, _GROUP_COMPLETED, _GROUP_FAILED, _GROUP_DECIDED = 1, 2, 3, 4
_ASSIGNED: Final = 1
_TASK_EXECUTED: Final = 4
_STANDING: Final = "(SELECT d.* FROM decisions d JOIN assignments a USING (order_id, sequence))"
_DAY_MS: Final = 86_400_000
_PACK_OUT_AFTER_MS: Final = 18 * 60_000
_NEVER_MS: Final = 2**62
_AT_REST_MS: Final = 2_000
"""What was decided less than so long before the counters were asked for may have been on its way just then."""


@dataclass(slots=True)
class Told:
    """What the clients wrote down."""

    orders: dict[str, str] = field(default_factory=dict)
    """request_id -> order name, acknowledged."""
    refused: dict[str, str] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    wrong: list[list[Any]] = field(default_factory=list)
    cancelling: set[str] = field(default_factory=set)
    """Orders that somebody tried to take back."""
    cancelled: set[str] = field(default_factory=set)
    shops: list[list[Any]] = field(default_factory=list)
    """(shop_id, asked_ms, capacity left, ((SKU, cups left), ...)) at rest."""
    riders: list[list[Any]] = field(default_factory=list)
    """(rider_id, load left) at rest."""
    tasks: set[str] = field(default_factory=set)
    executed: Counter[str] = field(default_factory=Counter)
    """Executions by idempotency key."""
    acknowledged: set[str] = field(default_factory=set)
    """Tasks whose completion was acknowledged."""
    lateness_ms: list[int] = field(default_factory=list)
    decisions: dict[str, set[str]] = field(default_factory=dict)
    """Order name -> shops it was told to be assigned to."""
    latency_ms: list[int] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Findings:
    """The outcome: counts for the report, and violations."""

    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def check(self, what: str, wrong: list[Any]) -> None:
        if wrong:
            shown = ", ".join(str(entry) for entry in wrong[:SHOWN_MAX])
            self.violations.append(f"{what}: {len(wrong)}, for example {shown}")


_NAMES: Final = {
    "unknown": "unknown", "cancelling": "cancelling", "cancelled": "cancelled", "task": "tasks",
    "acknowledged": "acknowledged",
}  # fmt: skip
_LINES: Final = {"wrong": "wrong", "shop": "shops", "rider": "riders"}
"""Where a record of a kind goes in `Told`: its name into a set, or all its fields into a list."""


def told(folder: Path) -> Told:
    """Reads every record file."""
    found = Told()
    for line in records.read(folder):
        kind, *fields = line
        if kind == "order":
            before = found.orders.setdefault(fields[0], fields[1])
            if before != fields[1]:
                found.twice.append(f"{fields[0]} -> {before} and {fields[1]}")
        elif kind == "refused":
            found.refused[fields[0]] = fields[1]
        elif kind in _NAMES:
            getattr(found, _NAMES[kind]).add(fields[0])
        elif kind in _LINES:
            getattr(found, _LINES[kind]).append(fields)
        elif kind == "executed":
            found.executed[fields[0]] += 1
            found.lateness_ms.append(fields[2])
        elif kind == "decision":
            if fields[1] == "ASSIGNED":
                found.decisions.setdefault(fields[0], set()).add(fields[5])
            # What is taken back or improved later is no first decision, and has no budget.
            if fields[4] == 1 and fields[1] != "RELEASED":
                found.latency_ms.append(fields[2])
    return found


class Audit:
    """One audit of one database."""

    def __init__(
        self, database: Path, clients: Told, *, settled: bool = True, repeats_allowed: bool = False
    ) -> None:
        """`settled`: the run came to rest, so every completed group must be decided and every due task executed.
        `repeats_allowed`: the server was killed, so a worker may have seen a task twice (never acknowledged twice)."""
        self._db = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
        self._told = clients
        self._settled = settled
        self._repeats_allowed = repeats_allowed
        self.findings = Findings()

    def run(self) -> Findings:
        try:
            self._engine()
            self._orders()
            self._cancelled()
            self._groups()
            self._decisions()
            self._capacities()
            self._given_back()
            self._tasks()
        finally:
            self._db.close()
        self.findings.check("answers that were not the ones the plan wanted", self._told.wrong)
        self.findings.check("request ids answered with two different orders", self._told.twice)
        return self.findings

    def _rows(self, sql: str, *bindings: Any) -> list[Any]:
        return list(self._db.execute(sql, bindings))

    def _count(self, name: str, sql: str) -> None:
        self.findings.counts[name] = self._rows(sql)[0][0]

    def _engine(self) -> None:
        state = self._rows("PRAGMA integrity_check")
        if state != [("ok",)]:
            self.findings.violations.append(f"the database is damaged: {state[:SHOWN_MAX]}")

    def _orders(self) -> None:
        """Acknowledged = stored; refused is not stored."""
        names: dict[str, str] = {}
        doubled = []
        for request_id, group_id, order_id in self._rows(
            f"SELECT o.request_id, g.group_id, o.order_id FROM orders o JOIN groups g"
            f" ON g.group_seq = o.order_id >> {_NUMBER_BITS}"
        ):
            name = f"groups/{group_id}/orders/{order_id & ((1 << _NUMBER_BITS) - 1)}"
            if request_id in names:
                doubled.append(request_id)
            names[request_id] = name
        told = self._told
        self._count("orders stored", "SELECT count(*) FROM orders")
        self.findings.counts["orders acknowledged"] = len(told.orders)
        self.findings.check("request ids stored twice", doubled)
        lost = [entry for entry in told.orders.items() if names.get(entry[0]) != entry[1]]
        self.findings.check("orders acknowledged and not stored as told", lost)
        ghosts = [
            request_id for request_id in told.refused if request_id in names and request_id not in told.orders
        ]
        self.findings.check("orders refused and yet stored", ghosts)
        known = told.orders.keys() | told.unknown
        stray = [request_id for request_id in names if request_id not in known]
        if not self._repeats_allowed:
            self.findings.check("orders stored that no client was told of", stray)

    def _cancelled(self) -> None:
        """Taken back = cancelled, and nothing else is; what a cancelled order held is free."""
        cancelled = {
            f"groups/{group_id}/orders/{order_id & ((1 << _NUMBER_BITS) - 1)}"
            for group_id, order_id in self._rows(
                "SELECT g.group_id, o.order_id FROM orders o JOIN groups g"
                f" ON g.group_seq = o.order_id >> {_NUMBER_BITS} WHERE o.state = ?",
                _CANCELLED,
            )
        }
        told = self._told
        self.findings.counts["orders cancelled"] = len(cancelled)
        self.findings.check("orders taken back and not cancelled", sorted(told.cancelled - cancelled))
        self.findings.check("orders cancelled that nobody took back", sorted(cancelled - told.cancelling))
        held = self._rows(
            "SELECT a.order_id FROM assignments a JOIN orders o ON o.order_id = a.order_id WHERE o.state = ?",
            _CANCELLED,
        )
        self.findings.check("cancelled orders that still hold a shop and a rider", held)

    def _given_back(self) -> None:
        """What the service says is left is what there is less what stands assigned. Decisions are improved until the
        server stops: a shop or a rider that gave or got an order while the counters were asked for, or afterwards, is
        not compared."""
        asked_ms = [shop[1] for shop in self._told.shops] or [_NEVER_MS]
        stirring = self._rows(
            "SELECT DISTINCT shop_id, rider_id FROM decisions WHERE decided_ms >= ?",
            min(asked_ms) - _AT_REST_MS,
        )
        shops_stirring = {shop_id for shop_id, _ in stirring}
        riders_stirring = {rider_id for _, rider_id in stirring}
        shops = [shop for shop in self._told.shops if shop[0] not in shops_stirring]
        riders = [rider for rider in self._told.riders if rider[0] not in riders_stirring]
        limits = dict(self._rows("SELECT shop_id, daily_capacity FROM shops"))
        on_hand = {(shop, sku): n for shop, sku, n in self._rows("SELECT shop_id, sku, on_hand FROM stock")}
        cups = {
            (shop, sku): n
            for shop, sku, n in self._rows(
                f"SELECT shop_id, sku, sum(quantity) FROM {_STANDING} GROUP BY shop_id, sku"
            )
        }
        days = {
            (shop, day): n
            for shop, day, n in self._rows(
                f"SELECT shop_id, pack_out_ms / {_DAY_MS}, count(*) FROM {_STANDING} GROUP BY 1, 2"
            )
        }
        wrong = []
        for shop_id, asked_ms, capacity_free, stock in shops:
            wanted = limits[shop_id] - days.get((shop_id, (asked_ms + _PACK_OUT_AFTER_MS) // _DAY_MS), 0)
            if capacity_free != wanted:
                wrong.append(f"shops/{shop_id}: {capacity_free} orders free, not {wanted}")
            for sku, free in stock:
                wanted = on_hand[shop_id, sku] - cups.get((shop_id, sku), 0)
                if free != wanted:
                    wrong.append(f"shops/{shop_id}: {free} of {sku} free, not {wanted}")
        rows = self._rows(
            f"SELECT r.rider_id, r.max_load - count(d.order_id) FROM riders r LEFT JOIN {_STANDING} d"
            " ON d.rider_id = r.rider_id GROUP BY r.rider_id"
        )
        loads = dict(rows)
        for rider_id, free in riders:
            if free != loads[rider_id]:
                wrong.append(f"riders/{rider_id}: load {free} free, not {loads[rider_id]}")
        self.findings.counts["shops and riders compared"] = len(shops) + len(riders)
        self.findings.check("counters that are not what storage says", wrong)

    def _groups(self) -> None:
        counted = self._rows(
            "SELECT g.group_id, g.member_count, g.capacity, g.state,"
            f" (SELECT count(*) FROM orders o WHERE o.order_id BETWEEN g.group_seq << {_NUMBER_BITS}"
            f" AND ((g.group_seq + 1) << {_NUMBER_BITS}) - 1 AND o.state != ?) FROM groups g",
            _CANCELLED,
        )
        self.findings.counts["groups"] = len(counted)
        for state, name in ((_GROUP_DECIDED, "decided"), (_GROUP_FAILED, "failed")):
            self.findings.counts[f"groups {name}"] = sum(1 for row in counted if row[3] == state)
        self.findings.check(
            "groups with more orders than seats", [row[0] for row in counted if row[4] > row[2]]
        )
        wrong = [row[0] for row in counted if row[1] != row[4]]
        self.findings.check("groups whose member count is not their orders", wrong)
        if self._settled:
            undone = [row[0] for row in counted if row[3] == _GROUP_COMPLETED]
            self.findings.check("completed groups that are not decided", undone)
            full = [row[0] for row in counted if row[3] == _GROUP_OPEN and row[1] >= row[2]]
            self.findings.check("full groups that are still open", full)
        kept = self._rows(
            f"SELECT o.order_id FROM orders o JOIN groups g ON g.group_seq = o.order_id >> {_NUMBER_BITS}"
            " WHERE g.state = ? AND o.state = ?",
            _GROUP_FAILED,
            _ADMITTED,
        )
        self.findings.check("orders of failed groups that were not released", kept)

    def _decisions(self) -> None:
        for outcome, name in ((1, "assigned"), (2, "unassigned"), (3, "released")):
            self._count(f"decisions {name}", f"SELECT count(*) FROM decisions WHERE outcome = {outcome}")
        self._count(
            "orders improved",
            "SELECT count(*) FROM (SELECT 1 FROM decisions WHERE outcome = 1 GROUP BY order_id HAVING count(*) > 1)",
        )
        twice = self._rows(
            "SELECT order_id FROM decisions GROUP BY order_id"
            " HAVING sum(outcome = 1) - sum(outcome = 3) > 1 OR sum(outcome = 1) > 1 + sum(outcome = 3)"
        )
        self.findings.check("orders decided twice", twice)
        # An assignment stands alone: before a better one takes its place it is released.
        overlapping = self._rows(
            "SELECT DISTINCT order_id FROM (SELECT order_id, sum((outcome = 1) - (outcome = 3)) OVER"
            " (PARTITION BY order_id ORDER BY sequence) stands FROM decisions) WHERE stands NOT IN (0, 1)"
        )
        self.findings.check("orders with two assignments at once, or a release of none", overlapping)
        # Compared here: SQLite joins two unindexed sides row by row, which takes minutes for a whole morning.
        standing = set(self._rows("SELECT order_id, sequence FROM assignments"))
        last_words = set(
            self._rows(
                "SELECT order_id, max(sequence) FROM decisions GROUP BY order_id"
                " HAVING sum((outcome = 1) - (outcome = 3)) = 1"
            )
        )
        unlike = sorted({order_id for order_id, _ in standing ^ last_words})
        self.findings.check("assignments that are not the last word of the ledger", unlike)
        homeless = self._rows(
            "SELECT d.order_id FROM decisions d LEFT JOIN orders o ON o.order_id = d.order_id WHERE o.order_id IS NULL"
        )
        self.findings.check("decisions without an order", homeless)
        self._told_as_decided()
        if self._settled:
            silent = self._rows(
                f"SELECT o.order_id FROM orders o JOIN groups g ON g.group_seq = o.order_id >> {_NUMBER_BITS}"
                " LEFT JOIN decisions d ON d.order_id = o.order_id"
                " WHERE o.state = ? AND g.state IN (?, ?) AND d.order_id IS NULL",
                _ADMITTED,
                _GROUP_COMPLETED,
                _GROUP_DECIDED,
            )
            self.findings.check("orders of completed groups without a decision", silent)
            waiting = self._rows(
                "SELECT l.order_id FROM (SELECT order_id, outcome, max(sequence) FROM decisions GROUP BY order_id) l"
                " JOIN orders o ON o.order_id = l.order_id"
                " LEFT JOIN interventions i ON i.order_id = l.order_id AND i.resolved_ms = 0"
                " WHERE l.outcome = 2 AND o.state = 1 AND i.order_id IS NULL AND l.order_id NOT IN"
                " (SELECT j.value FROM tasks t, json_each(CAST(t.payload AS TEXT), '$.orders') j"
                " WHERE t.queue = 'cuptime.dispatch_retry' AND t.state IN (1, 2, 3))"
            )
            self.findings.check("unassigned orders that wait nowhere", waiting)
        self._count("interventions open", "SELECT count(*) FROM interventions WHERE resolved_ms = 0")

    def _told_as_decided(self) -> None:
        """What clients heard is in the ledger; they may hear of a better shop later, never of one nobody decided."""
        decided: dict[str, set[str]] = {}
        for group_id, order_id, shop_id in self._rows(
            "SELECT g.group_id, d.order_id, d.shop_id FROM decisions d JOIN groups g"
            f" ON g.group_seq = d.order_id >> {_NUMBER_BITS} WHERE d.outcome = ?",
            _ASSIGNED,
        ):
            name = f"groups/{group_id}/orders/{order_id & ((1 << _NUMBER_BITS) - 1)}"
            decided.setdefault(name, set()).add(f"shops/{shop_id}")
        unheard = [name for name, shops in self._told.decisions.items() if shops - decided.get(name, set())]
        self.findings.check("orders whose clients heard of a shop that nobody decided", unheard)

    def _capacities(self) -> None:
        """What stands assigned never exceeds what there is."""
        over = self._rows(
            f"SELECT s.shop_id, count(*), s.daily_capacity FROM {_STANDING} d JOIN shops s ON s.shop_id = d.shop_id"
            " GROUP BY d.shop_id, d.pack_out_ms / 86400000 HAVING count(*) > s.daily_capacity"
        )
        self.findings.check("shops over their daily capacity", over)
        over = self._rows(
            f"SELECT k.shop_id, k.sku, sum(d.quantity), k.on_hand FROM {_STANDING} d"
            " JOIN stock k ON k.shop_id = d.shop_id AND k.sku = d.sku"
            " GROUP BY k.shop_id, k.sku HAVING sum(d.quantity) > k.on_hand"
        )
        self.findings.check("stock sold more than once", over)
        unknown = self._rows(
            f"SELECT d.order_id FROM {_STANDING} d LEFT JOIN stock k ON k.shop_id = d.shop_id AND k.sku = d.sku"
            " WHERE k.sku IS NULL"
        )
        self.findings.check("orders given to a shop without their SKU", unknown)
        over = self._rows(
            f"SELECT r.rider_id, count(*), r.max_load FROM {_STANDING} d JOIN riders r ON r.rider_id = d.rider_id"
            " GROUP BY d.rider_id HAVING count(*) > r.max_load"
        )
        self.findings.check("riders over their load", over)
        self._fridges()

    def _fridges(self) -> None:
        """A cold order holds its slot from its decision to its pick-up: the most held at any instant."""
        slots = dict(self._rows("SELECT shop_id, fridge_slots FROM shops"))
        edges: dict[int, list[tuple[int, int]]] = {}
        for shop_id, from_ms, until_ms in self._rows(
            f"SELECT shop_id, decided_ms, pickup_ms FROM {_STANDING} WHERE cold = 1"
        ):
            edges.setdefault(shop_id, []).extend(((from_ms, 1), (until_ms, -1)))
        over = []
        for shop_id, changes in edges.items():
            held = most = 0
            for _, change in sorted(changes):
                held += change
                most = max(most, held)
            if most > slots.get(shop_id, 0):
                over.append((shop_id, most, slots.get(shop_id, 0)))
        self.findings.check("shops over their fridge slots", over)

    def _tasks(self) -> None:
        states = dict(self._rows("SELECT 'tasks/' || task_id, state FROM tasks"))
        told = self._told
        self.findings.counts["tasks acknowledged"] = len(told.tasks)
        self.findings.counts["tasks executed by workers"] = sum(told.executed.values())
        self.findings.check(
            "tasks acknowledged and not stored", [name for name in told.tasks if name not in states]
        )
        forgotten = [name for name in told.acknowledged if states.get(name) != _TASK_EXECUTED]
        self.findings.check("completions acknowledged and not stored", forgotten)
        repeated = [key for key, times in told.executed.items() if times > 1]
        self.findings.counts["tasks attempted more than once"] = len(repeated)
        if not self._repeats_allowed:
            self.findings.check("tasks executed twice", repeated)
        if self._settled:
            undone = [name for name in told.tasks if states.get(name) != _TASK_EXECUTED]
            self.findings.check("tasks that were not executed", undone)
