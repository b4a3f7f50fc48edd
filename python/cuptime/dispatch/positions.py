"""Where riders are: hints that come in thousands, count at once in memory, and are saved from time to time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from cuptime.dispatch.ports import Timers
from cuptime.dispatch.values import (
    INSTANT_MS_MAX,
    Position,
    PositionsTaken,
    Rider,
    check_count,
    check_place,
    check_range,
)
from cuptime.domain.clock import Clock

SAVE_AFTER_MS: Final = 5_000
"""A position that is not saved yet is at most this old; one write saves all that moved."""
ROWS_PER_SAVE_MAX: Final = 5_000

_log = logging.getLogger(__name__)


class Positions:
    """The newest position of each rider, and which of them storage does not have."""

    def __init__(
        self, clock: Clock, timers: Timers, save: Callable[[Sequence[int]], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._timers = timers
        self._save = save
        self._measured_ms: dict[int, int] = {}
        self._unsaved: dict[int, None] = {}
        self._timer = 0
        self._saving: asyncio.Task[None] | None = None

    def take(
        self, positions: Sequence[Position], riders: Mapping[int, Rider]
    ) -> tuple[PositionsTaken, list[Rider]]:
        """Counts each and returns the riders that moved, with their new places. Raises FIELD_*, all or none."""
        check_count("positions", len(positions))
        for index, position in enumerate(positions):
            path = f"positions[{index}]"
            check_range(f"{path}.rider_id", position.rider_id, 1, 2**62)
            check_place(f"{path}.location", position.latitude, position.longitude)
            check_range(f"{path}.measure_time_ms", position.measured_ms, 1, INSTANT_MS_MAX)
        now_ms = self._clock.now_ms()
        taken = PositionsTaken()
        moved: dict[int, Rider] = {}
        for position in positions:
            rider = moved.get(position.rider_id) or riders.get(position.rider_id)
            # One phone whose clock is ahead must not make all its later positions stale.
            measured_ms = min(position.measured_ms, now_ms)
            if rider is None:
                taken.unknown += 1
            elif measured_ms <= self._measured_ms.get(position.rider_id, 0):
                taken.stale += 1
            else:
                taken.accepted += 1
                self._measured_ms[position.rider_id] = measured_ms
                moved[position.rider_id] = replace(
                    rider, latitude=position.latitude, longitude=position.longitude
                )
        if moved:
            self._unsaved.update(dict.fromkeys(moved))
            self._arm()
        return taken, list(moved.values())

    def forget(self, rider_id: int) -> None:
        """The rider was replaced: the place given there is the newest, whatever its time."""
        self._measured_ms.pop(rider_id, None)
        self._unsaved.pop(rider_id, None)

    async def save(self) -> None:
        """Saves all that moved since the last time."""
        while self._unsaved:
            riders = list(self._unsaved)[:ROWS_PER_SAVE_MAX]
            for rider_id in riders:
                del self._unsaved[rider_id]
            try:
                await self._save(riders)
            except Exception:
                self._unsaved.update(dict.fromkeys(riders))
                raise

    def close(self) -> None:
        if self._timer:
            self._timers.forget(self._timer)
            self._timer = 0
        if self._saving is not None:
            self._saving.cancel()

    def _arm(self) -> None:
        if not self._timer and (self._saving is None or self._saving.done()):
            self._timer = self._timers.at(self._clock.now_ms() + SAVE_AFTER_MS, self._begin)

    def _begin(self) -> None:
        self._timer = 0
        self._saving = asyncio.get_running_loop().create_task(self._save_all())

    async def _save_all(self) -> None:
        try:
            await self.save()
        except Exception:
            _log.warning("positions were not saved; they stay in memory", exc_info=True)
        finally:
            self._saving = None
            if self._unsaved:
                self._arm()
