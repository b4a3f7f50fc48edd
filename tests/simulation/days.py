"""Seeded days in the form of the recorded ones, for machines that have none."""

from __future__ import annotations

import random

from cuptime.app.replay.day import Day, DayOrder, DayRider


def synthetic(seed: int, orders: int = 90, riders: int = 9, shops: int = 8, minutes: int = 120) -> Day:
    """A town of 5 km with a lunch peak and just enough riders."""
    chance = random.Random(seed)

    def place() -> tuple[float, float]:
        return chance.uniform(-2_500, 2_500), chance.uniform(-2_500, 2_500)

    places = {f"r{n}": place() for n in range(1, shops + 1)}
    shifts = [(0, minutes + 60) if n % 3 else (minutes // 3, minutes + 90) for n in range(riders)]
    crew = tuple(DayRider(f"c{n}", *place(), on, off) for n, (on, off) in enumerate(shifts, 1))
    placed = sorted(int(chance.triangular(0, minutes, minutes / 2)) for _ in range(orders))
    made = tuple(
        DayOrder(f"o{n}", *place(), at, f"r{chance.randint(1, shops)}", at + chance.randint(8, 25))
        for n, at in enumerate(placed, 1)
    )
    return Day(f"synthetic-{seed}", made, crew, places, 300.0, 4, 4, 40, 90)
