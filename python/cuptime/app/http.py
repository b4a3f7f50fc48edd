"""The HTTP door: /metrics, and the routes that are given to it, in the same event loop as gRPC. A wrong path or method
is refused as problem JSON, like everything else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

import uvicorn
from prometheus_client import CollectorRegistry, make_asgi_app
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from cuptime.api.cron_door import elsewhere


class HttpServer:
    """Serves /metrics of one registry, and some routes."""

    def __init__(self, registry: CollectorRegistry, routes: Sequence[Route] = ()) -> None:
        paths = ["/metrics", *(route.path for route in routes)]
        app = Starlette(
            routes=[Mount("/metrics", app=make_asgi_app(registry)), *routes],
            exception_handlers={404: elsewhere(paths), 405: elsewhere(paths)},
        )
        self._server = uvicorn.Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        # The service stops as a whole; uvicorn must not take the signals.
        self._server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        self._serving: asyncio.Task[None] | None = None

    async def start(self, address: str) -> str:
        """The address bound. Raises OSError when it is taken."""
        host, _, port = address.rpartition(":")
        bound = socket.create_server((host, int(port)))
        bound.setblocking(False)
        self._serving = asyncio.create_task(self._server._serve([bound]))
        found_host, found_port = bound.getsockname()[:2]
        return f"{found_host}:{found_port}"

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
