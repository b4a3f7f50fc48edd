"""Tasks that are triggered and wait for a worker: ids by queue, in the order they shall go out.

Up to `READY_TASKS_HELD_MAX` are held in heaps by (priority, due, id). Beyond that a queue keeps bare ids, 8 bytes each,
in the order in which they came, and sorts them in again as its heap empties: a backlog of a million tasks costs 8 MB,
and within it priority holds among the tasks at the front.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator
from typing import Final

from cuptime.domain.limits import READY_TASKS_HELD_MAX
from cuptime.domain.values import Task

REFILL_BELOW: Final = 1_000
"""A queue with bare ids wants them back when its heap has fewer than this."""


class _Queue:
    __slots__ = ("beyond", "heap")

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int]] = []
        self.beyond = array("q")


class Ready:
    """What waits, by queue. Holds no rows: they are read again when they go out."""

    def __init__(self, held_max: int = READY_TASKS_HELD_MAX) -> None:
        self._queues: dict[str, _Queue] = {}
        self._held_max = held_max
        self._held = 0

    def __len__(self) -> int:
        return sum(self.depth(queue) for queue in self._queues)

    def depth(self, queue: str) -> int:
        """How many wait in a queue."""
        waiting = self._queues.get(queue)
        return len(waiting.heap) + len(waiting.beyond) if waiting else 0

    def queues(self) -> Iterator[str]:
        """Queues in which something waits."""
        return (name for name, waiting in self._queues.items() if waiting.heap or waiting.beyond)

    def put(self, tasks: Iterable[Task]) -> None:
        """Adds triggered tasks."""
        for task in tasks:
            waiting = self._queues.get(task.queue)
            if waiting is None:
                waiting = self._queues[task.queue] = _Queue()
            # Behind bare ids only bare ids: else a late task would pass them all.
            if waiting.beyond or self._held >= self._held_max:
                waiting.beyond.append(task.task_id)
            else:
                heapq.heappush(waiting.heap, (task.priority, task.due_ms, task.task_id))
                self._held += 1

    def take(self, queues: Iterable[str], count: int) -> list[int]:
        """Removes at most `count` ids from the fronts of some queues, best first over all of them."""
        heaps = [waiting.heap for queue in queues if (waiting := self._queues.get(queue)) and waiting.heap]
        taken: list[int] = []
        while heaps and len(taken) < count:
            best = min(heaps, key=_front) if len(heaps) > 1 else heaps[0]
            taken.append(heapq.heappop(best)[2])
            self._held -= 1
            if not best:
                heaps.remove(best)
        self._drop_empty(queues)
        return taken

    def wants(self) -> list[int]:
        """Removes and returns bare ids that should be read and :meth:`put_back`; [] when no queue runs low."""
        for waiting in self._queues.values():
            if waiting.beyond and len(waiting.heap) < REFILL_BELOW:
                ids = waiting.beyond[:REFILL_BELOW].tolist()
                del waiting.beyond[:REFILL_BELOW]
                return ids
        return []

    def put_back(self, tasks: Iterable[Task]) -> None:
        """Sorts in tasks that :meth:`wants` gave, whatever waits behind them."""
        for task in tasks:
            waiting = self._queues.setdefault(task.queue, _Queue())
            heapq.heappush(waiting.heap, (task.priority, task.due_ms, task.task_id))
            self._held += 1

    def _drop_empty(self, queues: Iterable[str]) -> None:
        for queue in queues:
            waiting = self._queues.get(queue)
            if waiting is not None and not waiting.heap and not waiting.beyond:
                del self._queues[queue]


def _front(heap: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    return heap[0]
