"""The legal calendar against two packages, files that are bad, conditions through the engine, years without data."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import chinese_calendar
import pytest

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Timing
from cuptime.schedules.calendar_folder import CalendarFolder
from cuptime.schedules.calendars import CalendarError, Calendars, read_calendar
from cuptime.schedules.engine import CoreCronEngine
from tests.unit.schedules.desk_rig import ScheduleRig, cron
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

SHANGHAI = "Asia/Shanghai"
# chinesecalendar takes this Saturday for a plain one; it was worked in exchange for Tuesday 2006-01-03.
ARGUED = {date(2005, 12, 31)}


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


def days(engine: CoreCronEngine, timing: Timing, first: str, last: str) -> list[str]:
    found = engine.firings(timing, 0, ms(first) - 1, ms(last), 1_000)
    return [datetime.fromtimestamp(t / 1_000, UTC).strftime("%m-%d") for t in found]


def test_every_day_from_2004_to_2026_is_as_a_package_says() -> None:
    """Another package, which cannot be installed beside ours, is asked by `make check-calendar`."""
    calendar = Calendars().get("cn").calendar
    day, count, differing = date(2004, 1, 1), 0, set()
    while day.year < 2027:
        if calendar.is_workday(day.year, day.month, day.day) != chinese_calendar.is_workday(day):
            differing.add(day)
        day, count = day + timedelta(days=1), count + 1
    assert count == 8_401
    assert differing == ARGUED
    assert calendar.is_workday(2005, 12, 31)


def test_a_make_up_saturday_is_worked_and_a_holiday_is_not() -> None:
    engine = CoreCronEngine()
    # Spring Festival 2026: 15 to 23 February are free; 14 and 28 February (Saturdays) are worked.
    timing = cron("DAYS=workday 0 12 * * *", SHANGHAI)
    engine.check(timing)
    found = days(engine, timing, "2026-02-12", "2026-03-01T23:00:00")
    assert found == ["02-12", "02-13", "02-14", "02-24", "02-25", "02-26", "02-27", "02-28"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("DAYS=holiday", ["10-01", "10-02", "10-03", "10-04", "10-05", "10-06", "10-07"]),
        ("DAYS=workday", ["09-28", "09-29", "09-30", "10-08", "10-09", "10-10"]),
        ("DAYS=not_holiday", ["09-28", "09-29", "09-30", "10-08", "10-09", "10-10", "10-11"]),
        ("DAYS=restday", ["10-01", "10-02", "10-03", "10-04", "10-05", "10-06", "10-07", "10-11"]),
    ],
)
def test_conditions_around_the_national_day(settings: str, expected: list[str]) -> None:
    timing = cron(f"{settings} 0 12 * * *", SHANGHAI)
    assert days(CoreCronEngine(), timing, "2026-09-28", "2026-10-11T23:00:00") == expected


def test_the_work_day_before_and_after() -> None:
    engine = CoreCronEngine()
    # The fifth of October is free: the work day before is 30 September, the one after 8 October.
    for settings, expected in (("ROLL=before", "09-30"), ("ROLL=after", "10-08"), ("SHIFT=-1", "09-30")):
        timing = cron(f"{settings} 0 12 5 * *", SHANGHAI)
        assert days(engine, timing, "2026-09-20", "2026-10-20") == [expected], settings
    timing = cron("ROLL=before SHIFT=-1 0 12 5 10 *", SHANGHAI)
    assert days(engine, timing, "2026-09-20", "2026-10-20") == ["09-29"]


def test_a_year_without_data_is_refused_held_or_taken_as_plain_weeks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock(ms("2026-12-31T12:00:00"))
    engine = CoreCronEngine(clock=clock)
    with pytest.raises(CuptimeError) as refused:
        engine.check(cron("DAYS=workday 0 9 * * *", SHANGHAI))
    assert refused.value.reason is Reason.CALENDAR_YEAR_UNKNOWN
    assert refused.value.metadata["year"] == "2027"
    held = cron("UNKNOWN_YEAR=hold DAYS=workday 0 9 * * *", SHANGHAI)
    engine.check(held)
    assert engine.firings(held, 0, clock.now_ms(), clock.now_ms() + 10**10, 10) == []
    # Not over: the planner asks again from the beginning of the year on.
    assert clock.now_ms() < engine.next(held, 0, clock.now_ms()) <= ms("2027-01-01T00:00:00")
    assert engine.next(held, 0, ms("2027-02-01T00:00:00")) == ms("2027-02-01T00:00:00") + 1
    plain = cron("UNKNOWN_YEAR=weekday_fallback DAYS=workday 0 9 * * *", SHANGHAI)
    with caplog.at_level(logging.WARNING):
        engine.check(plain)
    assert "plain weeks" in caplog.text
    assert engine.next(plain, 0, clock.now_ms()) == ms("2027-01-01T01:00:00")


def shop(**changes: Any) -> bytes:
    fields = {
        "name": "shop-7",
        "version": "1",
        "workweek": [1, 2, 3, 4, 5, 6],
        "open_ended": True,
        "years": {"2026": {"holidays": ["12-24..12-26"], "worked": ["12-27"]}},
    }
    return json.dumps(fields | changes).encode()


def test_a_calendar_of_a_shop(tmp_path: Path) -> None:
    (tmp_path / "shop-7.json").write_bytes(shop())
    engine = CoreCronEngine(Calendars(tmp_path))
    timing = cron("CALENDAR=shop-7 DAYS=not_holiday 0 12 * * *")
    assert days(engine, timing, "2026-12-23", "2026-12-28") == ["12-23", "12-27"]
    timing = cron("CALENDAR=shop-7 DAYS=workday 0 12 * * *")
    assert days(engine, timing, "2026-12-20", "2026-12-28T23:00:00") == [
        "12-21",
        "12-22",
        "12-23",
        "12-27",
        "12-28",
    ]
    assert engine.next(timing, 0, ms("2030-01-01T00:00:00")) == ms("2030-01-01T12:00:00")


def test_a_calendar_that_is_not_there_is_named() -> None:
    with pytest.raises(CuptimeError) as refused:
        CoreCronEngine().check(cron("CALENDAR=mars DAYS=workday 0 12 * * *"))
    assert refused.value.reason is Reason.CRON_INVALID
    assert refused.value.metadata["mend"] == "there are cn"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b"\xff",
        shop(name="other"),
        shop(version=""),
        shop(workweek=[7]),
        shop(colour="red"),
        shop(open_ended=1),
        shop(years={"26": {}}),
        shop(years={"2026": []}),
        shop(years={"2026": {"holidays": ["02-30"]}}),
        shop(years={"2026": {"holidays": ["03-05..03-01"]}}),
        shop(years={"2026": {"holidays": [5]}}),
        shop(years={"2026": {"free": []}}),
        shop(years={"2026": {"holidays": ["03-05"], "worked": ["03-05"]}}),
    ],
)
def test_what_is_no_calendar(raw: bytes) -> None:
    with pytest.raises(CalendarError):
        read_calendar(raw, "shop-7")


def test_a_bad_file_replaces_nothing(tmp_path: Path) -> None:
    file = tmp_path / "shop-7.json"
    file.write_bytes(shop())
    calendars = Calendars(tmp_path)
    first = calendars.get("shop-7")
    file.write_bytes(b"{")
    assert calendars.reload() == []
    assert calendars.get("shop-7") is first
    assert "not JSON" in calendars.faults["shop-7.json"]
    file.write_bytes(shop(version="2", workweek=[1]))
    assert calendars.reload() == ["shop-7"]
    assert calendars.get("shop-7").version == "2"


def test_days_that_change_under_an_old_version_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "shop-7.json"
    file.write_bytes(shop(workweek=[1]))
    calendars = Calendars(tmp_path)
    file.write_bytes(shop(workweek=[2]))
    assert calendars.reload() == ["shop-7"]
    assert calendars.reload() == []


@pytest.mark.parametrize("restart", [False, True])
async def test_a_day_that_becomes_a_work_day_fires(rig: ScheduleRig, tmp_path: Path, restart: bool) -> None:
    """The make-up Saturday that is published on Friday: what was computed by the old calendar must not hide it."""
    file = tmp_path / "shop-7.json"
    file.write_bytes(shop(workweek=[1, 2, 3, 4, 5], years={}))
    rig.engine = CoreCronEngine(Calendars(tmp_path))
    await crash(rig)
    await rig.start()
    minute = await rig.register("made-up", cron("CALENDAR=shop-7 DAYS=workday 30 * * * *"))
    day_ms = 86_400_000
    start = datetime.fromtimestamp(START_MS / 1_000, UTC)
    to_saturday_ms = ((5 - start.weekday()) % 7) * day_ms - (START_MS % day_ms)
    # Until Friday 23:58.
    await rig.pass_ms(to_saturday_ms - 2 * 60_000)
    held = rig.planner._desk.book.by_seq(minute.schedule_seq)
    assert held is not None
    assert datetime.fromtimestamp(held.next_ms / 1_000, UTC).weekday() == 0
    fired = len(rig.fired)
    saturday = datetime.fromtimestamp((START_MS + to_saturday_ms) / 1_000, UTC)
    years = {str(saturday.year): {"holidays": [], "worked": [saturday.strftime("%m-%d")]}}
    file.write_bytes(shop(workweek=[1, 2, 3, 4, 5], years=years))
    if restart:
        await crash(rig)
        rig.engine = CoreCronEngine(Calendars(tmp_path))
        await rig.start()
    else:
        assert rig.engine.reload_calendars() == ["shop-7"]
        rig.planner.ask_again()
    await rig.pass_ms(day_ms + 5 * 60_000)
    made_up = [one.nominal_ms for one in rig.fired[fired:]]
    assert made_up == [START_MS + to_saturday_ms + 3_600_000 * hour + 1_800_000 for hour in range(24)]


async def test_a_new_year_is_taken_without_a_restart(
    tmp_path: Path, wait_until: Callable[..., Awaitable[Any]]
) -> None:
    engine = CoreCronEngine(Calendars(tmp_path))
    held = cron("UNKNOWN_YEAR=hold DAYS=workday 0 12 * * *", SHANGHAI)
    late_ms = ms("2026-12-31T23:00:00")
    assert engine.firings(held, 0, late_ms, late_ms + 10**10, 1) == []
    folder = CalendarFolder(engine, tmp_path, lambda: None)
    folder.start()
    built_in = json.loads(
        (Path(__file__).parents[3] / "python/cuptime/schedules/calendar_files/cn.json").read_text()
    )
    built_in["version"] = "2027.1"
    built_in["years"]["2027"] = {"holidays": ["01-01..01-03"], "worked": []}

    async def taken() -> list[int]:
        # Written again each time: the watch may not have begun when it was written first.
        await asyncio.to_thread((tmp_path / "cn.json").write_text, json.dumps(built_in))
        return engine.firings(held, 0, late_ms, late_ms + 10**10, 1)

    found = await wait_until(taken, why="the new year is known")
    assert found == [ms("2027-01-04T04:00:00")]
    await folder.close()
