"""The schedules that fire or may fire again, held in memory as storage has them, so that no call reads them back.

A cache: filled at start, written to after each commit, in the schedule's turn. What is finished or unregistered is not
held; who asks for it reads storage. When a commit fails in a way that leaves open whether it was kept, the schedule is
doubted: whoever needs it next has storage say what became of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from cuptime.domain.ports import Storage
from cuptime.domain.values import Schedule, ScheduleState

LOAD_PAGE: Final = 2_000
HELD: Final = (ScheduleState.ACTIVE, ScheduleState.PAUSED)


class Book:
    """Active and paused schedules by id and by sequence; at most `SCHEDULES_MAX`, which registration sees to."""

    def __init__(self) -> None:
        self._by_id: dict[str, Schedule] = {}
        self._by_seq: dict[int, Schedule] = {}
        self._doubted: set[str] = set()

    def __len__(self) -> int:
        return len(self._by_seq)

    async def load(self, storage: Storage) -> None:
        """Everything from storage; before anybody is let in."""
        for state in HELD:
            after = 0
            while page := await storage.schedules(after=after, limit=LOAD_PAGE, state=state):
                after = page[-1].schedule_seq
                for schedule in page:
                    self.put(schedule)

    def get(self, schedule_id: str) -> Schedule | None:
        return self._by_id.get(schedule_id)

    def by_seq(self, schedule_seq: int) -> Schedule | None:
        return self._by_seq.get(schedule_seq)

    def put(self, schedule: Schedule) -> None:
        """After its commit."""
        if schedule.state in HELD:
            self._by_id[schedule.schedule_id] = self._by_seq[schedule.schedule_seq] = schedule
        else:
            self._drop(schedule.schedule_id)

    def pages(self, size: int) -> Iterator[list[Schedule]]:
        """All of them as they are when each page is made; what comes meanwhile may be missing."""
        names = iter(list(self._by_seq))
        while page := list(islice(names, size)):
            yield [held for name in page if (held := self._by_seq.get(name)) is not None]

    # --- doubt ----------------------------------------------------------------------------------------------------
    def doubt(self, schedule_id: str) -> None:
        """A commit about it failed, and storage may have kept it all the same."""
        self._drop(schedule_id)
        self._doubted.add(schedule_id)

    def doubts(self, schedule_id: str) -> bool:
        return schedule_id in self._doubted

    def doubted(self) -> list[str]:
        return sorted(self._doubted)

    def believe(self, schedule_id: str, stored: Schedule | None) -> None:
        """What storage says about a doubted one."""
        self._doubted.discard(schedule_id)
        if stored is not None:
            self.put(stored)

    def _drop(self, schedule_id: str) -> None:
        held = self._by_id.pop(schedule_id, None)
        if held is not None:
            self._by_seq.pop(held.schedule_seq, None)
