"""Overlap policies: what becomes of a firing that is due while an earlier one of its schedule runs.

A firing's row says all that is needed: its schedule, its policy, and whether it waited already. So memory holds only
who runs and who waits, by schedule, and is rebuilt from the rows:

    due -> judge -> run | skip | buffer | cancel the others and run      (one commit, with the trigger itself)
    ended -> the first that waits is armed: it is overdue, so it is triggered at once

Who runs has a *claim*, from the judgement on, before the commit: two batches on their way to disk see each other. A
claim is given back when the commit fails or did not move the row. One that is released from waiting is claimed at
that moment, so nothing that falls due meanwhile passes it. Nothing here is looked at again and again: ends are told.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from cuptime.domain.limits import BUFFERED_FIRINGS_MAX
from cuptime.domain.values import Overlap, OverlapEffect, Task, TaskState
from cuptime.domain.writes import OverlapFirings, Write

_log = logging.getLogger(__name__)
_EFFECTS: Final = tuple(OverlapEffect)

Counts = tuple[int, int, int]
"""Skipped, buffered, cancelled: in the order of OverlapEffect."""


class Judged(Struct):
    """What shall become of a batch of due firings."""

    run: list[Task] = field(default_factory=list)
    claimed: list[Task] = field(default_factory=list)
    """Of `run`, those that did not run before; and those that another of the batch cancels."""
    skip: list[Task] = field(default_factory=list)
    buffer: list[Task] = field(default_factory=list)
    """Those that were not marked as buffered before."""
    waiting: list[Task] = field(default_factory=list)
    """All that were put into the buffer."""
    cancel: dict[int, Task] = field(default_factory=dict)

    def writes(self, now_ms: int) -> list[Write]:
        """For the commit of the trigger; :meth:`Overlaps.committed` wants their results."""
        found = zip(_EFFECTS, (self.skip, self.buffer, self.cancel.values()), strict=True)
        return [
            OverlapFirings(effect, sorted({task.task_id for task in tasks}), now_ms)
            for effect, tasks in found
            if tasks
        ]

    @property
    def changes(self) -> bool:
        return bool(self.skip or self.buffer or self.cancel)


class _Line:
    """One schedule's firings under a policy."""

    __slots__ = ("buffer", "running")

    def __init__(self) -> None:
        self.running: dict[int, Task] = {}
        self.buffer: deque[Task] = deque()


