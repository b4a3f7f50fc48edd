"""How a bad request is written down, and the faults that requests of every kind can have.

A request here is complete but for its one fault, so that it is the fault that is refused and nothing before it.
Requests that need what the server has (a task's name, an etag) are functions of the :class:`World`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from cuptime.api import pages

OPEN: Final = 20_001
DECIDED: Final = 20_002
SECOND: Final = 20_003
ABSENT: Final = 29_999
LONG: Final = "x" * 70_000
HUGE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class World:
    """What the server has when the bad requests come."""

    waiting_task: str
    cancelled_task: str
    paused_schedule: str
    schedule_etag: str
    shop_etag: str
    task_page_token: str


Made = dict[str, Any] | bytes | Callable[[World], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Bad:
    """One bad request. `before` is said first in a stream."""

    what: str
    request: Made
    reason: str
    field: str | None = ""
    before: tuple[dict[str, Any], ...] = ()
    entry: bool = False
    """The refusal is the status of one entry of the answer."""


def changed(fields: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the field at `a.b.0.c` set, or without it when the value is None."""
    whole = copy.deepcopy(fields)
    *way, last = path.split(".")
    place: Any = whole
    for step in way:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    if value is None:
        del place[last]
    else:
        place[int(last) if last.isdigit() else last] = value
    return whole


def faults(good: Callable[[], dict[str, Any]], rows: list[tuple[str, Any, str, str | None]]) -> list[Bad]:
    """(path, value, reason, field to blame; None: the path itself, with list indexes in brackets)."""
    found = []
    for path, value, reason, field in rows:
        blamed = path if field is None else field
        shown = f"{path}={value if value is None else repr(value)[:40]}"
        found.append(Bad(shown, changed(good(), path, value), reason, blamed))
    return found


def names(collection: str, absent: str, reason: str, path: str = "name", rest: Any = None) -> list[Bad]:
    """What every resource name may have wrong."""
    rest = rest or {}
    bad = ["x", f"{collection}/", f"{collection}/0", f"{collection}/1/2", f"/{collection}/7", f"{collection}/-7",
           f"{collection}/٣", f"{collection}/{2**63}", f"{collection}/7\n", LONG, f"{collection}/1e3"]  # fmt: skip
    if collection == "schedules":
        bad = ["x", "schedules/", "schedules/Upper", "schedules/a/b", "schedules/" + "a" * 64, LONG]
    found = [Bad(f"{path}={name[:40]!r}", rest | {path: name}, "FIELD_INVALID", path) for name in bad]
    found.append(Bad(f"{path} missing", dict(rest), "FIELD_REQUIRED", path))
    if reason:
        found.append(Bad(f"{path} unknown", rest | {path: absent}, reason, None))
    return found


def order_names(suffix: str = "") -> list[Bad]:
    bad = [f"groups/{OPEN}", f"groups/{OPEN}/orders/0{suffix}", f"groups/{OPEN}/orders/1/x", LONG,
           f"groups/{OPEN}/orders/{2**20}{suffix}", f"groups/{2**63}/orders/1{suffix}",
           f"groups/{OPEN}/orders/١{suffix}"]  # fmt: skip
    found = [Bad(f"name={name[:50]!r}", {"name": name}, "FIELD_INVALID", "name") for name in bad]
    return [
        *found,
        Bad("name missing", {}, "FIELD_REQUIRED", "name"),
        Bad("group unknown", {"name": f"groups/{ABSENT}/orders/1{suffix}"}, "GROUP_NOT_FOUND", None),
        Bad("order unknown", {"name": f"groups/{OPEN}/orders/999{suffix}"}, "ORDER_NOT_FOUND", None),
    ]


def page_faults(rest: Any = None) -> list[Bad]:
    """What every list may have wrong. The token of the list of tasks is of another list everywhere."""
    rest = rest or {}
    tokens = ["x", "AAAAAAAAAAAAAAAA", "é", LONG, "=" * 16, pages.token("another list", 3)]
    return [
        Bad("page_size=-1", rest | {"page_size": -1}, "FIELD_INVALID", "page_size"),
        *(
            Bad(f"token {token[:20]!r}", rest | {"page_token": token}, "PAGE_TOKEN_INVALID", "page_token")
            for token in tokens
        ),
    ]


def of_another_list(rest: Any = None) -> Bad:
    rest = rest or {}
    return Bad(
        "the token of another list",
        lambda world: rest | {"page_token": world.task_page_token},
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


def beyond(list_name: str, rest: Any = None) -> Bad:
    return Bad(
        "a forged token beyond 63 bits",
        (rest or {}) | {"page_token": pages.token(list_name, 2**64 - 1)},
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


def below(prefix: str, faults: list[Bad], make: Callable[[Any], dict[str, Any]]) -> list[Bad]:
    return [
        Bad(bad.what, make(bad.request), bad.reason, None if bad.field is None else prefix + bad.field)
        for bad in faults
    ]


PLACE_FAULTS: Final = [
    ("latitude", 90.5, "FIELD_INVALID"),
    ("latitude", float("nan"), "FIELD_INVALID"),
    ("longitude", float("inf"), "FIELD_INVALID"),
    ("longitude", -181.0, "FIELD_INVALID"),
]
