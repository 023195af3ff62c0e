"""What the questions to the database find: each test changes a row past all guards, for itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from persistence.interfaces import Booking, EntryRow, Hold, Settle
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from scripts.faulting.books import faults, is_right, standing_holds
from scripts.faulting.bots import Wallet
from scripts.faulting.journals import Findings, check_chains
from tests.persistence.builders import Node, owner
from tests.persistence.postgres_fixture import PostgresServer

ROOM, SHARD = 64, 0


@pytest.fixture(scope="module")
def played(postgres_server: PostgresServer) -> Iterator[str]:
    """Return the address of a database in which something has been played."""
    with postgres_server.database() as dsn:
        asyncio.run(_play(dsn))
        yield dsn


async def _play(dsn: str) -> None:
    """Let a player hold twice; the one is paid 30 and the round booked, the other stands."""
    await migrate(dsn)
    store = PostgresStore(dsn, durable=False)
    await store.start()
    try:
        await store.create_person(1, "ann", 1_000)
        node: Node = await owner(store, SHARD)
        holds = [Hold(SHARD, ROOM, f"{ROOM}.{at}", 1, 100 * at) for at in (1, 2)]
        await node.commit(entries=[EntryRow(SHARD, ROOM, 1, 1, b"one")], holds=holds)
        await node.commit(
            entries=[EntryRow(SHARD, ROOM, 2, 2, b"two")],
            settles=[Settle(SHARD, ROOM, f"{ROOM}.1", 30)],
            bookings=[Booking(SHARD, ROOM, f"{ROOM}#1", 70)],
        )
    finally:
        await store.stop()


@asynccontextmanager
async def _with(lie: str, dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Give a session to which the lie is the truth; nobody else sees it."""
    connection = await asyncpg.connect(dsn)
    try:
        transaction = connection.transaction(isolation="repeatable_read")
        await transaction.start()
        await connection.execute("SET LOCAL session_replication_role = 'replica'")
        await connection.execute(lie)
        yield connection
        await transaction.rollback()
    finally:
        await connection.close()


async def test_sound_books_are_found_sound(played: str) -> None:
    async with _with("SELECT", played) as connection:
        assert await faults(connection) == []
        assert await standing_holds(connection) == 1
        (fault,) = await faults(connection, at_the_end=True)
        assert "a hold of a finished round stands" in fault
        findings = Findings()
        await check_chains(connection, findings)
        assert findings.faults == []
        assert findings.counts["links_checked"] == 2


@pytest.mark.parametrize(
    ("left_minor", "start_minor", "right"),
    [(730, 1_000, True), (729, 1_000, False), (730, 1_001, False), (830, 1_100, False)],
)
async def test_a_wallet_is_right_to_the_penny_or_not(
    played: str, left_minor: int, start_minor: int, right: bool
) -> None:
    wallet = Wallet("ann", ROOM, left_minor, start_minor)
    async with _with("SELECT", played) as connection:
        assert await is_right(connection, wallet) is right
        assert not await is_right(connection, wallet._replace(room=ROOM + 1))


@pytest.mark.parametrize(
    ("lie", "wrong"),
    [
        (
            "UPDATE account SET balance = balance + 1 WHERE kind = 'player'",
            "an account is not the sum of its transfers",
        ),
        ("UPDATE account SET balance = balance + 1 WHERE kind = 'house'", "money came from"),
        ("UPDATE account SET balance = -1 WHERE kind = 'escrow'", "an escrow is overdrawn"),
        (
            "UPDATE hold SET state = 'released' WHERE reference = '64.2'",
            "an escrow keeps money that nobody holds",
        ),
        (
            "UPDATE hold SET payout = 31 WHERE reference = '64.1'",
            "a hold and its transfers differ",
        ),
        ("DELETE FROM hold WHERE reference = '64.2'", "a transfer moves money that nobody held"),
        ("DELETE FROM journal WHERE number = 1", "a room's entries have a gap"),
        (
            "UPDATE shard SET head = sha256('else')",
            "a shard's chain does not end at its head",
        ),
    ],
)
async def test_a_row_that_was_changed_is_found(played: str, lie: str, wrong: str) -> None:
    async with _with(lie, played) as connection:
        assert any(wrong in fault for fault in await faults(connection))


@pytest.mark.parametrize(
    "lie",
    [
        "UPDATE journal SET payload = 'eno' WHERE number = 1",
        "UPDATE journal SET tick = 7 WHERE number = 2",
        "DELETE FROM journal WHERE number = 2",
        "DELETE FROM journal_link WHERE link = 2",
        "UPDATE journal_link SET head = sha256('else') WHERE link = 1",
        "UPDATE shard SET link = 3",
    ],
)
async def test_a_chain_that_was_changed_is_found(played: str, lie: str) -> None:
    async with _with(lie, played) as connection:
        findings = Findings()
        await check_chains(connection, findings)
        assert findings.faults != []
