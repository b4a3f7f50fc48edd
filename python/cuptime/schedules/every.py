"""AT, AFTER and EVERY: plain arithmetic, no loops over what is skipped.

EVERY stands on a grid: t = base + k * length. With a start the base is the start itself, and it fires there; without
one the base is the anchor (the registration), and the first firing is one length after it.
"""

from __future__ import annotations

from cuptime.domain.values import Timing, TimingKind


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
