"""The gate of one process: the counters of the Rust core. The default, without Redis."""

from __future__ import annotations

from collections.abc import Sequence

from cuptime.core import Counters
from cuptime.domain.limits import GATE_RESERVATIONS_MAX, GATE_TOMBSTONE_MS
from cuptime.domain.ports import Reservation
from cuptime.gate.needs import checked_limits, reservation_of, wanted


class InProcessGate:
    """Counters in memory. Nothing survives the process; `reset` builds them from storage."""

    def __init__(self) -> None:
        self._counters = Counters(GATE_RESERVATIONS_MAX, GATE_TOMBSTONE_MS)

    async def open(self) -> None:
        """Nothing to reach."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def reset(
        self, limits: Sequence[tuple[str, int]], standing: Sequence[Reservation], now_ms: int
    ) -> None:
        self._counters.reset(checked_limits(limits), [wanted(held) for held in standing], now_ms)

    async def set_limits(self, limits: Sequence[tuple[str, int]]) -> None:
        self._counters.set_limits(checked_limits(limits))

    async def reserve(self, reservations: Sequence[Reservation], now_ms: int, hold_ms: int) -> list[str]:
        return self._counters.reserve([wanted(held) for held in reservations], now_ms, hold_ms)

    async def stand(self, standing: Sequence[Reservation], now_ms: int) -> None:
        self._counters.stand([wanted(held) for held in standing], now_ms)

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        return self._counters.commit(list(order_ids))

    async def release(self, order_ids: Sequence[int], now_ms: int) -> list[Reservation]:
        return [reservation_of(body) for body in self._counters.release(list(order_ids), now_ms)]

    async def expire(self, now_ms: int) -> list[tuple[str, int]]:
        return self._counters.expire(now_ms)

    async def free(self, keys: Sequence[str]) -> list[int]:
        return self._counters.free(list(keys))
