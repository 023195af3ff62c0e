"""Who is shown which room. One connection a seat; a viewer that is gone is shown nothing more."""

from __future__ import annotations

from gameserver.engine.inputs import Lost
from gameserver.runtime.viewers import Viewer
from gameserver.runtime.work import WATCHING, Join, OpenRoom
from protocol import codec
from protocol.messages import LeftCode


class Audience:
    """The viewers of all rooms of a process."""

    def __init__(self) -> None:
        self._rooms: dict[Viewer, dict[OpenRoom, None]] = {}
        self._joins: dict[Viewer, list[Join]] = {}

    def expect(self, opened: OpenRoom, join: Join) -> None:
        """Note that a viewer waits to be shown a room."""
        opened.joins.append(join)
        self._joins.setdefault(join.viewer, []).append(join)

    def met(self, join: Join) -> bool:
        """Note that a join has been answered; false if its viewer is gone."""
        waiting = self._joins.get(join.viewer)
        if waiting is None or join not in waiting:
            return False
        waiting.remove(join)
        if not waiting:
            del self._joins[join.viewer]
        return True

    def enter(self, opened: OpenRoom, viewer: Viewer, seat: int, tick: int) -> None:
        """Show a room to a viewer from now on; an older viewer of the seat is replaced."""
        older = opened.by_seat.get(seat) if seat != WATCHING else None
        if older is not None and older is not viewer:
            self.leave(opened, older, LeftCode.REPLACED)
        before = opened.viewers.get(viewer)
        if before is not None and before != seat:
            opened.by_seat.pop(before, None)
        opened.viewers[viewer] = seat
        if seat != WATCHING:
            opened.by_seat[seat] = viewer
        self._rooms.setdefault(viewer, {})[opened] = None
        viewer.joined(opened.row.room_id, seat, tick)

    def leave(self, opened: OpenRoom, viewer: Viewer, code: LeftCode) -> None:
        """Show a room to a viewer no more, and say why."""
        self._forget(opened, viewer)
        viewer.left(opened.row.room_id)
        viewer.send(codec.left(opened.row.room_id, code))

    def lose(self, viewer: Viewer) -> list[OpenRoom]:
        """Forget a viewer that is gone; return the rooms in which its seat is now empty."""
        for join in self._joins.pop(viewer, ()):
            join.is_off = True
        emptied: list[OpenRoom] = []
        for opened in tuple(self._rooms.get(viewer, ())):
            seat = self._forget(opened, viewer)
            if seat != WATCHING:
                opened.inbox.put(Lost(seat))
                emptied.append(opened)
        return emptied

    def _forget(self, opened: OpenRoom, viewer: Viewer) -> int:
        seat = opened.viewers.pop(viewer)
        if opened.by_seat.get(seat) is viewer:
            del opened.by_seat[seat]
        rooms = self._rooms[viewer]
        del rooms[opened]
        if not rooms:
            del self._rooms[viewer]
        return seat
