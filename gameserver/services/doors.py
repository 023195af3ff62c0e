"""The way into rooms: finding the room that somebody names, and asking it to take them in.

It decides which room is tried. Whether there is a seat, and what is shown of the room, is for the
room host, which also sends the answer when it is yes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gameserver.runtime.viewers import Viewer
from gameserver.services.lobby import Lobby
from gameserver.services.refusals import UNAVAILABLE_RETRY_MS, Refusal
from persistence.interfaces import RoomRow, RoomStatus
from protocol.messages import Join, JoinBy, ReplyCode, Resume

ANY_ATTEMPTS = 8
# Answers of a room after which another room may take the player.
_TRY_ANOTHER = frozenset(
    {ReplyCode.ROOM_FULL, ReplyCode.ROOM_ENDED, ReplyCode.ROOM_SET_ASIDE, ReplyCode.REFUSED}
)
_CLOSED = {
    RoomStatus.ENDED: ReplyCode.ROOM_ENDED,
    RoomStatus.SET_ASIDE: ReplyCode.ROOM_SET_ASIDE,
}
_PASSING = frozenset({ReplyCode.UNAVAILABLE, ReplyCode.BUSY})


class JoinRefused(Protocol):
    """Why a room did not take somebody in."""

    @property
    def code(self) -> ReplyCode: ...
    @property
    def detail(self) -> str: ...


class Rooms(Protocol):
    """Whoever hosts rooms, as far as getting in is concerned."""

    async def join(
        self, row: RoomRow, viewer: Viewer, request: int, *, watch: bool, closed_tick: int | None
    ) -> JoinRefused | None: ...

    def lost(self, viewer: Viewer) -> None: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody at the door, who may go away while a room is being opened."""

    viewer: Viewer
    has_gone: Callable[[], bool]


class Doors:
    """Lets people into rooms."""

    def __init__(self, rooms: Rooms, lobby: Lobby) -> None:
        self._rooms = rooms
        self._lobby = lobby

    async def join(self, visitor: Visitor, message: Join) -> Refusal | None:
        """Take a seat, or watch; None if the answer comes from the room."""
        if message.by == JoinBy.ANY:
            return await self._join_any(visitor, message)
        if isinstance(message.value, int):
            row = await self._lobby.by_id(message.value)
        else:
            row = await self._lobby.by_code(message.value)
        return await self._enter(visitor, message, row, None)

    async def resume(self, visitor: Visitor, message: Resume) -> Refusal | None:
        """See a room again; None if the answer comes from the room."""
        row = await self._lobby.by_id(message.room)
        return await self._enter(visitor, message, row, message.closed_tick)

    async def _join_any(self, visitor: Visitor, message: Join) -> Refusal | None:
        tried: frozenset[int] = frozenset()
        refusal: Refusal | None = None
        for _ in range(ANY_ATTEMPTS):
            row = await self._lobby.any(
                visitor.viewer.account, str(message.value), tried, watch=message.watch
            )
            if isinstance(row, Refusal):
                return row
            try:
                refusal = await self._enter(visitor, message, row, None)
            finally:
                self._lobby.placed(row.room_id)
            if refusal is None or refusal.code not in _TRY_ANOTHER:
                return refusal
            tried |= {row.room_id}
        return refusal

    async def _enter(
        self,
        visitor: Visitor,
        message: Join | Resume,
        row: RoomRow | None,
        closed_tick: int | None,
    ) -> Refusal | None:
        if row is None:
            return Refusal(ReplyCode.NOT_FOUND)
        if row.game not in self._lobby.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, row.game)
        if row.status != RoomStatus.OPEN:
            return Refusal(_CLOSED[row.status])
        if visitor.has_gone():
            return None  # Its rooms have been told.
        refused = await self._rooms.join(
            row, visitor.viewer, message.request, watch=message.watch, closed_tick=closed_tick
        )
        if visitor.has_gone():
            # It went while the room was being opened, before the room knew of it.
            self._rooms.lost(visitor.viewer)
        if refused is None:
            return None
        retry_ms = UNAVAILABLE_RETRY_MS if refused.code in _PASSING else -1
        return Refusal(refused.code, refused.detail, retry_ms)
