"""W3C trace context (https://www.w3.org/TR/trace-context/): read it, pass it on, put it on every log line.

The service makes no spans of its own yet: it takes the caller's trace into logs, into durable tasks and out to
workers, with a fresh parent id at each hop, so that a collector beside it can join the ends.
"""

from __future__ import annotations

import re
from typing import Final

from msgspec import Struct

HEADER: Final = "traceparent"
_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class TraceContext(Struct, frozen=True):
    trace_id: str
    parent_id: str
    flags: str

    def header(self) -> str:
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags}"


def parse(header: str) -> TraceContext | None:
    """None when the header is absent or not valid, as the standard asks."""
    found = _FORM.fullmatch(header)
    if found is None or set(found.group(1)) == {"0"} or set(found.group(2)) == {"0"}:
        return None
    return TraceContext(found.group(1), found.group(2), found.group(3))


def next_hop(incoming: TraceContext | None, token: str) -> TraceContext:
    """The context of what this service does: the caller's trace, or a new unsampled one; `token` is 32 hex digits."""
    if incoming is None:
        return TraceContext(token, token[16:], "00")
    return TraceContext(incoming.trace_id, token[16:], incoming.flags)
