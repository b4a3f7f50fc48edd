"""Bad requests of groups, orders and decisions."""

from __future__ import annotations

from typing import Any, Final

from tests.integration import campus
from tests.integration.faults import (
    ABSENT,
    DECIDED,
    HUGE,
    LONG,
    OPEN,
    PLACE_FAULTS,
    SECOND,
    Bad,
    faults,
    names,
)


def _group() -> dict[str, Any]:
    return {"group": campus.group(ABSENT)}


CREATE_GROUP: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "group"),
    *faults(
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
            *((f"group.location.{name}", value, reason, None) for name, value, reason in PLACE_FAULTS),
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
    *faults(_submission, _ENVELOPE),
    *faults(_submission, _order_faults("order.")),
    Bad("a group that is not there", campus.submission(ABSENT), "GROUP_NOT_FOUND", "parent"),
]
"""Refusals by the business (credit, stock, limit) are kept for repeats: they are tried in `test_api`."""


def _batch() -> dict[str, Any]:
    return {"parent": f"groups/{OPEN}", "requests": [campus.submission(OPEN), campus.submission(OPEN)]}


BATCH_SUBMIT: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", None),
    Bad("no requests", {"parent": "groups/-"}, "FIELD_REQUIRED", "requests"),
    Bad("1001 requests", {"parent": "groups/-", "requests": [{}] * 1_001}, "TOO_MANY_ENTRIES", "requests"),
    *faults(
        _batch,
        [
            ("parent", None, "FIELD_REQUIRED", None),
            ("parent", "groups/7", "FIELD_INVALID", None),
            ("parent", f"groups/{SECOND}", "FIELD_CONTRADICTION", "requests[0].parent"),
        ],
    ),
    *(
        Bad(bad.what, bad.request, bad.reason, "requests[1]." + str(bad.field))
        for bad in faults(
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
    *names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND"),
    Bad("etag of nobody", {"name": f"groups/{OPEN}", "etag": "x"}, "ETAG_MISMATCH", "etag"),
    Bad("etag 0", {"name": f"groups/{OPEN}", "etag": "0"}, "ETAG_MISMATCH", "etag"),
    Bad("etag of another time", {"name": f"groups/{OPEN}", "etag": "999"}, "ETAG_MISMATCH", "etag"),
    Bad("a huge etag", {"name": f"groups/{OPEN}", "etag": "9" * 5_000}, "ETAG_MISMATCH", "etag"),
    Bad("a group that is decided", {"name": f"groups/{DECIDED}"}, "STATE_CONFLICT", None),
]

# --- decisions ----------------------------------------------------------------------------------------------------
UNDECIDED: Final = Bad(
    "not decided yet", {"name": f"groups/{OPEN}/orders/1/decision"}, "DECISION_NOT_FOUND", None
)
WATCH_DECISIONS: Final = [
    *names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent"),
    Bad("after -2", {"parent": "groups/-", "after_sequence": -2}, "FIELD_INVALID", "after_sequence"),
]


def _preview() -> dict[str, Any]:
    return {"parent": f"groups/{OPEN}", "orders": [campus.order(OPEN)]}


PREVIEW_DECISION: Final = [
    *names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent", {"orders": [campus.order(OPEN)]}),
    Bad("no orders", {"parent": f"groups/{OPEN}"}, "FIELD_REQUIRED", "orders"),
    Bad("1001 orders", {"parent": f"groups/{OPEN}", "orders": [{}] * 1_001}, "TOO_MANY_ENTRIES", "orders"),
    *(
        Bad(bad.what, bad.request, "FIELD_INVALID", str(bad.field).replace("order.", "orders[0].", 1))
        for bad in faults(_preview, _order_faults("orders.0."))
        if "timestamp_ms=1" not in bad.what and "timestamp_ms=9" not in bad.what
    ),
]


def _resolution(**fields: Any) -> dict[str, Any]:
    return {"name": "interventions/20971521", "resolution": "RESOLUTION_RETRY"} | fields


_ASSIGN: Final = {"resolution": "RESOLUTION_ASSIGN", "shop": "shops/1", "rider": "riders/1"}
RESOLVE: Final = [
    *names("interventions", "interventions/99", "INTERVENTION_NOT_FOUND", "name", {"resolution": 1}),
    *faults(
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
    *faults(
        lambda: _resolution(**_ASSIGN),
        [
            ("shop", None, "FIELD_REQUIRED", None),
            ("rider", None, "FIELD_REQUIRED", None),
            ("shop", "riders/1", "FIELD_INVALID", None),
            ("rider", LONG, "FIELD_INVALID", None),
        ],
    ),
]
