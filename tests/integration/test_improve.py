"""Over gRPC with a real server: a nearer rider takes a provisional order, and never one that is committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as pb
from cuptime.app.served import ServedProcess
from tests.conftest import WaitUntil
from tests.integration.campus import PLACE, group, now_ms, rider, shop, submission
from tests.integration.door import Door, Tables

WAIT_S = 15.0
FAR = {"latitude": PLACE["latitude"] + 0.018, "longitude": PLACE["longitude"]}


def north_of(metres: float) -> dict[str, float]:
    return {"latitude": PLACE["latitude"] + metres / 111_195, "longitude": PLACE["longitude"]}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedProcess]:
    """A server that improves every second."""
    monkeypatch.setenv("CUPTIME_REOPTIMISE_EVERY_S", "1")
    server = ServedProcess(tmp_path)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()


@pytest_asyncio.fixture
async def door(served: ServedProcess) -> AsyncIterator[Door]:
    async with Door(served.address) as opened:
        yield opened


async def decided(door: Door, group_id: int, **changed: Any) -> pb.Decision:
    """The decision of an order whose only rider is 2 km away."""
    await door.call("ShopService/BatchUpsertShops", shops=[shop(1)])
    far = rider(1, location=FAR, min_temperature_c=-5)
    await door.call("RiderService/BatchUpsertRiders", riders=[far])
    await door.call("GroupService/CreateGroup", group=group(group_id, capacity=1, **changed))
    await door.call("GroupService/SubmitOrder", **submission(group_id))
    (first,) = await heard(door, group_id, 0, 1)
    assert first.rider == "riders/1"
    return first


async def heard(door: Door, group_id: int, after: int, count: int) -> list[pb.Decision]:
    """The next decisions of the group as a watcher hears them."""
    found: list[pb.Decision] = []

    async def listen() -> None:
        request = pb.WatchDecisionsRequest(parent=f"groups/{group_id}", after_sequence=after)
        call = door.open("DispatchService/WatchDecisions")(request)
        async for message in call:
            found.extend(message.decisions)
            if len(found) >= count:
                call.cancel()
                return

    await asyncio.wait_for(listen(), WAIT_S)
    return found


async def test_a_nearer_rider_takes_a_provisional_order(door: Door, served: ServedProcess) -> None:
    first = await decided(door, 30_001)
    assert now_ms() < first.commit_time_ms < first.pickup_time_ms
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
    released, better = await heard(door, 30_001, first.sequence, 2)
    assert (released.outcome, released.rider) == (pb.Decision.OUTCOME_RELEASED, "riders/1")
    assert (better.outcome, better.rider, better.attempt) == (pb.Decision.OUTCOME_ASSIGNED, "riders/2", 2)
    assert better.supersedes == first.sequence
    assert better.sequence == released.sequence + 1
    assert better.reasons[0].code == "ASSIGNMENT_IMPROVED"
    assert better.reasons[0].measured > 1_500
    latest = (await door.call("DispatchService/GetDecision", name=better.name)).decision
    assert latest == better
    tables = Tables(served.data)
    assert tables.rows("SELECT sequence FROM assignments") == [(better.sequence,)]
    riders = (await door.call("RiderService/ListRiders")).riders
    assert [one.load_free for one in riders] == [100, 99]
    tables.close()


async def test_a_committed_order_stays(door: Door) -> None:
    """Ready at once: its rider leaves at once, and nobody takes it over."""
    first = await decided(door, 30_002, pack_out_after_ms=1)
    assert first.commit_time_ms <= now_ms() + 1_000
    await decided_later(door)
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
    # The other order, which is provisional, is improved: a pass has been.
    await heard(door, 30_003, 0, 3)
    latest = (await door.call("DispatchService/GetDecision", name=first.name)).decision
    assert latest == first


async def decided_later(door: Door) -> None:
    await door.call("GroupService/CreateGroup", group=group(30_003, capacity=1))
    await door.call("GroupService/SubmitOrder", **submission(30_003))
    await heard(door, 30_003, 0, 1)


async def test_a_better_assignment_is_explained_with_the_rules_of_the_decision_before(
    door: Door, wait_until: WaitUntil
) -> None:
    """A rule that is over by the time of the improvement was asked before, and said yes."""
    over_ms = now_ms() + 1_500
    over = datetime.fromtimestamp(over_ms / 1_000, UTC).isoformat()
    await door.call(
        "RuleService/PublishRules",
        source=f"""rules:
  - {{name: brief, condition: 'true', action: 'assign_rider_priority: 7', valid_to: "{over}"}}
