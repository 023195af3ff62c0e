"""A database that was played in, copied for each test that tampers with it."""

import asyncio
from collections.abc import Iterator

import pytest

from persistence.auditing import SignedHead
from persistence.postgres.migrate import migrate
from tests.persistence.postgres_fixture import PostgresServer, postgres_server
from tests.services.audit.rounds import recorder

__all__ = ["postgres_server"]  # A fixture is found in the conftest by its name.


@pytest.fixture(scope="session")
def _heads() -> list[SignedHead]:
    return []


@pytest.fixture
def own_dsn(postgres_server: PostgresServer, _heads: list[SignedHead]) -> Iterator[str]:
    """Return a copy of a database with three rooms in two shards, rounds, snapshots and heads."""

    def prepare(dsn: str) -> None:
        asyncio.run(migrate(dsn))
        _heads.extend(asyncio.run(_played(dsn)))

    with postgres_server.database(postgres_server.template("gs_test_audit", prepare)) as dsn:
        yield dsn


@pytest.fixture
def heads(own_dsn: str, _heads: list[SignedHead]) -> list[SignedHead]:
    """Return the heads at the end, signed, as they stand outside the database."""
    assert own_dsn
    return _heads


@pytest.fixture
def empty_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """Return a database in which nobody has played."""

    def prepare(dsn: str) -> None:
        asyncio.run(migrate(dsn))

    with postgres_server.database(postgres_server.template("gs_test_empty", prepare)) as dsn:
        yield dsn


async def _played(dsn: str) -> list[SignedHead]:
    async with recorder(dsn) as played:
        await played.open(1, 101, 102)
        await played.open(65, 103, 104)
        await played.open(2, 105, 106)
        for room_id in (1, 65, 2, 1):
            await played.round(room_id)
        await played.snapshot(1)
        await played.store.save_heads(played.signed())
        for room_id in (1, 65, 2):
            await played.round(room_id)
        await played.snapshot(65)
        await played.snapshot(1)
        await played.round(1)
        return played.signed()
