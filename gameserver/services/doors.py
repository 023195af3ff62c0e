"""The way into rooms: finding the room that somebody names, and asking it to take them in.

It decides which room is tried. Whether there is a seat, and what is shown of the room, is for the
room host, which also sends the answer when it is yes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from gameserver.runtime.cluster import Place
from gameserver.runtime.viewers import Viewer
from gameserver.services.lobby import Lobby
from gameserver.services.refusals import Refusal
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


class JoinRefused(Protocol):
    """Why a room did not take somebody in."""

    @property
    def code(self) -> ReplyCode: ...
    @property
    def detail(self) -> str: ...
    @property
    def retry_ms(self) -> int: ...


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


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another node has the room: its address, and a ticket that lets this visitor in there."""

    room_id: int
    node: str
    url: str
    ticket: str


Answer = Refusal | Elsewhere | None


class Way(Protocol):
    """The way to rooms that other nodes have."""

    def to(self, shard: int) -> Place | None:
        """Return who serves a shard, if it is another node."""

    def ticket(self, account: int, node: str) -> str:
        """Return what lets an account in at a node, for a moment."""

    def urls(self) -> tuple[str, ...]:
        """Return the addresses of other nodes."""


class Doors:
    """Lets people into rooms, or leads them to the node that has theirs.

    What is not None in its answers is for the caller to tell; else the answer comes from the room.
    """

    def __init__(self, rooms: Rooms, lobby: Lobby, way: Way | None = None) -> None:
        self._rooms = rooms
        self._lobby = lobby
        self._way = way

    async def join(self, visitor: Visitor, message: Join) -> Answer:
        """Take a seat, or watch."""
        if message.by == JoinBy.ANY:
            return await self._join_any(visitor, message)
        if isinstance(message.value, int):
            row = await self._lobby.by_id(message.value)
        else:
            row = await self._lobby.by_code(message.value)
        return await self._enter(visitor, message, row, None)

    async def resume(self, visitor: Visitor, message: Resume) -> Answer:
        """See a room again."""
        row = await self._lobby.by_id(message.room)
        return await self._enter(visitor, message, row, message.closed_tick)

    async def _join_any(self, visitor: Visitor, message: Join) -> Answer:
        tried: frozenset[int] = frozenset()
        answer: Answer = None
        for _ in range(ANY_ATTEMPTS):
            row = await self._lobby.any(
                visitor.viewer.account, str(message.value), tried, watch=message.watch
            )
            if isinstance(row, Refusal):
                return row
            try:
                answer = await self._enter(visitor, message, row, None)
            finally:
                self._lobby.placed(row.room_id)
            if not isinstance(answer, Refusal) or answer.code not in _TRY_ANOTHER:
                return answer
            tried |= {row.room_id}
        return answer

    async def _enter(
        self,
        visitor: Visitor,
        message: Join | Resume,
        row: RoomRow | None,
        closed_tick: int | None,
    ) -> Answer:
        if row is None:
            return Refusal(ReplyCode.NOT_FOUND)
        place = None if self._way is None else self._way.to(row.shard)
        if self._way is not None and place is not None:
            ticket = self._way.ticket(visitor.viewer.account, place.node)
            return Elsewhere(row.room_id, place.node, place.url, ticket)
        if row.game not in self._lobby.games:
            return Refusal(ReplyCode.UNKNOWN_GAME, row.game)
        if row.status != RoomStatus.OPEN:
            return Refusal(_CLOSED[row.status])
        if visitor.has_gone():
            return None  # Its rooms have been told.
        if closed_tick is None and (busy := self._lobby.admit(visitor.viewer.account, row)):
            return busy
        refused = await self._rooms.join(
            row, visitor.viewer, message.request, watch=message.watch, closed_tick=closed_tick
        )
        if visitor.has_gone():
            # It went while the room was being opened, before the room knew of it.
            self._rooms.lost(visitor.viewer)
        if refused is None:
            self._lobby.note((row,))  # It may have been made at another node.
            return None
        return Refusal(refused.code, refused.detail, refused.retry_ms)
