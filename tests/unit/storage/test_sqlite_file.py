"""The file: engine, pragmas, migrations, one server at a time, and what is in it after it is opened again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import pytest

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Fence
from cuptime.domain.writes import InsertGroup
from cuptime.storage.sqlite import SqliteStorage, connection, migrate
from tests.contract import rows


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "cuptime.db"


async def opened(file: Path) -> SqliteStorage:
    storage = SqliteStorage(file, ManualClock(77))
    await storage.open()
    return storage


async def refused(file: Path) -> str:
    """The message of the refusal to open the file."""
    storage = SqliteStorage(file, ManualClock())
    with pytest.raises(CuptimeError) as refusal:
        await storage.open()
    assert refusal.value.reason is Reason.STORAGE_UNAVAILABLE
    return refusal.value.message


def edit(file: Path, statement: str) -> None:
    database = apsw.Connection(str(file))
    database.execute(statement)
    database.close()


async def test_what_was_committed_is_there_again(file: Path) -> None:
    storage = await opened(file)
    fence = await storage.claim(0, "node")
    await storage.commit(fence, [InsertGroup(rows.group(1))])
    await storage.close()
    for _ in range(2):
        await storage.open()
        assert await storage.group_by_seq(1) == rows.group(1)
        await storage.close()
    again = await opened(file)
    assert await again.claim(0, "node") == Fence(0, 2), "epochs outlive the process"
    await again.close()


@pytest.mark.parametrize("ending", ["", "-wal"])
@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_deleted_under_the_server_is_noticed(file: Path, ending: str, replaced: bool) -> None:
    """Whatever is acknowledged is in a file that somebody will find."""
    storage = await opened(file)
    fence = await storage.claim(0, "node")
    lost: list[bool] = []
    storage.on_lost = lambda: lost.append(True)
    for seq in range(1, 4):
        await storage.commit(fence, [InsertGroup(rows.group(seq))])
    gone = file.with_name(file.name + ending)
    if replaced:
        copy = file.with_name("copy")
        copy.write_bytes(gone.read_bytes())
        os.replace(copy, gone)
    else:
        gone.unlink()
    for seq, outcome in ((4, "unknown"), (5, "nothing kept"), (6, "nothing kept")):
        with pytest.raises(CuptimeError, match="deleted or replaced") as refusal:
            await storage.commit(fence, [InsertGroup(rows.group(seq))])
        assert refusal.value.reason is Reason.STORAGE_UNAVAILABLE
        assert refusal.value.metadata == {"file": gone.name, "outcome": outcome}
    assert lost == [True]
    await storage.close()


# --- engine -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.17"])
def test_an_engine_with_the_wal_bug_is_refused(version: str) -> None:
    with pytest.raises(CuptimeError, match=r"needs 3\.51\.3 or later: install") as refusal:
        connection.check_engine(version)
    assert refusal.value.metadata == {"engine": version, "wanted": "3.51.3"}


@pytest.mark.parametrize("version", ["3.51.3", "3.54.1", "4.0.0", apsw.sqlite_lib_version()])
def test_a_mended_engine_is_taken(version: str) -> None:
    connection.check_engine(version)


async def test_the_old_engine_is_refused_at_open(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apsw, "sqlite_lib_version", lambda: "3.40.1")
    assert "can corrupt" in await refused(file)
    assert os.listdir(file.parent.parent) == []


def test_pragmas(tmp_path: Path) -> None:
    file = tmp_path / "cuptime.db"
    writer, reader = connection.open_writer(file), connection.open_reader(file)
    wanted = {
        "journal_mode": "wal", "synchronous": 2, "busy_timeout": 5_000, "cache_size": -65_536, "foreign_keys": 1,
        "temp_store": 2, "trusted_schema": 0,
    }  # fmt: skip
    assert {name: writer.pragma(name) for name in wanted} == wanted
    assert writer.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, -1)
    with pytest.raises(apsw.SQLError):
        writer.execute('SELECT "not a column"')
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("CREATE TABLE t (a)")
    reader.close()
    writer.close()


# --- one server ---------------------------------------------------------------------------------------------------
async def test_a_second_server_is_refused_naming_the_first(file: Path) -> None:
    storage = await opened(file)
    assert f"another server (pid {os.getpid()}) has cuptime.db open" in await refused(file)
    link = file.with_name("link.db")
    link.symlink_to(file)
    assert "another server" in await refused(link), "by whatever name"
    await storage.close()
    await (await opened(file)).close()


async def test_a_killed_server_leaves_no_lock(file: Path, repo: Path) -> None:
    program = """
