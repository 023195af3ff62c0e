"""The schema: how it comes to be, what it guards, and how a change behind its back is found."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from persistence.interfaces import Batch, ResultRow, SchemaMismatch
from persistence.postgres.migrate import SCHEMA, migrate, migrations, status
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import entry, hold, owner
from tests.persistence.conftest import OpenStore
from tests.persistence.postgres_fixture import PostgresServer

Connection = asyncpg.Connection


@pytest.fixture
def dsn(own_dsn: str) -> str:
    """Schemas are changed here, and tables counted."""
    return own_dsn


@pytest.fixture
def store_dsn(dsn: str) -> str:
    """Only PostgreSQL has a schema."""
    return dsn


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[Connection]:
    """Return a session of the test's own."""
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def empty(postgres_server: PostgresServer) -> AsyncIterator[str]:
    """Return the address of a database without a schema."""
    with postgres_server.database() as dsn:
        yield dsn


def _folder(path: Path, *statements: str) -> Path:
    path.mkdir(exist_ok=True)
    for number, sql in enumerate(statements, start=1):
        (path / f"{number:04}_step.sql").write_text(sql)
    return path


async def _refusal(dsn: str) -> str:
    store = PostgresStore(dsn, durable=False)
    with pytest.raises(SchemaMismatch) as refused:
        await store.start()
    return str(refused.value)


# --- Migrations.


async def test_a_new_database_gets_all_migrations_and_then_none(empty: str) -> None:
    names = [migration.name for migration in migrations()]
    assert (await status(empty)).pending == tuple(names)
    assert await migrate(empty) == names
    assert await migrate(empty) == []
    done = await status(empty)
    assert (done.applied, done.pending) == (tuple(names), ())


async def test_two_who_migrate_at_once_do_it_once(empty: str) -> None:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(migrate(empty)) for _ in range(3)]
    applied = sorted((task.result() for task in tasks), key=len)
    assert applied == [[], [], [migration.name for migration in migrations()]]


async def test_a_migration_that_fails_leaves_those_before_it(empty: str, tmp_path: Path) -> None:
    broken = _folder(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b (); SELECT 1/0")
    with pytest.raises(Exception, match="division by zero"):
        await migrate(empty, broken)
    assert (await status(empty, broken)).pending == ("0002_step",)
    assert await migrate(empty, _folder(tmp_path, "CREATE TABLE a ()", "CREATE TABLE b ()")) == [
        "0002_step"
    ]


async def test_a_migration_that_changed_after_it_was_applied_is_refused(
    empty: str, tmp_path: Path
) -> None:
    await migrate(empty, _folder(tmp_path, "CREATE TABLE a ()"))
    changed = _folder(tmp_path, "CREATE TABLE a (b integer)", "CREATE TABLE c ()")
    for call in (migrate(empty, changed), status(empty, changed)):
        with pytest.raises(SchemaMismatch, match="0001_step is not what the database was made"):
            await call


async def test_a_database_newer_than_the_code_is_refused(dsn: str, connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO schema_migration (number, name, checksum) VALUES (99, '0099_later', 'x')"
    )
    with pytest.raises(SchemaMismatch, match="newer than this code: it has 0099_later"):
        await migrate(dsn)
    assert "newer than this code" in await _refusal(dsn)


async def test_a_database_without_the_schema_is_refused_with_the_remedy(empty: str) -> None:
    assert "gameserver migrate" in await _refusal(empty)


async def test_a_store_on_an_older_schema_says_what_is_missing(
    dsn: str, connection: Connection
) -> None:
    last = migrations()[-1]
    await connection.execute("DELETE FROM schema_migration WHERE number = $1", last.number)
    assert last.name in await _refusal(dsn)


def test_migrations_are_numbered_without_a_gap(tmp_path: Path) -> None:
    _folder(tmp_path, "SELECT 1", "SELECT 2", "SELECT 3")
    assert [migration.number for migration in migrations(tmp_path)] == [1, 2, 3]
    (tmp_path / "0002_step.sql").unlink()
    with pytest.raises(AssertionError, match="gap"):
        migrations(tmp_path)


def test_the_schema_needs_no_extension() -> None:
    for migration in migrations():
        assert "CREATE EXTENSION" not in migration.sql.upper()
    assert list(SCHEMA.glob("*.sql"))


# --- Guards.


async def test_what_was_recorded_can_be_neither_changed_nor_removed(
    open_store: OpenStore, connection: Connection
) -> None:
    store = await open_store()
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    await node.commit(
        entries=[entry(7, 1)],
        holds=[hold("h", 10)],
        results=[ResultRow(0, 7, 1, 1, b"r")],
    )
    for table, column in (
        ("journal", "tick"),
        ("journal_link", "rows"),
        ("transfer", "amount"),
        ("result", "tick"),
    ):
        for sql in (
            f"UPDATE {table} SET {column} = 99",
            f"DELETE FROM {table}",
            f"TRUNCATE {table}",
        ):
            with pytest.raises(asyncpg.PostgresError, match=f"{table} is append-only") as refused:
                await connection.execute(sql)
            assert refused.value.sqlstate == "GS001"
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") >= 1


async def test_the_database_itself_lets_no_player_owe(
    open_store: OpenStore, connection: Connection
) -> None:
    await (await open_store()).create_person(1, "ann", 100)
    with pytest.raises(asyncpg.CheckViolationError):
        await connection.execute("UPDATE account SET balance = -1 WHERE kind = 'player'")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE journal SET payload = 'other' WHERE number = 2",
        "UPDATE journal SET tick = tick + 1 WHERE room_id = 7 AND number = 1",
        "DELETE FROM journal WHERE number = 3",
        "DELETE FROM journal_link WHERE link = 2",
        "DELETE FROM journal_link WHERE link = 3; DELETE FROM journal WHERE number = 4",
        "UPDATE journal_link SET head = sha256(head) WHERE shard = 0 AND link = 1",
        "UPDATE journal_link SET rows = rows + 1 WHERE shard = 0 AND link = 1",
        "INSERT INTO journal VALUES (9, 1, 0, 2, 9, 1, 'slipped in')",
    ],
)
async def test_a_change_behind_the_guards_breaks_the_chain(
    open_store: OpenStore, connection: Connection, change: str
) -> None:
    node = await owner(await open_store(), 0, 1)
    await node.commit(entries=[entry(7, 1), entry(8, 1, shard=1), entry(7, 2)])
    await node.commit(entries=[entry(7, 3)])
    await node.commit(entries=[entry(7, 4)])
    await node.commit()
    assert await connection.fetch("SELECT * FROM broken_link") == []
    await connection.execute(f"SET session_replication_role = replica; {change}")
    found = await connection.fetch("SELECT * FROM broken_link")
    assert {row["shard"] for row in found} == {0}


