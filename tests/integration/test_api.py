"""The good path of groups, decisions, shops, riders and rules over a real server."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from cuptime._gen.cuptime.v1 import group_service_pb2 as groups_pb
from cuptime.app.served import ServedProcess
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door, Refusal, Tables, message

_ids = itertools.count(50_001)
State = groups_pb.Group


@pytest.fixture
async def parked(door: Door) -> Door:
    """With shops and riders that have everything."""
    await campus.furnish(door)
    return door


async def opened(door: Door, **fields: Any) -> int:
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, **fields))
    return group_id


async def ordered(door: Door, group_id: int, **fields: Any) -> str:
    return str(
        (await door.call("GroupService/SubmitOrder", **campus.submission(group_id, **fields))).order.name
    )


async def group_in(
    door: Door, group_id: int, state: Any, wait_until: WaitUntil, timeout: float = 10.0
) -> Any:
    async def reached() -> Any:
        group = (await door.call("GroupService/GetGroup", name=f"groups/{group_id}")).group
        return group if group.state == state else None

    return await wait_until(reached, timeout=timeout, why=f"groups/{group_id} in state {state}")


async def walked(door: Door, method: str, field: str, page_size: int, **fields: Any) -> list[Any]:
    """All pages."""
    found: list[Any] = []
    token = ""
    while True:
        page = await door.call(method, page_size=page_size, page_token=token, **fields)
        assert len(getattr(page, field)) <= page_size
        found += getattr(page, field)
        token = page.next_page_token
        if not token:
            return found
        assert len(found) < 10_000, "the walk does not end"


# --- request ids and validation -----------------------------------------------------------------------------------
def _changes() -> list[tuple[str, dict[str, Any]]]:
    """Every change that takes a request_id and can be made in a fresh world, in an order that works."""
    group_id = next(_ids)
    at = {"at_time_ms": campus.now_ms() + campus.DAY_MS}
    name = f"s{group_id}"
    target = {"task": {"queue": "never"}}
    return [
        ("ShopService/BatchUpsertShops", {"shops": [campus.shop(901)]}),
        (
            "ShopService/UpdateShop",
            {
                "shop": {"name": "shops/901", "display_name": "new"},
                "update_mask": {"paths": ["display_name"]},
            },
        ),
        (
            "ShopService/AdjustStock",
            {"changes": [{"shop": "shops/901", "sku": campus.SKU, "on_hand_delta": 5, "fridge_delta": 1}]},
        ),
        ("RiderService/BatchUpsertRiders", {"riders": [campus.rider(901)]}),
        ("GroupService/CreateGroup", {"group": campus.group(group_id)}),
        ("GroupService/SubmitOrder", campus.submission(group_id)),
        ("GroupService/CancelOrder", {"name": f"groups/{group_id}/orders/1"}),
        ("GroupService/CompleteGroup", {"name": f"groups/{group_id}", "force": True}),
        ("TaskService/EnqueueTask", {"task": {"queue": "never"}, "delay_ms": campus.DAY_MS}),
        (
            "TaskService/BatchEnqueueTasks",
            {"requests": [{"task": {"queue": "never"}, "delay_ms": campus.DAY_MS}] * 3},
        ),
        (
            "ScheduleService/RegisterSchedule",
            {"schedule": {"schedule_id": name, "timing": at, "target": target}},
        ),
        (
            "ScheduleService/UpdateSchedule",
            {"schedule": {"name": f"schedules/{name}", "note": "b"}, "update_mask": {"paths": ["note"]}},
        ),
        ("ScheduleService/PauseSchedule", {"name": f"schedules/{name}", "note": "n"}),
        ("ScheduleService/ResumeSchedule", {"name": f"schedules/{name}"}),
        ("ScheduleService/UnregisterSchedule", {"name": f"schedules/{name}"}),
        ("RuleService/PublishRules", {"source": campus.RULES, "note": "first"}),
        ("RuleService/RollBackRules", {"name": "ruleRevisions/1"}),
    ]


async def test_a_repeat_gets_the_first_answer_and_changes_nothing(
    parked: Door, served: ServedProcess, wait_until: WaitUntil
) -> None:
    tables = Tables(served.data)
    for method, fields in _changes():
        said = fields | {"request_id": campus.fresh_id()}
        if method == "RuleService/RollBackRules":
            revisions = await parked.call("RuleService/ListRevisions")
            said["name"] = revisions.revisions[0].name
        first = await parked.call(method, **said)
        if method == "GroupService/CompleteGroup":
            group_id = first.group.group_id
            await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
        before = tables.digests()
        again = await parked.call(method, **said)
        assert again.SerializeToString() == first.SerializeToString(), method
        assert tables.digests() == before, f"{method} was done twice"
    tables.close()


async def test_a_request_id_is_of_one_request(parked: Door) -> None:
    said = {"task": {"queue": "never"}, "delay_ms": campus.DAY_MS, "request_id": campus.fresh_id()}
    await parked.call("TaskService/EnqueueTask", **said)
    other = said | {"task": {"queue": "never", "payload": b"other"}}
    assert (await parked.refused("TaskService/EnqueueTask", **other)).reason == "REQUEST_ID_REUSED"
    group_id = await opened(parked)
    order = campus.submission(group_id)
    await parked.call("GroupService/SubmitOrder", **order)
    order["order"]["quantity"] = 2
    assert (await parked.refused("GroupService/SubmitOrder", **order)).reason == "REQUEST_ID_REUSED"


async def test_validate_only_answers_and_keeps_nothing(
    parked: Door, served: ServedProcess, wait_until: WaitUntil
) -> None:
    tables = Tables(served.data)
    for method, fields in _changes():
        name = method.rpartition("/")[2]
        said = dict(fields) | {"request_id": campus.fresh_id()}
        if method == "RuleService/RollBackRules" or name in ("PauseSchedule", "ResumeSchedule"):
            continue  # these have no validate_only
        before = tables.digests()
        await parked.call(method, **said, validate_only=True)
        assert tables.digests() == before, f"{method} kept something"
        await parked.call(method, **said)
        if name == "CompleteGroup":
            group_id = int(fields["name"].removeprefix("groups/"))
            await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
    tables.close()


async def test_a_list_shows_everything_exactly_once(parked: Door) -> None:
    group_id = await opened(parked, capacity=50)
    for _ in range(2):
        await parked.call(
            "GroupService/BatchSubmitOrders",
            parent=f"groups/{group_id}",
            requests=[campus.submission(group_id) for _ in range(12)],
        )
    for _ in range(7):
        await opened(parked, park="walk")
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(n) for n in range(1_000, 1_011)])
    await parked.call("RiderService/BatchUpsertRiders", riders=[campus.rider(n) for n in range(1_000, 1_011)])
    at = {"at_time_ms": campus.now_ms() + campus.DAY_MS}
    for n in range(7):
        schedule = {"schedule_id": f"walk-{n}", "timing": at, "target": {"task": {"queue": "never"}}}
        await parked.call("ScheduleService/RegisterSchedule", schedule=schedule)
    for n in range(4):
        await parked.call("RuleService/PublishRules", source=campus.RULES, note=str(n))
    lists: list[tuple[str, str, dict[str, Any]]] = [
        ("GroupService/ListGroups", "groups", {}),
        ("GroupService/ListGroups", "groups", {"park": "walk"}),
        ("GroupService/ListOrders", "orders", {"parent": f"groups/{group_id}"}),
        ("ShopService/ListShops", "shops", {}),
        ("RiderService/ListRiders", "riders", {}),
        ("ScheduleService/ListSchedules", "schedules", {}),
        ("TaskService/ListTasks", "tasks", {}),
        ("RuleService/ListRevisions", "revisions", {}),
    ]
    for method, field, fields in lists:
        whole = [entry.name for entry in await walked(parked, method, field, 1_000, **fields)]
        assert len(whole) >= 4, method
        assert len(set(whole)) == len(whole), method
        for page_size in (1, 3):
            pages = [entry.name for entry in await walked(parked, method, field, page_size, **fields)]
            assert pages == whole, f"{method} by {page_size}"
    assert (
        len(await walked(parked, "GroupService/ListOrders", "orders", 5, parent=f"groups/{group_id}")) == 24
    )


async def test_a_page_fits_a_plain_client(parked: Door) -> None:
    """A client that sets no limits takes 4 MiB; 1,000 tasks of 60 KB and revisions of 1 MB are more."""
    payload = b"p" * 60_000
    for _ in range(3):
        requests = [{"task": {"queue": "big", "payload": payload}, "delay_ms": campus.DAY_MS}] * 60
        await parked.call("TaskService/BatchEnqueueTasks", requests=requests)
    found = await walked(parked, "TaskService/ListTasks", "tasks", 1_000, filter="queue=big")
    assert len({task.name for task in found}) == 180
    for n in range(5):
        await parked.call("RuleService/PublishRules", source=campus.RULES + "#" * 1_000_000, note=str(n))
    revisions = await walked(parked, "RuleService/ListRevisions", "revisions", 1_000)
    assert len({revision.name for revision in revisions}) >= 5
    await parked.call("RuleService/PublishRules", source=campus.RULES)


# --- groups -------------------------------------------------------------------------------------------------------
async def test_a_group_fills_and_every_order_is_decided_and_explained(
    parked: Door, wait_until: WaitUntil
) -> None:
    await parked.call("RuleService/PublishRules", source=campus.RULES)
    group_id = await opened(parked, capacity=3)
    seen: list[int] = []

    async def watch() -> None:
        call = parked.open("GroupService/WatchGroup")({"name": f"groups/{group_id}"}, timeout=20)
        async for change in call:
            seen.append(change.group.state)

    watching = asyncio.create_task(watch())
    await wait_until(lambda: seen, why="the state at once")
    orders = [await ordered(parked, group_id) for _ in range(3)]
    await watching
    assert seen[0] == State.STATE_OPEN
    assert seen[-1] == State.STATE_DECIDED
    assert seen == sorted(seen, key=[State.STATE_OPEN, State.STATE_COMPLETED, State.STATE_DECIDED].index)
    for name in orders:
        decision = (await parked.call("DispatchService/GetDecision", name=f"{name}/decision")).decision
        assert decision.name == f"{name}/decision"
        assert decision.outcome == decision.OUTCOME_ASSIGNED
        assert decision.shop.startswith("shops/")
        assert decision.rider.startswith("riders/")
        assert decision.priority == 1, "the rule of high credit"
        assert list(decision.matched_rules) == ["high_credit"]
        assert decision.decide_time_ms >= decision.complete_time_ms > 0
        why = await parked.call("DispatchService/ExplainDecision", name=f"{name}/decision")
        assert why.decision == decision
        assert why.order.name == name
        assert [(verdict.rule, verdict.verdict) for verdict in why.rules] == [("high_credit", 1)]
    late = await parked.refused("GroupService/SubmitOrder", **campus.submission(group_id))
    assert late.reason == "GROUP_NOT_OPEN"


async def test_a_deadline_completes_a_group_with_enough_members(parked: Door, wait_until: WaitUntil) -> None:
    group_id = await opened(parked, deadline_time_ms=campus.now_ms() + 700)
    name = await ordered(parked, group_id)
    group = await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
    assert group.complete_time_ms >= group.deadline_time_ms
    assert (await parked.call("DispatchService/GetDecision", name=f"{name}/decision")).decision.shop


async def test_a_deadline_fails_a_group_with_too_few_and_releases_its_orders(
    parked: Door, wait_until: WaitUntil
) -> None:
    group_id = await opened(parked, deadline_time_ms=campus.now_ms() + 700, min_size=2)
    name = await ordered(parked, group_id)
    await group_in(parked, group_id, State.STATE_FAILED, wait_until)
    order = (await parked.call("GroupService/GetOrder", name=name)).order
    assert order.state == order.STATE_RELEASED
    none = await parked.refused("DispatchService/GetDecision", name=f"{name}/decision")
    assert none.reason == "DECISION_NOT_FOUND"


async def test_a_group_is_completed_by_call_under_its_etag(parked: Door, wait_until: WaitUntil) -> None:
    group_id = await opened(parked, min_size=2)
    await ordered(parked, group_id)
    etag = (await parked.call("GroupService/GetGroup", name=f"groups/{group_id}")).group.etag
    stale = await parked.refused("GroupService/CompleteGroup", name=f"groups/{group_id}", etag="12345")
    assert stale.reason == "ETAG_MISMATCH"
    await parked.call("GroupService/CompleteGroup", name=f"groups/{group_id}", etag=etag, force=True)
    await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
    small = await opened(parked, min_size=2)
    failed = await parked.call("GroupService/CompleteGroup", name=f"groups/{small}")
    assert failed.group.state == State.STATE_FAILED


async def test_a_cancelled_order_frees_its_seat_and_later_its_capacity(
    parked: Door, wait_until: WaitUntil
) -> None:
    group_id = await opened(parked, capacity=2)
    first = await ordered(parked, group_id)
    cancelled = (await parked.call("GroupService/CancelOrder", name=first)).order
    assert cancelled.state == cancelled.STATE_CANCELLED
    assert (await parked.call("GroupService/GetGroup", name=f"groups/{group_id}")).group.member_count == 0
    second = await ordered(parked, group_id)
    await ordered(parked, group_id)
    await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
    decision = (await parked.call("DispatchService/GetDecision", name=f"{second}/decision")).decision
    shop = (await parked.call("ShopService/GetShop", name=decision.shop)).shop
    rider = (await parked.call("RiderService/GetRider", name=decision.rider)).rider
    await parked.call("GroupService/CancelOrder", name=second)
    shop_after = (await parked.call("ShopService/GetShop", name=decision.shop)).shop
    rider_after = (await parked.call("RiderService/GetRider", name=decision.rider)).rider
    assert shop_after.capacity_free == shop.capacity_free + 1
    assert shop_after.fridge_free == shop.fridge_free + 1
    assert shop_after.stock[0].free == shop.stock[0].free + 1
    assert rider_after.load_free == rider.load_free + 1
    released = (await parked.call("DispatchService/GetDecision", name=f"{second}/decision")).decision
    assert released.outcome == released.OUTCOME_RELEASED


async def test_the_business_refuses_with_what_it_measured(parked: Door) -> None:
    group_id = await opened(parked)
    low = campus.submission(group_id)
    low["order"]["user"]["credit_score"] = 84
    refusal = await parked.refused("GroupService/SubmitOrder", **low)
    assert (refusal.reason, refusal.field) == ("CREDIT_BELOW_MINIMUM", "order.user.credit_score")
    assert refusal.infos[0].metadata["measured"] == "84"
    again = await parked.refused("GroupService/SubmitOrder", **low)
    assert again.infos == refusal.infos, "a repeat gets the first refusal"
    unheard = await parked.refused("GroupService/SubmitOrder", **campus.submission(group_id, sku="mead"))
    assert unheard.reason == "SKU_NOT_OFFERED"
    stale = campus.submission(group_id)
    stale["order"]["context"]["stock_snapshot"] = 10**9
    assert (await parked.refused("GroupService/SubmitOrder", **stale)).reason == "STOCK_SNAPSHOT_STALE"
    for _ in range(2):
        await ordered(parked, group_id, user={"user_id": 77, "credit_score": 99})
    third = campus.submission(group_id, user={"user_id": 77, "credit_score": 99})
    assert (await parked.refused("GroupService/SubmitOrder", **third)).reason == "PURCHASE_LIMIT"


async def test_an_atomic_batch_and_a_stream_of_batches(parked: Door) -> None:
    group_id = await opened(parked, capacity=100)
    good = [campus.submission(group_id) for _ in range(3)]
    bad = campus.submission(group_id, sku="mead")
    refusal = await parked.refused(
        "GroupService/BatchSubmitOrders", parent=f"groups/{group_id}", requests=[*good, bad]
    )
    assert refusal.code.value[0] == 9
    assert not (await parked.call("GroupService/ListOrders", parent=f"groups/{group_id}")).orders
    answer = await parked.call("GroupService/BatchSubmitOrders", parent=f"groups/{group_id}", requests=good)
    assert [order.name for order in answer.orders] == [f"groups/{group_id}/orders/{n}" for n in (1, 2, 3)]
    said = [
        {"sequence": sequence, "requests": [campus.submission(group_id), bad, campus.submission(group_id)]}
        for sequence in (7, 3, 5)
    ]
    answers = await parked.exchange("GroupService/IngestOrders", said)
    assert [answer.sequence for answer in answers] == [7, 3, 5]
    for answer in answers:
        one, two, three = answer.results
        assert one.order
        assert three.order
        assert two.status.reason == "SKU_NOT_OFFERED"


async def test_what_an_order_has_that_this_version_does_not_know_is_kept(parked: Door) -> None:
    group_id = await opened(parked)
    raw = message("GroupService/SubmitOrder", campus.submission(group_id))
    unknown = bytes([0x9A, 0x3F, 0x03]) + b"new"  # field 1011 of the order, a text
    more = bytes([2 << 3 | 2, len(unknown)]) + unknown  # a message field given twice is joined
    (answer,) = await parked.exchange("GroupService/SubmitOrder", [raw + more])
    kept = (await parked.call("GroupService/GetOrder", name=answer.order.name)).order
    assert unknown in answer.order.SerializeToString()
    assert unknown in kept.SerializeToString()


# --- decisions ----------------------------------------------------------------------------------------------------
async def test_a_watch_of_decisions_goes_on_where_it_ended(parked: Door, wait_until: WaitUntil) -> None:
    names = []
    for _ in range(6):
        group_id = await opened(parked, capacity=1)
        names.append(await ordered(parked, group_id))
        await group_in(parked, group_id, State.STATE_DECIDED, wait_until)

    async def watched(after: int, until: str) -> list[tuple[int, str]]:
        said = {"parent": "groups/-", "after_sequence": after}
        call = parked.open("DispatchService/WatchDecisions")(said, timeout=20)
        found: list[tuple[int, str]] = []
        async for change in call:
            found += [(decision.sequence, decision.name) for decision in change.decisions]
            if found[-1][1] == f"{until}/decision":
                call.cancel()
                break
        return found

    whole = await watched(0, names[-1])
    listed = await walked(parked, "DispatchService/ListDecisions", "decisions", 2, parent="groups/-")
    assert [(decision.sequence, decision.name) for decision in listed] == whole
    assert [sequence for sequence, _ in whole] == sorted({sequence for sequence, _ in whole})
    middle = whole[len(whole) // 2][0]
    resumed = asyncio.create_task(watched(middle, "groups/1/orders/1"))
    rest = [one for one in whole if one[0] > middle]
    resumed.cancel()
    assert await watched(middle, names[-1]) == rest
    one = await walked(
        parked, "DispatchService/ListDecisions", "decisions", 10, parent=names[0].rpartition("/orders")[0]
    )
    assert [decision.name for decision in one] == [f"{names[0]}/decision"]


async def test_a_watch_from_now_on_tells_nothing_older(parked: Door, wait_until: WaitUntil) -> None:
    async def decided() -> str:
        group_id = await opened(parked, capacity=1)
        name = await ordered(parked, group_id)
        await group_in(parked, group_id, State.STATE_DECIDED, wait_until)
        return f"{name}/decision"

    older = await decided()
    call = parked.open("DispatchService/WatchDecisions")(
        {"parent": "groups/-", "after_sequence": -1}, timeout=20
    )
    listening = asyncio.create_task(call.read())
    newer = []
    while not listening.done():  # nothing says when the watch began, so decide until it tells
        newer.append(await decided())
    told = [decision.name for decision in listening.result().decisions]
    assert older not in told
    assert set(told) <= set(newer)
    call.cancel()


async def test_a_preview_decides_and_reserves_nothing(parked: Door, served: ServedProcess) -> None:
    group_id = await opened(parked)
    tables = Tables(served.data)
    shops = await parked.call("ShopService/ListShops")
    before = tables.digests()
    said = {"parent": f"groups/{group_id}", "orders": [campus.order(group_id) for _ in range(5)]}
    first = await parked.call("DispatchService/PreviewDecision", **said)
    assert len(first.decisions) == 5
    assert all(decision.shop and decision.rider for decision in first.decisions)
    assert tables.digests() == before
    assert await parked.call("ShopService/ListShops") == shops
    tables.close()


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_what_no_retry_can_place_waits_for_a_person(parked: Door, wait_until: WaitUntil) -> None:
    """Shops without riders near: unassigned at once, tried again after 1, 4 and 15 s, then the intervention queue."""
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(1_900, location=campus.FAR_PLACE)])
    orders = []
    for _ in range(3):
        group_id = await opened(parked, capacity=1, location=campus.FAR_PLACE)
        orders.append(await ordered(parked, group_id))
    decision = None

    async def unassigned() -> bool:
        nonlocal decision
        try:
            answer = await parked.call("DispatchService/GetDecision", name=f"{orders[0]}/decision")
        except Refusal:
            return False
        decision = answer.decision
        return True

    await wait_until(unassigned, why="the first decision")
    assert decision is not None
    assert decision.outcome == decision.OUTCOME_UNASSIGNED
    assert decision.reasons

    async def waiting() -> Any:
        found = await walked(parked, "DispatchService/ListInterventions", "interventions", 2)
        return found if {entry.order for entry in found} >= set(orders) else None

    found = {entry.order: entry for entry in await wait_until(waiting, timeout=60, why="interventions")}
    assert found[orders[0]].attempts >= 4
    assert found[orders[0]].reasons
    resolve = "DispatchService/ResolveIntervention"
    # By hand to somebody who is there.
    said = {"name": found[orders[0]].name, "resolution": "RESOLUTION_ASSIGN", "note": "by phone"}
    absent = await parked.refused(resolve, **said, shop="shops/1900", rider="riders/999999")
    assert absent.reason == "RIDER_NOT_FOUND"
    assigned = await parked.call(resolve, **said, shop="shops/1900", rider="riders/1")
    assert assigned.decision.outcome == assigned.decision.OUTCOME_ASSIGNED
    assert (assigned.decision.shop, assigned.decision.rider) == ("shops/1900", "riders/1")
    gone = await parked.refused(resolve, **said, shop="shops/1900", rider="riders/1")
    assert gone.reason == "INTERVENTION_NOT_FOUND"
    # Given up.
    await parked.call(resolve, name=found[orders[1]].name, resolution="RESOLUTION_CANCEL")
    order = (await parked.call("GroupService/GetOrder", name=orders[1])).order
    assert order.state == order.STATE_CANCELLED
    # Tried again, now that a rider is there.
    await parked.call(
        "RiderService/BatchUpsertRiders", riders=[campus.rider(1_900, location=campus.FAR_PLACE)]
    )
    await parked.call(resolve, name=found[orders[2]].name, resolution="RESOLUTION_RETRY")

    async def placed() -> Any:
        answer = await parked.call("DispatchService/GetDecision", name=f"{orders[2]}/decision")
        return answer.decision.rider

    assert await wait_until(placed, timeout=20, why="the retry") == "riders/1900"


# --- shops, riders, rules -----------------------------------------------------------------------------------------
async def test_a_shop_is_changed_where_the_mask_says(parked: Door) -> None:
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(910)])
    shop = (await parked.call("ShopService/GetShop", name="shops/910")).shop
    changed = (
        await parked.call(
            "ShopService/UpdateShop",
            shop={"name": "shops/910", "daily_capacity": 7, "fridge_slots": 3, "paused": True},
            update_mask={"paths": ["daily_capacity", "paused"]},
            etag=shop.etag,
        )
    ).shop
    assert (changed.daily_capacity, changed.fridge_slots, changed.paused) == (7, 100, True)
    assert changed.etag != shop.etag
    stale = await parked.refused(
        "ShopService/UpdateShop",
        shop={"name": "shops/910"},
        update_mask={"paths": ["paused"]},
        etag=shop.etag,
    )
    assert stale.reason == "ETAG_MISMATCH"
    assert (await parked.call("ShopService/GetShop", name="shops/910")).shop == changed


async def test_stock_is_adjusted_all_or_none(parked: Door) -> None:
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(911), campus.shop(912)])
    before = (await parked.call("ShopService/GetShop", name="shops/911")).shop
    changes = [
        {"shop": "shops/911", "sku": campus.SKU, "on_hand_delta": 10},
        {"shop": "shops/912", "sku": campus.SKU, "on_hand_delta": -1_001},
    ]
    refusal = await parked.refused("ShopService/AdjustStock", changes=changes)
    assert (refusal.reason, refusal.field) == ("CAPACITY_EXCEEDED", "changes[1].on_hand_delta")
    assert (await parked.call("ShopService/GetShop", name="shops/911")).shop == before
    shops = (await parked.call("ShopService/AdjustStock", changes=changes[:1])).shops
    assert [(level.sku, level.on_hand, level.free) for level in shops[0].stock] == [
        (campus.SKU, 1_010, 1_010)
    ]


async def test_positions_move_riders(parked: Door) -> None:
    await parked.call("RiderService/BatchUpsertRiders", riders=[campus.rider(910)])
    now_ms = campus.now_ms()
    place = {"latitude": 31.03, "longitude": 121.44}
    rows = [(910, now_ms), (910, now_ms - 5), (424_242, now_ms)]
    said = [
        {"positions": [{"rider_id": rider_id, "location": place, "measure_time_ms": at_ms}]}
        for rider_id, at_ms in rows
    ]
    (answer,) = await parked.exchange("RiderService/StreamPositions", said)
    assert (answer.accepted, answer.stale, answer.unknown) == (1, 1, 1)
    rider = (await parked.call("RiderService/GetRider", name="riders/910")).rider
    assert (rider.location.latitude, rider.location.longitude) == (31.03, 121.44)


async def test_rules_are_published_refused_with_positions_and_rolled_back(parked: Door) -> None:
    first = (await parked.call("RuleService/PublishRules", source=campus.RULES, note="one")).revision
    refusing = campus.RULES.replace("high_credit", "no_tea").replace(
        '"user.credit_score >= 90"', "\"order.time_slot == 'night'\""
    )
    second = (await parked.call("RuleService/PublishRules", source=refusing, note="two")).revision
    assert second.revision == first.revision + 1
    assert second.active
    broken = campus.RULES.replace("credit_score", "shoe_size")
    answer = await parked.call("RuleService/ValidateRules", source=broken)
    (fault,) = answer.diagnostics
    assert (fault.line, broken.splitlines()[2][fault.column - 1 :][:9]) == (3, "user.shoe")
    assert (await parked.refused("RuleService/PublishRules", source=broken)).reason == "RULES_INVALID"
    status = await parked.call("RuleService/GetRulesStatus")
    assert (status.revision, status.digest, status.rule_count) == (
        second.revision,
        second.digest,
        second.rule_count,
    )
    call = next(attempt for attempt in status.attempts if attempt.origin == "call")
    assert (call.source, call.revision, call.diagnostics[0].line) == ("PublishRules", second.revision, 3)
    assert call.attempt_time_ms >= call.success_time_ms > 0
    active = (await parked.call("RuleService/GetRevision", name="ruleRevisions/active")).revision
    assert active.revision == second.revision
    back = (await parked.call("RuleService/RollBackRules", name=first.name)).revision
    assert (back.revision, back.source, back.digest) == (second.revision + 1, first.source, first.digest)
    old = (await parked.call("RuleService/GetRevision", name=second.name)).revision
    assert not old.active
