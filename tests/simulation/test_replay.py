"""A day through a whole node under a simulated clock: feasible, better than greedy, the same each time."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuptime.app.replay.day import read
from cuptime.app.replay.evaluator import evaluate
from cuptime.app.replay.main import PUBLISHED, replay
from cuptime.app.replay.service import Replay
from tests.simulation.days import synthetic


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_synthetic_day_is_better_than_greedy(seed: int) -> None:
    """The evaluator shares nothing with the service and refuses what no rider could do."""
    outcome = replay(synthetic(seed))
    ours, baseline = outcome.scores["cuptime"], outcome.scores["greedy"]
    assert (ours.undelivered, ours.click_to_door) < (baseline.undelivered, baseline.click_to_door)
    assert outcome.service.improved > 0


def test_the_same_day_gives_the_same_ledger() -> None:
    one, two = (Replay(synthetic(4)).run() for _ in range(2))
    assert one.ledger_rows > 90
    assert one == two


def test_another_day_gives_another_ledger() -> None:
    assert Replay(synthetic(4)).run().ledger_digest != Replay(synthetic(5)).run().ledger_digest


def test_each_order_is_carried_at_most_once() -> None:
    day = synthetic(6, orders=120, riders=6)
    trips = Replay(day).run().trips
    carried = [name for trip in trips for name in trip.orders]
    assert len(carried) == len(set(carried))
    assert evaluate(day, trips).orders == 120


@pytest.mark.outside
@pytest.mark.parametrize("name", ["0r50t75s2p100", "1o50t100s1p100"])
def test_recorded_days_hold_their_figures(shared_data: Path, name: str) -> None:
    """Not below what is published with the days: undelivered, then click-to-door within three in a hundred."""
    scores = replay(read(shared_data / "mdrp" / name)).scores
    ours, baseline = scores["cuptime"], scores["greedy"]
    click_to_door, undelivered_percent = PUBLISHED[name]
    assert ours.undelivered <= baseline.undelivered
    assert ours.undelivered_percent <= undelivered_percent
    assert ours.click_to_door < baseline.click_to_door
    assert ours.click_to_door <= 1.03 * click_to_door
