"""W3C trace context: read what is valid, pass it on, begin anew otherwise."""

from __future__ import annotations

import pytest

from cuptime.telemetry.trace import next_hop, parse

HEADER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TOKEN = "0123456789abcdef0123456789abcdef"


def test_a_valid_header_goes_on_with_a_new_parent() -> None:
    incoming = parse(HEADER)
    assert incoming is not None
    assert incoming.header() == HEADER
    hop = next_hop(incoming, TOKEN)
    assert (hop.trace_id, hop.flags) == (incoming.trace_id, "01")
    assert hop.parent_id == TOKEN[16:]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        HEADER + "-extra",
    ],
)
def test_what_is_not_valid_is_not_taken(header: str) -> None:
    assert parse(header) is None


def test_without_a_caller_a_trace_begins_unsampled() -> None:
    hop = next_hop(None, TOKEN)
    assert (hop.trace_id, hop.flags) == (TOKEN, "00")
    assert parse(hop.header()) == hop
