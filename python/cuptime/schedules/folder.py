"""A watched folder, or file, of schedules: what it says is registered, and what it says no more is unregistered.

    change (inotify) -> read all -> content hash new? -> check every entry -> register, update, unregister what differs
                                                             | faults: reported with their places, nothing changed

What a call registered is never touched: an entry with its id is a conflict, and then nothing of the folder is
applied. Each schedule of the folder keeps `source`, the file and a digest of its entry. So applying is idempotent, a
restart in the middle goes on where it was, and an entry that did not change leaves its schedule alone: paused, or
finished, it stays so, also when its file has another name now. Each change is a transaction and an entry of the
audit by itself."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import SCHEDULE_SOURCES_BYTES_MAX
from cuptime.domain.values import Caller, Schedule
from cuptime.rules.diagnostic import DIAGNOSTICS_MAX, Diagnostic, summary
from cuptime.rules.watched import Changes, Watched, read_folder
from cuptime.schedules.files import (
    Entry,
    EntryPort,
    ReadFiles,
    conflict_of,
    digest_of,
    fault_of,
    is_past,
    read_files,
)
from cuptime.schedules.registry import Registry, ScheduleChange

APPLY_TRIES_MAX: Final = 5
"""When storage could not serve; then the next change of the folder, or the next start, goes on."""
AGAIN_S: Final = 1.0

_log = logging.getLogger(__name__)


class ScheduleFolderStatus(Struct, frozen=True):
    """How the folder stands."""

    folder: str
    content: str = ""
    """Hash of the content tried last."""
    files: int = 0
    schedules: int = 0
    """Registered by the folder, after the last attempt that was good."""
    registered: int = 0
    """What the last attempt that was good did."""
    updated: int = 0
    unregistered: int = 0
    attempted_ms: int = 0
    succeeded_ms: int = 0
    error: str = ""
    """Empty when the content tried last is in effect."""
    faults: tuple[Diagnostic, ...] = ()


class _Plan(Struct, frozen=True):
    """What differs between the files and what is registered."""

    register: list[Entry]
    update: list[Entry]
    moved: list[Entry]
    """To another file, as they are."""
    unregister: list[str]


class ScheduleFolder:
    """Loads the folder, and again whenever something in it changes."""

    def __init__(
        self, registry: Registry, port: EntryPort, folder: Path, clock: Clock, changes: Changes | None = None
    ) -> None:
        self._registry = registry
        self._port = port
        self._folder = folder
        self._clock = clock
        self._watched = Watched(folder, self.load, changes)
        self._loading = asyncio.Lock()
        self._closed = asyncio.Event()
        self.status = ScheduleFolderStatus(str(folder))
        self._when_readable: ScheduleFolderStatus | None = None
        """How it stood before it could not be read."""

    async def start(self) -> ScheduleFolderStatus:
        """Loads once, then watches. From now on callers may not change what the folder registered."""
        self._registry.folder_owns = True
        await self.load()
        self._watched.start()
        return self.status

    async def close(self) -> None:
        """Stops watching; what is being applied goes on at the next start."""
        self._closed.set()
        await self._watched.close()

    async def load(self) -> ScheduleFolderStatus:
        """Reads the folder and applies it when its content is new and good."""
        async with self._loading:
            now_ms = self._clock.now_ms()
            try:
                sources, faults, content = await asyncio.to_thread(
                    read_folder, self._folder, SCHEDULE_SOURCES_BYTES_MAX
                )
            except OSError as fault:
                self._when_readable = self._when_readable or self.status
                return self._not_good(now_ms, f"{self._folder} cannot be read: {fault.strerror or fault}", ())
            if self._when_readable is not None:
                self.status, self._when_readable = self._when_readable, None
            if content == self.status.content:
                return self.status
            self.status = replace(self.status, content=content, files=len(sources))
            if not sources and not faults:
                return self._not_good(now_ms, "there are no *.yaml files in the folder", ())
            read = await read_files(sources, self._port)
            read.faults[:0] = faults
            for _ in range(APPLY_TRIES_MAX):
                refusal = await self._load(now_ms, read)
                if refusal is None or self._closed.is_set():
                    return self.status
                try:
                    await asyncio.wait_for(self._closed.wait(), AGAIN_S)
                except TimeoutError:
                    continue
            # Not the content's fault: the next change, or the next start, tries it again.
            self.status = replace(self.status, content="")
            return self.status

    async def _load(self, now_ms: int, read: ReadFiles) -> CuptimeError | None:
        """The refusal that another try may mend."""
        try:
            owned = await self._registry.sourced()
            plan, faults = await self._planned(read, owned)
            if faults:
                self._not_good(now_ms, summary(faults), tuple(faults[:DIAGNOSTICS_MAX]))
                return None
            await self._apply(plan)
        except CuptimeError as refusal:
            self._not_good(now_ms, str(refusal), ())
            return refusal
        self.status = replace(
            self.status,
            schedules=len(read.entries),
            registered=len(plan.register),
            updated=len(plan.update) + len(plan.moved),
            unregistered=len(plan.unregister),
            attempted_ms=now_ms,
            succeeded_ms=self._clock.now_ms(),
            error="",
            faults=(),
        )
        return None

    async def _planned(self, read: ReadFiles, owned: dict[str, Schedule]) -> tuple[_Plan, list[Diagnostic]]:
        plan = _Plan([], [], [], [one for one in owned if one not in read.entries])
        faults = list(read.faults)
        for schedule_id, entry in read.entries.items():
            held = owned.get(schedule_id)
            if held is not None and held.source == entry.new.source:
                continue
            if held is not None and digest_of(held.source) == digest_of(entry.new.source):
                plan.moved.append(entry)
                continue
            await asyncio.sleep(0)
            try:
                taken = await self._registry.examine(entry.new)
            except CuptimeError as refusal:
                if refusal.reason is Reason.STORAGE_UNAVAILABLE or refusal.reason is Reason.OVERLOADED:
                    raise
                if not is_past(refusal):
                    faults.append(fault_of(entry, refusal, self._port))
                else:
                    _log.warning("schedule file: %s", fault_of(entry, refusal, self._port))
                continue
            if taken is not None and not taken.source:
                faults.append(conflict_of(entry))
            else:
                (plan.register if taken is None else plan.update).append(entry)
        return plan, faults

    async def _apply(self, plan: _Plan) -> None:
        """What goes, goes first: room for what comes."""
        by = Caller("folder", str(self._folder))
        for schedule_id in plan.unregister:
            await self._registry.unregister(schedule_id, by=by, folder=True)
        for entry in plan.moved:
            await self._registry.update(entry.schedule_id, ScheduleChange(source=entry.new.source), by=by)
        for entry in plan.update:
            new = entry.new
            change = ScheduleChange(new.timing, new.target, new.note, new.policy, new.labels, new.source)
            await self._registry.update(new.schedule_id, change, by=by)
        for entry in plan.register:
            await self._registry.register(entry.new, by=by)

    def _not_good(self, now_ms: int, error: str, faults: tuple[Diagnostic, ...]) -> ScheduleFolderStatus:
        for fault in faults:
            _log.error("schedule file: %s", fault)
        _log.error("%s is not in effect, the schedules stay as they are: %s", self._folder, error)
        self.status = replace(self.status, attempted_ms=now_ms, error=error, faults=faults)
        return self.status
