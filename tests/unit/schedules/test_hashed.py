"""`H` depends on the schedule's id: many schedules of one text spread, and each keeps its times."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from cuptime.schedules.cron_text import read_text, seeded
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.registry import ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, cron, every

ENGINE = CoreCronEngine()
MONDAY_MS = 1_795_392_000_000
DAY_MS = 86_400_000


def minute_of_day(schedule_id: str, text: str = "H H * * *") -> int:
    """The first firing on 2026-11-23, in minutes after midnight UTC."""
    timing = cron(seeded(text, schedule_id))
    return (ENGINE.next(timing, 0, MONDAY_MS - 1) - MONDAY_MS) // 60_000


def chi_square(counts: list[int]) -> float:
    expected = sum(counts) / len(counts)
    return sum((count - expected) ** 2 for count in counts) / expected


@pytest.mark.parametrize("form", ["shop-{}", "{}", "a.very-long-name-of-a-schedule_{}", "s{}.open"])
def test_ids_in_a_row_spread_evenly_over_minutes_and_hours(form: str) -> None:
    found = [minute_of_day(form.format(f"a{number}")) for number in range(6_000)]
    minutes, hours = Counter(at % 60 for at in found), Counter(at // 60 for at in found)
    # What a fair draw exceeds once in ten thousand times: 59 and 23 degrees of freedom.
    assert chi_square([minutes[minute] for minute in range(60)]) < 106
    assert chi_square([hours[hour] for hour in range(24)]) < 56
    # Minute and hour are drawn apart: most pairs are taken.
    assert len(set(found)) > 1_350


def test_the_same_id_has_the_same_times_on_every_machine_and_in_every_version() -> None:
    pinned = {"open-park": 1268, "shop-7": 528, "nightly": 1060, "a": 7}
    assert {name: minute_of_day(name) for name in pinned} == pinned


def test_ranges_and_steps_hold_whatever_the_id() -> None:
    for number in range(300):
        assert minute_of_day(f"s{number}", "H(10-19) H(9-10) * * *") // 60 in (9, 10)
        assert minute_of_day(f"s{number}", "H(10-19) 0 * * *") in range(10, 20)
        times = ENGINE.firings(
            cron(seeded("H/15 * * * *", f"s{number}")), 0, MONDAY_MS - 1, MONDAY_MS + DAY_MS - 1, 200
        )
        assert len(times) == 96
        assert {later - earlier for earlier, later in pairwise(times)} == {900_000}


@pytest.mark.parametrize(
    ("text", "hashed"),
    [
        ("H * * * *", True),
        ("h 3 * * *", True),
        ("0,H 3 * * *", True),
        ("DIALECT=croniter 5 H(1-4) * * *", True),
        ("CRON_TZ=Asia/Shanghai 0 9 * * * | 0 H * * *", True),
        ("0 9 * * THU", False),
        ("0 9 * MAR THU-SAT", False),
        ("@hourly", False),
        ("@every 6h/5h", False),
        ("CRON_TZ=Asia/Shanghai 0 9 * * *", False),
        ("SEED=other H * * * *", False),
    ],
)
def test_only_a_text_with_a_hash_of_its_own_is_given_a_seed(text: str, hashed: bool) -> None:
    found = seeded(text, "shop-7")
    assert found == (f"SEED=shop-7 {text}" if hashed else text)
    assert seeded(found, "another") == found
    if hashed:
        assert read_text(found).seed == "shop-7"


async def test_a_registered_schedule_is_stored_with_its_seed_and_keeps_it(rig: ScheduleRig) -> None:
    first = await rig.register("shop-7", cron("H H * * *"))
    assert first.timing.expression == "SEED=shop-7 H H * * *"
    assert first.next_ms == ENGINE.next(first.timing, 0, rig.clock.now_ms())
    # Asked again in the words of the first time it is no new timing: EVERY and runs would begin anew.
    again = await rig.registry.update("shop-7", ScheduleChange(timing=cron("H H * * *")))
    assert (again.timing, again.anchor_ms, again.next_ms) == (first.timing, first.anchor_ms, first.next_ms)
    other = await rig.register("shop-8", cron("H H * * *"))
    assert other.next_ms != first.next_ms
    twin = await rig.register("shop-9", cron("SEED=shop-7 H H * * *"))
    assert twin.next_ms == first.next_ms
    hourly = await rig.registry.update("shop-8", ScheduleChange(timing=cron("H * * * *")))
    assert hourly.timing.expression == "SEED=shop-8 H * * * *"
    changed = await rig.registry.update("shop-8", ScheduleChange(timing=every(60_000)))
    assert changed.timing.expression == ""
