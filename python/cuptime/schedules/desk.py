"""What the registry and the planner share."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cuptime.domain.clock import Clock
from cuptime.domain.ports import CronEngine, Storage
from cuptime.domain.turns import Turns
from cuptime.domain.values import Fence, Schedule, Task
from cuptime.schedules.targets import TargetPort
from cuptime.schedules.window import firing_task
from cuptime.tasks.line import TaskLine

GENERATIONS_HELD_MAX: Final = 100_000
"""Of the schedules that changed last. Storage cancels what is old; this only closes the moment in between."""


@dataclass(slots=True)
class Desk:
    """Storage, time, computation, and one turn at a time for each schedule."""

    storage: Storage
    fence: Fence
    clock: Clock
    engine: CronEngine
    targets: TargetPort
    line: TaskLine
    turns: Turns = field(default_factory=Turns)
    """By schedule_id: who changes a schedule or plans it."""
    changed: set[int] = field(default_factory=set)
    """Schedules (by sequence) that changed since the planner last cleared this, just before it read them."""
    generations: OrderedDict[int, int] = field(default_factory=OrderedDict)

    def note_change(self, schedule: Schedule) -> None:
        """After the commit of a change."""
        self.changed.add(schedule.schedule_seq)
        self.generations[schedule.schedule_seq] = schedule.generation
        self.generations.move_to_end(schedule.schedule_seq)
        if len(self.generations) > GENERATIONS_HELD_MAX:
            self.generations.popitem(last=False)

    def tasks(self, schedule: Schedule, times: Sequence[int], first_number: int) -> list[Task]:
        """The tasks of some firings."""
        now_ms = self.clock.now_ms()
        return [
            firing_task(self.targets, schedule, nominal_ms, first_number + k, self.line.next_id(), now_ms)
            for k, nominal_ms in enumerate(times)
        ]
