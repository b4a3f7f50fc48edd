"""What a firing does. The bytes of a target mean something to the API only; here they become a task."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from cuptime.domain.values import TaskContext


class Firing(Struct, frozen=True):
    """The task that a firing is made into. Opening a group is a task of the internal queue `cuptime.open_group`."""

    queue: str
    payload: bytes
    priority: int = 50
    max_retries: int = 2
    backoff_ms: int = 1_000
    bucket_ms: int = 0
    context: TaskContext | None = None
    """Of this firing: its timestamp is the nominal time."""


class TargetPort(Protocol):
    """Implemented by the API layer."""

    def task_of(self, target: bytes, schedule_id: str, nominal_ms: int, firing_number: int) -> Firing:
        """The task of one firing. Pure: the same arguments give the same task, however often it is asked.

        `firing_number` counts the firings that were ever planned for the schedule, from 0. A change of the schedule
        cancels planned firings and their numbers are not used again, so numbers grow and may have gaps.
        """
        ...
