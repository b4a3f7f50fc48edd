"""Planning as arithmetic: which firings of a schedule fall into a window, and where its watermark stands afterwards.

Windows are half-open and join without a gap: [watermark, horizon), and the new watermark is the horizon, or just after
the last firing when the limit cut the window. So every instant belongs to exactly one window.
"""

from __future__ import annotations

import hashlib
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.limits import CATCH_UP_WINDOW_DEFAULT_MS, MISFIRE_MS
from cuptime.domain.ports import CronEngine
from cuptime.domain.values import CatchUp, Overlap, Schedule, SchedulePolicy, Task, TaskState, TimingKind
from cuptime.schedules.targets import TargetPort
from cuptime.tasks.life import result_hash

SKIPPED_COUNTED_MAX: Final = 10_000
ONCE: Final = frozenset({TimingKind.AT, TimingKind.AFTER})


class Planned(Struct, frozen=True):
    """What one window of one schedule gave."""

    schedule: Schedule
    """With its new watermark, next firing and count."""
    times: list[int]
    skipped: int = 0
    """Missed firings that are not caught up; counted up to `SKIPPED_COUNTED_MAX`."""

    def complete(self, horizon_ms: int) -> bool:
        """Is nothing left to plan before the horizon?"""
        return self.schedule.next_ms == 0 or self.schedule.next_ms >= horizon_ms


def planned(engine: CronEngine, schedule: Schedule, now_ms: int, horizon_ms: int, limit: int) -> Planned:
    """The firings in [watermark, horizon), at most about `limit`; and the schedule as it is once they are tasks."""
    policy = schedule.policy
    from_ms, kept, skipped = schedule.planned_until_ms, list[int](), 0
    if from_ms < now_ms:
        from_ms, kept, skipped = _caught_up(engine, schedule, now_ms)
    if policy.max_runs:
        kept = kept[: max(0, policy.max_runs - schedule.run_count)]
        limit = min(limit, policy.max_runs - schedule.run_count)
    limit -= len(kept)
    times = kept
    first_ms = engine.next(schedule.timing, schedule.anchor_ms, from_ms - 1)
    # Nearly all schedules have nothing in a window, and then this one question was all.
    none = limit > 0 and not horizon_ms > first_ms > 0
    if limit > 0 and not none:
        times = kept + engine.firings(schedule.timing, schedule.anchor_ms, from_ms - 1, horizon_ms - 1, limit)
    cut = len(times) - len(kept) >= limit
    until_ms = (times[-1] + 1 if len(times) > len(kept) else from_ms) if cut else max(horizon_ms, from_ms)
    next_ms = first_ms if none else engine.next(schedule.timing, schedule.anchor_ms, until_ms - 1)
    run_count = schedule.run_count + len(times)
    if policy.max_runs and run_count >= policy.max_runs:
        next_ms = 0
    if next_ms == 0:
        # Nothing comes after these: the schedule is finished once the last of them is past.
        until_ms = times[-1] + 1 if times else from_ms
    after = replace(
        schedule,
        planned_until_ms=until_ms,
        next_ms=next_ms,
        fire_count=schedule.fire_count + len(times),
        run_count=run_count,
        missed_count=schedule.missed_count + skipped,
    )
    return Planned(after, times, skipped)


def _caught_up(engine: CronEngine, schedule: Schedule, now_ms: int) -> tuple[int, list[int], int]:
    """From where to plan on, which missed firings are fired all the same, and how many are not.

    A one-shot under the default policy fires however late."""
    from_ms, policy = schedule.planned_until_ms, schedule.policy
    oldest_ms = max(from_ms, now_ms - (policy.catch_up_window_ms or CATCH_UP_WINDOW_DEFAULT_MS))
    if policy.catch_up is CatchUp.ALL:
        if schedule.timing.kind in ONCE and not policy.catch_up_window_ms:
            return from_ms, [], 0
        return oldest_ms, [], _count(engine, schedule, from_ms, oldest_ms)
    late_until_ms = max(from_ms, now_ms - MISFIRE_MS)
    kept = latest(engine, schedule, oldest_ms, late_until_ms, kept_of(policy))
    return late_until_ms, kept, max(0, _count(engine, schedule, from_ms, late_until_ms) - len(kept))


