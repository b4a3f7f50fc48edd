"""Watching decisions: nothing is skipped, nothing comes twice, however slow the watcher and however they interleave."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.dispatch.feed import DecisionFeed
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Sequences
from cuptime.domain.values import DecisionRow
from tests.unit.dispatch.rig import Morning


async def collect(feed: DecisionFeed, after: int, until: int, group_seq: int | None = None) -> list[int]:
    """The sequence numbers seen from `after` on, up to `until`."""
    seen: list[int] = []
    stream = feed.watch(after, group_seq)
    async for rows in stream:
        seen += [row.sequence for row in rows]
        if seen[-1] >= until:
            break
    await stream.aclose()  # type: ignore[attr-defined]
    return seen


async def test_from_the_beginning_from_now_and_of_one_group(morning: Morning) -> None:
    await morning.full_group(10_001)
    from_the_beginning = asyncio.ensure_future(collect(morning.feed, 0, 9))
    from_now = asyncio.ensure_future(collect(morning.feed, -1, 9))
    one_group = asyncio.ensure_future(collect(morning.feed, 0, 6, 2))
    for _ in range(5):
        await asyncio.sleep(0)
    await morning.full_group(10_002)
    await morning.full_group(10_003)
    assert await asyncio.wait_for(from_the_beginning, 5) == list(range(1, 10))
    assert await asyncio.wait_for(from_now, 5) == list(range(4, 10))
    assert await asyncio.wait_for(one_group, 5) == [4, 5, 6]
    assert len(morning.feed) == 0


async def test_the_stop_of_the_server_ends_watches(morning: Morning) -> None:
    watching = asyncio.ensure_future(collect(morning.feed, 0, 10**9))
    for _ in range(5):
        await asyncio.sleep(0)
    morning.feed.stop()
    with pytest.raises(CuptimeError) as refusal:
        await asyncio.wait_for(watching, 5)
    assert refusal.value.reason is Reason.DRAINING


class Ledger:
    """Storage, as far as the feed looks."""

    def __init__(self) -> None:
        self.rows: list[DecisionRow] = []
        self.reads = 0

    async def sequences(self) -> Sequences:
        return Sequences(0, 0, 0, 0, len(self.rows))

    async def decisions(self, *, after: int, limit: int, group_seq: int | None = None) -> list[DecisionRow]:
        self.reads += 1
        await asyncio.sleep(0)
        found = [row for row in self.rows if row.sequence > after]
        await asyncio.sleep(0)
        return found[:limit]


def row_of(sequence: int) -> DecisionRow:
    return DecisionRow(sequence, sequence, 1, 1, 0, 0, 0, 0, 0, 0, "", 1, False, 0, 0, b"")  # type: ignore[arg-type]


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=20),
    shuffles=st.randoms(use_true_random=False),
    unpublished=st.sets(st.integers(0, 19), max_size=5),
    pauses=st.lists(st.integers(0, 6), min_size=1, max_size=20),
)
def test_any_order_of_publications_is_seen_in_order(
    sizes: list[int],
    shuffles: st.randoms,
    unpublished: set[int],
    pauses: list[int],  # type: ignore[valid-type]
) -> None:
    """Commits become durable in order; their publications come in any order, and some never."""

    async def run() -> None:
        ledger = Ledger()
        feed = DecisionFeed(ledger)  # type: ignore[arg-type]
        total = sum(sizes)
        watching = [asyncio.ensure_future(collect(feed, 0, total)) for _ in range(2)]
        await asyncio.sleep(0)
        first, late = 1, []
        for number, size in enumerate(sizes):
            rows = [row_of(first + index) for index in range(size)]
            ledger.rows += rows
            if number not in unpublished:
                late.append((first, rows))
            first += size
            for _ in range(pauses[number % len(pauses)]):
                await asyncio.sleep(0)
            if shuffles.random() < 0.6:  # type: ignore[attr-defined]
                shuffles.shuffle(late)  # type: ignore[attr-defined]
                while late:
                    begin, published = late.pop()
                    feed.publish(begin, [columns(row) for row in published])
        # One publication always comes after everything is durable.
        feed.publish(total, [columns(row_of(total))])
        for seen in await asyncio.wait_for(asyncio.gather(*watching), 10):
            assert seen == list(range(1, total + 1))

    asyncio.run(run())


def columns(row: DecisionRow):  # type: ignore[no-untyped-def]
    from cuptime.dispatch.release import columns_of

    return columns_of(row)
