"""Nodes that are taken for dead, rightly or wrongly."""

from __future__ import annotations

import asyncio

from tests.runtime.cluster_rig import SHARDS, world_running
from tests.virtual import virtual


@virtual
async def test_who_was_taken_for_dead_and_goes_on_beating_is_believed_to_live() -> None:
    async with world_running() as world:
        first = await world.start("a")
        second = await world.start("b")
        await world.settled()
        theirs = min(first.owned)
        second.links.on_dead("a")  # As when something between them refuses for both, and lets go.
        await asyncio.sleep(10)
        assert "a" in second.links.followed
        await world.settled()
        assert (len(first.owned), len(second.owned)) == (SHARDS // 2, SHARDS // 2)
        place = second.cluster.place_of(theirs)
        assert theirs in second.owned or (place is not None and place.node == "a")
