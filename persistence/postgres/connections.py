"""Ways to the database: one connection for commits, a few for everything else.

Every call has a deadline. A connection whose call was cut short, by the deadline or by its caller,
is thrown away: nobody may read the answer to another's question from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from persistence.interfaces import StorageError, StorageUnavailable
from persistence.postgres.errors import FAILURES, translated

# Strings, because asyncpg's classes take no parameters when the program runs.
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Lent: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"

CONNECT_TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 3.0
STOP_TIMEOUT_S = 2.0
POOL_CONNECTIONS_MAX = 4

STATEMENT_TIMEOUT_MS = 2_000
LOCK_TIMEOUT_MS = 200
# The server gives up first, so that a call that runs out of time is known to have had no effect.
assert LOCK_TIMEOUT_MS * 2 < STATEMENT_TIMEOUT_MS < CALL_TIMEOUT_S * 1_000

SETTINGS = {
    "default_transaction_isolation": "read committed",
    "statement_timeout": str(STATEMENT_TIMEOUT_MS),
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": "1000",
    "jit": "off",
}
# The commit's statements are few and always the same, and their tables grow from nothing: plans are
# made once, not anew for each number of rows, and for many rows: what grows is found by its index,
# and sets of the batch are joined by hashing.
COMMIT_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_nestloop": "off",
}

# Where the operating system cannot do them, the server works without.
OPTIONAL_SETTINGS = {"client_connection_check_interval": "1000", "tcp_user_timeout": "5000"}


class Database:
    """How to connect, and what to ask of each session."""

    def __init__(self, dsn: str, *, application_name: str, durable: bool) -> None:
        self.dsn = dsn
        self.settings = SETTINGS | {"application_name": application_name}
        if durable:
            self.settings["synchronous_commit"] = "on"

    async def connect(self, **settings: str) -> Connection:
        """Return a new connection of one's own."""
        connection = await asyncpg.connect(
            self.dsn, timeout=CONNECT_TIMEOUT_S, server_settings=self.settings | settings
        )
        await _prepare_session(connection)
        return connection

    async def pool(self) -> asyncpg.Pool[asyncpg.Record]:
        """Return a pool that holds at least one live connection."""
        return await asyncpg.create_pool(
            self.dsn,
            min_size=1,
            max_size=POOL_CONNECTIONS_MAX,
            timeout=CONNECT_TIMEOUT_S,
            server_settings=self.settings,
            init=_prepare_session,
            reset=_leave_as_it_is,
        )


async def _prepare_session(connection: Connection) -> None:
    for name, value in OPTIONAL_SETTINGS.items():
        try:
            await connection.execute("SELECT set_config($1, $2, false)", name, value)
        except asyncpg.PostgresError:
            continue


async def _leave_as_it_is(_: Connection) -> None:
    """No call changes its session, so nothing needs to be put back."""


class Writer:
    """The connection of the commit, opened anew by the next call when it was lost."""

    def __init__(self, database: Database, statements: Collection[str]) -> None:
        self._database = database
        self._sql = statements
        self._turn = asyncio.Lock()
        self._connection: Connection | None = None
        self._prepared: dict[str, Statement] = {}

    async def call(self, sql: str, arguments: Sequence[Any]) -> asyncpg.Record:
        """Run one of the statements in a transaction of its own and return its row."""
        async with self._turn:  # Each holder has a deadline, so nobody waits for ever.
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    if not self._prepared:
                        await self._open()
                    row = await self._prepared[sql].fetchrow(*arguments)
            except asyncpg.PostgresError as error:
                # The server said what happened: the session is in order, or closed by it.
                if isinstance(translated(error), StorageUnavailable):
                    self.close()
                raise translated(error) from error
            except asyncpg.DataError as error:
                raise translated(error) from error
            except BaseException as error:
                self.close()
                if isinstance(error, FAILURES):
                    raise translated(error) from error
                raise
        assert row is not None, "commit_batch returns one row"
        return row

    async def _open(self) -> None:
        self.close()
        connection = self._connection = await self._database.connect(**COMMIT_SETTINGS)
        self._prepared = {sql: await connection.prepare(sql) for sql in self._sql}

    async def stop(self) -> None:
        """Say good-bye to the server, or hang up if a call is under way."""
        connection, self._connection, self._prepared = self._connection, None, {}
        if connection is not None:
            try:
                await connection.close(timeout=STOP_TIMEOUT_S)
            except FAILURES:
                connection.terminate()

    def close(self) -> None:
        """Let the connection go; the next call opens another."""
        if self._connection is not None:
            self._connection.terminate()
        self._connection, self._prepared = None, {}


class Readers:
    """A few connections for all calls but the commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def start(self) -> None:
        """Connect, or raise what prevents it."""
        assert self._pool is None, "a store is started once until it is stopped"
        async with _in_time():
            self._pool = await self._database.pool()

    async def stop(self) -> None:
        """Close all connections, at once if they do not close in time."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Lent]:
        """Lend a connection until the deadline; it is thrown away if its call was cut short."""
        if self._pool is None:
            raise StorageUnavailable("the store is not started")
        async with _in_time(), self._pool.acquire() as connection:
            try:
                yield connection
            except (asyncpg.PostgresError, asyncpg.DataError, StorageError):
                raise
            except BaseException:
                connection.terminate()
                raise


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            yield
    except FAILURES as error:
        raise translated(error) from error
