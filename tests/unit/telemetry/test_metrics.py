"""What is counted is what /metrics shows."""

from __future__ import annotations

from prometheus_client import generate_latest

from cuptime.telemetry.metrics import PrometheusMetrics


def _shown(metrics: PrometheusMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_counts_and_times_are_shown() -> None:
    metrics = PrometheusMetrics()
    metrics.orders_admitted(3)
    metrics.orders_refused("CREDIT_BELOW_MINIMUM", 2)
    metrics.decision("assigned", 12.0, 4)
    metrics.trigger([0, 3, 40])
    metrics.commit(units=5, rows=20, seconds=0.004)
    metrics.rules(9, [("early", 4)], [("broken", 1)])
    metrics.task("TRIGGERED", 7)
    metrics.call("TaskService/GetTask", "OK", 0.7)
    metrics.forgotten("orders", 40)
    metrics.oldest_ended("groups", 1_500)
    shown = _shown(metrics)
    for line in (
        "cuptime_orders_admitted_total 3.0",
        'cuptime_orders_refused_total{reason="CREDIT_BELOW_MINIMUM"} 2.0',
        'cuptime_decisions_total{outcome="assigned"} 4.0',
        "cuptime_decision_latency_ms_count 4.0",
        "cuptime_trigger_lateness_ms_count 3.0",
        'cuptime_trigger_lateness_ms_bucket{le="3.0"} 2.0',
        "cuptime_commit_rows_sum 20.0",
        'scheduler_rule_evaluations_total{result="hit",rule="early"} 4.0',
        'scheduler_rule_evaluations_total{result="error",rule="broken"} 1.0',
        'cuptime_tasks_total{state="TRIGGERED"} 7.0',
        'cuptime_calls_total{code="OK",method="TaskService/GetTask"} 1.0',
        'cuptime_call_duration_ms_bucket{le="0.5",method="TaskService/GetTask"} 0.0',
        'cuptime_call_duration_ms_bucket{le="1.0",method="TaskService/GetTask"} 1.0',
        'cuptime_call_duration_ms_bucket{le="+Inf",method="TaskService/GetTask"} 1.0',
        'cuptime_call_duration_ms_count{method="TaskService/GetTask"} 1.0',
        'cuptime_retention_removed_total{kind="orders"} 40.0',
        'cuptime_retention_oldest_seconds{kind="groups"} 1.5',
        'cuptime_call_duration_ms_sum{method="TaskService/GetTask"} 0.7',
    ):
        assert line in shown


def test_depths_are_read_when_asked() -> None:
    metrics = PrometheusMetrics()
    waiting = [1, 2]
    metrics.depth("due", lambda: len(waiting))
    assert 'cuptime_queue_depth{queue="due"} 2.0' in _shown(metrics)
    waiting.append(3)
    assert 'cuptime_queue_depth{queue="due"} 3.0' in _shown(metrics)
