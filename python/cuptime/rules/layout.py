"""Rule files in their canonical form: what `cuptime rules fmt` writes.

Every change is an edit of the text between two offsets, so comments, and all that has no canonical form, stay:

- A condition, and a variable, is canonical CEL as a text in double quotes; one that is longer than a line, or has `"`
  or a backslash in it, stands folded below `>-`, broken behind its outermost `||` or `&&`. With a CEL comment in it, it
  stays as written.
- Keys of the header and of a rule stand in the order of the documents, each with the comment lines above it. What
  stands above the first key belongs to the file, or to the rule, and stays above.
- One space between a key and its value, none at the end of a line, at most one empty line, and one line end at the end.

The result is read again: it must say the same as before, and its form must be its own, else nothing is given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from cuptime.domain.limits import RULE_CONDITION_CHARS_MAX
from cuptime.rules.namespaces import HEADER_KEYS
from cuptime.rules.nodes import Mapping, Node, Scalar, Sequenced
from cuptime.rules.source import KEYS
from cuptime.rules.yaml import read_nodes

LINE_CHARS_MAX: Final = 100
"""Longer conditions are folded."""
_TOP_KEYS: Final = (*HEADER_KEYS, "rules", "tests")
_UNSAFE: Final = re.compile("[\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON lets stand in a text and YAML does not, or not everywhere."""
_PARTS: Final = re.compile(
    r"'(?:[^'\\]|\\.)*'|`[^`]*`|&&|\|\||[(\[{]|[)\]}]| |[^'`&|(\[{)\]} ]+|.", re.DOTALL
)
"""Of a canonical condition: literals, back-quoted names, what joins, brackets, blanks, anything else."""
_GAP: Final = re.compile(r"[ \t]*:\s*")
_BLOCK_COMMENT: Final = re.compile(r"[|>][-+0-9]*[ \t]+(#[^\n]*)")
_LINE_COMMENT: Final = re.compile(r"[ \t]+(#[^\n]*)")
_BETWEEN: Final = re.compile(r"[ \t]*(?:-[ \t]*)?(?:#.*)?")
"""A line without a value: empty, a comment, or the dash above an entry."""
_SPARE: Final = re.compile(r"(?:[ \t]*\n){3,}|[ \t]+(?=\n|\Z)")
_LINES: Final = re.compile("[\n\x85\u2028\u2029]")
"""What YAML counts as ends of lines, the carriage return being none any more."""

Canonical = Callable[[str], str | None]
"""The canonical text of a condition; None when it has to stay as written."""
_Edit = tuple[int, int, str]
"""Offsets of what goes, and what comes."""


class Unstable(Exception):
    """The canonical form of this file would not be the same rules; it has to stay as it is."""


def formatted(source: str, canonical: Canonical) -> str:
    """The canonical form of a file of rules that has no faults and no carriage returns. Raises `Unstable`."""
    text = _once(source.removeprefix("\ufeff"), canonical)
    if _meaning(text, canonical) != _meaning(source, canonical):
        raise Unstable("in its canonical form it would not say the same")
    if _once(text, canonical) != text:
        raise Unstable("its canonical form is not stable")
    return text


def _once(text: str, canonical: Canonical) -> str:
    text = text if text.endswith("\n") else f"{text}\n"
    text = _edited(text, _value_edits(text, canonical))
    text = _edited(text, _rule_edits(text))
    text = _edited(text, _section_edits(text))
    return _edited(text, _space_edits(text)).strip("\n") + "\n"


def _edited(text: str, edits: Iterator[_Edit]) -> str:
    out, behind = [], 0
    for start, end, new in sorted(edits):
        out += [text[behind:start], new]
        behind = end
    return "".join((*out, text[behind:]))


# --- what a file says -----------------------------------------------------------------------------------------------


class _Site(Struct, frozen=True):
    """A key of a header, of `variables` or of a rule, with its plain value."""

    key: Scalar
    value: Scalar
    flow: bool
    """Inside of { } or [ ], where nothing is folded."""
    expression: bool


def _root(text: str) -> Mapping:
    root = read_nodes(text)
    if not isinstance(root, Mapping):
        raise Unstable("it is not a file of rules")
    return root


def _sections(root: Mapping) -> list[Mapping]:
    sets = next((value for key, value in root.entries if key.value == "sets"), None)
    if isinstance(sets, Sequenced):
        return [entry for entry in sets.entries if isinstance(entry, Mapping)]
    return [root]


def _rules(section: Mapping) -> Sequenced:
    found = next((value for key, value in section.entries if key.value == "rules"), None)
    return found if isinstance(found, Sequenced) else Sequenced(1, 1, [])


def _in_flow(lines: Sequence[str], node: Node) -> bool:
    """Whether a mapping or list begins with a bracket."""
    return lines[node.line - 1][node.column - 1 : node.column] in ("{", "[") if node.line else False


