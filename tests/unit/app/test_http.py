"""The HTTP door has one page."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request

import pytest

from cuptime.app.http import HttpServer
from cuptime.telemetry.metrics import PrometheusMetrics


def _get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def test_metrics_are_served_and_nothing_else() -> None:
    metrics = PrometheusMetrics()
    metrics.orders_admitted(2)
    door = HttpServer(metrics.registry)
    address = await door.start("127.0.0.1:0")
    try:
        code, text = await asyncio.to_thread(_get, address, "/metrics")
        assert code == 200
        assert "cuptime_orders_admitted_total 2.0" in text
        for path in ("/", "/admin", "/metrics-else"):
            code, text = await asyncio.to_thread(_get, address, path)
            told = json.loads(text)
            assert (code, told["status"], told["reason"]) == (404, 404, "PATH_NOT_FOUND")
            assert told["detail"] == f"there is no '{path}' here; there are /metrics"
        with pytest.raises(OSError, match="in use"):
            await HttpServer(metrics.registry).start(address)
    finally:
        await door.stop()
