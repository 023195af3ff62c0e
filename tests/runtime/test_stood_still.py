"""A node that stood still while another took its shards."""

from __future__ import annotations

import asyncio

from gameserver.runtime.node import Node, NodeSettings
from gameserver.runtime.slots import SLOTS
from protocol.messages import Full, Joined, Reply
from tests.runtime.rig import GAMES, SEALER, Eyes, FaultyStore, Rig
from tests.runtime.test_taken_late import StillClock
from tests.virtual import virtual

SHARDS = 64


@virtual
async def test_who_comes_when_it_wakes_is_not_shown_what_was_true_before() -> None:
    clock, store = StillClock(1), FaultyStore()
    node = Node(store, GAMES, SEALER, clock, NodeSettings("a", SHARDS, 100, 600, 100, 600))
    rig = Rig(store, node)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.run())
        await node.take([1])
        # One for each slot, whichever is the first after waking.
        rows = [await rig.room(1 + number * SHARDS) for number in range(SLOTS)]
        for row in rows:
            assert await rig.join(row, Eyes(101)) is None
        await asyncio.sleep(0.61)
        await store.take_shards("b", [1])
        clock.stand_still()
        late = [Eyes(102) for _ in rows]
        for row, eyes in zip(rows, late, strict=True):
            assert await node.host.join(row, eyes, 1, watch=True) is None
        await rig.beats(20)
        assert not any(eyes.of(Joined) or eyes.of(Full) for eyes in late)
        assert all(eyes.of(Reply) for eyes in late), "they are told to ask again"
        running.cancel()
