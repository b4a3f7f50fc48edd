"""The manual clock moves when told, and only forward unless it is set."""

from __future__ import annotations

import pytest

from cuptime.domain.clock import ManualClock, SystemClock


def test_advance_moves_both_clocks_and_step_only_the_wall() -> None:
    clock = ManualClock(1_000)
    clock.advance(50)
    assert (clock.now_ms(), clock.monotonic_ms()) == (1_050, 50)
    clock.step(-500)
    assert (clock.now_ms(), clock.monotonic_ms()) == (550, 50)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_manual_tokens_count_and_system_tokens_differ() -> None:
    clock = ManualClock()
    assert [clock.token(), clock.token()] == [f"{1:032x}", f"{2:032x}"]
    tokens = {SystemClock().token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 32 and int(token, 16) >= 0 for token in tokens)


def test_system_clock_goes_forward() -> None:
    clock = SystemClock()
    first = clock.monotonic_ms()
    assert clock.monotonic_ms() >= first
    assert clock.now_ms() > 1_700_000_000_000
