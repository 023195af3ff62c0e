"""Shards, tasks and rooms that several ask for at once on PostgreSQL: one gets each.

Where the order of two transactions matters, one of them is a session of the test's own that keeps
its locks until it is told to let go; the test waits until the others are seen to wait for it.
"""

import asyncio
import shutil
from pathlib import Path

import asyncpg
import pytest

from persistence.auditing import Pruned
from persistence.failures import TaskFenced
from persistence.interfaces import RoomRow, StorageBusy, Store, TooManyRooms
from persistence.ownership import ClusterRow, ShardState, Succession, TaskFence
from persistence.postgres import connections
from persistence.postgres.migrate import SCHEMA, migrate
from persistence.postgres.records import prune
from persistence.postgres.rows import commit_call
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import Node, entry, hold, owner, room_row
from tests.persistence.conftest import OpenStore, PassTime
from tests.persistence.locks import holding, waiting_pids
from tests.persistence.postgres_fixture import PostgresServer, run_sql

NODES = 4
SHARDS = range(16)
MINUTE_MS = 60_000
OF_A = Succession(("node-a",))


@pytest.fixture
def store_dsn(dsn: str) -> str:
    """Only PostgreSQL has more than one at a time."""
    return dsn


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores that are opened wait longer for locks than a busy machine holds a test up."""
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "1500")


async def _stores(open_store: OpenStore, count: int = NODES) -> list[Store]:
    return [await open_store() for _ in range(count)]


async def _all_take(
    stores: list[Store], succession: Succession
) -> dict[str, tuple[ShardState, ...]]:
    async with asyncio.TaskGroup() as group:
        takes = {
            f"taker-{n}": group.create_task(store.take_shards(f"taker-{n}", SHARDS, succession))
            for n, store in enumerate(stores)
        }
    return {name: take.result() for name, take in takes.items()}


# --- Taking.


async def test_shards_that_nobody_had_go_to_one_of_those_who_ask(open_store: OpenStore) -> None:
    stores = await _stores(open_store)
    taken = await _all_take(stores, Succession(stale_ms=MINUTE_MS))
    states = [state for part in taken.values() for state in part]
    assert sorted(state.shard for state in states) == list(SHARDS)
    assert {state.epoch for state in states} == {1}
    names = {row.shard: row.node for row in await stores[0].shard_owners()}
    assert names == {state.shard: name for name, part in taken.items() for state in part}


async def test_a_dead_nodes_shards_go_to_one_of_those_who_wait_for_them(
    open_store: OpenStore, dsn: str
) -> None:
    stores = await _stores(open_store)
    await owner(stores[0], *SHARDS)
    async with (
        holding(dsn, "SELECT 1 FROM shard WHERE shard = 0 FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        all_take = group.create_task(_all_take(stores, OF_A))
        await waiting_pids(dsn, NODES)
        await holder.execute("ROLLBACK")
    counts = sorted(len(part) for part in all_take.result().values())
    assert counts == [0, 0, 0, len(SHARDS)]
    assert {row.epoch for row in await stores[0].shard_owners()} == {2}


async def test_who_takes_a_shard_waits_for_the_commit_in_flight_and_finds_what_it_wrote(
    open_store: OpenStore, dsn: str
) -> None:
    store, other = await _stores(open_store, 2)
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(store.commit(batch))
        await waiting_pids(dsn)
        take = group.create_task(other.take_shards("node-b", [0], OF_A))
        await waiting_pids(dsn, 2)
        await holder.execute("ROLLBACK")
    assert commit.result().fenced == frozenset()
    (state,) = take.result()
    assert (state.epoch, state.head) == (2, batch.marks[0].next_head)
    assert len(await other.entries(7, 0, 10)) == 1
    assert (await node.commit(entries=[entry(7, 2)])).fenced == {0}


async def test_an_owner_whose_late_commit_comes_first_keeps_its_shard(
    open_store: OpenStore, dsn: str, pass_time: PassTime
) -> None:
    store, other = await _stores(open_store, 2)
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    await pass_time(MINUTE_MS)
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(store.commit(batch))
        await waiting_pids(dsn)
        stale = Succession(stale_ms=MINUTE_MS)
        take = group.create_task(other.take_shards("node-b", [0], stale))
        await waiting_pids(dsn, 2)
        await holder.execute("ROLLBACK")
    assert take.result() == ()
    assert commit.result().fenced == frozenset()
    assert [(row.node, row.epoch) for row in await store.shard_owners()] == [("node-a", 1)]


async def test_whoever_may_not_take_a_shard_does_not_touch_it(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await owner(store, 0)
    async with holding(dsn, "SELECT 1 FROM shard WHERE shard = 0 FOR UPDATE"):
        # As if a commit of the owner were under way; it would be waited for.
        stale = Succession(("node-c",), MINUTE_MS)
        (state,) = await store.take_shards("node-b", [0, 1], stale)
    assert state.shard == 1


async def test_owners_and_takers_of_many_shards_never_block_each_other_for_good(
    open_store: OpenStore,
) -> None:
    names = tuple(f"node-{n}" for n in range(NODES))

    async def turns(store: Store, name: str) -> int:
        fenced = 0
        node = Node(store, name)
        for turn in range(10):
            order = SHARDS if turn % 2 else SHARDS[::-1]
            for state in await store.take_shards(name, order, Succession(names)):
                node.epochs[state.shard], node.heads[state.shard] = state.epoch, state.head
            fenced += len((await node.commit()).fenced)
            marks = node.batch().marks
            await store.pass_shards(name, names[turn % NODES], marks[::-1])
        return fenced

    stores = await _stores(open_store)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(turns(store, name)) for store, name in zip(stores, names, strict=True)
        ]
    assert sum(task.result() for task in tasks) > 0
    assert {row.shard: row.epoch for row in await stores[0].shard_owners()} == dict.fromkeys(
        SHARDS, NODES * 10
    )


async def test_the_age_of_a_claim_counts_from_the_statement_and_not_from_its_transaction(
    store: Store, dsn: str
) -> None:
    node = await owner(store, 0, 1)
    young = "SELECT count(*) FROM shard WHERE renewed_at > now()"
    connection = await asyncpg.connect(dsn)
    try:
        for rows in ([entry(7, 1)], []):
            batch = node.batch(entries=rows)
            async with connection.transaction():
                assert await connection.fetchval(young) == 0
                await connection.fetch(commit_call(batch)[0], *commit_call(batch)[1])
                assert await connection.fetchval(young) == 2
            node.heads[0] = batch.marks[0].next_head
    finally:
        await connection.close()


# --- Passing on.


async def test_passing_on_waits_for_the_commit_in_flight(open_store: OpenStore, dsn: str) -> None:
    store, other = await _stores(open_store, 2)
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(node.send(batch))
        await waiting_pids(dsn)
        passed = group.create_task(store.pass_shards("node-a", "node-b", batch.marks))
        await waiting_pids(dsn, 2)
        await holder.execute("ROLLBACK")
    assert commit.result().fenced == frozenset()
    assert passed.result() == {0}
    assert (await node.commit(entries=[entry(7, 2)])).fenced == frozenset()
    (state,) = await other.take_shards("node-b", [0], Succession())
    assert (state.epoch, state.head) == (2, node.heads[0])
    assert (await node.commit(entries=[entry(7, 3)])).fenced == {0}
    assert len(await other.entries(7, 0, 10)) == 2


async def test_what_was_taken_meanwhile_is_not_passed_on(open_store: OpenStore, dsn: str) -> None:
    store = await open_store()
    node = await owner(store, 0, 1)
    taken = "UPDATE shard SET epoch = epoch + 1, node = 'node-c' WHERE shard = 0"
    async with holding(dsn, taken) as taker, asyncio.TaskGroup() as group:
        marks = node.batch().marks
        passed = group.create_task(store.pass_shards("node-a", "node-b", marks))
        await waiting_pids(dsn)
        await taker.execute("COMMIT")
    assert passed.result() == {1}
    assert [row.node for row in await store.shard_owners()] == ["node-c", "node-b"]


async def test_a_shard_that_stays_locked_makes_takers_and_passers_busy(
    open_store: OpenStore, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "100")
    store = await open_store()
    node = await owner(store, 0)
    async with holding(dsn, "SELECT 1 FROM shard FOR UPDATE"):
        with pytest.raises(StorageBusy):
            await store.take_shards("node-b", [0], OF_A)
        with pytest.raises(StorageBusy):
            await store.pass_shards("node-a", "node-b", node.batch().marks)
    assert [(row.node, row.epoch) for row in await store.shard_owners()] == [("node-a", 1)]


# --- What nodes have in common.


async def test_a_cluster_is_made_once_whoever_comes_first(open_store: OpenStore) -> None:
    stores = await _stores(open_store)
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(store.cluster(8 + n)) for n, store in enumerate(stores)]
    assert len({task.result() for task in made}) == 1


@pytest.mark.parametrize(("was_used", "shards"), [(True, 64), (False, 16)])
async def test_a_database_that_was_in_use_before_has_the_shards_that_all_had(
    postgres_server: PostgresServer, tmp_path: Path, *, was_used: bool, shards: int
) -> None:
    for number in range(1, 8):
        (file,) = SCHEMA.glob(f"{number:04}_*.sql")
        shutil.copy(file, tmp_path)
    with postgres_server.database() as own_dsn:
        await migrate(own_dsn, tmp_path)
        if was_used:
            run_sql(own_dsn, "INSERT INTO shard VALUES (3, 1, 'n', 0, sha256(''))")
        await migrate(own_dsn)
        store = PostgresStore(own_dsn, durable=False)
        await store.start()
        first = await store.cluster(16)
        assert first == ClusterRow(first.cluster_id, shards)
        await store.stop()


# --- Rooms.


async def _made(store: Store, row: RoomRow, most: int) -> RoomRow | None:
    try:
        return await store.create_room(row, most)
    except TooManyRooms:
        return None


async def test_a_creators_rooms_are_counted_exactly_wherever_they_are_made(
    open_store: OpenStore,
) -> None:
    stores = await _stores(open_store)
    async with asyncio.TaskGroup() as group:
        made = [
            group.create_task(_made(stores[n % NODES], room_row(100 + n, creator=creator), 3))
            for n in range(24)
            for creator in (n % 2,)
        ]
    rows = [row for task in made if (row := task.result()) is not None]
    assert sorted(row.creator for row in rows) == [0, 0, 0, 1, 1, 1]
    assert len(await stores[0].rooms(None, listed=False, limit=100)) == 6


async def test_a_room_under_way_counts_as_soon_as_it_is_kept(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    under_way = "SELECT create_room(8, 0, 'R00008', 'keno', 1, 1, 'key-8', true, '', 1)"
    async with holding(dsn, under_way) as maker, asyncio.TaskGroup() as group:
        other = group.create_task(_made(store, room_row(9), 1))
        again = group.create_task(_made(store, room_row(10, create_key=b"key-8"), 1))
        await waiting_pids(dsn, 2)
        assert await store.create_room(room_row(11, creator=2), 1) is not None
        await maker.execute("COMMIT")
    assert other.result() is None
    found = again.result()
    assert found is not None
    assert found.room_id == 8


# --- Tasks.


async def test_a_task_goes_to_one_of_those_who_claim_it(
    open_store: OpenStore, dsn: str, pass_time: PassTime
) -> None:
    stores = await _stores(open_store)

    async def claims(name: str) -> list[int]:
        async with asyncio.TaskGroup() as group:
            claimed = [
                group.create_task(store.claim_task("prune", f"{name}-{n}", MINUTE_MS))
                for n, store in enumerate(stores)
            ]
        return [epoch for task in claimed if (epoch := task.result()) is not None]

    assert await claims("early") == [1]
    await pass_time(MINUTE_MS)
    async with (
        holding(dsn, "SELECT 1 FROM task FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        late = group.create_task(claims("late"))
        await waiting_pids(dsn, NODES)
        await holder.execute("ROLLBACK")
    assert late.result() == [2]


async def test_only_the_runner_of_the_task_prunes(
    store: Store, dsn: str, pass_time: PassTime
) -> None:
    node = await owner(store, 0)
    await node.commit(entries=[entry(7, 1)])
    run_sql(dsn, "UPDATE batch SET stored_at = now() - interval '2 hours'")
    with pytest.raises(TaskFenced):
        await prune(dsn, 3_600, TaskFence("prune", 1))
    assert await store.claim_task("prune", "node-a", MINUTE_MS) == 1
    with pytest.raises(TaskFenced):
        await prune(dsn, 3_600, TaskFence("prune", 2))
    await pass_time(MINUTE_MS)
    assert await store.claim_task("prune", "node-b", MINUTE_MS) == 2
    with pytest.raises(TaskFenced):
        await prune(dsn, 3_600, TaskFence("prune", 1))
    assert await prune(dsn, 3_600, TaskFence("prune", 2)) == Pruned(0, 0, 0, 1)


@pytest.mark.parametrize("runner", ["node-a", "node-b"])
async def test_a_runner_can_renew_while_it_prunes_and_prunes_nothing_if_it_was_replaced(
    store: Store, dsn: str, pass_time: PassTime, runner: str
) -> None:
    node = await owner(store, 0)
    await node.commit(entries=[entry(7, 1)])
    await store.claim_task("prune", "node-a", MINUTE_MS)
    run_sql(dsn, "UPDATE batch SET stored_at = now() - interval '2 hours'")
    await pass_time(MINUTE_MS)
    async with (
        holding(dsn, "SELECT 1 FROM batch FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        pruning = group.create_task(_pruned(dsn, TaskFence("prune", 1)))
        await waiting_pids(dsn)
        assert await store.claim_task("prune", runner, MINUTE_MS) is not None
        await holder.execute("ROLLBACK")
    was_kept = runner == "node-a"
    assert pruning.result() == (Pruned(0, 0, 0, 1) if was_kept else None)
    assert len(run_sql(dsn, "SELECT 1 FROM batch")) == (0 if was_kept else 1)


async def _pruned(dsn: str, fence: TaskFence) -> Pruned | None:
    try:
        return await prune(dsn, 3_600, fence)
    except TaskFenced:
        return None
