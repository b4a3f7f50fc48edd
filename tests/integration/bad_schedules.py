"""Bad requests of schedules."""

from __future__ import annotations

from typing import Any, Final

from tests.integration import campus
from tests.integration.campus import HOUR_MS, PLACE
from tests.integration.faults import HUGE, LONG, Bad, below, changed, faults, names


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
    ("R * * * *", "CRON_INVALID"),
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
TIMING_FAULTS: Final = [
    *_CRON_FAULTS,
    Bad(
        "Beijing", {"cron": "0 9 * * *", "time_zone": "Asia/Beijing"}, "TIME_ZONE_UNKNOWN", "timing.time_zone"
    ),
    Bad(
        "a path", {"cron": "0 9 * * *", "time_zone": "../etc/passwd"}, "TIME_ZONE_UNKNOWN", "timing.time_zone"
    ),
    Bad("a long zone", {"cron": "0 9 * * *", "time_zone": LONG}, "TIME_ZONE_UNKNOWN", "timing.time_zone"),
    Bad("strange words", {"text": "every blue moon"}, "WORDS_NOT_UNDERSTOOD", "timing.text"),
    Bad("no words", {"text": ""}, "WORDS_NOT_UNDERSTOOD", "timing.text"),
    Bad("words elsewhere", {"text": "每天9点", "time_zone": "Mars"}, "TIME_ZONE_UNKNOWN", "timing.time_zone"),
    Bad("DST 77", {"cron": "0 9 * * *", "dst_policy": 77}, "FIELD_INVALID", "timing.dst_policy"),
    Bad("DST of every", {"every_ms": 1_000, "dst_policy": 1}, "FIELD_CONTRADICTION", "timing.dst_policy"),
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
    Bad("at in the past", {"at_time_ms": 5}, "SCHEDULE_TIME_PASSED", "timing.at_time_ms"),
    Bad("over already", {"every_ms": 1_000, "end_time_ms": 5}, "SCHEDULE_TIME_PASSED", "timing.end_time_ms"),
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
    Bad(
        "a context without a group",
        {"task": {"queue": "q", "context": {"sku_version": "2.1"}}},
        "FIELD_INVALID",
        "target.task.context.group_id",
    ),
    Bad(
        "a context of no known group",
        {"task": {"queue": "q", "context": {"group_id": 98_765, "sku_version": "2.1"}}},
        "GROUP_NOT_FOUND",
        "target.task.context.group_id",
    ),
    Bad(
        "a bad version in a context",
        {"task": {"queue": "q", "context": {"group_id": 98_765, "sku_version": "2"}}},
        "FIELD_INVALID",
        "target.task.context.sku_version",
    ),
    Bad(
        "a context of last year",
        {"task": {"queue": "q", "context": {"group_id": 98_765, "sku_version": "2.1", "timestamp_ms": 5}}},
        "FIELD_INVALID",
        "target.task.context.timestamp_ms",
    ),
    Bad("bucket 7", {"task": {"queue": "q", "bucket": 7}}, "FIELD_INVALID", "target.task.bucket"),
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


_POLICY_FAULTS: Final = [
    Bad("max_runs -1", {"max_runs": -1}, "FIELD_INVALID", "policy.max_runs"),
    Bad("max_runs HUGE", {"max_runs": HUGE}, "FIELD_INVALID", "policy.max_runs"),
    Bad("jitter -1", {"jitter_ms": -1}, "FIELD_INVALID", "policy.jitter_ms"),
    Bad("jitter HUGE", {"jitter_ms": HUGE}, "FIELD_INVALID", "policy.jitter_ms"),
    Bad("overlap 77", {"overlap": 77}, "FIELD_INVALID", "policy.overlap"),
    Bad("catch_up 77", {"catch_up": 77}, "FIELD_INVALID", "policy.catch_up"),
    Bad("window -1", {"catch_up_window_ms": -1}, "FIELD_INVALID", "policy.catch_up_window_ms"),
    Bad("window HUGE", {"catch_up_window_ms": HUGE}, "FIELD_INVALID", "policy.catch_up_window_ms"),
    Bad("no limit", {"catch_up": 4}, "FIELD_REQUIRED", "policy.catch_up_limit"),
    Bad("a limit of ALL", {"catch_up_limit": 4}, "FIELD_CONTRADICTION", "policy.catch_up_limit"),
    Bad("limit 1001", {"catch_up": 4, "catch_up_limit": 1_001}, "FIELD_INVALID", "policy.catch_up_limit"),
]
_LABEL_FAULTS: Final = [
    Bad("an upper key", {"Key": "v"}, "FIELD_INVALID", "labels"),
    Bad("an empty key", {"": "v"}, "FIELD_INVALID", "labels"),
    Bad("a long value", {"k": LONG}, "FIELD_INVALID", "labels"),
    Bad("a line break", {"k": "a\nb=c"}, "FIELD_INVALID", "labels"),
    Bad("17 labels", {f"k{n}": "v" for n in range(17)}, "FIELD_INVALID", "labels"),
]


REGISTER: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "schedule"),
    *faults(
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
    *below("schedule.", TIMING_FAULTS + _NEVER, lambda timing: _schedule(**timing)),
    *below("schedule.", _TARGET_FAULTS, lambda target: changed(_schedule(), "schedule.target", target)),
    *below("schedule.", _POLICY_FAULTS, lambda policy: changed(_schedule(), "schedule.policy", policy)),
    *below("schedule.", _LABEL_FAULTS, lambda labels: changed(_schedule(), "schedule.labels", labels)),
]


