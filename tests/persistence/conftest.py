"""The stores under test, and a look into the book that their interface does not offer."""

from collections.abc import AsyncIterator

import pytest

from persistence.interfaces import Store
from persistence.memory import MemoryStore
from tests.persistence.builders import Book


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """One started store."""
    store = MemoryStore()
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def book(store: Store) -> Book:
    """Return all balances of the book, by kind and number; issue accounts are added up."""
    assert isinstance(store, MemoryStore)
    memory = store

    async def balances() -> dict[tuple[str, int], int]:
        return memory.book_balances()

    return balances
