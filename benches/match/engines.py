"""The engines, each asked in the fastest way that its door offers: all rules that match, or the first one.

Ours takes a batch as columns in one call. zen-engine has a decision table with the policies `collect` and `first`
through the static loader, which is the one that builds its index. The others have no notion of a rule set: a loop over
compiled expressions, for the first match left at the first that holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from benches.match.made import SCHEMA, Row, Rule, cel, columns


class Engine(Protocol):
    """Rules, loaded; which of them match. `matches` is for comparing, the others for timing."""

    def matches(self, row: Row) -> list[int]: ...
    def collect(self, rows: list[Row]) -> object: ...
    def first(self, rows: list[Row]) -> object: ...


class Ours:
    """A batch of columns that are ready."""

    def __init__(self, rules: list[Rule], previous: Ours | None = None) -> None:
        from cuptime._core import RuleSet

        sources = [
            (f"r{i:06}", "", 0, 1, True, None, None, cel(rule), "skip", [("tag", "x")])
            for i, rule in enumerate(rules)
        ]
        self.set: Any = RuleSet.compile(sources, SCHEMA, previous.set if previous else None)
        self._ready: dict[int, dict[str, object]] = {}

    def matches(self, row: Row) -> list[int]:
        return list(self.set.evaluate([row], 0, "collect")[0])

    def _columns(self, rows: list[Row]) -> dict[str, object]:
        if id(rows) not in self._ready:
            self._ready[id(rows)] = columns(rows)
        return self._ready[id(rows)]

    def collect(self, rows: list[Row]) -> object:
        return self.set.evaluate_columns(self._columns(rows), len(rows), 0, "collect")

    def first(self, rows: list[Row]) -> object:
        return self.set.evaluate_columns(self._columns(rows), len(rows), 0, "first")


class OursFromDicts(Ours):
    """As it stands in Python, dicts made into columns first."""

    def _columns(self, rows: list[Row]) -> dict[str, object]:
        return columns(rows)


class Zen:
    def __init__(self, rules: list[Rule]) -> None:
        import zen

        table = [
            {"_id": f"x{i}-{k}", **_cells(tests), "out": str(i)}
            for i, rule in enumerate(rules)
            for k, tests in enumerate(rule)
        ]
        content = {policy: _graph(policy, table) for policy in ("collect", "first")}
        self._engine = zen.ZenEngine({"loader": {"type": "static", "content": content}})

    def matches(self, row: Row) -> list[int]:
        found = self._engine.evaluate("collect", row)["result"]
        return sorted({int(entry["out"]) for entry in found or []})

    def collect(self, rows: list[Row]) -> object:
        ask = self._engine.evaluate
        return [ask("collect", row) for row in rows]

    def first(self, rows: list[Row]) -> object:
        ask = self._engine.evaluate
        return [ask("first", row) for row in rows]


def _cells(tests: list[tuple[str, str, Any]]) -> dict[str, str]:
    """The cells of one line of a decision table; a fact that is asked twice has both its tests joined."""
    cells = {name: "" for name, _ in SCHEMA}
    for fact, op, value in tests:
        shown = ", ".join(json.dumps(one) for one in value) if op == "in" else json.dumps(value)
        cell = shown if op in ("==", "in") else f"{op} {shown}"
        cells[fact] = f"{cells[fact]} and {cell}" if cells[fact] else cell
    return cells


def _graph(policy: str, table: list[dict[str, str]]) -> dict[str, Any]:
    inputs = [{"id": name, "type": "expression", "field": name, "name": name} for name, _ in SCHEMA]
    outputs = [{"id": "out", "type": "expression", "field": "out", "name": "out"}]
    content = {"hitPolicy": policy, "inputs": inputs, "outputs": outputs, "rules": table}
    kinds = {"in": "inputNode", "t": "decisionTableNode", "end": "outputNode"}
    nodes: list[dict[str, Any]] = [
        {"id": name, "type": kind, "name": name, "position": {"x": 0, "y": 0}} for name, kind in kinds.items()
    ]
    nodes[1]["content"] = content
    edges = [("e1", "in", "t"), ("e2", "t", "end")]
    return {
        "nodes": nodes,
        "edges": [{"id": i, "sourceId": a, "targetId": b, "type": "edge"} for i, a, b in edges],
    }


class _Loop:
    """Expressions, one after the other."""

    def truths(self, row: Row) -> Any:
        """True or false for each rule, one by one."""
        raise NotImplementedError

    def matches(self, row: Row) -> list[int]:
        return [i for i, holds in enumerate(self.truths(row)) if holds]

    def collect(self, rows: list[Row]) -> object:
        return [self.matches(row) for row in rows]

    def first(self, rows: list[Row]) -> object:
        return [next((i for i, holds in enumerate(self.truths(row)) if holds), None) for row in rows]


class Datalogic(_Loop):
    """JSONLogic; `evaluate_many` for all, one by one for the first."""

    def __init__(self, rules: list[Rule]) -> None:
        import datalogic_py

        self._module: Any = datalogic_py
        engine = datalogic_py.Engine()
        self._compiled = [engine.compile(json.dumps(_logic(rule))) for rule in rules]
        self._session = engine.session()

    def truths(self, row: Row) -> Any:
        handle = self._module.DataHandle(json.dumps(row))
        evaluate = self._session.evaluate_bool
        return (evaluate(rule, handle) for rule in self._compiled)

    def matches(self, row: Row) -> list[int]:
        handle = self._module.DataHandle(json.dumps(row))
        answers = self._session.evaluate_many(self._compiled, handle)
        return [i for i, answer in enumerate(answers) if answer == "true"]


def _logic(rule: Rule) -> dict[str, Any]:
    every = [{"and": [{op: [{"var": fact}, value]} for fact, op, value in tests]} for tests in rule]
    return every[0] if len(every) == 1 else {"or": every}


class RustCel(_Loop):
    """The Rust crate `cel` through its wheel."""

    def __init__(self, rules: list[Rule]) -> None:
        import cel as rust_cel

        self._module: Any = rust_cel
        self._programs = [rust_cel.compile(cel(rule)) for rule in rules]

    def truths(self, row: Row) -> Any:
        context = self._module.Context(row)
        return (program.execute(context) for program in self._programs)


class Google(_Loop):
    """cel-cpp through Google's wheel."""

    def __init__(self, rules: list[Rule]) -> None:
        from cel_expr_python import cel as google_cel

        kinds = google_cel.Type
        types = {"string": kinds.STRING, "int": kinds.INT, "double": kinds.DOUBLE}
        self._env: Any = google_cel.NewEnv(variables={name: types[kind] for name, kind in SCHEMA})
        self._programs = [self._env.compile(cel(rule)) for rule in rules]

    def truths(self, row: Row) -> Any:
        activation = self._env.Activation(row)
        return (program.eval(activation).value() for program in self._programs)


ENGINES: dict[str, Callable[[list[Rule]], Engine]] = {
    "ours": Ours,
    "ours, dicts": OursFromDicts,
    "zen": Zen,
    "datalogic": Datalogic,
    "cel (Rust)": RustCel,
    "cel (C++)": Google,
}
LINEAR = ("datalogic", "cel (Rust)", "cel (C++)")
"""These ask rule by rule: fewer orders are enough, and a large set takes them long."""
