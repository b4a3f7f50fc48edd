"""The cron engine of today: `croniter` behind the port that the Rust engine will fill.

What croniter does by itself is kept, except where it would surprise:

- 6 fields are read **seconds first** (its own default is seconds last).
- `a-a` is the one value `a`; croniter reads it as every value.
- Only 5 or 6 fields; no macros, no year, no `R` (random, so no two computations would agree) and no `H` (hashed).

Daylight saving, as croniter has it: a time that a change skips fires at the first instant after the gap; a time that
comes twice fires twice. Zones are IANA names from `tzdata`. When day of month and day of week are both restricted,
either one suffices.

The engine is not for several threads at once: it is called in the event loop, in bounded pieces.
"""

from __future__ import annotations

import re
import zoneinfo
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Final

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import CRON_CHARS_MAX, EVERY_MIN_MS, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.values import Timing, TimingKind
from cuptime.schedules import every

COMPILED_MAX: Final = 8_192
INSTANT_MAX_MS: Final = 4_102_444_800_000
"""The year 2100: what lies beyond is not computed."""

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
        for name, value_ms in (("start_time_ms", timing.start_ms), ("end_time_ms", timing.end_ms)):
            if not 0 <= value_ms <= INSTANT_MAX_MS:
                raise invalid(f"timing.{name}", "0 or an instant before 2100", value_ms)
        if timing.end_ms and timing.end_ms < timing.start_ms:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION, "end_time_ms is before start_time_ms", field="timing.end_time_ms"
            )
        if timing.kind is TimingKind.CRON:
            self._check_cron(timing)
        elif timing.kind is TimingKind.AT:
            if not 0 < timing.value_ms <= INSTANT_MAX_MS:
                raise invalid("timing.at_time_ms", "an instant before 2100", timing.value_ms)
        else:
            field, least_ms = (
                ("after_ms", 1) if timing.kind is TimingKind.AFTER else ("every_ms", EVERY_MIN_MS)
            )
            if not least_ms <= timing.value_ms <= TASK_DUE_AHEAD_MAX_MS:
                raise invalid(f"timing.{field}", f"{least_ms} ms to ten years", timing.value_ms)

    def firings(self, timing: Timing, anchor_ms: int, after_ms: int, until_ms: int, limit: int) -> list[int]:
        """Nominal times t with after_ms < t <= until_ms, ascending, at most `limit`."""
        if timing.kind is not TimingKind.CRON:
            return every.firings(timing, anchor_ms, after_ms, until_ms, limit)
        times: list[int] = []
        after_ms = max(after_ms, timing.start_ms - 1)
        last_ms = min(until_ms, timing.end_ms or INSTANT_MAX_MS, INSTANT_MAX_MS)
        clock = _compiled(timing.expression, timing.time_zone)
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
        fields = expression.lower().split()
        if len(fields) not in (5, 6):
            raise _cron_invalid(
                expression, f"it has {len(fields)} fields; 5, or 6 with seconds first, are read"
            )
        if any(_UNSTABLE.match(part) for field in fields for part in field.split(",")):
            raise _cron_invalid(expression, "H and R are not read")
        try:
            clock = _compiled(expression, timing.time_zone)
        except (CroniterError, ValueError, KeyError, IndexError) as fault:
            raise _cron_invalid(expression, str(fault)) from fault
        if not clock.ever_fires():
            raise CuptimeError(
                Reason.CRON_NEVER_FIRES,
                f"{expression!r} has no date in fifty years",
                field="timing.cron",
                metadata={"cron": expression},
            )


class _Clock:
    """One expression in one zone. A registration asks for the same firing several times over, and croniter takes
    0.1-0.2 ms for each answer, so the last one is kept."""

    __slots__ = ("_cron", "_fires", "_found", "_since")

    def __init__(self, cron: croniter) -> None:
        self._cron = cron
        self._fires: bool | None = None
        self._since = self._found = 0

    def second_after(self, second: int) -> int:
        """The first firing after `second`, 0 when there is none."""
        if not self._since <= second < self._found:
            self._cron.set_current(second, force=True)
            try:
                found = round(self._cron.get_next(float))
            except CroniterBadDateError:
                return 0
            self._since, self._found = second, found
        return self._found

    def ever_fires(self) -> bool:
        """Is there a date in fifty years?"""
        if self._fires is None:
            self._fires = self.second_after(0) > 0
        return self._fires


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Raises TIME_ZONE_UNKNOWN unless it is an IANA name."""
    if name not in _zone_names():
        raise CuptimeError(
            Reason.TIME_ZONE_UNKNOWN,
            f"{name[:64]!r} is not an IANA time zone; for Beijing time write Asia/Shanghai",
            field="timing.time_zone",
            metadata={"time_zone": name[:64]},
        )
    return zoneinfo.ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


@lru_cache(COMPILED_MAX)
def _compiled(expression: str, time_zone: str) -> _Clock:
    plain = " ".join(_plain(field) for field in expression.lower().split())
    return _Clock(croniter(plain, _EPOCH.astimezone(zone_of(time_zone)), second_at_beginning=True))


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