""",
    )
    first = await decided(door, 30_005)
    assert (first.priority, first.decide_time_ms < over_ms) == (7, True)

    async def is_over() -> bool:
        return now_ms() > over_ms

    await wait_until(is_over, why="the end of the rule")
    await door.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
    released, better = await heard(door, 30_005, first.sequence, 2)
    assert better.decide_time_ms >= over_ms
    for decision in (first, released, better):
        answer = await door.call(
            "DispatchService/ExplainDecision", name=decision.name, sequence=decision.sequence
        )
        assert answer.decision == decision
        assert [(said.rule, said.verdict) for said in answer.rules] == [
            ("brief", pb.RuleVerdict.VERDICT_MATCHED)
        ]


BOUND = """rules:
  - {name: not_2, condition: "order.quantity == 2", action: {restrict_riders: {except: [2]}}}
  - {name: only_1, condition: "order.quantity == 3", action: "restrict_shops: 1"}
  - {name: dear, condition: "order.quantity == 4", action: "weight: 2"}
  - {name: apart, condition: "order.quantity == 5 && rider.rider_id == 2", action: "exclude: no"}
  - {name: cheap, condition: "order.quantity == 6 && rider.rider_id == 1", action: "weight: 0.1"}
  - {name: closed, condition: "order.quantity == 7 && shop.shop_id != 1", action: "exclude: no"}
  - {name: warm, condition: "order.quantity == 8", action: "temperature_class: HOT"}
  - {name: nobody, condition: "order.quantity == 9", action: "restrict_riders: 1"}
  - {name: dislike, condition: "order.quantity == 10 && rider.rider_id == 2", action: "weight: 10"}
"""
GOES = {
    2: ("riders/3", []),
    3: ("riders/2", []),
    4: ("riders/2", []),
    5: ("riders/3", []),
    6: ("riders/1", ["cheap"]),
    7: ("riders/2", []),
    8: ("riders/3", []),
    9: ("riders/1", []),
    10: ("riders/3", []),
}
"""By quantity: who has it in the end, of riders 1, 2 and 3 at 2,000, 400 and 700 metres, and what rules weigh it."""


async def test_what_rules_bind_goes_only_where_they_let_it_and_at_their_price(
    door: Door, wait_until: WaitUntil
) -> None:
    """Each kind of rule that has a say in who has an order, beside an order that none binds. Meanwhile there are other
    rules, which have no say in what was decided before them."""
    await door.call("RuleService/PublishRules", source=BOUND)
    firsts = [await decided(door, 30_006)]
    for quantity in GOES:
        group_id = 30_010 + quantity
        await door.call("GroupService/CreateGroup", group=group(group_id, capacity=1))
        await door.call("GroupService/SubmitOrder", **submission(group_id, quantity=quantity))
        (first,) = await heard(door, group_id, 0, 1)
        assert (first.rider, first.bound_by_rules) == ("riders/1", True)
        firsts.append(first)
    others = "rules: [{name: none, condition: 'rider.rider_id > 1', action: 'exclude: no'}]"
    await door.call("RuleService/PublishRules", source=others)
    await door.call("ShopService/BatchUpsertShops", shops=[shop(2)])
    near, middle = north_of(400), north_of(700)
    await door.call(
        "RiderService/BatchUpsertRiders",
        riders=[rider(2, location=near, max_temperature_c=40), rider(3, location=middle)],
    )

    async def latest() -> list[pb.Decision]:
        answers = [await door.call("DispatchService/GetDecision", name=first.name) for first in firsts]
        return [answer.decision for answer in answers]

    async def moved() -> bool:
        return [decision.rider for decision in await latest()] == [
            "riders/2",
            *(carrier for carrier, _ in GOES.values()),
        ]

    await wait_until(moved, timeout=WAIT_S, why="every order is with whom it is best under its rules")
    free, *bound = await latest()
    assert free.bound_by_rules is False
    yes, no = pb.RuleVerdict.VERDICT_MATCHED, pb.RuleVerdict.VERDICT_NOT_MATCHED
    for (quantity, (carrier, weighing)), first, now in zip(GOES.items(), firsts[1:], bound, strict=True):
        assert (now.rule_revision, now.bound_by_rules) == (first.rule_revision, True)
        assert list(now.matched_rules) == [r for r in first.matched_rules if r != "cheap"] + weighing
        if quantity in (3, 7):
            assert now.shop == "shops/1"
        # The rules of the decision, of whoever has it now: nobody who has it is shut out.
        why = await door.call("DispatchService/ExplainDecision", name=now.name)
        said = {pair.subject: {v.rule: v.verdict for v in pair.rules} for pair in why.pairs}
        if quantity in (5, 6, 10):
            rule = {5: "apart", 6: "cheap", 10: "dislike"}[quantity]
            assert said[carrier] == {rule: yes if quantity == 6 else no}
        if quantity == 7:
            assert said["shops/1"] == {"closed": no}


async def test_what_is_provisional_is_improved_after_a_kill(door: Door, served: ServedProcess) -> None:
    first = await decided(door, 30_004)
    served.kill()
    served.start()
    async with Door(served.address) as again:
        await again.call("RiderService/BatchUpsertRiders", riders=[rider(2)])
        _, better = await heard(again, 30_004, first.sequence, 2)
    assert better.rider == "riders/2"
