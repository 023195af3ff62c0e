"""Which shards this node owns, under which epoch, and how far their clocks have come.

One node owns them all for now. Whoever assigns shards by lease later takes and drops them here.
"""

from __future__ import annotations

from collections.abc import Sequence

from persistence.interfaces import SHARDS, ShardMark, ShardState, Store


def shard_of(room_id: int) -> int:
    """Return the shard that a room belongs to; room ids are random, so shards fill evenly."""
    return room_id % SHARDS


class OwnedShard:
    """A shard under our epoch. Its clock is ``offset_ticks`` ahead of the process's beat."""

    __slots__ = ("epoch", "head", "link", "offset_ticks", "shard")

    def __init__(self, state: ShardState, beat: int) -> None:
        self.shard = state.shard
        self.epoch = state.epoch
        self.head = state.head
        self.link = state.link
        # The clock goes on one tick after the last that anybody may have seen.
        self.offset_ticks = state.clock_tick + 1 - beat


class ShardKeeper:
    """The shards that are ours.

    ``refused`` are those that nobody should serve, because their database went backwards.
    """

    def __init__(self, store: Store, node: str) -> None:
        self._store = store
        self.node = node
        self.owned: dict[int, OwnedShard] = {}
        self.refused: set[int] = set()

    async def take(self, shards: Sequence[int], beat: int) -> None:
        """Become the owner of these shards: from now on nobody else can commit for them."""
        for state in await self._store.take_shards(self.node, shards):
            self.owned[state.shard] = OwnedShard(state, beat)

    def advance(self, mark: ShardMark) -> None:
        """Move on a shard's head: what the mark says was committed."""
        owned = self.owned.get(mark.shard)
        if owned is not None and mark.next_head != owned.head:
            owned.head = mark.next_head
            owned.link += 1

    def drop(self, shard: int) -> None:
        """Forget a shard that has another owner."""
        self.owned.pop(shard, None)

    def mark(self, owned: OwnedShard, beat: int, next_head: bytes) -> ShardMark:
        """Return the right to write to a shard at this beat."""
        return ShardMark(owned.shard, owned.epoch, beat + owned.offset_ticks, owned.head, next_head)
