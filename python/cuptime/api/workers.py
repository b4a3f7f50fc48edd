"""WorkerService: one stream for each worker.

What the worker says is read by one `asyncio.Task`; what there is to say to it is collected in an `Outbox` and in its
session, and made into messages when the transport takes the next one. So whatever gathers while a message is on its way
goes out together, nothing is serialized that nobody reads, and all that waits is bounded in bytes: the session is dealt
no more tasks, and the worker is heard no further, until its transport drains.

The stream takes and gives bytes: unknown fields are looked for in the whole message at once, not entry by entry.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime._gen.cuptime.v1 import worker_service_pb2 as pb
from cuptime.api.call import Call, parse
from cuptime.api.tasks import ScheduleIds
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import WORKER_CREDITS_MAX
from cuptime.domain.values import TaskState
from cuptime.tasks.buckets import start_of
from cuptime.tasks.line import TaskLine
from cuptime.tasks.workers import Acknowledgement, HeartbeatAnswer, Lease, WorkerSession

MESSAGE_TASKS_MAX: Final = 512
"""Of one message: while the worker reads it, the next one is made."""
MESSAGE_ACKS_MAX: Final = 4_096
MESSAGE_TASK_BYTES_MAX: Final = 2 * 1024 * 1024
MESSAGE_ACK_BYTES_MAX: Final = 1024 * 1024
"""Together below the 4 MiB that a plain gRPC client takes."""
OUTBOX_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of acknowledgements and answers that wait; then the worker is not heard until it reads."""
ACK_BYTES_BESIDE: Final = 16


class Outbox:
    """What there is to say to one worker beside its tasks."""

    def __init__(self, session: WorkerSession) -> None:
        self._session = session
        self._acks: deque[Acknowledgement] = deque()
        self._beats: deque[HeartbeatAnswer] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self.open_reports = 0
        """Reports taken and not yet acknowledged."""
        self.heard_all = False
        self.fault: Exception | None = None

    def acknowledge(self, acks: list[Acknowledgement], fault: Exception | None) -> None:
        """A `tasks.workers.Said`."""
        if fault is not None:
            self.fail(fault)
            return
        self._acks.extend(acks)
        self._bytes += sum(_bytes_of(ack) for ack in acks)
        self.open_reports -= len(acks)
        self._session.stirred.set()
        self._room.set()

    def answer(self, beat: HeartbeatAnswer) -> None:
        """To a heartbeat."""
        self._beats.append(beat)
        self._bytes += _beat_bytes(beat)
        self._session.stirred.set()

    def fail(self, fault: Exception) -> None:
        """Ends the stream with this error."""
        self.fault = self.fault or fault
        self._session.stirred.set()
        self._room.set()

    def end(self) -> None:
        """The worker has said all; the stream ends when everything is acknowledged."""
        self.heard_all = True
        self._session.stirred.set()

    async def room(self) -> None:
        """Waits until the worker may be heard again."""
        while self.fault is None and (
            self.open_reports >= WORKER_CREDITS_MAX or self._bytes >= OUTBOX_BYTES_MAX
        ):
            self._room.clear()
            await self._room.wait()

    @property
    def settled(self) -> bool:
        """Is nothing left to say?"""
        return self.heard_all and self.open_reports <= 0 and not self._acks and not self._beats

    def take_acks(self) -> list[Acknowledgement]:
        """For one message."""
        taken: list[Acknowledgement] = []
        room = MESSAGE_ACK_BYTES_MAX
        while self._acks and len(taken) < MESSAGE_ACKS_MAX and (room > 0 or not taken):
            ack = self._acks.popleft()
            room -= _bytes_of(ack)
            taken.append(ack)
        self._took(sum(_bytes_of(ack) for ack in taken))
        return taken

    def take_beat(self) -> HeartbeatAnswer | None:
        """For one message."""
        if not self._beats:
            return None
        beat = self._beats.popleft()
        self._took(_beat_bytes(beat))
        return beat

    def _took(self, count: int) -> None:
        self._bytes -= count
        self._room.set()


def _bytes_of(ack: Acknowledgement) -> int:
    return len(ack.lease_token) + len(ack.message) + ACK_BYTES_BESIDE


def _beat_bytes(beat: HeartbeatAnswer) -> int:
    return sum(map(len, beat.lost)) + sum(map(len, beat.cancelled)) + ACK_BYTES_BESIDE


