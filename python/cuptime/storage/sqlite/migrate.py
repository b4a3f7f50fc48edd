"""Versioned migrations: `migrations/NNNN_name.sql`, applied in order, each remembered with its checksum.

A file that was written by a newer Cuptime, or whose schema somebody changed by hand, is refused with what differs:
going on would mean guessing what the rows mean.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

import apsw
from msgspec import Struct

from cuptime.domain.errors import CuptimeError, Reason

_REMEMBER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_ms INTEGER NOT NULL
) STRICT
"""


class Migration(Struct, frozen=True):
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()


def load() -> list[Migration]:
    """The migrations of this build, in order. Raises ValueError when a number is missing or there twice."""
    found = []
    for file in files(__package__).joinpath("migrations").iterdir():
        if file.name.endswith(".sql"):
            number, _, name = file.name.removesuffix(".sql").partition("_")
            found.append(Migration(int(number), name, file.read_text(encoding="utf-8")))
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations must be numbered 1, 2, 3, …")
    return found


def migrate(connection: apsw.Connection, migrations: list[Migration], now_ms: int) -> None:
    """Brings the file to the last migration, in one transaction, and checks that its schema is the one expected.

    Raises CuptimeError(STORAGE_UNAVAILABLE) for a newer, altered or foreign file, which then stays untouched.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _apply(connection, migrations, now_ms)
        _compare(schema_of(connection), _expected_schema(migrations))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_of(connection: apsw.Connection) -> dict[str, str]:
    """The definition of every table and index by name, spaces made one."""
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite~_%' ESCAPE '~'"
    )
    return {str(name): " ".join(str(text).split()) for name, text in rows}


def _apply(connection: apsw.Connection, migrations: list[Migration], now_ms: int) -> None:
    tables = schema_of(connection)
    if tables and "schema_migrations" not in tables:
        raise _refused("the file is a SQLite database, but not one of cuptime's; choose another data folder")
    connection.execute(_REMEMBER)
    applied = connection.execute(
        "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
    ).fetchall()
    if len(applied) > len(migrations):
        version, name, _ = applied[-1]
        raise _refused(
            f"the file was written by a newer cuptime (schema {version} {name}, this one knows {len(migrations)}); "
            "start the newer version, or restore a backup made before the upgrade"
        )
    for (version, name, checksum), migration in zip(applied, migrations):
        if (version, checksum) != (migration.version, migration.checksum):
            raise _refused(
                f"migration {version} {name} of the file is not the {migration.name} of this cuptime"
            )
    for migration in migrations[len(applied) :]:
        connection.execute(migration.text)
        connection.execute(
            "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)",
            (migration.version, migration.name, migration.checksum, now_ms),
        )


def _expected_schema(migrations: list[Migration]) -> dict[str, str]:
    connection = apsw.Connection(":memory:")
    try:
        connection.execute(_REMEMBER)
        for migration in migrations:
            connection.execute(migration.text)
        return schema_of(connection)
    finally:
        connection.close()


def _compare(found: dict[str, str], expected: dict[str, str]) -> None:
    for name in sorted(found.keys() | expected.keys()):
        if found.get(name) != expected.get(name):
            state = (
                "missing"
                if name not in found
                else "unknown"
                if name not in expected
                else "not as it should be"
            )
            raise _refused(f"the schema of the file was altered: {name} is {state}; restore a backup")


def _refused(message: str) -> CuptimeError:
    return CuptimeError(Reason.STORAGE_UNAVAILABLE, message)
