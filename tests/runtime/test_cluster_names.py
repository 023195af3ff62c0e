"""Nodes that come by a name that another has, or had."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gameserver.runtime.cluster import NAME_FREE_TIMEOUT_S
from persistence.directory import NameTaken
from tests.runtime.cluster_rig import SHARDS, World, world_running
from tests.virtual import virtual


async def _replaced(world: World) -> None:
    """Let another node have the name of the first, who is still there and does not know."""
    first = world.members["a"]
    record = world.shared.nodes["a"][0]
    again = replace(record, instance="another")
    world.shared.wipe()
    await first.directory.start("cluster")
    lease_ms = 10_000
    for _ in range(8):
        await first.directory.beat(again, range(SHARDS), lease_ms)
        await asyncio.sleep(0.1)


@virtual
async def test_who_has_lost_its_name_takes_no_shard_by_it() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        await _replaced(world)
        assert not first.cluster.is_current
        await world.store.take_shards("a", range(SHARDS))
        await first.rig.until(lambda: not first.owned)
        await asyncio.sleep(1)
        assert not first.owned, "they are those of another by the same name"


@virtual
async def test_who_has_lost_its_name_for_good_gives_up() -> None:
    async with world_running() as world:
        first = await world.start("a")
        first.tasks[1].cancel()  # Its beat goes on below.
        await _replaced(world)
        with pytest.raises(NameTaken):
            async with asyncio.timeout(NAME_FREE_TIMEOUT_S + 1):
                await first.cluster.run()


@virtual
async def test_who_came_by_the_name_of_a_dead_node_is_not_taken_for_it() -> None:
    async with world_running() as world:
        await world.start("a")
        second = await world.start("b")
        await world.settled()
        second.directory.is_away = True
        await asyncio.sleep(1)
        world.kill("a")
        again = await world.start("a")
        await again.rig.until(lambda: len(again.owned) == SHARDS // 2)
        await asyncio.sleep(1)
        world.shared.wipe()
        second.directory.is_away = False
        before = set(again.owned)
        again.directory.is_away = True  # So that the other is the first to be heard of.
        await second.rig.until(lambda: second.cluster.is_current)
        await asyncio.sleep(0.3)
        again.directory.is_away = False
        await asyncio.sleep(2)
        assert again.owned == before
        assert second.rig.node.metrics.takeovers_total["takeover"] == 0
