"""Which of the provisional assignments a pass looks at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cuptime.dispatch.provisional import Provisional, ProvisionalBook
from cuptime.domain.clock import ManualClock
from tests.contract.rows import decision


class Bodies:
    """Of the book's two: when an assignment is committed."""

    def bound_by_rules(self, body: bytes) -> bool:
        return False

    def provisional_until_ms(self, body: bytes) -> int:
        return int(body)


def book(commits_ms: Iterable[int]) -> ProvisionalBook:
    bodies: Any = Bodies()
    made = ProvisionalBook(ManualClock(0), bodies)
    made.read_back(
        decision(order_id, body=str(commit_ms).encode()) for order_id, commit_ms in enumerate(commits_ms, 1)
    )
    return made


def ids(chosen: list[Provisional]) -> list[int]:
    return [entry.row.order_id for entry in chosen]


def test_everyone_is_looked_at_in_turn() -> None:
    made = book(range(1_000, 1_010))
    assert [ids(made.choose(4, 0)) for _ in range(4)] == [
        [1, 2, 3, 4],
        [5, 6, 7, 8],
        [1, 2, 9, 10],
        [3, 4, 5, 6],
    ]


def test_whoever_is_committed_before_the_next_pass_is_looked_at_again() -> None:
    made = book(range(1_000, 1_010))
    assert ids(made.choose(4, 0)) == [1, 2, 3, 4]
    assert ids(made.choose(4, 1_002)) == [1, 2, 5, 6]


def test_what_was_moved_is_new() -> None:
    made = book(range(1_000, 1_010))
    first = made.choose(10, 0)[0]
    made.replaced(first, first.row, 2_000)
    assert ids(made.choose(1, 0)) == [1]
