"""Several nodes on one database at once: who waits, who is told no, and that nothing is doubled.

Where the order of two transactions matters, one of them is a session of the test's own that keeps
its locks until it is told to let go; the test waits until the other is seen to wait for it.
"""

import asyncio
from typing import Any

import pytest

from persistence.interfaces import (
    CommitAnswer,
    EntryRow,
    Hold,
    Release,
    Ruling,
    Settle,
    StorageBusy,
    Store,
)
from persistence.postgres import connections
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import Node, entry, hold, owner, room_row, rulings, snapshot_row
from tests.persistence.conftest import OpenStore, book_of
from tests.persistence.locks import holding, waiting_pids

NODES = 4
COMMITS = 20
ACCOUNTS = 5


@pytest.fixture
def store_dsn(dsn: str) -> str:
    """Only PostgreSQL has more than one at a time."""
    return dsn


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stores that are opened wait longer for locks than a busy machine holds a test up."""
    monkeypatch.setitem(connections.SETTINGS, "lock_timeout", "1500")


async def _committed(store: Store, node: Node, turn: int) -> list[CommitAnswer]:
    """Hold on all accounts, then settle or release what was granted; try again while busy."""
    shard = next(iter(node.epochs))
    holds = [Hold(shard, shard, f"{shard}:{turn}:{a}", a, 30) for a in range(ACCOUNTS)]
    answers = []
    granted: list[str] = []
    for step in ("hold", "end"):
        rows: dict[str, Any] = {"holds": holds} if step == "hold" else {}
        if step == "end":
            half = len(granted) // 2
            rows["settles"] = [Settle(shard, shard, ref, 10) for ref in granted[:half]]
            rows["releases"] = [Release(shard, shard, ref) for ref in granted[half:]]
        batch = node.batch(**rows)
        while True:
            try:
                answer = await store.commit(batch)
                break
            except StorageBusy:
                continue
        granted = [ref for ref, ruling in rulings(answer) if ruling == Ruling.GRANTED]
        answers.append(answer)
    return answers


@pytest.mark.usefixtures("patience")
async def test_many_commits_on_the_same_accounts_neither_block_nor_overdraw(
    open_store: OpenStore, dsn: str
) -> None:
    stores = [await open_store() for _ in range(NODES)]
    for account in range(ACCOUNTS):
        await stores[0].create_person(account, "ann", 100)
    nodes = [await owner(stores[n % NODES], n, name=f"node-{n}") for n in range(COMMITS)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_committed(node.store, node, turn=1)) for node in nodes]
    balances = await book_of(dsn)
    assert sum(balances.values()) == 0
    assert all(balances["player", account] >= 0 for account in range(ACCOUNTS))
    given = [r for task in tasks for answer in task.result() for _, r in rulings(answer)]
    assert given.count(Ruling.GRANTED) + given.count(Ruling.INSUFFICIENT_FUNDS) == len(given)
    assert given.count(Ruling.GRANTED) >= 3 * ACCOUNTS


@pytest.mark.usefixtures("patience")
async def test_the_same_batch_from_two_connections_has_one_effect_and_one_answer(
    open_store: OpenStore, dsn: str
) -> None:
    stores = [await open_store() for _ in range(NODES)]
    await stores[0].create_person(1, "ann", 100)
    node = await owner(stores[0], 0)
    for number in range(1, 6):
        batch = node.batch(entries=[entry(7, number)], holds=[hold(f"h{number}", 15)])
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(store.commit(batch)) for store in stores]
        answers = [task.result() for task in tasks]
        assert answers == [answers[0]] * NODES
        node.heads[0] = batch.marks[0].next_head
    assert await stores[0].balance(1) == 25
    assert len(await stores[0].entries(7, 0, 10)) == 5
    assert (await book_of(dsn))["escrow", 7] == 75


@pytest.mark.usefixtures("patience")
async def test_a_takeover_waits_for_a_commit_in_flight_and_finds_what_it_wrote(
    open_store: OpenStore, dsn: str
) -> None:
    store, other = await open_store(), await open_store()
    await store.create_person(1, "ann", 100)
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)], holds=[hold("h", 10)])
    async with (
        holding(dsn, "SELECT 1 FROM account WHERE kind = 'player' FOR UPDATE") as holder,
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(store.commit(batch))
        await waiting_pids(dsn)
        take = group.create_task(other.take_shards("node-b", [0]))
        await waiting_pids(dsn, 2)
        await holder.execute("ROLLBACK")
    assert commit.result().fenced == frozenset()
    (state,) = take.result()
    assert (state.epoch, state.head) == (2, batch.marks[0].next_head)
    assert len(await other.entries(7, 0, 10)) == 1


@pytest.mark.usefixtures("patience")
async def test_a_commit_that_waits_for_a_takeover_is_fenced_by_it(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    node = await owner(store, 0, 1)
    rows = [entry(7, 1), entry(8, 1, shard=1)]
    async with (
        holding(dsn, "UPDATE shard SET epoch = epoch + 1 WHERE shard = 0") as taker,
        asyncio.TaskGroup() as group,
    ):
        commit = group.create_task(store.commit(node.batch(entries=rows)))
        await waiting_pids(dsn)
        await taker.execute("COMMIT")
    assert commit.result().fenced == {0}
    assert await store.entries(7, 0, 10) == ()
    assert len(await store.entries(8, 0, 10)) == 1


@pytest.mark.usefixtures("patience")
async def test_snapshots_that_wait_for_a_takeover_are_skipped(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    node = await owner(store, 0)
    await store.create_room(room_row(7))
    async with (
        holding(dsn, "UPDATE shard SET epoch = epoch + 1 WHERE shard = 0") as taker,
        asyncio.TaskGroup() as group,
    ):
        saving = [snapshot_row(7, 1)]
        group.create_task(store.save_snapshots(saving, node.batch().marks, 0))
        await waiting_pids(dsn)
        await taker.execute("COMMIT")
    assert await store.snapshots(7) == ()


async def test_a_hold_on_an_account_that_stays_locked_is_refused_and_stalls_nobody_else(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    for account in (1, 2, 3):
        await store.create_person(account, "ann", 100)
    node = await owner(store, 0)
    holds = [hold("a", 10, 1), hold("b", 10, 2), hold("c", 10, 3), hold("d", 10, 9)]
    async with holding(dsn, "SELECT 1 FROM account WHERE number = 2 FOR UPDATE"):
        answer = await node.commit(entries=[entry(7, 1)], holds=holds)
    assert [ruling for _, ruling in rulings(answer)] == [
        Ruling.GRANTED,
        Ruling.ACCOUNT_BUSY,
        Ruling.GRANTED,
        Ruling.NO_ACCOUNT,
    ]
    assert answer.balances == ((1, 90), (3, 90))
    assert rulings(await node.commit(holds=[hold("b", 10, 2)])) == [("b", Ruling.ACCOUNT_BUSY)]
    assert await store.balance(2) == 100


async def test_a_settlement_waits_for_its_account_and_then_the_whole_batch_is_busy(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    for account in (1, 2):
        await store.create_person(account, "ann", 100)
    node = await owner(store, 0)
    await node.commit(holds=[hold("a", 10, 1), hold("b", 10, 2)])
    batch = node.batch(
        entries=[entry(7, 1)],
        settles=[Settle(0, 7, "a", 20), Settle(0, 7, "b", 20)],
        holds=[hold("c", 5, 1)],
    )
    async with holding(dsn, "SELECT 1 FROM account WHERE number = 2 FOR UPDATE"):
        with pytest.raises(StorageBusy):
            await store.commit(batch)
        assert await store.entries(7, 0, 10) == ()
        assert await store.balance(1) == 90
        assert await store.verdicts(["c"]) == ()
    answer = await node.send(batch)
    assert answer.balances == ((1, 105), (2, 110))


async def test_a_shard_that_stays_locked_makes_the_batch_busy(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    node = await owner(store, 0)
    batch = node.batch(entries=[entry(7, 1)])
    async with holding(dsn, "SELECT 1 FROM shard FOR UPDATE"):
        with pytest.raises(StorageBusy):
            await store.commit(batch)
        with pytest.raises(StorageBusy):
            await store.take_shards("node-b", [0])
    assert (await node.send(batch)).fenced == frozenset()


async def test_commits_of_one_store_are_taken_one_after_another(store: Store) -> None:
    nodes = [await owner(store, shard) for shard in range(8)]
    async with asyncio.TaskGroup() as group:
        for shard, node in enumerate(nodes):
            group.create_task(node.commit(entries=[EntryRow(shard, 100 + shard, 1, 1, b"x")]))
    for shard in range(8):
        assert len(await store.entries(100 + shard, 0, 10)) == 1


@pytest.mark.usefixtures("patience")
async def test_newcomers_and_their_creation_keys_race_to_one_winner(
    open_store: OpenStore, dsn: str
) -> None:
    stores = [await open_store() for _ in range(NODES)]
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(store.create_person(1, "ann", 100)) for store in stores]
        rooms = [
            group.create_task(store.create_room(room_row(7 + n, create_key=b"k")))
            for n, store in enumerate(stores)
        ]
    assert sorted(task.result() for task in made) == [False] * (NODES - 1) + [True]
    assert len({task.result() for task in rooms}) == 1
    assert (await book_of(dsn))["player", 1] == 100


async def test_a_plain_read_of_the_fence_would_let_a_stale_owner_write(dsn: str) -> None:
    """The commit's lock on its shards is what fences: without it both would go on."""
    store = PostgresStore(dsn, durable=False)
    await store.start()
    await store.take_shards("node-a", [0])
    read = "SELECT epoch FROM shard WHERE shard = 0"
    outcomes = {}
    for lock in ("", " FOR KEY SHARE", " FOR NO KEY UPDATE"):
        async with holding(dsn, read + lock):
            try:
                await store.take_shards("node-b", [0])
                outcomes[lock] = "taken under the reader's feet"
            except StorageBusy:
                outcomes[lock] = "waited"
    await store.stop()
    assert outcomes == {
        "": "taken under the reader's feet",
        " FOR KEY SHARE": "taken under the reader's feet",
        " FOR NO KEY UPDATE": "waited",
    }
