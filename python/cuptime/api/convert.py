"""Domain values to messages. The way in is in each endpoint, where the fields are checked."""

from __future__ import annotations

from typing import Final

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import rider_service_pb2 as riders_pb
from cuptime._gen.cuptime.v1 import rule_service_pb2 as rules_pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as schedules_pb
from cuptime._gen.cuptime.v1 import shop_service_pb2 as shops_pb
from cuptime._gen.cuptime.v1 import task_service_pb2 as tasks_pb
from cuptime._gen.cuptime.v1 import types_pb2 as types_pb
from cuptime.api.names import order_name
from cuptime.dispatch.values import Rider, Shop
from cuptime.domain.values import (
    DecisionRow,
    Group,
    OrderRow,
    Overlap,
    RuleRevisionRow,
    Schedule,
    SchedulePolicy,
    Task,
    Timing,
    TimingKind,
)

_TIMING_FIELD: Final = {
    TimingKind.CRON: "cron",
    TimingKind.AT: "at_time_ms",
    TimingKind.AFTER: "after_ms",
    TimingKind.EVERY: "every_ms",
}


def group(value: Group) -> groups_pb.Group:
    return groups_pb.Group(
        name=f"groups/{value.group_id}",
        group_id=value.group_id,
        park=value.park,
        location=types_pb.Location(latitude=value.latitude, longitude=value.longitude),
        capacity=value.capacity,
        min_size=value.min_size,
        deadline_time_ms=value.deadline_ms,
        purchase_limit=value.purchase_limit,
        pack_out_after_ms=value.pack_out_after_ms,
        deliver_within_ms=value.deliver_within_ms,
        state=int(value.state),  # type: ignore[arg-type]  # the numbers agree, and a test holds them together
        member_count=value.member_count,
        create_time_ms=value.created_ms,
        complete_time_ms=value.completed_ms,
        etag=str(value.etag),
    )


def order(value: OrderRow, group_id: int) -> groups_pb.Order:
    message = groups_pb.Order.FromString(value.body)
    message.name = order_name(group_id, value.order_id)
    message.state = int(value.state)  # type: ignore[assignment]
    message.create_time_ms = value.created_ms
    message.rule_revision = value.rule_revision
    return message


def decision(value: DecisionRow) -> dispatch_pb.Decision:
    message = dispatch_pb.Decision.FromString(value.body)
    message.sequence = value.sequence
    return message


def task(value: Task, schedule_id: str = "") -> tasks_pb.Task:
    message = tasks_pb.Task(
        name=f"tasks/{value.task_id}",
        queue=value.queue,
        payload=value.payload,
        due_time_ms=value.due_ms,
        priority=value.priority,
        max_retries=value.max_retries,
        backoff_ms=value.backoff_ms,
        state=int(value.state),  # type: ignore[arg-type]
        retry_count=value.retry_count,
        schedule_time_ms=value.scheduled_ms,
        trigger_time_ms=value.trigger_ms,
        execution_id=value.execution_id,
        result_hash=value.result_hash.hex(),
        result=value.result,
        error_code=value.error_code,
        error_message=value.error_message,
        retriable=value.retriable,
        create_time_ms=value.created_ms,
        update_time_ms=value.updated_ms,
        schedule=f"schedules/{schedule_id}" if schedule_id else "",
        nominal_time_ms=value.nominal_ms,
        etag=f"{int(value.state)}-{value.updated_ms}-{value.attempt}",
        bucket=tasks_pb.Task.BUCKET_MINUTE if value.bucket_ms else tasks_pb.Task.BUCKET_UNSPECIFIED,
    )
    if value.context is not None:
        message.context.CopyFrom(
            types_pb.BusinessContext(
                group_id=value.context.group_id,
                sku_version=value.context.sku_version,
                stock_snapshot=value.context.stock_snapshot,
                timestamp_ms=value.context.timestamp_ms,
            )
        )
    return message


def timing(value: Timing) -> schedules_pb.Timing:
    message = schedules_pb.Timing(
        time_zone=value.time_zone,
        start_time_ms=value.start_ms,
        end_time_ms=value.end_ms,
        dst_policy=0 if value.kind is not TimingKind.CRON else int(value.dst),  # type: ignore[arg-type]
    )
    setattr(
        message,
        _TIMING_FIELD[value.kind],
        value.expression if value.kind is TimingKind.CRON else value.value_ms,
    )
    return message


def schedule(value: Schedule) -> schedules_pb.Schedule:
    message = _schedule_less_target(value)
    message.target.MergeFromString(value.target)
    return message


_PLAIN_POLICY: Final = SchedulePolicy()