def _sites(text: str) -> Iterator[_Site]:
    lines = _LINES.split(text.removeprefix("\ufeff"))
    root = _root(text)
    around = [value for key, value in root.entries if key.value == "sets"]
    for section in _sections(root):
        outer = any(_in_flow(lines, node) for node in (root, *around, section))
        for key, value in section.entries:
            if isinstance(value, Scalar):
                yield _Site(key, value, outer, expression=False)
            elif key.value == "variables" and isinstance(value, Mapping):
                inner = outer or _in_flow(lines, value)
                for name, variable in value.entries:
                    if isinstance(variable, Scalar):
                        yield _Site(name, variable, inner, expression=True)
        rules = _rules(section)
        for rule in rules.entries:
            inner = outer or any(_in_flow(lines, node) for node in (rules, rule))
            for key, value in rule.entries if isinstance(rule, Mapping) else ():
                if isinstance(value, Scalar):
                    yield _Site(key, value, inner, expression=key.value == "condition")


def _meaning(text: str, canonical: Canonical) -> object:
    """Values without places, keys without an order, expressions as canonical texts."""
    expressions = {site.value.start for site in _sites(text) if site.expression}

    def said(node: Node) -> object:
        if isinstance(node, Scalar):
            if node.start in expressions and node.value.strip():
                return canonical(node.value) or node.value
            return node.value, node.plain
        if isinstance(node, Sequenced):
            return [said(entry) for entry in node.entries]
        return {key.value: said(value) for key, value in node.entries}

    return said(_root(text))


# --- values ---------------------------------------------------------------------------------------------------------


def _value_edits(text: str, canonical: Canonical) -> Iterator[_Edit]:
    for site in _sites(text):
        key, value = site.key, site.value
        if value.start == value.end:
            continue
        if _GAP.fullmatch(text, key.end, value.start):
            yield key.end, value.start, ": "
        written = canonical(value.value) if site.expression else None
        if written is not None and len(written) <= RULE_CONDITION_CHARS_MAX:
            yield _expression_edit(text, site, written)


def _expression_edit(text: str, site: _Site, written: str) -> _Edit:
    value = site.value
    end = value.start + len(text[value.start : value.end].rstrip())
    comment = ""
    if value.style in ("|", ">"):
        found = _BLOCK_COMMENT.match(text, value.start, end)
    else:
        found = None if site.flow else _LINE_COMMENT.match(text, end)
        end = found.end() if found else end
    if found:
        comment = f"  {found[1].rstrip()}"
    quoted = f'"{_escaped(written)}"'
    begin = site.key.column - 1 + site.key.end - site.key.start + len(": ")
    long = begin + len(quoted) > LINE_CHARS_MAX or len(quoted) > len(written) + 2
    if site.flow or not long or _UNSAFE.search(written):
        return value.start, end, quoted + comment
    indent = " " * (site.key.column + 1)
    lines = "".join(f"\n{indent}{line}" for line in folded(written, LINE_CHARS_MAX - len(indent)))
    return value.start, end, f">-{comment}{lines}"


def _escaped(text: str) -> str:
    inner = json.dumps(text, ensure_ascii=False)[1:-1]
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", inner)


def folded(written: str, chars_max: int) -> list[str]:
    """A canonical condition in lines that a single space joins: behind the outermost `||`, else `&&`, and where a
    line is still too long, at the last blank that fits. Literals are never broken."""
    if len(written) <= chars_max:
        return [written]
    parts = _PARTS.findall(written)
    depth, joins = 0, {"||": [], "&&": []}  # type: tuple[int, dict[str, list[int]]]
    for at, part in enumerate(parts):
        depth += (part in ("(", "[", "{")) - (part in (")", "]", "}"))
        if depth == 0 and part in joins:
            joins[part].append(at + 1)
    lines = []
    begin = 0
    for end in (*(joins["||"] or joins["&&"]), len(parts)):
        lines += _filled(parts[begin:end], chars_max)
        begin = end + 1
    return lines


def _filled(parts: Sequence[str], chars_max: int) -> list[str]:
    lines, line = [], ""
    for word in _words(parts):
        if line and len(line) + 1 + len(word) > chars_max:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def _words(parts: Sequence[str]) -> Iterator[str]:
    word = ""
    for part in parts:
        if part == " ":
            yield word
            word = ""
        else:
            word += part
    yield word


# --- the order of keys ----------------------------------------------------------------------------------------------


