"""`POST /v1/cron/register`, `/v1/cron/update` and `/v1/cron/unregister`: schedules for services without gRPC.

Flat JSON in, the schedule as JSON out; refusals are problem JSON (RFC 9457) with the reason of the catalogue. Behind it
are the same endpoints as for gRPC, so idempotency by `request_id`, checks and effects are the same. `"enabled": false`
cancels: the schedule is unregistered and nothing of it fires any more.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NoReturn

import structlog
from google.protobuf import json_format
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.api.call import ACTOR_KEY, Call, caller_of
from cuptime.api.flat import (
    BOUNDS,
    CONTEXT,
    KNOWN,
    POLICY,
    TASK,
    TIMING,
    check_type,
    name_of,
    schedule_of,
)
from cuptime.api.schedules import ScheduleEndpoints
from cuptime.domain.clock import Clock, stopwatch_s
from cuptime.domain.errors import Code, CuptimeError, Reason, required
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
_RETRY_AFTER_S: Final = 1
PATH_CHARS_TOLD: Final = 100


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
            schedule=schedule_of(body, set(body)),
            request_id=body.get("request_id", ""),
            validate_only=body.get("validate_only", False),
        )
        return await self._endpoints.register_schedule(request, call)

    async def _update(self, body: dict[str, Any], call: Call) -> bytes:
        if body.get("enabled") is False:
            return await self._unregister(body, call)
        paths = {
            "timing": TIMING.keys() | BOUNDS.keys(),
            "target": TASK.keys() | CONTEXT.keys(),
            "policy": POLICY.keys(),
            "note": {"note"},
            "labels": {"labels"},
        }
        named = [path for path, fields in paths.items() if fields & body.keys()]
        if not named:
            raise CuptimeError(
                Reason.FIELD_REQUIRED, "name something to change, for example cron", field="cron"
            )
        schedule = schedule_of(body, set(named))
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
        check_type(name, value, known)
    return body


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        raise CuptimeError(Reason.MESSAGE_MALFORMED, "a name is there twice")
    return body


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def elsewhere(paths: Sequence[str]) -> Callable[[Request, Exception], Response]:
    """What answers a call that no route takes: 404, or 405 with the methods that its path takes."""

    def answer(request: Request, fault: Exception) -> Response:
        path = request.url.path[:PATH_CHARS_TOLD]
        headers = dict(fault.headers or {}) if isinstance(fault, HTTPException) else {}
        if "Allow" in headers:
            refusal = CuptimeError(
                Reason.METHOD_NOT_ALLOWED, f"{path} takes {headers['Allow']}, not {request.method}"
            )
            return problem(refusal, 405, headers)
        known = ", ".join(paths)
        return problem(CuptimeError(Reason.PATH_NOT_FOUND, f"there is no {path!r} here; there are {known}"))

    return answer


def problem(error: CuptimeError, status: int = 0, headers: dict[str, str] | None = None) -> JSONResponse:
    """A refusal as `application/problem+json`, with the reason and metadata that gRPC callers get. The status is that
    of the reason unless given."""
    status = status or _STATUS.get(error.reason.code, 500)
    content = {
        "type": f"urn:cuptime:reason:{error.reason.name}",
        "title": error.reason.text,
        "status": status,
        "detail": error.message,
        "reason": error.reason.name,
        "metadata": error.metadata,
    }
    if error.field:
        content["field"] = name_of(error.field)
    if error.reason.retry and status in (429, 503):
        headers = {"Retry-After": str(_RETRY_AFTER_S)}
    return JSONResponse(content, status, headers, media_type="application/problem+json")
