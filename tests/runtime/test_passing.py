"""Shards on their way from one node to another, when storage does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from persistence.interfaces import StorageUnavailable
from persistence.ownership import ShardMark
from tests.runtime.cluster_rig import SHARDS, world_running
from tests.virtual import virtual


@virtual
async def test_a_shard_whose_passing_was_not_answered_can_be_passed_to_somebody_else() -> None:
    async with world_running() as world:
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        passing = world.store.pass_shards

        async def pass_unanswered(node: str, to: str, marks: Sequence[ShardMark]) -> frozenset[int]:
            passed = await passing(node, to, marks)
            if to == "b":
                raise StorageUnavailable("the answer was lost")
            return passed

        world.store.pass_shards = pass_unanswered  # type: ignore[method-assign]
        await world.start("b")
        await asyncio.sleep(2)
        assert "b" in {row.node for row in await world.store.shard_owners()}
        assert len(first.owned) == SHARDS
        world.kill("b")
        third = await world.start("c")
        await asyncio.sleep(3)
        first.cluster.drain()
        async with asyncio.timeout(3):
            await first.cluster.rid.wait()
        assert len(third.owned) == SHARDS
        assert third.rig.node.metrics.takeovers_total["takeover"] == 0, "all was handed over"
