"""What schedules do beside firing, over a real server."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import apsw
import pytest

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime.app.served import ServedProcess
from cuptime.domain.values import ScheduleChangeKind
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door, Refusal
from tests.integration.test_cron_door import post
from tests.integration.worker import Worker


def schedule(name: str, queue: str, every_ms: int = 100, **more: Any) -> dict[str, Any]:
    return {
        "schedule_id": name,
        "timing": {"every_ms": every_ms},
        "target": {"task": {"queue": queue}},
    } | more


@pytest.mark.parametrize("overlap", ["SKIP", "BUFFER_ALL", "CANCEL_OTHER"])
async def test_an_overlap_policy_over_the_wire(door: Door, overlap: str, wait_until: WaitUntil) -> None:
    name = f"overlap-{overlap.lower().replace('_', '-')}"
    policy = {"overlap": f"OVERLAP_{overlap}"}
    await door.call("ScheduleService/RegisterSchedule", schedule=schedule(name, name, policy=policy))

    async def counted() -> Any:
        found = await door.call("ScheduleService/GetSchedule", name=f"schedules/{name}")
        one = found.schedule
        return found if max(one.skipped_count, one.buffered_count, one.cancelled_count) >= 2 else None

    async with Worker(door, name) as worker:
        await worker.credits(100)
        first, *_ = await worker.tasks(1)
        found = await wait_until(counted, why="two firings met the one that runs")
        one = found.schedule
        counts = (one.skipped_count > 0, one.buffered_count > 0, one.cancelled_count > 0)
        assert counts == (overlap == "SKIP", overlap == "BUFFER_ALL", overlap == "CANCEL_OTHER")
        assert found.running_firings == 1
        assert (found.waiting_firings > 0) == (overlap == "BUFFER_ALL")
        answer = await worker.complete(first)
        assert (answer.result == answer.RESULT_ACCEPTED) == (overlap != "CANCEL_OTHER")
        (second, *_) = await worker.tasks(1)
        assert second.task.nominal_time_ms > first.task.nominal_time_ms
        by_hand = {"name": f"schedules/{name}", "overlap": pb.OVERLAP_ALLOW_ALL}
        await door.call("ScheduleService/TriggerSchedule", **by_hand)
        await worker.tasks(1)
        await door.call("ScheduleService/UnregisterSchedule", name=f"schedules/{name}")


async def test_a_business_context_is_checked_and_reaches_the_worker(door: Door) -> None:
    group = campus.group(81_001)
    await door.call("GroupService/CreateGroup", group=group)
    context = {"group_id": 81_001, "sku_version": "2.1", "stock_snapshot": 35}
    target = {"task": {"queue": "context", "context": context}}
    made = await door.call(
        "ScheduleService/RegisterSchedule", schedule=schedule("context", "context", target=target)
    )
    assert made.schedule.target.task.context.stock_snapshot == 35
    async with Worker(door, "context") as worker:
        await worker.credits(2)
        first, second = await worker.tasks(2)
    for lease in (first, second):
        told = lease.task.context
        assert (told.group_id, told.sku_version, told.stock_snapshot) == (81_001, "2.1", 35)
        assert told.timestamp_ms == lease.task.nominal_time_ms
    assert first.idempotency_key != second.idempotency_key
    await door.call("ScheduleService/UnregisterSchedule", name="schedules/context")


def test_kinds_of_changes_have_one_number() -> None:
    kinds = {name.removeprefix("KIND_"): number for name, number in pb.ScheduleChange.Kind.items() if number}
    assert kinds == {kind.name: int(kind) for kind in ScheduleChangeKind}


async def test_the_audit_says_who_changed_which_field(door: Door, served: ServedProcess) -> None:
    async def ask(method: str, actor: str, **fields: Any) -> None:
        metadata = [("cuptime-actor-bin", actor.encode())]
        await door.exchange(f"ScheduleService/{method}", [fields], metadata=metadata)

    name = "schedules/audited"
    await ask("RegisterSchedule", "王", schedule=schedule("audited", "audited", 60_000), request_id="audit-1")
    target = {"task": {"queue": "audited", "payload": "茶".encode()}}
    fields = {"name": name, "timing": {"cron": "0 9 * * *"}, "labels": {"park": "west"}, "target": target}
    mask = {"paths": ["timing", "labels", "target"]}
    await ask("UpdateSchedule", "ann", schedule=fields, update_mask=mask)
    await ask("PauseSchedule", "ann", name=name, note="rain")
    status, _ = post(served, "unregister", {"schedule_id": "audited"}, cuptime_actor="bob")
    assert status == 200

    listed = await door.call("ScheduleService/ListScheduleChanges", name=name)
    ended, paused, updated, made = listed.changes
    assert (made.kind, made.actor, made.request_id) == (pb.ScheduleChange.KIND_REGISTERED, "王", "audit-1")
    assert made.peer.startswith("ipv4:127.0.0.1:")
    assert {(field.path, field.before, field.after) for field in updated.fields} == {
        ("timing.every_ms", "60000", ""),
        ("timing.cron", "", "0 9 * * *"),
        ("timing.dst_policy", "", "DST_POLICY_VIXIE"),
        ("labels.park", "", "west"),
        ("target.task.payload", "", "茶"),
    }
    assert [(field.path, field.after) for field in paused.fields] == [
        ("note", "rain"),
        ("state", "STATE_PAUSED"),
    ]
    assert (ended.actor, ended.peer.partition(":")[0], ended.generation) == ("bob", "http", 4)

    page = await door.call("ScheduleService/ListScheduleChanges", name="schedules/-", page_size=2)
    assert list(page.changes) == [ended, paused]
    more = await door.call(
        "ScheduleService/ListScheduleChanges",
        name="schedules/-",
        page_size=2,
        page_token=page.next_page_token,
    )
    assert list(more.changes) == [updated, made]


@pytest.mark.parametrize("actor", ["a" * 129, "a\tb"])
async def test_an_actor_that_cannot_be_kept_is_refused(door: Door, actor: str) -> None:
    metadata = [("cuptime-actor-bin", actor.encode())]
    with pytest.raises(Refusal) as refused:
        await door.exchange(
            "ScheduleService/PauseSchedule", [{"name": "schedules/absent"}], metadata=metadata
        )
    assert (refused.value.reason, refused.value.field) == ("FIELD_INVALID", "cuptime-actor")


async def test_a_server_with_a_watched_folder(tmp_path: Path, wait_until: WaitUntil) -> None:
    folder = tmp_path / "schedules"
    folder.mkdir()
    text = "schedules:\n  - {schedule_id: hello, every_ms: 200, queue: hello}\n"
    (folder / "hello.yaml").write_text(text)
    server = ServedProcess(tmp_path, "--schedules", str(folder))
    server.start()
    try:
        async with Door(server.address) as door:
            made = (await door.call("ScheduleService/GetSchedule", name="schedules/hello")).schedule
            assert made.source_file == "hello.yaml"
            refused = await door.refused("ScheduleService/UnregisterSchedule", name="schedules/hello")
            assert refused.reason == "STATE_CONFLICT"
            status, told = post(server, "update", {"schedule_id": "hello", "every_ms": 500})
            assert (status, told["reason"]) == (400, "STATE_CONFLICT")
            (folder / "hello.yaml").write_text(text.replace("200", "9"))

            async def faulty() -> Any:
                found = await door.call("ScheduleService/GetScheduleFolder")
                return found if found.faults else None

            found = await wait_until(faulty, why="the fault is reported")
            fault = found.faults[0]
            assert (fault.file, fault.line, fault.schedule_id) == ("hello.yaml", 2, "hello")
            assert (fault.code, found.schedule_count) == ("FIELD_INVALID", 1)
            (folder / "hello.yaml").write_text(text)
            server.kill()
        server.start()
        async with Door(server.address) as door, Worker(door, "hello") as worker:
            await worker.credits(1)
            (lease,) = await worker.tasks(1)
            assert lease.task.schedule == "schedules/hello"
            found = await door.call("ScheduleService/GetScheduleFolder")
            assert (found.error, found.registered_count, found.updated_count) == ("", 0, 0)
    finally:
        server.stop()


async def test_a_minute_bucket_over_the_wire(door: Door) -> None:
    due_ms = campus.now_ms() + 500
    if due_ms % 60_000 > 59_500:
        # All of them in one minute: the next.
        due_ms += 60_000 - due_ms % 60_000
    times = [due_ms + 10 * n for n in range(12)]
    made = await door.call(
        "TaskService/BatchEnqueueTasks",
        requests=[
            {"task": {"queue": "minute", "due_time_ms": at, "bucket": "BUCKET_MINUTE"}} for at in times
        ],
    )
    await door.call("TaskService/CancelTask", name=made.tasks[5].name)
    async with Worker(door, "minute", batches=True) as worker:
        await worker.credits(50)
        leases = await worker.tasks(11)
        assert {lease.bucket_size for lease in leases} == {11}
        assert {lease.bucket_time_ms for lease in leases} == {due_ms - due_ms % 60_000}
        assert len({lease.task.trigger_time_ms for lease in leases}) == 1
        assert leases[0].task.trigger_time_ms >= times[-1], "when the last is due"
        tokens = [lease.lease_token for lease in leases]
        await worker.report(
            completes=[{"lease_token": token, "result": token.encode()} for token in tokens[1:]],
            fails=[{"lease_token": tokens[0], "error_code": "NO_MILK"}],
        )
        acks, _ = await worker.batches(11)
    assert {ack.result for ack in acks} == {acks[0].RESULT_ACCEPTED}
    rows = [(await door.call("TaskService/GetTask", name=task.name)).task for task in made.tasks]
    states = [tasks_pb.Task.State.Name(row.state).removeprefix("STATE_") for row in rows]
    assert states == ["FAILED", *["EXECUTED"] * 4, "CANCELLED", *["EXECUTED"] * 6]
    assert [row.result.decode() for row in rows if row.result] == tokens[1:]
    assert {row.bucket for row in rows} == {tasks_pb.Task.BUCKET_MINUTE}


async def test_over_kills_firings_that_wait_for_each_other_run_one_by_one_and_none_is_lost(
    tmp_path: Path,
) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    every_ms, done = 100, 0
    policy = {"overlap": "OVERLAP_BUFFER_ALL"}
    try:
        for kill in range(4):
            async with Door(server.address) as door, Worker(door, "line", lease_ms=1_000) as worker:
                if not kill:
                    one = schedule("line", "line", every_ms, policy=policy)
                    await door.call("ScheduleService/RegisterSchedule", schedule=one)
                await worker.credits(1_000)
                for _ in range(8):
                    (lease,) = await worker.tasks(1)
                    answer = await worker.complete(lease)
                    done += answer.result == answer.RESULT_ACCEPTED
                if kill < 3:
                    # With one under way, and others that wait for it.
                    await worker.tasks(1)
                    server.kill()
            if kill < 3:
                server.start()
    finally:
        server.stop()
    connection = apsw.Connection(str(server.data / "cuptime.db"), flags=apsw.SQLITE_OPEN_READONLY)
    rows = list(
        connection.execute(
            "SELECT nominal_ms, trigger_ms, updated_ms FROM tasks WHERE state = 4 ORDER BY trigger_ms, nominal_ms"
        )
    )
    assert len(rows) == done >= 24
    for (nominal_ms, _, ended_ms), (next_ms, trigger_ms, _) in pairwise(rows):
        assert next_ms - nominal_ms == every_ms, "in order, and none left out"
        assert trigger_ms >= ended_ms, "never two at once"
