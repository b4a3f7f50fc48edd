"""Rule files: YAML read with its positions kept, and nothing of YAML that can hurt.

The source is bounded in bytes first, then read as a stream of parser events with a cap on depth, before anything is
composed: so neither an alias bomb nor a thousand brackets can cost more than their bytes. Anchors, aliases and tags are
refused, keys may not repeat, and a plain scalar is a string until a key says what it wants.

The form is:

    rules:
      - name: high_credit_early_dispatch
        condition: "user.credit_score >= 90 && order.time_slot == 'morning'"
        action: "assign_rider_priority: 1"

above it, if wanted, what the rules have in common (see `namespaces.py`), and below it `tests:` (see `trials.py`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import yaml
from msgspec import Struct, field

from cuptime.domain.limits import (
    RULE_NAMESPACES_MAX,
    RULE_SOURCE_BYTES_MAX,
    RULE_YAML_DEPTH_MAX,
    RULE_YAML_NODES_MAX,
    RULES_MAX,
)
from cuptime.rules.diagnostic import DIAGNOSTICS_MAX, Diagnostic, suggestion
from cuptime.rules.namespaces import HEADER_KEYS, Header, Namespace, header_of, merged_headers
from cuptime.rules.nodes import Mapping, Node, Scalar, Sequenced, is_empty
from cuptime.rules.source import RuleSource, rule_of
from cuptime.rules.trials import TESTS_MAX, RuleTest, trial_of

_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class RuleFile(Struct):
    """One file of rules: what could be read of it, and what is wrong with it."""

    name: str
    source: str
    headers: list[Header] = field(default_factory=list)
    rules: list[RuleSource] = field(default_factory=list)
    """Those with faults as well: their conditions and actions may have more."""
    rule_count: int = 0
    tests: list[RuleTest] = field(default_factory=list)
    faults: list[Diagnostic] = field(default_factory=list)


class _Fault(Exception):
    """Ends the reading of a file: what follows would only be noise."""

    def __init__(self, code: str, line: int, column: int, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code, self.line, self.column, self.message, self.hint = code, line, column, message, hint


def read_rules(source: str, name: str = "") -> RuleFile:
    """The rules of one file with every fault that its YAML has; conditions are not compiled here.

    Costs O(bytes). Never raises for content; `name` is what the diagnostics call the file.
    """
    file = RuleFile(name, source)
    try:
        _fill(file, _bounded(source) or Mapping(1, 1, []))
    except _Fault as fault:
        file.faults.append(
            Diagnostic(fault.code, name, fault.line, fault.column, "", fault.message, fault.hint)
        )
    file.faults.sort(key=lambda fault: (fault.line, fault.column))
    del file.faults[DIAGNOSTICS_MAX:]
    return file


def read_nodes(source: str, name: str = "") -> Node | Diagnostic:
    """The nodes of a YAML file that is none of rules, under the same limits; an empty file is an empty mapping. Costs
    O(bytes), and never raises for content."""
    try:
        return _bounded(source) or Mapping(1, 1, [])
    except _Fault as fault:
        return Diagnostic(fault.code, name, fault.line, fault.column, "", fault.message, fault.hint)


def _bounded(source: str) -> Node | None:
    size = len(source.encode("utf-8", "surrogatepass"))
    if size > RULE_SOURCE_BYTES_MAX:
        raise _Fault("LIMIT_BYTES", 1, 1, f"{size} bytes, at most {RULE_SOURCE_BYTES_MAX}", "split the file")
    return _composed(source)


_FORM: Final = "a rule file is `rules:` and below it a list, each entry with name, condition and action"
_TOP_KEYS: Final = (*HEADER_KEYS, "rules", "tests")


def _fill(file: RuleFile, root: Node) -> None:
    """The top: a mapping with the key `rules`, or with the key `sets` and below it a list of such mappings."""
    if not isinstance(root, Mapping):
        raise _Fault(
            "BAD_VALUE", root.line, root.column, "the file is not a mapping with the key `rules`", _FORM
        )
    sets = next((entry for entry in root.entries if entry[0].value == "sets"), None)
    if sets is None:
        _fill_section(file, root)
        return
    for key, _ in root.entries:
        if key.value != "sets":
            message = f"`{key.value}` beside `sets`: each entry of the list has its own"
            _add(file, "CONTRADICTION", key, message, "")
    value = sets[1]
    if not isinstance(value, Sequenced) or len(value.entries) > RULE_NAMESPACES_MAX:
        message = f"`sets` is a list of at most {RULE_NAMESPACES_MAX}, each with a namespace and rules"
        _add(file, "BAD_VALUE", value, message, "")
        return
    for entry in value.entries:
        if isinstance(entry, Mapping):
            _fill_section(file, entry)
        else:
            _add(file, "BAD_VALUE", entry, "an entry of `sets` is a mapping with the key `rules`", _FORM)


def _fill_section(file: RuleFile, section: Mapping) -> None:
    """The header, the rules and the tests of one namespace."""

    def add(code: str, node: Node, message: str, hint: str) -> None:
        _add(file, code, node, message, hint)

    header = header_of(section.entries, add)
    file.headers.append(header)
    for key, value in section.entries:
        if key.value == "tests":
            _fill_tests(file, header.namespace, value)
        elif key.value in HEADER_KEYS:
            continue
        elif key.value != "rules":
            hint = suggestion(key.value, _TOP_KEYS)
            hint = hint if hint.startswith("did you mean") else _FORM
            _add(file, "UNKNOWN_KEY", key, f"unknown key `{key.value}` at the top of the file", hint)
        elif is_empty(value):
            continue
        elif not isinstance(value, Sequenced):
            _add(file, "BAD_VALUE", value, "`rules` is not a list", _FORM)
        elif len(value.entries) > RULES_MAX:
            _add(file, "LIMIT_RULES", value, f"{len(value.entries)} rules, at most {RULES_MAX}", "")
        else:
            file.rule_count += len(value.entries)
            _fill_rules(file, header.namespace, value)
    if not any(key.value == "rules" for key, _ in section.entries):
        _add(file, "MISSING_KEY", section, "the key `rules` is missing", _FORM)


def _fill_rules(file: RuleFile, namespace: str, rules: Sequenced) -> None:
    for entry in rules.entries:
        if len(file.faults) >= DIAGNOSTICS_MAX:
            return
        if not isinstance(entry, Mapping):
            _add(file, "BAD_VALUE", entry, "a rule is a mapping", _FORM)
            continue
        rule, faults = rule_of(file.name, namespace, entry)
        file.faults.extend(faults)
        if rule is not None:
            file.rules.append(rule)


def _fill_tests(file: RuleFile, namespace: str, value: Node) -> None:
    if not isinstance(value, Sequenced) or len(value.entries) > TESTS_MAX:
        _add(file, "BAD_VALUE", value, f"`tests` is a list of at most {TESTS_MAX} tests", "")
        return

    def add(code: str, node: Node, message: str, hint: str) -> None:
        _add(file, code, node, message, hint)

    for entry in value.entries:
        if len(file.faults) >= DIAGNOSTICS_MAX:
            return
        if not isinstance(entry, Mapping):
            _add(file, "BAD_VALUE", entry, "a test is a mapping", "with facts and `matches`")
            continue
        pairs: dict[str, object] = {}
        for key, node in entry.entries:
            if isinstance(node, Mapping):
                pairs[key.value] = {name.value: _plain_value(fact) or [] for name, fact in node.entries}
            else:
                pairs[key.value] = _plain_value(node)
        test = trial_of(file.name, namespace, entry, pairs, add)
        if test is not None:
            file.tests.append(test)


def _plain_value(node: Node) -> Scalar | list[Scalar] | list[tuple[Scalar, Scalar]] | None:
    """What a test's key may have: a scalar, a list of scalars, or a mapping of scalars; None is deeper than that."""
    if isinstance(node, Scalar):
        return node
    if isinstance(node, Sequenced):
        entries = [entry for entry in node.entries if isinstance(entry, Scalar)]
        return entries if len(entries) == len(node.entries) else None
    pairs = [(key, value) for key, value in node.entries if isinstance(value, Scalar)]
    return pairs if len(pairs) == len(node.entries) else None


