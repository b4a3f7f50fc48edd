"""An equal hash runs once: what was executed is copied, what is being executed is waited for.

Only tasks with a business context can repeat each other; the hash of any other has its own identity in it.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from cuptime.domain.values import Task
from cuptime.tasks.means import Means


class Admitted(Struct):
    """Tasks that are about to run, sorted by what shall become of them."""

    run: list[Task] = field(default_factory=list)
    copies: list[tuple[Task, Task]] = field(default_factory=list)
    """(task, the executed one whose result it takes)."""
    wait: list[Task] = field(default_factory=list)
    """An equal one runs: to be given to :meth:`Repeats.park` once they are TRIGGERED."""


class Repeats:
    """Who runs under which hash. A claim lasts from :meth:`admit` to :meth:`ended`."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._claims: dict[bytes, int] = {}
        self._parked: dict[bytes, list[Task]] = {}

    async def admit(self, tasks: Sequence[Task]) -> Admitted:
        """Claims the hashes of what may run."""
        admitted = Admitted()
        for task in tasks:
            if task.context is None or not task.result_hash:
                admitted.run.append(task)
            elif self._claims.setdefault(task.result_hash, task.task_id) != task.task_id:
                admitted.wait.append(task)
            else:
                executed = await self._means.persist(self._means.storage.executed_result, task.result_hash)
                if executed is None:
                    admitted.run.append(task)
                else:
                    self._drop(task)
                    admitted.copies.append((task, executed))
        return admitted

    def park(self, tasks: Sequence[Task]) -> list[Task]:
        """Keeps TRIGGERED tasks until the equal one has ended; returns those for which it has."""
        free = []
        for task in tasks:
            if task.result_hash in self._claims:
                self._parked.setdefault(task.result_hash, []).append(task)
            else:
                free.append(task)
        return free

    def ended(self, task: Task) -> list[Task]:
        """The attempt or the task is over; returns the parked ones that may be tried now."""
        if task.context is None or not self._drop(task):
            return []
        return self._parked.pop(task.result_hash, [])

    def _drop(self, task: Task) -> bool:
        if self._claims.get(task.result_hash) != task.task_id:
            return False
        del self._claims[task.result_hash]
        return True
