"""SQL by name, from the `.sql` files beside this module.

A file is a sequence of blocks; `-- name: insert_orders` starts a statement, `-- part: order_columns` a piece of text
that statements of the same file take in as `{order_columns}`. Other comment lines are for the reader. Statements are
fixed when the module is loaded; values only ever come in as bindings. Names are `LiteralString`, so that a query made
from somebody's input does not type-check.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final, LiteralString


class StatementMissing(KeyError):
    """No statement has this name: a fault of the program."""


def parse(text: str) -> dict[str, str]:
    """The statements of one file, parts put in. Raises ValueError for a name given twice or text outside a block."""
    blocks: dict[tuple[str, str], list[str]] = {}
    lines: list[str] | None = None
    for line in text.splitlines():
        word, _, name = line.removeprefix("-- ").partition(": ")
        if line.startswith("-- ") and word in ("name", "part"):
            if (word, name) in blocks:
                raise ValueError(f"{word} {name} is there twice")
            lines = blocks[(word, name)] = []
        elif line.strip() and not line.startswith("--"):
            if lines is None:
                raise ValueError(f"SQL outside a block: {line}")
            lines.append(line)
    parts = {name: "\n".join(body) for (word, name), body in blocks.items() if word == "part"}
    return {
        name: "\n".join(body).format_map(parts).rstrip(";")
        for (word, name), body in blocks.items()
        if word == "name"
    }


def load() -> dict[str, str]:
    """Every statement of every file. Raises ValueError when two files share a name."""
    statements: dict[str, str] = {}
    for file in sorted(files(__package__).joinpath("sql").iterdir(), key=lambda file: file.name):
        for name, text in parse(file.read_text(encoding="utf-8")).items():
            if name in statements:
                raise ValueError(f"statement {name} is there twice")
            statements[name] = text
    return statements


_STATEMENTS: Final = load()


def sql(name: LiteralString) -> str:
    """The text of a statement."""
    try:
        return _STATEMENTS[name]
    except KeyError:
        raise StatementMissing(name) from None
