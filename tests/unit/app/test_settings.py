"""Settings: a wrong value is named before anything is started."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from cuptime.app.settings import Settings


@pytest.mark.parametrize("name", ["listen", "metrics"])
@pytest.mark.parametrize(
    "address", ["127.0.0.1:99999", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "host:-1"]
)
def test_what_is_no_address_is_refused(name: str, address: str) -> None:
    with pytest.raises(ValidationError, match="not an address; give host:port"):
        Settings.model_validate({name: address})


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:7000", "campus:65535"])
def test_an_address_is_taken_as_it_is(address: str) -> None:
    assert Settings.model_validate({"listen": address}).listen == address


def test_without_an_address_there_is_no_http_door() -> None:
    assert Settings.model_validate({"metrics": ""}).metrics == ""


@pytest.mark.parametrize("tick_ms", [0, 7, 100, 1_000])
def test_a_tick_that_the_wheel_cannot_have_is_named(tick_ms: int) -> None:
    with pytest.raises(ValidationError, match="tick_ms"):
        Settings.model_validate({"tick_ms": tick_ms})


@pytest.mark.parametrize("tick_ms", [1, 8, 10, 50])
def test_a_tick_is_a_divisor_of_a_second(tick_ms: int) -> None:
    assert Settings.model_validate({"tick_ms": tick_ms}).tick_ms == tick_ms
