"""Nodes that have no shard, and so make no commits: what they know of storage."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence

from persistence.directory import ClusterView, DirectoryUnavailable, NodeRecord
from persistence.ownership import ShardState, Succession
from tests.runtime.cluster_rig import SHARDS, world_running
from tests.runtime.rig import FaultyStore
from tests.virtual import virtual


class StallingStore(FaultyStore):
    """Storage that can stand still: what it is asked then is done when it goes on, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    async def wall_ms(self) -> int:
        await self.goes_on.wait()
        return await super().wall_ms()

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        await self.goes_on.wait()
        return await super().take_shards(node, shards, succession)

    def stall(self) -> None:
        self.away.clear()
        self.goes_on.clear()

    def go_on(self) -> None:
        self.away.set()
        self.goes_on.set()


@virtual
async def test_a_newcomer_takes_nothing_because_storage_kept_everybody_waiting() -> None:
    async with world_running() as world:
        store = world.store = StallingStore()
        first = await world.start("a")
        await first.rig.until(lambda: len(first.owned) == SHARDS)
        await asyncio.sleep(3)
        store.stall()
        newcomer = await world.start("b")
        await asyncio.sleep(5)
        store.go_on()
        await world.settled()
        assert newcomer.rig.node.metrics.takeovers_total["takeover"] == 0
        assert first.rig.node.metrics.shards_fenced_total == 0
        assert len(newcomer.owned) == SHARDS // 2, "and yet it gets its share"


@virtual
async def test_what_falls_to_a_node_that_does_not_take_it_is_taken_by_another() -> None:
    async with world_running() as world:
        for name in "abc":
            await world.start(name)
        await world.settled()
        deaf = world.members["c"]
        beat = deaf.directory.beat

        async def unanswered(
            record: NodeRecord, shards: Collection[int], lease_ms: int
        ) -> ClusterView:
            await beat(record, shards, lease_ms)
            raise DirectoryUnavailable("no answer in time")

        deaf.directory.beat = unanswered  # type: ignore[method-assign]
        await asyncio.sleep(1)
        world.kill("a")
        await world.settled()
        assert not deaf.cluster.is_current
        assert len(world.members["b"].owned) + len(deaf.owned) == SHARDS
