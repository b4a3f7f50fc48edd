"""Every method, against a real server, with every fault a request can have: refused by the catalogue, and storage is
as it was."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2

from cuptime.api.server import RAW_METHODS
from cuptime.app.served import ServedProcess
from cuptime.domain.errors import ERROR_DOMAIN, Code, Reason
from cuptime.domain.limits import MESSAGE_BYTES_MAX
from tests.conftest import _wait_until
from tests.integration import campus
from tests.integration.bad_requests import CASES
from tests.integration.bad_rules import SOURCES
from tests.integration.door import Door, Refusal, Tables, described, every_method, message
from tests.integration.faults import DECIDED, OPEN, SECOND, Bad, World

GROWTH_BYTES_MAX = 96 * 1024 * 1024
_FAULTS_OF_OURS = {Code.INTERNAL, Code.DEADLINE_EXCEEDED, Code.UNIMPLEMENTED}


async def _build(door: Door) -> World:
    """One of everything, and nothing left to happen by itself."""
    await campus.furnish(door)
    await door.call("RuleService/PublishRules", source=campus.RULES)
    for group_id in (OPEN, DECIDED, SECOND):
        await door.call("GroupService/CreateGroup", group=campus.group(group_id))
    for group_id in (OPEN, OPEN, DECIDED):
        await door.call("GroupService/SubmitOrder", **campus.submission(group_id))
    await door.call("GroupService/CancelOrder", name=f"groups/{OPEN}/orders/2")
    await door.call("GroupService/CompleteGroup", name=f"groups/{DECIDED}")

    async def decided() -> bool:
        group = (await door.call("GroupService/GetGroup", name=f"groups/{DECIDED}")).group
        return bool(group.state == group.STATE_DECIDED)

    await _wait_until(decided, why="the group is decided")
    target = {"task": {"queue": "sheets"}}
    for schedule_id in ("present", "gone", "paused"):
        timing = {"at_time_ms": campus.now_ms() + campus.DAY_MS}
        schedule = {"schedule_id": schedule_id, "timing": timing, "target": target}
        await door.call("ScheduleService/RegisterSchedule", schedule=schedule)
    await door.call("ScheduleService/UnregisterSchedule", name="schedules/gone")
    await door.call("ScheduleService/PauseSchedule", name="schedules/paused", note="n")
    tasks = [
        (await door.call("TaskService/EnqueueTask", task={"queue": "a"}, delay_ms=campus.DAY_MS)).task.name
        for _ in range(3)
    ]
    await door.call("TaskService/CancelTask", name=tasks[2])
    page = await door.call("TaskService/ListTasks", filter="queue=a", page_size=1)
    return World(tasks[0], tasks[2], "schedules/paused", "1", "1", page.next_page_token)


@pytest.fixture(scope="module")
def world(served: ServedProcess) -> World:
    async def build() -> World:
        async with Door(served.address) as door:
            return await _build(door)

    return asyncio.run(build())


@pytest.fixture(scope="module")
def tables(served: ServedProcess, world: World) -> Iterator[Tables]:
    opened = Tables(served.data)
    yield opened
    opened.close()


async def _refusal(door: Door, method: str, requests: list[Any]) -> Refusal | list[Any]:
    """The refusal, or the answers when there was none."""
    try:
        return await door.exchange(method, requests)
    except Refusal as refusal:
        return refusal


def _check_catalogue(refusal: Refusal) -> None:
    """What every refusal has, whatever it refuses."""
    assert len(refusal.infos) == 1, f"exactly one ErrorInfo: {refusal}"
    info = refusal.infos[0]
    assert info.domain == ERROR_DOMAIN
    reason = Reason[info.reason]
    assert refusal.code.value[0] == int(reason.code), refusal
    assert reason.code not in _FAULTS_OF_OURS, refusal
    assert len(refusal.text) >= 10, f"a message for people: {refusal}"
    blamed = info.metadata.get("field", "")
    if reason.code is Code.INVALID_ARGUMENT and blamed:
        assert [violation.field for violation in refusal.violations] == [blamed], refusal
        assert refusal.violations[0].description == refusal.text
    retried = reason.retry and reason.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE)
    assert len(refusal.retries) == int(retried), refusal


def _entry_refusal(method: str, answers: list[Any]) -> Refusal:
    """The refusal in the status of the one entry of an ingest answer."""
    (answer,) = answers
    (result,) = answer.results
    assert not result.order
    status = result.status
    found = Refusal(method, next(c for c in grpc.StatusCode if c.value[0] == status.code), status.message)

    info = error_details_pb2.ErrorInfo(
        reason=status.reason, domain=ERROR_DOMAIN, metadata=dict(status.metadata)
    )
    found.infos.append(info)
    return found


def test_every_method_has_its_cases() -> None:
    assert set(CASES) == set(every_method()), "a method without bad requests"
    assert all(len(cases) >= 1 for cases in CASES.values())


@pytest.mark.parametrize("method", every_method())
async def test_a_bad_request_is_refused_by_name_and_changes_nothing(
    method: str, served: ServedProcess, world: World, tables: Tables
) -> None:
    wrong = []
    async with Door(served.address) as door:
        for bad in CASES[method]:
            request = bad.request(world) if callable(bad.request) else bad.request
            before = tables.digests()
            outcome = await _refusal(door, method, [*bad.before, request])
            wrong += [f"{bad.what}: {fault}" for fault in _wrong_with(method, bad, outcome)]
            after = tables.digests()
            wrong += [f"{bad.what}: table {name} changed" for name in after if after[name] != before[name]]
    assert not wrong, "\n".join(wrong)


def _wrong_with(method: str, bad: Bad, outcome: Refusal | list[Any]) -> list[str]:
    """What is wrong with the refusal of a bad request."""
    if bad.entry and isinstance(outcome, list):
        outcome = _entry_refusal(method, outcome)
    elif isinstance(outcome, list):
        return [f"not refused: {str(outcome)[:200]}"]
    found = []
    if not bad.entry:
        try:
            _check_catalogue(outcome)
        except (AssertionError, KeyError) as fault:
            found.append(str(fault)[:500])
    if outcome.reason != bad.reason:
        found.append(f"reason {outcome.reason} instead of {bad.reason}: {outcome}")
    elif bad.field is not None and outcome.field != bad.field:
        found.append(f"field {outcome.field!r} instead of {bad.field!r}: {outcome}")
    return found


# --- bytes --------------------------------------------------------------------------------------------------------
def _good_bytes(method: str) -> bytes:
    """Some request of the method that has fields, as bytes."""
    found = [
        message(method, bad.request)
        for bad in CASES[method]
        if isinstance(bad.request, dict) and bad.request and len(str(bad.request)) < 5_000
    ]
    longest = max(found, key=len, default=b"")
    judged_only = described(method).input_type.fields_by_name.get("validate_only")
    # First, so that it is in every beginning of these bytes too.
    return (bytes([judged_only.number << 3, 1]) if judged_only else b"") + longest


def _wrong_wire_types(method: str) -> list[tuple[str, bytes]]:
    """For each field of the request: a value that its type cannot be read from."""
    found = []
    for field in described(method).input_type.fields:
        text = field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)
        if text or field.message_type is not None:
            # Length-delimited, and longer than what is there.
            found.append((f"{field.name} cut short", bytes([field.number << 3 | 2, 0x7F, 0x41])))
        if field.type == FieldDescriptor.TYPE_STRING:
            found.append((f"{field.name} not UTF-8", bytes([field.number << 3 | 2, 2, 0xC3, 0x28])))
        if field.message_type is not None:
            found.append((f"{field.name} not a message", bytes([field.number << 3 | 2, 2, 0xFF, 0xFF])))
        # An endless varint is malformed under any wire type.
        found.append((f"{field.name} an endless number", bytes([field.number << 3]) + b"\xff" * 12))
    found.append(("field number 0", b"\x00\x01"))
    found.append(("a group that never ends", b"\x0b" * 200))
    found.append(("wire type 7", b"\x0f\x01"))
    return found


@pytest.mark.parametrize("method", every_method())
async def test_bytes_that_are_no_message_are_refused(
    method: str, served: ServedProcess, world: World, tables: Tables
) -> None:
    random_bytes = random.Random(method)
    good = _good_bytes(method)
    tries = _wrong_wire_types(method)
    tries += [(f"noise {n}", random_bytes.randbytes(random_bytes.randrange(1, 300))) for n in range(20)]
    tries += [(f"cut at {at}", good[:at]) for at in range(1, len(good), max(1, len(good) // 12))]
    wrong = []
    async with Door(served.address) as door:
        for what, raw in tries:
            before = tables.digests()
            outcome = await _refusal(door, method, [raw])
            if isinstance(outcome, list):
                # Ingest answers by entry, and what is cut between two fields is a message of its own.
                if not _readable(method, raw) and method not in RAW_METHODS:
                    wrong.append(f"{what}: taken")
                continue
            wrong += [f"{what}: table {n} changed" for n, now in tables.digests().items() if now != before[n]]
            try:
                _check_catalogue(outcome)
            except (AssertionError, KeyError) as fault:
                wrong.append(f"{what}: {fault}"[:400])
            # What the core reads is read from the outside in: a fault outside is told before one inside.
            malformed = not _readable(method, raw) and method not in RAW_METHODS
            if malformed and outcome.reason != "MESSAGE_MALFORMED":
                wrong.append(f"{what}: {outcome}")
    assert not wrong, "\n".join(wrong)


def _readable(method: str, raw: bytes) -> bool:
    try:
        message_factory.GetMessageClass(described(method).input_type).FromString(raw)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("method", sorted(set(every_method()) - RAW_METHODS))
async def test_a_field_that_the_server_does_not_know_is_refused(
    method: str, served: ServedProcess, world: World, tables: Tables
) -> None:
    before = tables.digests()
    unknown = bytes([0x98, 0x3F, 0x01])  # field 1011, a number
    async with Door(served.address) as door:
        outcome = await _refusal(door, method, [_good_bytes(method) + unknown])
        assert isinstance(outcome, Refusal), outcome
        _check_catalogue(outcome)
        assert (outcome.reason, outcome.field) == ("FIELD_UNKNOWN", "#1011")
    assert tables.digests() == before


async def test_a_field_not_known_deep_inside_is_named_by_its_path(
    served: ServedProcess, world: World, tables: Tables
) -> None:
    before = tables.digests()
    inner = b"\x0a\x00" + bytes([0x98, 0x3F, 0x01])
    task = bytes([8 << 3 | 2, len(inner)]) + inner  # task.context, which has no field 1 of text
    raw = bytes([1 << 3 | 2, len(task)]) + task
    async with Door(served.address) as door:
        outcome = await _refusal(door, "TaskService/EnqueueTask", [raw])
    assert isinstance(outcome, Refusal)
    assert outcome.reason == "FIELD_UNKNOWN"
    assert outcome.field.startswith("task.context.#")
    assert tables.digests() == before


# --- size ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("method", every_method())
async def test_a_message_above_the_limit_is_refused(
    method: str, served: ServedProcess, world: World, tables: Tables
) -> None:
    before = tables.digests()
    async with Door(served.address) as door:
        outcome = await _refusal(door, method, [bytes(MESSAGE_BYTES_MAX + 1)])
        assert isinstance(outcome, Refusal)
        _check_catalogue(outcome)
        assert outcome.reason == "LIMIT_REACHED"
        assert outcome.infos[0].metadata["limit"] == str(MESSAGE_BYTES_MAX)
    assert tables.digests() == before


async def test_what_the_transport_refuses_leaves_the_server_well(
    served: ServedProcess, world: World, tables: Tables
) -> None:
    """A message of many times the limit and a flood of metadata are stopped before they reach us."""
    before = tables.digests()
    async with Door(served.address) as door:
        outcome = await _refusal(door, "TaskService/EnqueueTask", [bytes(MESSAGE_BYTES_MAX * 4)])
        assert isinstance(outcome, Refusal)
        assert outcome.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        for size in (20_000, 200_000):
            with pytest.raises(Refusal) as caught:
                await door.exchange("TaskService/GetTask", [{"name": "x"}], metadata=[("flood", "x" * size)])
            # Above the hard limit the connection itself may be given up.
            codes = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
            assert caught.value.code in codes
    async with Door(served.address) as door:
        assert (await door.call("GroupService/GetGroup", name=f"groups/{OPEN}")).group.group_id == OPEN
    assert tables.digests() == before


@pytest.mark.parametrize("value", ["", "00-x-y-z", "ff" * 3_500, "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
async def test_a_bad_traceparent_is_left_out(value: str, served: ServedProcess, world: World) -> None:
    async with Door(served.address) as door:
        (answer,) = await door.exchange(
            "GroupService/GetGroup", [{"name": f"groups/{OPEN}"}], metadata=[("traceparent", value)]
        )
    assert answer.group.group_id == OPEN


# --- rules --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("what", list(SOURCES))
async def test_a_bad_rule_set_is_told_where_it_is_wrong(
    what: str, served: ServedProcess, world: World, tables: Tables
) -> None:
    before = tables.digests()
    async with Door(served.address) as door:
        answer = await door.call("RuleService/ValidateRules", source=SOURCES[what])
        live = await door.call("RuleService/GetRevision", name="ruleRevisions/active")
    assert answer.diagnostics
    for fault in answer.diagnostics:
        assert fault.code, fault
        assert fault.message, fault
        assert min(fault.line, fault.column) >= 1, fault
    assert live.revision.revision == 1, "a bad one never replaces a good one"
    assert tables.digests() == before


async def test_the_server_does_not_grow_by_what_it_refuses(
    served: ServedProcess, world: World, tables: Tables
) -> None:
    """Everything above once more, several times: what is refused is forgotten."""
    requests = [
        (method, [*bad.before, bad.request(world) if callable(bad.request) else bad.request])
        for method, cases in CASES.items()
        for bad in cases
        if method != "RuleService/PublishRules"
    ]
    async with Door(served.address) as door:

        async def round_of() -> None:
            for start in range(0, len(requests), 32):
                part = requests[start : start + 32]
                await asyncio.gather(*(_refusal(door, method, said) for method, said in part))

        before = tables.digests()
        await round_of()
        resident = served.resident_bytes()
        for _ in range(3):
            await round_of()
        grown = served.resident_bytes() - resident
    assert grown < GROWTH_BYTES_MAX, f"grown by {grown / 2**20:.1f} MiB in {3 * len(requests)} refusals"
    assert tables.digests() == before
