"""What is wrong with a request, method by method, and the reason and field it must be refused with."""

from __future__ import annotations

from typing import Final

from tests.integration.bad_groups import (
    BATCH_SUBMIT,
    COMPLETE_GROUP,
    CREATE_GROUP,
    INGEST,
    PREVIEW_DECISION,
    RESOLVE,
    SUBMIT_ORDER,
    UNDECIDED,
    WATCH_DECISIONS,
)
from tests.integration.bad_places import (
    ADJUST_STOCK,
    STREAM_POSITIONS,
    UPDATE_SHOP,
    UPSERT_RIDERS,
    UPSERT_SHOPS,
)
from tests.integration.bad_rules import PUBLISH
from tests.integration.bad_schedules import (
    BACKFILL,
    GONE,
    REGISTER,
    SCHEDULE_NAMES,
    SCHEDULE_REQUEST_ID,
    TIMING_FAULTS,
    UPDATE_SCHEDULE,
)
from tests.integration.bad_tasks import (
    ENQUEUE,
    ENQUEUE_BATCH,
    LIST_TASKS,
    STREAM_TASKS,
    TASK_NAMES,
    TASK_REQUEST_ID,
)
from tests.integration.faults import (
    ABSENT,
    HUGE,
    LONG,
    OPEN,
    Bad,
    below,
    beyond,
    names,
    of_another_list,
    order_names,
    page_faults,
)

_GROUP_NAMES: Final = names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND")
_GROUP_PARENTS: Final = names("groups", f"groups/{ABSENT}", "GROUP_NOT_FOUND", "parent")
_REVISIONS: Final = names("ruleRevisions", "ruleRevisions/999", "RULE_REVISION_NOT_FOUND")

