"""A request of each method that is taken, with as many of its fields as go together."""

from __future__ import annotations

from typing import Any, Final

from tests.integration import campus
from tests.integration.campus import DAY_MS, PLACE, SKU

GROUP: Final = 30_001
"""Open."""
OTHER: Final = 30_002
"""Decided, with one order."""
_PAGED: Final = {"page_size": 10, "page_token": ""}


def _dispatch() -> dict[str, dict[str, Any]]:
    decision = {"name": f"groups/{OTHER}/orders/1/decision"}
    return {
        "DispatchService/GetDecision": decision,
        "DispatchService/ListDecisions": {"parent": "groups/-"} | _PAGED,
        "DispatchService/WatchDecisions": {"parent": "groups/-", "after_sequence": 0},
        "DispatchService/ExplainDecision": decision,
        "DispatchService/PreviewDecision": {
            "parent": f"groups/{GROUP}", "orders": [campus.order(GROUP, drop_off=dict(PLACE))],
        },
        "DispatchService/ListInterventions": _PAGED,
        "DispatchService/ResolveIntervention": {
            "name": "interventions/20971521", "resolution": "RESOLUTION_ASSIGN", "shop": "shops/1",
            "rider": "riders/1", "note": "n", "request_id": "r",
        },
    }  # fmt: skip


def _groups() -> dict[str, dict[str, Any]]:
    return {
        "GroupService/CreateGroup": {
            "group": campus.group(
                30_100, min_size=1, purchase_limit=3, pack_out_after_ms=60_000, deliver_within_ms=60_000
            ),
            "request_id": "r", "validate_only": False,
        },
        "GroupService/GetGroup": {"name": f"groups/{GROUP}"},
        "GroupService/ListGroups": _PAGED | {"state": 1, "park": "campus"},
        "GroupService/SubmitOrder": campus.submission(GROUP, drop_off=dict(PLACE)) | {"validate_only": False},
        "GroupService/BatchSubmitOrders": {
            "parent": f"groups/{GROUP}", "requests": [campus.submission(GROUP, drop_off=dict(PLACE))],
        },
        "GroupService/IngestOrders": {"sequence": 4, "requests": [campus.submission(GROUP, drop_off=dict(PLACE))]},
        "GroupService/GetOrder": {"name": f"groups/{OTHER}/orders/1"},
        "GroupService/ListOrders": {"parent": f"groups/{OTHER}"} | _PAGED,
        "GroupService/CancelOrder": {"name": f"groups/{OTHER}/orders/77", "request_id": "r"},
        "GroupService/CompleteGroup": {"name": "groups/30999", "force": True, "etag": "1"},
        "GroupService/WatchGroup": {"name": f"groups/{GROUP}"},
    }  # fmt: skip


def _places() -> dict[str, dict[str, Any]]:
    now_ms = campus.now_ms()
    return {
        "RiderService/BatchUpsertRiders": {"riders": [campus.rider(9)], "request_id": "r"},
        "RiderService/GetRider": {"name": "riders/1"},
        "RiderService/ListRiders": _PAGED,
        "RiderService/StreamPositions": {
            "positions": [{"rider_id": 1, "location": dict(PLACE), "measure_time_ms": now_ms}]
        },
        "ShopService/BatchUpsertShops": {"shops": [campus.shop(9, open_from_ms=1, open_until_ms=9)], "request_id": "r"},
        "ShopService/GetShop": {"name": "shops/1"},
        "ShopService/ListShops": _PAGED,
        "ShopService/UpdateShop": {
            "shop": campus.shop(1, name="shops/1", open_from_ms=1, open_until_ms=DAY_MS),
            "update_mask": {"paths": [
                "display_name", "location", "daily_capacity", "fridge_slots", "open_from_ms", "open_until_ms", "paused",
            ]},
        },
        "ShopService/AdjustStock": {
            "changes": [{"shop": "shops/1", "sku": SKU, "on_hand_delta": 1, "fridge_delta": 1}]
        },
    }  # fmt: skip


