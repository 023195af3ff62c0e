"""One WebSocket: frames in, messages out, deadlines, and the viewer that rooms write to.

It knows the protocol's session and its own limits. It does not know rooms or services: messages
go to a `Receiver`, and what rooms deliver is only written or dropped.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum
from typing import Protocol

import structlog
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from gameserver.net.counters import count
from gameserver.net.edge import MESSAGES_PER_COMMAND, Edge
from gameserver.net.frames import PING_FRAME, close_reason, framed
from gameserver.net.limits import Bucket
from gameserver.net.outbox import Outbox
from gameserver.runtime.viewers import SharedFrame
from protocol import codec
from protocol.closes import CloseClass, CloseCode, close_class
from protocol.messages import SUBPROTOCOL, AnyInbound
from protocol.session import ServerSession

RETRY_MS = 1_000
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
# How often a full outbox is looked at, within the time after which it counts as stalled.
LOOKS_PER_STALL = 5
# A client may close with any code that it likes; labels are of a closed set.
CLOSE_LABELS = frozenset({"lost", *map(str, (*range(1000, 1016), *map(int, CloseCode)))})

log = structlog.get_logger()
# The library would log every connection twice; counters say the same.
_library_log = logging.getLogger("gameserver.websockets")
_library_log.setLevel(logging.CRITICAL)


class Stage(Enum):
    """Where a connection stands. It only moves forward."""

    NEW = "new"
    WELCOMING = "welcoming"
    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


class Receiver(Protocol):
    """Who takes the messages of all connections."""

    def hello(self, connection: "Connection", message: AnyInbound) -> None:
        """Find out who this is; end with `Connection.welcome` or `Connection.close`."""

    def receive(self, connection: "Connection", message: AnyInbound) -> None:
        """Take one message of a connection that was welcomed."""

    def catch_up(self, connection: "Connection", room_id: int, closed_tick: int) -> None:
        """Send what a connection missed of a room since ``closed_tick``."""

    def drained(self, connection: "Connection") -> None:
        """Learn that a connection, whose outbox was full, can take more."""

    def lost(self, connection: "Connection") -> None:
        """Learn that a connection that was welcomed takes nothing any more."""


class Connection(asyncio.BufferedProtocol):
    """One socket after its request for an upgrade. It is a `Viewer` of rooms."""

    def __init__(
        self,
        edge: Edge,
        receiver: Receiver,
        transport: asyncio.Transport,
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.account = 0
        self.name = ""
        self.is_relayed = False  # Whether another node stands in for the client.
        self.stage = Stage.NEW
        self.requests_in_flight = 0
        limits = edge.limits
        self.commands = Bucket(limits.command_rate, limits.command_burst)
        self._edge = edge
        self._receiver = receiver
        self.transport = transport
        self._on_lost = on_lost
        self.outbox = Outbox(transport, limits.outbox)
        self._session = ServerSession()
        self._frames = ServerProtocol(
            # Clients that are no browsers send no origin; they may always come.
            origins=[*map(Origin, edge.origins), None] if edge.origins else None,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            max_size=limits.message_bytes_max,
            logger=_library_log,
        )
        self._messages = Bucket(
            limits.command_rate * MESSAGES_PER_COMMAND, limits.command_burst * MESSAGES_PER_COMMAND
        )
        self._fragments: bytearray | None = None
        # Bounded by held_max; more is flooding.
        self._held: list[AnyInbound] = []
        self._heard_ns = edge.clock.now_ns()
        self._deadline_ns = self._heard_ns + limits.hello_timeout_ns
        self._ping_ns = 0

    # --- Opening.

    def open(self, head: bytes) -> int:
        """Answer the request for an upgrade; return the HTTP status of the answer."""
        self._frames.receive_data(head)
        events = self._frames.events_received()
        if events:
            assert isinstance(events[0], Request), "a head holds one request"
            response = self._frames.accept(events[0])
            self._frames.send_response(response)
            status = response.status_code
        else:
            # The library says nothing to a head that it cannot read.
            self.outbox.write(BAD_REQUEST)
            status = 400
        if status == 101:
            self._edge.wheel.put(self, self._deadline_ns)
        self._flush()
        if status != 101:
            self._begin_closing(None)
        return status

    def welcome(self, account: int, name: str, payload: bytes) -> None:
        """Let the client in as ``account`` and take the messages that it sent meanwhile."""
        if self.stage is not Stage.WELCOMING:
            return
        edge = self._edge
        self.account = account
        self.name = name
        self.stage = Stage.OPEN
        edge.admission.authenticate()
        self.send(payload)
        now_ns = edge.clock.now_ns()
        # The first ping comes at a random moment of the interval: pings of connections that
        # began together would cost a tick 10 to 20 ms when they go out together.
        self._ping_ns = now_ns + int(edge.limits.ping_interval_ns * edge.phase())
        edge.wheel.put(self, self._next_ns())
        held, self._held = self._held, []
        for message in held:
            if self.stage is Stage.OPEN:
                self._receiver.receive(self, message)

    @property
    def is_open(self) -> bool:
        """Whether the client was welcomed and is still there."""
        return self.stage is Stage.OPEN

    # --- Receiving: asyncio calls these.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read into."""
        return self._edge.receive_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.received(bytes(self._edge.receive_buffer[:nbytes]))

    def received(self, data: bytes) -> None:
        """Take bytes that the client sent."""
        edge = self._edge
        edge.counters.bytes_in += len(data)
        self._heard_ns = edge.clock.now_ns()
        frames = self._frames
        frames.receive_data(data)
        try:
            for event in frames.events_received():
                if self._is_ending:
                    break
                assert isinstance(event, Frame), "the only request was read by open"
                self._receive_frame(event)
        except Exception as error:
            self._fail(error)
        self._flush()
        if frames.state is not State.OPEN and not self._is_ending:
            # The client closed, or broke WebSocket's own rules; the library has answered.
            sent = frames.close_sent
            self._begin_closing("lost" if sent is None else str(int(sent.code)))

    def eof_received(self) -> None:
        """Take the end of what the client sends; the transport closes by itself."""
        self._frames.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        if not self._is_ending:
            self._begin_closing("lost")
        self.stage = Stage.CLOSED
        self._edge.wheel.remove(self)
        self._on_lost(self)

    def _receive_frame(self, frame: Frame) -> None:
        if self._messages.take(self._heard_ns):
            self.close(CloseCode.FLOODING, "too many messages")
            return
        opcode = frame.opcode
        if opcode is Opcode.BINARY:
            if frame.fin:
                self._receive_message(bytes(frame.data))
            else:
                self._fragments = bytearray(frame.data)
        elif opcode is Opcode.CONT:
            assert self._fragments is not None, "the library refuses a lone continuation"
            self._fragments += frame.data
            if frame.fin:
                message, self._fragments = bytes(self._fragments), None
                self._receive_message(message)
        elif opcode is Opcode.TEXT:
            self.close(CloseCode.TEXT_FRAME, "text is not spoken here")

    def _receive_message(self, payload: bytes) -> None:
        try:
            message = self._session.receive(payload)
        except codec.RemoteProtocolError as error:
            self.close(error.close_code, error.text)
            return
        count(self._edge.counters.messages_in, type(message).__name__)
        if self.stage is Stage.OPEN:
            self._receiver.receive(self, message)
        elif self.stage is Stage.NEW:
            self.stage = Stage.WELCOMING
            self._deadline_ns = self._heard_ns + self._edge.limits.welcome_timeout_ns
            self._edge.wheel.put(self, self._deadline_ns)
            self._receiver.hello(self, message)
        elif len(self._held) < self._edge.limits.held_max:
            self._held.append(message)
        else:
            self.close(CloseCode.FLOODING, "too many messages before the welcome")

    # --- Sending: rooms and services call these.

    @property
    def rooms(self) -> int:
        """How many rooms are seen."""
        return len(self.outbox.rooms)

    def deliver(
        self, room_id: int, tick: int, private: bytes | None, shared: SharedFrame | None
    ) -> None:
        """Write one tick of a room, or fall behind in it."""
        if self.stage is not Stage.OPEN or room_id not in self.outbox.rooms:
            return
        data = self.outbox.tick_to_write(room_id, tick, private, shared)
        if data is None:
            self._edge.counters.merges += 1
            self._watch()
        elif data:
            self.write(data)

    def send(self, payload: bytes) -> None:
        """Write any other message."""
        if self.stage is Stage.OPEN:
            self.write(framed(payload))

    def joined(self, room_id: int, seat: int, tick: int) -> None:
        """Note that a room is seen from now on, and what follows begins after ``tick``."""
        self.outbox.enter(room_id, tick)

    def left(self, room_id: int) -> None:
        """Note that a room is no longer seen."""
        self.outbox.leave(room_id)

    def write(self, data: bytes) -> None:
        """Write a message that is framed already."""
        outbox = self.outbox
        if outbox.unsent_bytes:
            if outbox.is_over_hard:
                self.close(CloseCode.SLOW_CONSUMER, "too slow")
                return
            self._watch()
        outbox.write(data)
        counters = self._edge.counters
        counters.frames_out += 1
        counters.bytes_out += len(data)

    def resume_writing(self) -> None:
        """Make good what was dropped while the outbox was full."""
        self._catch_up()
        if self.stage is Stage.OPEN:
            self._receiver.drained(self)

    def _catch_up(self) -> None:
        try:
            while self.stage is Stage.OPEN and (behind := self.outbox.take_behind()):
                self._receiver.catch_up(self, *behind)
        except Exception as error:
            self._fail(error)

    def _watch(self) -> None:
        if not self.outbox.is_watched:
            self.outbox.watch(self._edge.clock.now_ns())
            self._edge.wheel.put(self, self._next_ns())

    def _flush(self) -> None:
        transport = self.transport
        for data in self._frames.data_to_send():
            if data:
                self.outbox.write(data)
                self._edge.counters.bytes_out += len(data)
            elif not transport.is_closing():
                # The end of what we send. If the client has not said that it sends no more, what
                # it sends is read and thrown away for a while: bytes that were never read would
                # turn our last frame into a reset.
                if self._frames.close_rcvd is None and transport.can_write_eof():
                    transport.write_eof()
                else:
                    transport.close()

    # --- Deadlines: the wheel calls this.

    def due(self, now_ns: int) -> int | None:
        """Do what is due and return when to be asked again."""
        match self.stage:
            case Stage.NEW if now_ns >= self._deadline_ns:
                self.close(CloseCode.HELLO_TIMEOUT, "no hello")
            case Stage.WELCOMING if now_ns >= self._deadline_ns:
                self.close(CloseCode.OVERLOADED, "no answer in time")
            case Stage.OPEN:
                self._keep_alive(now_ns)
            case Stage.CLOSING:
                self.transport.abort()
        return None if self._is_ending else self._next_ns()

    @property
    def _is_ending(self) -> bool:
        return self.stage is Stage.CLOSING or self.stage is Stage.CLOSED

    def _keep_alive(self, now_ns: int) -> None:
        limits = self._edge.limits
        if self.outbox.is_stalled(now_ns):
            self.close(CloseCode.SLOW_CONSUMER, "nothing was read for too long")
        elif now_ns - self._heard_ns >= limits.idle_timeout_ns:
            self.close(CloseCode.IDLE, "nothing was heard for too long")
        else:
            if now_ns >= self._ping_ns:
                self._ping_ns = now_ns + limits.ping_interval_ns
                # The echo is our own time, so that the Pong tells how long the way is.
                ping = codec.ping(now_ns // 1_000_000, self._edge.clock.wall_ms())
                self.write(framed(ping) + PING_FRAME)
            self._catch_up()

    def _next_ns(self) -> int:
        if self.stage is not Stage.OPEN:
            return self._deadline_ns
        limits = self._edge.limits
        next_ns = min(self._ping_ns, self._heard_ns + limits.idle_timeout_ns)
        if self.outbox.is_watched or self.outbox.is_behind:
            look_ns = limits.outbox.stall_ns // LOOKS_PER_STALL
            next_ns = min(next_ns, self._edge.clock.now_ns() + look_ns)
        return next_ns

    # --- Closing.

    def close(self, code: int, reason: str = "", retry_ms: int | None = None) -> None:
        """Say goodbye and close; ``retry_ms`` is when to come back, by default what suits."""
        if self._is_ending:
            return
        if self._frames.state is State.OPEN:
            if retry_ms is None:
                retry_ms = RETRY_MS if close_class(code) is CloseClass.RECONNECT else -1
            self.outbox.write(framed(codec.goodbye(code, retry_ms)))
            self._frames.send_close(code, close_reason(reason))
            self._flush()
        self._begin_closing(str(int(code)))

    def abort(self) -> None:
        """Close at once, without a word."""
        self.transport.abort()

    def _begin_closing(self, cause: str | None) -> None:
        was_open = self.stage is Stage.OPEN
        self.stage = Stage.CLOSING
        self._session.close()
        self._held.clear()
        if cause is not None:  # None: it was never a WebSocket.
            count(self._edge.counters.closes, cause if cause in CLOSE_LABELS else "other")
        now_ns = self._edge.clock.now_ns()
        self._edge.wheel.put(self, now_ns + self._edge.limits.close_timeout_ns)
        if was_open:
            try:
                self._receiver.lost(self)
            except Exception as error:
                self._fail(error)

    def _fail(self, error: Exception) -> None:
        """Give this connection up: a mistake of ours must not touch others, nor the timer."""
        log.error("connection_failed", account=self.account, exc_info=error)
        self.close(CloseCode.INTERNAL, "internal error")
