"""A server that is killed again and again under load, and an audit of what it had promised.

Clients behave as the API asks them to: every request has a request_id, and a call that ended without an answer is sent
again, unchanged, until it is answered. A kill happens after a number of acknowledgements, never after a time, so a run
with too little load cannot pass.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import rule_service_pb2 as rules_pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as schedules_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.app.morning import audit, left, plan
from cuptime.app.morning.client import reason_of, unanswered
from cuptime.app.morning.load import TASK_QUEUE
from cuptime.app.morning.records import Records
from cuptime.app.morning.worker import SHEETS_QUEUE, Worker
from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock

CALLERS: Final = 12
QUIET_S_MAX: Final = 120.0
"""Without an acknowledgement for so long the service, or the campaign, stands still. A restart and the reconnecting of
the clients are in it: a second each on a quiet machine, ten on a crowded one."""
SETTLE_S_MAX: Final = 180.0
"""From the last order to rest. What a worker had when the last kill came waits for the end of its lease (30 s), then is
retried; a group waits for its deadline (8 s at most)."""
PROGRESS_KILLS: Final = 10
IMPROVED_KILLS: Final = 10
IMPROVED_S_MAX: Final = 5.0
"""A server that is killed twice a second never gets to improve a decision. In one of IMPROVED_KILLS lives the orders
pause until an improvement was heard of, or so long (nothing may be left to improve), and the kill comes right then."""
TRY_TIMEOUT_S: Final = 3.0
TRIES_MAX: Final = 200
GROUPS_OPEN: Final = 12
SHOPS_MIN: Final = 12
ORDERS_PER_SHOP: Final = 3_500
LOOK_S: Final = 0.005
CANCELLED_SHARE: Final = 0.04
REPEATED_SHARE: Final = 0.05
PACE_S: Final = 0.02
"""Between two batches of tasks: the rate of the load."""
_CHANNEL: Final = (
    ("grpc.initial_reconnect_backoff_ms", 20),
    ("grpc.min_reconnect_backoff_ms", 20),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(slots=True)
class Outcome:
    """What a campaign came to."""

    kills: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    restart_ms: list[int] = field(default_factory=list)
    findings: audit.Findings = field(default_factory=audit.Findings)


def free_port() -> int:
    """A port that is free now; the server must come back on the same one."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port


def _silent(_line: str) -> None:
    """Who does not want to be told."""


