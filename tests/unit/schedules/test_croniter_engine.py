"""What the engine reads, refuses and computes; daylight saving by its policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import DstPolicy, Timing
from cuptime.schedules.croniter_engine import CroniterEngine
from tests.unit.schedules.desk_rig import after, at, cron, every

ENGINE = CroniterEngine()
FAR_MS = 1 << 62


def ms(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


def shown(times: list[int], zone: str = "UTC") -> list[str]:
    return [datetime.fromtimestamp(t / 1_000, UTC).astimezone(ZoneInfo(zone)).isoformat() for t in times]


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
def test_firings(expression: str, after_text: str, expected: list[str]) -> None:
    timing = cron(expression)
    ENGINE.check(timing)
    times = ENGINE.firings(timing, 0, ms(after_text), FAR_MS, 2)
    assert times == [ms(text) for text in expected]
    assert ENGINE.next(timing, 0, ms(after_text)) == times[0]


@pytest.mark.parametrize(
    "expression",
    [
        "* * * *",
        "* * * * * * *",
        "@daily",
        "60 * * * *",
        "* 24 * * *",
        "0 0 0 * *",
        "0 0 * * 8",
        "*/0 * * * *",
        "a b c d e",
        "H * * * *",
        "R * * * *",
        "0 H(0-7) * * *",
        "１ * * * *",
        "0 0\u3000* * * *",
        "; drop table",
        "1-",
        "* * * * *" + " " * 300,
    ],
)
def test_what_is_not_read(expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron(expression))
    assert refused.value.reason in (Reason.CRON_INVALID, Reason.FIELD_INVALID)
    assert refused.value.field == "timing.cron"


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 0 31 2 *"])
def test_what_never_fires_is_known_at_registration(expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron(expression))
    assert refused.value.reason is Reason.CRON_NEVER_FIRES


@pytest.mark.parametrize("zone", ["", "Beijing", "Asia/Beijing", "../etc/passwd", "UTC+8", "x" * 1_000])
def test_zones_are_iana_names(zone: str) -> None:
    for timing in (cron("* * * * *", zone), Timing(every(1_000).kind, value_ms=1_000, time_zone=zone)):
        with pytest.raises(CuptimeError) as refused:
            ENGINE.check(timing)
        assert refused.value.reason is Reason.TIME_ZONE_UNKNOWN
        assert len(refused.value.message) < 200


NY = "America/New_York"
GAP, BACK = "2026-03-08T00:30:00", "2026-11-01T00:30:00"
DST = [
    ("30 2 * * *", DstPolicy.VIXIE, GAP, ["03-08T03:00:00-04:00", "03-09T02:30:00-04:00"]),
    ("0,30 2 * * *", DstPolicy.VIXIE, GAP, ["03-08T03:00:00-04:00", "03-09T02:00:00-04:00"]),
    ("0 3 * * *", DstPolicy.VIXIE, GAP, ["03-08T03:00:00-04:00", "03-09T03:00:00-04:00"]),
    ("*/30 2 * * *", DstPolicy.VIXIE, GAP, ["03-09T02:00:00-04:00"]),
    ("30 * * * *", DstPolicy.VIXIE, GAP, ["03-08T01:30:00-05:00", "03-08T03:30:00-04:00"]),
    ("30 2 * * *", DstPolicy.SKIP_ONCE, GAP, ["03-09T02:30:00-04:00"]),
    ("30 2 * * *", DstPolicy.WALL_BOTH, GAP, ["03-09T02:30:00-04:00"]),
    ("30 1 * * *", DstPolicy.VIXIE, BACK, ["11-01T01:30:00-04:00", "11-02T01:30:00-05:00"]),
    ("30 * * * *", DstPolicy.VIXIE, BACK, ["11-01T01:30:00-04:00", "11-01T01:30:00-05:00"]),
    ("30 * * * *", DstPolicy.SKIP_ONCE, BACK, ["11-01T01:30:00-04:00", "11-01T02:30:00-05:00"]),
    ("30 1 * * *", DstPolicy.WALL_BOTH, BACK, ["11-01T01:30:00-04:00", "11-01T01:30:00-05:00"]),
]


@pytest.mark.parametrize(("expression", "policy", "after_text", "expected"), DST)
def test_what_a_change_of_the_clock_does_is_the_policys(
    expression: str, policy: DstPolicy, after_text: str, expected: list[str]
) -> None:
    timing = replace(cron(expression, NY), dst=policy)
    ENGINE.check(timing)
    times = ENGINE.firings(timing, 0, ms(after_text, NY), FAR_MS, len(expected))
    assert [text[5:] for text in shown(times, NY)] == expected


ZONES = [NY, "Europe/London", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Shanghai"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("policy", [DstPolicy.VIXIE, DstPolicy.SKIP_ONCE, DstPolicy.WALL_BOTH])
@pytest.mark.parametrize(
    ("expression", "minutes", "hours"),
    [
        ("30 2 * * *", {30}, {2}),
        ("*/20 * * * *", {0, 20, 40}, set(range(24))),
        ("15 0-3 * * *", {15}, {0, 1, 2, 3}),
        ("45 */2 * * *", {45}, set(range(0, 24, 2))),
    ],
)
def test_a_year_is_as_a_look_at_each_minute_says(
    zone: str, policy: DstPolicy, expression: str, minutes: set[int], hours: set[int]
) -> None:
    """The oracle knows nothing of stretches: it looks at the wall clock each minute of the weeks around a change."""
    year_s = ms("2026-01-01T00:00:00") // 1_000
    timing = replace(cron(expression, zone), dst=policy)
    fixed = not any(field.startswith("*") for field in expression.split()[:2])
    for change in changes_in(zone, year_s, year_s + 366 * 86_400):
        first, until = (change - 2 * 86_400) // 60 * 60, change + 2 * 86_400
        expected: list[int] = []
        seen: set[str] = set()
        owed = False
        before: datetime | None = None
        for second in range(first, until, 60):
            wall = datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
            if before is not None and wall - before > timedelta(minutes=1):
                skipped = [before + timedelta(minutes=k) for k in range(1, (wall - before).seconds // 60)]
                owed = any(one.minute in minutes and one.hour in hours for one in skipped)
            late = owed and fixed and policy is DstPolicy.VIXIE
            again = str(wall) in seen
            once = policy is DstPolicy.SKIP_ONCE or (policy is DstPolicy.VIXIE and fixed)
            matches = wall.minute in minutes and wall.hour in hours
            if late or (matches and not (again and once)):
                expected.append(second * 1_000)
            owed = False
            seen.add(str(wall))
            before = wall
        found = ENGINE.firings(timing, 0, first * 1_000 - 1, until * 1_000 - 1, 10_000)
        assert shown(found, zone) == shown(expected, zone)


def changes_in(zone: str, start: int, until: int) -> list[int]:
    """Hours in which the offset changes."""
    offsets = [
        (second, datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).utcoffset())
        for second in range(start, until, 3_600)
    ]
    return [there[0] for here, there in pairwise(offsets) if here[1] != there[1]]


@pytest.mark.parametrize("policy", [DstPolicy.SHIFT_ALL, DstPolicy.CRONER])
def test_a_policy_that_is_not_there_is_refused_where_it_would_matter(policy: DstPolicy) -> None:
    ENGINE.check(replace(cron("30 2 * * *", "Asia/Shanghai"), dst=policy))
    ENGINE.check(replace(cron("30 2 * * *"), dst=policy))
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(replace(cron("30 2 * * *", NY), dst=policy))
    assert (refused.value.reason, refused.value.field) == (Reason.NOT_YET, "timing.dst_policy")


def test_start_and_end_bound_cron() -> None:
    start_ms, end_ms = ms("2026-11-23T10:00:00"), ms("2026-11-23T12:00:00")
    timing = cron("0 * * * *", start_ms=start_ms, end_ms=end_ms)
    assert ENGINE.firings(timing, 0, 0, FAR_MS, 10) == [start_ms, start_ms + 3_600_000, end_ms]
    assert ENGINE.next(timing, 0, end_ms) == 0


@pytest.mark.parametrize("expression", ["* * * * * *", "*/7 * * * *", "0 0 L * *", "15 30 9 * * mon-fri"])
@settings(deadline=None)
@given(
    start_ms=st.integers(1_700_000_000_000, 1_900_000_000_000),
    cuts=st.lists(st.integers(1, 90_000_000), max_size=5),
)
def test_half_open_windows_join_without_gap_or_overlap(
    expression: str, start_ms: int, cuts: list[int]
) -> None:
    timing = cron(expression, "Europe/Berlin")
    joined: list[int] = []
    at_ms = start_ms
    for cut in cuts:
        length_ms = min(cut, 100_000) if expression.startswith("* ") else cut
        joined += ENGINE.firings(timing, 0, at_ms - 1, at_ms + length_ms - 1, 1_000)
        at_ms += length_ms
    assert joined == ENGINE.firings(timing, 0, start_ms - 1, at_ms - 1, 10_000)
    assert all(one < other for one, other in pairwise(joined))


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
    assert ENGINE.firings(timing, anchor_ms, after_ms, after_ms + width_ms, 100_000) == expected


def test_every_skips_years_by_arithmetic() -> None:
    assert ENGINE.next(every(10), 0, 4_000_000_000_005) == 4_000_000_000_010


@pytest.mark.parametrize(("timing", "expected"), [(at(500), 500), (after(300), 400)])
def test_one_shots(timing: Timing, expected: int) -> None:
    assert ENGINE.firings(timing, 100, 0, FAR_MS, 5) == [expected]
    assert ENGINE.firings(timing, 100, expected - 1, expected, 5) == [expected]
    assert ENGINE.firings(timing, 100, expected, FAR_MS, 5) == []
    assert ENGINE.next(timing, 100, expected) == 0
