"""Answers that do not come: from storage after a commit, from the gate after a reservation. Nothing is sold twice
meanwhile, and nothing stays taken afterwards. Over the gate in process and over a real Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from cuptime.dispatch.counters import HOLD_MS
from cuptime.dispatch.interventions import Resolution
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Gate
from cuptime.domain.writes import InsertDecisions, Write
from cuptime.gate.in_process import InProcessGate
from cuptime.gate.redis import RedisGate
from tests.unit.dispatch.rig import START_MS, Morning, rider, shop


class Deaf:
    """A gate that does what it is asked, and whose answers are lost when told so."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.lost: list[str] = []
        """The operations whose next answers are lost, one answer for each."""

    def __getattr__(self, name: str) -> object:
        real = getattr(self._gate, name)

        async def call(*arguments: object) -> object:
            answer = await real(*arguments)
            if name in self.lost:
                self.lost.remove(name)
                raise CuptimeError(Reason.GATE_UNAVAILABLE, "timed out")
            return answer

        return call


@pytest_asyncio.fixture(params=["in_process", pytest.param("redis", marks=pytest.mark.redis)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Morning]:
    """One shop that can make one order today, one rider."""
    park = uuid.uuid4().hex

    def new_gate() -> Gate:
        if request.param == "in_process":
            return Deaf(InProcessGate())  # type: ignore[return-value]
        return Deaf(RedisGate(request.getfixturevalue("redis_url"), park))  # type: ignore[return-value]

    made = Morning(new_gate=new_gate)
    await made.boot()
    await made.shops.upsert([shop(1, daily_capacity=1)])
    await made.riders.upsert([rider(1)])
    yield made
    await made.kill()


def lose(rig: Morning, *operations: str) -> None:
    assert isinstance(rig.gate, Deaf)
    rig.gate.lost += operations


def decides(writes: Sequence[Write]) -> bool:
    return any(isinstance(write, InsertDecisions) for write in writes)


async def free_today(rig: Morning) -> int:
    return (await rig.shops.get(1)).capacity_free


# --- storage does not answer ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("rebuilt", [True, False])
async def test_what_may_be_kept_stays_taken(rig: Morning, kept: bool, rebuilt: bool) -> None:
    """Longer than a hold lasts, over a rebuild of the gate, and for every group that completes meanwhile."""
    rig.storage.matching, rig.storage.dark = decides, True
    failures = rig.storage.kept_failures if kept else rig.storage.failures
    failures.append(Reason.STORAGE_UNAVAILABLE)
    await rig.full_group(10_001, size=1)
    assert len(rig.resources.unsettled) == 1
    if rebuilt:
        rig.line.doubt()
    await rig.pass_ms(3 * HOLD_MS)
    assert await free_today(rig) == 0
    rig.storage.dark = False
    await rig.full_group(10_002, size=1)
    await rig.pass_ms(60_000)
    assert rig.resources.unsettled == {}
    outcomes = [*await rig.outcomes(10_001), *await rig.outcomes(10_002)]
    assert outcomes.count("ASSIGNED") == 1
    if kept:
        assert outcomes[0] == "ASSIGNED"
    await rig.audit()


async def test_a_group_that_completes_while_nobody_knows_gets_nothing_of_it(rig: Morning) -> None:
    rig.storage.matching = decides
    rig.storage.kept_failures = [Reason.STORAGE_UNAVAILABLE]
    rig.storage.dark = True
    await rig.full_group(10_001, size=1)
    await rig.pass_ms(2 * HOLD_MS)
    await rig.full_group(10_002, size=1)
    rig.storage.dark = False
    assert await rig.outcomes(10_002) == ["UNASSIGNED"]
    await rig.pass_ms(10_000)
    assert await rig.outcomes(10_001) == ["ASSIGNED"]
    await rig.audit()


async def test_a_commit_that_takes_long_keeps_its_holds(rig: Morning) -> None:
    """Longer than a hold lasts; then it is acknowledged after all."""
    import asyncio

    group = await rig.empty_group(10_001, capacity=1)
    await rig.submit(group.group_id, 5, timestamp_ms=START_MS)
    await rig.intake.settle()
    gate = rig.storage.gate = asyncio.Event()
    for _ in range(60):
        for _ in range(50):
            await asyncio.sleep(0)
        rig.clock.advance(HOLD_MS // 20)
        rig.wheel.pump()
    left = await free_today(rig)
    gate.set()
    rig.storage.gate = None
    assert left == 0
    await rig.settle()
    assert rig.line.stats.lost_holds == 0
    assert await rig.outcomes(10_001) == ["ASSIGNED"]
    await rig.audit()


@pytest.mark.parametrize("kept", [True, False])
async def test_an_assignment_by_hand_that_nobody_knows_of(rig: Morning, kept: bool) -> None:
    await rig.riders.upsert([rider(1, paused=True)])
    await rig.full_group(10_001, size=1)
    await rig.pass_ms(30_000)
    ((waiting, _),) = await rig.interventions.page(after=0, limit=9)
    rig.storage.matching = decides
    failures = rig.storage.kept_failures if kept else rig.storage.failures
    failures.append(Reason.STORAGE_UNAVAILABLE)
    with pytest.raises(CuptimeError):
        await rig.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=1)
    await rig.pass_ms(2 * HOLD_MS)
    assert await free_today(rig) == (0 if kept else 1)
    assert rig.resources.unsettled == {}
    await rig.audit()


# --- the gate does not answer ---------------------------------------------------------------------------------------
async def test_a_rebuild_does_not_give_what_a_person_only_asks_for(
    rig: Morning, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shop's one order of the day is taken; the person's question waits for the rebuild, and is then refused."""
    await rig.full_group(10_001, size=1)
    await rig.full_group(10_002, size=1)
    await rig.pass_ms(30_000)
    ((waiting, _),) = await rig.interventions.page(after=0, limit=9)
    begun, go_on, settle = asyncio.Event(), asyncio.Event(), rig.storage.settle

    async def slow() -> None:
        begun.set()
        await go_on.wait()
        await settle()

    monkeypatch.setattr(rig.storage, "settle", slow)
    rig.line.doubt()
    await begun.wait()
    choice = rig.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=1)
    by_hand = asyncio.ensure_future(choice)
    for _ in range(100):
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(CuptimeError) as refused:
        await by_hand
    assert refused.value.reason is Reason.CAPACITY_EXCEEDED
    await rig.settle()
    await rig.audit()


async def test_a_reservation_that_timed_out_and_was_made_is_given_back(rig: Morning) -> None:
    """When the group comes again another shop is chosen: the first one keeps nothing of it."""
    lose(rig, "reserve")
    await rig.full_group(10_001, size=1)
    assert await free_today(rig) == 1
    await rig.shops.upsert([shop(1, daily_capacity=1, paused=True), shop(2, daily_capacity=1)])
    await rig.pass_ms(100)
    (row,) = await rig.latest(10_001)
    assert row is not None
    assert (row.outcome.name, row.shop_id) == ("ASSIGNED", 2)
    assert await free_today(rig) == 1
    await rig.audit()
    await rig.cancellations.cancel(10_001, 1)
    assert await free_today(rig) == 1
    await rig.audit()


async def test_a_hand_reservation_that_timed_out_is_given_back(rig: Morning) -> None:
    await rig.riders.upsert([rider(1, paused=True)])
    await rig.full_group(10_001, size=1)
    await rig.pass_ms(30_000)
    ((waiting, _),) = await rig.interventions.page(after=0, limit=9)
    lose(rig, "reserve")
    with pytest.raises(CuptimeError) as refusal:
        await rig.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=1)
    assert refusal.value.reason is Reason.GATE_UNAVAILABLE
    assert await free_today(rig) == 1
    rig.clock.advance(10)
    await rig.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=1)
    assert await rig.outcomes(10_001) == ["ASSIGNED"]
    await rig.audit()


async def test_what_is_durable_is_no_error_though_the_gate_failed(rig: Morning) -> None:
    """A hand assignment and a cancellation are in storage; the gate is built again and has them."""
    await rig.riders.upsert([rider(1, paused=True)])
    await rig.full_group(10_001, size=1)
    await rig.pass_ms(30_000)
    ((waiting, _),) = await rig.interventions.page(after=0, limit=9)
    lose(rig, "commit")
    row = await rig.interventions.resolve(waiting.order_id, Resolution.ASSIGN, shop_id=1, rider_id=1)
    assert row is not None
    assert row.outcome.name == "ASSIGNED"
    await rig.pass_ms(10_000)
    await rig.audit()
    lose(rig, "release")
    order = await rig.cancellations.cancel(10_001, 1)
    assert order.state.name == "CANCELLED"
    await rig.pass_ms(10_000)
    assert await free_today(rig) == 1
    await rig.audit()


async def test_a_batch_whose_last_word_to_the_gate_failed_is_decided(rig: Morning) -> None:
    lose(rig, "commit")
    await rig.full_group(10_001, size=1)
    await rig.pass_ms(2 * HOLD_MS)
    assert await rig.outcomes(10_001) == ["ASSIGNED"]
    assert len(await rig.all_decisions()) == 1
    await rig.audit()
