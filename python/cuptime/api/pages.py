"""Page sizes and page tokens (AIP-158). A token is opaque to callers and belongs to one list and its filters."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from cuptime.domain.errors import CuptimeError, Reason, invalid
from cuptime.domain.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX

PAGE_BYTES_MAX: Final = 3 * 1024 * 1024
"""Of the entries of one answer: a plain gRPC client takes no message above 4 MiB."""


class _Message(Protocol):
    def ByteSize(self) -> int: ...  # noqa: N802  (protobuf's name)


_Row = TypeVar("_Row")
_Shown = TypeVar("_Shown", bound=_Message)


def page_size(wanted: int) -> int:
    """0 is the default; more than the maximum is the maximum; negative is refused."""
    if wanted < 0:
        raise invalid("page_size", f"0 to {PAGE_SIZE_MAX}", wanted)
    return min(wanted or PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)


def _mark(list_name: str) -> bytes:
    return hashlib.blake2b(list_name.encode(), digest_size=4).digest()


def token(list_name: str, cursor: int) -> str:
    """`list_name` names the list with its filters, so that a token of another list is refused."""
    return base64.urlsafe_b64encode(_mark(list_name) + cursor.to_bytes(8, "big")).decode().rstrip("=")


def cursor(list_name: str, page_token: str, start: int) -> int:
    """The cursor in a token; `start` for the first page."""
    if not page_token:
        return start
    try:
        raw = base64.b64decode(page_token + "=" * (-len(page_token) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    found = int.from_bytes(raw[4:], "big")
    if len(raw) != 12 or raw[:4] != _mark(list_name) or found >= 1 << 63:
        raise CuptimeError(
            Reason.PAGE_TOKEN_INVALID,
            "the page token is not one that this list gave with these filters; begin again without one",
            field="page_token",
        )
    return found


def cut(list_name: str, rows: Sequence[_Row], shown: list[_Shown], cursor_of: Callable[[_Row], int]) -> str:
    """Shortens `shown`, the messages of `rows`, to what one answer may carry; the token of the page behind it, "" when
    there is none. Rows are read one beyond the page, where there are more."""
    del shown[fit(shown) :]
    return token(list_name, cursor_of(rows[len(shown) - 1])) if len(rows) > len(shown) else ""


def fit(messages: Sequence[_Message]) -> int:
    """How many of the messages one answer may carry: at least the first, and what stays under PAGE_BYTES_MAX."""
    room = PAGE_BYTES_MAX
    for count, message in enumerate(messages):
        room -= message.ByteSize()
        if room < 0:
            return max(count, 1)
    return len(messages)