def _add(file: RuleFile, code: str, node: Node, message: str, hint: str) -> None:
    file.faults.append(Diagnostic(code, file.name, node.line, node.column, "", message, hint))


def _composed(source: str) -> Node | None:
    """The node tree of the only document; None when there is none."""
    # The parser's columns do not count a byte order mark.
    text = source.removeprefix("\ufeff")
    try:
        parts = _guarded(yaml.parse(text, Loader=_Loader))
        first = next(parts, None)
        root = None if first is None else _node(text, first, parts)
        for _ in parts:  # To the end, so that a fault behind the first document is seen.
            pass
        return root
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        problem = error.problem or error.context or "not YAML"
        hint = "quote texts that have `: ` or ` #` in them" if "mapping values" in problem else ""
        raise _Fault("YAML_SYNTAX", line, column, problem, hint) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1
        shown = f"U+{error.character:04X}" if isinstance(error.character, int) else repr(error.character)
        raise _Fault("YAML_SYNTAX", line, column, f"the character {shown} is not allowed") from None
    except (yaml.YAMLError, UnicodeError) as error:
        raise _Fault("YAML_SYNTAX", 1, 1, str(error).partition("\n")[0]) from None


def _place(at: yaml.Event) -> tuple[int, int]:
    return (at.start_mark.line + 1, at.start_mark.column + 1) if at.start_mark is not None else (1, 1)


