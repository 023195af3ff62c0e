"""The rights that the README gives the server: enough to serve, too little to rewrite history."""

import re
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

from persistence import auditing
from persistence.interfaces import Booking, ResultRow, RoomEnd, ScoreRow, Settle
from persistence.ownership import Succession
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import entry, hold, owner, room_row, snapshot_row
from tests.persistence.postgres_fixture import run_sql

README = Path(auditing.__file__).parent / "README.md"


@pytest.fixture
def app_dsn(own_dsn: str) -> str:
    """Return the database's address as the server uses it in production."""
    (sql,) = re.findall(r"```sql\n(CREATE ROLE.*?)```", README.read_text(), re.DOTALL)
    create, *grants = [part.strip() for part in sql.split(";") if part.strip()]
    if not run_sql(own_dsn, "SELECT 1 FROM pg_roles WHERE rolname = 'gameserver_app'"):
        run_sql(own_dsn, create)
    for grant in grants:
        run_sql(own_dsn, grant)
    parts = urlsplit(own_dsn)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"gameserver_app@{host}"))


async def test_the_server_can_do_all_that_it_has_to(app_dsn: str) -> None:
    store = PostgresStore(app_dsn, durable=False)
    await store.start()
    try:
        await store.create_person(1, "ann", 100)
        await store.rename_person(1, "bob")
        await store.create_room(room_row(7))
        await store.cluster(64)
        node = await owner(store, 0)
        await node.commit(entries=[entry(7, 1)], holds=[hold("a", 10)])
        answer = await node.commit(
            entries=[entry(7, 2)],
            bookings=[Booking(0, 7, "r", 5)],
            settles=[Settle(0, 7, "a", 5)],
            results=[ResultRow(0, 7, 1, 4, b"result")],
            scores=[ScoreRow(0, 7, "s", "keno", 1, 3)],
        )
        assert answer.balances == ((1, 95),)
        for number in (1, 2, 3):
            await store.save_snapshots([snapshot_row(7, number)], node.batch().marks, 0)
        await store.set_aside(7, "broken")
        assert await store.reopen(7)
        await node.commit(ends=[RoomEnd(0, 7)])
        row = auditing.SignedHead(0, 2, 1, node.heads[0], 1, b"key", b"signature")
        await store.save_heads([row])
        await store.save_heads([row])
        assert len(await store.entries(7, 0, 10)) == 2
        for _ in range(2):
            assert await store.claim_task("prune", "node-a", 1_000) == 1
        assert await store.pass_shards("node-a", "node-b", node.batch().marks) == {0}
        assert len(await store.take_shards("node-b", [0, 1], Succession())) == 2
        assert len(await store.shard_owners()) == 2
        assert await store.wall_ms() > 0
    finally:
        await store.stop()


@pytest.mark.parametrize(
    "table", ["journal", "journal_link", "transfer", "result", "signed_head", "journal_floor"]
)
async def test_the_server_has_no_right_to_change_what_was_recorded(
    app_dsn: str, table: str
) -> None:
    connection = await asyncpg.connect(app_dsn)
    try:
        column = "amount" if table == "transfer" else "shard"
        for sql in (
            f"UPDATE {table} SET {column} = 1",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
            f"ALTER TABLE {table} DISABLE TRIGGER append_only",
            "SELECT prune_journal('0 s')",
            "SET session_replication_role = replica",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(sql)
    finally:
        await connection.close()