CASES: Final[dict[str, list[Bad]]] = {
    "GroupService/CreateGroup": CREATE_GROUP,
    "GroupService/GetGroup": _GROUP_NAMES,
    "GroupService/ListGroups": [
        *page_faults(),
        of_another_list(),
        beyond("groups/0/"),
        Bad("state 9", {"state": 9}, "FIELD_INVALID", "state"),
        Bad("a long park", {"park": LONG}, "FIELD_INVALID", "park"),
    ],
    "GroupService/SubmitOrder": SUBMIT_ORDER,
    "GroupService/BatchSubmitOrders": BATCH_SUBMIT,
    "GroupService/IngestOrders": INGEST,
    "GroupService/GetOrder": order_names(),
    "GroupService/ListOrders": [
        *_GROUP_PARENTS,
        *page_faults({"parent": f"groups/{OPEN}"}),
        of_another_list({"parent": f"groups/{OPEN}"}),
        beyond(f"orders/{OPEN}", {"parent": f"groups/{OPEN}"}),
    ],
    "GroupService/CancelOrder": [
        *order_names(),
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
    "DispatchService/GetDecision": [*order_names("/decision"), UNDECIDED],
    "DispatchService/ListDecisions": [
        *_GROUP_PARENTS,
        *page_faults({"parent": "groups/-"}),
        of_another_list({"parent": "groups/-"}),
        beyond("decisions/groups/-", {"parent": "groups/-"}),
    ],
    "DispatchService/WatchDecisions": WATCH_DECISIONS,
    "DispatchService/ExplainDecision": [*order_names("/decision"), UNDECIDED],
    "DispatchService/PreviewDecision": PREVIEW_DECISION,
    "DispatchService/ListInterventions": [*page_faults(), of_another_list(), beyond("interventions")],
    "DispatchService/ResolveIntervention": RESOLVE,
    "ShopService/BatchUpsertShops": UPSERT_SHOPS,
    "ShopService/GetShop": names("shops", "shops/999", "SHOP_NOT_FOUND"),
    "ShopService/ListShops": [*page_faults(), of_another_list(), beyond("shops")],
    "ShopService/UpdateShop": UPDATE_SHOP,
    "ShopService/AdjustStock": ADJUST_STOCK,
    "RiderService/BatchUpsertRiders": UPSERT_RIDERS,
    "RiderService/GetRider": names("riders", "riders/999", "RIDER_NOT_FOUND"),
    "RiderService/ListRiders": [*page_faults(), of_another_list(), beyond("riders")],
    "RiderService/StreamPositions": STREAM_POSITIONS,
    "ScheduleService/RegisterSchedule": REGISTER,
    "ScheduleService/UpdateSchedule": UPDATE_SCHEDULE,
    "ScheduleService/UnregisterSchedule": [
        *SCHEDULE_NAMES,
        GONE,
        SCHEDULE_REQUEST_ID,
        Bad("etag", {"name": "schedules/present", "etag": "9"}, "ETAG_MISMATCH", "etag"),
    ],
    "ScheduleService/PauseSchedule": [
        *SCHEDULE_NAMES,
        GONE,
        SCHEDULE_REQUEST_ID,
        Bad("a long note", {"name": "schedules/present", "note": LONG}, "FIELD_INVALID", "note"),
    ],
    "ScheduleService/ResumeSchedule": [*SCHEDULE_NAMES, GONE, SCHEDULE_REQUEST_ID],
    "ScheduleService/TriggerSchedule": [*SCHEDULE_NAMES, GONE, SCHEDULE_REQUEST_ID],
    "ScheduleService/BackfillSchedule": BACKFILL,
    "ScheduleService/GetSchedule": SCHEDULE_NAMES,
    "ScheduleService/ListScheduleChanges": [
        *names("schedules", "", ""),
        *page_faults({"name": "schedules/-"}),
    ],
    "ScheduleService/GetScheduleFolder": [
        Bad("it has no fields", b"\x0a\x01x", "FIELD_UNKNOWN", "#1"),
        Bad("no message", b"\xff", "MESSAGE_MALFORMED", None),
    ],
    "ScheduleService/ListSchedules": [
        *page_faults(),
        of_another_list(),
        beyond("schedules/0/"),
        Bad("label form", {"label": "Park=x"}, "FIELD_INVALID", "label"),
        Bad("state 9", {"state": 9}, "FIELD_INVALID", "state"),
    ],
    "ScheduleService/PreviewSchedule": [
        Bad("no subject", {}, "FIELD_REQUIRED", "name"),
        *(bad for bad in SCHEDULE_NAMES if bad.what != "name missing"),
        *below("", TIMING_FAULTS, lambda timing: {"timing": timing}),
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
    "TaskService/GetTask": TASK_NAMES,
    "TaskService/ListTasks": LIST_TASKS,
    "TaskService/CancelTask": [*TASK_NAMES, TASK_REQUEST_ID],
    "TaskService/RetryTask": [
        *TASK_NAMES,
        Bad("one that waits", lambda world: {"name": world.waiting_task}, "STATE_CONFLICT", None),
        Bad("a cancelled one", lambda world: {"name": world.cancelled_task}, "STATE_CONFLICT", None),
    ],
    "TaskService/WatchTask": TASK_NAMES,
    "WorkerService/StreamTasks": STREAM_TASKS,
    "RuleService/ValidateRules": [Bad("no source", {}, "FIELD_REQUIRED", "source")],
    "RuleService/PublishRules": PUBLISH,
    "RuleService/GetRevision": _REVISIONS,
    "RuleService/ListRevisions": [*page_faults(), of_another_list(), beyond("ruleRevisions")],
    "RuleService/GetRulesStatus": [
        Bad("it has no fields", b"\x0a\x01x", "FIELD_UNKNOWN", "#1"),
        Bad("no message", b"\xff", "MESSAGE_MALFORMED", None),
    ],
    "RuleService/RollBackRules": [
        *_REVISIONS,
        Bad("a long note", {"name": "ruleRevisions/1", "note": LONG}, "FIELD_INVALID", "note"),
        Bad("request_id", {"name": "ruleRevisions/1", "request_id": " "}, "FIELD_INVALID", "request_id"),
    ],
}