def kept_of(policy: SchedulePolicy) -> int:
    """How many of the latest missed firings a policy other than ALL keeps."""
    return {CatchUp.LATEST: 1, CatchUp.BOUNDED: policy.catch_up_limit}.get(policy.catch_up, 0)


def latest(engine: CronEngine, schedule: Schedule, from_ms: int, until_ms: int, count: int) -> list[int]:
    """The last `count` firings in [from, until). The look goes back in steps that double, so that it stays short for a
    schedule that fires often."""
    if count <= 0 or from_ms >= until_ms:
        return []
    span_ms = 10 * count
    while True:
        start_ms = max(from_ms, until_ms - span_ms)
        found = engine.firings(
            schedule.timing, schedule.anchor_ms, start_ms - 1, until_ms - 1, SKIPPED_COUNTED_MAX
        )
        if len(found) >= count or start_ms == from_ms:
            return found[-count:]
        span_ms *= 2


def _count(engine: CronEngine, schedule: Schedule, from_ms: int, until_ms: int) -> int:
    if from_ms >= until_ms:
        return 0
    return len(
        engine.firings(schedule.timing, schedule.anchor_ms, from_ms - 1, until_ms - 1, SKIPPED_COUNTED_MAX)
    )


def due_ms_of(engine: CronEngine, schedule: Schedule, nominal_ms: int) -> int:
    """The nominal time and the jitter, which depends on the schedule and the nominal time alone, and ends before the
    next firing."""
    jitter_ms = schedule.policy.jitter_ms
    if not jitter_ms:
        return nominal_ms
    next_ms = engine.next(schedule.timing, schedule.anchor_ms, nominal_ms)
    if next_ms:
        jitter_ms = min(jitter_ms, next_ms - nominal_ms - 1)
    named = f"{schedule.schedule_id}/{nominal_ms}".encode()
    drawn = int.from_bytes(hashlib.blake2b(named, digest_size=8).digest(), "little")
    return nominal_ms + drawn % (jitter_ms + 1)


def is_over(schedule: Schedule, now_ms: int) -> bool:
    """Has the last firing of an ACTIVE schedule come and gone? The planner makes it FINISHED at its next pass."""
    return schedule.next_ms == 0 and now_ms >= schedule.planned_until_ms


def firing_task(
    targets: TargetPort,
    schedule: Schedule,
    nominal_ms: int,
    due_ms: int,
    firing_number: int,
    task_id: int,
    now_ms: int,
    overlap: Overlap | None = None,
) -> Task:
    """The task of one firing, named by (schedule, generation, nominal time). `overlap` instead of the schedule's
    own."""
    firing = targets.task_of(schedule.target, schedule.schedule_id, nominal_ms, firing_number)
    return Task(
        task_id=task_id,
        queue=firing.queue,
        payload=firing.payload,
        due_ms=due_ms,
        priority=firing.priority,
        max_retries=firing.max_retries,
        backoff_ms=firing.backoff_ms,
        state=TaskState.SCHEDULED,
        created_ms=now_ms,
        updated_ms=now_ms,
        scheduled_ms=now_ms,
        context=firing.context,
        result_hash=result_hash(
            task_id,
            firing.queue,
            firing.payload,
            firing.context,
            schedule_seq=schedule.schedule_seq,
            generation=schedule.generation,
            nominal_ms=nominal_ms,
        ),
        schedule_seq=schedule.schedule_seq,
        generation=schedule.generation,
        nominal_ms=nominal_ms,
        overlap=schedule.policy.overlap if overlap is None else overlap,
        bucket_ms=firing.bucket_ms,
    )
