"""What rules bring about, over a real server: each action honoured, recorded, and found again by the explanation."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dispatch_pb
from cuptime.app.served import ServedProcess
from tests.conftest import WaitUntil
from tests.integration import campus
from tests.integration.door import Door

_ids = itertools.count(70_001)
Verdict = dispatch_pb.RuleVerdict
HOT: Final = {"temperature_class": "TEMPERATURE_CLASS_HOT"}
AMBIENT: Final = {"temperature_class": "TEMPERATURE_CLASS_AMBIENT"}


def north_of(metres: float) -> dict[str, float]:
    return {
        "latitude": campus.PLACE["latitude"] + metres / 111_195,
        "longitude": campus.PLACE["longitude"],
    }


@pytest_asyncio.fixture
async def parked(door: Door) -> AsyncIterator[Door]:
    """Two shops at the place; riders 1, 2 and 3 at 100, 500 and 1,000 metres. Nothing is kept of rules."""
    await door.call("ShopService/BatchUpsertShops", shops=[campus.shop(1), campus.shop(2)])
    riders = [campus.rider(n, location=north_of(m)) for n, m in ((1, 100), (2, 500), (3, 1_000))]
    await door.call("RiderService/BatchUpsertRiders", riders=riders)
    yield door
    await door.call("RuleService/PublishRules", source="rules: []")


async def published(door: Door, source: str) -> None:
    await door.call("RuleService/PublishRules", source=source)


def rules(*pairs: tuple[str, str], header: str = "") -> str:
    """A document with rules r1, r2, ... of (condition, action)."""
    lines = [header.rstrip() + "\n" if header else "", "rules:\n"]
    for number, (condition, action) in enumerate(pairs, 1):
        lines.append(
            f'  - {{name: r{number}, priority: {number}, condition: "{condition}", action: {action}}}\n'
        )
    return "".join(lines)


async def decided(door: Door, wait_until: WaitUntil, **fields: Any) -> Any:
    """The decision of a group of one order."""
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=1))
    name = (await door.call("GroupService/SubmitOrder", **campus.submission(group_id, **fields))).order.name
    return await decision_of(door, name, wait_until)


async def decision_of(door: Door, order: str, wait_until: WaitUntil, attempt: int = 1) -> Any:
    async def there() -> Any:
        decisions = (
            await door.call("DispatchService/ListDecisions", parent=order.rpartition("/orders/")[0])
        ).decisions
        return next((d for d in decisions if d.name == f"{order}/decision" and d.attempt == attempt), None)

    return await wait_until(there, timeout=15, why=f"attempt {attempt} of {order}")


def reasons(decision: Any, code: str) -> list[tuple[str, float]]:
    return [(reason.subject, reason.measured) for reason in decision.reasons if reason.code == code]


def actions(decision: Any) -> list[tuple[str, str, str]]:
    return [(action.rule, action.kind, action.value) for action in decision.actions]


async def verdicts(door: Door, decision: Any) -> dict[str, Any]:
    why = await door.call("DispatchService/ExplainDecision", name=decision.name)
    return {verdict.rule: verdict for verdict in why.rules}


async def test_shops_and_riders_are_restricted(parked: Door, wait_until: WaitUntil) -> None:
    await published(
        parked,
        rules(
            ("order.quantity == 2", '"restrict_shops: 2, 9"'),
            ("order.quantity == 2", "{restrict_riders: {except: [1]}}"),
            ("order.quantity == 3", '"restrict_riders: 999"'),
        ),
    )
    free = await decided(parked, wait_until)
    assert (free.rider, free.bound_by_rules, actions(free)) == ("riders/1", False, [])
    bound = await decided(parked, wait_until, quantity=2)
    assert (bound.shop, bound.rider, bound.bound_by_rules) == ("shops/2", "riders/2", True)
    assert actions(bound) == [("r1", "only_shops", "2,9"), ("r2", "not_riders", "1")]
    assert list(bound.matched_rules) == ["r1", "r2"]
    assert reasons(bound, "RULE_EXCLUDED") == [("rules/r1", 1), ("rules/r2", 1)]
    # The recorded order under the recorded rules gives the same again.
    again = await verdicts(parked, bound)
    assert [again[rule].verdict for rule in ("r1", "r2", "r3")] == [
        Verdict.VERDICT_MATCHED,
        Verdict.VERDICT_MATCHED,
        Verdict.VERDICT_NOT_MATCHED,
    ]
    nobody = await decided(parked, wait_until, quantity=3)
    assert nobody.outcome == nobody.OUTCOME_UNASSIGNED
    assert reasons(nobody, "RULE_EXCLUDED") == [("rules/r3", 6)], "three riders at two shops"


async def test_a_temperature_class_says_who_can_carry_it_and_takes_a_fridge_slot(
    parked: Door, wait_until: WaitUntil
) -> None:
    warm = campus.rider(1, location=north_of(100), min_temperature_c=20, max_temperature_c=80)
    await parked.call("RiderService/BatchUpsertRiders", riders=[warm])
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(1, fridge_slots=0)])
    await published(parked, rules(("order.quantity == 2", '"temperature_class: COLD"')))
    plain = await decided(parked, wait_until, **AMBIENT)
    assert plain.rider == "riders/1"
    cold = await decided(parked, wait_until, quantity=2, **AMBIENT)
    assert (cold.shop, cold.rider, cold.bound_by_rules) == ("shops/2", "riders/2", True)
    assert {"FRIDGE_SLOTS", "TEMPERATURE_RANGE"} <= {reason.code for reason in cold.reasons}
    assert actions(cold) == [("r1", "temperature_class", "COLD")]
    await parked.call("RiderService/BatchUpsertRiders", riders=[campus.rider(1, location=north_of(100))])
    await parked.call("ShopService/BatchUpsertShops", shops=[campus.shop(1)])


FAR: Final = "geo.distance_m(group.latitude, group.longitude, rider.latitude, rider.longitude)"


async def test_pairs_are_shut_out_and_weighed(parked: Door, wait_until: WaitUntil) -> None:
    await published(
        parked,
        rules(
            (f"order.temperature_class == 'HOT' && {FAR} < 300.0", '"exclude: too near"'),
            ("order.quantity == 2 && rider.rider_id == 1", '"weight: 8"'),
            ("shop.shop_id == 1 && order.quantity == 3", '"exclude: not there"'),
        ),
    )
    hot = await decided(parked, wait_until, **HOT)
    assert (hot.rider, reasons(hot, "RULE_EXCLUDED")) == ("riders/2", [("rules/r1", 2)])
    assert (await decided(parked, wait_until, **AMBIENT)).rider == "riders/1"
    weighed = await decided(parked, wait_until, quantity=2, **AMBIENT)
    assert weighed.rider == "riders/2", "500 metres are less than 8 times 100"
    assert reasons(weighed, "RULE_WEIGHTED") == []
    alone = await decided(parked, wait_until, quantity=3, **AMBIENT)
    assert (alone.shop, reasons(alone, "RULE_EXCLUDED")) == ("shops/2", [("rules/r3", 1)])
    said = await verdicts(parked, hot)
    assert (said["r1"].verdict, said["r1"].condition) == (Verdict.VERDICT_FOR_PAIRS, "each rider")
    # What these say of the order alone is false, so they match none of its pairs.
    assert {said[rule].verdict for rule in ("r2", "r3")} == {Verdict.VERDICT_NOT_MATCHED}
    assert (said["r2"].condition, said["r3"].value) == ("order.quantity == 2", "order.quantity = 1")
    await published(
        parked, rules(("rider.rider_id == 3", '"weight: 0.1"'), ("rider.rider_id == 2", '"weight: 0.1"'))
    )
    near = await decided(parked, wait_until, **AMBIENT)
    assert (near.rider, reasons(near, "RULE_WEIGHTED")) == ("riders/2", [("rules/r2", 10)])
    assert list(near.matched_rules) == ["r2"]


async def test_of_several_rules_the_first_counts_and_restrictions_hold_together(
    parked: Door, wait_until: WaitUntil
) -> None:
    await published(
        parked,
        rules(
            ("true", "{tag: a, restrict_riders: {only: [1, 2]}}"),
            ("true", "{assign_rider_priority: 7, weight: 2}"),
            ("true", "{assign_rider_priority: 3, weight: 3, restrict_riders: {except: [1]}}"),
        ),
    )
    decision = await decided(parked, wait_until, **AMBIENT)
    assert (decision.rider, decision.priority) == ("riders/2", 7)
    assert actions(decision) == [
        ("r1", "tag", "a"),
        ("r1", "only_riders", "1,2"),
        ("r2", "assign_rider_priority", "7"),
        ("r2", "weight_percent", "200"),
        ("r3", "not_riders", "1"),
    ]
    assert list(decision.matched_rules) == ["r2", "r1", "r3"]


async def test_a_delayed_decision_waits_as_a_task_and_is_then_made(
    parked: Door, wait_until: WaitUntil
) -> None:
    await published(
        parked, rules(("order.quantity == 2", '"delay: 1s"'), ("order.quantity == 3", '"delay: 24h"'))
    )
    put_off = await decided(parked, wait_until, quantity=2)
    assert put_off.outcome == put_off.OUTCOME_UNASSIGNED
    assert put_off.delayed_until_time_ms == put_off.complete_time_ms + 1_000
    assert reasons(put_off, "RULE_DELAYED") == [("rules/r1", put_off.delayed_until_time_ms)]
    order = put_off.name.removesuffix("/decision")
    made = await decision_of(parked, order, wait_until, attempt=2)
    assert made.outcome == made.OUTCOME_ASSIGNED
    assert put_off.delayed_until_time_ms <= made.decide_time_ms
    # However long the delay: five minutes before the pack-out the decision is made.
    long = await decided(parked, wait_until, quantity=3)
    (limit,) = [reason.limit for reason in long.reasons if reason.code == "RULE_DELAYED"]
    assert long.delayed_until_time_ms == limit
    assert long.complete_time_ms + 60_000 < limit < long.complete_time_ms + campus.HOUR_MS


async def submitted(door: Door, **fields: Any) -> str:
    """The reason of the refusal of an order, or "" when it is admitted."""
    group_id = next(_ids)
    await door.call("GroupService/CreateGroup", group=campus.group(group_id, capacity=5))
    request = campus.submission(group_id, **fields)
    try:
        await door.call("GroupService/SubmitOrder", **request)
    except Exception:
        return (await door.refused("GroupService/SubmitOrder", **request)).reason
    return ""


async def test_the_first_match_decides_at_both_moments(parked: Door, wait_until: WaitUntil) -> None:
    pairs = (
        ("user.credit_score >= 95", '"assign_rider_priority: 2"'),
        ("order.quantity >= 2", '"refuse: one at a time"'),
        ("true", '"assign_rider_priority: 9"'),
    )
    first = rules(*pairs, header="hit_policy: first")
    await published(parked, first)
    trusted = {"user": {"user_id": 990_001, "credit_score": 95}}
    plain = {"user": {"user_id": 990_002, "credit_score": 90}}
    assert await submitted(parked, quantity=2, **trusted) == ""
    assert await submitted(parked, quantity=2, **plain) == "RULE_REFUSED"
    decision = await decided(parked, wait_until, quantity=2, **trusted)
    assert (decision.priority, list(decision.matched_rules)) == (2, ["r1"])
    said = await verdicts(parked, decision)
    assert [said[rule].verdict for rule in ("r1", "r2", "r3")] == [
        Verdict.VERDICT_MATCHED,
        Verdict.VERDICT_SHADOWED,
        Verdict.VERDICT_SHADOWED,
    ]
    assert said["r3"].value == "r1"
    await published(parked, rules(*pairs))
    assert await submitted(parked, quantity=2, **trusted) == "RULE_REFUSED"


async def test_a_fault_refuses_or_leaves_no_answer(parked: Door) -> None:
    def faulting(on_error: str) -> str:
        return rules(("1 / (order.quantity - 2) > 0", '"tag: x"'), header=f"on_error: {on_error}")

    await published(parked, faulting("refuse"))
    assert await submitted(parked, quantity=2) == "RULE_REFUSED"
    assert await submitted(parked, quantity=3) == ""
    await published(parked, faulting("skip"))
    assert await submitted(parked, quantity=2) == ""
    await published(parked, faulting("fail"))
    group_id = next(_ids)
    await parked.call("GroupService/CreateGroup", group=campus.group(group_id))
    request = campus.submission(group_id, quantity=2)
    refusal = await parked.refused("GroupService/SubmitOrder", **request)
    assert refusal.reason == "RULE_FAILED"
    assert refusal.infos[0].metadata["rule"] == "r1"
    assert "divide by zero in 1 / (order.quantity - 2)" in refusal.infos[0].metadata["fault"]
    # Nothing was kept: with the rules mended the same request is judged anew.
    await published(parked, rules(("order.quantity > 2", '"tag: x"')))
    assert (await parked.call("GroupService/SubmitOrder", **request)).order.name


async def test_a_fault_at_the_decision_leaves_the_order_for_a_later_try(
    parked: Door, wait_until: WaitUntil
) -> None:
    # Nobody is a member yet when the order is submitted; one is when the group is decided.
    await published(
        parked, rules(("10 / (1 - group.member_count) > 0", '"tag: x"'), header="on_error: refuse")
    )
    decision = await decided(parked, wait_until)
    assert decision.outcome == decision.OUTCOME_UNASSIGNED
    assert reasons(decision, "RULE_ERROR") == [("rules/r1", 0)]
    await published(parked, "rules: []")
    later = await decision_of(parked, decision.name.removesuffix("/decision"), wait_until, attempt=2)
    assert later.outcome == later.OUTCOME_ASSIGNED


async def test_what_is_not_proved_unique_is_never_live(parked: Door) -> None:
    overlapping = rules(
        ("user.credit_score >= 90", '"tag: a"'),
        ("user.credit_score <= 90 && order.quantity > 2", '"tag: b"'),
        header="hit_policy: unique",
    )
    answer = await parked.call("RuleService/ValidateRules", source=overlapping)
    (fault,) = answer.diagnostics
    assert (fault.code, fault.line, fault.rule) == ("NOT_UNIQUE", 4, "r2")
    assert fault.meaning_zh == "两条规则可能同时匹配，或无法证明不会"
    assert "both match order.quantity = 3, user.credit_score = 90, with different actions" in fault.message
    assert (await parked.refused("RuleService/PublishRules", source=overlapping)).reason == "RULES_INVALID"
    await published(parked, overlapping.replace(">= 90", "> 90"))


# --- a plug-in --------------------------------------------------------------------------------------------------------
GUEST: Final = """
from cuptime.rules.actions import ActionType, Kind, Parameter

