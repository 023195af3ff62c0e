"""The directory services under test, as a fixture."""

from collections.abc import AsyncIterator

import pytest

from tests.persistence.directories import Directories, MemoryDirectories


@pytest.fixture(params=["memory"])
async def directories(request: pytest.FixtureRequest) -> AsyncIterator[Directories]:
    """Return a directory service with nothing in it."""
    service: Directories = MemoryDirectories()
    yield service
    await service.stop()
