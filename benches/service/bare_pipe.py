"""The floor: a service that keeps what it is sent and does nothing else.

    python -m benches.service.bare_pipe FOLDER

The same gRPC server and options, SQLite with WAL and `synchronous=FULL`, one writer thread with group commit, an answer
after the commit. No admission, no rules, no idempotency, no life cycle: what a request costs before any of our work.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import apsw
import grpc
import uvloop

BATCH: Final = 100
WAITING_MAX: Final = 20_000
Entry = tuple[bytes, int, asyncio.Future[None]]


class Pipe:
    """One table of bytes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._queue: queue.Queue[Entry] = queue.Queue(WAITING_MAX)
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._write, daemon=True).start()

    async def keep(self, raw: bytes, rows: int) -> None:
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put_nowait((raw, rows, done))
        await done

    def _write(self) -> None:
        connection = apsw.Connection(str(self._folder / "bare.db"))
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("CREATE TABLE kept (id INTEGER PRIMARY KEY, body BLOB)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < 2_000 and not self._queue.empty():
                batch.append(self._queue.get())
            rows: list[tuple[bytes]] = []
            for raw, count, _ in batch:
                size = len(raw) // count
                rows += [(raw[index * size : (index + 1) * size],) for index in range(count)]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO kept (body) VALUES (?)", rows)
            connection.execute("COMMIT")
            self._loop.call_soon_threadsafe(_answer, batch)


def _answer(batch: list[Entry]) -> None:
    for _, _, done in batch:
        if not done.done():
            done.set_result(None)


async def serve(folder: Path) -> None:
    pipe = Pipe(folder)

    def unary(rows: int) -> Callable[[bytes, Any], Any]:
        async def handle(raw: bytes, _: Any) -> bytes:
            await pipe.keep(raw, rows)
            return b""

        return handle

    async def stream(incoming: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        waiting: asyncio.Queue[asyncio.Task[None] | None] = asyncio.Queue(64)

        async def read() -> None:
            async for raw in incoming:
                await waiting.put(asyncio.create_task(pipe.keep(raw, BATCH)))
            await waiting.put(None)

        reader = asyncio.create_task(read())
        while (kept := await waiting.get()) is not None:
            await kept
            yield b""
        await reader

    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),), maximum_concurrent_rpcs=3_500)
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "SubmitOrder": grpc.unary_unary_rpc_method_handler(unary(1)),
        "BatchSubmitOrders": grpc.unary_unary_rpc_method_handler(unary(BATCH)),
        "IngestOrders": grpc.stream_stream_rpc_method_handler(stream),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("cuptime.v1.GroupService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(json.dumps({"grpc": f"127.0.0.1:{port}"}), flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
