"""Where each message goes: commands to the room host, questions to the services.

It holds no state of its own. What has to wait becomes a job; a command never does, it is in its
room's inbox before this returns.
"""

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from gameserver.net.connection import Connection, Stage
from gameserver.net.edge import Edge
from gameserver.net.jobs import Jobs
from gameserver.net.upstream import RELAY
from gameserver.runtime.opening import UNAVAILABLE_RETRY_MS
from gameserver.runtime.viewers import Viewer
from gameserver.services.accounts import Accounts, TokenExpired, TokenInvalid
from gameserver.services.doors import Answer, Doors, Elsewhere, Rooms, Visitor, Way
from gameserver.services.lobby import Lobby
from gameserver.services.names import BadName
from gameserver.services.refusals import Refusal
from gameserver.services.requests import Requests
from gameserver.services.wallet import Wallet
from protocol import codec
from protocol.closes import CloseCode
from protocol.messages import (
    AnyInbound,
    Bye,
    Command,
    DeferralCode,
    Hello,
    Join,
    Leave,
    Ping,
    Pong,
    ReplyCode,
    Request,
    Resume,
    Resync,
)

BUSY_RETRY_MS = 500


class Host(Rooms, Protocol):
    """The rooms, as the edge uses them. `runtime.host.RoomHost` is one."""

    def command(self, room_id: int, viewer: Viewer, number: int, body: bytes) -> None: ...
    def leave(self, room_id: int, viewer: Viewer, request: int) -> bool: ...
    def resync(self, room_id: int, viewer: Viewer) -> None: ...
    def catch_up(self, room_id: int, viewer: Viewer, closed_tick: int) -> None: ...
    @property
    def is_overloaded(self) -> bool: ...
    def turned_away(self) -> int: ...


class Relaying(Protocol):
    """How clients see rooms of other nodes without leaving this one. `net.relay.Relay` is one."""

    async def enter(
        self, connection: Connection, message: Join | Resume, elsewhere: Elsewhere
    ) -> Refusal | None: ...
    def forward(self, connection: Connection, message: Command | Leave | Resync) -> bool: ...
    def rooms(self, connection: Connection) -> int: ...
    def drained(self, connection: Connection) -> None: ...
    def lost(self, connection: Connection) -> None: ...


class Services:
    """What is not a room. Without a ``way`` there are no other nodes."""

    __slots__ = ("accounts", "lobby", "requests", "wallet", "way")

    def __init__(
        self,
        accounts: Accounts,
        lobby: Lobby,
        requests: Requests,
        wallet: Wallet,
        way: Way | None = None,
    ) -> None:
        self.accounts = accounts
        self.lobby = lobby
        self.requests = requests
        self.wallet = wallet
        self.way = way


