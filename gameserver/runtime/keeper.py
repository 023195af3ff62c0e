"""Which shards this node owns, under which epoch, and how far their clocks have come.

Who should own which is not decided here: a node alone takes them all, a cluster assigns them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from random import Random

from gameserver.runtime.slots import SLOTS
from persistence.interfaces import INTEGER_MAX, ShardMark, ShardState, Store
from persistence.ownership import Succession

# Of those that are ours when rooms are made, no slot gets more than a quarter more than another.
SHARDS_PER_SLOT_MIN = 4


def shard_of(room_id: int, shards: int) -> int:
    """Return the shard that a room belongs to; room ids are random, so shards fill evenly."""
    return room_id % shards


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
    """The shards that are ours, of ``shards`` in all.

    ``refused`` are those that nobody should serve, because their database went backwards.
    ``passed`` are those of ours that another node may take at any moment: nothing is written to
    them any more. ``on_count`` hears how many are ours whenever that may have changed.
    """

    def __init__(self, store: Store, node: str, shards: int) -> None:
        self._store = store
        self.node = node
        self.shards = shards
        self.owned: dict[int, OwnedShard] = {}
        self.refused: set[int] = set()
        self.passed: set[int] = set()
        self.on_count: Callable[[int], None] = lambda owned: None

    async def take(
        self, shards: Collection[int], beat: Callable[[], int], succession: Succession | None = None
    ) -> list[int]:
        """Become the owner of these shards: from now on nobody else can commit for them.

        With a succession only of those that it allows. Returns those that are ours now and were
        not before.
        """
        wanted = sorted(set(shards) - self.owned.keys() - self.refused)
        states = await self._store.take_shards(self.node, wanted, succession) if wanted else ()
        for state in states:
            self.owned[state.shard] = OwnedShard(state, beat())
        self.on_count(len(self.owned))
        return [state.shard for state in states]

    def has(self, mark: ShardMark) -> bool:
        """Tell whether a mark is of the claim that we have now, and not of one given up."""
        return self._claimed(mark) is not None

    def _claimed(self, mark: ShardMark) -> OwnedShard | None:
        owned = self.owned.get(mark.shard)
        if owned is None or owned.epoch != mark.epoch or mark.shard in self.passed:
            return None
        return owned

    def advance(self, marks: Iterable[ShardMark]) -> None:
        """Move on shards' heads, where we have their claims still: what marks say was committed."""
        for mark in marks:
            owned = self._claimed(mark)
            if owned is not None and mark.next_head != owned.head:
                owned.head = mark.next_head
                owned.link += 1

    def new_room(self, chance: Random) -> tuple[int, int]:
        """Return an id for a new room and its shard, one of ours if we have any.

        Rooms of a shard get a slot in common: so a slot's commit goes on with the journals of a
        few shards and not of all. Of few shards the slots would be filled unevenly.
        """
        mine = sorted(self.owned) or range(self.shards)
        place = chance.randrange(len(mine))
        shard = mine[place]
        first = chance.randrange(1, (INTEGER_MAX - shard) // self.shards - SLOTS)
        ids = [shard + self.shards * (first + step) for step in range(SLOTS)]
        if len(mine) < SHARDS_PER_SLOT_MIN * SLOTS:
            return ids[0], shard
        return next((one for one in ids if one % SLOTS == place % SLOTS), ids[0]), shard

    def drop(self, shard: int) -> None:
        """Forget a shard that has another owner."""
        self.owned.pop(shard, None)
        self.passed.discard(shard)
        self.on_count(len(self.owned))

    def right(self, owned: OwnedShard) -> ShardMark:
        """Return the right to write to a shard what moves neither its clock nor its head."""
        return ShardMark(owned.shard, owned.epoch, 0, owned.head, owned.head)

    def mark(self, owned: OwnedShard, beat: int, next_head: bytes) -> ShardMark:
        """Return the right to write to a shard at this beat."""
        return ShardMark(owned.shard, owned.epoch, beat + owned.offset_ticks, owned.head, next_head)
