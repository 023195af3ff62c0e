"""A shard that is taken while its new owner stands still."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from gameserver.runtime.clock import NS_PER_MS
from gameserver.runtime.node import Node, NodeSettings
from persistence.memory import MemoryStore
from persistence.ownership import ShardState, Succession
from tests.runtime.rig import GAMES, SEALER, VirtualClock
from tests.virtual import virtual

STOOD_STILL_MS = 5_000


class LateStore(MemoryStore):
    """Storage that does what it is asked only after whoever asks has stood still for a while."""

    def __init__(self, clock: StillClock) -> None:
        super().__init__()
        self._clock = clock

    async def take_shards(
        self, node: str, shards: Sequence[int], succession: Succession | None = None
    ) -> tuple[ShardState, ...]:
        self._clock.stand_still()
        return await super().take_shards(node, shards, succession)


class StillClock(VirtualClock):
    """A clock of a process that can stand still."""

    _still_ns = 0

    def stand_still(self) -> None:
        self._still_ns += STOOD_STILL_MS * NS_PER_MS

    def now_ns(self) -> int:
        return super().now_ns() + self._still_ns


@virtual
async def test_a_standstill_before_a_shard_is_taken_runs_nobody_s_time_out() -> None:
    clock = StillClock(1)
    store = LateStore(clock)
    node = Node(store, GAMES, SEALER, clock, NodeSettings("late", 4, 100, 600, 100, 600))
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(node.run())
        await asyncio.sleep(0.5)
        await node.take([0], Succession())
        await asyncio.sleep(2)
        (owner,) = await store.shard_owners()
        assert owner.clock_tick <= 2 * 20 + 2
        assert owner.clock_tick >= 1 * 20, "and yet its time passes"
        running.cancel()
