"""The audit of schedules: an entry for each change, in its commit, and none for what changed nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from itertools import pairwise
from typing import Any

import pytest

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import SCHEDULE_CHANGES_KEPT_MS
from cuptime.domain.values import Caller, ScheduleChangeKind, ScheduleChangeRow, ScheduleState
from cuptime.schedules.registry import NewSchedule, ScheduleChange
from tests.unit.schedules.desk_rig import ScheduleRig, every, shown
from tests.unit.tasks.rig import START_MS
from tests.unit.tasks.test_leases import crash

ANN = Caller("ann", "ipv4:127.0.0.1:9")
HOUR = 3_600_000


async def entries(rig: ScheduleRig, schedule_id: str | None = None) -> list[ScheduleChangeRow]:
    """Oldest first."""
    rows = await rig.registry.raw.changes(before=1 << 62, limit=1_000, schedule_id=schedule_id)
    return rows[::-1]


async def test_who_changed_what_and_when(rig: ScheduleRig) -> None:
    raw = rig.registry.raw
    await raw.register(NewSchedule("s", every(HOUR), b"tea"), request_id="r-1", by=ANN)
    await rig.pass_ms(1_000)
    await raw.update("s", ScheduleChange(timing=every(2 * HOUR), note="slower"), by=ANN)
    await raw.pause("s", "rain", by=Caller("bob"))
    await raw.resume("s")
    await raw.by_hand.trigger("s", by=ANN)
    await raw.unregister("s", by=ANN)
    rows = await entries(rig, "s")
    kinds = ScheduleChangeKind
    assert [row.kind for row in rows] == [
        *(kinds.REGISTERED, kinds.UPDATED, kinds.PAUSED, kinds.RESUMED, kinds.TRIGGERED, kinds.UNREGISTERED)
    ]
    assert [row.generation for row in rows] == [1, 2, 3, 4, 4, 5]
    assert [row.caller.actor for row in rows] == ["ann", "ann", "bob", "", "ann", "ann"]
    assert [row.at_ms - START_MS for row in rows] == [0, *[1_000] * 5]
    assert rows[0].request_id == "r-1"
    assert rows[0].before == b""
    before, after = shown(rows[1].before), shown(rows[1].after)
    assert (before.timing.value_ms, after.timing.value_ms) == (HOUR, 2 * HOUR)
    assert (before.note, after.note) == ("", "slower")
    assert (shown(rows[2].after).note, shown(rows[2].after).state) == ("rain", ScheduleState.PAUSED)
    assert rows[4].detail == f"1 firings, nominal {START_MS + 1_000} to {START_MS + 1_000}"
    assert shown(rows[5].after).state is ScheduleState.UNREGISTERED
    assert sorted(row.sequence for row in rows) == [row.sequence for row in rows]
    await crash(rig)
    await rig.start()
    assert await entries(rig, "s") == rows


async def test_what_changes_nothing_is_not_recorded(rig: ScheduleRig) -> None:
    raw = rig.registry.raw
    await raw.register(NewSchedule("s", every(HOUR), b"tea"), request_id="r")
    await raw.register(NewSchedule("s", every(HOUR), b"tea"), request_id="r")
    await raw.resume("s")
    await raw.update("s", ScheduleChange(note="x"), validate_only=True)
    refused: list[Awaitable[Any]] = [
        raw.register(NewSchedule("s", every(HOUR), b"tea")),
        raw.update("s", ScheduleChange(note="x"), etag=7),
        raw.pause("absent"),
    ]
    for call in refused:
        with pytest.raises(CuptimeError):
            await call
    rig.storage.failures = [Reason.STORAGE_UNAVAILABLE]  # type: ignore[attr-defined]
    with pytest.raises(CuptimeError):
        await raw.pause("s")
    assert [row.kind for row in await entries(rig)] == [ScheduleChangeKind.REGISTERED]


async def test_of_64_callers_each_generation_has_its_entry(rig: ScheduleRig) -> None:
    raw = rig.registry.raw
    await raw.register(NewSchedule("s", every(HOUR), b"tea"))
    await asyncio.gather(
        *(raw.update("s", ScheduleChange(note=str(n)), by=Caller(str(n))) for n in range(64))
    )
    rows = await entries(rig, "s")
    assert [row.generation for row in rows] == list(range(1, 66))
    assert Counter(row.caller.actor for row in rows[1:]) == Counter(str(n) for n in range(64))
    assert all(shown(row.after).note == row.caller.actor for row in rows[1:])
    chain = [(shown(row.before), shown(row.after)) for row in rows[1:]]
    assert all(before == after for (_, after), (before, _) in pairwise(chain))


async def test_what_is_older_than_its_time_is_forgotten_by_itself(rig: ScheduleRig) -> None:
    raw = rig.registry.raw
    await raw.register(NewSchedule("s", every(24 * HOUR), b"tea"))
    await raw.pause("s")
    rig.clock.advance(SCHEDULE_CHANGES_KEPT_MS - HOUR)
    await raw.update("s", ScheduleChange(note="x"))
    await rig.pass_ms(2 * HOUR)
    assert [row.kind for row in await entries(rig)] == [ScheduleChangeKind.UPDATED]
