"""The command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="cuptime",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="""Schedules and dispatches beverage group-buys. 饮品团购的调度与派单服务。

Begin with `cuptime serve`, then in a second terminal `cuptime schedules register hello --every 1000 --queue greet`
and `cuptime tasks list`. Settings of `serve` are environment variables too: `--listen` is `CUPTIME_LISTEN`. The other
commands find the server by `--address` or `CUPTIME_ADDRESS`.
""",
)
tasks_app = typer.Typer(
    no_args_is_help=True, help="Look at tasks, cancel or retry them. 查看、取消或重试任务。"
)
schedules_app = typer.Typer(
    no_args_is_help=True, help="Register, preview, pause and end schedules. 管理定时计划。"
)
rules_app = typer.Typer(
    no_args_is_help=True,
    help="Check, test and explain rule files before they are live. 检查、测试、解释规则文件。",
)
app.add_typer(tasks_app, name="tasks")
app.add_typer(schedules_app, name="schedules")
app.add_typer(rules_app, name="rules")

Address = Annotated[str, typer.Option(envvar="CUPTIME_ADDRESS", help="Address of the server.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DEFAULT_ADDRESS = "127.0.0.1:7000"


@app.command()
def serve(
    data: Annotated[
        Path | None, typer.Option(help="Folder of the database; made when absent. Default: var")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(help="Address of gRPC. Default: 127.0.0.1:7000; :0 takes any port")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="Address of /metrics. Default: 127.0.0.1:7001; '' is off")
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Folder of rule files, watched and hot-reloaded.")
    ] = None,
    schedules: Annotated[
        Path | None,
        typer.Option(help="Folder, or file, of schedules, watched and hot-reloaded. 计划文件夹。"),
    ] = None,
    redis: Annotated[
        str | None, typer.Option(help="redis:// URL of the live counters. Default: in process")
    ] = None,
    retain_days: Annotated[
        int | None,
        typer.Option(
            help="Days that a group is kept after its end, with its orders and decisions; 0 for ever. Default: 30"
        ),
    ] = None,
    retain_tasks_days: Annotated[
        int | None,
        typer.Option(help="Days that a task is kept after its end, and an unregistered schedule. Default: 7"),
    ] = None,
    ready_file: Annotated[
        Path | None, typer.Option(help="Write the bound addresses here when serving (JSON).")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="debug, info, warning or error. Default: info")
    ] = None,
) -> None:
    """Run the service on this machine until SIGTERM or Ctrl-C. 启动服务。

    SQLite in `--data` holds everything; a second start on the same folder is refused. Nothing is acknowledged before
    it is on disk, and what waits is found again after a crash.

    Example: `cuptime serve --data ./var --rules ./rules`
    """
    from cuptime.app.life import run

    given = {
        "data": data,
        "listen": listen,
        "metrics": metrics,
        "rules": rules,
        "schedules": schedules,
        "redis": redis,
        "retain_days": retain_days,
        "retain_tasks_days": retain_tasks_days,
        "log_level": log_level,
    }
    raise typer.Exit(run({name: value for name, value in given.items() if value is not None}, ready_file))


@app.command()
def replay(
    folder: Annotated[
        Path,
        typer.Argument(help="One day: orders.txt, couriers.txt, restaurants.txt, instance_parameters.txt"),
    ],
    as_json: AsJson = False,
) -> None:
    """Replay a real delivery day through the service, under a simulated clock. 用服务回放真实的一天。

    Each order is a group of one: admitted, decided by the line, improved each minute until its rider must leave.

    Prints undelivered %, click-to-door (mean, p90), overage, ready-to-pickup and bundles, beside a greedy baseline and
    the published figures. An independent evaluator refuses an infeasible plan.

    Days are those of github.com/grubhub/mdrplib. Example: `cuptime replay mdrplib/public_instances/0r50t75s2p100`
    """
    from cuptime.app.replay import main

    raise typer.Exit(main(folder, as_json))


# --- tasks --------------------------------------------------------------------------------------------------------
@tasks_app.command("list")
def list_tasks(
    filter_text: Annotated[
        str, typer.Option("--filter", help="""Terms joined by AND: `state=FAILED`, `queue="x"`""")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000, help="How many at most.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List tasks by id. 列出任务。

    Example: `cuptime tasks list --filter 'state=FAILED AND queue="sheets"'`
    """
    from cuptime.app import client

    client.show_tasks(address, filter_text, limit, as_json)


@tasks_app.command("get")
def get_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Show one task whole, for example `tasks/17`. 查看任务。"""
    from cuptime.app import client

    client.show("TaskService/GetTask", address, name=name)


@tasks_app.command("cancel")
def cancel_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Cancel a task that has not been executed. 取消任务。"""
    from cuptime.app import client

    client.show("TaskService/CancelTask", address, name=name, request_id=client.fresh_id())


@tasks_app.command("retry")
def retry_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Schedule a failed task again, due now. 重试任务。"""
    from cuptime.app import client

    client.show("TaskService/RetryTask", address, name=name, request_id=client.fresh_id())


# --- schedules ----------------------------------------------------------------------------------------------------
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


@schedules_app.command("register")
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


@schedules_app.command("list")
def list_schedules(
    limit: Annotated[int, typer.Option(min=1, max=1_000)] = 50,
    label: Annotated[str, typer.Option(help="Only those with this label: key=value. 按标签筛选。")] = "",
    address: Address = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List schedules. 列出定时计划。"""
    from cuptime.app import client

    client.show_schedules(address, limit, as_json, label)


