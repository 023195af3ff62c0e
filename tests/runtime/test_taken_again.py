"""Shards that go to another node and come back, while something of before is still under way."""

from __future__ import annotations

import asyncio

from gameserver.runtime.keeper import ShardKeeper
from gameserver.runtime.opening import JoinError
from persistence.interfaces import EntryRow, RoomStatus
from persistence.memory import MemoryStore
from protocol.messages import ReplyCode
from tests.runtime.pots import Put
from tests.runtime.rig import Eyes, FaultyStore, node_running
from tests.virtual import virtual

ANN, BOB = 101, 102
SHARD = 1


@virtual
async def test_an_answer_of_before_does_not_cost_a_shard_that_was_taken_again() -> None:
    store = FaultyStore()
    async with node_running(store) as rig:
        row, node = await rig.room(SHARD), rig.node
        ann, bob = Eyes(ANN), Eyes(BOB)
        await rig.join(row, ann)
        store.away.clear()
        rig.command(row, ann, 1, Put(1))
        await rig.until(lambda: node.committer.is_behind(100))
        node.handover.let_go([SHARD])
        await store.take_shards("another", [SHARD])
        assert await node.take([SHARD]) == [SHARD]
        store.away.set()
        await rig.until(lambda: not node.committer.is_behind(0))
        await rig.beats()
        assert SHARD in node.keeper.owned
        await rig.join(row, bob)
        assert (await rig.done(row, bob, 1, Put(2))).kind == 0
        assert node.host.rooms[SHARD].room.state.total == 2


@virtual
async def test_a_commit_of_before_does_not_move_the_head_of_a_shard_that_was_taken_again() -> None:
    store = MemoryStore()
    keeper = ShardKeeper(store, "n1", 64)
    await keeper.take([SHARD], lambda: 0)
    before = keeper.mark(keeper.owned[SHARD], 1, b"\1" * 32)
    keeper.drop(SHARD)
    await keeper.take([SHARD], lambda: 0)
    head = keeper.owned[SHARD].head
    keeper.advance([before])
    assert (keeper.owned[SHARD].head, keeper.owned[SHARD].link) == (head, 0)
    keeper.advance([keeper.mark(keeper.owned[SHARD], 1, b"\2" * 32)])
    assert (keeper.owned[SHARD].head, keeper.owned[SHARD].link) == (b"\2" * 32, 1)


class _Gated(FaultyStore):
    """A store of which somebody waits for entries until the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate: asyncio.Event | None = None
        self.is_waited_for = False

    async def entries(self, room_id: int, after: int, limit: int) -> tuple[EntryRow, ...]:
        found = await super().entries(room_id, after, limit)
        gate, self.gate = self.gate, None
        if gate is not None:
            self.is_waited_for = True
            await gate.wait()
        return found


@virtual
async def test_a_room_that_was_recovered_for_an_older_claim_on_its_shard_is_not_let_in() -> None:
    store = _Gated()
    async with node_running(store, "n1") as rig:
        row = await rig.room(SHARD)
        gate = store.gate = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(rig.node.host.join(row, Eyes(ANN), 1))
            await rig.until(lambda: store.is_waited_for)
            async with node_running(store, "n2") as other:
                bob = Eyes(BOB)
                await other.join(row, bob)
                await other.done(row, bob, 1, Put(1))
            rig.node.handover.let_go(range(64))
            assert SHARD in await rig.node.take(range(64))
            gate.set()
        found = joining.result()
        assert isinstance(found, JoinError)
        assert found.code == ReplyCode.UNAVAILABLE
        ann = Eyes(ANN)
        await rig.join(row, ann)
        assert (await rig.done(row, ann, 1, Put(2))).kind == 0
        assert rig.node.host.rooms[SHARD].room.state.total == 3
    kept = await store.room(SHARD)
    assert kept is not None
    assert kept.status is RoomStatus.OPEN
