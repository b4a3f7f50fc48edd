"""Registry and planner on a task line under a manual clock."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from cuptime.domain.limits import BUCKET_MS
from cuptime.domain.ports import TaskFilter
from cuptime.domain.values import Schedule, Task, TaskState, Timing, TimingKind
from cuptime.schedules.answers import Backfill
from cuptime.schedules.desk import Desk
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.planner import Planner
from cuptime.schedules.registry import NewSchedule, Registry, ScheduleChange
from cuptime.schedules.targets import Firing, TargetPort
from cuptime.tasks.line import TaskLine
from tests.unit.tasks.rig import Rig

INTERNAL = "cuptime.fired"


class TextTarget:
    """The target is the text that its firings carry; `to:sheets` are tasks of that queue, for workers;
    `minute:sheets` in minute buckets."""

    def task_of(self, target: bytes, schedule_id: str, nominal_ms: int, firing_number: int) -> Firing:
        if target.startswith(b"to:"):
            return Firing(target.removeprefix(b"to:").decode(), b"", max_retries=1, backoff_ms=1_000)
        if target.startswith(b"minute:"):
            return Firing(target.removeprefix(b"minute:").decode(), b"", bucket_ms=BUCKET_MS)
        return Firing(INTERNAL, target + f"/{schedule_id}/{firing_number}".encode(), max_retries=0)


@dataclass
class Fired:
    """One firing that ran: when it should, when it did, under which generation and target."""

    schedule_seq: int
    nominal_ms: int
    at_ms: int
    generation: int
    target: str
    number: int


class TextAnswers:
    """An answer is the schedule, written out."""

    def packed(self, schedule: Schedule) -> bytes:
        return pickle.dumps(schedule)

    def backfilled(self, schedule: Schedule, told: Backfill) -> bytes:
        return pickle.dumps(told)


class Spoken:
    """A registry whose changes give the schedule that they answered."""

    def __init__(self, registry: Registry) -> None:
        self.raw = registry
        self.get = registry.get
        self.schedules = registry.schedules
        self.preview = registry.preview

    async def register(self, new: NewSchedule, **more: Any) -> Schedule:
        return shown(await self.raw.register(new, **more))

    async def update(self, schedule_id: str, change: ScheduleChange, **more: Any) -> Schedule:
        return shown(await self.raw.update(schedule_id, change, **more))

    async def unregister(self, schedule_id: str, **more: Any) -> Schedule:
        return shown(await self.raw.unregister(schedule_id, **more))

    async def pause(self, schedule_id: str, note: str = "", **more: Any) -> Schedule:
        return shown(await self.raw.pause(schedule_id, note, **more))

    async def resume(self, schedule_id: str, **more: Any) -> Schedule:
        return shown(await self.raw.resume(schedule_id, **more))


def shown(answer: bytes) -> Schedule:
    schedule = pickle.loads(answer)  # noqa: S301  # made by the line above
    assert isinstance(schedule, Schedule)
    return schedule


@dataclass
class ScheduleRig(Rig):
    """Every firing runs in this process and is noted."""

    fired: list[Fired] = field(default_factory=list)

    def __init__(self) -> None:
        super().__init__()
        self.fired = []
        self.targets: TargetPort = TextTarget()
        self.engine = CoreCronEngine()

    async def start(self) -> None:
        def prepare(line: TaskLine) -> None:
            line.internal(INTERNAL, self._ran)

        await self.boot(prepare)
        desk = Desk(self.storage, self.fence, self.clock, self.engine, self.targets, self.line)
        await desk.recover()
        self.planner = Planner(desk, self.metrics)
        self.registry = Spoken(
            Registry(desk, self.planner, self.requests, TextAnswers(), self.sequences.schedule_seq)
        )
        self.line.joins(self.planner.settle)
        self.planner.start()
        await self.line.pump()

    async def _ran(self, task: Task) -> bytes:
        target, _, number = task.payload.decode().split("/")
        at_ms = self.clock.now_ms()
        self.fired.append(
            Fired(task.schedule_seq, task.nominal_ms, at_ms, task.generation, target, int(number))
        )
        return b""

    async def register(self, schedule_id: str, timing: Timing, target: bytes = b"tea") -> Schedule:
        return await self.registry.register(NewSchedule(schedule_id, timing, target))

    async def waiting(self, schedule: Schedule) -> Sequence[Task]:
        where = TaskFilter(state=TaskState.SCHEDULED, schedule_seq=schedule.schedule_seq)
        return await self.storage.tasks(where, after=0, limit=100_000)


def cron(expression: str, time_zone: str = "UTC", **fields: int) -> Timing:
    return Timing(TimingKind.CRON, expression=expression, time_zone=time_zone, **fields)


def every(length_ms: int, **fields: int) -> Timing:
    return Timing(TimingKind.EVERY, value_ms=length_ms, **fields)


def at(instant_ms: int, **fields: int) -> Timing:
    return Timing(TimingKind.AT, value_ms=instant_ms, **fields)


def after(length_ms: int, **fields: int) -> Timing:
    return Timing(TimingKind.AFTER, value_ms=length_ms, **fields)


async def schedule_rig() -> AsyncIterator[ScheduleRig]:
    rig = ScheduleRig()
    await rig.start()
    yield rig
    await rig.planner.stop()
    await rig.line.close()
