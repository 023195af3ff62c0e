"""The `Store` on PostgreSQL: a sentence of SQL for each sentence of the contract.

What may be written, and what money may move, is decided in the database (schema/*.sql). This file
asks; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from persistence.auditing import SignedHead
from persistence.checks import (
    check_batch,
    check_marks,
    check_person,
    check_room,
    check_snapshots,
    is_text,
    plain,
)
from persistence.interfaces import (
    INTEGER_MAX,
    Batch,
    CommitAnswer,
    EntryRow,
    PersonRow,
    ResultRow,
    RoomRow,
    Ruling,
    ShardMark,
    SnapshotRow,
    StorageBusy,
    StorageError,
    TooManyRooms,
    Verdict,
    WalletRow,
)
from persistence.postgres.busy import Waiting
from persistence.postgres.connections import Database, Lent, Readers, Writer
from persistence.postgres.migrate import check_schema
from persistence.postgres.ownership import PostgresOwnership
from persistence.postgres.rows import (
    COMMIT_ALL,
    COMMIT_ENTRIES,
    ROOM_COLUMNS,
    SNAPSHOT_COLUMNS,
    commit_answer,
    commit_call,
    head_arguments,
    room_of,
    snapshot_arguments,
)

# Without any of these a commit that was answered could be lost, or torn, when the machine stops.
DURABLE_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")

SAVE_HEADS = """
INSERT INTO signed_head (shard, link, epoch, head, signed_ms, key_id, signature)
SELECT * FROM unnest(
    $1::integer[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bytea[], $7::bytea[])
ON CONFLICT DO NOTHING"""

CREATE_ROOM = (
    "SELECT c.is_full, "
    + ", ".join(f"(c.kept).{column}" for column in ROOM_COLUMNS.split(", "))
    + " FROM create_room($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS c"
)

# The shards' rows are shared until the snapshots are kept, so that no new owner comes between.
SAVE_SNAPSHOTS = f"""
WITH mine AS MATERIALIZED (
    SELECT s.shard FROM shard AS s
    JOIN unnest($1::integer[], $2::bigint[]) AS m (shard, epoch) USING (shard, epoch)
    ORDER BY s.shard FOR SHARE OF s
), kept AS (
    INSERT INTO snapshot ({SNAPSHOT_COLUMNS})
    SELECT r.*
    FROM unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bytea[])
        AS r ({SNAPSHOT_COLUMNS})
    JOIN room USING (room_id)
    JOIN mine USING (shard)
    ON CONFLICT (room_id, number) DO UPDATE
    SET tick = excluded.tick, rules_version = excluded.rules_version,
        state_hash = excluded.state_hash, payload = excluded.payload
    RETURNING room_id
)
SELECT DISTINCT room_id FROM kept"""

# Goes all that is older than the newest of those which are too old.
PRUNE_SNAPSHOTS = """
DELETE FROM snapshot WHERE room_id = ANY ($1::bigint[]) AND number < (
    SELECT max(old.number) FROM snapshot AS old
    WHERE old.room_id = snapshot.room_id AND old.tick + $2::bigint < (
        SELECT newest.tick FROM snapshot AS newest WHERE newest.room_id = snapshot.room_id
        ORDER BY newest.number DESC LIMIT 1))"""

WALLET_HISTORY = """
SELECT transfer_id, kind, reference, amount FROM (
    (SELECT transfer_id, kind, reference, -amount AS amount FROM transfer
     WHERE debit_kind = 'player' AND debit_number = $1 ORDER BY transfer_id DESC LIMIT $2)
    UNION ALL
    (SELECT transfer_id, kind, reference, amount FROM transfer
     WHERE credit_kind = 'player' AND credit_number = $1 ORDER BY transfer_id DESC LIMIT $2)
) AS sides
ORDER BY transfer_id DESC LIMIT $2"""


class PostgresStore(PostgresOwnership):
    """A `Store` on a database that `persistence.postgres.migrate` has brought up to date.

    ``durable`` is off only in tests, whose database may lose what it has committed.
    """

    def __init__(
        self, dsn: str, *, application_name: str = "gameserver", durable: bool = True
    ) -> None:
        database = Database(dsn, application_name=application_name, durable=durable)
        self._durable = durable
        super().__init__(Readers(database))
        self._writer = Writer(database, (COMMIT_ENTRIES, COMMIT_ALL))
        self._waiting = Waiting(self._readers)

    async def start(self) -> None:
        """Connect; refuse a database of another version, or one that may lose what it keeps."""
        await self._readers.start()
        try:
            async with self._readers.connection() as connection:
                await self._check_durable(connection)
                await check_schema(connection)
        except BaseException:
            await self.stop()
            raise

    async def _check_durable(self, connection: Lent) -> None:
        for name in DURABLE_SETTINGS if self._durable else ():
            value = await connection.fetchval("SELECT current_setting($1)", name)
            if value not in ("on", "remote_apply"):
                raise StorageError(f"PostgreSQL runs with {name}={value}: it must be on")

    async def stop(self) -> None:
        """Let go of connections."""
        await self._writer.stop()
        await self._readers.stop()

    async def commit(self, batch: Batch) -> CommitAnswer:
        """Commit a batch whole, but for the shards that it names as fenced or regressed."""
        check_batch(batch)
        await self._waiting.check(batch)
        try:
            return commit_answer(await self._writer.call(*commit_call(batch)))
        except StorageBusy as error:
            raise StorageBusy(str(error), await self._rooms_of(batch)) from error

    async def _rooms_of(self, batch: Batch) -> frozenset[int]:
        try:
            return await self._waiting.rooms_of(batch)
        except StorageError:
            return frozenset()  # Nobody knows; that the batch had no effect is known all the same.

    async def save_heads(self, rows: Sequence[SignedHead]) -> None:
        """Keep signed heads; one that is kept already stays."""
        await self._fetch(SAVE_HEADS, *head_arguments(rows))

    # --- Rooms and what they leave behind.

    async def create_room(
        self, row: RoomRow, creator_rooms_max: int = INTEGER_MAX
    ) -> RoomRow | None:
        """Keep the room, as open; return the standing one if creator and key are known."""
        check_room(row, creator_rooms_max)
        (made,) = await self._fetch(
            CREATE_ROOM,
            *(row.room_id, row.shard, row.code, row.game, row.rules_version),
            *(row.creator, row.create_key, row.listed, row.settings, creator_rooms_max),
        )
        columns = dict(made)
        if columns.pop("is_full"):
            raise TooManyRooms(f"account {row.creator} has {creator_rooms_max} rooms")
        return None if columns["room_id"] is None else room_of(columns)

    async def room(self, room_id: int) -> RoomRow | None:
        """Return a room by its id, whatever its status."""
        return await self._room_where(
            f"SELECT {ROOM_COLUMNS} FROM room WHERE room_id = $1", room_id
        )

    async def room_by_code(self, code: str) -> RoomRow | None:
        """Return the room that is not ended and has this code."""
        if not is_text(code):
            return None
        return await self._room_where(
            f"SELECT {ROOM_COLUMNS} FROM room WHERE code = $1 AND status <> 2", code
        )

    async def rooms(self, game: str | None, *, listed: bool, limit: int) -> tuple[RoomRow, ...]:
        """Return rooms that are not ended, newest first; ``listed`` leaves the others out."""
        if game is not None and not is_text(game):
            return ()
        of_game = "" if game is None else " AND game = $2"
        of_listed = " AND listed" if listed else ""
        rows = await self._fetch(
            f"SELECT {ROOM_COLUMNS} FROM room WHERE status <> 2{of_game}{of_listed}"
            " ORDER BY serial DESC LIMIT $1",
            limit,
            *(() if game is None else (game,)),
        )
        return tuple(room_of(row) for row in rows)

    async def open_rooms(self, shards: Collection[int]) -> tuple[RoomRow, ...]:
        """Return all open rooms of these shards, oldest first."""
        rows = await self._fetch(
            f"SELECT {ROOM_COLUMNS} FROM room"
            " WHERE status = 1 AND shard = ANY ($1::integer[]) ORDER BY serial",
            list(shards),
        )
        return tuple(room_of(row) for row in rows)

    async def set_aside(self, room_id: int, note: str) -> None:
        """Mark a room as stopped because of an error, unless it has ended."""
        await self._fetch(
            "UPDATE room SET status = 3, note = $2 WHERE room_id = $1 AND status <> 2",
            room_id,
            plain(note),
        )

    async def reopen(self, room_id: int) -> bool:
        """Open a room that was set aside, and drop its note; false if it was not set aside."""
        sql = "UPDATE room SET status = 1, note = '' WHERE room_id = $1 AND status = 3 RETURNING 1"
        return bool(await self._fetch(sql, room_id))

    async def save_snapshots(
        self, rows: Sequence[SnapshotRow], marks: Sequence[ShardMark], keep_ticks: int
    ) -> None:
        """Keep snapshots of rooms whose shards are still under the marks' epochs; skip others."""
        check_snapshots(rows, keep_ticks)
        check_marks(marks)
        if rows and marks:
            async with self._readers.connection() as connection:
                kept = await connection.fetch(SAVE_SNAPSHOTS, *snapshot_arguments(rows, marks))
                rooms = [row["room_id"] for row in kept]
                # Apart from the first statement, so that its locks are gone before this begins.
                await connection.execute(PRUNE_SNAPSHOTS, rooms, keep_ticks)

    async def snapshots(
        self, room_id: int, until_tick: int = INTEGER_MAX
    ) -> tuple[SnapshotRow, ...]:
        """Return the two newest snapshots of a room up to ``until_tick``, newest first."""
        rows = await self._fetch(
            f"SELECT {SNAPSHOT_COLUMNS} FROM snapshot WHERE room_id = $1 AND tick <= $2"
            " ORDER BY number DESC LIMIT 2",
            *(room_id, until_tick),
        )
        return tuple(SnapshotRow(*row) for row in rows)

    async def entries(self, room_id: int, after: int, limit: int) -> tuple[EntryRow, ...]:
        """Return up to ``limit`` entries of a room with numbers above ``after``, in order."""
        rows = await self._fetch(
            "SELECT shard, room_id, number, tick, payload FROM journal"
            " WHERE room_id = $1 AND number > $2 ORDER BY number LIMIT $3",
            *(room_id, after, limit),
        )
        return tuple(EntryRow(*row) for row in rows)

    async def results(self, room_id: int, limit: int) -> tuple[ResultRow, ...]:
        """Return a room's results, newest first."""
        rows = await self._fetch(
            "SELECT shard, room_id, round_number, tick, payload FROM result"
            " WHERE room_id = $1 ORDER BY round_number DESC LIMIT $2",
            *(room_id, limit),
        )
        return tuple(ResultRow(*row) for row in rows)

    async def scores(self, game: str, limit: int) -> tuple[tuple[int, int], ...]:
        """Return (account, points) of a game's best, ties to who reached their points first."""
        if not is_text(game):
            return ()
        rows = await self._fetch(
            "SELECT account, points FROM score_total WHERE game = $1"
            " ORDER BY points DESC, reached LIMIT $2",
            *(game, limit),
        )
        return tuple((row["account"], row["points"]) for row in rows)

    # --- People and wallets.

    async def create_person(self, account: int, name: str, grant_minor: int) -> bool:
        """Keep a new account with a wallet of play money; false if the account is taken."""
        check_person(account, name, grant_minor)
        rows = await self._fetch("SELECT create_person($1, $2, $3)", account, name, grant_minor)
        return bool(rows[0][0])

    async def rename_person(self, account: int, name: str) -> bool:
        """Give a known account another name; false if there is none."""
        check_person(account, name, 0)
        sql = "UPDATE person SET name = $2 WHERE account = $1 RETURNING 1"
        return bool(await self._fetch(sql, account, name))

    async def persons(self, accounts: Collection[int]) -> tuple[PersonRow, ...]:
        """Return names of those accounts that are known, by account."""
        rows = await self._fetch(
            "SELECT account, name FROM person WHERE account = ANY ($1::bigint[]) ORDER BY account",
            list(accounts),
        )
        return tuple(PersonRow(*row) for row in rows)

    async def balance(self, account: int) -> int | None:
        """Return an account's balance in minor units, or None if it has no wallet."""
        rows = await self._fetch(
            "SELECT balance FROM account WHERE kind = 'player' AND number = $1", account
        )
        return rows[0]["balance"] if rows else None

    async def wallet_history(self, account: int, limit: int) -> tuple[WalletRow, ...]:
        """Return an account's newest transfers, newest first."""
        return tuple(WalletRow(*row) for row in await self._fetch(WALLET_HISTORY, account, limit))

    async def verdicts(self, references: Sequence[str]) -> tuple[Verdict, ...]:
        """Return the rulings that are known for these holds, in the order asked."""
        rows = await self._fetch(
            "SELECT reference, ruling FROM unnest($1::text[]) WITH ORDINALITY AS a (reference, n)"
            " JOIN hold USING (reference) ORDER BY n",
            list(references),
        )
        return tuple(Verdict(row["reference"], Ruling(row["ruling"])) for row in rows)

    async def _room_where(self, sql: str, *arguments: Any) -> RoomRow | None:
        rows = await self._fetch(sql, *arguments)
        return room_of(rows[0]) if rows else None
