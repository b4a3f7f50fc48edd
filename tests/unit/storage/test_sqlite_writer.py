"""Group commit: batches, limits, figures, and faults that must not stop the writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Metrics
from cuptime.domain.values import Fence
from cuptime.domain.writes import InsertGroup, InsertOrders, InsertTasks, PutShops, RememberRequest, Write
from cuptime.storage.sqlite import SqliteStorage, reader, writer
from tests.conftest import WaitUntil
from tests.contract import rows


class Figures:
    """What the writer reported."""

    def __init__(self) -> None:
        self.commits: list[tuple[int, int]] = []
        self.gauges: dict[str, Callable[[], int]] = {}

    def commit(self, units: int, rows: int, seconds: float) -> None:
        assert seconds >= 0
        self.commits.append((units, rows))

    def depth(self, queue: str, depth: Callable[[], int]) -> None:
        self.gauges[queue] = depth


class Owner:
    def __init__(self, storage: SqliteStorage, fence: Fence, figures: Figures) -> None:
        self.storage = storage
        self.fence = fence
        self.figures = figures

    async def all(self, *units: tuple[Write, ...]) -> list[Any]:
        """Commits units at once; answers and refusals."""
        calls = [self.storage.commit(self.fence, unit) for unit in units]
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.fixture
async def owner(tmp_path: Path, wait_until: WaitUntil) -> AsyncIterator[Owner]:
    figures = Figures()
    storage = SqliteStorage(tmp_path / "cuptime.db", ManualClock(), cast("Metrics", figures))
    await storage.open()
    fence = await storage.claim(0, "node")
    await wait_until(lambda: figures.commits, why="figures follow answers")
    figures.commits.clear()
    yield Owner(storage, fence, figures)
    await storage.close()


def group_unit(seq: int) -> tuple[Write, ...]:
    return (InsertGroup(rows.group(seq)),)


async def test_what_waits_together_is_committed_together(owner: Owner, wait_until: WaitUntil) -> None:
    await owner.all(*[group_unit(seq) for seq in range(1, 201)])
    await wait_until(
        lambda: sum(units for units, _ in owner.figures.commits) == 200, why="figures follow answers"
    )
    assert len(owner.figures.commits) < 100
    assert owner.figures.gauges["storage.writer"]() == 0


async def test_a_transaction_has_a_limit_of_units_and_of_rows(
    owner: Owner, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    monkeypatch.setattr(writer, "COMMIT_UNITS_MAX", 10)
    monkeypatch.setattr(writer, "COMMIT_ROWS_MAX", 50)
    await owner.all(*[group_unit(seq) for seq in range(1, 41)])
    await wait_until(lambda: sum(units for units, _ in owner.figures.commits) == 40)
    assert max(units for units, _ in owner.figures.commits) <= 10
    owner.figures.commits.clear()
    tasks = [rows.task(number) for number in range(1, 241)]
    await owner.all(
        *[(InsertTasks(tasks[at : at + 20]),) for at in range(0, 160, 20)], (InsertTasks(tasks[160:]),)
    )
    await wait_until(lambda: sum(count for _, count in owner.figures.commits) == 240)
    assert max(units for units, _ in owner.figures.commits) <= 2
    assert owner.figures.commits[-1] == (1, 80), "a unit above the limit goes alone"


async def test_too_many_waiting_units_are_refused(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "WRITER_PENDING_UNITS_MAX", 0)
    (refusal,) = await owner.all(group_unit(1))
    assert refusal.reason is Reason.OVERLOADED
    assert refusal.metadata == {"queue": "storage.writer", "limit": "0"}
    monkeypatch.undo()
    await owner.storage.commit(owner.fence, group_unit(1))


async def test_whoever_was_refused_hears_when_there_is_room(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WRITER_PENDING_UNITS_MAX", 1)
    burst = asyncio.gather(*[owner.all(group_unit(number)) for number in range(2, 40)])
    for number in range(40, 60):
        for _ in range(100):
            await asyncio.wait_for(owner.storage.room(), 5)
            (answer,) = await owner.all(group_unit(number))
            if not isinstance(answer, CuptimeError):
                break
        assert not isinstance(answer, CuptimeError), "somebody else was always first"
    refused = [answer for answers in await burst for answer in answers if isinstance(answer, CuptimeError)]
    assert {error.reason for error in refused} <= {Reason.OVERLOADED}


async def test_too_many_waiting_reads_are_refused(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "READS_PENDING_MAX", 2)
    answers = await asyncio.gather(*[owner.storage.group(1) for _ in range(5)], return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, CuptimeError)]
    assert [error.reason for error in refused] == [Reason.OVERLOADED] * 3
    assert await owner.storage.group(1) is None


async def test_a_caller_that_gives_up_harms_nobody(owner: Owner) -> None:
    calls = [
        asyncio.ensure_future(owner.storage.commit(owner.fence, group_unit(seq))) for seq in range(1, 21)
    ]
    await owner.storage.sequences()
    for call in calls[::2]:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert all(call.done() and (call.cancelled() or call.exception() is None) for call in calls)
    assert (await owner.all(group_unit(100)))[0].results == ((),)


@pytest.mark.parametrize(
    "wrong",
    [
        InsertOrders([(1, 2, 3)]),
        InsertOrders([tuple("not ten numbers"[:10])]),
        InsertTasks(cast("Any", ["not a task"])),
        InsertOrders([rows.row_of(rows.order(1, 1, created_ms=None))]),
        InsertOrders([rows.row_of(rows.order(1, 1, user_id=2**70))]),
        PutShops(cast("Any", 5)),
        cast("Any", "not a write"),
    ],
    ids=["short", "mistyped", "no-task", "null", "huge", "no-rows", "no-write"],
)
async def test_faulty_units_are_refused_alone(owner: Owner, wrong: Write) -> None:
    units = [group_unit(1), (InsertGroup(rows.group(2)), wrong), (wrong,), group_unit(3)]
    answers = await owner.all(*units)
    shown = [getattr(answer, "reason", None) for answer in answers]
    if not isinstance(answers[1], CuptimeError):  # Found before it came to the writer.
        shown[1] = shown[2] = Reason.INTERNAL
        assert isinstance(answers[1], TypeError)
    assert shown == [None, Reason.INTERNAL, Reason.INTERNAL, None]
    assert (await owner.storage.counts())["groups"] == 2
    assert (await owner.all(group_unit(4)))[0].results == ((),)


async def test_figures_that_fail_harm_nobody(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(units: int, rows: int, seconds: float) -> None:
        raise RuntimeError("no figures today")

    monkeypatch.setattr(owner.figures, "commit", broken)
    for seq in (1, 2):
        assert (await owner.all(group_unit(seq)))[0].results == ((),)


async def test_closing_commits_what_waits(owner: Owner) -> None:
    calls = [
        asyncio.ensure_future(owner.storage.commit(owner.fence, group_unit(seq))) for seq in range(1, 51)
    ]
    await asyncio.gather(*calls[:1])
    await owner.storage.close()
    assert all(call.exception() is None for call in calls if call.done())
    await asyncio.gather(*calls)
    await owner.storage.open()
    assert (await owner.storage.counts())["groups"] == 50


@pytest.mark.parametrize(
    ("writes", "needed"),
    [
        (group_unit(1), False),
        ((RememberRequest(rows.request(1)), InsertOrders([])), False),
        ((InsertOrders([]), InsertTasks([])), False),
        ((InsertOrders([]), RememberRequest(rows.request(1))), True),
    ],
)
def test_a_savepoint_only_where_a_unit_can_be_refused_half_way(
    writes: tuple[Write, ...], needed: bool
) -> None:
    assert writer.needs_savepoint(writes) is needed
