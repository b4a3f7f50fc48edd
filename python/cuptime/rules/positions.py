"""Where each character of a YAML scalar's value stands in its file.

A condition's fault is known by its place in the condition's text; people want it by line and column of the file. The
way from the one to the other goes through quotes, escapes, folds and block indents (YAML 1.2, sections 7.3 and 8.1).
Each style is walked as a parser would, noting the source offset of every character kept; the walk is checked against
the value that the parser gave, and when it disagrees (an exotic block header) the scalar's beginning is the answer.
"""

from __future__ import annotations

from typing import Final

from cuptime.rules.nodes import Scalar

_ESCAPES: Final = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_HEX_DIGITS: Final = {"x": 2, "u": 4, "U": 8}

Kept = list[tuple[str, int]]
"""The characters of the value, each with its offset in the raw text."""


def offsets(raw: str, style: str | None, value: str) -> list[int] | None:
    """For each character of `value` its offset in `raw` (the scalar as written, quotes and header included).

    `style` is PyYAML's: None or "" plain, "'", '"', "|", ">". None when the walk does not arrive at `value`.
    """
    if style == "'":
        kept = _flow(raw, 1, len(raw) - 1, _single)
    elif style == '"':
        kept = _flow(raw, 1, len(raw) - 1, _double)
    elif style in ("|", ">"):
        kept = _block(raw, folded=style == ">")
    else:
        kept = _flow(raw, 0, len(raw), None)
    text = "".join(char for char, _ in kept[: len(value)])
    return [at for _, at in kept[: len(value)]] if text == value else None


def _flow(raw: str, start: int, end: int, unescape: object) -> Kept:
    """Plain and quoted scalars: line folding is common to them, escapes are not."""
    kept: Kept = []
    at = start
    while at < end:
        char = raw[at]
        if char in " \t\r\n":
            gap = at
            while at < end and raw[at] in " \t\r\n":
                at += 1
            kept += _fold(raw, gap, at)
        elif char == "'" and unescape is _single:
            at += _single(raw, at, kept)
        elif char == "\\" and unescape is _double:
            at += _double(raw, at, kept)
        else:
            kept.append((char, at))
            at += 1
    return kept


def _fold(raw: str, start: int, end: int) -> Kept:
    """White space between two words: without a line break it stays, one break is a space, n breaks are n - 1."""
    breaks = [at for at in range(start, end) if raw[at] == "\n"]
    if not breaks:
        return [(raw[at], at) for at in range(start, end)]
    if len(breaks) == 1:
        return [(" ", breaks[0])]
    return [("\n", at) for at in breaks[1:]]


def _single(raw: str, at: int, kept: Kept) -> int:
    kept.append(("'", at))
    return 2


def _double(raw: str, at: int, kept: Kept) -> int:
    """One escape; returns how many characters it takes."""
    kind = raw[at + 1 : at + 2]
    if kind in _HEX_DIGITS:
        digits = raw[at + 2 : at + 2 + _HEX_DIGITS[kind]]
        kept.append((chr(int(digits, 16)), at))
        return 2 + len(digits)
    if kind in ("\n", "\r"):
        skipped = at + 1
        while skipped < len(raw) and raw[skipped] in " \t\r\n":
            skipped += 1
        return skipped - at
    kept.append((_ESCAPES.get(kind, ""), at))
    return 2


def _block(raw: str, *, folded: bool) -> Kept:
    """Literal and folded blocks. The indent is that of the first line that is not empty."""
    lines: list[tuple[int, str]] = []
    at = raw.find("\n") + 1
    if at == 0:
        return []
    while at < len(raw):
        end = raw.find("\n", at)
        end = len(raw) if end < 0 else end
        lines.append((at, raw[at:end]))
        at = end + 1
    first = next((text for _, text in lines if text.strip()), "")
    indent = len(first) - len(first.lstrip(" "))
    kept: Kept = []
    previous_more = True  # Nothing to fold before the first line.
    empty: list[int] = []
    pending = -1
    for begin, text in lines:
        body = text[indent:].rstrip("\r")
        if not body:
            empty.append(begin + len(text))
            continue
        more = body[0] in " \t"
        if pending >= 0:
            if not folded or more or previous_more:
                kept.append(("\n", pending))
            elif not empty:
                kept.append((" ", pending))
        kept += [("\n", place) for place in empty]
        kept += [(char, begin + indent + offset) for offset, char in enumerate(body)]
        pending, previous_more, empty = begin + len(text), more, []
    if pending >= 0:
        kept.append(("\n", pending))
    return kept + [("\n", place) for place in empty]


def position_in(source: str, scalar: Scalar, offset: int) -> tuple[int, int]:
    """Line and column (from 1) in the file of character `offset` of the scalar's value.

    An offset at or behind the end is the place behind the last character; when the way back through folds and escapes
    is not known, the scalar's beginning.
    """
    text = source.removeprefix("\ufeff")
    raw = text[scalar.start : scalar.end]
    places = offsets(raw, scalar.style, scalar.value)
    if places is None:
        return scalar.line, scalar.column
    if offset < len(places):
        at = scalar.start + places[offset]
    else:
        at = scalar.start + places[-1] + 1 if places else scalar.start
    return text.count("\n", 0, at) + 1, at - (text.rfind("\n", 0, at) + 1) + 1
