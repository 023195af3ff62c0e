"""Who is shown which room, and who waits to be.

One connection a seat; a viewer that is gone is shown nothing more. A seat whose last connection is
gone is told to the room, unless another connection of its player is on the way.
"""

from __future__ import annotations

from gameserver.engine.inputs import Lost
from gameserver.runtime.viewers import Viewer
from gameserver.runtime.work import WATCHING, Join, Leave, OpenRoom
from protocol import codec
from protocol.messages import LeftCode

# A join for each room that a connection may see, and as many that have missed something. More are
# told that we are busy.
WAITING_MAX = 128


class Audience:
    """The viewers of all rooms of a process."""

    def __init__(self) -> None:
        self._rooms: dict[Viewer, dict[OpenRoom, None]] = {}
        self._waiting: dict[Viewer, dict[Join | Leave, None]] = {}

    def is_waiting_much(self, viewer: Viewer) -> bool:
        """Tell whether a viewer waits for so much that it must not ask for more."""
        return len(self._waiting.get(viewer, ())) >= WAITING_MAX

    def expect(self, asked: Join | Leave) -> None:
        """Note that a viewer waits for an answer of a room."""
        asked.opened.unanswered[asked] = None
        self._waiting.setdefault(asked.viewer, {})[asked] = None

    def met(self, asked: Join | Leave) -> bool:
        """Note that a viewer has been answered; false if it is gone."""
        if asked not in asked.opened.unanswered:
            return False
        del asked.opened.unanswered[asked]
        waiting = self._waiting[asked.viewer]
        del waiting[asked]
        if not waiting:
            del self._waiting[asked.viewer]
        return True

    def catching_up(self, opened: OpenRoom, viewer: Viewer) -> Join | None:
        """Return what a viewer of a room waits for because it has missed something."""
        for asked in self._waiting.get(viewer, ()):
            if isinstance(asked, Join) and asked.opened is opened and asked.request is None:
                return asked
        return None

    def awaits_seat(self, opened: OpenRoom, account: int) -> bool:
        """Tell whether a connection of an account is about to sit in a room, or to come back."""
        return any(
            isinstance(asked, Join)
            and asked.viewer.account == account
            and not asked.watch
            and asked.request is not None
            for asked in opened.unanswered
        )

    def enter(self, opened: OpenRoom, viewer: Viewer, seat: int) -> int:
        """Show a room to a viewer from now on; return its handle.

        An older viewer of the seat is replaced.
        """
        older = opened.by_seat.get(seat) if seat != WATCHING else None
        if older is not None and older is not viewer:
            self.leave(opened, older, LeftCode.REPLACED)
        before = opened.viewers.get(viewer)
        if before is not None and opened.by_seat.get(before) is viewer:
            del opened.by_seat[before]
        opened.viewers[viewer] = seat
        if seat != WATCHING:
            opened.by_seat[seat] = viewer
        self._rooms.setdefault(viewer, {})[opened] = None
        self.note_absence(opened, viewer.account)  # Of who only watches from now on.
        handle = viewer.joined(opened.row.room_id)
        if handle:
            opened.handles[viewer] = handle
        return handle

    def leave(self, opened: OpenRoom, viewer: Viewer, code: LeftCode) -> None:
        """Show a room to a viewer no more, and say why."""
        self.dismiss(opened, viewer, codec.left(opened.row.room_id, code))

    def dismiss(self, opened: OpenRoom, viewer: Viewer, farewell: bytes) -> None:
        """Show a room to a viewer no more; the last that it hears is ``farewell``."""
        self._forget(opened, viewer)
        viewer.left(opened.row.room_id)
        viewer.send(farewell)

    def lose(self, viewer: Viewer) -> list[OpenRoom]:
        """Forget a viewer that is gone; return the rooms that have to hear of it."""
        for asked in self._waiting.pop(viewer, ()):
            del asked.opened.unanswered[asked]
        rooms = tuple(self._rooms.get(viewer, ()))
        for opened in rooms:
            self._forget(opened, viewer)
        return [opened for opened in rooms if self.note_absence(opened, viewer.account)]

    def note_absence(self, opened: OpenRoom, account: int) -> bool:
        """Let a room know if no connection has, or is about to have, the seat of an account."""
        seat = opened.room.seat_of(account)
        if seat is None or self.awaits_seat(opened, account):
            return False
        viewer = opened.by_seat.get(seat)
        if viewer is not None and viewer.account == account:  # Else it is about to be let go.
            return False
        opened.inbox.put(Lost(seat))
        return True

    def _forget(self, opened: OpenRoom, viewer: Viewer) -> None:
        seat = opened.viewers.pop(viewer)
        opened.handles.pop(viewer, None)
        if opened.by_seat.get(seat) is viewer:
            del opened.by_seat[seat]
        rooms = self._rooms[viewer]
        del rooms[opened]
        if not rooms:
            del self._rooms[viewer]
