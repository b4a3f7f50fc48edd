"""`kill -9` of a real server while it plans: every window is whole afterwards, and no firing is in it twice.

Two schedules that fire every 10 ms fill their window of five minutes with 30,000 firings each, in many commits, one
after the other; the kills fall between them. Beside them schedules of each second, planned by the same planner, show
that nobody is starved.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cuptime.app.served import ServedProcess
from cuptime.domain.limits import FIRINGS_PER_WINDOW_MAX, TRIGGER_WINDOW_MS
from cuptime.domain.values import TaskState
from tests.conftest import WaitUntil
from tests.integration.door import Door, Tables

KILLS = 8
FAST_MS = 10
TARGET = {"task": {"queue": "planned"}}
SCHEDULES: dict[str, dict[str, Any]] = {
    "fast-0": {"every_ms": FAST_MS},
    "fast-1": {"every_ms": FAST_MS},
    "second-0": {"cron": "* * * * * *", "time_zone": "Asia/Shanghai"},
    "second-1": {"every_ms": 1_000},
    "minute-0": {"cron": "* * * * *", "time_zone": "America/New_York"},
}


def planned(folder: Path) -> dict[str, tuple[int, int, int, int]]:
    """By schedule: its sequence, its anchor, its watermark, and how many firings storage says it has."""
    rows = Tables(folder).rows(
        "SELECT schedule_id, schedule_seq, anchor_ms, planned_until_ms, fire_count FROM schedules"
    )
    return {name: (seq, anchor_ms, until_ms, count) for name, seq, anchor_ms, until_ms, count in rows}


def check_windows(folder: Path) -> Counter[str]:
    """What each schedule has between its registration and its watermark: all of it, once. How many, by schedule."""
    found: Counter[str] = Counter()
    tables = Tables(folder)
    for name, (seq, anchor_ms, until_ms, count) in planned(folder).items():
        rows = tables.rows("SELECT nominal_ms FROM tasks WHERE schedule_seq = ? ORDER BY nominal_ms", seq)
        times = [nominal_ms for (nominal_ms,) in rows]
        if "every_ms" in SCHEDULES[name]:
            step_ms = SCHEDULES[name]["every_ms"]
            expected = list(range(anchor_ms + step_ms, until_ms, step_ms))
        else:
            step_ms = 1_000 if name.startswith("second") else 60_000
            expected = list(range(anchor_ms // step_ms * step_ms + step_ms, until_ms, step_ms))
        assert times == expected, f"{name}: {len(times)} firings, not {len(expected)}"
        assert count == len(times), name
        found[name] = len(times)
    return found


@pytest.mark.timeout(300)
async def test_kills_during_planning_lose_and_repeat_no_firing(tmp_path: Path, wait_until: WaitUntil) -> None:
    dice = random.Random(20_261_123)
    server = ServedProcess(tmp_path)
    server.start()
    async with Door(server.address) as door:
        for name, timing in SCHEDULES.items():
            schedule = {"schedule_id": name, "timing": timing, "target": TARGET}
            await door.call("ScheduleService/RegisterSchedule", schedule=schedule)
    totals = []
    for _ in range(KILLS):
        wanted = sum(count for *_, count in planned(server.data).values()) + dice.randint(500, 6_000)

        def goes_on(wanted: int = wanted) -> bool:
            return sum(count for *_, count in planned(server.data).values()) >= wanted

        await wait_until(goes_on, timeout=60, why="the planner goes on")
        server.kill()
        totals.append(sum(check_windows(server.data).values()))
        server.start()
    whole = 2 * FIRINGS_PER_WINDOW_MAX
    assert sum(total < whole for total in totals) >= KILLS // 2, f"the kills came too late: {totals}"

    def all_planned() -> bool:
        return all(
            until_ms - anchor_ms >= TRIGGER_WINDOW_MS
            for _, anchor_ms, until_ms, _ in planned(server.data).values()
        )

    await wait_until(all_planned, timeout=120, why="every schedule has a whole window")
    assert server.stop() == 0, server.log_tail()
    counts = check_windows(server.data)
    assert counts["fast-0"] >= FIRINGS_PER_WINDOW_MAX - 1
    # A schedule of each second has 300 in five minutes, whatever the fast ones take.
    assert counts["second-0"] >= 300
    assert counts["second-1"] >= 299
    states = dict(Tables(server.data).rows("SELECT state, count(*) FROM tasks GROUP BY state"))
    assert states.keys() <= {TaskState.SCHEDULED, TaskState.TRIGGERED}
    late = "SELECT count(*) FROM tasks WHERE trigger_ms > 0 AND trigger_ms < nominal_ms"
    assert Tables(server.data).rows(late) == [(0,)]
