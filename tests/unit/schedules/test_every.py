"""AT, AFTER and EVERY by arithmetic, and what is checked of any timing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import EVERY_MIN_MS, TASK_DUE_AHEAD_MAX_MS
from cuptime.domain.values import Timing
from cuptime.schedules.every import INSTANT_MAX_MS, check, firings
from tests.unit.schedules.desk_rig import after, at, cron, every


@settings(deadline=None)
@given(
    length_ms=st.integers(10, 10_000),
    anchor_ms=st.integers(0, 50_000),
    start_ms=st.integers(0, 50_000),
    after_ms=st.integers(-1, 60_000),
    width_ms=st.integers(0, 30_000),
)
def test_every_is_its_grid(
    length_ms: int, anchor_ms: int, start_ms: int, after_ms: int, width_ms: int
) -> None:
    timing = every(length_ms, start_ms=start_ms)
    base = start_ms or anchor_ms + length_ms
    grid = [base + k * length_ms for k in range(12_000) if base + k * length_ms <= after_ms + width_ms]
    expected = [t for t in grid if after_ms < t <= after_ms + width_ms]
    assert firings(timing, anchor_ms, after_ms, after_ms + width_ms, 100_000) == expected


def test_every_skips_years_by_arithmetic() -> None:
    assert firings(every(10), 0, 4_000_000_000_005, 1 << 62, 1) == [4_000_000_000_010]


@pytest.mark.parametrize(
    "timing",
    [
        cron("* * * * *", start_ms=INSTANT_MAX_MS, end_ms=INSTANT_MAX_MS),
        at(1),
        at(INSTANT_MAX_MS),
        after(1),
        after(TASK_DUE_AHEAD_MAX_MS),
        every(EVERY_MIN_MS, start_ms=5, end_ms=5),
        every(TASK_DUE_AHEAD_MAX_MS),
    ],
)
def test_the_ends_of_what_is_allowed(timing: Timing) -> None:
    check(timing)


@pytest.mark.parametrize(
    ("timing", "field"),
    [
        (cron("* * * * *", start_ms=-1), "start_time_ms"),
        (cron("* * * * *", end_ms=INSTANT_MAX_MS + 1), "end_time_ms"),
        (at(0), "at_time_ms"),
        (at(INSTANT_MAX_MS + 1), "at_time_ms"),
        (after(0), "after_ms"),
        (after(TASK_DUE_AHEAD_MAX_MS + 1), "after_ms"),
        (every(EVERY_MIN_MS - 1), "every_ms"),
        (every(TASK_DUE_AHEAD_MAX_MS + 1), "every_ms"),
    ],
)
def test_a_value_beyond_is_named(timing: Timing, field: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        check(timing)
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, f"timing.{field}")


def test_an_end_before_the_start_is_a_contradiction() -> None:
    with pytest.raises(CuptimeError) as refused:
        check(every(EVERY_MIN_MS, start_ms=6, end_ms=5))
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_CONTRADICTION, "timing.end_time_ms")
