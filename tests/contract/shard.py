"""A storage with its owner's fence, of either kind, for the storage suite."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from cuptime.domain.clock import ManualClock
from cuptime.domain.errors import CuptimeError, Reason
from cuptime.domain.ports import Committed, Storage
from cuptime.domain.values import (
    DecisionRow,
    Fence,
)
from cuptime.domain.writes import (
    InsertDecisions,
    InsertOrders,
    Write,
)
from cuptime.storage.memory import MemoryStorage
from cuptime.storage.sqlite import SqliteStorage
from tests.contract import rows


class Shard:
    """A storage and the fence of its owner."""

    def __init__(self, storage: Storage, fence: Fence) -> None:
        self.storage = storage
        self.fence = fence

    async def do(self, *writes: Write) -> Committed:
        return await self.storage.commit(self.fence, writes)

    async def refused(self, reason: Reason, *writes: Write) -> CuptimeError:
        """The writes are refused with the reason and change nothing that can be counted."""
        before = await self.storage.counts(), await self.storage.sequences()
        with pytest.raises(CuptimeError) as refusal:
            await self.do(*writes)
        assert refusal.value.reason is reason
        assert (await self.storage.counts(), await self.storage.sequences()) == before
        return refusal.value


@pytest.fixture(params=["sqlite", "memory"])
async def shard(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shard]:
    storage: Storage = (
        SqliteStorage(tmp_path / "cuptime.db", ManualClock(9))
        if request.param == "sqlite"
        else MemoryStorage()
    )
    await storage.open()
    yield Shard(storage, await storage.claim(3, "node-a"))
    await storage.close()


def orders(*made: object) -> InsertOrders:
    return InsertOrders([rows.row_of(order) for order in made])  # type: ignore[arg-type]


def decisions(*made: DecisionRow) -> InsertDecisions:
    return InsertDecisions([rows.row_of(decision) for decision in made])


def sequenced(first: int, *made: DecisionRow) -> list[DecisionRow]:
    return [replace(decision, sequence=sequence) for sequence, decision in enumerate(made, first)]
