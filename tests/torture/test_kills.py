"""`kill -9` of a real server under load: nothing acknowledged is lost, nothing is decided twice."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.real_servers import RedisServer
from tests.torture.campaign import Campaign, Outcome

KILLS: Final = int(os.environ.get("CUPTIME_KILLS", "200"))
"""Of each long campaign; a quarter with Redis."""


def _check(outcome: Outcome, kills: int, acknowledged: int) -> None:
    findings = outcome.findings
    assert findings.violations == []
    assert outcome.kills == kills
    # A run with too little load proves nothing.
    assert findings.counts["orders acknowledged"] >= acknowledged
    assert findings.counts["decisions assigned"] >= acknowledged // 2
    assert findings.counts["tasks executed by workers"] >= kills
    assert findings.counts["orders improved"] > 0, "nothing was improved"
    assert outcome.counts["wrong"] == 0
    assert outcome.counts["sent again"] > 0
    assert outcome.counts["cancelled"] > 0
    assert findings.counts["shops and riders compared"] > 0


def _print(line: str) -> None:
    """Seen with `pytest -s`, as `make torture` has it."""
    print(line, flush=True)


def _tell(outcome: Outcome, record_property: Callable[[str, object], None]) -> None:
    """The summary of a campaign."""
    restarts = sorted(outcome.restart_ms)
    restart_ms = {"p50": restarts[len(restarts) // 2], "max": restarts[-1]}
    findings = outcome.findings
    record_property("counts", findings.counts)
    record_property("restart_ms", restart_ms)
    _print(f"{outcome.kills} kills; restart p50 {restart_ms['p50']} ms, max {restart_ms['max']} ms")
    for counts in (dict(outcome.counts), findings.counts):
        _print("  " + "; ".join(f"{name} {count:,}" for name, count in counts.items()))
    _print(f"violations: {len(findings.violations)}" + "".join(f"\n  {one}" for one in findings.violations))


@pytest.fixture(autouse=True)
def eager_improvement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions are improved every second and for a metre, so that many kills fall into it; and committed within a
    minute or two instead of a quarter of an hour, or the first 10,000 would be all that is ever looked at."""
    monkeypatch.setenv("CUPTIME_LEAVE_EARLY_S", "720")
    monkeypatch.setenv("CUPTIME_REOPTIMISE_EVERY_S", "1")
    monkeypatch.setenv("CUPTIME_IMPROVE_GAIN_MIN_M", "1")


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_thirty_kills_lose_nothing(tmp_path: Path) -> None:
    outcome = await Campaign(tmp_path, seed=7).run(kills=30, acknowledged_between=120)
    _check(outcome, 30, 30 * 120)


@pytest.mark.torture
@pytest.mark.timeout(1_800)
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_hundreds_of_kills_lose_nothing(
    tmp_path: Path, seed: int, record_property: Callable[[str, object], None]
) -> None:
    outcome = await Campaign(tmp_path, seed, tell=_print).run(kills=KILLS, acknowledged_between=300)
    _tell(outcome, record_property)
    _check(outcome, KILLS, KILLS * 300)


@pytest.mark.torture
@pytest.mark.redis
@pytest.mark.timeout(1_800)
async def test_kills_with_redis_as_the_gate_lose_nothing(
    tmp_path: Path, own_redis: RedisServer, record_property: Callable[[str, object], None]
) -> None:
    """Redis lives on while the server is killed, and is killed itself now and then: it is no truth."""
    kills = max(1, KILLS // 4)
    campaign = Campaign(tmp_path, 4, "--redis", own_redis.url, tell=_print)

    def restart_redis() -> None:
        own_redis.kill()
        own_redis.start()

    campaign.between[kills // 5] = restart_redis
    campaign.between[kills * 3 // 5] = restart_redis
    outcome = await campaign.run(kills, acknowledged_between=200)
    _tell(outcome, record_property)
    _check(outcome, kills, kills * 200)
