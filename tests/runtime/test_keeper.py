"""The ids of new rooms: of our shards, spread evenly, and of a shard all in one slot."""

from collections import Counter
from random import Random

import pytest

from gameserver.runtime.keeper import ShardKeeper, shard_of
from gameserver.runtime.slots import SLOTS
from persistence.memory import MemoryStore
from tests.virtual import virtual

ROOMS = 3_000


async def made(shards: int, owned: int) -> list[tuple[int, int]]:
    """Return the ids and shards of rooms of a node that owns so many of the shards."""
    keeper = ShardKeeper(MemoryStore(), "node", shards)
    chance = Random(5)
    await keeper.take(chance.sample(range(shards), owned), lambda: 0)
    rooms = [keeper.new_room(chance) for _ in range(ROOMS)]
    assert all(shard == shard_of(room_id, shards) for room_id, shard in rooms)
    assert not owned or {shard for _, shard in rooms} == set(keeper.owned)
    return rooms


@pytest.mark.parametrize(("shards", "owned"), [(64, 64), (64, 0), (64, 21), (100, 100)])
@virtual
async def test_the_rooms_of_a_shard_have_a_slot_in_common(shards: int, owned: int) -> None:
    rooms = await made(shards, owned)
    slots = {(shard, room_id % SLOTS) for room_id, shard in rooms}
    assert len(slots) == (owned or shards)
    sizes = Counter(room_id % SLOTS for room_id, _ in rooms)
    assert max(sizes.values()) < 1.5 * min(sizes.values())


@pytest.mark.parametrize("owned", [1, 2, 6, 19])
@virtual
async def test_the_rooms_of_few_shards_are_in_all_slots(owned: int) -> None:
    sizes = Counter(room_id % SLOTS for room_id, _ in await made(64, owned))
    assert len(sizes) == SLOTS
    assert max(sizes.values()) < 1.5 * min(sizes.values())
