"""A node for a benchmark: the real runtime on a real PostgreSQL, without sockets."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gameserver.engine.game import Game
from gameserver.games import keno
from gameserver.runtime.clock import SystemClock
from gameserver.runtime.keeper import shard_of
from gameserver.runtime.node import Node, NodeSettings
from persistence.embedded import EmbeddedPostgres
from persistence.interfaces import RoomRow, Store
from persistence.ownership import DEFAULT_SHARDS
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from persistence.sealing import Sealer
from scripts.bench.beat_game import Beat

GAMES: dict[str, Game[Any]] = {"keno": keno.GAME(), Beat.name: Beat()}
SETTINGS = NodeSettings(
    name="bench",
    shards=DEFAULT_SHARDS,
    rooms_max=100_000,
    ring_ticks=600,
    snapshot_entries=100,
    snapshot_ticks=600,
)


@asynccontextmanager
async def database(dsn: str | None) -> AsyncIterator[PostgresStore]:
    """Give a store on a fresh embedded PostgreSQL that keeps what it commits, or on ``dsn``."""
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        if dsn is not None:
            async with _started(dsn) as store:
                yield store
            return
        async with (
            EmbeddedPostgres(Path(folder) / "postgres") as server,
            _started(server.dsn) as store,
        ):
            yield store


@asynccontextmanager
async def _started(dsn: str) -> AsyncIterator[PostgresStore]:
    await migrate(dsn)
    store = PostgresStore(dsn)
    await store.start()
    try:
        yield store
    finally:
        await store.stop()


def node_on(store: Store, settings: NodeSettings = SETTINGS) -> Node:
    """Return a node that is not started yet."""
    return Node(store, GAMES, Sealer({1: bytes(32)}, 1), SystemClock(), settings)


def room_row(room_id: int, game: str = "keno") -> RoomRow:
    """Return the row of a room with all settings at their defaults."""
    return RoomRow(
        room_id=room_id,
        shard=shard_of(room_id, DEFAULT_SHARDS),
        code=f"{room_id:06d}",
        game=game,
        rules_version=GAMES[game].rules_version,
        creator=1,
        create_key=room_id.to_bytes(8, "big"),
        listed=False,
        settings=b"\x80",
    )
