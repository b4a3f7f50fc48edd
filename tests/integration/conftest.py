"""One real server for each module of these tests, and a door to it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from cuptime.app.served import ServedProcess
from tests.integration.door import Door


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedProcess]:
    """A server that must live through the module and stop in order."""
    server = ServedProcess(tmp_path_factory.mktemp("served"))
    server.start()
    yield server
    assert server.running(), server.log_tail()
    assert server.stop() == 0, server.log_tail()
    assert "fault" not in server.log.read_text(), server.log_tail()


@pytest_asyncio.fixture
async def door(served: ServedProcess) -> AsyncIterator[Door]:
    """A channel of the test's own."""
    async with Door(served.address) as opened:
        yield opened
