"""Settings: a wrong value is named before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from cuptime.app.settings import Settings, SettingsError, read


@pytest.mark.parametrize("name", ["listen", "metrics"])
@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1:99999", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "host:-1"),
        *(":7000", "::1:7000", "a host:7000", "unix:/tmp/x:1", "127.0.0.1:７０００", "127.0.0.1:7000\n"),
        "127.0.0.1:" + "0" * 5_000,
    ],
)
def test_what_is_no_address_is_refused(name: str, address: str) -> None:
    with pytest.raises(SettingsError, match="not an address; give host:port"):
        read({name: address}, {})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:7000", "campus:65535"])
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert read({"listen": address}, {}).listen == address


def test_without_an_address_there_is_no_http_door() -> None:
    assert read({"metrics": ""}, {}).metrics == ""


@pytest.mark.parametrize("tick_ms", [0, 7, 100, 1_000])
def test_a_tick_that_the_wheel_cannot_have_is_named(tick_ms: int) -> None:
    with pytest.raises(SettingsError, match="tick_ms"):
        read({"tick_ms": tick_ms}, {})


@pytest.mark.parametrize("name", ["retain_days", "retain_tasks_days"])
@pytest.mark.parametrize(
    ("days", "told"),
    [("-1", ">= 0"), ("3651", "<= 3650"), ("x", "whole"), ("1.5", "whole"), ("", "whole"), ("1e3", "whole")],
)
def test_days_that_retention_cannot_have_are_named(name: str, days: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"setting {name}: .*{told}"):
        read({name: days}, {})
    assert getattr(read({name: "0"}, {}), name) == 0


@pytest.mark.parametrize("tick_ms", [1, 8, 10, 50])
def test_a_tick_is_a_divisor_of_a_second(tick_ms: int) -> None:
    assert read({"tick_ms": tick_ms}, {}).tick_ms == tick_ms


def test_an_option_wins_over_the_environment_and_that_over_the_default() -> None:
    environment = {"CUPTIME_CREDIT_MIN": "90", "CUPTIME_TICK_MS": "5", "CUPTIME_OF_ANOTHER_PROGRAM": "x"}
    settings = read({"tick_ms": "10", "data": Path("here")}, environment)
    assert (settings.tick_ms, settings.credit_min, settings.purchase_limit) == (10, 90, 2)
    assert settings.data == Path("here")


@pytest.mark.parametrize(
    ("name", "said", "value"),
    [
        ("reflection", "false", False),
        ("reflection", "1", True),
        ("drain_grace_s", "0.5", 0.5),
        ("origin_latitude", "-31", -31.0),
        ("data", "a folder", Path("a folder")),
        ("redis", "", ""),
    ],
)
def test_text_becomes_what_the_setting_is(name: str, said: str, value: object) -> None:
    assert getattr(read({}, {f"CUPTIME_{name.upper()}": said}), name) == value


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reflection", "perhaps"),
        ("credit_min", "-1"),
        ("credit_min", "many"),
        ("credit_min", "1.5"),
        ("credit_min", "1e2"),
        ("credit_min", " 90"),
        ("credit_min", "９０"),
        ("radius_m", "5.0"),
        ("radius_m", "1" + "0" * 17),
        ("delivery_radius_m", "9" * 30),
        ("improve_gain_min_m", "20000001"),
        ("node", ""),
        ("node", "a node"),
        ("redis", " "),
        ("redis", "127.0.0.1:6379"),
        ("redis", "http://127.0.0.1:6379"),
        ("redis", "redis://127.0.0.1:99999/0"),
        ("redis", "redis://127.0.0.1/zero"),
        ("redis", "redis://127.0.0.1?db=x"),
        ("purchase_limit", "null"),
        ("drain_grace_s", "inf"),
        ("origin_latitude", "nan"),
        ("origin_longitude", "181"),
        ("log_level", "loud"),
        ("time_zone", "Mars/Olympus"),
        ("data", ""),
        ("rules", ""),
    ],
)
def test_what_cannot_be_is_named_with_what_was_given(name: str, said: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read({}, {f"CUPTIME_{name.upper()}": said})
    assert [(fault.name, fault.given) for fault in refused.value.faults] == [(name, said)]


def test_all_faults_are_told_at_once_and_nothing_unknown_is_taken() -> None:
    with pytest.raises(SettingsError) as refused:
        read({"colour": "red", "tick_ms": "7"}, {"CUPTIME_RADIUS_M": "0"})
    assert {fault.name for fault in refused.value.faults} == {"colour", "tick_ms", "radius_m"}


@pytest.mark.parametrize(
    "url",
    [
        *("redis://127.0.0.1:6379/0", "rediss://u:p@redis.campus:6380", "redis://[::1]/1"),
        "unix:///run/redis.sock",
    ],
)
def test_the_url_of_a_redis_is_taken_as_it_is(url: str) -> None:
    assert read({}, {"CUPTIME_REDIS": url}).redis == url


def test_a_fault_of_a_type_says_what_the_setting_is() -> None:
    with pytest.raises(SettingsError, match=r"log_level: .*It is: debug, info, warning or error\."):
        read({"log_level": "LOUD"}, {})
    with pytest.raises(SettingsError, match=r"drain_grace_s: .*It is: Calls under way may last so long"):
        read({"drain_grace_s": "soon"}, {})


def test_a_fault_shows_neither_a_password_nor_all_of_a_long_text() -> None:
    with pytest.raises(SettingsError) as refused:
        read({}, {"CUPTIME_REDIS": "redis://me:secret@h:99999", "CUPTIME_RULES": "x" * 100_000})
    told = str(refused.value)
    assert "secret" not in told
    assert len(told) < 1_000
    assert {fault.name for fault in refused.value.faults} == {"redis", "rules"}


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("CUPTIME_RETAIN_DAY", "CUPTIME_RETAIN_DAYS"),
        ("CUPTIME_RETAN_DAYS", "CUPTIME_RETAIN_DAYS"),
        ("Cuptime_Retain_Days", "CUPTIME_RETAIN_DAYS"),
        ("CUPTIME_REOPTIMIZE_EVERY_S", "CUPTIME_REOPTIMISE_EVERY_S"),
        ("CUPTIME_LISTENS", "CUPTIME_LISTEN"),
    ],
)
def test_a_variable_that_is_mistyped_is_not_passed_over(variable: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=f"setting {variable}: no such setting; {meant} is one"):
        read({}, {variable: "365"})


def test_variables_of_others_are_left_alone() -> None:
    """The last three are made by Kubernetes for a service named cuptime."""
    others = ("ADDRESS", "HOME", "PORT", "SERVICE_HOST", "PORT_7000_TCP_ADDR")
    assert read({}, {f"CUPTIME_{name}": "x" for name in others} | {"LISTEN": "x"}) == Settings()


@pytest.mark.parametrize("name", ["rules", "calendars"])
def test_a_folder_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    assert getattr(read({name: str(tmp_path)}, {}), name) == tmp_path
    (tmp_path / "a-file").touch()
    for absent in ("nowhere", "a-file"):
        with pytest.raises(SettingsError, match=f"setting {name}: no such folder; make it first"):
            read({name: str(tmp_path / absent)}, {})


def test_the_defaults_are_what_reading_nothing_gives() -> None:
    assert read({}, {}) == Settings()
