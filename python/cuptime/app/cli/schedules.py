"""`cuptime schedules`: register, preview, change and end schedules."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cuptime.app.cli.options import DEFAULT_ADDRESS, Address, AsJson

app = typer.Typer(no_args_is_help=True, help="Register, preview, pause and end schedules. 管理定时计划。")

Cron = Annotated[str | None, typer.Option(help="5 fields, or 6 with seconds first: '0 10 * * 3'")]
Words = Annotated[str | None, typer.Option(help="In words: 'every wednesday at 10:00', 每周三10:00.")]
Every = Annotated[int | None, typer.Option(help="Milliseconds between firings, at least 10.")]
At = Annotated[int | None, typer.Option(help="Once, at this instant (UTC milliseconds).")]
After = Annotated[int | None, typer.Option(help="Once, after this many milliseconds.")]
Zone = Annotated[str, typer.Option(help="IANA time zone, for example Asia/Shanghai.")]
Dst = Annotated[
    str,
    typer.Option(
        help="Where the clock is set: vixie (default), skip_once, shift_all, croner, wall_both. 夏令时策略。"
    ),
]


def _timing(
    cron: str | None,
    text: str | None,
    every: int | None,
    at: int | None,
    after: int | None,
    zone: str,
    dst: str = "",
) -> dict[str, Any]:
    given = {"cron": cron, "text": text, "every_ms": every, "at_time_ms": at, "after_ms": after}
    chosen = {name: value for name, value in given.items() if value is not None}
    if len(chosen) != 1:
        raise typer.BadParameter("give exactly one of --cron, --text, --every, --at, --after")
    names = ("vixie", "skip_once", "shift_all", "croner", "wall_both")
    return {**chosen, "dst_policy": _one_of("--dst", "DST_POLICY", dst, names), "time_zone": zone}


def _labels(given: list[str] | None) -> dict[str, str]:
    pairs = [text.partition("=") for text in given or ()]
    if any(not parted for _, parted, _ in pairs):
        raise typer.BadParameter("a label is key=value")
    return {key: value for key, _, value in pairs}


def _one_of(option: str, prefix: str, given: str, names: tuple[str, ...]) -> str | int:
    """What the field of the proto is called for one of its names; nothing given is the server's default."""
    if not given:
        return 0
    if given.lower() not in names:
        raise typer.BadParameter(f"{option} is one of {', '.join(names)}, not {given!r}")
    return f"{prefix}_{given.upper()}"


def _overlap(given: str) -> str | int:
    return _one_of(
        "--overlap", "OVERLAP", given, ("allow_all", "skip", "buffer_one", "buffer_all", "cancel_other")
    )


Overlap = Annotated[str, typer.Option(help="Instead of the schedule's own overlap policy. 重叠策略。")]