def _policy(value: SchedulePolicy) -> schedules_pb.SchedulePolicy:
    return schedules_pb.SchedulePolicy(
        max_runs=value.max_runs,
        jitter_ms=value.jitter_ms,
        catch_up=int(value.catch_up),  # type: ignore[arg-type]
        catch_up_window_ms=value.catch_up_window_ms,
        catch_up_limit=value.catch_up_limit,
        overlap=0 if value.overlap is Overlap.ALLOW_ALL else int(value.overlap) + 1,  # type: ignore[arg-type]
    )


def _schedule_less_target(value: Schedule) -> schedules_pb.Schedule:
    plain = value.policy == _PLAIN_POLICY
    return schedules_pb.Schedule(
        policy=None if plain else _policy(value.policy),
        labels=dict(value.labels),
        run_count=value.run_count,
        missed_count=value.missed_count,
        source_file=value.source.rpartition("#")[0],
        skipped_count=value.skipped_count,
        buffered_count=value.buffered_count,
        cancelled_count=value.cancelled_count,
        name=f"schedules/{value.schedule_id}",
        schedule_id=value.schedule_id,
        timing=timing(value.timing),
        state=int(value.state),  # type: ignore[arg-type]
        generation=value.generation,
        next_time_ms=value.next_ms,
        fire_count=value.fire_count,
        note=value.note,
        create_time_ms=value.created_ms,
        update_time_ms=value.updated_ms,
        etag=str(value.generation),
    )


_IN_RESPONSE: Final = b"\x0a"
"""Field 1, length-delimited: `schedule` of every response that is a schedule."""
_TARGET: Final = b"\x22"
"""Field 4, length-delimited: `Schedule.target`."""


def _length(size: int) -> bytes:
    """A varint."""
    out = bytearray()
    while size > 0x7F:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def schedule_answer(value: Schedule) -> bytes:
    """`RegisterScheduleResponse{schedule}`, serialized; the other responses to changes of schedules have the same form
    (a test holds them together). The target is bytes already: it is put in as it is, not parsed and serialized."""
    body = _schedule_less_target(value).SerializeToString()
    if value.target:
        body += _TARGET + _length(len(value.target)) + value.target
    return _IN_RESPONSE + _length(len(body)) + body


def rule_revision(value: RuleRevisionRow) -> rules_pb.RuleRevision:
    return rules_pb.RuleRevision(
        name=f"ruleRevisions/{value.revision}",
        revision=value.revision,
        digest=value.digest,
        source=value.source,
        create_time_ms=value.created_ms,
        note=value.note,
        active=value.active,
        rule_count=value.rule_count,
    )


def shop(value: Shop) -> shops_pb.Shop:
    """What the caller gave, less stock: also the body that storage keeps."""
    return shops_pb.Shop(
        shop_id=value.shop_id,
        location=types_pb.Location(latitude=value.latitude, longitude=value.longitude),
        display_name=value.display_name,
        daily_capacity=value.daily_capacity,
        fridge_slots=value.fridge_slots,
        open_from_ms=value.open_from_ms,
        open_until_ms=value.open_until_ms,
        paused=value.paused,
    )


def shop_value(message: shops_pb.Shop) -> Shop:
    """The shop as a caller or storage has it; outputs are not looked at."""
    return Shop(
        shop_id=message.shop_id,
        latitude=message.location.latitude,
        longitude=message.location.longitude,
        display_name=message.display_name,
        daily_capacity=message.daily_capacity,
        fridge_slots=message.fridge_slots,
        open_from_ms=message.open_from_ms,
        open_until_ms=message.open_until_ms,
        paused=message.paused,
        stock=tuple((level.sku, level.on_hand) for level in message.stock),
    )


def rider(value: Rider) -> riders_pb.Rider:
    """What the caller gave: also the body that storage keeps."""
    return riders_pb.Rider(
        rider_id=value.rider_id,
        display_name=value.display_name,
        location=types_pb.Location(latitude=value.latitude, longitude=value.longitude),
        available_from_time_ms=value.available_from_ms,
        available_until_time_ms=value.available_until_ms,
        max_load=value.max_load,
        min_temperature_c=value.min_temperature_c,
        max_temperature_c=value.max_temperature_c,
        speed_m_per_min=value.speed_m_per_min,
        paused=value.paused,
    )


def rider_value(message: riders_pb.Rider) -> Rider:
    """The rider as a caller or storage has it; outputs are not looked at."""
    return Rider(
        rider_id=message.rider_id,
        display_name=message.display_name,
        latitude=message.location.latitude,
        longitude=message.location.longitude,
        available_from_ms=message.available_from_time_ms,
        available_until_ms=message.available_until_time_ms,
        max_load=message.max_load,
        min_temperature_c=message.min_temperature_c,
        max_temperature_c=message.max_temperature_c,
        speed_m_per_min=message.speed_m_per_min,
        paused=message.paused,
    )
