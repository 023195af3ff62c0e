"""What it costs to open rooms whose node has died: time of the new node's core and of PostgreSQL.

Each room is read from PostgreSQL, unsealed, and replayed from the entries since its last snapshot,
several at a time. `scripts.bench.cluster` takes what this prints as arguments.

    .venv/bin/python -m scripts.bench.opening [--rooms 1000] [--entries 50]
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import uvloop

from gameserver.runtime.clock import SystemClock
from gameserver.runtime.metrics import Metrics
from gameserver.runtime.recovery import Recovery
from persistence.embedded import EmbeddedPostgres
from persistence.ownership import NO_HEAD, ShardMark
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from scripts.bench.nodes import GAMES, room_row
from scripts.bench.play import cpu_s
from scripts.bench.recovery import SEALS, kept, played

AT_ONCE = 8
NO_RIGHT = ShardMark(0, 0, 0, NO_HEAD, NO_HEAD)  # Nothing is played under older rules here.
RING_TICKS = 600


@dataclass(frozen=True)
class Cost:
    """What one room costs, in ms of processor time, and how many were opened a second."""

    node_ms: float
    database_ms: float
    rooms_s: float


async def database_cpu_s(dsn: str) -> float:
    """Return how much processor time the database's sessions have used; the asker's counts too."""
    asker = await asyncpg.connect(dsn)
    try:
        sessions = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
        return sum(cpu_s(row["pid"]) for row in await asker.fetch(sessions))
    finally:
        await asker.close()


async def measured(rooms: int, entries: int) -> Cost:
    """Keep rooms, then open them all."""
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server:
            await migrate(server.dsn)
            store = PostgresStore(server.dsn)
            await store.start()
            try:
                for room_id in range(1, rooms + 1):
                    await kept(store, played(entries, room_id), room_id)
                return await opened(store, server.dsn, rooms)
            finally:
                await store.stop()


async def opened(store: PostgresStore, dsn: str, rooms: int) -> Cost:
    """Open the rooms several at a time, as after a takeover."""
    metrics = Metrics()
    recovery = Recovery(store, GAMES, SEALS, SystemClock(), metrics)
    ids = iter(range(1, rooms + 1))

    async def open_next() -> None:
        for room_id in ids:
            room = await recovery.open(room_row(room_id), 0, RING_TICKS, NO_RIGHT)
            assert room.room.entry_number

    database_s = await database_cpu_s(dsn)
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(open_next())
    node_s, wall_s = time.process_time() - began_cpu_s, time.perf_counter() - began_s
    database_s = await database_cpu_s(dsn) - database_s
    assert metrics.rooms_recovered_total == rooms
    return Cost(1_000 * node_s / rooms, 1_000 * database_s / rooms, rooms / wall_s)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rooms", type=int, default=1_000)
    parser.add_argument("--entries", type=int, default=50)
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.opening {' '.join(sys.argv[1:])}".rstrip())
    cost = uvloop.run(measured(arguments.rooms, arguments.entries))
    print(f"{arguments.rooms} rooms of {arguments.entries} entries each, {AT_ONCE} at a time")
    print(f"node        {cost.node_ms:6.2f} ms of its core for a room")
    print(
        f"PostgreSQL  {cost.database_ms:6.2f} ms of a core for a room: "
        f"{1_000 / cost.database_ms:,.0f} rooms a second and core"
    )
    print(f"together    {cost.rooms_s:,.0f} rooms a second on {os.cpu_count()} cores")
    return 0


if __name__ == "__main__":
    sys.exit(main())
