"""From rule files to a compiled rule set, or to everything that is wrong with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from cuptime.domain.limits import RULE_SOURCE_BYTES_MAX
from cuptime.rules.actions import ActionReader, ActionRegistry, ActionUse, Effect
from cuptime.rules.diagnostic import DIAGNOSTICS_MAX, Diagnostic
from cuptime.rules.namespaces import HitPolicy, Namespace, VariableSource
from cuptime.rules.positions import position_in
from cuptime.rules.source import RuleSource
from cuptime.rules.trials import Outcome, read, run
from cuptime.rules.written import rendered
from cuptime.rules.yaml import RuleFile, merged, read_rules

RuleColumns = tuple[str, str, int, int, bool, int | None, int | None, str, str, list[Effect]]
"""(id, name, position of its namespace, priority, enabled, valid_from_ms, valid_to_ms, condition, on_error,
effects)."""
NamespaceColumns = tuple[str, str, list[tuple[str, str]]]
"""(name, hit policy, (name, expression) of its variables)."""


class CompiledRules(Protocol):
    """The core's rule set: immutable, safe to share."""

    def __len__(self) -> int: ...
    @property
    def digest(self) -> str: ...
    @property
    def reused(self) -> int: ...
    def rule_ids(self) -> list[str]: ...
    def evaluate(self, rows: list[dict[str, object]], now_ms: int, mode: str) -> list[list[int]]: ...
    def explain(self, row: dict[str, object], now_ms: int) -> list[tuple[int, str, str, int, str, str]]: ...
    def findings(self) -> list[tuple[str, int, int]]: ...
    def costs(self) -> list[int]: ...
    def source_indices(self) -> list[int]: ...
    def levels(self) -> list[str]: ...
    def prepare(self) -> None: ...


class RuleTools(Struct, frozen=True):
    """What the core gives for rules; `cuptime.core` has each under the name in brackets."""

    compile: Callable[[list[RuleColumns], list[tuple[str, str]], Any, list[NamespaceColumns]], CompiledRules]
    """[RuleSet.compile] Rules, schema, a set whose unchanged conditions are taken over or None, namespaces. Raises
    `fault`."""
    fault: type[Exception]
    """[RuleCompileError] With `diagnostics`: (code, rule index, byte offset, line, column, message, hint)."""
    schema: list[tuple[str, str]]
    """[order_schema()] Names and types that conditions may use."""
    actions: ActionRegistry
    """What rules can do."""
    check_effect: Callable[[str, str], str]
    """[check_effect] "" or what is wrong with (kind, value) of an effect."""
    about: dict[str, str]
    """[rule_effects] By kind what a rule with this effect must be about: `order`, `pair` or `any`."""


Caused = tuple[ActionUse, Effect]
"""An effect with the action that has it."""


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
    effects: Sequence[Sequence[Caused]] = ()
    """Of each of these rules."""
    namespaces: Sequence[Namespace] = ()


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
        positions = {space.name: at for at, space in enumerate(whole.namespaces)}
        columns = [
            _columns(
                rule_id, rule, whole.namespaces[positions[rule.namespace]], positions[rule.namespace], caused
            )
            for rule_id, (_, rule), caused in zip(_ids(pairs), pairs, effects, strict=True)
        ]
        compiled = tools.compile(
            columns, tools.schema, previous, [_space(space) for space in whole.namespaces]
        )
    except tools.fault as error:
        places = _Places(pairs, whole.namespaces, {file.name: file.source for file in files})
        faults = faults + [places.diagnostic(columns) for columns in getattr(error, "diagnostics", [])]
        if not faults:
            faults = [Diagnostic("BAD_VALUE", "", 1, 1, "", str(error))]
    if compiled is not None:
        faults = faults + _misplaced(tools, compiled, pairs, effects)
    trials = Outcome([], 0, 0)
    spaces = {rule.rule_id: rule.namespace for _, rule in pairs if rule.name}
    tests = [test for file in files for test in file.tests]
    if compiled is not None and not faults:
        trials = run(tests, compiled, tools.schema, spaces)
        faults = trials.faults
    else:
        faults += [fault for test in tests for fault in read(test, tools.schema, spaces).faults]
    if compiled is not None and not faults:
        compiled.prepare()
    names = [name for name, _ in sources]
    faults.sort(
        key=lambda fault: (names.index(fault.file) if fault.file in names else 0, fault.line, fault.column)
    )
    return Built(
        None if faults else compiled,
        faults[:DIAGNOSTICS_MAX],
        sum(file.rule_count for file in files),
        text,
        trials,
        pairs,
        effects,
        whole.namespaces,
    )


def _effects(
    tools: RuleTools, pairs: Sequence[tuple[RuleFile, RuleSource]]
) -> tuple[list[list[Caused]], list[Diagnostic]]:
    """The effects of each rule, and what is wrong with any action."""
    effects: list[list[Caused]] = []
    faults: list[Diagnostic] = []
    for file, rule in pairs:
        reader = ActionReader(tools.actions, tools.check_effect, file.name, file.source, faults)
        effects.append(reader.effects(rule.rule_id, rule.actions))
    return effects, faults


