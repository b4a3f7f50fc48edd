"""The audit of schedules as it is shown: what differs between the schedule before and after, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from google.protobuf import descriptor, message

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.domain.values import ScheduleChangeRow

VALUE_CHARS_MAX: Final = 500
"""A longer value is cut: the audit says what was changed, the schedule has it whole."""
_OUTPUTS: Final = frozenset(
    {
        *("name", "generation", "etag", "next_time_ms", "fire_count", "create_time_ms", "update_time_ms"),
        *("run_count", "missed_count", "skipped_count", "buffered_count", "cancelled_count"),
        "source_file",
    }
)
"""What a caller does not set. The state is shown: pausing changes nothing else."""


def schedule_change(row: ScheduleChangeRow) -> pb.ScheduleChange:
    """One entry."""
    before, after = _values(row.before), _values(row.after)
    return pb.ScheduleChange(
        sequence=row.sequence,
        schedule=f"schedules/{row.schedule_id}",
        kind=int(row.kind),  # type: ignore[arg-type]  # the numbers agree, and a test holds them together
        time_ms=row.at_ms,
        generation=row.generation,
        actor=row.caller.actor,
        peer=row.caller.peer,
        request_id=row.request_id,
        detail=row.detail,
        fields=[
            pb.ScheduleChange.Field(
                path=path,
                before=before.get(path, "")[:VALUE_CHARS_MAX],
                after=after.get(path, "")[:VALUE_CHARS_MAX],
            )
            for path in sorted(before.keys() | after.keys())
            if before.get(path) != after.get(path)
        ],
    )


def _values(answer: bytes) -> dict[str, str]:
    """The set fields of a schedule by path, from the answer that showed it."""
    if not answer:
        return {}
    schedule = pb.RegisterScheduleResponse.FromString(answer).schedule
    return {path: text for path, text in _flat(schedule, "") if path not in _OUTPUTS}


def _flat(value: message.Message, prefix: str) -> Iterator[tuple[str, str]]:
    """Depth is that of the message's type, which does not nest in itself."""
    for field, found in value.ListFields():
        path = f"{prefix}{field.name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from ((f"{path}.{key}", str(one)) for key, one in found.items())
        elif isinstance(found, message.Message):
            yield from _flat(found, f"{path}.")
        else:
            yield path, _text(field, found)


def _text(field: Any, value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if field.type == descriptor.FieldDescriptor.TYPE_ENUM:
        names = field.enum_type.values_by_number
        return names[value].name if value in names else str(value)
    return str(value)
