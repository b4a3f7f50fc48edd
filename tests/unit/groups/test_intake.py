"""The intake line: answered after the commit, in the order of the commits, and rebuilt when one fails."""

from __future__ import annotations

import asyncio

import pytest
from google.rpc import error_details_pb2, status_pb2

from cuptime._gen.cuptime.v1 import group_service_pb2 as pb
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.limits import INTAKE_PENDING_MAX
from cuptime.domain.values import GroupState
from cuptime.domain.writes import InsertOrders
from cuptime.groups.ports import UNARY
from tests.unit.dispatch.rig import COFFEE, Morning, new_group, request, shop


def reason_of(raw: bytes) -> str:
    """The reason in a refusal's status."""
    status = status_pb2.Status.FromString(raw)
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "cuptime"
    return info.reason


async def test_nothing_is_answered_before_its_commit(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    gate = morning.storage.gate = asyncio.Event()
    first = asyncio.ensure_future(morning.submit(10_001, 1))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    assert await morning.storage.orders_of(1, after=0, limit=10) == []
    gate.set()
    order = await first
    assert order.name == "groups/10001/orders/1"
    assert (await morning.orders(10_001))[0].user_id == 1


async def test_what_arrives_together_is_one_commit(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=1_000))
    before = morning.storage.commits
    await asyncio.gather(*(morning.submit(10_001, n + 1) for n in range(200)))
    assert morning.storage.commits - before == 1
    assert morning.metrics.admitted == 200


async def test_a_repeat_waits_for_the_commit_of_its_first(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    gate = morning.storage.gate = asyncio.Event()
    message = request(10_001, 1, "same")
    first = asyncio.ensure_future(morning.submit_raw(message))
    for _ in range(20):
        await asyncio.sleep(0)
    repeat = asyncio.ensure_future(morning.submit_raw(message))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    assert not repeat.done()
    gate.set()
    assert await first == await repeat
    assert len(await morning.orders(10_001)) == 1


async def test_a_failed_commit_refuses_its_requests_and_rebuilds(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=2))
    await morning.submit(10_001, 1)
    morning.storage.matching = lambda writes: any(isinstance(write, InsertOrders) for write in writes)
    morning.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    message = request(10_001, 2, "lost-once")
    with pytest.raises(CuptimeError) as refusal:
        await morning.submit_raw(message)
    assert refusal.value.reason is Reason.STORAGE_UNAVAILABLE
    # The seat of the lost order is free, its request_id unused, and the group not completed by it.
    assert (await morning.groups.get(10_001)).state is GroupState.OPEN
    code, raw = await morning.submit_raw(message)
    assert code == 0
    assert pb.SubmitOrderResponse.FromString(raw).order.name == "groups/10001/orders/2"
    await morning.settle()
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    await morning.audit()


async def test_a_commit_kept_but_reported_as_failed_is_found_again(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=2))
    morning.storage.matching = lambda writes: any(isinstance(write, InsertOrders) for write in writes)
    morning.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]
    messages = [request(10_001, n, f"kept-{n}") for n in (1, 2)]
    answers = await asyncio.gather(*map(morning.submit_raw, messages), return_exceptions=True)
    assert [type(answer) for answer in answers] == [CuptimeError, CuptimeError]
    again = await asyncio.gather(*map(morning.submit_raw, messages))
    assert [code for code, _ in again] == [0, 0]
    await morning.settle()
    assert len(await morning.orders(10_001)) == 2
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    await morning.audit()


