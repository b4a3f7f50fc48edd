"""Every decision names its revision, and what it recorded under that revision gives the same answers again, whatever
became of rules, riders, shops, the group and the server since. Over a real server."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as pb
from cuptime.app.served import ServedProcess
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door

Verdict = pb.RuleVerdict
Outcome = pb.Decision
_ids = itertools.count(80_001)
FAR: Final = "geo.distance_m(group.latitude, group.longitude, rider.latitude, rider.longitude)"


def north_of(metres: float) -> dict[str, float]:
    place = campus.PLACE
    return {"latitude": place["latitude"] + metres / 111_195, "longitude": place["longitude"]}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ServedProcess]:
    server = ServedProcess(tmp_path)
    server.start()
    yield server
    assert server.stop() == 0, server.log_tail()


@pytest_asyncio.fixture
async def door(server: ServedProcess) -> AsyncIterator[Door]:
    """Two shops at the place; riders 1, 2 and 3 at 100, 500 and 1,000 metres."""
    async with Door(server.address) as opened:
        await furnish(opened, 100, 500, 1_000)
        yield opened


async def furnish(door: Door, *metres: float) -> None:
    await door.call("ShopService/BatchUpsertShops", shops=[campus.shop(1), campus.shop(2)])
    riders = [campus.rider(n, location=north_of(m)) for n, m in enumerate(metres, 1)]
    await door.call("RiderService/BatchUpsertRiders", riders=riders)


async def published(door: Door, *lines: str, header: str = "") -> int:
    source = header + "rules:\n" + "".join(f"  - {{{line}}}\n" for line in lines)
    return int((await door.call("RuleService/PublishRules", source=source)).revision.revision)


async def ordered(door: Door, count: int, **fields: Any) -> list[str]:
    """The names of the orders of a full group."""
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=count))
    answers = [
        await door.call("GroupService/SubmitOrder", **campus.submission(group_id, **fields))
        for _ in range(count)
    ]
    return [answer.order.name for answer in answers]


async def decision_of(door: Door, order: str, wait_until: WaitUntil, attempt: int = 1) -> pb.Decision:
    async def there() -> pb.Decision | None:
        parent = order.rpartition("/orders/")[0]
        decisions = (await door.call("DispatchService/ListDecisions", parent=parent)).decisions
        return next((d for d in decisions if d.name == f"{order}/decision" and d.attempt == attempt), None)

    decision: pb.Decision = await wait_until(there, timeout=15, why=f"attempt {attempt} of {order}")
    return decision


async def explained(door: Door, decision: pb.Decision) -> pb.ExplainDecisionResponse:
    answer: pb.ExplainDecisionResponse = await door.call(
        "DispatchService/ExplainDecision", name=decision.name, sequence=decision.sequence
    )
    assert answer.decision == decision
    return answer


def of_order(answer: pb.ExplainDecisionResponse) -> dict[str, int]:
    return {verdict.rule: verdict.verdict for verdict in answer.rules}


def of_pairs(answer: pb.ExplainDecisionResponse) -> dict[str, dict[str, int]]:
    return {pair.subject: {said.rule: said.verdict for said in pair.rules} for pair in answer.pairs}


async def test_the_same_answers_whatever_came_since(
    door: Door, server: ServedProcess, wait_until: WaitUntil
) -> None:
    first = await published(
        door,
        "name: gold, condition: \"user.tier == 'gold'\", action: 'assign_rider_priority: 7'",
        "name: pair_of_two, condition: 'group.member_count == 2', action: 'tag: two'",
        "name: hot, condition: \"order.temperature_class == 'HOT' && rider.load_free > 0\", action: 'exclude: no'",
        f"name: too_near, condition: '{FAR} < 300.0', action: 'exclude: too near'",
        "name: busy, condition: 'rider.load_free < 100', action: 'weight: 2'",
        "name: not_one, condition: 'shop.shop_id == 1', action: 'exclude: closed to us'",
        "name: over, condition: 'true', action: 'tag: x', valid_to: 2020-01-01T00:00:00Z",
    )
    one, other = await ordered(door, 2)
    decision = await decision_of(door, one, wait_until)
    assert (decision.rule_revision, decision.priority, decision.shop) == (first, 7, "shops/2")
    assert decision.rider == "riders/2", "rider 1 is too near"
    assert [reason.subject for reason in decision.reasons if reason.code == "RULE_EXCLUDED"] == [
        "rules/not_one",
        "rules/too_near",
    ]
    before = await explained(door, decision)
    assert of_order(before) == {
        "busy": Verdict.VERDICT_FOR_PAIRS,
        "gold": Verdict.VERDICT_MATCHED,
        "hot": Verdict.VERDICT_NOT_MATCHED,
        "not_one": Verdict.VERDICT_FOR_PAIRS,
        "over": Verdict.VERDICT_INACTIVE,
        "pair_of_two": Verdict.VERDICT_MATCHED,
        "too_near": Verdict.VERDICT_FOR_PAIRS,
    }
    (hot,) = [verdict for verdict in before.rules if verdict.rule == "hot"]
    assert (hot.condition, hot.wanted) == ("order.temperature_class == 'HOT'", "== 'HOT'")
    yes, no = Verdict.VERDICT_MATCHED, Verdict.VERDICT_NOT_MATCHED
    assert of_pairs(before) == {
        "riders/2": {"busy": no, "too_near": no},
        "shops/2": {"not_one": no},
        "riders/1": {"busy": no, "too_near": yes},
        "shops/1": {"not_one": yes},
    }
    # Other rules, other places, a smaller group, back to the first rules, another process.
    second = await published(door, "name: gold, condition: 'false', action: 'tag: never'")
    await furnish(door, 5_000, 10, 10)
    await door.call("GroupService/CancelOrder", name=other)
    group = (await door.call("GroupService/GetGroup", name=one.rpartition("/orders/")[0])).group
    assert group.member_count == 1
    assert await explained(door, decision) == before
    back = await door.call("RuleService/RollBackRules", name=f"ruleRevisions/{first}")
    assert back.revision.revision == second + 1
    assert await explained(door, decision) == before
    server.kill()
    server.start()
    async with Door(server.address) as again:
        assert await explained(again, decision) == before
        (later,) = await ordered(again, 1)
        assert (await decision_of(again, later, wait_until)).rule_revision == second + 1


async def test_each_try_is_explained_under_its_own_revision(door: Door, wait_until: WaitUntil) -> None:
    first = await published(door, "name: nobody, condition: 'rider.rider_id > 0', action: 'exclude: strike'")
    (name,) = await ordered(door, 1)
    nobody = await decision_of(door, name, wait_until)
    assert (nobody.outcome, nobody.rule_revision) == (Outcome.OUTCOME_UNASSIGNED, first)
    second = await published(door, "name: nobody, condition: 'rider.rider_id > 9', action: 'exclude: strike'")
    made = await decision_of(door, name, wait_until, attempt=2)
    assert (made.outcome, made.rule_revision) == (Outcome.OUTCOME_ASSIGNED, second)
    assert of_pairs(await explained(door, nobody)) == {"riders/1": {"nobody": Verdict.VERDICT_MATCHED}}
    assert of_pairs(await explained(door, made)) == {made.rider: {"nobody": Verdict.VERDICT_NOT_MATCHED}}
    latest = await door.call("DispatchService/ExplainDecision", name=made.name)
    assert latest.decision == made
    for sequence, reason in ((-1, "FIELD_INVALID"), (10**9, "DECISION_NOT_FOUND")):
        refusal = await door.refused("DispatchService/ExplainDecision", name=made.name, sequence=sequence)
        assert refusal.reason == reason


async def test_of_a_sequence_of_another_order_nothing_is_told(door: Door, wait_until: WaitUntil) -> None:
    one, other = await ordered(door, 2)
    sequence = (await decision_of(door, other, wait_until)).sequence
    refusal = await door.refused("DispatchService/ExplainDecision", name=f"{one}/decision", sequence=sequence)
    assert refusal.reason == "DECISION_NOT_FOUND"


async def test_a_rule_that_only_refuses_has_no_say_in_the_decision(door: Door, wait_until: WaitUntil) -> None:
    await published(
        door,
        "name: full, priority: 1, condition: 'group.member_count >= 1', action: 'refuse: full'",
        "name: plain, priority: 2, condition: 'true', action: 'assign_rider_priority: 9'",
        "name: near, priority: 3, condition: 'rider.rider_id == 1', action: 'exclude: no'",
        header="hit_policy: first\n",
    )
    (name,) = await ordered(door, 1)
    decision = await decision_of(door, name, wait_until)
    assert (list(decision.matched_rules), decision.priority, decision.rider) == (["plain"], 9, "riders/1")
    answer = await explained(door, decision)
    assert of_order(answer) == {
        "full": Verdict.VERDICT_FOR_SUBMISSION,
        "plain": Verdict.VERDICT_MATCHED,
        "near": Verdict.VERDICT_SHADOWED,
    }
    assert of_pairs(answer) == {}, "no rule about pairs was asked"


async def test_where_the_first_match_decides_it_does_so_for_each_pair(
    door: Door, wait_until: WaitUntil
) -> None:
    await published(
        door,
        "name: near, priority: 1, condition: 'rider.rider_id == 1', action: 'exclude: no'",
        "name: dear, priority: 2, condition: 'rider.rider_id < 3', action: 'weight: 3'",
        "name: plain, priority: 3, condition: 'true', action: 'assign_rider_priority: 9'",
        header="hit_policy: first\n",
    )
    (name,) = await ordered(door, 1, quantity=2)
    decision = await decision_of(door, name, wait_until)
    assert decision.rider == "riders/3", "1,000 metres are less than three times 500"
    assert of_pairs(await explained(door, decision)) == {
        "riders/3": {"near": Verdict.VERDICT_NOT_MATCHED, "dear": Verdict.VERDICT_NOT_MATCHED},
        "riders/1": {"near": Verdict.VERDICT_MATCHED, "dear": Verdict.VERDICT_SHADOWED},
    }
