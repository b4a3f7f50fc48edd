"""The wrapper around every call: its deadline is kept, its trace goes on, its refusals have a reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2

from cuptime._gen.cuptime.v1 import group_service_pb2, task_service_pb2
from cuptime.api.call import Call, Wrapper
from cuptime.api.status import DETAILS_KEY
from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.telemetry.metrics import PrometheusMetrics

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Aborted(Exception):
    """What grpc raises out of `abort`."""


class Context:
    """What the wrapper asks of a gRPC context."""

    def __init__(self, remaining_s: float | None = None, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._remaining_s = remaining_s
        self._metadata = metadata
        self.trailing: tuple[tuple[str, Any], ...] = ()
        self.reason = ""

    def time_remaining(self) -> float | None:
        return self._remaining_s

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return self._metadata

    def set_trailing_metadata(self, trailing: tuple[tuple[str, Any], ...]) -> None:
        self.trailing = trailing

    async def abort(self, code: Any, message: str, trailing: tuple[tuple[str, Any], ...]) -> None:
        info = error_details_pb2.ErrorInfo()
        status_pb2.Status.FromString(dict(trailing)[DETAILS_KEY]).details[0].Unpack(info)
        self.reason = info.reason
        raise Aborted(message)


class Tasks:
    """One endpoint that answers, and one that never does."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    async def get_task(self, request: Any, call: Call) -> Any:
        self.calls.append(call)
        return task_service_pb2.GetTaskResponse()

    async def cancel_task(self, request: Any, call: Call) -> Any:
        await asyncio.Event().wait()


class Orders:
    """A hot endpoint that never answers."""

    def submit_order(self, raw: bytes) -> asyncio.Future[Any]:
        return asyncio.get_running_loop().create_future()


@pytest.fixture
def wrapper() -> Wrapper:
    return Wrapper(ManualClock(1_000), PrometheusMetrics(), frozenset({"GroupService/SubmitOrder"}))


def _handler(wrapper: Wrapper, pool: Any, service: str, method: str, run: Any) -> Any:
    descriptor = pool.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    return wrapper._handler(f"{service}/{method}", descriptor, run).unary_unary


async def test_a_call_knows_its_deadline_and_passes_its_trace_on(wrapper: Wrapper) -> None:
    tasks = Tasks()
    handler = _handler(wrapper, task_service_pb2, "TaskService", "GetTask", tasks.get_task)
    context = Context(2.0, (("traceparent", PARENT),))
    await handler(b"", context)
    (call,) = tasks.calls
    assert call.deadline_ms == 3_000
    assert call.traceparent.split("-")[1] == PARENT.split("-")[1]
    assert call.traceparent != PARENT
    assert dict(context.trailing) == {"traceparent": call.traceparent}


@pytest.mark.parametrize("remaining_s", [0.01, 0.0, -1.0])
async def test_a_call_ends_at_its_deadline(wrapper: Wrapper, remaining_s: float) -> None:
    handler = _handler(wrapper, task_service_pb2, "TaskService", "CancelTask", Tasks().cancel_task)
    context = Context(remaining_s)
    with pytest.raises(Aborted):
        await handler(b"", context)
    assert context.reason == "DEADLINE_TOO_SHORT"
    assert wrapper.in_flight == 0


async def test_a_hot_call_ends_at_its_deadline_and_gives_its_trace_back(wrapper: Wrapper) -> None:
    handler = _handler(wrapper, group_service_pb2, "GroupService", "SubmitOrder", Orders().submit_order)
    context = Context(0.01, (("traceparent", PARENT),))
    with pytest.raises(Aborted):
        await handler(b"", context)
    assert context.reason == "DEADLINE_TOO_SHORT"
    assert dict(context.trailing)["traceparent"].split("-")[1] == PARENT.split("-")[1]
    assert (wrapper.in_flight, wrapper.bytes_in_flight) == (0, 0)


async def test_a_draining_server_refuses(wrapper: Wrapper) -> None:
    wrapper.draining = True
    handler = _handler(wrapper, task_service_pb2, "TaskService", "GetTask", Tasks().get_task)
    context = Context()
    with pytest.raises(Aborted):
        await handler(b"", context)
    assert context.reason == "DRAINING"


async def test_a_call_that_is_too_much_for_a_draining_server_is_sent_elsewhere(wrapper: Wrapper) -> None:
    async def overrun(_: Any, __: Any) -> Any:
        wrapper.draining = True
        raise CuptimeError(Reason.OVERLOADED)

    context = Context()
    with pytest.raises(Aborted):
        await _handler(wrapper, task_service_pb2, "TaskService", "GetTask", overrun)(b"", context)
    assert context.reason == "DRAINING"
