"""Parts of the Rust core in the shapes that the capabilities ask for."""

from __future__ import annotations

from cuptime import core
from cuptime.rules.compiled import RuleTools


def rule_tools() -> RuleTools:
    """What the rules need: compiler, schema, actions."""
    return RuleTools(
        compile=core.RuleSet.compile,
        fault=core.RuleCompileError,
        schema=core.order_schema(),
        actions=core.rule_actions(),
        check_action=core.check_action,
    )
