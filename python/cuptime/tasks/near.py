"""Rows of tasks that fall due soon, kept from when they were armed, so that their trigger needs no read.

A cache in front of one read, bounded in rows and bytes. What is not here is read; what is here may be stale, and then
storage moves nothing: it compares state and due time itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from cuptime.domain.values import Task

NEAR_MS: Final = 60_000
NEAR_TASKS_MAX: Final = 20_000
NEAR_PAYLOAD_BYTES_MAX: Final = 2_048
"""Of one row: 40 MB in all."""


class Near:
    """Armed rows by id."""

    def __init__(self) -> None:
        self._rows: dict[int, Task] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def put(self, tasks: Iterable[Task], now_ms: int) -> None:
        """Keeps what is due soon while there is room."""
        until_ms = now_ms + NEAR_MS
        for task in tasks:
            if len(self._rows) >= NEAR_TASKS_MAX:
                return
            if task.due_ms <= until_ms and len(task.payload) <= NEAR_PAYLOAD_BYTES_MAX:
                self._rows[task.task_id] = task

    def take(self, ids: Sequence[int]) -> tuple[list[Task], list[int]]:
        """Removes and returns the rows that are here, and the ids that must be read."""
        rows: list[Task] = []
        missing: list[int] = []
        for task_id in ids:
            row = self._rows.pop(task_id, None)
            if row is None:
                missing.append(task_id)
            else:
                rows.append(row)
        return rows, missing

    def forget(self, ids: Iterable[int]) -> None:
        """Their rows changed."""
        for task_id in ids:
            self._rows.pop(task_id, None)