def _schedule_update(path: str, **fields: Any) -> dict[str, Any]:
    return {"schedule": {"name": "schedules/present"} | fields, "update_mask": {"paths": [path]}}


def _update_good() -> dict[str, Any]:
    return _schedule_update("note", note="n")


UPDATE_SCHEDULE: Final = [
    Bad("empty", {}, "FIELD_REQUIRED", "schedule"),
    *faults(
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
    *below("schedule.", TIMING_FAULTS + _NEVER, lambda timing: _schedule_update("timing", timing=timing)),
    *below("schedule.", _TARGET_FAULTS, lambda target: _schedule_update("target", target=target)),
    *below("schedule.", _POLICY_FAULTS, lambda policy: _schedule_update("policy", policy=policy)),
    *below("schedule.", _LABEL_FAULTS, lambda labels: _schedule_update("labels", labels=labels)),
]
SCHEDULE_NAMES: Final = names("schedules", "schedules/absent", "SCHEDULE_NOT_FOUND")
GONE: Final = Bad("an ended one", {"name": "schedules/gone"}, "SCHEDULE_NOT_FOUND", None)
SCHEDULE_REQUEST_ID: Final = Bad(
    "request_id", {"name": "schedules/present", "request_id": "\t"}, "FIELD_INVALID", "request_id"
)


def _backfill_good() -> dict[str, Any]:
    return {"name": "schedules/present", "start_time_ms": 1_000, "end_time_ms": 2_000}


BACKFILL: Final = [
    *faults(
        _backfill_good,
        [
            ("name", None, "FIELD_REQUIRED", None),
            ("name", "schedules/UP", "FIELD_INVALID", None),
            ("name", "schedules/absent", "SCHEDULE_NOT_FOUND", ""),
            ("start_time_ms", None, "FIELD_INVALID", None),
            ("start_time_ms", -1, "FIELD_INVALID", None),
            ("start_time_ms", 2_000, "FIELD_CONTRADICTION", "end_time_ms"),
            ("end_time_ms", None, "FIELD_INVALID", None),
            ("end_time_ms", HUGE, "FIELD_INVALID", None),
            ("end_time_ms", 4_000_000_000_000, "FIELD_INVALID", None),
            ("request_id", " ", "FIELD_INVALID", None),
        ],
    ),
]
