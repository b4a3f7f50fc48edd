"""Rules of several files as the one document that a revision keeps; reading it gives the same rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from cuptime.rules import nodes
from cuptime.rules.namespaces import HitPolicy, Namespace, OnError
from cuptime.rules.nodes import Node
from cuptime.rules.source import RuleSource
from cuptime.rules.trials import RuleTest
from cuptime.rules.yaml import Merged, RuleFile

_QUOTED: Final = ("name", "id", "description", "condition")


def rendered(whole: Merged, files: Sequence[RuleFile]) -> str:
    """One namespace as a plain document, several as the entries of `sets`."""
    sections = []
    for space in whole.namespaces:
        pairs = [(file, rule) for file, rule in whole.pairs if rule.namespace == space.name]
        tests = [test for file in files for test in file.tests if test.namespace == space.name]
        sections.append(_section(space, pairs, tests))
    if len(sections) == 1:
        return "\n".join(sections[0]) + "\n"
    lines = ["sets:" if sections else "rules: []"]
    for section in sections:
        lines += [f"  {'- ' if index == 0 else '  '}{line}" for index, line in enumerate(section)]
    return "\n".join(lines) + "\n"


def _section(
    space: Namespace, pairs: Sequence[tuple[RuleFile, RuleSource]], tests: Sequence[RuleTest]
) -> list[str]:
    lines = [f"namespace: {_text(space.name)}"] if space.name else []
    if space.hit_policy is not HitPolicy.COLLECT:
        lines.append(f"hit_policy: {space.hit_policy}")
    if space.on_error is not OnError.SKIP:
        lines.append(f"on_error: {space.on_error}")
    if space.variables:
        lines.append("variables:")
        lines += [f"  {variable.name}: {_text(variable.expression.value)}" for _, variable in space.variables]
    lines.append("rules:" if pairs else "rules: []")
    for file, rule in pairs:
        lines += _rule(file, rule)
    if tests:
        lines.append("tests:")
    for test in tests:
        lines += _test(test)
    return lines


def _rule(file: RuleFile, rule: RuleSource) -> list[str]:
    texts = {
        "name": rule.name,
        "id": rule.local_id,
        "description": rule.description,
        "condition": rule.condition.value,
    }
    fields = [f"{key}: {_text(texts[key])}" for key in _QUOTED if texts[key]]
    fields.append(
        "action: "
        + json.dumps({use.name: _plain(use.node, use.text) for use in rule.actions}, ensure_ascii=False)
    )
    fields += [f"priority: {rule.priority}", f"enabled: {'true' if rule.enabled else 'false'}"]
    for key, instant_ms in (("valid_from", rule.valid_from_ms), ("valid_to", rule.valid_to_ms)):
        if instant_ms:
            fields.append(f'{key}: "{_instant(instant_ms)}"')
    if rule.tags:
        fields.append("tags: " + json.dumps(list(rule.tags), ensure_ascii=False))
    if rule.on_error is not None:
        fields.append(f"on_error: {rule.on_error}")
    return [f"  # {file.name}:{rule.line}", *_entry(fields)]


def _plain(node: Node, text: str) -> object:
    """As JSON has it; scalars as texts, which read as the same values."""
    if isinstance(node, nodes.Mapping):
        return {key.value: _plain(value, "") for key, value in node.entries}
    if isinstance(node, nodes.Sequenced):
        return [_plain(entry, "") for entry in node.entries]
    return text or node.value


def _test(test: RuleTest) -> list[str]:
    facts: dict[str, dict[str, object]] = {}
    for name, value in test.facts.items():
        group, _, rest = name.partition(".")
        plain = [part.value for part in value] if isinstance(value, list) else value.value
        facts.setdefault(group, {})[rest] = plain
    matches = [entry.value for entry in test.matches]
    fields = {"name": test.name, **facts, "at": _instant(test.at_ms), "matches": matches}
    # JSON is YAML; a number or truth in quotes reads as the same fact.
    return _entry([f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in fields.items()])


def _entry(fields: Sequence[str]) -> list[str]:
    return [f"  {'- ' if index == 0 else '  '}{line}" for index, line in enumerate(fields)]


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1_000, UTC).isoformat(timespec="milliseconds")
