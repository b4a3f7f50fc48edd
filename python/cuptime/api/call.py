"""One call: its deadline, its trace, and the wrapper that turns endpoint functions into gRPC handlers.

An endpoint is a plain coroutine `async def enqueue_task(self, request, call) -> response` on a class named for its
service. The wrapper around it, made once per method, does what every call needs: in-flight limit, deadline, unknown
fields, trace context, error -> status, metrics. Methods named in `RAW` take and give bytes, because the core reads
them itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Final, Protocol

import grpc
import structlog
from google.protobuf import descriptor as proto_descriptor
from google.protobuf import message as proto_message
from google.protobuf import message_factory, unknown_fields
from google.rpc import status_pb2
from msgspec import Struct

from cuptime.api.status import DETAILS_KEY, cut, error_in, grpc_code, overloaded, status_of
from cuptime.api.status import MESSAGE_BYTES_MAX as STATUS_BYTES_MAX
from cuptime.domain.clock import Clock, stopwatch_s
from cuptime.domain.errors import Code, CuptimeError, Reason, invalid
from cuptime.domain.limits import (
    ACTOR_CHARS_MAX,
    CALL_BYTES_IN_FLIGHT_MAX,
    CONCURRENT_RPCS_MAX,
    CONCURRENT_STREAMS_MAX,
    DEADLINE_DEFAULT_MS,
    MESSAGE_BYTES_MAX,
)
from cuptime.domain.values import NOBODY, Caller
from cuptime.telemetry import trace

_log = structlog.get_logger("cuptime.api")
_SNAKE = re.compile(r"(?<!^)(?=[A-Z])")
ACTOR_KEY: Final = "cuptime-actor"
"""Metadata, or an HTTP header: on whose behalf a change is made."""
_NESTING_MAX: Final = 32
_FOR_EVER_S: Final = 1e9


class CallMetrics(Protocol):
    """What the wrapper counts."""

    def call(self, method: str, code: str, duration_ms: float) -> None: ...


class Call(Struct, frozen=True):
    """What an endpoint may know about its call."""

    method: str
    deadline_ms: int
    """UTC; the caller's, or the default when the caller gave none."""
    traceparent: str
    """Of this hop, to be passed on."""
    caller: Callable[[], Caller] = lambda: NOBODY
    """Who calls. Raises FIELD_INVALID for a name that cannot be kept."""


RawReply = tuple[int, bytes]
"""(0, response) or (google.rpc.Code, google.rpc.Status), both serialized."""


def snake(name: str) -> str:
    return _SNAKE.sub("_", name).lower()


def unknown_field(message: proto_message.Message, depth: int = 0) -> str | None:
    """The path of a field this server does not know, or None. A wish that cannot be read must not be dropped."""
    unknown: Any = unknown_fields.UnknownFieldSet(message)
    for field in unknown:
        return f"#{field.field_number}"
    if depth >= _NESTING_MAX:
        return None
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        parts = [value] if isinstance(value, proto_message.Message) else value
        for part in parts:
            found = unknown_field(part, depth + 1)
            if found is not None:
                return f"{descriptor.name}.{found}"
    return None


def _left_s(context: Any) -> float:
    """Until the call's deadline; the server's own when the caller gave none. Raises DEADLINE_TOO_SHORT when it is
    past."""
    remaining_s: float | None = context.time_remaining()
    if remaining_s is None:
        return DEADLINE_DEFAULT_MS / 1_000
    if remaining_s <= 0:
        raise CuptimeError(Reason.DEADLINE_TOO_SHORT)
    return remaining_s


def _too_late(replying: asyncio.Future[RawReply]) -> None:
    if not replying.done():
        replying.set_exception(TimeoutError())


def _incoming(context: Any) -> trace.TraceContext | None:
    """The caller's trace context."""
    for key, value in context.invocation_metadata() or ():
        if key == trace.HEADER and isinstance(value, str):
            return trace.parse(value)
    return None


def caller_of(actor: str, peer: str) -> Caller:
    """Raises FIELD_INVALID for a name that is too long or not printable."""
    if len(actor) > ACTOR_CHARS_MAX or not actor.isprintable():
        raise invalid(ACTOR_KEY, f"at most {ACTOR_CHARS_MAX} printable characters", actor)
    return Caller(actor, peer)


def _caller(context: Any) -> Caller:
    """As the metadata says; bytes (a key ending in -bin) are UTF-8."""
    actor = ""
    for key, value in context.invocation_metadata() or ():
        if key == ACTOR_KEY:
            actor = value
        elif key == ACTOR_KEY + "-bin":
            actor = value.decode("utf-8", "replace")
    return caller_of(actor, context.peer())


def check_size(raw: bytes) -> None:
    """Raises LIMIT_REACHED for a message above MESSAGE_BYTES_MAX. The channel takes twice as much, so that a message
    that is a little too big is refused with a reason and not by the transport."""
    if len(raw) > MESSAGE_BYTES_MAX:
        raise CuptimeError(
            Reason.LIMIT_REACHED,
            f"the message has {len(raw)} bytes, at most {MESSAGE_BYTES_MAX} are taken; send smaller batches",
            metadata={"measured": str(len(raw)), "limit": str(MESSAGE_BYTES_MAX)},
        )


