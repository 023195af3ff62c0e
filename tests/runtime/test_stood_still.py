"""A node that stood still while another took its shards."""

from __future__ import annotations

import asyncio

from gameserver.runtime.node import Node, NodeSettings
from protocol.messages import Full, Joined, Reply
from tests.runtime.pots import Put
from tests.runtime.rig import GAMES, SEALER, Eyes, FaultyStore, Rig, room_row
from tests.runtime.test_taken_late import StillClock
from tests.virtual import virtual


@virtual
async def test_who_comes_when_it_wakes_is_not_shown_what_was_true_before() -> None:
    clock, store = StillClock(1), FaultyStore()
    node = Node(store, GAMES, SEALER, clock, NodeSettings("a", 64, 100, 600, 100, 600))
    rig, ann, bob = Rig(store, node), Eyes(101), Eyes(102)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.run())
        row = await store.create_room(room_row(1))
        assert row is not None
        await node.take([1])
        assert await rig.join(row, ann) is None
        assert (await rig.done(row, ann, 1, Put(1))).accepted
        await asyncio.sleep(0.61)  # Clocks have just been stored.
        await store.take_shards("b", [1])
        clock.stand_still()
        assert await node.host.join(row, bob, 7, watch=True) is None
        await rig.beats(20)
        assert not bob.of(Joined)
        assert not bob.of(Full)
        assert bob.of(Reply), "it is told to ask again"
        running.cancel()
