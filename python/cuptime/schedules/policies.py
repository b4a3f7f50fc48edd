"""What a policy and labels may be."""

from __future__ import annotations

import re
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import (
    CATCH_UP_LIMIT_MAX,
    CATCH_UP_WINDOW_MAX_MS,
    JITTER_MAX_MS,
    LABEL_CHARS_MAX,
    SCHEDULE_LABELS_MAX,
)
from cuptime.domain.values import CatchUp, SchedulePolicy

RUNS_MAX: Final = 1 << 40
_KEY: Final = re.compile(r"[a-z][a-z0-9._-]{0,62}")


def check_policy(policy: SchedulePolicy | None) -> None:
    """Raises FIELD_INVALID, FIELD_REQUIRED or FIELD_CONTRADICTION naming the field."""
    if policy is None:
        return
    for name, value, most in (
        ("max_runs", policy.max_runs, RUNS_MAX),
        ("jitter_ms", policy.jitter_ms, JITTER_MAX_MS),
        ("catch_up_window_ms", policy.catch_up_window_ms, CATCH_UP_WINDOW_MAX_MS),
        ("catch_up_limit", policy.catch_up_limit, CATCH_UP_LIMIT_MAX),
    ):
        if not 0 <= value <= most:
            raise invalid(f"schedule.policy.{name}", f"0 to {most}", value)
    if policy.catch_up is CatchUp.BOUNDED and not policy.catch_up_limit:
        raise CuptimeError(
            Reason.FIELD_REQUIRED,
            "catch_up BOUNDED needs catch_up_limit: how many of the latest missed firings still fire",
            field="schedule.policy.catch_up_limit",
        )
    if policy.catch_up is not CatchUp.BOUNDED and policy.catch_up_limit:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION,
            "catch_up_limit is for catch_up BOUNDED",
            field="schedule.policy.catch_up_limit",
        )


def check_labels(labels: tuple[tuple[str, str], ...] | None) -> None:
    """Raises FIELD_INVALID or LIMIT_REACHED."""
    if not labels:
        return
    if len(labels) > SCHEDULE_LABELS_MAX:
        raise invalid("schedule.labels", f"at most {SCHEDULE_LABELS_MAX} labels", len(labels))
    for key, value in labels:
        check_label(key, value, "schedule.labels")


def check_label(key: str, value: str, field: str) -> None:
    """Raises FIELD_INVALID."""
    if not _KEY.fullmatch(key):
        raise invalid(field, f"keys of the form ^{_KEY.pattern}$", key)
    if len(value) > LABEL_CHARS_MAX or not value.isprintable():
        raise invalid(field, f"values of at most {LABEL_CHARS_MAX} printable characters", value)
