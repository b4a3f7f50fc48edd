"""AT, AFTER and EVERY: plain arithmetic, no loops over what is skipped. And what is checked of any timing.

EVERY stands on a grid: t = base + k * length. With a start the base is the start itself, and it fires there; without
one the base is the anchor (the registration), and the first firing is one length after it.
"""

from __future__ import annotations

from typing import Final

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import EVERY_MIN_MS, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.values import Timing, TimingKind

INSTANT_MAX_MS: Final = 4_102_444_800_000
"""The year 2100: what lies beyond is not computed."""


def check(timing: Timing) -> None:
    """Start and end of any timing, and the value of one that is not CRON. Raises FIELD_* naming the field."""
    for name, value_ms in (("start_time_ms", timing.start_ms), ("end_time_ms", timing.end_ms)):
        if not 0 <= value_ms <= INSTANT_MAX_MS:
            raise invalid(f"timing.{name}", "0 or an instant before 2100", value_ms)
    if timing.end_ms and timing.end_ms < timing.start_ms:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, "end_time_ms is before start_time_ms", field="timing.end_time_ms"
        )
    if timing.kind is TimingKind.AT:
        if not 0 < timing.value_ms <= INSTANT_MAX_MS:
            raise invalid("timing.at_time_ms", "an instant before 2100", timing.value_ms)
    elif timing.kind is not TimingKind.CRON:
        field, least_ms = ("after_ms", 1) if timing.kind is TimingKind.AFTER else ("every_ms", EVERY_MIN_MS)
        if not least_ms <= timing.value_ms <= TASK_DUE_AHEAD_MAX_MS:
            raise invalid(f"timing.{field}", f"{least_ms} ms to ten years", timing.value_ms)


def firings(timing: Timing, anchor_ms: int, after_ms: int, until_ms: int, limit: int) -> list[int]:
    """Nominal times t with after_ms < t <= until_ms, ascending, at most `limit`. Not for CRON."""
    last_ms = min(until_ms, timing.end_ms) if timing.end_ms else until_ms
    if timing.kind is TimingKind.EVERY:
        first_ms = _first_after(timing, anchor_ms, after_ms)
        if first_ms > last_ms:
            return []
        count = min(limit, (last_ms - first_ms) // timing.value_ms + 1)
        return [first_ms + k * timing.value_ms for k in range(count)]
    once_ms = timing.value_ms if timing.kind is TimingKind.AT else anchor_ms + timing.value_ms
    fires = after_ms < once_ms <= last_ms and once_ms >= timing.start_ms
    return [once_ms] if fires and limit > 0 else []


def _first_after(timing: Timing, anchor_ms: int, after_ms: int) -> int:
    length_ms = timing.value_ms
    first_ms = timing.start_ms or anchor_ms + length_ms
    if first_ms > after_ms:
        return first_ms
    return first_ms + ((after_ms - first_ms) // length_ms + 1) * length_ms
