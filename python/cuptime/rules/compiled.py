"""From rule files to a compiled rule set, or to everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from msgspec import Struct, field

from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.actions import ActionReader, ActionRegistry, Effect
from cuptime.rules.diagnostic import DIAGNOSTICS_MAX, Diagnostic
from cuptime.rules.positions import position_in
from cuptime.rules.source import RuleSource
from cuptime.rules.trials import Outcome, run
from cuptime.rules.written import rendered
from cuptime.rules.yaml import RuleFile, merged, read_rules

RuleColumns = tuple[str, str, int, bool, int | None, int | None, str, str, str]
"""(id, name, priority, enabled, valid_from_ms, valid_to_ms, condition, action kind, action value)."""


class CompiledRules(Protocol):
    """The core's rule set: immutable, safe to share."""

    def __len__(self) -> int: ...
    @property
    def digest(self) -> str: ...
    def rule_ids(self) -> list[str]: ...
    def evaluate(self, rows: list[dict[str, object]], now_ms: int, mode: str) -> list[list[int]]: ...
    def explain(self, row: dict[str, object], now_ms: int) -> list[tuple[int, str, str, int, str, str]]: ...
    def findings(self) -> list[tuple[str, int, int]]: ...
    def costs(self) -> list[int]: ...
    def source_indices(self) -> list[int]: ...


class RuleTools(Struct, frozen=True):
    """What the core gives for rules; `cuptime.core` has each under the name in brackets."""

    compile: Callable[[list[RuleColumns], list[tuple[str, str]], Any], CompiledRules]
    """[RuleSet.compile] The last is a set whose unchanged conditions are taken over, or None. Raises `fault`."""
    fault: type[Exception]
    """[RuleCompileError] With `diagnostics`: (code, rule index, byte offset, line, column, message, hint)."""
    schema: list[tuple[str, str]]
    """[order_schema()] Names and types that conditions may use."""
    actions: ActionRegistry
    """What rules can do."""
    check_effect: Callable[[str, str], str]
    """[check_action] "" or what is wrong with (kind, value) of an effect."""


class Built(Struct, frozen=True):
    """A rule set that is ready to be live, or its faults (then `compiled` is None)."""

    compiled: CompiledRules | None
    faults: list[Diagnostic]
    rule_count: int
    source: str
    trials: Outcome = field(default_factory=lambda: Outcome([], 0, 0))
    """What the tests beside the rules came to; empty when the rules themselves are not good."""
    pairs: Sequence[tuple[RuleFile, RuleSource]] = ()
    """The rules with their files, in the order they were compiled in."""
    effects: Sequence[Sequence[Effect]] = ()
    """Of each of these rules."""


def build(
    tools: RuleTools, sources: Sequence[tuple[str, str]], previous: CompiledRules | None = None
) -> Built:
    """One rule set from (file name, YAML) pairs. Costs time in their length; safe in a thread.

    Conditions that `previous` has with the same text are not compiled again.
    """
    files = [read_rules(source, name) for name, source in sources]
    whole = merged(files)
    pairs = whole.pairs
    effects, wrong = _effects(tools, pairs)
    faults = [*whole.faults, *wrong]
    text = sources[0][1] if len(sources) == 1 else rendered(whole, files)
    size = len(text.encode("utf-8", "surrogatepass"))
    if len(sources) > 1 and size > RULE_SOURCE_BYTES_MAX:
        message = f"together {size} bytes, at most {RULE_SOURCE_BYTES_MAX}"
        faults = [*faults, Diagnostic("LIMIT_BYTES", "", 1, 1, "", message, "fewer or shorter rules")]
    compiled: CompiledRules | None = None
    try:
        columns = [_columns(rule, acts) for (_, rule), acts in zip(pairs, effects, strict=True)]
        compiled = tools.compile(columns, tools.schema, previous)
    except tools.fault as error:
        faults = faults + [_of_core(pairs, columns) for columns in getattr(error, "diagnostics", [])]
        if not faults:
            faults = [Diagnostic("BAD_VALUE", "", 1, 1, "", str(error))]
    trials = Outcome([], 0, 0)
    if compiled is not None and not faults:
        spaces = {rule.rule_id: rule.namespace for _, rule in pairs}
        trials = run([test for file in files for test in file.tests], compiled, tools.schema, spaces)
        faults = trials.faults
    names = [name for name, _ in sources]
    faults.sort(
        key=lambda fault: (names.index(fault.file) if fault.file in names else 0, fault.line, fault.column)
    )
    return Built(
        None if faults else compiled, faults[:DIAGNOSTICS_MAX], len(pairs), text, trials, pairs, effects
    )


def _effects(
    tools: RuleTools, pairs: Sequence[tuple[RuleFile, RuleSource]]
) -> tuple[list[list[Effect]], list[Diagnostic]]:
    """The effects of each rule, and what is wrong with any action."""
    effects: list[list[Effect]] = []
    faults: list[Diagnostic] = []
    for file, rule in pairs:
        reader = ActionReader(tools.actions, tools.check_effect, file.name, file.source, faults)
        effects.append(reader.effects(rule.rule_id, rule.actions))
    return effects, faults


COLLECTED_ACTIONS: Final = ("tag",)
"""Actions of which every matching rule counts: an earlier one takes nothing from them."""


def warnings(built: Built) -> list[Diagnostic]:
    """What is odd about a good set: conditions that never or always hold, rules that say the same or never decide."""
    if built.compiled is None:
        return []
    sources = built.compiled.source_indices()
    out = []
    for oddity, rank, earlier in built.compiled.findings():
        file, rule = built.pairs[sources[rank]]
        if oddity == "shadowed" and all(use.name in COLLECTED_ACTIONS for use in rule.actions):
            continue
        other = built.pairs[sources[earlier]][1].rule_id if earlier >= 0 else ""
        message = {
            "never_true": "no order can match this rule",
            "always_fault": "a part of this condition fails whatever the order, so it never matches",
            "always_true": "every order matches this rule; write `true` if that is meant",
            "duplicate": f"the rule `{other}` has the same condition and the same action",
            "shadowed": f"whenever this rule matches, `{other}` does too and comes first",
        }[oddity]
        place = (rule.condition.line, rule.condition.column)
        out.append(Diagnostic(oddity.upper(), file.name, *place, rule.rule_id, message))
    return sorted(out, key=lambda found: (found.file, found.line, found.column))


def _columns(rule: RuleSource, effects: Sequence[Effect]) -> RuleColumns:
    kind, value = effects[0] if effects else ("tag", rule.name)
    return (
        rule.rule_id,
        rule.name,
        rule.priority,
        rule.enabled,
        rule.valid_from_ms or None,
        rule.valid_to_ms or None,
        rule.condition.value,
        kind,
        value,
    )


def _of_core(pairs: Sequence[tuple[RuleFile, RuleSource]], columns: Any) -> Diagnostic:
    """A fault of the core, its place in the condition turned into one in the file."""
    code, index, byte_offset, line, column, message, hint = columns
    if not 0 <= index < len(pairs):
        return Diagnostic(code.upper(), "", line, column, "", message, hint)
    file, rule = pairs[index]
    before = rule.condition.value.encode()[:byte_offset].decode(errors="ignore")
    place = position_in(file.source, rule.condition, len(before))
    return Diagnostic(code.upper(), file.name, *place, rule.rule_id, message, hint)
