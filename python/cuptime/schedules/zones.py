"""Time zones as stretches of constant offset, for engines that compute on the wall clock.

`zoneinfo` says the offset at an instant and nothing about where it changes; so changes are looked for day by day, once
for each zone and block of about a year, and then to the second. No zone has changed twice within one day.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final

from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason

DAY_S: Final = 86_400
BLOCK_S: Final = 400 * DAY_S
STRETCHES_HELD_MAX: Final = 4_096
CHANGING_FROM: Final = 946_684_800
"""The year 2000; a zone that has not changed since, nor will by its rules, is taken as fixed."""
CHANGING_UNTIL: Final = 2_145_916_800
"""The year 2038."""


class Stretch(Struct, frozen=True):
    """[start, end) in UTC seconds, with one offset to local time; `before` is the offset just before it."""

    start: int
    end: int
    offset: int
    before: int


@cache
def _names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Raises TIME_ZONE_UNKNOWN unless it is an IANA name."""
    if name not in _names():
        raise CuptimeError(
            Reason.TIME_ZONE_UNKNOWN,
            f"{name[:64]!r} is not an IANA time zone; for Beijing time write Asia/Shanghai",
            field="timing.time_zone",
            metadata={"time_zone": name[:64]},
        )
    return zoneinfo.ZoneInfo(name)


def offset_s(name: str, second: int) -> int:
    """Local time less UTC at an instant."""
    delta = datetime.fromtimestamp(second, UTC).astimezone(zone_of(name)).utcoffset()
    assert delta is not None
    return delta.days * DAY_S + delta.seconds


def stretch_at(name: str, second: int) -> Stretch:
    """The stretch that an instant from 1970 on is in. Long stretches are cut at the ends of blocks."""
    start, end = _block(second)
    for change in _changes(name, start):
        if change <= second:
            start = change
        else:
            end = change
            break
    return _stretch(name, start, end)


@lru_cache(STRETCHES_HELD_MAX)
def _stretch(name: str, start: int, end: int) -> Stretch:
    return Stretch(start, end, offset_s(name, start), offset_s(name, start - 1))


def _block(second: int) -> tuple[int, int]:
    start = max(second, DAY_S) // BLOCK_S * BLOCK_S
    return max(start, DAY_S), start + BLOCK_S


@lru_cache(STRETCHES_HELD_MAX)
def _changes(name: str, start: int) -> tuple[int, ...]:
    """The instants in (start, end of the block) at which a new offset begins."""
    found = []
    low, offset = start, offset_s(name, start)
    end = _block(start)[1]
    for high in range(start + DAY_S, end + 1, DAY_S):
        there = offset_s(name, high - 1)
        if there != offset:
            found.append(_first_of(name, low, high - 1, offset))
            offset = there
        low = high - 1
    return tuple(found)


def _first_of(name: str, low: int, high: int, offset: int) -> int:
    """The first second in (low, high] with another offset than `offset`, which holds at `low`."""
    while high - low > 1:
        middle = (low + high) // 2
        if offset_s(name, middle) == offset:
            low = middle
        else:
            high = middle
    return high


@cache
def changes_clocks(name: str) -> bool:
    """Has the zone's offset changed since 2000, or will it by 2038? One answer for each of the 600 names."""
    return any(
        _changes(name, max(block, DAY_S))
        for block in range(CHANGING_FROM // BLOCK_S * BLOCK_S, CHANGING_UNTIL, BLOCK_S)
    )