def _guarded(parsed: Iterable[yaml.Event]) -> Iterator[yaml.Event]:
    """The node events of the first document, as they come; refuses what is dangerous before it can grow."""
    depth = documents = nodes = 0
    for at in parsed:
        line, column = _place(at)
        if isinstance(at, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _Fault(
                    "YAML_DOCUMENTS", line, column, "a second document", "put all rules under one `rules:`"
                )
        if isinstance(at, yaml.AliasEvent) or getattr(at, "anchor", None) is not None:
            raise _Fault(
                "YAML_ALIAS", line, column, "anchors and aliases are not allowed", "write the value out"
            )
        tag = getattr(at, "tag", None)
        if tag is not None:
            raise _Fault("YAML_TAG", line, column, f"the tag {tag} is not allowed", "leave it out")
        nodes += isinstance(at, yaml.NodeEvent)
        if nodes > RULE_YAML_NODES_MAX:
            raise _Fault("LIMIT_NODES", line, column, f"more than {RULE_YAML_NODES_MAX} values")
        if isinstance(at, yaml.CollectionStartEvent):
            depth += 1
            if depth > RULE_YAML_DEPTH_MAX:
                raise _Fault("LIMIT_DEPTH", line, column, f"nested deeper than {RULE_YAML_DEPTH_MAX}")
        elif isinstance(at, yaml.CollectionEndEvent):
            depth -= 1
        if isinstance(at, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield at


def _node(text: str, start: yaml.Event, parts: Iterator[yaml.Event]) -> Node:
    """One node and all below it. Recursion is bounded by the depth that `_guarded` lets through."""
    line, column = _place(start)
    if isinstance(start, yaml.ScalarEvent):
        begin = start.start_mark.index if start.start_mark is not None else 0
        end = start.end_mark.index if start.end_mark is not None else begin
        return Scalar(line, column, start.value, start.style or "", begin, end)
    if isinstance(start, yaml.SequenceStartEvent):
        entries: list[Node] = []
        for part in parts:
            if isinstance(part, yaml.SequenceEndEvent):
                break
            entries.append(_node(text, part, parts))
        return Sequenced(line, column, entries)
    return _mapping(text, line, column, parts)


def _mapping(text: str, line: int, column: int, parts: Iterator[yaml.Event]) -> Mapping:
    pairs: list[tuple[Scalar, Node]] = []
    seen: dict[str, int] = {}
    for part in parts:
        if isinstance(part, yaml.MappingEndEvent):
            break
        key = _node(text, part, parts)
        if not isinstance(key, Scalar):
            raise _Fault("BAD_VALUE", key.line, key.column, "a key must be a plain text")
        if key.value in seen:
            hint = f"it is already on line {seen[key.value]}"
            raise _Fault("DUPLICATE_KEY", key.line, key.column, f"the key `{key.value}` repeats", hint)
        seen[key.value] = key.line
        pairs.append((key, _node(text, next(parts), parts)))
    return Mapping(line, column, pairs)


class Merged(Struct, frozen=True):
    """Several files as one rule set: its namespaces, its rules with their files, and every fault."""

    namespaces: list[Namespace]
    pairs: list[tuple[RuleFile, RuleSource]]
    faults: list[Diagnostic]


def merged(files: Sequence[RuleFile]) -> Merged:
    """The files together; faults are those of the files, what contradicts another file, and ids that two rules
    share."""
    pairs = [(file, rule) for file in files for rule in file.rules]
    namespaces, contradictions = merged_headers(
        [(file.name, header) for file in files for header in file.headers]
    )
    faults = [*itertools.chain.from_iterable(file.faults for file in files), *contradictions]
    seen: dict[str, tuple[RuleFile, RuleSource]] = {}
    for file, rule in pairs:
        # A rule whose name is no good has another fault.
        first = seen.setdefault(rule.rule_id, (file, rule)) if rule.name else (file, rule)
        if first[1] is not rule:
            place = f"{first[0].name or 'line'}:{first[1].line}"
            faults.append(
                Diagnostic(
                    "DUPLICATE_RULE", file.name, rule.line, rule.column, rule.rule_id,
                    f"the rule `{rule.rule_id}` is there already", f"first at {place}; give it another `id`",
                )
            )  # fmt: skip
    if len(pairs) > RULES_MAX:
        faults.append(Diagnostic("LIMIT_RULES", "", 1, 1, "", f"{len(pairs)} rules, at most {RULES_MAX}"))
    return Merged(namespaces, pairs, faults[:DIAGNOSTICS_MAX])
