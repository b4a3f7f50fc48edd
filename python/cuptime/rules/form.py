"""The JSON schema of a rule file, for editors that complete and check YAML while it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cuptime.domain.limits import (
    RULE_CONDITION_CHARS_MAX,
    RULE_NAMESPACES_MAX,
    RULE_VARIABLES_MAX,
    RULES_MAX,
)
from cuptime.rules.actions import IDS_MAX, ActionRegistry, ActionType, Kind, Parameter
from cuptime.rules.namespaces import NAMESPACE_CHARS_MAX, VARIABLE_CHARS_MAX, HitPolicy, OnError
from cuptime.rules.source import (
    ACTIONS_MAX,
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


def json_schema(facts: Sequence[tuple[str, str]], actions: ActionRegistry) -> dict[str, Any]:
    """The schema, from the facts conditions may use and the actions there are."""
    name = {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX}
    section = {**_header(facts), "rules": _rules(facts, actions, name), "tests": _tests(facts, name)}
    one = {"type": "object", "additionalProperties": False, "required": ["rules"], "properties": section}
    several = {
        "type": "object",
        "additionalProperties": False,
        "required": ["sets"],
        "properties": {
            "sets": {"type": "array", "items": {"$ref": "#/$defs/set"}, "maxItems": RULE_NAMESPACES_MAX}
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cuptime rules",
        "$defs": {"set": one},
        "if": {"type": "object", "required": ["sets"]},
        "then": several,
        "else": {"$ref": "#/$defs/set"},
    }


def _header(facts: Sequence[tuple[str, str]]) -> dict[str, Any]:
    expression = {"type": ["string", "boolean", "number"], "maxLength": RULE_CONDITION_CHARS_MAX}
    return {
        "namespace": {
            "type": "string",
            "pattern": f"^[a-z][a-z0-9_.-]{{0,{NAMESPACE_CHARS_MAX - 1}}}$",
            "description": "stands before the ids of these rules; hit policy and variables are those of the namespace",
        },
        "hit_policy": {"enum": [*HitPolicy], "default": HitPolicy.COLLECT},
        "on_error": _on_error("what a fault in a condition means, where a rule does not say it"),
        "variables": {
            "type": ["object", "null"],
            "maxProperties": RULE_VARIABLES_MAX,
            "propertyNames": {"pattern": f"^[a-z][a-z0-9_]{{0,{VARIABLE_CHARS_MAX - 1}}}$"},
            "additionalProperties": expression,
            "description": "CEL expressions, used in conditions as variables.name",
        },
    }


def _on_error(description: str) -> dict[str, Any]:
    return {"enum": [*OnError], "description": description}


def _action(actions: ActionRegistry) -> dict[str, Any]:
    """As a text, and as a mapping with a key for each action."""
    return {
        "description": "; ".join(f"{action.name}: {action.meaning}" for action in actions),
        "oneOf": [
            {"type": "string", "pattern": f"^({'|'.join(actions.names)}) *:"},
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": ACTIONS_MAX,
                "additionalProperties": False,
                "properties": {action.name: _argument(action) for action in actions},
            },
        ],
    }


def _argument(action: ActionType) -> dict[str, Any]:
    main, *others = action.parameters
    mapping = {
        "type": "object",
        "additionalProperties": False,
        "required": [parameter.name for parameter in action.parameters if parameter.required],
        "properties": {parameter.name: _parameter(parameter) for parameter in action.parameters},
    }
    plain = [] if any(parameter.required for parameter in others) else [_parameter(main)]
    return {"description": action.meaning, "anyOf": [*plain, mapping]}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    told = {"description": parameter.wanted()}
    bounds = {"minimum": parameter.lowest, "maximum": parameter.highest}
    # A number in quotes reads as the same number.
    forms: dict[Kind, dict[str, Any]] = {
        Kind.WHOLE: {"type": ["integer", "string"], **bounds, **told},
        Kind.NUMBER: {"type": ["number", "string"], **bounds, **told},
        Kind.TEXT: {
            "type": ["string", "number", "boolean"],
            "minLength": int(parameter.lowest),
            "maxLength": int(parameter.highest),
            **told,
        },
        Kind.CHOICE: {"enum": list(parameter.choices), **told},
        Kind.IDS: {
            "anyOf": [
                {
                    "type": "array",
                    "items": {"type": ["integer", "string"]},
                    "minItems": 1,
                    "maxItems": IDS_MAX,
                },
                {"type": ["string", "integer"]},
            ],
            **told,
        },
        Kind.DURATION: {"type": "string", "pattern": r"^(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$", **told},
    }
    return forms[parameter.kind]


def _rules(facts: Sequence[tuple[str, str]], actions: ActionRegistry, name: dict[str, Any]) -> dict[str, Any]:
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
            "on_error": _on_error("what a fault in the condition means"),
            "condition": {
                "type": ["string", "boolean"],
                "maxLength": RULE_CONDITION_CHARS_MAX,
                "description": "CEL, over " + ", ".join(fact for fact, _ in facts),
            },
            "action": _action(actions),
        },
    }
    return {"type": ["array", "null"], "items": rule, "maxItems": RULES_MAX}


def _tests(facts: Sequence[tuple[str, str]], name: dict[str, Any]) -> dict[str, Any]:
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
    return {"type": "array", "items": test, "maxItems": TESTS_MAX}
