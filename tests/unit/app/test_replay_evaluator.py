"""The evaluator refuses what cannot be, and measures what can."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cuptime.app.replay.day import Day, DayOrder, DayRider
from cuptime.app.replay.evaluator import Infeasible, Trip, evaluate

# One shop at the origin; 100 m a minute; halves of both services take 2 minutes.
DAY = Day(
    name="tiny",
    orders=(
        DayOrder("o1", 1_000.0, 0.0, placed_min=0, shop="s", ready_min=10),
        DayOrder("o2", 1_500.0, 0.0, placed_min=0, shop="s", ready_min=12),
    ),
    riders=(DayRider("r1", 0.0, 500.0, on_min=0, off_min=60),),
    shops={"s": (0.0, 0.0)},
    speed_m_per_min=100.0,
    pickup_service_min=4,
    dropoff_service_min=4,
    target_min=20,
    maximum_min=90,
)
# Leaves at 0, is at the shop at 5 and ready to take at 7; o1 is ready at 10; door at 10 + 2 + 10 + 2.
GOOD = Trip("r1", assigned_min=0, pickup_min=10, orders=("o1",), dropoffs_min=(24,))
BOTH = Trip("r1", assigned_min=0, pickup_min=12, orders=("o1", "o2"), dropoffs_min=(26, 35))


def test_a_good_plan_is_measured() -> None:
    score = evaluate(DAY, [GOOD])
    assert (score.orders, score.undelivered) == (2, 1)
    assert score.undelivered_percent == 50.0
    assert (score.click_to_door, score.overage, score.ready_to_pickup) == (24.0, 4.0, 0.0)
    assert score.orders_per_bundle == 1.0


def test_a_bundle_is_measured() -> None:
    score = evaluate(DAY, [BOTH])
    assert score.undelivered == 0
    assert score.click_to_door == (26 + 35) / 2
    assert score.click_to_door_p90 == 35
    assert score.ready_to_pickup == (2 + 0) / 2
    assert score.orders_per_bundle == 2.0


@pytest.mark.parametrize(
    ("trips", "what"),
    [
        ([replace(GOOD, pickup_min=9)], "ready at 10"),
        ([replace(GOOD, dropoffs_min=(23,))], "is there at 24"),
        ([replace(GOOD, rider="r2")], "no rider r2"),
        ([replace(GOOD, orders=("o9",))], "not of this day"),
        ([replace(GOOD, assigned_min=8)], "can be there at 15"),
        ([replace(GOOD, assigned_min=-1)], "placed at 0"),
        ([replace(GOOD, pickup_min=61, dropoffs_min=(75,))], "after the shift ends"),
        ([GOOD, replace(GOOD, assigned_min=26, pickup_min=40, dropoffs_min=(54,))], "delivered twice"),
        ([GOOD, Trip("r1", 0, 20, ("o2",), (39,))], "can be there at"),
        ([replace(BOTH, dropoffs_min=(26, 34))], "is there at 35"),
    ],
)
def test_what_cannot_be_is_refused(trips: list[Trip], what: str) -> None:
    with pytest.raises(Infeasible, match=what):
        evaluate(DAY, trips)


def test_an_order_past_the_maximum_is_not_delivered() -> None:
    late = Trip("r1", assigned_min=0, pickup_min=60, orders=("o1",), dropoffs_min=(91,))
    assert evaluate(DAY, [late]).undelivered == 2
