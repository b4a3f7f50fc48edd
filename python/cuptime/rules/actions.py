"""What rules can do: a registry of action types, each with typed parameters.

An action is written as a text, `assign_rider_priority: 1`, or as a mapping, `{restrict_shops: {only: [7, 8]}}`. A rule
may have several as several keys of the mapping. Its type reads the parameters, with a fault at its place for each one
that is wrong, and says which *effects* it has. Effects are what the core honours, a small closed set; so an action of a
plug-in is one more way to ask for them, and costs an order nothing at run time:

    from cuptime.rules.actions import ActionType, Parameter, Kind

    vip = ActionType(
        "vip", "what a guest of the house gets", "贵宾", (Parameter("level", Kind.CHOICE, choices=("silver", "gold")),),
        lambda given: [("assign_rider_priority", "1" if given["level"] == "gold" else "10"), ("tag", "vip")],
    )

and in the plug-in's `pyproject.toml`: `[project.entry-points."cuptime.rule_actions"]`, `vip = "my_plugin:vip"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from importlib.metadata import entry_points
from typing import Any, Final

from msgspec import Struct, field

from cuptime.rules import nodes
from cuptime.rules.diagnostic import Diagnostic, suggestion
from cuptime.rules.nodes import Node, Scalar
from cuptime.rules.positions import position_in

ENTRY_POINT_GROUP: Final = "cuptime.rule_actions"
TEXT_CHARS_MAX: Final = 200
IDS_MAX: Final = 100
ID_MAX: Final = 2**62
EFFECTS_MAX: Final = 16
"""Of one action."""

Effect = tuple[str, str]
"""(kind, value): as `core.rule_effects` lists them."""

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_WHOLE: Final = re.compile(r"[+-]?\d{1,18}")
_NUMBER: Final = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
_DURATION: Final = re.compile(r"(?:(\d{1,4})h)?(?:(\d{1,6})m)?(?:(\d{1,8})s)?(?:(\d{1,10})ms)?")


class Kind(StrEnum):
    """How a parameter is read, and what its effects get of it."""

    WHOLE = "whole"
    """int"""
    NUMBER = "number"
    """float"""
    TEXT = "text"
    """str"""
    CHOICE = "choice"
    """str, one of `choices`"""
    IDS = "ids"
    """list of int: a YAML list, or numbers with commas between"""
    DURATION = "duration"
    """int, milliseconds: `10m`, `1h30m`, `500ms`"""


class Parameter(Struct, frozen=True):
    """One parameter: bounds are inclusive, and count characters for a text, milliseconds for a duration."""

    name: str
    kind: Kind
    lowest: float = 1
    highest: float = TEXT_CHARS_MAX
    choices: tuple[str, ...] = ()
    required: bool = True
    note: str = ""
    """Behind the range, for people: `1 (highest)`."""

    def wanted(self) -> str:
        """What the value must be."""
        low, high = f"{self.lowest:g}{self.note and f' ({self.note})'}", f"{self.highest:g}"
        return {
            Kind.WHOLE: f"a whole number from {low} to {high}",
            Kind.NUMBER: f"a number from {low} to {high}",
            Kind.TEXT: f"{low} to {high} characters",
            Kind.CHOICE: "one of " + ", ".join(self.choices),
            Kind.IDS: f"1 to {IDS_MAX} numbers, with commas between",
            Kind.DURATION: f"a duration from {_told_ms(self.lowest)} to {_told_ms(self.highest)}, as 10m",
        }[self.kind]


class ActionType(Struct, frozen=True):
    """A kind of action. `effects` must be pure: the same parameters, the same effects."""

    name: str
    meaning: str
    chinese: str
    parameters: tuple[Parameter, ...]
    """The first is the one that a plain value is for."""
    effects: Callable[[Mapping[str, Any]], Sequence[Effect]]
    """From parameters by name; those left out are not in it. A ValueError says what is wrong with them together."""
    every_match: bool = False
    """Every matching rule counts, an earlier one takes nothing from it."""


class ActionUse(Struct, frozen=True):
    """An action as written: the place of its name, and its argument. `text` is a plain argument, which begins `offset`
    characters into the value of `node`."""

    name: str
    line: int
    column: int
    node: Node
    text: str = ""
    offset: int = 0


class ActionRegistry:
    """The action types there are, by name."""

    def __init__(self, types: Iterable[ActionType] = ()) -> None:
        self._types: dict[str, ActionType] = {}
        for action in types:
            self.register(action)

    def register(self, action: ActionType) -> None:
        """Adds a type. Raises ValueError for one that cannot be: a name that is taken or is none, no parameter."""
        if not _NAME.fullmatch(action.name):
            raise ValueError(f"{action.name!r} is no name for an action: a-z, 0-9 and _, a letter first")
        if action.name in self._types:
            raise ValueError(f"there is an action {action.name!r} already")
        names = [parameter.name for parameter in action.parameters]
        if not names or len(set(names)) != len(names) or not all(map(_NAME.fullmatch, names)):
            raise ValueError(f"the action {action.name!r} needs parameters with names of their own")
        self._types[action.name] = action

    def get(self, name: str) -> ActionType | None:
        return self._types.get(name)

    def __iter__(self) -> Any:
        return iter(self._types.values())

    @property
    def names(self) -> list[str]:
        return list(self._types)


def load_plugins(registry: ActionRegistry, group: str = ENTRY_POINT_GROUP) -> list[str]:
    """Registers what installed packages offer: an ActionType, or a list of them, for each entry point of the group.
    Returns the names. Raises ValueError, naming the entry point, for one that cannot be loaded or registered."""
    added = []
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        try:
            offered = point.load()
            for action in [offered] if isinstance(offered, ActionType) else list(offered):
                registry.register(action)
                added.append(action.name)
        except Exception as fault:
            raise ValueError(f"the rule action plug-in {point.name} = {point.value}: {fault}") from fault
    return added


class ActionReader(Struct):
    """Reads the actions of one file; what is wrong is added to `faults`."""

    registry: ActionRegistry
    check_effect: Callable[[str, str], str]
    """"" or what is wrong with an effect: the core's last word, for plug-ins."""
    file: str
    source: str
    faults: list[Diagnostic] = field(default_factory=list)

    def effects(self, rule: str, uses: Sequence[ActionUse]) -> list[tuple[ActionUse, Effect]]:
        """The effects of a rule's actions, in the order written, each with the action that has it."""
        out: list[tuple[ActionUse, Effect]] = []
        for use in uses:
            action = self.registry.get(use.name)
            if action is None:
                known = ", ".join(self.registry.names)
                message = f'no action is called "{use.name[:60]}"; there are {known}'
                self._wrong(
                    "UNKNOWN_ACTION",
                    (use.line, use.column),
                    rule,
                    message,
                    _near(use.name, self.registry.names),
                )
                continue
            given = self._parameters(rule, use, action)
            if given is not None:
                out += [(use, effect) for effect in self._of_type(rule, use, action, given)]
        return out

    def _of_type(self, rule: str, use: ActionUse, action: ActionType, given: dict[str, Any]) -> list[Effect]:
        try:
            effects = [(str(kind), str(value)) for kind, value in action.effects(given)]
        except ValueError as refusal:
            self._wrong("BAD_ACTION", (use.line, use.column), rule, f"{use.name}: {refusal}")
            return []
        except Exception as fault:
            message = f"the action {use.name} failed on its parameters: {type(fault).__name__}: {fault}"
            self._wrong("BAD_ACTION", (use.line, use.column), rule, message)
            return []
        problems = [wrong for kind, value in effects if (wrong := self.check_effect(kind, value))]
        if len(effects) > EFFECTS_MAX:
            problems.append(f"{len(effects)} effects, at most {EFFECTS_MAX}")
        for wrong in problems:
            self._wrong("BAD_ACTION", (use.line, use.column), rule, f"{use.name}: {wrong}")
        return [] if problems else effects

    def _parameters(self, rule: str, use: ActionUse, action: ActionType) -> dict[str, Any] | None:
        """By name; None when one is wrong."""
        before = len(self.faults)
        given: dict[str, Any] = {}
        if isinstance(use.node, nodes.Mapping):
            known = {parameter.name: parameter for parameter in action.parameters}
            for key, value in use.node.entries:
                parameter = known.get(key.value)
                if parameter is None:
                    message = f"{use.name} has no parameter `{key.value[:60]}`"
                    hint = suggestion(key.value, known)
                    self._wrong("BAD_ACTION", (key.line, key.column), rule, message, hint)
                else:
                    self._read(rule, use, parameter, value, given, f"`{parameter.name}` of {use.name}")
            for parameter in action.parameters:
                if parameter.required and parameter.name not in {key.value for key, _ in use.node.entries}:
                    message = f"{use.name} needs `{parameter.name}`: {parameter.wanted()}"
                    self._wrong("BAD_ACTION", (use.line, use.column), rule, message)
        else:
            main = action.parameters[0]
            self._read(rule, use, main, use.node, given, f"the value of {use.name}")
            for parameter in action.parameters[1:]:
                if parameter.required:
                    message = f"{use.name} also needs `{parameter.name}`: write a mapping"
                    self._wrong("BAD_ACTION", (use.line, use.column), rule, message)
        return given if len(self.faults) == before else None

    def _read(
        self, rule: str, use: ActionUse, parameter: Parameter, node: Node, given: dict[str, Any], what: str
    ) -> None:
        """One value into `given`, or a fault at its place."""
        text, offset = (use.text, use.offset) if node is use.node else ("", 0)
        if isinstance(node, Scalar) and node is not use.node:
            text, offset = node.value.strip(), len(node.value) - len(node.value.lstrip())
        try:
            given[parameter.name] = _value(parameter, node, text)
        except _Unreadable as unreadable:
            at = unreadable.node or node
            place = (
                position_in(self.source, at, offset)
                if at is node and isinstance(at, Scalar)
                else (at.line, at.column)
            )
            shown = f', not "{unreadable.shown[:60]}"' if unreadable.shown else ""
            message = f"{what} must be {parameter.wanted()}{shown}"
            near = _near(unreadable.shown, parameter.choices) if parameter.kind is Kind.CHOICE else ""
            self._wrong("BAD_ACTION", place, rule, message, near)

    def _wrong(self, code: str, place: tuple[int, int], rule: str, message: str, hint: str = "") -> None:
        self.faults.append(Diagnostic(code, self.file, *place, rule, message, hint))


