"""A disk that fails at every position of a small workload, once or for ever.

What was acknowledged is there after the file is opened again, what was refused is not, and the file is whole. One
exception is told: a commit that failed at its end and could not be overwritten, because the disk goes on failing, is
answered with outcome «unknown».
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.values import Fence, Outcome
from cuptime.domain.writes import InsertDecisions, InsertGroup, InsertOrders, InsertTasks
from cuptime.storage.sqlite import SqliteStorage, writer
from tests.contract import rows
from tests.unit.storage.failing_disk import Disk, FailingVFS

COMMITS = 5
GROUPS_BEFORE = 2


@pytest.fixture
def disk() -> Iterator[Disk]:
    disk = Disk()
    vfs = FailingVFS("failing", disk)
    yield disk
    vfs.unregister()


@pytest.fixture(autouse=True)
def _checkpoint_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that checkpoints, too, are among the calls that fail."""
    monkeypatch.setattr(writer, "WAL_PAGES_BEFORE_CHECKPOINT", 16)


async def workload(storage: SqliteStorage, fence: Fence, path: Path) -> tuple[set[int], set[int], set[int]]:
    """Group numbers acknowledged, refused, and unknown. The files are checked as they are right after the first answer
    that is not an acknowledgement: a crash just then."""
    acknowledged: set[int] = set()
    refused: set[int] = set()
    unknown: set[int] = set()
    for seq in range(GROUPS_BEFORE + 1, GROUPS_BEFORE + 1 + COMMITS):
        orders = [rows.row_of(rows.order(seq, number, body=b"b" * 900)) for number in range(1, 4)]
        decision = rows.row_of(rows.decision(seq, Outcome.ASSIGNED))
        unit = (
            InsertGroup(rows.group(seq)),
            InsertOrders(orders),
            InsertDecisions([decision]),
            InsertTasks([rows.task(seq)]),
        )
        try:
            await storage.commit(fence, unit)
        except CuptimeError as error:
            if error.reason is not Reason.STORAGE_UNAVAILABLE:
                raise
            first = not refused | unknown
            (unknown if error.metadata["outcome"] == "unknown" else refused).add(seq)
            if first:
                check(crashed(path), acknowledged, refused, unknown)
        else:
            acknowledged.add(seq)
    return acknowledged, refused, unknown


async def prepared(path: Path) -> None:
    """A file with a few groups in it, closed in good order."""
    storage = SqliteStorage(path, ManualClock())
    await storage.open()
    fence = await storage.claim(0, "node")
    for seq in range(1, GROUPS_BEFORE + 1):
        await storage.commit(fence, (InsertGroup(rows.group(seq)),))
    await storage.close()


async def one_run(
    path: Path, disk: Disk, fail_at: int, for_ever: bool, only: str | None
) -> tuple[int, int, int]:
    """Calls made, calls failed, and outcomes unknown, of one workload with a failure at `fail_at`."""
    storage = SqliteStorage(path, ManualClock(), vfs="failing")
    await storage.open()
    fence = await storage.claim(0, "node")
    disk.arm(fail_at, for_ever=for_ever, only=only)
    acknowledged, refused, unknown = await workload(storage, fence, path)
    calls, failed = len(disk.calls), disk.failed
    check(crashed(path), acknowledged, refused, unknown)
    disk.mend()
    later = await storage.commit(fence, (InsertGroup(rows.group(1_000)),))
    assert later.results == ((),), "a mended disk is used again without a restart"
    await storage.close()
    check(path, acknowledged | {1_000}, refused, unknown)
    return calls, failed, len(unknown)


def crashed(path: Path) -> Path:
    """The files as a crash now would leave them: a copy, while the server has them open."""
    copy = path.with_name("crashed.db")
    for ending in ("", "-wal", "-shm"):
        copy.with_name(copy.name + ending).unlink(missing_ok=True)
    for ending in ("", "-wal"):
        shutil.copyfile(f"{path}{ending}", f"{copy}{ending}")
    return copy


