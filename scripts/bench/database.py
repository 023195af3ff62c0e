"""What one PostgreSQL carries: its processor time and what it writes, for commits of several sizes.

A node commits up to a hundred times a second, and what its rooms did in a slot decides the size:
so the cost of a commit and that of an entry are told apart. Counted is processor time of the
sessions, so that other programs on the machine hardly matter; not what a disk can sync.

    .venv/bin/python -m scripts.bench.database [--commits 400] [--sizes 1,10,100]
"""

import argparse
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import uvloop

from persistence.embedded import EmbeddedPostgres
from persistence.interfaces import Batch, CommitAnswer, EntryRow, ShardMark, chained
from persistence.ownership import DEFAULT_SHARDS
from persistence.postgres.migrate import migrate
from persistence.postgres.store import PostgresStore
from scripts.bench.opening import database_cpu_s

ROOMS = 500
PAYLOAD_BYTES = 200
WARM_UP = 20  # The first commits of a connection make their plans.
SIZES = "(pg_total_relation_size('journal') + pg_total_relation_size('journal_link'))"


@dataclass(frozen=True)
class Cost:
    """What commits of one size cost, each."""

    entries: int
    database_ms: float
    wal_bytes: float
    kept_bytes: float


class Owner:
    """A node that owns all shards and commits entries of its rooms."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._dice = random.Random(7)
        self._marks: dict[int, ShardMark] = {}
        self._rooms = [self._dice.getrandbits(53) for _ in range(ROOMS)]
        self._numbers = dict.fromkeys(self._rooms, 0)
        self._clock_tick = 0

    async def settle_in(self) -> None:
        """Take the shards."""
        for state in await self._store.take_shards("bench", range(DEFAULT_SHARDS)):
            self._marks[state.shard] = ShardMark(
                state.shard, state.epoch, 0, state.head, state.head
            )

    async def commit(self, entries: int) -> None:
        """Commit one entry each of so many rooms."""
        self._clock_tick += 1
        rows: dict[int, list[EntryRow]] = {}
        for room in self._dice.sample(self._rooms, entries):
            self._numbers[room] += 1
            payload = self._dice.randbytes(PAYLOAD_BYTES)
            shard = room % DEFAULT_SHARDS
            row = EntryRow(shard, room, self._numbers[room], self._clock_tick, payload)
            rows.setdefault(shard, []).append(row)
        for shard, part in rows.items():
            mark = self._marks[shard]
            head = chained(mark.next_head, part)
            self._marks[shard] = ShardMark(
                shard, mark.epoch, self._clock_tick, mark.next_head, head
            )
        batch = Batch(
            batch_id=self._dice.getrandbits(63),
            node="bench",
            marks=tuple(self._marks[shard] for shard in sorted(rows)),
            entries=tuple(row for shard in sorted(rows) for row in rows[shard]),
        )
        assert await self._store.commit(batch) == CommitAnswer()


async def written(dsn: str) -> tuple[int, int]:
    """Return the bytes of write-ahead log so far, and those that the journal takes."""
    asker = await asyncpg.connect(dsn)
    try:
        wal = await asker.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
        return wal, await asker.fetchval(f"SELECT {SIZES}")
    finally:
        await asker.close()


async def measured(owner: Owner, dsn: str, entries: int, commits: int) -> Cost:
    """Return what commits of one size cost."""
    for _ in range(WARM_UP):
        await owner.commit(entries)
    cpu_s, (wal, kept) = await database_cpu_s(dsn), await written(dsn)
    for _ in range(commits):
        await owner.commit(entries)
    wal_after, kept_after = await written(dsn)
    cpu_s = await database_cpu_s(dsn) - cpu_s
    return Cost(
        entries, 1_000 * cpu_s / commits, (wal_after - wal) / commits, (kept_after - kept) / commits
    )


async def all_measured(sizes: list[int], commits: int) -> list[Cost]:
    """Return what commits of each size cost on a database of their own."""
    with tempfile.TemporaryDirectory(prefix="gs-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "postgres") as server:
            await migrate(server.dsn)
            store = PostgresStore(server.dsn, application_name="bench")
            await store.start()
            try:
                owner = Owner(store)
                await owner.settle_in()
                return [await measured(owner, server.dsn, size, commits) for size in sizes]
            finally:
                await store.stop()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--commits", type=int, default=400)
    parser.add_argument("--sizes", default="1,10,100")
    arguments = parser.parse_args()
    print(f"command: python -m scripts.bench.database {' '.join(sys.argv[1:])}".rstrip())
    sizes = [int(size) for size in arguments.sizes.split(",")]
    print(
        f"{'entries':>8} {'CPU ms':>8} {'commits/s/core':>15} {'entries/s/core':>15} "
        f"{'WAL bytes':>10} {'kept bytes':>11}"
    )
    for cost in uvloop.run(all_measured(sizes, arguments.commits)):
        per_s = 1_000 / cost.database_ms
        print(
            f"{cost.entries:8} {cost.database_ms:8.2f} {per_s:15,.0f} "
            f"{per_s * cost.entries:15,.0f} {cost.wal_bytes / cost.entries:10,.0f} "
            f"{cost.kept_bytes / cost.entries:11,.0f}"
        )
    print("(bytes are those of one entry)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
