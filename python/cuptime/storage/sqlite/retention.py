"""Carries out what retention writes: a set of rows is chosen again inside the transaction, then dropped by its ids."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import apsw

from cuptime.domain.limits import FORGET_ORDERS_MAX, FORGET_ROWS_MAX, ORDER_NUMBER_BITS
from cuptime.domain.values import Fence, whole_groups
from cuptime.domain.writes import ForgetGroups, ForgetSchedules, ForgetTasks
from cuptime.storage.sqlite.statements import sql

Dropped = dict[str, list[int]]
"""Ids that went, by table."""


def forget_groups(cursor: apsw.Cursor, write: ForgetGroups, fence: Fence) -> tuple[int, ...]:
    """How many groups and orders went."""
    groups = json.dumps(list(write.group_seqs))
    chosen = (ORDER_NUMBER_BITS, write.before_ms, groups, FORGET_ORDERS_MAX)
    found = _ids(cursor.execute(sql("orders_to_forget"), chosen))
    orders = json.dumps(whole_groups(found, FORGET_ORDERS_MAX))
    dropped = {
        "interventions": _ids(cursor.execute(sql("forget_interventions"), (orders,))),
        "assignments": _ids(cursor.execute(sql("forget_assignments"), (orders,))),
        "decisions": _ids(cursor.execute(sql("forget_decisions"), (orders,))),
        "orders": _ids(cursor.execute(sql("forget_orders"), (orders,))),
        "groups": _ids(cursor.execute(sql("forget_groups"), chosen[:3])),
    }
    _note(cursor, dropped, fence)
    return len(dropped["groups"]), len(dropped["orders"])


def forget_tasks(cursor: apsw.Cursor, write: ForgetTasks, fence: Fence) -> tuple[int, ...]:
    """How many went."""
    bindings = (None, write.before_ms, json.dumps(list(write.task_ids)))
    rows: list[Any] = cursor.execute(sql("forget_tasks"), bindings).fetchall()
    firings: dict[int, tuple[int, int]] = {}
    for _, schedule_seq, generation, nominal_ms in rows:
        if schedule_seq > 0:
            latest = firings.get(schedule_seq, (0, 0))
            # Of the newest generation the latest: pairs compare in that order.
            firings[schedule_seq] = max(latest, (generation, nominal_ms))
    noted = [(schedule_seq, *latest, fence.epoch) for schedule_seq, latest in firings.items()]
    cursor.executemany(sql("note_forgotten_firings"), noted)
    _note(cursor, {"tasks": _ids(rows)}, fence)
    return (len(rows),)


def forget_schedules(cursor: apsw.Cursor, write: ForgetSchedules, fence: Fence) -> tuple[int, ...]:
    """How many went."""
    gone = _ids(cursor.execute(sql("forget_schedules"), (write.before_ms, FORGET_ROWS_MAX)))
    cursor.execute(sql("forget_firings_of_schedules"), (json.dumps(gone),))
    _note(cursor, {"schedules": gone}, fence)
    return (len(gone),)


def _ids(rows: Iterable[Any]) -> list[int]:
    return [row[0] for row in rows]


def _note(cursor: apsw.Cursor, dropped: Dropped, fence: Fence) -> None:
    rows = [(kind, max(ids), len(ids), fence.epoch) for kind, ids in dropped.items() if ids]
    cursor.executemany(sql("note_forgotten"), rows)
