"""A VFS that counts the calls that change the disk and fails the Nth, once or for ever."""

from __future__ import annotations

from typing import Any

import apsw

CALLS = ("write", "sync", "truncate")


class Disk:
    """What all files of one VFS share: which calls have been made and which fail."""

    def __init__(self) -> None:
        self.fail_at = 0
        """The number of the call to fail, from 1; 0 is none."""
        self.for_ever = False
        self.only: str | None = None
        """Calls of this kind are counted and failed; None is all."""
        self.calls: list[str] = []
        self.failed = 0

    def arm(self, fail_at: int, *, for_ever: bool, only: str | None) -> None:
        self.fail_at, self.for_ever, self.only, self.calls, self.failed = fail_at, for_ever, only, [], 0

    def mend(self) -> None:
        self.fail_at = 0

    def note(self, call: str, name: str) -> None:
        """Raises the engine's I/O error when it is this call's turn."""
        if self.only not in (None, call):
            return
        self.calls.append(f"{call} {name}")
        number = len(self.calls)
        if self.fail_at and (number == self.fail_at or (self.for_ever and number > self.fail_at)):
            self.failed += 1
            raise (
                apsw.FullError(f"no space for {call} {number}")
                if call == "write"
                else apsw.IOError(f"{call} {number} failed")
            )


class FailingVFS(apsw.VFS):
    """The system's VFS, under the name `name`, whose files ask `disk` first."""

    def __init__(self, name: str, disk: Disk) -> None:
        self.disk = disk
        super().__init__(name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:
        return FailingFile(self.disk, name, flags)


class FailingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.disk = disk
        shown = name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary"
        self.kind = "log" if shown.endswith("-wal") else "database"
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        self.disk.note("write", self.kind)
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:
        self.disk.note("sync", self.kind)
        super().xSync(flags)

    def xTruncate(self, size: int) -> None:
        self.disk.note("truncate", self.kind)
        super().xTruncate(size)
