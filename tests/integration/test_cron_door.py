"""Schedules over HTTP and JSON, against a real server: what gRPC callers get, and problem JSON for what is refused."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest

from cuptime.app.served import ServedProcess
from tests.integration.door import Door

CRON = {"schedule_id": "open-park", "cron": "0 9 * * 1-5", "timezone": "Asia/Shanghai", "queue": "sheets"}


def post(served: ServedProcess, action: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(served.metrics_address, timeout=10)
    try:
        given = {"Content-Type": "application/json"} | {
            key.replace("_", "-"): text for key, text in headers.items()
        }
        connection.request("POST", f"/v1/cron/{action}", raw, given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "wanted", "reason", "says"),
    [
        (
            "POST",
            "/v1/cron/registre",
            404,
            "PATH_NOT_FOUND",
            "/v1/cron/register, /v1/cron/update, /v1/cron/unregister",
        ),
        ("GET", "/v1", 404, "PATH_NOT_FOUND", "/metrics"),
        ("GET", "/v1/cron/register", 405, "METHOD_NOT_ALLOWED", "takes POST, not GET"),
        ("DELETE", "/v1/cron/update", 405, "METHOD_NOT_ALLOWED", "takes POST, not DELETE"),
    ],
)
def test_a_wrong_path_or_method_is_refused_as_everything_else(
    served: ServedProcess, method: str, path: str, wanted: int, reason: str, says: str
) -> None:
    connection = http.client.HTTPConnection(served.metrics_address, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    told = json.loads(answer.read())
    connection.close()
    assert answer.getheader("Content-Type") == "application/problem+json"
    assert answer.getheader("Allow") == ("POST" if wanted == 405 else None)
    assert (answer.status, told["status"], told["reason"]) == (wanted, wanted, reason)
    assert says in told["detail"]


async def test_a_life_over_http(served: ServedProcess, door: Door) -> None:
    asked = CRON | {
        "schedule_id": "life",
        "dst_policy": "skip_once",
        "catch_up": "latest",
        "bucket": "minute",
        "request_id": "life-1",
        "labels": {"park": "minhang"},
        "payload": "早",
    }
    status, made = post(served, "register", asked)
    assert (status, made["state"], made["timing"]["cron"]) == (200, "STATE_ACTIVE", "0 9 * * 1-5")
    assert post(served, "register", asked) == (200, made), "a repeat gets the first answer"
    assert made["timing"]["dst_policy"] == "DST_POLICY_SKIP_ONCE"
    assert made["policy"]["catch_up"] == "CATCH_UP_LATEST"
    assert made["target"]["task"]["bucket"] == "BUCKET_MINUTE"
    read = (await door.call("ScheduleService/GetSchedule", name="schedules/life")).schedule
    assert (read.target.task.payload.decode(), dict(read.labels)) == ("早", {"park": "minhang"})

    change = {
        "schedule_id": "life",
        "every_ms": 60_000,
        "max_runs": 9,
        "overlap": "buffer_one",
        "request_id": "life-2",
        "etag": made["etag"],
    }
    status, changed = post(served, "update", change)
    assert (status, changed["timing"]["every_ms"], changed["policy"]["max_runs"]) == (200, "60000", "9")
    assert changed["policy"]["overlap"] == "OVERLAP_BUFFER_ONE"
    assert changed["target"] == made["target"], "what is not named stays"
    assert post(served, "update", change | {"request_id": "life-3"})[1]["reason"] == "ETAG_MISMATCH"

    status, ended = post(served, "register", asked | {"request_id": "life-4", "enabled": False})
    assert (status, ended["state"]) == (200, "STATE_UNREGISTERED")
    status, told = post(served, "unregister", {"schedule_id": "life", "request_id": "life-5"})
    assert (status, told["reason"]) == (404, "SCHEDULE_NOT_FOUND")


BAD: list[tuple[str, object, int, str, str]] = [
    ("register", {}, 400, "FIELD_REQUIRED", "cron"),
    ("register", CRON | {"cron": "61 * * * *"}, 400, "CRON_INVALID", "cron"),
    ("register", CRON | {"cron": "0 0 30 2 *"}, 400, "CRON_NEVER_FIRES", "cron"),
    ("register", CRON | {"timezone": "Beijing"}, 400, "TIME_ZONE_UNKNOWN", "timezone"),
    ("register", CRON | {"every_ms": 1_000}, 400, "FIELD_CONTRADICTION", "every_ms"),
    ("register", CRON | {"dst_policy": "summer"}, 400, "FIELD_INVALID", "dst_policy"),
    ("register", CRON | {"catch_up": "some"}, 400, "FIELD_INVALID", "catch_up"),
    ("register", CRON | {"bucket": "hour"}, 400, "FIELD_INVALID", "bucket"),
    ("register", CRON | {"overlap": "some"}, 400, "FIELD_INVALID", "overlap"),
    ("register", CRON | {"catch_up": "bounded"}, 400, "FIELD_REQUIRED", "catch_up_limit"),
    ("register", CRON | {"jitter_ms": -1}, 400, "FIELD_INVALID", "jitter_ms"),
    ("register", CRON | {"group_id": 5, "sku_version": "2.1"}, 400, "FIELD_INVALID", "group_id"),
    ("register", CRON | {"group_id": 98_765, "sku_version": "2.1"}, 404, "GROUP_NOT_FOUND", "group_id"),
    ("register", CRON | {"group_id": 1 << 63, "sku_version": "2.1"}, 400, "FIELD_INVALID", "group_id"),
    ("register", CRON | {"labels": {"K": "v"}}, 400, "FIELD_INVALID", "labels"),
    ("register", CRON | {"labels": {"k": 1}}, 400, "FIELD_INVALID", "labels"),
    ("register", CRON | {"schedule_id": "Bad id"}, 400, "FIELD_INVALID", "schedule_id"),
    ("register", CRON | {"queue": "Upper"}, 400, "FIELD_INVALID", "queue"),
    ("register", CRON | {"priority": 1 << 40}, 400, "FIELD_INVALID", "priority"),
    ("register", CRON | {"start_time_ms": 1 << 70}, 400, "FIELD_INVALID", "start_time_ms"),
    ("register", CRON | {"enabled": "no"}, 400, "FIELD_INVALID", "enabled"),
    ("register", CRON | {"enabled": 1}, 400, "FIELD_INVALID", "enabled"),
    ("register", CRON | {"max_runs": True}, 400, "FIELD_INVALID", "max_runs"),
    ("register", CRON | {"request_id": "\n"}, 400, "FIELD_INVALID", "request_id"),
    ("register", CRON | {"wheel": 1}, 400, "FIELD_UNKNOWN", "wheel"),
    (
        "register",
        {"schedule_id": "past", "at_time_ms": 5, "queue": "q"},
        400,
        "SCHEDULE_TIME_PASSED",
        "at_time_ms",
    ),
    ("register", b"{", 400, "MESSAGE_MALFORMED", ""),
    ("register", b"[]", 400, "MESSAGE_MALFORMED", ""),
    ("register", b'{"cron": NaN}', 400, "MESSAGE_MALFORMED", ""),
    ("register", b'{"cron": "a", "cron": "b"}', 400, "MESSAGE_MALFORMED", ""),
    ("register", b'{"note": "\\ud800"}', 400, "FIELD_INVALID", "note"),
    ("register", b"[" * 100_000, 400, "MESSAGE_MALFORMED", ""),
    ("register", b" " * 300_000, 429, "LIMIT_REACHED", ""),
    ("register", b"\xff\xfe", 400, "MESSAGE_MALFORMED", ""),
    ("update", {"schedule_id": "absent", "cron": "0 9 * * *"}, 404, "SCHEDULE_NOT_FOUND", ""),
    ("update", {"schedule_id": "absent"}, 400, "FIELD_REQUIRED", "cron"),
    ("update", {"cron": "0 9 * * *"}, 400, "FIELD_REQUIRED", "schedule_id"),
    ("update", {"schedule_id": "absent", "timezone": "UTC"}, 400, "FIELD_REQUIRED", "cron"),
    ("unregister", {"schedule_id": "absent"}, 404, "SCHEDULE_NOT_FOUND", ""),
    ("unregister", {"schedule_id": "../etc"}, 400, "FIELD_INVALID", "schedule_id"),
    ("unregister", {"schedule_id": "absent", "cron": "* * * * *"}, 400, "FIELD_UNKNOWN", "cron"),
]


@pytest.mark.parametrize(("action", "body", "status", "reason", "field"), BAD)
async def test_what_is_refused_is_a_problem_that_names_the_field(
    served: ServedProcess, door: Door, action: str, body: object, status: int, reason: str, field: str
) -> None:
    before = (await door.call("ScheduleService/ListSchedules")).schedules
    found, told = post(served, action, body)
    assert (found, told["reason"], told.get("field", "")) == (status, reason, field)
    assert told["status"] == status
    assert (await door.call("ScheduleService/ListSchedules")).schedules == before


def test_a_page_in_a_browser_cannot_use_the_door(served: ServedProcess) -> None:
    status, told = post(served, "register", CRON, Content_Type="text/plain")
    assert (status, told["reason"]) == (400, "MESSAGE_MALFORMED")
