"""Parts of the Rust core in the shapes that the capabilities ask for."""

from __future__ import annotations

from cuptime import core
from cuptime.rules.actions import load_plugins
from cuptime.rules.built_in import built_in
from cuptime.rules.compiled import RuleTools


def rule_tools() -> RuleTools:
    """What the rules need: compiler, schema, actions. Raises ValueError for an action plug-in that cannot be loaded."""
    actions = built_in()
    load_plugins(actions)
    return RuleTools(
        compile=core.RuleSet.compile,
        fault=core.RuleCompileError,
        schema=core.order_schema(),
        actions=actions,
        about={kind: about for kind, _, about in core.rule_effects()},
        check_effect=core.check_effect,
    )