guest = ActionType(
    "guest",
    "What a guest of the house gets.",
    "贵宾待遇",
    (Parameter("level", Kind.CHOICE, choices=("silver", "gold")),),
    lambda given: [("assign_rider_priority", "2" if given["level"] == "gold" else "20"), ("tag", "guest")],
)
"""


def installed(folder: Path, content: str, name: str = "guest") -> None:
    """A package as pip would leave it."""
    (folder / "guest_rules.py").write_text(content, encoding="utf-8")
    about = folder / "guest_rules-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: guest-rules\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[cuptime.rule_actions]\n{name} = guest_rules:{name}\n")


def test_the_plug_in_is_the_one_of_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    assert GUEST.strip() in guide


def test_an_action_of_a_plug_in_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installed(site, GUEST)
    monkeypatch.setenv("PYTHONPATH", str(site))
    source = rules(("user.tier == 'gold'", '"guest: gold"'))
    (tmp_path / "good.yaml").write_text(source)
    (tmp_path / "bad.yaml").write_text(source.replace("guest: gold", "guest: glod"))
    check = [sys.executable, "-m", "cuptime.app.cli", "rules", "check"]
    done = subprocess.run([*check, str(tmp_path / "good.yaml")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([*check, str(tmp_path / "bad.yaml")], capture_output=True, text=True, check=False)
    assert "bad.yaml:2:" in done.stderr
    assert "did you mean `gold`?" in done.stderr
    without = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [*check, str(tmp_path / "good.yaml")], capture_output=True, text=True, check=False, env=without
    )
    assert 'UNKNOWN_ACTION [r1]: no action is called "guest"' in done.stderr


async def test_an_action_of_a_plug_in_is_honoured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait_until: WaitUntil
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installed(site, GUEST)
    monkeypatch.setenv("PYTHONPATH", str(site))
    source = rules(("user.tier == 'gold'", '"guest: gold"'))
    server = ServedProcess(tmp_path)
    server.start()
    try:
        async with Door(server.address) as door:
            await campus.furnish(door)
            await published(door, source)
            decision = await decided(door, wait_until)
            assert (decision.priority, actions(decision)) == (
                2,
                [("r1", "assign_rider_priority", "2"), ("r1", "tag", "guest")],
            )
    finally:
        assert server.stop() == 0


def test_a_plug_in_that_cannot_be_loaded_keeps_the_server_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    installed(site, "raise ImportError('no such drink')")
    monkeypatch.setenv("PYTHONPATH", str(site))
    with pytest.raises(RuntimeError, match="guest_rules:guest: no such drink"):
        ServedProcess(tmp_path).start()
