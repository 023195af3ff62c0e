"""Finds out whom a commit waits for: which of its rooms need rows that somebody else has locked.

It takes each lock that is free for a moment and waits for none, so that what it does not get is
held by somebody else. Rooms that were found so are asked about before their next commit, which
then need not wait for the lock to find out again.
"""

from __future__ import annotations

from persistence.interfaces import Batch, Release, Settle, StorageBusy
from persistence.postgres.connections import Readers

# Rooms of the batch by what they need: their shard's row, the holds that they end with the accounts
# that held, the escrow, and, where a round is booked, the shard's house.
WHO_WAITS = """
WITH asked AS MATERIALIZED (
    SELECT room, shard FROM unnest($1::bigint[], $2::integer[]) AS a (room, shard)
), ending AS MATERIALIZED (
    SELECT e.room, h.reference, h.account
    FROM unnest($3::bigint[], $4::text[]) AS e (room, reference)
    JOIN hold AS h ON h.reference = e.reference
), booking AS MATERIALIZED (
    SELECT room, shard FROM unnest($5::bigint[], $6::integer[]) AS b (room, shard)
), free_shard AS MATERIALIZED (
    SELECT shard FROM shard WHERE shard = ANY ($2)
    FOR NO KEY UPDATE SKIP LOCKED
), free_hold AS MATERIALIZED (
    SELECT reference FROM hold WHERE reference = ANY ($4)
    FOR NO KEY UPDATE SKIP LOCKED
), free_player AS MATERIALIZED (
    SELECT number FROM account
    WHERE kind = 'player' AND number = ANY (ARRAY(SELECT account FROM ending))
    FOR NO KEY UPDATE SKIP LOCKED
), escrow AS MATERIALIZED (
    SELECT number FROM account
    WHERE kind = 'escrow' AND number = ANY ($7::bigint[])
), free_escrow AS MATERIALIZED (
    SELECT number FROM account
    WHERE kind = 'escrow' AND number = ANY ($7::bigint[])
    FOR NO KEY UPDATE SKIP LOCKED
), house AS MATERIALIZED (
    SELECT number FROM account
    WHERE kind = 'house' AND number = ANY ($6::bigint[])
), free_house AS MATERIALIZED (
    SELECT number FROM account
    WHERE kind = 'house' AND number = ANY ($6::bigint[])
    FOR NO KEY UPDATE SKIP LOCKED
)
SELECT room FROM asked
WHERE shard IN (SELECT s.shard FROM shard AS s WHERE s.shard = ANY ($2))
    AND shard NOT IN (SELECT shard FROM free_shard)
UNION
SELECT room FROM ending
WHERE reference NOT IN (SELECT reference FROM free_hold)
    OR account NOT IN (SELECT number FROM free_player)
UNION
SELECT number FROM escrow WHERE number NOT IN (SELECT number FROM free_escrow)
UNION
SELECT room FROM booking
WHERE shard IN (SELECT number FROM house) AND shard NOT IN (SELECT number FROM free_house)"""


class Waiting:
    """The rooms that were last seen to wait for a lock."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._rooms: frozenset[int] = frozenset()
        self._last_id = -1

    async def check(self, batch: Batch) -> None:
        """Raise StorageBusy if a room that waited before still does.

        A batch that comes again is let through: it may have its answer already.
        """
        is_first = batch.batch_id != self._last_id
        self._last_id = batch.batch_id
        known = self._rooms  # Hardly ever any.
        if known and is_first and any(entry.room_id in known for entry in batch.entries):
            rooms = await self.rooms_of(batch)
            if rooms:
                raise StorageBusy("locks are still held by somebody else", rooms)

    async def rooms_of(self, batch: Batch) -> frozenset[int]:
        """Return the rooms of the batch that wait for somebody just now."""
        ends: tuple[Settle | Release, ...] = (*batch.settles, *batch.releases)
        paid = {end.room_id for end in ends}
        paid |= {row.room_id for row in batch.holds} | {row.room_id for row in batch.bookings}
        async with self._readers.connection() as connection:
            rows = await connection.fetch(
                WHO_WAITS,
                [entry.room_id for entry in batch.entries],
                [entry.shard for entry in batch.entries],
                [end.room_id for end in ends],
                [end.reference for end in ends],
                [booking.room_id for booking in batch.bookings],
                [booking.shard for booking in batch.bookings],
                sorted(paid),
            )
        mine = {entry.room_id for entry in batch.entries}
        rooms = frozenset(row["room"] for row in rows)
        self._rooms = self._rooms - mine | rooms
        return rooms
