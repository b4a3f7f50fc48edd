"""Writes about schedules, as :mod:`cuptime.storage.memory.apply` carries them out."""

from __future__ import annotations

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import FORGET_ROWS_MAX
from cuptime.domain.values import (
    Schedule,
    ScheduleState,
)
from cuptime.domain.writes import (
    AdvanceSchedules,
    ForgetScheduleChanges,
    InsertSchedule,
    RecordScheduleChange,
    ReplaceSchedule,
)
from cuptime.storage.memory.tables import ByKind, Tables

_NONE: tuple[int, ...] = ()


def _must_be_free(tables: Tables, schedule: Schedule, itself: int) -> None:
    """Its schedule_id is not in use, but by the row `itself`."""
    if schedule.state == ScheduleState.UNREGISTERED:
        return
    for other in tables.schedules.values():
        if (
            other.schedule_id == schedule.schedule_id
            and other.state != ScheduleState.UNREGISTERED
            and other.schedule_seq != itself
        ):
            raise CuptimeError(Reason.SCHEDULE_EXISTS, metadata={"schedule_id": schedule.schedule_id})


def _insert_schedule(tables: Tables, write: InsertSchedule) -> tuple[int, ...]:
    _must_be_free(tables, write.schedule, 0)
    tables.schedules.insert(write.schedule.schedule_seq, write.schedule)
    return _NONE


def _replace_schedule(tables: Tables, write: ReplaceSchedule) -> tuple[int, ...]:
    stored = tables.schedules.get(write.schedule.schedule_seq)
    if stored is None or stored.generation != write.expected_generation:
        metadata = {"expected_generation": str(write.expected_generation)}
        raise CuptimeError(Reason.ETAG_MISMATCH, metadata=metadata)
    _must_be_free(tables, write.schedule, stored.schedule_seq)
    kept = replace(
        write.schedule,
        skipped_count=stored.skipped_count,
        buffered_count=stored.buffered_count,
        cancelled_count=stored.cancelled_count,
    )
    tables.schedules.put(write.schedule.schedule_seq, kept)
    return _NONE


def _advance_schedules(tables: Tables, write: AdvanceSchedules) -> tuple[int, ...]:
    for schedule_seq, generation, planned_until_ms, next_ms, fired, state, missed in write.rows:
        stored = tables.schedules.get(schedule_seq)
        if stored is not None and stored.generation == generation:
            advanced = replace(
                stored, planned_until_ms=planned_until_ms, next_ms=next_ms,
                fire_count=stored.fire_count + fired, state=ScheduleState(state),
                run_count=stored.run_count + fired, missed_count=stored.missed_count + missed,
            )  # fmt: skip
            tables.schedules.put(schedule_seq, advanced)
    return _NONE


def _record_schedule_change(tables: Tables, write: RecordScheduleChange) -> tuple[int, ...]:
    sequence = max(tables.schedule_changes.rows, default=0) + 1
    tables.schedule_changes.insert(sequence, replace(write.row, sequence=sequence))
    return _NONE


def _forget_schedule_changes(tables: Tables, write: ForgetScheduleChanges) -> tuple[int, ...]:
    rows = sorted(tables.schedule_changes.values(), key=lambda row: row.sequence)
    last = rows[-1].sequence if rows else 0
    old = [
        row
        for row in rows
        if row.sequence < last and (row.at_ms < write.before_ms or row.sequence <= last - write.kept)
    ]
    for row in old[:FORGET_ROWS_MAX]:
        tables.schedule_changes.drop(row.sequence)
    return (min(len(old), FORGET_ROWS_MAX),)


SCHEDULES: ByKind = {
    InsertSchedule: _insert_schedule,
    ReplaceSchedule: _replace_schedule,
    AdvanceSchedules: _advance_schedules,
    RecordScheduleChange: _record_schedule_change,
    ForgetScheduleChanges: _forget_schedule_changes,
}
