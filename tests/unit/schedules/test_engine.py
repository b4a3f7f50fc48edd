"""The engine behind the port: what it reads, refuses and computes, and what croniter says to it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import pytest

from cuptime.core import Cron
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.schedules.cron_text import read_text
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.second_opinion import differs
from cuptime.schedules.zone_files import ZoneError, forget, nearest_zone, zone_of, zone_version
from tests.unit.schedules.desk_rig import cron

ENGINE = CoreCronEngine()
FAR_MS = 1 << 62


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000)


@pytest.mark.parametrize(
    ("expression", "after_text", "expected"),
    [
        ("0 0 0 1 1 * 2030", "2026-11-23T10:00:00", ["2030-01-01T00:00:00"]),
        ("@daily", "2026-11-23T10:00:00", ["2026-11-24T00:00:00", "2026-11-25T00:00:00"]),
        ("CRON_TZ=Asia/Shanghai 0 9 * * *", "2026-11-23T10:00:00", ["2026-11-24T01:00:00", "2026-11-25T01:00:00"]),
        ("DIALECT=quartz 0 0 12 ? * 2", "2026-11-24T10:00:00", ["2026-11-30T12:00:00", "2026-12-07T12:00:00"]),
        ("0 9 * * * | 30 12 * * *", "2026-11-23T10:00:00", ["2026-11-23T12:30:00", "2026-11-24T09:00:00"]),
        ("0 9 * * * ! * * * * SAT,SUN", "2026-11-27T10:00:00", ["2026-11-30T09:00:00", "2026-12-01T09:00:00"]),
        ("@every 2w from 2026-11-25 10:00", "2026-11-23T10:00:00", ["2026-11-25T10:00:00", "2026-12-09T10:00:00"]),
    ],
)  # fmt: skip
def test_firings(expression: str, after_text: str, expected: list[str]) -> None:
    timing = cron(expression)
    ENGINE.check(timing)
    times = ENGINE.firings(timing, 0, ms(after_text), FAR_MS, 2)
    assert times == [ms(text) for text in expected]
    assert ENGINE.next(timing, 0, ms(after_text)) == times[0]


@pytest.mark.parametrize(
    "expression",
    [
        "* * * * * * * *",
        "@fortnightly",
        "@reboot",
        "@every 1ms",
        "DIALECT=perl * * * * *",
        "DST=never * * * * *",
        "COLOUR=red * * * * *",
    ],
)
def test_what_is_not_read(expression: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron(expression))
    assert refused.value.reason in (Reason.CRON_INVALID, Reason.FIELD_INVALID)
    assert refused.value.field == "timing.cron"


def test_a_refusal_says_where_and_how_to_mend_it() -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron("DST=croner 0 9 * * FRI-MON"))
    assert refused.value.metadata["cron_field"] == "weekday"
    assert refused.value.metadata["position"] == str(len("DST=croner 0 9 * * "))
    assert refused.value.metadata["mend"] == "write 5-6,0-1"
    assert "character 20" in refused.value.message


def test_what_never_fires_is_known_at_registration() -> None:
    with pytest.raises(CuptimeError) as refused:
        ENGINE.check(cron("0 0 L-30 2 *"))
    assert refused.value.reason is Reason.CRON_NEVER_FIRES


def test_a_zone_that_was_meant_is_named() -> None:
    assert nearest_zone("Asia/Beijing") == "Asia/Shanghai"
    assert nearest_zone("new york") == "America/New_York"
    assert nearest_zone("Atlantis") == ""
    with pytest.raises(ZoneError, match="Asia/Shanghai"):
        zone_of("Asia/Beijing")


def test_the_zone_data_has_a_version_and_is_read_anew() -> None:
    assert zone_version()[:2] == "20"
    before = zone_of("Asia/Shanghai")
    forget()
    assert zone_of("Asia/Shanghai") is not before


def test_settings_stand_in_front() -> None:
    text = read_text("  TZ=UTC DST=croner DIALECT=vixie SEED=a 0 9 * * *")
    assert (text.body, text.body_at) == ("0 9 * * *", len("  TZ=UTC DST=croner DIALECT=vixie SEED=a "))
    assert (text.time_zone, text.dst, text.dialect, text.seed) == ("UTC", "croner", "vixie", "a")


def test_croniter_agrees_or_both_answers_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        ENGINE.check(cron("*/5 8-18 * * mon-fri"))
        assert caplog.records == []
        said = differs(cron("0 9 * * *"), Cron("0 9 * * *", zone_of("UTC")))
        assert said == ""


def test_a_difference_shows_both_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """croniter reads `1-1` as every value; the adapter mends that, so without the mending they differ."""
    monkeypatch.setattr("cuptime.schedules.croniter_engine._plain", lambda field: field)
    with caplog.at_level(logging.WARNING):
        ENGINE.check(cron("0 9 7-7 * *"))
    assert "ours 2026-12-07T09:00:00+00:00" in caplog.text
    assert "croniter 2026-11-23T09:00:00+00:00" in caplog.text
