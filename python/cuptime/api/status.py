"""Errors on the wire: a gRPC status with `google.rpc.ErrorInfo`, `BadRequest` for a field, `RetryInfo` for waiting."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from cuptime.domain.errors import ERROR_DOMAIN, Code, CuptimeError, Reason

DETAILS_KEY: Final = "grpc-status-details-bin"
_GRPC_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
_RETRY_DEFAULT_MS: Final = 200
MESSAGE_BYTES_MAX: Final = 800
VALUE_BYTES_MAX: Final = 256
"""A status travels in trailers, twice percent- or base64-encoded, and clients take 8 KiB of them."""


def grpc_code(code: int) -> grpc.StatusCode:
    return _GRPC_CODES.get(code, grpc.StatusCode.UNKNOWN)


def cut(text: str, bytes_max: int) -> str:
    """The text, or as much of its beginning as fits."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) <= bytes_max else encoded[: bytes_max - 3].decode("utf-8", "ignore") + "..."


def error_in(details: bytes) -> CuptimeError:
    """The error in a `google.rpc.Status` that the core made."""
    status = status_pb2.Status.FromString(details)
    reason, metadata = Reason.INTERNAL, {}
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason, metadata = Reason[info.reason], dict(info.metadata)
    return CuptimeError(reason, status.message, field=metadata.get("field", ""), metadata=metadata)


def status_of(error: CuptimeError) -> status_pb2.Status:
    """The whole status as a `google.rpc.Status`."""
    message = cut(error.message, MESSAGE_BYTES_MAX)
    status = status_pb2.Status(code=int(error.reason.code), message=message)
    metadata = {key: cut(value, VALUE_BYTES_MAX) for key, value in error.metadata.items()}
    _pack(
        status, error_details_pb2.ErrorInfo(reason=error.reason.name, domain=ERROR_DOMAIN, metadata=metadata)
    )
    if error.field and error.reason.code is Code.INVALID_ARGUMENT:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=cut(error.field, VALUE_BYTES_MAX), description=message
        )
        _pack(status, error_details_pb2.BadRequest(field_violations=[violation]))
    if error.reason.retry and error.reason.code in (Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE):
        delay_ms = int(error.metadata.get("retry_after_ms", _RETRY_DEFAULT_MS))
        delay = duration_pb2.Duration(seconds=delay_ms // 1000, nanos=delay_ms % 1000 * 1_000_000)
        _pack(status, error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def _pack(
    status: status_pb2.Status,
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> None:
    packed = any_pb2.Any()
    packed.Pack(detail)
    status.details.append(packed)


def overloaded(what: str, retry_after_ms: int = _RETRY_DEFAULT_MS) -> CuptimeError:
    return CuptimeError(
        Reason.OVERLOADED,
        f"too many {what} at once",
        metadata={"queue": what, "retry_after_ms": str(retry_after_ms)},
    )
