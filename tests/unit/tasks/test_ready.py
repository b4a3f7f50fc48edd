"""What waits for a worker goes out best first; beyond what is held whole, in the order in which it came."""

from __future__ import annotations

import random

import pytest

from cuptime.domain.values import Task
from cuptime.tasks.ready import REFILL_BELOW, Ready
from tests.contract import rows


def task(task_id: int, queue: str = "brew", priority: int = 50, due_ms: int = 5) -> Task:
    return rows.task(task_id, queue=queue, priority=priority, due_ms=due_ms)


def test_the_best_of_all_queues_asked_for_goes_out_first() -> None:
    ready = Ready()
    ready.put([task(1), task(2, priority=10), task(3, "sheets", priority=20), task(4, "other", priority=1)])
    ready.put([task(5, due_ms=4)])
    assert ready.take(["brew", "sheets"], 3) == [2, 3, 5]
    assert ready.take(["brew", "sheets"], 9) == [1]
    assert list(ready.queues()) == ["other"]
    assert (len(ready), ready.depth("other"), ready.depth("brew")) == (1, 1, 0)


def test_behind_bare_ids_a_better_task_passes_nobody() -> None:
    ready = Ready(held_max=2)
    ready.put([task(1), task(2), task(3)])
    ready.put([task(4, priority=1)])
    assert ready.take(["brew"], 2) == [1, 2]
    ready.put([task(5, priority=1)])
    assert ready.take(["brew"], 9) == [], "bare ids are read again before they go out"
    assert ready.wants() == [3, 4, 5]
    ready.put_back([task(3), task(4, priority=1), task(5, priority=1)])
    assert ready.take(["brew"], 9) == [4, 5, 3]
    assert ready.wants() == []


@pytest.mark.parametrize("seed", range(5))
def test_each_goes_out_once_whatever_is_held(seed: int) -> None:
    draw = random.Random(seed)
    ready = Ready(held_max=50)
    made = {n: task(n, draw.choice(["a", "b"]), draw.randrange(1, 100)) for n in range(1, 3 * REFILL_BELOW)}
    coming = list(made.values())
    out: list[int] = []
    while coming or len(ready):
        count = draw.randrange(200)
        ready.put(coming[:count])
        del coming[:count]
        ready.put_back([made[n] for n in ready.wants()])
        took = ready.take(["a", "b"], draw.randrange(1, 300))
        out += took
        assert len(ready) == len(made) - len(coming) - len(out)
    assert sorted(out) == sorted(made)
    assert list(ready.queues()) == []
