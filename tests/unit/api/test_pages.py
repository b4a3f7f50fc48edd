"""Page tokens belong to one list; an answer carries what a plain client takes."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuptime.api import pages
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX


class Sized:
    def __init__(self, size: int) -> None:
        self._size = size

    def ByteSize(self) -> int:
        return self._size


@given(st.text(), st.integers(0, (1 << 63) - 1))
def test_a_token_gives_its_cursor_back(list_name: str, at: int) -> None:
    assert pages.cursor(list_name, pages.token(list_name, at), 5) == at


def test_without_a_token_a_list_begins() -> None:
    assert pages.cursor("tasks/", "", 7) == 7


def altered(token: str) -> str:
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[0] ^= 1
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        pages.token("tasks/state=FAILED", 3),
        pages.token("tasks/", 3)[:-1],
        pages.token("tasks/", 3) + "AAAA",
        pages.token("tasks/", 1 << 63),
        altered(pages.token("tasks/", 3)),
        "é",
        "====",
        "a" * 100_000,
    ],
)
def test_a_token_of_another_list_or_none_at_all_is_refused(token: str) -> None:
    with pytest.raises(CuptimeError) as refused:
        pages.cursor("tasks/", token, 0)
    assert (refused.value.reason, refused.value.field) == (Reason.PAGE_TOKEN_INVALID, "page_token")


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        (0, PAGE_SIZE_DEFAULT),
        (1, 1),
        (PAGE_SIZE_MAX, PAGE_SIZE_MAX),
        (PAGE_SIZE_MAX + 1, PAGE_SIZE_MAX),
        ((1 << 31) - 1, PAGE_SIZE_MAX),
    ],
)
def test_page_sizes(wanted: int, size: int) -> None:
    assert pages.page_size(wanted) == size


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(CuptimeError) as refused:
        pages.page_size(-1)
    assert (refused.value.reason, refused.value.field) == (Reason.FIELD_INVALID, "page_size")


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([], 0),
        ([pages.PAGE_BYTES_MAX], 1),
        ([pages.PAGE_BYTES_MAX + 1], 1),
        ([pages.PAGE_BYTES_MAX + 1, 1], 1),
        ([pages.PAGE_BYTES_MAX - 1, 1, 1], 2),
        ([1] * 9, 9),
    ],
)
def test_an_answer_carries_what_fits_and_at_least_one(sizes: list[int], count: int) -> None:
    assert pages.fit([Sized(size) for size in sizes]) == count


@pytest.mark.parametrize(
    ("rows", "sizes", "left", "behind"),
    [
        ([], [], 0, None),
        ([4], [1], 1, None),
        ([4, 5], [1], 1, 4),
        ([4, 5, 6], [1, 1], 2, 5),
        ([4, 5, 6], [1, pages.PAGE_BYTES_MAX, 1], 1, 4),
        ([4, 5], [1, pages.PAGE_BYTES_MAX], 1, 4),
    ],
)
def test_a_page_ends_where_the_next_begins(
    rows: list[int], sizes: list[int], left: int, behind: int | None
) -> None:
    shown = [Sized(size) for size in sizes]
    token = pages.cut("tasks/", rows, shown, lambda row: row)
    assert len(shown) == left
    assert token == ("" if behind is None else pages.token("tasks/", behind))
