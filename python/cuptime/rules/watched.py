"""A folder of YAML files, or one such file, read whole and watched.

What counts is the content of all of it, not which file changed: an editor that writes twice, or a mounted volume that
swaps a link, is one change. A single file is watched through its folder, because most editors put a new file in its
place. inotify tells nothing of what is behind a link, nor of a link to the folder that is turned to another: once a
second everything in it is looked at, too."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from watchfiles import Change, awatch

from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.diagnostic import Diagnostic
from cuptime.rules.reading import content_of, is_text, shown_name

FILES_MAX: Final = 1_000
SUFFIXES: Final = (".yaml", ".yml")
DEBOUNCE_MS: Final = 100
"""Changes within this time are one change."""
LOOK_AGAIN_S: Final = 1.0
"""A folder that is not there is looked for so often, and one that is there is looked at."""
SETTLE_TRIES_MAX: Final = 50
"""Of DEBOUNCE_MS each: somebody who writes without a pause is read all the same, five seconds later."""

_log = logging.getLogger(__name__)

Changes = Callable[[Path, asyncio.Event], AsyncGenerator[Any, None]]


def read_folder(
    folder: Path, bytes_max: int = RULE_SOURCE_BYTES_MAX
) -> tuple[list[tuple[str, str]], list[Diagnostic], str]:
    """(name, text) of every YAML file in the folder by name, what cannot be read, and the hash of all of it. Reading
    ends soon after `bytes_max`. `folder` may be one file, whatever its suffix. Blocks; raises OSError when the folder,
    or that file, cannot be read."""
    in_folder = folder.is_dir()
    paths = sorted(path for path in folder.iterdir() if _is_meant(path)) if in_folder else [folder]
    sources: list[tuple[str, str]] = []
    faults: list[Diagnostic] = []
    digest = hashlib.blake2b(digest_size=16)
    if len(paths) > FILES_MAX:
        faults.append(Diagnostic("LIMIT_RULES", "", 1, 1, "", f"{len(paths)} files, at most {FILES_MAX}"))
    read_bytes = 0
    for path in paths[:FILES_MAX]:
        if read_bytes > bytes_max:
            # No more than the limit is ever held; a change of what was not read is one all the same.
            digest.update(repr((path.name, _stamp(path))).encode())
            continue
        try:
            content = content_of(path, RULE_SOURCE_BYTES_MAX)
        except OSError as fault:
            if not in_folder:
                raise
            # Without it the folder would say less than is meant.
            message = f"the file cannot be read: {fault.strerror or fault}"
            shown = shown_name(path.name)
            faults.append(Diagnostic("CANNOT_READ", shown, 1, 1, "", message))
            digest.update(f"{shown}: {message}".encode())
            continue
        read_bytes += len(content)
        for part in (os.fsencode(path.name), content):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        if not is_text(path.name):
            shown = shown_name(path.name)
            faults.append(Diagnostic("NOT_UTF8", shown, 1, 1, "", "the name of the file is not UTF-8"))
            continue
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
    if read_bytes > bytes_max:
        message = f"the files have more than {bytes_max} bytes together"
        faults.append(Diagnostic("LIMIT_BYTES", shown_name(folder.name), 1, 1, "", message))
    return sources, faults, digest.hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    """(inode, size, time of change); zeros for what is gone."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_meant(path: Path) -> bool:
    """Is it a file to be read? A link to nothing is, and then a fault; but not the hidden one by which an editor locks
    a file."""
    if path.suffix not in SUFFIXES:
        return False
    return path.is_file() or (path.is_symlink() and not path.exists() and not path.name.startswith("."))


class Watched:
    """Calls `load` after each change, until it is closed."""

    def __init__(
        self, path: Path, load: Callable[[], Awaitable[object]], changes: Changes | None = None
    ) -> None:
        self._path = path
        self._load = load
        self._changes = changes or _inotify
        self._stop = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self.fault = ""
        """Why it is not watched any more."""

    def start(self) -> None:
        """After the first load. What changed since then is seen."""
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        self._stop.set()
        if self._watching is not None:
            with suppress(asyncio.CancelledError):
                await self._watching

    @property
    def _folder(self) -> Path:
        """What is watched. Whether the path is a file is asked each time: it may not be there yet."""
        is_file = self._path.suffix in SUFFIXES and not self._path.is_dir()
        return self._path.parent if is_file else self._path

    async def _watch(self) -> None:
        """Again and again: a folder that was removed and made anew has to be watched anew."""
        while not self._stop.is_set():
            watched = _identity(self._folder)
            if watched is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), LOOK_AGAIN_S)
                continue
            try:
                await self._follow(watched)
            except FileNotFoundError:
                continue
            except Exception as fault:
                _log.exception("%s is not watched any more", self._path)
                self.fault = f"not watched any more: {fault}"
                return

    async def _follow(self, watched: tuple[int, int]) -> None:
        """Loads after each change, until another folder, or none, has its name."""
        async with aclosing(self._changes(self._folder, self._stop)) as changes:
            seen = await asyncio.to_thread(_stamps, self._folder)
            first = asyncio.ensure_future(anext(changes, None))
            try:
                # The first step of the generator sets the watch up. What changed before it, since the last load, nobody
                # would tell; and a file that is being written just now must not be read half.
                await asyncio.sleep(0)
                await self._settled()
                await self._load()
                changed = await first
            finally:
                first.cancel()
                await asyncio.wait([first])
            while changed is not None:
                before, seen = seen, await asyncio.to_thread(_stamps, self._folder)
                if not changed and seen != before:
                    await self._settled()
                if changed or seen != before:
                    await self._load()
                # The number of a folder that was removed may be given to the next one.
                removed = (Change.deleted, str(self._folder)) in changed
                if removed or _identity(self._folder) != watched:
                    return
                changed = await anext(changes, None)

    async def _settled(self) -> None:
        """Returns when nothing has changed for DEBOUNCE_MS, as a change that is told waits for too."""
        seen = await asyncio.to_thread(_stamps, self._folder)
        for _ in range(SETTLE_TRIES_MAX):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), DEBOUNCE_MS / 1_000)
            before, seen = seen, await asyncio.to_thread(_stamps, self._folder)
            if seen == before or self._stop.is_set():
                return


def _stamps(folder: Path) -> dict[str, tuple[int, int, int]]:
    """(inode, size, time of change) of what is in the folder; what goes meanwhile, or cannot be read, has none."""
    stamps: dict[str, tuple[int, int, int]] = {}
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                found = entry.stat()
                stamps[entry.name] = found.st_ino, found.st_size, found.st_mtime_ns
    return stamps


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder has the name now; None when none has it."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _inotify(folder: Path, stop: asyncio.Event) -> AsyncGenerator[Any, None]:
    """What changed; nothing, once in LOOK_AGAIN_S."""
    return awatch(
        folder,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=20,
        stop_event=stop,
        rust_timeout=int(LOOK_AGAIN_S * 1_000),
        yield_on_timeout=True,
        recursive=False,
    )
