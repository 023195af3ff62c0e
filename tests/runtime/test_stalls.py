"""Rooms whose works wait for a lock that somebody else holds, and the others that go on."""

from __future__ import annotations

import asyncio

from persistence.interfaces import Batch, CommitAnswer, StorageBusy, StorageUnavailable
from protocol.messages import DeferralCode, Deferred, Reply, ReplyCode
from tests.runtime.pots import Put, Ring
from tests.runtime.rig import Eyes, FaultyStore, node_running
from tests.virtual import virtual

ANN, BOB = 101, 102
LOCKED, FREE = 1, 65  # Two rooms of one shard, so that they share a chain.


@virtual
async def test_a_room_that_waits_for_a_lock_stalls_nobody_else() -> None:
    async with node_running(FaultyStore()) as rig:
        locked, free = await rig.room(LOCKED), await rig.room(FREE)
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(locked, ann)
        await rig.join(free, bob)
        rig.store.busy_rooms = {LOCKED}
        rig.command(locked, ann, 1, Put(1))
        loop = asyncio.get_running_loop()
        slowest_s = 0.0
        for number in range(1, 41):
            began_s = loop.time()
            await rig.done(free, bob, number, Put(1))
            slowest_s = max(slowest_s, loop.time() - began_s)
        assert slowest_s < 0.5  # A lock is found to be held once in a while; that is all.
        assert ann.outcomes() == []
        rig.store.busy_rooms = set()
        await rig.until(lambda: len(ann.outcomes()) == 1)
        await rig.beats()
        rig.check_views(locked, ann)
        rig.check_views(free, bob)
        assert rig.node.metrics.rooms_stalled_total > 0


@virtual
async def test_what_waits_for_a_lock_is_committed_in_order_and_tried_ever_more_seldom() -> None:
    async with node_running(FaultyStore()) as rig:
        locked, free = await rig.room(LOCKED), await rig.room(FREE)
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(locked, ann)
        await rig.join(free, bob)
        rig.store.busy_rooms = {LOCKED}
        sent = len(rig.store.batches)
        for number in range(1, 6):
            rig.command(locked, ann, number, Put(number))
            rig.command(free, bob, number, Put(number))
            await rig.beats(1)
        await asyncio.sleep(20)
        tried = [
            batch
            for batch in rig.store.batches[sent:]
            if LOCKED in {r.room_id for r in batch.entries}
        ]
        assert 18 <= len(tried) <= 30
        assert len({batch.batch_id for batch in tried}) == len(tried)
        rig.store.busy_rooms = set()
        await rig.beats(40)
        again = [number for number in range(1, 6) if number in {d.number for d in ann.of(Deferred)}]
        for number in again:
            await rig.done(locked, ann, number, Put(number))
        assert [one.number for one in ann.outcomes()] == [1, 2, 3, 4, 5]
        rig.check_views(locked, ann)
        rig.check_views(free, bob)


@virtual
async def test_commands_for_a_room_that_waits_are_deferred_within_two_seconds() -> None:
    async with node_running(FaultyStore()) as rig:
        locked = await rig.room(LOCKED)
        ann = Eyes(ANN)
        await rig.join(locked, ann)
        rig.store.busy_rooms = {LOCKED}
        rig.command(locked, ann, 1, Put(1))
        await rig.beats(10)
        rig.command(locked, ann, 2, Put(1))
        await rig.until(lambda: ann.of(Deferred) != [], 2.0)
        rig.command(locked, ann, 3, Put(1))
        told = [(one.number, one.code) for one in ann.of(Deferred)]
        assert told == [(2, DeferralCode.UNAVAILABLE), (3, DeferralCode.UNAVAILABLE)]
        rig.store.busy_rooms = set()
        await rig.until(lambda: len(ann.outcomes()) == 1)
        assert (await rig.done(locked, ann, 2, Put(1))).kind == 0
        assert rig.node.host.rooms[LOCKED].room.state.total == 2


@virtual
async def test_what_is_due_in_a_room_that_waits_happens_once_it_goes_on() -> None:
    async with node_running(FaultyStore()) as rig:
        locked = await rig.room(LOCKED)
        ann = Eyes(ANN)
        await rig.join(locked, ann)
        await rig.done(locked, ann, 1, Ring(20))
        rig.store.busy_rooms = {LOCKED}
        rig.command(locked, ann, 2, Put(1))
        await asyncio.sleep(5)
        assert rig.node.host.rooms[LOCKED].room.state.rings == 0
        rig.store.busy_rooms = set()
        await rig.until(lambda: rig.node.host.rooms[LOCKED].room.state.rings == 1)
        await rig.beats()
        rig.check_views(locked, ann)


class _ShardLocked(FaultyStore):
    """A store in which somebody else holds the row of a shard."""

    locked_shard: int | None = None

    async def commit(self, batch: Batch) -> CommitAnswer:
        if self.locked_shard in {mark.shard for mark in batch.marks}:
            self.batches.append(batch)
            await asyncio.sleep(0.2)
            rooms = {row.room_id for row in batch.entries if row.shard == self.locked_shard}
            raise StorageBusy("somebody has a lock", frozenset(rooms))
        return await super().commit(batch)


