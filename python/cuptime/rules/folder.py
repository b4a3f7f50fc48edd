"""A folder of rule files, watched: all `*.yaml` in it are one rule set, in the order of their names.

    change (inotify) -> read all -> content hash new? -> check, compile -> publish as a revision
                                                            | faults: reported with their places, nothing replaced

What counts is the content of the whole folder, not which file changed: an editor that writes twice, or a mounted volume
that swaps a link, is one change. At the start the folder is published only when its content is not what the folder
published last: a revision that came by RPC since then stays live.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace
from watchfiles import Change, awatch

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError
from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.book import RuleBook, RulesInvalid
from cuptime.rules.diagnostic import Diagnostic, summary

FILES_MAX: Final = 1_000
SUFFIXES: Final = (".yaml", ".yml")
REVISIONS_LOOKED_AT_MAX: Final = 1_000
DEBOUNCE_MS: Final = 100
"""Changes within this time are one change."""
LOOK_AGAIN_S: Final = 1.0
"""A folder that is not there is looked for so often."""
NOTE: Final = "folder, content "

_log = logging.getLogger(__name__)

Changes = Callable[[Path, asyncio.Event], AsyncGenerator[Any, None]]


class FolderStatus(Struct, frozen=True):
    """How the folder stands: what it published, and what its content now is worth."""

    folder: str
    revision: int = 0
    """The live one after the last attempt that was good."""
    content: str = ""
    """Hash of the content tried last."""
    files: int = 0
    rule_count: int = 0
    attempted_ms: int = 0
    succeeded_ms: int = 0
    error: str = ""
    """Empty when the content tried last is good."""
    faults: tuple[Diagnostic, ...] = ()


def read_folder(folder: Path) -> tuple[list[tuple[str, str]], list[Diagnostic], str]:
    """(name, text) of every rule file by name, what cannot be read, and the hash of all of it. Blocks."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES and path.is_file())
    sources: list[tuple[str, str]] = []
    faults: list[Diagnostic] = []
    digest = hashlib.blake2b(digest_size=16)
    if len(paths) > FILES_MAX:
        faults.append(Diagnostic("LIMIT_RULES", "", 1, 1, "", f"{len(paths)} files, at most {FILES_MAX}"))
    for path in paths[:FILES_MAX]:
        with path.open("rb") as file:
            content = file.read(RULE_SOURCE_BYTES_MAX + 1)
        for part in (path.name.encode(), content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as fault:
            line = content.count(b"\n", 0, fault.start) + 1
            column = len(content[content.rfind(b"\n", 0, fault.start) + 1 : fault.start].decode()) + 1
            faults.append(
                Diagnostic("NOT_UTF8", path.name, line, column, "", f"byte {fault.start} is not UTF-8")
            )
        else:
            sources.append((path.name, text))
    return sources, faults, digest.hexdigest()


class RuleFolder:
    """Loads the folder, and again whenever something in it changes."""

    def __init__(self, book: RuleBook, folder: Path, clock: Clock, changes: Changes | None = None) -> None:
        self._book = book
        self._folder = folder
        self._clock = clock
        self._changes = changes or _inotify
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._loading = asyncio.Lock()
        self.status = FolderStatus(str(folder))

    async def start(self) -> FolderStatus:
        """Loads once, then watches. Content that is bad, or a folder that is not there, is in the status: the revision
        that storage has stays live."""
        seen = _identity(self._folder)
        await self.load(first=True)
        self._watching = asyncio.get_running_loop().create_task(self._watch(seen))
        return self.status

    async def close(self) -> None:
        """Stops watching."""
        self._stop.set()
        if self._watching is not None:
            with suppress(asyncio.CancelledError):
                await self._watching

    async def load(self, *, first: bool = False) -> FolderStatus:
        """Reads the folder and publishes it when its content is new and good."""
        async with self._loading:
            now_ms = self._clock.now_ms()
            try:
                sources, faults, content = await asyncio.to_thread(read_folder, self._folder)
            except OSError as fault:
                return self._not_good(now_ms, f"the folder cannot be read: {fault.strerror or fault}", ())
            if content == self.status.content:
                return self.status
            self.status = replace(self.status, content=content, files=len(sources))
            if not sources and not faults:
                return self._not_good(now_ms, "there are no *.yaml files in the folder", ())
            if first and not faults and await self._published_last() == content:
                return self._good(now_ms)
            return await self._publish(now_ms, sources, faults, content)

    async def _publish(
        self, now_ms: int, sources: list[tuple[str, str]], faults: list[Diagnostic], content: str
    ) -> FolderStatus:
        built = await self._book.built(sources)
        faults = [*faults, *built.faults]
        if faults:
            return self._not_good(now_ms, summary(faults), tuple(faults))
        try:
            await self._book.publish_built(built, NOTE + content)
        except RulesInvalid as refusal:
            return self._not_good(now_ms, str(refusal), refusal.diagnostics)
        except CuptimeError as refusal:
            # Not the content's fault: the next change, or the next start, tries it again.
            self.status = replace(self.status, content="")
            return self._not_good(now_ms, str(refusal), ())
        return self._good(now_ms)

    async def _published_last(self) -> str:
        """The content hash of the newest revision that came from the folder; "" when there is none."""
        before, looked_at = 2**62, 0
        while looked_at < REVISIONS_LOOKED_AT_MAX:
            rows = await self._book.page(before=before, limit=100)
            for row in rows:
                if row.note.startswith(NOTE):
                    return row.note.removeprefix(NOTE)
            if not rows:
                break
            before, looked_at = rows[-1].revision, looked_at + len(rows)
        return ""

    def _good(self, now_ms: int) -> FolderStatus:
        active = self._book.active
        self.status = replace(
            self.status,
            revision=self._book.snapshot().revision,
            rule_count=active.rule_count if active is not None else 0,
            attempted_ms=now_ms,
            succeeded_ms=now_ms,
            error="",
            faults=(),
        )
        return self.status

    def _not_good(self, now_ms: int, error: str, faults: tuple[Diagnostic, ...]) -> FolderStatus:
        for fault in faults:
            _log.error("rule file: %s", fault)
        _log.error(
            "rules in %s are not live, revision %d stays: %s",
            self._folder,
            self._book.snapshot().revision,
            error,
        )
        self.status = replace(
            self.status,
            revision=self._book.snapshot().revision,
            attempted_ms=now_ms,
            error=error,
            faults=faults,
        )
        return self.status

    async def _watch(self, seen: tuple[int, int] | None) -> None:
        """Again and again: a folder that was removed and made anew has to be watched anew. `seen`: the one that is
        loaded."""
        while not self._stop.is_set():
            watched = _identity(self._folder)
            if watched is None:
                seen = None
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), LOOK_AGAIN_S)
                continue
            if watched != seen:
                seen = watched
                await self.load()
            try:
                await self._follow(watched)
            except FileNotFoundError:
                continue
            except Exception as fault:
                _log.exception("the rules folder is not watched any more")
                self.status = replace(self.status, error=f"not watched any more: {fault}")
                return

    async def _follow(self, watched: tuple[int, int]) -> None:
        """Loads after each change, until another folder, or none, has its name."""
        async with aclosing(self._changes(self._folder, self._stop)) as changes:
            async for changed in changes:
                await self.load()
                # The number of a folder that was removed may be given to the next one.
                removed = (Change.deleted, str(self._folder)) in changed
                if removed or _identity(self._folder) != watched:
                    return


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder has the name now; None when none has it."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _inotify(folder: Path, stop: asyncio.Event) -> AsyncGenerator[Any, None]:
    return awatch(folder, watch_filter=None, debounce=DEBOUNCE_MS, step=20, stop_event=stop, recursive=False)
