"""Bad rule sets."""

from __future__ import annotations

from typing import Final

from tests.integration import campus
from tests.integration.faults import LONG, Bad

_BOMB: Final = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


def _rule(condition: str = "true", action: str = "assign_rider_priority: 1", name: str = "r") -> str:
    return f'rules:\n  - name: {name}\n    condition: "{condition}"\n    action: "{action}"\n'


SOURCES: Final = {
    "not YAML": "rules: [",
    "no rules": "colours: []",
    "a scalar": "5",
    "a list": "- a\n- b",
    "tabs": "rules:\n\t- name: x",
    "an alias bomb": _BOMB,
    "nested 5,000 deep": "rules: " + "[" * 5_000 + "]" * 5_000,
    "nested 40 deep": "rules: " + "[" * 40 + "]" * 40,
    "mappings nested deep": "".join("  " * n + "a:\n" for n in range(400)),
    "a Python tag": "rules: !!python/object/apply:os.system ['true']",
    "a tag of its own": "rules: !x []",
    "a binary tag": "rules: !!binary aGVsbG8=",
    "two documents": _rule() + "---\n" + _rule(),
    "a key twice": "rules: []\nrules: []",
    "a name twice": _rule() + "  - name: r\n    condition: 'true'\n    action: 'assign_rider_priority: 1'\n",
    "an unknown key": _rule() + "    colour: red\n",
    "an unknown action": _rule(action="fly: 1"),
    "an unknown name": _rule("user.shoe_size > 3"),
    "a wrong type": _rule("user.credit_score"),
    "a broken condition": _rule("user.credit_score >="),
    "a condition nested deep": _rule("(" * 900 + "true" + ")" * 900),
    "a long condition": _rule("true || " * 600 + "true"),
    "a merge key": "x: &x {name: r}\nrules:\n  - <<: *x\n",
    "a control character": "rules: \x01",
    "a billion rules' worth of anchors": "rules: &a [*a]",
    "1 MiB and one byte": "#" * (1024 * 1024 + 1),
    "3 MiB": "x" * (3 * 1024 * 1024),
    "a million rows": "- \n" * 300_000,
}
PUBLISH: Final = [
    Bad("no source", {}, "FIELD_REQUIRED", "source"),
    *(Bad(what, {"source": source}, "RULES_INVALID", "source") for what, source in SOURCES.items()),
    Bad("a long note", {"source": campus.RULES, "note": LONG}, "FIELD_INVALID", "note"),
    Bad("request_id", {"source": campus.RULES, "request_id": " "}, "FIELD_INVALID", "request_id"),
]