async def test_a_balance_changed_behind_the_book_is_found(
    open_store: OpenStore, connection: Connection
) -> None:
    await (await open_store()).create_person(1, "ann", 100)
    assert await connection.fetch("SELECT * FROM drifted_account") == []
    await connection.execute("UPDATE account SET balance = 101 WHERE kind = 'player'")
    (row,) = await connection.fetch("SELECT * FROM drifted_account")
    assert tuple(row) == ("player", 1, 101, 100)


async def test_answers_that_nobody_will_ask_for_are_swept_away(
    open_store: OpenStore, connection: Connection
) -> None:
    store = await open_store()
    await store.commit(Batch(1, "node-a", ()))
    await connection.execute("UPDATE batch SET stored_at = now() - interval '61 minutes'")
    await store.commit(Batch(2, "node-a", ()))
    await store.commit(Batch(64, "node-a", ()))
    rows = await connection.fetch("SELECT batch_id FROM batch ORDER BY 1")
    assert [row["batch_id"] for row in rows] == [2, 64]


async def test_no_statement_of_a_commit_reads_a_table_from_end_to_end(
    open_store: OpenStore, dsn: str, connection: Connection
) -> None:
    store = await open_store()
    for account in range(50):
        await store.create_person(account, "ann", 100)
    node = await owner(store, 0)
    await connection.execute("ANALYZE")
    for number in range(1, 6):
        await node.commit(
            entries=[entry(7, number)],
            holds=[hold(f"{number}:{account}", 1, account) for account in range(50)],
        )
    await store.stop()
    # A session's counts are written when it ends, which is a moment after we have let it go.
    async with asyncio.timeout(10):
        while (
            await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            > 1
        ):
            pass
    rows = await connection.fetch(
        "SELECT relname, seq_scan FROM pg_stat_user_tables"
        " WHERE relname IN ('journal', 'hold', 'transfer', 'room', 'batch', 'result')"
    )
    assert all(row["seq_scan"] <= 1 for row in rows), rows
