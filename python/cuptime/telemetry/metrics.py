"""Prometheus metrics: what the capabilities count and time, and a small HTTP door for /metrics.

Buckets are in milliseconds and fine where the promises are: 25 ms and 300 ms for a decision, 2, 10 and 25 ms for a
trigger.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_DECISION_MS: Final = (1, 2, 5, 10, 15, 20, 25, 35, 50, 75, 100, 150, 200, 250, 300, 500, 1_000, 5_000)
_LATENESS_MS: Final = (0, 1, 2, 3, 5, 7, 10, 15, 25, 50, 100, 250, 500, 1_000, 5_000, 60_000)
_CALL_MS: Final = (0.5, 1, 2, 3, 4, 5, 8, 10, 15, 25, 50, 100, 250, 500, 1_000, 5_000)
_COMMIT_MS: Final = (0.2, 0.5, 1, 2, 3, 5, 10, 20, 50, 100, 500, 2_000)
_COMMIT_ROWS: Final = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000)


class PrometheusMetrics:
    """Implements :class:`cuptime.domain.ports.Metrics` on a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        at = self.registry
        self._admitted = Counter("cuptime_orders_admitted_total", "Orders admitted and durable.", registry=at)
        self._refused = Counter(
            "cuptime_orders_refused_total", "Orders refused, by reason.", ["reason"], registry=at
        )
        self._decisions = Counter(
            "cuptime_decisions_total", "Decisions made durable, by outcome.", ["outcome"], registry=at
        )
        self._decision_ms = Histogram(
            "cuptime_decision_latency_ms",
            "From the completion of a group to the durable decision of its orders.",
            buckets=_DECISION_MS,
            registry=at,
        )
        self._lateness_ms = Histogram(
            "cuptime_trigger_lateness_ms",
            "Trigger time less due time of durable tasks.",
            buckets=_LATENESS_MS,
            registry=at,
        )
        self._commit_ms = Histogram(
            "cuptime_commit_duration_ms", "Duration of a commit.", buckets=_COMMIT_MS, registry=at
        )
        self._commit_rows = Histogram(
            "cuptime_commit_rows", "Rows in a commit.", buckets=_COMMIT_ROWS, registry=at
        )
        self._commit_units = Histogram(
            "cuptime_commit_units", "Callers in a commit.", buckets=_COMMIT_ROWS, registry=at
        )
        self._rules = Counter(
            "scheduler_rule_evaluations_total", "Rule evaluations by result.", ["result", "rule"], registry=at
        )
        self._rules_evaluated = Counter(
            "scheduler_rule_orders_total",
            "Rules asked about orders: each active rule once for each order; misses are these less hits and errors.",
            registry=at,
        )
        self._rules_tried = Counter(
            "scheduler_rule_loads_total", "Attempts to make rules live.", ["origin", "result"], registry=at
        )
        self._rules_standing = Gauge(
            "scheduler_rule_load_good",
            "1 when the last attempt of this origin was good.",
            ["origin"],
            registry=at,
        )
        self._rule_revision = Gauge(
            "scheduler_rule_revision", "The live rule revision; 0 without rules.", registry=at
        )
        self._tasks = Counter("cuptime_tasks_total", "Tasks that entered a state.", ["state"], registry=at)
        self._overlaps = Counter(
            "cuptime_overlaps_total", "Firings by what their overlap policy did.", ["effect"], registry=at
        )
        self._calls = CallFigures()
        at.register(self._calls)
        self._forgotten = Counter(
            "cuptime_retention_removed_total", "What retention removed, by kind.", ["kind"], registry=at
        )
        self._oldest = Gauge(
            "cuptime_retention_oldest_seconds",
            "When the oldest that has ended and is kept did so, seconds since 1970; 0 is none.",
            ["kind"],
            registry=at,
        )
        self._depth = Gauge("cuptime_queue_depth", "What waits, by queue.", ["queue"], registry=at)

    def orders_admitted(self, count: int) -> None:
        self._admitted.inc(count)

    def orders_refused(self, reason: str, count: int) -> None:
        self._refused.labels(reason).inc(count)

    def decision(self, outcome: str, latency_ms: float, count: int) -> None:
        self._decisions.labels(outcome).inc(count)
        for _ in range(count):
            self._decision_ms.observe(latency_ms)

    def trigger(self, lateness_ms: Sequence[int]) -> None:
        for value in lateness_ms:
            self._lateness_ms.observe(value)

    def commit(self, units: int, rows: int, seconds: float) -> None:
        self._commit_units.observe(units)
        self._commit_rows.observe(rows)
        self._commit_ms.observe(seconds * 1_000)

    def rules(
        self, evaluated: int, hits: Sequence[tuple[str, int]], errors: Sequence[tuple[str, int]]
    ) -> None:
        # Misses are evaluated - hits - errors: counted by nobody, known to everybody.
        self._rules_evaluated.inc(evaluated)
        for rule, count in hits:
            self._rules.labels("hit", rule).inc(count)
        for rule, count in errors:
            self._rules.labels("error", rule).inc(count)

    def rules_tried(self, origin: str, good: bool, revision: int) -> None:
        self._rules_tried.labels(origin, "good" if good else "bad").inc()
        self._rules_standing.labels(origin).set(int(good))
        if good:
            self._rule_revision.set(revision)

    def task(self, state: str, count: int) -> None:
        self._tasks.labels(state).inc(count)

    def overlap(self, effect: str, count: int) -> None:
        self._overlaps.labels(effect).inc(count)

    def depth(self, queue: str, depth: Callable[[], int]) -> None:
        self._depth.labels(queue).set_function(lambda: float(depth()))

    def forgotten(self, kind: str, count: int) -> None:
        self._forgotten.labels(kind).inc(count)

    def oldest_ended(self, kind: str, ended_ms: int) -> None:
        self._oldest.labels(kind).set(ended_ms / 1_000)

    def call(self, method: str, code: str, duration_ms: float) -> None:
        self._calls.add(method, code, duration_ms)


class CallFigures(Collector):
    """Calls by method and code, and their durations by method: as a Counter and a Histogram would show them, at a
    quarter of their price, because there is a call for each order of the burst. One thread adds, any may read."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], int] = {}
        self._buckets: dict[str, list[int]] = {}
        self._sums_ms: dict[str, float] = {}

    def add(self, method: str, code: str, duration_ms: float) -> None:
        try:
            self._calls[method, code] += 1
        except KeyError:
            self._calls[method, code] = 1
            self._buckets.setdefault(method, [0] * (len(_CALL_MS) + 1))
            self._sums_ms.setdefault(method, 0.0)
        self._buckets[method][bisect_left(_CALL_MS, duration_ms)] += 1
        self._sums_ms[method] += duration_ms

    def collect(self) -> Iterator[Metric]:
        """What /metrics shows."""
        calls = CounterMetricFamily(
            "cuptime_calls", "Calls by method and status code.", labels=["method", "code"]
        )
        for (method, code), count in list(self._calls.items()):
            calls.add_metric([method, code], count)
        yield calls
        durations = HistogramMetricFamily(
            "cuptime_call_duration_ms", "Duration of a call, by method.", labels=["method"]
        )
        bounds = [*map(floatToGoString, _CALL_MS), "+Inf"]
        for method, counts in list(self._buckets.items()):
            sums = list(accumulate(counts))
            durations.add_metric([method], list(zip(bounds, sums, strict=True)), self._sums_ms[method])
        yield durations