def _rules() -> dict[str, dict[str, Any]]:
    return {
        "RuleService/ValidateRules": {"source": campus.RULES},
        "RuleService/PublishRules": {"source": campus.RULES, "request_id": "r"},
        "RuleService/GetRevision": {"name": "ruleRevisions/1"},
        "RuleService/ListRevisions": _PAGED,
        "RuleService/GetRulesStatus": {},
        "RuleService/RollBackRules": {"name": "ruleRevisions/1", "note": "n", "request_id": "r"},
    }  # fmt: skip


def _schedules() -> dict[str, dict[str, Any]]:
    now_ms = campus.now_ms()
    timing = {
        "cron": "0 9 1 1 *",
        "time_zone": "Asia/Shanghai",
        "start_time_ms": now_ms,
        "end_time_ms": now_ms + 900 * DAY_MS,
    }
    policy = {
        "max_runs": 5, "jitter_ms": 10, "catch_up": "CATCH_UP_BOUNDED", "catch_up_window_ms": 60_000,
        "catch_up_limit": 3, "overlap": "OVERLAP_SKIP",
    }  # fmt: skip
    schedule = {
        "schedule_id": "extreme", "timing": timing, "target": {"task": {"queue": "sheets"}}, "note": "n",
        "policy": policy, "labels": {"park": "campus"},
    }  # fmt: skip
    held = {"name": "schedules/held"}
    return {
        "ScheduleService/RegisterSchedule": {"schedule": schedule, "request_id": "r"},
        "ScheduleService/UpdateSchedule": {
            "schedule": schedule | held,
            "update_mask": {"paths": ["timing", "target", "note", "policy", "labels"]},
        },
        "ScheduleService/UnregisterSchedule": {"name": "schedules/none", "etag": "1", "request_id": "r"},
        "ScheduleService/PauseSchedule": held | {"note": "n"},
        "ScheduleService/ResumeSchedule": held,
        "ScheduleService/TriggerSchedule": held | {"overlap": 1},
        "ScheduleService/BackfillSchedule": held | {
            "start_time_ms": now_ms - DAY_MS, "end_time_ms": now_ms, "overlap": 1,
        },
        "ScheduleService/GetSchedule": held,
        "ScheduleService/ListSchedules": _PAGED | {"state": 1, "label": "park=campus"},
        "ScheduleService/ListScheduleChanges": held | _PAGED,
        "ScheduleService/GetScheduleFolder": {},
        "ScheduleService/PreviewSchedule": {"timing": timing, "count": 3, "after_time_ms": now_ms, "calendar": "cn"},
    }  # fmt: skip


def _tasks() -> dict[str, dict[str, Any]]:
    now_ms = campus.now_ms()
    task = {
        "queue": "sheets", "payload": b"p", "priority": 7, "max_retries": 1, "backoff_ms": 1_000,
        "due_time_ms": now_ms + DAY_MS, "bucket": "BUCKET_MINUTE",
        "context": {"group_id": GROUP, "sku_version": "2.1", "stock_snapshot": 1, "timestamp_ms": now_ms},
    }  # fmt: skip
    lease = "1." + "0" * 32
    return {
        "TaskService/EnqueueTask": {"task": task, "request_id": "r"},
        "TaskService/BatchEnqueueTasks": {"requests": [{"task": task}], "request_id": "r"},
        "TaskService/GetTask": {"name": "tasks/1"},
        "TaskService/ListTasks": _PAGED | {"filter": "state=FAILED"},
        "TaskService/CancelTask": {"name": "tasks/1", "request_id": "r"},
        "TaskService/RetryTask": {"name": "tasks/1", "request_id": "r"},
        "TaskService/WatchTask": {"name": "tasks/1"},
        "WorkerService/StreamTasks": {"hello": {"worker": "w", "queues": ["none"], "lease_ms": 5_000, "batches": True}},
        "WorkerService/StreamTasks#reports": {
            "reports": {
                "credits": 1, "heartbeat_lease_tokens": [lease],
                "completes": [{"lease_token": lease, "result": b"r"}],
                "fails": [{"lease_token": lease, "error_code": "A", "error_message": "m", "retriable": True}],
            }
        },
    }  # fmt: skip


def good_requests() -> dict[str, dict[str, Any]]:
    """By method; what follows a `#` is said after a hello."""
    return _dispatch() | _groups() | _places() | _rules() | _schedules() | _tasks()
