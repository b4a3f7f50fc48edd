"""Minute buckets: tasks that tolerate it are collected by queue and minute, and triggered and delivered together.

A bucket is named by its queue and the minute of its members' due times, floor(t / 60 s) * 60 s. It has one wait in
the wheel, however many members, and it is due when the last of them is: nothing comes early, what is due at the
beginning of a minute comes on time when its bucket holds nothing else, and no member comes later than its minute
ends. All that a schedule plans is in its bucket before that is due; a task that joins later makes a bucket of its
own.

Members are tasks like all others: each has its row, state, result and key. The bucket itself is nowhere on disk; like
the wheel it is rebuilt from the rows. A member that was cancelled is found out when its row is read."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from functools import partial
from typing import Final

from msgspec import Struct, field

from cuptime.domain.limits import BUCKET_BYTES_MAX, BUCKET_TASKS_MAX
from cuptime.domain.values import Task
from cuptime.tasks.wheel import IdSink, Wheel

TASK_BYTES_BESIDE: Final = 512
"""Of a task in a message, beside its payload."""

Member = tuple[int, str, int, int]
"""(task_id, queue, due_ms, bucket_ms)."""
Key = tuple[str, int]
"""(queue, beginning of the minute)."""


class _Bucket(Struct):
    due_ms: int
    name: int = 0
    """Of its wait in the wheel."""
    members: array[int] = field(default_factory=lambda: array("q"))
    """Ascending, each once: ids are given in that order, so that one joins at the end but for a retry, and is found
    by bisection among hundreds of thousands."""

    def join(self, task_id: int) -> bool:
        """False for one that is there already."""
        at = len(self.members)
        if at and task_id <= self.members[-1]:
            at = bisect_left(self.members, task_id)
            if self.members[at] == task_id:
                return False
        self.members.insert(at, task_id)
        return True

    def leave(self, task_id: int) -> bool:
        """False for one that is not there."""
        at = bisect_left(self.members, task_id)
        if at == len(self.members) or self.members[at] != task_id:
            return False
        del self.members[at]
        return True


class Buckets:
    """Waits of bucketed tasks."""

    def __init__(self, wheel: Wheel) -> None:
        self._wheel = wheel
        self._due: IdSink = lambda _: None
        self._buckets: dict[Key, _Bucket] = {}
        self._members = 0

    def connect(self, due: IdSink) -> None:
        """Who gets the ids of a bucket whose time has come."""
        self._due = due

    def __len__(self) -> int:
        """Buckets that wait."""
        return len(self._buckets)

    @property
    def member_count(self) -> int:
        """Tasks in them."""
        return self._members

    def arm(self, members: Sequence[Member]) -> None:
        """Puts tasks into their buckets. Raises LIMIT_REACHED when the wheel is full."""
        later: dict[Key, None] = {}
        for task_id, queue, due_ms, bucket_ms in members:
            key = (queue, start_of(due_ms, bucket_ms))
            bucket = self._buckets.get(key)
            if bucket is None:
                bucket = self._buckets[key] = _Bucket(due_ms)
            elif due_ms > bucket.due_ms:
                bucket.due_ms = due_ms
                self._wheel.forget(bucket.name)
                bucket.name = 0
            if not bucket.name:
                # New, later than before, or left without a wait by a wheel that was full.
                later[key] = None
            self._members += bucket.join(task_id)
        for key in later:
            bucket = self._buckets[key]
            bucket.name = self._wheel.at(bucket.due_ms, partial(self._over, key))

    def leave(self, task: Task) -> None:
        """A member that was cancelled. The others keep their time."""
        if not task.bucket_ms:
            return
        bucket = self._buckets.get(key_of(task))
        if bucket is not None and bucket.leave(task.task_id):
            self._members -= 1
            if not bucket.members:
                self._wheel.forget(bucket.name)
                del self._buckets[key_of(task)]

    def _over(self, key: Key) -> None:
        bucket = self._buckets.pop(key)
        self._members -= len(bucket.members)
        self._due(bucket.members.tolist())


def start_of(due_ms: int, bucket_ms: int) -> int:
    """The beginning of the bucket that an instant belongs to."""
    return due_ms - due_ms % bucket_ms


def key_of(task: Task) -> Key:
    """Of a bucketed task."""
    return task.queue, start_of(task.due_ms, task.bucket_ms)


def late_from_ms(task: Task) -> int:
    """From when on a task that was not triggered is late: a bucketed one when its minute is over."""
    return start_of(task.due_ms, task.bucket_ms) + task.bucket_ms if task.bucket_ms else task.due_ms


def parts(tasks: Sequence[Task]) -> list[list[Task]]:
    """Bucketed tasks as they are delivered: by bucket, in the order given, at most BUCKET_TASKS_MAX and about
    BUCKET_BYTES_MAX in a part."""
    made: list[list[Task]] = []
    open_parts: dict[Key, tuple[list[Task], int]] = {}
    for task in tasks:
        key = key_of(task)
        size = len(task.payload) + TASK_BYTES_BESIDE
        part, room = open_parts.get(key, ([], 0))
        if len(part) >= BUCKET_TASKS_MAX or room < size:
            part, room = [], BUCKET_BYTES_MAX
            made.append(part)
        part.append(task)
        open_parts[key] = (part, room - size)
    return made


def due_by_bucket(tasks: Sequence[Task]) -> dict[Key, int]:
    """When each bucket of these was due: with the last of them."""
    found: dict[Key, int] = {}
    for task in tasks:
        if task.bucket_ms:
            key = key_of(task)
            found[key] = max(task.due_ms, found.get(key, 0))
    return found
