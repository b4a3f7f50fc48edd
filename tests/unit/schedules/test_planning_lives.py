"""Random lives of the planner: kills at any moment, outages, clocks set forward and back by up to an hour.

Whatever happens, each (schedule, nominal time) up to the latest instant that the wall clock ever showed fires once:
none is lost, none comes twice, none comes early.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from cuptime.domain.values import SchedulePolicy
from cuptime.schedules.registry import NewSchedule
from tests.unit.schedules.desk_rig import ScheduleRig, cron, every
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
STEPS = 14
PLAIN = SchedulePolicy(catch_up_window_ms=DAY_MS)
TIMINGS = {
    "second": (cron("*/10 * * * * *"), 10_000),
    "minute": (cron("* * * * *", "Asia/Shanghai"), 60_000),
    "every": (every(7_000), 7_000),
}


async def one_step(rig: ScheduleRig, dice: random.Random) -> None:
    """One of the things that happen to a service."""
    match dice.randrange(5):
        case 0:
            # Killed while the planner and the triggers are somewhere on their way.
            rig.clock.advance(dice.randint(0, 70_000))
            rig.wheel.pump()
            for _ in range(dice.randint(0, 30)):
                await asyncio.sleep(0)
            await crash(rig)
            await rig.start()
        case 1:
            # Down for a while.
            await crash(rig)
            rig.clock.advance(dice.randint(0, 15 * 60_000))
            await rig.start()
        case 2:
            rig.clock.step(dice.choice([-HOUR_MS, HOUR_MS, dice.randint(-HOUR_MS, HOUR_MS)]))
        case 3:
            # Set while it is down: the next process knows only the new time.
            await crash(rig)
            rig.clock.step(dice.choice([-HOUR_MS, HOUR_MS]))
            await rig.start()
        case _:
            await rig.pass_ms(dice.randint(0, 200_000))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(8))
async def test_every_firing_comes_once_over_kills_and_clock_steps(rig: ScheduleRig, seed: int) -> None:
    dice = random.Random(seed)
    sequences = {}
    for name, (timing, _) in TIMINGS.items():
        made = await rig.registry.register(NewSchedule(name, timing, b"tea", policy=PLAIN))
        sequences[made.schedule_seq] = name
    latest_ms = rig.clock.now_ms()
    for _ in range(STEPS):
        await one_step(rig, dice)
        latest_ms = max(latest_ms, rig.clock.now_ms())
        await rig.pass_ms(dice.choice([0, 1_000, 61_000]))
        latest_ms = max(latest_ms, rig.clock.now_ms())
    # On until the wall clock has been everywhere it ever was.
    while rig.clock.now_ms() <= latest_ms:
        await rig.pass_ms(300_000)
    await rig.pass_ms(1)
    fired = Counter((sequences[one.schedule_seq], one.nominal_ms) for one in rig.fired)
    assert [key for key, count in fired.items() if count > 1] == []
    assert [one for one in rig.fired if one.at_ms < one.nominal_ms] == []
    for name, (_, step_ms) in TIMINGS.items():
        first_ms = START_MS + step_ms if name == "every" else START_MS // step_ms * step_ms + step_ms
        expected = set(range(first_ms, rig.clock.now_ms() + 1, step_ms))
        found = {nominal_ms for of, nominal_ms in fired if of == name}
        assert found == expected, f"{name}: {len(expected - found)} lost, {len(found - expected)} too many"
