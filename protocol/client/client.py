"""A client that stays: it connects, comes back by itself, and loses nothing on the way.

It knows who it is and which rooms it sees. After a broken connection it comes with the same token,
resumes every room from its last closed tick and sends again what is unanswered. It knows no game.
"""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

import msgspec

from protocol.client.connection import Connection, Ended
from protocol.client.errors import (
    AnswerTimeout,
    ClientError,
    ClientStopped,
    ConnectionLost,
    RequestRefused,
    RoomClosed,
)
from protocol.client.options import Counters, Options
from protocol.client.requests import Requests, join_by
from protocol.client.room import ClientRoom
from protocol.client.transport import ABNORMAL
from protocol.closes import CloseClass, CloseCode, close_class
from protocol.messages import (
    VERSION,
    AnyOutbound,
    Balance,
    Deferred,
    Delta,
    Full,
    Hello,
    Invalid,
    Join,
    Joined,
    Leave,
    Left,
    LeftCode,
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

RETRY_MS_MAX = 60_000  # No server's wish keeps a client away for longer.


class Created(NamedTuple):
    """A room that was made: how to join it."""

    room_id: int
    code: str


class Client:
    """One account's connection to a server, over as many sockets as it takes.

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
        self._requests = Requests(self.options)
        self._connection: Connection | None = None
        self._welcomed = False
        self._failure = ""  # Why there is no connection, for a person.
        self._resuming: set[int] = set()
        self._tasks = asyncio.TaskGroup()
        self._runner: asyncio.Task[None] | None = None
        self._opened: asyncio.Future[None] | None = None

    async def __aenter__(self) -> "Client":
        """Connect; raises ClientStopped or AnswerTimeout if there is no way in."""
        self._opened = asyncio.get_running_loop().create_future()
        await self._tasks.__aenter__()
        self._runner = self._tasks.create_task(self._run())
        try:
            async with asyncio.timeout(self.options.open_timeout_ms / 1000):
                await asyncio.shield(self._opened)
        except TimeoutError as error:
            await self._shut(None, None, None)
            raise AnswerTimeout(f"no connection to {self.url}{self._failure}") from error
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
        """Tell whether there is a connection just now."""
        return self._welcomed

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
        reply = await self._requests.ask(
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

        Returns when the room is seen whole. Raises RequestRefused, Redirected, AnswerTimeout,
        RoomClosed, ClientStopped.
        """
        by, value = join_by(code, room_id, game)
        try:
            async with asyncio.timeout(self._timeout(timeout_ms) / 1000):
                joined = await self._requests.ask(
                    lambda number: Join(number, by, value, watch),
                    again=True,
                    timeout_ms=self._timeout(timeout_ms),
                )
                assert isinstance(joined, Joined), "Joins are answered by Joined."
                room = self.rooms.get(joined.room)
                if room is None:
                    raise RoomClosed(0, "LOST")  # It ended between the two messages.
                await room.opened()
                return room
        except TimeoutError as error:
            if isinstance(error, ClientError):
                raise
            raise AnswerTimeout("the room was not shown in time") from error

    # --- What rooms need.

    def post(self, payload: bytes) -> None:
        """Put a message on its way; without a connection it is dropped."""
        if self._connection is not None:
            self._connection.post(payload)

    async def leave(self, room_id: int) -> None:
        """Give up the seat in a room, or stop watching it."""
        try:
            async with asyncio.timeout(self._timeout(None) / 1000):
                while (room := self.rooms.get(room_id)) is not None:
                    # After a new connection the room must be resumed before it can be left.
                    await room.joined()
                    await self._leave_once(room_id)
        except TimeoutError as error:
            if isinstance(error, ClientError):
                raise
            raise AnswerTimeout("the room was not left in time") from error

    async def _leave_once(self, room_id: int) -> None:
        try:
            await self._requests.ask(
                lambda number: Leave(number, room_id),
                again=False,
                timeout_ms=self._timeout(None),
            )
        except ConnectionLost:
            return
        except RequestRefused as error:
            if error.code != ReplyCode.NOT_FOUND:
                raise
        self._end_room(room_id, RoomClosed(LeftCode.LEFT, LeftCode.LEFT.name))

    # --- Connecting, again and again.

    async def _run(self) -> None:
        attempt = 0
        while True:
            started_ns = self.options.now_ns()
            ended = await self._connect()
            self._failure = f": {ended.name}" if ended.name else ""
            self.counters.closes[ended.code] = self.counters.closes.get(ended.code, 0) + 1
            if self._lose():
                lived_ms = (self.options.now_ns() - started_ns) // 1_000_000
                attempt = 0 if lived_ms >= self.options.steady_ms else attempt
            if close_class(ended.code) is CloseClass.STOP:
                self._stop(ClientStopped(ended.code, ended.name))
                return
            await asyncio.sleep(
                min(max(ended.retry_ms, 0), RETRY_MS_MAX) / 1000 + self.options.backoff_s(attempt)
            )
            attempt += 1

    async def _connect(self) -> Ended:
        """Live through one connection."""
        try:
            async with asyncio.timeout(self.options.dial_timeout_ms / 1000):
                transport = await self.options.dial(self.url)
        except (OSError, ValueError) as error:
            code = ABNORMAL if isinstance(error, OSError) else CloseCode.WEBSOCKET_ERROR
            return Ended(code, str(error))
        connection = Connection(transport, self.options, self.counters, self._take)
        self._connection = connection
        return await connection.run(Hello([VERSION], self.token, self.name, self.options.program))

    def _lose(self) -> bool:
        """Let everything wait; tell whether there was anything to lose."""
        self._connection = None
        if not self._welcomed:
            return False
        self._welcomed = False
        self.counters.disconnects += 1
        self._requests.pause()
        for room in self.rooms.values():
            room.pause()
        return True

    def _stop(self, error: ClientError) -> None:
        """Come to an end: everybody who waits is told why."""
        self.stopped = error
        self._connection = None
        self._welcomed = False
        self._requests.end(error)
        for room in self.rooms.values():
            room.end(error)
        self.rooms = {}
        if self._opened is not None and not self._opened.done():
            self._opened.set_exception(error)
            self._opened.exception()  # Whoever opened the client may have given up before.

    async def _shut(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            self._runner.cancel()
        if self.stopped is None:
            self._stop(ClientStopped(CloseCode.NORMAL, "LEFT"))
        if kind is not None and not issubclass(kind, asyncio.CancelledError):
            # The group would wrap it; what the body raised leaves as it is.
            kind = error = traceback = None
        await self._tasks.__aexit__(kind, error, traceback)

    # --- What the server says.

    def _take(self, message: AnyOutbound) -> None:
        take = _TAKE.get(type(message))
        if take is not None:
            take(self, message)

    def _take_welcome(self, message: Welcome) -> None:
        self.account = message.account
        self.name = message.name
        self.token = message.token
        self._welcomed = True
        for room_id in self.rooms:
            if room_id not in self._resuming:
                self._resuming.add(room_id)
                self._tasks.create_task(self._resume(room_id))
        self._requests.resume(self.post)
        if self._opened is not None and not self._opened.done():
            self._opened.set_result(None)

    async def _resume(self, room_id: int) -> None:
        """Ask to see a room again, over as many connections as it takes."""
        try:
            while (room := self.rooms.get(room_id)) is not None:
                try:
                    await self._requests.ask(
                        room.resumption, again=False, timeout_ms=self._timeout(None)
                    )
                    return
                except (ConnectionLost, AnswerTimeout):
                    continue
                except RequestRefused as error:
                    if error.retry_ms < 0:
                        self._end_room(room_id, RoomClosed(0, error.name))
                except ClientError as error:
                    self._end_room(room_id, error)
        finally:
            self._resuming.discard(room_id)

    def _take_joined(self, message: Joined) -> None:
        room = self.rooms.get(message.room)
        if not self._requests.take(message):
            self.counters.strays += 1
            return
        if room is None:
            room = self.rooms[message.room] = ClientRoom(message, self, self.options, self.counters)
        elif message.room in self._resuming and room.is_open:
            if message.resume:
                self.counters.resumed_gapless += 1
            else:
                self.counters.resumed_full += 1
        room.take_joined(message)

    def _take_answer(self, message: Reply | Redirect) -> None:
        if not self._requests.take(message):
            self.counters.strays += 1

    def _take_left(self, message: Left) -> None:
        self._end_room(message.room, RoomClosed(message.code, message.name))

    def _take_balance(self, message: Balance) -> None:
        self.balance = message.balance_minor

    def _end_room(self, room_id: int, error: ClientError) -> None:
        room = self.rooms.pop(room_id, None)
        if room is not None:
            room.end(error)

    def _timeout(self, timeout_ms: int | None) -> int:
        return self.options.answer_timeout_ms if timeout_ms is None else timeout_ms


def _in_room(take: Callable[[ClientRoom, Any], None]) -> Callable[[Client, Any], None]:
    def take_in_room(client: Client, message: Any) -> None:
        room = client.rooms.get(message.room)
        if room is None:  # It was left on this side while the message was on its way.
            client.counters.strays += 1
        else:
            take(room, message)

    return take_in_room


_TAKE: dict[type, Callable[[Client, Any], None]] = {
    Welcome: Client._take_welcome,
    Reply: Client._take_answer,
    Redirect: Client._take_answer,
    Joined: Client._take_joined,
    Left: Client._take_left,
    Balance: Client._take_balance,
    Full: _in_room(ClientRoom.take_state),
    Delta: _in_room(ClientRoom.take_state),
    Private: _in_room(ClientRoom.take_state),
    Deferred: _in_room(ClientRoom.take_deferred),
    Invalid: _in_room(ClientRoom.take_invalid),
    Outcomes: _in_room(ClientRoom.take_outcomes),
    Roster: _in_room(ClientRoom.take_roster),
}
