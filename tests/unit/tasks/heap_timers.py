"""The core's timers in plain Python: an ordered heap. What the wheel's contract says and nothing else."""

from __future__ import annotations

import heapq

from cuptime.tasks.columns import packed, unpacked


class HeapTimers:
    """Exact to the millisecond, in the order of due time, then of arming. Never goes back."""

    def __init__(self, start_ms: int = 0, capacity: int = 1 << 30) -> None:
        self._now_ms = start_ms
        self._capacity = capacity
        self._heap: list[tuple[int, int, int]] = []
        self._armed: dict[int, tuple[int, int]] = {}
        self._order = 0

    def arm(self, ids: bytes, due_ms: bytes) -> int:
        pairs = list(zip(unpacked(ids), unpacked(due_ms), strict=True))
        if len(self._armed.keys() | {name for name, _ in pairs}) > self._capacity:
            raise OverflowError("full")
        for name, due in pairs:
            self._put(name, due)
        return len(pairs)

    def arm_one(self, name: int, due_ms: int) -> None:
        if name not in self._armed and len(self._armed) >= self._capacity:
            raise OverflowError("full")
        self._put(name, due_ms)

    def _put(self, name: int, due_ms: int) -> None:
        if due_ms < 0:
            raise ValueError("an instant is not negative")
        self._order += 1
        self._armed[name] = (due_ms, self._order)
        heapq.heappush(self._heap, (max(due_ms, self._now_ms), self._order, name))

    def disarm(self, ids: bytes) -> int:
        return sum(self.disarm_one(name) for name in unpacked(ids))

    def disarm_one(self, name: int) -> bool:
        return self._armed.pop(name, None) is not None

    def _front(self) -> tuple[int, int, int] | None:
        while self._heap and self._armed.get(self._heap[0][2], (0, 0))[1] != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0] if self._heap else None

    def advance(self, now_ms: int, limit: int) -> tuple[bytes, bytes, bool]:
        ids: list[int] = []
        dues: list[int] = []
        while (front := self._front()) is not None and front[0] <= now_ms:
            if len(ids) == limit:
                self._now_ms = max(self._now_ms, front[0])
                return packed(ids), packed(dues), False
            heapq.heappop(self._heap)
            ids.append(front[2])
            dues.append(self._armed.pop(front[2])[0])
        self._now_ms = max(self._now_ms, now_ms)
        return packed(ids), packed(dues), True

    def next_event_ms(self) -> int | None:
        front = self._front()
        return None if front is None else max(front[0], self._now_ms)

    def __len__(self) -> int:
        return len(self._armed)
