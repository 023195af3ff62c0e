"""The stores under test, and a look into the book that their interface does not offer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import asyncpg
import pytest

from persistence.interfaces import Store
from persistence.memory import MemoryStore
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import Book
from tests.persistence.directory_fixture import (
    directories,
    make_server,
    redis_server,
    url_of,
)
from tests.persistence.postgres_fixture import PostgresServer, postgres_server, run_sql

# A fixture is found in the conftest by its name.
__all__ = ["directories", "make_server", "postgres_server", "redis_server", "url_of"]

OpenStore = Callable[[], Awaitable[Store]]
PassTime = Callable[[int], Awaitable[None]]

WALL_MS = 1_700_000_000_000


# Without the guards, and faster than a new database for each test.
_WIPE = """
DO $$ DECLARE t record; BEGIN
    PERFORM set_config('session_replication_role', 'replica', true);
    FOR t IN
        SELECT tablename FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'schema_migration'
    LOOP
        EXECUTE format('DELETE FROM %I', t.tablename);
    END LOOP;
END $$"""


@pytest.fixture(scope="session")
def _shared_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    with postgres_server.database(postgres_server.template("gs_test_stores", _migrated)) as dsn:
        yield dsn


@pytest.fixture
def dsn(_shared_dsn: str) -> str:
    """Return the address of a database with the schema of this code and nothing in it."""
    run_sql(_shared_dsn, _WIPE)
    return _shared_dsn


@pytest.fixture
def own_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the address of such a database for a test that changes more than what it holds."""
    with postgres_server.database(postgres_server.template("gs_test_stores", _migrated)) as dsn:
        yield dsn


def _migrated(dsn: str) -> None:
    asyncio.run(migrate(dsn))


@pytest.fixture(params=["memory", "postgres"])
def store_dsn(request: pytest.FixtureRequest) -> str | None:
    """Return the address of the database under test, or None for the memory store."""
    return str(request.getfixturevalue("dsn")) if request.param == "postgres" else None


class Clock:
    """The time of the memory store."""

    now_ms = WALL_MS


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still."""
    return Clock()


@pytest.fixture
def pass_time(store_dsn: str | None, clock: Clock) -> PassTime:
    """Return what makes all claims older by so many milliseconds."""

    async def passing(ms: int) -> None:
        clock.now_ms += ms
        if store_dsn is not None:
            older = f"SET renewed_at = renewed_at - interval '{ms} ms'"
            run_sql(store_dsn, f"UPDATE shard {older}")
            run_sql(store_dsn, f"UPDATE task {older}")

    return passing


@pytest.fixture
async def open_store(store_dsn: str | None, clock: Clock) -> AsyncIterator[OpenStore]:
    """Return what opens a store on the same data each time."""
    opened: list[Store] = []
    memory = MemoryStore(lambda: clock.now_ms)

    async def opening() -> Store:
        store: Store = memory if store_dsn is None else PostgresStore(store_dsn, durable=False)
        await store.start()
        opened.append(store)
        return store

    yield opening
    for store in opened:
        await store.stop()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """Return one started store."""
    return await open_store()


@pytest.fixture
async def book(store: Store, store_dsn: str | None) -> Book:
    """Return what reads all balances, by kind and number; issue accounts are added up."""

    async def of_postgres() -> dict[tuple[str, int], int]:
        assert store_dsn is not None
        return await book_of(store_dsn)

    async def of_memory() -> dict[tuple[str, int], int]:
        assert isinstance(store, MemoryStore)
        return store.book_balances()

    return of_memory if store_dsn is None else of_postgres


async def book_of(dsn: str) -> dict[tuple[str, int], int]:
    """Return all balances of a database, after checking that each is the sum of its transfers."""
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetch("SELECT * FROM drifted_account") == []
        rows = await connection.fetch(
            "SELECT kind::text, CASE WHEN kind = 'issue' THEN 0 ELSE number END AS number,"
            " sum(balance)::bigint FROM account GROUP BY 1, 2"
        )
        return {(kind, number): balance for kind, number, balance in rows}
    finally:
        await connection.close()
