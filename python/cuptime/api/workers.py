"""WorkerService: one stream for each worker. What the worker says is read by one `asyncio.Task`, what the server says
is collected in one queue; complete and fail are acknowledged in the order of their commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from cuptime._gen.cuptime.v1 import worker_service_pb2 as pb
from cuptime.api import convert, pages
from cuptime.api.call import Call
from cuptime.api.tasks import ScheduleIds
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WORKER_CREDITS_MAX
from cuptime.tasks.line import TaskLine
from cuptime.tasks.workers import Acknowledgement, Lease, WorkerSession

_OUTBOUND_MAX: Final = WORKER_CREDITS_MAX * 4
_Outgoing = asyncio.Queue[pb.StreamTasksResponse | BaseException | None]


class WorkerEndpoints:
    """The method of WorkerService."""

    def __init__(self, line: TaskLine, schedule_ids: ScheduleIds) -> None:
        self._line = line
        self._schedule_ids = schedule_ids

    async def stream_tasks(
        self, requests: AsyncIterator[pb.StreamTasksRequest], call: Call
    ) -> AsyncIterator[pb.StreamTasksResponse]:
        hello = await anext(requests, None)
        if hello is None or hello.WhichOneof("message") != "hello":
            raise CuptimeError(Reason.FIELD_REQUIRED, "the first message must be a hello", field="hello")
        session = self._line.open_session(hello.hello.worker, list(hello.hello.queues), hello.hello.lease_ms)
        outgoing: _Outgoing = asyncio.Queue(_OUTBOUND_MAX)
        parts = [
            asyncio.create_task(self._deliver(session, outgoing)),
            asyncio.create_task(self._listen(session, requests, outgoing)),
        ]
        try:
            while (message := await outgoing.get()) is not None:
                if isinstance(message, BaseException):
                    raise message
                yield message
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
            await session.close()

    async def _deliver(self, session: WorkerSession, outgoing: _Outgoing) -> None:
        """Ends with the error that ends the stream: a session that delivers no more must not be dealt more."""
        try:
            await self._deliver_all(session, outgoing)
        except Exception as fault:
            await outgoing.put(fault)
        else:
            await outgoing.put(CuptimeError(Reason.DRAINING))

    async def _deliver_all(self, session: WorkerSession, outgoing: _Outgoing) -> None:
        async for leases in session.batches():
            leased = [await self._leased(lease) for lease in leases]
            while leased:
                count = pages.fit(leased)
                batch = pb.LeasedTasks(tasks=leased[:count])
                await outgoing.put(pb.StreamTasksResponse(tasks=batch))
                del leased[:count]

    async def _leased(self, lease: Lease) -> pb.LeasedTask:
        return pb.LeasedTask(
            task=convert.task(lease.task, await self._schedule_ids.of(lease.task)),
            lease_token=lease.token,
            lease_until_time_ms=lease.until_ms,
            attempt=lease.attempt,
            epoch=self._line.epoch,
            idempotency_key=lease.idempotency_key,
            traceparent=lease.task.traceparent,
        )

    async def _listen(
        self, session: WorkerSession, requests: AsyncIterator[pb.StreamTasksRequest], outgoing: _Outgoing
    ) -> None:
        """Ends with a None (the worker said all) or with the error that ends the stream."""
        reports: set[asyncio.Task[None]] = set()
        try:
            async for request in requests:
                answer = self._heard(session, request, outgoing)
                if answer is not None:
                    reports.add(answer)
                    answer.add_done_callback(reports.discard)
                while len(reports) >= WORKER_CREDITS_MAX:
                    await asyncio.wait(reports, return_when=asyncio.FIRST_COMPLETED)
            if reports:
                await asyncio.wait(reports)
            await outgoing.put(None)
        except CuptimeError as error:
            await outgoing.put(error)

    def _heard(
        self, session: WorkerSession, request: pb.StreamTasksRequest, outgoing: _Outgoing
    ) -> asyncio.Task[None] | None:
        kind = request.WhichOneof("message")
        if kind == "credits":
            session.credits(request.credits.count)
            return None
        if kind == "complete":
            report = session.complete(request.complete.lease_token, request.complete.result)
        elif kind == "fail":
            failed = request.fail
            report = session.fail(
                failed.lease_token, failed.error_code, failed.error_message, retriable=failed.retriable
            )
        elif kind == "heartbeat":
            return asyncio.create_task(_heartbeat(session, list(request.heartbeat.lease_tokens), outgoing))
        elif kind == "hello":
            raise CuptimeError(Reason.FIELD_CONTRADICTION, "hello comes once, and first", field="hello")
        else:
            raise CuptimeError(Reason.FIELD_REQUIRED, "the message says nothing", field="message")
        return asyncio.create_task(_acknowledge(report, outgoing))


async def _heartbeat(session: WorkerSession, tokens: list[str], outgoing: _Outgoing) -> None:
    try:
        answer = await session.heartbeat(tokens)
    except CuptimeError as error:
        await outgoing.put(error)
        return
    said = pb.HeartbeatAnswer(
        lease_until_time_ms=answer.lease_until_ms,
        lost_lease_tokens=answer.lost,
        cancelled_lease_tokens=answer.cancelled,
    )
    await outgoing.put(pb.StreamTasksResponse(heartbeat=said))


async def _acknowledge(report: asyncio.Future[Acknowledgement], outgoing: _Outgoing) -> None:
    try:
        answer = await report
    except CuptimeError as error:
        await outgoing.put(error)
        return
    said = pb.Acknowledgement(
        lease_token=answer.lease_token,
        result=int(answer.result),  # type: ignore[arg-type]
        state=int(answer.state) if answer.state else 0,  # type: ignore[arg-type]
        message=answer.message,
    )
    await outgoing.put(pb.StreamTasksResponse(acknowledgement=said))
