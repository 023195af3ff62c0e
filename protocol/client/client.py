"""A client that stays: it connects, comes back by itself, and loses nothing on the way.

It knows who it is and which rooms it sees, and where. A room that is not seen any more, because its
connection broke or because it moved, is resumed from its last closed tick, wherever it lives by
then, and what is unanswered there is sent again. It knows no game.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

import msgspec

from protocol.client.asking import Asking
from protocol.client.errors import (
    AnswerTimeout,
    ClientError,
    ClientStopped,
    ConnectionLost,
    RequestRefused,
    RoomClosed,
)
from protocol.client.link import Link
from protocol.client.links import Links, Unreachable
from protocol.client.options import Counters, Options
from protocol.client.requests import join_by
from protocol.client.room import ClientRoom
from protocol.client.seeking import Seeking
from protocol.closes import CloseCode
from protocol.messages import (
    AnyOutbound,
    Balance,
    Change,
    Deferred,
    Delta,
    Full,
    Invalid,
    Join,
    Joined,
    Leave,
    Left,
    LeftCode,
    Moved,
    Nodes,
    Outcomes,
    Private,
    Redirect,
    Reply,
    ReplyCode,
    Request,
    Roster,
    Welcome,
)

# Asked twice they do what they do once: "create" carries a key, "rename" sets.
REPEATABLE = frozenset(
    {
        *("create", "list", "find", "games", "schema", "balance", "wallet", "results", "leaders"),
        "rename",
    }
)


class Created(NamedTuple):
    """A room that was made: how to join it."""

    room_id: int
    code: str


class Client:
    """One account's way to a server, or to a cluster of them, over as many sockets as it takes.

    Used as ``async with Client(url, name="ann") as client``. Without a token the server makes a
    guest of that name; ``token`` then brings the same account back later.
    """

    def __init__(
        self, url: str, *, name: str = "", token: str = "", options: Options | None = None
    ) -> None:
        self.url = url
        self.account = 0
        self.name = name
        self.token = token
        self.balance: int | None = None
        self.counters = Counters()
        self.rooms: dict[int, ClientRoom] = {}
        self.stopped: ClientError | None = None
        self.options = options or Options()
        self._links = Links(url, self, self.options, self.counters, self._spawn)
        self._asking = Asking(self._links, self.options, self.counters)
        self._seeking = Seeking(
            self._links, self._asking, self.options, self._spawn, self._end_room
        )
        self._tasks = asyncio.TaskGroup()
        self._running: set[asyncio.Task[None]] = set()
        self._opened: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Client":
        """Connect; raises ClientStopped or AnswerTimeout if there is no way in."""
        self._opened = asyncio.get_running_loop().create_future()
        await self._tasks.__aenter__()
        self._spawn(self._links.keep_home())
        try:
            async with asyncio.timeout(self.options.open_timeout_ms / 1000):
                await asyncio.shield(self._opened)
        except TimeoutError as error:
            await self._shut(None, None, None)
            raise AnswerTimeout(f"no connection to {self.url}{self._links.failure}") from error
        except BaseException as error:
            await self._shut(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say goodbye and close; rooms keep this account's seats."""
        await self._shut(kind, error, traceback)

    @property
    def connected(self) -> bool:
        """Tell whether there is a connection to ask over just now."""
        return self._links.connected

    async def request(
        self,
        method: str,
        body: Any = (),
        *,
        timeout_ms: int | None = None,
        again: bool | None = None,
    ) -> Any:
        """Ask a service and return the body of its answer.

        ``again`` says whether it may be asked twice if the connection breaks; known for the
        methods of the protocol. Raises RequestRefused, ConnectionLost, AnswerTimeout,
        ClientStopped.
        """
        raw = msgspec.Raw(body if isinstance(body, bytes) else msgspec.msgpack.encode(body))
        reply = await self._asking.ask(
            lambda number: Request(number, method, raw),
            again=method in REPEATABLE if again is None else again,
            timeout_ms=self._timeout(timeout_ms),
        )
        assert isinstance(reply, Reply), "Requests are answered by Reply."
        return msgspec.msgpack.decode(reply.body)

    async def create(
        self,
        game: str,
        *,
        settings: Mapping[str, Any] | None = None,
        listed: bool = True,
        key: bytes | None = None,
        timeout_ms: int | None = None,
    ) -> Created:
        """Make a room; the same key gives the same room again."""
        body = [game, key or self.options.fresh_key(), listed, settings or {}]
        return Created(*await self.request("create", body, timeout_ms=timeout_ms))

    async def join(
        self,
        *,
        code: str | None = None,
        room_id: int | None = None,
        game: str | None = None,
        watch: bool = False,
        timeout_ms: int | None = None,
    ) -> ClientRoom:
        """Take a seat in a room, or watch it: by its code, its id, or any room of a game.

        Returns when the room is seen whole. Raises RequestRefused, AnswerTimeout, RoomClosed,
        ClientStopped.
        """
        by, value = join_by(code, room_id, game)
        deadline_s = asyncio.get_running_loop().time() + self._timeout(timeout_ms) / 1000
        joined = await self._asking.ask(
            lambda number: Join(number, by, value, watch),
            again=True,
            timeout_ms=self._timeout(timeout_ms),
        )
        assert isinstance(joined, Joined), "Joins are answered by Joined."
        room = self.rooms.get(joined.room)
        if room is None:
            raise RoomClosed(0, "LOST")  # It ended between the two messages.
        try:
            async with asyncio.timeout_at(deadline_s):
                await room.opened()
        except TimeoutError as error:
            raise AnswerTimeout("the room was not shown in time") from error
        return room

    # --- What rooms need.

    async def leave(self, room_id: int) -> None:
        """Give up the seat in a room, or stop watching it."""
        try:
            async with asyncio.timeout(self._timeout(None) / 1000):
                while (room := self.rooms.get(room_id)) is not None:
                    # After a new connection the room must be resumed before it can be left.
                    await room.joined()
                    if room.link is not None:
                        await self._leave_once(room, room.link)
        except TimeoutError as error:
            if isinstance(error, ClientError):
                raise
            raise AnswerTimeout("the room was not left in time") from error

    async def _leave_once(self, room: ClientRoom, link: Link) -> None:
        try:
            await self._asking.follow(link, lambda number: Leave(number, room.id))
        except (ConnectionLost, Unreachable):
            return
        except RequestRefused as error:
            if error.retry_ms >= 0:
                await self._asking.wait(error)
                return
            if error.code != ReplyCode.NOT_FOUND:
                raise
            if room.link is not link:
                return  # It has moved meanwhile, with the seat.
        self._end_room(room.id, RoomClosed(LeftCode.LEFT, LeftCode.LEFT.name))

    # --- What links need.

    def uses(self, link: Link) -> bool:
        """Tell whether a room is seen there."""
        return any(room.link is link for room in self.rooms.values())

    def awaits(self, link: Link) -> bool:
        """Tell whether an answer is waited for there which other servers could give."""
        if not self._links.has_others:
            return False
        rooms = self.rooms.values()
        return len(link.requests) > 0 or any(r.link is link and r.unanswered for r in rooms)

    def take(self, link: Link, message: AnyOutbound) -> None:
        """Take a message of a server."""
        take = _TAKE.get(type(message))
        if take is not None:
            take(self, link, message)

    def lost(self, link: Link) -> None:
        """Look for the rooms that were seen there: there, if it comes back, or elsewhere."""
        self._links.lost(link)
        comes_back = link.comes_back
        for room in self.rooms.values():
            if room.link is link:
                self._seeking.seek(room, partial(self._links.back, link) if comes_back else None)

    def stop(self, error: ClientStopped) -> None:
        """Come to an end: everybody who waits is told why."""
        if self.stopped is not None:
            return
        self.stopped = error
        self._links.stop(error)
        for room in self.rooms.values():
            room.end(error)
        self.rooms = {}
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # Whoever opened the client may have given up before.
        for task in self._running - {asyncio.current_task()}:
            task.cancel()

    def finish(self, closing: Coroutine[Any, Any, None]) -> None:
        """Run what ends by itself, soon, whatever becomes of the client."""
        self._tasks.create_task(closing)

    def _spawn(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._tasks.create_task(running)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _shut(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(ClientStopped(CloseCode.NORMAL, "LEFT"))
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            # The group would wrap it; what the body raised leaves as it is.
            kind = error = traceback = None
        await self._tasks.__aexit__(kind, error, traceback)

    # --- What servers say.

    def _take_welcome(self, link: Link, message: Welcome) -> None:
        self.account = message.account
        self.name = message.name
        self.token = message.token or self.token
        self._links.opened(link)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    def _take_joined(self, link: Link, message: Joined) -> None:
        room = self.rooms.get(message.room)
        link.handles[message.handle] = message.room  # Also if nobody waits any more.
        if not link.requests.take(message):
            self.counters.strays += 1
            return
        if room is None:
            room = self.rooms[message.room] = ClientRoom(message, self, self.options, self.counters)
        elif self._seeking.is_sought(message.room) and room.is_open:
            if message.resume:
                self.counters.resumed_gapless += 1
            else:
                self.counters.resumed_full += 1
        self._release(room, but=link)
        room.take_joined(message, link)

    def _take_answer(self, link: Link, message: Reply | Redirect) -> None:
        if not link.requests.take(message):
            self.counters.strays += 1

    def _take_left(self, link: Link, message: Left) -> None:
        room = self.rooms.get(message.room)
        if room is not None and room.link is not link:
            self.counters.strays += 1  # It has been found elsewhere, or is looked for.
        else:
            self._end_room(message.room, RoomClosed(message.code, message.name))

    def _take_moved(self, link: Link, message: Moved) -> None:
        room = self.rooms.get(message.room)
        if room is None or room.link is not link:
            self.counters.strays += 1
            return
        self.counters.moved += 1
        self._release(room)
        url, ticket = message.url, message.ticket
        there = partial(self._links.reach, url, ticket) if url else partial(self._links.back, link)
        self._seeking.seek(room, there)

    def _take_balance(self, _link: Link, message: Balance) -> None:
        self.balance = message.balance_minor

    def _take_nodes(self, link: Link, message: Nodes) -> None:
        self._links.take_nodes(link, message.urls)

    def _end_room(self, room_id: int, error: ClientError) -> None:
        room = self.rooms.pop(room_id, None)
        if room is not None:
            self._seeking.forget(room_id)
            self._release(room)
            room.end(error)

    def _release(self, room: ClientRoom, but: Link | None = None) -> None:
        """Let the link go over which a room was seen, unless others need it."""
        if room.link is not None and room.link is not but:
            self._links.released(room.link)

    def _timeout(self, timeout_ms: int | None) -> int:
        return self.options.answer_timeout_ms if timeout_ms is None else timeout_ms


def _in_room(take: Callable[[ClientRoom, Any], None]) -> Callable[[Client, Link, Any], None]:
    def take_in_room(client: Client, link: Link, message: Any) -> None:
        is_change = isinstance(message, Change)
        room_id = link.handles.get(message.handle, 0) if is_change else message.room
        room = client.rooms.get(room_id)
        if room is None or room.link is not link:
            # It was left on this side, or found elsewhere, while the message was on its way.
            client.counters.strays += 1
        else:
            take(room, message)

    return take_in_room


_TAKE: dict[type, Callable[[Client, Link, Any], None]] = {
    Welcome: Client._take_welcome,
    Reply: Client._take_answer,
    Redirect: Client._take_answer,
    Joined: Client._take_joined,
    Left: Client._take_left,
    Moved: Client._take_moved,
    Nodes: Client._take_nodes,
    Balance: Client._take_balance,
    Full: _in_room(ClientRoom.take_state),
    Delta: _in_room(ClientRoom.take_state),
    Private: _in_room(ClientRoom.take_state),
    Deferred: _in_room(ClientRoom.take_deferred),
    Invalid: _in_room(ClientRoom.take_invalid),
    Outcomes: _in_room(ClientRoom.take_outcomes),
    Roster: _in_room(ClientRoom.take_roster),
}
