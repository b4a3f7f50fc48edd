"""The planner: once a minute, every active schedule's firings of the next five minutes become tasks.

It is woken by a wait in the wheel, not by a sleep of its own. Each commit holds about `FIRINGS_PER_COMMIT_MAX` firings,
and each schedule has a share of it, so one that fires every 10 ms neither fills a commit nor starves the others; what
was cut goes on in the next round, from the stored watermark.

Planning and changing a schedule exclude each other by the schedule's turn. The planner looks through the book without
taking turns; it takes them for the schedules it is about to commit, and leaves out those that are not in the book any
more as it saw them (their change planned them itself).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError
from cuptime.domain.limits import FIRINGS_PER_WINDOW_MAX, MISFIRE_MS, PLAN_PERIOD_MS, TRIGGER_WINDOW_MS
from cuptime.domain.ports import Metrics
from cuptime.domain.values import Schedule, ScheduleState, Task, TimingKind
from cuptime.domain.writes import AdvanceSchedules, InsertTasks
from cuptime.schedules.desk import Desk
from cuptime.schedules.window import Planned, is_over, planned

PAGE: Final = 500
FIRINGS_PER_COMMIT_MAX: Final = 5_000
FIRINGS_PER_TURN_MAX: Final = 1_000
"""Of one schedule in one round."""
CRON_FIRINGS_PER_TURN_MAX: Final = 100
"""The same where each takes 50 us of cron arithmetic: the loop is not kept from its other work for longer."""

CATCH_UP_AGAIN_MS: Final = 1_000
"""When storage could not serve, and firings wait for it."""

_log = logging.getLogger(__name__)


class Planner:
    """One at a time in the process. `skipped` counts missed firings that were too old to be caught up."""

    def __init__(self, desk: Desk, metrics: Metrics) -> None:
        self._desk = desk
        self._more: dict[int, None] = {}
        self._pass_due = False
        # What is stored was computed by another process, perhaps with other zone data, calendars or arithmetic.
        self._ask_again = True
        self._doubts_due = False
        self._passed_from_ms: int | None = None
        """Since when the clock was set forward, until it is decided what is caught up."""
        self._running: asyncio.Task[None] | None = None
        self._alarm: int | None = None
        self._stopped = True
        self.skipped = 0
        self.passes = 0
        self.active = 0
        """Schedules found ACTIVE by the last pass."""
        desk.line.passes(self._clock_set_forward)
        metrics.depth("schedules", lambda: self.active)
        metrics.depth("schedule_firings_skipped", lambda: self.skipped)

    def start(self) -> None:
        """The first pass begins at once: it also catches up what was missed."""
        self._stopped = False
        self._begin_pass()

    async def stop(self) -> None:
        """Ends after the commit under way."""
        self._stopped = True
        if self._alarm is not None:
            self._desk.line.wheel.forget(self._alarm)
        await self.settle()

    async def settle(self) -> None:
        """Returns when the planner rests."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    def plan_more(self, schedule_seq: int) -> None:
        """A registration or change had more firings in the window than its commit could take."""
        self._more[schedule_seq] = None
        self._kick()

    def ask_again(self) -> None:
        """A calendar changed: when each schedule fires next may be earlier than what it was planned by. A pass begins
        at once."""
        self._ask_again = self._pass_due = True
        self._kick()

    def settle_doubts(self) -> None:
        """A change failed and may have been kept: what it planned is armed as soon as storage says so."""
        self._doubts_due = True
        self._kick()

    def _clock_set_forward(self, from_ms: int, to_ms: int) -> bool:
        """Steps that miss nothing are left alone."""
        if to_ms - from_ms <= MISFIRE_MS or self._stopped:
            return False
        earlier = self._passed_from_ms
        self._passed_from_ms = from_ms if earlier is None else min(from_ms, earlier)
        self._kick()
        return True

    def _begin_pass(self) -> None:
        self._pass_due = True
        self._alarm = self._desk.line.wheel.at(self._desk.clock.now_ms() + PLAN_PERIOD_MS, self._begin_pass)
        self._kick()

    def _kick(self) -> None:
        if not self._stopped and (self._running is None or self._running.done()):
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            while not self._stopped and self._wanted:
                self._doubts_due = False
                await self._desk.settle_doubts()
                # First: what the pass plans is counted by what is there already.
                await self._catch_up()
                if self._pass_due:
                    self._pass_due = False
                    await self._pass()
                await self._plan_rest()
        except CuptimeError as refusal:
            # Storage could not serve. The window is five passes wide; the next one makes up for this.
            _log.warning("planning stopped: %s; the next pass goes on", refusal)
            self._catch_up_later()
        except Exception:
            _log.exception("planning failed; the next pass tries again")
            self._catch_up_later()

    @property
    def _wanted(self) -> bool:
        passed = self._passed_from_ms is not None
        return bool(self._pass_due or self._more or self._doubts_due or passed)

    async def _catch_up(self) -> None:
        """Firings wait for this: under each policy, which of those that the clock was set over still fire."""
        while (from_ms := self._passed_from_ms) is not None:
            await self._desk.catch_up(from_ms)
            if self._passed_from_ms == from_ms:
                self._passed_from_ms = None
                self._desk.line.passed()

    def _catch_up_later(self) -> None:
        if self._passed_from_ms is not None and not self._stopped:
            self._desk.line.wheel.at(self._desk.clock.now_ms() + CATCH_UP_AGAIN_MS, self._kick)

    async def _pass(self) -> None:
        active = 0
        asking, self._ask_again = self._ask_again, False
        try:
            for page in self._desk.book.pages(PAGE):
                if self._stopped:
                    break
                running = [schedule for schedule in page if schedule.state is ScheduleState.ACTIVE]
                if asking:
                    running = [self._asked(schedule) for schedule in running]
                active += len(running)
                await self._plan(running)
                await self._plan_rest()
                await asyncio.sleep(0)
        except BaseException:
            self._ask_again |= asking
            raise
        self.passes += 1
        self.active = active
        await self._desk.forget_changes()

    def _asked(self, schedule: Schedule) -> Schedule:
        """The schedule with its next firing from the watermark on as the engine sees it now. In the book alone: storage
        has it with the next window, and another process asks for itself."""
        policy = schedule.policy
        if schedule.timing.kind is not TimingKind.CRON or 0 < policy.max_runs <= schedule.run_count:
            return schedule
        next_ms = self._desk.engine.next(schedule.timing, schedule.anchor_ms, schedule.planned_until_ms - 1)
        if next_ms == schedule.next_ms:
            return schedule
        changed = replace(schedule, next_ms=next_ms)
        self._desk.book.put(changed)
        return changed

    async def _plan_rest(self) -> None:
        while self._more and not self._stopped:
            wanted = list(self._more)[:PAGE]
            for schedule_seq in wanted:
                del self._more[schedule_seq]
            held = [self._desk.book.by_seq(schedule_seq) for schedule_seq in wanted]
            await self._plan([row for row in held if row is not None and row.state is ScheduleState.ACTIVE])

    async def _plan(self, schedules: Sequence[Schedule]) -> None:
        """Plans schedules as the book has them, until each reaches the horizon."""
        now_ms = self._desk.clock.now_ms()
        horizon_ms = now_ms + TRIGGER_WINDOW_MS
        work = deque(schedule for schedule in schedules if _wants(schedule, now_ms, horizon_ms))
        given: Counter[int] = Counter()
        while work and not self._stopped:
            chunk: list[tuple[Schedule, Planned]] = []
            firings = 0
            while work and firings < FIRINGS_PER_COMMIT_MAX:
                schedule = work.popleft()
                left = FIRINGS_PER_WINDOW_MAX - given[schedule.schedule_seq]
                if is_over(schedule, now_ms):
                    chunk.append((schedule, _finished(schedule)))
                elif left > 0:
                    chunk.append((schedule, self._window(schedule, horizon_ms, left)))
                    firings += len(chunk[-1][1].times)
                    given[schedule.schedule_seq] += len(chunk[-1][1].times)
                await asyncio.sleep(0)
            committed = await self._commit(chunk)
            work += [plan.schedule for plan in committed if not plan.complete(horizon_ms)]

    def _window(self, schedule: Schedule, horizon_ms: int, left: int) -> Planned:
        now_ms = self._desk.clock.now_ms()
        cron = schedule.timing.kind is TimingKind.CRON
        limit = CRON_FIRINGS_PER_TURN_MAX if cron else FIRINGS_PER_TURN_MAX
        plan = planned(self._desk.engine, schedule, now_ms, horizon_ms, min(limit, left))
        if plan.skipped:
            self.skipped += plan.skipped
            _log.warning(
                "schedule %s: %d firings were missed and are not caught up",
                schedule.schedule_id,
                plan.skipped,
            )
        return plan

    async def _commit(self, chunk: Sequence[tuple[Schedule, Planned]]) -> list[Planned]:
        """The plans that were made durable: those whose schedule did not change meanwhile."""
        book = self._desk.book
        async with AsyncExitStack() as turns:
            # In one order for everybody, so that nobody waits in a circle.
            for schedule_id in sorted({schedule.schedule_id for schedule, _ in chunk}):
                await turns.enter_async_context(self._desk.turns.turn(schedule_id))
            current = [plan for schedule, plan in chunk if book.by_seq(schedule.schedule_seq) is schedule]
            tasks: list[Task] = []
            for plan in current:
                first_number = plan.schedule.fire_count - len(plan.times)
                tasks += self._desk.tasks(plan.schedule, plan.times, first_number)
            rows = [
                (
                    plan.schedule.schedule_seq,
                    plan.schedule.generation,
                    plan.schedule.planned_until_ms,
                    plan.schedule.next_ms,
                    len(plan.times),
                    int(plan.schedule.state),
                    plan.skipped,
                )
                for plan in current
            ]
            if rows:
                try:
                    await self._desk.storage.commit(
                        self._desk.fence, [InsertTasks(tasks), AdvanceSchedules(rows)]
                    )
                except BaseException as error:
                    self._desk.note_failure(error, [plan.schedule.schedule_id for plan in current])
                    raise
                for plan in current:
                    book.put(plan.schedule)
                self._desk.line.armed(tasks)
        return current


def _wants(schedule: Schedule, now_ms: int, horizon_ms: int) -> bool:
    return 0 < schedule.next_ms < horizon_ms or is_over(schedule, now_ms)


def _finished(schedule: Schedule) -> Planned:
    return Planned(replace(schedule, state=ScheduleState.FINISHED), [])
