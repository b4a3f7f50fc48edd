"""The schema for editors accepts what the server accepts, and marks what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cuptime.app.core_parts import rule_tools
from cuptime.rules.form import json_schema

TOOLS = rule_tools()
SCHEMA = json_schema(TOOLS.schema, TOOLS.actions)
EXAMPLES = sorted((Path(__file__).parents[3] / "examples" / "rules").glob("*.yaml"))


def read(path: Path) -> Any:
    """With texts where YAML would make dates of them, as our own reader does."""
    loader = _TextDates(path.read_text(encoding="utf-8"))
    return loader.get_single_data()


class _TextDates(yaml.SafeLoader):
    """Instants stay texts."""


_TextDates.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_of_the_form(path: Path) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(read(path), SCHEMA)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("priority", -1),
        ("priorty", 1),
        ("action", "asign_rider_priority: 1"),
        ("action", {"tag": "a", "refse": "b"}),
        ("action", {"assign_rider_priority": 101}),
        ("on_error", "ignore"),
        ("hit_policy", "first"),
        ("enabled", "yes"),
        ("name", ""),
    ],
)
def test_slips_are_marked(key: str, value: object) -> None:
    document = copy.deepcopy(read(EXAMPLES[0]))
    document["rules"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)
