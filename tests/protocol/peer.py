"""A server in small, in memory: real sessions and packers, one toy game, and faults on order.

Its game is one number. The command [1, n] adds n, [2] is refused, [3] is malformed. Everything
that a message causes happens at once, so that a test can cut the connection at any moment.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgpack

from protocol import codec
from protocol.client import TransportClosed
from protocol.closes import CloseCode
from protocol.codec import RemoteProtocolError, packed
from protocol.messages import (
    AnyInbound,
    Bye,
    Command,
    DeferralCode,
    Hello,
    InvalidCode,
    Join,
    JoinBy,
    Joined,
    Leave,
    LeftCode,
    Ping,
    Pong,
    ReplyCode,
    Request,
    Resume,
    Resync,
)
from protocol.session import ServerSession

GAME = 2
TOTAL = 1
MINE = 9
FIRST_TICK = 100
TICK_STEP = 3  # Rooms do not change in every tick.

OutcomeRow = tuple[int, int, int, int, str, str]


class Pipe:
    """The client's transport to one side of the server."""

    def __init__(self, side: "Side") -> None:
        self._side = side
        self._items: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._over: TransportClosed | None = None

    async def send(self, payload: bytes) -> None:
        """Let the server handle one message, at once."""
        if self._over is not None:
            raise self._over
        self._side.receive(payload)

    async def recv(self) -> bytes:
        """Return the server's next message."""
        while not self._items:
            if self._over is not None:
                raise self._over
            self._wake.clear()
            await self._wake.wait()
        return self._items.popleft()

    async def close(self) -> None:
        """End the connection from the client's side."""
        self.over(1000)
        self._side.server.lost(self._side)

    def put(self, payload: bytes) -> None:
        """Bring one message of the server."""
        if self._over is None:
            self._items.append(payload)
            self._wake.set()

    def over(self, code: int, *, keep: int | None = None) -> None:
        """End it; of what was not read yet only the first ``keep`` messages arrive."""
        if self._over is None:
            self._over = TransportClosed(code)
            while keep is not None and len(self._items) > keep:
                self._items.pop()
            self._wake.set()


class Side:
    """The server's side of one connection."""

    def __init__(self, server: "ToyServer") -> None:
        self.server = server
        self.session = ServerSession()
        self.pipe = Pipe(self)
        self.account = 0
        self.received: list[AnyInbound] = []

    def send(self, payload: bytes) -> None:
        """Send one message to the client."""
        self.pipe.put(codec.zipped(payload))

    def receive(self, payload: bytes) -> None:
        """Handle one message, with the fault that the test wants at this moment, if any."""
        server = self.server
        try:
            message = self.session.receive(payload)
        except RemoteProtocolError as error:
            server.protocol_errors.append(error)
            self.cut(error.close_code)
            return
        self.received.append(message)
        fault = server.fault(message)
        if fault != "before":
            server.handle(self, message)
        if fault is not None:
            self.cut(keep={"before": None, "after": 0, "half": 1}[fault])

    def cut(self, code: int = 1006, *, keep: int | None = None) -> None:
        """Break the connection."""
        self.pipe.over(code, keep=keep)
        self.server.lost(self)


