"""One at a time by key, first come first served, whoever gives up; and work that goes on to its end."""

from __future__ import annotations

import asyncio
import random

import pytest

from cuptime.domain.turns import Turns, to_the_end


async def turned() -> None:
    """Everything that can go on now has done so."""
    for _ in range(10):
        await asyncio.sleep(0)


class Room:
    """Who may be in it one at a time by key; notes who came in, in order."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.inside: dict[str, int] = {}
        self.came: list[int] = []
        self.doors: dict[int, asyncio.Event] = {}

    def enter(self, key: str, number: int) -> asyncio.Task[None]:
        """Stays until its door is opened."""
        self.doors[number] = asyncio.Event()
        return asyncio.ensure_future(self._stay(key, number))

    async def _stay(self, key: str, number: int) -> None:
        async with self.turns.turn(key):
            assert key not in self.inside
            self.inside[key] = number
            self.came.append(number)
            try:
                await self.doors[number].wait()
            finally:
                del self.inside[key]


async def test_a_key_is_held_by_one_and_the_next_come_in_the_order_in_which_they_asked() -> None:
    room = Room()
    visits = [room.enter("a", number) for number in range(4)]
    await turned()
    assert (room.inside, len(room.turns)) == ({"a": 0}, 1)
    for number in range(4):
        room.doors[number].set()
        await turned()
    assert room.came == [0, 1, 2, 3]
    assert len(room.turns) == 0
    await asyncio.gather(*visits)


async def test_keys_do_not_wait_for_each_other() -> None:
    room = Room()
    visits = [room.enter("a", 1), room.enter("b", 2)]
    await turned()
    assert room.inside == {"a": 1, "b": 2}
    room.doors[1].set()
    room.doors[2].set()
    await asyncio.gather(*visits)


async def test_who_gives_up_while_waiting_is_passed_over() -> None:
    room = Room()
    visits = [room.enter("a", number) for number in range(3)]
    await turned()
    visits[1].cancel()
    room.doors[0].set()
    await turned()
    assert room.came == [0, 2]
    room.doors[2].set()
    await asyncio.gather(visits[0], visits[2])
    assert len(room.turns) == 0


async def test_a_turn_that_comes_in_the_moment_of_giving_up_goes_on_to_the_next() -> None:
    room = Room()
    visits = [room.enter("a", number) for number in range(3)]
    await turned()
    # The holder leaves, which gives the turn to the next; that one is cancelled before it runs again.
    visits[0].cancel()
    await asyncio.sleep(0)
    visits[1].cancel()
    await turned()
    assert room.came == [0, 2]
    room.doors[2].set()
    await visits[2]
    assert len(room.turns) == 0


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_cancelled_nobody_is_left_waiting(seed: int) -> None:
    draw = random.Random(seed)
    room = Room()
    visits: list[asyncio.Task[None]] = []
    for number in range(60):
        visits.append(room.enter(draw.choice("ab"), number))
        for _ in range(draw.randrange(3)):
            await asyncio.sleep(0)
        chosen = draw.randrange(len(visits))
        if draw.random() < 0.5:
            visits[chosen].cancel()
        else:
            room.doors[chosen].set()
    for door in room.doors.values():
        door.set()
    async with asyncio.timeout(5):
        await asyncio.gather(*visits, return_exceptions=True)
    assert (room.inside, len(room.turns)) == ({}, 0)


async def test_work_goes_on_to_its_end_when_the_caller_hangs_up() -> None:
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await go_on.wait()
        ended.set()

    caller = asyncio.ensure_future(to_the_end(work()))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert not ended.is_set()
    go_on.set()
    async with asyncio.timeout(5):
        await ended.wait()


async def test_work_in_work_is_one_and_gives_its_answer_or_its_fault() -> None:
    async def inner() -> asyncio.Task[object] | None:
        return asyncio.current_task()

    async def outer() -> bool:
        return await to_the_end(inner()) is asyncio.current_task()

    assert await to_the_end(outer())

    async def failing() -> None:
        raise LookupError("no milk")

    with pytest.raises(LookupError, match="no milk"):
        await to_the_end(failing())
