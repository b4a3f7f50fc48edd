"""The cron classes of the Rust core as Python sees them: batches, refusals, calendars, policies, hashed values."""

from __future__ import annotations

import struct
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.core import (
    Cron,
    CronCalendar,
    CronParseError,
    CronYearUnknown,
    CronZone,
    cron_firings_many,
    cron_names,
    cron_next_many,
)
from cuptime.schedules.zone_files import zone_of

UTC_ZONE = zone_of("UTC")
NEW_YORK = zone_of("America/New_York")


def ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1_000)


def column(packed: bytes) -> list[int]:
    return list(struct.unpack(f"<{len(packed) // 8}q", packed))


@pytest.mark.parametrize(
    ("policy", "gap", "overlap"),
    [
        ("vixie", ["03:00-04:00"], ["01:30-04:00"]),
        ("skip_once", [], ["01:30-04:00"]),
        ("shift_all", ["03:00-04:00"], ["01:30-04:00"]),
        ("croner", ["03:00-04:00"], ["01:30-04:00"]),
        ("wall_both", [], ["01:30-04:00", "01:30-05:00"]),
    ],
)
def test_the_policies_at_a_fixed_time(policy: str, gap: list[str], overlap: list[str]) -> None:
    for day, text, expected in (("2026-03-08", "30 2 * * *", gap), ("2026-11-01", "30 1 * * *", overlap)):
        cron = Cron(text, NEW_YORK, dst=policy)
        times, _ = cron.firings(ms(f"{day}T05:00"), ms(f"{day}T12:00"), 9)
        assert times == [ms(f"{day}T{time}") for time in expected]


@pytest.mark.parametrize(
    ("policy", "gap", "overlap"),
    [
        ("vixie", [], ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]),
        ("shift_all", ["03:00-04:00"], ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]),
        ("croner", [], ["01:00-04:00", "01:30-04:00", "01:00-05:00", "01:30-05:00"]),
        ("skip_once", [], ["01:00-04:00", "01:30-04:00"]),
    ],
)
def test_the_policies_at_a_repeated_time(policy: str, gap: list[str], overlap: list[str]) -> None:
    for day, hour, expected in (("2026-03-08", 2, gap), ("2026-11-01", 1, overlap)):
        cron = Cron(f"*/30 {hour} * * *", NEW_YORK, dst=policy)
        times, _ = cron.firings(ms(f"{day}T05:00") - 1, ms(f"{day}T12:00"), 9)
        assert times == [ms(f"{day}T{time}") for time in expected]


def test_many_at_once_are_each_alone() -> None:
    crons = [Cron(f"{k % 60} {k % 24} * * {k % 7}", NEW_YORK) for k in range(500)]
    after_ms = ms("2026-10-31T12:00")
    assert column(cron_next_many(crons, after_ms)) == [cron.next(after_ms) for cron in crons]
    assert column(cron_next_many([Cron("0 0 31 2 *", UTC_ZONE)], 0)) == [-(2**63)]
    windows = [(cron, after_ms, after_ms + 10 * 86_400_000, 3, 0) for cron in crons]
    counts, times = map(column, cron_firings_many(windows))
    alone = [cron.firings(*window)[0] for cron, *window in windows]
    assert counts == [len(firings) for firings in alone]
    assert times == [at_ms for firings in alone for at_ms in firings]


def test_threads_share_one_schedule() -> None:
    cron, after_ms = Cron("*/7 1-4 * * 1-5", NEW_YORK), ms("2026-03-01T00:00")
    wanted, _ = cron.firings(after_ms, after_ms + 30 * 86_400_000, 10_000)
    found: list[list[int]] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(cron.firings(after_ms, after_ms + 30 * 86_400_000, 10_000)[0])
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [wanted] * 8


