"""Who owns which shard and who runs which task, on PostgreSQL: a statement for each question.

Each statement decides by rows that it has locked, so that of several who ask at once one gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg

from persistence.checks import check_claim, check_cluster, check_passing, check_taking
from persistence.ownership import (
    NO_HEAD,
    NOBODY,
    ClusterRow,
    ShardMark,
    ShardOwner,
    ShardState,
    Succession,
)
from persistence.postgres.connections import Readers

MAKE_CLUSTER = "INSERT INTO cluster (shards) VALUES ($1) ON CONFLICT DO NOTHING"
CLUSTER = "SELECT cluster_id, shards FROM cluster"

# What may not be taken is left alone, not even locked: its owner may be at work. What looks free is
# locked and looked at again, because somebody may have come before us, or the owner have come back.
_MAY_BE_TAKEN = """(
    $4::text[] IS NULL
    OR s.node = ANY ($4)
    OR s.renewed_at <= clock_timestamp() - $5::interval)"""
TAKE_SHARDS = f"""
INSERT INTO shard AS s (shard, epoch, node, clock_tick, head)
SELECT asked.shard, 1, $1, 0, $3
FROM unnest($2::integer[]) AS asked (shard)
LEFT JOIN shard AS s USING (shard)
WHERE s.shard IS NULL OR {_MAY_BE_TAKEN}
ORDER BY asked.shard
ON CONFLICT (shard) DO UPDATE
SET epoch = s.epoch + 1, node = excluded.node, renewed_at = clock_timestamp()
WHERE {_MAY_BE_TAKEN}
RETURNING s.shard, s.epoch, s.clock_tick, s.head, s.link"""

PASS_SHARDS = """
WITH mine AS MATERIALIZED (
    SELECT s.shard FROM shard AS s
    JOIN unnest($3::integer[], $4::bigint[]) AS m (shard, epoch) USING (shard, epoch)
    WHERE s.node IN ($1, $2)
    ORDER BY s.shard FOR NO KEY UPDATE OF s
)
UPDATE shard AS s SET node = $2, renewed_at = clock_timestamp()
FROM mine WHERE s.shard = mine.shard
RETURNING s.shard"""

SHARD_OWNERS = """
SELECT shard, node, epoch, clock_tick,
    greatest(floor(extract(epoch FROM clock_timestamp() - renewed_at) * 1000), 0)::bigint
FROM shard ORDER BY shard"""

CLAIM_TASK = """
INSERT INTO task AS t (task, epoch, node) VALUES ($1, 1, $2)
ON CONFLICT (task) DO UPDATE
SET epoch = t.epoch + (t.node <> excluded.node)::integer,
    node = excluded.node, renewed_at = clock_timestamp()
WHERE t.node = excluded.node OR t.renewed_at <= clock_timestamp() - $3::interval
RETURNING t.epoch"""


class PostgresOwnership:
    """An `OwnershipStore` on the connections that it is given."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def cluster(self, shards: int) -> ClusterRow:
        """Return what the cluster was made with, at the first call this many shards."""
        check_cluster(shards)
        rows = await self._fetch(CLUSTER)
        if not rows:
            await self._fetch(MAKE_CLUSTER, shards)
            rows = await self._fetch(CLUSTER)
        return ClusterRow(*rows[0])

    async def wall_ms(self) -> int:
        """Return the database's own time in milliseconds since 1970."""
        sql = "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
        return int((await self._fetch(sql))[0][0])

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        """Raise the epoch of each shard that may be taken and become its owner."""
        check_taking(node, shards, succession)
        free = None if succession is None else [node, NOBODY, *succession.dead]
        stale_ms = None if succession is None else succession.stale_ms
        stale = None if stale_ms is None else timedelta(milliseconds=stale_ms)
        rows = await self._fetch(TAKE_SHARDS, node, sorted(set(shards)), NO_HEAD, free, stale)
        return tuple(ShardState(*row) for row in sorted(rows, key=lambda row: row["shard"]))

    async def pass_shards(self, node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
        """Make ``to`` the name of the owner where it was ``node``; return where it is now."""
        check_passing(node, to, marks)
        shards, epochs = [mark.shard for mark in marks], [mark.epoch for mark in marks]
        rows = await self._fetch(PASS_SHARDS, node, to, shards, epochs)
        return frozenset(row["shard"] for row in rows)

    async def shard_owners(self) -> tuple[ShardOwner, ...]:
        """Return all shards that were ever taken, by number."""
        return tuple(ShardOwner(*row) for row in await self._fetch(SHARD_OWNERS))

    async def claim_task(self, task: str, node: str, stale_ms: int) -> int | None:
        """Return the epoch under which this node runs the task, None if another does."""
        check_claim(task, node, stale_ms)
        rows = await self._fetch(CLAIM_TASK, task, node, timedelta(milliseconds=stale_ms))
        return rows[0]["epoch"] if rows else None

    async def _fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self._readers.connection() as connection:
            return await connection.fetch(sql, *arguments)
