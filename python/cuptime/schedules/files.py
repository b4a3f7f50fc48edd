"""Schedules in YAML files: read with their places, checked, nothing registered yet.

    schedules:
      - schedule_id: open-park
        cron: "0 9 * * 1-5"
        timezone: Asia/Shanghai
        queue: open

The names of an entry are those of a body of `POST /v1/cron/register`. YAML is read under the limits of rule files: no
anchors, no tags, no second document, bounded in bytes, depth and nodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence
from typing import Any, Final, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import SCHEDULE_FILE_ENTRIES_MAX
from cuptime.rules.diagnostic import DIAGNOSTICS_MAX, Diagnostic, suggestion
from cuptime.rules.nodes import Mapping, Node, Scalar, Sequenced, is_empty
from cuptime.rules.positions import offsets
from cuptime.rules.yaml import read_nodes
from cuptime.schedules.registry import NewSchedule

FORM: Final = "a file is `schedules:` and below it a list, each entry with schedule_id, a timing and queue"
DUPLICATE: Final = "DUPLICATE_SCHEDULE"
CONFLICT: Final = "CONFLICT"
_WHOLE_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")
_SWITCHES: Final = {"true": True, "false": False}


class EntryPort(Protocol):
    """Implemented by the API layer, which knows what a body may say."""

    @property
    def kinds(self) -> MappingOf[str, type]:
        """The names of an entry and the type of each: str, int, bool or dict (texts by text)."""
        ...

    async def read(self, body: dict[str, Any]) -> NewSchedule | None:
        """The schedule of an entry; None when it is not enabled. Raises FIELD_* and the like."""
        ...

    def name_of(self, field_path: str) -> str:
        """The name in the entry of a field that a refusal names."""
        ...


class Entry(Struct, frozen=True):
    """One schedule of a file."""

    file: str
    node: Mapping
    text: str
    """Of the whole file."""
    new: NewSchedule

    @property
    def schedule_id(self) -> str:
        return self.new.schedule_id


class ReadFiles(Struct):
    """What some files say, and what is wrong with them."""

    entries: dict[str, Entry] = field(default_factory=dict)
    """By schedule_id; those that are enabled."""
    faults: list[Diagnostic] = field(default_factory=list)
    count: int = 0
    """Entries, whatever became of them."""


async def read_files(sources: Sequence[tuple[str, str]], port: EntryPort) -> ReadFiles:
    """All entries of files given as (name, text). Never raises for content."""
    found = ReadFiles()
    for name, text in sources:
        root = await asyncio.to_thread(read_nodes, text, name)
        if isinstance(root, Diagnostic):
            found.faults.append(root)
            continue
        for node in _entries(found, name, root):
            found.count += 1
            if found.count > SCHEDULE_FILE_ENTRIES_MAX:
                message = f"more than {SCHEDULE_FILE_ENTRIES_MAX} schedules"
                found.faults.append(Diagnostic("LIMIT_SCHEDULES", name, node.line, node.column, "", message))
                return found
            if len(found.faults) < DIAGNOSTICS_MAX:
                await _read_entry(found, name, text, node, port)
                # Others have their turn: a folder may have thousands.
                await asyncio.sleep(0)
    return found


def fault_of(entry: Entry, refusal: CuptimeError, port: EntryPort) -> Diagnostic:
    """A refusal as a fault at its place in the file."""
    return _fault(entry.file, entry.text, entry.node, entry.schedule_id, refusal, port)


def conflict_of(entry: Entry) -> Diagnostic:
    """The id is in use by a schedule that a call registered."""
    place = _place(entry.node, "schedule_id")
    return Diagnostic(
        CONFLICT,
        entry.file,
        place.line,
        place.column,
        entry.schedule_id,
        f"a schedule {entry.schedule_id!r} was registered by a call, not by this folder",
        "unregister it first, or take another schedule_id",
    )


def _entries(found: ReadFiles, name: str, root: Node) -> list[Mapping]:
    def add(code: str, node: Node, message: str) -> None:
        found.faults.append(Diagnostic(code, name, node.line, node.column, "", message, FORM))

    if not isinstance(root, Mapping):
        add("BAD_VALUE", root, "the file is not a mapping with the key `schedules`")
        return []
    entries: list[Mapping] = []
    for key, value in root.entries:
        if key.value != "schedules":
            add("UNKNOWN_KEY", key, f"unknown key `{key.value}` at the top of the file")
        elif isinstance(value, Sequenced):
            for node in value.entries:
                if isinstance(node, Mapping):
                    entries.append(node)
                else:
                    add("BAD_VALUE", node, "a schedule is a mapping")
        elif not is_empty(value):
            add("BAD_VALUE", value, "`schedules` is not a list")
    if not any(key.value == "schedules" for key, _ in root.entries):
        add("MISSING_KEY", root, "the key `schedules` is missing")
    return entries


async def _read_entry(found: ReadFiles, name: str, text: str, node: Mapping, port: EntryPort) -> None:
    body, faults = _body(name, node, port.kinds)
    schedule_id = str(body.get("schedule_id", ""))
    if faults:
        found.faults += faults
        return
    try:
        new = await port.read(body)
    except CuptimeError as refusal:
        found.faults.append(_fault(name, text, node, schedule_id, refusal, port))
        return
    before = found.entries.get(schedule_id)
    if before is not None:
        place = _place(node, "schedule_id")
        message = f"a second schedule {schedule_id!r}; the first is at {before.file}:{before.node.line}"
        found.faults.append(Diagnostic(DUPLICATE, name, place.line, place.column, schedule_id, message))
    elif new is not None:
        new = replace(new, source=f"{name}#{_digest(body)}")
        found.entries[schedule_id] = Entry(name, node, text, new)


def digest_of(source: str) -> str:
    """The digest of the entry in the source of a schedule, without its file."""
    return source.rpartition("#")[2]


def _digest(body: dict[str, Any]) -> str:
    """Of what is written, not of what it means: words for a time mean another cron text on another day."""
    told = sorted(
        (key, sorted(value.items()) if isinstance(value, dict) else value) for key, value in body.items()
    )
    return hashlib.blake2b(repr(told).encode(), digest_size=8).hexdigest()


def _body(name: str, node: Mapping, kinds: MappingOf[str, type]) -> tuple[dict[str, Any], list[Diagnostic]]:
    body: dict[str, Any] = {}
    faults: list[Diagnostic] = []

    def add(code: str, at: Node, message: str, hint: str = "") -> None:
        faults.append(Diagnostic(code, name, at.line, at.column, "", message, hint))

    for key, value in node.entries:
        kind = kinds.get(key.value)
        if kind is None:
            add("UNKNOWN_KEY", key, f"unknown key `{key.value}`", suggestion(key.value, kinds))
        elif kind is dict:
            pairs = value.entries if isinstance(value, Mapping) else None
            if pairs is None or not all(isinstance(one, Scalar) for _, one in pairs):
                add("BAD_VALUE", value, f"`{key.value}` is a mapping of texts")
            else:
                body[key.value] = {one.value: text.value for one, text in pairs if isinstance(text, Scalar)}
        elif not isinstance(value, Scalar):
            add("BAD_VALUE", value, f"`{key.value}` is a single value")
        elif kind is str:
            body[key.value] = value.value
        elif kind is int and value.plain and _WHOLE_NUMBER.fullmatch(value.value):
            body[key.value] = int(value.value)
        elif kind is bool and value.plain and value.value in _SWITCHES:
            body[key.value] = _SWITCHES[value.value]
        else:
            wanted = "a whole number" if kind is int else "true or false"
            add("BAD_VALUE", value, f"`{key.value}` must be {wanted}, not {value.value[:64]!r}")
    return body, faults


def _fault(
    file: str, text: str, node: Mapping, schedule_id: str, refusal: CuptimeError, port: EntryPort
) -> Diagnostic:
    key = port.name_of(refusal.field) if refusal.field else ""
    place = _place(node, key)
    line, column = place.line, place.column
    if isinstance(place, Scalar) and "position" in refusal.metadata:
        line, column = _inside(text, place, int(refusal.metadata["position"]))
    hint = refusal.metadata.get("mend", "")
    return Diagnostic(refusal.reason.name, file, line, column, schedule_id, refusal.message, hint)


def _place(node: Mapping, key: str) -> Node:
    """The value of a key; the entry itself where the key is not there."""
    return next((value for found, value in node.entries if found.value == key), node)


def _inside(text: str, scalar: Scalar, position: int) -> tuple[int, int]:
    """Line and column of a character of a value, whichever way it is written."""
    text = text.removeprefix("\ufeff")
    found = offsets(text[scalar.start : scalar.end], scalar.style, scalar.value)
    if not found:
        return scalar.line, scalar.column
    # Behind the last character when it is what is missing there that is wrong.
    at = scalar.start + (found[position] if position < len(found) else found[-1] + 1)
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1


def is_past(refusal: CuptimeError) -> bool:
    """Is the only fault that the time of a schedule is over? Its entry then says what was, and is no fault of the
    file."""
    return refusal.reason is Reason.SCHEDULE_TIME_PASSED
