"""What every cron engine promises. One suite for the Rust core and for croniter."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import CronEngine
from cuptime.domain.values import Timing
from cuptime.schedules.croniter_engine import CroniterEngine
from cuptime.schedules.engine import CoreCronEngine
from tests.unit.schedules.desk_rig import after, at, cron, every

FAR_MS = 1 << 62


@pytest.fixture(scope="module", params=[CoreCronEngine, CroniterEngine])
def engine(request: pytest.FixtureRequest) -> CronEngine:
    made: CronEngine = request.param()
    return made


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("expression", "after_text", "expected"),
    [
        ("0 10 * * wed", "2026-11-23T00:00:00", ["2026-11-25T10:00:00", "2026-12-02T10:00:00"]),
        ("30 0 10 * * *", "2026-11-23T10:00:29", ["2026-11-23T10:00:30", "2026-11-24T10:00:30"]),
        ("30 0 10 * * *", "2026-11-23T10:00:30", ["2026-11-24T10:00:30", "2026-11-25T10:00:30"]),
        ("5-5 * * * *", "2026-11-23T10:00:00", ["2026-11-23T10:05:00", "2026-11-23T11:05:00"]),
        ("0 0 * * mon-1", "2026-11-23T10:00:00", ["2026-11-30T00:00:00", "2026-12-07T00:00:00"]),
        ("0 0 * jan-1 7", "2026-11-23T10:00:00", ["2027-01-03T00:00:00", "2027-01-10T00:00:00"]),
        ("0 0 29 2 *", "2026-11-23T10:00:00", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 1,15 * mon", "2026-11-23T10:00:00", ["2026-11-30T00:00:00", "2026-12-01T00:00:00"]),
    ],
)
def test_firings(engine: CronEngine, expression: str, after_text: str, expected: list[str]) -> None:
    timing = cron(expression)
    engine.check(timing)
    times = engine.firings(timing, 0, ms(after_text), FAR_MS, 2)
    assert times == [ms(text) for text in expected]
    assert engine.next(timing, 0, ms(after_text)) == times[0]


@pytest.mark.parametrize(
    "expression",
    [
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "0 0 * * 8",
        "*/0 * * * *",
        "a b c d e",
        "R * * * *",
        "１ * * * *",
        "0 0\u3000* * * *",
        "; drop table",
        "1-",
        "* * * * *" + " " * 300,
    ],
)
def test_what_is_not_read(engine: CronEngine, expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        engine.check(cron(expression))
    assert refused.value.reason in (Reason.CRON_INVALID, Reason.FIELD_INVALID)
    assert refused.value.field == "timing.cron"


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 31 2 *"])
def test_what_never_fires_is_known_at_registration(engine: CronEngine, expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        engine.check(cron(expression))
    assert refused.value.reason is Reason.CRON_NEVER_FIRES


@pytest.mark.parametrize("zone", ["", "Beijing", "Asia/Beijing", "../etc/passwd", "UTC+8", "x" * 1_000])
def test_zones_are_iana_names(engine: CronEngine, zone: str) -> None:
    for timing in (cron("* * * * *", zone), Timing(every(1_000).kind, value_ms=1_000, time_zone=zone)):
        with pytest.raises(CuptimeError) as refused:
            engine.check(timing)
        assert refused.value.reason is Reason.TIME_ZONE_UNKNOWN
        assert len(refused.value.message) < 200


def test_start_and_end_bound_cron(engine: CronEngine) -> None:
    start_ms, end_ms = ms("2026-11-23T10:00:00"), ms("2026-11-23T12:00:00")
    timing = cron("0 * * * *", start_ms=start_ms, end_ms=end_ms)
    assert engine.firings(timing, 0, 0, FAR_MS, 10) == [start_ms, start_ms + 3_600_000, end_ms]
    assert engine.next(timing, 0, end_ms) == 0


@pytest.mark.parametrize("expression", ["* * * * * *", "*/7 * * * *", "0 0 L * *", "15 30 9 * * mon-fri"])
@settings(deadline=None, suppress_health_check=[HealthCheck.differing_executors])
@given(
    start_ms=st.integers(1_700_000_000_000, 1_900_000_000_000),
    cuts=st.lists(st.integers(1, 90_000_000), max_size=5),
)
def test_half_open_windows_join_without_gap_or_overlap(
    engine: CronEngine, expression: str, start_ms: int, cuts: list[int]
) -> None:
    timing = cron(expression, "Europe/Berlin")
    joined: list[int] = []
    at_ms = start_ms
    for cut in cuts:
        length_ms = min(cut, 100_000) if expression.startswith("* ") else cut
        joined += engine.firings(timing, 0, at_ms - 1, at_ms + length_ms - 1, 1_000)
        at_ms += length_ms
    assert joined == engine.firings(timing, 0, start_ms - 1, at_ms - 1, 10_000)
    assert all(one < other for one, other in pairwise(joined))


@pytest.mark.parametrize(("timing", "expected"), [(at(500), 500), (after(300), 400)])
def test_one_shots(engine: CronEngine, timing: Timing, expected: int) -> None:
    assert engine.firings(timing, 100, 0, FAR_MS, 5) == [expected]
    assert engine.firings(timing, 100, expected - 1, expected, 5) == [expected]
    assert engine.firings(timing, 100, expected, FAR_MS, 5) == []
    assert engine.next(timing, 100, expected) == 0
