"""A schedule in flat form: one name for each thing it can say, as in a body of `/v1/cron` and in a file of
schedules."""

from __future__ import annotations

from typing import Any, Final

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.api.schedules import new_schedule
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.schedules.registry import NewSchedule
from cuptime.tasks.form import KnownGroup

TIMING: Final = {"cron": str, "text": str, "at_time_ms": int, "after_ms": int, "every_ms": int}
BOUNDS: Final = {"timezone": str, "dst_policy": str, "start_time_ms": int, "end_time_ms": int}
TASK: Final = {
    "queue": str,
    "payload": str,
    "priority": int,
    "max_retries": int,
    "backoff_ms": int,
    "bucket": str,
}
CONTEXT: Final = {"group_id": int, "sku_version": str, "stock_snapshot": int, "timestamp_ms": int}
POLICY: Final = {
    "max_runs": int,
    "jitter_ms": int,
    "catch_up": str,
    "catch_up_window_ms": int,
    "catch_up_limit": int,
    "overlap": str,
}
_ALL_CALLS: Final = {"schedule_id": str, "request_id": str, "validate_only": bool}
REGISTER: Final = (
    _ALL_CALLS | TIMING | BOUNDS | TASK | CONTEXT | POLICY | {"note": str, "labels": dict, "enabled": bool}
)
KNOWN: Final[dict[str, dict[str, type]]] = {
    "register": REGISTER,
    "update": REGISTER | {"etag": str},
    "unregister": _ALL_CALLS | {"etag": str},
}
"""By action, the names of a body and the type of each."""
_OF_64_BITS: Final = ("_ms", "max_runs", "group_id", "stock_snapshot")
_OF_A_CALL: Final = frozenset({"request_id", "validate_only"})


class Entries:
    """Implements :class:`cuptime.schedules.files.EntryPort`: what a call may say, less what is of a call."""

    kinds: Final = {name: kind for name, kind in REGISTER.items() if name not in _OF_A_CALL}

    def __init__(self, clock: Clock, known_group: KnownGroup) -> None:
        self._clock = clock
        self._known_group = known_group

    async def read(self, body: dict[str, Any]) -> NewSchedule | None:
        for name, value in body.items():
            check_type(name, value, self.kinds)
        if body.get("enabled") is False:
            return None
        message = schedule_of(body, set(body))
        return await new_schedule(message, self._clock.now_ms(), self._known_group)

    def name_of(self, field_path: str) -> str:
        return name_of(field_path)


def schedule_of(body: dict[str, Any], named: set[str]) -> pb.Schedule:
    """The message of a body. Only what fits its field gets here; the endpoints check what it means."""
    schedule = pb.Schedule(schedule_id=body.get("schedule_id", ""), note=body.get("note", ""))
    given = [name for name in TIMING if name in body]
    if len(given) > 1:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, f"{given[0]} and {given[1]} are both given", field=given[1]
        )
    for name in (*given, "start_time_ms", "end_time_ms"):
        if name in body:
            setattr(schedule.timing, name, body[name])
    schedule.timing.time_zone = body.get("timezone", "")
    if "dst_policy" in body:
        schedule.timing.dst_policy = _enum(pb.DstPolicy, "DST_POLICY_", body["dst_policy"], "dst_policy")
    for name, value in body.items():
        _set(schedule, name, value)
    for key, value in body.get("labels", {}).items():
        if not isinstance(value, str):
            raise invalid("labels", "texts by text", value)
        schedule.labels[key] = value
    if "target" in named or "queue" in named:
        schedule.target.task.SetInParent()
    return schedule


def _set(schedule: pb.Schedule, name: str, value: Any) -> None:
    """One name of what the task of a firing and the policy say; others are left alone."""
    if name == "bucket":
        schedule.target.task.bucket = _enum(tasks_pb.Task.Bucket, "BUCKET_", value, "bucket")
    elif name in TASK:
        setattr(schedule.target.task, name, value.encode() if name == "payload" else value)
    elif name in CONTEXT:
        setattr(schedule.target.task.context, name, value)
    elif name == "catch_up":
        schedule.policy.catch_up = _enum(pb.SchedulePolicy.CatchUp, "CATCH_UP_", value, "catch_up")
    elif name == "overlap":
        schedule.policy.overlap = _enum(pb.Overlap, "OVERLAP_", value, "overlap")
    elif name in POLICY:
        setattr(schedule.policy, name, value)


def _enum(kind: Any, prefix: str, text: str, field: str) -> Any:
    names = [
        name.removeprefix(prefix).lower() for name in list(kind.keys()) if not name.endswith("_UNSPECIFIED")
    ]
    if text not in names:
        raise invalid(field, "one of " + ", ".join(names), text)
    return kind.Value(prefix + text.upper())


def check_type(name: str, value: object, known: dict[str, type]) -> None:
    """Raises FIELD_UNKNOWN, FIELD_INVALID."""
    wanted = known.get(name)
    if wanted is None:
        raise CuptimeError(
            Reason.FIELD_UNKNOWN,
            f"{name[:64]!r} is not known here; known are {', '.join(known)}",
            field=name[:64],
        )
    if type(value) is not wanted:
        raise invalid(
            name,
            {str: "a text", int: "a whole number", bool: "true or false"}.get(wanted, "an object"),
            value,
        )
    # 32 bits suffice for none of the instants; what does not fit its field is refused by the message below.
    if isinstance(value, int) and not -(2**31) <= value < 2**31 and not name.endswith(_OF_64_BITS):
        raise invalid(name, "a number of 32 bits", value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise invalid(name, "a number of 64 bits", value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(name, "valid Unicode", value) from None


def name_of(path: str) -> str:
    """The name in the body of a field of the message."""
    name = path.removeprefix("schedule.")
    for part in ("timing.", "target.task.", "context.", "policy."):
        name = name.removeprefix(part)
    return {"time_zone": "timezone", "name": "schedule_id", "timing": "cron", "target": "queue"}.get(
        name, name
    )