class ToyRoom:
    """One number, and the frames of its last ticks."""

    def __init__(self, room_id: int, code: str, remembers: int) -> None:
        self.id = room_id
        self.code = code
        self.handle = room_id % 7  # The same on every connection, and of each room another.
        self.tick = FIRST_TICK
        self.total = 0
        self.mine: dict[int, int] = {}
        self.shared_tick = FIRST_TICK
        self.private_ticks: dict[int, int] = {}
        self.seats: list[int] = []
        self.known: dict[int, dict[int, tuple[bytes, OutcomeRow]]] = {}
        self.executed: list[int] = []
        self.ring: deque[tuple[int, int, bytes, bytes]] = deque(maxlen=remembers)
        self.forgotten_tick = FIRST_TICK
        self.viewers: dict[Side, int] = {}

    def full(self, seat: int) -> bytes:
        """Return all that a seat may see."""
        private = [GAME, MINE, self.mine.get(seat, 0)] if seat >= 0 else []
        public = packed([GAME, TOTAL, self.total])
        return codec.full(self.id, self.tick, public, packed(private))

    def decide(self, seat: int, number: int, body: bytes) -> None:
        """Do one command in a tick of its own, or repeat its outcome."""
        known = self.known.setdefault(seat, {})
        if number in known:
            assert known[number][0] == body, "A number was used for two commands."
            self._show(seat, codec.outcomes(self.id, [known[number][1]]), b"")
            return
        self.tick += TICK_STEP
        kind, *rest = msgpack.unpackb(body)
        changes: list[Any] = []
        shared = b""
        outcome: OutcomeRow = (number, self.tick, 1, 107, "NOT_NOW", "x")
        if kind == 1:
            outcome = (number, self.tick, 0, 0, "", "")
            self.executed.append(rest[0])
            self.total += rest[0]
            self.mine[seat] = number
            changes = [GAME, MINE, number]
            shared = self._shared()
        known[number] = (body, outcome)
        self._publish(seat, changes, outcome, shared)

    def advance(self) -> None:
        """Change by time alone."""
        self.tick += TICK_STEP
        self.total += 1
        shared = self._shared()
        self._remember(-1, b"", shared)
        self._show(-1, b"", shared)

    def missed(self, seat: int, closed_tick: int) -> list[bytes] | None:
        """Return the frames after a tick, or None if they are not all here any more."""
        if closed_tick < self.forgotten_tick:
            return None
        frames: list[bytes] = []
        for tick, of_seat, private, shared in self.ring:
            if tick > closed_tick:
                frames += [private] if of_seat == seat and private else []
                frames += [shared] if shared else []
        return frames

    def _shared(self) -> bytes:
        base, self.shared_tick = self.shared_tick, self.tick
        changes = packed([GAME, TOTAL, self.total])
        return codec.delta(self.handle, codec.delta_tail(self.tick, self.tick - base, changes))

    def _publish(self, seat: int, changes: list[Any], outcome: OutcomeRow, shared: bytes) -> None:
        base = self.private_ticks.get(seat, FIRST_TICK)
        more = bool(shared)
        step = self.tick - base
        tail = codec.private_tail(self.tick, step, packed(changes), [outcome], more)
        private = codec.private(self.handle, tail)
        self.private_ticks[seat] = self.tick
        self._remember(seat, private, shared)
        self._show(seat, private, shared)

    def _remember(self, seat: int, private: bytes, shared: bytes) -> None:
        if len(self.ring) == self.ring.maxlen:
            self.forgotten_tick = self.ring[0][0] if self.ring else self.tick
        self.ring.append((self.tick, seat, private, shared))

    def _show(self, of_seat: int, private: bytes, shared: bytes) -> None:
        for viewer, seat in list(self.viewers.items()):
            if seat == of_seat and private:
                viewer.send(private)
            if shared:
                viewer.send(shared)


