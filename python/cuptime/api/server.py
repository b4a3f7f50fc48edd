"""The gRPC server: every service of cuptime.v1, health, reflection, and the limits of the channel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from cuptime._gen.cuptime.v1 import (  # noqa: F401  (importing registers the descriptors)
    dispatch_service_pb2,
    group_service_pb2,
    rider_service_pb2,
    rule_service_pb2,
    schedule_service_pb2,
    shop_service_pb2,
    task_service_pb2,
    worker_service_pb2,
)
from cuptime.api.call import Wrapper
from cuptime.domain.limits import (
    CONCURRENT_RPCS_MAX,
    CONCURRENT_STREAMS_MAX,
    MESSAGE_BYTES_MAX,
    METADATA_BYTES_MAX,
)

PACKAGE: Final = "cuptime.v1"
RAW_METHODS: Final = frozenset(
    {
        "GroupService/SubmitOrder",
        "GroupService/BatchSubmitOrders",
        "GroupService/IngestOrders",
        "WorkerService/StreamTasks",
    }
)
SERVICES: Final = (
    "GroupService",
    "DispatchService",
    "ShopService",
    "RiderService",
    "ScheduleService",
    "TaskService",
    "WorkerService",
    "RuleService",
)
# The wrapper refuses first, with a reason and RetryInfo; gRPC's own limit only stands behind it.
_CHANNEL_RPCS_MAX: Final = CONCURRENT_RPCS_MAX + CONCURRENT_STREAMS_MAX + 500
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX * 2),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX * 2),
    # Between a soft and a higher hard limit gRPC refuses by chance; one limit refuses always.
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
    # Above the wrapper's own limits: the transport refuses a stream too many (REFUSED_STREAM) with an UNAVAILABLE that
    # has no reason, the wrapper with RESOURCE_EXHAUSTED and RetryInfo.
    ("grpc.max_concurrent_streams", _CHANNEL_RPCS_MAX * 2),
    # A burst waits for its turn instead of being refused by the transport with an UNAVAILABLE that has no reason:
    # what is too much is refused by the wrapper, with one.
    ("grpc.server.max_pending_requests", 100_000),
    ("grpc.server.max_pending_requests_hard_limit", 200_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Serves `endpoints` (one object for each name in SERVICES) on `address`."""

    def __init__(self, wrapper: Wrapper, endpoints: Mapping[str, object], *, reflect: bool) -> None:
        self._wrapper = wrapper
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=_CHANNEL_RPCS_MAX)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        pool = descriptor_pool.Default()
        names = []
        for name in SERVICES:
            service = pool.FindServiceByName(f"{PACKAGE}.{name}")
            handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = dict(
                wrapper.handlers(service, endpoints[name])
            )
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(service.full_name, handlers),)
            )
            names.append(service.full_name)
        self._names = ["", *names]
        if reflect:
            shown = (*names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(shown, self._server)

    async def start(self, address: str) -> int:
        """Begins to serve; the port bound (for `:0`). Raises RuntimeError when the address is taken."""
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError:
            raise RuntimeError(
                f"{address} cannot be listened on: it is taken, or not an address of this machine. Give another by"
                " --listen or CUPTIME_LISTEN; port 0 takes a free one"
            ) from None
        await self._server.start()
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return int(port)

    async def unready(self) -> None:
        """Says NOT_SERVING; calls are still answered, with what they get."""
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Says NOT_SERVING, refuses new calls, lets those under way finish for `grace_s`."""
        await self._health.enter_graceful_shutdown()
        self._wrapper.draining = True
        await self._server.stop(grace_s)
