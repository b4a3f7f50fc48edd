"""How a connection to the file is set up, and which engine errors mean what."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import BUSY_TIMEOUT_MS

ENGINE_MIN: Final = (3, 51, 3)
"""Older engines have the WAL-reset bug, which can corrupt a database (sqlite.org/wal.html, section 11)."""

NOTHING_KEPT: Final = "nothing kept"
OUTCOME_UNKNOWN: Final = "unknown"
"""A commit failed and could not be overwritten either: after a restart its rows may be there. Only a disk on which
every write fails gets here."""

_STATEMENTS_CACHED: Final = 200
_CACHE_KIB: Final = 65_536

# What a statement or its bindings did wrong; every other engine error is the engine's own (disk, memory, locks).
_FAULTS_OF_THE_WRITE: Final = (
    apsw.ConstraintError,
    apsw.MismatchError,
    apsw.RangeError,
    apsw.TooBigError,
    apsw.SQLError,
    apsw.BindingsError,
)


def is_engine_failure(error: BaseException) -> bool:
    """True for a failing disk, memory or lock; False for a write that the schema refuses or code that is wrong."""
    return isinstance(error, (apsw.Error, MemoryError, OSError)) and not isinstance(
        error, _FAULTS_OF_THE_WRITE
    )


def unavailable(error: BaseException, what: str, outcome: str = NOTHING_KEPT) -> CuptimeError:
    """The answer when the engine fails: what was tried, what the engine said, and whether something may be left."""
    said = f"{type(error).__name__}: {error}"
    return CuptimeError(
        Reason.STORAGE_UNAVAILABLE,
        f"storage could not {what} ({said}); outcome: {outcome}",
        metadata={"engine": said, "outcome": outcome},
    )


def check_engine(version: str) -> None:
    """Raises CuptimeError(STORAGE_UNAVAILABLE) for an engine older than ENGINE_MIN."""
    if tuple(int(part) for part in version.split(".")[:3]) < ENGINE_MIN:
        wanted = ".".join(map(str, ENGINE_MIN))
        raise CuptimeError(
            Reason.STORAGE_UNAVAILABLE,
            f"SQLite {version} can corrupt a database in WAL mode (the WAL-reset bug); cuptime needs {wanted} or "
            "later: install an apsw that bundles it (pip install 'apsw>=3.54')",
            metadata={"engine": version, "wanted": wanted},
        )


def _open(path: Path, vfs: str) -> apsw.Connection:
    connection = apsw.Connection(
        str(path),
        flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
        vfs=vfs or None,
        statementcachesize=_STATEMENTS_CACHED,
    )
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 0)
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def open_writer(path: Path, vfs: str = "") -> apsw.Connection:
    """The one connection that writes. It checkpoints too, but by hand: `Writer` does so after it has answered."""
    connection = _open(path, vfs)
    mode = connection.execute("PRAGMA journal_mode = WAL").get
    if mode != "wal":
        connection.close()
        raise CuptimeError(
            Reason.STORAGE_UNAVAILABLE,
            f"{path.name} cannot use a write-ahead log (journal mode {mode}); the data folder must be on a local disk",
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.wal_autocheckpoint(0)
    return connection


def open_reader(path: Path, vfs: str = "") -> apsw.Connection:
    """A connection that can only read."""
    connection = _open(path, vfs)
    connection.execute("PRAGMA query_only = ON")
    return connection
