"""The engine against the minute-by-minute oracle: a sample in each run, the campaign by `make torture-cron`."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import pytest

from cuptime.core import Cron
from cuptime.schedules.zone_files import zone_names, zone_of
from tests.unit.schedules.cron_oracle import POLICIES, Window, changes, clock_of, expected, expression, window


def wrong(text: str, around: Window, policy: str, wanted: list[int]) -> str:
    """What differs, "" when nothing does: forward, and back again."""
    cron = Cron(text, zone_of(around.zone), dst=policy)
    times, _ = cron.firings(around.from_ms, around.until_ms, 100_000)
    if times != wanted:
        odd = sorted(set(times) ^ set(wanted))[:3]
        shown = [datetime.fromtimestamp(t / 1_000, clock_of(around.zone)).isoformat() for t in odd]
        return f"{text} {around.zone} {policy}: differs at {shown}"
    at_ms: int | None = around.until_ms + 1
    for time in reversed(times):
        at_ms = cron.previous(at_ms or 0)
        if at_ms != time:
            return f"{text} {around.zone} {policy}: back from {time}"
    return ""


def run(seed: int, expressions: int, places: int) -> tuple[list[str], int]:
    """Random expressions, each in so many places of all changes of all zones, under each policy."""
    dice = random.Random(seed)
    faults: list[str] = []
    checked = 0
    for _ in range(expressions):
        wanted = expression(dice)
        for zone, at_s in dice.choices(changes(), k=places):
            around = window.__wrapped__(zone, at_s, 1)
            for policy in POLICIES:
                fault = wrong(wanted.text, around, policy, expected(wanted, policy, around))
                checked += 1
                if fault:
                    faults.append(fault)
    return faults, checked


def test_a_sample_of_expressions_and_zones() -> None:
    faults, checked = run(seed=20_261_123, expressions=150, places=2)
    assert faults == []
    assert checked == 150 * 2 * len(POLICIES)


@pytest.mark.torture
def test_campaign() -> None:
    """CUPTIME_CRON_EXPRESSIONS and CUPTIME_CRON_SEED vary it."""
    count = int(os.environ.get("CUPTIME_CRON_EXPRESSIONS", "10000"))
    seed = int(os.environ.get("CUPTIME_CRON_SEED", "1"))
    faults, checked = run(seed, count, 4)
    print(f"{count} expressions, {checked} fire sets, {len(faults)} wrong")  # noqa: T201 - the campaign's answer
    assert faults[:20] == []


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Asia/Shanghai", "Australia/Lord_Howe", "Pacific/Apia", "Africa/Casablanca"]
)
def test_the_wall_clock_is_that_of_zoneinfo(zone: str) -> None:
    dice = random.Random(7)
    clock, ours = clock_of(zone), zone_of(zone)
    for _ in range(3_000):
        at_s = dice.randint(-2_000_000_000, 16_000_000_000)
        offset = datetime.fromtimestamp(at_s, UTC).astimezone(clock).utcoffset()
        assert offset is not None
        assert ours.local_s(at_s) - at_s == offset.total_seconds(), (zone, at_s)


def test_every_zone_is_read() -> None:
    for name in zone_names():
        assert zone_of(name).memory_bytes() < 30_000
