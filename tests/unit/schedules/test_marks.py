"""Marks of a preview: clocks that are set, holidays, days that are worked nevertheless."""

from __future__ import annotations

from datetime import datetime

import pytest

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import DstPolicy, Timing, TimingKind
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.marks import Mark, Marked

ENGINE = CoreCronEngine()
NEW_YORK = "America/New_York"


def look(
    expression: str,
    zone: str,
    after: str,
    count: int,
    *,
    dst: DstPolicy = DstPolicy.VIXIE,
    days_of: str = "",
) -> list[Marked]:
    timing = Timing(TimingKind.CRON, expression, time_zone=zone, dst=dst)
    after_ms = int(datetime.fromisoformat(after).timestamp() * 1_000)
    return ENGINE.marked(timing, ENGINE.firings(timing, 0, after_ms, 1 << 62, count), days_of)


def told(found: list[Marked]) -> list[tuple[str, tuple[Mark, ...]]]:
    return [(one.local, one.marks) for one in found]


def test_the_numbers_are_those_of_the_proto() -> None:
    assert {f"FIRING_MARK_{mark.name}": int(mark) for mark in Mark} == {
        name: number for name, number in pb.FiringMark.items() if number
    }


def test_a_time_that_the_clock_skips() -> None:
    # 2027-03-14, New York: after 01:59:59 comes 03:00.
    assert told(look("30 2 * * *", NEW_YORK, "2027-03-13T00:00:00-05:00", 3)) == [
        ("2027-03-13T02:30:00-05:00", ()),
        ("2027-03-14T03:00:00-04:00", (Mark.CLOCK_MOVED,)),
        ("2027-03-15T02:30:00-04:00", ()),
    ]
    shifted = look("*/30 2 * * *", NEW_YORK, "2027-03-13T12:00:00-05:00", 1, dst=DstPolicy.SHIFT_ALL)
    assert told(shifted) == [("2027-03-14T03:00:00-04:00", (Mark.CLOCK_MOVED,))]


@pytest.mark.parametrize("expression", ["0 3 * * *", "30 3 * * *", "*/30 * * * *"])
def test_a_time_that_is_meant_beside_a_gap_is_not_marked(expression: str) -> None:
    found = look(expression, NEW_YORK, "2027-03-14T01:59:00-05:00", 3)
    assert [one.marks for one in found] == [()] * 3


def test_a_time_that_the_clock_shows_twice() -> None:
    both = look("30 1 * * *", NEW_YORK, "2027-11-07T00:00:00-04:00", 2, dst=DstPolicy.WALL_BOTH)
    assert told(both) == [
        ("2027-11-07T01:30:00-04:00", (Mark.CLOCK_FIRST,)),
        ("2027-11-07T01:30:00-05:00", (Mark.CLOCK_SECOND,)),
    ]


def test_holidays_and_make_up_days_in_china() -> None:
    found = look("0 9 * * *", "Asia/Shanghai", "2026-09-19T12:00:00+08:00", 22)
    marks = {one.local[:10]: one.marks for one in found if one.marks}
    assert marks.pop("2026-09-20") == (Mark.MAKE_UP_WORKDAY,)
    assert marks.pop("2026-10-10") == (Mark.MAKE_UP_WORKDAY,)
    assert set(marks) == {f"2026-09-{day}" for day in (25, 26, 27)} | {
        f"2026-10-0{day}" for day in range(1, 8)
    }
    assert set(marks.values()) == {(Mark.HOLIDAY,)}


def test_whose_holidays() -> None:
    (plain,) = look("0 9 1 10 *", "Europe/Paris", "2026-09-01T00:00:00+02:00", 1)
    assert plain.marks == ()
    (chinese,) = look("0 9 1 10 *", "Europe/Paris", "2026-09-01T00:00:00+02:00", 1, days_of="cn")
    assert chinese.marks == (Mark.HOLIDAY,)
    with pytest.raises(CuptimeError, match="one of") as refused:
        look("0 9 1 10 *", "Europe/Paris", "2026-09-01T00:00:00+02:00", 1, days_of="mars")
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "calendar")


def test_a_year_without_data() -> None:
    (found,) = look("0 9 1 10 *", "Asia/Shanghai", "2040-09-01T00:00:00+08:00", 1)
    assert found.marks == (Mark.YEAR_UNKNOWN,)


def test_other_timings_have_days_and_repeats_but_no_skipped_time() -> None:
    at_ms = int(datetime.fromisoformat("2027-03-14T07:01:00+00:00").timestamp() * 1_000)
    timing = Timing(TimingKind.EVERY, value_ms=60_000, time_zone=NEW_YORK)
    assert ENGINE.marked(timing, [at_ms]) == [Marked(at_ms, "2027-03-14T03:01:00-04:00", ())]
