"""`POST /v1/cron/register`, `/v1/cron/update` and `/v1/cron/unregister`: schedules for services without gRPC.

Flat JSON in, the schedule as JSON out; refusals are problem JSON (RFC 9457) with the reason of the catalogue. Behind it
are the same endpoints as for gRPC, so idempotency by `request_id`, checks and effects are the same. `"enabled": false`
cancels: the schedule is unregistered and nothing of it fires any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, NoReturn

import structlog
from google.protobuf import json_format
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.api.call import ACTOR_KEY, Call, caller_of
from cuptime.api.schedules import ScheduleEndpoints
from cuptime.domain.clock import Clock, stopwatch_s
from cuptime.domain.errors import Code, CuptimeError, Reason, invalid, required
from cuptime.domain.limits import DEADLINE_DEFAULT_MS, HTTP_BODY_BYTES_MAX, HTTP_CALLS_MAX
from cuptime.domain.values import Caller

_log = structlog.get_logger("cuptime.api")
_STATUS: Final = {
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.INTERNAL: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
_TIMING: Final = {"cron": str, "text": str, "at_time_ms": int, "after_ms": int, "every_ms": int}
_BOUNDS: Final = {"timezone": str, "dst_policy": str, "start_time_ms": int, "end_time_ms": int}
_TASK: Final = {"queue": str, "payload": str, "priority": int, "max_retries": int, "backoff_ms": int}
_CONTEXT: Final = {"group_id": int, "sku_version": str, "stock_snapshot": int, "timestamp_ms": int}
_POLICY: Final = {
    "max_runs": int,
    "jitter_ms": int,
    "catch_up": str,
    "catch_up_window_ms": int,
    "catch_up_limit": int,
    "overlap": str,
}
_ALL_CALLS: Final = {"schedule_id": str, "request_id": str, "validate_only": bool}
_REGISTER: Final = (
    _ALL_CALLS
    | _TIMING
    | _BOUNDS
    | _TASK
    | _CONTEXT
    | _POLICY
    | {"note": str, "labels": dict, "enabled": bool}
)
KNOWN: Final[dict[str, dict[str, type]]] = {
    "register": _REGISTER,
    "update": _REGISTER | {"etag": str},
    "unregister": _ALL_CALLS | {"etag": str},
}
"""By action, the names of a body and the type of each."""
_OF_64_BITS: Final = ("_ms", "max_runs", "group_id", "stock_snapshot")
_RETRY_AFTER_S: Final = 1


class CronDoor:
    """The three actions."""

    def __init__(
        self, endpoints: ScheduleEndpoints, clock: Clock, call_seen: Callable[[str, str, float], None]
    ):
        self._endpoints = endpoints
        self._clock = clock
        self._call_seen = call_seen
        self._under_way = 0
        self._draining = False

    def drain(self) -> None:
        """The server stops: no call is taken any more."""
        self._draining = True

    def routes(self) -> list[Route]:
        return [
            Route(f"/v1/cron/{action}", self._action(action, run), methods=["POST"])
            for action, run in (
                ("register", self._register),
                ("update", self._update),
                ("unregister", self._unregister),
            )
        ]

    def _action(
        self, action: str, run: Callable[[dict[str, Any], Call], Awaitable[bytes]]
    ) -> Callable[[Request], Awaitable[Response]]:
        name = f"http/v1/cron/{action}"

        async def answer(request: Request) -> Response:
            started, code = stopwatch_s(), "OK"
            self._under_way += 1
            try:
                if self._draining:
                    raise CuptimeError(Reason.DRAINING)
                if self._under_way > HTTP_CALLS_MAX:
                    raise CuptimeError(Reason.OVERLOADED, "too many HTTP calls at once")
                body = await _body(request, KNOWN[action])
                deadline_ms = self._clock.now_ms() + DEADLINE_DEFAULT_MS
                async with asyncio.timeout(DEADLINE_DEFAULT_MS / 1_000):
                    raw = await run(body, Call(name, deadline_ms, "", partial(_caller, request)))
                schedule = pb.RegisterScheduleResponse.FromString(raw).schedule
                return JSONResponse(json_format.MessageToDict(schedule, preserving_proto_field_name=True))
            except CuptimeError as refusal:
                code = refusal.reason.code.name
                return problem(refusal)
            except TimeoutError:
                code = Code.DEADLINE_EXCEEDED.name
                return problem(CuptimeError(Reason.DEADLINE_TOO_SHORT))
            except Exception:
                _log.exception("fault", method=name)
                code = Code.INTERNAL.name
                return problem(CuptimeError(Reason.INTERNAL))
            finally:
                self._under_way -= 1
                self._call_seen(name, code, (stopwatch_s() - started) * 1_000)

        return answer

    async def _register(self, body: dict[str, Any], call: Call) -> bytes:
        if body.get("enabled") is False:
            return await self._unregister(body, call)
        request = pb.RegisterScheduleRequest(
            schedule=_schedule(body, set(body)),
            request_id=body.get("request_id", ""),
            validate_only=body.get("validate_only", False),
        )
        return await self._endpoints.register_schedule(request, call)

    async def _update(self, body: dict[str, Any], call: Call) -> bytes:
        if body.get("enabled") is False:
            return await self._unregister(body, call)
        paths = {
            "timing": _TIMING.keys() | _BOUNDS.keys(),
            "target": _TASK.keys() | _CONTEXT.keys(),
            "policy": _POLICY.keys(),
            "note": {"note"},
            "labels": {"labels"},
        }
        named = [path for path, fields in paths.items() if fields & body.keys()]
        if not named:
            raise CuptimeError(
                Reason.FIELD_REQUIRED, "name something to change, for example cron", field="cron"
            )
        schedule = _schedule(body, set(named))
        schedule.name = f"schedules/{_id(body)}"
        request = pb.UpdateScheduleRequest(
            schedule=schedule,
            etag=body.get("etag", ""),
            request_id=body.get("request_id", ""),
            validate_only=body.get("validate_only", False),
        )
        request.update_mask.paths.extend(named)
        return await self._endpoints.update_schedule(request, call)

    async def _unregister(self, body: dict[str, Any], call: Call) -> bytes:
        request = pb.UnregisterScheduleRequest(
            name=f"schedules/{_id(body)}",
            etag=body.get("etag", ""),
            request_id=body.get("request_id", ""),
            validate_only=body.get("validate_only", False),
        )
        return await self._endpoints.unregister_schedule(request, call)


def _caller(request: Request) -> Caller:
    peer = f"http:{request.client.host}:{request.client.port}" if request.client else "http"
    # Headers are Latin-1 on the wire; people write UTF-8 into them.
    actor = request.headers.get(ACTOR_KEY, "").encode("latin-1").decode("utf-8", "replace")
    return caller_of(actor, peer)


def _id(body: dict[str, Any]) -> str:
    schedule_id: str = body.get("schedule_id", "")
    if not schedule_id:
        raise required("schedule_id")
    return schedule_id


def _schedule(body: dict[str, Any], named: set[str]) -> pb.Schedule:
    """The message of a body. Only what fits its field gets here; the endpoints check what it means."""
    schedule = pb.Schedule(schedule_id=body.get("schedule_id", ""), note=body.get("note", ""))
    given = [name for name in _TIMING if name in body]
    if len(given) > 1:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, f"{given[0]} and {given[1]} are both given", field=given[1]
        )
    for name in (*given, "start_time_ms", "end_time_ms"):
        if name in body:
            setattr(schedule.timing, name, body[name])
    schedule.timing.time_zone = body.get("timezone", "")
    if "dst_policy" in body:
        schedule.timing.dst_policy = _enum(pb.DstPolicy, "DST_POLICY_", body["dst_policy"], "dst_policy")
    for name, value in body.items():
        if name in _TASK:
            setattr(schedule.target.task, name, value.encode() if name == "payload" else value)
        elif name in _CONTEXT:
            setattr(schedule.target.task.context, name, value)
        elif name == "catch_up":
            schedule.policy.catch_up = _enum(pb.SchedulePolicy.CatchUp, "CATCH_UP_", value, "catch_up")
        elif name == "overlap":
            schedule.policy.overlap = _enum(pb.Overlap, "OVERLAP_", value, "overlap")
        elif name in _POLICY:
            setattr(schedule.policy, name, value)
    for key, value in body.get("labels", {}).items():
        if not isinstance(value, str):
            raise invalid("labels", "texts by text", value)
        schedule.labels[key] = value
    if "target" in named or "queue" in named:
        schedule.target.task.SetInParent()
    return schedule


def _enum(kind: Any, prefix: str, text: str, field: str) -> Any:
    names = [
        name.removeprefix(prefix).lower() for name in list(kind.keys()) if not name.endswith("_UNSPECIFIED")
    ]
    if text not in names:
        raise invalid(field, "one of " + ", ".join(names), text)
    return kind.Value(prefix + text.upper())


async def _body(request: Request, known: dict[str, type]) -> dict[str, Any]:
    """The JSON object of a request, each name known and of its type. Raises MESSAGE_MALFORMED, LIMIT_REACHED,
    FIELD_UNKNOWN, FIELD_INVALID.

    A page in somebody's browser cannot send this content type to us without asking first, so no page can use the door.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise CuptimeError(Reason.MESSAGE_MALFORMED, "send Content-Type: application/json")
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > HTTP_BODY_BYTES_MAX:
            raise CuptimeError(
                Reason.LIMIT_REACHED,
                f"the body has more than {HTTP_BODY_BYTES_MAX} bytes",
                metadata={"limit": str(HTTP_BODY_BYTES_MAX)},
            )
    try:
        body = json.loads(raw, object_pairs_hook=_once, parse_constant=_no_constant)
    except CuptimeError:
        raise
    except (ValueError, RecursionError) as fault:
        raise CuptimeError(Reason.MESSAGE_MALFORMED, f"the body is not JSON: {str(fault)[:200]}") from None
    if not isinstance(body, dict):
        raise CuptimeError(Reason.MESSAGE_MALFORMED, "the body is not a JSON object")
    for name, value in body.items():
        _check_type(name, value, known)
    return body


