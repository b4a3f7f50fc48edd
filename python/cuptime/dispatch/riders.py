"""Changes of riders, and where they are."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from msgspec.structs import replace

from cuptime.dispatch.answers import packed, rider_views
from cuptime.dispatch.counters import load_key
from cuptime.dispatch.ports import Timers
from cuptime.dispatch.positions import Positions
from cuptime.dispatch.resources import Resources, check_room, next_etag
from cuptime.dispatch.values import (
    Position,
    PositionsTaken,
    Rider,
    RiderView,
    check_count,
    check_no_repeats,
    check_rider,
)
from cuptime.domain.limits import RIDERS_MAX
from cuptime.domain.requests import Made
from cuptime.domain.values import RiderRow
from cuptime.domain.writes import PutRiders


class Riders:
    """Upsert, get, list and positions."""

    def __init__(self, resources: Resources, timers: Timers) -> None:
        self._own = resources
        self._positions = Positions(resources.clock, timers, self._save_positions)

    def close(self) -> None:
        self._positions.close()

    async def get(self, rider_id: int) -> RiderView:
        """Raises RIDER_NOT_FOUND."""
        return (await self._own.rider_views([rider_id]))[0]

    async def upsert(
        self, riders: Sequence[Rider], *, request_id: str = "", validate_only: bool = False
    ) -> list[RiderView]:
        """Creates or replaces riders, all or none. Raises FIELD_*, TOO_MANY_ENTRIES, LIMIT_REACHED."""
        check_count("riders", len(riders))
        for index, rider in enumerate(riders):
            check_rider(f"riders[{index}]", rider)
        ids = [rider.rider_id for rider in riders]
        check_no_repeats("riders", ids, "rider_id")
        check_room("riders", len(self._own.riders) + sum(i not in self._own.riders for i in ids), RIDERS_MAX)
        if validate_only:
            return [RiderView(rider, rider.max_load) for rider in riders]

        async def make() -> Made:
            now_ms = self._own.clock.now_ms()
            kept[:] = [
                replace(rider, etag=next_etag(self._own.riders.get(rider.rider_id)), updated_ms=now_ms)
                for rider in riders
            ]
            answer = packed(await self._own.rider_views_after(kept))
            return [PutRiders([self._rider_row(rider) for rider in kept])], answer

        async def follow() -> None:
            for rider in kept:
                self._own.riders[rider.rider_id] = rider
                self._positions.forget(rider.rider_id)
            await self._own.counters.gate.set_limits([(load_key(r.rider_id), r.max_load) for r in kept])
            await self._own.shifts_changed(ids)
            await self._own.feed_riders(ids)

        kept: list[Rider] = []
        return rider_views(await self._own.change("BatchUpsertRiders", request_id, riders, make, follow))

    async def page(self, *, after: int, limit: int) -> list[RiderView]:
        """By id, from `after` (exclusive) on."""
        return await self._own.rider_views(sorted(i for i in self._own.riders if i > after)[:limit])

    def move(self, positions: Sequence[Position]) -> PositionsTaken:
        """Newer positions count at once, in memory; they are saved from time to time. Raises FIELD_*."""
        taken, moved = self._positions.take(positions, self._own.riders)
        places = self._own.core.project(
            self._own.origin, [(rider.latitude, rider.longitude) for rider in moved]
        )
        for rider in moved:
            self._own.riders[rider.rider_id] = rider
        if moved:
            packed = [struct.pack("<qdd", r.rider_id, x, y) for r, (x, y) in zip(moved, places, strict=True)]
            self._own.counters.dispatcher.move_riders(b"".join(packed))
        return taken

    async def save_positions(self) -> None:
        """Saves what moved; for the stop of the server."""
        await self._positions.save()

    async def _save_positions(self, rider_ids: Sequence[int]) -> None:
        rows = [self._rider_row(self._own.riders[i]) for i in rider_ids if i in self._own.riders]
        await self._own.storage.commit(self._own.fence, [PutRiders(rows)])

    def _rider_row(self, rider: Rider) -> RiderRow:
        body = self._own.bodies.rider_body(rider)
        return RiderRow(rider.rider_id, body, rider.max_load, rider.updated_ms, rider.etag)