class _Unreadable(Exception):
    def __init__(self, shown: str, node: Node | None = None) -> None:
        super().__init__(shown)
        self.shown, self.node = shown, node


def _near(name: str, known: Iterable[str]) -> str:
    found = suggestion(name, known)
    return found if found.startswith("did you mean") else ""


def _value(parameter: Parameter, node: Node, text: str) -> Any:
    """The value of a parameter. Raises _Unreadable."""
    if parameter.kind is Kind.IDS:
        return _ids(node, text)
    if not isinstance(node, Scalar):
        raise _Unreadable("a list or mapping", node)
    if parameter.kind is Kind.TEXT:
        if not parameter.lowest <= len(text) <= parameter.highest:
            raise _Unreadable(text)
        return text
    if parameter.kind is Kind.CHOICE:
        if text not in parameter.choices:
            raise _Unreadable(text or "nothing")
        return text
    number = _number(parameter.kind, text)
    if number is None or not parameter.lowest <= number <= parameter.highest:
        raise _Unreadable(text or "nothing")
    return number


def _number(kind: Kind, text: str) -> float | None:
    if kind is Kind.DURATION:
        return _duration_ms(text)
    pattern = _WHOLE if kind is Kind.WHOLE else _NUMBER
    if not pattern.fullmatch(text):
        return None
    return int(text) if kind is Kind.WHOLE else float(text)


def _duration_ms(text: str) -> int | None:
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        return None
    hours, minutes, seconds, millis = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * 1_000 + millis


def _told_ms(ms: float) -> str:
    whole = int(ms)
    for unit, length in (("h", 3_600_000), ("m", 60_000), ("s", 1_000)):
        if whole and whole % length == 0:
            return f"{whole // length}{unit}"
    return f"{whole}ms"


def _ids(node: Node, text: str) -> list[int]:
    if isinstance(node, nodes.Mapping):
        raise _Unreadable("a mapping", node)
    if isinstance(node, nodes.Sequenced):
        parts = [
            (entry.value.strip() if isinstance(entry, Scalar) else "a list or mapping", entry)
            for entry in node.entries
        ]
    else:
        parts = [(part.strip(), node) for part in text.split(",")]
    found: list[int] = []
    for part, entry in parts:
        if not _WHOLE.fullmatch(part) or not 1 <= int(part) <= ID_MAX or int(part) in found:
            raise _Unreadable(part or "nothing", entry if entry is not node else None)
        found.append(int(part))
    if not 1 <= len(found) <= IDS_MAX:
        raise _Unreadable(f"{len(found)} numbers")
    return found