def test_a_refusal_names_field_position_and_mend() -> None:
    with pytest.raises(CronParseError) as refused:
        Cron("0 9 * * FRI-MON", UTC_ZONE)
    text, field, position, message, mend = refused.value.args
    assert (field, position, mend) == ("weekday", 8, "write 5-6,0-1")
    assert message in text
    assert mend in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"dialect": "cron"},
        {"dst": "none"},
        {"condition": "workday"},
        {"roll": "up"},
        {"shift": 400},
        {"shift": 1},
    ],
)
def test_settings_that_are_not_known(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        Cron("* * * * *", UTC_ZONE, **arguments)  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=20))
def test_hashed_values_spread_and_stay(seed: bytes) -> None:
    cron = Cron("H H(1-4) H * *", UTC_ZONE, seed=seed)
    assert cron.same_times(Cron("H H(1-4) H * *", UTC_ZONE, seed=seed))
    masks = cron.masks()
    assert masks is not None
    assert masks["minutes"].bit_count() == masks["days"].bit_count() == 1
    assert 1 <= masks["hours"].bit_length() - 1 <= 4
    assert masks["days"].bit_length() - 1 <= 28


def test_hashed_minutes_are_even() -> None:
    minutes = [0] * 60
    for number in range(6_000):
        masks = Cron("H * * * *", UTC_ZONE, seed=f"schedule-{number}".encode()).masks()
        assert masks is not None
        minutes[masks["minutes"].bit_length() - 1] += 1
    assert min(minutes) > 60
    assert max(minutes) < 145


def _calendar() -> CronCalendar:
    # 2026: 1 January is free, Sunday the 4th is worked.
    return CronCalendar(0b0111110, False, [(2026, [0], [3])])


def test_a_calendar_decides_over_days() -> None:
    calendar = _calendar()
    assert not calendar.is_workday(2026, 1, 1)
    assert calendar.is_workday(2026, 1, 4)
    assert not calendar.is_workday(2026, 1, 3)
    assert calendar.is_holiday(2026, 1, 1)
    assert not calendar.is_holiday(2026, 1, 3)
    with pytest.raises(CronYearUnknown) as unknown:
        calendar.is_workday(2027, 1, 1)
    assert unknown.value.args[1] == 2027
    assert not calendar.knows(2027)
    assert calendar.knows(2026)


def test_conditions_rolls_and_shifts() -> None:
    def days(text: str, **rule: object) -> list[int]:
        cron = Cron(text, UTC_ZONE, calendar=_calendar(), **rule)  # type: ignore[arg-type]
        times, _ = cron.firings(ms("2026-01-01T00:00") - 1, ms("2026-01-08T00:00") - 1, 99)
        return [datetime.fromtimestamp(at_ms / 1_000, UTC).day for at_ms in times]

    assert days("0 9 * * *", condition="workday") == [2, 4, 5, 6, 7]
    assert days("0 9 * * *", condition="restday") == [1, 3]
    assert days("0 9 * * *", condition="holiday") == [1]
    assert days("0 9 * * *", condition="not_holiday") == [2, 3, 4, 5, 6, 7]
    assert days("0 9 1,3 * *", roll="after") == [2, 4]
    assert days("0 9 3 * *", roll="before") == [2]
    assert days("0 9 5 * *", shift=-1) == [4]
    assert days("0 9 5 * *", shift=2) == [7]
    assert days("0 9 1 * *", shift=1) == [2]


def test_a_year_without_data_is_said_or_a_plain_week() -> None:
    late_ms = ms("2026-12-31T12:00")
    cron = Cron("0 9 * * *", UTC_ZONE, calendar=_calendar(), condition="workday")
    with pytest.raises(CronYearUnknown):
        cron.next(late_ms)
    times, year = cron.firings(ms("2026-12-30T00:00"), ms("2027-01-05T00:00"), 9)
    assert (len(times), year) == (2, 2027)
    plain = Cron("0 9 * * *", UTC_ZONE, calendar=_calendar(), condition="workday", plain_week=True)
    assert plain.next(late_ms) == ms("2027-01-01T09:00")