def warnings(built: Built, actions: ActionRegistry) -> list[Diagnostic]:
    """What is odd about a good set: conditions that never or always hold or never have a value, rules that say the same
    or never decide, and variables that nobody reads."""
    if built.compiled is None:
        return []
    sources = built.compiled.source_indices()
    variables = [found for space in built.namespaces for found in space.variables]
    out = []
    for oddity, rank, earlier in built.compiled.findings():
        if oddity == "unused_variable":
            name, variable = variables[rank]
            subject, place = f"variables.{variable.name}", (variable.line, variable.column)
            message = "no condition of its namespace reads this variable"
            out.append(Diagnostic("UNUSED_VARIABLE", name, *place, subject, message))
            continue
        file, rule = built.pairs[sources[rank]]
        if oddity == "shadowed" and not _is_shadowed(built, rule, sources[earlier], actions):
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


def _is_shadowed(built: Built, rule: RuleSource, earlier: int, actions: ActionRegistry) -> bool:
    """Where every match acts, an earlier rule takes nothing from an action of which every match counts."""
    policies = {space.name: space.hit_policy for space in built.namespaces}
    if policies[rule.namespace] is HitPolicy.FIRST and built.pairs[earlier][1].namespace == rule.namespace:
        return True
    types = [actions.get(use.name) for use in rule.actions]
    return not any(action is None or action.every_match for action in types)


def _ids(pairs: Sequence[tuple[RuleFile, RuleSource]]) -> list[str]:
    """What the core calls the rules. One without a name, or with another's, is told of already and never live, and is
    compiled for the faults of its condition."""
    ids: dict[str, None] = {}
    for at, (_, rule) in enumerate(pairs):
        rule_id = (
            rule.rule_id if rule.name and rule.rule_id not in ids else f"the rule on line {rule.line}, {at}"
        )
        ids[rule_id] = None
    return list(ids)


def _columns(
    rule_id: str, rule: RuleSource, space: Namespace, position: int, caused: Sequence[Caused]
) -> RuleColumns:
    return (
        rule_id,
        rule.name,
        position,
        rule.priority,
        rule.enabled,
        rule.valid_from_ms or None,
        rule.valid_to_ms or None,
        rule.condition.value,
        rule.on_error or space.on_error,
        [effect for _, effect in caused],
    )


def _space(space: Namespace) -> NamespaceColumns:
    variables = [(variable.name, variable.expression.value) for _, variable in space.variables]
    return space.name, space.hit_policy, variables


def _misplaced(
    tools: RuleTools,
    compiled: CompiledRules,
    pairs: Sequence[tuple[RuleFile, RuleSource]],
    effects: Sequence[Sequence[Caused]],
) -> list[Diagnostic]:
    """Conditions about a rider and a shop at once, and actions that do not fit what their condition is about."""
    faults = []
    for level, source in zip(compiled.levels(), compiled.source_indices(), strict=True):
        file, rule = pairs[source]
        if level == "both":
            place = (rule.condition.line, rule.condition.column)
            message = "a condition names rider.* or shop.*, not both"
            hint = "split the rule into one about riders and one about shops"
            faults.append(Diagnostic("BAD_PAIR", file.name, *place, rule.rule_id, message, hint))
            continue
        for use, (kind, _) in effects[source]:
            about = tools.about.get(kind, "any")
            if about == "any" or (about == "order") == (level == "order"):
                continue
            if about == "order":
                message = f"{use.name} is about an order, and the condition about each {level}"
                hint = f"leave out {level}.*, or use exclude or weight"
            else:
                message = f"{use.name} is about a pair, and the condition names neither rider.* nor shop.*"
                hint = "for an order as a whole use refuse, restrict_riders or restrict_shops"
            faults.append(
                Diagnostic("BAD_PAIR", file.name, use.line, use.column, rule.rule_id, message, hint)
            )
    return faults


class _Places:
    """Turns a fault of the core, with its place in an expression, into one with its place in a file."""

    def __init__(
        self,
        pairs: Sequence[tuple[RuleFile, RuleSource]],
        namespaces: Sequence[Namespace],
        sources: dict[str, str],
    ) -> None:
        self._pairs = pairs
        self._variables: list[tuple[str, VariableSource]] = [
            found for space in namespaces for found in space.variables
        ]
        self._sources = sources

    def diagnostic(self, columns: Any) -> Diagnostic:
        """From the core's columns. A rule index behind the rules is that of a variable."""
        code, index, byte_offset, line, column, message, hint = columns
        if 0 <= index < len(self._pairs):
            file, rule = self._pairs[index]
            name, source, scalar, subject = file.name, file.source, rule.condition, rule.rule_id
        elif 0 <= index - len(self._pairs) < len(self._variables):
            name, variable = self._variables[index - len(self._pairs)]
            source, scalar = self._sources.get(name, ""), variable.expression
            subject = f"variables.{variable.name}"
        else:
            return Diagnostic(code.upper(), "", line, column, "", message, hint)
        before = scalar.value.encode()[:byte_offset].decode(errors="ignore")
        place = position_in(source, scalar, len(before))
        return Diagnostic(code.upper(), name, *place, subject, message, hint)