def _to_say(
    session: WorkerSession, outbox: Outbox
) -> tuple[list[Lease], list[Acknowledgement], HeartbeatAnswer | None] | None:
    """As much as one message may carry; None when there is nothing, or nothing more after a fault."""
    if outbox.fault is not None:
        return None
    leases = session.take(MESSAGE_TASKS_MAX, MESSAGE_TASK_BYTES_MAX)
    acks, beat = outbox.take_acks(), outbox.take_beat()
    return (leases, acks, beat) if leases or acks or beat is not None else None


class WorkerEndpoints:
    """The method of WorkerService."""

    def __init__(self, line: TaskLine, schedule_ids: ScheduleIds) -> None:
        self._line = line
        self._schedule_ids = schedule_ids

    async def stream_tasks(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        first = await anext(requests, None)
        hello = None if first is None else parse(pb.StreamTasksRequest, first)
        if hello is None or hello.WhichOneof("message") != "hello":
            raise CuptimeError(Reason.FIELD_REQUIRED, "the first message must be a hello", field="hello")
        said = hello.hello
        session = self._line.open_session(said.worker, list(said.queues), said.lease_ms)
        outbox = Outbox(session)
        listening = asyncio.create_task(self._listen(session, requests, outbox))
        messages = self._batches if said.batches else self._single
        try:
            while True:
                async for message in messages(session, outbox):
                    yield message
                if outbox.fault is not None:
                    raise outbox.fault
                if outbox.settled:
                    return
                if session.closed:
                    # A session that delivers no more must not be dealt more.
                    raise CuptimeError(Reason.DRAINING)
                await session.stirred.wait()
                session.stirred.clear()
        finally:
            # Both before the first wait: the end of the worker's side and the call's cancellation come one after the
            # other, and the second one interrupts whatever is waited for here.
            closing = session.close()
            listening.cancel()
            await asyncio.gather(listening, closing, return_exceptions=True)

    # --- to the worker --------------------------------------------------------------------------------------------
    async def _batches(self, session: WorkerSession, outbox: Outbox) -> AsyncIterator[bytes]:
        """All there is to say, a message for as much as one may carry."""
        while (said := _to_say(session, outbox)) is not None:
            leases, acks, beat = said
            response = pb.StreamTasksResponse()
            batch = response.batch
            await self._fill(batch.tasks, leases)
            for ack in acks:
                _write_ack(batch.acknowledgements.add(), ack)
            if beat is not None:
                _write_beat(batch.heartbeats.add(), beat)
            yield response.SerializeToString()

    async def _single(self, session: WorkerSession, outbox: Outbox) -> AsyncIterator[bytes]:
        """The same, one acknowledgement a message, for workers that do not know batches."""
        while (said := _to_say(session, outbox)) is not None:
            leases, acks, beat = said
            if leases:
                response = pb.StreamTasksResponse()
                await self._fill(response.tasks.tasks, leases)
                yield response.SerializeToString()
            for ack in acks:
                response = pb.StreamTasksResponse()
                _write_ack(response.acknowledgement, ack)
                yield response.SerializeToString()
            if beat is not None:
                response = pb.StreamTasksResponse()
                _write_beat(response.heartbeat, beat)
                yield response.SerializeToString()

    async def _fill(self, messages: Any, leases: list[Lease]) -> None:
        """Writes into the repeated field what each lease says. Field by field: half the cost of a constructor."""
        epoch = self._line.epoch
        for lease in leases:
            message = messages.add()
            _write_lease(message, lease, epoch)
            row = lease.row
            if row.schedule_seq:
                schedule_id = await self._schedule_ids.of(row)
                message.task.schedule = f"schedules/{schedule_id}" if schedule_id else ""
                message.task.nominal_time_ms = row.nominal_ms

    # --- from the worker ------------------------------------------------------------------------------------------
    async def _listen(self, session: WorkerSession, requests: AsyncIterator[bytes], outbox: Outbox) -> None:
        """Ends with the end of the worker's side, or with the error that ends the stream."""
        try:
            async for raw in requests:
                request = parse(pb.StreamTasksRequest, raw)
                await self._heard(session, request, outbox)
                await outbox.room()
            outbox.end()
        except Exception as error:
            outbox.fail(error)

    async def _heard(self, session: WorkerSession, request: pb.StreamTasksRequest, outbox: Outbox) -> None:
        kind = request.WhichOneof("message")
        if kind == "reports":
            await self._reported(session, request.reports, outbox)
        elif kind == "credits":
            session.credits(request.credits.count)
        elif kind == "complete":
            outbox.open_reports += 1
            done = request.complete
            session.completed([(done.lease_token, done.result)], outbox.acknowledge)
        elif kind == "fail":
            outbox.open_reports += 1
            _failed(session, request.fail, outbox)
        elif kind == "heartbeat":
            outbox.answer(await session.heartbeat(list(request.heartbeat.lease_tokens)))
        elif kind == "hello":
            raise CuptimeError(Reason.FIELD_CONTRADICTION, "hello comes once, and first", field="hello")
        else:
            raise CuptimeError(Reason.FIELD_REQUIRED, "the message says nothing", field="message")

    async def _reported(self, session: WorkerSession, reports: pb.Reports, outbox: Outbox) -> None:
        """Nothing of it is done when one of its lists is too long."""
        for field, entries in _lists(reports):
            if len(entries) > WORKER_CREDITS_MAX:
                raise CuptimeError(
                    Reason.TOO_MANY_ENTRIES,
                    f"at most {WORKER_CREDITS_MAX} entries",
                    field=f"reports.{field}",
                    metadata={"limit": str(WORKER_CREDITS_MAX), "value": str(len(entries))},
                )
        tokens = list(reports.heartbeat_lease_tokens)
        if not (reports.credits or reports.completes or reports.fails or tokens):
            raise CuptimeError(Reason.FIELD_REQUIRED, "the reports say nothing", field="reports")
        # Credits first: what they are wrong about must be refused before anything is done.
        if reports.credits:
            session.credits(reports.credits, "reports.credits")
        if reports.completes:
            outbox.open_reports += len(reports.completes)
            done = [(report.lease_token, report.result) for report in reports.completes]
            session.completed(done, outbox.acknowledge)
        outbox.open_reports += len(reports.fails)
        for report in reports.fails:
            _failed(session, report, outbox)
        if tokens:
            outbox.answer(await session.heartbeat(tokens, "reports.heartbeat_lease_tokens"))


def _lists(reports: pb.Reports) -> Iterator[tuple[str, Any]]:
    yield "completes", reports.completes
    yield "fails", reports.fails
    yield "heartbeat_lease_tokens", reports.heartbeat_lease_tokens


def _failed(session: WorkerSession, report: pb.Fail, outbox: Outbox) -> None:
    session.failed(
        report.lease_token, report.error_code, report.error_message, report.retriable, outbox.acknowledge
    )


def _write_ack(message: pb.Acknowledgement, ack: Acknowledgement) -> None:
    message.lease_token = ack.lease_token
    message.result = int(ack.result)  # type: ignore[assignment]
    if ack.state:
        message.state = int(ack.state)  # type: ignore[assignment]
    if ack.message:
        message.message = ack.message


def _write_beat(message: pb.HeartbeatAnswer, beat: HeartbeatAnswer) -> None:
    message.lease_until_time_ms = beat.lease_until_ms
    message.lost_lease_tokens.extend(beat.lost)
    message.cancelled_lease_tokens.extend(beat.cancelled)


def _write_lease(message: pb.LeasedTask, lease: Lease, epoch: int) -> None:
    """As `convert.task` says it of the row under the lease, without making that row."""
    row, task = lease.row, message.task
    key = row.result_hash.hex()
    task.name = f"tasks/{row.task_id}"
    task.queue = row.queue
    task.payload = row.payload
    task.due_time_ms = row.due_ms
    task.priority = row.priority
    task.max_retries = row.max_retries
    task.backoff_ms = row.backoff_ms
    task.state = tasks_pb.Task.STATE_TRIGGERED
    task.retry_count = row.retry_count
    task.schedule_time_ms = row.scheduled_ms
    task.trigger_time_ms = lease.trigger_ms
    task.execution_id = lease.execution_id
    task.result_hash = key
    task.create_time_ms = row.created_ms
    updated_ms = lease.updated_ms
    task.update_time_ms = updated_ms
    task.etag = f"{int(TaskState.TRIGGERED)}-{updated_ms}-{lease.attempt}"
    if row.attempt:
        task.result = row.result
        task.error_code = row.error_code
        task.error_message = row.error_message
        task.retriable = row.retriable
    if row.context is not None:
        task.context.CopyFrom(
            types_pb.BusinessContext(
                group_id=row.context.group_id,
                sku_version=row.context.sku_version,
                stock_snapshot=row.context.stock_snapshot,
                timestamp_ms=row.context.timestamp_ms,
            )
        )
    message.lease_token = lease.token
    message.lease_until_time_ms = lease.until_ms
    message.attempt = lease.attempt
    message.epoch = epoch
    message.idempotency_key = key
    if row.bucket_ms:
        task.bucket = tasks_pb.Task.BUCKET_MINUTE
        message.bucket_time_ms = start_of(row.due_ms, row.bucket_ms)
        message.bucket_size = lease.together
    if row.traceparent:
        message.traceparent = row.traceparent
