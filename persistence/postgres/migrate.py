"""Brings a database to the version of this code, one numbered file at a time.

It knows the files and what the database says of them, and nothing of what they contain. A file
that was applied may never change: its checksum is kept beside its number.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import asyncpg

from persistence.interfaces import SchemaMismatch
from persistence.postgres.errors import translating

SCHEMA = Path(__file__).parent / "schema"

CONNECT_TIMEOUT_S = 10.0
MIGRATE_TIMEOUT_S = 600.0  # A migration of large tables may take minutes; two never run at once.
STATUS_TIMEOUT_S = 10.0

# Any number that nobody else locks in this database.
_LOCK = 0x6773_6D69_6772_6174

_CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migration (
    number     integer PRIMARY KEY,
    name       text NOT NULL,
    checksum   text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""

# Strings, because asyncpg's classes take no parameters when the program runs.
Connection: TypeAlias = (
    "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the schema, whose name begins with its number."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Return the SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Names of the migrations that the database has, and of those that it lacks, in order."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]


def migrations(folder: Path = SCHEMA) -> tuple[Migration, ...]:
    """Return the schema's files in the order of their numbers, which count from 1."""
    found = tuple(
        Migration(int(file.name[:4]), file.stem, file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("[0-9][0-9][0-9][0-9]_*.sql"))
    )
    numbers = [migration.number for migration in found]
    assert numbers == list(range(1, len(found) + 1)), f"{folder} has a gap or a double: {numbers}"
    return found


async def migrate(database: str | Connection, folder: Path = SCHEMA) -> list[str]:
    """Apply what is pending and return its names; whoever comes second waits and finds nothing."""
    known = migrations(folder)
    async with _connected(database) as connection, _deadline(MIGRATE_TIMEOUT_S):
        with translating():
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            try:
                await connection.execute(_CREATE_TABLE)
                pending = await _pending(connection, known)
                for migration in pending:
                    await _apply(connection, migration)
            finally:
                if not connection.is_closed():
                    await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    return [migration.name for migration in pending]


async def status(database: str | Connection, folder: Path = SCHEMA) -> SchemaStatus:
    """Return what is applied and what is pending; raise SchemaMismatch as `migrate` would."""
    known = migrations(folder)
    async with _connected(database) as connection, _deadline(STATUS_TIMEOUT_S):
        with translating():
            pending = await _pending(connection, known)
    done = known[: len(known) - len(pending)]
    return SchemaStatus(tuple(m.name for m in done), tuple(m.name for m in pending))


async def check_schema(connection: Connection) -> None:
    """Raise SchemaMismatch unless the database has exactly this code's schema."""
    pending = (await status(connection)).pending
    if pending:
        raise SchemaMismatch(f"the database lacks {', '.join(pending)}: run `gameserver migrate`")


async def _pending(connection: Connection, known: Sequence[Migration]) -> Sequence[Migration]:
    if await connection.fetchval("SELECT to_regclass('schema_migration') IS NULL"):
        return known
    rows = await connection.fetch(
        "SELECT number, name, checksum FROM schema_migration ORDER BY number"
    )
    if len(rows) > len(known):
        newest, last = rows[-1]["name"], known[-1].name if known else "nothing"
        raise SchemaMismatch(
            f"the database is newer than this code: it has {newest}, this code ends with {last}"
        )
    for row, migration in zip(rows, known, strict=False):
        if (row["number"], row["checksum"]) != (migration.number, migration.checksum):
            raise SchemaMismatch(
                f"{migration.name} is not what the database was made with ({row['name']}): "
                "a migration that was applied may not change; add a new one instead"
            )
    return known[len(rows) :]


async def _apply(connection: Connection, migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migration (number, name, checksum) VALUES ($1, $2, $3)",
            migration.number,
            migration.name,
            migration.checksum,
        )


@asynccontextmanager
async def _connected(database: str | Connection) -> AsyncIterator[Connection]:
    if not isinstance(database, str):
        yield database
        return
    with translating():
        connection = await asyncpg.connect(database, timeout=CONNECT_TIMEOUT_S)
    try:
        yield connection
    finally:
        connection.terminate()


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncIterator[None]:
    with translating():
        async with asyncio.timeout(seconds):
            yield