import asyncio, sys
from pathlib import Path
from cuptime.domain.clock import SystemClock
from cuptime.storage.sqlite import SqliteStorage
async def main():
    await SqliteStorage(Path(sys.argv[1]), SystemClock()).open()
    print("open", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""
    server = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs in this loop
        [sys.executable, "-c", program, str(file)], cwd=repo, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert server.stdout is not None
    watchdog = threading.Timer(30, server.kill)
    watchdog.start()
    assert server.stdout.readline() == "open\n", "the other server did not open within 30 s"
    watchdog.cancel()
    assert f"pid {server.pid}" in await refused(file)
    server.send_signal(signal.SIGKILL)
    server.communicate(timeout=30)
    await (await opened(file)).close()


# --- migrations ---------------------------------------------------------------------------------------------------
async def test_migrations_are_remembered(file: Path) -> None:
    await (await opened(file)).close()
    await (await opened(file)).close()
    database = apsw.Connection(str(file))
    stored = database.execute("SELECT version, name, checksum, applied_ms FROM schema_migrations").fetchall()
    database.close()
    assert stored == [(m.version, m.name, m.checksum, 77) for m in migrate.load()]


async def test_a_newer_file_is_refused(file: Path) -> None:
    await (await opened(file)).close()
    edit(file, "INSERT INTO schema_migrations VALUES (99, 'from_the_future', 'x', 0)")
    assert "newer cuptime (schema 99 from_the_future" in await refused(file)


async def test_a_changed_migration_is_refused(file: Path) -> None:
    await (await opened(file)).close()
    edit(file, "UPDATE schema_migrations SET checksum = 'x' WHERE version = 1")
    assert "migration 1 start of the file is not the start" in await refused(file)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("DROP INDEX schedules_live", "schedules_live is missing"),
        ("CREATE TABLE extra (a)", "extra is unknown"),
        ("ALTER TABLE orders ADD COLUMN extra TEXT", "orders is not as it should be"),
    ],
)
async def test_an_altered_schema_is_refused(file: Path, statement: str, told: str) -> None:
    await (await opened(file)).close()
    edit(file, statement)
    assert told in await refused(file)


async def test_a_foreign_database_is_refused_and_left_alone(file: Path) -> None:
    file.parent.mkdir()
    edit(file, "CREATE TABLE theirs (a)")
    assert "not one of cuptime's" in await refused(file)
    database = apsw.Connection(str(file))
    assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    database.close()


async def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    file.parent.mkdir()
    with open(file, "wb") as text:  # noqa: ASYNC230 - nothing else runs in this loop
        text.write(b"not a database, only a text" * 100)
    assert "NotADBError" in await refused(file)


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    database = connection.open_writer(tmp_path / "cuptime.db")
    first = migrate.Migration(1, "first", "CREATE TABLE a (x)")
    migrate.migrate(database, [first], 5)
    broken = migrate.Migration(2, "second", "CREATE TABLE b (x); CREATE TABLE a (x)")
    with pytest.raises(apsw.SQLError):
        migrate.migrate(database, [first, broken], 6)
    assert set(migrate.schema_of(database)) == {"schema_migrations", "a"}
    mended = migrate.Migration(2, "second", "CREATE TABLE b (x)")
    migrate.migrate(database, [first, mended], 7)
    assert database.execute("SELECT version, applied_ms FROM schema_migrations").fetchall() == [
        (1, 5),
        (2, 7),
    ]
    database.close()
