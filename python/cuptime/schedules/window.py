"""Planning as arithmetic: which firings of a schedule fall into a window, and where its watermark stands afterwards.

Windows are half-open and join without a gap: [watermark, horizon), and the new watermark is the horizon, or just after
the last firing when the limit cut the window. So every instant belongs to exactly one window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cuptime.domain.limits import TRIGGER_WINDOW_MS
from cuptime.domain.ports import CronEngine
from cuptime.domain.values import Schedule, Task, TaskState, TimingKind
from cuptime.schedules.targets import TargetPort
from cuptime.tasks.life import result_hash

CATCH_UP_MS: Final = TRIGGER_WINDOW_MS
"""After an outage, firings missed by no more than this still fire; older ones of a repeating schedule are skipped."""
SKIPPED_COUNTED_MAX: Final = 10_000
ONCE: Final = frozenset({TimingKind.AT, TimingKind.AFTER})


@dataclass(frozen=True, slots=True)
class Planned:
    """What one window of one schedule gave."""

    schedule: Schedule
    """With its new watermark, next firing and count."""
    times: list[int]
    skipped: int = 0
    """Missed firings too old to be caught up; counted up to `SKIPPED_COUNTED_MAX`."""

    def complete(self, horizon_ms: int) -> bool:
        """Is nothing left to plan before the horizon?"""
        return self.schedule.next_ms == 0 or self.schedule.next_ms >= horizon_ms


def planned(engine: CronEngine, schedule: Schedule, now_ms: int, horizon_ms: int, limit: int) -> Planned:
    """The firings in [watermark, horizon), at most `limit`; and the schedule as it is once they are tasks."""
    from_ms = schedule.planned_until_ms
    skipped = 0
    if schedule.timing.kind not in ONCE and from_ms < now_ms - CATCH_UP_MS:
        missed = engine.firings(
            schedule.timing, schedule.anchor_ms, from_ms - 1, now_ms - CATCH_UP_MS - 1, SKIPPED_COUNTED_MAX
        )
        skipped = len(missed)
        from_ms = now_ms - CATCH_UP_MS
    times = engine.firings(schedule.timing, schedule.anchor_ms, from_ms - 1, horizon_ms - 1, limit)
    cut = len(times) == limit
    until_ms = times[-1] + 1 if cut else max(horizon_ms, from_ms)
    next_ms = engine.next(schedule.timing, schedule.anchor_ms, until_ms - 1)
    if next_ms == 0:
        # Nothing comes after these: the schedule is finished once the last of them is past.
        until_ms = times[-1] + 1 if times else from_ms
    after = replace(
        schedule, planned_until_ms=until_ms, next_ms=next_ms, fire_count=schedule.fire_count + len(times)
    )
    return Planned(after, times, skipped)


def is_over(schedule: Schedule, now_ms: int) -> bool:
    """Has the last firing of an ACTIVE schedule come and gone? The planner makes it FINISHED at its next pass."""
    return schedule.next_ms == 0 and now_ms >= schedule.planned_until_ms


def firing_task(
    targets: TargetPort, schedule: Schedule, nominal_ms: int, firing_number: int, task_id: int, now_ms: int
) -> Task:
    """The task of one firing, named by (schedule, generation, nominal time)."""
    firing = targets.task_of(schedule.target, schedule.schedule_id, nominal_ms, firing_number)
    return Task(
        task_id=task_id,
        queue=firing.queue,
        payload=firing.payload,
        due_ms=nominal_ms,
        priority=firing.priority,
        max_retries=firing.max_retries,
        backoff_ms=firing.backoff_ms,
        state=TaskState.SCHEDULED,
        created_ms=now_ms,
        updated_ms=now_ms,
        scheduled_ms=now_ms,
        result_hash=result_hash(
            task_id,
            firing.queue,
            firing.payload,
            None,
            schedule_seq=schedule.schedule_seq,
            generation=schedule.generation,
            nominal_ms=nominal_ms,
        ),
        schedule_seq=schedule.schedule_seq,
        generation=schedule.generation,
        nominal_ms=nominal_ms,
    )