@virtual
async def test_a_shard_whose_row_is_locked_stalls_no_other_shard() -> None:
    store = _ShardLocked()
    async with node_running(store) as rig:
        locked, free = await rig.room(LOCKED), await rig.room(LOCKED + 1)
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(locked, ann)
        await rig.join(free, bob)
        store.locked_shard = locked.shard
        rig.command(locked, ann, 1, Put(1))
        loop = asyncio.get_running_loop()
        slowest_s = 0.0
        for number in range(1, 101):
            began_s = loop.time()
            await rig.done(free, bob, number, Put(1))
            slowest_s = max(slowest_s, loop.time() - began_s)
        assert loop.time() > 3  # The clocks of all shards were to be stored meanwhile.
        assert slowest_s < 0.5
        assert ann.outcomes() == []
        store.locked_shard = None
        await rig.until(lambda: len(ann.outcomes()) == 1)
        await asyncio.sleep(6)
        kept = store._shards[locked.shard].clock_tick
        assert kept >= rig.node.host.rooms[LOCKED].room.now  # And they are stored again.


class _UnknownThenBusy(FaultyStore):
    """A batch whose first sending is still running when it comes again."""

    def __init__(self) -> None:
        super().__init__()
        self.running: Batch | None = None
        self.is_slow = False

    async def commit(self, batch: Batch) -> CommitAnswer:
        if self.running is not None:
            self.batches.append(batch)
            raise StorageBusy("the first is still running", frozenset({LOCKED}))
        if self.is_slow and any(row.room_id == LOCKED for row in batch.entries):
            self.batches.append(batch)
            self.running = batch
            raise StorageUnavailable("no answer in time")
        return await super().commit(batch)


@virtual
async def test_a_batch_without_an_answer_is_sent_again_as_it_is_though_rooms_are_busy() -> None:
    store = _UnknownThenBusy()
    async with node_running(store) as rig:
        locked, free = await rig.room(LOCKED), await rig.room(FREE)
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(locked, ann)
        await rig.join(free, bob)
        store.is_slow = True
        rig.command(locked, ann, 1, Put(1))
        await rig.until(lambda: store.running is not None)
        sent = len(store.batches)
        rig.command(free, bob, 1, Put(1))
        await asyncio.sleep(5)
        assert store.running is not None
        assert {batch.batch_id for batch in store.batches[sent:]} == {store.running.batch_id}
        assert bob.outcomes() == []
        running, store.running, store.is_slow = store.running, None, False
        await FaultyStore.commit(store, running)  # It had been under way all the time.
        await rig.until(lambda: len(ann.outcomes()) == 1 and len(bob.outcomes()) == 1)
        rig.check_views(locked, ann)


@virtual
async def test_busy_without_a_name_is_sent_again_until_it_is_not() -> None:
    async with node_running(FaultyStore()) as rig:
        locked = await rig.room(LOCKED)
        ann = Eyes(ANN)
        await rig.join(locked, ann)
        rig.store.busy_rooms, rig.store.are_busy_named = {LOCKED}, False
        sent = len(rig.store.batches)
        rig.command(locked, ann, 1, Put(1))
        await asyncio.sleep(3)
        tried = [batch.batch_id for batch in rig.store.batches[sent:] if batch.entries]
        assert len(tried) > 2
        assert len(set(tried)) == 1
        rig.store.busy_rooms = set()
        await rig.until(lambda: len(ann.outcomes()) == 1)


@virtual
async def test_a_drain_waits_for_rooms_that_wait_for_a_lock() -> None:
    store = FaultyStore()
    ann = Eyes(ANN)
    async with node_running(store) as rig:
        locked = await rig.room(LOCKED)
        await rig.join(locked, ann)
        store.busy_rooms = {LOCKED}
        rig.command(locked, ann, 1, Put(1))
        await rig.beats(10)
        asyncio.get_running_loop().call_later(5, store.busy_rooms.clear)
    assert [one.kind for one in ann.outcomes()] == [0]
    assert (await store.entries(LOCKED, 0, 100))[-1].number == (await store.snapshots(LOCKED))[
        0
    ].number


@virtual
async def test_a_room_that_waits_and_loses_its_shard_is_closed() -> None:
    store = FaultyStore()
    async with node_running(store) as rig:
        locked = await rig.room(LOCKED)
        ann, late = Eyes(ANN), Eyes(BOB)
        await rig.join(locked, ann)
        store.busy_rooms = {LOCKED}
        rig.command(locked, ann, 1, Put(1))
        await rig.beats(10)
        await rig.node.host.join(locked, late, 9)
        await store.take_shards("another", [locked.shard])
        await asyncio.sleep(3)
        assert ann.outcomes() == []
        assert LOCKED not in rig.node.host.rooms
        assert [reply.code for reply in late.of(Reply)] == [ReplyCode.UNAVAILABLE]
