"""Firings in minute buckets: planned as always, triggered and delivered a minute at a time."""

from __future__ import annotations

from collections import Counter

import pytest

from cuptime.domain.limits import BUCKET_MS
from cuptime.domain.values import CatchUp, SchedulePolicy
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, cron
from tests.unit.tasks.rig import START_MS, taken
from tests.unit.tasks.test_leases import crash

MINUTE_MS = START_MS - START_MS % BUCKET_MS + BUCKET_MS


async def register(rig: ScheduleRig, expression: str = "* * * * * *", **policy: CatchUp) -> None:
    await rig.registry.register(
        NewSchedule("s", cron(expression), b"minute:sheets", policy=SchedulePolicy(**policy))
    )


async def until(rig: ScheduleRig, at_ms: int) -> None:
    await rig.pass_ms(at_ms - rig.clock.now_ms())


async def test_a_schedule_of_each_second_comes_once_a_minute_with_all_its_firings(rig: ScheduleRig) -> None:
    await register(rig)
    worker = rig.worker("sheets", credit=10_000, lease_ms=600_000)
    await until(rig, MINUTE_MS - 1)
    await taken(worker)
    for minute in range(4):
        start_ms = MINUTE_MS + minute * BUCKET_MS
        await until(rig, start_ms + 58_999)
        assert await taken(worker) == []
        await until(rig, start_ms + 59_000)
        leases = await taken(worker)
        assert [lease.row.nominal_ms for lease in leases] == [start_ms + 1_000 * n for n in range(60)]
        assert {lease.together for lease in leases} == {60}
    assert rig.metrics.depths["buckets"]() <= 6


async def test_schedules_of_a_queue_share_the_bucket_of_a_minute(rig: ScheduleRig) -> None:
    for name in ("a", "b", "c"):
        await rig.register(name, cron("* * * * *"), b"minute:sheets")
    worker = rig.worker("sheets", credit=100, lease_ms=600_000)
    await until(rig, MINUTE_MS)
    leases = await taken(worker)
    assert Counter(lease.together for lease in leases) == {3: 3}
    assert {lease.row.nominal_ms for lease in leases} == {MINUTE_MS}, "on time: nothing else is in it"


@pytest.mark.parametrize("catch_up", [CatchUp.ALL, CatchUp.NONE])
async def test_a_restart_in_the_middle_of_a_minute_misses_none_of_it(
    rig: ScheduleRig, catch_up: CatchUp
) -> None:
    """What is due in a minute that is not over is not late."""
    await register(rig, catch_up=catch_up)
    await until(rig, MINUTE_MS + 40_000)
    await crash(rig)
    rig.clock.advance(5_000)
    await rig.start()
    worker = rig.worker("sheets", credit=10_000, lease_ms=600_000)
    await until(rig, MINUTE_MS + 59_000)
    times = [lease.row.nominal_ms for lease in await taken(worker) if lease.row.nominal_ms >= MINUTE_MS]
    assert times == [MINUTE_MS + 1_000 * n for n in range(60)]


async def test_a_change_in_the_middle_of_a_minute_keeps_what_was_due(rig: ScheduleRig) -> None:
    await register(rig)
    worker = rig.worker("sheets", credit=10_000, lease_ms=600_000)
    await until(rig, MINUTE_MS + 10_500)
    await taken(worker)
    await rig.registry.update("s", ScheduleChange(note="x"))
    await until(rig, MINUTE_MS + 59_000)
    leases = await taken(worker)
    assert sorted(lease.row.nominal_ms for lease in leases) == [MINUTE_MS + 1_000 * n for n in range(60)]
    await rig.registry.unregister("s")
    await until(rig, MINUTE_MS + 5 * BUCKET_MS)
    assert await taken(worker) == []