def _rule_edits(text: str) -> Iterator[_Edit]:
    lines = _LINES.split(text)
    root = _root(text)
    sections = _sections(root)
    for section, behind in zip(sections, _behind(sections, len(text)), strict=True):
        rules = _rules(section)
        if any(_in_flow(lines, node) for node in (root, section, rules)):
            continue
        later = [key.start for key, _ in section.entries if key.line > rules.line]
        known = [rule for rule in rules.entries if isinstance(rule, Mapping) and rule.entries]
        for rule, end in zip(known, _behind(known, min([*later, behind])), strict=True):
            if not _in_flow(lines, rule):
                yield from _order_edit(text, rule, KEYS, end)


def _section_edits(text: str) -> Iterator[_Edit]:
    lines = _LINES.split(text)
    sections = _sections(_root(text))
    for section, behind in zip(sections, _behind(sections, len(text)), strict=True):
        if section.entries and not _in_flow(lines, section):
            yield from _order_edit(text, section, _TOP_KEYS, behind)


def _behind(mappings: Sequence[Mapping], end: int) -> list[int]:
    """For each mapping where the next one begins, and `end` for the last."""
    return [*(mapping.entries[0][0].start for mapping in mappings[1:]), end] if mappings else []


def _order_edit(text: str, mapping: Mapping, order: Sequence[str], behind: int) -> Iterator[_Edit]:
    """The entries of a block mapping in their order, each with the lines above it; `behind` is where what follows the
    mapping begins."""
    keys = [key for key, _ in mapping.entries]
    ranks = [order.index(key.value) if key.value in order else len(order) for key in keys]
    wanted = sorted(range(len(keys)), key=ranks.__getitem__)
    if wanted == list(range(len(keys))):
        return
    floors = [_last(text, value) for _, value in mapping.entries]
    starts = [keys[0].start]
    starts += [_above(text, key.start, floor) for key, floor in zip(keys[1:], floors, strict=False)]
    starts.append(_above(text, behind, floors[-1]))
    top = _line_start(text, keys[0].start)
    heads = [
        "",
        *(text[at : _line_start(text, key.start)] for at, key in zip(starts[1:], keys[1:], strict=False)),
    ]
    bodies = [
        text[key.start : end].removesuffix("\n") + "\n" for key, end in zip(keys, starts[1:], strict=True)
    ]
    indent = " " * (keys[0].column - 1)
    prefixes = [text[top : keys[0].start], *[indent] * (len(keys) - 1)]
    new = "".join(
        _indented(heads[at], prefix) + prefix + bodies[at]
        for prefix, at in zip(prefixes, wanted, strict=True)
    )
    yield top, starts[-1], new


def _indented(lines: str, prefix: str) -> str:
    """Comments and empty lines, the comments as deep as what `prefix` begins."""
    indent = prefix[: len(prefix) - len(prefix.lstrip(" "))]
    return re.sub(r"(?m)^[ \t]*(?=#)", indent, lines)


def _line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def _above(text: str, at: int, floor: int) -> int:
    """Where the lines above the one at `at` begin that belong to it: empty ones and comments, from behind `floor` on.
    Comments that stand deeper than it belong to what is before."""
    start = _line_start(text, at)
    line = text[start:at]
    indent = line.index("-") if "-" in line else len(line)
    found = []
    while start > 0:
        previous = _line_start(text, start - 1)
        if previous < floor or not _BETWEEN.fullmatch(text, previous, start - 1):
            break
        found.append(previous)
        start = previous
    for begin in reversed(found):
        line = text[begin : text.index("\n", begin)]
        if not line.lstrip().startswith("#") or len(line) - len(line.lstrip()) <= indent:
            return begin
    return _line_start(text, at)


def _last(text: str, node: Node) -> int:
    """Where the last value of a node ends."""
    if isinstance(node, Scalar):
        return _content_end(text, node)
    values = node.entries if isinstance(node, Sequenced) else [value for _, value in node.entries]
    return max((_last(text, value) for value in values), default=0)


def _content_end(text: str, scalar: Scalar) -> int:
    """Behind the last character that counts: of a block, its empty last lines only when they are kept."""
    raw = text[scalar.start : scalar.end]
    kept = "+" in raw.partition("\n")[0] or scalar.value.rstrip("\n") != scalar.value.rstrip()
    return scalar.end if kept else scalar.start + len(raw.rstrip())


# --- white space ----------------------------------------------------------------------------------------------------


def _space_edits(text: str) -> Iterator[_Edit]:
    spans = []

    def collect(node: Node) -> None:
        if isinstance(node, Scalar):
            end = _content_end(text, node)
            if "\n" in text[node.start : end]:
                spans.append((node.start, end))
            return
        for entry in node.entries:
            for inner in entry if isinstance(entry, tuple) else (entry,):
                collect(inner)

    collect(_root(text))
    spans.sort(reverse=True)
    for spare in _SPARE.finditer(text):
        while spans and spans[-1][1] <= spare.start():
            spans.pop()
        if not spans or spare.end() <= spans[-1][0]:
            yield spare.start(), spare.end(), "\n\n" if "\n" in spare[0] else ""
