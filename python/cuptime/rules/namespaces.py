"""What the rules of a namespace have in common: hit policy, what a fault means, and variables.

    namespace: campus
    hit_policy: first
    on_error: refuse
    variables:
      near: geo.distance_m(order.latitude, order.longitude, group.latitude, group.longitude) < 500.0

A file belongs to one namespace, the empty one when it names none; several files of one namespace are read as one, and
may not contradict each other. A document may also have several namespaces, as a list below `sets`: that is how a
revision keeps the files of a folder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from cuptime.domain.limits import RULE_CONDITION_CHARS_MAX, RULE_NAMESPACES_MAX, RULE_VARIABLES_MAX
from cuptime.rules.diagnostic import Diagnostic, suggestion
from cuptime.rules.nodes import Mapping, Node, Scalar, is_empty

HEADER_KEYS: Final = ("namespace", "hit_policy", "on_error", "variables")
NAMESPACE_CHARS_MAX: Final = 63
VARIABLE_CHARS_MAX: Final = 63
_NAMESPACE: Final = re.compile(r"[a-z][a-z0-9_.-]*")
_VARIABLE: Final = re.compile(r"[a-z][a-z0-9_]*")


class HitPolicy(StrEnum):
    """Which of the rules that match act."""

    COLLECT = "collect"
    """All of them."""
    FIRST = "first"
    """The first by priority and id."""
    UNIQUE = "unique"
    """There is at most one: proved when the rules are loaded."""


class OnError(StrEnum):
    """What a fault while a condition is evaluated means."""

    SKIP = "skip"
    """The rule does not match."""
    REFUSE = "refuse"
    """The order is refused; a pair is not tried."""
    FAIL = "fail"
    """There is no answer: the call fails, or the order stays without a decision."""


class VariableSource(Struct, frozen=True):
    """A named expression as written."""

    name: str
    expression: Scalar
    line: int
    column: int


class Header(Struct, frozen=True):
    """What one file says of a namespace; None is not said."""

    namespace: str = ""
    hit_policy: Scalar | None = None
    on_error: Scalar | None = None
    variables: tuple[VariableSource, ...] = ()


class Namespace(Struct):
    """A namespace of all files together."""

    name: str
    hit_policy: HitPolicy = HitPolicy.COLLECT
    on_error: OnError = OnError.SKIP
    variables: list[tuple[str, VariableSource]] = field(default_factory=list)
    """(file, variable)."""


Add = Callable[[str, Node, str, str], None]
"""(code, place, message, hint)."""


def header_of(entries: Sequence[tuple[Scalar, Node]], add: Add) -> Header:
    """The header of a file, or of an entry of `sets`; what is wrong is left out of it and told to `add`."""
    named = {key.value: (key, value) for key, value in entries}
    namespace = _namespace(named, add)
    hit_policy = _choice("hit_policy", HitPolicy, named, add)
    on_error = _choice("on_error", OnError, named, add)
    variables = _variables(named["variables"][1], add) if "variables" in named else ()
    return Header(namespace, hit_policy, on_error, variables)


def _namespace(named: dict[str, tuple[Scalar, Node]], add: Add) -> str:
    if "namespace" not in named:
        return ""
    value = named["namespace"][1]
    if (
        isinstance(value, Scalar)
        and len(value.value) <= NAMESPACE_CHARS_MAX
        and _NAMESPACE.fullmatch(value.value)
    ):
        return value.value
    hint = f"1 to {NAMESPACE_CHARS_MAX} of a-z, 0-9, _ . and -, a letter first"
    add("BAD_VALUE", value, "`namespace` is not a name", hint)
    return ""


def _choice(
    key: str, choices: type[StrEnum], named: dict[str, tuple[Scalar, Node]], add: Add
) -> Scalar | None:
    if key not in named:
        return None
    value = named[key][1]
    if isinstance(value, Scalar) and value.value in [*choices]:
        return value
    shown = value.value[:40] if isinstance(value, Scalar) else "a list or mapping"
    known = ", ".join(choices)
    hint = suggestion(shown, choices) if isinstance(value, Scalar) else ""
    add("BAD_VALUE", value, f"`{key}` must be one of {known}, not {shown}", hint)
    return None


def _variables(value: Node, add: Add) -> tuple[VariableSource, ...]:
    if is_empty(value):
        return ()
    if not isinstance(value, Mapping):
        add("BAD_VALUE", value, "`variables` is a mapping of names to CEL expressions", "")
        return ()
    found = []
    for name, expression in value.entries:
        if len(name.value) > VARIABLE_CHARS_MAX or not _VARIABLE.fullmatch(name.value):
            hint = f"1 to {VARIABLE_CHARS_MAX} of a-z, 0-9 and _, a letter first"
            add("BAD_VARIABLE", name, f"`{name.value[:60]}` cannot be a variable's name", hint)
        elif not isinstance(expression, Scalar) or not expression.value.strip():
            add("BAD_VARIABLE", expression, f"the variable `{name.value}` is not a CEL expression", "")
        elif len(expression.value) > RULE_CONDITION_CHARS_MAX:
            message = f"{len(expression.value)} characters, at most {RULE_CONDITION_CHARS_MAX}"
            add("LIMIT_CONDITION", expression, message, "split the variable")
        else:
            found.append(VariableSource(name.value, expression, name.line, name.column))
    return tuple(found)


def merged_headers(headers: Sequence[tuple[str, Header]]) -> tuple[list[Namespace], list[Diagnostic]]:
    """The namespaces of (file, header) pairs, and where those contradict each other."""
    spaces: dict[str, Namespace] = {}
    said: dict[tuple[str, str], tuple[str, Scalar]] = {}
    known: dict[tuple[str, str], tuple[str, VariableSource]] = {}
    faults: list[Diagnostic] = []
    for file, header in headers:
        space = spaces.setdefault(header.namespace, Namespace(header.namespace))
        for key, value in (("hit_policy", header.hit_policy), ("on_error", header.on_error)):
            if value is None:
                continue
            first_file, first = said.setdefault((header.namespace, key), (file, value))
            if first.value != value.value:
                faults.append(_contradiction(space, file, key, value, first_file, first))
        if header.hit_policy is not None:
            space.hit_policy = HitPolicy(header.hit_policy.value)
        if header.on_error is not None:
            space.on_error = OnError(header.on_error.value)
        for variable in header.variables:
            first_file, earlier = known.setdefault((header.namespace, variable.name), (file, variable))
            if earlier is variable:
                space.variables.append((file, variable))
                continue
            message = f"the variable `{variable.name}` is there already"
            hint = f"first at {first_file or 'line'}:{earlier.line}; a namespace has each name once"
            place = (variable.line, variable.column)
            faults.append(Diagnostic("DUPLICATE_VARIABLE", file, *place, "", message, hint))
    for space in spaces.values():
        if len(space.variables) > RULE_VARIABLES_MAX:
            file, variable = space.variables[RULE_VARIABLES_MAX]
            message = f"{len(space.variables)} variables, at most {RULE_VARIABLES_MAX} in a namespace"
            faults.append(Diagnostic("LIMIT_RULES", file, variable.line, variable.column, "", message))
    if len(spaces) > RULE_NAMESPACES_MAX:
        message = f"{len(spaces)} namespaces, at most {RULE_NAMESPACES_MAX}"
        faults.append(Diagnostic("LIMIT_RULES", headers[-1][0], 1, 1, "", message))
    return list(spaces.values()), faults


def _contradiction(
    space: Namespace, file: str, key: str, value: Scalar, first_file: str, first: Scalar
) -> Diagnostic:
    of = f"the namespace `{space.name}`" if space.name else "files without a namespace"
    message = f"`{key}` is {value.value} here and {first.value} at {first_file or 'line'}:{first.line}, both for {of}"
    return Diagnostic(
        "CONTRADICTION", file, value.line, value.column, "", message, "say it once, or name another namespace"
    )
