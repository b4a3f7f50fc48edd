"""Columns of 64-bit integers as the core takes and gives them: little-endian bytes."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable
from typing import Final

_SWAP: Final = sys.byteorder == "big"


def packed(values: Iterable[int]) -> bytes:
    """The values as little-endian signed 64-bit integers."""
    column = array("q", values)
    if _SWAP:
        column.byteswap()
    return column.tobytes()


def unpacked(column: bytes) -> list[int]:
    """The opposite of :func:`packed`."""
    values = array("q")
    values.frombytes(column)
    if _SWAP:
        values.byteswap()
    return values.tolist()
