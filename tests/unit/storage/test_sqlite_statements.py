"""SQL by name: the reader of the files, and every statement against the schema."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from cuptime.domain.values import TaskState
from cuptime.storage.sqlite import migrate, statements
from cuptime.storage.sqlite.rows import task_row
from tests.contract import rows

SEARCHES_ONLY = {
    "order", "orders_between", "task", "tasks_by_id", "group_by_id", "group_by_seq", "latest_decision", "refusal",
    "schedule_live", "schedule_last", "request", "executed_result", "open_interventions", "refusals_since",
    "decisions_of_group", "move_tasks_to_triggered", "lease_tasks", "replace_task", "cancel_tasks_of_schedule",
    "live_firings_where",
    "release_orders", "undecided_orders", "groups_newest_in_state", "forget_requests", "forget_refusals",
    "live_assignments", "retire_assignments", "cups_to_retire", "use_stock", "standing_assignments",
}  # fmt: skip


def test_blocks_and_parts() -> None:
    text = "-- a word\n-- part: cols\na,\n  b\n-- name: one\nSELECT {cols}\nFROM t;\n\n"
    text += "-- why\n-- name: two\nSELECT 2;\n"
    assert statements.parse(text) == {"one": "SELECT a,\n  b\nFROM t", "two": "SELECT 2"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT 1;", "outside a block"),
        ("-- name: one\nSELECT 1;\n-- name: one\nSELECT 2;", "one is there twice"),
    ],
)
def test_what_is_no_statement_file(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        statements.parse(text)


def test_an_unknown_part_or_name() -> None:
    with pytest.raises(KeyError):
        statements.parse("-- name: one\nSELECT {cols};")
    with pytest.raises(statements.StatementMissing):
        statements.sql("no such statement")


@pytest.fixture(scope="module")
def database() -> apsw.Connection:
    database = apsw.Connection(":memory:")
    migrate.migrate(database, migrate.load(), 0)
    return database


@pytest.mark.parametrize("name", sorted(statements.load()))
def test_statement_fits_the_schema(database: apsw.Connection, name: str) -> None:
    """It compiles, and those on the hot path search by an index and never read a whole table."""
    text = statements.load()[name]
    count = max([text.count("?")] + [int(number) for number in re.findall(r"\?(\d+)", text)])
    plan = database.execute(f"EXPLAIN QUERY PLAN {text}", (1,) * _bindings(database, text, count)).fetchall()
    if name in SEARCHES_ONLY:
        scans = [
            str(step[3])
            for step in plan
            if str(step[3]).startswith("SCAN") and "VIRTUAL TABLE" not in str(step[3])
        ]
        assert not scans, plan


@pytest.mark.parametrize(
    ("name", "bindings"),
    [
        ("cancel_tasks_of_schedule", (5, 2, 90, 1)),
        ("live_firings_where", (0, 1_000, int(TaskState.SCHEDULED), None, None, None, 5)),
    ],
)
def test_what_a_change_of_a_schedule_costs_does_not_grow_with_its_kept_firings(
    name: str, bindings: tuple[object, ...]
) -> None:
    """Counted in instructions of the engine, of which a row that is looked at takes several."""

    def instructions(kept: int) -> int:
        database = apsw.Connection(":memory:")
        migrate.migrate(database, migrate.load(), 0)
        firings = [
            rows.task(n, schedule_seq=5, generation=1, nominal_ms=n, state=TaskState.EXECUTED)
            for n in range(1, kept + 1)
        ] + [rows.task(kept + n, schedule_seq=5, generation=1, nominal_ms=kept + n) for n in (1, 2, 3)]
        database.executemany(statements.sql("insert_tasks"), [(*task_row(task), 1) for task in firings])
        cursor = database.cursor()
        database.set_progress_handler(counter := Counter(), 1)
        assert len(cursor.execute(statements.sql(name), bindings).fetchall()) == 3
        return counter.count

    assert instructions(2_000) == pytest.approx(instructions(0), rel=0.05)


class Counter:
    """A progress handler that lets everything go on."""

    count = 0

    def __call__(self) -> bool:
        self.count += 1
        return False


def _bindings(database: apsw.Connection, text: str, most: int) -> int:
    for count in range(most + 1):
        try:
            database.execute(f"EXPLAIN {text}", (1,) * count)
        except apsw.BindingsError:
            continue
        return count
    raise AssertionError(f"no number of bindings fits {text}")


def test_every_statement_is_used(repo: Path) -> None:
    package = repo / "python" / "cuptime" / "storage" / "sqlite"
    code = "".join(file.read_text(encoding="utf-8") for file in package.glob("*.py"))
    unused = [name for name in statements.load() if f'"{name}"' not in code]
    assert unused == []
