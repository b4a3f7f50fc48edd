"""List filters: a small part of AIP-160, terms joined by AND."""

from __future__ import annotations

import re
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import FILTER_CHARS_MAX
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import TaskState

_TERM = re.compile(r"""\s*([a-z_]+)\s*(<=|>=|=)\s*(?:"([^"]*)"|([A-Za-z0-9._/-]+))\s*""")
_INSTANT = re.compile(r"[0-9]{1,18}")
_FORM: Final = (
    'terms like state=FAILED, queue="sheets", schedule="schedules/x", due_time_ms<=N, joined by AND'
)
_FIELDS: Final = ("state", "queue", "schedule", "due_time_ms")


def terms(text: str) -> list[tuple[str, str, str]]:
    """(field, operator, value) of each term. Raises FIELD_INVALID when it cannot be read."""
    if len(text) > FILTER_CHARS_MAX:
        raise invalid("filter", f"at most {FILTER_CHARS_MAX} characters", f"{len(text)} characters")
    found = []
    for part in re.split(r"\s+AND\s+", text.strip()) if text.strip() else ():
        term = _TERM.fullmatch(part)
        if term is None:
            raise invalid("filter", _FORM, part)
        found.append(
            (term.group(1), term.group(2), term.group(3) if term.group(3) is not None else term.group(4))
        )
    return found


def task_filter(text: str) -> tuple[TaskFilter, str | None]:
    """The filter, and the schedule_id it names (which the caller turns into its sequence number)."""
    state: TaskState | None = None
    queue = schedule_id = None
    due_from_ms: int | None = None
    due_until_ms: int | None = None
    seen: set[tuple[str, str]] = set()
    for name, operator, value in terms(text):
        if name not in _FIELDS:
            raise CuptimeError(
                Reason.FIELD_UNKNOWN,
                f"filter: {name} is not known; use one of {', '.join(_FIELDS)}",
                field=f"filter.{name}",
            )
        if (name, operator) in seen:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION, f"filter: {name}{operator} is there twice", field="filter"
            )
        seen.add((name, operator))
        if name == "due_time_ms" and operator != "=" and _INSTANT.fullmatch(value):
            if operator == ">=":
                due_from_ms = int(value)
            else:
                due_until_ms = int(value)
        elif name == "state" and operator == "=" and value in TaskState.__members__:
            state = TaskState[value]
        elif name == "queue" and operator == "=":
            queue = value
        elif name == "schedule" and operator == "=" and value.startswith("schedules/"):
            schedule_id = value.removeprefix("schedules/")
        else:
            raise invalid("filter", _FORM, f"{name}{operator}{value}")
    return TaskFilter(
        state=state, queue=queue, due_from_ms=due_from_ms, due_until_ms=due_until_ms
    ), schedule_id
