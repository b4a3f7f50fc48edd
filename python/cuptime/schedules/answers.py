"""A schedule as bytes: the first answer to a request_id, exactly as it was given."""

from __future__ import annotations

import base64
import json
from dataclasses import fields as columns_of
from typing import Any, Final

from cuptime.domain.values import Schedule, ScheduleState, Timing, TimingKind

_COLUMNS: Final = tuple(column.name for column in columns_of(Schedule))
_TIMING_COLUMNS: Final = tuple(column.name for column in columns_of(Timing))


def packed(schedule: Schedule) -> bytes:
    """The schedule, for :func:`unpacked`."""
    # Not `asdict`: it copies deeply, which costs more than all the rest.
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in _COLUMNS}
    fields["timing"] = {name: getattr(schedule.timing, name) for name in _TIMING_COLUMNS}
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