class Dispatcher:
    """Takes the messages of all connections; a `Receiver`.

    Without a ``relay`` those whose room is at another node are redirected there.
    """

    def __init__(
        self,
        edge: Edge,
        host: Host,
        services: Services,
        jobs: Jobs,
        relay: Relaying | None = None,
    ) -> None:
        self._edge = edge
        self._relay = relay
        self._host = host
        self._services = services
        self._jobs = jobs
        self._doors = Doors(host, services.lobby, services.way)
        # All that the session lets through after Hello.
        self._takers: dict[type, Callable[[Connection, Any], None]] = {
            Command: self._command,
            Ping: self._ping,
            Pong: _ignore,  # That something was heard has been noted.
            Request: lambda connection, message: self._ask(connection, message, self._request),
            Join: lambda connection, message: self._ask(connection, message, self._join),
            Resume: lambda connection, message: self._ask(connection, message, self._resume),
            Leave: self._leave,
            Resync: self._resync,
            Bye: _bye,
        }

    def hello(self, connection: Connection, message: AnyInbound) -> None:
        """Find out who this is, and welcome them."""
        assert isinstance(message, Hello), "the session lets nothing else be first"
        if self._host.is_overloaded and not message.token:
            # Whoever has a token may have a seat, and somebody waiting for them.
            connection.close(CloseCode.OVERLOADED, "overloaded", self._host.turned_away())
            return
        self._edge.line.add(partial(self._let_in, connection, message))

    def _let_in(self, connection: Connection, message: Hello) -> None:
        if connection.stage is not Stage.WELCOMING:
            return  # It went while it stood in line.
        if self._jobs.is_full:
            connection.close(CloseCode.OVERLOADED, "busy")
            return
        self._jobs.start(
            connection,
            partial(self._enter, connection, message),
            partial(connection.close, CloseCode.OVERLOADED, "storage is not available"),
        )

    def receive(self, connection: Connection, message: AnyInbound) -> None:
        """Take one message."""
        self._takers[type(message)](connection, message)

    def catch_up(self, connection: Connection, room_id: int, closed_tick: int) -> None:
        """Send what a connection missed of a room."""
        self._host.catch_up(room_id, connection, closed_tick)

    def drained(self, connection: Connection) -> None:
        """Let a connection have more of the rooms that it sees elsewhere."""
        if self._relay is not None:
            self._relay.drained(connection)

    def lost(self, connection: Connection) -> None:
        """Take a connection out of its rooms."""
        self._services.wallet.unwatch(connection)
        if self._relay is not None:
            self._relay.lost(connection)
        self._host.lost(connection)

    def _command(self, connection: Connection, message: Command) -> None:
        if connection.commands.take(connection.heard_ns):
            self._defer(connection, message)
        elif self._relay is None or not self._relay.forward(connection, message):
            self._host.command(message.room, connection, message.number, bytes(message.body))

    def _defer(self, connection: Connection, message: Command) -> None:
        """Tell when a command that came too fast may come again."""
        if connection.is_within_rate():
            self._edge.counters.commands_rate_limited += 1
            code, wait_ns = DeferralCode.RATE_LIMITED, connection.commands.turn(connection.heard_ns)
            connection.send(codec.deferred(message.room, message.number, code, _ms(wait_ns)))

    def _ping(self, connection: Connection, message: Ping) -> None:
        connection.send(codec.pong(message.echo, self._edge.clock.wall_ms()))

    def _leave(self, connection: Connection, message: Leave) -> None:
        if self._is_forwarded(connection, message):
            return
        if not self._host.leave(message.room, connection, message.request):
            _refuse(connection, message.request, Refusal(ReplyCode.NOT_FOUND))

    def _resync(self, connection: Connection, message: Resync) -> None:
        if not self._is_forwarded(connection, message):
            self._host.resync(message.room, connection)

    def _is_forwarded(self, connection: Connection, message: Leave | Resync) -> bool:
        return self._relay is not None and self._relay.forward(connection, message)

    def _ask(
        self,
        connection: Connection,
        message: Request | Join | Resume,
        job: Callable[[Connection, Any], Coroutine[Any, Any, None]],
    ) -> None:
        """Start a job, unless too many are under way."""
        request = message.request
        if connection.commands.take(connection.heard_ns):
            wait_ms = _ms(connection.commands.turn(connection.heard_ns))
            refusal = Refusal(ReplyCode.RATE_LIMITED, "too many a second", wait_ms)
        elif connection.requests_in_flight >= self._edge.limits.requests_in_flight_max:
            refusal = Refusal(ReplyCode.RATE_LIMITED, "too many at once", BUSY_RETRY_MS)
        elif self._jobs.is_full:
            refusal = Refusal(ReplyCode.BUSY, "", BUSY_RETRY_MS)
        else:
            unavailable = Refusal(ReplyCode.UNAVAILABLE, "", UNAVAILABLE_RETRY_MS)
            self._jobs.start(
                connection,
                partial(job, connection, message),
                partial(_refuse, connection, request, unavailable),
            )
            return
        self._edge.counters.requests_refused_busy += 1
        _refuse(connection, request, refusal)

    async def _enter(self, connection: Connection, message: Hello) -> None:
        accounts = self._services.accounts
        try:
            if message.token:
                entrance = await accounts.returning(message.token)
            else:
                entrance = await accounts.guest(message.name)
        except TokenExpired as error:
            connection.close(CloseCode.TOKEN_EXPIRED, str(error))
            return
        except TokenInvalid as error:
            connection.close(CloseCode.TOKEN_INVALID, str(error))
            return
        except BadName as error:
            connection.close(CloseCode.FORBIDDEN, str(error))
            return
        payload = codec.welcome(
            entrance.account, entrance.name, entrance.token, self._edge.clock.wall_ms()
        )
        connection.is_relayed = message.client == RELAY
        connection.welcome(entrance.account, entrance.name, payload)
        if connection.is_open:
            self._services.wallet.watch(connection)
            if self._services.way is not None:
                connection.send(codec.nodes(self._services.way.urls()))

    async def _request(self, connection: Connection, message: Request) -> None:
        answer = await self._services.requests.answer(
            connection.account, message.method, bytes(message.body)
        )
        if isinstance(answer, Refusal):
            _refuse(connection, message.request, answer)
        else:
            connection.send(codec.reply_ok(message.request, answer))

    async def _join(self, connection: Connection, message: Join) -> None:
        if self._sees_too_much(connection, message.request):
            return
        visitor = Visitor(connection, partial(_has_gone, connection))
        await self._tell(connection, message, await self._doors.join(visitor, message))

    async def _resume(self, connection: Connection, message: Resume) -> None:
        if self._sees_too_much(connection, message.request):
            return
        visitor = Visitor(connection, partial(_has_gone, connection))
        await self._tell(connection, message, await self._doors.resume(visitor, message))

    async def _tell(self, connection: Connection, message: Join | Resume, answer: Answer) -> None:
        """Tell why there is no way in here; who is let in hears it from the room."""
        # Who is relayed already is redirected: two nodes could relay to each other for ever.
        relay = None if connection.is_relayed else self._relay
        if isinstance(answer, Elsewhere) and relay is not None:
            answer = await relay.enter(connection, message, answer)
        request = message.request
        if isinstance(answer, Refusal):
            _refuse(connection, request, answer)
        elif isinstance(answer, Elsewhere):
            self._edge.counters.redirects += 1
            connection.send(codec.redirect(request, answer.room_id, answer.url, answer.ticket))

    def _sees_too_much(self, connection: Connection, request: int) -> bool:
        elsewhere = 0 if self._relay is None else self._relay.rooms(connection)
        if connection.rooms + elsewhere < self._edge.limits.rooms_max:
            return False
        _refuse(connection, request, Refusal(ReplyCode.TOO_MANY_ROOMS, "on one connection"))
        return True


def _refuse(connection: Connection, request: int, refusal: Refusal) -> None:
    connection.send(codec.reply_error(request, refusal.code, refusal.detail, refusal.retry_ms))


def _ms(wait_ns: int) -> int:
    return -(-wait_ns // 1_000_000)


def _has_gone(connection: Connection) -> bool:
    return not connection.is_open


def _bye(connection: Connection, _message: Bye) -> None:
    connection.close(CloseCode.NORMAL)


def _ignore(_connection: Connection, _message: Pong) -> None:
    pass
