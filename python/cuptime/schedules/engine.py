"""The cron engine of the service: the Rust core behind the port :class:`cuptime.domain.ports.CronEngine`.

A cron text may begin with settings, `NAME=value` each: see :mod:`cuptime.schedules.cron_text`. Compiled
schedules are kept, so
the same text is read once. croniter gives a second opinion at registration; a difference is logged with both
answers.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import Final

from cuptime.core import Cron, CronParseError
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import CRON_CHARS_MAX, EVERY_MIN_MS, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.values import DstPolicy, Timing, TimingKind
from cuptime.schedules import every
from cuptime.schedules.cron_text import CronText, read_text
from cuptime.schedules.second_opinion import differs
from cuptime.schedules.zone_files import ZoneError, zone_of

COMPILED_MAX: Final = 65_536
INSTANT_MAX_MS: Final = 4_102_444_800_000
"""The year 2100: what lies beyond is not computed."""

_log = logging.getLogger(__name__)


class CoreCronEngine:
    """Implements :class:`cuptime.domain.ports.CronEngine`."""

    def check(self, timing: Timing) -> None:
        """Raises FIELD_*, CRON_INVALID, CRON_NEVER_FIRES or TIME_ZONE_UNKNOWN naming the field."""
        _check_zone(timing.time_zone)
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
        after_ms = max(after_ms, timing.start_ms - 1, 0)
        last_ms = min(until_ms, timing.end_ms or INSTANT_MAX_MS, INSTANT_MAX_MS)
        if after_ms >= last_ms:
            return []
        times, _ = compiled(timing).firings(after_ms, last_ms, limit, anchor_ms)
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
        cron = compiled(timing)
        if cron.at_start():
            raise _cron_invalid(
                expression, "@reboot is no time; a schedule here outlives restarts", "write @every"
            )
        length = cron.every()
        if length is not None and not EVERY_MIN_MS <= length[0] <= TASK_DUE_AHEAD_MAX_MS:
            raise _cron_invalid(expression, f"@every takes {EVERY_MIN_MS} ms to ten years", "")
        if cron.never():
            raise CuptimeError(
                Reason.CRON_NEVER_FIRES,
                f"{expression[:100]!r} has no date in any year",
                field="timing.cron",
                metadata={"cron": expression[:100]},
            )
        _ask_croniter(expression, timing.dst)


def compiled(timing: Timing) -> Cron:
    """The compiled schedule of a CRON timing. Raises CRON_INVALID or TIME_ZONE_UNKNOWN."""
    return _compiled(timing.expression, timing.time_zone, timing.dst)


@lru_cache(COMPILED_MAX)
def _ask_croniter(expression: str, dst: DstPolicy) -> None:
    """The second opinion, in UTC, once for each expression: croniter takes longer for it than all the rest of a
    registration."""
    timing = Timing(TimingKind.CRON, expression, dst=dst)
    difference = differs(timing, compiled(timing))
    if difference:
        _log.warning("croniter reads %r differently: %s", expression, difference)


@lru_cache(COMPILED_MAX)
def _compiled(expression: str, time_zone: str, dst: DstPolicy) -> Cron:
    try:
        text = read_text(expression, dst=dst.name.lower())
    except ValueError as fault:
        raise _cron_invalid(expression, str(fault), "") from fault
    _check_zone(text.time_zone or time_zone)
    return _cron(expression, text, text.time_zone or time_zone)


def _cron(expression: str, text: CronText, time_zone: str) -> Cron:
    try:
        return Cron(
            text.body, zone_of(time_zone), dialect=text.dialect, dst=text.dst, seed=text.seed.encode() or None
        )
    except CronParseError as refusal:
        _, field, position, message, mend = refusal.args
        at = text.body_at + position
        raise _cron_invalid(
            expression, f"{field} at character {at + 1}: {message}", mend, field, at
        ) from refusal


def _check_zone(name: str) -> None:
    try:
        zone_of(name)
    except ZoneError as fault:
        message, meant = fault.args
        raise CuptimeError(
            Reason.TIME_ZONE_UNKNOWN,
            message if meant else f"{message}; for Beijing time write Asia/Shanghai",
            field="timing.time_zone",
            metadata={"time_zone": name[:64]} | ({"meant": meant} if meant else {}),
        ) from fault


def _cron_invalid(expression: str, why: str, mend: str, field: str = "", position: int = -1) -> CuptimeError:
    metadata = {"cron": expression[:100]}
    if field:
        metadata |= {"cron_field": field, "position": str(position)}
    if mend:
        metadata["mend"] = mend
    return CuptimeError(
        Reason.CRON_INVALID,
        f"the cron expression {expression[:100]!r} cannot be read: {why}" + (f"; {mend}" if mend else ""),
        field="timing.cron",
        metadata=metadata,
    )
