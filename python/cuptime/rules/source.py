"""One rule as written: its keys read and checked, its condition still text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from cuptime.domain.limits import RULE_CONDITION_CHARS_MAX
from cuptime.rules.actions import ActionUse
from cuptime.rules.diagnostic import Diagnostic, suggestion
from cuptime.rules.namespaces import HEADER_KEYS, OnError
from cuptime.rules.nodes import Mapping, Node, Scalar, Sequenced

KEYS: Final = (
    "name", "id", "description", "priority", "enabled", "valid_from", "valid_to", "tags", "on_error", "condition",
    "action",
)  # fmt: skip
PRIORITY_DEFAULT: Final = 50
PRIORITY_MAX: Final = 1_000_000
NAME_CHARS_MAX: Final = 128
DESCRIPTION_CHARS_MAX: Final = 2_000
TAGS_MAX: Final = 32
ACTIONS_MAX: Final = 8
"""Of one rule."""
_NAME: Final = re.compile(r"[^\W_][\w .:/-]*")
_INTEGER: Final = re.compile(r"[+-]?\d{1,18}")


class RuleSource(Struct, frozen=True):
    """One rule, checked but for its condition and actions. Instants are UTC ms, 0 is no bound; places: line, column."""

    rule_id: str
    """Of all rules: with the namespace and a slash in front, when there is one."""
    namespace: str
    name: str
    description: str
    priority: int
    enabled: bool
    valid_from_ms: int
    valid_to_ms: int
    tags: tuple[str, ...]
    on_error: OnError | None
    """None: as its namespace says."""
    condition: Scalar
    actions: tuple[ActionUse, ...]
    line: int
    column: int

    @property
    def local_id(self) -> str:
        """The id inside its namespace."""
        return self.rule_id.removeprefix(f"{self.namespace}/") if self.namespace else self.rule_id


class _Reader:
    """Collects the faults of one rule while its keys are read."""

    def __init__(self, file: str, place: tuple[int, int], pairs: Sequence[tuple[Scalar, Node]]) -> None:
        self.file = file
        self.place = place
        self.values = {key.value: (key, value) for key, value in pairs}
        self.rule = self._first_text("id") or self._first_text("name")
        self.faults: list[Diagnostic] = []

    def _first_text(self, key: str) -> str:
        value = self.values.get(key, (None, None))[1]
        return value.value if isinstance(value, Scalar) else ""

    def add(self, code: str, place: tuple[int, int], message: str, hint: str = "") -> None:
        self.faults.append(Diagnostic(code, self.file, *place, self.rule, message, hint))

    def place_of(self, key: str) -> tuple[int, int]:
        name, value = self.values[key]
        scalar = value if isinstance(value, Scalar) else name
        return scalar.line, scalar.column

    def scalar(self, key: str, *, required: bool = False) -> Scalar | None:
        if key not in self.values:
            if required:
                self.add("MISSING_KEY", self.place, f"the rule has no `{key}`", f"add `{key}:` to it")
            return None
        value = self.values[key][1]
        if isinstance(value, Scalar):
            return value
        self.add("BAD_VALUE", self.place_of(key), f"`{key}` must be one value, not a list or mapping")
        return None

    def text(self, key: str, chars_max: int, *, required: bool = False) -> str:
        scalar = self.scalar(key, required=required)
        if scalar is None:
            return ""
        if len(scalar.value) > chars_max or (required and not scalar.value.strip()):
            self.add(
                "BAD_VALUE", (scalar.line, scalar.column), f"`{key}` must have 1 to {chars_max} characters"
            )
            return ""
        return scalar.value

    def name(self, key: str, *, required: bool) -> str:
        text = self.text(key, NAME_CHARS_MAX, required=required)
        if text and not _NAME.fullmatch(text):
            hint = "letters, digits and _ . : / - and spaces, a letter or digit first"
            self.add(
                "BAD_VALUE", self.place_of(key), f"`{key}` has characters that a name may not have", hint
            )
            return ""
        return text

    def whole(self, key: str, default: int, lowest: int, highest: int) -> int:
        scalar = self.scalar(key)
        if scalar is None:
            return default
        if _INTEGER.fullmatch(scalar.value) and lowest <= int(scalar.value) <= highest:
            return int(scalar.value)
        message = f"`{key}` must be a whole number from {lowest} to {highest}, not `{scalar.value[:40]}`"
        self.add("BAD_VALUE", (scalar.line, scalar.column), message)
        return default

    def truth(self, key: str, default: bool) -> bool:
        scalar = self.scalar(key)
        if scalar is None:
            return default
        if scalar.plain and scalar.value in ("true", "false"):
            return scalar.value == "true"
        message = f"`{key}` must be true or false, not `{scalar.value[:40]}`"
        self.add("BAD_VALUE", (scalar.line, scalar.column), message, "without quotes")
        return default

    def instant_ms(self, key: str) -> int:
        scalar = self.scalar(key)
        if scalar is None:
            return 0
        try:
            at = datetime.fromisoformat(scalar.value)
        except ValueError:
            at = None
        if at is not None and at.tzinfo is not None and at.year >= 1970:
            return int(at.timestamp() * 1_000)
        hint = "for example 2026-11-24T09:00:00+08:00"
        self.add(
            "BAD_VALUE", (scalar.line, scalar.column), f"`{key}` must be an instant with its time zone", hint
        )
        return 0

    def tags(self) -> tuple[str, ...]:
        if "tags" not in self.values:
            return ()
        value = self.values["tags"][1]
        entries = value.entries if isinstance(value, Sequenced) else []
        texts = [entry.value for entry in entries if isinstance(entry, Scalar)]
        good = isinstance(value, Sequenced) and len(texts) == len(entries) <= TAGS_MAX
        if not good or not all(1 <= len(text) <= NAME_CHARS_MAX for text in texts):
            self.add("BAD_VALUE", self.place_of("tags"), f"`tags` must be a list of at most {TAGS_MAX} texts")
            return ()
        return tuple(texts)


def rule_of(file: str, namespace: str, rule: Mapping) -> tuple[RuleSource | None, list[Diagnostic]]:
    """One rule of a file from its keys and values, and all its faults. With faults it is only good for finding more of
    them, in its condition and actions; None when it has no condition that could be looked at."""
    place = (rule.line, rule.column)
    reader = _Reader(file, place, rule.entries)
    for key, _ in rule.entries:
        if key.value not in KEYS:
            hint = suggestion(key.value, KEYS)
            if key.value in HEADER_KEYS:
                hint = "it stands at the top of the file, for all its rules"
            reader.add("UNKNOWN_KEY", (key.line, key.column), f"unknown key `{key.value}`", hint)
    name = reader.name("name", required=True)
    rule_id = reader.name("id", required=False) or name
    condition = _condition(reader)
    valid_from_ms, valid_to_ms = reader.instant_ms("valid_from"), reader.instant_ms("valid_to")
    if valid_from_ms and valid_to_ms and valid_from_ms >= valid_to_ms:
        reader.add("BAD_VALIDITY", reader.place_of("valid_to"), "`valid_to` is not after `valid_from`")
        valid_to_ms = 0
    made = RuleSource(
        rule_id=f"{namespace}/{rule_id}" if namespace else rule_id,
        namespace=namespace,
        name=name,
        description=reader.text("description", DESCRIPTION_CHARS_MAX),
        priority=reader.whole("priority", PRIORITY_DEFAULT, 0, PRIORITY_MAX),
        enabled=reader.truth("enabled", default=True),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        tags=reader.tags(),
        on_error=_on_error(reader),
        condition=condition or Scalar(*place, "", "", 0, 0),
        actions=_actions(reader),
        line=place[0],
        column=place[1],
    )
    return (made if condition is not None else None), reader.faults


def _condition(reader: _Reader) -> Scalar | None:
    scalar = reader.scalar("condition", required=True)
    if scalar is None:
        return None
    if not scalar.value.strip():
        reader.add(
            "BAD_VALUE",
            (scalar.line, scalar.column),
            "the condition is empty",
            "write `true` to match always",
        )
        return None
    if len(scalar.value) > RULE_CONDITION_CHARS_MAX:
        message = f"{len(scalar.value)} characters, at most {RULE_CONDITION_CHARS_MAX}"
        reader.add("LIMIT_CONDITION", (scalar.line, scalar.column), message, "split the rule")
        return None
    return scalar


def _on_error(reader: _Reader) -> OnError | None:
    scalar = reader.scalar("on_error")
    if scalar is None:
        return None
    if scalar.value in set(OnError):
        return OnError(scalar.value)
    message = f"`on_error` must be one of {', '.join(OnError)}, not {scalar.value[:40]}"
    reader.add("BAD_VALUE", (scalar.line, scalar.column), message, suggestion(scalar.value, OnError))
    return None


def _actions(reader: _Reader) -> tuple[ActionUse, ...]:
    """`assign_rider_priority: 1` as one text, or a mapping with a key for each action."""
    form = "for example `assign_rider_priority: 1`"
    if "action" not in reader.values:
        reader.add("MISSING_KEY", reader.place, "the rule has no `action`", form)
        return ()
    value = reader.values["action"][1]
    if isinstance(value, Scalar):
        return _written_action(reader, value, form)
    if isinstance(value, Mapping) and 1 <= len(value.entries) <= ACTIONS_MAX:
        return tuple(_keyed_action(key, node) for key, node in value.entries)
    message = f"an action is one name with its argument, or a mapping of at most {ACTIONS_MAX} of them"
    reader.add("BAD_ACTION", (value.line, value.column), message, form)
    return ()


def _written_action(reader: _Reader, value: Scalar, form: str) -> tuple[ActionUse, ...]:
    name, colon, text = value.value.partition(":")
    if not colon:
        reader.add("BAD_ACTION", (value.line, value.column), f"`{value.value[:60]}` has no argument", form)
        return ()
    offset = len(name) + 1 + len(text) - len(text.lstrip())
    return (ActionUse(name.strip(), value.line, value.column, value, text.strip(), offset),)


def _keyed_action(key: Scalar, node: Node) -> ActionUse:
    if not isinstance(node, Scalar):
        return ActionUse(key.value, key.line, key.column, node)
    offset = len(node.value) - len(node.value.lstrip())
    return ActionUse(key.value, key.line, key.column, node, node.value.strip(), offset)
