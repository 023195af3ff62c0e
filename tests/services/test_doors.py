"""People at the door of a room."""

from __future__ import annotations

from gameserver.services.doors import Doors, Visitor
from persistence.memory import MemoryStore
from protocol.messages import Join, JoinBy
from tests.net.rig import FakeHost
from tests.runtime.rig import Eyes
from tests.services.test_lobby import Rig


async def test_a_room_that_was_made_at_another_node_is_known_here_once_somebody_is_in_it() -> None:
    store = MemoryStore()
    here, there = Rig(store), Rig(store)
    row = await there.create()
    assert here.lobby.known == []
    doors = Doors(FakeHost(), here.lobby)
    visitor = Visitor(Eyes(1), lambda: False)
    assert await doors.join(visitor, Join(1, JoinBy.ID, row.room_id, False)) is None
    assert here.lobby.known == [row]
