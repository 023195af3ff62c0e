"""Who waits for locks that somebody else holds in PostgreSQL, and that the others go on."""

import asyncio
import time

import pytest

from gameserver.runtime.clock import SystemClock
from gameserver.runtime.node import Node as RoomNode
from gameserver.runtime.node import NodeSettings
from persistence.interfaces import Booking, Hold, Release, Settle, StorageBusy
from persistence.ownership import DEFAULT_SHARDS
from persistence.postgres.store import PostgresStore
from tests.persistence.builders import entry, hold, owner
from tests.persistence.conftest import OpenStore
from tests.persistence.locks import holding
from tests.runtime.pots import Stake
from tests.runtime.rig import GAMES, SEALER, Eyes, FaultyStore, Rig, room_row

ANN, BOB = 101, 102
PLAYER_2 = "SELECT 1 FROM account WHERE kind = 'player' AND number = 2 FOR UPDATE"


@pytest.fixture
def store_dsn(dsn: str) -> str:
    """Only PostgreSQL has more than one at a time."""
    return dsn


@pytest.mark.parametrize(
    ("lock", "rooms"),
    [
        (PLAYER_2, {8}),
        ("SELECT 1 FROM hold WHERE reference = 'a' FOR UPDATE", {7}),
        ("SELECT 1 FROM account WHERE kind = 'escrow' AND number = 8 FOR UPDATE", {8}),
        ("SELECT 1 FROM account WHERE kind = 'house' AND number = 1 FOR UPDATE", {8}),
        ("SELECT 1 FROM shard WHERE shard = 0 FOR UPDATE", {7, 9}),
        ("SELECT 1 FROM account FOR UPDATE", {7, 8}),
    ],
)
async def test_a_busy_commit_says_which_rooms_wait(
    open_store: OpenStore, dsn: str, lock: str, rooms: set[int]
) -> None:
    store = await open_store()
    for account in (1, 2):
        await store.create_person(account, "ann", 100)
    node = await owner(store, 0, 1)
    await node.commit(holds=[hold("a", 10, 1), Hold(1, 8, "b", 2, 10)])
    await node.commit(bookings=[Booking(1, 8, "first", 1)])
    batch = node.batch(
        entries=[entry(7, 1), entry(9, 1), entry(8, 1, shard=1)],
        settles=[Settle(0, 7, "a", 20)],
        releases=[Release(1, 8, "b")],
        bookings=[Booking(1, 8, "second", 1)],
    )
    async with holding(dsn, lock):
        with pytest.raises(StorageBusy) as caught:
            await store.commit(batch)
        assert caught.value.rooms == rooms
    assert (await node.send(batch)).balances == ((1, 110), (2, 100))


async def test_a_room_that_waited_is_told_at_once_that_it_still_does(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await store.create_person(2, "bob", 100)
    node = await owner(store, 0)
    await node.commit(holds=[hold("a", 10, 2)])

    async def fails_in() -> float:
        began_s = time.monotonic()
        with pytest.raises(StorageBusy) as caught:
            await store.commit(node.batch(entries=[entry(7, 1)], settles=[Settle(0, 7, "a", 5)]))
        assert caught.value.rooms == {7}
        return time.monotonic() - began_s

    async with holding(dsn, PLAYER_2):
        first_s = await fails_in()
        again_s = await fails_in()
        assert again_s < 0.2 <= first_s  # The first waited as long as a lock is waited for.
        await node.commit(entries=[entry(9, 1)])
    await node.commit(entries=[entry(7, 1)], settles=[Settle(0, 7, "a", 5)])
    assert await store.balance(2) == 95


async def test_a_batch_that_is_known_is_answered_though_its_rooms_wait(
    open_store: OpenStore, dsn: str
) -> None:
    store = await open_store()
    await store.create_person(2, "bob", 100)
    node = await owner(store, 0)
    await node.commit(holds=[hold("a", 10, 2), hold("b", 10, 2)])
    async with holding(dsn, PLAYER_2):
        with pytest.raises(StorageBusy):
            await store.commit(node.batch(entries=[entry(7, 1)], settles=[Settle(0, 7, "a", 5)]))
    batch = node.batch(entries=[entry(7, 1)], settles=[Settle(0, 7, "a", 5)])
    answer = await node.send(batch)
    async with holding(dsn, PLAYER_2):
        with pytest.raises(StorageBusy):
            await store.commit(node.batch(entries=[entry(7, 2)], settles=[Settle(0, 7, "b", 5)]))
        other = await open_store()
        assert await other.commit(batch) == answer
        with pytest.raises(StorageBusy):
            await store.commit(node.batch(entries=[entry(7, 2)], settles=[Settle(0, 7, "b", 5)]))


class _Shielded(PostgresStore):
    """What `Rig` asks of a store, on PostgreSQL."""

    away = FaultyStore().away


async def test_a_foreign_lock_on_one_rooms_money_leaves_the_other_rooms_quick(dsn: str) -> None:
    """One room waits for seconds; but for the moment in which that is found out, nobody notices."""
    store = _Shielded(dsn, durable=False)
    await store.start()
    node = RoomNode(
        store, GAMES, SEALER, SystemClock(), NodeSettings("n", DEFAULT_SHARDS, 100, 600, 100, 600)
    )
    await node.start()
    for account in (ANN, BOB):
        await store.create_person(account, "somebody", 100)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(node.run())
        rig = Rig(store, node)  # type: ignore[arg-type]  # It needs no more than this of a store.
        locked, free = room_row(1), room_row(65)
        ann, bob = Eyes(ANN), Eyes(BOB)
        for row, eyes in ((locked, ann), (free, bob)):
            await store.create_room(row)
            await rig.join(row, eyes)
            await rig.done(row, eyes, 1, Stake(1))
        took_s = []
        lock = "SELECT 1 FROM account WHERE kind = 'escrow' AND number = 1 FOR UPDATE"
        async with holding(dsn, lock):
            rig.command(locked, ann, 2, Stake(1))
            for number in range(2, 42):
                began_s = time.monotonic()
                await rig.done(free, bob, number, Stake(1))
                took_s.append(time.monotonic() - began_s)
            assert len(ann.outcomes()) == 1
        await rig.until(lambda: len(ann.outcomes()) == 2)
        node.drain()
    assert node.metrics.rooms_stalled_total >= 2
    took_s.sort()
    assert took_s[-2] < 0.3  # All but the one that found it out; the machine may be busy.
    assert took_s[-1] < 1.0
    assert (await store.balance(ANN), await store.balance(BOB)) == (98, 59)
    await store.stop()