class Overlaps:
    """Who runs and who waits. `release` is called with a firing whose turn has come: it is to be armed."""

    def __init__(self, release: Callable[[Task], None]) -> None:
        self._release = release
        self._lines: dict[int, _Line] = {}
        self._places: dict[int, int] = {}
        """schedule_seq by task_id, of all that run or wait."""
        self._counts: dict[int, Counts] = {}
        self._waiting = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    # --- the trigger ----------------------------------------------------------------------------------------------
    def judge(self, due: Sequence[Task], now_ms: int) -> Judged:
        """Sorts due firings, the earliest first, and claims what shall run. No await between this and the commit's
        hand-over may read the claims otherwise than as made."""
        judged = Judged()
        firings = [task for task in due if task.overlap]
        judged.run = [task for task in due if not task.overlap]
        for task in sorted(firings, key=lambda task: (task.due_ms, task.nominal_ms, task.task_id)):
            line = self._lines.setdefault(task.schedule_seq, _Line())
            if task.task_id in line.running:
                judged.run.append(task)
            elif not line.running:
                self._claim(line, task)
                judged.run.append(task)
                judged.claimed.append(task)
            else:
                self._overlapping(judged, line, task, now_ms)
        return judged

    def _overlapping(self, judged: Judged, line: _Line, task: Task, now_ms: int) -> None:
        policy = task.overlap
        if task.error_code:
            # A person had it tried again: it waits, whatever the policy.
            policy = Overlap.BUFFER_ALL
        if policy is Overlap.CANCEL_OTHER:
            judged.cancel.update(line.running)
            judged.run = [other for other in judged.run if other.task_id not in line.running]
            self._claim(line, task)
            judged.run.append(task)
            judged.claimed.append(task)
            return
        room = {Overlap.BUFFER_ONE: 1, Overlap.BUFFER_ALL: BUFFERED_FIRINGS_MAX}.get(policy, 0)
        if task.task_id in self._places:
            return
        if len(line.buffer) >= room:
            judged.skip.append(task)
            return
        if not task.buffered_ms:
            judged.buffer.append(task)
            task = replace(task, buffered_ms=now_ms)
        judged.waiting.append(task)
        line.buffer.append(task)
        self._places[task.task_id] = task.schedule_seq
        self._waiting += 1

    def undo(self, judged: Judged) -> None:
        """The commit failed: nothing of the judgement holds."""
        self.gone([task.task_id for task in (*judged.claimed, *judged.waiting)])

    def committed(
        self, judged: Judged, moved: set[int], results: Sequence[Sequence[int]]
    ) -> dict[OverlapEffect, set[int]]:
        """After the commit: `moved` were triggered, `results` are those of the writes. Ids by what was done to them."""
        done: dict[OverlapEffect, set[int]] = {effect: set() for effect in OverlapEffect}
        parts = (judged.skip, judged.buffer, judged.cancel.values())
        given = [effect for effect, tasks in zip(_EFFECTS, parts, strict=True) if tasks]
        for effect, ids in zip(given, results, strict=True):
            done[effect] = set(ids)
        for effect, tasks in zip(_EFFECTS, parts, strict=True):
            for task in tasks:
                if task.task_id in done[effect]:
                    self._count(task.schedule_seq, effect)
        # What runs stays claimed; all others of the judgement have ended, now or by somebody else before.
        over = [task.task_id for task in judged.claimed if task.task_id not in moved]
        over += [task.task_id for task in judged.buffer if task.task_id not in done[OverlapEffect.BUFFERED]]
        self.gone([*judged.cancel, *over])
        return done

    # --- ends -----------------------------------------------------------------------------------------------------
    def ended(self, task: Task) -> None:
        """EXECUTED, CANCELLED or FAILED for good. Telling it twice does no harm."""
        if task.overlap:
            self.gone([task.task_id])

    def gone(self, task_ids: Iterable[int]) -> None:
        """These run and wait no more; whoever's turn it is then is released. Ids that are not known are left alone."""
        touched: dict[int, None] = {}
        for task_id in task_ids:
            schedule_seq = self._places.pop(task_id, None)
            if schedule_seq is None:
                continue
            line = self._lines[schedule_seq]
            if line.running.pop(task_id, None) is None:
                line.buffer = deque(task for task in line.buffer if task.task_id != task_id)
                self._waiting -= 1
            touched[schedule_seq] = None
        for schedule_seq in touched:
            line = self._lines[schedule_seq]
            if not line.running and line.buffer:
                following = line.buffer.popleft()
                self._waiting -= 1
                self._claim(line, following)
                self._release(following)
            elif not line.running:
                del self._lines[schedule_seq]

    def known(self, task_ids: Iterable[int]) -> list[int]:
        """Those that run or wait."""
        places = self._places
        return [task_id for task_id in task_ids if task_id in places] if places else []

    def runs(self, task: Task) -> None:
        """Found running: at a start, or because a commit was kept although it failed."""
        if task.overlap and task.task_id not in self._places:
            self._claim(self._lines.setdefault(task.schedule_seq, _Line()), task)

    def _claim(self, line: _Line, task: Task) -> None:
        line.running[task.task_id] = task
        self._places[task.task_id] = task.schedule_seq

    # --- what is shown --------------------------------------------------------------------------------------------
    def standing(self, schedule_seq: int) -> tuple[int, int]:
        """(running, waiting) of a schedule."""
        line = self._lines.get(schedule_seq)
        return (len(line.running), len(line.buffer)) if line else (0, 0)

    def counts(self, schedule_seq: int) -> Counts | None:
        """As storage has them by now; None when nothing was ever counted here."""
        return self._counts.get(schedule_seq)

    def begin_counts(self, schedule_seq: int, counts: Counts) -> None:
        """What storage had counted when the schedule was read: counts only grow, so more is newer."""
        if any(counts):
            known = self._counts.get(schedule_seq, (0, 0, 0))
            skipped, buffered, cancelled = map(max, counts, known)
            self._counts[schedule_seq] = (skipped, buffered, cancelled)

    def _count(self, schedule_seq: int, effect: OverlapEffect) -> None:
        before = self._counts.get(schedule_seq, (0, 0, 0))
        skipped, buffered, cancelled = (
            count + (one is effect) for count, one in zip(before, _EFFECTS, strict=True)
        )
        self._counts[schedule_seq] = (skipped, buffered, cancelled)


def is_running(row: Task) -> bool:
    """Was this firing triggered, without having ended? (A retry by hand counts its retries from zero: it has ended.)"""
    return row.state is TaskState.TRIGGERED or (row.state is TaskState.SCHEDULED and row.retry_count > 0)
