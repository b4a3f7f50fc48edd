"""The command line. Heavy imports wait until a command needs them, so that `--help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cuptime.app.cli import rules, schedules, tasks
from cuptime.app.cli.options import AsJson

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
app.add_typer(tasks.app, name="tasks")
app.add_typer(schedules.app, name="schedules")
app.add_typer(rules.app, name="rules")


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
