"""The drop-in class against croniter itself, on the same calls."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import croniter as theirs
import pytest

from cuptime.schedules import drop_in as ours

START = datetime(2026, 11, 23, 10, 7, 30, tzinfo=UTC)


def _field(dice: random.Random, low: int, high: int) -> str:
    a, b = sorted((dice.randint(low, high), dice.randint(low, high)))
    return dice.choice(
        [
            "*",
            "*",
            str(a),
            f"{a},{b}",
            f"*/{dice.randint(1, high // 2)}",
            f"{a}-{b + 1 if a == b and b < high else b}",
        ]
    )


def _expression(dice: random.Random) -> str:
    # Where both day fields are given, a step of one of them is read in two ways; a-a is tried apart.
    day, week = dice.choice(
        [
            ("*", "*"),
            (_field(dice, 1, 31), "*"),
            ("*", _field(dice, 0, 6)),
            ("L", "*"),
            ("*", "5#2"),
            ("*", "L5"),
        ]
    )
    second = f" {_field(dice, 0, 59)}" if dice.random() < 0.3 else ""
    return f"{_field(dice, 0, 59)} {_field(dice, 0, 23)} {day} {_field(dice, 1, 12)} {week}{second}"


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("Asia/Shanghai")])
def test_forward_and_back_as_croniter_goes(zone: ZoneInfo) -> None:
    dice = random.Random(20_261_123)
    start = START.astimezone(zone)
    compared = 0
    for _ in range(400):
        text = _expression(dice)
        try:
            one = theirs.croniter(text, start, ret_type=datetime)
            wanted = [one.get_next(datetime) for _ in range(4)] + [one.get_prev(datetime) for _ in range(5)]
        except (theirs.CroniterBadDateError, theirs.CroniterBadCronError):
            continue
        other = ours.croniter(text, start, ret_type=datetime)
        found = [other.get_next(datetime) for _ in range(4)] + [other.get_prev(datetime) for _ in range(5)]
        assert found == wanted, text
        compared += 1
    assert compared > 300


@pytest.mark.parametrize(
    ("zone", "evening"),
    [
        ("America/New_York", (2026, 3, 7, 20)),
        ("America/New_York", (2026, 10, 31, 20)),
        ("Europe/Paris", (2026, 3, 28, 20)),
        ("Europe/Paris", (2026, 10, 24, 20)),
        ("Australia/Lord_Howe", (2026, 10, 3, 20)),
    ],
)
def test_over_a_change_of_the_clock_as_croniter_goes(zone: str, evening: tuple[int, int, int, int]) -> None:
    dice = random.Random(7)
    start = datetime(*evening, tzinfo=ZoneInfo(zone))
    for _ in range(60):
        text = f"{_field(dice, 0, 59)} {_field(dice, 0, 23)} * * *"
        one, other = theirs.croniter(text, start), ours.croniter(text, start)
        assert [other.get_next() for _ in range(12)] == [one.get_next() for _ in range(12)], text


@pytest.mark.parametrize(
    "text", ["22-2 * * * *", "0 22-2 * * *", "0 0 * * fri-mon", "5/15 * * * *", "1-1 * * * *", "@daily"]
)
def test_what_is_particular_to_croniter(text: str) -> None:
    one, other = theirs.croniter(text, START), ours.croniter(text, START)
    assert [other.get_next() for _ in range(50)] == [one.get_next(float) for _ in range(50)]


@pytest.mark.parametrize("text", ["* * * *", "60 * * * *", "a b c d e", "* * * * * * * *", "*/0 * * * *", ""])
def test_what_neither_reads(text: str) -> None:
    assert not theirs.croniter.is_valid(text)
    assert not ours.croniter.is_valid(text)


def test_the_rest_of_the_interface() -> None:
    one = ours.croniter("0 9 * * *", START)
    assert one.get_current(datetime) == START
    assert next(one) == datetime(2026, 11, 24, 9, tzinfo=UTC).timestamp()
    assert one.set_current(0) == 0
    assert next(iter(one.all_next(datetime))) == datetime(1970, 1, 1, 9, tzinfo=UTC)
    assert next(one.all_prev(datetime)) == datetime(1969, 12, 31, 9, tzinfo=UTC)
    assert ours.croniter.match("0 9 * * *", datetime(2026, 11, 24, 9, 0, 59, tzinfo=UTC))
    assert not ours.croniter.match("0 9 * * *", datetime(2026, 11, 24, 9, 1, tzinfo=UTC))
    with pytest.raises(ours.CroniterBadDateError):
        ours.croniter("0 0 31 2 *", START).get_next()
