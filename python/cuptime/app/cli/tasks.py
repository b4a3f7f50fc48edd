"""`cuptime tasks`: look at tasks, cancel or retry them."""

from __future__ import annotations

from typing import Annotated

import typer

from cuptime.app.cli.options import DEFAULT_ADDRESS, Address, AsJson

app = typer.Typer(no_args_is_help=True, help="Look at tasks, cancel or retry them. 查看、取消或重试任务。")


@app.command("list")
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


@app.command("get")
def get_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Show one task whole, for example `tasks/17`. 查看任务。"""
    from cuptime.app import client

    client.show("TaskService/GetTask", address, name=name)


@app.command("cancel")
def cancel_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Cancel a task that has not been executed. 取消任务。"""
    from cuptime.app import client

    client.show("TaskService/CancelTask", address, name=name, request_id=client.fresh_id())


@app.command("retry")
def retry_task(name: str, address: Address = DEFAULT_ADDRESS) -> None:
    """Schedule a failed task again, due now. 重试任务。"""
    from cuptime.app import client

    client.show("TaskService/RetryTask", address, name=name, request_id=client.fresh_id())