class ToyServer:
    """All rooms and connections. ``faults`` says when connections break, by kind and count."""

    def __init__(self, *, remembers: int = 50) -> None:
        self.rooms = {5: ToyRoom(5, "ABCDEF", remembers)}
        self.sides: list[Side] = []
        self.seen: list[AnyInbound] = []
        self.protocol_errors: list[RemoteProtocolError] = []
        # (kind of message, how many of them come before it) -> "before", "after" or "half".
        self.faults: dict[tuple[type, int], str] = {}
        self.counts: dict[type, int] = {}
        self.refuse_dials = 0
        self.mute = False  # Nothing is answered any more.
        self.deaf: set[type] = set()  # Messages of these kinds are not answered.
        self.answers: dict[str, Callable[[int], bytes]] = {}
        self.deferrals: list[tuple[DeferralCode, int]] = []
        self.dialled: list[float] = []

    async def dial(self, url: str) -> Pipe:
        """Open a connection; what a client's options take."""
        assert url == "toy"
        self.dialled.append(asyncio.get_running_loop().time())
        if self.refuse_dials:
            self.refuse_dials -= 1
            raise ConnectionRefusedError("nobody listens")
        side = Side(self)
        self.sides.append(side)
        return side.pipe

    def fault(self, message: AnyInbound) -> str | None:
        """Return the fault that is due with this message, if any."""
        kind = type(message)
        count = self.counts[kind] = self.counts.get(kind, -1) + 1
        return self.faults.pop((kind, count), None)

    def wanted(self, message: Join) -> ToyRoom | None:
        """Return the room that a join names."""
        for room in self.rooms.values():
            names = {JoinBy.CODE: room.code, JoinBy.ID: room.id, JoinBy.ANY: "toy"}
            if message.value == names[message.by]:
                return room
        return None

    def lost(self, side: Side) -> None:
        """Forget a connection; its seats stay."""
        side.session.close()
        for room in self.rooms.values():
            room.viewers.pop(side, None)

    def handle(self, side: Side, message: AnyInbound) -> None:
        """Do what a message asks for."""
        self.seen.append(message)
        if not self.mute and type(message) not in self.deaf:
            _HANDLE[type(message)](self, side, message)

    def _hello(self, side: Side, message: Hello) -> None:
        side.account = int(message.token.removeprefix("token-")) if message.token else 9
        name = message.name or "nobody"
        side.send(codec.welcome(side.account, name, f"token-{side.account}", 1_000))

    def _bye(self, side: Side, message: Bye) -> None:
        side.cut(CloseCode.NORMAL)

    def _ping(self, side: Side, message: Ping) -> None:
        side.send(codec.pong(message.echo, 1_000))

    def _pong(self, side: Side, message: Pong) -> None:
        pass

    def _request(self, side: Side, message: Request) -> None:
        answer = self.answers.get(message.method)
        if answer is not None:
            side.send(answer(message.request))
        elif message.method == "echo":
            side.send(codec.reply_ok(message.request, message.body))
        elif message.method == "create":
            side.send(codec.reply_ok(message.request, [5, "ABCDEF"]))
        else:
            side.send(codec.reply_error(message.request, ReplyCode.UNKNOWN_METHOD))

    def _join(self, side: Side, message: Join) -> None:
        room = self.wanted(message)
        if room is None:
            side.send(codec.reply_error(message.request, ReplyCode.NOT_FOUND, "no such room"))
            return
        self._enter(side, message, room, None)

    def _resume(self, side: Side, message: Resume) -> None:
        if message.room not in self.rooms:
            side.send(codec.reply_error(message.request, ReplyCode.ROOM_ENDED))
            return
        self._enter(side, message, self.rooms[message.room], message.closed_tick)

    def _enter(
        self, side: Side, message: Join | Resume, room: ToyRoom, closed_tick: int | None
    ) -> None:
        request, watch = message.request, message.watch
        if not watch and side.account not in room.seats:
            room.seats.append(side.account)
        seat = -1 if watch else room.seats.index(side.account)
        highest = max(room.known.get(seat, {0: None}))
        missed = None if closed_tick is None else room.missed(seat, closed_tick)
        gapless = missed is not None
        reason = "" if gapless or closed_tick is None else "TOO_OLD"
        row = (request, room.id, room.code, "toy", 1)
        head = Joined(*row, seat, highest, int(gapless), reason, room.handle)
        side.send(codec.joined(head))
        for payload in [room.full(seat)] if missed is None else missed:
            side.send(payload)
        side.send(codec.roster(room.id, [(0, 9, "ann")]))
        room.viewers[side] = seat

    def _leave(self, side: Side, message: Leave) -> None:
        room = self.rooms[message.room]
        if side not in room.viewers:
            side.send(codec.reply_error(message.request, ReplyCode.NOT_FOUND))
            return
        del room.viewers[side]
        room.seats.remove(side.account)
        side.send(codec.reply_ok(message.request, None))
        side.send(codec.left(room.id, LeftCode.LEFT))

    def _command(self, side: Side, message: Command) -> None:
        room = self.rooms[message.room]
        seat = room.viewers.get(side)
        body = bytes(message.body)
        if seat is None:
            side.send(codec.invalid(message.room, message.number, InvalidCode.NOT_IN_ROOM))
        elif seat < 0:
            side.send(codec.invalid(message.room, message.number, InvalidCode.NOT_SEATED))
        elif msgpack.unpackb(body) == [3]:
            side.send(codec.invalid(message.room, message.number, InvalidCode.MALFORMED, "x"))
        elif self.deferrals:
            code, retry_ms = self.deferrals.pop(0)
            side.send(codec.deferred(message.room, message.number, code, retry_ms))
        else:
            room.decide(seat, message.number, body)

    def _resync(self, side: Side, message: Resync) -> None:
        room = self.rooms[message.room]
        side.send(room.full(room.viewers[side]))


_HANDLE: dict[type, Callable[[ToyServer, Side, Any], None]] = {
    Hello: ToyServer._hello,
    Bye: ToyServer._bye,
    Ping: ToyServer._ping,
    Pong: ToyServer._pong,
    Request: ToyServer._request,
    Join: ToyServer._join,
    Resume: ToyServer._resume,
    Leave: ToyServer._leave,
    Command: ToyServer._command,
    Resync: ToyServer._resync,
}
