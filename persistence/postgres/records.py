"""Everything that PostgreSQL keeps, read in one transaction that sees a single moment.

It may take long and disturbs nobody: it reads, takes no locks that a commit would wait for, and
what is committed meanwhile it does not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, TypeVar

import asyncpg

from persistence.auditing import (
    AccountRow,
    ChainedEntry,
    FloorRow,
    HoldRow,
    LinkRow,
    Pruned,
    RecordedResult,
    ShardHead,
    SignedHead,
    TransferRow,
)
from persistence.failures import TaskFenced
from persistence.interfaces import EntryRow, RoomRow, SnapshotRow
from persistence.ownership import TaskFence
from persistence.postgres.connections import CONNECT_TIMEOUT_S, Connection
from persistence.postgres.errors import translating
from persistence.postgres.migrate import check_schema
from persistence.postgres.rows import ROOM_COLUMNS, SNAPSHOT_COLUMNS, room_of

T = TypeVar("T")

SETTINGS = {
    "application_name": "gameserver audit",
    "statement_timeout": "0",  # Sorting a large journal takes what it takes.
    "lock_timeout": "5000",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "on",
    "jit": "off",
}
ROWS_AT_ONCE = 500
PRUNE = "SELECT links, entries, snapshots, answers FROM prune_journal($1)"
HOLDS_TASK = "SELECT 1 FROM task WHERE task = $1 AND epoch = $2"
PRUNE_TIMEOUT_S = 3_600.0
STEP_TIMEOUT_S = 600.0  # The first rows come when all are sorted.


@asynccontextmanager
async def reading(dsn: str) -> AsyncIterator[PostgresRecords]:
    """Give all records as they stand now, as long as the block lasts."""
    with translating():
        connection = await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=SETTINGS)
        try:
            await check_schema(connection)
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield PostgresRecords(connection)
        finally:
            connection.terminate()


# One look into the index for each shard, however many heads there are.
SHARDS_SIGNED = """
WITH RECURSIVE signed AS (
    (SELECT shard FROM signed_head ORDER BY shard LIMIT 1)
    UNION ALL
    SELECT (SELECT h.shard FROM signed_head AS h WHERE h.shard > s.shard ORDER BY h.shard LIMIT 1)
    FROM signed AS s WHERE s.shard IS NOT NULL
)
SELECT shard FROM signed WHERE shard IS NOT NULL"""


class PostgresRecords:
    """`persistence.auditing.Records` on an open transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def shards(self) -> tuple[ShardHead, ...]:
        """Return all shards that were ever taken."""
        sql = "SELECT shard, epoch, link, head FROM shard ORDER BY shard"
        return tuple(ShardHead(*row) for row in await self._connection.fetch(sql))

    async def shards_signed(self) -> frozenset[int]:
        """Return the shards of which a head was signed."""
        return frozenset(row["shard"] for row in await self._connection.fetch(SHARDS_SIGNED))

    async def floors(self) -> tuple[FloorRow, ...]:
        """Return how far the journals were pruned, for those that were."""
        sql = "SELECT DISTINCT ON (shard) shard, link, head FROM journal_floor ORDER BY 1, 2 DESC"
        return tuple(FloorRow(*row) for row in await self._connection.fetch(sql))

    async def link(self, shard: int, link: int) -> LinkRow | None:
        """Return one link."""
        row = await self._connection.fetchrow(
            "SELECT shard, link, prev_head, head, rows FROM journal_link"
            " WHERE shard = $1 AND link = $2",
            *(shard, link),
        )
        return None if row is None else LinkRow(*row)

    def links(self) -> AsyncIterator[LinkRow]:
        """Yield all links, by shard and number."""
        sql = "SELECT shard, link, prev_head, head, rows FROM journal_link ORDER BY shard, link"
        return self._rows(lambda row: LinkRow(*row), sql)

    def chained(self) -> AsyncIterator[ChainedEntry]:
        """Yield all entries, by shard, link and place."""
        return self._rows(
            lambda row: ChainedEntry(row[0], row[1], EntryRow(*row[2:])),
            "SELECT link, place, shard, room_id, number, tick, payload FROM journal"
            " ORDER BY shard, link, place, room_id, number",
        )

    def signed_heads(self, shard: int) -> AsyncIterator[SignedHead]:
        """Yield a shard's signed heads by link."""
        return self._rows(
            lambda row: SignedHead(*row),
            "SELECT shard, link, epoch, head, signed_ms, key_id, signature FROM signed_head"
            " WHERE shard = $1 ORDER BY link, epoch",
            shard,
        )

    def rooms(self) -> AsyncIterator[RoomRow]:
        """Yield all rooms, oldest first."""
        return self._rows(room_of, f"SELECT {ROOM_COLUMNS} FROM room ORDER BY serial")

    async def room(self, room_id: int) -> RoomRow | None:
        """Return one room."""
        sql = f"SELECT {ROOM_COLUMNS} FROM room WHERE room_id = $1"
        row = await self._connection.fetchrow(sql, room_id)
        return None if row is None else room_of(row)

    async def last_entries(self, room_id: int, limit: int) -> tuple[EntryRow, ...]:
        """Return a room's newest entries, newest first."""
        rows = await self._connection.fetch(
            "SELECT shard, room_id, number, tick, payload FROM journal"
            " WHERE room_id = $1 ORDER BY number DESC LIMIT $2",
            *(room_id, limit),
        )
        return tuple(EntryRow(*row) for row in rows)

    def entries(self, room_id: int) -> AsyncIterator[EntryRow]:
        """Yield a room's entries by number."""
        return self._rows(
            lambda row: EntryRow(*row),
            "SELECT shard, room_id, number, tick, payload FROM journal"
            " WHERE room_id = $1 ORDER BY number",
            room_id,
        )

    def snapshots(self, room_id: int) -> AsyncIterator[SnapshotRow]:
        """Yield a room's snapshots by number."""
        return self._rows(
            lambda row: SnapshotRow(*row),
            f"SELECT {SNAPSHOT_COLUMNS} FROM snapshot WHERE room_id = $1 ORDER BY number",
            room_id,
        )

    def results(self, room_id: int) -> AsyncIterator[RecordedResult]:
        """Yield a room's results by round."""
        return self._rows(
            lambda row: RecordedResult(*row),
            "SELECT room_id, round_number, tick, payload FROM result"
            " WHERE room_id = $1 ORDER BY round_number",
            room_id,
        )

    def accounts(self) -> AsyncIterator[AccountRow]:
        """Yield all accounts, by kind and number."""
        return self._rows(
            lambda row: AccountRow(*row),
            "SELECT kind::text, number, balance FROM account ORDER BY account.kind, number",
        )

    def transfers(self) -> AsyncIterator[TransferRow]:
        """Yield all transfers, by reference and kind."""
        return self._rows(
            lambda row: TransferRow(
                row[0], row[1], row[2], (row[3], row[4]), (row[5], row[6]), row[7]
            ),
            "SELECT transfer_id, kind, reference, debit_kind::text, debit_number,"
            " credit_kind::text, credit_number, amount FROM transfer"
            " ORDER BY reference, kind, transfer_id",
        )

    def holds(self) -> AsyncIterator[HoldRow]:
        """Yield all holds by reference."""
        return self._rows(
            lambda row: HoldRow(*row),
            "SELECT reference, account, room_id, amount, ruling, state, payout FROM hold"
            " ORDER BY reference",
        )

    async def _rows(
        self, made: Callable[[asyncpg.Record], T], sql: str, *arguments: Any
    ) -> AsyncIterator[T]:
        with translating():
            cursor = await self._connection.cursor(sql, *arguments)
            while True:
                async with asyncio.timeout(STEP_TIMEOUT_S):
                    rows = await cursor.fetch(ROWS_AT_ONCE)
                for row in rows:
                    yield made(row)
                if len(rows) < ROWS_AT_ONCE:
                    return


async def prune(dsn: str, keep_s: float, fence: TaskFence | None = None) -> Pruned:
    """Remove what is older and not needed; the tables stay open to commits meanwhile.

    With a fence nothing is removed unless the task is held to the end: else TaskFenced is raised.
    """
    with translating():
        connection = await asyncpg.connect(
            dsn,
            timeout=CONNECT_TIMEOUT_S,
            server_settings=SETTINGS | {"default_transaction_read_only": "off"},
        )
        try:
            await check_schema(connection)
            async with asyncio.timeout(PRUNE_TIMEOUT_S), connection.transaction():
                await _check_fence(connection, HOLDS_TASK, fence)
                row = await connection.fetchrow(PRUNE, timedelta(seconds=keep_s))
                # Locked at the end only: until then whoever runs the task must be able to renew it.
                await _check_fence(connection, f"{HOLDS_TASK} FOR SHARE", fence)
        finally:
            connection.terminate()
    assert row is not None, "prune_journal returns one row"
    return Pruned(*row)


async def _check_fence(connection: Connection, sql: str, fence: TaskFence | None) -> None:
    if fence is not None and await connection.fetchrow(sql, *fence) is None:
        raise TaskFenced(f"{fence.task} has a newer runner than that of epoch {fence.epoch}")
