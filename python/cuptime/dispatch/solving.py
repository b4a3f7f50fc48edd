"""Decide and reserve: from a batch to an answer that the gate has room for.

decide (core) -> reserve (gate)
  ^                | refused: learn what the gate has, decide again, at most RESERVE_TRIES_MAX times
  '----------------'
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from cuptime.dispatch.desk import Answer, Desk
from cuptime.dispatch.ports import Lost
from cuptime.dispatch.queue import Batch
from cuptime.domain.limits import RESERVE_TRIES_MAX
from cuptime.domain.ports import Reservation

INLINE_ORDERS_MAX: Final = 64
"""A batch of up to so many orders is decided on the event loop: the way to a thread and back costs more."""

_log = logging.getLogger(__name__)


class Solving:
    """One batch at a time; each sees what the one before took."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cuptime-decide")

    def close(self) -> None:
        self._thread.shutdown(wait=True)

    async def answer(self, batch: Batch, answer: Answer) -> None:
        """Fills `answer` round by round, so that whoever catches a fault knows what is reserved."""
        means, resources = self._desk.means, self._desk.resources
        snapshot = means.rules.snapshot()
        now_ms = means.clock.now_ms()
        groups, orders = batch.columns(now_ms), batch.orders()
        lost: list[Lost] = []
        for tries in range(RESERVE_TRIES_MAX + 1):
            if not orders:
                return
            if tries == RESERVE_TRIES_MAX:
                # No more: with every pair lost the core says so in the decision.
                lost = [(order_id, -1, -1) for order_id, _ in orders]
            decide = partial(
                means.core.decide, self._desk.counters.dispatcher, means.skus, snapshot.rules,
                snapshot.revision, groups, orders, now_ms, batch.attempt, resources.origin,
                means.policy, lost,
            )  # fmt: skip
            if len(orders) <= INLINE_ORDERS_MAX:
                decided = decide()
            else:
                decided = await asyncio.get_running_loop().run_in_executor(self._thread, decide)
            means.rules.count(decided.rules_evaluated, decided.rule_hits, decided.rule_errors)
            for order_id, path, message in decided.invalid:
                _log.error("order %d is not valid any more: %s %s", order_id, path, message)
            reservations = [Reservation(*columns) for columns in decided.reservations]
            refused_by = await self._desk.counters.reserve(reservations) if reservations else []
            answer.unassigned += decided.unassigned
            if not any(refused_by):
                answer.rows += decided.rows
                answer.reservations += reservations
                return
            refused = {held.order_id for held, key in zip(reservations, refused_by, strict=True) if key}
            self._desk.stats.refused_reservations += len(refused)
            answer.rows += [row for row in decided.rows if row[0] not in refused]
            answer.reservations += [held for held in reservations if held.order_id not in refused]
            lost += [(h.order_id, h.shop_id, h.rider_id) for h in reservations if h.order_id in refused]
            orders = [order for order in orders if order[0] in refused]

    async def give_back(self, answer: Answer) -> None:
        if not answer.reservations:
            return
        try:
            await self._desk.counters.release([held.order_id for held in answer.reservations])
        except Exception:
            _log.exception(
                "%d reservations were not given back; they run out by themselves", len(answer.reservations)
            )
