"""Rows for the storage suites: complete, and different from each other in every field that matters."""

from __future__ import annotations

from msgspec.structs import astuple

from cuptime.domain.values import (
    Caller,
    CatchUp,
    DecisionRow,
    Group,
    GroupState,
    InterventionRow,
    OrderRow,
    OrderState,
    Outcome,
    Overlap,
    RefusalRow,
    RequestRow,
    RiderRow,
    RuleRevisionRow,
    Schedule,
    ScheduleChangeKind,
    ScheduleChangeRow,
    SchedulePolicy,
    ScheduleState,
    ShopRow,
    StockRow,
    Task,
    TaskContext,
    TaskState,
    Timing,
    TimingKind,
    order_id_of,
)

Row = tuple[object, ...]


def group(seq: int, **changes: object) -> Group:
    fields: dict[str, object] = {
        "group_seq": seq, "group_id": 10_000 + seq, "park": "North 北", "latitude": 31.2 + seq, "longitude": -0.5,
        "capacity": 40, "min_size": 3, "deadline_ms": 1_000 + seq, "purchase_limit": 2, "pack_out_after_ms": 7,
        "deliver_within_ms": 8, "state": GroupState.OPEN, "member_count": 0, "created_ms": 5 + seq,
    }  # fmt: skip
    return Group(**(fields | changes))  # type: ignore[arg-type]


def order(group_seq: int, number: int, **changes: object) -> OrderRow:
    fields: dict[str, object] = {
        "order_id": order_id_of(group_seq, number), "user_id": 77 + number, "request_id": f"r-{group_seq}-{number}",
        "fingerprint": -(2**63) + number, "sku": "拿铁", "quantity": number, "created_ms": 100 * group_seq + number,
        "rule_revision": 3, "state": OrderState.ADMITTED, "body": bytes([number % 256]) * 3,
    }  # fmt: skip
    return OrderRow(**(fields | changes))  # type: ignore[arg-type]


def row_of(value: OrderRow | RefusalRow | DecisionRow) -> Row:
    """The plain tuple in field order; a decision without its sequence."""
    row = astuple(value)
    return row[1:] if isinstance(value, DecisionRow) else row


def refusal(number: int, **changes: object) -> RefusalRow:
    fields: dict[str, object] = {
        "request_id": f"refused-{number}", "fingerprint": number, "group_id": 10_001, "user_id": 5,
        "reason": "PURCHASE_LIMIT", "created_ms": 1_000 + number, "status": b"\x08\x09",
    }  # fmt: skip
    return RefusalRow(**(fields | changes))  # type: ignore[arg-type]


def decision(order_id: int, outcome: Outcome = Outcome.ASSIGNED, **changes: object) -> DecisionRow:
    fields: dict[str, object] = {
        "sequence": 0, "order_id": order_id, "attempt": 1, "outcome": outcome, "shop_id": 1, "rider_id": 9,
        "priority": 10, "completed_ms": 50, "decided_ms": 60, "rule_revision": 3, "sku": "latte", "quantity": 2,
        "cold": True, "pack_out_ms": 1_000, "pickup_ms": 2_000, "body": b"why",
    }  # fmt: skip
    return DecisionRow(**(fields | changes))  # type: ignore[arg-type]


def task(task_id: int, **changes: object) -> Task:
    fields: dict[str, object] = {
        "task_id": task_id, "queue": "brew", "payload": b"\x00p", "due_ms": 1_000 + task_id, "priority": 50,
        "max_retries": 2, "backoff_ms": 1_000, "state": TaskState.SCHEDULED, "created_ms": 1, "updated_ms": 2,
        "scheduled_ms": 3, "context": TaskContext(10_001, "1.2", 7, 99) if task_id % 2 else None,
    }  # fmt: skip
    return Task(**(fields | changes))  # type: ignore[arg-type]


def full_task(task_id: int) -> Task:
    """Every field differs from its default."""
    return task(
        task_id, state=TaskState.FAILED, retry_count=1, trigger_id="t", trigger_ms=4, execution_id="e", attempt=2,
        lease_until_ms=5, worker="w", result_hash=b"h" * 32, result=b"r", error_code="E", error_message="m",
        retriable=True, failed_input=b"f", schedule_seq=6, generation=7, nominal_ms=8, traceparent="00-ab",
        overlap=Overlap.BUFFER_ALL, buffered_ms=9, bucket_ms=60_000,
        context=TaskContext(10_001, "1.2", 7, 99),
    )  # fmt: skip


def schedule(seq: int, **changes: object) -> Schedule:
    fields: dict[str, object] = {
        "schedule_seq": seq, "schedule_id": f"s{seq}",
        "timing": Timing(TimingKind.CRON, "0 10 * * 3", 11, "Asia/Shanghai", 12, 13), "target": b"\x01",
        "state": ScheduleState.ACTIVE, "generation": 1, "anchor_ms": 14, "planned_until_ms": 15, "next_ms": 16,
        "fire_count": 17, "note": "每周三", "created_ms": 18, "updated_ms": 19,
        "policy": SchedulePolicy(5, 6, CatchUp.BOUNDED, 7, 8, Overlap.SKIP),
        "labels": (("park", "minhang"), ("shop", "3")),
        "run_count": 20, "missed_count": 21,
    }  # fmt: skip
    return Schedule(**(fields | changes))  # type: ignore[arg-type]


def schedule_change(number: int, **changes: object) -> ScheduleChangeRow:
    fields: dict[str, object] = {
        "sequence": 0, "schedule_seq": number, "schedule_id": f"s{number}", "kind": ScheduleChangeKind.PAUSED,
        "at_ms": number, "generation": 2, "caller": Caller("王", "ipv4:127.0.0.1:9"), "request_id": "r",
        "detail": "d", "before": b"b", "after": b"a",
    }  # fmt: skip
    return ScheduleChangeRow(**(fields | changes))  # type: ignore[arg-type]


def revision(number: int) -> RuleRevisionRow:
    return RuleRevisionRow(number, f"digest-{number}", "rules: []", "note", 5, 2)


def intervention(order_id: int, **changes: object) -> InterventionRow:
    fields: dict[str, object] = {"order_id": order_id, "attempts": 3, "created_ms": 70}
    return InterventionRow(**(fields | changes))  # type: ignore[arg-type]


def shop(shop_id: int, etag: int = 1) -> ShopRow:
    return ShopRow(shop_id, b"shop", 300, 40, 5, etag)


def rider(rider_id: int, etag: int = 1) -> RiderRow:
    return RiderRow(rider_id, b"rider", 6, 5, etag)


def stock(shop_id: int, sku: str, on_hand: int) -> StockRow:
    return StockRow(shop_id, sku, on_hand)


def request(number: int, **changes: object) -> RequestRow:
    fields: dict[str, object] = {
        "request_id": f"req-{number}", "method": "RegisterSchedule", "fingerprint": -number, "response": b"ok",
        "expires_ms": 1_000 + number,
    }  # fmt: skip
    return RequestRow(**(fields | changes))  # type: ignore[arg-type]