def _check_type(name: str, value: object, known: dict[str, type]) -> None:
    wanted = known.get(name)
    if wanted is None:
        raise CuptimeError(
            Reason.FIELD_UNKNOWN,
            f"{name[:64]!r} is not known here; known are {', '.join(known)}",
            field=name[:64],
        )
    if type(value) is not wanted:
        raise invalid(
            name,
            {str: "a text", int: "a whole number", bool: "true or false"}.get(wanted, "an object"),
            value,
        )
    # 32 bits suffice for none of the instants; what does not fit its field is refused by the message below.
    if isinstance(value, int) and not -(2**31) <= value < 2**31 and not name.endswith(_OF_64_BITS):
        raise invalid(name, "a number of 32 bits", value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise invalid(name, "a number of 64 bits", value)
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise invalid(name, "valid Unicode", value) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise CuptimeError(Reason.MESSAGE_MALFORMED, "a name is there twice")
    return body


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def problem(error: CuptimeError) -> JSONResponse:
    """A refusal as `application/problem+json`, with the reason and metadata that gRPC callers get."""
    status = _STATUS.get(error.reason.code, 500)
    content = {
        "type": f"urn:cuptime:reason:{error.reason.name}",
        "title": error.reason.text,
        "status": status,
        "detail": error.message,
        "reason": error.reason.name,
        "metadata": error.metadata,
    }
    if error.field:
        content["field"] = _field(error.field)
    headers = {"Retry-After": str(_RETRY_AFTER_S)} if error.reason.retry and status in (429, 503) else None
    return JSONResponse(content, status, headers, media_type="application/problem+json")


def _field(path: str) -> str:
    """The name in the body of a field of the message."""
    name = path.removeprefix("schedule.")
    for part in ("timing.", "target.task.", "context.", "policy."):
        name = name.removeprefix(part)
    return {"time_zone": "timezone", "name": "schedule_id", "timing": "cron", "target": "queue"}.get(
        name, name
    )