@app.command("register")
def register_schedule(
    schedule_id: str,
    queue: Annotated[str, typer.Option(help="Which workers take the task of each firing.")],
    payload: Annotated[str, typer.Option(help="Given to the worker as it is.")] = "",
    cron: Cron = None,
    text: Words = None,
    every: Every = None,
    at: At = None,
    after: After = None,
    zone: Zone = "UTC",
    dst: Dst = "",
    max_runs: Annotated[int, typer.Option(min=0, help="Firings in all; 0 is no limit. 最多触发次数。")] = 0,
    jitter: Annotated[
        int, typer.Option(min=0, help="Milliseconds over which firings are spread. 抖动毫秒数。")
    ] = 0,
    catch_up: Annotated[
        str, typer.Option(help="Missed firings: all (default), latest, none, bounded. 错过的触发如何补。")
    ] = "",
    catch_up_window: Annotated[
        int, typer.Option(min=0, help="Milliseconds; older ones are not caught up. 补跑窗口。")
    ] = 0,
    catch_up_limit: Annotated[
        int, typer.Option(min=0, help="For bounded: so many of the latest. 最多补几次。")
    ] = 0,
    overlap: Annotated[
        str,
        typer.Option(
            help="While another runs: allow_all (default), skip, buffer_one, buffer_all, cancel_other. 重叠策略。"
        ),
    ] = "",
    minute: Annotated[
        bool, typer.Option("--minute-bucket", help="Deliver all of a minute together. 按分钟合批。")
    ] = False,
    group: Annotated[int, typer.Option(min=0, help="Business context: its group_id. 业务上下文：团号。")] = 0,
    sku_version: Annotated[str, typer.Option(help="Business context, for example 2.1.")] = "",
    stock: Annotated[int, typer.Option(min=0, help="Business context: the stock you see. 看到的库存。")] = 0,
    label: Annotated[list[str] | None, typer.Option(help="key=value; may be repeated. 标签。")] = None,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Register a schedule whose firings make tasks. 注册定时计划。

    Example: `cuptime schedules register open-park --cron '0 9 * * 1-5' --zone Asia/Shanghai --queue open`
    """
    from cuptime.app import client

    task: dict[str, Any] = {"queue": queue, "payload": payload.encode()}
    if minute:
        task["bucket"] = "BUCKET_MINUTE"
    if group or sku_version:
        task["context"] = {"group_id": group, "sku_version": sku_version, "stock_snapshot": stock}
    schedule = {
        "schedule_id": schedule_id,
        "timing": _timing(cron, text, every, at, after, zone, dst),
        "target": {"task": task},
        "policy": {
            "max_runs": max_runs,
            "jitter_ms": jitter,
            "catch_up": _one_of("--catch-up", "CATCH_UP", catch_up, ("all", "latest", "none", "bounded")),
            "catch_up_window_ms": catch_up_window,
            "catch_up_limit": catch_up_limit,
            "overlap": _overlap(overlap),
        },
        "labels": _labels(label),
    }
    client.show("ScheduleService/RegisterSchedule", address, schedule=schedule, request_id=client.fresh_id())


@app.command("list")
def list_schedules(
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    label: Annotated[str, typer.Option(help="Only those with this label: key=value. 按标签筛选。")] = "",
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List schedules. 列出定时计划。"""
    from cuptime.app import client

    client.show_schedules(address, limit, as_json, label)


@app.command("get")
def get_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Show one schedule whole. 查看定时计划。"""
    from cuptime.app import client

    client.show("ScheduleService/GetSchedule", address, name=f"schedules/{schedule_id}")


@app.command("preview")
def preview_schedule(
    schedule_id: Annotated[
        str | None, typer.Argument(help="A registered schedule; or give a timing.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, max=1_000)] = 5,
    cron: Cron = None,
    text: Words = None,
    every: Every = None,
    at: At = None,
    after: After = None,
    zone: Annotated[
        str | None, typer.Option(help="IANA time zone; without it the schedule's own, or UTC. 时区。")
    ] = None,
    dst: Dst = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Show the next firings, in UTC and in the schedule's zone. 预览接下来的触发时间。

    Example: `cuptime schedules preview --cron '0 10 * * 3' --zone Asia/Shanghai`,
    or in words: `cuptime schedules preview --text 每周三10:00 --zone Asia/Shanghai`
    """
    from cuptime.app import client

    if schedule_id is None:
        timing = _timing(cron, text, every, at, after, zone or "UTC", dst)
        client.show_preview(address, zone or "UTC", timing=timing, count=count)
        return
    if dst or any(given is not None for given in (cron, text, every, at, after)):
        raise typer.BadParameter("give the id of a registered schedule or a timing, not both")
    client.show_preview_of(address, f"schedules/{schedule_id}", zone, count)


@app.command("pause")
def pause_schedule(
    schedule_id: str,
    note: Annotated[str, typer.Option(help="Kept and shown.")] = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Stop a schedule until it is resumed. 暂停定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/PauseSchedule", address, name=name, note=note, request_id=client.fresh_id())


@app.command("trigger")
def trigger_schedule(schedule_id: str, overlap: Overlap = "", address: Address = DEFAULT_ADDRESS) -> None:
    """Fire a schedule once, now. 立即触发一次。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show(
        "ScheduleService/TriggerSchedule",
        address,
        name=name,
        overlap=_overlap(overlap),
        request_id=client.fresh_id(),
    )


@app.command("backfill")
def backfill_schedule(
    schedule_id: str,
    start: Annotated[int, typer.Option(help="The first instant (UTC milliseconds).")],
    end: Annotated[int, typer.Option(help="The first instant not meant any more (UTC milliseconds).")],
    preview: Annotated[
        bool, typer.Option("--preview", help="Only say what it would cost. 只看代价。")
    ] = False,
    overlap: Overlap = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Fire what a schedule would have fired in a time that is past. 回填过去一段时间的触发。

    Example: `cuptime schedules backfill open-park --start 1800000000000 --end 1800003600000 --preview`
    """
    from cuptime.app import client

    fields = {"name": f"schedules/{schedule_id}", "start_time_ms": start, "end_time_ms": end}
    client.show(
        "ScheduleService/BackfillSchedule",
        address,
        **fields,
        overlap=_overlap(overlap),
        validate_only=preview,
        request_id=client.fresh_id(),
    )


@app.command("check")
def check_schedules(
    paths: Annotated[list[Path], typer.Argument(help="Files of schedules, or folders of *.yaml.")],
) -> None:
    """Check files of schedules as the server would, with every fault at its place. 检查计划文件。

    The exit code is 0 when all are good. Example: `cuptime schedules check ./schedules`
    """
    from cuptime.app.schedules_check import check

    raise typer.Exit(check(paths))


@app.command("folder")
def schedule_folder(address: Address = DEFAULT_ADDRESS) -> None:
    """Show how the watched folder of the server stands. 查看计划文件夹的状态。

    Example: `cuptime schedules folder`
    """
    from cuptime.app import client

    client.show_folder(address)


@app.command("changes")
def schedule_changes(
    schedule_id: Annotated[str | None, typer.Argument(help="Of one schedule; without it, of all.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show who changed what and when, newest first. 查看变更审计。

    Example: `cuptime schedules changes open-park`
    """
    from cuptime.app import client

    client.show_changes(address, f"schedules/{schedule_id or '-'}", limit, as_json)


@app.command("resume")
def resume_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Let a paused schedule fire again. 恢复定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/ResumeSchedule", address, name=name, request_id=client.fresh_id())


@app.command("unregister")
def unregister_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """End a schedule; its planned firings never fire. 注销定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/UnregisterSchedule", address, name=name, request_id=client.fresh_id())
