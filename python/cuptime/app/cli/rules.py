"""`cuptime rules`: check, test, format and explain rule files, without a server but for `status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cuptime.app.cli.options import DEFAULT_ADDRESS, Address, AsJson

app = typer.Typer(
    no_args_is_help=True,
    help="Check, test and explain rule files before they are live. 检查、测试、解释规则文件。",
)


@app.command("check")
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


@app.command("status")
def rules_status(address: Address = DEFAULT_ADDRESS) -> None:
    """Show which rules are live, what was tried last from where, and what was wrong with it. 查看规则状态。

    Example: `cuptime rules status`
    """
    from cuptime.app import client

    client.show_rules_status(address)


@app.command("test")
def test_rules(
    paths: Annotated[list[Path], typer.Argument(help="Rule files, or folders of *.yaml.")],
) -> None:
    """Run the tests beside the rules and say which rules they leave uncovered. 运行规则自带的测试。

    The exit code is that of `check`.
    Example: `cuptime rules test ./rules`
    """
    from cuptime.app.rules_check import test

    raise typer.Exit(test(paths))


@app.command("fmt")
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


@app.command("bench")
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


@app.command("schema")
def rule_schema() -> None:
    """Print the JSON schema of rule files, for editors. 输出规则文件的 JSON Schema。

    Example: `cuptime rules schema > rules.schema.json`
    """
    import json

    from cuptime.app.core_parts import rule_tools
    from cuptime.rules.form import json_schema

    tools = rule_tools()
    print(json.dumps(json_schema(tools.schema, tools.actions), ensure_ascii=False, indent=2))


@app.command("explain")
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
