"""What YAML is read to: scalars, lists and mappings, each with its place in the file."""

from __future__ import annotations

from msgspec import Struct


class Scalar(Struct, frozen=True):
    """A YAML scalar with its place: line and column from 1, `start` and `end` as offsets into the text."""

    line: int
    column: int
    value: str
    style: str
    start: int
    end: int

    @property
    def plain(self) -> bool:
        return self.style == ""


class Mapping(Struct, frozen=True):
    line: int
    column: int
    entries: list[tuple[Scalar, Node]]


class Sequenced(Struct, frozen=True):
    line: int
    column: int
    entries: list[Node]


Node = Scalar | Mapping | Sequenced


def is_empty(node: Node) -> bool:
    """Nothing stands behind the key, or `null`."""
    return isinstance(node, Scalar) and node.plain and node.value in ("", "~", "null")
