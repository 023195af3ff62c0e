"""Every test of the edge runs on both event loops, against real sockets on loopback."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
import uvloop

from tests.net.rig import Rig


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that each asynchronous test runs on."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    """Run a server with the settings that tests mostly want."""
    async with Rig() as rig:
        yield rig
