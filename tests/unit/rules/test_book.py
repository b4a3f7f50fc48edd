"""The rule book: a bad rule set is never live, a good one is durable first, and counters outlive both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace

from cuptime import core
from cuptime.app.core_parts import rule_tools
from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.requests import Requests
from cuptime.domain.values import RuleRevisionRow
from cuptime.rules.book import RuleBook, RulesInvalid
from cuptime.rules.compiled import build
from cuptime.rules.written import rendered
from cuptime.rules.yaml import merged, read_rules
from tests.unit.dispatch.rig import MorningMetrics, MorningStorage

TOOLS = rule_tools()


def rule(name: str = "early", condition: str = "user.credit_score >= 90", action: str = "tag: x") -> str:
    return f'rules:\n  - name: {name}\n    condition: "{condition}"\n    action: "{action}"\n'


class Shelf:
    """A book on a storage that survives it."""

    def __init__(self) -> None:
        self.storage = MorningStorage()
        self.clock = ManualClock(1_000)
        self.metrics = MorningMetrics()

    async def open(self) -> RuleBook:
        await self.storage.open()
        fence = await self.storage.claim(1, "test")
        requests = Requests(self.storage, fence, self.clock)
        self.book = RuleBook(self.storage, fence, self.clock, requests, TOOLS, self.metrics)
        await self.book.recover()
        return self.book


@pytest_asyncio.fixture
async def shelf() -> AsyncIterator[Shelf]:
    shelf = Shelf()
    await shelf.open()
    yield shelf


async def test_published_is_live_and_durable(shelf: Shelf) -> None:
    assert shelf.book.snapshot().revision == 0
    row = await shelf.book.publish(rule(), "first")
    assert (row.revision, row.rule_count, row.active, row.note) == (1, 1, True, "first")
    snapshot = shelf.book.snapshot()
    assert snapshot.revision == 1
    assert isinstance(snapshot.rules, core.RuleSet)
    book = await shelf.open()
    assert book.snapshot().revision == 1
    assert (await book.get(None)).source == rule()


@pytest.mark.parametrize(
    ("source", "code", "line", "column"),
    [
        (rule(condition="user.credit_scor >= 90"), "UNKNOWN_NAME", 3, 17),
        (rule(condition="true && user.tier > 3"), "NO_OVERLOAD", 3, 25),
        (rule(condition="user.tier =="), "SYNTAX", 3, None),
        (rule(action="asign_rider_priority: 1"), "UNKNOWN_ACTION", 4, 13),
        (rule(action="assign_rider_priority: 0"), "BAD_ACTION", 4, 37),
        ("rules:\n  - {name: a", "YAML_SYNTAX", 3, 1),
    ],
)
async def test_a_bad_rule_set_never_replaces_a_good_one(
    shelf: Shelf, source: str, code: str, line: int, column: int | None
) -> None:
    await shelf.book.publish(rule())
    before = shelf.book.snapshot()
    with pytest.raises(RulesInvalid) as refusal:
        await shelf.book.publish(source)
    fault = refusal.value.diagnostics[0]
    assert (fault.code, fault.line) == (code, line)
    assert column is None or fault.column == column
    assert shelf.book.snapshot() is before
    assert [row.revision for row in await shelf.book.page(before=2**62, limit=10)] == [1]
    faults, count = await shelf.book.validate(source)
    assert faults[0] == fault
    assert count <= 1


async def test_a_condition_fault_in_a_block_is_placed_in_the_file(shelf: Shelf) -> None:
    source = (
        "rules:\n  - name: b\n    action: 'tag: x'\n    condition: |\n"
        "      order.quantity > 3\n        && user.teir == 'x'\n"
    )
    faults, _ = await shelf.book.validate(source)
    assert [(fault.code, fault.line, fault.column, fault.rule) for fault in faults] == [
        ("UNKNOWN_NAME", 6, 12, "b")
    ]
    assert "user.tier" in faults[0].hint


async def test_faults_of_yaml_actions_and_conditions_come_together(shelf: Shelf) -> None:
    source = (
        "rules:\n  - {name: a, condition: 'nope', action: 'tag: x'}\n"
        "  - {name: b, condition: 'true', action: 'fly: 1'}\n  - {name: c, priorty: 1}\n"
    )
    faults, _ = await shelf.book.validate(source)
    assert {fault.code for fault in faults} == {
        "UNKNOWN_NAME",
        "UNKNOWN_ACTION",
        "UNKNOWN_KEY",
        "MISSING_KEY",
    }
    assert [fault.line for fault in faults] == sorted(fault.line for fault in faults)


async def test_a_commit_that_fails_leaves_the_old_rules_live(shelf: Shelf) -> None:
    await shelf.book.publish(rule())
    shelf.storage.failures = [Reason.STORAGE_UNAVAILABLE]
    with pytest.raises(CuptimeError):
        await shelf.book.publish(rule("other"))
    assert shelf.book.snapshot().revision == 1
    assert (await shelf.book.publish(rule("other"))).revision == 2


async def test_a_repeat_publishes_once(shelf: Shelf) -> None:
    rows = await asyncio.gather(*(shelf.book.publish(rule(), "n", request_id="r") for _ in range(5)))
    assert {row.revision for row in rows} == {1}
    with pytest.raises(CuptimeError) as reused:
        await shelf.book.publish(rule("other"), "n", request_id="r")
    assert reused.value.reason is Reason.REQUEST_ID_REUSED


async def test_publications_at_once_get_numbers_in_turn(shelf: Shelf) -> None:
    rows = await asyncio.gather(*(shelf.book.publish(rule(f"r{n}")) for n in range(8)))
    assert sorted(row.revision for row in rows) == list(range(1, 9))
    assert shelf.book.snapshot().revision == 8


async def test_roll_back_is_a_new_revision_with_the_old_content(shelf: Shelf) -> None:
    first = await shelf.book.publish(rule("one"))
    await shelf.book.publish(rule("two"))
    row = await shelf.book.roll_back(1, request_id="back")
    assert (row.revision, row.digest, row.source) == (3, first.digest, first.source)
    await shelf.book.publish(rule("three"))
    assert await shelf.book.roll_back(1, request_id="back") == row
    with pytest.raises(CuptimeError) as unknown:
        await shelf.book.roll_back(99)
    assert unknown.value.reason is Reason.RULE_REVISION_NOT_FOUND


async def test_older_revisions_can_be_judged_under_after_a_restart(shelf: Shelf) -> None:
    await shelf.book.publish(rule("one"))
    await shelf.book.publish(rule("two"))
    book = await shelf.open()
    rules = await book.compiled(1)
    assert rules is not None
    assert rules.rule_ids() == ["one"]
    assert await book.compiled(0) is None


async def test_validate_only_keeps_nothing(shelf: Shelf) -> None:
    row = await shelf.book.publish(rule(), validate_only=True)
    assert row.revision == 1
    assert shelf.book.snapshot().revision == 0
    assert await shelf.book.page(before=2**62, limit=10) == []


async def test_an_active_revision_that_compiles_no_more_gives_way_to_the_one_before(shelf: Shelf) -> None:
    await shelf.book.publish(rule("good"))
    await shelf.book.publish(rule("newer"))
    stored = await shelf.storage.rule_revision(None)
    assert stored is not None
    broken = replace(stored, source="rules: [")

    async def damaged(revision: int | None) -> RuleRevisionRow | None:
        return broken if revision in (None, 2) else None

    shelf.storage.rule_revision = damaged  # type: ignore[method-assign]
    book = await shelf.open()
    assert book.snapshot().revision == 1
    assert (await book.publish(rule("next"))).revision == 3


async def test_it_is_told_what_is_live_and_what_was_wrong_with_what_is_not(shelf: Shelf) -> None:
    assert shelf.book.standing.attempts() == []
    await shelf.book.publish(rule("a") + rule("b", "true").removeprefix("rules:\n"))
    shelf.clock.advance(500)
    await shelf.book.publish(rule("a") + rule("c", "true").removeprefix("rules:\n"))
    (good,) = shelf.book.standing.attempts()
    assert (good.origin, good.source, good.revision, good.rule_count) == ("call", "PublishRules", 2, 2)
    assert (good.attempted_ms, good.succeeded_ms, good.error) == (1_500, 1_500, "")
    # Both conditions stood in the revision before.
    assert good.reused_count == 2
    assert shelf.book.live_ms == 1_500
    shelf.clock.advance(500)
    with pytest.raises(RulesInvalid):
        await shelf.book.publish(rule("a", "user.teir == 'x'"))
    (bad,) = shelf.book.standing.attempts()
    assert (bad.attempted_ms, bad.succeeded_ms, bad.revision) == (2_000, 1_500, 2)
    assert [(fault.code, fault.line, fault.column) for fault in bad.faults] == [("UNKNOWN_NAME", 3, 17)]
    assert "UNKNOWN_NAME" in bad.error
    # A mere check is no attempt.
    await shelf.book.publish(rule("a"), validate_only=True)
    assert shelf.book.standing.attempts() == [bad]
    await shelf.book.roll_back(1)
    (back,) = shelf.book.standing.attempts()
    assert (back.source, back.revision, back.error, back.faults) == ("RollBackRules", 3, "", ())


async def test_a_start_with_a_revision_that_is_bad_by_now_says_so(shelf: Shelf) -> None:
    await shelf.book.publish(rule("good"))
    await shelf.book.publish(rule("newer"))
    stored = await shelf.storage.rule_revision(None)
    assert stored is not None
    broken = replace(stored, source="rules: [")

    async def damaged(revision: int | None) -> RuleRevisionRow | None:
        return broken if revision in (None, 2) else None

    shelf.storage.rule_revision = damaged  # type: ignore[method-assign]
    book = await shelf.open()
    (start,) = book.standing.attempts()
    assert (start.origin, start.succeeded_ms, start.faults[0].code) == ("start", 0, "YAML_SYNTAX")
    assert "ruleRevisions/2 does not compile any more" in start.error
    assert book.snapshot().revision == 1


async def test_a_batch_sees_one_revision_while_others_are_published(shelf: Shelf) -> None:
    """Revision r tags quantities above r: what a batch answers says under which revision each order was judged."""

    def more_than(revision: int) -> str:
        return rule("more", f"order.quantity > {revision}")

    await shelf.book.publish(more_than(1))
    facts: list[dict[str, object]] = [{"order.quantity": quantity} for quantity in range(200)]
    seen: set[int] = set()
    over = asyncio.Event()

    async def judge() -> None:
        while not over.is_set():
            held = shelf.book.snapshot()
            assert held.rules is not None
            found = await asyncio.to_thread(held.rules.evaluate, facts, 0, "collect")
            assert [bool(ranks) for ranks in found] == [q > held.revision for q in range(200)]
            seen.add(held.revision)

    judges = [asyncio.create_task(judge()) for _ in range(4)]
    for revision in range(2, 60):
        await shelf.book.publish(more_than(revision))
    over.set()
    await asyncio.gather(*judges)
    assert len(seen) > 10


async def test_counters_go_by_rule_and_outlive_revisions(shelf: Shelf) -> None:
    await shelf.book.publish(rule("a"))
    shelf.book.count(10, [("a", 3)], [("b", 1)])
    await shelf.book.publish(rule("a", "true"))
    shelf.book.count(10, [("a", 2)], [])
    assert shelf.book.counters() == {"a": (5, 0), "b": (0, 1)}
    assert shelf.metrics.hits["a"] in (2, 5)


def test_several_files_become_one_source_that_reads_the_same() -> None:
    full = (
        'rules:\n  - name: full\n    id: f-1\n    description: "a \\"b\\" 咖"\n    priority: 7\n    enabled: false\n'
        "    valid_from: 2026-11-24T09:00:00+08:00\n    tags: [x, 'y: z']\n    condition: |\n      user.tier == 'a'\n"
        "        || true\n    action: 'refuse: no: never'\n"
    )
    sources = [("a.yaml", rule("one")), ("b.yaml", full)]
    built = build(TOOLS, sources)
    assert built.faults == []
    again = read_rules(built.source)
    assert again.faults == []
    before = [one for name, source in sources for one in read_rules(source, name).rules]
    for old, new in zip(before, again.rules, strict=True):
        for name in (
            "rule_id",
            "name",
            "description",
            "priority",
            "enabled",
            "valid_from_ms",
            "valid_to_ms",
            "tags",
        ):
            assert getattr(old, name) == getattr(new, name)
        assert old.condition.value == new.condition.value
        assert [(use.name, use.text) for use in old.actions] == [(use.name, use.text) for use in new.actions]
    rebuilt = build(TOOLS, [("", built.source)])
    assert rebuilt.compiled is not None
    assert built.compiled is not None
    assert rebuilt.compiled.digest == built.compiled.digest
    assert rendered(merged([]), []) == "rules: []\n"
