"""The JSON schema of a rule file, for editors that complete and check YAML while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cuptime.domain.limits import RULE_CONDITION_CHARS_MAX, RULES_MAX
from cuptime.rules.source import (
    DESCRIPTION_CHARS_MAX,
    NAME_CHARS_MAX,
    PRIORITY_DEFAULT,
    PRIORITY_MAX,
    TAGS_MAX,
)
from cuptime.rules.trials import FACT_KEYS, TESTS_MAX

_JSON_TYPES: Final = {
    "int": {"type": "integer"},
    "double": {"type": "number"},
    "bool": {"type": "boolean"},
    "string": {"type": "string"},
    "list(string)": {"type": "array", "items": {"type": "string"}},
}


def json_schema(facts: Sequence[tuple[str, str]], actions: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The schema, from the facts conditions may use and the actions there are."""
    name = {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX}
    names = "|".join(action for action, _ in actions)
    told = "; ".join(f"{action}: {value}" for action, value in actions)
    action = {
        "description": told,
        "oneOf": [
            {"type": "string", "pattern": f"^({names}):"},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {
                    key: {"type": ["string", "integer"], "description": value} for key, value in actions
                },
            },
        ],
    }
    rule = {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "condition", "action"],
        "properties": {
            "name": name,
            "id": name,
            "description": {"type": "string", "maxLength": DESCRIPTION_CHARS_MAX},
            "priority": {
                "type": "integer",
                "minimum": 0,
                "maximum": PRIORITY_MAX,
                "default": PRIORITY_DEFAULT,
                "description": "a smaller number comes first",
            },
            "enabled": {"type": "boolean", "default": True},
            "valid_from": {"type": "string", "description": "an instant with its time zone, included"},
            "valid_to": {"type": "string", "description": "an instant with its time zone, not included"},
            "tags": {"type": "array", "items": name, "maxItems": TAGS_MAX},
            "condition": {
                "type": ["string", "boolean"],
                "maxLength": RULE_CONDITION_CHARS_MAX,
                "description": "CEL, over " + ", ".join(fact for fact, _ in facts),
            },
            "action": action,
        },
    }
    groups = {
        group: {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                fact.partition(".")[2]: _JSON_TYPES[kind.removesuffix("?")]
                for fact, kind in facts
                if fact.startswith(f"{group}.")
            },
        }
        for group in FACT_KEYS
    }
    test = {
        "type": "object",
        "additionalProperties": False,
        "required": ["matches"],
        "properties": {
            "name": {"type": "string"},
            **groups,
            "at": {"type": "string", "description": "the instant that validity is judged at"},
            "matches": {"type": "array", "items": name},
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cuptime rules",
        "type": "object",
        "additionalProperties": False,
        "required": ["rules"],
        "properties": {
            "rules": {"type": ["array", "null"], "items": rule, "maxItems": RULES_MAX},
            "tests": {"type": "array", "items": test, "maxItems": TESTS_MAX},
        },
    }
