"""A database that holds what this server was not started for: other games, other keys."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gameserver.runtime.opening import JoinError
from gameserver.runtime.recovery import opens_what_is_stored
from persistence.interfaces import RoomStatus
from persistence.sealing import Sealer
from protocol.messages import ReplyCode
from tests.runtime import rig as rigs
from tests.runtime.pots import Put
from tests.runtime.rig import SEALER, Eyes, FaultyStore, node_running
from tests.virtual import virtual

ANN = 101


async def played(store: FaultyStore) -> None:
    """Leave a room behind in which something has happened."""
    async with node_running(store) as rig:
        row = await rig.room()
        ann = Eyes(ANN)
        await rig.join(row, ann)
        await rig.done(row, ann, 1, Put(1))


@virtual
async def test_a_room_whose_game_is_not_offered_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = FaultyStore()
    await played(store)
    kept = await store.room(1)
    assert kept is not None
    with monkeypatch.context() as patch:
        patch.setattr(rigs, "GAMES", {})
        async with node_running(store, "n2") as rig:
            await rig.beats()
            assert await rig.join(kept, Eyes(ANN)) == JoinError(ReplyCode.UNKNOWN_GAME, "pots")
            assert not rig.node.host.rooms
    kept = await store.room(1)
    assert kept is not None
    assert kept.status is RoomStatus.OPEN
    async with node_running(store, "n3") as rig:
        await rig.until(lambda: 1 in rig.node.host.rooms)
        assert rig.node.host.rooms[1].room.state.total == 1


@virtual
async def test_other_keys_are_told_from_one_room_that_is_damaged() -> None:
    store = FaultyStore()
    other = Sealer({1: bytes(range(32))}, 1)
    assert await opens_what_is_stored(store, other)  # There is nothing that they could not open.
    await played(store)
    assert await opens_what_is_stored(store, SEALER)
    assert not await opens_what_is_stored(store, other)
    async with node_running(store, "n2") as rig:
        row = await rig.room(2)
        eve = Eyes(ANN + 1)
        await rig.join(row, eve)
        await rig.done(row, eve, 1, Put(1))
    store._entries[2] = [replace(one, payload=b"damaged") for one in store._entries[2]]
    assert await opens_what_is_stored(store, SEALER)