def parse(message_type: type[proto_message.Message], raw: bytes) -> Any:
    """Raises LIMIT_REACHED, MESSAGE_MALFORMED or FIELD_UNKNOWN."""
    check_size(raw)
    try:
        message = message_type.FromString(raw)
    except proto_message.DecodeError:
        raise CuptimeError(
            Reason.MESSAGE_MALFORMED, metadata={"message": message_type.DESCRIPTOR.full_name}
        ) from None
    size = message.ByteSize()
    message.DiscardUnknownFields()
    if message.ByteSize() != size:
        # Looking at each part of a message costs more than all the rest, so it is done only where there is one.
        found = unknown_field(message_type.FromString(raw)) or "(deep inside)"
        raise CuptimeError(
            Reason.FIELD_UNKNOWN,
            f"field {found} is not known to this server; send only fields of its version",
            field=found,
        )
    return message


class Wrapper:
    """Makes gRPC handlers out of endpoints. `draining` is read at every call."""

    def __init__(self, clock: Clock, metrics: CallMetrics, raw_methods: frozenset[str]) -> None:
        self._clock = clock
        self._metrics = metrics
        self._raw = raw_methods
        self.in_flight = 0
        self.bytes_in_flight = 0
        """Of the requests that unary calls hold."""
        self.streams = 0
        self.draining = False

    def handlers(
        self, service: proto_descriptor.ServiceDescriptor, endpoints: object
    ) -> Iterator[tuple[str, grpc.RpcMethodHandler[Any, Any]]]:
        """One handler for each method of the service; a method without its endpoint fails at start."""
        for method in service.methods:
            run = getattr(endpoints, snake(method.name))
            yield method.name, self._handler(f"{service.name}/{method.name}", method, run)

    def _handler(
        self, name: str, method: proto_descriptor.MethodDescriptor, run: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        raw = name in self._raw
        request_type = message_factory.GetMessageClass(method.input_type)
        if not method.client_streaming and not method.server_streaming:
            handle = self._hot(name, run) if raw else self._unary(name, request_type, run)
            return grpc.unary_unary_rpc_method_handler(handle)
        streaming = self._stream(
            name, None if raw else request_type, run, from_client=method.client_streaming
        )
        if method.client_streaming and method.server_streaming:
            return grpc.stream_stream_rpc_method_handler(streaming)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(streaming)
        return grpc.stream_unary_rpc_method_handler(self._client_stream(name, request_type, run))

    def _unary(
        self, name: str, request_type: type[proto_message.Message], run: Callable[..., Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        async def handle(raw: bytes, context: Any) -> bytes:
            started = stopwatch_s()
            await self._enter(name, context, len(raw), started)
            try:
                self._check_draining()
                left_s = _left_s(context)
                hop = self._hop(name, context)
                request = parse(request_type, raw)
                deadline_ms = self._clock.now_ms() + int(left_s * 1_000)
                call = Call(name, deadline_ms, hop, partial(_caller, context))
                async with asyncio.timeout(left_s):
                    response = await run(request, call)
                # Some answers were serialized when they were made durable: those bytes are the answer.
                reply = response if isinstance(response, bytes) else bytes(response.SerializeToString())
                self._done(name, "OK", started)
                return reply
            except Exception as fault:
                await self._refuse(name, context, fault, started)
            finally:
                self._leave(len(raw))
            raise AssertionError("abort always raises")

        return handle

    def _hot(
        self, name: str, run: Callable[[bytes], asyncio.Future[RawReply]]
    ) -> Callable[[bytes, Any], Awaitable[bytes]]:
        """As `_unary`, for the calls of the burst: no object that they do not need, one timer instead of a context
        manager, a trace only for a caller that sent one."""

        async def handle(raw: bytes, context: Any) -> bytes:
            started = stopwatch_s()
            await self._enter(name, context, len(raw), started)
            timer = None
            try:
                self._check_draining()
                left_s = _left_s(context)
                incoming = _incoming(context)
                if incoming is not None:
                    self._give_back(context, trace.next_hop(incoming, self._clock.token()))
                check_size(raw)
                replying = run(raw)
                timer = asyncio.get_running_loop().call_later(left_s, _too_late, replying)
                code, reply = await replying
                if code:
                    await self._abort_raw(name, context, code, reply, started)
                self._done(name, "OK", started)
                return reply
            except Exception as fault:
                await self._refuse(name, context, fault, started)
            finally:
                if timer is not None:
                    timer.cancel()
                self._leave(len(raw))
            raise AssertionError("abort always raises")

        return handle

    def _stream(
        self,
        name: str,
        request_type: type[proto_message.Message] | None,
        run: Callable[..., AsyncIterator[Any]],
        *,
        from_client: bool,
    ) -> Callable[[Any, Any], AsyncIterator[bytes]]:
        async def handle(incoming: Any, context: Any) -> AsyncIterator[bytes]:
            started = stopwatch_s()
            await self._enter_stream(name, context, started)
            try:
                self._check_draining()
                call = self._call(name, context)
                if not from_client:
                    assert request_type is not None
                    requests: Any = parse(request_type, incoming)
                else:
                    requests = _sized(incoming) if request_type is None else _parsed(request_type, incoming)
                async for response in run(requests, call):
                    yield response if isinstance(response, bytes) else response.SerializeToString()
                self._done(name, "OK", started)
            except Exception as fault:
                await self._refuse(name, context, fault, started)
            finally:
                self.streams -= 1

        return handle

    def _client_stream(
        self, name: str, request_type: type[proto_message.Message], run: Callable[..., Awaitable[Any]]
    ) -> Callable[[Any, Any], Awaitable[bytes]]:
        async def handle(incoming: Any, context: Any) -> bytes:
            started = stopwatch_s()
            await self._enter_stream(name, context, started)
            try:
                self._check_draining()
                response = await run(_parsed(request_type, incoming), self._call(name, context))
                reply: bytes = response.SerializeToString()
                self._done(name, "OK", started)
                return reply
            except Exception as fault:
                await self._refuse(name, context, fault, started)
            finally:
                self.streams -= 1
            raise AssertionError("abort always raises")

        return handle

    # --- in and out -----------------------------------------------------------------------------------------------
    async def _enter(self, name: str, context: Any, size: int, started: float) -> None:
        """Counts a unary call in, or refuses it; `_leave` counts it out."""
        if self.in_flight >= CONCURRENT_RPCS_MAX:
            await self._abort(name, context, overloaded("calls"), started)
        if self.bytes_in_flight + size > CALL_BYTES_IN_FLIGHT_MAX:
            await self._abort(name, context, overloaded("bytes of calls"), started)
        self.in_flight += 1
        self.bytes_in_flight += size

    def _leave(self, size: int) -> None:
        self.in_flight -= 1
        self.bytes_in_flight -= size

    async def _enter_stream(self, name: str, context: Any, started: float) -> None:
        if self.streams >= CONCURRENT_STREAMS_MAX:
            await self._abort(name, context, overloaded("streams"), started)
        self.streams += 1

    async def _refuse(self, name: str, context: Any, fault: Exception, started: float) -> None:
        """The end of every call that was not answered: an error with a reason."""
        if isinstance(fault, grpc.aio.AbortError):
            raise fault
        if isinstance(fault, TimeoutError):
            # What was handed to storage is carried to its end; a repeat with the same request_id hears of it.
            fault = CuptimeError(Reason.DEADLINE_TOO_SHORT)
        elif not isinstance(fault, CuptimeError):
            _log.error("fault", method=name, exc_info=fault)
            fault = CuptimeError(Reason.INTERNAL)
        elif self.draining and fault.reason is Reason.OVERLOADED:
            # Whoever is told to come back later would come to a server that is gone.
            fault = CuptimeError(Reason.DRAINING)
        await self._abort(name, context, fault, started)

    def _call(self, name: str, context: Any) -> Call:
        """Of a stream: without a deadline of the caller's it lasts as long as it is wanted."""
        remaining_s = context.time_remaining()
        left_s = _FOR_EVER_S if remaining_s is None else _left_s(context)
        return Call(name, self._clock.now_ms() + int(left_s * 1_000), self._hop(name, context))

    def _hop(self, name: str, context: Any) -> str:
        """The trace context of what this call does; a caller that sent one gets it back in the trailing metadata."""
        incoming = _incoming(context)
        hop = trace.next_hop(incoming, self._clock.token())
        structlog.contextvars.bind_contextvars(trace_id=hop.trace_id, method=name)
        if incoming is not None:
            self._give_back(context, hop)
        return hop.header()

    @staticmethod
    def _give_back(context: Any, hop: trace.TraceContext) -> None:
        context.set_trailing_metadata(((trace.HEADER, hop.header()),))

    def _check_draining(self) -> None:
        if self.draining:
            raise CuptimeError(Reason.DRAINING)

    async def _abort(self, name: str, context: Any, error: CuptimeError, started: float) -> None:
        self._done(name, error.reason.code.name, started)
        status = status_of(error)
        details = status.SerializeToString()
        await context.abort(grpc_code(int(error.reason.code)), status.message, ((DETAILS_KEY, details),))

    async def _abort_raw(self, name: str, context: Any, code: int, details: bytes, started: float) -> None:
        """The core's own status, as it is kept for repeats; what is said about a field is said as everywhere."""
        if code == Code.INVALID_ARGUMENT:
            await self._abort(name, context, error_in(details), started)
        status_code = grpc_code(code)
        self._done(name, status_code.name, started)
        message = status_pb2.Status.FromString(details).message
        await context.abort(status_code, cut(message, STATUS_BYTES_MAX), ((DETAILS_KEY, details),))

    def _done(self, name: str, code: str, started: float) -> None:
        self._metrics.call(name, code, (stopwatch_s() - started) * 1_000)


async def _sized(incoming: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for raw in incoming:
        check_size(raw)
        yield raw


async def _parsed(
    request_type: type[proto_message.Message], incoming: AsyncIterator[bytes]
) -> AsyncIterator[Any]:
    async for raw in incoming:
        yield parse(request_type, raw)
