"""Calendars by a running service: a shop's own, hot, in both directions; years without data as the schedule says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from tests.conftest import WaitUntil
from tests.integration.door import Door, Tables

TARGET = {"task": {"queue": "calendar"}}


def this_year() -> int:
    return datetime.fromtimestamp(SystemClock().now_ms() / 1_000, UTC).year


class Shop:
    """The calendar file of a shop: every day is worked, or none is."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "shop-7.json"
        self.version = 0

    def write(self, *, works: bool) -> None:
        self.version += 1
        week = [0, 1, 2, 3, 4, 5, 6] if works else []
        fields = {"name": "shop-7", "version": str(self.version), "workweek": week, "open_ended": True}
        self.file.write_text(json.dumps(fields))

    def break_it(self) -> None:
        self.file.write_text("{")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calendars")


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    Shop(folder).write(works=False)
    one_year = {"name": "shop-8", "version": "1", "years": {str(this_year()): {}}}
    (folder / "shop-8.json").write_text(json.dumps(one_year))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CUPTIME_CALENDARS", str(folder))
        server = ServedProcess(tmp_path_factory.mktemp("served"))
        server.start()
    yield server
    assert server.stop() == 0, server.log_tail()


def fired(server: ServedProcess, name: str) -> list[int]:
    """Nominal times of what has triggered, and was not cancelled."""
    rows = Tables(server.data).rows(
        "SELECT nominal_ms FROM tasks JOIN schedules USING (schedule_seq) "
        "WHERE schedule_id = ? AND trigger_ms > 0 ORDER BY nominal_ms",
        name,
    )
    return [nominal_ms for (nominal_ms,) in rows]


async def register(door: Door, name: str, cron: str) -> Any:
    schedule = {"schedule_id": name, "timing": {"cron": cron}, "target": TARGET}
    return (await door.call("ScheduleService/RegisterSchedule", schedule=schedule)).schedule


async def test_a_shops_calendar_is_hot(
    served: ServedProcess, folder: Path, door: Door, wait_until: WaitUntil
) -> None:
    shop = Shop(folder)
    made = await register(door, "shut", "CALENDAR=shop-7 DAYS=restday * * * * * *")
    assert made.next_time_ms > 0
    await wait_until(lambda: len(fired(served, "shut")) >= 2, timeout=20, why="it fires on days off")
    refused = await door.refused(
        "ScheduleService/RegisterSchedule",
        schedule={
            "schedule_id": "open", "timing": {"cron": "CALENDAR=shop-7 DAYS=workday * * * * * *"}, "target": TARGET,
        },
    )  # fmt: skip
    assert refused.reason == "CRON_NEVER_FIRES"
    shop.break_it()
    await wait_until(
        lambda: "is not taken" in served.log.read_text(), timeout=20, why="the log names the bad file"
    )
    many = len(fired(served, "shut"))
    await wait_until(
        lambda: len(fired(served, "shut")) > many, timeout=20, why="the old one is still in force"
    )
    shop.write(works=True)
    await wait_until(
        lambda: "calendar shop-7 was read again" in served.log.read_text(), timeout=20, why="it is read again"
    )
    began_ms = SystemClock().now_ms()
    await register(door, "open", "CALENDAR=shop-7 DAYS=workday * * * * * *")
    await wait_until(lambda: len(fired(served, "open")) >= 2, timeout=20, why="it fires on work days now")
    assert fired(served, "open")[0] <= began_ms + 5_000
    seen = await door.call("ScheduleService/PreviewSchedule", name="schedules/shut", count=3)
    assert list(seen.fire_times_ms) == []


async def test_years_without_data_are_refused_held_or_plain_weeks(served: ServedProcess, door: Door) -> None:
    # Of next year, which the calendar does not know.
    cron, beyond = "CALENDAR=shop-8 DAYS=workday 0 0 1 1 *", this_year() + 1
    refused = await door.refused(
        "ScheduleService/RegisterSchedule",
        schedule={"schedule_id": "error", "timing": {"cron": cron}, "target": TARGET},
    )
    assert refused.reason == "CALENDAR_YEAR_UNKNOWN"
    assert refused.infos[0].metadata["year"] == str(beyond)
    held = await register(door, "held", f"UNKNOWN_YEAR=hold {cron}")
    asked_again = datetime.fromtimestamp(held.next_time_ms / 1_000, UTC)
    assert asked_again.date().isoformat() in (f"{beyond - 1}-12-31", f"{beyond}-01-01")
    assert "waits: its calendar has no data" in served.log.read_text()
    plain = await register(door, "plain", f"UNKNOWN_YEAR=weekday_fallback {cron}")
    assert plain.next_time_ms > held.next_time_ms
    assert f"no data for {beyond}: plain weeks are taken" in served.log.read_text()


async def test_a_preview_says_at_which_year_it_ends(served: ServedProcess) -> None:
    began = datetime(this_year(), 1, 1, tzinfo=UTC)
    after_ms = int(began.timestamp()) * 1_000 - 1
    monthly = {"cron": "DAYS=workday CALENDAR=shop-8 0 9 10-20 * *"}
    async with Door(served.address) as door:

        async def preview(count: int, **timing: Any) -> Any:
            more = {"timing": timing, "count": count, "after_time_ms": after_ms}
            return await door.call("ScheduleService/PreviewSchedule", **more)

        whole = await preview(1_000, **monthly)
        assert 0 < len(whole.fire_times_ms) < 1_000
        assert whole.calendar_unknown_year == this_year() + 1
        known = await preview(len(whole.fire_times_ms), **monthly)
        assert known.calendar_unknown_year == 0, "nothing that was asked for is unknown"
        ended = await preview(50, at_time_ms=after_ms + 86_400_000 * 400)
        assert (len(ended.fire_times_ms), ended.calendar_unknown_year) == (1, 0)
        plain = await preview(50, cron="UNKNOWN_YEAR=weekday_fallback " + monthly["cron"])
        assert (len(plain.fire_times_ms), plain.calendar_unknown_year) == (50, 0)
