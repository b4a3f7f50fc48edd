"""`kill -9` of a real server in the middle of retention sweeps: what counts stays, what is old goes, all or none."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from typing import Any, Final

import apsw
import pytest

from cuptime.app.served import ServedProcess
from cuptime.domain.clock import SystemClock
from cuptime.domain.values import GroupState, TaskState, order_id_of
from cuptime.domain.writes import (
    InsertGroup,
    InsertOrders,
    InsertTasks,
    MoveGroups,
    OpenInterventions,
    RetireAssignments,
    Write,
)
from cuptime.storage.sqlite import SqliteStorage
from tests.conftest import WaitUntil
from tests.contract import rows
from tests.contract.shard import decisions

DAY_MS: Final = 86_400_000
GROUPS: Final = 2_400
SIZE: Final = 10
LARGE: Final = 1_500
LARGE_SEQ: Final = 7
TASKS: Final = 12_000
KILLS: Final = 6
HELD_EVERY: Final = 40
"""Of so many groups one waits for a person."""
WAIT_S: Final = 90.0


def _group(seq: int, size: int, at_ms: int, held: bool) -> list[Write]:
    ids = [order_id_of(seq, number) for number in range(1, size + 1)]
    assigned = ids[1:] if held else ids
    made: list[Write] = [
        InsertGroup(rows.group(seq, created_ms=at_ms, deadline_ms=at_ms + 60_000, capacity=size)),
        InsertOrders([rows.row_of(rows.order(seq, n, created_ms=at_ms)) for n in range(1, size + 1)]),
        decisions(
            *(rows.decision(i, decided_ms=at_ms, pack_out_ms=at_ms, pickup_ms=at_ms) for i in assigned)
        ),
        RetireAssignments(assigned),
        MoveGroups(GroupState.DECIDED, (GroupState.OPEN,), [(seq, at_ms, size)], at_ms),
    ]
    return [*made, OpenInterventions([rows.intervention(ids[0], created_ms=at_ms)])] if held else made


def _recent(seq: int) -> bool:
    return seq % 12 == 0


def _held(seq: int) -> bool:
    return seq % HELD_EVERY == 0


def _task(task_id: int, now_ms: int) -> Any:
    at_ms = now_ms - (3_600_000 if _recent(task_id) else 2 * DAY_MS)
    live = task_id % 50 == 0
    state = TaskState.SCHEDULED if live else TaskState.EXECUTED
    due_ms = now_ms + DAY_MS if live else at_ms
    return rows.task(task_id, state=state, due_ms=due_ms, created_ms=at_ms, updated_ms=at_ms, context=None)


async def _history(data: Path, now_ms: int) -> None:
    """Groups and tasks of two days ago, and some of an hour ago."""
    storage = SqliteStorage(data / "cuptime.db", SystemClock())
    await storage.open()
    fence = await storage.claim(0, "history")
    for first in range(1, GROUPS + 1, 100):
        writes: list[Write] = []
        for seq in range(first, first + 100):
            at_ms = now_ms - (3_600_000 if _recent(seq) else 2 * DAY_MS)
            writes += _group(seq, LARGE if seq == LARGE_SEQ else SIZE, at_ms, held=_held(seq))
        await storage.commit(fence, writes)
    for first in range(1, TASKS + 1, 1_000):
        made = [_task(task_id, now_ms) for task_id in range(first, first + 1_000)]
        await storage.commit(fence, [InsertTasks(made)])
    await storage.close()


class Looked:
    """The file as a reader sees it, in one snapshot."""

    def __init__(self, path: Path) -> None:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(10_000)
        with connection:
            self.gone: dict[str, int] = dict(
                connection.execute("SELECT kind, rows FROM forgotten").fetchall()
            )
            self.groups = {row[0] for row in connection.execute("SELECT group_seq FROM groups")}
            counted = "SELECT order_id >> 20, count(*) FROM {} GROUP BY 1"
            self.orders, self.decisions, self.assignments = (
                dict(connection.execute(counted.format(table)).fetchall())
                for table in ("orders", "decisions", "assignments")
            )
            self.tasks = {row[0] for row in connection.execute("SELECT task_id FROM tasks")}
            self.last = connection.execute("SELECT last_id FROM forgotten WHERE kind = 'decisions'").get
            self.sequence = connection.execute("SELECT max(sequence) FROM decisions").get
        connection.close()

    def whole(self) -> None:
        """A group is there with all that it has, or not at all; the one of thousands goes in parts, each whole."""
        assert self.orders.keys() == self.groups
        for seq, count in self.orders.items():
            if seq != LARGE_SEQ:
                assert count == SIZE, seq
            assigned = count - _held(seq)
            assert self.decisions.get(seq, 0) == self.assignments.get(seq, 0) == assigned, seq
        total = (GROUPS - 1) * SIZE + LARGE
        assert sum(self.orders.values()) + self.gone["orders"] == total
        assert len(self.groups) + self.gone["groups"] == GROUPS
        assert len(self.tasks) + self.gone["tasks"] == TASKS


def _more_gone(path: Path, wanted: int) -> bool:
    return _gone(path) > wanted


def _gone(path: Path) -> int:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(10_000)
    count: int = connection.execute("SELECT sum(rows) FROM forgotten").get
    connection.close()
    return count


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kills_in_the_middle_of_sweeps(tmp_path: Path, wait_until: WaitUntil) -> None:
    now_ms = SystemClock().now_ms()
    server = ServedProcess(tmp_path, "--retain-days", "1", "--retain-tasks-days", "1")
    await _history(server.data, now_ms)
    path = server.data / "cuptime.db"
    expected_groups = {seq for seq in range(1, GROUPS + 1) if _recent(seq) or _held(seq)}
    expected_tasks = {n for n in range(1, TASKS + 1) if _recent(n) or n % 50 == 0}
    # Held groups have one decision and assignment less, and an intervention.
    left = GROUPS * (1 + 3 * SIZE) + 3 * (LARGE - SIZE) - GROUPS // HELD_EVERY + TASKS
    rng = random.Random(11)
    try:
        for number in range(KILLS):
            server.start()
            # Somewhere in it: after so many rows more.
            wanted = _gone(path) + rng.randrange(1, left // (2 * KILLS))
            await wait_until(partial(_more_gone, path, wanted), WAIT_S, "rows are removed")
            server.kill()
            looked = Looked(path)
            looked.whole()
            assert expected_groups <= looked.groups
            assert expected_tasks <= looked.tasks
            assert number < 3 or looked.gone["orders"] > 0
        server.start()
        kept = len(expected_groups) * (1 + 3 * SIZE) - GROUPS // HELD_EVERY + len(expected_tasks)
        await wait_until(partial(_more_gone, path, left - kept - 1), WAIT_S, "all that is old is removed")
        looked = Looked(path)
        assert (looked.groups, looked.tasks) == (expected_groups, expected_tasks)
        looked.whole()
        assert looked.last < looked.sequence
        shown = server.metrics()
        assert 'cuptime_retention_removed_total{kind="tasks"}' in shown
    finally:
        code = server.stop()
    assert code == 0, server.log_tail()
    assert "retention: " in server.log.read_text()
    connection = apsw.Connection(str(path))
    assert connection.execute("PRAGMA integrity_check").get == "ok"
    connection.close()
