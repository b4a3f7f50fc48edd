"""Time, randomness and ids enter the service here and nowhere else.

A capability asks the :class:`Clock` it was given; the service runs under :class:`SystemClock`, tests and replays under
:class:`ManualClock`, and both see the same code.
"""

from __future__ import annotations

import secrets
import time
from typing import Final, Protocol


class Clock(Protocol):
    """Where time, randomness and ids come from."""

    def now_ms(self) -> int:
        """UTC milliseconds since the epoch; may step when the system clock is set."""
        ...

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back; only differences mean something."""
        ...

    def token(self) -> str:
        """A fresh random id, 32 lower-case hexadecimal digits."""
        ...


def stopwatch_s() -> float:
    """Seconds for figures about ourselves (how long a commit took). Nothing is decided by it, so replays need not
    see it."""
    return time.perf_counter()


TOKEN_BYTES: Final = 16
TOKENS_DRAWN_AT_ONCE: Final = 256


class SystemClock:
    """The machine's clock and random source."""

    def __init__(self) -> None:
        self._tokens: list[str] = []

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def token(self) -> str:
        # Asking the kernel is a system call, and every request needs a token; so they are drawn in numbers. `pop` is
        # one step for all threads: no token is given out twice.
        while True:
            try:
                return self._tokens.pop()
            except IndexError:
                drawn = secrets.token_hex(TOKEN_BYTES * TOKENS_DRAWN_AT_ONCE)
                size = 2 * TOKEN_BYTES
                self._tokens += [drawn[at : at + size] for at in range(0, len(drawn), size)]


class ManualClock:
    """A clock that moves when told, and ids that count. For tests, replays and simulation."""

    def __init__(self, start_ms: int = 0) -> None:
        self._now_ms = start_ms
        self._monotonic_ms = 0
        self._tokens = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_ms(self) -> int:
        return self._monotonic_ms

    def token(self) -> str:
        self._tokens += 1
        return f"{self._tokens:032x}"

    def advance(self, delta_ms: int) -> None:
        """Let `delta_ms` (>= 0) pass on both clocks."""
        if delta_ms < 0:
            raise ValueError("time does not go back; use step() to set the wall clock")
        self._now_ms += delta_ms
        self._monotonic_ms += delta_ms

    def step(self, delta_ms: int) -> None:
        """Set the wall clock by `delta_ms`, either way; the monotonic clock does not move."""
        self._now_ms += delta_ms
