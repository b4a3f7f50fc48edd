"""What is wrong with a request, method by method: the request, and the reason and field it must be refused with.

A request here is complete but for its one fault, so that it is the fault that is refused and nothing before it.
Requests that need what the server has (a task's name, an etag) are functions of the :class:`World`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tests.integration import campus
from tests.integration.campus import HOUR_MS, PLACE, SKU

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


def _faults(good: Callable[[], dict[str, Any]], rows: list[tuple[str, Any, str, str | None]]) -> list[Bad]:
    """(path, value, reason, field to blame; None: the path itself, with list indexes in brackets)."""
    found = []
    for path, value, reason, field in rows:
        blamed = path if field is None else field
        shown = f"{path}={value if value is None else repr(value)[:40]}"
        found.append(Bad(shown, changed(good(), path, value), reason, blamed))
    return found


def _names(collection: str, absent: str, reason: str, path: str = "name", rest: Any = None) -> list[Bad]:
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


def _order_names(suffix: str = "") -> list[Bad]:
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


def _pages(rest: Any = None) -> list[Bad]:
    """What every list may have wrong. The token of the list of tasks is of another list everywhere."""
    rest = rest or {}
    from cuptime.api import pages

    tokens = ["x", "AAAAAAAAAAAAAAAA", "é", LONG, "=" * 16, pages.token("another list", 3)]
    return [
        Bad("page_size=-1", rest | {"page_size": -1}, "FIELD_INVALID", "page_size"),
        *(
            Bad(f"token {token[:20]!r}", rest | {"page_token": token}, "PAGE_TOKEN_INVALID", "page_token")
            for token in tokens
        ),
    ]


def _of_another_list(rest: Any = None) -> Bad:
    rest = rest or {}
    return Bad(
        "the token of another list",
        lambda world: rest | {"page_token": world.task_page_token},
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


def _beyond(list_name: str, rest: Any = None) -> Bad:
    from cuptime.api import pages

    return Bad(
        "a forged token beyond 63 bits",
        (rest or {}) | {"page_token": pages.token(list_name, 2**64 - 1)},
        "PAGE_TOKEN_INVALID",
        "page_token",
    )


# --- groups -------------------------------------------------------------------------------------------------------
def _group() -> dict[str, Any]:
    return {"group": campus.group(ABSENT)}


_PLACES: Final = [
    ("latitude", 90.5, "FIELD_INVALID"),
    ("latitude", float("nan"), "FIELD_INVALID"),
    ("longitude", float("inf"), "FIELD_INVALID"),
    ("longitude", -181.0, "FIELD_INVALID"),
]

CREATE_GROUP: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "group"),
    *_faults(
        _group,
        [
            ("group.group_id", None, "FIELD_REQUIRED", None),
            ("group.group_id", 9_999, "FIELD_INVALID", None),
            ("group.group_id", -1, "FIELD_INVALID", None),
            ("group.group_id", HUGE, "FIELD_INVALID", None),
            ("group.group_id", OPEN, "GROUP_EXISTS", None),
            ("group.park", "p" * 65, "FIELD_INVALID", None),
            ("group.park", "p\x00", "FIELD_INVALID", None),
            ("group.location", None, "FIELD_REQUIRED", None),
            ("group.location", {}, "FIELD_REQUIRED", None),
            *((f"group.location.{name}", value, reason, None) for name, value, reason in _PLACES),
            ("group.capacity", None, "FIELD_REQUIRED", None),
            ("group.capacity", -1, "FIELD_INVALID", None),
            ("group.capacity", 5_001, "FIELD_INVALID", None),
            ("group.min_size", 11, "FIELD_CONTRADICTION", None),
            ("group.min_size", -1, "FIELD_INVALID", None),
            ("group.deadline_time_ms", None, "FIELD_REQUIRED", None),
            ("group.deadline_time_ms", 1, "FIELD_INVALID", None),
            ("group.deadline_time_ms", HUGE, "FIELD_INVALID", None),
            ("group.purchase_limit", -1, "FIELD_INVALID", None),
            ("group.pack_out_after_ms", -1, "FIELD_INVALID", None),
            ("group.deliver_within_ms", HUGE, "FIELD_INVALID", None),
        ],
    ),
]


def _order_faults(prefix: str) -> list[tuple[str, Any, str, str | None]]:
    """Of the order in a request, below `prefix`."""
    rows: list[tuple[str, Any, str]] = [
        ("user", None, "FIELD_REQUIRED"),
        ("user.user_id", 0, "FIELD_REQUIRED"),
        ("user.user_id", -4, "FIELD_INVALID"),
        ("user.credit_score", -1, "FIELD_INVALID"),
        ("user.credit_score", 1_001, "FIELD_INVALID"),
        ("user.tier", "t" * 65, "FIELD_INVALID"),
        ("sku", None, "FIELD_REQUIRED"),
        ("sku", "s" * 65, "FIELD_INVALID"),
        ("sku", "a b", "FIELD_INVALID"),
        ("quantity", None, "FIELD_REQUIRED"),
        ("quantity", 101, "FIELD_INVALID"),
        ("quantity", -1, "FIELD_INVALID"),
        ("amount_cents", -1, "FIELD_INVALID"),
        ("kind", None, "FIELD_REQUIRED"),
        ("kind", 99, "FIELD_INVALID"),
        ("temperature_class", None, "FIELD_REQUIRED"),
        ("temperature_class", 77, "FIELD_INVALID"),
        ("ice_level", "冰" * 65, "FIELD_INVALID"),
        ("time_slot", "t" * 65, "FIELD_INVALID"),
        ("drop_off", {"latitude": 95.0}, "FIELD_INVALID"),
        ("context", None, "FIELD_REQUIRED"),
        ("context.group_id", 0, "FIELD_REQUIRED"),
        ("context.group_id", 9_999, "FIELD_INVALID"),
        ("context.group_id", SECOND, "FIELD_CONTRADICTION"),
        ("context.sku_version", "", "FIELD_REQUIRED"),
        ("context.sku_version", "2", "FIELD_INVALID"),
        ("context.sku_version", "2.1\n", "FIELD_INVALID"),
        ("context.sku_version", "٢.١", "FIELD_INVALID"),
        ("context.stock_snapshot", -1, "FIELD_INVALID"),
        ("context.timestamp_ms", 0, "FIELD_REQUIRED"),
        ("context.timestamp_ms", 1, "FIELD_INVALID"),
        ("context.timestamp_ms", HUGE, "FIELD_INVALID"),
    ]
    found: list[tuple[str, Any, str, str | None]] = []
    for path, value, reason in rows:
        blamed = f"order.{path}" + (".latitude" if path == "drop_off" else "")
        found.append((f"{prefix}{path}", value, reason, blamed))
    return found


def _submission() -> dict[str, Any]:
    return campus.submission(OPEN)


_ENVELOPE: Final = [
    ("parent", None, "FIELD_REQUIRED", None),
    ("parent", f"groups/{SECOND}", "FIELD_CONTRADICTION", "order.context.group_id"),
    ("parent", "groups/-", "FIELD_INVALID", None),
    ("parent", LONG, "FIELD_INVALID", None),
    ("order", None, "FIELD_REQUIRED", None),
    ("order.ice_level", LONG, "FIELD_INVALID", "order"),
    ("request_id", None, "FIELD_REQUIRED", None),
    ("request_id", "r" * 65, "FIELD_INVALID", None),
    ("request_id", "r\n", "FIELD_INVALID", None),
    ("request_id", "请求", "FIELD_INVALID", None),
]

SUBMIT_ORDER: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "request_id"),
    *_faults(_submission, _ENVELOPE),
    *_faults(_submission, _order_faults("order.")),
    Bad("a group that is not there", campus.submission(ABSENT), "GROUP_NOT_FOUND", "parent"),
]
"""Refusals by the business (credit, stock, limit) are kept for repeats: they are tried in `test_api`."""


def _batch() -> dict[str, Any]:
    return {"parent": f"groups/{OPEN}", "requests": [campus.submission(OPEN), campus.submission(OPEN)]}


BATCH_SUBMIT: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", None),
    Bad("no requests", {"parent": "groups/-"}, "FIELD_REQUIRED", "requests"),
    Bad("1001 requests", {"parent": "groups/-", "requests": [{}] * 1_001}, "TOO_MANY_ENTRIES", "requests"),
    *_faults(
        _batch,
        [
            ("parent", None, "FIELD_REQUIRED", None),
            ("parent", "groups/7", "FIELD_INVALID", None),
            ("parent", f"groups/{SECOND}", "FIELD_CONTRADICTION", "requests[0].parent"),
        ],
    ),
    *(
        Bad(bad.what, bad.request, bad.reason, "requests[1]." + str(bad.field))
        for bad in _faults(
            _batch,
            [("requests.1." + path, *rest) for path, *rest in _order_faults("order.")],  # type: ignore[misc]
        )
    ),
    Bad(
        "one of another group",
        {"parent": f"groups/{OPEN}", "requests": [campus.submission(OPEN), campus.submission(SECOND)]},
        "FIELD_CONTRADICTION",
        "requests[1].parent",
    ),
]

INGEST: Final = [
    Bad("no requests", {"sequence": 1}, "FIELD_REQUIRED", "requests"),
    Bad("1001 requests", {"sequence": 1, "requests": [{}] * 1_001}, "TOO_MANY_ENTRIES", "requests"),
    *(
        Bad(bad.what, {"sequence": 3, "requests": [bad.request]}, bad.reason, bad.field, entry=True)
        for bad in SUBMIT_ORDER
    ),
]

COMPLETE_GROUP: Final = [
    *_names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND"),
    Bad("etag of nobody", {"name": f"groups/{OPEN}", "etag": "x"}, "ETAG_MISMATCH", "etag"),
    Bad("etag 0", {"name": f"groups/{OPEN}", "etag": "0"}, "ETAG_MISMATCH", "etag"),
    Bad("etag of another time", {"name": f"groups/{OPEN}", "etag": "999"}, "ETAG_MISMATCH", "etag"),
    Bad("a huge etag", {"name": f"groups/{OPEN}", "etag": "9" * 5_000}, "ETAG_MISMATCH", "etag"),
    Bad("a group that is decided", {"name": f"groups/{DECIDED}"}, "STATE_CONFLICT", None),
]

# --- decisions ----------------------------------------------------------------------------------------------------
_UNDECIDED: Final = Bad(
    "not decided yet", {"name": f"groups/{OPEN}/orders/1/decision"}, "DECISION_NOT_FOUND", None
)
WATCH_DECISIONS: Final = [
    *_names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent"),
    Bad("after -2", {"parent": "groups/-", "after_sequence": -2}, "FIELD_INVALID", "after_sequence"),
]


def _preview() -> dict[str, Any]:
    return {"parent": f"groups/{OPEN}", "orders": [campus.order(OPEN)]}


PREVIEW_DECISION: Final = [
    *_names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent", {"orders": [campus.order(OPEN)]}),
    Bad("no orders", {"parent": f"groups/{OPEN}"}, "FIELD_REQUIRED", "orders"),
    Bad("1001 orders", {"parent": f"groups/{OPEN}", "orders": [{}] * 1_001}, "TOO_MANY_ENTRIES", "orders"),
    *(
        Bad(bad.what, bad.request, "FIELD_INVALID", str(bad.field).replace("order.", "orders[0].", 1))
        for bad in _faults(_preview, _order_faults("orders.0."))
        if "timestamp_ms=1" not in bad.what and "timestamp_ms=9" not in bad.what
    ),
]


def _resolution(**fields: Any) -> dict[str, Any]:
    return {"name": "interventions/20971521", "resolution": "RESOLUTION_RETRY"} | fields


_ASSIGN: Final = {"resolution": "RESOLUTION_ASSIGN", "shop": "shops/1", "rider": "riders/1"}
RESOLVE: Final = [
    *_names("interventions", "interventions/99", "INTERVENTION_NOT_FOUND", "name", {"resolution": 1}),
    *_faults(
        _resolution,
        [
            ("resolution", None, "FIELD_REQUIRED", None),
            ("resolution", 9, "FIELD_INVALID", None),
            ("shop", "shops/1", "FIELD_CONTRADICTION", None),
            ("rider", "riders/1", "FIELD_CONTRADICTION", None),
            ("note", "n" * 2_001, "FIELD_INVALID", None),
            ("request_id", "a b", "FIELD_INVALID", None),
        ],
    ),
    *_faults(
        lambda: _resolution(**_ASSIGN),
        [
            ("shop", None, "FIELD_REQUIRED", None),
            ("rider", None, "FIELD_REQUIRED", None),
            ("shop", "riders/1", "FIELD_INVALID", None),
            ("rider", LONG, "FIELD_INVALID", None),
        ],
    ),
]


# --- shops and riders ---------------------------------------------------------------------------------------------
def _shops() -> dict[str, Any]:
    return {"shops": [campus.shop(50), campus.shop(51)]}


UPSERT_SHOPS: Final = [
    Bad("no shops", {}, "FIELD_REQUIRED", "shops"),
    Bad("1001 shops", {"shops": [campus.shop(n) for n in range(1, 1_002)]}, "TOO_MANY_ENTRIES", "shops"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("shops.1.", "shops[1]."))
        for bad in _faults(
            _shops,
            [
                ("shops.1.shop_id", None, "FIELD_INVALID", None),
                ("shops.1.shop_id", -3, "FIELD_INVALID", None),
                ("shops.1.shop_id", HUGE, "FIELD_INVALID", None),
                ("shops.1.shop_id", 50, "FIELD_CONTRADICTION", None),
                ("shops.1.display_name", LONG, "FIELD_INVALID", None),
                ("shops.1.location", None, "FIELD_REQUIRED", None),
                *((f"shops.1.location.{name}", value, reason, None) for name, value, reason in _PLACES),
                ("shops.1.daily_capacity", -1, "FIELD_INVALID", None),
                ("shops.1.daily_capacity", 100_001, "FIELD_INVALID", None),
                ("shops.1.fridge_slots", 10_001, "FIELD_INVALID", None),
                ("shops.1.open_from_ms", -1, "FIELD_INVALID", None),
                ("shops.1.open_until_ms", 86_400_001, "FIELD_INVALID", None),
                ("shops.1.stock", [{"sku": SKU}] * 501, "TOO_MANY_ENTRIES", None),
                ("shops.1.stock", [{"sku": ""}], "FIELD_REQUIRED", "shops[1].stock[0].sku"),
                ("shops.1.stock", [{"sku": LONG}], "FIELD_INVALID", "shops[1].stock[0].sku"),
                (
                    "shops.1.stock",
                    [{"sku": SKU, "on_hand": -1}],
                    "FIELD_INVALID",
                    "shops[1].stock[0].on_hand",
                ),
                ("shops.1.stock", [{"sku": SKU}] * 2, "FIELD_CONTRADICTION", "shops[1].stock[1].sku"),
            ],
        )
    ),
    Bad(
        "hours of no length",
        {"shops": [campus.shop(50, open_from_ms=5, open_until_ms=5)]},
        "FIELD_CONTRADICTION",
        "shops[0].open_until_ms",
    ),
]


def _shop_update() -> dict[str, Any]:
    return {"shop": {"name": "shops/1", "paused": True}, "update_mask": {"paths": ["paused"]}}


UPDATE_SHOP: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "shop"),
    *_faults(
        _shop_update,
        [
            ("shop.name", None, "FIELD_REQUIRED", None),
            ("shop.name", "riders/1", "FIELD_INVALID", None),
            ("shop.name", "shops/999", "SHOP_NOT_FOUND", ""),
            ("update_mask", None, "FIELD_REQUIRED", None),
            ("update_mask", {"paths": ["colour"]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": ["paused", "stock"]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": [LONG]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": ["*"]}, "FIELD_UNKNOWN", None),
            ("etag", "999", "ETAG_MISMATCH", None),
            ("etag", "0", "ETAG_MISMATCH", None),
            ("request_id", "r" * 65, "FIELD_INVALID", None),
        ],
    ),
    Bad(
        "a fridge of -1",
        {"shop": {"name": "shops/1", "fridge_slots": -1}, "update_mask": {"paths": ["fridge_slots"]}},
        "FIELD_INVALID",
        "shop.fridge_slots",
    ),
    Bad(
        "no location under a mask that names it",
        {"shop": {"name": "shops/1"}, "update_mask": {"paths": ["location"]}},
        "FIELD_REQUIRED",
        "shop.location",
    ),
]


def _adjustment() -> dict[str, Any]:
    return {"changes": [{"shop": "shops/1", "sku": SKU, "on_hand_delta": 1}]}


ADJUST_STOCK: Final = [
    Bad("no changes", {}, "FIELD_REQUIRED", "changes"),
    Bad("1001 changes", {"changes": [{"shop": "shops/1"}] * 1_001}, "TOO_MANY_ENTRIES", "changes"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("changes.0.", "changes[0]."))
        for bad in _faults(
            _adjustment,
            [
                ("changes.0.shop", None, "FIELD_REQUIRED", None),
                ("changes.0.shop", "x", "FIELD_INVALID", None),
                ("changes.0.shop", "shops/999", "SHOP_NOT_FOUND", ""),
                ("changes.0.sku", None, "FIELD_REQUIRED", None),
                ("changes.0.sku", "unheard-of", "SKU_NOT_FOUND", None),
                ("changes.0.on_hand_delta", -100_000, "CAPACITY_EXCEEDED", None),
                ("changes.0.on_hand_delta", HUGE, "FIELD_INVALID", None),
                ("changes.0.fridge_delta", 20_000, "FIELD_INVALID", None),
                ("changes.0.on_hand_delta", 999_999_500, "FIELD_INVALID", None),
                ("changes.0.fridge_delta", -5_000, "CAPACITY_EXCEEDED", None),
            ],
        )
    ),
]


def _riders() -> dict[str, Any]:
    return {"riders": [campus.rider(50)]}


UPSERT_RIDERS: Final = [
    Bad("no riders", {}, "FIELD_REQUIRED", "riders"),
    Bad("1001 riders", {"riders": [campus.rider(n) for n in range(1, 1_002)]}, "TOO_MANY_ENTRIES", "riders"),
    Bad(
        "twice the same",
        {"riders": [campus.rider(50), campus.rider(50)]},
        "FIELD_CONTRADICTION",
        "riders[1].rider_id",
    ),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("riders.0.", "riders[0]."))
        for bad in _faults(
            _riders,
            [
                ("riders.0.rider_id", None, "FIELD_INVALID", None),
                ("riders.0.display_name", LONG, "FIELD_INVALID", None),
                ("riders.0.location", None, "FIELD_REQUIRED", None),
                *((f"riders.0.location.{name}", value, reason, None) for name, value, reason in _PLACES),
                ("riders.0.available_from_time_ms", -1, "FIELD_INVALID", None),
                ("riders.0.available_until_time_ms", 1, "FIELD_CONTRADICTION", None),
                ("riders.0.available_until_time_ms", HUGE, "FIELD_INVALID", None),
                ("riders.0.max_load", 1_001, "FIELD_INVALID", None),
                ("riders.0.min_temperature_c", -101, "FIELD_INVALID", None),
                ("riders.0.max_temperature_c", -50, "FIELD_CONTRADICTION", None),
                ("riders.0.speed_m_per_min", -1, "FIELD_INVALID", None),
            ],
        )
    ),
]


def _positions() -> dict[str, Any]:
    return {"positions": [{"rider_id": 1, "location": PLACE, "measure_time_ms": campus.now_ms()}]}


STREAM_POSITIONS: Final = [
    Bad("no positions", {}, "FIELD_REQUIRED", "positions"),
    Bad("1001 positions", {"positions": [{}] * 1_001}, "TOO_MANY_ENTRIES", "positions"),
    *(
        Bad(bad.what, bad.request, bad.reason, str(bad.field).replace("positions.0.", "positions[0]."))
        for bad in _faults(
            _positions,
            [
                ("positions.0.rider_id", None, "FIELD_INVALID", None),
                ("positions.0.location", None, "FIELD_REQUIRED", None),
                ("positions.0.location.latitude", float("nan"), "FIELD_INVALID", None),
                ("positions.0.measure_time_ms", None, "FIELD_INVALID", None),
                ("positions.0.measure_time_ms", HUGE, "FIELD_INVALID", None),
            ],
        )
    ),
]


# --- schedules ----------------------------------------------------------------------------------------------------
def _schedule(**timing: Any) -> dict[str, Any]:
    return {
        "schedule": {
            "schedule_id": "fresh",
            "timing": timing or {"cron": "0 9 * * *"},
            "target": {"task": {"queue": "sheets"}},
        }
    }


CRONS: Final = [
    ("0 0 31 2 *", "CRON_NEVER_FIRES"),
    ("0 0 0 30 2 *", "CRON_NEVER_FIRES"),
    ("* * * *", "CRON_INVALID"),
    ("* * * * * * * *", "CRON_INVALID"),
    ("61 * * * *", "CRON_INVALID"),
    ("* 25 * * *", "CRON_INVALID"),
    ("60 * * * * *", "CRON_INVALID"),
    ("a b c d e", "CRON_INVALID"),
    ("*/0 * * * *", "CRON_INVALID"),
    ("5-1-2 * * * *", "CRON_INVALID"),
    ("０ ９ * * *", "CRON_INVALID"),
    ("H * * * *", "CRON_INVALID"),
    ("@reboot", "CRON_INVALID"),
    ("\x00", "CRON_INVALID"),
    ("* " * 150, "FIELD_INVALID"),
    ("9" * 100_000, "FIELD_INVALID"),
    ("", "FIELD_REQUIRED"),
    ("   ", "FIELD_REQUIRED"),
]
_CRON_FAULTS: Final = [
    Bad(f"cron {cron[:30]!r}", {"cron": cron}, reason, "timing.cron") for cron, reason in CRONS
]
_TIMING_FAULTS: Final = [
    *_CRON_FAULTS,
    Bad(
        "Beijing", {"cron": "0 9 * * *", "time_zone": "Asia/Beijing"}, "TIME_ZONE_UNKNOWN", "timing.time_zone"
    ),
    Bad(
        "a path", {"cron": "0 9 * * *", "time_zone": "../etc/passwd"}, "TIME_ZONE_UNKNOWN", "timing.time_zone"
    ),
    Bad("a long zone", {"cron": "0 9 * * *", "time_zone": LONG}, "TIME_ZONE_UNKNOWN", "timing.time_zone"),
    Bad("every 9 ms", {"every_ms": 9}, "FIELD_INVALID", "timing.every_ms"),
    Bad("every 0", {"every_ms": 0}, "FIELD_INVALID", "timing.every_ms"),
    Bad("every HUGE", {"every_ms": HUGE}, "FIELD_INVALID", "timing.every_ms"),
    Bad("after -1", {"after_ms": -1}, "FIELD_INVALID", "timing.after_ms"),
    Bad("after 0", {"after_ms": 0}, "FIELD_INVALID", "timing.after_ms"),
    Bad("after HUGE", {"after_ms": HUGE}, "FIELD_INVALID", "timing.after_ms"),
    Bad("at HUGE", {"at_time_ms": HUGE}, "FIELD_INVALID", "timing.at_time_ms"),
    Bad("at -1", {"at_time_ms": -1}, "FIELD_INVALID", "timing.at_time_ms"),
    Bad("start -1", {"every_ms": 1_000, "start_time_ms": -1}, "FIELD_INVALID", "timing.start_time_ms"),
    Bad(
        "the end before the start",
        {"every_ms": 1_000, "start_time_ms": 2_000, "end_time_ms": 1_000},
        "FIELD_CONTRADICTION",
        "timing.end_time_ms",
    ),
]
_NEVER: Final = [
    Bad("at in the past", {"at_time_ms": 5}, "CRON_NEVER_FIRES", "timing"),
    Bad("over already", {"every_ms": 1_000, "end_time_ms": 5}, "CRON_NEVER_FIRES", "timing"),
]


def _group_target(**fields: Any) -> dict[str, Any]:
    template = campus.group(0, deadline_time_ms=0)
    return {"group": {"group": template, "first_group_id": 30_000, "open_for_ms": HOUR_MS} | fields}


_TARGET_FAULTS: Final = [
    Bad("no action", {}, "FIELD_REQUIRED", "target"),
    Bad("no queue", {"task": {}}, "FIELD_REQUIRED", "target.task.queue"),
    Bad("queue form", {"task": {"queue": "Upper"}}, "FIELD_INVALID", "target.task.queue"),
    Bad("internal queue", {"task": {"queue": "cuptime.x"}}, "FIELD_INVALID", "target.task.queue"),
    Bad(
        "a due time",
        {"task": {"queue": "q", "due_time_ms": 5}},
        "FIELD_CONTRADICTION",
        "target.task.due_time_ms",
    ),
    Bad(
        "-1 retries", {"task": {"queue": "q", "max_retries": -1}}, "FIELD_INVALID", "target.task.max_retries"
    ),
    Bad(
        "a big payload",
        {"task": {"queue": "q", "payload": b"x" * 65_537}},
        "FIELD_INVALID",
        "target.task.payload",
    ),
    Bad("first id", _group_target(first_group_id=1), "FIELD_INVALID", "target.group.first_group_id"),
    Bad("first id huge", _group_target(first_group_id=HUGE), "FIELD_INVALID", "target.group.first_group_id"),
    Bad("open for 0", _group_target(open_for_ms=0), "FIELD_INVALID", "target.group.open_for_ms"),
    Bad("open for ever", _group_target(open_for_ms=HUGE), "FIELD_INVALID", "target.group.open_for_ms"),
    Bad(
        "a group id",
        _group_target(group=campus.group(30_000, deadline_time_ms=0)),
        "FIELD_CONTRADICTION",
        "target.group.group.group_id",
    ),
    Bad("no template", _group_target(group={}), "FIELD_REQUIRED", "target.group.group.location"),
    Bad(
        "no capacity",
        _group_target(group={"location": PLACE}),
        "FIELD_REQUIRED",
        "target.group.group.capacity",
    ),
    Bad(
        "more than full",
        _group_target(group={"location": PLACE, "capacity": 2, "min_size": 3}),
        "FIELD_CONTRADICTION",
        "target.group.group.min_size",
    ),
]


def _below(prefix: str, faults: list[Bad], make: Callable[[Any], dict[str, Any]]) -> list[Bad]:
    return [
        Bad(bad.what, make(bad.request), bad.reason, None if bad.field is None else prefix + bad.field)
        for bad in faults
    ]


REGISTER: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "schedule"),
    *_faults(
        _schedule,
        [
            ("schedule.schedule_id", None, "FIELD_REQUIRED", None),
            ("schedule.schedule_id", "1st", "FIELD_INVALID", None),
            ("schedule.schedule_id", "a" * 64, "FIELD_INVALID", None),
            ("schedule.schedule_id", "present", "SCHEDULE_EXISTS", ""),
            ("schedule.note", LONG, "FIELD_INVALID", None),
            ("schedule.timing", None, "FIELD_REQUIRED", None),
            ("request_id", "r" * 65, "FIELD_INVALID", None),
        ],
    ),
    *_below("schedule.", _TIMING_FAULTS + _NEVER, lambda timing: _schedule(**timing)),
    *_below("schedule.", _TARGET_FAULTS, lambda target: changed(_schedule(), "schedule.target", target)),
]


def _schedule_update(path: str, **fields: Any) -> dict[str, Any]:
    return {"schedule": {"name": "schedules/present"} | fields, "update_mask": {"paths": [path]}}


def _update_good() -> dict[str, Any]:
    return _schedule_update("note", note="n")


UPDATE_SCHEDULE: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "schedule"),
    *_faults(
        _update_good,
        [
            ("schedule.name", None, "FIELD_REQUIRED", None),
            ("schedule.name", "schedules/UP", "FIELD_INVALID", None),
            ("schedule.name", "schedules/absent", "SCHEDULE_NOT_FOUND", ""),
            ("schedule.name", "schedules/gone", "SCHEDULE_NOT_FOUND", ""),
            ("schedule.note", LONG, "FIELD_INVALID", None),
            ("update_mask", None, "FIELD_REQUIRED", None),
            ("update_mask", {"paths": ["state"]}, "FIELD_UNKNOWN", None),
            ("update_mask", {"paths": ["timing.cron"]}, "FIELD_UNKNOWN", None),
            ("etag", "77", "ETAG_MISMATCH", None),
            ("etag", "one", "ETAG_MISMATCH", None),
            ("request_id", " ", "FIELD_INVALID", None),
        ],
    ),
    *_below("schedule.", _TIMING_FAULTS + _NEVER, lambda timing: _schedule_update("timing", timing=timing)),
    *_below("schedule.", _TARGET_FAULTS, lambda target: _schedule_update("target", target=target)),
]
_SCHEDULE_NAMES: Final = _names("schedules", "schedules/absent", "SCHEDULE_NOT_FOUND")
_GONE: Final = Bad("an ended one", {"name": "schedules/gone"}, "SCHEDULE_NOT_FOUND", None)
_SCHEDULE_REQUEST_ID: Final = Bad(
    "request_id", {"name": "schedules/present", "request_id": "\t"}, "FIELD_INVALID", "request_id"
)

# --- tasks --------------------------------------------------------------------------------------------------------
_TASK_ROWS: Final[list[tuple[str, Any, str, str | None]]] = [
    ("task", None, "FIELD_REQUIRED", None),
    ("task.queue", None, "FIELD_REQUIRED", None),
    ("task.queue", "UP", "FIELD_INVALID", None),
    ("task.queue", "q" * 64, "FIELD_INVALID", None),
    ("task.queue", "cuptime.group_deadline", "FIELD_INVALID", None),
    ("task.payload", b"x" * 65_537, "FIELD_INVALID", None),
    ("task.due_time_ms", -1, "FIELD_INVALID", None),
    ("task.due_time_ms", HUGE, "FIELD_INVALID", None),
    ("task.priority", -1, "FIELD_INVALID", None),
    ("task.priority", 101, "FIELD_INVALID", None),
    ("task.max_retries", -1, "FIELD_INVALID", None),
    ("task.max_retries", 101, "FIELD_INVALID", None),
    ("task.backoff_ms", -1, "FIELD_INVALID", None),
    ("task.backoff_ms", HUGE, "FIELD_INVALID", None),
    ("task.context", {}, "FIELD_INVALID", "task.context.group_id"),
    ("delay_ms", -1, "FIELD_INVALID", None),
    ("delay_ms", HUGE, "FIELD_INVALID", None),
]


def _enqueue() -> dict[str, Any]:
    return {"task": {"queue": "sheets"}}


def _with_context(**fields: Any) -> dict[str, Any]:
    context = {"group_id": OPEN, "sku_version": "2.1", "stock_snapshot": 1, "timestamp_ms": campus.now_ms()}
    return {"task": {"queue": "sheets", "context": context | fields}}


_CONTEXT_FAULTS: Final = [
    Bad("a low group", _with_context(group_id=5), "FIELD_INVALID", "task.context.group_id"),
    Bad("an unknown group", _with_context(group_id=ABSENT), "GROUP_NOT_FOUND", "task.context.group_id"),
    Bad("version", _with_context(sku_version="v2"), "FIELD_INVALID", "task.context.sku_version"),
    Bad(
        "long version",
        _with_context(sku_version="1." + "9" * 99),
        "FIELD_INVALID",
        "task.context.sku_version",
    ),
    Bad("stock", _with_context(stock_snapshot=-1), "FIELD_INVALID", "task.context.stock_snapshot"),
    Bad("long ago", _with_context(timestamp_ms=5), "FIELD_INVALID", "task.context.timestamp_ms"),
]
_TWO_TIMES: Final = Bad(
    "due_time_ms and delay_ms",
    {"task": {"queue": "q", "due_time_ms": campus.now_ms() + HOUR_MS}, "delay_ms": 5},
    "FIELD_CONTRADICTION",
    "task.due_time_ms",
)
_ENQUEUE_FAULTS: Final = [*_faults(_enqueue, _TASK_ROWS), *_CONTEXT_FAULTS, _TWO_TIMES]
ENQUEUE: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "task"),
    *_ENQUEUE_FAULTS,
    Bad("request_id", _enqueue() | {"request_id": "\x7f"}, "FIELD_INVALID", "request_id"),
]
ENQUEUE_BATCH: Final = [
    Bad("no requests", {}, "FIELD_REQUIRED", "requests"),
    Bad("1001 requests", {"requests": [_enqueue()] * 1_001}, "TOO_MANY_ENTRIES", "requests"),
    *_below("requests[1].", _ENQUEUE_FAULTS, lambda entry: {"requests": [_enqueue(), entry]}),
    Bad(
        "an id in an entry",
        {"requests": [_enqueue() | {"request_id": "r"}]},
        "FIELD_CONTRADICTION",
        "requests[0].request_id",
    ),
    Bad(
        "validate_only in an entry",
        {"requests": [_enqueue() | {"validate_only": True}]},
        "FIELD_CONTRADICTION",
        "requests[0].validate_only",
    ),
]
_TASK_NAMES: Final = _names("tasks", "tasks/999999", "TASK_NOT_FOUND")
LIST_TASKS: Final = [
    *_pages(),
    _beyond("tasks/"),
    Bad("filter field", {"filter": "colour=red"}, "FIELD_UNKNOWN", "filter.colour"),
    *(
        Bad(f"filter {text[:30]!r}", {"filter": text}, "FIELD_INVALID", "filter")
        for text in (
            "state",
            "state=OPEN",
            "state<=FAILED",
            "due_time_ms=5",
            'due_time_ms<="²"',
            'due_time_ms<="-5"',
            "due_time_ms<=" + "9" * 19,
            "state=FAILED OR state=EXECUTED",
            "queue=a AND",
            "'; DROP TABLE tasks; --",
            "a" * 1_001,
        )
    ),
    Bad("two states", {"filter": "state=FAILED AND state=EXECUTED"}, "FIELD_CONTRADICTION", "filter"),
    Bad(
        "no such schedule", {"filter": 'schedule="schedules/absent"'}, "SCHEDULE_NOT_FOUND", "filter.schedule"
    ),
    Bad(
        "a token of other filters",
        lambda world: {"filter": "queue=b", "page_token": world.task_page_token},
        "PAGE_TOKEN_INVALID",
        "page_token",
    ),
]
_TASK_REQUEST_ID: Final = Bad(
    "request_id",
    lambda world: {"name": world.waiting_task, "request_id": "r" * 65},
    "FIELD_INVALID",
    "request_id",
)

# --- workers ------------------------------------------------------------------------------------------------------
_HELLO: Final[dict[str, Any]] = {"hello": {"worker": "w", "queues": ["nothing"]}}


def _hello(**fields: Any) -> dict[str, Any]:
    return {"hello": _HELLO["hello"] | fields}


STREAM_TASKS: Final = [
    Bad("says nothing", {}, "FIELD_REQUIRED", "hello"),
    Bad("credits first", {"credits": {"count": 1}}, "FIELD_REQUIRED", "hello"),
    Bad("no name", {"hello": {"queues": ["q"]}}, "FIELD_REQUIRED", "hello.worker"),
    Bad("a bad name", _hello(worker="a b"), "FIELD_INVALID", "hello.worker"),
    Bad("a long name", _hello(worker=LONG), "FIELD_INVALID", "hello.worker"),
    Bad("no queues", {"hello": {"worker": "w"}}, "FIELD_REQUIRED", "hello.queues"),
    Bad("65 queues", _hello(queues=[f"q{n}" for n in range(65)]), "TOO_MANY_ENTRIES", "hello.queues"),
    Bad("a bad queue", _hello(queues=["q", "Q"]), "FIELD_INVALID", "hello.queues[1]"),
    Bad("an internal queue", _hello(queues=["cuptime.x"]), "FIELD_INVALID", "hello.queues[0]"),
    Bad("a short lease", _hello(lease_ms=999), "FIELD_INVALID", "hello.lease_ms"),
    Bad("a lease of -1", _hello(lease_ms=-1), "FIELD_INVALID", "hello.lease_ms"),
    Bad("a long lease", _hello(lease_ms=600_001), "FIELD_INVALID", "hello.lease_ms"),
    Bad("hello twice", _HELLO, "FIELD_CONTRADICTION", "hello", (_HELLO,)),
    Bad("then nothing", {}, "FIELD_REQUIRED", "message", (_HELLO,)),
    Bad("no credits", {"credits": {}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("credits of -1", {"credits": {"count": -1}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("10001 credits", {"credits": {"count": 10_001}}, "FIELD_INVALID", "credits.count", (_HELLO,)),
    Bad("a beat for none", {"heartbeat": {}}, "FIELD_INVALID", "heartbeat.lease_tokens", (_HELLO,)),
    Bad(
        "a beat for 10001",
        {"heartbeat": {"lease_tokens": ["x"] * 10_001}},
        "FIELD_INVALID",
        "heartbeat.lease_tokens",
        (_HELLO,),
    ),
]

# --- rules --------------------------------------------------------------------------------------------------------
_BOMB: Final = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


def _rule(condition: str = "true", action: str = "assign_rider_priority: 1", name: str = "r") -> str:
    return f'rules:\n  - name: {name}\n    condition: "{condition}"\n    action: "{action}"\n'


SOURCES: Final = {
    "not YAML": "rules: [",
    "no rules": "colours: []",
    "a scalar": "5",
    "a list": "- a\n- b",
    "tabs": "rules:\n\t- name: x",
    "an alias bomb": _BOMB,
    "nested 5,000 deep": "rules: " + "[" * 5_000 + "]" * 5_000,
    "nested 40 deep": "rules: " + "[" * 40 + "]" * 40,
    "mappings nested deep": "".join("  " * n + "a:\n" for n in range(400)),
    "a Python tag": "rules: !!python/object/apply:os.system ['true']",
    "a tag of its own": "rules: !x []",
    "a binary tag": "rules: !!binary aGVsbG8=",
    "two documents": _rule() + "---\n" + _rule(),
    "a key twice": "rules: []\nrules: []",
    "a name twice": _rule() + "  - name: r\n    condition: 'true'\n    action: 'assign_rider_priority: 1'\n",
    "an unknown key": _rule() + "    colour: red\n",
    "an unknown action": _rule(action="fly: 1"),
    "an unknown name": _rule("user.shoe_size > 3"),
    "a wrong type": _rule("user.credit_score"),
    "a broken condition": _rule("user.credit_score >="),
    "a condition nested deep": _rule("(" * 900 + "true" + ")" * 900),
    "a long condition": _rule("true || " * 600 + "true"),
    "a merge key": "x: &x {name: r}\nrules:\n  - <<: *x\n",
    "a control character": "rules: \x01",
    "a billion rules' worth of anchors": "rules: &a [*a]",
    "1 MiB and one byte": "#" * (1024 * 1024 + 1),
    "3 MiB": "x" * (3 * 1024 * 1024),
    "a million rows": "- \n" * 300_000,
}
PUBLISH: Final = [
    Bad("no source", {}, "FIELD_REQUIRED", "source"),
    *(Bad(what, {"source": source}, "RULES_INVALID", "source") for what, source in SOURCES.items()),
    Bad("a long note", {"source": campus.RULES, "note": LONG}, "FIELD_INVALID", "note"),
    Bad("request_id", {"source": campus.RULES, "request_id": " "}, "FIELD_INVALID", "request_id"),
]

_GROUP_NAMES: Final = _names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND")
_GROUP_PARENTS: Final = _names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent")
_REVISIONS: Final = _names("ruleRevisions", "ruleRevisions/999", "RULE_REVISION_NOT_FOUND")

CASES: Final[dict[str, list[Bad]]] = {
    "GroupService/CreateGroup": CREATE_GROUP,
    "GroupService/GetGroup": _GROUP_NAMES,
    "GroupService/ListGroups": [
        *_pages(),
        _of_another_list(),
        _beyond("groups/0/"),
        Bad("state 9", {"state": 9}, "FIELD_INVALID", "state"),
        Bad("a long park", {"park": LONG}, "FIELD_INVALID", "park"),
    ],
    "GroupService/SubmitOrder": SUBMIT_ORDER,
    "GroupService/BatchSubmitOrders": BATCH_SUBMIT,
    "GroupService/IngestOrders": INGEST,
    "GroupService/GetOrder": _order_names(),
    "GroupService/ListOrders": [
        *_GROUP_PARENTS,
        *_pages({"parent": f"groups/{OPEN}"}),
        _of_another_list({"parent": f"groups/{OPEN}"}),
        _beyond(f"orders/{OPEN}", {"parent": f"groups/{OPEN}"}),
    ],
    "GroupService/CancelOrder": [
        *_order_names(),
        Bad(
            "request_id",
            {"name": f"groups/{OPEN}/orders/1", "request_id": "é"},
            "FIELD_INVALID",
            "request_id",
        ),
        Bad("a cancelled one", {"name": f"groups/{OPEN}/orders/2"}, "STATE_CONFLICT", None),
    ],
    "GroupService/CompleteGroup": COMPLETE_GROUP,
    "GroupService/WatchGroup": _GROUP_NAMES,
    "DispatchService/GetDecision": [*_order_names("/decision"), _UNDECIDED],
    "DispatchService/ListDecisions": [
        *_GROUP_PARENTS,
        *_pages({"parent": "groups/-"}),
        _of_another_list({"parent": "groups/-"}),
        _beyond("decisions/groups/-", {"parent": "groups/-"}),
    ],
    "DispatchService/WatchDecisions": WATCH_DECISIONS,
    "DispatchService/ExplainDecision": [*_order_names("/decision"), _UNDECIDED],
    "DispatchService/PreviewDecision": PREVIEW_DECISION,
    "DispatchService/ListInterventions": [*_pages(), _of_another_list(), _beyond("interventions")],
    "DispatchService/ResolveIntervention": RESOLVE,
    "ShopService/BatchUpsertShops": UPSERT_SHOPS,
    "ShopService/GetShop": _names("shops", "shops/999", "SHOP_NOT_FOUND"),
    "ShopService/ListShops": [*_pages(), _of_another_list(), _beyond("shops")],
    "ShopService/UpdateShop": UPDATE_SHOP,
    "ShopService/AdjustStock": ADJUST_STOCK,
    "RiderService/BatchUpsertRiders": UPSERT_RIDERS,
    "RiderService/GetRider": _names("riders", "riders/999", "RIDER_NOT_FOUND"),
    "RiderService/ListRiders": [*_pages(), _of_another_list(), _beyond("riders")],
    "RiderService/StreamPositions": STREAM_POSITIONS,
    "ScheduleService/RegisterSchedule": REGISTER,
    "ScheduleService/UpdateSchedule": UPDATE_SCHEDULE,
    "ScheduleService/UnregisterSchedule": [
        *_SCHEDULE_NAMES,
        _GONE,
        _SCHEDULE_REQUEST_ID,
        Bad("etag", {"name": "schedules/present", "etag": "9"}, "ETAG_MISMATCH", "etag"),
    ],
    "ScheduleService/PauseSchedule": [
        *_SCHEDULE_NAMES,
        _GONE,
        _SCHEDULE_REQUEST_ID,
        Bad("a long note", {"name": "schedules/present", "note": LONG}, "FIELD_INVALID", "note"),
    ],
    "ScheduleService/ResumeSchedule": [*_SCHEDULE_NAMES, _GONE, _SCHEDULE_REQUEST_ID],
    "ScheduleService/GetSchedule": _SCHEDULE_NAMES,
    "ScheduleService/ListSchedules": [
        *_pages(),
        _of_another_list(),
        _beyond("schedules/0"),
        Bad("state 9", {"state": 9}, "FIELD_INVALID", "state"),
    ],
    "ScheduleService/PreviewSchedule": [
        Bad("no subject", {}, "FIELD_REQUIRED", "name"),
        *(bad for bad in _SCHEDULE_NAMES if bad.what != "name missing"),
        *_below("", _TIMING_FAULTS, lambda timing: {"timing": timing}),
        Bad("count -1", {"name": "schedules/present", "count": -1}, "FIELD_INVALID", "count"),
        Bad("count 1001", {"name": "schedules/present", "count": 1_001}, "FIELD_INVALID", "count"),
        Bad("after -1", {"name": "schedules/present", "after_time_ms": -1}, "FIELD_INVALID", "after_time_ms"),
        Bad(
            "after the end of time",
            {"timing": {"cron": "0 9 * * *"}, "after_time_ms": HUGE},
            "FIELD_INVALID",
            "after_time_ms",
        ),
    ],
    "TaskService/EnqueueTask": ENQUEUE,
    "TaskService/BatchEnqueueTasks": ENQUEUE_BATCH,
    "TaskService/GetTask": _TASK_NAMES,
    "TaskService/ListTasks": LIST_TASKS,
    "TaskService/CancelTask": [*_TASK_NAMES, _TASK_REQUEST_ID],
    "TaskService/RetryTask": [
        *_TASK_NAMES,
        Bad("one that waits", lambda world: {"name": world.waiting_task}, "STATE_CONFLICT", None),
        Bad("a cancelled one", lambda world: {"name": world.cancelled_task}, "STATE_CONFLICT", None),
    ],
    "TaskService/WatchTask": _TASK_NAMES,
    "WorkerService/StreamTasks": STREAM_TASKS,
    "RuleService/ValidateRules": [Bad("no source", {}, "FIELD_REQUIRED", "source")],
    "RuleService/PublishRules": PUBLISH,
    "RuleService/GetRevision": _REVISIONS,
    "RuleService/ListRevisions": [*_pages(), _of_another_list(), _beyond("ruleRevisions")],
    "RuleService/RollBackRules": [
        *_REVISIONS,
        Bad("a long note", {"name": "ruleRevisions/1", "note": LONG}, "FIELD_INVALID", "note"),
        Bad("request_id", {"name": "ruleRevisions/1", "request_id": " "}, "FIELD_INVALID", "request_id"),
    ],
}
