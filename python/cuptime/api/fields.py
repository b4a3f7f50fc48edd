"""Parts that several requests have: etags, states, update masks, and the path of a field that a capability blames."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Final, TypeVar

from cuptime.domain.errors import CuptimeError, Reason, invalid, required

_State = TypeVar("_State", bound=IntEnum)
_ETAG: Final = re.compile(r"[1-9][0-9]{0,17}")


def etag_of(text: str) -> int | None:
    """The generation in an etag; None when none was given. Raises ETAG_MISMATCH for what never was an etag."""
    if not text:
        return None
    if not _ETAG.fullmatch(text):
        raise CuptimeError(Reason.ETAG_MISMATCH, field="etag", metadata={"value": text[:40]})
    return int(text)


def state_of(kind: type[_State], given: int, owner: str) -> _State | None:
    """The state that a list is filtered by; None when none was given. Raises FIELD_INVALID naming `owner`."""
    if not given:
        return None
    try:
        return kind(given)
    except ValueError:
        raise invalid("state", f"a state of {owner}", given) from None


def mask_of(paths: Sequence[str], known: frozenset[str]) -> frozenset[str]:
    """The fields of an update mask. Raises FIELD_REQUIRED when empty, FIELD_UNKNOWN for others than `known`."""
    if not paths:
        raise required("update_mask")
    for path in paths:
        if path not in known:
            raise CuptimeError(
                Reason.FIELD_UNKNOWN,
                f"update_mask names {path!r}; it may name {', '.join(sorted(known))}",
                field="update_mask",
            )
    return frozenset(paths)


@contextmanager
def below(path: str, inner: str) -> Iterator[None]:
    """Errors that blame `inner` or a field of it blame it below `path`, where this request has it."""
    try:
        yield
    except CuptimeError as error:
        if error.field != inner and not error.field.startswith(f"{inner}."):
            raise
        whole = f"{path}.{error.field}"
        message = error.message.replace(error.field, whole, 1)
        raise CuptimeError(
            error.reason, message, field=whole, metadata={**error.metadata, "field": whole}
        ) from None