class Campaign:
    """One server, its clients, and the kills."""

    def __init__(self, folder: Path, seed: int, *options: str, tell: Callable[[str], None] = _silent) -> None:
        """`options` are the server's; `tell` is given a line of progress every PROGRESS_KILLS kills."""
        self.folder = folder
        self.records_folder = folder / "records"
        self.records_folder.mkdir(parents=True)
        self.clock = SystemClock()
        self.server = ServedProcess(folder, *options, listen=f"127.0.0.1:{free_port()}")
        self.rng = random.Random(seed)
        self.campus = plan.Campus(seed, 0)
        self.records = Records(self.records_folder / "clients.jsonl")
        self.open_groups: list[plan.PlannedGroup] = []
        self.outcome = Outcome()
        self.stopping = False
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.between: dict[int, Callable[[], None]] = {}
        """What else happens before the n-th kill."""
        self._channel: grpc.aio.Channel | None = None
        self._tell = tell
        self._began_ms = self.clock.monotonic_ms()

    async def run(self, kills: int, acknowledged_between: int) -> Outcome:
        """Kills the server `kills` times, each after at least `acknowledged_between` more acknowledgements."""
        self.server.start()
        self._channel = grpc.aio.insecure_channel(self.server.address, options=_CHANNEL)
        await self._seed(kills * acknowledged_between)
        worker = Worker(self.server.address, self.records_folder, "worker-0")
        working = [asyncio.create_task(worker.forever(run)) for run in (worker.tasks, worker.decisions)]
        callers = [asyncio.create_task(self._caller()) for _ in range(CALLERS)]
        callers.append(asyncio.create_task(self._enqueuer()))
        try:
            for number in range(kills):
                await self._until_acknowledged(acknowledged_between, [*callers, *working])
                if number % IMPROVED_KILLS == 0:
                    await self._until_improved(worker)
                if number in self.between:
                    await asyncio.to_thread(self.between[number])
                # Somewhere inside whatever is under way just then.
                await asyncio.sleep(self.rng.random() * 0.02)
                await asyncio.to_thread(self._kill_and_restart)
                if self.outcome.kills % PROGRESS_KILLS == 0:
                    self._tell(self._progress(kills))
            await self._until_acknowledged(acknowledged_between, [*callers, *working])
            self.stopping = True
            await asyncio.gather(*callers)
            await self._complete_groups()
            self._tell("no more orders; waiting until every group has ended and every task is executed")
            await self._settle(worker)
            await left.write_down(self._channel, self.records)
        finally:
            for running in (*callers, *working):
                running.cancel()
            await asyncio.gather(*callers, *working, return_exceptions=True)
            worker.records.close()
            await worker._channel.close()
            self.records.close()
            await self._channel.close()
            code = await asyncio.to_thread(self.server.stop)
        self._audit(code)
        return self.outcome

    def _kill_and_restart(self) -> None:
        began_ms = self.clock.monotonic_ms()
        self.server.kill()
        self.server.start()
        self.outcome.kills += 1
        self.outcome.restart_ms.append(self.clock.monotonic_ms() - began_ms)

    def _progress(self, kills: int) -> str:
        counts, restarts = self.outcome.counts, sorted(self.outcome.restart_ms[-PROGRESS_KILLS:])
        elapsed_s = (self.clock.monotonic_ms() - self._began_ms) / 1_000
        return (
            f"{elapsed_s:6.0f} s  kill {self.outcome.kills} of {kills}: {counts['acknowledged']:,} orders and"
            f" {counts['tasks']:,} tasks acknowledged, {counts['sent again']:,} sent again, restart p50"
            f" {restarts[len(restarts) // 2]} ms; wrong answers: {counts['wrong']}"
        )

    def _wrong(self, request_id: str, wanted: str, got: str) -> None:
        self.records.write("wrong", request_id, wanted, got)
        self.outcome.counts["wrong"] += 1

    def _audit(self, code: int) -> None:
        database = self.server.data / "cuptime.db"
        told = audit.told(self.records_folder)
        self.outcome.findings = audit.Audit(database, told, repeats_allowed=True).run()
        if code != 0:
            self.outcome.findings.violations.append(
                f"the server ended with code {code}: {self.server.log_tail()}"
            )
        unresolved = told.unknown - told.orders.keys() - told.refused.keys()
        self.outcome.findings.check("requests that were never answered", sorted(unresolved))

    # --- calls -----------------------------------------------------------------------------------------------
    async def _call(self, method: str, request: Any, response: Any) -> Any:
        """Sends until answered; raises the service's own refusals."""
        assert self._channel is not None
        call = self._channel.unary_unary(
            f"/cuptime.v1.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=response.FromString,
        )
        for _ in range(TRIES_MAX):
            try:
                return await call(request, timeout=TRY_TIMEOUT_S, wait_for_ready=True)
            except grpc.aio.AioRpcError as error:
                if not unanswered(error) and reason_of(error) not in (
                    "DRAINING",
                    "STORAGE_UNAVAILABLE",
                    "OVERLOADED",
                    "DEADLINE_TOO_SHORT",
                ):
                    raise
                self.outcome.counts["sent again"] += 1
        raise AssertionError(f"{method} was not answered in {TRIES_MAX} tries; {self.server.log_tail()}")

    async def _until_acknowledged(self, more: int, clients: list[asyncio.Task[None]]) -> None:
        counts = self.outcome.counts
        seen, seen_ms = counts["acknowledged"], self.clock.monotonic_ms()
        wanted = seen + more
        while counts["acknowledged"] < wanted:
            if counts["acknowledged"] > seen:
                seen, seen_ms = counts["acknowledged"], self.clock.monotonic_ms()
            assert self.clock.monotonic_ms() - seen_ms < QUIET_S_MAX * 1_000, (
                f"nothing was acknowledged for {QUIET_S_MAX:.0f} s; {self.server.log_tail()}"
            )
            for client in clients:
                if client.done():
                    client.result()
                    raise AssertionError("a client ended early")
            await asyncio.sleep(LOOK_S)

    async def _until_improved(self, worker: Worker) -> None:
        before, began_ms = worker.counts["improved"], self.clock.monotonic_ms()
        self.flowing.clear()
        while (
            worker.counts["improved"] == before
            and self.clock.monotonic_ms() - began_ms < IMPROVED_S_MAX * 1_000
        ):
            await asyncio.sleep(LOOK_S)
        self.flowing.set()

    # --- the load --------------------------------------------------------------------------------------------
    async def _caller(self) -> None:
        while not self.stopping:
            await self.flowing.wait()
            planned = await self._a_group()
            request = self.campus.order(planned.group_id, self.clock.now_ms())
            wanted = "" if self.rng.random() > 0.08 else self.campus.spoil(request)
            if not wanted:
                planned.sent += 1
                if planned.sent >= planned.members and planned in self.open_groups:
                    self.open_groups.remove(planned)
            try:
                answer = await self._call("GroupService/SubmitOrder", request, groups_pb.SubmitOrderResponse)
            except grpc.aio.AioRpcError as error:
                reason = reason_of(error)
                # While a call is sent again its group may end: by its deadline, or, for a spoiled order (which has no
                # seat of its own), by the last seat of the others.
                ended = planned.ends != "fill" or (wanted and planned.sent >= planned.members)
                if reason == wanted or (reason == "GROUP_NOT_OPEN" and ended):
                    self.records.write("refused", request.request_id, reason)
                    self.outcome.counts["refused"] += 1
                else:
                    self._wrong(request.request_id, wanted or "admitted", reason)
                continue
            self.records.write("order", request.request_id, answer.order.name)
            self.outcome.counts["acknowledged"] += 1
            draw = self.rng.random()
            if draw < CANCELLED_SHARE:
                await self._take_back(planned, request, answer.order.name)
            elif draw < CANCELLED_SHARE + REPEATED_SHARE:
                await self._again(request, answer.order.name)

    async def _again(self, request: groups_pb.SubmitOrderRequest, name: str) -> None:
        """A repeat of an acknowledged request names the same order, before and after a crash."""
        answer = await self._call("GroupService/SubmitOrder", request, groups_pb.SubmitOrderResponse)
        self.records.write("order", request.request_id, answer.order.name)
        if answer.order.name != name:
            self._wrong(request.request_id, name, answer.order.name)

    async def _take_back(
        self, planned: plan.PlannedGroup, request: groups_pb.SubmitOrderRequest, name: str
    ) -> None:
        """Cancels an acknowledged order, sometimes twice; in an open group its seat is free for somebody else."""
        cancel = groups_pb.CancelOrderRequest(name=name, request_id=self.campus.request_id())
        self.records.write("cancelling", name)
        try:
            first = await self._call("GroupService/CancelOrder", cancel, groups_pb.CancelOrderResponse)
        except grpc.aio.AioRpcError as error:
            # A group that failed at its deadline released the order before.
            if reason_of(error) != "STATE_CONFLICT" or planned.ends == "fill":
                self._wrong(cancel.request_id, "cancelled", reason_of(error))
            return
        self.records.write("cancelled", name)
        self.outcome.counts["cancelled"] += 1
        read = groups_pb.GetGroupRequest(name=f"groups/{planned.group_id}")
        found = await self._call("GroupService/GetGroup", read, groups_pb.GetGroupResponse)
        if found.group.state == groups_pb.Group.STATE_OPEN:
            planned.sent -= 1
            if planned not in self.open_groups:
                self.open_groups.append(planned)
        if self.rng.random() < 0.2:
            again = await self._call("GroupService/CancelOrder", cancel, groups_pb.CancelOrderResponse)
            if again != first:
                self._wrong(cancel.request_id, str(first), str(again))
            await self._again(request, name)

    async def _a_group(self) -> plan.PlannedGroup:
        while len(self.open_groups) < GROUPS_OPEN:
            planned = self.campus.group()
            request = groups_pb.CreateGroupRequest(
                group=self.campus.group_message(planned, self.clock.now_ms()),
                request_id=self.campus.request_id(),
            )
            try:
                await self._call("GroupService/CreateGroup", request, groups_pb.CreateGroupResponse)
            except grpc.aio.AioRpcError as error:
                # On a busy machine its deadline may pass while the server is away; then it was never opened.
                if (
                    reason_of(error) != "FIELD_INVALID"
                    or request.group.deadline_time_ms > self.clock.now_ms()
                ):
                    raise
                continue
            self.open_groups.append(planned)
            self.outcome.counts["groups"] += 1
            break
        return self.rng.choice(self.open_groups)

    async def _enqueuer(self) -> None:
        while not self.stopping:
            now_ms = self.clock.now_ms()
            entries = [
                tasks_pb.EnqueueTaskRequest(
                    task=tasks_pb.Task(
                        queue=TASK_QUEUE, payload=b"x", due_time_ms=now_ms + self.rng.randint(0, 1_500)
                    )
                )
                for _ in range(5)
            ]
            request = tasks_pb.BatchEnqueueTasksRequest(requests=entries, request_id=self.campus.request_id())
            answer = await self._call(
                "TaskService/BatchEnqueueTasks", request, tasks_pb.BatchEnqueueTasksResponse
            )
            for task in answer.tasks:
                self.records.write("task", task.name)
            self.outcome.counts["tasks"] += len(answer.tasks)
            await asyncio.sleep(PACE_S)

    async def _seed(self, orders: int) -> None:
        now_ms = self.clock.now_ms()
        # As many as the limits of a shop ask for.
        count = max(SHOPS_MIN, -(-orders // ORDERS_PER_SHOP))
        shops = shops_pb.BatchUpsertShopsRequest(shops=plan.shops(1, count, orders * 2), request_id="shops")
        await self._call("ShopService/BatchUpsertShops", shops, shops_pb.BatchUpsertShopsResponse)
        riders = riders_pb.BatchUpsertRidersRequest(
            riders=plan.riders(1, 80, orders * 2, now_ms), request_id="riders"
        )
        await self._call("RiderService/BatchUpsertRiders", riders, riders_pb.BatchUpsertRidersResponse)
        rules = rules_pb.PublishRulesRequest(source=plan.RULES, request_id="rules")
        await self._call("RuleService/PublishRules", rules, rules_pb.PublishRulesResponse)
        schedule = schedules_pb.Schedule(
            schedule_id="beat",
            timing=schedules_pb.Timing(every_ms=250),
            target=schedules_pb.Target(task=tasks_pb.Task(queue=SHEETS_QUEUE, payload=b"beat")),
        )
        register = schedules_pb.RegisterScheduleRequest(schedule=schedule, request_id="beat")
        await self._call("ScheduleService/RegisterSchedule", register, schedules_pb.RegisterScheduleResponse)

    async def _complete_groups(self) -> None:
        for planned in list(self.open_groups):
            request = groups_pb.CompleteGroupRequest(
                name=f"groups/{planned.group_id}", request_id=self.campus.request_id(), force=True
            )
            with suppress(grpc.aio.AioRpcError):
                await self._call("GroupService/CompleteGroup", request, groups_pb.CompleteGroupResponse)
        unregister = schedules_pb.UnregisterScheduleRequest(name="schedules/beat", request_id="end-beat")
        await self._call(
            "ScheduleService/UnregisterSchedule", unregister, schedules_pb.UnregisterScheduleResponse
        )

    async def _settle(self, worker: Worker) -> None:
        """Until every open group has ended and every task that was told of is executed."""
        self.records.flush()
        worker.records.flush()
        told = audit.told(self.records_folder)
        # Whose completion was acknowledged need not be asked for; the audit compares them with storage.
        unsure = sorted(told.tasks - told.acknowledged)

        async def groups_left() -> bool:
            for state in (groups_pb.Group.STATE_OPEN, groups_pb.Group.STATE_COMPLETED):
                listed = await self._call(
                    "GroupService/ListGroups",
                    groups_pb.ListGroupsRequest(page_size=1, state=state),
                    groups_pb.ListGroupsResponse,
                )
                if listed.groups:
                    return True
            return False

        async def tasks_left() -> bool:
            # Each by its name: lists by state, one after the other, miss the task that moves from one to the other.
            while unsure:
                request = tasks_pb.GetTaskRequest(name=unsure[-1])
                found = await self._call("TaskService/GetTask", request, tasks_pb.GetTaskResponse)
                if found.task.state != tasks_pb.Task.STATE_EXECUTED:
                    return True
                unsure.pop()
            return False

        await _until_false(groups_left, SETTLE_S_MAX, "every group has ended")
        await _until_false(tasks_left, SETTLE_S_MAX, "every task has been executed")
        worker.records.flush()


async def _until_false(left: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while await left():
        assert loop.time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(LOOK_S)