def check(path: Path, acknowledged: set[int], refused: set[int], unknown: set[int]) -> None:
    found = what_is_there(path)
    there = acknowledged | set(range(1, GROUPS_BEFORE + 1))
    assert there <= found, "acknowledged and not there"
    assert not found & refused, "refused and there"
    assert found <= there | unknown


def read_column(path: Path, query: str) -> list[int]:
    connection = apsw.Connection(str(path))
    try:
        return [row[0] for row in connection.execute(query)]
    finally:
        connection.close()


def what_is_there(path: Path) -> set[int]:
    """Group numbers of a file whose every group is whole. The file must pass the engine's own check."""
    connection = apsw.Connection(str(path))

    def column(query: str) -> list[int]:
        return [row[0] for row in connection.execute(query)]

    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    found = set(column("SELECT group_seq FROM groups"))
    whole = sorted(found - {1_000} - set(range(1, GROUPS_BEFORE + 1)))
    assert column("SELECT order_id >> 20 FROM orders ORDER BY 1") == [seq for seq in whole for _ in range(3)]
    assert column("SELECT order_id FROM decisions ORDER BY sequence") == whole
    assert column("SELECT order_id FROM assignments ORDER BY 1") == whole
    assert column("SELECT task_id FROM tasks ORDER BY 1") == whole
    sequences = column("SELECT sequence FROM decisions ORDER BY 1")
    assert sequences == list(range(1, len(whole) + 1)), "a refused commit used up no sequence"
    connection.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "for_ever"),
    [(None, False), (None, True), ("write", True), ("sync", True)],
    ids=["any-once", "any-for-ever", "write-for-ever", "sync-for-ever"],
)
async def test_nothing_acknowledged_is_lost_and_nothing_refused_is_kept(
    tmp_path: Path, disk: Disk, only: str | None, for_ever: bool
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    await prepared(made / "cuptime.db")
    position, calls, failures, unknowns = 0, 1, 0, 0
    while position < calls:  # The first run without a failure left is the last.
        position += 1
        folder = tmp_path / f"at-{position}"
        shutil.copytree(made, folder)
        calls, failed, unknown = await one_run(folder / "cuptime.db", disk, position, for_ever, only)
        failures += failed
        unknowns += unknown
        shutil.rmtree(folder)
    assert position >= (COMMITS if only == "sync" else 4 * COMMITS), "too few positions to prove anything"
    assert failures >= position - 1
    assert for_ever or unknowns == 0, "a disk that works again leaves no outcome unknown"


async def test_after_settling_a_restart_finds_what_is_read(tmp_path: Path, disk: Disk) -> None:
    """A commit whose outcome is unknown: its rows are in the log, whole, and reads do not see them."""
    unsure = 0
    for position in range(1, 9):
        path = tmp_path / f"{position}" / "cuptime.db"
        path.parent.mkdir()
        await prepared(path)
        storage = SqliteStorage(path, ManualClock(), vfs="failing")
        await storage.open()
        fence = await storage.claim(0, "node")
        disk.arm(position, for_ever=True, only="sync" if position % 2 else None)
        with pytest.raises(CuptimeError) as failure:
            for seq in range(1_001, 1_100):
                await storage.commit(fence, (InsertGroup(rows.group(seq)),))
        with pytest.raises(CuptimeError):
            await storage.settle()
        disk.mend()
        await storage.settle()
        there = await storage.group_by_seq(seq) is not None
        found = seq in set(read_column(crashed(path), "SELECT group_seq FROM groups"))
        assert there == found
        unsure += failure.value.metadata["outcome"] == "unknown"
        await storage.close()
    assert unsure, "no outcome was unknown"


async def test_a_start_on_a_full_disk_says_so(tmp_path: Path, disk: Disk) -> None:
    for position in range(1, 8):
        disk.arm(position, for_ever=True, only=None)
        storage = SqliteStorage(tmp_path / f"{position}" / "cuptime.db", ManualClock(), vfs="failing")
        with pytest.raises(CuptimeError, match="storage could not open") as refused:
            await storage.open()
        assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
        disk.mend()
        await storage.open()
        assert await storage.claim(0, "node") == Fence(0, 1)
        await storage.close()
