"""A worker for tests: says what it is told to, keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc

from tests.integration.door import Door, refusal_of

METHOD: Final = "WorkerService/StreamTasks"
PATIENCE_S: Final = 15.0


class Worker:
    """One StreamTasks stream. Enter it, then say things."""

    def __init__(
        self, door: Door, *queues: str, lease_ms: int = 0, name: str = "tester", batches: bool = False
    ) -> None:
        self._door = door
        hello = {"worker": name, "queues": list(queues), "lease_ms": lease_ms, "batches": batches}
        self._hello = {"hello": hello}
        self._leased: list[Any] = []

    async def __aenter__(self) -> Worker:
        self._call = self._door.open(METHOD)()
        await self._say(self._hello)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()

    async def _say(self, request: dict[str, Any]) -> None:
        await self._call.write(request)

    async def credits(self, count: int) -> None:
        await self._say({"credits": {"count": count}})

    async def _hear(self) -> Any:
        """One message. Raises Refusal when the stream ends with one."""
        try:
            heard = await asyncio.wait_for(self._call.read(), PATIENCE_S)
        except grpc.aio.AioRpcError as error:
            raise refusal_of(METHOD, error) from None
        assert heard is not grpc.aio.EOF, "the stream ended"
        if heard.WhichOneof("message") == "tasks":
            self._leased.extend(heard.tasks.tasks)
        if heard.WhichOneof("message") == "batch":
            self._leased.extend(heard.batch.tasks)
        return heard

    async def report(self, **reports: Any) -> None:
        """One `reports` message."""
        await self._say({"reports": reports})

    async def batches(self, acknowledgements: int, heartbeats: int = 0) -> tuple[list[Any], list[Any]]:
        """The next so many acknowledgements and answers to heartbeats, which came in batches and nothing else did."""
        acks: list[Any] = []
        beats: list[Any] = []
        while len(acks) < acknowledgements or len(beats) < heartbeats:
            heard = await self._hear()
            assert heard.WhichOneof("message") == "batch"
            acks.extend(heard.batch.acknowledgements)
            beats.extend(heard.batch.heartbeats)
        return acks, beats

    async def _answer(self, kind: str) -> Any:
        while True:
            heard = await self._hear()
            if heard.WhichOneof("message") == kind:
                return getattr(heard, kind)

    async def tasks(self, count: int) -> list[Any]:
        """The next `count` leased tasks."""
        while len(self._leased) < count:
            await self._hear()
        taken, self._leased = self._leased[:count], self._leased[count:]
        return taken

    @property
    def unread(self) -> list[Any]:
        """Leased tasks that came while other answers were waited for."""
        return self._leased

    async def beat(self, *leases: Any) -> Any:
        await self._say({"heartbeat": {"lease_tokens": [lease.lease_token for lease in leases]}})
        return await self._answer("heartbeat")

    async def complete(self, lease: Any, result: bytes = b"done") -> Any:
        await self._say({"complete": {"lease_token": lease.lease_token, "result": result}})
        return await self._answer("acknowledgement")

    async def complete_all(self, leases: Sequence[Any]) -> None:
        for lease in leases:
            answer = await self.complete(lease)
            assert answer.result == answer.RESULT_ACCEPTED

    async def fail(self, lease: Any, code: str = "BROKEN", *, retriable: bool, text: str = "it broke") -> Any:
        said = {
            "lease_token": lease.lease_token,
            "error_code": code,
            "error_message": text,
            "retriable": retriable,
        }
        await self._say({"fail": said})
        return await self._answer("acknowledgement")
