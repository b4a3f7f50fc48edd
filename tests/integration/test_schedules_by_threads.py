"""64 threads register, update, unregister and fire schedules of a real server, over gRPC and HTTP, and it is killed in
the middle of it. What storage has afterwards is compared with a model that is made of the answers alone."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2_grpc as pb_grpc
from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from cuptime.domain.values import ScheduleState, TaskState
from tests.conftest import WaitUntil
from tests.integration.door import Tables

THREADS: Final = 64
STEPS: Final = 14
SHARED: Final = 6
QUIET: Final = {"quiet-0": 100, "quiet-1": 250}
LENGTHS_MS: Final = (50, 80, 150, 60_000)
STEP_KINDS: Final = ("register", "update", "update", "unregister", "trigger")
REFUSED: Final = ("SCHEDULE_EXISTS", "SCHEDULE_NOT_FOUND", "STATE_CONFLICT")
REPEATS_MAX: Final = 400
KILL_AFTER_ANSWERS: Final = 300
BEGUN: Final = (TaskState.TRIGGERED, TaskState.EXECUTED, TaskState.FAILED)


@dataclass
class Answered:
    """What one call was told."""

    step: str
    name: str
    schedule: pb.Schedule


@dataclass
class Told:
    """What all threads were told, and where they find the server."""

    served: ServedProcess
    answers: list[Answered] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    strange: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    enough: threading.Event = field(default_factory=threading.Event)

    def note(self, step: str, name: str, answer: pb.Schedule | str) -> None:
        with self.lock:
            if isinstance(answer, pb.Schedule):
                self.answers.append(Answered(step, name, answer))
            elif answer in REFUSED:
                self.refused[answer] += 1
            else:
                self.strange.append(f"{step} {name}: {answer}")
            if len(self.answers) >= KILL_AFTER_ANSWERS:
                self.enough.set()


class ByGrpc:
    """A caller with a channel of its own."""

    def __init__(self, served: ServedProcess) -> None:
        self._channel = grpc.insecure_channel(
            served.address, options=(("grpc.use_local_subchannel_pool", 1),)
        )
        self._stub = pb_grpc.ScheduleServiceStub(self._channel)

    def call(self, step: str, name: str, every_ms: int, request_id: str) -> pb.Schedule | str | None:
        """The schedule, the reason of a refusal, or None when it is not known what became of the call."""
        target = {"task": {"queue": "threads"}}
        full, timing = f"schedules/{name}", {"every_ms": every_ms}
        try:
            if step == "register":
                made = {"schedule_id": name, "timing": timing, "target": target}
                request = pb.RegisterScheduleRequest(schedule=made, request_id=request_id)
                return self._stub.RegisterSchedule(request, timeout=5).schedule
            if step == "update":
                changed = pb.Schedule(name=full, timing=timing)
                mask = {"paths": ["timing"]}
                update = pb.UpdateScheduleRequest(schedule=changed, update_mask=mask, request_id=request_id)
                return self._stub.UpdateSchedule(update, timeout=5).schedule
            if step == "unregister":
                ended = pb.UnregisterScheduleRequest(name=full, request_id=request_id)
                return self._stub.UnregisterSchedule(ended, timeout=5).schedule
            by_hand = pb.TriggerScheduleRequest(name=full, request_id=request_id)
            return self._stub.TriggerSchedule(by_hand, timeout=5).schedule
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                return None
            return next((reason for reason in REFUSED if _says(error, reason)), str(error))


def _says(error: grpc.RpcError, reason: str) -> bool:
    return any(
        reason.encode() in value for key, value in error.trailing_metadata() or () if key.endswith("-bin")
    )


class ByHttp:
    """The same over `/v1/cron`, which has no trigger: gRPC does that."""

    def __init__(self, served: ServedProcess) -> None:
        self._served = served
        self._grpc = ByGrpc(served)

    def call(self, step: str, name: str, every_ms: int, request_id: str) -> pb.Schedule | str | None:
        if step == "trigger":
            return self._grpc.call(step, name, every_ms, request_id)
        body: dict[str, Any] = {"schedule_id": name, "request_id": request_id}
        if step != "unregister":
            body |= {"every_ms": every_ms}
        if step == "register":
            body |= {"queue": "threads"}
        connection = http.client.HTTPConnection(self._served.metrics_address, timeout=5)
        try:
            sent = {"Content-Type": "application/json"}
            connection.request("POST", f"/v1/cron/{step}", json.dumps(body), sent)
            told = json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if "reason" in told:
            return None if told["status"] >= 500 else str(told["reason"])
        return pb.Schedule(
            name=told["name"],
            generation=int(told["generation"]),
            create_time_ms=int(told["create_time_ms"]),
            update_time_ms=int(told["update_time_ms"]),
            timing={"every_ms": int(told["timing"]["every_ms"])},
        )


def a_thread(told: Told, which: int) -> None:
    """Random steps on shared schedules; what got no answer is repeated with its request_id until it gets one."""
    dice = random.Random(7_919 * which + 17)
    caller = ByHttp(told.served) if which % 2 else ByGrpc(told.served)
    for step_number in range(STEPS):
        step, name = dice.choice(STEP_KINDS), f"shared-{dice.randrange(SHARED)}"
        every_ms = dice.choice(LENGTHS_MS)
        for _ in range(REPEATS_MAX):
            answer = caller.call(step, name, every_ms, f"t{which}-{step_number}")
            if answer is not None:
                told.note(step, name, answer)
                break
            told.enough.wait(0.05) if not told.enough.is_set() else threading.Event().wait(0.05)
        else:
            told.note(step, name, "no answer at all")


@dataclass
class Life:
    """One registration of an id: when each generation began and how far its firings are apart; firings by hand."""

    begun: dict[int, tuple[int, int]] = field(default_factory=dict)
    ended_ms: int = 0
    by_hand: int = 0

    def anchor_ms(self, generation: int) -> int:
        """Where the grid of a generation begins: an update that says the same timing again does not move it."""
        while generation > 1 and self.begun[generation - 1][1] == self.begun[generation][1]:
            generation -= 1
        return self.begun[generation][0]


def model(told: Told) -> dict[tuple[str, int], Life]:
    """Lives by (schedule id, when it was registered). Each change is a generation of its own, and there is no other."""
    lives: dict[tuple[str, int], Life] = defaultdict(Life)
    for one in told.answers:
        life = lives[one.name, one.schedule.create_time_ms]
        generation, at_ms = one.schedule.generation, one.schedule.update_time_ms
        if one.step == "trigger":
            life.by_hand += 1
        elif one.step == "unregister":
            assert life.ended_ms == 0, f"{one.name} ended twice"
            life.ended_ms = at_ms
        else:
            assert generation not in life.begun, f"two changes of {one.name} got generation {generation}"
            life.begun[generation] = at_ms, one.schedule.timing.every_ms
    return lives


def check_life(tables: Tables, name: str, created_ms: int, life: Life, now_ms: int) -> int:
    """How many firings of a life began: on the grid of their generation, before its end, once; and those by hand. What
    still waits when the same timing is said again is made anew under the new generation."""
    generations = sorted(life.begun)
    assert generations == list(range(1, len(generations) + 1)), (
        f"{name}: an answered change has no generation"
    )
    found = tables.rows(
        "SELECT schedule_seq, state FROM schedules WHERE schedule_id = ? AND created_ms = ?", name, created_ms
    )
    assert [bool(state == ScheduleState.UNREGISTERED) for _, state in found] == [life.ended_ms > 0]
    rows = tables.rows(
        "SELECT generation, nominal_ms, trigger_ms, state FROM tasks WHERE schedule_seq = ?", found[0][0]
    )
    by_hand: set[int] = set()
    begun: list[int] = []
    for generation, nominal_ms, trigger_ms, state in rows:
        anchor_ms, every_ms = life.anchor_ms(generation), life.begun[generation][1]
        until_ms = life.begun.get(generation + 1, (life.ended_ms or now_ms, 0))[0]
        on_grid = (nominal_ms - anchor_ms) % every_ms == 0
        if not on_grid:
            by_hand.add(nominal_ms)
        if state in BEGUN:
            begun.append(nominal_ms)
            assert trigger_ms >= nominal_ms
            assert nominal_ms <= until_ms, f"{name}: generation {generation} fired after its end"
            assert nominal_ms > anchor_ms or not on_grid, (
                f"{name}: generation {generation} fired before it was"
            )
    assert len(by_hand) == life.by_hand, (
        f"{name}: {len(by_hand)} firings by hand, {life.by_hand} were answered"
    )
    assert len(begun) == len(set(begun)), f"{name}: an instant fired twice"
    return len(begun)


@pytest.mark.timeout(300)
async def test_64_threads_over_a_kill_agree_with_the_model_of_their_answers(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    served = ServedProcess(tmp_path, listen=address)
    served.start()
    clock = SystemClock()
    try:
        first = ByGrpc(served)
        quiet = {name: first.call("register", name, length, name) for name, length in QUIET.items()}
        told = Told(served)
        threads = [threading.Thread(target=a_thread, args=(told, which)) for which in range(THREADS)]
        for thread in threads:
            thread.start()
        await wait_until(told.enough.is_set, timeout=60, why="the threads are in the middle of it")
        served.kill()
        served.start()
        await wait_until(
            lambda: not any(thread.is_alive() for thread in threads),
            timeout=120,
            why="every call has its answer",
        )
        ended_ms = clock.now_ms()
        await wait_until(lambda: clock.now_ms() > ended_ms + 1_000, timeout=30, why="the last ones fire")
    finally:
        assert served.stop() == 0, served.log_tail()
    assert told.strange == []
    assert len(told.answers) + sum(told.refused.values()) == THREADS * STEPS
    tables = Tables(served.data)
    assert tables.rows("SELECT count(*) FROM schedules")[0][0] == len(QUIET) + len(model(told))
    begun = 0
    for (name, created_ms), life in model(told).items():
        begun += check_life(tables, name, created_ms, life, clock.now_ms())
    assert begun > 100, "they fired"
    for name, schedule in quiet.items():
        assert isinstance(schedule, pb.Schedule)
        rows = tables.rows(
            "SELECT nominal_ms FROM tasks WHERE trigger_ms > 0 AND schedule_seq ="
            " (SELECT schedule_seq FROM schedules WHERE schedule_id = ?) ORDER BY nominal_ms",
            name,
        )
        times = [nominal_ms for (nominal_ms,) in rows]
        until_ms = max(ended_ms, times[-1]) + 1
        assert times == list(range(schedule.create_time_ms + QUIET[name], until_ms, QUIET[name])), name