async def test_while_storage_has_too_much_to_do_the_same_commit_is_tried_again(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    morning.storage.failures = [Reason.OVERLOADED] * 3
    order = await morning.submit(10_001, 1)
    assert order.name.endswith("/1")


async def test_a_full_queue_refuses_with_a_time_to_wait(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    gate = morning.storage.gate = asyncio.Event()
    first = asyncio.ensure_future(morning.submit(10_001, 1))
    for _ in range(20):
        await asyncio.sleep(0)
    message = request(10_001, 2, "x").SerializeToString()
    waiting = [
        asyncio.ensure_future(morning.intake.submit(UNARY, message)) for _ in range(INTAKE_PENDING_MAX)
    ]
    await asyncio.sleep(0)
    with pytest.raises(CuptimeError) as refusal:
        await morning.intake.submit(UNARY, message)
    assert refusal.value.reason is Reason.OVERLOADED
    assert int(refusal.value.metadata["retry_after_ms"]) > 0
    gate.set()
    await first
    answers = await asyncio.gather(*waiting)
    assert len(set(answers)) == 1
    assert len(await morning.orders(10_001)) == 2


async def test_refusals_have_their_reasons_and_are_kept(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10, purchase_limit=1))
    await morning.submit(10_001, 1)
    cases = {
        "GROUP_NOT_FOUND": request(10_999, 1, "a"),
        "CREDIT_BELOW_MINIMUM": request(10_001, 2, "b", credit=84),
        "PURCHASE_LIMIT": request(10_001, 1, "c"),
        "SKU_NOT_OFFERED": request(10_001, 2, "d", sku="unknown"),
        "STOCK_SNAPSHOT_STALE": request(10_001, 2, "e", stock_snapshot=10**6),
        "FIELD_INVALID": request(10_001, 2, "f", quantity=101),
        "REQUEST_ID_REUSED": request(10_001, 3, "request-1"),
    }
    for reason, message in cases.items():
        code, raw = await morning.submit_raw(message)
        assert code != 0
        assert reason_of(raw) == reason
        assert await morning.submit_raw(message) == (code, raw)
    kept = await morning.storage.refusal("b")
    assert kept is not None
    assert kept.reason == "CREDIT_BELOW_MINIMUM"
    await morning.reboot()
    code, raw = await morning.submit_raw(cases["CREDIT_BELOW_MINIMUM"])
    assert reason_of(raw) == "CREDIT_BELOW_MINIMUM"


async def test_stock_is_not_promised_twice(morning: Morning) -> None:
    await morning.shops.upsert([shop(n, stock=((COFFEE, 5 if n == 1 else 0),)) for n in (1, 2, 3)])
    await morning.groups.create(new_group(10_001, capacity=10))
    await morning.submit(10_001, 1, quantity=3)
    code, raw = await morning.submit_raw(request(10_001, 2, "too-many", quantity=3))
    assert reason_of(raw) == "STOCK_EXHAUSTED"
    await morning.submit(10_001, 3, quantity=2)
    await morning.groups.complete(10_001)
    await morning.settle()
    assert await morning.outcomes(10_001) == ["ASSIGNED", "ASSIGNED"]
    await morning.groups.create(new_group(10_002))
    code, raw = await morning.submit_raw(request(10_002, 2, "none-left"))
    assert (code, reason_of(raw)) == (9, "STOCK_EXHAUSTED")
    await morning.cancellations.cancel(10_001, 1)
    await morning.submit(10_002, 2, quantity=3)
    await morning.audit()


async def test_batches_are_atomic_and_streams_are_not(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=10))
    bad = request(10_001, 2, "bad", credit=1)
    code, _ = await morning.batch([request(10_001, 1, "good"), bad])
    assert code != 0
    assert await morning.orders(10_001) == []
    answer = await morning.ingest([request(10_001, 1, "good"), bad, request(10_001, 3, "good-too")])
    assert [result.order for result in answer.results] == [
        "groups/10001/orders/1",
        "",
        "groups/10001/orders/2",
    ]
    assert answer.results[1].status.reason == "CREDIT_BELOW_MINIMUM"


async def test_rules_refuse_and_their_hits_are_counted(morning: Morning) -> None:
    await morning.book.publish(
        'rules:\n  - {name: no_gold, condition: "user.tier == \'gold\'", action: "refuse: not today"}\n'
    )
    await morning.groups.create(new_group(10_001))
    _, raw = await morning.submit_raw(request(10_001, 1, "a"))
    assert reason_of(raw) == "RULE_REFUSED"
    assert morning.metrics.hits == {"no_gold": 1}
    assert morning.book.counters() == {"no_gold": (1, 0)}


async def test_a_restart_remembers_request_ids_seats_and_limits(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=3, purchase_limit=1))
    message = request(10_001, 1, "before-the-restart")
    first = await morning.submit_raw(message)
    await morning.reboot()
    assert await morning.submit_raw(message) == first
    _, raw = await morning.submit_raw(request(10_001, 1, "another"))
    assert reason_of(raw) == "PURCHASE_LIMIT"
    await morning.submit(10_001, 2)
    await morning.submit(10_001, 3)
    await morning.settle()
    assert (await morning.groups.get(10_001)).state is GroupState.DECIDED
    await morning.audit()


async def test_a_restart_remembers_which_groups_are_closed(morning: Morning) -> None:
    await morning.groups.create(new_group(10_001, capacity=2))
    await morning.groups.create(new_group(10_002))
    await morning.submit(10_001, 1)
    await morning.submit(10_001, 2)
    await morning.groups.complete(10_002)
    await morning.settle()
    await morning.reboot()
    states = [(await morning.groups.get(group_id)).state for group_id in (10_001, 10_002)]
    assert states == [GroupState.DECIDED, GroupState.FAILED]
    for group_id, reason in (
        (10_001, "GROUP_NOT_OPEN"),
        (10_002, "GROUP_NOT_OPEN"),
        (10_003, "GROUP_NOT_FOUND"),
    ):
        _, raw = await morning.submit_raw(request(group_id, 3, f"late-{group_id}"))
        assert reason_of(raw) == reason
