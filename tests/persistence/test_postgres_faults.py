"""The database goes away, is slow, or is not what it should be: what a caller is told."""

import asyncio
import contextlib
import socket

import asyncpg
import pytest

from persistence.interfaces import (
    Batch,
    CommitAnswer,
    Poisoned,
    SchemaMismatch,
    StorageBusy,
    StorageError,
    StorageUnavailable,
)
from persistence.postgres import connections
from persistence.postgres.errors import translated
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import entry, hold, owner, rulings
from tests.persistence.conftest import OpenStore
from tests.persistence.locks import holding, waiting_pids

NOBODY_LISTENS = "postgresql://gameserver@127.0.0.1:1/gameserver"


@pytest.fixture
def store_dsn(dsn: str) -> str:
    """Only PostgreSQL can go away."""
    return dsn


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores that are opened wait longer for locks than a busy machine holds a test up."""
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "1500")


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()


async def _kill_who_waits(dsn: str) -> None:
    """Wait until a session waits for a lock, and end it."""
    (pid,) = await waiting_pids(dsn)
    await _execute(dsn, f"SELECT pg_terminate_backend({pid})")


@pytest.mark.usefixtures("patience")
async def test_a_commit_whose_session_is_killed_is_unknown_until_it_is_sent_again(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE"),
        asyncio.TaskGroup() as group,
    ):
        group.create_task(_kill_who_waits(dsn))
        with pytest.raises(StorageUnavailable):
            await store.commit(batch)
    assert await store.entries(7, 0, 10) == ()
    answer = await store.commit(batch)
    assert answer.balances == ((1, 90),)
    assert await store.commit(batch) == answer
    assert len(await store.entries(7, 0, 10)) == 1


async def test_a_commit_that_was_kept_but_never_answered_is_answered_by_another_session(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    await node.commit()
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    answer = await (await open_store()).commit(batch)
    # A session may be found dead in several states: while it ends, and when it has ended.
    for _ in range(10):
        await _execute(
            dsn,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        seen: CommitAnswer | None = None
        while seen is None:
            with contextlib.suppress(StorageUnavailable):
                seen = await store.commit(batch)
        assert seen == answer
        with contextlib.suppress(StorageUnavailable):
            await store.room(7)
    assert len(await store.entries(7, 0, 10)) == 1


@pytest.mark.usefixtures("patience")
async def test_a_cancelled_commit_throws_its_connection_away(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    batch = node.batch(holds=[hold("h", 10)])
    other = node.batch(entries=[entry(7, 1)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE"),
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(store.commit(batch))
        (pid,) = await waiting_pids(dsn)
        commit.cancel()
        with pytest.raises(asyncio.CancelledError):
            await commit
    await _execute(dsn, f"SELECT pg_terminate_backend({pid})")
    assert (await store.commit(other)).fenced == frozenset()
    node.heads[0] = other.marks[0].next_head
    assert rulings(await node.commit(holds=[hold("i", 10)]))[0][0] == "i"


async def test_a_call_that_takes_too_long_is_unavailable_and_the_next_one_works(
    open_store: OpenStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store()
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)])
    await node.commit()
    with monkeypatch.context() as patch:
        patch.setattr(connections, "CALL_TIMEOUT_S", 0.05)
        async with holding(dsn, "LOCK TABLE shard, room"):
            for call in (store.commit(batch), store.take_shards("node-b", [1]), store.room(7)):
                with pytest.raises(StorageUnavailable, match="in time"):
                    await call
    assert (await store.commit(batch)).fenced == frozenset()
    # What was given up may have taken effect all the same.
    assert (await store.take_shards("node-b", [1]))[0].epoch in (1, 2)


async def test_an_absent_server_is_unavailable_at_start_and_later() -> None:
    store = PostgresStore(NOBODY_LISTENS)
    with pytest.raises(StorageUnavailable):
        await store.start()
    with pytest.raises(StorageUnavailable):
        await store.room(7)
    with pytest.raises(StorageUnavailable):
        await store.commit(Batch(1, "node-a", ()))


async def test_a_server_that_never_answers_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        store = PostgresStore(f"postgresql://gameserver@127.0.0.1:{port}/gameserver")
        with pytest.raises(StorageUnavailable):
            await store.start()


async def test_a_stopped_store_can_be_started_again(open_store: OpenStore) -> None:
    store = await open_store()
    node = await owner(store, 0)
    await node.commit(entries=[entry(7, 1)])
    await store.stop()
    await store.start()
    await node.commit(entries=[entry(7, 2)])
    assert len(await store.entries(7, 0, 10)) == 2


async def test_a_database_that_may_lose_what_it_commits_is_refused(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    is_durable = await connection.fetchval("SELECT current_setting('fsync')") == "on"
    await connection.close()
    if is_durable:
        pytest.skip("the server under test keeps what it commits")
    store = PostgresStore(dsn)
    with pytest.raises(StorageError, match="fsync=off"):
        await store.start()


async def test_commits_are_synchronous_whatever_the_database_says(own_dsn: str) -> None:
    await _execute(
        own_dsn,
        "DO $$ BEGIN EXECUTE format("
        "'ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$",
    )
    database = connections.Database(own_dsn, application_name="test", durable=True)
    connection = await database.connect()
    assert await connection.fetchval("SHOW synchronous_commit") == "on"
    await connection.close()


async def test_sessions_carry_their_limits(dsn: str) -> None:
    database = connections.Database(dsn, application_name="node-a", durable=False)
    connection = await database.connect(**connections.COMMIT_SETTINGS)
    for name, value in {
        "statement_timeout": "2s",
        "lock_timeout": "200ms",
        "idle_in_transaction_session_timeout": "1s",
        "default_transaction_isolation": "read committed",
        "jit": "off",
        "application_name": "node-a",
        "plan_cache_mode": "force_generic_plan",
    }.items():
        assert await connection.fetchval("SELECT current_setting($1)", name) == value
    await connection.close()


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("08006", StorageUnavailable),  # connection_failure
        ("53300", StorageUnavailable),  # too_many_connections
        ("53100", StorageUnavailable),  # disk_full
        ("57014", StorageUnavailable),  # query_canceled: by statement_timeout
        ("57P01", StorageUnavailable),  # admin_shutdown
        ("57P03", StorageUnavailable),  # cannot_connect_now
        ("25006", StorageUnavailable),  # read_only_sql_transaction: a standby
        ("40001", StorageBusy),
        ("40P01", StorageBusy),
        ("55P03", StorageBusy),
        ("22003", Poisoned),  # numeric_value_out_of_range
        ("22021", Poisoned),  # character_not_in_repertoire
        ("23505", Poisoned),  # unique_violation
        ("23514", Poisoned),  # check_violation
        ("54000", Poisoned),  # program_limit_exceeded
        ("GS001", Poisoned),
        ("GS002", Poisoned),
        ("42883", SchemaMismatch),  # undefined_function
        ("42P01", SchemaMismatch),  # undefined_table
        ("42501", StorageUnavailable),  # insufficient_privilege: whatever is not known
    ],
)
async def test_errors_of_the_server_are_those_of_the_contract(
    dsn: str, code: str, kind: type[StorageError]
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(asyncpg.PostgresError) as raised:
        await _execute(dsn, raising)
    assert type(translated(raised.value)) is kind
