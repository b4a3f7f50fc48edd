"""What every storage promises: tasks, schedules, rules, requests. One suite for SQLite and its twin in memory."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cuptime.domain.errors import Reason
from cuptime.domain.limits import FORGET_ROWS_MAX
from cuptime.domain.ports import Sequences, TaskFilter
from cuptime.domain.values import (
    Outcome,
    Overlap,
    OverlapEffect,
    ScheduleChangeKind,
    SchedulePolicy,
    ScheduleState,
    TaskState,
)
from cuptime.domain.writes import (
    AdvanceSchedules,
    CancelTasksOfSchedule,
    ExecuteTasks,
    ExtendLeases,
    ForgetRequests,
    ForgetScheduleChanges,
    InsertGroup,
    InsertRefusals,
    InsertRuleRevision,
    InsertSchedule,
    InsertTasks,
    LeaseTasks,
    MoveTasks,
    OpenInterventions,
    OverlapFirings,
    PutRiders,
    PutShops,
    PutStock,
    RecordScheduleChange,
    RememberRequest,
    ReplaceSchedule,
    ReplaceTask,
    TriggerTasks,
)
from tests.contract import rows
from tests.contract.shard import Shard, decisions, orders, shard

__all__ = ["shard"]


# --- tasks --------------------------------------------------------------------------------------------------------
async def test_every_field_of_a_task_comes_back(shard: Shard) -> None:
    made = [rows.full_task(1), rows.task(2), rows.task(3)]
    await shard.do(InsertTasks(made))
    assert await shard.storage.tasks_by_id([3, 1, 404, 2, 3]) == made
    assert [await shard.storage.task(n) for n in (1, 2, 3, 4)] == [*made, None]
    found = await shard.storage.task(1)
    assert found is not None
    assert isinstance(found.state, TaskState)
    assert isinstance(found.retriable, bool)
    await shard.refused(Reason.INTERNAL, InsertTasks([rows.task(4), rows.task(1)]))


async def test_one_firing_one_task(shard: Shard) -> None:
    firing = {"schedule_seq": 5, "generation": 2, "nominal_ms": 700}
    await shard.do(InsertTasks([rows.task(1, **firing), rows.task(2, **firing)]))
    await shard.do(InsertTasks([rows.task(3, **firing), rows.task(4, **(firing | {"generation": 3}))]))
    await shard.do(InsertTasks([rows.task(5, nominal_ms=700), rows.task(6, nominal_ms=700)]))
    found = await shard.storage.tasks(TaskFilter(), after=0, limit=9)
    assert [task.task_id for task in found] == [1, 4, 5, 6]


async def test_lists_of_tasks(shard: Shard) -> None:
    made = [
        rows.task(1, queue="a"),
        rows.task(2, queue="b", state=TaskState.PENDING),
        rows.task(3, queue="a", schedule_seq=5, nominal_ms=1),
        rows.task(4, queue="b", schedule_seq=5, nominal_ms=2, state=TaskState.EXECUTED),
        rows.task(5, queue="a", schedule_seq=6, nominal_ms=2),
    ]
    await shard.do(InsertTasks(made))

    async def ids(after: int = 0, limit: int = 9, **where: object) -> list[int]:
        found = await shard.storage.tasks(TaskFilter(**where), after=after, limit=limit)  # type: ignore[arg-type]
        return [task.task_id for task in found]

    assert await ids() == [1, 2, 3, 4, 5]
    assert await ids(after=2, limit=2) == [3, 4]
    assert await ids(state=TaskState.SCHEDULED) == [1, 3, 5]
    assert await ids(queue="b") == [2, 4]
    assert await ids(queue="b", state=TaskState.EXECUTED) == [4]
    assert await ids(schedule_seq=5) == [3, 4]
    assert await ids(schedule_seq=5, after=3) == [4]
    assert await ids(schedule_seq=5, queue="a") == [3]
    assert await ids(schedule_seq=5, state=TaskState.SCHEDULED) == [3]
    assert await ids(schedule_seq=5, state=TaskState.SCHEDULED, queue="b") == []
    assert await ids(schedule_seq=5, state=TaskState.SCHEDULED, after=3) == []
    assert await ids(schedule_seq=5, state=TaskState.SCHEDULED, due_until_ms=1_002) == []
    assert await ids(schedule_seq=5, state=TaskState.EXECUTED) == [4]
    assert await ids(schedule_seq=0) == []
    assert await ids(schedule_seq=0, state=TaskState.SCHEDULED) == []
    assert await ids(due_from_ms=1_002, due_until_ms=1_004) == [2, 3, 4]
    assert await ids(due_from_ms=1_004, schedule_seq=5) == [4]


async def test_moving_tasks_to_triggered(shard: Shard) -> None:
    left_over = {"execution_id": "old", "worker": "w", "lease_until_ms": 9}
    made = [
        rows.task(1),
        rows.task(2, state=TaskState.PENDING),
        rows.task(3, state=TaskState.FAILED, **left_over),
    ]
    await shard.do(InsertTasks([*made, rows.task(4), rows.task(5, state=TaskState.EXECUTED)]))
    allowed = (TaskState.SCHEDULED, TaskState.FAILED)
    move = [(1, 1_001), (2, 1_002), (3, 1_003), (4, 999), (5, 1_005), (404, 0), (1, 1_001)]
    answer = await shard.do(MoveTasks(TaskState.TRIGGERED, allowed, move, 2_000, "trigger-7"))
    assert answer.results == ((1, 3),)
    moved = {
        "state": TaskState.TRIGGERED,
        "updated_ms": 2_000,
        "trigger_ms": 2_000,
        "trigger_id": "trigger-7",
    }
    expected = [
        rows.task(1, **moved),
        made[1],
        rows.task(3, **moved),
        rows.task(4),
        rows.task(5, state=TaskState.EXECUTED),
    ]
    assert await shard.storage.tasks_by_id([1, 2, 3, 4, 5]) == expected


async def test_moving_tasks_elsewhere(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.PENDING), rows.task(2)]))
    move = MoveTasks(TaskState.SCHEDULED, (TaskState.PENDING,), [(1, 1_001), (2, 1_002)], 50, "")
    assert (await shard.do(move)).results == ((1,),)
    assert await shard.storage.task(1) == rows.task(1, updated_ms=50, scheduled_ms=50)
    move = MoveTasks(TaskState.CANCELLED, (TaskState.SCHEDULED,), [(1, 1_001)], 60, "")
    assert (await shard.do(move)).results == ((1,),)
    expected = rows.task(1, state=TaskState.CANCELLED, updated_ms=60, scheduled_ms=50)
    assert await shard.storage.task(1) == expected
    await shard.refused(
        Reason.INTERNAL, MoveTasks(TaskState.EXECUTED, (TaskState.SCHEDULED,), [(2, 1_002)], 1, "")
    )


async def test_the_trigger_gives_the_lease_in_the_same_change(shard: Shard) -> None:
    made = [rows.task(1), rows.task(2, state=TaskState.CANCELLED), rows.task(3, attempt=2), rows.task(4)]
    await shard.do(InsertTasks(made))
    given = [
        (1, 1_001, "exec-1", 9_000, 1, "w1"),
        (2, 1_002, "exec-2", 9_000, 1, "w1"),
        (3, 1_003, "", 0, 2, ""),
        (4, 999, "exec-4", 9_000, 1, "w1"),
        (1, 1_001, "exec-5", 9_500, 2, "w2"),
        (404, 1, "", 0, 0, ""),
    ]
    assert (await shard.do(TriggerTasks(given, 2_000, "trigger-7"))).results == ((1, 3),)
    fired = {
        "state": TaskState.TRIGGERED,
        "updated_ms": 2_000,
        "trigger_ms": 2_000,
        "trigger_id": "trigger-7",
    }
    leased = {"execution_id": "exec-1", "lease_until_ms": 9_000, "attempt": 1, "worker": "w1"}
    expected = [rows.task(1, **fired, **leased), made[1], rows.task(3, **fired, attempt=2), made[3]]
    assert await shard.storage.tasks_by_id([1, 2, 3, 4]) == expected


async def test_attempts_end_well_many_at_once(shard: Shard) -> None:
    held = {"state": TaskState.TRIGGERED, "lease_until_ms": 9_000, "failed_input": b"old"}
    made = [rows.task(number, **held, execution_id=f"exec-{number}") for number in (1, 2, 3, 4)]
    await shard.do(InsertTasks([*made, rows.task(5)]))
    given = [
        (1, "exec-1", b"\x00one"),
        (2, "exec-9", b"another attempt"),
        (3, "exec-3", bytes(5_000)),
        (1, "exec-1", b"a second time"),
        (5, "", b"not triggered"),
        (404, "", b""),
    ]
    assert (await shard.do(ExecuteTasks(given, 70))).results == ((1, 3),)
    done = {"state": TaskState.EXECUTED, "updated_ms": 70, "lease_until_ms": 0, "failed_input": b""}
    expected = [
        replace(made[0], **done, result=b"\x00one"),
        made[1],
        replace(made[2], **done, result=bytes(5_000)),
        made[3],
        rows.task(5),
    ]
    assert await shard.storage.tasks_by_id([1, 2, 3, 4, 5]) == expected


async def test_leases(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.TRIGGERED), rows.task(2)]))
    lease = LeaseTasks(
        "w1", [(1, "exec-1", 5_000, 1), (2, "exec-2", 5_000, 1), (404, "exec-3", 5_000, 1)], 70
    )
    assert (await shard.do(lease)).results == ((1,),)
    leased = rows.task(
        1,
        state=TaskState.TRIGGERED,
        execution_id="exec-1",
        lease_until_ms=5_000,
        attempt=1,
        worker="w1",
        updated_ms=70,
    )
    assert await shard.storage.task(1) == leased
    extend = ExtendLeases([(1, "exec-1", 6_000), (1, "exec-9", 7_000), (2, "", 7_000), (404, "", 1)])
    assert (await shard.do(extend)).results == ((1,),)
    assert await shard.storage.task(1) == replace(leased, lease_until_ms=6_000)


async def test_replacing_a_task(shard: Shard) -> None:
    await shard.do(InsertTasks([rows.task(1, state=TaskState.TRIGGERED, execution_id="e1")]))
    done = replace(rows.full_task(1), state=TaskState.EXECUTED, execution_id="e1")
    triggered = (TaskState.TRIGGERED,)
    error = await shard.refused(
        Reason.STATE_CONFLICT, ReplaceTask(done, (TaskState.PENDING, TaskState.FAILED))
    )
    assert error.metadata == {"task_id": "1", "expected": "PENDING|FAILED"}
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(done, triggered, "e2"))
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(replace(done, task_id=404), triggered))
    await shard.do(ReplaceTask(done, triggered, "e1"))
    assert await shard.storage.task(1) == done
    await shard.refused(Reason.STATE_CONFLICT, ReplaceTask(done, triggered, "e1"))
    again = replace(done, state=TaskState.CANCELLED)
    await shard.do(ReplaceTask(again, (TaskState.EXECUTED,)))
    assert await shard.storage.task(1) == again


async def test_a_replaced_task_takes_no_firing_of_another(shard: Shard) -> None:
    await shard.do(
        InsertTasks([rows.task(1, schedule_seq=5, nominal_ms=1), rows.task(2, schedule_seq=5, nominal_ms=2)])
    )
    wrong = rows.task(2, schedule_seq=5, nominal_ms=1)
    await shard.refused(Reason.INTERNAL, ReplaceTask(wrong, (TaskState.SCHEDULED,)))
    moved = rows.task(2, schedule_seq=5, nominal_ms=3)
    await shard.do(ReplaceTask(moved, (TaskState.SCHEDULED,)))
    await shard.do(
        InsertTasks([rows.task(3, schedule_seq=5, nominal_ms=2), rows.task(4, schedule_seq=5, nominal_ms=3)])
    )
    found = await shard.storage.tasks(TaskFilter(), after=0, limit=9)
    assert [task.task_id for task in found] == [1, 2, 3]


async def test_cancelling_the_tasks_of_a_schedule(shard: Shard) -> None:
    made = [
        rows.task(9, schedule_seq=5, generation=1, nominal_ms=1, state=TaskState.PENDING),
        rows.task(2, schedule_seq=5, generation=1, nominal_ms=2),
        rows.task(3, schedule_seq=5, generation=2, nominal_ms=1),
        rows.task(4, schedule_seq=5, generation=1, nominal_ms=3, state=TaskState.TRIGGERED),
        rows.task(5, schedule_seq=6, generation=1, nominal_ms=1),
        rows.task(6),
    ]
    await shard.do(InsertTasks(made))
    assert (await shard.do(CancelTasksOfSchedule(5, 2, 80))).results == ((2, 9),)
    cancelled = {"state": TaskState.CANCELLED, "updated_ms": 80}
    expected = [replace(made[1], **cancelled), *made[2:], replace(made[0], **cancelled)]  # type: ignore[arg-type]
    assert await shard.storage.tasks(TaskFilter(), after=0, limit=9) == expected
    assert (await shard.do(CancelTasksOfSchedule(0, 9, 81))).results == ((),)


async def test_waiting_tasks(shard: Shard) -> None:
    made = [rows.task(n, state=state) for n, state in enumerate(TaskState, 1)]
    made[1] = replace(made[1], bucket_ms=60_000)
    made[2] = replace(made[2], lease_until_ms=77)
    await shard.do(InsertTasks(made))
    waiting = [(1, 1_001, 1, 0, 0), (2, 1_002, 2, 0, 60_000), (3, 1_003, 3, 77, 0)]
    assert await shard.storage.waiting_tasks(after=0, limit=9) == waiting
    assert await shard.storage.waiting_tasks(after=1, limit=1) == waiting[1:2]


async def test_running_firings(shard: Shard) -> None:
    """Under an overlap policy, and triggered: under way, or waiting for a retry."""
    fields = {"schedule_seq": 1, "generation": 1, "overlap": Overlap.SKIP}
    made = [
        rows.task(1, state=TaskState.TRIGGERED, nominal_ms=1, **fields),
        rows.task(2, state=TaskState.SCHEDULED, nominal_ms=2, retry_count=1, **fields),
        rows.task(3, state=TaskState.SCHEDULED, nominal_ms=3, **fields),
        rows.task(4, state=TaskState.EXECUTED, nominal_ms=4, retry_count=1, **fields),
        rows.task(5, state=TaskState.TRIGGERED, nominal_ms=5, schedule_seq=1, generation=1),
    ]
    await shard.do(InsertTasks(made))
    assert await shard.storage.running_firings(after=0, limit=9) == made[:2]
    assert await shard.storage.running_firings(after=1, limit=9) == made[1:2]


@pytest.mark.parametrize(
    ("effect", "takes", "counts"),
    [
        (OverlapEffect.SKIPPED, (2, 6), (2, 0, 0)),
        (OverlapEffect.BUFFERED, (2,), (0, 1, 0)),
        (OverlapEffect.CANCELLED, (1, 2, 6), (0, 0, 3)),
    ],
)
async def test_what_an_overlap_policy_does_is_counted(
    shard: Shard, effect: OverlapEffect, takes: tuple[int, ...], counts: tuple[int, int, int]
) -> None:
    fields = {"schedule_seq": 1, "generation": 1, "overlap": Overlap.SKIP}
    made = [
        rows.task(1, state=TaskState.TRIGGERED, nominal_ms=1, lease_until_ms=5, **fields),
        rows.task(2, nominal_ms=2, **fields),
        rows.task(3, state=TaskState.EXECUTED, nominal_ms=3, **fields),
        rows.task(4, nominal_ms=4, schedule_seq=1, generation=1),
        rows.task(6, nominal_ms=6, buffered_ms=7, **fields),
    ]
    await shard.do(InsertSchedule(rows.schedule(1)), InsertTasks(made))
    answer = await shard.do(OverlapFirings(effect, [1, 2, 3, 4, 6, 404], 70))
    assert answer.results[0] == takes
    for task in await shard.storage.tasks_by_id(takes):
        if effect is OverlapEffect.BUFFERED:
            assert (task.state, task.buffered_ms) == (TaskState.SCHEDULED, 70)
        else:
            assert (task.state, task.error_code) == (TaskState.CANCELLED, f"OVERLAP_{effect.name}")
            assert (task.updated_ms, task.lease_until_ms) == (70, 0)
    await shard.do(ReplaceSchedule(rows.schedule(1, generation=2), 1))
    stored = await shard.storage.schedule_by_seq(1)
    assert stored is not None
    assert (stored.skipped_count, stored.buffered_count, stored.cancelled_count) == counts


async def test_executed_results(shard: Shard) -> None:
    done = {"state": TaskState.EXECUTED, "result_hash": b"h", "result": b"r"}
    await shard.do(
        InsertTasks(
            [
                rows.task(1, **(done | {"state": TaskState.FAILED})),
                rows.task(2, **done),
                rows.task(3, **done),
                rows.task(5, **done),
                rows.task(7, **(done | {"result_hash": b""})),
            ]
        )
    )
    assert await shard.storage.executed_result(b"h") == rows.task(3, **done), "the first with a context"
    assert await shard.storage.executed_result(b"x") is None
    assert await shard.storage.executed_result(b"") is None


# --- schedules ----------------------------------------------------------------------------------------------------
async def test_the_audit_of_schedules_is_appended_listed_and_forgotten(shard: Shard) -> None:
    made = [rows.schedule_change(number, schedule_id="xy"[number % 2]) for number in range(1, 6)]
    await shard.do(*map(RecordScheduleChange, made))
    stored = [replace(row, sequence=row.schedule_seq) for row in made]
    storage = shard.storage
    assert await storage.schedule_changes(before=1 << 62, limit=9) == stored[::-1]
    assert await storage.schedule_changes(before=5, limit=2) == [stored[3], stored[2]]
    assert await storage.schedule_changes(before=5, limit=9, schedule_id="x") == [stored[3], stored[1]]
    found = (await storage.schedule_changes(before=9, limit=1))[0]
    assert isinstance(found.kind, ScheduleChangeKind)
    assert (await shard.do(ForgetScheduleChanges(3, 100))).results == ((2,),)
    assert (await shard.do(ForgetScheduleChanges(0, 2))).results == ((1,),)
    assert await storage.schedule_changes(before=9, limit=9) == [stored[4], stored[3]]
    await shard.do(ForgetScheduleChanges(1 << 62, 0))
    await shard.do(RecordScheduleChange(made[0]))
    sequences = [row.sequence for row in await storage.schedule_changes(before=9, limit=9)]
    assert sequences == [6, 5], "the newest stays, so no number comes twice"


async def test_schedules(shard: Shard) -> None:
    storage = shard.storage
    await shard.do(InsertSchedule(rows.schedule(1)))
    assert await storage.schedule("s1") == await storage.schedule_by_seq(1) == rows.schedule(1)
    found = await storage.schedule("s1")
    assert found is not None
    assert isinstance(found.state, ScheduleState)
    error = await shard.refused(Reason.SCHEDULE_EXISTS, InsertSchedule(rows.schedule(2, schedule_id="s1")))
    assert error.metadata == {"schedule_id": "s1"}
    await shard.refused(Reason.INTERNAL, InsertSchedule(rows.schedule(1, schedule_id="other")))
    gone = rows.schedule(1, state=ScheduleState.UNREGISTERED, generation=2)
    await shard.do(ReplaceSchedule(gone, 1))
    assert await storage.schedule("s1") == gone
    await shard.do(InsertSchedule(rows.schedule(2, schedule_id="s1")))
    assert await storage.schedule("s1") == rows.schedule(2, schedule_id="s1")
    gone_too = rows.schedule(2, schedule_id="s1", state=ScheduleState.UNREGISTERED)
    await shard.do(ReplaceSchedule(gone_too, 1))
    assert await storage.schedule("s1") == gone_too, "the last one that was unregistered"
    assert await storage.schedule("nobody") is None
    assert await storage.schedule_by_seq(404) is None


async def test_replacing_a_schedule(shard: Shard) -> None:
    await shard.do(InsertSchedule(rows.schedule(1)), InsertSchedule(rows.schedule(2)))
    changed = rows.schedule(1, generation=2, note="new", next_ms=0)
    error = await shard.refused(Reason.ETAG_MISMATCH, ReplaceSchedule(changed, 5))
    assert error.metadata == {"expected_generation": "5"}
    await shard.refused(Reason.ETAG_MISMATCH, ReplaceSchedule(rows.schedule(404), 1))
    await shard.refused(Reason.SCHEDULE_EXISTS, ReplaceSchedule(rows.schedule(1, schedule_id="s2"), 1))
    await shard.do(ReplaceSchedule(changed, 1))
    assert await shard.storage.schedule("s1") == changed
    assert (await shard.storage.counts())["schedules"] == 2


async def test_advancing_schedules(shard: Shard) -> None:
    await shard.do(InsertSchedule(rows.schedule(1)), InsertSchedule(rows.schedule(2)))
    finished = int(ScheduleState.FINISHED)
    await shard.do(
        AdvanceSchedules(
            [(1, 1, 900, 950, 4, finished, 3), (2, 7, 900, 950, 4, finished, 3), (404, 1, 1, 1, 1, 1, 0)]
        )
    )
    advanced = rows.schedule(
        1,
        planned_until_ms=900,
        next_ms=950,
        fire_count=21,
        state=ScheduleState.FINISHED,
        run_count=24,
        missed_count=24,
    )
    assert await shard.storage.schedules(after=0, limit=9) == [advanced, rows.schedule(2)]
    assert await shard.storage.schedules(after=1, limit=9) == [rows.schedule(2)]
    assert await shard.storage.schedules(after=0, limit=1) == [advanced]
    assert await shard.storage.schedules(after=0, limit=9, state=ScheduleState.FINISHED) == [advanced]


async def test_schedules_by_label(shard: Shard) -> None:
    plain = rows.schedule(1, labels=(), policy=SchedulePolicy())
    other = rows.schedule(2, labels=(("park", "min"), ("q", "hang=3")))
    await shard.do(InsertSchedule(plain), InsertSchedule(other), InsertSchedule(rows.schedule(3)))

    async def found(key: str, value: str) -> list[int]:
        listed = await shard.storage.schedules(after=0, limit=9, label=(key, value))
        return [schedule.schedule_seq for schedule in listed]

    assert await found("park", "minhang") == [3]
    assert await found("park", "min") == [2]
    assert await found("q", "hang=3") == [2]
    assert await found("ark", "min") == []
    assert await shard.storage.schedule("s1") == plain


# --- rules, requests, counts --------------------------------------------------------------------------------------
async def test_rule_revisions(shard: Shard) -> None:
    assert await shard.storage.rule_revision(None) is None
    await shard.refused(Reason.STATE_CONFLICT, InsertRuleRevision(rows.revision(2)))
    for number in (1, 2, 3):
        await shard.do(InsertRuleRevision(rows.revision(number)))
    for number in (0, 2, 3, 5):
        await shard.refused(Reason.STATE_CONFLICT, InsertRuleRevision(rows.revision(number)))
    active = replace(rows.revision(3), active=True)
    assert await shard.storage.rule_revision(None) == active
    assert await shard.storage.rule_revision(3) == active
    assert await shard.storage.rule_revision(2) == rows.revision(2)
    assert await shard.storage.rule_revision(4) is None
    assert await shard.storage.rule_revisions(before=9, limit=2) == [active, rows.revision(2)]
    assert await shard.storage.rule_revisions(before=2, limit=2) == [rows.revision(1)]


async def test_requests(shard: Shard) -> None:
    await shard.do(RememberRequest(rows.request(1)))
    assert await shard.storage.request("req-1") == rows.request(1)
    assert await shard.storage.request("nobody") is None
    again = RememberRequest(rows.request(1, method="other"))
    error = await shard.refused(Reason.REQUEST_ID_REUSED, PutShops([rows.shop(1)]), again)
    assert error.metadata == {"request_id": "req-1"}


async def test_forgetting(shard: Shard) -> None:
    await shard.do(*[RememberRequest(rows.request(number)) for number in (1, 2, 3)])
    await shard.do(InsertRefusals([rows.row_of(rows.refusal(number)) for number in (1, 2, 3)]))
    committed = await shard.do(ForgetRequests(before_ms=1_002, refusals_before_ms=1_003))
    assert committed.results == ((1, 2),)
    assert [await shard.storage.request(f"req-{n}") for n in (1, 2)] == [None, rows.request(2)]
    assert await shard.storage.refusals_since(0, limit=9) == [rows.refusal(3)]


async def test_forgetting_is_bounded_and_the_oldest_go_first(shard: Shard) -> None:
    count = FORGET_ROWS_MAX + 5
    await shard.do(InsertRefusals([rows.row_of(rows.refusal(number)) for number in range(count)]))
    await shard.do(ForgetRequests(before_ms=0, refusals_before_ms=2**40))
    left = await shard.storage.refusals_since(0, limit=count)
    assert left == [rows.refusal(number) for number in range(FORGET_ROWS_MAX, count)]


async def test_counts_and_sequences(shard: Shard) -> None:
    empty = await shard.storage.counts()
    assert set(empty.values()) == {0}
    assert await shard.storage.sequences() == Sequences(0, 0, 0, 0, 0)
    await shard.do(
        InsertGroup(rows.group(4)),
        orders(rows.order(4, 1), rows.order(4, 2)),
        InsertRefusals([rows.row_of(rows.refusal(1))]),
        decisions(rows.decision(5), rows.decision(6, Outcome.UNASSIGNED)),
        OpenInterventions([rows.intervention(6)]),
        PutShops([rows.shop(1)]),
        PutStock([rows.stock(1, "a", 1), rows.stock(1, "b", 1)]),
        PutRiders([rows.rider(1)]),
        InsertTasks([rows.task(30), rows.task(20)]),
        InsertSchedule(rows.schedule(8)),
        RecordScheduleChange(rows.schedule_change(8)),
        InsertRuleRevision(rows.revision(1)),
        RememberRequest(rows.request(1)),
    )
    assert await shard.storage.sequences() == Sequences(4, 30, 8, 1, 2)
    twos = {"orders", "decisions", "stock", "tasks"}
    assert await shard.storage.counts() == {name: 2 if name in twos else 1 for name in empty}
