"""A schedule as bytes: the first answer to a request_id, exactly as it was given."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from typing import Any

from cuptime.domain.values import Schedule, ScheduleState, Timing, TimingKind


def packed(schedule: Schedule) -> bytes:
    """The schedule, for :func:`unpacked`."""
    fields: dict[str, Any] = asdict(schedule)
    fields["target"] = base64.b64encode(schedule.target).decode()
    return json.dumps(fields, separators=(",", ":")).encode()


def unpacked(answer: bytes) -> Schedule:
    """The schedule of :func:`packed`."""
    fields: dict[str, Any] = json.loads(answer)
    timing = fields.pop("timing")
    timing["kind"] = TimingKind(timing["kind"])
    fields["target"] = base64.b64decode(fields["target"])
    fields["state"] = ScheduleState(fields["state"])
    return Schedule(timing=Timing(**timing), **fields)
