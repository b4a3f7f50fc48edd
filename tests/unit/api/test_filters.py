"""Terms of a list's filter, and what is refused in one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.api.filters import task_filter
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import FILTER_CHARS_MAX
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import TaskState


@pytest.mark.parametrize(
    ("text", "expected", "schedule_id"),
    [
        ("", TaskFilter(), None),
        ("  ", TaskFilter(), None),
        ("state=FAILED", TaskFilter(state=TaskState.FAILED), None),
        ('state = "FAILED"', TaskFilter(state=TaskState.FAILED), None),
        ('queue="sheets"', TaskFilter(queue="sheets"), None),
        ("queue=sheets-2.x", TaskFilter(queue="sheets-2.x"), None),
        ('schedule="schedules/open-park"', TaskFilter(), "open-park"),
        (
            "due_time_ms>=5 AND  due_time_ms <= 9 AND state=PENDING",
            TaskFilter(state=TaskState.PENDING, due_from_ms=5, due_until_ms=9),
            None,
        ),
    ],
)
def test_terms(text: str, expected: TaskFilter, schedule_id: str | None) -> None:
    assert task_filter(text) == (expected, schedule_id)


@pytest.mark.parametrize(
    ("text", "reason", "field"),
    [
        ("state", Reason.FIELD_INVALID, "filter"),
        ("state=", Reason.FIELD_INVALID, "filter"),
        ("state=failed", Reason.FIELD_INVALID, "filter"),
        ("state>=FAILED", Reason.FIELD_INVALID, "filter"),
        ("state=FAILED OR state=PENDING", Reason.FIELD_INVALID, "filter"),
        ("state=FAILED AND", Reason.FIELD_INVALID, "filter"),
        ("schedule=open-park", Reason.FIELD_INVALID, "filter"),
        ("due_time_ms=5", Reason.FIELD_INVALID, "filter"),
        ("due_time_ms<=-5", Reason.FIELD_INVALID, "filter"),
        ("due_time_ms<=" + "9" * 19, Reason.FIELD_INVALID, "filter"),
        ("due_time_ms<=１", Reason.FIELD_INVALID, "filter"),
        ("colour=red", Reason.FIELD_UNKNOWN, "filter.colour"),
        ("queue=a AND queue=b", Reason.FIELD_CONTRADICTION, "filter"),
        ("queue=" + "a" * FILTER_CHARS_MAX, Reason.FIELD_INVALID, "filter"),
    ],
)
def test_what_is_refused(text: str, reason: Reason, field: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        task_filter(text)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@given(st.text(alphabet='AND <>=".stateFILEDqueue_ms19', max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    blamed = "filter"
    try:
        task_filter(text)
    except CuptimeError as refusal:
        blamed = refusal.field
    assert blamed.startswith("filter")
