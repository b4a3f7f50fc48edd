"""A folder of rule files, watched: all `*.yaml` in it are one rule set, in the order of their names.

    change (inotify) -> read all -> content hash new? -> check, compile -> publish as a revision
                                                            | faults: reported with their places, nothing replaced

What counts is the content of the whole folder, not which file changed: an editor that writes twice, or a mounted volume
that swaps a link, is one change. At the start the folder is published only when its content is not what the folder
published last: a revision that came by RPC since then stays live.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError
from cuptime.rules.book import RuleBook, RulesInvalid
from cuptime.rules.diagnostic import Diagnostic, summary
from cuptime.rules.standing import Attempt, Origin
from cuptime.rules.watched import Changes, Watched, read_folder

REVISIONS_LOOKED_AT_MAX: Final = 1_000
NOTE: Final = "folder, content "

_log = logging.getLogger(__name__)


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


class RuleFolder:
    """Loads the folder, and again whenever something in it changes."""

    def __init__(self, book: RuleBook, folder: Path, clock: Clock, changes: Changes | None = None) -> None:
        self._book = book
        self._folder = folder
        self._clock = clock
        self._watched = Watched(folder, self.load, changes)
        self._loading = asyncio.Lock()
        self.status = FolderStatus(str(folder))
        self._when_readable: FolderStatus | None = None
        """How it stood before it could not be read."""

    async def start(self) -> FolderStatus:
        """Loads once, then watches. Content that is bad, or a folder that is not there, is in the status: the revision
        that storage has stays live."""
        await self.load(first=True)
        self._watched.start()
        return self.status

    async def close(self) -> None:
        """Stops watching."""
        await self._watched.close()

    async def load(self, *, first: bool = False) -> FolderStatus:
        """Reads the folder and publishes it when its content is new and good."""
        async with self._loading:
            now_ms, began_ms = self._clock.now_ms(), self._clock.monotonic_ms()
            try:
                sources, faults, content = await asyncio.to_thread(read_folder, self._folder)
            except OSError as fault:
                self._when_readable = self._when_readable or self.status
                return self._not_good(now_ms, f"the folder cannot be read: {fault.strerror or fault}", ())
            came_back = self._when_readable is not None
            if self._when_readable is not None:
                self.status, self._when_readable = self._when_readable, None
            if content == self.status.content:
                if came_back and not self.status.error:
                    return self._live_already(now_ms)
                return self.status
            self.status = replace(self.status, content=content, files=len(sources))
            if not sources and not faults:
                return self._not_good(now_ms, "there are no *.yaml files in the folder", ())
            if first and not faults and await self._published_last() == content:
                return self._live_already(now_ms)
            return await self._publish(now_ms, began_ms, sources, faults, content)

    async def _publish(
        self,
        now_ms: int,
        began_ms: int,
        sources: list[tuple[str, str]],
        faults: list[Diagnostic],
        content: str,
    ) -> FolderStatus:
        built = await self._book.built(sources)
        faults = [*faults, *built.faults]
        if faults:
            return self._not_good(now_ms, summary(faults), tuple(faults))
        try:
            await self._book.publish_folder(built, NOTE + content, str(self._folder), began_ms)
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

    def _live_already(self, now_ms: int) -> FolderStatus:
        """An attempt that was good and had nothing to publish."""
        active = self._book.active
        self._book.standing.good(
            Attempt(
                Origin.FOLDER,
                str(self._folder),
                now_ms,
                revision=self._book.snapshot().revision,
                rule_count=active.rule_count if active is not None else 0,
            )
        )
        return self._good(now_ms)

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
        self._book.standing.bad(Origin.FOLDER, str(self._folder), now_ms, error, faults)
        return self.status
