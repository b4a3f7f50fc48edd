"""The audit finds what was planted: a promise broken in storage or in what clients were told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from cuptime.app.morning.audit import Audit, Told
from cuptime.domain.clock import SystemClock
from cuptime.domain.values import Group, GroupState, RiderRow, ShopRow, StockRow, Task, TaskState
from cuptime.domain.writes import (
    InsertDecisions,
    InsertGroup,
    InsertOrders,
    InsertTasks,
    PutRiders,
    PutShops,
    PutStock,
)
from cuptime.storage.sqlite.storage import SqliteStorage

NAME = "groups/10001/orders/1"
ORDER_ID = (1 << 20) | 1
ASKED_MS = 10_000
"""On the day of the decision, and long after it."""
AGAIN = """
    CREATE TEMP TABLE again AS SELECT * FROM decisions;
    UPDATE again SET sequence = 2, attempt = 2;
    INSERT INTO decisions SELECT * FROM again;
"""


@pytest.fixture
async def database(tmp_path: Path) -> Path:
    """One decided group of one cold order, all promises kept."""
    path = tmp_path / "cuptime.db"
    storage = SqliteStorage(path, SystemClock())
    await storage.open()
    fence = await storage.claim(0, "node")
    group = Group(1, 10_001, "p", 1.0, 1.0, 1, 1, 9, 2, 0, 0, GroupState.DECIDED, 1, 1, 5, 3)
    decision = (ORDER_ID, 1, 1, 3, 4, 1, 5, 6, 0, "tea", 2, True, 100, 200, b"")
    await storage.commit(
        fence,
        [
            InsertGroup(group),
            InsertOrders([(ORDER_ID, 7, "a", 0, "tea", 2, 1, 0, 1, b"")]),
            PutShops([ShopRow(3, b"", 1, 1, 1, 1)]),
            PutStock([StockRow(3, "tea", 2)]),
            PutRiders([RiderRow(4, b"", 1, 1, 1)]),
            InsertDecisions([decision]),
        ],
    )
    await storage.close()
    return path


def _violations(path: Path, told: Told | None = None) -> str:
    return "\n".join(Audit(path, told or Told(orders={"a": NAME})).run().violations)


def test_kept_promises_pass(database: Path) -> None:
    assert _violations(database) == ""


@pytest.mark.parametrize(
    ("harm", "found"),
    [
        (f"DELETE FROM orders WHERE order_id = {ORDER_ID}", "acknowledged and not stored"),
        ("UPDATE orders SET request_id = 'b'", "acknowledged and not stored"),
        ("UPDATE groups SET member_count = 2", "member count is not their orders"),
        ("UPDATE groups SET capacity = 0", "more orders than seats"),
        ("UPDATE groups SET state = 2", "completed groups that are not decided"),
        ("UPDATE groups SET state = 1", "full groups that are still open"),
        ("UPDATE groups SET state = 3", "failed groups that were not released"),
        (AGAIN, "decided twice"),
        ("DELETE FROM decisions", "without a decision"),
        ("UPDATE decisions SET outcome = 2", "wait nowhere"),
        ("UPDATE shops SET daily_capacity = 0", "over their daily capacity"),
        ("UPDATE shops SET fridge_slots = 0", "over their fridge slots"),
        ("UPDATE stock SET on_hand = 1", "sold more than once"),
        ("DELETE FROM stock", "shop without their SKU"),
        ("UPDATE riders SET max_load = 0", "over their load"),
        ("UPDATE orders SET state = 2", "cancelled that nobody took back"),
        ("UPDATE orders SET state = 2", "still hold a shop and a rider"),
    ],
)
def test_what_is_planted_is_found(database: Path, harm: str, found: str) -> None:
    db = apsw.Connection(str(database))
    db.execute(harm)
    db.close()
    assert found in _violations(database)


@pytest.mark.parametrize(
    ("order_id", "state", "waits"),
    [
        (ORDER_ID, TaskState.SCHEDULED, True),
        (ORDER_ID, TaskState.FAILED, False),
        (ORDER_ID, TaskState.EXECUTED, False),
        (ORDER_ID + 1, TaskState.SCHEDULED, False),
    ],
)
async def test_only_a_retry_of_its_own_that_will_run_is_a_wait(
    database: Path, order_id: int, state: TaskState, waits: bool
) -> None:
    storage = SqliteStorage(database, SystemClock())
    await storage.open()
    fence = await storage.claim(0, "node")
    payload = f'{{"attempt":2,"orders":[7,{order_id}]}}'.encode()
    task = Task(1, "cuptime.dispatch_retry", payload, 9, 50, 0, 0, state, 1, 1)
    await storage.commit(fence, [InsertTasks([task])])
    await storage.close()
    db = apsw.Connection(str(database))
    db.execute("UPDATE decisions SET outcome = 2")
    db.close()
    assert ("wait nowhere" in _violations(database)) is not waits


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (
            lambda told: told.refused.update(b="X") or told.orders.clear() or told.refused.update(a="X"),
            "refused and yet",
        ),
        (lambda told: told.orders.clear(), "no client was told of"),
        (lambda told: told.wrong.append(["a", "x", "y"]), "not the ones the plan wanted"),
        (lambda told: told.tasks.add("tasks/9"), "tasks acknowledged and not stored"),
        (lambda told: told.acknowledged.add("tasks/9"), "completions acknowledged and not stored"),
        (lambda told: told.executed.update({"k": 2}), "tasks executed twice"),
        (lambda told: told.decisions.update({NAME: {"shops/3", "shops/4"}}), "a shop that nobody decided"),
        (lambda told: told.twice.append("a"), "two different orders"),
        (lambda told: told.cancelled.add(NAME), "taken back and not cancelled"),
        (lambda told: told.shops.append([3, ASKED_MS, 1, []]), "shops/3: 1 orders free, not 0"),
        (lambda told: told.shops.append([3, ASKED_MS, 0, [["tea", 1]]]), "shops/3: 1 of tea free, not 0"),
        (
            lambda told: (told.shops.append([3, ASKED_MS, 0, []]), told.riders.append([4, 1])),
            "riders/4: load 1 free, not 0",
        ),
    ],
)
def test_broken_words_are_found(database: Path, spoil: Callable[[Told], object], found: str) -> None:
    told = Told(orders={"a": NAME})
    spoil(told)
    assert found in _violations(database, told)


def test_who_got_an_order_while_the_counters_were_read_is_not_compared(database: Path) -> None:
    told = Told(orders={"a": NAME}, shops=[[3, 1_000, 1, []]], riders=[[4, 1]])
    audit = Audit(database, told)
    assert audit.run().violations == []
    assert audit.findings.counts["shops and riders compared"] == 0
