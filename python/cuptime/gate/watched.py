"""A gate that says when its counters may not be storage's any more, so that they are built again.

Two faults leave such counters behind. The gate forgot (a Redis that was emptied, restarted or replaced): every call
fails until a `reset`. Or a change for something that storage has kept already did not arrive: a hold that was never
made to last would run out and be given to others; what came free and was never told would be free for nobody. A failed
reserve or read alone needs nothing: what may have been held runs out by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Gate, Reservation


def forgotten(fault: Exception) -> bool:
    """Can only a `reset` help?"""
    if not isinstance(fault, CuptimeError):
        return False
    return fault.reason is Reason.EPOCH_STALE or fault.metadata.get("rebuild") == "yes"


class WatchedGate:
    """Passes every call on to another gate. `doubt` is called, and the error raised, when storage must build the
    counters again; it must come back at once. A `reset` that fails is for its caller to repeat."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.doubt: Callable[[], None] = lambda: None

    @contextmanager
    def _watched(self, *, kept: bool = False) -> Iterator[None]:
        """`kept`: storage has kept already what this call is about."""
        try:
            yield
        except Exception as fault:
            if kept or forgotten(fault):
                self.doubt()
            raise

    async def open(self) -> None:
        await self._gate.open()

    async def close(self) -> None:
        await self._gate.close()

    async def reset(
        self, limits: Sequence[tuple[str, int]], standing: Sequence[Reservation], now_ms: int
    ) -> None:
        await self._gate.reset(limits, standing, now_ms)

    async def set_limits(self, limits: Sequence[tuple[str, int]]) -> None:
        with self._watched(kept=True):
            await self._gate.set_limits(limits)

    async def reserve(self, reservations: Sequence[Reservation], now_ms: int, hold_ms: int) -> list[str]:
        with self._watched():
            return await self._gate.reserve(reservations, now_ms, hold_ms)

    async def stand(self, standing: Sequence[Reservation], now_ms: int) -> None:
        with self._watched(kept=True):
            await self._gate.stand(standing, now_ms)

    async def commit(self, order_ids: Sequence[int]) -> list[int]:
        with self._watched(kept=True):
            return await self._gate.commit(order_ids)

    async def release(self, order_ids: Sequence[int], now_ms: int) -> list[Reservation]:
        with self._watched(kept=True):
            return await self._gate.release(order_ids, now_ms)

    async def expire(self, now_ms: int) -> list[tuple[str, int]]:
        with self._watched(kept=True):
            return await self._gate.expire(now_ms)

    async def free(self, keys: Sequence[str]) -> list[int]:
        with self._watched():
            return await self._gate.free(keys)
