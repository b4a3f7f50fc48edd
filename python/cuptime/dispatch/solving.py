"""Decide and reserve: from a batch to an answer that the gate has room for.

decide (core) -> reserve (gate)
  ^                | refused: learn what the gate has, decide again, at most RESERVE_TRIES_MAX times
  '----------------'

The core looks at the nearest shops of an order and at the nearest riders of a shop, so many and no more. Hundreds of
orders for one place may fill all of these. Those of a large batch that nobody near could take are therefore decided
again, once it is known what the others took: whoever is full is no candidate any more, and the next nearest are.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from cuptime.dispatch.desk import Answer, Desk
from cuptime.dispatch.ports import Decided, Lost, OrderBody, RuleSnapshot
from cuptime.dispatch.queue import Batch
from cuptime.domain.errors import is_gate_away
from cuptime.domain.limits import RESERVE_TRIES_MAX
from cuptime.domain.values import group_seq_of

INLINE_ORDERS_MAX: Final = 64
"""A batch of up to so many orders is decided on the event loop: the way to a thread and back costs more."""

LOOK_FURTHER_MAX: Final = 4
"""How often a batch goes on to shops and riders further away."""

_log = logging.getLogger(__name__)


class Round:
    """What all days of a batch are decided under."""

    def __init__(self, batch: Batch, rules: RuleSnapshot, now_ms: int) -> None:
        self.batch = batch
        self.rules = rules
        self.now_ms = now_ms
        self.groups = batch.columns(now_ms)


class Solving:
    """One batch at a time; each sees what the one before took."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cuptime-decide")

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def answer(self, batch: Batch, answer: Answer) -> None:
        """Fills `answer` round by round, so that whoever catches a fault knows what is reserved."""
        round_ = Round(batch, self._desk.means.rules.snapshot(), self._desk.means.clock.now_ms())
        calendar = self._desk.counters.calendar
        by_day: dict[str, set[int]] = {}
        for columns in round_.groups:
            by_day.setdefault(calendar.day(columns[8]).name, set()).add(columns[0])
        orders = batch.orders()
        for day, group_seqs in by_day.items():
            # One capacity of each shop at a time is known to the core: that of the day of the pack-out.
            of_day = orders if len(by_day) == 1 else [o for o in orders if group_seq_of(o[0]) in group_seqs]
            async with self._desk.counters.of_day(day):
                await self._answer_day(round_, of_day, answer)

    async def _answer_day(self, round_: Round, orders: list[OrderBody], answer: Answer) -> None:
        lost: list[Lost] = []
        tries = 0
        further = LOOK_FURTHER_MAX if len(orders) > INLINE_ORDERS_MAX else 0
        while orders:
            decided = await self._decide(round_, orders, lost)
            reservations = self._desk.resources.standing.reservations(
                decided.reservations, self._desk.resources.riders
            )
            # If the gate does not answer, it may have reserved all the same.
            answer.asked = [held.order_id for held in reservations]
            refused_by = await self._desk.counters.reserve(reservations) if reservations else []
            answer.asked = []
            answer.delayed.update(decided.delayed)
            refused = {held.order_id for held, key in zip(reservations, refused_by, strict=True) if key}
            self._desk.stats.refused_reservations += len(refused)
            answer.reservations += [held for held in reservations if held.order_id not in refused]
            # Without anything taken just now, the same shops and riders would be looked at again.
            again = set(decided.unassigned) if further and len(reservations) > len(refused) else set()
            again.difference_update(answer.delayed)
            further -= bool(again)
            answer.unassigned += [order_id for order_id in decided.unassigned if order_id not in again]
            again |= refused
            answer.rows += [row for row in decided.rows if row[0] not in again]
            tries += bool(refused)
            if tries < RESERVE_TRIES_MAX:
                lost += [(h.order_id, h.shop_id, h.rider_id) for h in reservations if h.order_id in refused]
            else:
                # No more: with every pair lost the core says so in the decision.
                lost += [(order_id, -1, -1) for order_id in refused]
            orders = [order for order in orders if order[0] in again]

    async def _decide(self, round_: Round, orders: list[OrderBody], lost: list[Lost]) -> Decided:
        means = self._desk.means
        decide = partial(
            means.core.decide, self._desk.counters.dispatcher, means.skus, round_.rules.rules,
            round_.rules.revision, round_.groups, orders, round_.now_ms, round_.batch.attempt,
            self._desk.resources.origin, means.policy, lost,
        )  # fmt: skip
        if len(orders) <= INLINE_ORDERS_MAX:
            decided = decide()
        else:
            decided = await asyncio.get_running_loop().run_in_executor(self._thread, decide)
        means.rules.count(decided.rules_evaluated, decided.rule_hits, decided.rule_errors)
        for order_id, path, message in decided.invalid:
            _log.error("order %d is not valid any more: %s %s", order_id, path, message)
        return decided

    async def give_back(self, answer: Answer) -> None:
        """Everything that was reserved, or may have been."""
        order_ids = [*(held.order_id for held in answer.reservations), *answer.asked]
        if not order_ids:
            return
        try:
            await self._desk.counters.release(order_ids)
        except Exception as fault:
            _log.warning(
                "%d reservations were not given back; they run out by themselves: %s",
                len(order_ids),
                fault,
                exc_info=not is_gate_away(fault),
            )
