"""ScheduleService, and what a firing means: the target of a schedule is bytes to everybody but this module."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime._gen.cuptime.v1 import schedule_service_pb2 as pb
from cuptime.api import convert, names, pages
from cuptime.api.call import Call
from cuptime.api.changes import schedule_change
from cuptime.api.fields import below, etag_of, mask_of, state_of
from cuptime.api.groups import group_of as group_value
from cuptime.api.tasks import bucket_of, context_of
from cuptime.dispatch.values import INSTANT_MS_MAX, check_range
from cuptime.domain.clock import Clock
from cuptime.domain.errors import CuptimeError, Reason, invalid, required
from cuptime.domain.limits import (
    BUCKET_MS,
    EVERY_MIN_MS,
    GROUP_ID_MIN,
    TASK_BACKOFF_DEFAULT_MS,
    TASK_DUE_AHEAD_MAX_MS,
    TASK_PAYLOAD_BYTES_MAX,
    TASK_RETRIES_DEFAULT,
    TASK_RETRIES_MAX,
)
from cuptime.domain.values import (
    CatchUp,
    DstPolicy,
    Overlap,
    Schedule,
    SchedulePolicy,
    ScheduleState,
    Timing,
    TimingKind,
)
from cuptime.groups.life import check_group as check_new_group
from cuptime.schedules.answers import Backfill
from cuptime.schedules.marks import MarkedOf, UnknownYearOf
from cuptime.schedules.policies import check_label
from cuptime.schedules.registry import NOTE_CHARS_MAX, PREVIEW_DEFAULT, NewSchedule, Registry, ScheduleChange
from cuptime.schedules.spoken import cron_of, told
from cuptime.schedules.targets import Firing
from cuptime.schedules.zone_files import zone_version
from cuptime.tasks.form import KnownGroup, NewTask, check_group, check_new

if TYPE_CHECKING:
    from cuptime.schedules.folder import ScheduleFolder

OPEN_GROUP_QUEUE: Final = "cuptime.open_group"
_KINDS: Final = {
    "cron": TimingKind.CRON,
    "at_time_ms": TimingKind.AT,
    "after_ms": TimingKind.AFTER,
    "every_ms": TimingKind.EVERY,
}
_PLAIN: Final = SchedulePolicy()
UPDATE_FIELDS: Final = frozenset({"timing", "target", "note", "policy", "labels"})


class OpenGroup(Struct, frozen=True):
    """The payload of a `cuptime.open_group` task: which group a firing opens."""

    group_id: int
    deadline_ms: int
    template: bytes
    """`cuptime.v1.Group`, serialized."""

    def packed(self) -> bytes:
        fields = {"group_id": self.group_id, "deadline_ms": self.deadline_ms, "template": self.template.hex()}
        return json.dumps(fields).encode()

    @staticmethod
    def unpacked(payload: bytes) -> OpenGroup:
        fields = json.loads(payload)
        return OpenGroup(fields["group_id"], fields["deadline_ms"], bytes.fromhex(fields["template"]))


class Targets:
    """Implements :class:`cuptime.schedules.targets.TargetPort`."""

    def task_of(self, target: bytes, schedule_id: str, nominal_ms: int, firing_number: int) -> Firing:
        message = pb.Target.FromString(target)
        if message.WhichOneof("action") == "group":
            template = message.group
            opened = OpenGroup(
                template.first_group_id + firing_number,
                nominal_ms + template.open_for_ms,
                template.group.SerializeToString(deterministic=True),
            )
            return Firing(OPEN_GROUP_QUEUE, opened.packed(), max_retries=5)
        task = message.task
        return Firing(
            task.queue,
            task.payload,
            priority=task.priority or 50,
            max_retries=task.max_retries if task.HasField("max_retries") else TASK_RETRIES_DEFAULT,
            backoff_ms=task.backoff_ms or TASK_BACKOFF_DEFAULT_MS,
            context=replace(context_of(task.context), timestamp_ms=nominal_ms)
            if task.HasField("context")
            else None,
            bucket_ms=BUCKET_MS if task.bucket else 0,
        )


class ScheduleAnswers:
    """Implements :class:`cuptime.schedules.answers.AnswerPort`."""

    def packed(self, schedule: Schedule) -> bytes:
        return convert.schedule_answer(schedule)

    def backfilled(self, schedule: Schedule, told: Backfill) -> bytes:
        counts = pb.BackfillScheduleResponse(
            firing_count=told.firings,
            existing_count=told.existing,
            first_time_ms=told.first_ms,
            last_time_ms=told.last_ms,
        )
        # Two messages one after the other are one with the fields of both.
        return convert.schedule_answer(schedule) + counts.SerializeToString()


def timing_of(message: pb.Timing, field: str, now_ms: int) -> Timing:
    """The timing as a value; words become the cron text they mean, counted from now.

    Raises FIELD_* for what the engine would not look at."""
    kind = message.WhichOneof("when")
    if kind is None:
        raise CuptimeError(
            Reason.FIELD_REQUIRED, f"{field} needs cron, text, at_time_ms, after_ms or every_ms", field=field
        )
    value = getattr(message, kind)
    if kind == "text":
        kind, value = "cron", cron_of(value, message.time_zone, now_ms, f"{field}.text")
    if kind == "every_ms" and value < EVERY_MIN_MS:
        raise invalid(f"{field}.every_ms", f"at least {EVERY_MIN_MS}", value)
    if kind in ("at_time_ms", "after_ms") and value < 0:
        raise invalid(f"{field}.{kind}", "at least 0", value)
    for name in ("start_time_ms", "end_time_ms"):
        if getattr(message, name) < 0:
            raise invalid(f"{field}.{name}", "at least 0", getattr(message, name))
    if message.end_time_ms and message.end_time_ms < message.start_time_ms:
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, "end_time_ms is before start_time_ms", field=f"{field}.end_time_ms"
        )
    try:
        dst = DstPolicy(message.dst_policy or DstPolicy.VIXIE)
    except ValueError:
        raise invalid(f"{field}.dst_policy", "a DST policy of the list", message.dst_policy) from None
    if message.dst_policy and kind != "cron":
        raise CuptimeError(
            Reason.FIELD_CONTRADICTION, "a DST policy is for cron", field=f"{field}.dst_policy"
        )
    return Timing(
        kind=_KINDS[kind],
        expression=value if kind == "cron" else "",
        value_ms=0 if kind == "cron" else value,
        time_zone=message.time_zone or "UTC",
        start_ms=message.start_time_ms,
        end_ms=message.end_time_ms,
        dst=dst,
    )


def policy_of(message: pb.SchedulePolicy, field: str) -> SchedulePolicy:
    """The policy as a value. Raises FIELD_INVALID; the registry looks at the rest."""
    try:
        catch_up = CatchUp(message.catch_up or CatchUp.ALL)
    except ValueError:
        raise invalid(f"{field}.catch_up", "a catch-up policy of the list", message.catch_up) from None
    return SchedulePolicy(
        message.max_runs,
        message.jitter_ms,
        catch_up,
        message.catch_up_window_ms,
        message.catch_up_limit,
        overlap_of(message.overlap, f"{field}.overlap") or Overlap.ALLOW_ALL,
    )


def overlap_of(number: int, field: str) -> Overlap | None:
    """The overlap policy of the wire; None when it is left to the schedule. Raises FIELD_INVALID."""
    if not number:
        return None
    try:
        return Overlap(number - 1)
    except ValueError:
        raise invalid(field, "an overlap policy of the list", number) from None


def _check_template(template: pb.GroupTemplate, now_ms: int, field: str) -> None:
    """What a firing could not open is refused now. Raises FIELD_*."""
    check_range(f"{field}.first_group_id", template.first_group_id, GROUP_ID_MIN, 2**62)
    check_range(f"{field}.open_for_ms", template.open_for_ms, 1, TASK_DUE_AHEAD_MAX_MS)
    for name in ("group_id", "deadline_time_ms"):
        if getattr(template.group, name):
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION,
                "group_id and deadline_time_ms come from the firing; leave them empty",
                field=f"{field}.group.{name}",
            )
    group = groups_pb.Group()
    group.CopyFrom(template.group)
    group.group_id, group.deadline_time_ms = template.first_group_id, now_ms + template.open_for_ms
    with below(field, "group"):
        check_new_group(group_value(group), now_ms)


def target_of(message: pb.Target, now_ms: int, field: str) -> bytes:
    """The target, checked, as bytes. Raises FIELD_*."""
    action = message.WhichOneof("action")
    if action is None:
        raise CuptimeError(Reason.FIELD_REQUIRED, f"{field} needs a task or a group", field=field)
    if action == "task":
        task = message.task
        if task.due_time_ms:
            raise CuptimeError(
                Reason.FIELD_CONTRADICTION,
                "a firing is due at its nominal time",
                field=f"{field}.task.due_time_ms",
            )
        if task.max_retries < 0:
            raise invalid(f"{field}.task.max_retries", f"0 to {TASK_RETRIES_MAX}", task.max_retries)
        retries = task.max_retries if task.HasField("max_retries") else -1
        bucket_of(task.bucket, f"{field}.task.bucket")
        context = None
        if task.HasField("context"):
            context = context_of(task.context)
            context = replace(context, timestamp_ms=context.timestamp_ms or now_ms)
        check_new(
            NewTask(task.queue, task.payload, 0, 0, task.priority, retries, task.backoff_ms, context),
            now_ms,
            f"{field}.task",
        )
    else:
        group = message.group
        _check_template(group, now_ms, f"{field}.group")
    packed = message.SerializeToString(deterministic=True)
    if len(packed) > 2 * TASK_PAYLOAD_BYTES_MAX:
        raise invalid(field, f"at most {2 * TASK_PAYLOAD_BYTES_MAX} bytes", f"{len(packed)} bytes")
    return packed


async def checked_target(message: pb.Target, now_ms: int, known_group: KnownGroup) -> bytes:
    """The target as bytes. Raises FIELD_*, and GROUP_NOT_FOUND for the business context of a group that is not
    known."""
    target = target_of(message, now_ms, "schedule.target")
    if message.WhichOneof("action") == "task" and message.task.HasField("context"):
        await check_group(context_of(message.task.context), known_group, "schedule.target.task")
    return target


async def new_schedule(wanted: pb.Schedule, now_ms: int, known_group: KnownGroup) -> NewSchedule:
    """A schedule as asked for. Raises FIELD_*, GROUP_NOT_FOUND; the registry looks at the rest."""
    return NewSchedule(
        wanted.schedule_id,
        timing_of(wanted.timing, "schedule.timing", now_ms),
        await checked_target(wanted.target, now_ms, known_group),
        wanted.note,
        policy_of(wanted.policy, "schedule.policy") if wanted.HasField("policy") else _PLAIN,
        tuple(sorted(wanted.labels.items())),
    )


class ScheduleEndpoints:
    """The methods of ScheduleService. Changes answer bytes: what is kept with the request_id, as it was kept."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        known_group: KnownGroup,
        folder: ScheduleFolder | None,
        marked_of: MarkedOf,
        unknown_year_of: UnknownYearOf,
    ) -> None:
        self._registry = registry
        self._marked_of = marked_of
        self._unknown_year_of = unknown_year_of
        self._folder = folder
        self._clock = clock
        self._known_group = known_group

    async def register_schedule(self, request: pb.RegisterScheduleRequest, call: Call) -> bytes:
        if not request.HasField("schedule"):
            raise required("schedule")
        new = await new_schedule(request.schedule, self._clock.now_ms(), self._known_group)
        with below("schedule", "timing"):
            return await self._registry.register(
                new, request_id=request.request_id, validate_only=request.validate_only, by=call.caller()
            )

    async def update_schedule(self, request: pb.UpdateScheduleRequest, call: Call) -> bytes:
        if not request.HasField("schedule"):
            raise required("schedule")
        wanted = request.schedule
        schedule_id = names.schedule(wanted.name, "schedule.name")
        fields = mask_of(request.update_mask.paths, UPDATE_FIELDS)
        now_ms = self._clock.now_ms()
        change = ScheduleChange(
            timing=timing_of(wanted.timing, "schedule.timing", now_ms) if "timing" in fields else None,
            target=await checked_target(wanted.target, now_ms, self._known_group)
            if "target" in fields
            else None,
            note=wanted.note if "note" in fields else None,
            policy=policy_of(wanted.policy, "schedule.policy") if "policy" in fields else None,
            labels=tuple(sorted(wanted.labels.items())) if "labels" in fields else None,
        )
        with below("schedule", "timing"):
            return await self._registry.update(
                schedule_id,
                change,
                etag=etag_of(request.etag),
                request_id=request.request_id,
                validate_only=request.validate_only,
                by=call.caller(),
            )

    async def unregister_schedule(self, request: pb.UnregisterScheduleRequest, call: Call) -> bytes:
        return await self._registry.unregister(
            names.schedule(request.name),
            etag=etag_of(request.etag),
            request_id=request.request_id,
            validate_only=request.validate_only,
            by=call.caller(),
        )

    async def pause_schedule(self, request: pb.PauseScheduleRequest, call: Call) -> bytes:
        if len(request.note) > NOTE_CHARS_MAX:
            raise invalid("note", f"at most {NOTE_CHARS_MAX} characters", request.note)
        return await self._registry.pause(
            names.schedule(request.name), request.note, request_id=request.request_id, by=call.caller()
        )

    async def resume_schedule(self, request: pb.ResumeScheduleRequest, call: Call) -> bytes:
        name = names.schedule(request.name)
        return await self._registry.resume(name, request_id=request.request_id, by=call.caller())

    async def trigger_schedule(self, request: pb.TriggerScheduleRequest, call: Call) -> bytes:
        return await self._registry.by_hand.trigger(
            names.schedule(request.name),
            overlap=overlap_of(request.overlap, "overlap"),
            request_id=request.request_id,
            validate_only=request.validate_only,
            by=call.caller(),
        )

    async def backfill_schedule(self, request: pb.BackfillScheduleRequest, call: Call) -> bytes:
        for field in ("start_time_ms", "end_time_ms"):
            check_range(field, getattr(request, field), 1, INSTANT_MS_MAX)
        return await self._registry.by_hand.backfill(
            names.schedule(request.name),
            request.start_time_ms,
            request.end_time_ms,
            overlap=overlap_of(request.overlap, "overlap"),
            request_id=request.request_id,
            validate_only=request.validate_only,
            by=call.caller(),
        )

    async def get_schedule(self, request: pb.GetScheduleRequest, call: Call) -> pb.GetScheduleResponse:
        schedule = await self._registry.get(names.schedule(request.name))
        running, waiting = self._registry.standing(schedule)
        return pb.GetScheduleResponse(
            schedule=convert.schedule(schedule), running_firings=running, waiting_firings=waiting
        )

    async def list_schedules(self, request: pb.ListSchedulesRequest, call: Call) -> pb.ListSchedulesResponse:
        state = state_of(ScheduleState, request.state, "a schedule")
        size = pages.page_size(request.page_size)
        label = None
        if request.label:
            key, _, value = request.label.partition("=")
            check_label(key, value, "label")
            label = (key, value)
        list_name = f"schedules/{request.state}/{request.label}"
        after = pages.cursor(list_name, request.page_token, 0)
        found = await self._registry.schedules(after=after, limit=size + 1, state=state, label=label)
        shown = [convert.schedule(schedule) for schedule in found[:size]]
        token = pages.cut(list_name, found, shown, lambda schedule: schedule.schedule_seq)
        return pb.ListSchedulesResponse(schedules=shown, next_page_token=token)

    async def list_schedule_changes(
        self, request: pb.ListScheduleChangesRequest, call: Call
    ) -> pb.ListScheduleChangesResponse:
        schedule_id = names.schedule_or_all(request.name)
        size = pages.page_size(request.page_size)
        list_name = f"changes/{request.name}"
        before = pages.cursor(list_name, request.page_token, 1 << 62)
        rows = await self._registry.changes(before=before, limit=size + 1, schedule_id=schedule_id)
        shown = [schedule_change(row) for row in rows[:size]]
        token = pages.cut(list_name, rows, shown, lambda row: row.sequence)
        return pb.ListScheduleChangesResponse(changes=shown, next_page_token=token)

    async def get_schedule_folder(
        self, request: pb.GetScheduleFolderRequest, call: Call
    ) -> pb.GetScheduleFolderResponse:
        if self._folder is None:
            return pb.GetScheduleFolderResponse()
        status = self._folder.status
        return pb.GetScheduleFolderResponse(
            folder=status.folder,
            content=status.content,
            file_count=status.files,
            schedule_count=status.schedules,
            registered_count=status.registered,
            updated_count=status.updated,
            unregistered_count=status.unregistered,
            attempt_time_ms=status.attempted_ms,
            success_time_ms=status.succeeded_ms,
            error=status.error,
            faults=[
                pb.ScheduleFileFault(
                    file=fault.file,
                    line=fault.line,
                    column=fault.column,
                    code=fault.code,
                    schedule_id=fault.rule,
                    message=fault.message,
                    hint=fault.hint,
                )
                for fault in status.faults
            ],
        )

    async def preview_schedule(
        self, request: pb.PreviewScheduleRequest, call: Call
    ) -> pb.PreviewScheduleResponse:
        subject = request.WhichOneof("subject")
        check_range("after_time_ms", request.after_time_ms, 0, INSTANT_MS_MAX)
        if subject is None:
            raise CuptimeError(Reason.FIELD_REQUIRED, "give the name of a schedule or a timing", field="name")
        if subject == "name":
            wanted: str | Timing = names.schedule(request.name)
        else:
            wanted = timing_of(request.timing, "timing", self._clock.now_ms())
        times = await self._registry.preview(wanted, count=request.count, after_ms=request.after_time_ms)
        timing = wanted if isinstance(wanted, Timing) else (await self._registry.get(wanted)).timing
        said = told(timing)
        return pb.PreviewScheduleResponse(
            fire_times_ms=times,
            firings=[
                pb.PreviewedFiring(
                    fire_time_ms=one.at_ms,
                    local_time=one.local,
                    marks=[int(mark) for mark in one.marks],  # type: ignore[misc]
                )
                for one in self._marked_of(timing, times, request.calendar)
            ],
            cron=said.cron,
            text_zh=said.chinese,
            text_en=said.english,
            zone_data_version=zone_version(),
            calendar_unknown_year=self._unknown_year(timing, times, request),
        )

    def _unknown_year(self, timing: Timing, times: Sequence[int], request: pb.PreviewScheduleRequest) -> int:
        if len(times) >= (request.count or PREVIEW_DEFAULT):
            return 0
        after_ms = times[-1] if times else request.after_time_ms or self._clock.now_ms()
        return self._unknown_year_of(timing, after_ms)


def group_of(opened: OpenGroup) -> groups_pb.Group:
    """The group that a firing opens."""
    group = groups_pb.Group.FromString(opened.template)
    group.group_id = opened.group_id
    group.deadline_time_ms = opened.deadline_ms
    return group
