"""A plain gRPC client for these tests: any method by its name, any kind of stream, errors taken apart."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import apsw
import grpc
from google.protobuf import descriptor, descriptor_pool, message_factory
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from cuptime.api.server import SERVICES

TIMEOUT_S: Final = 10.0
DETAILS: Final = "grpc-status-details-bin"
Request = Message | bytes | dict[str, Any]


def every_method() -> list[str]:
    """`TaskService/EnqueueTask` and all others, as the descriptors have them."""
    pool = descriptor_pool.Default()
    return [
        f"{service}/{method.name}"
        for service in SERVICES
        for method in pool.FindServiceByName(f"cuptime.v1.{service}").methods
    ]


def described(method: str) -> descriptor.MethodDescriptor:
    service, _, name = method.partition("/")
    found: descriptor.MethodDescriptor = (
        descriptor_pool.Default().FindServiceByName(f"cuptime.v1.{service}").methods_by_name[name]
    )
    return found


def message(method: str, fields: Request) -> bytes:
    """The request of a method, serialized."""
    if isinstance(fields, bytes):
        return fields
    if isinstance(fields, Message):
        return fields.SerializeToString()
    made: Message = message_factory.GetMessageClass(described(method).input_type)(**fields)
    return made.SerializeToString()


@dataclass(slots=True)
class Refusal(Exception):
    """A refused call."""

    method: str
    code: grpc.StatusCode
    text: str
    infos: list[error_details_pb2.ErrorInfo] = field(default_factory=list)
    violations: list[error_details_pb2.BadRequest.FieldViolation] = field(default_factory=list)
    retries: list[error_details_pb2.RetryInfo] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.method}: {self.code.name} {self.reason} {self.field!r}: {self.text[:300]}"

    @property
    def reason(self) -> str:
        return self.infos[0].reason if self.infos else ""

    @property
    def field(self) -> str:  # type: ignore[no-redef]
        return self.infos[0].metadata.get("field", "") if self.infos else ""


def refusal_of(method: str, error: grpc.aio.AioRpcError) -> Refusal:
    found = Refusal(method, error.code(), error.details() or "")
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS:
            continue
        status = status_pb2.Status.FromString(value)
        assert status.code == error.code().value[0]
        assert status.message == error.details()
        for detail in status.details:
            info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                found.infos.append(info)
            elif detail.Unpack(request):
                found.violations.extend(request.field_violations)
            elif detail.Unpack(retry):
                found.retries.append(retry)
            else:
                raise AssertionError(f"an unexpected detail {detail.type_url}")
    return found


class Door:
    """One channel, with the limits of a client that sets none: no answer above 4 MiB."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(
            address, options=(("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1))
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    @property
    def channel(self) -> grpc.aio.Channel:
        return self._channel

    def open(self, method: str, timeout: float | None = None) -> Any:
        """The call object of a streaming method; unary requests are given at once by `request`."""
        what = described(method)
        kind = "_".join("stream" if s else "unary" for s in (what.client_streaming, what.server_streaming))
        response = message_factory.GetMessageClass(what.output_type)
        return getattr(self._channel, kind)(
            f"/cuptime.v1.{method}",
            request_serializer=lambda fields: message(method, fields),
            response_deserializer=response.FromString,
        )

    async def exchange(
        self,
        method: str,
        requests: Sequence[Request],
        *,
        timeout: float = TIMEOUT_S,
        metadata: Sequence[tuple[str, str | bytes]] = (),
    ) -> list[Any]:
        """Says all requests, then listens to the end. Raises Refusal."""
        what = described(method)
        said: Any = list(requests) if what.client_streaming else requests[0]
        if what.client_streaming:
            said = _each(said)
        call = self.open(method)(said, timeout=timeout, metadata=list(metadata))
        try:
            return [answer async for answer in call] if what.server_streaming else [await call]
        except grpc.aio.AioRpcError as error:
            raise refusal_of(method, error) from None

    async def call(self, method: str, *, timeout: float = TIMEOUT_S, **fields: Any) -> Any:
        """A unary call. Raises Refusal."""
        return (await self.exchange(method, [fields], timeout=timeout))[0]

    async def refused(self, method: str, *, timeout: float = TIMEOUT_S, **fields: Any) -> Refusal:
        """The refusal of a unary call that must be refused."""
        try:
            answer = await self.call(method, timeout=timeout, **fields)
        except Refusal as refusal:
            return refusal
        raise AssertionError(f"{method} was not refused: {answer}")


async def _each(requests: list[Any]) -> Any:
    for request in requests:
        yield request


class Tables:
    """What storage has, read beside the server."""

    def __init__(self, data: Path) -> None:
        self._connection = apsw.Connection(str(data / "cuptime.db"), flags=apsw.SQLITE_OPEN_READONLY)
        names = self.rows("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        self.names = [str(name) for (name,) in names]

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return list(self._connection.execute(sql, values))

    def digests(self) -> dict[str, str]:
        """A digest of every table, all of its rows and columns."""
        found = {}
        with self._connection:  # one snapshot of all tables
            for name in self.names:
                digest = hashlib.blake2b(digest_size=16)
                for row in self._connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"):
                    digest.update(repr(row).encode())
                found[name] = digest.hexdigest()
        return found

    def close(self) -> None:
        self._connection.close()
