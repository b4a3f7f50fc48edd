"""What the command line asks of a server, and how it shows the answers."""

from __future__ import annotations

import datetime
import getpass
import sys
from typing import Any, Final
from zoneinfo import ZoneInfo

import grpc
import typer
from google.protobuf import json_format, message_factory
from google.rpc import error_details_pb2, status_pb2
from rich.console import Console
from rich.table import Table

from cuptime._gen.cuptime.v1 import rule_service_pb2, schedule_service_pb2, task_service_pb2
from cuptime.domain.clock import SystemClock

SERVICES: Final = {
    service.full_name: service
    for file in (rule_service_pb2, schedule_service_pb2, task_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}
TIMEOUT_S: Final = 10.0
PAGE: Final = 200


def fresh_id() -> str:
    return SystemClock().token()


def call(method: str, address: str, **fields: Any) -> Any:
    """One unary call. A refusal is printed for people and ends the program with code 1."""
    service_name, _, method_name = method.partition("/")
    found = SERVICES[f"cuptime.v1.{service_name}"].methods_by_name[method_name]
    try:
        request = message_factory.GetMessageClass(found.input_type)(**fields)
    except ValueError as error:  # A number that the field cannot hold.
        raise typer.BadParameter(str(error)) from None
    response_type = message_factory.GetMessageClass(found.output_type)
    with grpc.insecure_channel(address) as channel:
        stub: Any = channel.unary_unary(
            f"/cuptime.v1.{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=response_type.FromString,
        )
        try:
            return stub(request, timeout=TIMEOUT_S, metadata=_actor())
        except grpc.RpcError as error:
            _explain(error, address)
            raise typer.Exit(1) from None


def _actor() -> list[tuple[str, bytes]]:
    """Who sits at this terminal: kept beside what is changed."""
    try:
        return [("cuptime-actor-bin", getpass.getuser().encode())]
    except (OSError, KeyError):
        return []  # A user id without a name.


def _explain(error: Any, address: str) -> None:
    code, text = error.code(), error.details()
    print(f"{code.name}: {text}", file=sys.stderr)
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                facts = ", ".join(f"{name}={fact}" for name, fact in sorted(info.metadata.items()))
                print(f"  reason {info.reason}" + (f" ({facts})" if facts else ""), file=sys.stderr)
    if code is grpc.StatusCode.UNAVAILABLE:
        print(f"  is a server running at {address}? start one with: cuptime serve", file=sys.stderr)


def show(method: str, address: str, **fields: Any) -> None:
    """Calls and prints the answer as JSON."""
    print(_json(call(method, address, **fields)))


def _json(message: Any) -> str:
    return json_format.MessageToJson(message, preserving_proto_field_name=True, ensure_ascii=False)


def _all(method: str, address: str, field: str, limit: int, **fields: Any) -> list[Any]:
    found: list[Any] = []
    token = ""
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        answer = call(method, address, page_size=size, page_token=token, **fields)
        found.extend(getattr(answer, field))
        token = answer.next_page_token
        if not token:
            break
    return found


def _instant(value_ms: int, zone: str = "UTC") -> str:
    if not value_ms:
        return "-"
    at = datetime.datetime.fromtimestamp(value_ms / 1_000, tz=ZoneInfo(zone))
    return at.strftime("%Y-%m-%d %H:%M:%S.") + f"{value_ms % 1_000:03d}" + at.strftime(" %Z")


def show_tasks(address: str, filter_text: str, limit: int, as_json: bool) -> None:
    tasks = _all("TaskService/ListTasks", address, "tasks", limit, filter=filter_text)
    if as_json:
        print("[" + ",\n".join(_json(task) for task in tasks) + "]")
        return
    table = Table()
    for column in ("name", "queue", "state", "due", "lateness ms", "retries", "error"):
        table.add_column(column)
    for task in tasks:
        state = task_service_pb2.Task.State.Name(task.state).removeprefix("STATE_")
        late = str(task.trigger_time_ms - task.due_time_ms) if task.trigger_time_ms else "-"
        due = _instant(task.due_time_ms)
        table.add_row(task.name, task.queue, state, due, late, str(task.retry_count), task.error_code or "-")
    Console().print(table)


def show_schedules(address: str, limit: int, as_json: bool, label: str = "") -> None:
    schedules = _all("ScheduleService/ListSchedules", address, "schedules", limit, label=label)
    if as_json:
        print("[" + ",\n".join(_json(schedule) for schedule in schedules) + "]")
        return
    table = Table()
    for column in ("name", "state", "timing", "next", "planned", "note"):
        table.add_column(column)
    for schedule in schedules:
        kind = schedule.timing.WhichOneof("when") or "-"
        timing = f"{kind} {getattr(schedule.timing, kind)} {schedule.timing.time_zone}"
        state = schedule_service_pb2.Schedule.State.Name(schedule.state).removeprefix("STATE_")
        table.add_row(
            schedule.name,
            state,
            timing,
            _instant(schedule.next_time_ms),
            str(schedule.fire_count),
            schedule.note,
        )
    Console().print(table)


def show_changes(address: str, name: str, limit: int, as_json: bool) -> None:
    changes = _all("ScheduleService/ListScheduleChanges", address, "changes", limit, name=name)
    if as_json:
        print("[" + ",\n".join(_json(change) for change in changes) + "]")
        return
    for change in changes:
        kind = schedule_service_pb2.ScheduleChange.Kind.Name(change.kind).removeprefix("KIND_")
        who = " ".join(filter(None, (change.actor, change.peer)))
        asked = f" request_id {change.request_id}" if change.request_id else ""
        at = _instant(change.time_ms)
        print(f"{at} {change.schedule} {kind} generation {change.generation} by {who}{asked}")
        for field in change.fields:
            print(f"    {field.path}: {field.before or '-'} -> {field.after or '-'}")
        if change.detail:
            print(f"    {change.detail}")


_MARKS: Final = {
    schedule_service_pb2.FIRING_MARK_CLOCK_MOVED: "the clock skips its time 时钟跳过此刻",
    schedule_service_pb2.FIRING_MARK_CLOCK_FIRST: "shown twice, the first 重复时刻，第一次",
    schedule_service_pb2.FIRING_MARK_CLOCK_SECOND: "shown twice, the second 重复时刻，第二次",
    schedule_service_pb2.FIRING_MARK_HOLIDAY: "a holiday 节假日",
    schedule_service_pb2.FIRING_MARK_MAKE_UP_WORKDAY: "a make-up work day 调休上班",
    schedule_service_pb2.FIRING_MARK_YEAR_UNKNOWN: "no calendar for the year 该年无日历",
}


def show_rules_status(address: str) -> None:
    answer = call("RuleService/GetRulesStatus", address)
    if not answer.ListFields():
        print("no rules are live and none were tried; start the server with --rules PATH", file=sys.stderr)
    print(_json(answer))


def show_folder(address: str) -> None:
    answer = call("ScheduleService/GetScheduleFolder", address)
    if not answer.folder:
        print("no folder is watched; start the server with --schedules PATH", file=sys.stderr)
    print(_json(answer))


def show_preview_of(address: str, name: str, zone: str | None, count: int) -> None:
    """Of a registered schedule, in its own zone unless another is asked for."""
    timing = call("ScheduleService/GetSchedule", address, name=name).schedule.timing
    show_preview(address, zone or timing.time_zone or "UTC", name=name, count=count)


def show_preview(address: str, zone: str, **fields: Any) -> None:
    answer = call("ScheduleService/PreviewSchedule", address, **fields)
    for line in (answer.cron, answer.text_zh, answer.text_en):
        if line:
            print(line)
    for firing in answer.firings:
        local = _instant(firing.fire_time_ms, zone)
        marks = [_MARKS[mark] for mark in firing.marks if mark in _MARKS]
        zoned = [] if zone == "UTC" else [local]
        print("   ".join([_instant(firing.fire_time_ms), *zoned, *marks]))
    if answer.calendar_unknown_year:
        year = answer.calendar_unknown_year
        print(
            f"the calendar has no data for {year}: what comes then is not known {year}年尚无日历数据，之后的触发未知"
        )
