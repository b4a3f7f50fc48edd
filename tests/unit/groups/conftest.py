"""A running morning for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.unit.dispatch.rig import Morning


@pytest_asyncio.fixture
async def morning() -> AsyncIterator[Morning]:
    """A server with an empty storage at 09:00, three shops, five riders."""
    rig = Morning()
    await rig.boot()
    await rig.stock_up()
    yield rig
    await rig.kill()
