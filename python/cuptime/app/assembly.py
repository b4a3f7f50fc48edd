"""The one place that knows every adapter: puts a node together, starts it in the order in which parts stand on each
other, and stops it the other way round."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Final

import structlog

from cuptime import core
from cuptime.api.bodies import WireBodies
from cuptime.api.call import Wrapper
from cuptime.api.dispatch import DispatchEndpoints
from cuptime.api.groups import GroupEndpoints, group_of
from cuptime.api.resources import RiderEndpoints, ShopEndpoints
from cuptime.api.rules import RuleEndpoints
from cuptime.api.schedules import OPEN_GROUP_QUEUE, OpenGroup, ScheduleEndpoints, Targets
from cuptime.api.schedules import group_of as opened_group
from cuptime.api.server import RAW_METHODS, GrpcServer
from cuptime.api.tasks import TaskEndpoints
from cuptime.api.workers import WorkerEndpoints
from cuptime.app.core_parts import rule_tools
from cuptime.app.http import MetricsServer
from cuptime.app.settings import Settings
from cuptime.coordination.single import SingleNode
from cuptime.dispatch import line as dispatch_line
from cuptime.dispatch.counters import Counters
from cuptime.dispatch.feed import DecisionFeed
from cuptime.dispatch.interventions import Interventions
from cuptime.dispatch.line import DecisionLine
from cuptime.dispatch.reading import Decisions
from cuptime.dispatch.release import Releases
from cuptime.dispatch.resources import Resources
from cuptime.dispatch.retry import Retries
from cuptime.dispatch.riders import Riders
from cuptime.dispatch.shops import Shops
from cuptime.domain.clock import Clock
from cuptime.domain.limits import TASKS_PENDING_MAX
from cuptime.domain.ports import Gate, Storage
from cuptime.domain.requests import Requests
from cuptime.domain.values import Task
from cuptime.gate.in_process import InProcessGate
from cuptime.groups.cancel import Cancellations
from cuptime.groups.intake import IntakeLine
from cuptime.groups.life import Groups
from cuptime.groups.recover import IntakeRecovery
from cuptime.groups.registry import OpenGroups
from cuptime.groups.watch import GroupWatchers
from cuptime.rules.book import RuleBook
from cuptime.rules.folder import RuleFolder
from cuptime.schedules.croniter_engine import CroniterEngine
from cuptime.schedules.desk import Desk
from cuptime.schedules.planner import Planner
from cuptime.schedules.registry import Registry
from cuptime.storage.sqlite.storage import SqliteStorage
from cuptime.tasks.line import TaskLine
from cuptime.tasks.wheel_thread import ThreadWheel
from cuptime.telemetry.metrics import PrometheusMetrics

_log = structlog.get_logger("cuptime")
SHARD: Final = 0
DATABASE: Final = "cuptime.db"


class Node:
    """One server: storage, capabilities, doors."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = PrometheusMetrics()
        self._stack = AsyncExitStack()

    async def start(self) -> dict[str, str]:
        """Serves when it returns; the addresses bound. Raises what a part raises, with everything undone."""
        async with AsyncExitStack() as stack:
            addresses = await self._start(stack)
            self._stack = stack.pop_all()
        return addresses

    async def stop(self) -> None:
        """Refuses new calls, lets those under way end, commits what was reported, closes storage."""
        await self._stack.aclose()

    def _gate(self) -> Gate:
        if self._settings.redis:
            from cuptime.gate.redis import RedisGate  # only who has Redis pays for its import

            return RedisGate(self._settings.redis)
        return InProcessGate()

    async def _start(self, stack: AsyncExitStack) -> dict[str, str]:
        settings, clock, metrics = self._settings, self._clock, self._metrics
        storage: Storage = SqliteStorage(settings.data / DATABASE, clock, metrics)
        await storage.open()
        stack.push_async_callback(storage.close)
        coordination = SingleNode()
        await coordination.open()
        stack.push_async_callback(coordination.close)
        fence = await storage.claim(SHARD, settings.node, await coordination.lead(SHARD))
        last = await storage.sequences()
        requests = Requests(storage, fence, clock)
        bodies = WireBodies()

        async def known_group(group_id: int) -> bool:
            return await storage.group(group_id) is not None

        wheel = ThreadWheel(core.Timers(settings.tick_ms, clock.now_ms(), TASKS_PENDING_MAX), clock)
        tasks = TaskLine(
            storage,
            fence,
            clock,
            wheel,
            metrics,
            known_group=known_group,
            requests=requests,
            last_task_id=last.task_id,
        )
        book = RuleBook(storage, fence, clock, requests, rule_tools(), metrics)
        await book.recover()

        gate = self._gate()
        await gate.open()
        stack.push_async_callback(gate.close)
        skus = core.SkuCodes()
        counters = Counters(gate, core.Dispatcher(), skus, clock, wheel)
        origin = (settings.origin_latitude, settings.origin_longitude)
        resources = Resources(storage, fence, clock, counters, core, bodies, requests, wheel, origin)
        policy = {
            "radius_m": float(settings.radius_m),
            "delivery_radius_m": float(settings.delivery_radius_m),
        }
        means = dispatch_line.Means(storage, fence, clock, core, skus, book, tasks, wheel, metrics, policy)
        feed = DecisionFeed(storage)
        line = DecisionLine(means, resources, feed)
        releases = Releases(line, bodies)
        retries = Retries(storage, line)

        open_groups = OpenGroups()
        open_groups.start_after(last.group_seq)
        watchers = GroupWatchers(storage)
        recovery = IntakeRecovery(storage, clock, self._new_intake, open_groups, resources)
        intake = IntakeLine(
            storage, fence, clock, book, line, open_groups, watchers, metrics, recovery.rebuild
        )
        groups = Groups(storage, fence, clock, requests, tasks, intake, watchers)
        cancellations = Cancellations(storage, clock, requests, groups, intake, line, releases, watchers)

        desk = Desk(storage, fence, clock, CroniterEngine(), Targets(), tasks)
        planner = Planner(desk, metrics)
        registry = Registry(desk, planner, requests, last.schedule_seq)

        # Who runs the service's own tasks must be known before the first of them falls due.
        retries.register(tasks)
        groups.register(tasks)
        tasks.internal(OPEN_GROUP_QUEUE, lambda task: _open_group(groups, task))
        tasks.generations(desk.generations.get)
        metrics.depth("groups_open", lambda: len(open_groups))

        # From storage into memory, each part after those it stands on.
        recovered = await resources.recover()
        stack.callback(resources.close)
        resources.admission = intake
        await intake.recover()
        stack.push_async_callback(intake.close)
        undecided = await line.start()
        stack.push_async_callback(line.close)
        waiting = await tasks.start()
        stack.push_async_callback(tasks.close)
        planner.start()
        stack.push_async_callback(planner.stop)
        _log.info(
            "recovered",
            epoch=fence.epoch,
            shops=recovered.shops,
            riders=recovered.riders,
            groups_open=len(open_groups),
            groups_undecided=undecided,
            tasks=str(waiting),
        )

        if settings.rules is not None:
            folder = RuleFolder(settings.rules, book)
            await folder.start()
            stack.push_async_callback(folder.close)

        wrapper = Wrapper(clock, metrics, RAW_METHODS)
        endpoints = {
            "GroupService": GroupEndpoints(groups, intake, cancellations),
            "DispatchService": DispatchEndpoints(
                storage, Decisions(line), feed, Interventions(line, releases, bodies, requests)
            ),
            "ShopService": ShopEndpoints(Shops(resources)),
            "RiderService": RiderEndpoints(Riders(resources, wheel)),
            "ScheduleService": ScheduleEndpoints(registry, clock),
            "TaskService": TaskEndpoints(tasks, storage.schedule_by_seq, storage.schedule),
            "WorkerService": WorkerEndpoints(tasks),
            "RuleService": RuleEndpoints(book),
        }
        addresses: dict[str, str] = {}
        if settings.metrics:
            door = MetricsServer(metrics.registry)
            addresses["metrics"] = await door.start(settings.metrics)
            stack.push_async_callback(door.stop)
        server = GrpcServer(wrapper, endpoints, reflect=settings.reflection)
        stack.push_async_callback(server.stop, settings.drain_grace_s)
        # Before the door closes, whoever watches is told that the server stops.
        stack.callback(watchers.stop)
        stack.callback(feed.stop)
        host = settings.listen.rpartition(":")[0]
        addresses["grpc"] = f"{host}:{await server.start(settings.listen)}"
        return addresses

    def _new_intake(self) -> core.Intake:
        seed = bytes.fromhex(self._clock.token())
        return core.Intake(seed, self._settings.credit_min, self._settings.purchase_limit)


async def _open_group(groups: Groups, task: Task) -> bytes:
    """The runner of group openings. Idempotent: the request_id is the task's."""
    opened = OpenGroup.unpacked(task.payload)
    group = await groups.create(group_of(opened_group(opened)), request_id=f"task-{task.task_id}")
    return f"groups/{group.group_id}".encode()
