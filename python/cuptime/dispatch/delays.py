"""The delay queue's terms: when an order is tried again, when a person must help, and how a task says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import DISPATCH_RETRIES_MAX
from cuptime.domain.ports import TaskQueue
from cuptime.domain.values import Task

DISPATCH_RETRY_QUEUE: Final = "cuptime.dispatch_retry"
BACKOFF_MS: Final = (1_000, 4_000, 15_000)
"""Before the second, third and fourth attempt."""
NO_ROOM_BACKOFF_MS: Final = 60_000
"""When as many orders wait for a person as may: then each is tried again once a minute, which may also help it."""
TASK_TRIES_MAX: Final = 100
"""A retry that meets a fault of the service (not a decision) comes again so often."""


def retried(attempt: int) -> bool:
    """Is an order that attempt number `attempt` left unassigned tried again?"""
    return attempt <= DISPATCH_RETRIES_MAX


def retry_task(tasks: TaskQueue, order_ids: Sequence[int], attempt: int, due_ms: int) -> Task:
    """The durable wait for attempt number `attempt`."""
    payload = json.dumps({"attempt": attempt, "orders": list(order_ids)}, separators=(",", ":")).encode()
    return tasks.new_task(DISPATCH_RETRY_QUEUE, payload, due_ms, max_retries=TASK_TRIES_MAX)


def backoff_ms(attempt: int) -> int:
    """How long after attempt number `attempt` the next one comes."""
    return BACKOFF_MS[min(attempt, len(BACKOFF_MS)) - 1]


def read_payload(payload: bytes) -> tuple[int, list[int]]:
    """Attempt and order ids. Raises MESSAGE_MALFORMED."""
    try:
        content = json.loads(payload)
        attempt, orders = int(content["attempt"]), [int(order) for order in content["orders"]]
    except (ValueError, KeyError, TypeError) as fault:
        raise CuptimeError(
            Reason.MESSAGE_MALFORMED, f"the payload is not a retry: {fault}", field="payload"
        ) from None
    return attempt, orders