@schedules_app.command("get")
def get_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Show one schedule whole. 查看定时计划。"""
    from cuptime.app import client

    client.show("ScheduleService/GetSchedule", address, name=f"schedules/{schedule_id}")


@schedules_app.command("preview")
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


@schedules_app.command("pause")
def pause_schedule(
    schedule_id: str,
    note: Annotated[str, typer.Option(help="Kept and shown.")] = "",
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Stop a schedule until it is resumed. 暂停定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/PauseSchedule", address, name=name, note=note, request_id=client.fresh_id())


@schedules_app.command("trigger")
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


@schedules_app.command("backfill")
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


@schedules_app.command("check")
def check_schedules(
    paths: Annotated[list[Path], typer.Argument(help="Files of schedules, or folders of *.yaml.")],
) -> None:
    """Check files of schedules as the server would, with every fault at its place. 检查计划文件。

    The exit code is 0 when all are good. Example: `cuptime schedules check ./schedules`
    """
    from cuptime.app.schedules_check import check

    raise typer.Exit(check(paths))


@schedules_app.command("folder")
def schedule_folder(address: Address = DEFAULT_ADDRESS) -> None:
    """Show how the watched folder of the server stands. 查看计划文件夹的状态。

    Example: `cuptime schedules folder`
    """
    from cuptime.app import client

    client.show_folder(address)


@schedules_app.command("changes")
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


@schedules_app.command("resume")
def resume_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Let a paused schedule fire again. 恢复定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/ResumeSchedule", address, name=name, request_id=client.fresh_id())


@schedules_app.command("unregister")
def unregister_schedule(schedule_id: str, address: Address = DEFAULT_ADDRESS) -> None:
    """End a schedule; its planned firings never fire. 注销定时计划。"""
    from cuptime.app import client

    name = f"schedules/{schedule_id}"
    client.show("ScheduleService/UnregisterSchedule", address, name=name, request_id=client.fresh_id())


# --- rules --------------------------------------------------------------------------------------------------------
@rules_app.command("check")
def check_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
    language: Annotated[str, typer.Option(help="en or zh 中文: what each code means.")] = "en",
    strict: Annotated[bool, typer.Option(help="A warning is as bad as a fault.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check rule files as the server would, with every fault at its line and column. 检查规则。

    The exit code is 0 when all are good, 1 when not, 2 when nothing could be read.
    Example: `cuptime rules check ./rules --strict`
    """
    from cuptime.app.rules_check import check

    raise typer.Exit(check(paths, chinese=language == "zh", strict=strict, as_json=as_json))


@rules_app.command("status")
def rules_status(address: Address = DEFAULT_ADDRESS) -> None:
    """Show which rules are live, what was tried last from where, and what was wrong with it. 查看规则状态。

    Example: `cuptime rules status`
    """
    from cuptime.app import client

    client.show_rules_status(address)


@rules_app.command("test")
def test_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
) -> None:
    """Run the tests beside the rules and say which rules they leave uncovered. 运行规则自带的测试。

    Example: `cuptime rules test ./rules`
    """
    from cuptime.app.rules_check import test

    raise typer.Exit(test(paths))


@rules_app.command("fmt")
def format_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say what would change.")] = False,
) -> None:
    """Write rule files in their canonical form; comments stay, and the rules mean the same. 格式化规则。

    Nothing is written when anything is wrong with the rules. The exit code is 0 when all files are canonical (now), 1
    when not, 2 when nothing could be read. Example: `cuptime rules fmt ./rules --check`
    """
    from cuptime.app.rules_format import fmt

    raise typer.Exit(fmt(paths, check=check))


@rules_app.command("bench")
def bench_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
    orders: Annotated[int, typer.Option(min=1, max=10_000, help="How many are generated.")] = 1_000,
    seed: Annotated[int, typer.Option(help="The same seed, the same orders.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Measure what an order costs against the rules, with the index and asking every rule. 测量规则的开销。

    Orders are generated from the values that the rules name. Example: `cuptime rules bench ./rules`
    """
    from cuptime.app.rules_bench import bench

    raise typer.Exit(bench(paths, orders=orders, seed=seed, as_json=as_json))


@rules_app.command("schema")
def rule_schema() -> None:
    """Print the JSON schema of rule files, for editors. 输出规则文件的 JSON Schema。

    Example: `cuptime rules schema > rules.schema.json`
    """
    import json

    from cuptime.app.core_parts import rule_tools
    from cuptime.rules.form import json_schema

    tools = rule_tools()
    print(json.dumps(json_schema(tools.schema, tools.actions), ensure_ascii=False, indent=2))


@rules_app.command("explain")
def explain_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
    fact: Annotated[list[str], typer.Option(help="A fact of the order, as user.tier=gold.")],
    at: Annotated[str, typer.Option(help="The instant that validity is judged at; now without it.")] = "",
) -> None:
    """Say of each rule whether it matches the given facts, and why not. 解释每条规则的结果。

    Example: `cuptime rules explain ./rules --fact user.tier=gold --fact order.quantity=2`
    """
    from datetime import datetime

    from cuptime.app.rules_check import explain
    from cuptime.domain.clock import SystemClock

    at_ms = int(datetime.fromisoformat(at).timestamp() * 1_000) if at else SystemClock().now_ms()
    raise typer.Exit(explain(paths, fact, at_ms))


if __name__ == "__main__":
    app()
