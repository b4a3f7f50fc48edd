"""Percentiles, and the rows of the table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


def at(sorted_values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile."""
    return sorted_values[max(0, math.ceil(len(sorted_values) * share) - 1)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """p50, p99, p99.9 and max, and how many there are."""
    if not values:
        return {"count": 0, "p50": math.nan, "p99": math.nan, "p999": math.nan, "max": math.nan}
    known = sorted(values)
    return {
        "count": len(known),
        "p50": at(known, 0.50),
        "p99": at(known, 0.99),
        "p999": at(known, 0.999),
        "max": known[-1],
    }


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its target and its anchor."""

    name: str
    ours: float
    unit: str
    target: float
    at_least: bool
    """Whether more is better."""
    anchor: str
    anchor_source: str
    beside: str = ""
    """A peer or a floor of our own, measured in the same run."""
    notes: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.ours >= self.target if self.at_least else self.ours <= self.target

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}
