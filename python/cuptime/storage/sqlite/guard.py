"""One server per file: a second one is refused when it opens.

An advisory lock on `<file>.lock` beside the database, held as long as the process lives (the kernel drops it with the
process, so a crash leaves nothing to clean up). SQLite itself would let both write, and their counters in memory would
then disagree with storage.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from cuptime.domain.errors import CuptimeError, Reason


class FileWatch:
    """Are the database and its log still the files that were opened? Somebody may delete or replace them under a
    running server; the kernel lets it go on writing into files that nobody will find again. Two calls of `stat`."""

    def __init__(self, database: Path) -> None:
        self._paths = (database, database.with_name(database.name + "-wal"))
        self._opened: tuple[tuple[int, int] | None, ...] = ()

    def begin(self) -> None:
        """After the first commit: both files are there."""
        self._opened = tuple(map(_identity, self._paths))

    def missing(self) -> str:
        """The name of the file that is not the one opened, "" when all is well."""
        for path, opened in zip(self._paths, self._opened):
            if opened is not None and _identity(path) != opened:
                return path.name
        return ""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class FileGuard:
    """Holds the lock of a database file between `take` and `free`."""

    def __init__(self, database: Path) -> None:
        self.path = database.with_name(database.name + ".lock")
        self._descriptor = -1

    def take(self) -> None:
        """Raises CuptimeError(STORAGE_UNAVAILABLE) naming the process that has the file."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise CuptimeError(
                Reason.STORAGE_UNAVAILABLE,
                f"another server (pid {holder}) has {self.path.name.removesuffix('.lock')} open; "
                "stop it, or start this one with a data folder of its own",
                metadata={"pid": holder},
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def free(self) -> None:
        """Lets the file go; the lock file itself stays, since removing it would race with the next server."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
