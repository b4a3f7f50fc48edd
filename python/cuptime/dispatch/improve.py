"""Re-optimisation: what is not committed is solved anew together, and a better assignment takes the place of a worse.

    timer -> choose (last chances, then the least looked at)
      -> [ quiet: solve (core) -> room? (gate) -> persist -> gate -> publish ]

A decision is provisional until its commit time. While anything is, a pass comes every `every_ms`; with nothing
provisional there is no timer and no wake-up. One pass is one commit: for each order that moves, the RELEASED row of
the old assignment and the ASSIGNED row of the new one, so that no order ever stands twice or not at all, whatever dies
when.

Nothing is sold twice on the way. A pass runs between two batches of the line, with the turn of each group it touches
and the counters' lock, so nobody else takes or gives back meanwhile: it asks the gate whether there is room for the
difference, commits, and then has the gate follow. It keeps all three until storage says whether the commit was kept
when nobody knows, and until the gate is rebuilt when it did not follow. What a person assigned is committed at once,
and so is never moved.

What rules had a say in is judged by them again: those of its decision, at its time. So it goes nowhere that they
forbid, and counts what they make it count.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.dispatch.desk import pause_ms
from cuptime.dispatch.doubt import outcome_unknown
from cuptime.dispatch.estimates import Carrier, Place, Standing
from cuptime.dispatch.horizon import Horizon, whole_terms
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.ports import Bodies, Bound, Hold, Told, Word
from cuptime.dispatch.provisional import Provisional, ProvisionalBook
from cuptime.dispatch.queue import group_columns
from cuptime.dispatch.release import columns_of
from cuptime.dispatch.resources import SPEED_DEFAULT_M_PER_MIN, Resources
from cuptime.dispatch.rolling import Move, Plan, improve_loads
from cuptime.dispatch.trips import Look, improve_trips
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import IMPROVE_ORDERS_MAX
from cuptime.domain.ports import Committed, Reservation
from cuptime.domain.values import DecisionRow, Outcome, group_seq_of
from cuptime.domain.writes import InsertDecisions

ROUNDS_MAX: Final = 3
"""How often a pass looks again without the orders that the solver would have left."""

_log = logging.getLogger(__name__)


class ImproveStats(Struct):
    """What the passes did since the start."""

    passes: int = 0
    moved: int = 0
    gained_m: int = 0
    failed: int = 0


class Improver:
    """Improves what the line decided, until it is committed."""

    def __init__(
        self,
        line: DecisionLine,
        book: ProvisionalBook,
        bodies: Bodies,
        horizon: Horizon,
        every_ms: int,
        defaults: Mapping[str, float],
    ) -> None:
        """`every_ms` 0: never. `defaults` are those of the core's policy."""
        self._line = line
        self._book = book
        self._bodies = bodies
        self._horizon = horizon
        self._terms = whole_terms(horizon, defaults)
        self._every_ms = every_ms
        self._timer = 0
        self._running: asyncio.Task[None] | None = None
        self._closed = False
        self._rules: dict[int, Any] = {}
        """Of a pass: the rule sets that what it looks at was decided by, by revision; None of one that does not compile
        any more."""
        self.stats = ImproveStats()
        book.wake = self._arm
        line.means.metrics.depth("provisional", lambda: len(book))

    # --- life -----------------------------------------------------------------------------------------------------
    def _arm(self) -> None:
        """At the next multiple of the period, when nothing is armed or under way."""
        if self._closed or not self._every_ms or self._timer or not len(self._book):
            return
        if self._running is not None and not self._running.done():
            return
        now_ms = self._line.means.clock.now_ms()
        due_ms = now_ms - now_ms % self._every_ms + self._every_ms
        self._timer = self._line.means.timers.at(due_ms, self._begin)

    def _begin(self) -> None:
        self._timer = 0
        self._running = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """No more passes. Call it before the line's: a pass that waits for storage is given up, as in a crash."""
        self._closed = True
        if self._timer:
            self._line.means.timers.forget(self._timer)
            self._timer = 0
        if self._running is not None and not self._running.done():
            self._running.cancel()
            await asyncio.wait([self._running])

    async def settle(self) -> None:
        """Returns when no pass is under way."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        try:
            await self.improve()
        except Exception as fault:
            self.stats.failed += 1
            expected = isinstance(fault, CuptimeError)
            _log.warning(
                "decisions were not improved; they stand as they are: %s", fault, exc_info=not expected
            )
        finally:
            self._running = None
            self._arm()

    # --- one pass -------------------------------------------------------------------------------------------------
    async def improve(self) -> int:
        """One pass; how many orders moved. Raises what gate and storage raise, with nothing changed."""
        now_ms = self._line.means.clock.now_ms()
        self._book.prune(now_ms)
        chosen = self._book.choose(IMPROVE_ORDERS_MAX, now_ms + self._every_ms)
        await self._read(chosen)
        async with self._line.quiet():
            groups = {group_seq_of(entry.row.order_id) for entry in chosen}
            ours = self._line.queue.take_in_hand(groups)
            try:
                async with self._of_first_day(chosen), self._line.counters.lock:
                    moved = await self._improve([entry for entry in chosen if self._takes_part(entry, ours)])
            finally:
                for group_seq in ours:
                    self._line.queue.let_go(group_seq)
        self.stats.passes += 1
        return moved

    def _of_first_day(self, chosen: Sequence[Provisional]) -> AbstractAsyncContextManager[None]:
        """The dispatcher knows one day's capacity: it is that of the order that is committed first."""
        counters = self._line.counters
        first = min(chosen, key=lambda entry: entry.commit_ms, default=None)
        held = self._line.resources.standing.get(first.row.order_id) if first is not None else None
        return counters.of_day(held.day if held is not None else counters.day)

    async def _read(self, entries: Sequence[Provisional]) -> None:
        """What a start left to be read when it is needed."""
        storage = self._line.means.storage
        for entry in entries:
            if entry.group is None:
                entry.group = await storage.group_by_seq(group_seq_of(entry.row.order_id))
            if entry.order is None:
                order = await storage.order(entry.row.order_id)
                entry.order = order.body if order is not None else None
        self._rules = {entry.row.rule_revision: None for entry in entries if entry.bound}
        for revision in self._rules:
            try:
                self._rules[revision] = await self._line.means.rules.compiled(revision)
            except CuptimeError as fault:
                _log.warning("what was decided by rule revision %d is not improved: %s", revision, fault)

    def _takes_part(self, entry: Provisional, ours: set[int]) -> bool:
        """Still provisional, in our hands, and with a shop and a rider that are known."""
        row, now_ms = entry.row, self._line.means.clock.now_ms()
        resources = self._line.resources
        held = resources.standing.get(row.order_id)
        return (
            group_seq_of(row.order_id) in ours
            and held is not None
            and held.day == self._line.counters.day
            and self._book.get(row.order_id) is entry
            and entry.commit_ms >= now_ms
            and row.pickup_ms > now_ms
            and entry.group is not None
            and entry.order is not None
            and row.shop_id in resources.shops
            and row.rider_id in resources.riders
            and (not entry.bound or self._judges(row))
        )

    def _judges(self, row: DecisionRow) -> bool:
        """Whether the rules of a decision can be asked again. The search over trips does not know them."""
        return not self._horizon.one_trip_at_a_time and self._rules.get(row.rule_revision) is not None

    async def _improve(self, entries: list[Provisional]) -> int:
        """Under quiet, turns and lock."""
        if not entries:
            return 0
        now_ms = self._line.means.clock.now_ms()
        by_id = {entry.row.order_id: entry for entry in entries}
        solver = _Judged(self._line, self._rules, by_id)
        moves = self._solve(entries, solver, now_ms).moves
        if not moves or not await self._room(moves):
            return 0
        rows: list[DecisionRow] = []
        for move in moves:
            rows += self._rows(move, by_id[move.order.order_id].row, solver.told(move.order.order_id), now_ms)
        committed = await self._commit([columns_of(row) for row in rows], rows)
        if committed is None:
            return 0
        return await self._follow(moves, rows, by_id, committed)

    # --- solve ----------------------------------------------------------------------------------------------------
    def _solve(self, entries: Sequence[Provisional], solver: _Judged, now_ms: int) -> Plan:
        """With what the orders hold given back in the dispatcher, which has it again afterwards. In one go: nobody sees
        the dispatcher meanwhile."""
        resources = self._line.resources
        dispatcher: Any = self._line.counters.dispatcher
        shops, riders = _Shops(resources), _Riders(resources)
        orders = [self._standing(entry, now_ms) for entry in entries]
        holds = {entry.row.order_id: self._hold(entry.row) for entry in entries}
        for _ in range(ROUNDS_MAX):
            given_back = [holds[order.order_id] for order in orders]
            loads = dispatcher.counters()[2] if self._horizon.one_trip_at_a_time else []
            dispatcher.release(given_back)
            try:
                if self._horizon.one_trip_at_a_time:
                    next_ms = now_ms + self._every_ms
                    look = Look(dict(riders), dict(shops), now_ms, next_ms, self._horizon, self._terms)
                    plan = improve_trips(dispatcher, orders, look)
                else:
                    plan = improve_loads(
                        solver, orders, riders, shops, now_ms, self._horizon, self._terms, solver.percents
                    )
            finally:
                dispatcher.set_counters([], [], _with(loads, given_back))
                dispatcher.consume(given_back)
            if not plan.left_out:
                return plan
            orders = [order for order in orders if order.order_id not in plan.left_out]
        return Plan()

    def _standing(self, entry: Provisional, now_ms: int) -> Standing:
        row, group, order = entry.row, entry.group, entry.order
        assert group is not None
        assert order is not None
        wish = self._bodies.order_wish(order, row.body)
        place = wish.place or (group.latitude, group.longitude)
        door = self._line.means.core.project(self._line.resources.origin, [place])[0]
        deadline_ms = row.pack_out_ms + group_columns(group, now_ms)[9] - group_columns(group, now_ms)[8]
        target_ms = row.completed_ms + self._horizon.target_after_ms
        return Standing(
            row.order_id, group.group_id, door, self._line.counters.codes([row.sku])[0], row.quantity,
            wish.temperature, wish.need_min_c, wish.need_max_c, row.priority, row.pack_out_ms,
            target_ms if self._horizon.target_after_ms else deadline_ms, deadline_ms, row.shop_id, row.rider_id,
            row.pickup_ms, entry.commit_ms,
        )  # fmt: skip

    def _hold(self, row: DecisionRow) -> Hold:
        code = self._line.counters.codes([row.sku])[0]
        return row.shop_id, row.rider_id, code, row.quantity, bool(row.cold)

    # --- room, rows, commit, and what follows ---------------------------------------------------------------------
    async def _room(self, moves: Sequence[Move]) -> bool:
        """Has the gate room for the difference? Nobody else can take from it now."""
        more: Counter[str] = Counter()
        olds = self._line.resources.standing.known([move.order.order_id for move in moves])
        for held, sign in [*((new, 1) for new in self._moved(moves)), *((old, -1) for old in olds)]:
            amounts = (1, int(held.cold), held.quantity if held.takes_stock else 0, 1)
            for key, amount in zip(self._line.counters.keys_of(held), amounts, strict=True):
                more[key] += sign * amount
        wanted = [key for key, amount in more.items() if amount > 0]
        free = await self._line.counters.gate.free(wanted)
        short = [key for key, left in zip(wanted, free, strict=True) if left < more[key]]
        if short:
            _log.info("no room to improve: %s", ", ".join(short[:5]))
        return not short

    def _rows(
        self, move: Move, old: DecisionRow, rules: bytes, now_ms: int
    ) -> tuple[DecisionRow, DecisionRow]:
        """The row that releases the old assignment, and the one that makes the new."""
        released = replace(old, sequence=0, outcome=Outcome.RELEASED, decided_ms=now_ms)
        released = replace(released, body=self._bodies.decision_body(released, old.body))
        made = replace(
            old, sequence=0, attempt=old.attempt + 1, shop_id=move.shop_id, rider_id=move.rider_id,
            decided_ms=now_ms, pickup_ms=move.estimate.pickup_ms,
        )  # fmt: skip
        one = move.estimate
        told = Told(
            old.sequence, move.commit_ms, one.dropoff_ms, one.approach_m + one.delivery_m,
            (
                (f"ASSIGNMENT_{move.why}", float(move.gain_m), 0.0, f"riders/{old.rider_id}"),
                ("GAINED_TOGETHER", float(move.together_m), float(self._horizon.gain_min_m), ""),
            ),
            rules,
        )  # fmt: skip
        return released, replace(made, body=self._bodies.improved_body(made, old.body, told))

    async def _commit(self, columns: list[Any], rows: Sequence[DecisionRow]) -> Committed | None:
        """None: storage refused, nothing was kept. When nobody knows, asks until storage answers."""
        means = self._line.means
        try:
            return await means.storage.commit(means.fence, [InsertDecisions(columns)])
        except Exception as fault:
            _log.warning("better assignments were not committed: %s", fault)
            if not outcome_unknown(fault):
                if isinstance(fault, CuptimeError) and fault.reason is Reason.STATE_CONFLICT:
                    # What this room believes of these orders is not so.
                    for row in rows:
                        self._book.drop(row.order_id)
                self.stats.failed += 1
                return None
        tries = 0
        while True:
            await self._pause(pause_ms(tries))
            tries += 1
            try:
                await means.storage.settle()
                latest = await means.storage.decision(rows[-1].order_id)
            except Exception as second:
                _log.warning("storage cannot say whether better assignments were kept: %s", second)
                continue
            # A commit is kept whole or not at all, and nobody else decided since: the group is in our hands.
            kept = latest is not None and latest.attempt == rows[-1].attempt
            return Committed((), latest.sequence - len(rows) + 1) if kept and latest is not None else None

    async def _pause(self, length_ms: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not over.done():
                over.set_result(None)

        means = self._line.means
        means.timers.at(means.clock.now_ms() + length_ms, wake)
        await over

    async def _follow(
        self,
        moves: Sequence[Move],
        rows: Sequence[DecisionRow],
        by_id: Mapping[int, Provisional],
        committed: Committed,
    ) -> int:
        """Everything right of persist: it can be rebuilt from storage."""
        self._line.feed.publish(committed.first_sequence, [columns_of(row) for row in rows])
        for at, move in enumerate(moves):
            entry = by_id[move.order.order_id]
            made = replace(rows[2 * at + 1], sequence=committed.first_sequence + 2 * at + 1)
            self._book.replaced(entry, made, move.commit_ms)
        self.stats.moved += len(moves)
        self.stats.gained_m += sum(move.gain_m for move in moves)
        try:
            await self._line.resources.moved(self._moved(moves), rows[0].decided_ms)
        except Exception:
            _log.exception("the gate did not follow better assignments; it is rebuilt")
            await self._rebuild()
        return len(moves)

    async def _rebuild(self) -> None:
        """From storage, before anybody takes again from a gate that did not follow what is durable."""
        tries = 0
        while True:
            try:
                await self._line.resources.recover_locked()
                return
            except Exception as fault:
                _log.warning("the gate was not rebuilt after better assignments; trying again: %s", fault)
            await self._pause(pause_ms(tries))
            tries += 1

    def _moved(self, moves: Sequence[Move]) -> list[Reservation]:
        """What the orders take where they go."""
        resources = self._line.resources
        made: list[Reservation] = []
        for move in moves:
            (held,) = resources.standing.known([move.order.order_id])
            there = replace(
                held, shop_id=move.shop_id, rider_id=move.rider_id, pickup_ms=move.estimate.pickup_ms,
                dropoff_ms=move.estimate.dropoff_ms, load_until_ms=0,
            )  # fmt: skip
            made.append(resources.standing.as_of_now(there, resources.riders))
        return made


def _with(loads: Sequence[tuple[int, int]], given_back: Sequence[Hold]) -> list[tuple[int, int]]:
    """Loads as they were, before what was given back is taken again."""
    more = Counter(hold[1] for hold in given_back)
    return [(rider_id, free + more[rider_id]) for rider_id, free in loads]


class _Judged:
    """The dispatcher as the solver of a pass: each order that rules bind is judged by those of its decision."""

    def __init__(
        self, line: DecisionLine, rules: Mapping[int, Any], entries: Mapping[int, Provisional]
    ) -> None:
        self._line = line
        self._rules = rules
        self._entries = entries
        self._words: dict[int, Word] = {}

    def decide(self, orders: Any, now_ms: int, policy: dict[str, float] | None = None) -> Any:
        """As the dispatcher's; remembers what the rules say."""
        dispatcher: Any = self._line.counters.dispatcher
        bound = [self._bound(self._entries[order[0]]) for order in orders]
        if not any(bound):
            return dispatcher.decide(orders, now_ms, policy)
        origin = self._line.resources.origin
        decisions, words = self._line.means.core.decide_again(
            dispatcher, orders, bound, now_ms, origin, dict(policy or {})
        )
        self._words = {order[0]: word for order, word in zip(orders, words, strict=True) if word is not None}
        return (decisions,)

    def percents(self, order_id: int) -> tuple[int, int]:
        """How many hundredths its costs count where it is, and where it would go."""
        before, after, _ = self._words.get(order_id, (100, 100, b""))
        return before, after

    def told(self, order_id: int) -> bytes:
        """What the rules say where it would go; nothing of an order that they do not bind."""
        return self._words[order_id][2] if order_id in self._words else b""

    def _bound(self, entry: Provisional) -> Bound | None:
        row, group, order = entry.row, entry.group, entry.order
        if not entry.bound or group is None or order is None:
            return None
        columns = group_columns(group, row.decided_ms)
        return self._rules[row.rule_revision], columns, order, row.body, row.shop_id, row.rider_id


class _Shops(Mapping[int, Place]):
    """Where the shops are, in metres; computed when asked."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def __getitem__(self, shop_id: int) -> Place:
        shop = self._resources.shops[shop_id]
        return self._resources.core.project(self._resources.origin, [(shop.latitude, shop.longitude)])[0]

    def __iter__(self) -> Iterator[int]:
        return iter(self._resources.shops)

    def __len__(self) -> int:
        return len(self._resources.shops)


class _Riders(Mapping[int, Carrier]):
    """Where the riders are and until when; computed when asked."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    def __getitem__(self, rider_id: int) -> Carrier:
        rider = self._resources.riders[rider_id]
        place = self._resources.core.project(self._resources.origin, [(rider.latitude, rider.longitude)])[0]
        speed = float(rider.speed_m_per_min or SPEED_DEFAULT_M_PER_MIN)
        return Carrier(
            rider_id, place, rider.available_from_ms, rider.available_until_ms, speed, not rider.paused
        )

    def __iter__(self) -> Iterator[int]:
        return iter(self._resources.riders)

    def __len__(self) -> int:
        return len(self._resources.riders)
