"""Every field of every request at the ends of what its type can hold, on a server of its own: taken or refused by the
catalogue, never a fault of ours. What was taken can be read back by every list, and a restart reads it too."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from cuptime.app.served import ServedProcess
from cuptime.domain.errors import Code, Reason
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.campus import DAY_MS
from tests.integration.door import Door, Refusal, described, every_method, message
from tests.integration.good_requests import GROUP, OTHER, good_requests

AT_ONCE: Final = 32
COMBINED: Final = 150
"""Random combinations for each method."""
WAIT_S: Final = 0.3
"""A stream that was let in has said its first by then."""
_OURS: Final = {Code.INTERNAL, Code.UNIMPLEMENTED}

_INTS: Final = {
    FieldDescriptor.TYPE_INT64: (-(2**63), -1, 0, 1, 2**31, 2**53 + 1, 2**62, 2**63 - 1),
    FieldDescriptor.TYPE_INT32: (-(2**31), -1, 0, 1, 2**31 - 1),
    FieldDescriptor.TYPE_ENUM: (-(2**31), -1, 0, 1, 99, 2**31 - 1),
    FieldDescriptor.TYPE_BOOL: (0, 1),
}
_FLOATS: Final = (
    *(float("nan"), float("inf"), float("-inf"), 1.8e308 / 10, -1e308, 5e-324, -0.0, 90.0, -180.0, 180.0),
)
_TEXTS: Final = (
    *("", " ", "\x00", "a\x00b", "\n", "\x1b[31m", "\u2028", "\ufeff", "\U0010ffff", "é" * 40, "x" * 70_000),
    *("-", "*", "%s", "../..", "'; DROP TABLE tasks; --", "9" * 400, "-1", "1e9", "0x1", "１", "nan"),
    *("groups/9223372036854775808", "groups/09999999999999999999", "tasks/0", "tasks/9223372036854775807"),
    *("groups/-", "schedules/-", "shops/9223372036854775807", "riders/-1", "groups/30001/orders/1048576"),
    *("groups/30001/orders/0", "ruleRevisions/9223372036854775808", "interventions/9223372036854775807"),
    *("0 0 30 2 *", "* * * * * * *", "@every 1ns", "0 0 1 1 * 99999", "Asia/Shanghai/..", "every blue moon"),
    *("state=FAILED AND due_time_ms<=99999999999999999999", "[" * 500, "(" * 500 + "1", "rules: [" * 60),
)
_BYTES: Final = (b"", b"\x00" * 65_537, b"\xff\xfe", b"x" * 65_536)
_REPEATS: Final = (0, 2, 1_001)


# --- the ends of each field ---------------------------------------------------------------------------------------
def _values(field: FieldDescriptor) -> tuple[Any, ...]:
    if field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_FLOAT):
        return _FLOATS
    if field.type == FieldDescriptor.TYPE_STRING:
        return _TEXTS
    return _BYTES if field.type == FieldDescriptor.TYPE_BYTES else _INTS[field.type]


Step = tuple[str, int | None]
Change = Callable[[Message], None]


def _setting(name: str, value: Any) -> Change:
    return lambda holder: setattr(holder, name, value)


def _listing(name: str, values: list[Any]) -> Change:
    def change(holder: Message) -> None:
        holder.ClearField(name)
        getattr(holder, name).extend(values)

    return change


def _mapping(name: str, value: dict[str, str]) -> Change:
    def change(holder: Message) -> None:
        holder.ClearField(name)
        getattr(holder, name).update(value)

    return change


def _changes(holder: Message, way: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], str, Change]]:
    """(where, what, how): each field at its ends, and without it; lists empty, doubled and too long."""
    for field in holder.DESCRIPTOR.fields:
        name, held = field.name, getattr(holder, field.name)
        yield way, f"{name} absent", lambda one, name=name: one.ClearField(name)
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            for text in _TEXTS:
                yield way, f"{name}[{text[:9]!r}]", _mapping(name, {text: "v"})
                yield way, f"{name}={text[:9]!r}", _mapping(name, {"k": text})
            yield way, f"{name} of 1000", _mapping(name, {f"k{n}": "v" for n in range(1_000)})
        elif field.is_repeated:
            for count in _REPEATS:
                yield way, f"{name} of {count}", _listing(name, list(held[:1]) * count)
            if field.message_type is not None and held:
                yield from _changes(held[0], (*way, (name, 0)))
            elif field.message_type is None:
                for value in _values(field):
                    yield way, f"{name}=[{str(value)[:20]!r}]", _listing(name, [value])
        elif field.message_type is not None:
            yield (
                way,
                f"{name} empty",
                lambda one, name=name: (one.ClearField(name), getattr(one, name).SetInParent()),
            )
            if holder.HasField(name):
                yield from _changes(held, (*way, (name, None)))
        else:
            for value in _values(field):
                yield way, f"{name}={str(value)[:30]!r}", _setting(name, value)


def _freshen(request: Message, number: int) -> None:
    """What may be given once only is given anew, so that a repeat hides nothing."""
    for field, held in request.ListFields():
        if field.name == "request_id":
            request.request_id = f"extreme-{number}"  # type: ignore[attr-defined]
        elif field.name == "user_id":
            request.user_id = number  # type: ignore[attr-defined]
        elif field.name == "schedule_id":
            request.schedule_id = f"extreme-{number}"  # type: ignore[attr-defined]
        elif field.name == "group_id" and request.DESCRIPTOR.name == "Group":
            request.group_id = 40_000 + number  # type: ignore[attr-defined]
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for one in held if field.is_repeated else [held]:
                _freshen(one, number)


class Extremes:
    """The extremes of one method."""

    def __init__(self, method: str, fields: dict[str, Any]) -> None:
        made_by = message_factory.GetMessageClass(described(method).input_type)
        self._good: Message = made_by.FromString(message(method, fields))
        self._changes = list(_changes(self._good))

    def __len__(self) -> int:
        return len(self._changes)

    def name(self, *chosen: int) -> str:
        """Which fields the changes of these indexes set to what."""
        return " and ".join(
            ".".join([*(step for step, _ in way), what])
            for way, what, _ in map(self._changes.__getitem__, chosen)
        )

    def request(self, number: int, *chosen: int) -> Message:
        """The good request with these changes, one after the other; what was taken away by one stays away."""
        one = type(self._good)()
        one.CopyFrom(self._good)
        _freshen(one, number)
        for way, _, change in map(self._changes.__getitem__, chosen):
            holder: Any = one
            for name, index in way:
                held = getattr(holder, name)
                if index is not None and not held:
                    break
                holder = held if index is None else held[index]
            else:
                change(holder)
        return one


async def _outcome(door: Door, method: str, said: list[Any]) -> str | None:
    """What is wrong with how it was answered; empty for a refusal as it should be, None when it was taken."""
    try:
        streams = described(method).server_streaming
        await door.exchange(method, said, timeout=WAIT_S if streams else 20.0)
    except Refusal as refusal:
        if refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED and streams:
            return None
        if len(refusal.infos) != 1 or Reason[refusal.reason].code in _OURS:
            return str(refusal)
        if (
            refusal.code is grpc.StatusCode.INVALID_ARGUMENT
            and not refusal.field
            and refusal.reason not in _NO_FIELD
        ):
            return f"names no field: {refusal}"
        return ""
    return None


_NO_FIELD: Final = {"MESSAGE_MALFORMED"}


async def _read_all(door: Door) -> None:
    """Everything by every list; what cannot be read raises."""
    lists = (
        "GroupService/ListGroups",
        "ShopService/ListShops",
        "RiderService/ListRiders",
        "TaskService/ListTasks",
    )
    lists += (
        "ScheduleService/ListSchedules",
        "RuleService/ListRevisions",
        "DispatchService/ListInterventions",
    )
    parented = {"DispatchService/ListDecisions": "groups/-", "GroupService/ListOrders": f"groups/{GROUP}"}
    for method, fields in (
        *((name, {}) for name in lists),
        *((name, {"parent": parent}) for name, parent in parented.items()),
        ("ScheduleService/ListScheduleChanges", {"name": "schedules/-"}),
    ):
        token = ""
        while True:
            answer = await door.call(method, page_size=1_000, page_token=token, **fields)
            token = answer.next_page_token
            if not token:
                break
    await door.call("RuleService/GetRulesStatus")


async def _furnish(door: Door) -> None:
    await campus.furnish(door)
    await door.call("RuleService/PublishRules", source=campus.RULES)
    for group_id in (GROUP, OTHER):
        await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=5_000))
    await door.call("GroupService/SubmitOrder", **campus.submission(OTHER))
    await door.call("GroupService/CompleteGroup", name=f"groups/{OTHER}")
    held = {"schedule_id": "held", "timing": {"cron": "0 9 1 1 *"}, "target": {"task": {"queue": "sheets"}}}
    await door.call("ScheduleService/RegisterSchedule", schedule=held)
    await door.call("TaskService/EnqueueTask", task={"queue": "sheets"}, delay_ms=DAY_MS)


class _Asked:
    """What was asked, and what was wrong with the answers."""

    def __init__(self) -> None:
        self.count = 0
        self.wrong: list[str] = []

    async def ask(
        self, door: Door, method: str, before: list[Any], ends: Extremes, chosen: list[tuple[int, ...]]
    ) -> list[tuple[int, ...]]:
        """Says the requests with these changes; those that were taken."""
        taken = []
        for start in range(0, len(chosen), AT_ONCE):
            part = chosen[start : start + AT_ONCE]
            requests = [ends.request(self.count + at, *one) for at, one in enumerate(part, 1)]
            self.count += len(part)
            told = await asyncio.gather(*(_outcome(door, method, [*before, one]) for one in requests))
            taken += [one for one, was in zip(part, told, strict=True) if was is None]
            self.wrong += [
                f"{method} {ends.name(*one)}: {was}" for one, was in zip(part, told, strict=True) if was
            ]
        return taken


async def _decide(door: Door, wait_until: WaitUntil) -> None:
    """Shops, riders and orders at their ends are decided like all others."""
    group = (await door.call("GroupService/CompleteGroup", name=f"groups/{GROUP}")).group
    assert group.member_count > COMBINED
    wanted = min(1_000, group.member_count)

    async def decided() -> bool:
        parent = f"groups/{GROUP}"
        found = await door.call("DispatchService/ListDecisions", parent=parent, page_size=1_000)
        return len({row.name for row in found.decisions}) >= wanted

    await wait_until(decided, timeout=30, why="every order has a decision")


@pytest.mark.timeout(300)
async def test_no_field_at_its_ends_is_a_fault_of_ours(tmp_path: Path, wait_until: WaitUntil) -> None:
    server = ServedProcess(tmp_path)
    server.start()
    good, asked, dice = good_requests(), _Asked(), random.Random(20_261_129)
    assert {name.partition("#")[0] for name in good} == set(every_method())
    async with Door(server.address) as door:
        await _furnish(door)
        for name, fields in good.items():
            method, _, late = name.partition("#")
            before = [{"hello": {"worker": "w", "queues": ["none"]}}] if late else []
            ends = Extremes(method, fields)
            alone = await asked.ask(door, method, before, ends, [(one,) for one in range(len(ends))])
            taken = [one for (one,) in alone]
            # What is taken alone may still be too much together.
            together = [
                tuple(dice.choices(taken, k=dice.randint(2, 5))) for _ in range(COMBINED if taken else 0)
            ]
            await asked.ask(door, method, before, ends, together)
            assert server.running(), f"{method} ended the server: {server.log_tail()}"
        await _decide(door, wait_until)
        await _read_all(door)
    assert server.stop() == 0, server.log_tail()
    server.start()
    async with Door(server.address) as door:
        await _read_all(door)
    assert server.stop() == 0, server.log_tail()
    wrong = asked.wrong
    wrong += [line for line in server.log.read_text().splitlines() if "Traceback" in line or "fault" in line]
    assert not wrong, f"{len(wrong)} of {asked.count}\n" + "\n".join(wrong[:60])