@given(st.integers(0, 4_000_000_000_000), st.sampled_from(["before", "after"]), st.integers(-5, 5))
def test_moved_days_go_both_ways(at_ms: int, roll: str, shift: int) -> None:
    calendar = CronCalendar(0b0111110, True, [(2026, [0, 1, 2, 40, 41, 42, 43, 44], [3, 45])])
    cron = Cron("0 9 */3 * *", UTC_ZONE, calendar=calendar, roll=roll, shift=shift)
    first = cron.next(at_ms)
    assert first is not None
    assert first > at_ms
    second = cron.next(first)
    assert second is not None
    assert cron.previous(second) == first
    assert cron.previous(first + 1) == first


def test_masks_of_others_are_none() -> None:
    assert Cron("@every 5s", UTC_ZONE).masks() is None
    assert Cron("@every 1500ms", UTC_ZONE).every() == (1_500, "@every 1s500ms")
    assert Cron("0 9 * * * | 0 10 * * *", UTC_ZONE).masks() is None
    assert Cron("@reboot", UTC_ZONE).at_start()


def test_names() -> None:
    dialects, policies = cron_names()
    assert [name for name, _ in dialects] == [
        "ocps", "vixie", "cronos", "quartz", "robfig", "croniter", "temporal",
    ]  # fmt: skip
    assert policies[:5] == ["vixie", "skip_once", "shift_all", "croner", "wall_both"]


@pytest.mark.parametrize(
    ("dialect", "text", "after", "wanted"),
    [
        # Monday is 2 in Quartz; the sixth field of Temporal is a year, of croniter the seconds.
        ("quartz", "0 0 12 ? * 2", "2026-11-24T00:00", "2026-11-30T12:00"),
        ("quartz", "0 0 12 LW * ?", "2026-11-24T00:00", "2026-11-30T12:00"),
        ("quartz", "0 15 10 ? * 6#3 2027", "2026-11-24T00:00", "2027-01-15T10:15"),
        ("temporal", "0 12 1 1 * 2028", "2026-11-24T00:00", "2028-01-01T12:00"),
        ("croniter", "0 12 * * * 30", "2026-11-24T00:00", "2026-11-24T12:00:30"),
        ("croniter", "0 0 * * L5", "2026-11-01T00:00", "2026-11-27T00:00"),
        ("vixie", "0 0 */10 * 1", "2026-11-24T00:00", "2026-12-21T00:00"),
        ("robfig", "0 0 */10 * 1", "2026-11-24T00:00", "2026-11-30T00:00"),
        ("ocps", "0 0 25-L * *", "2026-11-30T00:00", "2026-12-25T00:00"),
    ],
)
def test_dialects_differ(dialect: str, text: str, after: str, wanted: str) -> None:
    assert Cron(text, UTC_ZONE, dialect=dialect).next(ms(after)) == ms(wanted)


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("quartz", "0 0 12 * * 2"),
        ("quartz", "0 12 * * *"),
        ("vixie", "0 0 L * *"),
        ("vixie", "0 0 0 * * *"),
        ("robfig", "0 0 * * 7"),
        ("ocps", "@Daily"),
        ("cronos", "0 0 1W,15 * *"),
        ("temporal", "0 0 L * *"),
    ],
)
def test_what_a_dialect_does_not_read(dialect: str, text: str) -> None:
    with pytest.raises(CronParseError):
        Cron(text, UTC_ZONE, dialect=dialect)


def test_a_zone_is_a_file_or_an_offset() -> None:
    with pytest.raises(ValueError, match="TZif"):
        CronZone(b"no zone")
    assert CronZone.fixed(3_600).local_s(0) == 3_600
    shown = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=NEW_YORK.local_s(1_795_392_000))
    assert shown == datetime(2026, 11, 22, 19, tzinfo=UTC)
