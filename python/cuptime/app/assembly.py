"""The one place that knows every adapter: puts a node together, starts it in the order in which parts stand on each
other, and stops it the other way round."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct
from msgspec.structs import asdict

from cuptime import core
from cuptime.api.bodies import WireBodies
from cuptime.api.call import Wrapper
from cuptime.api.dispatch import DispatchEndpoints
from cuptime.api.groups import GroupEndpoints, group_of
from cuptime.api.resources import RiderEndpoints, ShopEndpoints
from cuptime.api.rules import RuleEndpoints
from cuptime.api.schedules import OPEN_GROUP_QUEUE, OpenGroup, ScheduleAnswers, ScheduleEndpoints, Targets
from cuptime.api.schedules import group_of as opened_group
from cuptime.api.server import RAW_METHODS, GrpcServer
from cuptime.api.tasks import ScheduleIds, TaskEndpoints
from cuptime.api.workers import WorkerEndpoints
from cuptime.app.core_parts import rule_tools
from cuptime.app.settings import Settings
from cuptime.coordination.single import SingleNode
from cuptime.dispatch import desk as dispatch_desk
from cuptime.dispatch.counters import Counters
from cuptime.dispatch.days import Calendar
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.horizon import Horizon, group_buy
from cuptime.dispatch.improve import Improver
from cuptime.dispatch.interventions import Interventions
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.provisional import ProvisionalBook
from cuptime.dispatch.reading import Decisions
from cuptime.dispatch.release import Releases
from cuptime.dispatch.resources import Resources
from cuptime.dispatch.retry import Retries
from cuptime.dispatch.riders import Riders
from cuptime.dispatch.shops import Shops
from cuptime.domain.clock import Clock
from cuptime.domain.limits import TASKS_PENDING_MAX
from cuptime.domain.ports import Gate, Metrics, Sequences, Storage
from cuptime.domain.requests import Requests
from cuptime.domain.values import Fence, Task
from cuptime.gate.in_process import InProcessGate
from cuptime.gate.watched import WatchedGate
from cuptime.groups.cancel import Cancellations
from cuptime.groups.housekeeping import Housekeeping
from cuptime.groups.intake import IntakeLine
from cuptime.groups.life import Groups
from cuptime.groups.recover import IntakeRecovery
from cuptime.groups.registry import OpenGroups
from cuptime.groups.retention import Retention
from cuptime.groups.watch import GroupWatchers
from cuptime.rules.book import RuleBook
from cuptime.schedules.calendars import Calendars
from cuptime.schedules.desk import Desk
from cuptime.schedules.engine import CoreCronEngine
from cuptime.schedules.marks import MarkedOf, UnknownYearOf
from cuptime.schedules.planner import Planner
from cuptime.schedules.registry import Registry
from cuptime.storage.sqlite.storage import SqliteStorage
from cuptime.tasks.form import KnownGroup
from cuptime.tasks.line import TaskLine
from cuptime.tasks.wheel import Wheel
from cuptime.tasks.wheel_loop import LoopWheel
from cuptime.telemetry.metrics import PrometheusMetrics

if TYPE_CHECKING:
    from cuptime.api.cron_door import CronDoor
    from cuptime.app.http import HttpServer
    from cuptime.schedules.folder import ScheduleFolder

_log = structlog.get_logger("cuptime")
SHARD: Final = 0
DAY_MS: Final = 86_400_000
DATABASE: Final = "cuptime.db"


class _Base(Struct, frozen=True):
    """What everything stands on."""

    storage: Storage
    fence: Fence
    requests: Requests
    last: Sequences
    bodies: WireBodies


class _Dispatch(Struct, frozen=True):
    resources: Resources
    line: DecisionLine
    improver: Improver
    releases: Releases
    interventions: Interventions
    riders: Riders
    shops: Shops


class _Groups(Struct, frozen=True):
    room: Groups
    intake: IntakeLine
    cancellations: Cancellations
    watchers: GroupWatchers


class _Schedules(Struct, frozen=True):
    desk: Desk
    planner: Planner
    registry: Registry
    folder: ScheduleFolder | None
    marked: MarkedOf
    unknown_year: UnknownYearOf


class _Rooms(Struct, frozen=True):
    """All of them, made and not yet begun."""

    base: _Base
    tasks: TaskLine
    book: RuleBook
    dispatch: _Dispatch
    groups: _Groups
    schedules: _Schedules


class Adapters:
    """What a node stands on, made from its settings; a replay has others."""

    def storage(self, settings: Settings, clock: Clock, metrics: Metrics) -> Storage:
        return SqliteStorage(settings.data / DATABASE, clock, metrics)

    def wheel(self, settings: Settings, clock: Clock) -> Wheel:
        timers = core.Timers(settings.tick_ms, clock.now_ms(), TASKS_PENDING_MAX)
        return LoopWheel(timers, clock, _stop_server)

    def horizon(self, settings: Settings) -> Horizon:
        return group_buy(
            float(settings.radius_m),
            float(settings.delivery_radius_m),
            leave_early_ms=settings.leave_early_s * 1_000,
            shop_begins_before_ms=settings.shop_begins_before_s * 1_000,
            gain_min_m=settings.improve_gain_min_m,
        )


class Parts(Struct, frozen=True):
    """What stands when a node runs, for whoever drives it without a door."""

    storage: Storage
    tasks: TaskLine
    groups: Groups
    intake: IntakeLine
    cancellations: Cancellations
    line: DecisionLine
    improver: Improver
    interventions: Interventions
    shops: Shops
    riders: Riders


class Node:
    """One server: storage, capabilities, doors."""

    def __init__(self, settings: Settings, clock: Clock, adapters: Adapters | None = None) -> None:
        self._settings = settings
        self._clock = clock
        self._adapters = adapters or Adapters()
        self._metrics = PrometheusMetrics()
        self._stack = AsyncExitStack()
        self._cron: CronDoor | None = None
        self._http: HttpServer | None = None
        self.parts: Parts | None = None
        self._begun: set[asyncio.Task[None]] = set()

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        running = asyncio.get_running_loop().create_task(work)
        self._begun.add(running)
        running.add_done_callback(self._begun.discard)

    async def start(self, *, doors: bool = True) -> dict[str, str]:
        """Serves when it returns; the addresses bound. Raises what a part raises, with everything undone. `doors` False
        opens none: `parts` is the way in."""
        async with AsyncExitStack() as stack:
            base = await self._open(stack)
            tasks = self._tasks(base)
            book = RuleBook(base.storage, base.fence, self._clock, base.requests, rule_tools(), self._metrics)
            dispatch = await self._dispatch(base, tasks, book, stack)
            groups = self._groups(base, tasks, book, dispatch)
            schedules = self._schedules(base, tasks)
            # Who runs the service's own tasks must be known before the first of them falls due.
            Retries(base.storage, dispatch.line).register(tasks)
            groups.room.register(tasks)
            tasks.internal(OPEN_GROUP_QUEUE, lambda task: _open_group(groups.room, task))
            rooms = _Rooms(base, tasks, book, dispatch, groups, schedules)
            await self._recover(rooms, stack)
            addresses = await self._serve(rooms, stack) if doors else {}
            self.parts = Parts(
                base.storage,
                tasks,
                groups.room,
                groups.intake,
                groups.cancellations,
                dispatch.line,
                dispatch.improver,
                dispatch.interventions,
                dispatch.shops,
                dispatch.riders,
            )
            self._stack = stack.pop_all()
        return addresses

    async def stop(self) -> None:
        """Refuses new calls, lets those under way end, commits what was reported, closes storage."""
        await self._stack.aclose()

    # --- parts ----------------------------------------------------------------------------------------------------
    async def _open(self, stack: AsyncExitStack) -> _Base:
        storage = self._storage = self._adapters.storage(self._settings, self._clock, self._metrics)
        await storage.open()
        stack.push_async_callback(storage.close)
        coordination = SingleNode()
        await coordination.open()
        stack.push_async_callback(coordination.close)
        fence = await storage.claim(SHARD, self._settings.node, await coordination.lead(SHARD))
        requests = Requests(storage, fence, self._clock)
        return _Base(storage, fence, requests, await storage.sequences(), WireBodies())

    def _tasks(self, base: _Base) -> TaskLine:
        return TaskLine(
            base.storage,
            base.fence,
            self._clock,
            self._adapters.wheel(self._settings, self._clock),
            self._metrics,
            known_group=_known_group(base.storage),
            requests=base.requests,
            last_task_id=base.last.task_id,
        )

    def _gate(self) -> Gate:
        if self._settings.redis:
            from cuptime.gate.redis import RedisGate  # only who has Redis pays for its import

            return RedisGate(self._settings.redis)
        return InProcessGate()

    async def _dispatch(
        self, base: _Base, tasks: TaskLine, book: RuleBook, stack: AsyncExitStack
    ) -> _Dispatch:
        settings, storage, fence, clock = self._settings, base.storage, base.fence, self._clock
        gate = WatchedGate(self._gate())
        await gate.open()
        stack.push_async_callback(gate.close)
        skus = core.SkuCodes()
        calendar = Calendar(settings.time_zone)
        counters = Counters(gate, core.Dispatcher(), skus, clock, tasks.wheel, calendar)
        origin = (settings.origin_latitude, settings.origin_longitude)
        resources = Resources(
            storage, fence, clock, counters, core, base.bodies, base.requests, tasks.wheel, origin
        )
        horizon = self._adapters.horizon(settings)
        means = dispatch_desk.Means(
            storage, fence, clock, core, skus, book, tasks, tasks.wheel, self._metrics, horizon.terms()
        )
        every_ms = settings.reoptimise_every_s * 1_000
        provisional = ProvisionalBook(clock, base.bodies, kept=every_ms > 0)
        line = DecisionLine(means, resources, DecisionFeed(storage), provisional)
        defaults = core.Dispatcher.policy_defaults()
        improver = Improver(line, provisional, base.bodies, horizon, every_ms, defaults)
        gate.doubt = line.doubt
        riders = Riders(resources, tasks.wheel)
        releases = Releases(line, base.bodies)
        interventions = Interventions(line, releases, base.bodies, base.requests)
        return _Dispatch(resources, line, improver, releases, interventions, riders, Shops(resources))

    def _groups(self, base: _Base, tasks: TaskLine, book: RuleBook, dispatch: _Dispatch) -> _Groups:
        storage, fence, clock = base.storage, base.fence, self._clock
        open_groups = OpenGroups()
        open_groups.start_after(base.last.group_seq)
        self._metrics.depth("groups_open", lambda: len(open_groups))
        watchers = GroupWatchers(storage)
        recovery = IntakeRecovery(storage, clock, self._new_intake, open_groups, dispatch.resources)
        intake = IntakeLine(
            storage,
            fence,
            clock,
            book,
            dispatch.line,
            open_groups,
            watchers,
            self._metrics,
            recovery.rebuild,
        )
        room = Groups(storage, clock, base.requests, tasks, intake, watchers)
        cancellations = Cancellations(
            storage, clock, base.requests, room, intake, dispatch.line, dispatch.releases, watchers
        )
        return _Groups(room, intake, cancellations, watchers)

    def _new_intake(self) -> core.Intake:
        seed = bytes.fromhex(self._clock.token())
        return core.Intake(seed, self._settings.credit_min, self._settings.purchase_limit)

    def _schedules(self, base: _Base, tasks: TaskLine) -> _Schedules:
        engine = CoreCronEngine(Calendars(self._settings.calendars), self._clock)
        desk = Desk(base.storage, base.fence, self._clock, engine, Targets(), tasks)
        planner = Planner(desk, self._metrics)
        registry = Registry(desk, planner, base.requests, ScheduleAnswers(), base.last.schedule_seq)
        folder: ScheduleFolder | None = None
        if self._settings.schedules is not None:
            from cuptime.api.flat import Entries
            from cuptime.schedules.folder import ScheduleFolder

            entries = Entries(self._clock, _known_group(base.storage))
            folder = ScheduleFolder(registry, entries, self._settings.schedules, self._clock)
        self._metrics.depth("schedule_folder_faults", lambda: len(folder.status.faults) if folder else 0)
        return _Schedules(desk, planner, registry, folder, engine.marked, engine.unknown_year)

    # --- start ----------------------------------------------------------------------------------------------------
    async def _recover(self, rooms: _Rooms, stack: AsyncExitStack) -> None:
        """From storage into memory, each part after those it stands on."""
        base, tasks, book = rooms.base, rooms.tasks, rooms.book
        dispatch, groups, schedules = rooms.dispatch, rooms.groups, rooms.schedules
        await book.recover()
        resources = await dispatch.resources.recover()
        stack.callback(dispatch.resources.close)
        stack.callback(dispatch.riders.close)
        stack.push_async_callback(dispatch.riders.save_positions)
        dispatch.resources.admission = groups.intake
        await groups.intake.recover()
        stack.push_async_callback(groups.intake.close)
        undecided = await dispatch.line.start()
        stack.push_async_callback(dispatch.line.close)
        stack.push_async_callback(dispatch.improver.close)
        # What schedules missed is dropped, and what their policies did so far is known, before anything is triggered.
        await schedules.desk.recover()
        waiting = await tasks.start()
        stack.push_async_callback(tasks.close)
        housekeeping = Housekeeping(base.storage, base.fence, self._clock, tasks.wheel, groups.intake)
        housekeeping.start()
        stack.callback(housekeeping.close)
        retention = Retention(
            base.storage, base.fence, self._clock, tasks.wheel, self._metrics,
            groups_ms=self._settings.retain_days * DAY_MS, tasks_ms=self._settings.retain_tasks_days * DAY_MS,
        )  # fmt: skip
        retention.start()
        stack.push_async_callback(retention.close)
        schedules.planner.start()
        stack.push_async_callback(schedules.planner.stop)
        _log.info(
            "recovered",
            epoch=base.fence.epoch,
            rule_revision=book.snapshot().revision,
            shops=resources.shops,
            riders=resources.riders,
            groups_open=len(groups.intake.groups),
            groups_undecided=undecided,
            **asdict(waiting),
        )
        await self._watch_folders(book, schedules, stack)

    async def _watch_folders(self, book: RuleBook, schedules: _Schedules, stack: AsyncExitStack) -> None:
        """Who has a folder pays for the import of what watches it."""
        if self._settings.rules is not None:
            from cuptime.rules.folder import RuleFolder

            folder = RuleFolder(book, self._settings.rules, self._clock)
            await folder.start()
            stack.push_async_callback(folder.close)
        if schedules.folder is not None:
            await schedules.folder.start()
            stack.push_async_callback(schedules.folder.close)
        engine = schedules.desk.engine
        if self._settings.calendars is not None and isinstance(engine, CoreCronEngine):
            from cuptime.schedules.calendar_folder import CalendarFolder

            calendars = CalendarFolder(engine, self._settings.calendars, schedules.planner.ask_again)
            calendars.start()
            stack.push_async_callback(calendars.close)

    async def _serve(self, rooms: _Rooms, stack: AsyncExitStack) -> dict[str, str]:
        """Opens the doors; the addresses bound."""
        storage, tasks, dispatch = rooms.base.storage, rooms.tasks, rooms.dispatch
        groups, schedules = rooms.groups, rooms.schedules
        line, feed = dispatch.line, dispatch.line.feed
        schedule_ids = ScheduleIds(storage.schedule_by_seq)
        schedule_endpoints = ScheduleEndpoints(
            schedules.registry,
            self._clock,
            _known_group(storage),
            schedules.folder,
            schedules.marked,
            schedules.unknown_year,
        )
        endpoints = {
            "GroupService": GroupEndpoints(groups.room, groups.intake, groups.cancellations),
            "DispatchService": DispatchEndpoints(storage, Decisions(line), feed, dispatch.interventions),
            "ShopService": ShopEndpoints(dispatch.shops),
            "RiderService": RiderEndpoints(dispatch.riders),
            "ScheduleService": schedule_endpoints,
            "TaskService": TaskEndpoints(tasks, schedule_ids, storage.schedule),
            "WorkerService": WorkerEndpoints(tasks, schedule_ids),
            "RuleService": RuleEndpoints(rooms.book),
        }
        stack.push_async_callback(self._close_http_door)
        wrapper = Wrapper(self._clock, self._metrics, RAW_METHODS)
        server = GrpcServer(wrapper, endpoints, reflect=self._settings.reflection)
        stack.push_async_callback(server.stop, self._settings.drain_grace_s)
        # Before the door closes, whoever watches is told that the server stops.
        stack.callback(groups.watchers.stop)
        stack.callback(feed.stop)
        self._storage.on_lost = lambda: self._begin(server.unready())
        host = self._settings.listen.rpartition(":")[0]
        addresses = {"grpc": f"{host}:{await server.start(self._settings.listen)}"}
        if self._settings.metrics:
            addresses["metrics"] = await self._open_http_door(schedule_endpoints)
        return addresses

    async def _open_http_door(self, schedules: ScheduleEndpoints) -> str:
        """Last, and imported last and in a thread: its libraries cost a tenth of a second, and after a crash due tasks
        are served through the gRPC door meanwhile."""
        for name in ("cuptime.api.cron_door", "cuptime.app.http"):
            await asyncio.to_thread(import_module, name)
        from cuptime.api.cron_door import CronDoor
        from cuptime.app.http import HttpServer

        self._cron = CronDoor(schedules, self._clock, self._metrics.call)
        self._http = HttpServer(self._metrics.registry, self._cron.routes())
        return await self._http.start(self._settings.metrics)

    async def _close_http_door(self) -> None:
        if self._cron is not None:
            self._cron.drain()
        if self._http is not None:
            await self._http.stop()


def _known_group(storage: Storage) -> KnownGroup:
    async def known(group_id: int) -> bool:
        return await storage.group(group_id) is not None

    return known


def _stop_server() -> None:
    """As an operator would: what is under way ends, and whoever supervises the process starts it again."""
    os.kill(os.getpid(), signal.SIGTERM)


async def _open_group(groups: Groups, task: Task) -> bytes:
    """The runner of group openings. Idempotent: the request_id is the task's."""
    opened = OpenGroup.unpacked(task.payload)
    group = await groups.create(group_of(opened_group(opened)), request_id=f"task-{task.task_id}")
    return f"groups/{group.group_id}".encode()
