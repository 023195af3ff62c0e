"""A session of the test's own that keeps locks, and a look at who waits for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

WAIT_S = 5.0


@asynccontextmanager
async def holding(dsn: str, sql: str) -> AsyncIterator[asyncpg.Connection]:
    """Run a statement in a transaction that is open until the block ends or commits it."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"BEGIN; {sql}")
        yield connection
    finally:
        await connection.close()


async def waiting_pids(dsn: str, count: int = 1) -> list[int]:
    """Return who waits for a lock in this database, once there are as many as said."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                rows = await connection.fetch(
                    "SELECT pid FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                if len(rows) >= count:
                    return [row["pid"] for row in rows]
                await asyncio.sleep(0.002)
    finally:
        await connection.close()
