"""What croniter refuses beside what every engine does, and daylight saving by its policies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import DstPolicy
from cuptime.schedules.croniter_engine import CroniterEngine
from tests.unit.schedules.desk_rig import cron

ENGINE = CroniterEngine()
FAR_MS = 1 << 62


def ms(text: str, zone: str = "UTC") -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1_000)


def shown(times: list[int], zone: str = "UTC") -> list[str]:
    return [datetime.fromtimestamp(t / 1_000, UTC).astimezone(ZoneInfo(zone)).isoformat() for t in times]


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * * * *",
        "@daily",
        "H * * * *",
        "0 H(0-7) * * *",
    ],
)
def test_what_is_not_read(expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron(expression))
    assert refused.value.reason in (Reason.CRON_INVALID, Reason.FIELD_INVALID)
    assert refused.value.field == "timing.cron"


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
