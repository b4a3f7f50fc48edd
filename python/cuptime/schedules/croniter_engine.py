"""`croniter` behind the port of the cron engine: a second opinion beside the Rust engine, which computes the firings.

What croniter does by itself is kept, except where it would surprise:

- 6 fields are read **seconds first** (its own default is seconds last).
- `a-a` is the one value `a`; croniter reads it as every value.
- Only 5 or 6 fields; no macros, no year, no `R` (random, so no two computations would agree) and no `H` (hashed).

croniter computes on the wall clock only, as if every day had 24 hours; what a change of the clock does is decided here,
by the timing's policy (:class:`cuptime.domain.values.DstPolicy`). `vixie`, `skip_once` and `wall_both` are there; the
others are refused, in zones whose clocks change. Zones are IANA names from `tzdata`. When day of month and day of week
are both restricted, either one suffices.

The engine is not for several threads at once: it is called in the event loop, in bounded pieces.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import CRON_CHARS_MAX
from cuptime.domain.values import DstPolicy, Timing, TimingKind
from cuptime.schedules import every
from cuptime.schedules.every import INSTANT_MAX_MS
from cuptime.schedules.zones import DAY_S, changes_clocks, stretch_at, zone_of

COMPILED_MAX: Final = 8_192
CHAIN_MAX: Final = 128
"""Firings of one expression that are remembered."""
STRETCHES_TRIED_MAX: Final = 1_000

_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_RANGE: Final = re.compile(r"([a-z0-9]+)-([a-z0-9]+)(/[0-9]+)?")
_UNSTABLE: Final = re.compile(r"[hr](\(|/|$)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class CroniterEngine:
    """Implements :class:`cuptime.domain.ports.CronEngine`."""

    def check(self, timing: Timing) -> None:
        """Raises FIELD_*, CRON_INVALID, CRON_NEVER_FIRES or TIME_ZONE_UNKNOWN naming the field."""
        zone_of(timing.time_zone)
        every.check(timing)
        if timing.kind is TimingKind.CRON:
            self._check_cron(timing)

    def firings(self, timing: Timing, anchor_ms: int, after_ms: int, until_ms: int, limit: int) -> list[int]:
        """Nominal times t with after_ms < t <= until_ms, ascending, at most `limit`."""
        if timing.kind is not TimingKind.CRON:
            return every.firings(timing, anchor_ms, after_ms, until_ms, limit)
        times: list[int] = []
        after_ms = max(after_ms, timing.start_ms - 1)
        last_ms = min(until_ms, timing.end_ms or INSTANT_MAX_MS, INSTANT_MAX_MS)
        clock = _compiled(timing.expression, timing.time_zone, timing.dst)
        # Firings are on whole seconds, so t > after_ms is t > the second that after_ms is in.
        second = after_ms // 1_000
        while len(times) < limit:
            second = clock.second_after(second)
            next_ms = second * 1_000
            if not second or next_ms > last_ms:
                break
            if next_ms > (times[-1] if times else after_ms):
                times.append(next_ms)
        return times

    def next(self, timing: Timing, anchor_ms: int, after_ms: int) -> int:
        """The first nominal time after `after_ms`, 0 when there is none before 2100."""
        times = self.firings(timing, anchor_ms, after_ms, INSTANT_MAX_MS, 1)
        return times[0] if times else 0

    def _check_cron(self, timing: Timing) -> None:
        expression = timing.expression
        if not expression.strip():
            raise required("timing.cron")
        if len(expression) > CRON_CHARS_MAX:
            raise invalid("timing.cron", f"at most {CRON_CHARS_MAX} characters", expression)
        if not expression.isascii():
            raise _cron_invalid(
                expression, "it has characters outside ASCII; full-width digits and spaces are not read"
            )
        if timing.dst not in _POLICIES and changes_clocks(timing.time_zone):
            raise CuptimeError(
                Reason.NOT_YET,
                f"the DST policy {timing.dst.name.lower()} is not there yet for {timing.time_zone}, whose clocks "
                "change; vixie, skip_once and wall_both are",
                field="timing.dst_policy",
                metadata={"dst_policy": timing.dst.name, "time_zone": timing.time_zone},
            )
        _check_expression(expression)
        if not _compiled(expression, timing.time_zone, timing.dst).ever_fires():
            raise CuptimeError(
                Reason.CRON_NEVER_FIRES,
                f"{expression!r} has no date in fifty years",
                field="timing.cron",
                metadata={"cron": expression},
            )


_POLICIES: Final = (DstPolicy.VIXIE, DstPolicy.SKIP_ONCE, DstPolicy.WALL_BOTH)


class _Clock:
    """One expression in one zone under one policy. croniter takes 0.1-0.2 ms for each firing, and a registration and
    the planner ask for the same ones again and again; so a chain of consecutive firings is kept."""

    __slots__ = ("_after_gap", "_chain", "_cron", "_fires", "_since", "_twice", "_zone")

    def __init__(self, cron: croniter, zone: str, fixed: bool, policy: DstPolicy) -> None:
        self._cron = cron
        self._zone = zone
        vixie = policy is DstPolicy.VIXIE
        self._after_gap = vixie and fixed
        """Does a time that a change skips fire right after the gap?"""
        self._twice = policy is DstPolicy.WALL_BOTH or (vixie and not fixed)
        """Does a time that comes twice fire twice?"""
        self._fires: bool | None = None
        self._since = 0
        self._chain: list[int] = []

    def second_after(self, second: int) -> int:
        """The first firing after `second`, 0 when there is none."""
        chain = self._chain
        if chain and self._since <= second < chain[-1]:
            return chain[bisect_right(chain, second)]
        found = self._compute(second)
        if not chain or second != chain[-1] or len(chain) >= CHAIN_MAX:
            chain = []
            self._since, self._chain = second, chain
        if found:
            chain.append(found)
        return found

    def ever_fires(self) -> bool:
        """Is there a date in fifty years?"""
        if self._fires is None:
            self._fires = self._wall_after(0) > 0
        return self._fires

    def _compute(self, second: int) -> int:
        """From stretch to stretch of constant offset. Local times are counted in seconds, as if they were UTC."""
        for _ in range(STRETCHES_TRIED_MAX):
            stretch = stretch_at(self._zone, second + 1)
            gap = (stretch.start + stretch.before, stretch.start + stretch.offset)
            if self._after_gap and second < stretch.start and 0 < self._wall_after(gap[0] - 1) < gap[1]:
                return stretch.start
            wall = self._wall_after(max(second, stretch.start - 1) + stretch.offset)
            if not self._twice and wall < gap[0]:
                # The clock was set back: these came before already.
                wall = self._wall_after(gap[0] - 1)
            if not wall or wall * 1_000 > INSTANT_MAX_MS:
                return 0
            if wall - stretch.offset < stretch.end:
                return wall - stretch.offset
            # No clock is set by a day, so nothing fires between here and a day before that.
            second = max(stretch.end - 1, wall - stretch.offset - DAY_S)
        return 0

    def _wall_after(self, wall: int) -> int:
        self._cron.set_current(wall, force=True)
        try:
            return round(self._cron.get_next(float))
        except CroniterBadDateError:
            return 0


@lru_cache(COMPILED_MAX)
def _check_expression(expression: str) -> None:
    """Raises CRON_INVALID."""
    fields = expression.lower().split()
    if len(fields) not in (5, 6):
        raise _cron_invalid(expression, f"it has {len(fields)} fields; 5, or 6 with seconds first, are read")
    if any(_UNSTABLE.match(part) for field in fields for part in field.split(",")):
        raise _cron_invalid(expression, "H and R are not read")
    try:
        _compiled(expression, "UTC", DstPolicy.VIXIE)
    except (CroniterError, ValueError, KeyError, IndexError) as fault:
        raise _cron_invalid(expression, str(fault)) from fault


@lru_cache(COMPILED_MAX)
def _compiled(expression: str, time_zone: str, policy: DstPolicy) -> _Clock:
    fields = expression.lower().split()
    plain = " ".join(_plain(field) for field in fields)
    fixed = not any(field.startswith("*") for field in fields[-5:-3])
    return _Clock(croniter(plain, _EPOCH, second_at_beginning=True), time_zone, fixed, policy)


def _plain(field: str) -> str:
    """The field with `a-a` written as `a`."""
    return ",".join(_plain_part(part) for part in field.split(","))


def _plain_part(part: str) -> str:
    match = _RANGE.fullmatch(part)
    if match is None or _number(match[1]) != _number(match[2]):
        return part
    return match[1]


def _number(value: str) -> str:
    for names, first in ((_MONTHS, 1), (_WEEKDAYS, 0)):
        if value in names:
            return str(names.index(value) + first)
    return str(int(value)) if value.isdecimal() else value


def _cron_invalid(expression: str, why: str) -> CuptimeError:
    return CuptimeError(
        Reason.CRON_INVALID,
        f"the cron expression {expression[:100]!r} cannot be read: {why}",
        field="timing.cron",
        metadata={"cron": expression[:100]},
    )
