"""What operators ask for beside a server that runs, or while none does.

It puts together the same parts as the server, but looks at the database from the side: the server
that is embedded in the data directory may be running for somebody else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from gameserver.app import KEYS_FILE, POSTGRES_DIR, load_games, run
from gameserver.config import Config, ConfigError
from gameserver.services.audit.books import check_books
from gameserver.services.audit.heads import HeadsFile
from gameserver.services.audit.journal import Trust, verify_journal
from gameserver.services.audit.report import Report
from gameserver.services.audit.rooms import Told, room_told, row_told
from persistence.auditing import Pruned, Records
from persistence.embedded import EmbeddedPostgres, running_dsn
from persistence.interfaces import RoomStatus
from persistence.postgres.records import prune, reading
from persistence.postgres.store import PostgresStore
from persistence.sealing import KeyRing, load_keys

T = TypeVar("T")


def check_ledger(config: Config) -> Report:
    """Prove the books."""
    return _read(config, check_books)


def verify(config: Config, room_id: int | None, *, replay: bool) -> Report:
    """Prove the journal."""
    keys = _keys(config)
    trust = Trust(keys.sealer(), keys.signing.public_key(), load_games(config), _heads(config))
    return _read(
        config, lambda records: verify_journal(records, trust, room_id=room_id, replay=replay)
    )


def rooms(config: Config) -> list[Told]:
    """Return the rooms that have not ended, newest first."""

    async def listed(records: Records) -> list[Told]:
        rows = [row async for row in records.rooms() if row.status is not RoomStatus.ENDED]
        return [row_told(row) for row in reversed(rows)]

    return _read(config, listed)


def room(config: Config, room_id: int) -> Told | None:
    """Return what is kept of one room."""
    seals, games = _keys(config).sealer(), load_games(config)
    return _read(config, lambda records: room_told(records, games, seals, room_id))


def reopen(config: Config, room_id: int) -> bool:
    """Open a room that was set aside; false if it was not."""

    async def reopened() -> bool:
        async with database_beside(config) as dsn:
            store = PostgresStore(dsn)
            await store.start()
            try:
                return await store.reopen(room_id)
            finally:
                await store.stop()

    return run(config, reopened())


def prune_journal(config: Config) -> Pruned:
    """Remove from the journal what is older than ``journal_keep`` and needed by nobody."""
    if not config.journal_keep_ns:
        raise ConfigError("journal_keep is 0s: everything is kept for ever")

    async def pruned() -> Pruned:
        async with database_beside(config) as dsn:
            return await prune(dsn, config.journal_keep_ns / 1e9)

    return run(config, pruned())


def _read(config: Config, read: Callable[[Records], Awaitable[T]]) -> T:
    async def reads() -> T:
        async with database_beside(config) as dsn, reading(dsn) as records:
            return await read(records)

    return run(config, reads())


@asynccontextmanager
async def database_beside(config: Config) -> AsyncIterator[str]:
    """Give the address of the database, without disturbing whoever runs it."""
    if config.store == "memory":
        raise ConfigError("store is memory: nothing is kept that one could look at")
    if config.postgres:
        yield config.postgres
        return
    data_dir = config.data_dir / POSTGRES_DIR
    if not data_dir.exists():
        raise ConfigError(f"data_dir: there is no database in {config.data_dir}")
    dsn = running_dsn(data_dir)
    if dsn is not None:
        yield dsn
        return
    async with EmbeddedPostgres(data_dir) as server:
        yield server.dsn


def _keys(config: Config) -> KeyRing:
    """Return the keys; here none are made, because they would open nothing."""
    path = config.keys or config.data_dir / KEYS_FILE
    if not path.exists():
        raise ConfigError(f"data_dir: there is no {KEYS_FILE} in {config.data_dir}")
    return load_keys(path)


def _heads(config: Config) -> list[str]:
    return HeadsFile(config.data_dir).lines()
