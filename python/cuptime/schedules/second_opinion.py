"""croniter's answer beside ours, asked once when a schedule is registered.

Only what both read: 5 or 6 fields of the default dialect without macros, hashed values and the marks that croniter
reads otherwise or not at all. A difference is expected around changes of the clock (croniter has a policy of its own)
and is then not a difference: the comparison runs in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from msgspec.structs import replace

from cuptime.core import Cron
from cuptime.domain.errors import CuptimeError
from cuptime.domain.values import Timing
from cuptime.schedules.croniter_engine import CroniterEngine
from cuptime.schedules.zone_files import zone_of

FIRINGS_COMPARED: Final = 5
_FROM_MS: Final = 1_795_392_000_000
"""Monday 2026-11-23: an instant is needed, and a fixed one keeps the answer the same every time."""
_UNTIL_MS: Final = _FROM_MS + 10 * 366 * 86_400_000
_COMMON: Final = re.compile(r"[0-9A-Za-z*,/ \t-]+")
_OWN: Final = re.compile(r"[HRWhrw@+?#|!=]|L", re.ASCII)

_CRONITER: Final = CroniterEngine()


def differs(timing: Timing, ours: Cron) -> str:
    """Both answers when they differ, "" when they agree or croniter has none."""
    text = timing.expression
    plain = re.sub(r"(?i)jul|thu|wed", "1", text)
    if not _COMMON.fullmatch(text) or _OWN.search(plain) or ours.masks() is None:
        return ""
    in_utc = replace(timing, time_zone="UTC", start_ms=0, end_ms=0)
    try:
        _CRONITER.check(in_utc)
        theirs = _CRONITER.firings(in_utc, 0, _FROM_MS, _UNTIL_MS, FIRINGS_COMPARED)
    except CuptimeError:
        return ""
    mine, _ = Cron(text, zone_of("UTC")).firings(_FROM_MS, _UNTIL_MS, FIRINGS_COMPARED)
    if mine == theirs:
        return ""
    return f"ours {_shown(mine)}, croniter {_shown(theirs)}"


def _shown(times: list[int]) -> str:
    return ", ".join(datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat() for at_ms in times) or "never"
