"""A running line for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.tasks.rig import Rig


@pytest_asyncio.fixture
async def rig() -> AsyncIterator[Rig]:
    """A server with an empty storage at START_MS."""
    rig = Rig()
    await rig.boot()
    yield rig
    await rig.line.close()
