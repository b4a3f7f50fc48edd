"""Decisions through the extension: order bodies in, `cuptime.v1.Decision` out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from cuptime import _core
from cuptime._gen.cuptime.v1 import dispatch_service_pb2 as dpb
from cuptime._gen.cuptime.v1 import group_service_pb2 as pb
from cuptime._gen.cuptime.v1 import types_pb2
from cuptime.domain.values import DecisionRow, Outcome, order_id_of

NOW_MS = 1_780_000_000_000
PACK_OUT_MS = NOW_MS + 18 * 60_000
UNTIL_MS = PACK_OUT_MS + 3_600_000
ORIGIN = (31.2, 121.5)
METRE = 1 / 111_195.0  # degrees of latitude

Group = tuple[int, int, str, int, int, float, float, int, int, int]


def group(seq: int = 1) -> Group:
    return (seq, 10_000 + seq, "north", 40, 3, *ORIGIN, NOW_MS - 20, PACK_OUT_MS, UNTIL_MS)


def order(**changes: Any) -> pb.Order:
    fields: dict[str, Any] = {
        "user": pb.User(user_id=7, credit_score=93, tier="gold"),
        "sku": "latte",
        "quantity": 2,
        "kind": types_pb2.BEVERAGE_KIND_COFFEE,
        "temperature_class": types_pb2.TEMPERATURE_CLASS_COLD,
        "time_slot": "morning",
        "context": types_pb2.BusinessContext(
            group_id=10_001, sku_version="2.1", stock_snapshot=3, timestamp_ms=NOW_MS - 60_000
        ),
    }
    return pb.Order(**(fields | changes))


def body(**changes: Any) -> bytes:
    return order(**changes).SerializeToString()


class Park:
    """Two shops and two riders around the origin; shop 1 and rider 11 are the nearer ones."""

    def __init__(self) -> None:
        self.skus = _core.SkuCodes()
        self.dispatcher = _core.Dispatcher()
        [latte, tea] = self.skus.codes(["latte", "tea"])
        places = [(ORIGIN[0] + metres * METRE, ORIGIN[1]) for metres in (100, -900, 150, -1_000)]
        one, two, eleven, twelve = _core.project(ORIGIN, places)
        always = (0, 2**60)
        self.dispatcher.upsert_shops(
            [
                (1, *one, *always, False, 2, 1, 7, [(latte, 10), (tea, 1)]),
                (2, *two, *always, False, 50, 50, 7, [(latte, 100)]),
            ]
        )
        self.dispatcher.upsert_riders(
            [(11, *eleven, *always, 10, 0, 60, 250.0, True), (12, *twelve, *always, 10, 20, 60, 250.0, True)]
        )

    def decide(
        self, *orders: tuple[int, bytes], rules: _core.RuleSet | None = None, **kwargs: Any
    ) -> _core.Decided:
        groups = kwargs.pop("groups", [group()])
        return _core.decide(
            self.dispatcher, self.skus, rules, 4, groups, list(orders), NOW_MS, 1, ORIGIN, **kwargs
        )


def row_of(*columns: Any) -> DecisionRow:
    return DecisionRow(0, *columns)


def rows_of(decided: _core.Decided) -> list[DecisionRow]:
    return [row_of(*columns) for columns in decided.rows]


def told(row: DecisionRow) -> dpb.Decision:
    return dpb.Decision.FromString(row.body)


def rule_set(*rules: tuple[str, int, str, str, str]) -> _core.RuleSet:
    return _core.RuleSet.compile(
        [
            (name, name, 0, priority, True, None, None, condition, "skip", [(kind, value)])
            for name, priority, condition, kind, value in rules
        ],
        _core.order_schema(),
    )


ONE = order_id_of(1, 1)


def test_an_order_gets_the_nearest_shop_and_rider_with_everything_recorded() -> None:
    decided = Park().decide((ONE, body()))
    [row] = rows_of(decided)
    assert (row.order_id, row.attempt, Outcome(row.outcome)) == (ONE, 1, Outcome.ASSIGNED)
    assert (row.shop_id, row.rider_id, row.priority, row.rule_revision) == (1, 11, 50, 4)
    assert (row.completed_ms, row.decided_ms, row.pack_out_ms) == (NOW_MS - 20, NOW_MS, PACK_OUT_MS)
    assert (row.sku, row.quantity, row.cold) == ("latte", 2, True)
    assert PACK_OUT_MS <= row.pickup_ms <= UNTIL_MS
    dropoff_ms = told(row).dropoff_time_ms
    assert decided.reservations == [(ONE, 1, 11, "latte", 2, True, PACK_OUT_MS, row.pickup_ms, dropoff_ms)]
    assert (decided.unassigned, decided.invalid, decided.gap_bound) == ([], [], 0)

    decision = told(row)
    assert decision.name == "groups/10001/orders/1/decision"
    assert (decision.outcome, decision.shop, decision.rider) == (
        dpb.Decision.OUTCOME_ASSIGNED,
        "shops/1",
        "riders/11",
    )
    assert (decision.complete_time_ms, decision.decide_time_ms, decision.attempt) == (NOW_MS - 20, NOW_MS, 1)
    assert decision.pickup_time_ms == row.pickup_ms < decision.dropoff_time_ms
    assert decision.distance_m == 50 + 100
    # Committed when the rider must leave to be there at the pick-up: 50 m at 250 m a minute.
    assert row.pickup_ms - decision.commit_time_ms == 12_000
    assert decision.supersedes == 0
    assert (decision.sequence, decision.gap_bound, decision.rule_revision) == (0, 0, 4)
    assert [(a.shop, a.extra_cost > 0) for a in decision.alternatives] == [("shops/2", True)]


def test_capacity_is_shared_out_and_the_rest_says_why() -> None:
    park = Park()
    # Cold rides only with rider 11; shop 1 has one cold slot.
    decided = park.decide(*((order_id_of(1, n), body()) for n in range(1, 4)))
    assert sorted(row.shop_id for row in rows_of(decided)) == [1, 2, 2]
    assert {row.rider_id for row in rows_of(decided)} == {11}

    decided = park.decide((ONE, body(sku="tea", quantity=2)), (order_id_of(1, 2), body(sku="mocha")))
    assert decided.unassigned == [ONE, order_id_of(1, 2)]
    assert decided.reservations == []
    tea, mocha = rows_of(decided)
    assert (tea.outcome, tea.shop_id, tea.rider_id, tea.pickup_ms) == (Outcome.UNASSIGNED, 0, 0, 0)
    [stock] = [r for r in told(tea).reasons if r.code == "SKU_STOCK"]
    assert (stock.measured, stock.limit, stock.subject) == (1.0, 2.0, "shops/1")
    assert "SKU_NOT_OFFERED" in {r.code for r in told(mocha).reasons}
    assert told(mocha).shop == ""
    assert told(mocha).outcome == dpb.Decision.OUTCOME_UNASSIGNED


def test_temperatures_follow_the_class() -> None:
    park = Park()
    park.dispatcher.upsert_riders([(11, 0.0, 0.0, 0, 2**60, 10, 0, 8, 250.0, True)])
    hot = body(temperature_class=types_pb2.TEMPERATURE_CLASS_HOT)
    ambient = body(temperature_class=types_pb2.TEMPERATURE_CLASS_AMBIENT)
    decided = park.decide((ONE, hot), (order_id_of(1, 2), ambient), (order_id_of(1, 3), body()))
    assert [row.rider_id for row in rows_of(decided)] == [12, 11, 11]
    assert [row.cold for row in rows_of(decided)] == [False, False, True]


def test_the_first_rule_by_priority_gives_the_priority() -> None:
    rules = rule_set(
        ("tagged", 1, "user.tier == 'gold'", "tag", "vip"),
        ("early", 3, "user.credit_score >= 90 && order.time_slot == 'morning'", "assign_rider_priority", "7"),
        ("small", 2, "group.member_count <= 3 && order.quantity < 2", "assign_rider_priority", "1"),
        ("later", 9, "true", "assign_rider_priority", "90"),
        ("refusing", 1, "true", "refuse", "asked at admission only"),
        ("broken", 5, "100 / (order.quantity - 2) > 0", "tag", "x"),
    )
    decided = Park().decide((ONE, body()), (order_id_of(1, 2), body(quantity=1)), rules=rules)
    first, second = rows_of(decided)
    assert (first.priority, list(told(first).matched_rules)) == (7, ["early", "tagged", "later"])
    assert (second.priority, list(told(second).matched_rules)[:2]) == (1, ["small", "tagged"])
    assert decided.rule_hits == [("tagged", 2), ("small", 1), ("early", 2), ("later", 2)]
    assert decided.rule_errors == [("broken", 1)]
    assert decided.rules_evaluated == 10


def test_a_higher_priority_wins_what_is_scarce() -> None:
    rules = rule_set(("gold", 1, "user.tier == 'gold'", "assign_rider_priority", "1"))
    park = Park()
    park.dispatcher.remove_shops([2])
    plain = body(user=pb.User(user_id=8, credit_score=90))
    decided = park.decide((ONE, plain), (order_id_of(1, 2), body()), rules=rules)
    assert decided.unassigned == [ONE]
    [outbid] = [r for r in told(rows_of(decided)[0]).reasons if r.code == "PRIORITY_OUTBID"]
    assert outbid.measured > 0


def test_an_order_goes_to_its_own_place() -> None:
    park = Park()
    south = types_pb2.Location(latitude=ORIGIN[0] - 900 * METRE, longitude=ORIGIN[1])
    assert [row.shop_id for row in rows_of(park.decide((ONE, body(drop_off=south))))] == [2]


def test_a_lost_pair_is_not_chosen_again() -> None:
    park = Park()
    assert [r[1] for r in park.decide((ONE, body()), lost=[(ONE, 1, -1)]).reservations] == [2]
    decided = park.decide((ONE, body()), lost=[(ONE, -1, 11), (ONE, -1, 12)])
    assert "RESERVATION_LOST" in {r.code for r in told(rows_of(decided)[0]).reasons}


def test_a_body_that_is_not_what_was_admitted_is_unassigned_with_an_alarm() -> None:
    wrong_group = types_pb2.BusinessContext(group_id=10_002, sku_version="2.1", timestamp_ms=1)
    decided = Park().decide(
        (ONE, b"\xff"),
        (order_id_of(1, 2), body(quantity=0)),
        (order_id_of(1, 3), body(context=wrong_group)),
        (order_id_of(1, 4), body()),
    )
    assert [(i[0] & 7, i[1]) for i in decided.invalid] == [
        (1, ""), (2, "order.quantity"), (3, "order.context.group_id"),
    ]  # fmt: skip
    assert [row.outcome for row in rows_of(decided)] == [Outcome.UNASSIGNED] * 3 + [Outcome.ASSIGNED]
    assert [r.code for r in told(rows_of(decided)[1]).reasons] == ["ORDER_INVALID"]
    assert decided.unassigned == [order_id_of(1, n) for n in (1, 2, 3)]


def test_the_same_call_gives_the_same_bytes_and_takes_nothing() -> None:
    park = Park()
    orders = [(order_id_of(seq, n), order_of(seq)) for seq in (1, 2) for n in range(1, 6)]
    free = park.dispatcher.counters()
    first = park.decide(*orders, groups=[group(1), group(2)])
    again = park.decide(*orders, groups=[group(2), group(1)])
    assert first.rows == again.rows
    assert len(first.rows) == 10
    assert park.dispatcher.counters() == free


def order_of(seq: int) -> bytes:
    context = types_pb2.BusinessContext(group_id=10_000 + seq, sku_version="2.1", timestamp_ms=NOW_MS)
    return body(context=context)


def test_what_the_caller_may_not_ask() -> None:
    park = Park()
    with pytest.raises(ValueError, match="group of order"):
        park.decide((order_id_of(2, 1), body()))
    with pytest.raises(ValueError, match="there twice"):
        park.decide((ONE, body()), (ONE, body()))
    with pytest.raises(ValueError, match="policy has no"):
        park.decide((ONE, body()), policy={"speed": 1.0})
    with pytest.raises(ValueError, match="degrees"):
        park.decide((ONE, body()), groups=[(*group()[:5], math.nan, 0.0, *group()[7:])])
    with pytest.raises(ValueError, match="instant"):
        park.decide((ONE, body()), groups=[(*group()[:7], -1, *group()[8:])])
    with pytest.raises(ValueError, match="degrees"):
        _core.project((91.0, 0.0), [])


def test_explain_says_what_each_rule_found() -> None:
    rules = rule_set(
        ("early", 1, "user.credit_score >= 95 && order.time_slot == 'morning'", "assign_rider_priority", "7"),
        ("north", 2, "group.park == 'north'", "tag", "n"),
        ("broken", 3, "100 / (order.quantity - 2) > 0", "tag", "x"),
    )
    matched, missed, error = (
        dpb.RuleVerdict.VERDICT_MATCHED, dpb.RuleVerdict.VERDICT_NOT_MATCHED, dpb.RuleVerdict.VERDICT_ERROR,
    )  # fmt: skip
    (early, north, broken), pairs = _core.explain(rules, group(), body(), b"", NOW_MS)
    assert pairs == []
    assert early[:3] == ("early", missed, "user.credit_score >= 95")
    assert "93" in early[3]
    assert "95" in early[4]
    assert north == ("north", matched, "", "", "", "")
    assert broken[:2] == ("broken", error)
    assert broken[5]
    with pytest.raises(ValueError, match="not an Order"):
        _core.explain(rules, group(), b"\xff", b"", NOW_MS)
    with pytest.raises(ValueError, match="not a Decision"):
        _core.explain(rules, group(), body(), b"\xff", NOW_MS)


def test_sku_codes_are_names_both_ways() -> None:
    skus = _core.SkuCodes()
    assert skus.codes(["a", "b", "a"]) == [0, 1, 0]
    assert skus.codes(["c", "b"]) == [2, 1]
    assert skus.names([2, 0]) == ["c", "a"]
    with pytest.raises(ValueError, match="code 3"):
        skus.names([3])


def test_actions_and_names_are_closed_sets() -> None:
    assert _core.check_effect("assign_rider_priority", "1") == ""
    assert "1 (highest) to 100" in _core.check_effect("assign_rider_priority", "0")
    assert "there are" in _core.check_effect("explode", "1")
    assert {about for _, _, about in _core.rule_effects()} == {"order", "pair", "any"}
    assert ("user.credit_score", "int") in _core.order_schema()
