"""A plain gRPC client as any other service would write one, and the reading of our errors."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    # gRPC waits up to two minutes between tries to connect; a worker whose server was restarted wants it back at once.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each process has connections of its own, whatever others opened to the same address.
    ("grpc.use_local_subchannel_pool", 1),
)


def channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, options=_OPTIONS)


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the error's ErrorInfo, or the name of its status code when it has none."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return reason_in(status_pb2.Status.FromString(value)) or str(error.code().name)
    return str(error.code().name)


def reason_in(status: status_pb2.Status) -> str:
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            return str(info.reason)
    return ""


def unanswered(error: grpc.aio.AioRpcError) -> bool:
    """Did the call end without an answer of the service, so that it may have been carried out or not?"""
    has_details = any(key == "grpc-status-details-bin" for key, _ in error.trailing_metadata() or ())
    codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    return error.code() in codes and not has_details


Message = Any
