"""Every transition that is allowed, every one that is not, and what each writes."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import TASK_BACKOFF_MAX_MS
from cuptime.domain.values import Task, TaskContext, TaskState
from cuptime.tasks import life

# Spec section 4, written out again on purpose.
SPEC = {
    (TaskState.PENDING, TaskState.SCHEDULED),
    (TaskState.SCHEDULED, TaskState.TRIGGERED),
    (TaskState.TRIGGERED, TaskState.EXECUTED),
    (TaskState.TRIGGERED, TaskState.FAILED),
    (TaskState.FAILED, TaskState.SCHEDULED),
    (TaskState.PENDING, TaskState.CANCELLED),
    (TaskState.SCHEDULED, TaskState.CANCELLED),
    (TaskState.TRIGGERED, TaskState.CANCELLED),
}


def task_in(state: TaskState, **fields: object) -> Task:
    row = Task(
        task_id=7,
        queue="sheets",
        payload=b"tea",
        due_ms=1_000,
        priority=50,
        max_retries=2,
        backoff_ms=100,
        state=state,
        created_ms=1,
        updated_ms=1,
    )
    return replace(row, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), list(product(TaskState, TaskState)))
def test_transitions_are_those_of_the_specification(before: TaskState, after: TaskState) -> None:
    if (before, after) in SPEC:
        life.step(task_in(before), after)
    else:
        with pytest.raises(CuptimeError) as refused:
            life.step(task_in(before), after)
        assert refused.value.reason is Reason.STATE_CONFLICT
        assert refused.value.metadata == {"state": before.name, "wanted": after.name}


def test_backoff_doubles_to_its_limit() -> None:
    assert [life.backoff_ms(100, n) for n in range(5)] == [100, 200, 400, 800, 1_600]
    assert life.backoff_ms(100, 16) == TASK_BACKOFF_MAX_MS
    assert life.backoff_ms(1, 10_000) == TASK_BACKOFF_MAX_MS


@settings(deadline=None)
@given(first=st.integers(1, TASK_BACKOFF_MAX_MS), count=st.integers(0, 200))
def test_backoff_never_shrinks_and_never_exceeds(first: int, count: int) -> None:
    assert first <= life.backoff_ms(first, count) <= life.backoff_ms(first, count + 1) <= TASK_BACKOFF_MAX_MS


def test_retry_is_due_after_its_backoff_and_forgets_the_attempt() -> None:
    leased = task_in(
        TaskState.TRIGGERED, execution_id="e", worker="w", lease_until_ms=9, attempt=1, trigger_ms=1_001
    )
    failed = life.failed(leased, "BROKEN", "cup", True, 2_000)
    assert (failed.state, failed.failed_input, failed.lease_until_ms) == (TaskState.FAILED, b"tea", 0)
    again = life.retried(failed, 2_000)
    assert (again.state, again.due_ms, again.retry_count) == (TaskState.SCHEDULED, 2_100, 1)
    assert (again.execution_id, again.worker, again.trigger_ms, again.attempt) == ("", "", 0, 1)
    assert (again.error_code, again.error_message, again.failed_input) == ("BROKEN", "cup", b"tea")


def test_the_due_time_of_a_retry_grows_even_when_the_clock_was_set_back() -> None:
    failed = life.failed(task_in(TaskState.TRIGGERED, due_ms=50_000), "BROKEN", "", True, 10)
    assert life.retried(failed, 10).due_ms == 50_001
    assert life.retried_by_hand(failed, 10).due_ms == 50_001


@pytest.mark.parametrize(
    ("retriable", "count", "may"), [(True, 0, True), (True, 1, True), (True, 2, False), (False, 0, False)]
)
def test_retries_end_at_their_limit(retriable: bool, count: int, may: bool) -> None:
    failed = life.failed(task_in(TaskState.TRIGGERED, retry_count=count), "BROKEN", "", retriable, 2_000)
    assert life.may_retry(failed) is may


def test_a_person_may_retry_what_failed_for_good() -> None:
    failed = life.failed(task_in(TaskState.TRIGGERED, retry_count=2), "BROKEN", "", False, 2_000)
    again = life.retried_by_hand(failed, 3_000)
    assert (again.state, again.due_ms, again.retry_count) == (TaskState.SCHEDULED, 3_000, 0)


def test_leased_is_what_the_writes_say() -> None:
    row = task_in(
        TaskState.SCHEDULED, attempt=1, error_code="OLD", traceparent="t", nominal_ms=5, result_hash=b"h"
    )
    leased = life.leased(row, "trigger", 1_001, "run", 9_000, "worker", 1_002)
    assert leased == replace(
        row,
        state=TaskState.TRIGGERED,
        updated_ms=1_002,
        trigger_id="trigger",
        trigger_ms=1_001,
        execution_id="run",
        attempt=2,
        lease_until_ms=9_000,
        worker="worker",
    )


def test_equal_input_and_context_have_equal_hashes() -> None:
    context = TaskContext(10_001, "2.1", 5, 1)
    assert life.result_hash(1, "q", b"x", context) == life.result_hash(2, "q", b"x", context)
    different = [
        life.result_hash(1, "q", b"y", context),
        life.result_hash(1, "r", b"x", context),
        life.result_hash(1, "q", b"x", replace(context, stock_snapshot=6)),
        life.result_hash(1, "q", b"x", None),
        life.result_hash(2, "q", b"x", None),
        life.result_hash(2, "q", b"x", None, schedule_seq=1, generation=1, nominal_ms=1),
        life.result_hash(2, "q", b"x", None, schedule_seq=1, generation=2, nominal_ms=1),
    ]
    assert len({*different, life.result_hash(1, "q", b"x", context)}) == len(different) + 1


def test_internal_queues_are_known_by_their_prefix() -> None:
    assert life.is_internal("cuptime.open_group")
    assert not life.is_internal("cuptimer")
